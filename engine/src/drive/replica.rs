//! The one place that knows protocols by name: a point's node, built.
#![expect(clippy::disallowed_types, reason = "this is that place")]

use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::paxos::Paxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::{Config, Frame, Lsn, Malformed, Nanos, NodeId, Prng, Protocol, Record, Transmit};

use super::groups::{self, Groups};
use super::ledger::Reach;
use super::orders::Standing;
use crate::check::witness::ReplicaTrace;
use crate::machine::{Kv, Machine, Null};
use crate::node::{Node, NodeStats, SnapshotPolicy, Storage};
use crate::spec::{MachineName, Point, ProtocolName};

/// A [`Node`] of whichever protocol, or one of each consensus group. The driver calls it once a turn, so the indirection
/// costs a nanosecond a batch of inputs; inside a turn everything is static.
pub(super) trait Replica: Send {
    fn inbox(&mut self) -> &mut Vec<Frame>;
    fn turn(&mut self, now: Nanos);
    fn deadline(&self) -> Nanos;
    fn transmits(&mut self) -> &mut Vec<Transmit>;
    fn records(&mut self) -> &mut Vec<Record>;
    fn durable(&mut self, lsn: Lsn);
    fn take_release(&mut self) -> Option<Lsn>;
    fn leader(&self) -> Option<NodeId>;
    fn groups_led(&self) -> u32;
    fn transfer(&mut self, target: NodeId);
    fn stats(&self) -> NodeStats;
    fn standing(&self) -> Standing;
    fn reach(&self) -> Reach;
    fn count_from(&mut self, reach: &Reach);
    fn keep_trace(&mut self);
    fn take_traces(&mut self) -> Vec<ReplicaTrace>;
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

    fn groups_led(&self) -> u32 {
        self.leads().into()
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

    fn reach(&self) -> Reach {
        [self.delivered()].into_iter().collect()
    }

    fn count_from(&mut self, reach: &Reach) {
        Self::count_from(self, reach.at(0));
    }

    fn keep_trace(&mut self) {
        Self::keep_trace(self);
    }

    fn take_traces(&mut self) -> Vec<ReplicaTrace> {
        Vec::from_iter(Self::take_trace(self))
    }
}

/// Replica `id` of `point`'s cluster, with an empty log. With [`Storage::Deferred`] the caller is its disk.
pub(super) fn build(point: &Point, id: NodeId, seed: u64, storage: Storage) -> Box<dyn Replica> {
    by_name!(point.cluster.protocol, P => by_machine!(point.cluster.machine, M => {
        let make = |group| {
            let protocol = P::new(&config(point, id, group), seed_of(point, seed, group));
            node::<P, M>(point, id, group, storage, protocol)
        };
        if point.cluster.groups == 1 {
            Box::new(make(0))
        } else {
            Box::new(Groups::new((0..point.cluster.groups).map(make).collect()))
        }
    }))
}

/// The same replica as it comes back from what its log holds, which the caller goes on with.
///
/// # Errors
/// [`Malformed`] for a record that the protocol never wrote.
pub(super) fn recover(
    point: &Point,
    id: NodeId,
    seed: u64,
    records: Vec<Record>,
) -> Result<Box<dyn Replica>, Malformed> {
    by_name!(point.cluster.protocol, P => by_machine!(point.cluster.machine, M => {
        let make = |group, records: &[Record]| {
            let protocol = P::recover(&config(point, id, group), seed_of(point, seed, group), records)?;
            Ok(node::<P, M>(point, id, group, Storage::Deferred, protocol))
        };
        if point.cluster.groups == 1 {
            return Ok(Box::new(make(0, &records)?));
        }
        let split = groups::split(records, point.cluster.groups.into(), P::SNAPSHOT_RECORD)?;
        let nodes = (0..).zip(&split.records).map(|(group, records)| make(group, records));
        let nodes = nodes.collect::<Result<Vec<_>, Malformed>>()?;
        Ok(Box::new(Groups::recovered(nodes, &split)))
    }))
}

/// All randomness of one group's node.
fn seed_of(point: &Point, seed: u64, group: u16) -> u64 {
    if point.cluster.groups == 1 { seed } else { Prng::new(seed).fork(group.into()).next_u64() }
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
            ProtocolName::Gossip | ProtocolName::Crdt | ProtocolName::Database => {
                unreachable!("what orders nothing has no replicas of a log")
            }
        }
    };
}
use by_name;

/// The same expression for each state machine, whose type is `$machine` in it.
macro_rules! by_machine {
    ($name:expr, $machine:ident => $body:expr) => {
        match $name {
            MachineName::Null => {
                type $machine = Null;
                $body
            }
            MachineName::Kv => {
                type $machine = Kv;
                $body
            }
        }
    };
}
use by_machine;

fn node<P: Protocol, M: Machine>(point: &Point, id: NodeId, group: u16, storage: Storage, protocol: P) -> Node<P, M> {
    Node::with_storage(id, protocol, storage).in_group(group).with_snapshots(snapshots(point))
}

/// When one group's node takes snapshots: the sizes are of a replica, and each group has its share of them.
fn snapshots(point: &Point) -> SnapshotPolicy {
    let cluster = &point.cluster;
    // A floor keeps no log that one could stand for.
    if cluster.protocol.is_floor() {
        return SnapshotPolicy::NEVER;
    }
    let share = |size: u64| size.div_ceil(cluster.groups.into());
    let (slots, bytes) = (share(cluster.snapshot_slots), share(cluster.snapshot_bytes));
    SnapshotPolicy { slots, bytes, of: point.snapshot_basis() }
}

fn config(point: &Point, id: NodeId, group: u16) -> Config {
    let cluster = &point.cluster;
    let voters = cluster.replicas - cluster.observers;
    Config {
        observers: (voters..cluster.replicas).map(|id| NodeId(id as u32)).collect(),
        group,
        // Leaders are spread, so that no replica leads many more groups than another.
        first_leader: (cluster.groups > 1).then(|| NodeId(u32::from(group) % voters as u32)),
        window: point.batch.window,
        election_timeout: Nanos(cluster.election_timeout.as_nanos() as u64),
        heartbeat: Nanos(cluster.heartbeat.as_nanos() as u64),
        backoff: Nanos(cluster.backoff.as_nanos() as u64),
        quorums: point.quorum.of(cluster.replicas).expect("quorums that do not meet make no point"),
        ..Config::new(id, voters)
    }
}
