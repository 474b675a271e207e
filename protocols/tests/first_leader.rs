//! Who is to lead first does, in a cluster that nothing disturbs.

use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::{Config, Frame, Input, Nanos, NodeId, Outbox, Protocol, Transmit};

const NODES: u32 = 5;

/// Nodes whose frames arrive at once, and whose records are durable as soon as they are written.
struct Cluster<P> {
    nodes: Vec<P>,
    now: Nanos,
}

impl<P: Protocol> Cluster<P> {
    fn new(first_leader: Option<NodeId>, seed: u64) -> Self {
        let config = |id| Config { first_leader, ..Config::new(NodeId(id), NODES as usize) };
        let nodes = (0..NODES).map(|id| P::new(&config(id), seed ^ u64::from(id) << 32)).collect();
        Self { nodes, now: Nanos::ZERO }
    }

    /// Lets the next deadline pass, and everyone say what there is to say about it.
    fn advance(&mut self) {
        let deadlines = self.nodes.iter().map(Protocol::deadline);
        self.now = self.now.max(deadlines.min().expect("there are nodes"));
        let due: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].deadline() <= self.now).collect();
        let mut sent = Vec::new();
        due.into_iter().for_each(|node| self.turn(node, Input::Timeout, &mut sent));
        while !sent.is_empty() {
            for Transmit { to, head, body } in std::mem::take(&mut sent) {
                let frame = Frame { head, body };
                to.iter().for_each(|to| self.turn(to.0 as usize, Input::Frame(&frame), &mut sent));
            }
        }
    }

    fn turn(&mut self, node: usize, input: Input<'_>, sent: &mut Vec<Transmit>) {
        let (node, now, mut out) = (&mut self.nodes[node], self.now, Outbox::default());
        node.step(now, input, &mut out).expect("peers are correct");
        node.flush(now, &mut out);
        while let Some(last) = out.records.last().map(|record| record.lsn) {
            out.records.clear();
            node.step(now, Input::Durable(last), &mut out).expect("no frame");
            node.flush(now, &mut out);
        }
        sent.append(&mut out.transmits);
    }

    /// Whom all agree on, once they do.
    fn leader(&mut self) -> NodeId {
        for _ in 0..200 {
            self.advance();
            let leader = self.nodes[0].leader();
            if let Some(leader) = leader.filter(|_| self.nodes.iter().all(|node| node.leader() == leader)) {
                return leader;
            }
        }
        panic!("nobody is elected")
    }
}

fn leads_first<P: Protocol>() {
    for first in (0..NODES).map(NodeId) {
        for seed in 0..20 {
            assert_eq!(Cluster::<P>::new(Some(first), seed).leader(), first, "seed {seed}");
        }
    }
}

#[test]
fn whoever_is_to_lead_first_does() {
    leads_first::<Raft>();
    leads_first::<MultiPaxos>();
    leads_first::<Zab>();
    leads_first::<Echo>();
    leads_first::<Star>();
}

#[test]
fn otherwise_chance_decides() {
    let leaders = |leader: fn(u64) -> NodeId| (0..40).map(leader).collect::<std::collections::BTreeSet<_>>().len();
    assert!(leaders(|seed| Cluster::<Raft>::new(None, seed).leader()) > 2);
    assert!(leaders(|seed| Cluster::<MultiPaxos>::new(None, seed).leader()) > 2);
}
