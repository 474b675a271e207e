//! What is fuzzed, one module a subject. The engine's tests run the same code, without a fuzzer.

pub mod wal;
