//! What is fuzzed, one module a subject. The crates' tests run the same code, without a fuzzer.

pub mod framing;
pub mod quic;
#[path = "../../transports/tests/support/relay.rs"]
mod relay;
pub mod wal;
