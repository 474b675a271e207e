//! What a node has in every role: its log, its term and vote, and its clock's next alarm.

use super::membership::{Members, Memberships};
use super::message::{Candidacy, HARD_STATE, Message, NO_VOTE, SNAPSHOT};
use crate::io::{Config, DeliveryKind, Outbox, Record};
use crate::journal::Journal;
use crate::log::{Entry, SlotLog};
use crate::mutant::{Mutant, Switch};
use crate::snapshots::Snapshots;
use crate::timer::ElectionTimer;
use crate::wire::{Frame, Head, Lsn, Malformed, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) id: NodeId,
    pub(super) group: u16,
    /// Who counts, and for what.
    pub(super) members: Members,
    /// Everyone but this node.
    pub(super) peers: PeerSet,
    pub(super) memberships: Memberships,
    pub(super) window: usize,
    pub(super) chunk: usize,
    pub(super) clock_drift: u32,
    pub(super) heartbeat: u64,
    pub(super) term: u64,
    pub(super) voted_for: Option<NodeId>,
    pub(super) log: SlotLog,
    pub(super) journal: Journal,
    pub(super) snapshots: Snapshots,
    pub(super) committed: Slot,
    pub(super) delivered: Slot,
    /// Every member holds everything up to here, durably and committed. A fact, so it outlives the
    /// leader that said so.
    trim: Slot,
    /// When a follower or candidate loses patience.
    pub(super) timer: ElectionTimer,
    /// Until then it votes for nobody but on its leader's own wish. Before a crash it may have
    /// promised a leader not to, by hearing from it; that leader may hold a lease.
    pub(super) quiet_until: Nanos,
    /// The vote of this term is given, and the candidate has not been told.
    pub(super) vote_due: bool,
    pub(super) mutant: Switch,
}

impl Replica {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        assert!(config.window > 0, "a window of zero lets nothing through");
        let members = Members::of(config.voters);
        Self {
            id: config.id,
            group: config.group,
            members,
            peers: config.peers(),
            memberships: Memberships::new(Slot::ZERO, members),
            window: config.window,
            clock_drift: config.clock_drift,
            chunk: config.chunk.max(Members::BYTES),
            heartbeat: config.heartbeat.0.max(1),
            term: 0,
            voted_for: None,
            log: SlotLog::default(),
            journal: Journal::new(config.mutant),
            snapshots: Snapshots::default(),
            committed: Slot::ZERO,
            delivered: Slot::ZERO,
            trim: Slot::ZERO,
            timer: ElectionTimer::new(config.election_timeout, seed).of_first_leader(config),
            quiet_until: Nanos::ZERO,
            vote_due: false,
            mutant: config.mutant,
        }
    }

    /// Takes a record of this node's own journal back, after those before it. A slot's record overrules
    /// all earlier ones of that slot and after it, as the write that it stands for did; unless it is
    /// the slot that stands there already, written down again behind a snapshot.
    pub(super) fn replay(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Malformed { kind: record.head.kind, what };
        self.journal.continues(record, SNAPSHOT)?;
        if record.head.kind == SNAPSHOT {
            return self.replay_snapshot(record).ok_or(malformed("no snapshot"));
        }
        if record.head.kind == HARD_STATE {
            let [term, vote, ..] = record.head.words;
            self.take_hard_state(term, vote);
            self.journal.replay(record.lsn, self.log.last());
            return Ok(());
        }
        let frame = Frame { head: record.head, body: record.body.clone() };
        let Message::Append(append) = Message::read(&frame)? else { return Err(malformed("no record of Raft's")) };
        if append.slot > self.log.last() + 1 || append.slot <= self.log.trimmed() {
            return Err(malformed("a slot out of order"));
        }
        if self.log.stamp(append.slot) != Some(append.entry_term) {
            self.truncate_after(append.slot - 1);
            self.append(Entry { stamp: append.entry_term, kind: append.kind, body: frame.body });
        }
        self.journal.replay(record.lsn, self.log.last());
        Ok(())
    }

    pub(super) fn take_hard_state(&mut self, term: u64, vote: u64) {
        self.term = term;
        self.voted_for = u32::try_from(vote).ok().map(NodeId);
    }

    /// Waits for a leader from `now` on. Who is to lead first asks once a heartbeat, and the others only after a timeout
    /// of theirs, for as long as there was no term: a pre-vote promises nothing, and asking often disturbs nobody then.
    pub(super) fn await_leader(&mut self, now: Nanos) {
        self.timer.await_leader(now, self.term == 0);
    }

    /// The vote of this term as a record holds it.
    pub(super) fn vote_word(&self) -> u64 {
        self.voted_for.map_or(NO_VOTE, |id| u64::from(id.0))
    }

    /// Takes on a term, and in it a vote, and records both as one.
    pub(super) fn enter_term(&mut self, term: u64, vote: Option<NodeId>, out: &mut Outbox) {
        (self.term, self.voted_for, self.vote_due) = (term, vote, false);
        let unrecorded = self.mutant.is(Mutant::R3a) || self.mutant.is(Mutant::R3c);
        let head = self.hard_state(if unrecorded { NO_VOTE } else { self.vote_word() });
        self.journal.record_hard_state(head, out);
    }

    fn hard_state(&self, vote: u64) -> Head {
        let words = [self.term, vote, 0, 0, 0, 0];
        Head { kind: HARD_STATE, group: self.group, from: self.id, words, ..Head::default() }
    }

    /// Everything up to and with `lsn` is durable.
    pub(super) fn on_durable(&mut self, lsn: Lsn, out: &mut Outbox) {
        let held = self.journal.holds_hard_state();
        self.journal.on_durable(lsn);
        if self.mutant.is(Mutant::R3c) && !held && self.journal.holds_hard_state() {
            self.journal.record_other(self.hard_state(self.vote_word()), Payload::EMPTY, out);
        }
    }

    /// Whether a candidate's log holds all that this one's does (paper, section 5.4.1).
    pub(super) fn is_up_to_date(&self, candidacy: &Candidacy) -> bool {
        self.mutant.is(Mutant::Q1) || (candidacy.last_term, candidacy.last) >= (self.log.last_stamp(), self.log.last())
    }

    /// A learner, or a node that was removed, has no business to campaign. One whose removal is not
    /// known to be committed may be the only one that can be elected, and bring it about (thesis,
    /// section 4.2.2); it does not count itself.
    pub(super) fn may_campaign(&self) -> bool {
        let written = self.memberships.slot();
        self.members.votes(self.id)
            || (self.mutant.is(Mutant::R15c) && self.members.learners.contains(self.id))
            || (written > self.committed && self.memberships.at(Slot(written.0 - 1)).votes(self.id))
    }

    /// Whose majorities decide.
    pub(super) fn electorate(&self) -> Members {
        let Members { voters, outgoing, .. } = self.members;
        if self.mutant.is(Mutant::R15a) { Members::of(voters | outgoing) } else { self.members }
    }

    /// Only then does a leader know how much of its log is committed (paper, section 8).
    pub(super) fn has_committed_in_term(&self) -> bool {
        self.log.stamp(self.committed) == Some(self.term)
    }

    /// Appends an entry and records it under the head that it has on the wire.
    pub(super) fn write(&mut self, entry: Entry, head: Head, out: &mut Outbox) -> Slot {
        let body = entry.body.clone();
        let slot = self.append(entry);
        self.journal.record_slot(slot, head, body, out);
        slot
    }

    /// A membership counts as soon as it is in the log (paper, section 6).
    fn append(&mut self, entry: Entry) -> Slot {
        let members = (entry.kind == DeliveryKind::Config).then(|| Members::read(&entry.body)).flatten();
        let slot = self.log.append(entry);
        if let Some(members) = members {
            self.memberships.write(slot, members);
            self.adopt_members();
        }
        slot
    }

    /// Goes by the membership that counts now.
    pub(super) fn adopt_members(&mut self) {
        self.members = self.memberships.current();
        self.peers = self.members.all().without(self.id);
    }

    /// Drops what a newer leader has overruled. The record of what takes its place says so to
    /// whoever reads the journal again.
    pub(super) fn truncate_after(&mut self, slot: Slot) {
        self.log.truncate_after(slot);
        self.journal.truncate_after(slot);
        if self.memberships.slot() > slot {
            self.memberships.truncate_after(slot);
            self.adopt_members();
        }
    }

    pub(super) fn head(&self, message: Message) -> Head {
        Head { group: self.group, from: self.id, ..message.head() }
    }

    pub(super) fn send(&self, to: Recipients, message: Message, out: &mut Outbox) {
        out.transmit(to, self.head(message), Payload::EMPTY);
    }

    /// Every member holds everything up to `slot`, durably and committed.
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
        self.trim_log(out);
    }

    /// A vote is a promise, and must survive a crash before anyone counts on it (paper, section 5.2).
    fn answer_vote(&mut self, out: &mut Outbox) {
        if self.vote_due
            && (self.journal.holds_hard_state() || self.mutant.is(Mutant::R3b))
            && let Some(candidate) = self.voted_for
        {
            self.vote_due = false;
            self.send(Recipients::One(candidate), Message::Grant { term: self.term }, out);
        }
    }

    fn deliver(&mut self, out: &mut Outbox) {
        let (snapshots, delivered) = (&self.snapshots, &mut self.delivered);
        if *delivered < self.log.trimmed() && !snapshots.deliver(&self.journal, Members::BYTES, delivered, out) {
            return;
        }
        let upto = if self.mutant.is(Mutant::Q3) { self.journal.slot() } else { self.committed };
        self.log.deliver(&mut self.delivered, upto, out);
    }
}
