//! Faults in virtual time: the world is their subject, and obeys at once.

use std::time::Duration;

use quorumbench_protocols::{Frame, Nanos, NodeId};

use super::{Actor, Member, What, World};
use crate::drive::arrears::Arrears;
use crate::drive::faults::Subject;
use crate::drive::orders::{Order, Standing};
use crate::drive::{DriveError, EventKind};

/// What faults have made of a member.
#[derive(Default)]
pub(super) struct Plight {
    /// It takes no turns, and what reaches it is lost.
    pub(super) down: bool,
    /// It takes no turns.
    pub(super) paused: bool,
    /// What it sends, and what reaches it, is lost.
    pub(super) isolated: bool,
    /// What it sends leaves so much later.
    pub(super) link_extra: Duration,
    /// Its work takes so many times as long; zero for as it is.
    pub(super) factor: u32,
    /// Bytes that it had received when it came back.
    received: u64,
    /// What is to be delivered before it has caught up.
    behind: Arrears,
}

impl Plight {
    /// Whether what reaches it is lost.
    pub(super) fn loses(&self) -> bool {
        self.down || self.isolated
    }
}

impl World {
    /// Lets the plan do what is due, and come back when more is.
    pub(super) fn fault(&mut self) {
        let Some(mut plan) = self.plan.take() else { return };
        if let Err(error) = plan.turn(self.now, self) {
            unreachable!("nothing fails in virtual time, but {error}");
        }
        let next_at = plan.next_at(self.now);
        if next_at < Nanos::NEVER {
            self.queue.push(next_at, What::Faults);
        }
        self.plan = Some(plan);
    }

    /// A frame reached a node that is down or cut off.
    pub(super) fn lose(&mut self, frame: &Frame) {
        if let Some(sender) = self.members.get_mut(frame.head.from.0 as usize) {
            sender.reading.counters.dropped_frames += 1;
        }
    }

    /// After a turn of it: has it caught up?
    pub(super) fn look_behind(&mut self, index: usize) {
        let member = &mut self.members[index];
        if !member.plight.behind.is_empty()
            && let Some(Standing { delivered, .. }) = member.standing()
        {
            let caught_up = member.plight.behind.settle(delivered, member.reading.counters.received_bytes);
            let node = NodeId(index as u32);
            self.events.extend(caught_up.map(|kind| (self.now, kind, node)));
        }
    }

    fn note(&mut self, index: usize, kind: EventKind) {
        self.events.push((self.now, kind, NodeId(index as u32)));
    }

    fn changed(&mut self, index: usize, on: bool, begins: EventKind, ends: EventKind) {
        let member = &mut self.members[index];
        if !on {
            member.plight.received = member.reading.counters.received_bytes;
        }
        self.note(index, if on { begins } else { ends });
    }

    fn wake(&mut self, index: usize) {
        let turn_at = self.members[index].busy_until.max(self.now);
        self.schedule(index, turn_at);
    }
}

impl Subject for World {
    fn replicas(&self) -> usize {
        self.members.iter().filter(|member| matches!(member.actor, Actor::Replica(_))).count()
    }

    fn leader(&self) -> Option<usize> {
        self.leader
    }

    fn standing(&self, index: usize) -> Option<Standing> {
        self.members[index].standing()
    }

    /// From now on it neither hears nor says anything. What it said before is on its way.
    fn kill(&mut self, index: usize) -> Result<(), DriveError> {
        let member = &mut self.members[index];
        member.turn_at = Nanos::NEVER;
        // What else was done to it dies with it.
        member.plight = Plight { down: true, ..Plight::default() };
        if let Some(disk) = &mut member.disk {
            disk.slow_down(Duration::ZERO);
        }
        if let Actor::Replica(replica) = &mut member.actor {
            replica.inbox().clear();
        }
        self.note(index, EventKind::Killed);
        Ok(())
    }

    /// It is back with what it had in memory.
    fn restart(&mut self, index: usize) -> Result<(), DriveError> {
        self.members[index].plight.down = false;
        self.changed(index, false, EventKind::Killed, EventKind::Restarted);
        self.wake(index);
        Ok(())
    }

    fn order(&mut self, index: usize, order: Order) {
        let member = &mut self.members[index];
        let (replica, plight) = match &mut member.actor {
            Actor::Replica(replica) => (replica, &mut member.plight),
            Actor::Client(_) | Actor::Gone => return,
        };
        match order {
            Order::Die => unreachable!("the world kills"),
            Order::Transfer { to } => {
                replica.transfer(NodeId(to));
                self.note(index, EventKind::Transfer);
            }
            Order::Pause { on } => {
                plight.paused = on;
                if on {
                    member.turn_at = Nanos::NEVER;
                }
                self.changed(index, on, EventKind::Paused, EventKind::Resumed);
            }
            Order::Isolate { on } => {
                plight.isolated = on;
                self.changed(index, on, EventKind::Isolated, EventKind::Healed);
            }
            Order::SlowLink { extra } => {
                plight.link_extra = extra;
                self.changed(index, !extra.is_zero(), EventKind::Slowed, EventKind::Recovered);
            }
            Order::SlowDisk { extra } => {
                if let Some(disk) = &mut member.disk {
                    disk.slow_down(extra);
                }
                self.changed(index, !extra.is_zero(), EventKind::Slowed, EventKind::Recovered);
            }
            Order::Slow { factor } => {
                plight.factor = factor;
                self.changed(index, factor > 1, EventKind::Slowed, EventKind::Recovered);
            }
            Order::CatchUp { slot } => plight.behind.add(slot, plight.received),
        }
        self.wake(index);
    }
}

impl Member {
    fn standing(&self) -> Option<Standing> {
        if let Actor::Replica(replica) = &self.actor { Some(replica.standing()) } else { None }
    }
}
