//! Snapshots, and what a node is rebuilt from: its journal's records.

use super::message::{EPOCHS, Message, SNAPSHOT};
use super::replica::Replica;
use crate::io::{DeliveryKind, Outbox, Record, Snapshot};
use crate::log::Entry;
use crate::wire::{Frame, Head, Malformed, NodeId, Payload, Slot};

impl Replica {
    /// Takes a record of this node's own journal back, after those before it.
    pub(super) fn replay(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Malformed { kind: record.head.kind, what };
        self.journal.continues(record, SNAPSHOT)?;
        match record.head.kind {
            SNAPSHOT => self.replay_snapshot(record).ok_or(malformed("no snapshot"))?,
            EPOCHS => self.replay_epochs(&record.head).ok_or(malformed("an end where the history never was"))?,
            _ => self.replay_proposal(record)?,
        }
        self.journal.replay(record.lsn, self.log.last());
        Ok(())
    }

    /// Whatever follows the end that it names was cut by then.
    fn replay_epochs(&mut self, head: &Head) -> Option<()> {
        let [accepted, of, current, last, ..] = head.words;
        self.take_epochs(accepted, of, current);
        (self.log.trimmed()..=self.log.last()).contains(&Slot(last)).then(|| self.log.truncate_after(Slot(last)))
    }

    fn take_epochs(&mut self, accepted: u64, of: u64, current: u64) {
        let of = u32::try_from(of).ok().filter(|&id| id != u32::MAX);
        (self.accepted, self.accepted_of, self.current) = (accepted, of.map(NodeId), current);
    }

    /// It stands there already if it was written down again behind a snapshot.
    fn replay_proposal(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Err(Malformed { kind: record.head.kind, what });
        let frame = Frame { head: record.head, body: record.body.clone() };
        let Message::Propose(propose) = Message::read(&frame)? else { return malformed("no record of ZAB's") };
        if self.zxid(propose.slot) == Some(propose.zxid) {
            return Ok(());
        }
        if propose.slot != self.log.last() + 1 || propose.prev != self.last_zxid() {
            return malformed("a slot out of order");
        }
        self.log.append(Entry { stamp: propose.zxid.0, kind: DeliveryKind::Batch, body: frame.body });
        Ok(())
    }

    /// The driver's state machine as of `slot`.
    #[cold]
    pub(super) fn take_snapshot(&mut self, slot: Slot, body: &Payload, out: &mut Outbox) {
        let Some(stamp) = self.snapshots.stamp(&self.log, self.delivered, slot, body.len()) else { return };
        let snapshot = Snapshot { slot, stamp, body: body.clone() };
        let from = self.journal.record_other(self.snapshot_head(&snapshot), body.clone(), out);
        // What follows it is written down again behind it, so that everything before it can go. It is
        // little: what was in flight when the state machine was there.
        for slot in (slot.0 + 1..=self.log.last().0).map(Slot) {
            if let Some((head, body)) = self.proposal(slot) {
                self.journal.record_other(head, body, out);
            }
        }
        self.snapshots.take(snapshot, from, self.journal.last());
    }

    /// A leader's snapshot, in place of a history that ends before it. It counts for nothing until it
    /// is durable: not in an acknowledgement, and not for the state machine.
    pub(super) fn install(&mut self, snapshot: Snapshot, out: &mut Outbox) {
        assert!(snapshot.slot > self.committed, "a snapshot replaces only what is not settled");
        self.journal.truncate_after(self.committed);
        let (head, body) = (self.snapshot_head(&snapshot), snapshot.body.clone());
        self.journal.record_slot(snapshot.slot, head, body, out);
        self.restart_from(&snapshot);
        self.snapshots.take(snapshot, self.journal.last(), self.journal.last());
    }

    fn restart_from(&mut self, snapshot: &Snapshot) {
        self.log.reset(snapshot.slot, snapshot.stamp);
        self.committed = self.committed.max(snapshot.slot);
    }

    fn snapshot_head(&self, snapshot: &Snapshot) -> Head {
        let words = [snapshot.slot.0, snapshot.stamp, self.accepted, self.accepted_word(), self.current, 0];
        let body_len = snapshot.body.len() as u32;
        Head { kind: SNAPSHOT, group: self.group, from: self.id, body_len, words, ..Head::default() }
    }

    /// `None` if it is none, or the slot in it is settled otherwise.
    fn replay_snapshot(&mut self, record: &Record) -> Option<()> {
        let [slot, stamp, accepted, of, current, _] = record.head.words;
        let slot = Slot(slot);
        if slot < self.log.trimmed() || slot == Slot::ZERO {
            return None;
        }
        self.take_epochs(accepted, of, current);
        let snapshot = Snapshot { slot, stamp, body: record.body.clone() };
        if self.log.stamp(slot) == Some(stamp) {
            self.log.trim_to(slot);
            self.committed = self.committed.max(slot);
        } else {
            self.restart_from(&snapshot);
        }
        self.snapshots.replay(snapshot);
        Some(())
    }

    /// Lets go of what nobody will ask for again, or can be given as a snapshot: by agreement, as every
    /// member holds it durably and committed; or because a snapshot covers it.
    pub(super) fn trim_log(&mut self, out: &mut Outbox) {
        let upto = self.snapshots.release(&self.journal, self.trim().min(self.delivered), self.window, out);
        self.log.trim_to(upto);
    }
}
