//! QUIC (RFC 9000) on the node's own thread: quinn's state machine, without its runtime.
//!
//! One UDP socket, one loop: what has come goes into the state machines, frames come out of their
//! streams, and what they have to say goes out in batches, at the latest before the node waits. What a
//! node sends that only looks waits for company ([`MOST_LOOKS`](crate::MOST_LOOKS)): datagrams and system
//! calls are what costs most. An acknowledgement leaves with the next frames if there are some. Each end of
//! a connection opens one stream, or one for each group ([`Streams`]), and the first bytes of the first are
//! its hello, as over TCP. Frames may also go as datagrams ([`QuicOptions::datagrams`]).
//!
//! What it costs beside TCP:
//!
//! - Each byte of a payload is copied once more on its way out, by quinn into its packet: it is
//!   encrypted there. [`Counters::copied_bytes`] has it, though not what a lost packet costs again.
//!   What comes in is decrypted where the kernel put it, and frames are slices of that.
//! - Each byte is encrypted and decrypted, with [`Cipher`].
//! - A frame that does not end with its datagram is received in pieces; a datagram has some 40 bytes of
//!   its own. Both matter at the 1452 bytes of an Ethernet, and hardly at what a loopback carries ([`QuicOptions::mtu`]).
//!
//! TLS 1.3 is always on. Both ends prove with a certificate of the run's [`Authority`] that they are the
//! node that their hello says, and ALPN names the wire's version. Who cannot is turned away and
//! counted. Datagrams that belong to no connection and begin none are dropped, unless a former life of
//! this node gave out their id: who sends such hears that it is gone (a stateless reset). There is no 0-RTT and no
//! resumption: what is sent before the handshake is over can be replayed by anyone who saw it, and a
//! protocol's frames must not be; connections last as long as a run, so that one round trip for each is
//! nothing.
//!
//! An empty pool stops no acknowledgements: datagrams are copied to be looked at, and streams are not
//! read, so that flow control holds the senders back.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, Incoming};
use quorumbench_protocols::{Frame, Nanos, Transmit};

use crate::dial::Dials;
use crate::hello::Hello;
use crate::peers::{End, Origin, Peers, makes_room};
use crate::pool::{Pool, STARVED_NS};
use crate::storage::{FileWrite, FileWritten, Writer};
use crate::{Clock, Counters, Mesh, Options, Transport, Wait};

mod bell;
mod credentials;
mod line;
mod lives;
mod options;
mod outgoing;
mod port;
mod streams;
mod tls;
mod turns;

pub use credentials::{Authority, Credentials, name};
pub use options::{Cipher, Congestion, QuicOptions, Streams};

use bell::Bell;
use line::{Line, Progress};
use port::Port;
use tls::Tls;
use turns::turns;

/// One node of a run over QUIC.
///
/// ```no_run
/// use std::net::TcpListener;
/// use quorumbench_protocols::NodeId;
/// use quorumbench_transports::quic::{Authority, Quic};
/// use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};
///
/// let listener = Some(TcpListener::bind("127.0.0.1:0")?); // the UDP port of the same number is taken
/// let credentials = Some(Authority::new(1)?.admit(NodeId(0))?);
/// let (clock, options, dial) = (Clock::start(), Options::default(), Vec::new());
/// let mesh = Mesh { run: 1, id: NodeId(0), role: Role::Replica, listener, dial, credentials, clock, options };
/// let mut node = Quic::join(mesh)?;
/// let mut inbox = Vec::new();
/// node.recv(clock.now() + 1_000_000, &mut inbox)?; // accepts, dials, says hello, and delivers frames
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A frame that was queued and then lost with its connection counts as sent and as dropped; what quinn
/// had taken of it nobody can know.
pub struct Quic {
    clock: Clock,
    options: Options,
    peers: Peers,
    dials: Dials,
    tls: Tls,
    port: Port,
    endpoint: Endpoint,
    /// By quinn's number, which is the one that `peers` knows them by.
    lines: Vec<Option<Line>>,
    /// The first that got nothing when the lines were last served, because the kernel was full.
    left_out: Option<usize>,
    scratch: Scratch,
    /// Streams wait for a chunk to come home, which nothing announces.
    starved: bool,
    /// The last look found no more than it was woken for: the next one would find nothing before the next wait.
    calm: bool,
    bell: Arc<Bell>,
    waker: Waker,
    writer: Writer,
    counters: Counters,
}

/// What is used again and again.
struct Scratch {
    /// Packets on their way to the kernel.
    packets: Vec<u8>,
    /// What frames are staged in on their way to quinn.
    rooms: Pool,
}

/// How many batches of datagrams are taken in one look: peers that never stop must not keep the caller
/// from what has come.
const BATCHES: usize = 64;

impl Quic {
    /// Takes the node's place in the run. Connections come up as [`recv`](Transport::recv) is called.
    ///
    /// # Errors
    /// That there are no credentials, or such as are none; those of [`Options::check_chunks`]; or the
    /// machine's.
    pub fn join(mut mesh: Mesh) -> io::Result<Self> {
        mesh.options.check_chunks()?;
        let credentials = mesh.credentials.take().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "over QUIC a node must have credentials of its run")
        })?;
        if credentials.secret.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "credentials without a secret"));
        }
        let (peers, dials) = (Peers::new(&mesh), Dials::new(&mesh));
        let tls = Tls::new(&credentials, &mesh.options)?;
        let server = mesh.listener.is_some().then(|| tls.server.clone());
        let port = Port::open(&mut mesh)?;
        let config = lives::endpoint(&credentials.secret, server.is_some());
        let bell = Bell::new()?;
        Ok(Self {
            clock: mesh.clock,
            options: mesh.options,
            peers,
            dials,
            tls,
            endpoint: Endpoint::new(Arc::new(config), server, port.keeps_datagrams_whole(), None),
            port,
            lines: Vec::new(),
            left_out: None,
            scratch: Scratch { packets: Vec::new(), rooms: outgoing::rooms() },
            starved: false,
            calm: false,
            waker: bell.clone().into(),
            bell,
            writer: Writer::default(),
            counters: Counters::default(),
        })
    }

    /// How many receive chunks somebody holds on to: frames that were delivered, or the beginning of
    /// one that is not whole. For tests and for finding out who pins memory.
    pub fn chunks_out(&mut self) -> usize {
        self.port.chunks_out()
    }

    /// Takes in what has come, and does what is due.
    fn look(&mut self, inbox: &mut Vec<Frame>) -> io::Result<()> {
        let (now, mut batches) = (Instant::now(), 0);
        while batches < BATCHES
            && let Some(batch) = self.port.receive(&mut self.counters)?
        {
            batches += 1;
            let (from, ecn) = (batch.from, batch.ecn);
            for datagram in batch {
                self.scratch.packets.clear();
                match self.endpoint.handle(now, from, None, ecn, datagram, &mut self.scratch.packets) {
                    Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                        if let Some(Some(line)) = self.lines.get_mut(handle.0) {
                            line.handle(event);
                        }
                    }
                    Some(DatagramEvent::NewConnection(incoming)) => self.accept(incoming, now),
                    Some(DatagramEvent::Response(transmit)) => self.respond(transmit),
                    None => {}
                }
            }
        }
        self.calm = batches < 2;
        self.dial(now);
        self.starved = self.port.is_starved();
        for at in 0..self.lines.len() {
            self.go_on(at, now, inbox);
        }
        Ok(())
    }

    fn dial(&mut self, now: Instant) {
        while let Some((peer, address)) = self.dials.next(self.clock.now()) {
            match self.endpoint.connect(now, self.tls.client.clone(), address, &name(peer)) {
                Ok((handle, connection)) => self.enter(handle, connection, Origin::Dialled(peer)),
                Err(_) => self.dials.failed(peer, self.clock.now()),
            }
        }
    }

    /// Somebody knocks; the longest silent makes room if there are too many.
    fn accept(&mut self, incoming: Incoming, now: Instant) {
        self.scratch.packets.clear();
        match self.endpoint.accept(incoming, now, &mut self.scratch.packets, None) {
            Ok((handle, connection)) => {
                let silent = self.lines.iter().enumerate().filter_map(|(at, line)| {
                    let line = line.as_ref().filter(|line| line.origin() == Origin::Accepted)?;
                    Some((line.until()?, at))
                });
                if let Some(oldest) = makes_room(silent) {
                    self.close(oldest, End::Lost);
                }
                self.enter(handle, connection, Origin::Accepted);
            }
            Err(refused) => {
                self.counters.strangers += 1;
                if let Some(transmit) = refused.response {
                    self.respond(transmit);
                }
            }
        }
    }

    fn enter(&mut self, handle: ConnectionHandle, connection: quinn_proto::Connection, origin: Origin) {
        if self.lines.len() <= handle.0 {
            self.lines.resize_with(handle.0 + 1, || None);
        }
        let now = self.clock.now();
        self.lines[handle.0] = Some(Line::new(handle, connection, origin, now, self.options.max_body));
    }

    /// Sends what the endpoint itself has to say, unless the kernel is behind: nobody relies on it.
    fn respond(&mut self, transmit: quinn_proto::Transmit) {
        if self.port.flush(&mut self.counters) {
            self.port.send(transmit, &mut self.scratch.packets, &mut self.counters);
        }
    }

    fn go_on(&mut self, at: usize, now: Instant, inbox: &mut Vec<Frame>) {
        let Self { endpoint, peers, counters, starved, .. } = self;
        let Some(line) = &mut self.lines[at] else { return };
        line.pass_time(now);
        let late = line.until().is_some_and(|until| until <= self.clock.now());
        if !line.is_stirred() && !late {
            return;
        }
        match line.go_on(endpoint, peers, !*starved, inbox, counters) {
            Progress::Going if late => self.close(at, End::Lost),
            Progress::Going => {}
            Progress::Known(hello) => {
                line.welcome(hello, peers.hello());
                self.welcome(at, hello, now, inbox);
            }
            Progress::Stranger => {
                self.counters.strangers += u64::from(line.origin() != Origin::Accepted);
                self.close(at, End::Lost);
            }
            Progress::Over(end) => self.close(at, end),
        }
    }

    /// From here on the line is a peer's.
    fn welcome(&mut self, at: usize, hello: Hello, now: Instant, inbox: &mut Vec<Frame>) {
        self.dials.answered(hello.id);
        if let Some(older) = self.peers.connect(hello.id, at) {
            self.close(older, End::Lost);
        }
        self.go_on(at, now, inbox);
    }

    fn close(&mut self, at: usize, end: End) {
        let Some(line) = self.lines[at].take() else { return };
        match line.peer() {
            Some(peer) => {
                self.counters.malformed += u64::from(end == End::Malformed);
                self.counters.lost_connections += 1;
                self.peers.disconnect(peer, at);
            }
            None => self.counters.strangers += u64::from(line.origin() == Origin::Accepted),
        }
        if let Origin::Dialled(peer) = line.origin() {
            self.dials.failed(peer, self.clock.now());
        }
        let lost = line.close(&mut self.endpoint, &mut self.port, &mut self.scratch, &mut self.counters);
        self.counters.dropped_frames += lost as u64;
    }

    /// Sends what there is to send; of a node that is `busy` and only looks, what cannot wait for company.
    fn flush(&mut self, busy: bool) {
        let now = Instant::now();
        for (at, whom) in turns(self.left_out.take(), self.lines.len()) {
            let Some(line) = self.lines[at].as_mut().filter(|line| whom.is(line.is_client())) else { continue };
            if !(busy && line.waits()) && line.flush(now, &mut self.port, &mut self.scratch.packets, &mut self.counters)
            {
                self.left_out.get_or_insert(at);
            }
        }
    }

    /// How long until something is to be done although no datagram comes.
    fn patience_ns(&self, deadline: Nanos) -> u64 {
        let now = self.clock.now();
        let lines = || self.lines.iter().flatten();
        let starved = self.starved.then(|| now + STARVED_NS);
        let due = lines().filter_map(Line::until).chain(starved).fold(self.dials.due().min(deadline), Nanos::min);
        let patience = due.saturating_since(now);
        let quinn = lines().filter_map(Line::due).min();
        quinn.map_or(patience, |due| {
            patience.min(due.saturating_duration_since(Instant::now()).as_nanos().min(u64::MAX.into()) as u64)
        })
    }

    fn wait(&mut self, deadline: Nanos) -> io::Result<()> {
        if self.options.wait != Wait::Block {
            self.counters.syscalls += self.options.wait.pause();
            return Ok(());
        }
        self.writer.listen(&self.waker);
        let (patience, full) = (self.patience_ns(deadline), self.port.is_full());
        let is_over = || self.writer.any_over();
        self.bell.sleep(std::os::fd::AsFd::as_fd(&self.port), full, patience, is_over, &mut self.counters)
    }
}

impl Transport for Quic {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        for Transmit { to, head, body } in transmits.drain(..) {
            for peer in to.iter() {
                match self.peers.reach(peer).and_then(|at| self.lines[at].as_mut()) {
                    Some(line) => line.push(&head, &body, &self.options, &mut self.scratch.rooms, &mut self.counters),
                    None => self.counters.dropped_frames += 1,
                }
            }
        }
        Ok(())
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        let before = inbox.len();
        // With it goes what acknowledges the last frames, if no answer to them has gone out since.
        let is_late = self.clock.now() >= deadline;
        self.flush(is_late);
        // To look for what is not there costs a system call. If it is there after all, the wait is none.
        if !is_late && std::mem::take(&mut self.calm) {
            self.wait(deadline)?;
        }
        loop {
            self.look(inbox)?;
            if inbox.len() > before || self.writer.any_over() {
                return Ok(());
            }
            if self.clock.now() >= deadline {
                return Ok(());
            }
            self.flush(false);
            self.wait(deadline)?;
        }
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.writer.write(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.writer.written(done);
    }

    fn counters(&self) -> Counters {
        self.writer.add_to(self.counters)
    }
}

impl Drop for Quic {
    /// Sends what it may, and tells the peers, once.
    fn drop(&mut self) {
        self.flush(false);
        for line in self.lines.drain(..).flatten() {
            line.close(&mut self.endpoint, &mut self.port, &mut self.scratch, &mut self.counters);
        }
    }
}

impl fmt::Debug for Quic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic").field("port", &self.port).field("counters", &self.counters).finish_non_exhaustive()
    }
}
