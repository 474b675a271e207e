//! `cargo +nightly fuzz run quic_receive`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quorumbench_fuzz::quic::receive(data);
});
