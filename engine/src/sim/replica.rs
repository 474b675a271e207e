//! A virtual node: the [`Node`] that is measured, with a clock, a disk, and a life that may end.

use quorumbench_protocols::{Config, Malformed, Nanos, NodeId, Prng, Protocol, Slot};

use super::clock::Clock;
use super::disk::{Disk, Rotten};
use super::machine::Watched;
use super::subject::{Membership, Subject, Tap, View};
use crate::node::{Node, SnapshotPolicy, Storage};

pub(super) type Machinery<P> = Node<Tap<P>, Watched>;

#[derive(Debug)]
pub(super) struct Replica<P> {
    pub(super) config: Config,
    snapshots: SnapshotPolicy,
    /// Absent while it is down.
    pub(super) node: Option<Machinery<P>>,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    prng: Prng,
    /// How often it has crashed: what was planned for an earlier life does not happen.
    pub(super) life: u32,
    /// It takes no turn before this: paused, or busy with the last one.
    pub(super) held_until: Nanos,
    /// A [`Ready`](super::world) is planned.
    pub(super) ready_planned: bool,
    /// The first of its wakes that is planned; [`Nanos::NEVER`] for none.
    pub(super) wake_at: Nanos,
    /// The term that it was last seen in.
    pub(super) term: u64,
    /// It entered that term, and what it says of it is not durable yet.
    pub(super) turning: bool,
    /// The last term that it was seen to lead.
    pub(super) led: u64,
    /// What each turn costs it.
    pub(super) turn_ns: u64,
    /// The last slot of its log after its last turn, and that slot's stamp.
    tail: (Slot, Option<u64>),
    /// How often its sessions have expired.
    sweeps: u64,
    /// Its disk is damaged: it never comes back.
    pub(super) rotten: bool,
}

/// Why a node does not come back.
#[derive(Debug)]
pub(super) enum Lost {
    Rotten,
    /// It refuses its own records.
    Malformed(Malformed),
}

/// Frames that wait for a node that takes no turns. Beyond that they are dropped.
pub(super) const MOST_WAITING: usize = 4096;

impl<P: Subject> Replica<P> {
    pub(super) fn new(config: Config, snapshots: SnapshotPolicy, disk: Disk, clock: Clock, prng: Prng) -> Self {
        let protocol = Tap::new(&config, prng.fork(0).next_u64());
        let node = Node::with_storage(config.id, protocol, Storage::Deferred)
            .with_snapshots(snapshots)
            .with_mutant(config.mutant);
        Self {
            config,
            snapshots,
            node: Some(node),
            disk,
            clock,
            prng,
            life: 0,
            held_until: Nanos::ZERO,
            ready_planned: false,
            wake_at: Nanos::NEVER,
            term: 0,
            turning: false,
            led: 0,
            turn_ns: 0,
            tail: (Slot::ZERO, None),
            sweeps: 0,
            rotten: false,
        }
    }

    pub(super) fn id(&self) -> NodeId {
        self.config.id
    }

    pub(super) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// It is gone, with all that it held in memory.
    pub(super) fn stop(&mut self) {
        self.node = None;
        self.life += 1;
        (self.held_until, self.ready_planned, self.wake_at, self.turn_ns) = (Nanos::ZERO, false, Nanos::NEVER, 0);
        self.tail = (Slot::ZERO, None);
    }

    /// It comes back, with what its disk has kept.
    pub(super) fn start(&mut self) -> Result<(), Lost> {
        let records = self.disk.read().map_err(|Rotten| Lost::Rotten)?;
        let seed = self.prng.fork(self.life.into()).next_u64();
        let protocol = Tap::recover(&self.config, seed, records).map_err(Lost::Malformed)?;
        let node = Node::with_storage(self.config.id, protocol, Storage::Deferred);
        let node = node.with_snapshots(self.snapshots).with_mutant(self.config.mutant);
        self.node = Some(node);
        Ok(())
    }

    pub(super) fn view(&self) -> Option<View> {
        self.node.as_ref().map(|node| node.protocol().protocol.view())
    }

    /// Whether its last turn took slots out of its log.
    pub(super) fn truncated(&mut self) -> bool {
        let Some(node) = &self.node else { return false };
        let protocol = &node.protocol().protocol;
        let View { last, trimmed, .. } = protocol.view();
        let (before, stamp) = std::mem::replace(&mut self.tail, (last, protocol.stamp(last)));
        before > trimmed && protocol.stamp(before) != stamp
    }

    /// Sessions that are forgotten after a while, by this node's own clock, which no other shares.
    pub(super) fn expire_sessions(&mut self, now: Nanos) {
        let sweeps = self.clock.local(now).0 / (4 * self.config.election_timeout.0);
        if let Some(node) = self.node.as_mut().filter(|_| sweeps > self.sweeps) {
            self.sweeps = sweeps;
            node.forget_sessions();
        }
    }

    /// The membership that it goes by, if it is up and has one.
    pub(super) fn members(&self) -> Option<Membership> {
        self.node.as_ref().and_then(|node| node.protocol().protocol.members())
    }

    pub(super) fn leads(&self) -> bool {
        self.view().is_some_and(|view| view.leads)
    }
}
