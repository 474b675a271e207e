//! Moving frames between the nodes of a run, in batches.
//!
//! A transport sees heads and payloads and knows no protocol. The driver calls two methods a turn:
//! [`Transport::send`] with everything to go out, which never blocks, and [`Transport::recv`], which
//! waits until something is there or the deadline has come, and then takes *all* that has arrived.
//! Between one pair of nodes frames arrive in the order sent, or, when a connection was lost or a
//! peer was full, not at all: then they are counted as dropped.
//!
//! A node waits in `recv` and nowhere else, so what it writes to files goes the same way:
//! [`Transport::write_file`] begins a write and `recv` returns when one is over ([`storage`]).
//!
//! Payloads travel by handle. [`pool`] holds the chunks that are received into, [`framing`] slices
//! frames out of them, [`gather`] and [`link`] line up what goes out; [`hello`], [`peers`], [`dial`] and
//! [`socket`] say who talks to whom; [`shape`] makes links worse than they are, and [`tun`] has packets taken off the
//! kernel's hands, so that others may. On these stand [`mem`] (rings between
//! threads: the ceiling) and the transports over sockets: [`uring`] and [`tokio_tcp`] over TCP, and [`quic`], which
//! encrypts all, asks every peer for its certificate, and copies each payload once more on its way out for that.
//!
//! ```
//! use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Recipients, Transmit};
//! use quorumbench_transports::{mem, Clock, Options, Transport};
//!
//! let clock = Clock::start();
//! let mut nodes = mem::mesh(2, clock, &Options::default());
//! let (mut one, mut zero) = (nodes.remove(1), nodes.remove(0));
//!
//! let head = Head { kind: 1, from: NodeId(0), ..Head::default() };
//! let mut out = vec![Transmit { to: Recipients::One(NodeId(1)), head, body: Payload::EMPTY }];
//! zero.send(&mut out)?;
//! assert!(out.is_empty(), "a transport takes all");
//!
//! let mut inbox: Vec<Frame> = Vec::new();
//! one.recv(clock.now() + 1_000_000_000, &mut inbox)?;
//! assert_eq!(inbox[0].head, head);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};

use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Transmit};
use rustix::time::{ClockId, clock_gettime};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use quic::{Credentials, QuicOptions};
use storage::{FileWrite, FileWritten};

pub mod dial;
pub mod framing;
pub mod gather;
pub mod hello;
pub mod link;
pub mod mem;
pub mod peers;
pub mod pool;
pub mod quic;
pub mod shape;
pub mod socket;
pub mod storage;
pub mod tokio_tcp;
pub mod tun;
pub mod uring;

/// One node's way to the others.
pub trait Transport {
    /// Takes every transmit. Never blocks: what a peer has no room for is dropped and
    /// counted, as is what goes to a node that is not connected. Their order is kept within a pair of nodes only:
    /// over sockets what is for clients leaves first, whenever it was handed over (but over
    /// `quic` after the kernel had no room). What is taken leaves at once or with
    /// the next [`recv`](Self::recv), so that one system call can do both. Only over `quic` it may stay
    /// for some that only look ([`MOST_LOOKS`]): what comes meanwhile goes in the same datagram.
    ///
    /// # Errors
    /// The machine's: the run ends with what is saved.
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()>;

    /// Waits until a frame is there, a write to a file is over, or `deadline` has come, then appends
    /// all that has arrived.
    /// With a deadline that has passed it only looks. It may also return early with nothing.
    ///
    /// # Errors
    /// The machine's: the run ends with what is saved. A lost connection is not an error here; it
    /// is dialled again and counted.
    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()>;

    /// Begins a write to a file, and a sync after it if asked for. Never blocks: it begins at once or
    /// with the next [`recv`](Self::recv), and goes on while that waits. Writes are over in any order.
    ///
    /// # Errors
    /// The machine's: the run ends with what is saved. An error of the write itself comes with its
    /// [`FileWritten`].
    ///
    /// # Panics
    /// If the write would end beyond what a file can hold, 2^63 bytes.
    fn write_file(&mut self, write: FileWrite) -> io::Result<()>;

    /// Appends to `done` what is over since the last call, each write once. Call it after
    /// [`recv`](Self::recv), which does not wait while something is over and not taken.
    fn written(&mut self, done: &mut Vec<FileWritten>);

    /// What it has cost so far.
    fn counters(&self) -> Counters;
}

/// How often a node may have looked, without waiting, until all that it sent has left.
pub const MOST_LOOKS: u32 = 4;

/// For what stands on a transport and does not own it.
impl<T: Transport + ?Sized> Transport for &mut T {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        (**self).send(transmits)
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        (**self).recv(deadline, inbox)
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        (**self).write_file(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        (**self).written(done);
    }

    fn counters(&self) -> Counters {
        (**self).counters()
    }
}

/// What a transport has done since it was made. Differences over an interval are what counts.
///
/// As bytes it goes from one process of a machine to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Counters {
    /// System calls, but for those that set connections up and close them. Giving way to others ([`Wait::Yield`]) is one.
    pub syscalls: u64,
    /// Frames handed to the network, once per recipient.
    pub sent_frames: u64,
    /// Bytes handed to the network, heads included. In `mem`, what they would be.
    pub sent_bytes: u64,
    /// Frames received.
    pub received_frames: u64,
    /// Bytes received, heads included.
    pub received_bytes: u64,
    /// Payload bytes copied in user space.
    pub copied_bytes: u64,
    /// Frames that a full or absent peer did not get. What was queued when its connection was lost
    /// counts here too, and as sent.
    pub dropped_frames: u64,
    /// Connections lost after they were established.
    pub lost_connections: u64,
    /// Strangers turned away: no hello, a wrong one, or one of another run.
    pub strangers: u64,
    /// Connections dropped because of bytes that are no frame.
    pub malformed: u64,
    /// Writes to files that came to their end, with an error or without, syncs aside.
    pub file_writes: u64,
    /// `fdatasync` calls that came to their end, of which one may have served many writes, and writes that synced
    /// themselves.
    pub file_syncs: u64,
    /// Bytes written to files.
    pub file_bytes: u64,
    /// CPU time of the thread that writes to files where no ring does, in nanoseconds: the node's as
    /// much as that of its own thread. What a ring's workers in the kernel spend is in nobody's but the
    /// process's.
    pub storage_cpu_ns: u64,
}

impl Counters {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.zip(earlier, |now, then| now - then)
    }

    /// The sum of two nodes' counters.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            syscalls: f(self.syscalls, other.syscalls),
            sent_frames: f(self.sent_frames, other.sent_frames),
            sent_bytes: f(self.sent_bytes, other.sent_bytes),
            received_frames: f(self.received_frames, other.received_frames),
            received_bytes: f(self.received_bytes, other.received_bytes),
            copied_bytes: f(self.copied_bytes, other.copied_bytes),
            dropped_frames: f(self.dropped_frames, other.dropped_frames),
            lost_connections: f(self.lost_connections, other.lost_connections),
            strangers: f(self.strangers, other.strangers),
            malformed: f(self.malformed, other.malformed),
            file_writes: f(self.file_writes, other.file_writes),
            file_syncs: f(self.file_syncs, other.file_syncs),
            file_bytes: f(self.file_bytes, other.file_bytes),
            storage_cpu_ns: f(self.storage_cpu_ns, other.storage_cpu_ns),
        }
    }
}

/// What a node that talks over sockets must know to join a run.
#[derive(Debug)]
pub struct Mesh {
    /// The run: a node of another one is a stranger.
    pub run: u64,
    /// This node.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// Where others connect to; bound already, so that its address is known to them.
    pub listener: Option<TcpListener>,
    /// Whom this node dials, again and again until they answer. One connection joins two nodes:
    /// the higher id dials the lower, and clients dial every replica.
    pub dial: Vec<(NodeId, SocketAddr)>,
    /// Who this node is to the others, where they ask for proof: over `quic`, which cannot do without.
    pub credentials: Option<Credentials>,
    /// The run's clock.
    pub clock: Clock,
    /// How.
    pub options: Options,
}

/// What a node is in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Runs the protocol.
    Replica = 0,
    /// Generates load.
    Client = 1,
}

/// How to wait for frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Sleep in the kernel: cheap, and a wake-up away from the next frame.
    #[default]
    Block,
    /// Look again and again: a core burnt, and no wake-up.
    Spin,
    /// The same, but whoever else wants the core has it between two looks: for where threads are more than cores, of
    /// which a spinning one would otherwise use up its time slice before another may send it anything.
    Yield,
}

impl Wait {
    /// Between two looks of one that does not sleep. Says how many system calls that took.
    fn pause(self) -> u64 {
        if self == Self::Yield {
            std::thread::yield_now();
            return 1;
        }
        std::hint::spin_loop();
        0
    }
}

/// A transport's knobs.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to wait.
    pub wait: Wait,
    /// The longest payload accepted; a longer one is malformed, and nothing is reserved for it.
    pub max_body: usize,
    /// Payloads below this are copied next to their heads: an entry of a gather list costs more than
    /// copying a few hundred bytes. Measured over `uring` (CPU of both ends, a frame of a batch of
    /// 128, copied against by handle): 512 B 158 against 212 ns, 1 KiB 249 against 266, 2 KiB 336
    /// against 360, 4 KiB 575 against 573; the payload was in the cache, which favours the copy.
    /// Over `quic` it is 16 KiB at least and 64 KiB at most.
    pub gather_threshold: usize,
    /// Writes of at least this many bytes go out by zero-copy send, where the transport has it.
    pub zero_copy_threshold: Option<usize>,
    /// What may wait for one peer before frames to it are dropped, in bytes.
    pub link_bytes: usize,
    /// The same over `mem`, which holds handles and no bytes, in frames.
    pub link_frames: usize,
    /// Size of a receive chunk; over `quic` 256 KiB at least.
    pub chunk_bytes: usize,
    /// How many receive chunks there may be. An empty pool stops reading, and flow control, the kernel's
    /// or that of `quic`, does the rest. It is the sum of its owners: what the kernel may fill (over `uring` 2 to
    /// 16 a connection, whether anything comes or not), frames begun, and whatever the run holds on to.
    /// With fewer than hold the longest frame no transport over sockets starts; `uring` before Linux
    /// 6.12 may spend up to eight times as many on a frame that trickles in.
    pub chunks: usize,
    /// TCP congestion control, per socket.
    pub congestion: String,
    /// What only `quic` has.
    pub quic: QuicOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait: Wait::Block,
            max_body: 16 << 20,
            gather_threshold: 1024,
            zero_copy_threshold: None,
            link_bytes: 32 << 20,
            link_frames: 8192,
            chunk_bytes: 256 << 10,
            chunks: 4096,
            congestion: "cubic".into(),
            quic: QuicOptions::default(),
        }
    }
}

impl Options {
    /// Whether a transport over sockets can do with them what it promises.
    ///
    /// # Errors
    /// That a frame could never be whole, because all chunks together are too small for the longest one;
    /// that the congestion control is unknown; or the machine's.
    pub fn check(&self) -> io::Result<()> {
        self.check_chunks()?;
        socket::check(&self.congestion)
    }

    /// Whether a frame of any length that is accepted could ever be whole.
    ///
    /// # Errors
    /// That the longest could not, because all chunks together are too small for it.
    pub fn check_chunks(&self) -> io::Result<()> {
        let Self { max_body, chunk_bytes, chunks, .. } = *self;
        let least = max_body.saturating_add(Head::BYTES).div_ceil(chunk_bytes.max(1)).saturating_add(SPARE_CHUNKS);
        if chunk_bytes == 0 || chunks < least {
            let what = format!(
                "the longest frame (`max_body` {max_body}) would never be whole: it takes {least} chunks of \
                 `chunk_bytes` {chunk_bytes}, and `chunks` is {chunks}"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(())
    }
}

/// Chunks beyond those that the longest frame fills: it may begin at the end of one, and go on after
/// small receives that were copied into another.
const SPARE_CHUNKS: usize = 2;

/// The run's clock: nanoseconds since an epoch that all of its nodes share, in whichever processes of
/// one machine they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// On the machine's monotonic clock, which is the same for all its processes.
    epoch_ns: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { epoch_ns: monotonic_ns() }
    }

    /// The clock of another process, by its [`epoch_ns`](Self::epoch_ns).
    pub const fn since(epoch_ns: u64) -> Self {
        Self { epoch_ns }
    }

    /// When it started, in nanoseconds of the machine's monotonic clock.
    pub const fn epoch_ns(self) -> u64 {
        self.epoch_ns
    }

    /// Nanoseconds since the start. Monotonic.
    pub fn now(self) -> Nanos {
        Nanos(monotonic_ns() - self.epoch_ns)
    }
}

/// No system call: the kernel maps this clock into every process.
fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_a_clock_by_its_epoch() {
        let clock = Clock::start();
        let before = clock.now();
        let theirs = Clock::since(clock.epoch_ns()).now();
        assert!(before <= theirs && theirs <= clock.now());
    }

    #[test]
    fn the_pool_must_hold_the_longest_frame() {
        let check = |max_body, chunk_bytes, chunks| {
            let options = Options { max_body, chunk_bytes, chunks, ..Options::default() };
            options.check().map_err(|error| error.to_string())
        };
        assert_eq!(Options::default().check().map_err(|error| error.to_string()), Ok(()));
        assert_eq!(check(10_000 - Head::BYTES, 1000, 12), Ok(()));
        let error = check(10_000 - Head::BYTES, 1000, 11).expect_err("a chunk too few");
        assert!(error.contains("12 chunks") && error.contains("`chunks` is 11"), "{error}");
        assert!(check(0, 0, 100).is_err());
        assert!(check(usize::MAX, 1, usize::MAX - 1).is_err());
    }
}
