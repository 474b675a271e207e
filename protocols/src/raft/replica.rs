//! What a node has in every role: its log, its term and vote, and its clock's next alarm.

use super::journal::Journal;
use super::message::{Candidacy, HARD_STATE, Message, NO_VOTE};
use crate::io::{Config, Delivery, Outbox, Record};
use crate::log::{Entry, SlotLog};
use crate::prng::Prng;
use crate::wire::{Frame, Head, Malformed, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: NodeId,
    pub(super) group: u16,
    pub(super) voters: PeerSet,
    pub(super) peers: PeerSet,
    pub(super) window: usize,
    pub(super) election_timeout: u64,
    pub(super) heartbeat: u64,
    prng: Prng,
    pub(super) term: u64,
    pub(super) voted_for: Option<NodeId>,
    pub(super) log: SlotLog,
    pub(super) journal: Journal,
    pub(super) committed: Slot,
    pub(super) delivered: Slot,
    /// Every voter holds everything up to here, durably and committed. A fact, so it outlives the
    /// leader that said so.
    trim: Slot,
    /// When a follower or candidate loses patience. Zero in a fresh node, whose first timeout arms it.
    pub(super) election_at: Nanos,
    /// The vote of this term is given, and the candidate has not been told.
    pub(super) vote_due: bool,
}

impl Replica {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        assert!(config.voters.contains(config.id), "a node that does not vote has no part in this yet");
        assert!(config.window > 0, "a window of zero lets nothing through");
        Self {
            id: config.id,
            group: config.group,
            voters: config.voters,
            peers: config.peers(),
            window: config.window,
            election_timeout: config.election_timeout.0.max(1),
            heartbeat: config.heartbeat.0.max(1),
            prng: Prng::new(seed),
            term: 0,
            voted_for: None,
            log: SlotLog::default(),
            journal: Journal::default(),
            committed: Slot::ZERO,
            delivered: Slot::ZERO,
            trim: Slot::ZERO,
            election_at: Nanos::ZERO,
            vote_due: false,
        }
    }

    /// Takes a record of this node's own journal back, after those before it. A slot's record overrules
    /// all earlier ones of that slot and after it, as the write that it stands for did.
    pub(super) fn replay(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Malformed { kind: record.head.kind, what };
        if record.lsn != self.journal.last() + 1 {
            return Err(malformed("a gap in the journal"));
        }
        if record.head.kind == HARD_STATE {
            let [term, vote, ..] = record.head.words;
            self.term = term;
            self.voted_for = u32::try_from(vote).ok().map(NodeId);
            self.journal.replay(record.lsn, self.log.last());
            return Ok(());
        }
        let frame = Frame { head: record.head, body: record.body.clone() };
        let Message::Append(append) = Message::read(&frame)? else { return Err(malformed("no record of Raft's")) };
        if append.slot > self.log.last() + 1 || append.slot <= self.log.trimmed() {
            return Err(malformed("a slot out of order"));
        }
        self.log.truncate_after(append.slot - 1);
        let slot = self.log.append(Entry { stamp: append.entry_term, noop: append.noop, body: frame.body });
        self.journal.replay(record.lsn, slot);
        Ok(())
    }

    /// Draws a new election timeout from `[t, 2t)`: split votes are rare because the draws differ
    /// (paper, section 5.2).
    pub(super) fn rearm(&mut self, now: Nanos) {
        let timeout = self.election_timeout.saturating_add(self.prng.below(self.election_timeout));
        self.election_at = later(now, timeout);
    }

    /// Takes on a term, and in it a vote, and records both as one.
    pub(super) fn enter_term(&mut self, term: u64, vote: Option<NodeId>, out: &mut Outbox) {
        (self.term, self.voted_for, self.vote_due) = (term, vote, false);
        let vote = vote.map_or(NO_VOTE, |id| u64::from(id.0));
        let words = [term, vote, 0, 0, 0, 0];
        let head = Head { kind: HARD_STATE, group: self.group, from: self.id, words, ..Head::default() };
        self.journal.record_hard_state(head, out);
    }

    /// Whether a candidate's log holds all that this one's does (paper, section 5.4.1).
    pub(super) fn is_up_to_date(&self, candidacy: &Candidacy) -> bool {
        (candidacy.last_term, candidacy.last) >= (self.log.last_stamp(), self.log.last())
    }

    /// Appends an entry and records it under the head that it has on the wire.
    pub(super) fn write(&mut self, entry: Entry, head: Head, out: &mut Outbox) -> Slot {
        let body = entry.body.clone();
        let slot = self.log.append(entry);
        self.journal.record_slot(slot, head, body, out);
        slot
    }

    /// Drops what a newer leader has overruled. The record of what takes its place says so to
    /// whoever reads the journal again.
    pub(super) fn truncate_after(&mut self, slot: Slot) {
        self.log.truncate_after(slot);
        self.journal.truncate_after(slot);
    }

    pub(super) fn head(&self, message: Message) -> Head {
        Head { group: self.group, from: self.id, ..message.head() }
    }

    pub(super) fn send(&self, to: Recipients, message: Message, out: &mut Outbox) {
        out.transmit(to, self.head(message), Payload::EMPTY);
    }

    /// Every voter holds everything up to `slot`, durably and committed.
    pub(super) fn may_trim(&mut self, slot: Slot) {
        self.trim = self.trim.max(slot);
    }

    pub(super) fn trim(&self) -> Slot {
        self.trim
    }

    /// The end of every flush, whatever the role.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        self.answer_vote(out);
        self.deliver(out);
        // This stands in for snapshots. What every voter holds durably and committed, no voter will
        // ever ask for again, and no leader will ever overwrite; so it may go. It is safe only while
        // no node loses its memory: one that comes back blank under its old id must be sent a
        // snapshot, or never be let in. The price until then: a voter that is down keeps every
        // other's log from being trimmed.
        self.log.trim_to(self.trim.min(self.delivered).min(self.journal.slot()));
    }

    /// A vote is a promise, and must survive a crash before anyone counts on it (paper, section 5.2).
    fn answer_vote(&mut self, out: &mut Outbox) {
        if self.vote_due
            && self.journal.holds_hard_state()
            && let Some(candidate) = self.voted_for
        {
            self.vote_due = false;
            self.send(Recipients::One(candidate), Message::Grant { term: self.term }, out);
        }
    }

    fn deliver(&mut self, out: &mut Outbox) {
        while self.delivered < self.committed {
            let slot = self.delivered + 1;
            let Some(entry) = self.log.get(slot) else { return };
            out.deliveries.push(Delivery { slot, body: entry.body.clone() });
            self.delivered = slot;
        }
    }
}

/// `now` and `nanos` more, or never.
pub(super) fn later(now: Nanos, nanos: u64) -> Nanos {
    Nanos(now.0.saturating_add(nanos))
}
