//! The world: one queue of events, one clock, one seed.
//!
//! An event is a frame that arrives, a deadline that passes, a sync that ends, a client that looks at
//! things, or a fault. Each leads to at most one turn of one node, after which every property is
//! checked. Nothing in here depends on a hash, a thread, a real clock or the machine's floats, so a
//! seed is a world, on every machine.

use quorumbench_protocols::mutant::Mutant;
use quorumbench_protocols::{Config, Frame, Head, Nanos, NodeId, Payload, PeerSet, Prng, Transmit};

use super::ambush::Ambush;
use super::checks::{Checks, Violation, property};
use super::client::{Client, Command, Operation};
use super::clock::Clock;
use super::disk::Disk;
use super::fault::{Fault, Injected};
use super::link::{LOST, Network};
use super::members::Atlas;
use super::queue::Queue;
use super::replica::{Lost, MOST_WAITING, Replica};
use super::runner::Print;
use super::subject::Subject;
use super::swarm::Scenario;
use super::trace::{Line, Trace, What, state};
use crate::batch::BatchHead;
use crate::node::SnapshotPolicy;
use crate::request::Request;
use crate::spec::ReadsMode;

/// A cluster, its clients, and everything that goes wrong.
#[derive(Debug)]
pub struct World<P> {
    pub(super) scenario: Scenario,
    pub(super) now: Nanos,
    pub(super) queue: Queue<Event>,
    pub(super) network: Network,
    pub(super) replicas: Vec<Replica<P>>,
    pub(super) clients: Vec<Client>,
    pub(super) checks: Checks,
    pub(super) trace: Trace,
    pub(super) stats: Stats,
    /// For faults: whom, when, how long.
    pub(super) prng: Prng,
    /// Anything may break.
    pub(super) stormy: bool,
    /// Links that are clogged, in the order in which they were.
    pub(super) clogs: Vec<(NodeId, NodeId)>,
    /// Counts partitions: only the latest is healed by its own end.
    pub(super) partitions: u64,
    /// A node that is to crash at the worst moment.
    pub(super) ambush: Option<Ambush>,
    /// The memberships that may count.
    pub(super) atlas: Atlas,
    /// Whom a leader must be among, once things are calm.
    pub(super) healthy: Vec<usize>,
    /// Scratch.
    outgoing: Vec<Transmit>,
}

/// What happened in a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events.
    pub events: u64,
    /// How often each fault was injected.
    pub injected: Injected,
    /// Terms that had a leader.
    pub leaders: u64,
    /// Commands that were answered.
    pub commands: u64,
    /// Reads among them, by the way they took.
    pub reads: PerMode,
    /// Slots that were chosen.
    pub slots: u64,
    /// Changes of membership among them.
    pub changes: u64,
    /// Virtual time.
    pub virtual_ns: u64,
}

/// A number for each of [`ReadsMode::ALL`], in that order.
pub type PerMode = [u64; ReadsMode::ALL.len()];

/// What is planned. The second number of a node's event is the life that it was planned for.
#[derive(Debug)]
pub(super) enum Event {
    Arrive(NodeId, Frame),
    Wake(NodeId, u32),
    Ready(NodeId, u32),
    Synced(NodeId, u32, u64),
    SyncFailed(NodeId, u32),
    Client(usize),
    Fault(Fault),
    Unclog,
    Join(u64),
    SpeedUp(NodeId, u32),
    Restart(NodeId, u32),
    Crash(NodeId, u32),
    Deafen(NodeId),
}

impl<P: Subject> World<P> {
    /// A world in which nothing has happened yet. `print` is shown every event.
    pub fn new(scenario: Scenario, print: Option<Print>) -> Self {
        let root = Prng::new(scenario.seed).fork(7);
        let (count, clients) = (scenario.nodes(), scenario.clients.count);
        let replica = |id: usize| replica(&scenario, id, &root);
        let client = |at: usize| {
            let id = NodeId((count + at) as u32);
            // Without a leader everyone proposes, and they compete.
            let target = NodeId(if P::LEADERLESS { (at % count) as u32 } else { 0 });
            Client::new(id, count, scenario.clients.clone(), root.fork(300 + at as u64)).aimed_at(target)
        };
        let mut world = Self {
            now: Nanos::ZERO,
            queue: Queue::new(),
            network: Network::new(scenario.links.clone(), count + clients, root.fork(1)),
            replicas: (0..count).map(replica).collect(),
            clients: (0..clients).map(client).collect(),
            checks: Checks::new(P::PAPER, count, clients, scenario.cluster.quorums.phase2()),
            trace: Trace::new(print),
            stats: Stats::default(),
            prng: root.fork(2),
            stormy: true,
            clogs: Vec::new(),
            partitions: 0,
            ambush: None,
            atlas: Atlas::new(PeerSet::first(scenario.cluster.voters())),
            healthy: Vec::new(),
            outgoing: Vec::new(),
            scenario,
        };
        (0..count).for_each(|id| world.plan_wake(NodeId(id as u32)));
        (0..clients).for_each(|client| world.queue.push(Nanos(1), Event::Client(client)));
        world.plan_faults();
        world
    }

    /// Both phases: anything may break; then a majority is healed for good and must make progress.
    pub fn run(&mut self) -> Result<(), Violation> {
        self.run_until(Nanos(self.scenario.safety_ns))?;
        self.calm_down()?;
        self.await_progress()
    }

    /// Lets things happen until `end`.
    pub fn run_until(&mut self, end: Nanos) -> Result<(), Violation> {
        let most = self.stats.events + MOST_EVENTS;
        while self.now < end {
            self.step()?;
            if self.stats.events > most {
                return Err(Violation::new(property::LIVENESS, "time stands still: a deadline that has passed stays"));
            }
        }
        Ok(())
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let answered = |client: &Client| client.operations.iter().filter(|op| op.returned.is_some()).count() as u64;
        let mut reads = PerMode::default();
        let read = |op: &&Operation| op.returned.is_some() && matches!(op.command, Command::Get(_));
        reads[self.scenario.clients.mode as usize] = self.operations().filter(read).count() as u64;
        let mut injected = self.stats.injected;
        injected[Fault::ClientDuplicate] = self.clients.iter().map(|client| client.duplicates).sum();
        Stats {
            leaders: self.checks.leaders() as u64,
            commands: self.clients.iter().map(answered).sum(),
            reads,
            slots: self.checks.chosen() as u64,
            changes: self.atlas.changes,
            virtual_ns: self.now.0,
            injected,
            ..self.stats
        }
    }

    /// Every operation of every client, answered or not: each client's in the order of invocation.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.clients.iter().flat_map(|client| &client.operations)
    }

    /// How each node stands, a line each.
    pub fn states(&self) -> Vec<String> {
        let line = |(id, replica): (usize, &Replica<P>)| {
            let state = match replica.view() {
                None if replica.rotten => "down for ever: its journal is damaged".into(),
                None => "down".into(),
                Some(view) => state(&view),
            };
            let paused = if replica.is_up() && replica.held_until > self.now { ", paused" } else { "" };
            format!("n{id} {state}, delivered {}{paused}", self.checks.delivered(id))
        };
        self.replicas.iter().enumerate().map(line).collect()
    }

    /// The last events, a line each.
    pub fn last_events(&self) -> Vec<String> {
        self.trace.last::<P>()
    }

    /// The next thing that happens.
    fn step(&mut self) -> Result<(), Violation> {
        let (at, event) = self.queue.pop().expect("somebody always has something to do");
        self.now = self.now.max(at);
        self.stats.events += 1;
        match event {
            Event::Arrive(to, frame) => self.on_arrival(to, frame),
            Event::Wake(id, life) => self.on_wake(id, life),
            Event::Ready(id, life) => self.on_ready(id, life),
            Event::Synced(id, life, write) => self.on_synced(id, life, write),
            Event::SyncFailed(id, life) => {
                self.on_sync_failed(id, life);
                Ok(())
            }
            Event::Client(client) => {
                self.on_client(client);
                Ok(())
            }
            Event::Fault(fault) => self.on_fault(fault),
            Event::Unclog => {
                self.on_unclog();
                Ok(())
            }
            Event::Join(partition) => {
                self.on_join(partition);
                Ok(())
            }
            Event::SpeedUp(id, life) => {
                self.on_speed_up(id, life);
                Ok(())
            }
            Event::Restart(id, life) => self.on_restart(id, life),
            Event::Crash(id, life) => {
                self.on_crash(id, life);
                Ok(())
            }
            Event::Deafen(id) => {
                self.on_deafen(id);
                Ok(())
            }
        }
    }

    fn on_arrival(&mut self, to: NodeId, frame: Frame) -> Result<(), Violation> {
        let Some(frame) = self.network.arrive(to, frame) else { return Ok(()) };
        let head = traced(&frame);
        let at = to.0 as usize;
        if at >= self.replicas.len() {
            self.note(to, What::Frame(head));
            self.clients[at - self.replicas.len()].on_frame(self.now, &frame, &mut self.checks)?;
            return Ok(());
        }
        let replica = &mut self.replicas[at];
        let Some(node) = &mut replica.node else {
            self.note(to, What::Gone(head));
            return Ok(());
        };
        if node.inbox.len() < MOST_WAITING {
            node.inbox.push(frame);
        }
        self.turn(to, What::Frame(head), What::Waits(head))
    }

    fn on_wake(&mut self, id: NodeId, life: u32) -> Result<(), Violation> {
        let replica = &mut self.replicas[id.0 as usize];
        if replica.life != life || replica.wake_at > self.now {
            return Ok(());
        }
        replica.wake_at = Nanos::NEVER;
        let Some(node) = &replica.node else { return Ok(()) };
        if replica.clock.local(self.now) < node.deadline() {
            self.plan_wake(id);
            return Ok(());
        }
        self.turn(id, What::Wake, What::Wake)
    }

    fn on_ready(&mut self, id: NodeId, life: u32) -> Result<(), Violation> {
        let replica = &mut self.replicas[id.0 as usize];
        if replica.life != life {
            return Ok(());
        }
        replica.ready_planned = false;
        self.turn(id, What::Ready, What::Ready)
    }

    fn on_synced(&mut self, id: NodeId, life: u32, write: u64) -> Result<(), Violation> {
        let replica = &mut self.replicas[id.0 as usize];
        let Some(node) = replica.node.as_mut().filter(|_| replica.life == life) else { return Ok(()) };
        let Some(lsn) = replica.disk.synced(write) else { return Ok(()) };
        node.durable(lsn);
        self.checks.on_durable(id.0 as usize, lsn)?;
        self.turn(id, What::Durable(lsn), What::Durable(lsn))?;
        let replica = &mut self.replicas[id.0 as usize];
        let turns_still = replica.turning && !replica.disk.is_idle();
        if std::mem::replace(&mut replica.turning, turns_still) {
            self.on_turning_point(id);
        }
        Ok(())
    }

    /// If everything that a node has written is durable, it may have promised it.
    fn on_promise(&mut self, id: NodeId) {
        let replica = &self.replicas[id.0 as usize];
        if let Some(node) = replica.node.as_ref().filter(|_| replica.disk.is_idle()) {
            self.checks.on_promise(id.0 as usize, &node.protocol().protocol);
        }
    }

    fn on_client(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let next = client.turn(self.now, &mut self.checks);
        self.queue.push(next, Event::Client(at));
        let mut outbox = std::mem::take(&mut client.outbox);
        for (to, frame) in outbox.drain(..) {
            self.send(to, frame.head, frame.body);
        }
        self.clients[at].outbox = outbox;
        self.note(NodeId((self.replicas.len() + at) as u32), What::Looks);
    }

    /// A node takes its turn, unless it cannot now: then it takes one as soon as it can.
    pub(super) fn turn(&mut self, id: NodeId, what: What, else_what: What) -> Result<(), Violation> {
        let replica = &mut self.replicas[id.0 as usize];
        if self.scenario.mutant.is(Mutant::R12c) {
            replica.expire_sessions(self.now);
        }
        if !replica.is_up() {
            return Ok(());
        }
        if replica.held_until > self.now {
            if !replica.ready_planned && replica.held_until < Nanos::NEVER {
                replica.ready_planned = true;
                self.queue.push(replica.held_until, Event::Ready(id, replica.life));
            }
            self.note(id, else_what);
            return Ok(());
        }
        let asked = self.ask_candidate(id);
        let replica = &mut self.replicas[id.0 as usize];
        let Some(node) = &mut replica.node else { return Ok(()) };
        let snapshots = node.stats().snapshots;
        node.turn(replica.clock.local(self.now));
        self.stats.injected[Fault::Snapshots] += node.stats().snapshots - snapshots;
        if replica.turn_ns > 0 {
            replica.held_until = self.now + replica.turn_ns;
        }
        std::mem::swap(node.transmits(), &mut self.outgoing);
        if replica.truncated() && !replica.disk.is_idle() {
            self.on_overwrite(id);
        }
        self.store(id)?;
        let mut outgoing = std::mem::take(&mut self.outgoing);
        self.checks.on_transmits::<P>(id.0 as usize, &outgoing)?;
        for transmit in outgoing.drain(..) {
            for to in transmit.to.iter() {
                self.send(to, transmit.head, transmit.body.clone());
            }
        }
        self.outgoing = outgoing;
        asked.into_iter().for_each(|fault| self.count_change(id, fault));
        self.check(id, what)?;
        self.on_promise(id);
        self.plan_wake(id);
        Ok(())
    }

    /// Writes what the turn of `id` wants durable, and lets go of what it needs no more.
    fn store(&mut self, id: NodeId) -> Result<(), Violation> {
        let replica = &mut self.replicas[id.0 as usize];
        let Some(node) = &mut replica.node else { return Ok(()) };
        if !node.records().is_empty() {
            self.checks.on_records::<P>(id.0 as usize, node.records())?;
            let sync = replica.disk.write(self.now, node.records(), &mut self.stats.injected);
            let event = if sync.fails && self.stormy {
                Event::SyncFailed(id, replica.life)
            } else {
                Event::Synced(id, replica.life, sync.write)
            };
            self.queue.push(sync.at, event);
        }
        if let Some(begin) = node.take_release() {
            replica.disk.release(begin);
        }
        Ok(())
    }

    /// Looks at what the turn of `id` changed.
    fn check(&mut self, id: NodeId, what: What) -> Result<(), Violation> {
        let at = id.0 as usize;
        let node = self.replicas[at].node.as_mut().expect("it took a turn just now");
        let malformed = node.protocol_mut().malformed.take();
        let mut deliveries = std::mem::take(&mut node.protocol_mut().deliveries);
        let mut applied = std::mem::take(&mut node.machine_mut().applied);
        let protocol = &node.protocol().protocol;
        let view = protocol.view();
        self.trace.note::<P>(Line { at: self.now, node: id, what, view: Some(view) });
        let checked = self.checks.after_turn(at, protocol, &mut deliveries, &mut applied);
        let node = self.replicas[at].node.as_mut().expect("it is still there");
        node.protocol_mut().deliveries = deliveries;
        node.machine_mut().applied = applied;
        let replica = &mut self.replicas[at];
        replica.turning |= view.term != std::mem::replace(&mut replica.term, view.term);
        let crowned = view.leads && replica.led < view.term;
        replica.led = if crowned { view.term } else { replica.led };
        checked?;
        self.chart(id);
        if crowned {
            self.on_crowned(id);
            self.stall_leader(id);
        }
        if view.leads {
            self.on_leading(id, view.committed);
        }
        match malformed {
            None => Ok(()),
            Some(malformed) => Err(Violation::new(property::WELL_FORMED, format!("{id} refuses a frame: {malformed}"))),
        }
    }

    fn send(&mut self, to: NodeId, head: Head, body: Payload) {
        let arrivals = self.network.send(self.now, head.from, to, body.len(), &mut self.stats.injected);
        let [at, again] = arrivals;
        if again != LOST {
            self.queue.push(Nanos(again), Event::Arrive(to, Frame { head, body: body.clone() }));
        }
        if at != LOST {
            self.queue.push(Nanos(at), Event::Arrive(to, Frame { head, body }));
        }
    }

    /// Plans a wake at a node's deadline, unless an earlier one is planned, which will look again.
    pub(super) fn plan_wake(&mut self, id: NodeId) {
        let replica = &mut self.replicas[id.0 as usize];
        let Some(node) = &replica.node else { return };
        let at = replica.clock.world(node.deadline()).max(self.now + 1).max(replica.held_until);
        if at < replica.wake_at {
            replica.wake_at = at;
            self.queue.push(at, Event::Wake(id, replica.life));
        }
    }

    pub(super) fn note(&mut self, node: NodeId, what: What) {
        self.trace.note::<P>(Line { at: self.now, node, what, view: None });
    }

    /// A node that was down comes back, if its disk lets it.
    pub(super) fn on_restart(&mut self, id: NodeId, life: u32) -> Result<(), Violation> {
        let at = id.0 as usize;
        let replica = &mut self.replicas[at];
        if replica.is_up() || replica.life != life {
            return Ok(());
        }
        match replica.start() {
            Ok(()) => {
                let records = replica.disk.read().unwrap_or_default();
                let node = replica.node.as_ref().expect("it was started just now");
                self.checks.on_restart(at, &node.protocol().protocol, records)?;
                self.note(id, What::Restart);
                self.plan_wake(id);
                Ok(())
            }
            Err(Lost::Rotten) => {
                self.note(id, What::Lost);
                Ok(())
            }
            Err(Lost::Malformed(malformed)) => {
                let detail = format!("{id} refuses its own records: {malformed}");
                Err(Violation::new(property::WELL_FORMED, detail))
            }
        }
    }
}

fn replica<P: Subject>(scenario: &Scenario, id: usize, root: &Prng) -> Replica<P> {
    let cluster = &scenario.cluster;
    let config = Config {
        window: cluster.window,
        election_timeout: Nanos(cluster.election_timeout_ns),
        heartbeat: Nanos(cluster.heartbeat_ns),
        chunk: scenario.snapshot_chunk,
        clock_drift: scenario.drift_ppm().div_ceil(1000) as u32,
        backoff: Nanos(cluster.election_timeout_ns / 50),
        quorums: cluster.quorums,
        mutant: scenario.mutant,
        observers: (cluster.voters()..cluster.replicas).map(|id| NodeId(id as u32)).collect(),
        ..Config::new(NodeId(id as u32), cluster.voters())
    };
    let mut prng = root.fork(100 + id as u64);
    let most = scenario.drift_ppm();
    let ppm = prng.below(2 * most + 1).cast_signed() - most.cast_signed();
    let clock = Clock::new(1 + prng.below(1 << 40), ppm);
    let snapshots = SnapshotPolicy { slots: scenario.snapshot_slots, ..SnapshotPolicy::NEVER };
    let disk = Disk::new(scenario.disk.clone(), root.fork(200 + id as u64)).with_mutant(scenario.mutant);
    Replica::new(config, snapshots, disk, clock, prng)
}

/// A frame's head for the trace. A batch's sequence stands in its body; it is put where it shows.
fn traced(frame: &Frame) -> Head {
    let mut head = frame.head;
    let sequence = || BatchHead::read(&frame.body).map_or(0, |batch| batch.sequence);
    match Request::read(&head) {
        Some(Request::Submit) => head.words[0] = sequence(),
        Some(Request::Read { .. }) => head.words[1] = sequence(),
        _ => {}
    }
    head
}

/// Between two looks at the clock, more events than any world has.
const MOST_EVENTS: u64 = 50_000_000;
