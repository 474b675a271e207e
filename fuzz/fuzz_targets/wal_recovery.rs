//! `cargo +nightly fuzz run wal_recovery`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quorumbench_fuzz::wal::recover(data);
});
