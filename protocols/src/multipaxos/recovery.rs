//! What survives a crash, and what of it may go: records read back, snapshots, trimming (*Paxos Made Live*, section 5.5).

use super::message::{Message, PROMISED, SNAPSHOT};
use super::replica::Replica;
use crate::io::{Outbox, Record, Snapshot};
use crate::mutant::Mutant;
use crate::paxos::{Accepted, Ballot};
use crate::wire::{Frame, Head, Malformed, Payload, Slot};

impl Replica {
    /// Takes a record of this node's own journal back, after those before it: a promise; an accepted value, which
    /// overrules what was accepted in its slot before; a decided one; a snapshot.
    pub(super) fn replay(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Malformed { kind: record.head.kind, what };
        self.journal.continues(record, SNAPSHOT)?;
        match record.head.kind {
            PROMISED => {
                let ballot = Ballot::read(record.head.words[0]).ok_or(malformed("no ballot"))?;
                if !self.mutant.is(Mutant::MP1a) {
                    self.promised = self.promised.max(ballot);
                }
            }
            SNAPSHOT => self.replay_snapshot(record).ok_or(malformed("no snapshot"))?,
            _ => self.replay_value(record)?,
        }
        self.seen = self.promised;
        self.journal.replay(record.lsn, self.log.last());
        Ok(())
    }

    fn replay_value(&mut self, record: &Record) -> Result<(), Malformed> {
        let frame = Frame { head: record.head, body: record.body.clone() };
        let malformed = |what| Malformed { kind: record.head.kind, what };
        let (slot, ballot, kind, decided, proposed) = match Message::read(&frame)? {
            Message::Accept(a) => (a.slot, a.ballot, a.kind, a.decided, true),
            Message::Learned(l) => (l.slot, l.stamp, l.kind, l.decided, false),
            _ => return Err(malformed("no record of Multi-Paxos's")),
        };
        if proposed && !self.mutant.is(Mutant::MP1a) {
            self.promised = self.promised.max(ballot);
        }
        // Not the slot itself yet: it may have been decided otherwise than what was accepted in it before.
        self.decide_to(decided.min(slot - 1));
        if slot.saturating_since(self.log.last()) > self.most_adopted() {
            return Err(malformed("a slot out of order"));
        }
        // Otherwise it was decided since, or written down again behind a snapshot.
        if slot > self.log.last() && !(proposed && self.mutant.is(Mutant::MP1b)) {
            self.acceptor.put(slot, Accepted { ballot, kind, body: frame.body }, record.lsn);
        }
        self.decide_to(decided);
        Ok(())
    }

    /// This node knew that everything up to `decided` is decided, and what; or finds the rest in the next records.
    fn decide_to(&mut self, decided: Slot) {
        while self.log.last() < decided && self.acceptor.get(self.log.last() + 1).is_some() {
            self.decide();
        }
    }

    fn replay_snapshot(&mut self, record: &Record) -> Option<()> {
        let [slot, word, promised, ..] = record.head.words;
        let (slot, word) = (Slot(slot), Ballot::read(word)?.word());
        if slot < self.log.trimmed() || record.body.is_empty() {
            return None;
        }
        self.promised = self.promised.max(Ballot::read(promised)?);
        let snapshot = Snapshot { slot, stamp: word, body: record.body.clone() };
        if slot <= self.log.last() {
            self.log.trim_to(slot);
        } else {
            self.log.reset(slot, word);
            self.acceptor.forget_to(slot);
        }
        self.snapshots.replay(snapshot);
        Some(())
    }

    /// The driver's state machine as of `slot`.
    #[cold]
    pub(super) fn take_snapshot(&mut self, slot: Slot, body: &Payload, out: &mut Outbox) {
        if let Some(stamp) = self.snapshots.stamp(&self.log, self.delivered, slot, body.len()) {
            self.write_snapshot(Snapshot { slot, stamp, body: body.clone() }, out);
        }
    }

    /// Another node's snapshot, in place of a log that does not reach so far. It counts for nothing until it is durable:
    /// not for the others, and not for the state machine.
    pub(super) fn install(&mut self, snapshot: Snapshot, out: &mut Outbox) {
        assert!(snapshot.slot > self.log.last(), "a snapshot replaces only what is not decided here");
        self.log.reset(snapshot.slot, snapshot.stamp);
        self.acceptor.forget_to(snapshot.slot);
        self.write_snapshot(snapshot, out);
    }

    /// What stands after the snapshot is written down again behind it, so that everything before it can go. That is
    /// little: what was in flight when the state machine was there.
    fn write_snapshot(&mut self, snapshot: Snapshot, out: &mut Outbox) {
        let words = [snapshot.slot.0, snapshot.stamp, self.promised.word(), 0, 0, 0];
        let body_len = snapshot.body.len() as u32;
        let head = Head { kind: SNAPSHOT, group: self.group, from: self.id, body_len, words, ..Head::default() };
        let slot = snapshot.slot;
        if slot == self.log.last() {
            self.journal.record_slot(slot, head, snapshot.body.clone(), out);
        } else {
            self.journal.record_other(head, snapshot.body.clone(), out);
        }
        let from = self.journal.last();
        for slot in (slot.0 + 1..=self.log.last().0).map(Slot) {
            let Some(entry) = self.log.get(slot) else { continue };
            self.journal.record_other(self.learned_head(slot, entry), entry.body.clone(), out);
        }
        for (slot, accepted) in self.acceptor.iter() {
            self.journal.record_other(self.record_head(slot, accepted), accepted.body.clone(), out);
        }
        self.snapshots.take(snapshot, from, self.journal.last());
    }

    /// Lets go of what nobody will ask for again, or can be given as a snapshot. How far all nodes hold the log is not
    /// recorded, because a recovered node that keeps too much is merely large.
    pub(super) fn trim_log(&mut self, out: &mut Outbox) {
        let upto = self.snapshots.release(&self.journal, self.trim.min(self.delivered), self.window, out);
        self.log.trim_to(upto);
    }
}
