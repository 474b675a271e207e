//! Faults in virtual time: the queue of events is their plan.

use quorumbench_protocols::{Frame, Nanos, NodeId};

use super::{Actor, What, World};
use crate::drive::{EventKind, Fault, FaultKind};
use crate::measure::Window;

/// A fault that finds no leader looks again after this long.
const LOOK_AGAIN_NS: u64 = 1_000_000;

impl World {
    pub(super) fn plan_faults(&mut self, faults: &[Fault], window: Window) {
        for fault in faults {
            self.queue.push(window.from + fault.at.as_nanos() as u64, What::Fault(fault.kind));
        }
    }

    pub(super) fn fault(&mut self, kind: FaultKind) {
        let Some(leader) = self.members.iter().position(|member| member.leads) else {
            self.queue.push(self.now + LOOK_AGAIN_NS, What::Fault(kind));
            return;
        };
        match kind {
            FaultKind::KillLeader => self.kill(leader),
            FaultKind::RestartLeader { down_for } => {
                self.kill(leader);
                self.queue.push(self.now + down_for.as_nanos() as u64, What::Restart(leader));
            }
            FaultKind::TransferLeader => self.transfer(leader),
        }
    }

    /// From now on it neither hears nor says anything. What it said before is on its way.
    fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        (member.down, member.leads, member.turn_at) = (true, false, Nanos::NEVER);
        if let Actor::Replica(replica) = &mut member.actor {
            replica.inbox().clear();
        }
        self.events.push((self.now, EventKind::Killed, NodeId(index as u32)));
    }

    /// It is back with what it had in memory.
    pub(super) fn restart(&mut self, index: usize) {
        self.members[index].down = false;
        self.events.push((self.now, EventKind::Restarted, NodeId(index as u32)));
        self.schedule(index, self.now);
    }

    fn transfer(&mut self, from: usize) {
        let replicas = self.members.iter().filter(|member| matches!(member.actor, Actor::Replica(_))).count();
        if let Actor::Replica(replica) = &mut self.members[from].actor {
            replica.transfer(NodeId(((from + 1) % replicas) as u32));
        }
        self.events.push((self.now, EventKind::Transfer, NodeId(from as u32)));
        let turn_at = self.members[from].busy_until.max(self.now);
        self.schedule(from, turn_at);
    }

    /// A frame reached a node that is down.
    pub(super) fn lose(&mut self, frame: &Frame) {
        if let Some(sender) = self.members.get_mut(frame.head.from.0 as usize) {
            sender.reading.counters.dropped_frames += 1;
        }
    }
}
