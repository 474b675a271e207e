//! The threads of one point: started, killed, restarted, joined.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use quorumbench_protocols::NodeId;

use super::body::Body;
use super::control::{Begun, Control, Meter};
use super::faults::Subject;
use super::ledger::Reach;
use super::links::Shaped;
use super::log::LogFolder;
use super::orders::{Order, Standing};
use super::packets::Network;
use super::part::{Cluster, Ended, Part};
use super::seat::{self, Held, Place, Seat};
use super::threads::{self, ClientEnd, ReplicaEnd, Shared};
use super::{DriveError, EventKind};
use crate::check::witness::ReplicaTrace;
use crate::spec::{Durability, Point};

/// A cluster and its clients, a thread each.
pub(super) struct Threads {
    control: Control,
    replicas: Vec<ReplicaThread>,
    clients: Vec<Option<JoinHandle<io::Result<ClientEnd>>>>,
    /// Where they are.
    network: Network,
    /// Free for replicas that come back; none on `mem`.
    _ports: Vec<Held>,
    /// Goes last, when no thread writes to it any more.
    logs: Option<LogFolder>,
}

struct ReplicaThread {
    part: Part,
    point: Arc<Point>,
    run: u64,
    /// How often it has died.
    life: u64,
    /// Its place among sockets; on `mem` the rings are kept instead.
    place: Option<Place>,
    shared: Shared,
    state: State,
    /// How far it was delivered in earlier lives that it has forgotten, and its log has not; `None` if it never died.
    reached: Option<Reach>,
    /// What it applied in earlier lives, if that was kept. It was seen, so it counts, though the replica has forgotten.
    past: Vec<ReplicaTrace>,
}

enum State {
    Running(JoinHandle<io::Result<ReplicaEnd>>),
    Down(Box<ReplicaEnd>),
    /// It failed, and said why when it was waited for.
    Failed,
}

impl Threads {
    /// Starts every thread of `point`.
    pub(super) fn start(
        point: &Point,
        parts: &[Part],
        control: &Control,
        network: Network,
    ) -> Result<Self, DriveError> {
        let run = seat::fresh_run();
        let (control, shared_point) = (control.clone(), Arc::new(point.clone()));
        let logs = LogFolder::of(point, run);
        let failed = |source| DriveError::Transport { node: point.cluster.transport.name().into(), source };
        let (held, seats) = seat::seats(point, run, control.clock(), &network).map_err(failed)?;
        let (replicas, clients) = (Vec::new(), Vec::new());
        let mut cluster = Self { control: control.clone(), replicas, clients, network, _ports: held, logs };
        for (&part, (seat, place)) in parts.iter().zip(seats) {
            let shaped = Shaped::of(point, part, control.clock());
            if part.is_replica(point) {
                let shared = Shared {
                    control: control.clone(),
                    orders: Arc::default(),
                    board: part.keep.timeline.then(Arc::default),
                    diary: None,
                    ledger: None,
                    nodes: parts.len(),
                    shaped,
                };
                let point = shared_point.clone();
                let (state, reached, past) = (State::Failed, None, Vec::new());
                let mut thread = ReplicaThread { part, point, run, life: 0, place, shared, state, reached, past };
                thread.run(thread.body(), Meter::default(), false, seat, &cluster.network)?;
                cluster.replicas.push(thread);
            } else {
                let (client, pace, control) = (part.client(point), part.pace(point), control.clone());
                let body = move || threads::run_client(client, pace, seat, shaped.as_ref(), &control);
                let thread = spawn(part, part.name(point), body, &cluster.network)?;
                cluster.clients.push(Some(thread));
            }
        }
        Ok(cluster)
    }
}

impl Cluster for Threads {
    fn clients(&self) -> usize {
        self.clients.len()
    }

    fn begin(&mut self, begun: Begun) {
        self.control.begin(begun);
        self.network.begin(begun);
    }

    fn check(&mut self) -> Result<(), DriveError> {
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
        self.network.check()
    }

    fn end(mut self: Box<Self>) -> Result<Ended, DriveError> {
        self.control.stop();
        let (mut outcome, mut ended) = (Ok(()), Ended::default());
        for thread in &mut self.replicas {
            outcome = outcome.and(thread.wait());
            if let State::Down(end) = &mut thread.state {
                ended.add_replica(&end.account(), end.meter.timings(), end.replica.take_traces());
                ended.trace.replicas.append(&mut thread.past);
            }
        }
        for handle in self.clients.drain(..).flatten() {
            match threads::join(handle) {
                Ok(end) => ended.add_client(&end.account(), end.meter.timings(), end.recording, end.traces),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome?;
        self.network.end(&mut ended)?;
        Ok(ended)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.control.stop();
        // Whoever drops it has a failure already.
        self.replicas.iter_mut().for_each(|thread| drop(thread.wait()));
        self.clients.drain(..).flatten().for_each(|client| drop(threads::join(client)));
        drop(self.logs.take());
    }
}

impl Subject for Threads {
    fn replicas(&self) -> usize {
        self.replicas.len()
    }

    fn leader(&self) -> Option<usize> {
        self.control.leader().map(|leader| leader.0 as usize)
    }

    fn standing(&self, index: usize) -> Option<Standing> {
        self.replicas[index].shared.board.as_ref().map(|board| board.read())
    }

    fn kill(&mut self, index: usize) -> Result<(), DriveError> {
        let thread = &mut self.replicas[index];
        thread.shared.orders.send(Order::Die);
        thread.wait()
    }

    fn restart(&mut self, index: usize) -> Result<(), DriveError> {
        let thread = &mut self.replicas[index];
        let State::Down(end) = std::mem::replace(&mut thread.state, State::Failed) else { return Ok(()) };
        let ReplicaEnd { mut replica, mut meter, seat, led } = *end;
        let seat = match (seat, &thread.place) {
            (Some(seat), _) => seat,
            (None, Some(place)) => {
                let id = thread.part.id();
                let listener = self.network.at(id, || place.rebind()).flatten();
                place.seat(Some(listener.map_err(|source| DriveError::Transport { node: name(id), source })?))
            }
            (None, None) => unreachable!("a replica sits among rings or sockets"),
        };
        self.control.note(EventKind::Restarted, thread.part.id());
        thread.life += 1;
        if thread.point.storage.durability == Durability::None {
            thread.run(move || Ok(Body { replica, log: None }), meter, led, seat, &self.network)
        } else {
            meter.carry_stats(replica.stats());
            thread.reached.get_or_insert_default().add(&replica.reach());
            thread.past.extend(replica.take_traces());
            thread.run(thread.body(), meter, false, seat, &self.network)
        }
    }

    fn order(&mut self, index: usize, order: Order) {
        self.replicas[index].shared.orders.send(order);
    }
}

impl ReplicaThread {
    /// How to make the replica for this life.
    fn body(&self) -> impl FnOnce() -> io::Result<Body> + Send + 'static {
        let Self { part, run, life, .. } = *self;
        let (point, reached) = (self.point.clone(), self.reached.clone());
        move || Body::make(part, &point, run, life, reached.as_ref())
    }

    fn run(
        &mut self,
        body: impl FnOnce() -> io::Result<Body> + Send + 'static,
        meter: Meter,
        led: bool,
        seat: Seat,
        network: &Network,
    ) -> Result<(), DriveError> {
        let (id, shared) = (self.part.id(), self.shared.clone());
        let body = move || threads::run_replica(body()?, meter, led, seat, id, &shared);
        self.state = State::Running(spawn(self.part, name(id), body, network)?);
        Ok(())
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

/// Starts a node's thread where the node is.
fn spawn<T: Send + 'static>(
    part: Part,
    name: String,
    body: impl FnOnce() -> io::Result<T> + Send + 'static,
    network: &Network,
) -> Result<JoinHandle<io::Result<T>>, DriveError> {
    let spawned = network.at(part.id(), || threads::spawn(name.clone(), part.core, body));
    spawned.map_err(|source| DriveError::Transport { node: name, source })
}

fn name(id: NodeId) -> String {
    format!("replica {}", id.0)
}
