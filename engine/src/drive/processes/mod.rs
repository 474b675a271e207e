//! A cluster whose replicas and clients have a process each, all of them children of this one.
//!
//! A child is this program again, as `quorumbench node`. Its standard input is one end of a pair of
//! sockets; over that it is told what to be ([`message`]), and tells what happens to it. Between
//! themselves the nodes talk over the transport that is measured, and over nothing else.
//!
//! A child that ends closes its socket, whatever it died of, and the next [`check`](Cluster::check)
//! names it. Children do not outlive this process either: the kernel kills them with it.

use std::borrow::Cow;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorumbench_protocols::NodeId;
use quorumbench_transports::quic::Credentials;
use rustix::process::{Pid, Signal, kill_process};

use super::control::{Begun, Control};
use super::faults::Subject;
use super::ledger::Reach;
use super::log::LogFolder;
use super::orders::{Order, Standing};
use super::packets::Network;
use super::part::{Cluster, Ended, Part};
use super::seat::{self, Held};
use super::{DriveError, EventKind};
use crate::host;
use crate::spec::Point;

mod channel;
pub(super) mod child;
mod heard;
mod message;
mod node;

pub(super) use channel::{Inlet, Outlet};
pub use child::{ChildError, set_program};
use heard::{Heard, Past, Shown};
use message::{Assignment, ToNode};
pub use node::node;

/// A cluster and its clients, a process each.
#[derive(Debug)]
pub(super) struct Processes {
    control: Control,
    point: Point,
    run: u64,
    /// Where replicas listen; free for those that come back.
    ports: Vec<Held>,
    /// Whether everyone was told where, because all of them do.
    introduced: bool,
    /// What each node proves itself with, where that is asked for.
    credentials: Vec<Option<Credentials>>,
    /// Replicas first.
    nodes: Vec<Node>,
    /// Where they are.
    network: Network,
    /// Goes last, when no process writes to it any more.
    logs: Option<LogFolder>,
}

/// How long a process takes to start, about.
const ATTACHES: Duration = Duration::from_micros(500);

/// A child.
#[derive(Debug)]
struct Node {
    part: Part,
    /// How often it has died.
    life: u64,
    name: String,
    process: Child,
    outlet: Outlet,
    shown: Arc<Shown>,
    /// Hears it out; `None` once it was waited for.
    ear: Option<JoinHandle<Heard>>,
    /// What its lives before this one left; once it was killed, this one's too.
    past: Past,
}

impl Processes {
    /// Starts a process for each part. This thread must outlive them: with it they are killed.
    pub(super) fn start(
        point: &Point,
        parts: &[Part],
        control: &Control,
        network: Network,
    ) -> Result<Self, DriveError> {
        let (control, point) = (control.clone(), point.clone());
        let run = seat::fresh_run();
        let logs = LogFolder::of(&point, run);
        let failed = |source| DriveError::Transport { node: point.cluster.transport.name().into(), source };
        let ports = seat::hold(&point, &network).map_err(failed)?;
        let credentials = seat::credentials(&point, run, parts.len()).map_err(failed)?;
        let mut cluster =
            Self { control, point, run, ports, introduced: false, credentials, nodes: Vec::new(), network, logs };
        for &part in parts {
            let node = cluster.spawn(part, 0, None)?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    fn spawn(&self, part: Part, life: u64, reached: Option<Reach>) -> Result<Node, DriveError> {
        let name = part.name(&self.point);
        let assignment = Assignment {
            point: Cow::Borrowed(&self.point),
            part,
            run: self.run,
            life,
            reached,
            epoch_ns: self.control.clock().epoch_ns(),
            credentials: self.credentials[part.id().0 as usize].clone(),
            address: self.ports.get(part.id().0 as usize).map(|held| held.address),
        };
        let spawned = self.network.at(part.id(), || Node::spawn(part, name.clone(), assignment, &self.control));
        spawned.flatten().map_err(|error| {
            let what = format!("cannot start a process: {error}");
            DriveError::Transport { node: name, source: io::Error::new(error.kind(), what) }
        })
    }

    fn tell_all(&self, message: &ToNode<'_>) {
        self.nodes.iter().for_each(|node| node.tell(message));
    }

    /// Once all replicas listen, everyone is told where.
    fn introduce(&mut self) {
        let mut replicas = self.nodes[..self.ports.len()].iter();
        if !self.introduced && replicas.all(|node| node.shown.listening.load(Ordering::Relaxed)) {
            self.tell_all(&ToNode::Replicas(self.addresses()));
            self.introduced = true;
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|held| held.address).collect()
    }
}

impl Cluster for Processes {
    fn clients(&self) -> usize {
        self.nodes.len() - self.point.cluster.replicas
    }

    fn begin(&mut self, begun: Begun) {
        self.control.begin(begun);
        self.network.begin(begun);
        self.tell_all(&ToNode::Begin(begun));
    }

    fn check(&mut self) -> Result<(), DriveError> {
        for node in &mut self.nodes {
            if node.ear.as_ref().is_some_and(JoinHandle::is_finished) {
                node.wait()?;
            }
        }
        self.introduce();
        self.network.check()
    }

    fn end(mut self: Box<Self>) -> Result<Ended, DriveError> {
        for node in &self.nodes {
            node.signal(Signal::CONT);
            node.tell(&ToNode::Stop);
        }
        let (mut outcome, mut ended) = (Ok(()), Ended::default());
        let point = &self.point;
        for node in &mut self.nodes {
            match node.wait() {
                Ok(heard) => heard.unwrap_or_default().add_to(mem::take(&mut node.past), &mut ended, node.part, point),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome?;
        self.network.end(&mut ended)?;
        Ok(ended)
    }
}

impl Subject for Processes {
    fn replicas(&self) -> usize {
        self.point.cluster.replicas
    }

    fn leader(&self) -> Option<usize> {
        self.control.leader().map(|leader| leader.0 as usize)
    }

    /// A few milliseconds old.
    fn standing(&self, index: usize) -> Option<Standing> {
        let node = &self.nodes[index];
        node.part.keep.timeline.then(|| node.shown.board.read())
    }

    fn kill(&mut self, index: usize) -> Result<(), DriveError> {
        let node = &mut self.nodes[index];
        if node.ear.is_some() && matches!(node.process.try_wait(), Ok(Some(_))) {
            return node.wait().map(drop);
        }
        let rss_bytes = host::peak_rss_bytes_of(node.process.id());
        if let Some(heard) = node.kill() {
            node.past.add(heard, rss_bytes);
        }
        self.control.note(EventKind::Killed, node.part.id());
        Ok(())
    }

    fn restart(&mut self, index: usize) -> Result<(), DriveError> {
        if self.nodes[index].ear.is_some() {
            return Ok(());
        }
        self.control.note(EventKind::Restarted, NodeId(index as u32));
        let node = &mut self.nodes[index];
        let (part, life, past) = (node.part, node.life, mem::take(&mut node.past));
        let reached = past.reached.clone();
        self.nodes[index] = Node { past, ..self.spawn(part, life + 1, reached)? };
        self.nodes[index].tell(&ToNode::Replicas(self.addresses()));
        if let Some(begun) = self.control.begun() {
            self.nodes[index].tell(&ToNode::Begin(begun));
        }
        Ok(())
    }

    fn order(&mut self, index: usize, order: Order) {
        let node = &self.nodes[index];
        let paused = match order {
            Order::Pause { on: true } => Some((Signal::STOP, EventKind::Paused)),
            Order::Pause { on: false } => Some((Signal::CONT, EventKind::Resumed)),
            _ => None,
        };
        if let Some((signal, kind)) = paused.filter(|_| node.ear.is_some()) {
            if signal == Signal::STOP {
                node.wait_until_attached();
            }
            node.signal(signal);
            self.control.note(kind, node.part.id());
        }
        // Not to stand still: it does, and would not hear when it is over.
        if order != (Order::Pause { on: true }) {
            node.tell(&ToNode::Order(order));
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(|node| drop(node.kill()));
        drop(self.logs.take());
    }
}

impl Node {
    fn spawn(part: Part, name: String, assignment: Assignment<'_>, control: &Control) -> io::Result<Self> {
        let (process, stream) = child::start(node::SUBCOMMAND)?;
        let (outlet, inlet) = (Outlet::new(stream.try_clone()?), Inlet::new(stream));
        let shown = Arc::new(Shown { slot: control.slot(), ..Shown::default() });
        let ear = {
            let (control, shown) = (control.clone(), Arc::clone(&shown));
            let body = move || Heard::all(inlet, &control, &shown);
            thread::Builder::new().name(format!("ear for {name}")).spawn(body)
        };
        let life = assignment.life;
        let mut node = Self { part, life, name, process, outlet, shown, ear: None, past: Past::default() };
        match ear {
            Ok(ear) => node.ear = Some(ear),
            Err(error) => {
                node.kill();
                return Err(error);
            }
        }
        node.tell(&ToNode::Assignment(Box::new(assignment)));
        Ok(node)
    }

    /// One that has died is found by its ear.
    fn tell(&self, message: &ToNode<'_>) {
        let _ = self.outlet.send(message);
    }

    /// One that is stopped before it has seen to it that it ends with this process would outlive it. That is what a process
    /// does first; one that is gone instead is found by its ear.
    fn wait_until_attached(&self) {
        let is_gone = || self.ear.as_ref().is_none_or(JoinHandle::is_finished);
        let begin = Instant::now();
        while !self.shown.attached.load(Ordering::Relaxed) && !is_gone() && begin.elapsed() < child::PATIENCE {
            thread::sleep(ATTACHES);
        }
    }

    /// Nothing, once it was waited for: its number may be another's.
    fn signal(&self, signal: Signal) {
        if self.ear.is_some() {
            let _ = kill_process(Pid::from_child(&self.process), signal);
        }
    }

    /// Says what it had said, if nobody has asked before.
    fn kill(&mut self) -> Option<Heard> {
        // It may be dead, and was waited for if there is nobody to hear it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.ear.take()?.join().ok()
    }

    /// Waits until it has ended, and says what it said. `None` if it was waited for before.
    fn wait(&mut self) -> Result<Option<Heard>, DriveError> {
        let Some(ear) = self.ear.take() else { return Ok(None) };
        let mut heard = ear.join().unwrap_or_default();
        // One that can no longer be understood ends now.
        self.outlet.close();
        let status = self.process.wait();
        let name = self.name.clone();
        match (heard.failure.take(), status) {
            (Some(failure), _) => Err(failure.of(name)),
            (None, Err(source)) => Err(DriveError::Transport { node: name, source }),
            (None, Ok(status)) if heard.account.is_none() => {
                Err(DriveError::Died { node: name, process: self.process.id(), status })
            }
            (None, Ok(_)) => Ok(Some(heard)),
        }
    }
}
