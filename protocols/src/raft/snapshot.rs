//! Snapshots and compaction (thesis, chapter 5): what stands in for the log's beginning, in the
//! journal and on its way to a follower that is too far behind.

use super::membership::{Members, Memberships};
use super::message::{Append, Message, SNAPSHOT};
use super::replica::Replica;
use crate::io::{Outbox, Record, Snapshot};
use crate::mutant::Mutant;
use crate::wire::{Head, Payload, Slot};

impl Replica {
    /// The driver's state machine as of `slot`. A snapshot's body begins with the membership as of its slot.
    #[cold]
    pub(super) fn take_snapshot(&mut self, slot: Slot, body: &Payload, out: &mut Outbox) {
        let len = Members::BYTES + body.len();
        let Some(stamp) = self.snapshots.stamp(&self.log, self.delivered, slot, len) else { return };
        let members = self.memberships.at(slot).bytes();
        let body = std::iter::once(&members).chain(body.pieces()).cloned().collect();
        let snapshot = Snapshot { slot, stamp, body };
        let (head, body) = (self.snapshot_head(&snapshot), snapshot.body.clone());
        let from = self.journal.record_other(head, body, out);
        self.record_again(slot, out);
        self.snapshots.take(snapshot, from, self.journal.last());
    }

    /// The slots after the snapshot are written down again behind it, so that everything before it
    /// can go. There are few: what was in flight when the state machine was there.
    fn record_again(&mut self, after: Slot, out: &mut Outbox) {
        for slot in (after.0 + 1..=self.log.last().0).map(Slot) {
            let (Some(entry), Some(prev_term)) = (self.log.get(slot), self.log.stamp(slot - 1)) else { continue };
            let append = Append {
                term: self.term,
                slot,
                entry_term: entry.stamp,
                prev_term,
                commit: self.committed,
                trim: self.trim(),
                kind: entry.kind,
            };
            let head = Head { body_len: entry.body.len() as u32, ..self.head(Message::Append(append)) };
            self.journal.record_other(head, entry.body.clone(), out);
        }
    }

    /// A leader's snapshot, in place of a log that does not reach so far, or went another way. It
    /// counts for nothing until it is durable: not in an acknowledgement, and not for the state
    /// machine.
    pub(super) fn install(&mut self, snapshot: Snapshot, members: Members, out: &mut Outbox) {
        let late = self.mutant.is(Mutant::R11a);
        assert!(late || snapshot.slot > self.committed, "a snapshot replaces only what is not settled");
        self.journal.truncate_after(self.committed);
        let (head, body) = (self.snapshot_head(&snapshot), snapshot.body.clone());
        self.journal.record_slot(snapshot.slot, head, body, out);
        self.become_snapshot(&snapshot, members);
        self.snapshots.take(snapshot, self.journal.last(), self.journal.last());
    }

    fn become_snapshot(&mut self, snapshot: &Snapshot, members: Members) {
        if self.mutant.is(Mutant::R11b) && self.log.last() >= snapshot.slot {
            self.log.trim_to(snapshot.slot);
        } else {
            self.log.reset(snapshot.slot, snapshot.stamp);
        }
        self.memberships = Memberships::new(snapshot.slot, members);
        self.adopt_members();
        self.committed = self.committed.max(snapshot.slot);
    }

    fn snapshot_head(&self, snapshot: &Snapshot) -> Head {
        let words = [snapshot.slot.0, snapshot.stamp, self.term, self.vote_word(), 0, 0];
        let body_len = snapshot.body.len() as u32;
        Head { kind: SNAPSHOT, group: self.group, from: self.id, body_len, words, ..Head::default() }
    }

    /// Takes a snapshot's record back. `None` if it is none, or the slot in it is settled otherwise.
    pub(super) fn replay_snapshot(&mut self, record: &Record) -> Option<()> {
        let [slot, stamp, term, vote, ..] = record.head.words;
        let slot = Slot(slot);
        if slot < self.log.trimmed() || record.body.len() < Members::BYTES {
            return None;
        }
        let members = Members::read(&record.body.slice(0, Members::BYTES))?;
        self.take_hard_state(term, vote);
        let snapshot = Snapshot { slot, stamp, body: record.body.clone() };
        if self.log.stamp(slot) == Some(stamp) {
            self.log.trim_to(slot);
            self.memberships.trim_to(slot);
            self.committed = self.committed.max(slot);
        } else {
            self.become_snapshot(&snapshot, members);
        }
        self.snapshots.replay(snapshot);
        self.journal.replay(record.lsn, self.log.last());
        Some(())
    }

    /// Lets go of what nobody will ask for again, or can be given as a snapshot.
    ///
    /// The first is by agreement, and costs nothing: what every member holds durably and committed,
    /// none will ever ask for, and no leader will overwrite. It touches the memory only. The journal
    /// keeps all records until a snapshot releases them, so a node that crashes reads back what the
    /// others have let go, and needs nobody's help; and `trim` itself is not recorded, because a
    /// recovered node that keeps too much is merely large. It is not enough alone: a node that is
    /// down keeps every other's log, and one that joins was no part of the agreement. For these
    /// there are snapshots, which the driver is asked for if its policy brought none
    /// ([`Protocol::wants_snapshot`](crate::Protocol::wants_snapshot)). Neither is for a node that
    /// comes back blank under its old id: it may have voted, and must come as a new one.
    pub(super) fn trim_log(&mut self, out: &mut Outbox) {
        let upto = self.snapshots.release(&self.journal, self.trim().min(self.delivered), self.window, out);
        if upto > self.log.trimmed() {
            self.log.trim_to(upto);
            self.memberships.trim_to(upto);
        }
    }
}
