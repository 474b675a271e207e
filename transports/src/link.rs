//! One peer's outgoing side: one list in the kernel's hands, one being filled.

use quorumbench_protocols::{Head, Payload};
use zerocopy::IntoBytes;

use crate::gather::Gather;
use crate::{Counters, Options};

/// Frames for one peer. At most one write is under way, because two might be reordered; what comes
/// meanwhile is gathered for the next.
#[derive(Debug, Default)]
pub struct Link {
    filling: Gather,
    flying: Gather,
    /// Bytes of `flying` that were written.
    written: usize,
}

impl Link {
    /// Queues the hello of a new connection. It is nobody's frame: no counter sees it.
    pub fn open(&mut self, hello: &Head) {
        debug_assert!(self.is_empty(), "a hello comes first");
        self.filling.append(hello.as_bytes());
    }

    /// Queues a frame, or drops and counts it if the link is full.
    pub fn push(&mut self, head: &Head, body: &Payload, options: &Options, counters: &mut Counters) {
        let bytes = Head::BYTES + body.len();
        if !self.is_empty() && self.queued_bytes() + bytes > options.link_bytes {
            counters.dropped_frames += 1;
            return;
        }
        counters.copied_bytes += self.filling.push(head, body, options.gather_threshold) as u64;
        counters.sent_frames += 1;
        counters.sent_bytes += bytes as u64;
    }

    /// What to write now: call it when no write is under way. The runs stay where they are until
    /// [`wrote`](Self::wrote) or [`reset`](Self::reset). Nothing comes out of an empty link.
    pub fn to_write(&mut self) -> impl Iterator<Item = &[u8]> {
        if self.written == self.flying.bytes() {
            self.flying.clear();
            self.written = 0;
            std::mem::swap(&mut self.filling, &mut self.flying);
        }
        self.flying.runs(self.written)
    }

    /// No fewer than the runs that [`to_write`](Self::to_write) will come up with.
    pub fn most_runs(&self) -> usize {
        self.flying.most_runs().max(self.filling.most_runs())
    }

    /// The write has taken `bytes`; a short one is continued by the next [`to_write`](Self::to_write).
    pub fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        debug_assert!(self.written <= self.flying.bytes(), "no more can be written than was there");
        if self.written == self.flying.bytes() {
            self.flying.clear();
            self.written = 0;
        }
    }

    /// The connection is gone, and with it what was under way and queued: half a frame cannot be
    /// continued on another. Says how many frames were lost.
    pub fn reset(&mut self) -> usize {
        let lost = self.flying.frames() + self.filling.frames();
        self.flying.clear();
        self.filling.clear();
        self.written = 0;
        lost
    }

    /// Bytes queued and not yet written.
    pub fn queued_bytes(&self) -> usize {
        self.filling.bytes() + self.flying.bytes() - self.written
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.queued_bytes() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn one_list_flies_while_the_next_is_filled() {
        let (options, mut counters) = (Options::default(), Counters::default());
        let mut link = Link::default();
        let body = Payload::from(Bytes::from_static(b"0123456789"));
        link.push(&Head::default(), &body, &options, &mut counters);
        assert_eq!(link.to_write().map(<[u8]>::len).sum::<usize>(), 74);
        link.push(&Head::default(), &body, &options, &mut counters);
        link.wrote(70);
        assert_eq!(link.to_write().flatten().copied().collect::<Vec<u8>>(), b"6789", "a short write goes on");
        link.wrote(4);
        assert_eq!(link.to_write().map(<[u8]>::len).sum::<usize>(), 74);
        link.wrote(74);
        assert!(link.is_empty() && link.to_write().next().is_none());
        assert_eq!((counters.sent_frames, counters.sent_bytes, counters.copied_bytes), (2, 148, 20));
    }

    #[test]
    fn a_hello_is_written_and_not_counted() {
        let (options, mut counters) = (Options::default(), Counters::default());
        let mut link = Link::default();
        link.open(&Head::default());
        link.push(&Head::default(), &Payload::EMPTY, &options, &mut counters);
        assert_eq!(link.to_write().map(<[u8]>::len).sum::<usize>(), 128);
        assert_eq!((counters.sent_frames, link.reset()), (1, 1));
    }

    #[test]
    fn a_full_link_drops_and_counts() {
        let (options, mut counters) = (Options { link_bytes: 100, ..Options::default() }, Counters::default());
        let mut link = Link::default();
        let big = Payload::from(Bytes::from(vec![0; 1000]));
        link.push(&Head::default(), &big, &options, &mut counters);
        assert_eq!(counters.dropped_frames, 0, "one frame always fits, however long");
        link.push(&Head::default(), &Payload::EMPTY, &options, &mut counters);
        assert_eq!((counters.dropped_frames, counters.sent_frames), (1, 1));
        assert_eq!(link.reset(), 1);
        assert!(link.is_empty());
    }
}
