//! A node's last snapshot, and what may go because of it: records of the journal, and slots of the log.

use crate::io::{Delivery, DeliveryKind, Outbox, Snapshot};
use crate::journal::Journal;
use crate::log::SlotLog;
use crate::mutant::Mutant;
use crate::wire::{Lsn, Slot};

/// The last snapshot, taken or given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots {
    last: Option<Snapshot>,
    /// It is being made durable.
    cut: Option<Cut>,
    /// The log up to here is in a durable snapshot.
    covered: Slot,
    /// Another node is being sent the snapshot of this slot, and will want what comes after it.
    wanted: Option<Slot>,
}

/// Once everything up to `until` is durable, nothing before `from` is needed.
#[derive(Clone, Copy, Debug)]
struct Cut {
    from: Lsn,
    until: Lsn,
}

impl Snapshots {
    pub(crate) fn last(&self) -> Option<&Snapshot> {
        self.last.as_ref()
    }

    /// Whether a snapshot of `slot` would bring something new, and none is being written.
    pub(crate) fn takes(&self, slot: Slot) -> bool {
        self.cut.is_none() && self.last.as_ref().is_none_or(|last| last.slot < slot)
    }

    /// The stamp for a snapshot of `slot`, of `len` bytes, if it is one to take: of what is in the `log` and was
    /// `delivered`, and new; of no more bytes than a record holds, and of some, as nothing cannot travel.
    pub(crate) fn stamp(&self, log: &SlotLog, delivered: Slot, slot: Slot, len: usize) -> Option<u64> {
        let fits = u32::try_from(len).is_ok_and(|len| len > 0);
        log.stamp(slot).filter(|_| fits && slot > Slot::ZERO && slot <= delivered && self.takes(slot))
    }

    /// A snapshot was recorded in `from`, and what else is still needed after it, up to and with `until`.
    pub(crate) fn take(&mut self, snapshot: Snapshot, from: Lsn, until: Lsn) {
        self.last = Some(snapshot);
        self.cut = Some(Cut { from, until });
    }

    /// One was found after a crash.
    pub(crate) fn replay(&mut self, snapshot: Snapshot) {
        self.covered = snapshot.slot;
        self.last = Some(snapshot);
    }

    /// The last one, if it reaches to a log that begins after `trimmed`: together they are everything.
    pub(crate) fn reaches(&self, trimmed: Slot) -> Option<&Snapshot> {
        self.last.as_ref().filter(|last| last.slot >= trimmed)
    }

    /// The snapshot of `slot` is on its way to another node, which will want what follows it.
    pub(crate) fn want(&mut self, slot: Slot) {
        self.wanted = Some(self.wanted.map_or(slot, |wanted| wanted.min(slot)));
    }

    /// Nobody is being sent one, until this flush says otherwise.
    pub(crate) fn want_none(&mut self) {
        self.wanted = None;
    }

    /// Lets the records go that a durable snapshot stands for. Says up to where the log may go, too: what is durable
    /// here and all have `agreed` on, or can be given as a snapshot, but for a `window` of slots that a slow node may ask
    /// for.
    pub(crate) fn release(&mut self, journal: &Journal, agreed: Slot, window: usize, out: &mut Outbox) -> Slot {
        if let Some(cut) = self.cut.take_if(|cut| journal.holds(cut.until) || journal.mutant.is(Mutant::Q6)) {
            out.release = Some(cut.from);
            self.covered = self.last.as_ref().map_or(Slot::ZERO, |last| last.slot);
        }
        let covered = Slot(self.covered.saturating_since(Slot(window as u64)));
        agreed.min(journal.slot()).max(self.wanted.map_or(covered, |wanted| wanted.min(covered)))
    }

    /// Hands out the last one, without the `prefix` of its body that is the protocol's own, once it is durable.
    /// Whether the state machine is where the log begins.
    #[cold]
    pub(crate) fn deliver(&self, journal: &Journal, prefix: usize, delivered: &mut Slot, out: &mut Outbox) -> bool {
        let Some(Snapshot { slot, body, .. }) = self.last.as_ref().filter(|last| journal.slot() >= last.slot) else {
            return false;
        };
        let body = body.slice(prefix, body.len() - prefix);
        out.deliveries.push(Delivery { slot: *slot, kind: DeliveryKind::Snapshot, body });
        *delivered = *slot;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Entry;
    use crate::wire::Payload;

    #[test]
    fn a_snapshot_is_of_what_was_delivered_and_new() {
        let (mut log, mut snapshots) = (SlotLog::default(), Snapshots::default());
        for stamp in [3, 4, 4] {
            log.append(Entry { stamp, kind: DeliveryKind::Batch, body: Payload::EMPTY });
        }
        let stamp = |snapshots: &Snapshots, slot, len| snapshots.stamp(&log, Slot(2), Slot(slot), len);
        assert_eq!([1, 2].map(|slot| stamp(&snapshots, slot, 9)), [Some(3), Some(4)]);
        assert_eq!([0, 3, 4].map(|slot| stamp(&snapshots, slot, 9)), [None; 3]);
        assert_eq!([0, 1 << 32].map(|len| stamp(&snapshots, 2, len)), [None; 2]);
        snapshots.replay(Snapshot { slot: Slot(1), stamp: 3, body: Payload::EMPTY });
        assert_eq!([1, 2].map(|slot| stamp(&snapshots, slot, 9)), [None, Some(4)]);
        snapshots.take(Snapshot { slot: Slot(1), stamp: 3, body: Payload::EMPTY }, Lsn(7), Lsn(7));
        assert_eq!(stamp(&snapshots, 2, 9), None, "one is being written");
    }
}
