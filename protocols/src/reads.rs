//! Reads that do not go through the log (thesis, section 6.4): how a leader knows that nobody has
//! committed anything behind its back.

use std::collections::VecDeque;

use crate::io::{Outbox, ReadAnswer, ReadMode, ReadOutcome};
use crate::wire::{Nanos, Slot};

/// Reads of one term (or ballot, epoch, or connection to a leader) that wait. They outlive the leader, so that its end
/// refuses them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    term: u64,
    /// Since the last flush, or since before the term's first commit: a new leader does not know how
    /// much of its log is committed until then.
    waiting: Vec<(u64, ReadMode)>,
    /// Until the round is answered by a majority.
    asked: VecDeque<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    id: u64,
    slot: Slot,
    /// The first round of probes that was sent after the read came. Rounds are counted by a term's
    /// leader and a term has one, so no two rounds are ever the same.
    round: u64,
}

impl Reads {
    /// More than these wait for nobody: the driver asked for too much at once.
    const LIMIT: usize = 1 << 16;

    /// Takes a read on a node that was `delivered` so much, and leads the term `leads` or none.
    #[inline(never)]
    pub(crate) fn take(&mut self, id: u64, mode: ReadMode, delivered: Slot, leads: Option<u64>, out: &mut Outbox) {
        match leads {
            _ if mode == ReadMode::Stale => serve(id, delivered, out),
            Some(term) => self.ask(term, id, mode, out),
            None => refuse(id, out),
        }
    }

    /// Takes a read for the leader of `term`.
    pub(crate) fn ask(&mut self, term: u64, id: u64, mode: ReadMode, out: &mut Outbox) {
        self.enter(term, out);
        if self.waiting.len() + self.asked.len() < Self::LIMIT {
            self.waiting.push((id, mode));
        } else {
            refuse(id, out);
        }
    }

    /// The leader of `term` flushes; reads of another term's leader are refused.
    pub(crate) fn enter(&mut self, term: u64, out: &mut Outbox) {
        if self.term != term {
            self.refuse_all(out);
            self.term = term;
        }
    }

    /// This node does not lead: somebody else may, and may have committed more.
    pub(crate) fn refuse_all(&mut self, out: &mut Outbox) {
        let asked = self.asked.drain(..).map(|asked| asked.id);
        self.waiting.drain(..).map(|(id, _)| id).chain(asked).for_each(|id| refuse(id, out));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// Everything up to `committed` is committed, one slot of this term at least, and `round` is the
    /// next. Says whether it must be sent.
    pub(crate) fn index(&mut self, committed: Slot, round: u64, leased: bool, out: &mut Outbox) -> bool {
        let before = self.asked.len();
        for (id, mode) in self.waiting.drain(..) {
            if mode == ReadMode::Lease && leased {
                serve(id, committed, out);
            } else {
                self.asked.push_back(Asked { id, slot: committed, round });
            }
        }
        self.asked.len() > before
    }

    /// Whether a read waits that a lease would answer.
    pub(crate) fn wants_lease(&self) -> bool {
        self.waiting.iter().any(|&(_, mode)| mode == ReadMode::Lease)
    }

    /// A majority has answered `round`: this node led when it was sent.
    pub(crate) fn confirm(&mut self, round: u64, out: &mut Outbox) {
        self.confirm_at(round, Slot::ZERO, out);
    }

    /// The same, by a leader elsewhere, to whom `least` was committed when it was asked.
    pub(crate) fn confirm_at(&mut self, round: u64, least: Slot, out: &mut Outbox) {
        while let Some(&Asked { id, slot, .. }) = self.asked.front().filter(|asked| asked.round <= round) {
            self.asked.pop_front();
            serve(id, slot.max(least), out);
        }
    }
}

/// Serves a read once `slot` was delivered here.
pub(crate) fn serve(id: u64, slot: Slot, out: &mut Outbox) {
    out.reads.push(ReadAnswer { id, outcome: ReadOutcome::At(slot) });
}

/// Sends the client elsewhere.
pub(crate) fn refuse(id: u64, out: &mut Outbox) {
    out.reads.push(ReadAnswer { id, outcome: ReadOutcome::Refused });
}

/// For how long after a round was sent no other node can be elected (thesis, section 6.4.1): whoever
/// answered it votes for nobody within the shortest election timeout of its own clock.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// When rounds were sent, ascending. Not of every round: one that is missing counts as sent when
    /// the one before it was.
    sent: VecDeque<(u64, Nanos)>,
    length: u64,
    /// A transfer was begun. The vote that it asks for ignores leases, and may come at any time
    /// until the term ends, even long after the transfer was given up; so this term has no more.
    void: bool,
}

impl Lease {
    /// The leader's clock may be slow and the others' fast by `drift` parts per thousand.
    pub(crate) fn new(election_timeout: u64, drift: u32) -> Self {
        let drift = u64::from(drift.min(1000));
        let length = u128::from(election_timeout) * u128::from(1000 - drift) / u128::from(1000 + drift);
        Self { sent: VecDeque::new(), length: length as u64, void: false }
    }

    pub(crate) fn end(&mut self) {
        self.void = true;
        self.sent.clear();
    }

    /// A round goes out. At most a few dozen are remembered for a lease.
    pub(crate) fn on_round(&mut self, round: u64, now: Nanos) {
        let apart = |&(_, last): &(u64, Nanos)| now.saturating_since(last) > self.length / 32;
        if self.void || !self.sent.back().is_none_or(apart) {
            return;
        }
        while self.sent.front().is_some_and(|&(_, first)| now.saturating_since(first) >= self.length) {
            self.sent.pop_front();
        }
        self.sent.push_back((round, now));
    }

    /// Whether it holds, now that a majority answered `round`.
    pub(crate) fn holds(&self, now: Nanos, round: u64) -> bool {
        let confirmed = self.sent.iter().rev().find(|&&(sent, _)| sent <= round);
        confirmed.is_some_and(|&(_, at)| self.lasts(now, at))
    }

    /// Whether it holds, if it began at `since`.
    pub(super) fn lasts(&self, now: Nanos, since: Nanos) -> bool {
        !self.void && now.saturating_since(since) < self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_shorter_than_any_election_timeout() {
        let mut lease = Lease::new(1000, 100);
        assert_eq!(lease.length, 818, "900 of 1100: this clock slow, theirs fast");
        lease.on_round(1, Nanos(5000));
        lease.on_round(2, Nanos(5001));
        assert!(!lease.holds(Nanos(5001), 0), "nobody answered");
        assert!(lease.holds(Nanos(5817), 2) && !lease.holds(Nanos(5818), 2), "from when it was sent");
        lease.on_round(3, Nanos(5500));
        assert!(!lease.holds(Nanos(5900), 2) && lease.holds(Nanos(5900), 3));
        lease.end();
        lease.on_round(4, Nanos(5900));
        assert!(!lease.holds(Nanos(5901), 4), "a transfer was begun");
        assert_eq!(Lease::new(1000, 5000).length, 0, "clocks that say nothing");
    }

    #[test]
    fn few_rounds_are_remembered() {
        let mut lease = Lease::new(1_000_000, 10);
        (0..100_000).for_each(|round| lease.on_round(round, Nanos(round * 100)));
        assert!(lease.sent.len() <= 40, "{}", lease.sent.len());
        assert!(lease.holds(Nanos(10_000_000), 99_999));
    }
}
