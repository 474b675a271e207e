//! A node that overwrites what it is still syncing, and crashes at the worst moment: the first sync may have
//! ended and the second not, and a leader counts on it.
//!
//! By themselves a slow sync, two elections and a crash hardly ever meet so closely.

use quorumbench_protocols::{NodeId, Slot};

use super::fault::Fault;
use super::replica::Replica;
use super::subject::Subject;
use super::world::World;

/// A node that crashes as soon as a leader has committed `slot`, unless it has crashed before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ambush {
    node: NodeId,
    life: u32,
    slot: Slot,
}

impl<P: Subject> World<P> {
    fn lies_in_wait(&mut self) -> bool {
        let in_four = u64::from(self.scenario.strengths[Fault::Overwrite]);
        self.stormy && in_four > 0 && self.prng.below(4) < in_four
    }

    /// The disk of a new leader stalls, and nobody hears it: what it writes is not durable when the next
    /// leader overrules it.
    pub(super) fn stall_leader(&mut self, id: NodeId) {
        if self.lies_in_wait() {
            let nanos = self.a_long_while();
            self.replicas[id.0 as usize].disk.stall(self.now, nanos);
            self.mute(id);
        }
    }

    /// A node drops a part of its log that is not durable yet. What takes its place will take longer
    /// still, and the leader has nobody else to count on.
    pub(super) fn on_overwrite(&mut self, id: NodeId) {
        if !self.lies_in_wait() {
            return;
        }
        let nanos = self.a_long_while();
        let replica = &mut self.replicas[id.0 as usize];
        replica.disk.stall(self.now, nanos);
        let life = replica.life;
        if let Some(slot) = self.leave_with_majority(id) {
            self.ambush = Some(Ambush { node: id, life, slot });
            self.join_after(2 * nanos);
            self.injected(Fault::Overwrite, id, id);
        }
    }

    /// Some election timeouts.
    fn a_long_while(&mut self) -> u64 {
        let timeout = self.scenario.cluster.election_timeout_ns;
        2 * timeout + self.prng.below(4 * timeout)
    }

    /// Leaves the latest leader alone with `id` and no more than a majority: those with the shortest logs
    /// are cut off. The first slot that none of these has. Clients stay with the leader.
    fn leave_with_majority(&mut self, id: NodeId) -> Option<Slot> {
        let leaders = self.replicas.iter().filter(|replica| Replica::leads(replica));
        let leader = leaders.max_by_key(|replica| replica.term).map(Replica::id)?;
        let last = |replica: &Replica<P>| replica.view().map_or(Slot::ZERO, |view| view.last);
        let others = self.replicas.iter().filter(|replica| replica.id() != id && replica.id() != leader);
        let mut others: Vec<_> = others.map(|replica| (last(replica), replica.id())).collect();
        others.sort_unstable();
        others.truncate((self.replicas.len() - 1) / 2);
        let longest = others.last().map_or(Slot::ZERO, |&(last, _)| last);
        self.cut_apart(others.iter().fold(0, |side, (_, other)| side | 1 << other.0), None);
        Some(longest + 1)
    }

    /// A leader took its turn. If it has committed what the ambush waits for, the node crashes, the leader
    /// is heard no more, and the others must elect one that has it all.
    pub(super) fn on_leading(&mut self, leader: NodeId, committed: Slot) {
        let Some(ambush) = self.ambush.take_if(|ambush| committed >= ambush.slot && leader != ambush.node) else {
            return;
        };
        let replica = &self.replicas[ambush.node.0 as usize];
        if !self.stormy || !replica.is_up() || replica.life != ambush.life {
            return;
        }
        let down_for = self.a_moment();
        self.crash_for(ambush.node, down_for, Fault::Overwrite);
        self.network.join_all();
        self.mute(leader);
    }

    /// No other node hears `id` for some time.
    fn mute(&mut self, id: NodeId) {
        let others = (0..self.replicas.len() as u32).map(NodeId).filter(|&other| other != id);
        others.for_each(|other| self.network.cut(id, other));
        let nanos = self.a_long_while();
        self.join_after(nanos);
    }
}
