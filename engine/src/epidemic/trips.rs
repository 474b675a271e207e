//! Frames that are under way in virtual time.

use std::collections::VecDeque;

use quorumbench_protocols::gossip::message::Message;
use quorumbench_protocols::{Frame, Nanos, NodeId, Prng};

use crate::sim::queue::Queue;

/// They all take equally long; or each a random time, uniform between nothing and twice the mean.
#[derive(Debug)]
pub(super) struct Trips {
    trip: u64,
    /// 0 where they take equally long.
    mean: u64,
    /// Those that take equally long, in the order of their arrival; and the others.
    equal: VecDeque<(Nanos, Frame)>,
    random: Queue<Frame>,
    /// When they set out that are pushed now, and when the last of them arrives: what is said to one node at once travels
    /// together.
    now: Nanos,
    last: Option<(NodeId, Nanos)>,
    /// Frames with updates.
    updates: usize,
}

impl Trips {
    /// Nothing is under way.
    pub(super) fn new(trip: u64, mean: u64) -> Self {
        let (equal, random) = (VecDeque::new(), Queue::new());
        Self { trip, mean, equal, random, now: Nanos::ZERO, last: None, updates: 0 }
    }

    /// Nothing is under way any more.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.trip, self.mean);
    }

    /// What is pushed from now on sets out at this time, all of one node.
    pub(super) fn depart(&mut self, now: Nanos) {
        (self.now, self.last) = (now, None);
    }

    /// Sends a frame on its way.
    pub(super) fn push(&mut self, frame: Frame, prng: &mut Prng) {
        self.updates += usize::from(Message::update(&frame.head).is_some());
        if self.mean == 0 {
            return self.equal.push_back((self.now + self.trip, frame));
        }
        let to = Message::recipient(&frame.head);
        let at = match self.last {
            Some((last, at)) if last == to => at,
            _ => self.now + (1 + prng.below(2 * self.mean)),
        };
        self.last = Some((to, at));
        self.random.push(at, frame);
    }

    /// When the next frame arrives.
    pub(super) fn next_at(&self) -> Nanos {
        let equal = self.equal.front().map(|(at, _)| *at);
        equal.or_else(|| self.random.next_at()).unwrap_or(Nanos::NEVER)
    }

    /// The next frame arrives.
    pub(super) fn pop(&mut self) -> Option<(Nanos, Frame)> {
        let next = self.equal.pop_front().or_else(|| self.random.pop());
        let is_update = next.as_ref().is_some_and(|(_, frame)| Message::update(&frame.head).is_some());
        self.updates -= usize::from(is_update);
        next
    }

    /// Whether anyone may yet get an update by what is under way.
    pub(super) fn carry_updates(&self) -> bool {
        self.updates > 0
    }
}
