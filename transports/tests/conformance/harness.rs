//! Nodes of any transport, joined each to each.

use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, PeerSet, Recipients, Transmit};
use quorumbench_transports::quic::Authority;
use quorumbench_transports::{Clock, Counters, Mesh, Options, Role, Transport, hello, mem};

use crate::raw::Raw;

/// A transport, as the suite makes its nodes.
pub(crate) trait Subject: 'static {
    /// A node. It need not be `Send`.
    type Node: Transport;
    /// What a thread needs to make its node.
    type Seat: Send + 'static;
    /// Whether frames cross a socket, so that payloads are received into chunks.
    const SOCKETS: bool;
    /// How often a payload that is not small is copied on its way.
    const COPIES: u64 = 0;
    /// A chunk holds no less, whatever the options say.
    const LEAST_CHUNK_BYTES: usize = 1;

    /// Seats for nodes `0..nodes`.
    fn seats(nodes: usize, clock: Clock, options: &Options) -> Vec<Self::Seat>;

    /// Makes the node, on the thread that uses it.
    fn sit(seat: Self::Seat) -> Self::Node;
}

/// A transport whose nodes each have a listener.
pub(crate) trait Socketed: Transport + Sized + 'static {
    /// A bare connection to one of its nodes.
    type Raw: Raw;
    /// As in [`Subject`].
    const COPIES: u64;
    /// As in [`Subject`].
    const LEAST_CHUNK_BYTES: usize;
    /// Joins a run.
    fn join(mesh: Mesh) -> io::Result<Self>;
    /// How many receive chunks are not home.
    fn chunks_out(&mut self) -> usize;
}

/// Any [`Socketed`] transport as a subject.
pub(crate) struct OverSockets<T>(PhantomData<T>);

impl<T: Socketed> Subject for OverSockets<T> {
    type Node = T;
    type Seat = Mesh;
    const SOCKETS: bool = true;
    const COPIES: u64 = T::COPIES;
    const LEAST_CHUNK_BYTES: usize = T::LEAST_CHUNK_BYTES;

    fn seats(nodes: usize, clock: Clock, options: &Options) -> Vec<Mesh> {
        let listeners: Vec<TcpListener> = (0..nodes).map(|_| listener()).collect();
        let addresses: Vec<SocketAddr> = listeners.iter().map(address).collect();
        let seat = |(id, listener)| mesh(id as u32, Some(listener), &addresses[..id], clock, options);
        listeners.into_iter().enumerate().map(seat).collect()
    }

    fn sit(seat: Mesh) -> T {
        T::join(seat).expect("the machine lets it join")
    }
}

/// The rings.
pub(crate) struct InMemory;

impl Subject for InMemory {
    type Node = crate::Mem;
    type Seat = crate::Mem;
    const SOCKETS: bool = false;

    fn seats(nodes: usize, clock: Clock, options: &Options) -> Vec<crate::Mem> {
        mem::mesh(nodes, clock, options)
    }

    fn sit(seat: crate::Mem) -> crate::Mem {
        seat
    }
}

/// The run that every test's nodes belong to.
pub(crate) const RUN: u64 = 0x5eed;
/// What a test's own frames are.
pub(crate) const KIND: u8 = 1;
/// Frames that are sent until the nodes have found each other.
const PROBE: u8 = 2;
/// How long anything may take. Nothing is measured by it: it only ends what would never end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port of this machine that nobody else has.
pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// Where it is.
pub(crate) fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it is bound")
}

/// The seat of node `id`, which dials `lower`, nodes 0 and up.
pub(crate) fn mesh(
    id: u32,
    listener: Option<TcpListener>,
    lower: &[SocketAddr],
    clock: Clock,
    options: &Options,
) -> Mesh {
    let dial = lower.iter().enumerate().map(|(peer, &address)| (NodeId(peer as u32), address)).collect();
    let (id, role, options) = (NodeId(id), Role::Replica, options.clone());
    let credentials = Some(authority().admit(id).expect("there is randomness"));
    Mesh { run: RUN, id, role, listener, dial, credentials, clock, options }
}

/// Whom every test's nodes trust.
pub(crate) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new(RUN).expect("there is randomness"))
}

/// Runs a test in its own thread, and gives up on it when it hangs. If something is `missing` for it,
/// says so and leaves it.
pub(crate) fn bounded(missing: Option<String>, test: impl FnOnce() + Send + 'static) {
    if let Some(missing) = missing {
        println!("not tested: {missing}");
        return;
    }
    let (done, finished) = channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match finished.recv_timeout(2 * PATIENCE) {
        Err(RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// Does `step` until it says that it is done; `what` is what did not happen if it never does.
pub(crate) fn until(what: &str, mut step: impl FnMut() -> bool) {
    let start = Instant::now();
    while !step() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
    }
}

/// A frame of the test's own with `number` in it.
pub(crate) fn transmit(from: u32, to: u32, number: u64, body: Payload) -> Transmit {
    let head = Head { body_len: body.len() as u32, kind: KIND, from: NodeId(from), ..Head::default() };
    Transmit { to: Recipients::One(NodeId(to)), head: Head { words: [number; 6], ..head }, body }
}

/// `len` bytes that tell where they are and which payload they belong to.
pub(crate) fn payload(number: u64, len: usize) -> Payload {
    (0..len).map(|at| pattern(number, at)).collect::<Bytes>().into()
}

/// Whether `body` is `payload(number, len)`.
pub(crate) fn is_payload(body: &Payload, number: u64, len: usize) -> bool {
    body.len() == len && body.pieces().iter().flatten().enumerate().all(|(at, &byte)| byte == pattern(number, at))
}

fn pattern(number: u64, at: usize) -> u8 {
    (at as u64 * 7 + (at as u64 >> 8) + number * 13) as u8
}

/// Nodes on one thread, each looked after in turn.
pub(crate) struct Cluster<N> {
    pub(crate) nodes: Vec<N>,
    /// What each has received.
    pub(crate) inboxes: Vec<Vec<Frame>>,
    pub(crate) clock: Clock,
    /// Counters when all had found each other.
    base: Vec<Counters>,
}

impl<N: Transport> Cluster<N> {
    /// Nodes `0..count`, connected.
    pub(crate) fn new<S: Subject<Node = N>>(count: usize, options: &Options) -> Self {
        let clock = Clock::start();
        let nodes = S::seats(count, clock, options).into_iter().map(S::sit).collect();
        Self::of(nodes, clock)
    }

    /// These nodes, as soon as they are connected.
    pub(crate) fn of(nodes: Vec<N>, clock: Clock) -> Self {
        let inboxes = nodes.iter().map(|_| Vec::new()).collect();
        let mut cluster = Self { nodes, inboxes, clock, base: Vec::new() };
        cluster.meet();
        cluster
    }

    /// Waits until each node hears each other one, and forgets what that took.
    pub(crate) fn meet(&mut self) {
        let all = PeerSet::first(self.nodes.len());
        let mut heard = vec![PeerSet::EMPTY; self.nodes.len()];
        until("the nodes find each other", || {
            for (id, node) in self.nodes.iter_mut().enumerate() {
                let probe = Head { kind: PROBE, from: NodeId(id as u32), ..Head::default() };
                let to = Recipients::Peers(all.without(probe.from));
                node.send(&mut vec![Transmit { to, head: probe, body: Payload::EMPTY }]).expect("takes all");
            }
            self.pump();
            for (id, (inbox, heard)) in self.inboxes.iter_mut().zip(&mut heard).enumerate() {
                *heard =
                    inbox.drain(..).map(|frame| frame.head.from).fold(heard.with(NodeId(id as u32)), PeerSet::with);
            }
            heard.iter().all(|heard| *heard == all)
        });
        // What is still under way is a probe or was lost with an earlier connection.
        let mut quiet = Instant::now();
        until("the probes have arrived", || {
            self.pump();
            if self.inboxes.iter_mut().any(|inbox| inbox.drain(..).count() > 0) {
                quiet = Instant::now();
            }
            quiet.elapsed() > Duration::from_millis(20)
        });
        self.base = self.nodes.iter().map(Transport::counters).collect();
    }

    /// Sends from node `from`, which then looks once: what is sent leaves with that at the latest.
    pub(crate) fn send(&mut self, from: usize, transmits: impl IntoIterator<Item = Transmit>) {
        let mut transmits: Vec<Transmit> = transmits.into_iter().collect();
        self.nodes[from].send(&mut transmits).expect("the machine lets it send");
        assert!(transmits.is_empty(), "a transport takes all");
        self.look(from);
    }

    /// Lets node `at` look once.
    pub(crate) fn look(&mut self, at: usize) {
        let inbox = &mut self.inboxes[at];
        let first = inbox.len();
        self.nodes[at].recv(Nanos::ZERO, inbox).expect("the machine lets it receive");
        assert!(inbox[first..].iter().all(|frame| frame.head.kind != hello::KIND), "a hello is not for the inbox");
    }

    /// Lets every node look once.
    pub(crate) fn pump(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.look(at));
    }

    /// Lets every node look until node `at` has received `count` frames.
    pub(crate) fn pump_until(&mut self, at: usize, count: usize) {
        until(&format!("node {at} receives {count} frames"), || {
            self.pump();
            self.inboxes[at].len() >= count
        });
        assert_eq!(self.inboxes[at].len(), count, "no more than was sent");
    }

    /// What node `at` has counted since all were connected.
    pub(crate) fn counters(&self, at: usize) -> Counters {
        self.nodes[at].counters().since(self.base[at])
    }

    /// What all of them have counted since then.
    pub(crate) fn all_counters(&self) -> Counters {
        (0..self.nodes.len()).map(|at| self.counters(at)).fold(Counters::default(), Counters::plus)
    }
}
