//! What breaks: faults that are fired again and again while the world is stormy, and how each ends.

use quorumbench_protocols::mutant::Mutant;
use quorumbench_protocols::{Nanos, NodeId, PeerSet};

use super::checks::Violation;
use super::client::Client;
use super::fault::Fault;
use super::subject::Subject;
use super::swarm::pick;
use super::trace::What;
use super::world::{Event, World};

/// Faults that come at their own times. The others belong to a frame, a sync or a seed.
const RECURRING: [Fault; 17] = [
    Fault::Clog,
    Fault::Partition,
    Fault::OneWay,
    Fault::Bridge,
    Fault::Pause,
    Fault::SlowNode,
    Fault::Crash,
    Fault::Blackout,
    Fault::Rot,
    Fault::EarlyTimeout,
    Fault::Transfer,
    Fault::ClientAway,
    Fault::AddLearner,
    Fault::Promote,
    Fault::Remove,
    Fault::Replace,
    Fault::Deposed,
];

impl<P: Subject> World<P> {
    /// Plans the first of each, and counts those that are there from the start.
    pub(super) fn plan_faults(&mut self) {
        for fault in [Fault::Drift, Fault::TinyWindow, Fault::SingleCommand] {
            self.stats.injected[fault] += u64::from(self.scenario.strengths[fault] > 0);
        }
        for fault in RECURRING {
            self.plan_fault(fault);
        }
    }

    fn plan_fault(&mut self, fault: Fault) {
        if let Some(interval) = self.scenario.interval(fault) {
            let at = self.now + 1 + self.prng.below(2 * interval);
            self.queue.push(at, Event::Fault(fault));
        }
    }

    /// A fault fires, and plans its next.
    pub(super) fn on_fault(&mut self, fault: Fault) -> Result<(), Violation> {
        if !self.stormy {
            return Ok(());
        }
        self.plan_fault(fault);
        match fault {
            Fault::Clog => self.clog(),
            Fault::Partition => self.part(false),
            Fault::Bridge => self.part(true),
            Fault::OneWay => self.cut_one_way(),
            Fault::Pause => self.pause(),
            Fault::SlowNode => self.slow_down(),
            Fault::Crash => self.crash_one(),
            Fault::Blackout => self.black_out(),
            Fault::Rot => self.rot(),
            Fault::EarlyTimeout => return self.leap(),
            Fault::Transfer => return self.transfer(),
            Fault::ClientAway => self.send_away(),
            Fault::AddLearner | Fault::Promote | Fault::Remove | Fault::Replace => {
                let id = self.victim();
                return self.reconfigure(id, fault);
            }
            Fault::Deposed => return self.depose(),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn injected(&mut self, fault: Fault, node: NodeId, other: NodeId) {
        self.stats.injected[fault] += 1;
        self.note(node, What::Fault(fault, other));
    }

    /// A node: as often as not the leader, since that is where it hurts.
    fn victim(&mut self) -> NodeId {
        let leader = self.replicas.iter().rposition(super::replica::Replica::leads);
        match leader.filter(|_| self.prng.below(2) == 0) {
            Some(leader) => NodeId(leader as u32),
            None => self.anyone(),
        }
    }

    pub(super) fn anyone(&mut self) -> NodeId {
        NodeId(self.prng.below(self.replicas.len() as u64) as u32)
    }

    /// A while: around an election timeout, or much less, or a few.
    fn a_while(&mut self) -> u64 {
        let timeout = self.scenario.cluster.election_timeout_ns;
        let longest = pick(&mut self.prng, &[timeout / 4, timeout * 2, timeout * 6]);
        1 + self.prng.below(longest)
    }

    fn clog(&mut self) {
        let (from, to) = (self.victim(), self.anyone());
        if from == to || self.clogs.contains(&(from, to)) {
            return;
        }
        let held_for = self.a_while();
        self.hold(from, to, held_for);
        self.injected(Fault::Clog, from, to);
    }

    fn hold(&mut self, from: NodeId, to: NodeId, held_for: u64) {
        self.clogs.push((from, to));
        self.network.clog(from, to);
        self.queue.push(self.now + held_for, Event::Unclog);
    }

    /// Lifts a clog: any of them, so that they go in another order than they came.
    pub(super) fn on_unclog(&mut self) {
        if self.clogs.is_empty() {
            return;
        }
        let at = self.prng.below(self.clogs.len() as u64) as usize;
        let (from, to) = self.clogs.swap_remove(at);
        for frame in self.network.unclog(from, to) {
            self.queue.push(self.now + 1, Event::Arrive(to, frame));
        }
        self.note(from, What::Healed(Fault::Clog, to));
    }

    /// Two groups of nodes do not hear each other, but perhaps over one node that hears both. Clients
    /// are on either side.
    fn part(&mut self, bridged: bool) {
        let side = self.prng.next_u64();
        let bridge = bridged.then(|| self.anyone());
        self.cut_apart(side, bridge);
        let fault = if bridged { Fault::Bridge } else { Fault::Partition };
        self.end_partition_later(fault, bridge.unwrap_or_default(), bridge.unwrap_or_default());
    }

    /// Nodes and clients whose bits differ do not hear each other, but for the bridge.
    pub(super) fn cut_apart(&mut self, side: u64, bridge: Option<NodeId>) {
        let nodes = (self.replicas.len() + self.clients.len()) as u32;
        for from in (0..nodes).map(NodeId) {
            for to in (0..nodes).map(NodeId) {
                let apart = side >> from.0 & 1 != side >> to.0 & 1;
                if apart && bridge != Some(from) && bridge != Some(to) {
                    self.network.cut(from, to);
                }
            }
        }
    }

    /// A node is not heard by another, or by nobody.
    fn cut_one_way(&mut self) {
        let (from, to) = (self.victim(), self.anyone());
        if self.prng.below(2) == 0 {
            self.network.cut(from, to);
        } else {
            (0..self.replicas.len() as u32).for_each(|id| self.network.cut(from, NodeId(id)));
        }
        self.end_partition_later(Fault::OneWay, from, to);
    }

    fn end_partition_later(&mut self, fault: Fault, node: NodeId, other: NodeId) {
        let nanos = self.a_while();
        self.join_after(nanos);
        self.injected(fault, node, other);
    }

    pub(super) fn join_after(&mut self, nanos: u64) {
        self.partitions += 1;
        self.queue.push(self.now + nanos, Event::Join(self.partitions));
    }

    /// The latest partition ends, and with it those that it overlaid.
    pub(super) fn on_join(&mut self, partition: u64) {
        // What is broken for good is cut off for good.
        if partition == self.partitions && self.stormy {
            self.network.join_all();
            self.note(NodeId(0), What::Healed(Fault::Partition, NodeId(0)));
        }
    }

    fn pause(&mut self) {
        let (id, until) = (self.victim(), self.now + self.a_while());
        let replica = &mut self.replicas[id.0 as usize];
        if replica.is_up() {
            replica.held_until = replica.held_until.max(until);
            self.injected(Fault::Pause, id, id);
        }
    }

    fn slow_down(&mut self) {
        let timeout = self.scenario.cluster.election_timeout_ns;
        let (id, until) = (self.victim(), self.now + self.a_while());
        let turn_ns = timeout / pick(&mut self.prng, &[1000, 200, 50]);
        let replica = &mut self.replicas[id.0 as usize];
        if replica.is_up() {
            replica.turn_ns = turn_ns;
            self.queue.push(until, Event::SpeedUp(id, replica.life));
            self.injected(Fault::SlowNode, id, id);
        }
    }

    pub(super) fn on_speed_up(&mut self, id: NodeId, life: u32) {
        let replica = &mut self.replicas[id.0 as usize];
        if replica.life == life {
            replica.turn_ns = 0;
        }
    }

    /// A node stops; what was not durable is lost, but for what can be read of a torn tail.
    pub(super) fn crash(&mut self, id: NodeId) {
        let replica = &mut self.replicas[id.0 as usize];
        replica.stop();
        replica.disk.crash(&mut self.stats.injected);
    }

    fn crash_for_a_while(&mut self, id: NodeId, fault: Fault) {
        if !self.replicas[id.0 as usize].is_up() {
            return;
        }
        let down_for = self.a_while();
        self.crash_for(id, down_for, fault);
    }

    pub(super) fn crash_for(&mut self, id: NodeId, down_for: u64, fault: Fault) {
        self.crash(id);
        self.queue.push(self.now + down_for, Event::Restart(id, self.replicas[id.0 as usize].life));
        self.injected(fault, id, id);
    }

    /// A node entered a term, and a part of what it says of it is durable, or all: it asks for votes, or
    /// gives one. Some crash just then, and are back before the election is over, to see whether they remember.
    pub(super) fn on_turning_point(&mut self, id: NodeId) {
        let one_in = [0, 8, 4, 2][self.scenario.strengths[Fault::Crash] as usize];
        if self.stormy && one_in > 0 && self.prng.below(one_in) == 0 {
            let at = self.now + self.a_moment();
            self.queue.push(at, Event::Crash(id, self.replicas[id.0 as usize].life));
        }
    }

    /// A node leads a new term. Some are silenced at once, and some crash before they have told everyone:
    /// so logs part, and an old term's slots are what the next leader finds (Raft paper, figure 8).
    pub(super) fn on_crowned(&mut self, id: NodeId) {
        let in_four = u64::from(self.scenario.strengths[Fault::ShortReign]);
        if !self.stormy || in_four == 0 || self.prng.below(4) >= in_four {
            return;
        }
        if self.prng.below(2) == 0 {
            self.silence(id);
        } else {
            self.stats.injected[Fault::ShortReign] += 1;
            let timeout = self.scenario.cluster.election_timeout_ns;
            let longest = pick(&mut self.prng, &[timeout / 100, timeout / 10, timeout / 2]);
            let at = self.now + 1 + self.prng.below(longest);
            self.queue.push(at, Event::Crash(id, self.replicas[id.0 as usize].life));
        }
    }

    /// Most of the others do not hear a node that leads, or is about to.
    pub(super) fn silence(&mut self, id: NodeId) {
        self.stats.injected[Fault::ShortReign] += 1;
        for other in (0..self.replicas.len() as u32).map(NodeId).filter(|&other| other != id) {
            if self.prng.below(4) > 0 {
                self.network.cut(id, other);
            }
        }
        self.end_partition_later(Fault::OneWay, id, id);
    }

    pub(super) fn on_crash(&mut self, id: NodeId, life: u32) {
        let replica = &self.replicas[id.0 as usize];
        if self.stormy && replica.is_up() && replica.life == life {
            let down_for = self.a_moment();
            self.crash_for(id, down_for, Fault::Crash);
        }
    }

    /// About as long as a message or a sync takes.
    pub(super) fn a_moment(&mut self) -> u64 {
        let timeout = self.scenario.cluster.election_timeout_ns;
        let longest = pick(&mut self.prng, &[timeout / 1000, timeout / 100, timeout / 20]);
        1 + self.prng.below(longest)
    }

    fn crash_one(&mut self) {
        let id = self.victim();
        self.crash_for_a_while(id, Fault::Crash);
    }

    fn black_out(&mut self) {
        (0..self.replicas.len() as u32).for_each(|id| self.crash_for_a_while(NodeId(id), Fault::Blackout));
    }

    /// A sync fails: nobody knows what is on the disk, so the node stops and reads it again.
    pub(super) fn on_sync_failed(&mut self, id: NodeId, life: u32) {
        if self.replicas[id.0 as usize].life == life {
            self.crash_for_a_while(id, Fault::DiskFailure);
        }
    }

    /// Damages a durable record, of so few nodes that the others can go on without them.
    fn rot(&mut self) {
        let id = self.anyone();
        let enough = self.suffice(self.sound().without(id));
        let replica = &mut self.replicas[id.0 as usize];
        if enough && !replica.rotten && replica.is_up() && replica.disk.rot() {
            if self.scenario.mutant.is(Mutant::R17) {
                self.crash_for_a_while(id, Fault::Rot);
                return;
            }
            replica.rotten = true;
            self.crash(id);
            self.injected(Fault::Rot, id, id);
        }
    }

    /// A node's clock jumps, and its timeouts come early; or everyone's does.
    fn leap(&mut self) -> Result<(), Violation> {
        let timeout = self.scenario.cluster.election_timeout_ns;
        if self.prng.below(2) == 0 {
            let (id, nanos) = (self.anyone(), self.prng.below(2 * timeout));
            return self.leap_one(id, nanos);
        }
        // Nobody takes the leader for alive any more, and some campaign at once.
        let who = self.prng.next_u64();
        let leap = |id: u32| if who >> id & 1 == 0 { timeout } else { 2 * timeout };
        (0..self.replicas.len() as u32).try_for_each(|id| self.leap_one(NodeId(id), leap(id)))
    }

    fn leap_one(&mut self, id: NodeId, nanos: u64) -> Result<(), Violation> {
        if !self.replicas[id.0 as usize].is_up() {
            return Ok(());
        }
        self.replicas[id.0 as usize].clock.leap(nanos);
        self.stats.injected[Fault::EarlyTimeout] += 1;
        let what = What::Fault(Fault::EarlyTimeout, id);
        self.turn(id, what, what)
    }

    /// Whoever leads is asked to hand over; whoever does not must not mind being asked.
    fn transfer(&mut self) -> Result<(), Violation> {
        let (id, target) = (self.victim(), self.anyone());
        let Some(node) = &mut self.replicas[id.0 as usize].node else { return Ok(()) };
        node.transfer(target);
        self.stats.injected[Fault::Transfer] += 1;
        let what = What::Fault(Fault::Transfer, target);
        self.turn(id, what, what)
    }

    /// The leader is deposed and does not hear of it, but is still asked to read. Either it hands over, or it
    /// is paused for so long that the others elect another; answers to what it sent before wait for it then.
    fn depose(&mut self) -> Result<(), Violation> {
        let Some(leader) = self.replicas.iter().rposition(super::replica::Replica::leads) else { return Ok(()) };
        let (id, heir, timeout) = (NodeId(leader as u32), self.anyone(), self.scenario.cluster.election_timeout_ns);
        let hands_over = self.prng.below(2) == 0;
        let replica = &mut self.replicas[leader];
        if let Some(node) = replica.node.as_mut().filter(|_| hands_over) {
            node.transfer(heir);
        } else {
            replica.held_until = replica.held_until.max(self.now + timeout + self.prng.below(2 * timeout));
        }
        let deaf_at = self.now + if hands_over { self.a_moment() } else { self.prng.below(timeout) };
        self.queue.push(deaf_at, Event::Deafen(id));
        let what = What::Fault(Fault::Deposed, heir);
        self.turn(id, what, what)
    }

    /// A node hears no other node any more, for a while; or not before all that was sent before.
    pub(super) fn on_deafen(&mut self, id: NodeId) {
        if !self.stormy {
            return;
        }
        let others = (0..self.replicas.len() as u32).map(NodeId).filter(|&other| other != id);
        if self.prng.below(2) == 0 {
            others.for_each(|other| self.network.cut(other, id));
            self.end_partition_later(Fault::Deposed, id, id);
            return;
        }
        for other in others {
            if !self.clogs.contains(&(other, id)) {
                let held_for = 1 + self.prng.below(self.scenario.cluster.election_timeout_ns);
                self.hold(other, id, held_for);
            }
        }
        self.injected(Fault::Deposed, id, id);
    }

    fn send_away(&mut self) {
        let at = self.prng.below(self.clients.len() as u64) as usize;
        self.clients[at].away_until = self.now + self.a_while();
        let id = NodeId((self.replicas.len() + at) as u32);
        self.injected(Fault::ClientAway, id, id);
    }

    /// Nothing breaks any more: what was broken is healed for a majority, and stays broken for the rest,
    /// each in its own way. What heals by itself hides livelock.
    pub(super) fn calm_down(&mut self) -> Result<(), Violation> {
        self.stormy = false;
        self.note(NodeId(0), What::Calm);
        self.network.calm_down();
        self.network.join_all();
        while !self.clogs.is_empty() {
            self.on_unclog();
        }
        let (healthy, broken) = self.choose_healthy();
        for &at in &healthy {
            let replica = &mut self.replicas[at];
            replica.disk.calm_down();
            (replica.held_until, replica.turn_ns) = (Nanos::ZERO, 0);
            let (id, life, is_up) = (replica.id(), replica.life, replica.is_up());
            if is_up {
                self.queue.push(self.now + 1, Event::Ready(id, life));
            } else {
                self.on_restart(id, life)?;
            }
        }
        broken.into_iter().for_each(|at| self.break_for_good(NodeId(at as u32), &healthy));
        self.healthy = healthy;
        self.clients.iter_mut().for_each(Client::calm_down);
        Ok(())
    }

    /// A majority of every membership that may count, or more, drawn from the nodes whose disks can be read; and the
    /// others.
    fn choose_healthy(&mut self) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.replicas.len()).filter(|&at| !self.replicas[at].rotten).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.prng.below(at as u64 + 1) as usize);
        }
        let first = |many: usize| order[..many].iter().map(|&at| NodeId(at as u32)).collect();
        let suffice = |many: &usize| self.suffice(first(*many));
        let least = (1..=order.len()).find(suffice).expect("whoever is lost, majorities are left");
        let many = least + self.prng.below((order.len() - least) as u64 + 1) as usize;
        let rest = order.split_off(many);
        order.sort_unstable();
        (order, rest)
    }

    /// Whether these can go on without the others.
    fn suffice(&self, nodes: PeerSet) -> bool {
        let quorums = self.scenario.cluster.quorums;
        self.atlas.suffices(nodes) && nodes.len() >= quorums.phase1().max(quorums.phase2())
    }

    fn break_for_good(&mut self, id: NodeId, healthy: &[usize]) {
        let nodes = (self.replicas.len() + self.clients.len()) as u32;
        let everyone = || (0..nodes).map(NodeId);
        match self.prng.below(6) {
            0 => {
                self.replicas[id.0 as usize].held_until = Nanos::NEVER;
                self.note(id, What::Fault(Fault::Pause, id));
            }
            1 => {
                everyone().for_each(|other| self.network.cut(id, other));
                self.note(id, What::Fault(Fault::OneWay, id));
            }
            2 => {
                everyone().for_each(|other| self.network.cut(other, id));
                self.note(id, What::Fault(Fault::Partition, id));
            }
            // Tied to the others by one of them only. Of three voters that would be a chain, whose end may
            // well lead, with the middle of it as its majority.
            // And so it may where two are a quorum of phase 2.
            3 if self.atlas.fewest_voters() > 3
                && (!P::ABILITIES.quorums || self.scenario.cluster.quorums.phase2() > 2) =>
            {
                let bridge = NodeId(healthy[self.prng.below(healthy.len() as u64) as usize] as u32);
                for other in everyone().filter(|&other| other != bridge) {
                    self.network.cut(id, other);
                    self.network.cut(other, id);
                }
                self.note(id, What::Fault(Fault::Bridge, bridge));
            }
            // Whatever it was: as it is now, for ever; or gone.
            4 if self.replicas[id.0 as usize].is_up() => {
                self.replicas[id.0 as usize].held_until = Nanos::NEVER;
            }
            _ => {
                if self.replicas[id.0 as usize].is_up() {
                    self.crash(id);
                }
                // An earlier plan to restart it is for an earlier life.
                self.replicas[id.0 as usize].life += 1;
                self.note(id, What::Fault(Fault::Crash, id));
            }
        }
    }
}
