//! Many consensus groups in one replica: a node of each, over the same connections and one log.
//!
//! A turn hands out what has arrived by [`Head::group`](quorumbench_protocols::Head::group), lets those groups take a turn
//! that have something to do, and puts together what they say: one `send` carries every group's frames, and one sync
//! makes every group's records durable. A group that has nothing to do costs a look at its deadline.

use quorumbench_protocols::{Frame, Lsn, Nanos, NodeId, Protocol, Record, Transmit};

use super::ledger::Reach;
use super::orders::Standing;
use super::replica::Replica;
use crate::check::witness::ReplicaTrace;
use crate::machine::Machine;
use crate::node::{Node, NodeStats};

mod journal;

use journal::Journal;
pub(super) use journal::{Split, split};

/// The groups' nodes of one replica.
#[derive(Debug)]
pub(super) struct Groups<P, M> {
    inbox: Vec<Frame>,
    transmits: Vec<Transmit>,
    /// By group.
    nodes: Vec<Node<P, M>>,
    /// When each takes its next turn; [`DUE`] if it has something to do.
    deadlines: Vec<Nanos>,
    journal: Journal,
    /// Frames of groups that there are none of.
    malformed: u64,
}

/// The deadline of a group that has been given something.
const DUE: Nanos = Nanos::ZERO;

impl<P: Protocol, M: Machine> Groups<P, M> {
    /// Nodes that begin with empty logs, each told its group.
    pub(super) fn new(nodes: Vec<Node<P, M>>) -> Self {
        let journal = Journal::new(nodes.len(), P::SNAPSHOT_RECORD);
        Self::with_journal(nodes, journal)
    }

    /// Nodes that were rebuilt from what `split` gave each of them.
    pub(super) fn recovered(nodes: Vec<Node<P, M>>, split: &Split) -> Self {
        let journal = Journal::resume(split, P::SNAPSHOT_RECORD);
        Self::with_journal(nodes, journal)
    }

    fn with_journal(nodes: Vec<Node<P, M>>, journal: Journal) -> Self {
        let deadlines = vec![DUE; nodes.len()];
        Self { inbox: Vec::new(), transmits: Vec::new(), nodes, deadlines, journal, malformed: 0 }
    }

    fn hand_out(&mut self) {
        for frame in self.inbox.drain(..) {
            let group = usize::from(frame.head.group);
            match self.nodes.get_mut(group) {
                Some(node) => {
                    node.inbox.push(frame);
                    self.deadlines[group] = DUE;
                }
                None => self.malformed += 1,
            }
        }
    }

    fn sum<T>(&self, of: impl Fn(&Node<P, M>) -> T, zero: T, plus: impl Fn(T, T) -> T) -> T {
        self.nodes.iter().map(of).fold(zero, plus)
    }
}

impl<P: Protocol + Send, M: Machine> Replica for Groups<P, M> {
    fn inbox(&mut self) -> &mut Vec<Frame> {
        &mut self.inbox
    }

    fn turn(&mut self, now: Nanos) {
        self.hand_out();
        let mut behind = None;
        for (group, node) in self.nodes.iter_mut().enumerate() {
            if self.deadlines[group] > now {
                continue;
            }
            node.turn(now);
            self.deadlines[group] = node.deadline();
            self.transmits.append(node.transmits());
            self.journal.write(group, node.records());
            let laggard = node.take_release().and_then(|before| self.journal.release(group, before));
            behind = behind.or(laggard);
        }
        if let Some(group) = behind {
            self.nodes[group].want_snapshot();
            self.deadlines[group] = DUE;
        }
    }

    fn deadline(&self) -> Nanos {
        self.deadlines.iter().copied().min().unwrap_or(Nanos::NEVER)
    }

    fn transmits(&mut self) -> &mut Vec<Transmit> {
        &mut self.transmits
    }

    fn records(&mut self) -> &mut Vec<Record> {
        self.journal.records()
    }

    fn durable(&mut self, lsn: Lsn) {
        let Self { nodes, deadlines, journal, .. } = self;
        journal.durable(lsn, |group, lsn| {
            nodes[group].durable(lsn);
            deadlines[group] = DUE;
        });
    }

    fn take_release(&mut self) -> Option<Lsn> {
        self.journal.take_release()
    }

    /// Of the first group.
    fn leader(&self) -> Option<NodeId> {
        Replica::leader(&self.nodes[0])
    }

    fn groups_led(&self) -> u32 {
        self.sum(Replica::groups_led, 0, |a, b| a + b)
    }

    /// Of the first group.
    fn transfer(&mut self, target: NodeId) {
        self.nodes[0].transfer(target);
        self.deadlines[0] = DUE;
    }

    fn stats(&self) -> NodeStats {
        let sum = self.sum(Node::stats, NodeStats::default(), NodeStats::plus);
        NodeStats { malformed: sum.malformed + self.malformed, ..sum }
    }

    /// Of all groups together.
    fn standing(&self) -> Standing {
        self.sum(Replica::standing, Standing::default(), Standing::plus)
    }

    fn reach(&self) -> Reach {
        self.nodes.iter().map(Node::delivered).collect()
    }

    fn count_from(&mut self, reach: &Reach) {
        self.nodes.iter_mut().enumerate().for_each(|(group, node)| node.count_from(reach.at(group)));
    }

    fn keep_trace(&mut self) {
        self.nodes.iter_mut().for_each(Node::keep_trace);
    }

    fn take_traces(&mut self) -> Vec<ReplicaTrace> {
        self.nodes.iter_mut().filter_map(Node::take_trace).collect()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "small protocols to test with")]
mod tests;
