//! What is durable here: which of the node's own slots, and whether its promises are: its term and vote,
//! ballot or epochs.

use std::collections::VecDeque;

use crate::io::{Outbox, Record};
use crate::mutant::{Mutant, Switch};
use crate::wire::{Head, Lsn, Malformed, Payload, Slot, reject};

/// Numbers the records and learns, by [`Lsn`], how far they are safe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// The last record emitted.
    last: Lsn,
    /// The last record vouched for.
    durable: Lsn,
    /// The last record of promises.
    hard_state: Lsn,
    /// Records of slots that still stand in the log and are not vouched for: ascending in both.
    ///
    /// A truncated slot leaves this queue at once. If the same slot is written again, in whatever
    /// term, only its new record can make it durable: the old one's acknowledgement finds nothing.
    unsynced: VecDeque<(Lsn, Slot)>,
    /// Every slot of the log up to this one is durable.
    slot: Slot,
    pub(crate) mutant: Switch,
}

impl Journal {
    pub(crate) fn new(mutant: Switch) -> Self {
        Self { mutant, ..Self::default() }
    }

    /// Records a slot; `head` and `body` as they stand on the wire.
    pub(crate) fn record_slot(&mut self, slot: Slot, head: Head, body: Payload, out: &mut Outbox) {
        let lsn = self.record(head, body, out);
        self.unsynced.push_back((lsn, slot));
    }

    /// Records promises, together: written in two steps, a crash between them could pair a new term
    /// with an old vote.
    pub(crate) fn record_hard_state(&mut self, head: Head, out: &mut Outbox) {
        self.hard_state = self.record(head, Payload::EMPTY, out);
    }

    fn record(&mut self, head: Head, body: Payload, out: &mut Outbox) -> Lsn {
        self.last += 1;
        out.records.push(Record { lsn: self.last, head, body });
        self.last
    }

    /// The last record emitted.
    pub(crate) fn last(&self) -> Lsn {
        self.last
    }

    /// Whether everything up to and with `lsn` is durable.
    pub(crate) fn holds(&self, lsn: Lsn) -> bool {
        lsn <= self.durable
    }

    /// Records what stands for no new slot: its durability is asked for by number.
    pub(crate) fn record_other(&mut self, head: Head, body: Payload, out: &mut Outbox) -> Lsn {
        self.record(head, body, out)
    }

    /// Checks that a record that was found after a crash follows the last one, or begins the journal: the first
    /// ever, or a snapshot's, which is of kind `snapshot`.
    pub(crate) fn continues(&self, record: &Record, snapshot: u8) -> Result<(), Malformed> {
        let begins = self.last == Lsn::ZERO && record.head.kind == snapshot;
        reject(record.lsn != self.last + 1 && !begins, "a gap in the journal")
            .map_err(|what| Malformed { kind: record.head.kind, what })
    }

    /// A record that was found after a crash: it is durable, and with it the log up to `slot`.
    pub(crate) fn replay(&mut self, lsn: Lsn, slot: Slot) {
        (self.last, self.durable, self.slot) = (lsn, lsn, slot);
    }

    /// The log forgets what follows `slot`.
    pub(crate) fn truncate_after(&mut self, slot: Slot) {
        while !self.mutant.is(Mutant::R5a) && self.unsynced.back().is_some_and(|&(_, unsynced)| unsynced > slot) {
            self.unsynced.pop_back();
        }
        if !self.mutant.is(Mutant::R5b) {
            self.slot = self.slot.min(slot);
        }
    }

    /// Everything up to and with `lsn` is durable.
    pub(crate) fn on_durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn.min(self.last));
        while let Some(&(lsn, slot)) = self.unsynced.front()
            && lsn <= self.durable
        {
            self.slot = slot;
            self.unsynced.pop_front();
        }
    }

    /// Every slot of the log up to this one is durable.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether the current promises would survive a crash.
    pub(crate) fn holds_hard_state(&self) -> bool {
        self.hard_state <= self.durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_of_a_truncated_slot_is_not_credited() {
        let (mut journal, mut out) = (Journal::default(), Outbox::default());
        let mut write = |journal: &mut Journal, slot| {
            journal.record_slot(Slot(slot), Head::default(), Payload::EMPTY, &mut out);
            out.records.last().map(|record| record.lsn).expect("a record")
        };
        let (first, second) = (write(&mut journal, 1), write(&mut journal, 2));
        journal.truncate_after(Slot(1));
        let again = write(&mut journal, 2);
        journal.on_durable(first);
        assert_eq!(journal.slot(), Slot(1));
        journal.on_durable(second);
        assert_eq!(journal.slot(), Slot(1), "that was the old slot 2");
        journal.on_durable(again);
        assert_eq!(journal.slot(), Slot(2));
        journal.truncate_after(Slot(0));
        assert_eq!(journal.slot(), Slot(0));
        journal.on_durable(Lsn(u64::MAX));
        assert_eq!(journal.slot(), Slot(0));
    }
}
