//! TCP on tokio: what most users would write, and the fallback wherever tokio runs.
//!
//! A current-thread runtime belongs to the node, and there are no tasks: `recv` is one future that
//! looks at every socket, because a loop that takes all that is ready is what batching lives from.
//! Readiness is tokio's; reads go into pool chunks and writes out of gather lists, in place.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use quorumbench_protocols::{Frame, Nanos, Transmit};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::dial::Dials;
use crate::hello::Hello;
use crate::peers::{ACCEPT_PAUSE_NS, End, MOST_SILENT, Origin, Peers, makes_room};
use crate::pool::STARVED_NS;
use crate::storage::{FileWrite, FileWritten, Writer};
use crate::{Clock, Counters, Mesh, Options, Transport, Wait, socket};

mod alarm;
mod chunks;
mod connection;
mod line;
mod newcomer;

use alarm::Alarm;
use chunks::Chunks;
use connection::{Connection, More};
use newcomer::{Newcomer, Progress};

/// One node of a run over TCP.
///
/// ```no_run
/// use std::net::TcpListener;
/// use quorumbench_protocols::{Nanos, NodeId};
/// use quorumbench_transports::tokio_tcp::TokioTcp;
/// use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};
///
/// let listener = Some(TcpListener::bind("127.0.0.1:0")?);
/// let (clock, options) = (Clock::start(), Options::default());
/// let (dial, credentials) = (Vec::new(), None);
/// let mesh = Mesh { run: 1, id: NodeId(0), role: Role::Replica, listener, dial, credentials, clock, options };
/// let mut node = TokioTcp::join(mesh)?;
/// let mut inbox = Vec::new();
/// node.recv(clock.now() + 1_000_000, &mut inbox)?; // accepts, dials, says hello, and delivers frames
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Its counters know the reads, the writes, the rounds of polling and the settings of its timer as
/// system calls. A frame that was queued and then lost with
/// its connection counts as sent and as dropped; what was in the kernel's hands nobody can know.
#[derive(Debug)]
pub struct TokioTcp {
    /// Before the runtime, which its sockets are registered with.
    node: Node,
    runtime: Runtime,
}

/// Everything but the runtime, which must be borrowed beside it.
#[derive(Debug)]
struct Node {
    clock: Clock,
    options: Options,
    peers: Peers,
    dials: Dials,
    listener: Option<TcpListener>,
    /// When to accept again, after the machine had nothing left to accept with.
    accept_from: Nanos,
    /// Connections whose other end has not said who it is; oldest first.
    newcomers: Vec<Newcomer>,
    /// By the number that `peers` knows them by.
    connections: Vec<Option<Connection>>,
    chunks: Chunks,
    /// A connection waits for a chunk to come home, which nothing announces.
    starved: bool,
    alarm: Alarm,
    writer: Writer,
    counters: Counters,
}

/// How many connections are accepted in one look: few enough that each newcomer's hello is looked for
/// before [`MOST_SILENT`] others have come after it.
const ACCEPTS: usize = MOST_SILENT / 4;

impl TokioTcp {
    /// Takes the node's place in the run. Connections come up as [`recv`](Transport::recv) is called.
    ///
    /// # Errors
    /// Those of [`Options::check`], or the machine's.
    pub fn join(mesh: Mesh) -> io::Result<Self> {
        mesh.options.check()?;
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let node = {
            let _registers_here = runtime.enter();
            Node::new(mesh)?
        };
        Ok(Self { node, runtime })
    }

    /// How many receive chunks somebody holds on to: frames that were delivered, or the beginning of
    /// one that is not whole. For tests and for finding out who pins memory.
    pub fn chunks_out(&mut self) -> usize {
        self.node.chunks.out()
    }
}

impl Transport for TokioTcp {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        self.node.send(transmits);
        Ok(())
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        let Self { node, runtime } = self;
        let before = inbox.len();
        // What tokio has not polled for it does not know: whatever the first look finds, others may
        // have arrived too.
        let mut polled = false;
        runtime.block_on(poll_fn(|cx| {
            node.writer.listen(cx.waker());
            let more = node.look(cx, inbox)?;
            let now = node.clock.now();
            let done = inbox.len() > before || node.writer.any_over() || now >= deadline;
            if done && polled {
                return Poll::Ready(Ok(()));
            }
            polled = true;
            if done || more {
                cx.waker().wake_by_ref();
            } else if node.options.wait != Wait::Block {
                node.counters.syscalls += node.options.wait.pause();
                cx.waker().wake_by_ref();
            } else {
                let until = deadline.min(node.due(now));
                node.counters.syscalls += u64::from(node.alarm.set(cx, now, until)?);
            }
            node.counters.syscalls += 1;
            Poll::Pending
        }))
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.node.writer.write(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.node.writer.written(done);
    }

    fn counters(&self) -> Counters {
        self.node.writer.add_to(self.node.counters)
    }
}

impl Node {
    fn new(mesh: Mesh) -> io::Result<Self> {
        let (peers, dials) = (Peers::new(&mesh), Dials::new(&mesh));
        let listener = mesh.listener.map(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        Ok(Self {
            clock: mesh.clock,
            chunks: Chunks::new(&mesh.options),
            options: mesh.options,
            peers,
            dials,
            listener: listener.transpose()?,
            accept_from: Nanos::ZERO,
            newcomers: Vec::new(),
            connections: Vec::new(),
            starved: false,
            alarm: Alarm::new()?,
            writer: Writer::default(),
            counters: Counters::default(),
        })
    }

    fn send(&mut self, transmits: &mut Vec<Transmit>) {
        for Transmit { to, head, body } in transmits.drain(..) {
            for peer in to.iter() {
                let connection = self.peers.reach(peer).and_then(|at| self.connections[at].as_mut());
                match connection {
                    Some(connection) => connection.push(&head, &body, &self.options, &mut self.counters),
                    None => self.counters.dropped_frames += 1,
                }
            }
        }
        self.write(true);
        self.write(false);
    }

    /// Writes what was queued for clients, or for all others.
    fn write(&mut self, clients: bool) {
        for at in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[at] else { continue };
            if connection.is_client() == clients
                && let Err(end) = connection.write(&mut self.counters)
            {
                self.close(at, end);
            }
        }
    }

    /// Looks once at every socket and does what can be done. Whether there is more to do at once; if
    /// not, each socket has left its waker.
    fn look(&mut self, cx: &mut Context<'_>, inbox: &mut Vec<Frame>) -> io::Result<bool> {
        let now = self.clock.now();
        self.dial(now)?;
        let mut more = self.accept(cx, now);
        self.greet(cx, now);
        self.starved = false;
        for at in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[at] else { continue };
            match connection.look(cx, &mut self.chunks, inbox, &mut self.counters) {
                Ok(More::No) => {}
                Ok(More::AtOnce) => more = true,
                Ok(More::WithAChunk) => self.starved = true,
                Err(end) => self.close(at, end),
            }
        }
        Ok(more)
    }

    /// When something is to be done although no socket says so.
    fn due(&self, now: Nanos) -> Nanos {
        let newcomers = self.newcomers.iter().map(Newcomer::until);
        let accept = (self.accept_from > now).then_some(self.accept_from);
        let chunk = self.starved.then(|| now + STARVED_NS);
        newcomers.chain(accept).chain(chunk).fold(self.dials.due(), Nanos::min)
    }

    fn dial(&mut self, now: Nanos) -> io::Result<()> {
        while let Some((peer, address)) = self.dials.next(now) {
            match Newcomer::dial(peer, address, &self.options.congestion, now)? {
                Some(newcomer) => self.newcomers.push(newcomer),
                None => self.dials.failed(peer, now),
            }
        }
        Ok(())
    }

    /// Whether there may be more to accept.
    fn accept(&mut self, cx: &mut Context<'_>, now: Nanos) -> bool {
        let Some(listener) = self.listener.as_ref().filter(|_| self.accept_from <= now) else { return false };
        for _ in 0..ACCEPTS {
            let stream = match listener.poll_accept(cx) {
                Poll::Ready(Ok((stream, _))) => stream,
                Poll::Ready(Err(_)) => {
                    self.accept_from = now + ACCEPT_PAUSE_NS;
                    return false;
                }
                Poll::Pending => return false,
            };
            if socket::tune(&stream, &self.options.congestion).is_err() {
                continue;
            }
            let silent = self.newcomers.iter().enumerate().filter(|(_, other)| other.origin() == Origin::Accepted);
            if let Some(oldest) = makes_room(silent.map(|(at, other)| (other.until(), at))) {
                self.newcomers.remove(oldest);
                self.counters.strangers += 1;
            }
            self.newcomers.push(Newcomer::accepted(stream, now));
        }
        true
    }

    /// Sees which newcomers have said who they are, and closes those whose time is up.
    fn greet(&mut self, cx: &mut Context<'_>, now: Nanos) {
        let mut at = 0;
        while at < self.newcomers.len() {
            let progress = self.newcomers[at].look(cx, now, &self.peers, &mut self.counters);
            if matches!(progress, Progress::Silent) {
                at += 1;
                continue;
            }
            let newcomer = self.newcomers.remove(at);
            if let Progress::Known(hello) = progress {
                self.welcome(newcomer, hello);
                continue;
            }
            let origin = newcomer.origin();
            // A dialled node that is not there, or not yet, is no stranger.
            self.counters.strangers += u64::from(matches!(progress, Progress::Stranger) || origin == Origin::Accepted);
            if let Origin::Dialled(peer) = origin {
                self.dials.failed(peer, now);
            }
        }
    }

    /// From here on the newcomer is a peer.
    fn welcome(&mut self, newcomer: Newcomer, hello: Hello) {
        if let Origin::Dialled(peer) = newcomer.origin() {
            self.dials.answered(peer);
        }
        let connection = Connection::new(hello, newcomer, self.options.max_body);
        let free = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[free] = Some(connection);
        if let Some(older) = self.peers.connect(hello.id, free) {
            self.close(older, End::Lost);
        }
    }

    fn close(&mut self, at: usize, end: End) {
        let Some(connection) = self.connections[at].take() else { return };
        self.counters.malformed += u64::from(end == End::Malformed);
        self.counters.lost_connections += 1;
        self.peers.disconnect(connection.peer(), at);
        if let Origin::Dialled(peer) = connection.origin() {
            self.dials.failed(peer, self.clock.now());
        }
        self.counters.dropped_frames += connection.close(&mut self.chunks) as u64;
    }
}
