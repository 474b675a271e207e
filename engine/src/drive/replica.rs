//! The one place that knows protocols by name: a point's node, built.
#![expect(clippy::disallowed_types, reason = "this is that place")]

use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::{Config, Frame, Nanos, NodeId, Protocol, Transmit};

use crate::check::witness::Applied;
use crate::machine::{Kv, Machine, Null};
use crate::node::{Node, NodeStats};
use crate::spec::{MachineName, Point, ProtocolName};

/// A [`Node`] of whichever protocol. The driver calls it once a turn, so the indirection costs a
/// nanosecond a batch of inputs; inside a turn everything is static.
pub(super) trait Replica: Send {
    fn inbox(&mut self) -> &mut Vec<Frame>;
    fn turn(&mut self, now: Nanos);
    fn deadline(&self) -> Nanos;
    fn transmits(&mut self) -> &mut Vec<Transmit>;
    fn leader(&self) -> Option<NodeId>;
    fn transfer(&mut self, target: NodeId);
    fn stats(&self) -> NodeStats;
    fn keep_trace(&mut self);
    fn take_trace(&mut self) -> Option<Vec<Applied>>;
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

    fn leader(&self) -> Option<NodeId> {
        self.protocol().leader()
    }

    fn transfer(&mut self, target: NodeId) {
        Self::transfer(self, target);
    }

    fn stats(&self) -> NodeStats {
        Self::stats(self)
    }

    fn keep_trace(&mut self) {
        Self::keep_trace(self);
    }

    fn take_trace(&mut self) -> Option<Vec<Applied>> {
        Self::take_trace(self)
    }
}

/// Replica `id` of `point`'s cluster, with an empty log.
pub(super) fn build(point: &Point, id: NodeId, seed: u64) -> Box<dyn Replica> {
    let cluster = &point.cluster;
    let voters = cluster.replicas - cluster.observers;
    let config = Config {
        observers: (voters..cluster.replicas).map(|id| NodeId(id as u32)).collect(),
        window: point.batch.window,
        election_timeout: Nanos(cluster.election_timeout.as_nanos() as u64),
        heartbeat: Nanos(cluster.heartbeat.as_nanos() as u64),
        ..Config::new(id, voters)
    };
    match cluster.protocol {
        ProtocolName::Raft => with_machine::<Raft>(cluster.machine, &config, seed),
        ProtocolName::Zab => with_machine::<Zab>(cluster.machine, &config, seed),
        ProtocolName::Echo => with_machine::<Echo>(cluster.machine, &config, seed),
        ProtocolName::Star => with_machine::<Star>(cluster.machine, &config, seed),
    }
}

fn with_machine<P: Protocol + Send + 'static>(machine: MachineName, config: &Config, seed: u64) -> Box<dyn Replica> {
    let protocol = P::new(config, seed);
    match machine {
        MachineName::Null => Box::new(Node::<P, Null>::new(config.id, protocol)),
        MachineName::Kv => Box::new(Node::<P, Kv>::new(config.id, protocol)),
    }
}
