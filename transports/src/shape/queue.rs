//! What is on its way to one peer.

use std::collections::VecDeque;

use quorumbench_protocols::{Head, Nanos, Transmit};

use super::{Fate, Lateness, LinkState};

/// A link, and the frames that it holds.
#[derive(Debug)]
pub(super) struct Queue {
    link: LinkState,
    /// When each leaves, in that order; then those that others may overtake, in theirs.
    lanes: [VecDeque<(Nanos, Transmit)>; 2],
    /// Of all that is held, heads included.
    bytes: usize,
    most_bytes: usize,
}

impl Queue {
    pub(super) fn new(link: LinkState, most_bytes: usize) -> Self {
        Self { link, lanes: Default::default(), bytes: 0, most_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What becomes of a frame of so many bytes that is sent now.
    pub(super) fn pass(&mut self, now: Nanos, bytes: usize) -> Fate {
        if self.bytes + bytes > self.most_bytes { Fate::Full } else { self.link.pass(now, bytes) }
    }

    /// Holds a frame until then: no earlier than any before it.
    pub(super) fn hold(&mut self, at: Nanos, transmit: Transmit, bytes: usize) {
        self.bytes += bytes;
        self.lanes[0].push_back((at, transmit));
    }

    /// Holds a frame back until then: no earlier than any that was, before it.
    pub(super) fn hold_back(&mut self, at: Nanos, transmit: Transmit, bytes: usize) {
        self.bytes += bytes;
        self.lanes[1].push_back((at, transmit));
    }

    /// Appends what is due, and says when the next is.
    pub(super) fn release(&mut self, now: Nanos, due: &mut Vec<Transmit>, lateness: &mut Lateness) -> Nanos {
        let mut next = Nanos::NEVER;
        for lane in &mut self.lanes {
            let held = lane.partition_point(|(at, _)| *at <= now);
            for (at, transmit) in lane.drain(..held) {
                self.bytes -= Head::BYTES + transmit.body.len();
                lateness.record(now.0 - at.0);
                due.push(transmit);
            }
            next = lane.front().map_or(next, |&(at, _)| next.min(at));
        }
        next
    }
}
