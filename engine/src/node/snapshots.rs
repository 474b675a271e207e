//! Snapshots of a node: when it takes one, what is in it, and how it becomes one.

use bytes::BytesMut;
use quorumbench_protocols::mutant::Mutant;
use quorumbench_protocols::{Input, LogSize, Nanos, Payload, Protocol, Slot};

use super::Node;
use crate::check::witness::Skipped;
use crate::machine::Machine;
use crate::session::Sessions;
use crate::spec::SnapshotBasis;

/// When a node takes a snapshot of its own accord: at so many slots or bytes, whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Slots.
    pub slots: u64,
    /// Bytes of batches.
    pub bytes: u64,
    /// Slots and bytes of what.
    pub of: SnapshotBasis,
}

impl SnapshotPolicy {
    /// None but those that the protocol asks for.
    pub const NEVER: Self = Self { slots: u64::MAX, bytes: u64::MAX, of: SnapshotBasis::Delivered };

    fn is_due(self, since: LogSize, kept: LogSize) -> bool {
        let reached = |size: LogSize| size.slots >= self.slots || size.bytes >= self.bytes;
        reached(since) && (self.of == SnapshotBasis::Delivered || reached(kept))
    }
}

impl<P: Protocol, M: Machine> Node<P, M> {
    /// A snapshot of sessions and state machine, if the policy or the protocol wants one.
    pub(super) fn snapshot(&mut self, now: Nanos) {
        let asked = std::mem::take(&mut self.wants_snapshot) || self.protocol.wants_snapshot();
        if !asked && !self.snapshots.is_due(self.since, self.protocol.kept()) {
            return;
        }
        // Its size is what the last one's was, more or less; it is the driver's memory, not a pool's.
        let mut bytes = BytesMut::new();
        let lost = Sessions::default();
        let sessions = if self.mutant.is(Mutant::R12b) { &lost } else { &self.sessions };
        sessions.encode(&mut bytes);
        self.machine.snapshot(&mut bytes);
        self.since = LogSize::default();
        self.stats.snapshots += 1;
        let body = Payload::from(bytes.freeze());
        self.step(now, Input::Snapshot { slot: self.delivered, body: &body });
    }

    /// Becomes what a snapshot of the slot now delivered holds; `before` was the last one delivered.
    ///
    /// # Panics
    /// If it holds nothing that can be read. A replica that went on would answer from a state that
    /// none of the others has.
    pub(super) fn restore(&mut self, before: Slot, body: &Payload) {
        let bytes = body.pieces().concat();
        let mut rest = &bytes[..];
        let sessions = Sessions::decode(&mut rest);
        assert!(sessions.is_some() && self.machine.restore(rest), "{}: a snapshot that cannot be read", self.id);
        self.sessions = sessions.unwrap_or_default();
        self.since = LogSize::default();
        self.stats.restored += 1;
        if let Some(trace) = &mut self.trace {
            trace.skipped.push(Skipped { after: before.0, upto: self.delivered.0 });
        }
    }
}
