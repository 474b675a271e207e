//! What goes out in one write: heads and small payloads side by side, large payloads by handle.

use bytes::Bytes;
use quorumbench_protocols::{Head, Payload};
use zerocopy::IntoBytes;

/// Frames on their way to one peer.
///
/// A gather list's entry costs more than copying a few hundred bytes does, so payloads below a
/// threshold are copied next to their heads (and counted); the others are held by handle until the
/// kernel has them.
#[derive(Debug, Default)]
pub struct Gather {
    /// Heads and small payloads, in order.
    staged: Vec<u8>,
    /// Large payloads, in order.
    held: Vec<Held>,
    bytes: usize,
    frames: usize,
}

#[derive(Debug)]
struct Held {
    /// The offset in `staged` that it comes before.
    at: usize,
    /// Bytes of the whole list up to its end.
    end: usize,
    bytes: Bytes,
}

impl Gather {
    /// Adds a frame, and says how many payload bytes it copied.
    pub fn push(&mut self, head: &Head, body: &Payload, threshold: usize) -> usize {
        self.raw(head.as_bytes());
        self.frames += 1;
        self.append(body, threshold)
    }

    /// Adds bytes that are nobody's frame, copied.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.staged.extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    /// Adds a payload without a head, and says how many of its bytes it copied.
    pub fn append(&mut self, body: &Payload, threshold: usize) -> usize {
        let mut copied = 0;
        for piece in body.pieces() {
            if piece.len() < threshold {
                self.staged.extend_from_slice(piece);
                copied += piece.len();
            } else if !piece.is_empty() {
                let end = self.bytes + piece.len();
                self.held.push(Held { at: self.staged.len(), end, bytes: piece.clone() });
            }
            self.bytes += piece.len();
        }
        copied
    }

    /// Adds a head that is nobody's frame: what opens a connection.
    pub fn open(&mut self, head: &Head) {
        self.raw(head.as_bytes());
    }

    /// The contiguous runs in order, after the first `skip` bytes.
    pub fn runs(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        // A long list is written in many parts: what is over is not walked through each time.
        let over = self.held.partition_point(|held| held.end <= skip);
        let (mut from, mut skip) = self.held[..over].last().map_or((0, skip), |held| (held.at, skip - held.end));
        let ends = self.held[over..].iter().map(|held| (held.at, &held.bytes[..]));
        let runs = ends.chain([(self.staged.len(), &[][..])]).flat_map(move |(end, held)| {
            let run = &self.staged[from..end];
            from = end;
            [run, held]
        });
        runs.filter_map(move |run| {
            let skipped = run.len().min(skip);
            skip -= skipped;
            (run.len() > skipped).then(|| &run[skipped..])
        })
    }

    /// No fewer than the runs that there are.
    pub fn most_runs(&self) -> usize {
        2 * self.held.len() + 1
    }

    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames in all.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Lets go of everything and keeps its memory, unless a burst made that large.
    pub fn clear(&mut self) {
        self.staged.clear();
        self.staged.shrink_to(KEPT_BYTES);
        self.held.clear();
        (self.bytes, self.frames) = (0, 0);
    }
}

/// What a cleared list keeps to be filled again.
const KEPT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_payloads_are_copied_and_large_ones_are_held() {
        let mut gather = Gather::default();
        let (small, large) = (Bytes::from_static(b"small"), Bytes::from(vec![7; 600]));
        let push = |gather: &mut Gather, body: &Payload| gather.push(&Head::default(), body, 512);
        assert_eq!(push(&mut gather, &small.clone().into()), 5);
        assert_eq!(push(&mut gather, &large.clone().into()), 0);
        assert_eq!(push(&mut gather, &Payload::EMPTY), 0);
        assert_eq!(push(&mut gather, &Payload::Pieces([large.clone(), small.clone()].into())), 5);
        let runs: Vec<&[u8]> = gather.runs(0).collect();
        assert_eq!(runs.iter().map(|run| run.len()).collect::<Vec<_>>(), [64 + 5 + 64, 600, 64 + 64, 600, 5]);
        assert!(runs.len() <= gather.most_runs());
        assert_eq!(runs[1].as_ptr(), large.as_ptr(), "held, not copied");
        assert_eq!((gather.bytes(), gather.frames()), (4 * 64 + 2 * 600 + 10, 4));
        gather.clear();
        assert!(gather.is_empty() && gather.runs(0).next().is_none());
    }

    #[test]
    fn what_was_written_is_skipped() {
        let mut gather = Gather::default();
        for len in [0, 3, 700, 20] {
            gather.push(&Head::default(), &Bytes::from(vec![len as u8; len]).into(), 512);
        }
        let all: Vec<u8> = gather.runs(0).flatten().copied().collect();
        for skip in 0..=all.len() {
            assert_eq!(gather.runs(skip).flatten().copied().collect::<Vec<u8>>(), all[skip..]);
        }
    }
}
