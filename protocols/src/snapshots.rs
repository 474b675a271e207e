//! What a snapshot lets go: the journal's records before it, and the log's beginning.

use crate::io::Snapshot;
use crate::journal::Journal;
use crate::wire::{Lsn, Slot};

/// The last snapshot, and what may go because of it.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    pub(crate) last: Option<Snapshot>,
    /// It is being made durable.
    cut: Option<Cut>,
    /// The log up to here is in a durable snapshot, but for a window of slots that a slow peer may ask for.
    covered: Slot,
    /// A peer is being sent the snapshot of this slot, and will want what comes after it.
    pub(crate) wanted: Option<Slot>,
}

/// Once everything up to `until` is durable, nothing before `from` is needed.
#[derive(Clone, Copy, Debug)]
struct Cut {
    from: Lsn,
    until: Lsn,
}

impl Snapshots {
    /// Whether a snapshot of `slot` would bring something new, and none is being written.
    pub(crate) fn takes(&self, slot: Slot) -> bool {
        self.cut.is_none() && self.last.as_ref().is_none_or(|last| last.slot < slot)
    }

    /// The last snapshot is on its way to the disk: its record is `from`, and the one with which everything that
    /// follows the snapshot is written down behind it is `until`.
    pub(crate) fn writes(&mut self, from: Lsn, until: Lsn) {
        self.cut = Some(Cut { from, until });
    }

    /// A snapshot was found in the journal.
    pub(crate) fn recover(&mut self, snapshot: Snapshot) {
        self.covered = snapshot.slot;
        self.last = Some(snapshot);
    }

    /// The record from which on the journal is needed, once that is news.
    pub(crate) fn release(&mut self, journal: &Journal) -> Option<Lsn> {
        let cut = self.cut.take_if(|cut| journal.holds(cut.until))?;
        self.covered = self.last.as_ref().map_or(Slot::ZERO, |last| last.slot);
        Some(cut.from)
    }

    /// Up to where the log may go, if its members agree on `agreed`.
    ///
    /// The agreement costs nothing: what every member holds durably and committed, none will ever ask for, and no
    /// leader will overwrite. It touches the memory only. The journal keeps all records until a snapshot releases
    /// them, so a node that crashes reads back what the others have let go, and needs nobody's help. It is not
    /// enough alone: a node that is down keeps every other's log, and one that joins was no part of the agreement.
    /// For these there are snapshots, which the driver is asked for if its policy brought none
    /// ([`Protocol::wants_snapshot`](crate::Protocol::wants_snapshot)). Neither is for a node that comes back blank
    /// under its old id: it may have voted, and must come as a new one.
    pub(crate) fn floor(&self, agreed: Slot, window: usize) -> Slot {
        let covered = Slot(self.covered.saturating_since(Slot(window as u64)));
        agreed.max(self.wanted.map_or(covered, |wanted| wanted.min(covered)))
    }
}
