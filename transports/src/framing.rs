//! From received bytes to frames: heads are copied out, payloads are sliced.

use std::ops::Deref;

use bytes::{Buf, Bytes, BytesMut};
use quorumbench_protocols::{Frame, Head, Payload};
use zerocopy::IntoBytes;

/// Cuts one connection's bytes into frames.
///
/// Feed it a chunk whose unread bytes grow at the end: [`frames`](Self::frames) takes what is whole
/// from the front and leaves the rest in place, so that only a frame at the end of a chunk is ever
/// in two pieces. When the chunk is full, [`turn_over`](Self::turn_over) takes that rest.
#[derive(Debug)]
pub struct Framer {
    max_body: usize,
    /// A frame that began in an earlier chunk.
    begun: Begun,
}

/// Bytes of a connection, in order, that payloads can be sliced from.
pub trait Received: Buf + Deref<Target = [u8]> {
    /// The next `len` bytes, of which there are that many.
    fn cut(&mut self, len: usize) -> Bytes;
}

impl Received for BytesMut {
    fn cut(&mut self, len: usize) -> Bytes {
        self.split_to(len).freeze()
    }
}

impl Received for Bytes {
    fn cut(&mut self, len: usize) -> Bytes {
        self.split_to(len)
    }
}

/// What is there of a frame whose end is not.
#[derive(Debug)]
enum Begun {
    Nothing,
    Head { bytes: [u8; Head::BYTES], filled: usize },
    Body { head: Head, pieces: Vec<Bytes>, missing: usize },
}

/// A length that no frame has. The connection is beyond repair: nobody knows where the next frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// What the head claims.
    pub body_len: usize,
    /// What is allowed.
    pub max_body: usize,
}

impl Framer {
    /// A framer at the start of a connection.
    pub fn new(max_body: usize) -> Self {
        Self { max_body, begun: Begun::Nothing }
    }

    /// Appends the frames that are whole in `received` to `inbox`, and leaves the rest.
    ///
    /// # Errors
    /// [`TooLong`] at the first head that claims more than `max_body`; the frames before it are in `inbox`.
    pub fn frames(&mut self, received: &mut impl Received, inbox: &mut Vec<Frame>) -> Result<(), TooLong> {
        self.continue_begun(received, inbox, false)?;
        if !matches!(self.begun, Begun::Nothing) {
            return Ok(());
        }
        // Heads without a payload are stepped over together: moving the chunk's front has its price.
        let mut at = 0;
        let outcome = loop {
            if received.len() - at < Head::BYTES {
                break Ok(());
            }
            // The length is read by itself and the head straight into its frame: a head that is taken
            // apart and put together again on the stack costs more than all else here.
            let body_len = body_len(&received[at..]);
            if let Err(too_long) = self.check(body_len) {
                break Err(too_long);
            }
            if body_len == 0 {
                inbox.push(Frame { head: read_head(&received[at..]), body: Payload::EMPTY });
                at += Head::BYTES;
                continue;
            }
            if received.len() - at - Head::BYTES < body_len {
                break Ok(());
            }
            let head = read_head(&received[at..]);
            received.advance(at + Head::BYTES);
            at = 0;
            inbox.push(Frame { head, body: Payload::Whole(received.cut(body_len)) });
        };
        received.advance(at);
        outcome
    }

    /// The chunk is full: `rest`, a frame's beginning, goes on in the next one.
    ///
    /// # Errors
    /// [`TooLong`] if its head says so.
    pub fn turn_over(&mut self, mut rest: impl Received) -> Result<(), TooLong> {
        self.continue_begun(&mut rest, &mut Vec::new(), true)?;
        if rest.is_empty() {
            return Ok(());
        }
        self.begun = if rest.len() < Head::BYTES {
            let mut bytes = [0; Head::BYTES];
            bytes[..rest.len()].copy_from_slice(&rest);
            Begun::Head { bytes, filled: rest.len() }
        } else {
            let head = read_head(&rest);
            self.check(head.body_len as usize)?;
            rest.advance(Head::BYTES);
            let missing = head.body_len as usize - rest.len();
            let pieces = if rest.is_empty() { Vec::new() } else { vec![rest.cut(rest.len())] };
            Begun::Body { head, pieces, missing }
        };
        Ok(())
    }

    /// Goes on with a frame that began in an earlier chunk. Of a payload that does not end in `received`,
    /// a part is only taken when the chunk is `full`: a piece for each read would let a peer that sends
    /// byte by byte make this node hold many times what it sent.
    fn continue_begun(
        &mut self,
        received: &mut impl Received,
        inbox: &mut Vec<Frame>,
        full: bool,
    ) -> Result<(), TooLong> {
        if let Begun::Head { bytes, filled } = &mut self.begun {
            let more = received.len().min(Head::BYTES - *filled);
            bytes[*filled..*filled + more].copy_from_slice(&received[..more]);
            *filled += more;
            received.advance(more);
            if *filled < Head::BYTES {
                return Ok(());
            }
            let head = read_head(&bytes[..]);
            self.check(head.body_len as usize)?;
            self.begun = Begun::Body { head, pieces: Vec::new(), missing: head.body_len as usize };
        }
        if let Begun::Body { head, pieces, missing } = &mut self.begun {
            let more = received.len().min(*missing);
            if more < *missing && !full {
                return Ok(());
            }
            if more > 0 {
                pieces.push(received.cut(more));
                *missing -= more;
            }
            if *missing == 0 {
                let body = match pieces.len() {
                    0 => Payload::EMPTY,
                    1 => Payload::Whole(pieces.remove(0)),
                    _ => Payload::Pieces(std::mem::take(pieces).into()),
                };
                inbox.push(Frame { head: *head, body });
                self.begun = Begun::Nothing;
            }
        }
        Ok(())
    }

    fn check(&self, body_len: usize) -> Result<(), TooLong> {
        if body_len > self.max_body { Err(TooLong { body_len, max_body: self.max_body }) } else { Ok(()) }
    }
}

/// The payload's length in the head at the front of `bytes`, which holds at least one.
fn body_len(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

/// The head at the front of `bytes`, which holds at least one.
fn read_head(bytes: &[u8]) -> Head {
    let mut head = Head::default();
    head.as_mut_bytes().copy_from_slice(&bytes[..Head::BYTES]);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Prng;

    fn encoded(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, &len) in lengths.iter().enumerate() {
            let head = Head { body_len: len as u32, words: [number as u64; 6], ..Head::default() };
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend((0..len).map(|at| (at + number) as u8));
        }
        bytes
    }

    fn check(frames: &[Frame], lengths: &[usize]) {
        assert_eq!(frames.len(), lengths.len());
        for (number, (frame, &len)) in frames.iter().zip(lengths).enumerate() {
            assert_eq!((frame.head.words[0], frame.body.len()), (number as u64, len));
            let body: Vec<u8> = frame.body.pieces().iter().flatten().copied().collect();
            assert!(body.iter().enumerate().all(|(at, &byte)| byte == (at + number) as u8));
        }
    }

    #[test]
    fn frames_in_one_chunk_are_whole_and_not_moved() {
        let lengths = [0, 5, 100, 0, 64];
        let mut received = BytesMut::from(&encoded(&lengths)[..]);
        let chunk = received.as_ptr() as usize;
        let mut inbox = Vec::new();
        Framer::new(1000).frames(&mut received, &mut inbox).expect("well formed");
        check(&inbox, &lengths);
        let Payload::Whole(body) = &inbox[1].body else { panic!("whole") };
        assert_eq!(body.as_ptr() as usize, chunk + 2 * Head::BYTES, "sliced in place");
    }

    /// Any cutting into reads, any cutting into chunks: the same frames.
    #[test]
    fn however_it_is_cut() {
        let mut prng = Prng::new(7);
        for _ in 0..500 {
            let lengths: Vec<usize> = (0..prng.below(8)).map(|_| prng.below(300) as usize).collect();
            let bytes = encoded(&lengths);
            let (mut framer, mut inbox, mut at) = (Framer::new(300), Vec::new(), 0);
            let mut chunk = BytesMut::new();
            while at < bytes.len() {
                let read = (1 + prng.below(200) as usize).min(bytes.len() - at);
                chunk.extend_from_slice(&bytes[at..at + read]);
                at += read;
                framer.frames(&mut chunk, &mut inbox).expect("well formed");
                if prng.below(3) == 0 {
                    framer.turn_over(std::mem::take(&mut chunk)).expect("well formed");
                }
            }
            check(&inbox, &lengths);
        }
    }

    #[test]
    fn a_payload_has_a_piece_a_chunk_however_it_trickles_in() {
        let bytes = encoded(&[1000]);
        let (mut framer, mut inbox, mut starts) = (Framer::new(1000), Vec::new(), Vec::new());
        for chunk_bytes in bytes.chunks(300) {
            let mut chunk = BytesMut::with_capacity(300);
            starts.push(chunk.as_ptr() as usize);
            for &byte in chunk_bytes {
                chunk.extend_from_slice(&[byte]);
                framer.frames(&mut chunk, &mut inbox).expect("well formed");
            }
            framer.turn_over(chunk).expect("well formed");
        }
        check(&inbox, &[1000]);
        starts[0] += Head::BYTES;
        let pieces: Vec<usize> = inbox[0].body.pieces().iter().map(|piece| piece.as_ptr() as usize).collect();
        assert_eq!(pieces, starts, "each where it was received");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_reserved() {
        let mut bytes = encoded(&[3]);
        bytes.extend_from_slice(Head { body_len: u32::MAX, ..Head::default() }.as_bytes());
        for cut in [bytes.len(), bytes.len() - 10] {
            let (mut framer, mut inbox) = (Framer::new(100), Vec::new());
            let mut first = BytesMut::from(&bytes[..cut]);
            let mut outcome = framer.frames(&mut first, &mut inbox);
            if outcome.is_ok() {
                framer.turn_over(first).expect("only part of a head");
                outcome = framer.frames(&mut BytesMut::from(&bytes[cut..]), &mut inbox);
            }
            assert_eq!(outcome, Err(TooLong { body_len: u32::MAX as usize, max_body: 100 }));
            assert_eq!(inbox.len(), 1, "what came before is kept");
        }
    }
}
