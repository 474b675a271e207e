//! A follower: writes what its leader sends, and answers once a flush.

use super::membership::Members;
use super::message::{Accept, Append, Chunk, Message, Probe, Received, Reject};
use super::replica::Replica;
use crate::io::Outbox;
use crate::log::Entry;
use crate::mutant::Mutant;
use crate::transfer::Arriving;
use crate::wire::{Frame, Nanos, NodeId, Recipients, Slot};

#[derive(Debug)]
pub(super) struct Follower {
    /// The leader of this term, once it is known.
    pub(super) leader: Option<NodeId>,
    /// When it was last heard from.
    pub(super) heard_at: Nanos,
    /// The log matches the leader's up to here: seen in this term, not assumed of the log's end,
    /// which may be a dead leader's. Only this is acknowledged, only this is committed.
    matched: Slot,
    /// The last slot acknowledged to this leader.
    told: Slot,
    /// The latest of its rounds that matched.
    round: u64,
    /// It is owed an answer, even if there is nothing new to say.
    answer_due: bool,
    /// The first thing since the last flush that did not match.
    refusal: Option<Refusal>,
    /// A snapshot that is arriving; the next leader starts it anew.
    arriving: Arriving,
    /// Its sender is owed an answer: this much of this snapshot is here.
    received_due: Option<(Slot, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    prev: Slot,
    prev_term: u64,
    round: u64,
}

impl Follower {
    /// A leader holds everything that was ever committed (paper, section 5.4.3), so the logs are
    /// known to match that far, and that is no news to it.
    pub(super) fn new(leader: Option<NodeId>, now: Nanos, committed: Slot) -> Self {
        Self {
            leader,
            heard_at: now,
            matched: committed,
            told: committed,
            round: 0,
            answer_due: false,
            refusal: None,
            arriving: Arriving::default(),
            received_due: None,
        }
    }

    /// Whether an election would disturb a leader that is alive: it was heard from within the
    /// shortest time after which anyone may campaign (thesis, section 4.2.3).
    pub(super) fn hears_leader(&self, now: Nanos, replica: &Replica) -> bool {
        self.leader.is_some() && now.saturating_since(self.heard_at) < replica.timer.shortest()
    }

    /// The log is known to match its leader's up to here.
    pub(super) fn matched(&self) -> Slot {
        self.matched
    }

    /// Paper, section 5.3 and figure 2, steps 2 to 5 of `AppendEntries`. [`contradicts`] has been asked.
    pub(super) fn on_append(&mut self, replica: &mut Replica, append: &Append, frame: &Frame, out: &mut Outbox) {
        let (slot, prev) = (append.slot, append.slot - 1);
        if slot <= replica.log.trimmed() || replica.log.stamp(slot) == Some(append.entry_term) {
            // Same slot, same term, hence the same batch and the same log before it. It came twice,
            // so the acknowledgement may have been lost. What follows it stays: a late frame is no
            // conflict.
            if replica.mutant.is(Mutant::R6) && slot > replica.log.trimmed() {
                replica.truncate_after(slot);
            }
            self.matched = self.matched.max(slot);
            self.answer_due = true;
        } else if replica.log.stamp(prev) == Some(append.prev_term) {
            let mut kept = Vec::new();
            if replica.mutant.is(Mutant::R10) {
                let tail = (slot.0 + 1..=replica.log.last().0).map(Slot);
                kept.extend(tail.filter_map(|slot| replica.log.get(slot).cloned()));
            }
            if slot <= replica.log.last() {
                replica.truncate_after(prev);
            }
            let entry = Entry { stamp: append.entry_term, kind: append.kind, body: frame.body.clone() };
            self.matched = replica.write(entry, frame.head, out);
            for entry in kept {
                replica.log.append(entry);
            }
        } else {
            self.refuse(Refusal { prev, prev_term: append.prev_term, round: 0 });
        }
        self.learn(replica, append.commit, append.trim);
    }

    /// The heartbeat. It asks about the last slot sent, and never truncates: that the leader's log
    /// ended there is no conflict with what this one has beyond.
    pub(super) fn on_probe(&mut self, replica: &mut Replica, probe: &Probe) {
        if probe.prev <= replica.log.trimmed() || replica.log.stamp(probe.prev) == Some(probe.prev_term) {
            self.matched = self.matched.max(probe.prev);
            self.round = self.round.max(probe.round);
            self.answer_due = true;
        } else {
            self.refuse(Refusal { prev: probe.prev, prev_term: probe.prev_term, round: probe.round });
        }
        self.learn(replica, probe.commit, probe.trim);
    }

    /// Thesis, figure 5.3. What is here already is not replaced, neither what is committed nor a slot
    /// that matches, nor anything after it. [`contradicts`] has been asked.
    pub(super) fn on_chunk(&mut self, replica: &mut Replica, chunk: &Chunk, frame: &Frame, out: &mut Outbox) {
        let late = chunk.slot <= replica.committed && !replica.mutant.is(Mutant::R11a);
        if late || replica.log.stamp(chunk.slot) == Some(chunk.stamp) {
            self.matched = self.matched.max(chunk.slot);
            self.learn(replica, chunk.slot, Slot::ZERO);
            self.answer_due = true;
            return;
        }
        let (have, whole) = self.arriving.add(&chunk.part(), &frame.body);
        self.received_due = Some((chunk.slot, have));
        if let Some(snapshot) = whole {
            // The first part was checked to begin with one, but what follows may be another's.
            let Some(members) = Members::read(&snapshot.body.slice(0, Members::BYTES.min(snapshot.body.len()))) else {
                return;
            };
            self.matched = chunk.slot;
            replica.install(snapshot, members, out);
        }
    }

    /// Of a burst behind a gap only the first is refused; a probe outranks it, since the leader that
    /// sent one listens to nothing else.
    fn refuse(&mut self, refusal: Refusal) {
        if self.refusal.is_none_or(|first| refusal.round > first.round) {
            self.refusal = Some(refusal);
        }
    }

    fn learn(&self, replica: &mut Replica, commit: Slot, trim: Slot) {
        replica.committed = replica.committed.max(commit.min(if replica.mutant.is(Mutant::R7) {
            replica.log.last()
        } else {
            self.matched
        }));
        replica.may_trim(trim);
    }

    /// One acknowledgement, however many slots came.
    ///
    /// It waits for the term to be durable. Slots of this term are recorded after it, so for them it
    /// would be anyway; and a node must not follow a leader in a term that it could forget.
    pub(super) fn flush(&mut self, replica: &Replica, out: &mut Outbox) {
        let Some(leader) = self.leader else { return };
        if !replica.journal.holds_hard_state() {
            return;
        }
        if replica.mutant.is(Mutant::R8) {
            self.matched = self.matched.max(replica.log.last());
        }
        let hasty = replica.mutant.is(Mutant::R4a);
        let durable = if hasty { self.matched } else { self.matched.min(replica.journal.slot()) };
        if durable > self.told || self.answer_due {
            self.told = self.told.max(durable);
            self.answer_due = false;
            let accept = Accept { term: replica.term, durable, received: self.matched, round: self.round };
            replica.send(Recipients::One(leader), Message::Accept(accept), out);
        }
        if let Some((slot, offset)) = self.received_due.take() {
            let received = Received { term: replica.term, slot, offset };
            replica.send(Recipients::One(leader), Message::Received(received), out);
        }
        if let Some(refusal) = self.refusal.take()
            && refusal.prev > self.matched
        {
            replica.send(Recipients::One(leader), Message::Reject(self.hint(replica, refusal)), out);
        }
    }

    /// Where the logs may meet. The slots after the hint are either missing here or of later terms
    /// than the leader's slot there, so none of them can match.
    fn hint(&self, replica: &Replica, refusal: Refusal) -> Reject {
        let Refusal { prev, prev_term, round } = refusal;
        let log = &replica.log;
        let hint = log.last_at_most(prev - 1, prev_term).max(self.matched);
        let hint_term = log.stamp(hint).unwrap_or(0);
        let hint_first = (log.last_at_most(hint, hint_term.saturating_sub(1)) + 1).min(hint);
        Reject { term: replica.term, prev, hint, hint_term, hint_first, round }
    }
}

/// Whether a leader's claim that `term` stands in `slot` is impossible: the slot is settled, and holds
/// something else. `settled` is the committed slot, or what this leader itself has said before.
pub(super) fn contradicts(replica: &Replica, settled: Slot, slot: Slot, term: u64) -> bool {
    slot <= settled && replica.log.stamp(slot).is_some_and(|stamp| stamp != term)
}
