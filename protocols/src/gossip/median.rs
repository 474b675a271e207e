//! Median-counter: Karp, Schindelhauer, Shenker, Vöcking, *Randomized Rumor Spreading* (FOCS 2000), section 3.
//!
//! In every cycle a node calls its partners. A call, and its answer, list what the node knows, and what it still sends
//! follows, each update with its state in its head: if that is lost, the contact does not count for it.

use super::Gossip;
use super::config::Style;
use super::message::{self, Known, Message};
use crate::io::Outbox;
use crate::wire::{NodeId, Payload, Slot};

/// Which states of a rumor at a node are which: A is 0, B-m is m, up to the M that is given here; then come as many cycles
/// in C, and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    most: u8,
}

impl Stages {
    /// With this M.
    ///
    /// # Panics
    /// If it is 0, or more than 100.
    pub const fn new(most: u8) -> Self {
        assert!(most > 0 && most <= 100, "as many states B as a byte has room for");
        Self { most }
    }

    /// M: how many of B there are, and cycles in C.
    pub const fn most(self) -> u8 {
        self.most
    }

    /// Whether a node in this state sends the rumor: in B and C.
    #[inline]
    pub const fn sends(self, state: u8) -> bool {
        state > 0 && state <= 2 * self.most
    }

    /// Whether it is a state of B.
    #[inline]
    pub const fn is_b(self, state: u8) -> bool {
        state > 0 && state <= self.most
    }

    /// The state after a cycle, in which `newer` more contacts were newer than this one, or as new, than were not, and
    /// the rumor came from nodes in B, or in C.
    #[inline]
    pub fn next(self, state: u8, newer: i16, from_b: bool, from_c: bool) -> u8 {
        let first_c = self.most + 1;
        match state {
            0 if from_c => first_c,
            0 => u8::from(from_b),
            _ if self.is_b(state) && from_c => first_c,
            _ if self.is_b(state) => state + u8::from(newer > 0),
            _ => state + u8::from(self.sends(state)),
        }
    }
}

/// A rumor's state, as of the start of the cycle, and what contacts have made of it since.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meetings {
    state: u8,
    newer: i16,
    from_b: bool,
    from_c: bool,
}

impl Meetings {
    /// Of a rumor that begins here: in B-1 from the next cycle on.
    pub(super) fn origin() -> Self {
        Self { from_b: true, ..Self::default() }
    }

    fn meet(&mut self, theirs: u8) {
        self.newer = self.newer.saturating_add(if theirs >= self.state { 1 } else { -1 });
    }

    /// The cycle is over. Whether the rumor is still sent.
    pub(super) fn end_cycle(&mut self, stages: Stages) -> bool {
        let state = stages.next(self.state, self.newer, self.from_b, self.from_c);
        *self = Self { state, ..Self::default() };
        stages.sends(state)
    }
}

impl Gossip {
    pub(super) fn stages(&self) -> Option<Stages> {
        if let Style::MedianCounter(stages) = self.config.style { Some(stages) } else { None }
    }

    /// Says what it knows, and sends what it spreads.
    pub(super) fn call(&self, partner: NodeId, is_answer: bool, out: &mut Outbox) {
        let known = self.rumors.iter().filter(|(_, rumor)| rumor.since < self.cycle);
        let listed = known.map(|(&number, rumor)| Known { number, is_fresh: rumor.spreading.is_some() });
        self.say(Message::Call { is_answer }, partner, message::digest(listed), out);
        for (number, rumor) in self.offered() {
            let counted = Message::Counted { number, state: rumor.meetings.state };
            self.say(counted, partner, rumor.body.clone(), out);
        }
    }

    /// Whatever the other does not list, it does not know: it is in A. What it lists, and does not send, is in D.
    pub(super) fn on_call(&mut self, from: NodeId, is_answer: bool, body: &Payload, out: &mut Outbox) {
        let mut listed = message::read_digest(body).peekable();
        for (&number, rumor) in &mut self.rumors {
            while listed.next_if(|known| known.number < number).is_some() {}
            match listed.next_if(|known| known.number == number) {
                None => rumor.meetings.meet(0),
                Some(known) if !known.is_fresh => rumor.meetings.meet(u8::MAX),
                Some(_) => {}
            }
        }
        if !is_answer {
            self.call(from, true, out);
        }
    }

    pub(super) fn on_counted(&mut self, from: NodeId, number: Slot, state: u8, body: &Payload, out: &mut Outbox) {
        let Some(stages) = self.stages() else { return };
        self.learn(number, body, true, Some(from), out);
        let Some(rumor) = self.rumors.get_mut(&number) else { return };
        rumor.meetings.meet(state);
        let came_from = if stages.is_b(state) { &mut rumor.meetings.from_b } else { &mut rumor.meetings.from_c };
        *came_from = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_each_other_as_published() {
        let stages = Stages::new(3);
        let [a, b1, b3, c1, c3, d] = [0, 1, 3, 4, 6, 7];
        let next = |state, newer, from: &str| stages.next(state, newer, from.contains('B'), from.contains('C'));
        assert_eq!([next(a, 0, ""), next(a, 2, "B"), next(a, 1, "C"), next(a, 2, "BC")], [a, b1, c1, c1]);
        assert_eq!([next(b1, 1, "B"), next(b1, 0, "B"), next(b1, -1, ""), next(b1, -1, "C")], [2, b1, b1, c1]);
        assert_eq!([next(b3, 1, "B"), next(c1, -5, "B"), next(c3, 0, ""), next(d, 3, "BC")], [c1, 5, d, d]);
        assert_eq!([a, b1, b3, c1, c3, d].map(|state| stages.sends(state)), [false, true, true, true, true, false]);
    }
}
