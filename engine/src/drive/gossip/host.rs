//! A host: one thread, one endpoint, and as many nodes as fall to it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorumbench_protocols::gossip::message::Message;
use quorumbench_protocols::gossip::{Config, Gossip as Node};
use quorumbench_protocols::{Frame, Head, Input, Nanos, NodeId, Outbox, Payload, Prng, Recipients, Transmit};
use quorumbench_transports::{Counters, Transport};

use super::links::Links;
use super::stage::{LOOK_NS, News, Plan, Record, Stage};
use crate::epidemic::{Rules, Updates, refusal};
use crate::measure::histogram;
use crate::population::{Members, Trial};
use crate::sim::queue::Queue;
use crate::spec::Point;

/// A host between two waits.
pub(super) struct Host {
    id: u32,
    point: Arc<Point>,
    stage: Arc<Stage>,
    rules: Rules,
    /// Who is up, and who may talk to whom: the same on all hosts.
    overlay: Members,
    /// The trial that it is in, and what it saw of it so far.
    trial: Option<Running>,
    /// The last trial that it was in.
    number: u64,
    /// Between its nodes and all, where they are far from each other.
    links: Option<Links>,
    /// For nodes of this host.
    here: VecDeque<Frame>,
    transmits: Vec<Transmit>,
    out: Outbox,
    news: News,
}

struct Running {
    first_cycle: Nanos,
    /// Its nodes, in the order of their ids.
    members: Vec<Node>,
    /// When each of them has its next turn.
    turns: Queue<u32>,
    /// Cycles that have begun.
    cycle: u64,
    /// Who crashes and joins: the same on all hosts.
    churn: Prng,
    /// Whether an update is lost.
    prng: Prng,
    before: Counters,
    updates: Updates,
    /// Messages of a tree that carry no update.
    control: u64,
    record: Record,
}

impl Running {
    /// When the next cycle begins.
    fn next_cycle(&self, interval: u64) -> Nanos {
        self.first_cycle.later(self.cycle.saturating_mul(interval))
    }
}

/// The stream of randomness that all hosts share: no host's.
const CHURN: u64 = u64::MAX;

/// The stream that links throw their dice from: no trial's.
const LINKS: u64 = u64::MAX;

/// What hosts say until they have heard from all others.
const GREETING: u8 = Head::FIRST_FOREIGN_KIND + 0x10;

impl Host {
    /// With all randomness of its links from `seed`.
    pub(super) fn new(id: usize, point: Arc<Point>, stage: Arc<Stage>, seed: u64) -> Self {
        Self {
            id: id as u32,
            links: Links::of(&point, Prng::new(seed).fork(LINKS).fork(id as u64).next_u64()),
            rules: Rules::new(point.cluster.nodes, &point.gossip),
            overlay: Members::new(point.cluster.nodes, &point.gossip),
            point,
            stage,
            trial: None,
            number: 0,
            here: VecDeque::new(),
            transmits: Vec::new(),
            out: Outbox::default(),
            news: News::default(),
        }
    }

    /// Until all is over. How much later than it should have each frame came out of a link.
    pub(super) fn run(mut self, transport: &mut dyn Transport) -> io::Result<Histogram<u64>> {
        let (control, mut inbox) = (self.stage.control.clone(), Vec::new());
        self.greet(transport)?;
        while !control.stopped() {
            if let Some(plan) = self.stage.next(self.number) {
                self.begin(&plan, transport.counters());
            }
            let due = self.next_turn().min(control.clock().now() + LOOK_NS);
            transport.recv(due, &mut inbox)?;
            self.wake(control.clock().now(), due);
            self.begin_cycles(control.clock().now());
            for frame in inbox.drain(..) {
                self.hear(control.clock().now(), frame);
            }
            self.arrivals(control.clock().now());
            self.turns(control.clock().now());
            self.stage.tell(std::mem::take(&mut self.news));
            transport.send(&mut self.transmits)?;
            if control.clock().now() >= self.stage.ends_at() {
                self.end(transport.counters());
            }
        }
        Ok(self.links.map_or_else(histogram, Links::into_lateness))
    }

    /// Until it has heard from all others: each is connected then.
    fn greet(&mut self, transport: &mut dyn Transport) -> io::Result<()> {
        let (control, mut inbox) = (self.stage.control.clone(), Vec::new());
        let mut silent: Vec<_> = (0..self.hosts()).filter(|&host| host != self.id).map(NodeId).collect();
        while !(control.stopped() || silent.is_empty()) {
            transport.send(&mut silent.iter().map(|&host| self.greeting(host, true)).collect())?;
            transport.recv(control.clock().now() + LOOK_NS, &mut inbox)?;
            for frame in inbox.drain(..) {
                silent.retain(|&host| host != frame.head.from);
                self.return_greeting(&frame.head);
            }
            transport.send(&mut self.transmits)?;
        }
        self.stage.greet();
        Ok(())
    }

    fn greeting(&self, to: NodeId, asks: bool) -> Transmit {
        let words = [u64::from(asks), 0, 0, 0, 0, 0];
        let head = Head { kind: GREETING, from: NodeId(self.id), words, ..Head::default() };
        Transmit { to: Recipients::One(to), head, body: Payload::EMPTY }
    }

    /// Who greets has not heard from this host, unless it is answering.
    fn return_greeting(&mut self, head: &Head) {
        if head.words[0] > 0 {
            self.transmits.push(self.greeting(head.from, false));
        }
    }

    fn hosts(&self) -> u32 {
        self.point.cluster.replicas as u32
    }

    fn begin(&mut self, plan: &Plan, before: Counters) {
        let (nodes, rules, interval) = (self.point.cluster.nodes, &self.point.gossip, self.interval());
        let (mut prng, mut members, mut turns) = (plan.prng.clone(), Vec::new(), Queue::new());
        // Every host has all of them, and makes its own ones.
        let configs: Vec<_> = self.rules.members(plan.first_cycle, interval, &mut prng).collect();
        let _ = self.overlay.begin(&mut prng, &|| true);
        for (config, seed) in configs {
            if config.id.0 % self.hosts() == self.id {
                let view = self.overlay.view(config.id.0);
                let mut node = Node::new(Config { group: plan.number as u16, ..config }, seed);
                view.into_iter().for_each(|view| node.set_peers(view));
                if node.deadline() < Nanos::NEVER {
                    turns.push(node.deadline(), members.len() as u32);
                }
                members.push(node);
            }
        }
        let updates = Updates::new(nodes, rules, &mut prng);
        let is_here = |origin: &NodeId| origin.0 % self.hosts() == self.id;
        let origins: Vec<_> = updates.origins.iter().copied().filter(is_here).collect();
        self.number = plan.number;
        self.here.clear();
        let last_cycle = (self.overlay.last_cycle() as f64 * self.point.stretch()) as u64;
        self.stage.end_by(plan.first_cycle.later(last_cycle.saturating_mul(interval)));
        let (churn, prng) = (prng.fork(CHURN), prng.fork(self.id.into()));
        let (first_cycle, record) = (plan.first_cycle, Record::default());
        self.trial =
            Some(Running { first_cycle, members, turns, cycle: 0, churn, prng, before, updates, control: 0, record });
        let update = Payload::from(Bytes::from(vec![0; self.point.gossip.payload]));
        for origin in origins {
            self.step(self.stage.control.clock().now(), origin, Input::Submit(&update));
        }
    }

    fn interval(&self) -> u64 {
        self.point.gossip.interval.as_nanos() as u64
    }

    /// Hands in what it saw.
    fn end(&mut self, now: Counters) {
        // As many as every other host.
        self.begin_cycles(self.stage.ends_at());
        let Some(mut running) = self.trial.take() else { return };
        running.record.passed = self.links.as_mut().map(Links::clear).unwrap_or_default();
        running.record.counters = now.since(running.before);
        let contacts = running.members.iter().map(Node::contacts).sum();
        let down = self.point.cluster.nodes as u64 - self.overlay.alive();
        let (control, is_split) = (running.control, self.overlay.is_split());
        let seen = Trial { down, contacts, control, is_split, ..Trial::default() };
        running.record.trial = running.updates.trial(&seen);
        // Of the next trial it would not be true.
        self.news = News::default();
        self.stage.record(running.record);
    }

    /// It was to be awake by then. What came while it stood still it sees late, even if no turn of its own is.
    fn wake(&mut self, now: Nanos, due: Nanos) {
        let half = self.interval() / 2;
        if let Some(running) = &mut self.trial {
            running.record.stalls += u64::from(now.saturating_since(due) > half);
        }
    }

    fn next_turn(&self) -> Nanos {
        let Some(running) = &self.trial else { return Nanos::NEVER };
        let turn = running.turns.next_at().unwrap_or(Nanos::NEVER);
        let cycle = if self.overlay.has_churn() { running.next_cycle(self.interval()) } else { Nanos::NEVER };
        let arrival = self.links.as_ref().map_or(Nanos::NEVER, Links::next_at);
        turn.min(cycle).min(arrival).min(self.stage.ends_at())
    }

    /// The cycles that have come, if the trial goes on until then: where some crash and some join.
    fn begin_cycles(&mut self, now: Nanos) {
        let until = self.until(now);
        while self.overlay.has_churn()
            && self.trial.as_ref().is_some_and(|running| running.next_cycle(self.interval()) <= until)
        {
            self.begin_cycle(now);
        }
    }

    /// Some crash, and some join, who know nothing, as is `seen` now.
    fn begin_cycle(&mut self, seen: Nanos) {
        let (hosts, id, interval) = (self.hosts(), self.id, self.interval());
        let Some(running) = &mut self.trial else { return };
        let now = running.next_cycle(interval);
        running.cycle += 1;
        self.overlay.cycle(&mut running.churn);
        let here = |node: &&u32| **node % hosts == id;
        for &gone in self.overlay.gone.iter().filter(here) {
            let node = &mut running.members[(gone / hosts) as usize];
            // By the clock, as arrivals are: a host that is late has nobody crash before it learnt.
            let round = (seen.saturating_since(running.first_cycle) / interval + 1).max(running.cycle);
            running.updates.lost(round, |number| node.knows(number), |update| self.stage.learn(update, -1));
            self.stage.rise(-1);
            self.news.activity.spreading -= i32::from(node.spreads());
            node.restart(now, running.prng.next_u64());
        }
        for &joined in self.overlay.joined.iter().filter(here) {
            let index = joined / hosts;
            let node = &mut running.members[index as usize];
            node.restart(now, running.prng.next_u64());
            if node.deadline() < Nanos::NEVER {
                running.turns.push(node.deadline(), index);
            }
            self.stage.rise(1);
        }
        for (index, node) in (0..).zip(&mut running.members) {
            self.overlay.view(index * hosts + id).into_iter().for_each(|view| node.set_peers(view));
        }
    }

    /// A frame of the transport's, and all that follows from it within the host.
    fn hear(&mut self, now: Nanos, mut frame: Frame) {
        if frame.head.kind == GREETING {
            return self.return_greeting(&frame.head);
        }
        if tells(&frame.head) {
            self.news.activity.under_way -= i32::from(self.is_in(&frame.head));
            // Of a small one that is kept, only its own bytes: not all that was received with it.
            if frame.body.len() < SMALL {
                frame.body = Bytes::from(frame.body.pieces().concat()).into();
            }
        }
        self.deliver(now, &frame);
        self.settle(now);
    }

    /// The present, or the trial's last moment.
    fn until(&self, now: Nanos) -> Nanos {
        now.min(Nanos(self.stage.ends_at().0.saturating_sub(1)))
    }

    /// What has come over its nodes' links goes on, within the host or to another.
    fn arrivals(&mut self, now: Nanos) {
        let until = self.until(now);
        while let Some(frame) = self.links.as_mut().and_then(|links| links.arrived(until, now)) {
            self.news.activity.spreading -= i32::from(tells(&frame.head));
            self.carry(frame);
            self.settle(now);
        }
    }

    /// Everyone's turn that has come, if the trial goes on until then.
    fn turns(&mut self, now: Nanos) {
        let until = self.until(now);
        let (half, hosts) = (self.interval() / 2, self.hosts());
        while let Some(running) = &mut self.trial
            && running.turns.next_at().is_some_and(|at| at <= until)
        {
            let Some((at, index)) = running.turns.pop() else { break };
            // One that was down has other turns now.
            let id = index * hosts + self.id;
            if !self.overlay.is_up(id) || running.members[index as usize].deadline() != at {
                continue;
            }
            running.record.turns += 1;
            running.record.late_turns += u64::from(now.saturating_since(at) > half);
            self.step(now, NodeId(id), Input::Timeout);
            self.settle(now);
        }
    }

    /// Whether a frame is of the trial that is on.
    fn is_in(&self, head: &Head) -> bool {
        self.trial.is_some() && head.group == self.number as u16
    }

    /// What nodes of this host say to each other.
    fn settle(&mut self, now: Nanos) {
        while let Some(frame) = self.here.pop_front() {
            self.deliver(now, &frame);
        }
    }

    fn deliver(&mut self, now: Nanos, frame: &Frame) {
        let to = Message::recipient(&frame.head);
        if self.is_in(&frame.head) && to.0 % self.hosts() == self.id {
            if self.overlay.is_up(to.0) {
                self.step(now, to, Input::Frame(frame));
            }
        } else if let Some(running) = &mut self.trial {
            running.record.strays += 1;
        }
    }

    fn step(&mut self, now: Nanos, id: NodeId, input: Input<'_>) {
        let (hosts, interval) = (self.hosts(), self.interval());
        let Some(running) = &mut self.trial else { return };
        let index = id.0 / hosts;
        let Some(node) = running.members.get_mut(index as usize) else { return };
        let planned = if matches!(input, Input::Timeout) { Nanos::NEVER } else { node.deadline() };
        let spread = node.spreads();
        if node.step(now, input, &mut self.out).is_err() {
            running.record.malformed += 1;
        }
        node.flush(now, &mut self.out);
        if planned == Nanos::NEVER && node.deadline() < Nanos::NEVER {
            running.turns.push(node.deadline(), index);
        }
        self.news.activity.spreading += i32::from(node.spreads()) - i32::from(spread);
        for delivery in self.out.deliveries.drain(..) {
            running.updates.index(delivery.slot).into_iter().for_each(|update| self.stage.learn(update, 1));
            if matches!(input, Input::Submit(_)) {
                self.news.begun += 1;
                continue;
            }
            let after = now.saturating_since(running.first_cycle);
            running.updates.arrived(delivery.slot, after, interval);
            running.record.last_ns = running.record.last_ns.max(after);
        }
        let mut said = std::mem::take(&mut self.out.transmits);
        said.drain(..).for_each(|Transmit { head, body, .. }| self.say(now, Frame { head, body }));
        self.out.transmits = said;
    }

    /// What one of its nodes says, which may be lost.
    fn say(&mut self, now: Nanos, frame: Frame) {
        let Some(running) = &mut self.trial else { return };
        if !self.overlay.is_up(Message::recipient(&frame.head).0) {
            return self.here.extend(refusal(&frame));
        }
        running.control += u64::from(Message::is_control(&frame.head));
        if let Some(number) = Message::update(&frame.head) {
            running.updates.sent(number);
            let loss = self.point.gossip.loss;
            if loss > 0.0 && running.prng.unit() < loss {
                return;
            }
        }
        let Some(links) = &mut self.links else { return self.carry(frame) };
        let tells = tells(&frame.head);
        self.news.activity.spreading += i32::from(links.take(now, frame) && tells);
    }

    /// To its host.
    fn carry(&mut self, frame: Frame) {
        let Some(running) = &mut self.trial else { return };
        let host = Message::recipient(&frame.head).0 % self.point.cluster.replicas as u32;
        if host == self.id {
            running.record.handed_over += 1;
            self.here.push_back(frame);
        } else {
            self.news.activity.under_way += i32::from(tells(&frame.head));
            let head = Head { from: NodeId(self.id), ..frame.head };
            self.transmits.push(Transmit { to: Recipients::One(NodeId(host)), head, body: frame.body });
        }
    }
}

/// Whether it may make somebody know an update, or say where one is.
fn tells(head: &Head) -> bool {
    Message::update(head).is_some() || Message::is_control(head)
}

/// Updates below this are copied out of what they were received in.
const SMALL: usize = 16 << 10;
