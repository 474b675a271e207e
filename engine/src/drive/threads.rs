//! The loops: wait for frames, take a turn, send.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use quorumbench_protocols::{Nanos, NodeId};
use quorumbench_transports::{Clock, Counters, Transport};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};

use super::body::Body;
use super::control::{Control, LOOK_NS, Meter};
use super::ledger::Ledger;
use super::links::{self, Shaped, Shaping};
use super::log::Log;
use super::orders::{Board, Diary, Orders};
use super::part::Account;
use super::replica::Replica;
use super::seat::Seat;
use super::ward::Ward;
use super::{DriveError, EventKind};
use crate::check::witness::ClientTrace;
use crate::client::{Client, Pace};
use crate::measure::Recording;
use crate::node::NodeStats;

/// A replica between two threads: what outlives the one that ran it.
pub(super) struct ReplicaEnd {
    pub(super) replica: Box<dyn Replica>,
    pub(super) meter: Meter,
    /// Its place among the rings; a place among sockets is gone with its connections.
    pub(super) seat: Option<Seat>,
    /// Whether it led when it ended: coming back, it does not begin to.
    pub(super) led: bool,
}

/// What a client leaves behind.
pub(super) struct ClientEnd {
    pub(super) recording: Option<Recording>,
    pub(super) traces: Vec<ClientTrace>,
    pub(super) meter: Meter,
}

impl ReplicaEnd {
    pub(super) fn account(&self) -> Account {
        self.meter.account(self.replica.stats())
    }
}

impl ClientEnd {
    pub(super) fn account(&self) -> Account {
        self.meter.account(NodeStats::default())
    }
}

/// What one replica's thread shares with the conductor.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) control: Control,
    pub(super) orders: Arc<Orders>,
    /// Where it stands, if anybody wants to know.
    pub(super) board: Option<Arc<Board>>,
    /// Where what it applies goes at once, if it may be lost with it.
    pub(super) diary: Option<Arc<Diary>>,
    /// Where what it used and did goes now and then, if it may be lost with it.
    pub(super) ledger: Option<Arc<Ledger>>,
    /// How many nodes there are, clients among them.
    pub(super) nodes: usize,
    /// Its links to them, where it shapes them.
    pub(super) shaped: Option<Shaped>,
}

/// Runs a replica until the point ends or it is told to die.
pub(super) fn run_replica(
    body: Body,
    mut meter: Meter,
    led: bool,
    seat: Seat,
    id: NodeId,
    shared: &Shared,
) -> io::Result<ReplicaEnd> {
    let Body { mut replica, mut log } = body;
    let clock = shared.control.clock();
    let mut run = |transport: &mut dyn Transport| {
        links::over(shared.shaped.as_ref(), transport, |transport| {
            replica_loop(&mut *replica, log.as_mut(), &mut meter, transport, id, led, shared)
        })
    };
    let (seat, counters, (led, shaping)) = match seat {
        Seat::Mem(mut mem) => {
            let ran = run(&mut *mem)?;
            log.as_mut().map_or(Ok(()), |log| log.leave(clock, &mut *mem))?;
            (Some(Seat::Mem(mem)), Counters::default(), ran)
        }
        Seat::Socket(..) => {
            let mut transport = seat.join()?;
            let ran = run(&mut *transport)?;
            (None, transport.counters(), ran)
        }
    };
    let Shaping { lateness, counters: besides } = shaping;
    meter.wrote(&log.map_or_else(Vec::new, |mut log| log.take_times()));
    meter.held(&lateness);
    meter.carry(counters.plus(besides));
    Ok(ReplicaEnd { replica, meter, seat, led })
}

/// Whether it led in its last turn.
fn replica_loop(
    replica: &mut dyn Replica,
    mut log: Option<&mut Log>,
    meter: &mut Meter,
    transport: &mut dyn Transport,
    id: NodeId,
    mut led: bool,
    shared: &Shared,
) -> io::Result<bool> {
    let control = &shared.control;
    let mut ward = Ward::new(id, transport, shared);
    while !control.stopped() {
        let now = control.clock().now();
        let log_due = log.as_ref().map_or(Nanos::NEVER, |log| log.deadline());
        let deadline = replica.deadline().min(meter.deadline(now, control.window())).min(log_due);
        ward.link.recv(deadline, replica.inbox())?;
        if ward.obey(replica, log.as_deref_mut()).is_break() {
            break;
        }
        let now = control.clock().now();
        if let Some(log) = &mut log {
            log.take(now, control.window(), &mut ward.link, replica)?;
        }
        replica.turn(now);
        if let Some(log) = &mut log {
            log.give(now, &mut ward.link, replica)?;
        }
        ward.link.send(replica.transmits())?;
        if meter.turn(now, control.window(), || ward.link.counters(), || (replica.stats(), replica.groups_led())) {
            let times = log.as_mut().map_or_else(Vec::new, |log| log.take_times());
            meter.wrote(&times);
            if let Some(ledger) = &shared.ledger {
                ledger.write(&meter.account(replica.stats()), replica.reach(), &times);
            }
        }
        let leads = replica.leader() == Some(id);
        if leads && !led {
            control.note(EventKind::Leader, id);
        }
        led = leads;
        ward.after_turn(now, replica);
        if cfg!(feature = "slowdown") {
            slow_down(now, control.clock());
        }
    }
    Ok(led)
}

/// Works on for nothing, after a turn that began at `began`.
fn slow_down(began: Nanos, clock: Clock) {
    let worked = clock.now();
    let until = worked + worked.saturating_since(began) / 2;
    while clock.now() < until {
        std::hint::spin_loop();
    }
}

/// Runs a client until all it asked for is answered or given up.
pub(super) fn run_client(
    client: Client,
    pace: impl FnOnce(Nanos) -> Pace,
    seat: Seat,
    shaped: Option<&Shaped>,
    control: &Control,
) -> io::Result<ClientEnd> {
    let mut transport = seat.join()?;
    let (mut end, Shaping { lateness, .. }) =
        links::over(shaped, &mut *transport, |transport| client_loop(client, pace, transport, control))?;
    end.meter.held(&lateness);
    Ok(end)
}

fn client_loop(
    mut client: Client,
    pace: impl FnOnce(Nanos) -> Pace,
    transport: &mut dyn Transport,
    control: &Control,
) -> io::Result<ClientEnd> {
    let mut meter = Meter::default();
    let mut ready = false;
    let mut pace = Some(pace);
    let mut begun = None;
    if let Some(slot) = control.slot() {
        client.show_in(slot);
    }
    while !control.stopped() && !client.finished(control.clock().now()) {
        let now = control.clock().now();
        let deadline = client.deadline().min(meter.deadline(now, begun));
        transport.recv(deadline, &mut client.inbox)?;
        let now = control.clock().now();
        if let Some((at, pace)) = control.begun().and_then(|at| Some((at, pace.take()?))) {
            begun = Some(at.window);
            client.start(pace(at.load_from), at.window, at.give_up_at);
        }
        client.turn(now);
        transport.send(client.transmits())?;
        meter.turn(now, begun, || transport.counters(), Default::default);
        if !ready && client.ready() {
            ready = true;
            control.client_is_ready();
        }
    }
    let now = control.clock().now();
    meter.turn(now, begun, || transport.counters(), Default::default);
    let traces = client.take_traces();
    let recording = client.finish(now);
    control.client_is_finished();
    // Its connections stay until all is over: a replica that lost them while it was still measured
    // would take that for a fault.
    let mut unasked = Vec::new();
    while !control.stopped() {
        transport.recv(control.clock().now() + LOOK_NS, &mut unasked)?;
        unasked.clear();
    }
    Ok(ClientEnd { recording, traces, meter })
}

/// The cores that this process may use: never empty, and not always the first ones.
pub(super) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// A named thread, on `core` if one is given, with timers that do not dawdle.
pub(super) fn spawn<T: Send + 'static>(
    name: String,
    core: Option<usize>,
    body: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> JoinHandle<io::Result<T>> {
    let prepared = move || {
        // The kernel lets a sleeper oversleep by 50 us unless it is asked not to; a pacing client
        // must. Failure of either only costs precision.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        if let Some(core) = core {
            let mut cores = CpuSet::new();
            cores.set(core);
            let _ = sched_setaffinity(None, &cores);
        }
        body()
    };
    thread::Builder::new().name(name).spawn(prepared).expect("the system has room for another thread")
}

/// What came of a thread.
pub(super) fn join<T>(handle: JoinHandle<io::Result<T>>) -> Result<T, DriveError> {
    let node = handle.thread().name().unwrap_or("a thread").to_owned();
    match handle.join() {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(source)) => Err(DriveError::Transport { node, source }),
        Err(_panic) => Err(DriveError::Panicked { node }),
    }
}
