//! What is on its way to one peer.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use quorumbench_protocols::{Head, Nanos, NodeId, Payload, Recipients, Transmit};

use super::{Fate, LinkState};

/// A link, and the frames that it holds.
#[derive(Debug)]
pub(super) struct Queue {
    peer: NodeId,
    link: LinkState,
    /// In the order in which they leave; then those that others may overtake, in theirs.
    lanes: [VecDeque<Held>; 2],
    /// Of all that is held, heads included.
    bytes: usize,
    most_bytes: usize,
}

/// A [`Transmit`] without its peer, which all of a queue share: so many are held that their size is their cost.
#[derive(Debug)]
struct Held {
    head: Head,
    body: Payload,
    leaves: Nanos,
}

const _: () = assert!(size_of::<Held>() <= 128, "two lines of a cache");

impl Held {
    fn bytes(&self) -> usize {
        Head::BYTES + self.body.len()
    }
}

impl Queue {
    pub(super) fn new(peer: NodeId, link: LinkState, most_bytes: usize) -> Self {
        Self { peer, link, lanes: Default::default(), bytes: 0, most_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What becomes of a frame of so many bytes that is sent now.
    pub(super) fn pass(&mut self, now: Nanos, bytes: usize) -> Fate {
        if self.bytes + bytes > self.most_bytes { Fate::Full } else { self.link.pass(now, bytes) }
    }

    /// Holds a frame until then: no earlier than any before it.
    pub(super) fn hold(&mut self, leaves: Nanos, head: Head, body: Payload) {
        self.push(0, Held { head, body, leaves });
    }

    /// Holds a frame back until then: no earlier than any that was, before it.
    pub(super) fn hold_back(&mut self, leaves: Nanos, head: Head, body: Payload) {
        self.push(1, Held { head, body, leaves });
    }

    fn push(&mut self, lane: usize, held: Held) {
        self.bytes += held.bytes();
        self.lanes[lane].push_back(held);
    }

    /// Appends what is due, and says when the next is.
    pub(super) fn release(&mut self, now: Nanos, due: &mut Vec<Transmit>, lateness: &mut Histogram<u64>) -> Nanos {
        let to = Recipients::One(self.peer);
        for lane in &mut self.lanes {
            while lane.front().is_some_and(|held| held.leaves <= now)
                && let Some(held) = lane.pop_front()
            {
                self.bytes -= held.bytes();
                lateness.saturating_record(now.0 - held.leaves.0);
                due.push(Transmit { to, head: held.head, body: held.body });
            }
        }
        self.lanes.iter().filter_map(VecDeque::front).map(|held| held.leaves).min().unwrap_or(Nanos::NEVER)
    }
}
