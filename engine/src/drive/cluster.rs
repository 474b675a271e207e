//! The threads of one point: started, killed, restarted, joined.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use hdrhistogram::Histogram;
use quorumbench_protocols::{Nanos, NodeId, Prng};

use super::blueprint::{Blueprint, Body};
use super::control::{Control, Meter};
use super::faults::Subject;
use super::log::{LogFolder, LogPlace};
use super::orders::Order;
use super::seat::{self, Place, Seat};
use super::threads::{self, ClientEnd, NOBODY, ReplicaEnd, Shared};
use super::{DriveError, EventKind, Usage};
use crate::check::witness::Trace;
use crate::client::{Client, ClientOptions, Pace};
use crate::load::{Arrivals, CommandStream, Mix, Schedule};
use crate::measure::{Recording, histogram};
use crate::node::NodeStats;
use crate::spec::{Arrival, MachineName, Pin, Point, TransportName};

/// A running cluster and its clients.
pub(super) struct Cluster {
    control: Control,
    replicas: Vec<ReplicaThread>,
    clients: Vec<Option<JoinHandle<io::Result<ClientEnd>>>>,
    leader: Arc<AtomicU32>,
    /// Goes last, when no thread writes to it any more.
    _logs: Option<LogFolder>,
}

/// What a cluster leaves behind.
pub(super) struct Ended {
    pub(super) recording: Recording,
    pub(super) replicas: Usage,
    pub(super) clients: Usage,
    pub(super) busiest: NodeStats,
    pub(super) together: NodeStats,
    pub(super) totals: Vec<NodeStats>,
    /// How long the writes of all logs took in the window.
    pub(super) log_writes: Histogram<u64>,
    /// Empty, unless traces were kept.
    pub(super) trace: Trace,
}

struct ReplicaThread {
    id: NodeId,
    /// Its place among sockets; on `mem` the rings are kept instead.
    place: Option<Place>,
    core: Option<usize>,
    shared: Shared,
    blueprint: Blueprint,
    /// How often it was started before.
    lives: u64,
    state: State,
}

enum State {
    Running(JoinHandle<io::Result<ReplicaEnd>>),
    Down(Box<ReplicaEnd>),
    /// It failed, and said why when it was waited for.
    Failed,
}

impl Cluster {
    /// Starts every thread of `point`. All keep traces if `traced`.
    pub(super) fn start(point: &Point, seed: u64, traced: bool, control: &Control) -> Result<Self, DriveError> {
        let replicas = point.cluster.replicas;
        let cores = threads::cores();
        let leader = Arc::new(AtomicU32::new(NOBODY));
        let mut prng = Prng::new(seed);
        // Not from the seed: two runs of one config must not take each other's nodes for their own.
        let run = RandomState::new().build_hasher().finish();
        let mut cluster = Self {
            control: control.clone(),
            replicas: Vec::new(),
            clients: Vec::new(),
            leader: leader.clone(),
            _logs: LogFolder::of(point, run),
        };
        let shared_point = Arc::new(point.clone());
        let seats = seats(point, run, control)
            .map_err(|source| DriveError::Transport { node: point.cluster.transport.name().into(), source })?;
        for (index, (seat, place)) in seats.into_iter().enumerate() {
            let id = NodeId(index as u32);
            let core = (point.cluster.pin == Pin::Spread).then(|| cores[index % cores.len()]);
            if index < replicas {
                let shared = Shared { control: control.clone(), orders: Arc::default(), leader: leader.clone() };
                let log = LogPlace::of(point, run, id);
                let blueprint = Blueprint { point: shared_point.clone(), id, seed: prng.next_u64(), traced, log };
                let state = State::Failed;
                let mut thread = ReplicaThread { id, place, core, shared, blueprint, lives: 0, state };
                let blueprint = thread.blueprint.clone();
                thread.run(move || blueprint.build(), Meter::default(), seat);
                cluster.replicas.push(thread);
            } else {
                let mut client = client(point, id, prng.next_u64());
                if traced {
                    client.keep_trace();
                }
                let pace = pace(point, index - replicas, prng.next_u64());
                let control = control.clone();
                let body = move || threads::run_client(client, pace, seat, &control);
                cluster.clients.push(Some(threads::spawn(format!("client {}", index - replicas), core, body)));
            }
        }
        Ok(cluster)
    }

    /// How many clients there are.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Fails if a thread has failed.
    pub(super) fn check(&mut self) -> Result<(), DriveError> {
        for thread in &mut self.replicas {
            if matches!(&thread.state, State::Running(handle) if handle.is_finished()) {
                thread.wait()?;
            }
        }
        let ended = self.clients.iter().flatten().filter(|client| client.is_finished()).count();
        if ended > self.control.clients_finished() {
            for client in &mut self.clients {
                if client.as_ref().is_some_and(JoinHandle::is_finished) {
                    client.take().map(threads::join).transpose()?;
                }
            }
        }
        Ok(())
    }

    /// Joins every thread, once the control has said stop.
    pub(super) fn join(mut self) -> Result<Ended, DriveError> {
        let mut outcome = Ok(());
        let mut trace = Trace::default();
        let (mut replicas, mut busiest, mut together) = (Usage::default(), NodeStats::default(), NodeStats::default());
        let (mut totals, mut log_writes) = (Vec::new(), histogram());
        for thread in &mut self.replicas {
            outcome = outcome.and(thread.wait());
            if let State::Down(end) = &mut thread.state {
                replicas = replicas.plus(end.meter.usage());
                busiest = std::cmp::max_by_key(busiest, end.meter.stats(), |stats| stats.commands);
                together = together.plus(end.meter.stats());
                totals.push(end.meter.total(end.replica.stats()));
                if let Some(times) = end.meter.log_writes() {
                    log_writes.add(times).expect("all have the same bounds");
                }
                trace.replicas.extend(end.replica.take_trace());
            }
        }
        let (mut clients, mut recording) = (Usage::default(), None::<Recording>);
        for handle in self.clients.drain(..).flatten() {
            match threads::join(handle) {
                Ok(end) => {
                    clients = clients.plus(end.meter.usage());
                    trace.clients.extend(end.trace);
                    match (&mut recording, end.recording) {
                        (Some(sum), Some(more)) => sum.merge(&more),
                        (none, first) => *none = none.take().or(first),
                    }
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome?;
        let recording = recording.ok_or(DriveError::Interrupted)?;
        Ok(Ended { recording, replicas, clients, busiest, together, totals, log_writes, trace })
    }
}

impl Subject for Cluster {
    fn replicas(&self) -> usize {
        self.replicas.len()
    }

    fn leader(&self) -> Option<usize> {
        let leader = self.leader.load(Ordering::Relaxed) as usize;
        (leader < self.replicas.len()).then_some(leader)
    }

    fn kill(&mut self, index: usize) -> Result<(), DriveError> {
        let thread = &mut self.replicas[index];
        thread.shared.orders.send(Order::Die);
        thread.wait()?;
        self.control.note(EventKind::Killed, thread.id);
        Ok(())
    }

    fn restart(&mut self, index: usize) -> Result<(), DriveError> {
        let thread = &mut self.replicas[index];
        let State::Down(end) = std::mem::replace(&mut thread.state, State::Failed) else { return Ok(()) };
        let ReplicaEnd { replica, mut meter, seat } = *end;
        let seat = match (seat, &thread.place) {
            (Some(seat), _) => seat,
            (None, Some(place)) => {
                let listener = place.rebind();
                place.seat(Some(listener.map_err(|source| DriveError::Transport { node: name(thread.id), source })?))
            }
            (None, None) => unreachable!("a replica sits among rings or sockets"),
        };
        thread.lives += 1;
        let (blueprint, life) = (thread.blueprint.clone(), thread.lives);
        if blueprint.log.is_some() {
            meter.carry_stats(replica.stats());
            thread.run(move || blueprint.rebuild(life), meter, seat);
        } else {
            thread.run(move || Ok(Body { replica, log: None }), meter, seat);
        }
        self.control.note(EventKind::Restarted, NodeId(index as u32));
        Ok(())
    }

    fn order(&mut self, index: usize, order: Order) {
        self.replicas[index].shared.orders.send(order);
        if let Order::Transfer { .. } = order {
            self.control.note(EventKind::Transfer, NodeId(index as u32));
        }
    }
}

impl ReplicaThread {
    fn run(&mut self, body: impl FnOnce() -> io::Result<Body> + Send + 'static, meter: Meter, seat: Seat) {
        let (id, shared) = (self.id, self.shared.clone());
        let body = move || threads::run_replica(body()?, meter, seat, id, &shared);
        self.state = State::Running(threads::spawn(name(id), self.core, body));
    }

    /// Waits until the thread has ended.
    fn wait(&mut self) -> Result<(), DriveError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Running(handle) => self.state = State::Down(Box::new(threads::join(handle)?)),
            ended => self.state = ended,
        }
        Ok(())
    }
}

fn name(id: NodeId) -> String {
    format!("replica {}", id.0)
}

/// Everyone's seat, replicas first; every port is bound before anyone dials.
fn seats(point: &Point, run: u64, control: &Control) -> io::Result<Vec<(Seat, Option<Place>)>> {
    let options = seat::options(point);
    let nodes = point.cluster.replicas + point.load.clients;
    if point.cluster.transport == TransportName::Mem {
        return Ok(seat::mem_seats(nodes, control.clock(), &options).into_iter().map(|seat| (seat, None)).collect());
    }
    let mut listeners = seat::listeners(point)?.into_iter();
    let addresses =
        listeners.as_slice().iter().map(std::net::TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let seat = |(id, credentials): (usize, _)| {
        let place = Place {
            transport: point.cluster.transport,
            run,
            id: NodeId(id as u32),
            replicas: addresses.clone(),
            credentials,
            clock: control.clock(),
            options: options.clone(),
        };
        (place.seat(listeners.next()), Some(place))
    };
    Ok(seat::credentials(point, run, nodes)?.into_iter().enumerate().map(seat).collect())
}

pub(super) fn client(point: &Point, id: NodeId, seed: u64) -> Client {
    let (load, batch) = (&point.load, &point.batch);
    let options = ClientOptions {
        id,
        replicas: point.cluster.replicas,
        batch_commands: batch.commands,
        batch_bytes: batch.bytes,
        linger: batch.linger,
        resend: load.resend,
        in_flight_limit: load.in_flight_limit.div_ceil(load.clients),
        reads: point.reads.mode.beside_the_log(),
    };
    let mix = match point.cluster.machine {
        MachineName::Null => Mix::Opaque { payload: load.payload },
        MachineName::Kv => Mix::Kv { payload: load.payload, reads: load.reads, keys: load.keys },
    };
    let client = Client::new(options, CommandStream::new(mix, seed));
    if !point.cluster.protocol.is_leaderless() {
        return client;
    }
    let home = (id.0 as usize - point.cluster.replicas) % point.cluster.proposers;
    client.at_home_at(NodeId(home as u32))
}

/// Client `index`'s share of the load. Rates are divided evenly; commands outstanding too, the first
/// clients taking the remainder.
pub(super) fn pace(point: &Point, index: usize, seed: u64) -> impl FnOnce(Nanos) -> Pace + Send + 'static {
    let (arrival, clients) = (point.load.arrival, point.load.clients);
    move |begin| {
        let open = |schedule, rate: f64| Pace::Open(Arrivals::new(schedule, rate / clients as f64, begin, seed));
        match arrival {
            Arrival::Poisson { rate } => open(Schedule::Poisson, rate),
            Arrival::Constant { rate } => open(Schedule::Constant, rate),
            Arrival::Closed { outstanding } => {
                Pace::Closed { outstanding: outstanding / clients + usize::from(index < outstanding % clients) }
            }
        }
    }
}
