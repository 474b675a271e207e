//! The one place that knows protocols by name: a point's node, built.
#![expect(clippy::disallowed_types, reason = "this is that place")]

use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::paxos::Paxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::{Config, Frame, Lsn, Malformed, Nanos, NodeId, Protocol, Record, Transmit};

use super::orders::Standing;
use crate::check::witness::ReplicaTrace;
use crate::machine::{Kv, Machine, Null};
use crate::node::{Node, NodeStats, SnapshotPolicy, Storage};
use crate::spec::{MachineName, Point, ProtocolName};

/// A [`Node`] of whichever protocol. The driver calls it once a turn, so the indirection costs a
/// nanosecond a batch of inputs; inside a turn everything is static.
pub(super) trait Replica: Send {
    fn inbox(&mut self) -> &mut Vec<Frame>;
    fn turn(&mut self, now: Nanos);
    fn deadline(&self) -> Nanos;
    fn transmits(&mut self) -> &mut Vec<Transmit>;
    fn records(&mut self) -> &mut Vec<Record>;
    fn durable(&mut self, lsn: Lsn);
    fn take_release(&mut self) -> Option<Lsn>;
    fn leader(&self) -> Option<NodeId>;
    fn transfer(&mut self, target: NodeId);
    fn stats(&self) -> NodeStats;
    fn standing(&self) -> Standing;
    fn keep_trace(&mut self);
    fn take_trace(&mut self) -> Option<ReplicaTrace>;
}

impl<P: Protocol + Send, M: Machine> Replica for Node<P, M> {
    fn inbox(&mut self) -> &mut Vec<Frame> {
        &mut self.inbox
    }

    fn turn(&mut self, now: Nanos) {
        Self::turn(self, now);
    }

    fn deadline(&self) -> Nanos {
        Self::deadline(self)
    }

    fn transmits(&mut self) -> &mut Vec<Transmit> {
        Self::transmits(self)
    }

    fn records(&mut self) -> &mut Vec<Record> {
        Self::records(self)
    }

    fn durable(&mut self, lsn: Lsn) {
        Self::durable(self, lsn);
    }

    fn take_release(&mut self) -> Option<Lsn> {
        Self::take_release(self)
    }

    fn leader(&self) -> Option<NodeId> {
        self.protocol().leader()
    }

    fn transfer(&mut self, target: NodeId) {
        Self::transfer(self, target);
    }

    fn stats(&self) -> NodeStats {
        Self::stats(self)
    }

    fn standing(&self) -> Standing {
        Standing { delivered: self.delivered().0, kept: self.protocol().kept() }
    }

    fn keep_trace(&mut self) {
        Self::keep_trace(self);
    }

    fn take_trace(&mut self) -> Option<ReplicaTrace> {
        Self::take_trace(self)
    }
}

/// Replica `id` of `point`'s cluster, with an empty log. With [`Storage::Deferred`] the caller is its disk.
pub(super) fn build(point: &Point, id: NodeId, seed: u64, storage: Storage) -> Box<dyn Replica> {
    by_name!(point.cluster.protocol, P => with_protocol(point, id, storage, |config| P::new(config, seed)))
}

/// The same replica as it comes back from what its log holds, which the caller goes on with.
///
/// # Errors
/// [`Malformed`] for a record that the protocol never wrote.
pub(super) fn recover(point: &Point, id: NodeId, seed: u64, records: &[Record]) -> Result<Box<dyn Replica>, Malformed> {
    by_name!(point.cluster.protocol, P => {
        let protocol = P::recover(&config(point, id), seed, records)?;
        Ok(with_protocol(point, id, Storage::Deferred, |_| protocol))
    })
}

/// The kind of record in which a protocol's log holds snapshots.
pub(super) fn snapshot_record(protocol: ProtocolName) -> Option<u8> {
    by_name!(protocol, P => P::SNAPSHOT_RECORD)
}

/// The same expression for each protocol, whose type is `$protocol` in it.
macro_rules! by_name {
    ($name:expr, $protocol:ident => $body:expr) => {
        by_name!(@ $name, $protocol, $body, Raft MultiPaxos Zab Paxos Echo Star)
    };
    (@ $name:expr, $protocol:ident, $body:expr, $($each:ident)+) => {
        match $name {
            $(ProtocolName::$each => {
                type $protocol = $each;
                $body
            })+
            ProtocolName::Gossip => unreachable!("gossip has no replicas"),
        }
    };
}
use by_name;

fn with_protocol<P: Protocol + Send + 'static>(
    point: &Point,
    id: NodeId,
    storage: Storage,
    protocol: impl FnOnce(&Config) -> P,
) -> Box<dyn Replica> {
    let cluster = &point.cluster;
    let snapshots =
        SnapshotPolicy { slots: cluster.snapshot_slots, bytes: cluster.snapshot_bytes, of: point.snapshot_basis() };
    // A floor keeps no log that one could stand for.
    let snapshots = if cluster.protocol.is_floor() { SnapshotPolicy::NEVER } else { snapshots };
    let protocol = protocol(&config(point, id));
    match cluster.machine {
        MachineName::Null => Box::new(Node::<P, Null>::with_storage(id, protocol, storage).with_snapshots(snapshots)),
        MachineName::Kv => Box::new(Node::<P, Kv>::with_storage(id, protocol, storage).with_snapshots(snapshots)),
    }
}

fn config(point: &Point, id: NodeId) -> Config {
    let cluster = &point.cluster;
    let voters = cluster.replicas - cluster.observers;
    Config {
        observers: (voters..cluster.replicas).map(|id| NodeId(id as u32)).collect(),
        window: point.batch.window,
        election_timeout: Nanos(cluster.election_timeout.as_nanos() as u64),
        heartbeat: Nanos(cluster.heartbeat.as_nanos() as u64),
        backoff: Nanos(cluster.backoff.as_nanos() as u64),
        quorums: point.quorum.of(cluster.replicas).expect("quorums that do not meet make no point"),
        ..Config::new(id, voters)
    }
}
