//! A bounded run of what is fuzzed: bytes through the framer, and datagrams into the QUIC port.

use quorumbench_protocols::{Head, Prng};
use zerocopy::IntoBytes;

#[path = "../../fuzz/src/framing.rs"]
#[expect(unreachable_pub, reason = "a library for the fuzzer, a module here")]
mod framing;
#[path = "../../fuzz/src/quic.rs"]
#[expect(unreachable_pub, reason = "a library for the fuzzer, a module here")]
mod quic;
#[path = "support/relay.rs"]
mod relay;

fn bytes(prng: &mut Prng, len: usize) -> Vec<u8> {
    (0..len).map(|_| prng.next_u64() as u8).collect()
}

#[test]
fn arbitrary_bytes_are_no_frames() {
    let mut prng = Prng::new(1);
    for _ in 0..800 {
        let len = prng.below(3000) as usize;
        framing::cut(&bytes(&mut prng, len));
    }
}

/// Good frames, of which some bits are wrong, or the end is missing.
#[test]
fn frames_come_out_however_they_are_cut() {
    let (mut prng, mut found) = (Prng::new(2), 0);
    for _ in 0..1200 {
        let mut data = bytes(&mut prng, 1);
        for _ in 0..prng.below(12) {
            let len = [0, 1, 64, 300, 4096][prng.below(5) as usize];
            let head = Head { body_len: len, words: [prng.next_u64(); 6], ..Head::default() };
            data.extend_from_slice(head.as_bytes());
            data.extend(bytes(&mut prng, len as usize));
        }
        if prng.below(3) == 0 {
            let at = prng.below(data.len() as u64) as usize;
            data[at] ^= 1 << prng.below(8);
        }
        if prng.below(3) == 0 {
            data.truncate(prng.below(data.len() as u64) as usize + 1);
        }
        found += framing::cut(&data);
    }
    assert!(found > 3000, "{found} frames");
}

#[test]
fn altered_datagrams_disturb_no_node() {
    let (mut prng, mut arrived) = (Prng::new(3), 0);
    for round in 0..60 {
        let len = 4 * (1 + prng.below(64)) as usize;
        let mut data = bytes(&mut prng, len);
        // So that many a connection comes about before something is done to it.
        data.chunks_mut(4).take(round % 16).for_each(|step| step[0] = 11);
        arrived += quic::receive(&data);
    }
    assert!(arrived > 100, "{arrived} frames");
}
