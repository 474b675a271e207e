//! A connection's bytes, cut anywhere: the framer must make of them what is there, however they come.

use bytes::{Bytes, BytesMut};
use quorumbench_protocols::{Frame, Head};
use quorumbench_transports::framing::{Framer, TooLong};

/// The longest payload accepted.
const MOST_BODY: usize = 4096;

/// Takes the bytes behind the first in parts that the first says, received both ways: into chunks that
/// grow, as over TCP, and each by itself, as over QUIC. Says how many frames there were.
///
/// # Panics
/// If a frame is not what stands in the bytes, if the ways differ, or if more is held than came.
pub fn cut(data: &[u8]) -> usize {
    let Some((&seed, bytes)) = data.split_first() else { return 0 };
    let (chunked, fate) = in_chunks(bytes, seed);
    assert_eq!((&chunked, fate), (&in_pieces(bytes, seed).0, in_pieces(bytes, seed).1), "each way the same");
    check(bytes, &chunked, fate);
    chunked.len()
}

/// Lengths of parts: from single bytes to more than a frame.
fn parts(seed: u8) -> impl Iterator<Item = usize> {
    let mut state = u32::from(seed);
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % [1, 7, 64, 256][usize::from(seed % 4)]
    })
}

/// Into chunks of 512 bytes, which are turned over when they are full.
fn in_chunks(mut bytes: &[u8], seed: u8) -> (Vec<Flat>, Result<(), TooLong>) {
    const CHUNK: usize = 512;
    let (mut framer, mut inbox, mut parts) = (Framer::new(MOST_BODY), Vec::new(), parts(seed));
    let mut outcome = Ok(());
    while outcome.is_ok() && !bytes.is_empty() {
        let (mut chunk, mut room) = (BytesMut::with_capacity(CHUNK), CHUNK);
        while outcome.is_ok() && !bytes.is_empty() && room > 0 {
            let (part, rest) = bytes.split_at(parts.next().unwrap_or(1).min(bytes.len()).min(room));
            chunk.extend_from_slice(part);
            room -= part.len();
            bytes = rest;
            outcome = framer.frames(&mut chunk, &mut inbox);
        }
        outcome = outcome.and_then(|()| framer.turn_over(chunk));
    }
    (inbox.iter().map(Flat::of).collect(), outcome)
}

/// Each part by itself.
fn in_pieces(mut bytes: &[u8], seed: u8) -> (Vec<Flat>, Result<(), TooLong>) {
    let (mut framer, mut inbox, mut parts) = (Framer::new(MOST_BODY), Vec::new(), parts(seed));
    let mut outcome = Ok(());
    while outcome.is_ok() && !bytes.is_empty() {
        let (part, rest) = bytes.split_at(parts.next().unwrap_or(1).min(bytes.len()));
        bytes = rest;
        let mut part = Bytes::copy_from_slice(part);
        outcome = framer.frames(&mut part, &mut inbox).and_then(|()| framer.turn_over(part));
    }
    (inbox.iter().map(Flat::of).collect(), outcome)
}

/// A frame whose payload is in one piece.
#[derive(Debug, PartialEq, Eq)]
struct Flat(Head, Vec<u8>);

impl Flat {
    fn of(frame: &Frame) -> Self {
        let body: Vec<u8> =
            if frame.body.is_empty() { Vec::new() } else { frame.body.pieces().iter().flatten().copied().collect() };
        Self(frame.head, body)
    }
}

/// Walks over `bytes` as plainly as can be.
fn check(mut bytes: &[u8], frames: &[Flat], fate: Result<(), TooLong>) {
    for Flat(head, body) in frames {
        assert_eq!(head.body_len as usize, body.len());
        assert!(body.len() <= MOST_BODY);
        assert_eq!(bytes[..4], head.body_len.to_le_bytes(), "its head");
        assert_eq!(bytes[Head::BYTES..Head::BYTES + body.len()], body[..], "its payload");
        bytes = &bytes[Head::BYTES + body.len()..];
    }
    let claimed =
        (bytes.len() >= Head::BYTES).then(|| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
    match fate {
        Err(TooLong { body_len, .. }) => assert_eq!(claimed, Some(body_len)),
        Ok(()) => {
            assert!(claimed.is_none_or(|len| len <= MOST_BODY && bytes.len() < Head::BYTES + len), "all is taken");
        }
    }
}
