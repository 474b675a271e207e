//! `cargo +nightly fuzz run framing`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quorumbench_fuzz::framing::cut(data);
});
