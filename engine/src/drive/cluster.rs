//! The threads of one point: started, killed, restarted, joined.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use quorumbench_protocols::{Nanos, NodeId, Prng};

use super::control::{Control, Meter};
use super::replica::{self, Replica};
use super::seat::{self, Place, Seat};
use super::threads::{self, ClientEnd, NOBODY, Orders, ReplicaEnd};
use super::{DriveError, EventKind, Fault, FaultKind, Usage};
use crate::check::witness::Trace;
use crate::client::{Client, ClientOptions, Pace};
use crate::load::{Arrivals, CommandStream, Mix, Schedule};
use crate::measure::{Recording, Window};
use crate::node::{NodeStats, Storage};
use crate::spec::{Arrival, MachineName, Pin, Point, TransportName};

/// A running cluster and its clients.
pub(super) struct Cluster {
    control: Control,
    replicas: Vec<ReplicaThread>,
    clients: Vec<Option<JoinHandle<io::Result<ClientEnd>>>>,
    leader: Arc<AtomicU32>,
}

/// What a cluster leaves behind.
pub(super) struct Ended {
    pub(super) recording: Recording,
    pub(super) replicas: Usage,
    pub(super) clients: Usage,
    pub(super) busiest: NodeStats,
    pub(super) together: NodeStats,
    pub(super) totals: Vec<NodeStats>,
    /// Empty, unless traces were kept.
    pub(super) trace: Trace,
}

struct ReplicaThread {
    id: NodeId,
    /// Its place among sockets; on `mem` the rings are kept instead.
    place: Option<Place>,
    core: Option<usize>,
    orders: Arc<Orders>,
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
        let mut cluster =
            Self { control: control.clone(), replicas: Vec::new(), clients: Vec::new(), leader: leader.clone() };
        let mut prng = Prng::new(seed);
        // Not from the seed: two runs of one config must not take each other's nodes for their own.
        let run = RandomState::new().build_hasher().finish();
        let seats = seats(point, run, control)
            .map_err(|source| DriveError::Transport { node: point.cluster.transport.name().into(), source })?;
        for (index, (seat, place)) in seats.into_iter().enumerate() {
            let id = NodeId(index as u32);
            let core = (point.cluster.pin == Pin::Spread).then(|| cores[index % cores.len()]);
            if index < replicas {
                let orders =
                    Orders { die: AtomicBool::new(false), transfer_to: AtomicU32::new(NOBODY), leader: leader.clone() };
                let mut thread = ReplicaThread { id, place, core, orders: Arc::new(orders), state: State::Failed };
                let mut replica = replica::build(point, id, prng.next_u64(), Storage::Immediate);
                if traced {
                    replica.keep_trace();
                }
                thread.run(replica, Meter::default(), seat, control);
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
        let mut totals = Vec::new();
        for thread in &mut self.replicas {
            outcome = outcome.and(thread.wait());
            if let State::Down(end) = &mut thread.state {
                replicas = replicas.plus(end.meter.usage());
                busiest = std::cmp::max_by_key(busiest, end.meter.stats(), |stats| stats.commands);
                together = together.plus(end.meter.stats());
                totals.push(end.replica.stats());
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
        Ok(Ended { recording, replicas, clients, busiest, together, totals, trace })
    }

    fn leader(&self) -> Option<usize> {
        let leader = self.leader.load(Ordering::Relaxed) as usize;
        (leader < self.replicas.len()).then_some(leader)
    }

    fn kill(&mut self, index: usize) -> Result<(), DriveError> {
        let thread = &mut self.replicas[index];
        thread.orders.die.store(true, Ordering::Relaxed);
        thread.wait()?;
        self.control.note(EventKind::Killed, thread.id);
        Ok(())
    }

    fn restart(&mut self, index: usize) -> Result<(), DriveError> {
        let thread = &mut self.replicas[index];
        let State::Down(end) = std::mem::replace(&mut thread.state, State::Failed) else { return Ok(()) };
        let seat = match (end.seat, &thread.place) {
            (Some(seat), _) => seat,
            (None, Some(place)) => {
                let listener = place.rebind();
                place.seat(Some(listener.map_err(|source| DriveError::Transport { node: name(thread.id), source })?))
            }
            (None, None) => unreachable!("a replica sits among rings or sockets"),
        };
        thread.orders.die.store(false, Ordering::Relaxed);
        thread.run(end.replica, end.meter, seat, &self.control);
        self.control.note(EventKind::Restarted, NodeId(index as u32));
        Ok(())
    }

    fn transfer(&self, from: usize) {
        let target = (from + 1) % self.replicas.len();
        self.replicas[from].orders.transfer_to.store(target as u32, Ordering::Relaxed);
        self.control.note(EventKind::Transfer, NodeId(from as u32));
    }
}

impl ReplicaThread {
    fn run(&mut self, replica: Box<dyn Replica>, meter: Meter, seat: Seat, control: &Control) {
        let (id, orders, control) = (self.id, self.orders.clone(), control.clone());
        let body = move || threads::run_replica(replica, meter, seat, id, &orders, &control);
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

/// The faults of a point, as their time comes.
pub(super) struct FaultPlan {
    /// What is still to come, the next one last.
    ahead: Vec<(Nanos, Step)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(FaultKind),
    Restart(usize),
}

impl FaultPlan {
    pub(super) fn new(faults: &[Fault], window: Window) -> Self {
        let at = |fault: &Fault| window.from + fault.at.as_nanos() as u64;
        let mut plan = Self { ahead: faults.iter().map(|fault| (at(fault), Step::Begin(fault.kind))).collect() };
        plan.sort();
        plan
    }

    /// Does what is due. A fault that finds no leader waits for one.
    pub(super) fn turn(&mut self, now: Nanos, cluster: &mut Cluster) -> Result<(), DriveError> {
        while let Some((at, step)) = self.ahead.pop() {
            if at > now || (cluster.leader().is_none() && matches!(step, Step::Begin(_))) {
                self.ahead.push((at, step));
                break;
            }
            match (step, cluster.leader().unwrap_or_default()) {
                (Step::Restart(index), _) => cluster.restart(index)?,
                (Step::Begin(FaultKind::TransferLeader), leader) => cluster.transfer(leader),
                (Step::Begin(FaultKind::KillLeader), leader) => cluster.kill(leader)?,
                (Step::Begin(FaultKind::RestartLeader { down_for }), leader) => {
                    cluster.kill(leader)?;
                    self.ahead.push((now + down_for.as_nanos() as u64, Step::Restart(leader)));
                    self.sort();
                }
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.ahead.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
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
    let seat = |id: usize| {
        let place = Place {
            transport: point.cluster.transport,
            run,
            id: NodeId(id as u32),
            replicas: addresses.clone(),
            clock: control.clock(),
            options: options.clone(),
        };
        (place.seat(listeners.next()), Some(place))
    };
    Ok((0..nodes).map(seat).collect())
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
