//! The same point in virtual time: the nodes and clients that a thread would drive, driven by a queue
//! of events, over a network as far away as `[network]` says and with work as dear as `[cost]` says.
//!
//! The network keeps each link's order, as a connection does. A node takes one turn at a time, with
//! everything that has arrived, and what it says leaves when the turn's cost is over; what it writes
//! down goes to its disk at that time too, which works beside the network. What a command does to the
//! state machine costs nothing, nor does a snapshot of it but for its bytes on the disk. Nothing here
//! looks at a clock, so the same seed gives the same result on every machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Prng, Transmit};
use quorumbench_transports::Counters;
use quorumbench_transports::shape::{Fate, LinkState};

use super::disk::{Disk, Written};
use super::faults::FaultPlan;
use super::links;
use super::part;
use super::replica::{self, Replica};
use super::{
    DriveError, Event, EventKind, Fault, Keep, Memory, Outcome, PATIENCE, Phase, Usage, aftermath, drain_limit_ns,
};
use crate::check::witness::Trace;
use crate::client::Client;
use crate::measure::{Recording, Window, histogram};
use crate::node::{NodeStats, Storage};
use crate::sim::queue::Queue;
use crate::spec::{Cost, Point, Run};

mod faults;

use faults::Plight;

/// Measures `point` once in virtual time.
///
/// # Errors
/// [`DriveError::NoAnswer`], in virtual time too, and [`DriveError::Interrupted`].
pub(super) fn measure(
    point: &Point,
    run: Run,
    seed: u64,
    faults: &[Fault],
    keep: Keep,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(Phase),
) -> Result<(Outcome, Trace), DriveError> {
    let mut world = World::new(point, seed, keep);
    let mut pass = |world: &mut World, phase, until: Nanos, done: &dyn Fn(&World) -> bool| {
        while !done(world) && world.step(until) {
            if world.steps.is_multiple_of(LOOK_STEPS) {
                progress(phase);
                if interrupted.load(Ordering::Relaxed) {
                    return Err(DriveError::Interrupted);
                }
            }
        }
        Ok(())
    };
    let ready = |world: &World| world.clients().all(Client::ready);
    pass(&mut world, Phase::Starting, Nanos(PATIENCE.as_nanos() as u64), &ready)?;
    if !ready(&world) {
        return Err(DriveError::NoAnswer { waited: PATIENCE });
    }

    let begin = world.now + 1;
    let from = begin + run.warmup.as_nanos() as u64;
    let window = Window { from, until: from + run.duration.as_nanos() as u64 };
    let give_up_at = window.until + drain_limit_ns(point);
    world.start(point, begin, window, give_up_at);
    if !faults.is_empty() {
        world.plan = Some(FaultPlan::new(faults, point, window, seed));
        world.queue.push(window.from, What::Faults);
    }
    pass(&mut world, Phase::WarmingUp, window.from, &|_| false)?;
    let before = world.readings();
    pass(&mut world, Phase::Measuring, window.until, &|_| false)?;
    let after = world.readings();
    pass(&mut world, Phase::Draining, give_up_at, &|world| world.clients().all(|client| client.finished(world.now)))?;
    Ok(world.finish(point, window, &before, &after))
}

/// Events between two looks at the outside.
const LOOK_STEPS: u64 = 1 << 16;

struct World {
    now: Nanos,
    steps: u64,
    queue: Queue<What>,
    /// Replicas first.
    members: Vec<Member>,
    links: Links,
    cost: Cost,
    events: Vec<(Nanos, EventKind, NodeId)>,
    /// Who led last.
    leader: Option<usize>,
    plan: Option<FaultPlan>,
    prng: Prng,
}

struct Member {
    actor: Actor,
    /// A replica's; `None` where what is written is durable at once.
    disk: Option<Disk>,
    /// Its turn goes on until here.
    busy_until: Nanos,
    /// When its next turn is; [`Nanos::NEVER`] for none.
    turn_at: Nanos,
    plight: Plight,
    leads: bool,
    reading: Reading,
}

enum Actor {
    Replica(Box<dyn Replica>),
    Client(Box<Client>),
    /// It has handed over its record.
    Gone,
}

#[derive(Clone, Copy, Default)]
struct Reading {
    cpu_ns: u64,
    counters: Counters,
    stats: NodeStats,
    /// Consensus groups that it led.
    groups_led: u32,
}

/// Something that will happen.
enum What {
    Turn(usize),
    Arrival(usize, Frame),
    Write(usize, Written),
    Synced(usize),
    Faults,
}

impl World {
    fn new(point: &Point, seed: u64, keep: Keep) -> Self {
        let mut prng = Prng::new(seed);
        let replicas = point.cluster.replicas;
        let nodes = replicas + point.load.clients;
        let mut actor = |index: usize| {
            let (id, seed) = (NodeId(index as u32), prng.next_u64());
            if index < replicas {
                let storage = if Disk::new(point.cost).is_some() { Storage::Deferred } else { Storage::Immediate };
                let mut replica = replica::build(point, id, seed, storage);
                if keep.trace {
                    replica.keep_trace();
                }
                Actor::Replica(replica)
            } else {
                let mut client = part::client(point, id, seed);
                if keep.trace {
                    client.keep_trace();
                }
                if keep.timeline {
                    client.keep_timeline();
                }
                Actor::Client(Box::new(client))
            }
        };
        let members = (0..nodes).map(|index| Member::new(actor(index), Disk::new(point.cost))).collect();
        let links = Links::new(point, prng.next_u64());
        let mut world = Self {
            now: Nanos::ZERO,
            steps: 0,
            queue: Queue::new(),
            members,
            links,
            cost: point.cost,
            events: Vec::new(),
            leader: None,
            plan: None,
            prng,
        };
        (0..nodes).for_each(|index| world.schedule(index, Nanos::ZERO));
        world
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.members
            .iter()
            .filter_map(|member| if let Actor::Client(client) = &member.actor { Some(&**client) } else { None })
    }

    fn start(&mut self, point: &Point, begin: Nanos, window: Window, give_up_at: Nanos) {
        for index in point.cluster.replicas..self.members.len() {
            let pace = part::pace(point, index - point.cluster.replicas, self.prng.next_u64())(begin);
            if let Actor::Client(client) = &mut self.members[index].actor {
                client.start(pace, window, give_up_at);
            }
            self.schedule(index, begin);
        }
    }

    /// Lets the next thing happen, if that is before `until`; otherwise time passes until then.
    fn step(&mut self, until: Nanos) -> bool {
        if self.queue.next_at().is_none_or(|at| at >= until) {
            self.now = until;
            return false;
        }
        let Some((at, what)) = self.queue.pop() else { return false };
        (self.now, self.steps) = (at, self.steps + 1);
        match what {
            What::Arrival(to, frame) if self.members[to].plight.loses() => self.lose(&frame),
            What::Arrival(to, frame) => {
                let member = &mut self.members[to];
                member.receive(frame);
                let turn_at = member.busy_until.max(at);
                self.schedule(to, turn_at);
            }
            What::Turn(index) if self.members[index].turn_at == at => self.turn(index),
            // It was brought forward since.
            What::Turn(_) => {}
            What::Write(index, written) => {
                let ends = self.members[index].disk.as_mut().and_then(|disk| disk.write(at, written));
                self.plan_synced(index, ends);
            }
            What::Synced(index) => self.synced(index),
            What::Faults => self.fault(),
        }
        true
    }

    fn plan_synced(&mut self, index: usize, at: Option<Nanos>) {
        if let Some(at) = at {
            self.queue.push(at, What::Synced(index));
        }
    }

    fn synced(&mut self, index: usize) {
        let member = &mut self.members[index];
        let (Some(disk), Actor::Replica(replica)) = (&mut member.disk, &mut member.actor) else { return };
        let (durable, next) = disk.synced(self.now);
        if let Some(lsn) = durable {
            replica.durable(lsn);
        }
        let turn_at = member.busy_until.max(self.now);
        self.plan_synced(index, next);
        self.schedule(index, turn_at);
    }

    /// Sees to it that the member's next turn is at `at` or earlier.
    fn schedule(&mut self, index: usize, at: Nanos) {
        let member = &mut self.members[index];
        if at < member.turn_at && !member.plight.down && !member.plight.paused {
            member.turn_at = at;
            self.queue.push(at, What::Turn(index));
        }
    }

    fn turn(&mut self, index: usize) {
        let (now, id) = (self.now, NodeId(index as u32));
        let member = &mut self.members[index];
        member.turn_at = Nanos::NEVER;
        let (frames, bytes) = member.actor.inbox_size();
        let transmits = member.actor.turn(now);
        let sent = transmits.iter().map(|transmit| transmit.to.iter().count() as u64);
        let sent_bytes = transmits.iter().map(|each| (each.to.iter().count() * (Head::BYTES + each.body.len())) as u64);
        let (sent, sent_bytes) = (sent.sum::<u64>(), sent_bytes.sum::<u64>());
        let cost = self.cost.turn.as_nanos() as u64
            + self.cost.frame.as_nanos() as u64 * (frames + sent)
            + self.cost.kib.as_nanos() as u64 * (bytes + sent_bytes) / 1024;
        let cost = cost * u64::from(member.plight.factor.max(1));
        member.busy_until = now + cost;
        member.reading.cpu_ns += cost;
        member.reading.counters.sent_frames += sent;
        member.reading.counters.sent_bytes += sent_bytes;
        let leads = matches!(&member.actor, Actor::Replica(replica) if replica.leader() == Some(id));
        if leads && !std::mem::replace(&mut member.leads, leads) {
            self.events.push((now, EventKind::Leader, id));
            self.leader = Some(index);
        }
        member.leads = leads;
        let (departs, deadline) = (member.busy_until, member.actor.deadline());
        if let Some(written) = member.actor.take_written() {
            self.queue.push(departs, What::Write(index, written));
        }
        let leaves = departs + member.plight.link_extra.as_nanos() as u64;
        for transmit in transmits {
            self.send(index, leaves, &transmit);
        }
        if deadline < Nanos::NEVER {
            // Time moves on even where work costs nothing: a deadline that stays in the past is asked for once more.
            self.schedule(index, deadline.max(departs).max(now + 1));
        }
        self.look_behind(index);
    }

    fn send(&mut self, from: usize, departs: Nanos, transmit: &Transmit) {
        for peer in transmit.to.iter() {
            let to = peer.0 as usize;
            let frame = Frame { head: transmit.head, body: transmit.body.clone() };
            let isolated = self.members[from].plight.isolated;
            match self.links.send(from, to, departs, Head::BYTES + frame.body.len()) {
                Some(arrives) if !isolated && to < self.members.len() => {
                    self.queue.push(arrives, What::Arrival(to, frame));
                }
                _ => self.members[from].reading.counters.dropped_frames += 1,
            }
        }
    }

    fn readings(&self) -> Vec<Reading> {
        let read = |member: &Member| {
            let Actor::Replica(replica) = &member.actor else { return member.reading };
            // Whoever is down leads nobody, whatever it has in memory.
            let groups_led = if member.plight.down { 0 } else { replica.groups_led() };
            Reading { stats: replica.stats(), groups_led, ..member.reading }
        };
        self.members.iter().map(read).collect()
    }

    fn finish(mut self, point: &Point, window: Window, before: &[Reading], after: &[Reading]) -> (Outcome, Trace) {
        let (mut replicas, mut clients) = (Usage::default(), Usage::default());
        let (mut busiest, mut together) = (NodeStats::default(), NodeStats::default());
        let (mut recording, mut totals, mut trace) = (None::<Recording>, Vec::new(), Trace::default());
        let mut groups_led = Vec::new();
        for ((member, before), after) in self.members.iter_mut().zip(before).zip(after) {
            let cpu_ns = after.cpu_ns - before.cpu_ns;
            let counters = after.counters.since(before.counters);
            let usage = Usage { cpu_ns, busiest_cpu_ns: cpu_ns, counters };
            match std::mem::replace(&mut member.actor, Actor::Gone) {
                Actor::Replica(mut replica) => {
                    trace.replicas.extend(replica.take_traces());
                    replicas = replicas.plus(usage);
                    let stats = after.stats.since(before.stats);
                    busiest = std::cmp::max_by_key(busiest, stats, |stats| stats.commands);
                    together = together.plus(stats);
                    totals.push(replica.stats());
                    groups_led.push([before.groups_led, after.groups_led]);
                }
                Actor::Client(mut client) => {
                    trace.clients.extend(client.take_traces());
                    clients = clients.plus(usage);
                    match (&mut recording, client.finish(self.now)) {
                        (Some(sum), Some(more)) => sum.merge(&more),
                        (none, first) => *none = none.take().or(first),
                    }
                }
                Actor::Gone => {}
            }
        }
        let event = |&(at, kind, node): &(Nanos, EventKind, NodeId)| Event {
            at_ns: at.0.cast_signed() - window.from.0.cast_signed(),
            kind,
            node,
        };
        let events: Vec<Event> = self.events.iter().map(event).collect();
        let recording = recording.expect("every client was started");
        let timeline = self.plan.take().zip(recording.timeline.as_deref());
        let faults = timeline.map(|(plan, timeline)| aftermath::of(plan, point, window, timeline, &events));
        let outcome = Outcome {
            recording,
            replicas,
            clients,
            process_cpu_ns: replicas.cpu_ns + clients.cpu_ns,
            busiest,
            together,
            totals,
            groups_led,
            packets: None,
            log_writes: histogram(),
            lateness: histogram(),
            events,
            faults: faults.unwrap_or_default(),
            // Each node has a virtual core of its own.
            cores: usize::MAX,
            memory: Memory::default(),
            window_ns: window.length_ns(),
            window_closed: SystemTime::now(),
        };
        (outcome, trace)
    }
}

impl Member {
    fn new(actor: Actor, disk: Option<Disk>) -> Self {
        Self {
            actor,
            disk,
            busy_until: Nanos::ZERO,
            turn_at: Nanos::NEVER,
            plight: Plight::default(),
            leads: false,
            reading: Reading::default(),
        }
    }

    fn receive(&mut self, frame: Frame) {
        self.reading.counters.received_frames += 1;
        self.reading.counters.received_bytes += (Head::BYTES + frame.body.len()) as u64;
        match &mut self.actor {
            Actor::Replica(replica) => replica.inbox().push(frame),
            Actor::Client(client) => client.inbox.push(frame),
            Actor::Gone => {}
        }
    }
}

impl Actor {
    fn inbox_size(&mut self) -> (u64, u64) {
        let inbox = match self {
            Self::Replica(replica) => replica.inbox(),
            Self::Client(client) => &mut client.inbox,
            Self::Gone => return (0, 0),
        };
        (inbox.len() as u64, inbox.iter().map(|frame| (Head::BYTES + frame.body.len()) as u64).sum())
    }

    fn turn(&mut self, now: Nanos) -> Vec<Transmit> {
        match self {
            Self::Replica(replica) => {
                replica.turn(now);
                std::mem::take(replica.transmits())
            }
            Self::Client(client) => {
                client.turn(now);
                std::mem::take(client.transmits())
            }
            Self::Gone => Vec::new(),
        }
    }

    /// What the turn wrote down. The records themselves are let go: no virtual node reads them again.
    fn take_written(&mut self) -> Option<Written> {
        let Self::Replica(replica) = self else { return None };
        let written = Written::of(replica.records());
        replica.records().clear();
        written
    }

    fn deadline(&self) -> Nanos {
        match self {
            Self::Replica(replica) => replica.deadline(),
            Self::Client(client) => client.deadline(),
            Self::Gone => Nanos::NEVER,
        }
    }
}

/// The network between all members, as far away as `[network]` says.
///
/// The simulator of faults has another ([`crate::sim`]): it parts and clogs, duplicates and reorders,
/// and draws all that from whole numbers, so that a seed means the same world for ever. This one is
/// what emulated links are too: exact delays between regions, jitter around its mean, bytes a second.
struct Links {
    nodes: usize,
    /// By sender and receiver.
    states: Vec<LinkState>,
}

impl Links {
    fn new(point: &Point, seed: u64) -> Self {
        Self { nodes: point.nodes(), states: links::states(point, seed) }
    }

    /// When a frame of `bytes` that leaves at `departs` arrives; `None` if it is lost.
    fn send(&mut self, from: usize, to: usize, departs: Nanos, bytes: usize) -> Option<Nanos> {
        match self.states.get_mut(from * self.nodes + to)?.pass(departs, bytes) {
            Fate::Arrives(at) | Fate::HeldBack(at) => Some(at),
            Fate::Lost | Fate::Full => None,
        }
    }
}
