//! One point of an experiment: every setting of one run, typed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use quorumbench_protocols::quorum::{self, Quorums};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::distribution::Keys;
use super::gossip::Gossip;
use super::keys::Key;
use super::links::{Link, Way};
use super::names::{
    ArrivalName, Cipher, Durability, Emulation, MachineName, Mover, Pin, Placement, ProtocolName, QuicCongestion,
    QuicStreams, ReadsMode, SnapshotBasis, TransportName, Wait,
};
use super::regions::Regions;
use super::replication::{self, Crdt, Database, Replication};
use super::value::Value;
use crate::batch::BatchHead;

/// One combination of the values that a config lists.
///
/// It goes to the processes of its nodes, but for its coordinates: they are for results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Who runs, and on what.
    pub cluster: Cluster,
    /// How commands become slots.
    pub batch: Batch,
    /// What clients do.
    pub load: Load,
    /// How reads are answered.
    pub reads: Reads,
    /// How many make a quorum.
    pub quorum: Quorum,
    /// What stands behind an acknowledgement.
    pub storage: Storage,
    /// How the transport is tuned.
    pub transport_options: TransportOptions,
    /// The virtual network, or what is made of the real one.
    pub network: Network,
    /// What a virtual node's work costs.
    pub cost: Cost,
    /// How an update spreads.
    pub gossip: Gossip,
    /// What data type is replicated, and how.
    pub crdt: Crdt,
    /// How databases are reconciled.
    pub database: Database,
    /// What happens to either.
    pub replication: Replication,
    /// The value of each axis that applies here, in the table's order.
    #[serde(skip)]
    coordinates: Vec<(&'static str, Value)>,
}

impl Point {
    /// How many nodes there are on the transport: replicas, which come first, and clients. (Those that gossip are
    /// [`Cluster::nodes`].)
    pub const fn nodes(&self) -> usize {
        self.cluster.replicas + self.load.clients
    }

    /// The full coordinates, varied or not, each by its name as a coordinate, as a config would have them in their
    /// shortest form: `"64B"`, `64`, `"poisson"`. What does not apply here (the rate of a closed loop) is absent.
    pub fn axes(&self) -> Map<String, Json> {
        self.coordinates.iter().map(|(name, value)| ((*name).to_owned(), value.to_json())).collect()
    }

    /// This point's value of an axis, if it applies.
    pub fn coordinate(&self, axis: &Key) -> Option<&Value> {
        self.coordinates.iter().find(|(name, _)| *name == axis.coordinate).map(|(_, value)| value)
    }

    /// Whether it runs in virtual time. Such results never compare with real ones.
    pub fn is_virtual(&self) -> bool {
        self.cluster.transport == TransportName::Sim
    }

    /// About how long its trials take a core, if it is of what orders nothing; `None` if it runs for as long as it is told.
    pub fn estimate(&self) -> Option<Duration> {
        let protocol = self.cluster.protocol;
        let trials = match protocol {
            _ if protocol.is_gossip() => self.gossip.takes(self),
            _ => replication::estimate(self),
        };
        (!protocol.orders()).then_some(trials)
    }

    /// What counts towards a replica's next snapshot: never [`SnapshotBasis::Auto`].
    pub fn snapshot_basis(&self) -> SnapshotBasis {
        match (self.cluster.snapshot_basis, self.storage.durability) {
            (SnapshotBasis::Auto, Durability::None) => SnapshotBasis::Kept,
            (SnapshotBasis::Auto, _) => SnapshotBasis::Delivered,
            (basis, _) => basis,
        }
    }

    /// Whether a replica that is killed and comes back still knows what it had promised: from its log, or because a
    /// thread's memory outlives it, and plays the part of a disk. A process that came back blank could vote twice.
    pub fn remembers(&self) -> bool {
        self.cluster.placement == Placement::Threads || self.storage.durability != Durability::None
    }

    /// Whether its replicas and clients talk by the memory of one process.
    pub(super) fn shares_memory(&self) -> bool {
        self.cluster.protocol.orders() && self.cluster.transport == TransportName::Mem
    }

    pub(super) fn add_coordinate(&mut self, axis: &Key, value: Value) {
        self.coordinates.push((axis.coordinate, value));
    }

    /// A point before any key is applied. Every key is, so none of this is seen.
    pub(super) fn blank() -> Self {
        Self {
            cluster: Cluster {
                protocol: ProtocolName::ALL[0],
                replicas: 0,
                nodes: 0,
                hosts: 0,
                observers: 0,
                groups: 0,
                transport: TransportName::ALL[0],
                machine: MachineName::ALL[0],
                wait: Wait::ALL[0],
                pin: Pin::ALL[0],
                placement: Placement::ALL[0],
                bind: Ipv4Addr::UNSPECIFIED.into(),
                base_port: 0,
                election_timeout: Duration::ZERO,
                heartbeat: Duration::ZERO,
                snapshot_slots: 0,
                snapshot_bytes: 0,
                snapshot_basis: SnapshotBasis::ALL[0],
                proposers: 0,
                backoff: Duration::ZERO,
            },
            batch: Batch { commands: 0, bytes: 0, linger: Duration::ZERO, window: 0 },
            load: Load {
                arrival: Arrival::Closed { outstanding: 0 },
                clients: 0,
                payload: 0,
                reads: 0.0,
                keys: Keys::Uniform { count: 0 },
                resend: Duration::ZERO,
                in_flight_limit: 0,
            },
            reads: Reads { mode: ReadsMode::ALL[0] },
            quorum: Quorum { phase1: None, phase2: None },
            storage: Storage::blank(),
            transport_options: TransportOptions {
                congestion: String::new(),
                zero_copy_threshold: None,
                gather_threshold: 0,
                cipher: Cipher::ALL[0],
                mtu: 0,
                window: 0,
                quic_congestion: QuicCongestion::ALL[0],
                ack_every: 0,
                streams: QuicStreams::ALL[0],
                idle_timeout: Duration::ZERO,
            },
            network: Network {
                emulation: Emulation::ALL[0],
                mover: Mover::ALL[0],
                mtu: 0,
                usual: Way::blank(),
                client_delay: Duration::ZERO,
                round_trips: None,
                links: Vec::new(),
            },
            cost: Cost {
                turn: Duration::ZERO,
                frame: Duration::ZERO,
                kib: Duration::ZERO,
                sync: Duration::ZERO,
                disk_bandwidth: None,
            },
            gossip: Gossip::blank(),
            crdt: Crdt::blank(),
            database: Database::blank(),
            replication: Replication::blank(),
            coordinates: Vec::new(),
        }
    }
}

/// `[cluster]`: who runs, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// What orders the batches.
    pub protocol: ProtocolName,
    /// How many replicas.
    pub replicas: usize,
    /// Of gossip, how many nodes.
    pub nodes: usize,
    /// Of gossip on a real transport, how many threads these share; 0 for as many as cores, and at least 2.
    pub hosts: usize,
    /// How many of them, the last ones, receive everything and never vote.
    pub observers: usize,
    /// How many consensus groups there are over these nodes, numbered from 0.
    pub groups: u16,
    /// What moves frames between them.
    pub transport: TransportName,
    /// What delivered commands are applied to.
    pub machine: MachineName,
    /// How they wait for input.
    pub wait: Wait,
    /// Which core each node runs on.
    pub pin: Pin,
    /// What replicas and clients are to each other: threads or processes.
    pub placement: Placement,
    /// Where they listen.
    pub bind: IpAddr,
    /// Replica `i` listens on `base_port + i`; 0 for ports of the system's choice.
    pub base_port: u16,
    /// The shortest election timeout.
    pub election_timeout: Duration,
    /// How often an idle leader says that it is there.
    pub heartbeat: Duration,
    /// Slots after which a replica takes a snapshot.
    pub snapshot_slots: u64,
    /// Bytes of batches after which it does.
    pub snapshot_bytes: u64,
    /// Slots and bytes of what.
    pub snapshot_basis: SnapshotBasis,
    /// Without a leader: how many replicas clients bring commands to.
    pub proposers: usize,
    /// Without a leader: how long a proposer stands back, on average, when it is first overtaken.
    pub backoff: Duration,
}

/// `[batch]`: how commands become slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Most commands in a slot.
    pub commands: usize,
    /// Most bytes in a slot, header included.
    pub bytes: usize,
    /// How long a batch may wait for company.
    pub linger: Duration,
    /// Most slots in flight.
    pub window: usize,
}

impl Batch {
    /// Bytes of a batch before its first command.
    pub const HEADER_BYTES: usize = BatchHead::BYTES;

    /// Bytes before each command: its length.
    pub const PREFIX_BYTES: usize = BatchHead::PREFIX;
}

/// `[load]`: what clients do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// When commands are sent.
    pub arrival: Arrival,
    /// Client threads.
    pub clients: usize,
    /// Bytes of one command's value.
    pub payload: usize,
    /// The share of reads, 0 to 1.
    pub reads: f64,
    /// Which keys are touched.
    pub keys: Keys,
    /// After how long without an answer a client resends.
    pub resend: Duration,
    /// Open loop: most commands in flight. What is due beyond is late, not absent.
    pub in_flight_limit: usize,
}

/// `[reads]`: how reads are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Through the log or beside it.
    pub mode: ReadsMode,
}

/// When commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Arrival {
    /// Open loop, exponential gaps.
    Poisson {
        /// Commands a second.
        rate: f64,
    },
    /// Open loop, equal gaps.
    Constant {
        /// Commands a second.
        rate: f64,
    },
    /// Closed loop.
    Closed {
        /// Commands in flight, over all clients.
        outstanding: usize,
    },
}

impl Arrival {
    /// Its name in a config.
    pub const fn name(self) -> ArrivalName {
        match self {
            Self::Poisson { .. } => ArrivalName::Poisson,
            Self::Constant { .. } => ArrivalName::Constant,
            Self::Closed { .. } => ArrivalName::Closed,
        }
    }

    /// True if commands are sent on a schedule, whether or not earlier ones were answered.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Closed { .. })
    }

    /// Commands a second that are offered: none are by a closed loop.
    pub const fn rate(self) -> Option<f64> {
        match self {
            Self::Poisson { rate } | Self::Constant { rate } => Some(rate),
            Self::Closed { .. } => None,
        }
    }

    /// The arrival of this name, before its rate or number outstanding is known.
    pub(super) const fn unset(name: ArrivalName) -> Self {
        match name {
            ArrivalName::Poisson => Self::Poisson { rate: 0.0 },
            ArrivalName::Constant => Self::Constant { rate: 0.0 },
            ArrivalName::Closed => Self::Closed { outstanding: 0 },
        }
    }

    /// A closed loop has no rate, and stays as it is.
    pub(super) const fn set_rate(&mut self, to: f64) {
        if let Self::Poisson { rate } | Self::Constant { rate } = self {
            *rate = to;
        }
    }

    /// An open loop has no fixed number outstanding, and stays as it is.
    pub(super) const fn set_outstanding(&mut self, to: usize) {
        if let Self::Closed { outstanding } = self {
            *outstanding = to;
        }
    }
}

/// `[quorum]`: how many replicas each phase of Paxos takes; `None` for a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// To lead.
    pub phase1: Option<usize>,
    /// To decide.
    pub phase2: Option<usize>,
}

impl Quorum {
    /// Both, of so many replicas; `None` unless every one of phase 1 shares a replica with every one of phase 2.
    pub fn of(self, replicas: usize) -> Option<Quorums> {
        let or_majority = |phase: Option<usize>| phase.unwrap_or(quorum::majority(replicas));
        Quorums::flexible(replicas, or_majority(self.phase1), or_majority(self.phase2))
    }
}

/// `[storage]`: what stands behind an acknowledgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// What an acknowledged command survives.
    pub durability: Durability,
    /// The folder that the logs go into; `None` for the run's own.
    pub path: Option<PathBuf>,
    /// Whether logs are written past the kernel's cache.
    pub direct: bool,
    /// How long records may wait for company before they are written.
    pub linger: Duration,
    /// Bytes of records from which they wait no longer.
    pub max_batch: usize,
    /// Most writes under way at once.
    pub in_flight: usize,
    /// Bytes of one file of a log, laid out in advance.
    pub segment: usize,
}

impl Storage {
    const fn blank() -> Self {
        Self {
            durability: Durability::ALL[0],
            path: None,
            direct: false,
            linger: Duration::ZERO,
            max_batch: 0,
            in_flight: 0,
            segment: 0,
        }
    }
}

/// `[transport]`: how the transport is tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransportOptions {
    /// The congestion control of TCP sockets.
    pub congestion: String,
    /// Bytes of a frame from which it is sent without a copy in the kernel; `None` for never.
    pub zero_copy_threshold: Option<usize>,
    /// Bytes of a payload below which it is copied next to its head.
    pub gather_threshold: usize,
    /// How packets of QUIC are encrypted.
    pub cipher: Cipher,
    /// The largest datagram of QUIC that is tried, in bytes.
    pub mtu: usize,
    /// Bytes that may be under way to one peer over QUIC.
    pub window: usize,
    /// How QUIC finds the rate that a path carries.
    pub quic_congestion: QuicCongestion,
    /// Packets of QUIC after which they are acknowledged at once.
    pub ack_every: usize,
    /// Which frames to a peer share a stream of QUIC.
    pub streams: QuicStreams,
    /// The silence after which a connection of QUIC is lost.
    pub idle_timeout: Duration,
}

/// `[network]`: the virtual network, or what is made of the real one. Each link keeps its order, as a connection does, but
/// for what is held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// What makes the links of a real transport worse than they are.
    pub emulation: Emulation,
    /// What moves the packets of an emulated link.
    pub mover: Mover,
    /// The longest packet over an emulated link, IP header included.
    pub mtu: usize,
    /// A link between two replicas of one region, that no table is about.
    pub usual: Way,
    /// One way between a client and a replica of its region.
    pub client_delay: Duration,
    /// How far regions are apart; `None` for one region.
    pub round_trips: Option<Regions>,
    /// Links that are other than all that says; where two say the same, the later counts.
    pub links: Vec<Link>,
}

/// `[cost]`: what a virtual node's work costs, in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// One turn of its loop: waking up, and the system calls of a batch of inputs.
    pub turn: Duration,
    /// Each frame received or sent.
    pub frame: Duration,
    /// Each 1024 bytes received or sent.
    pub kib: Duration,
    /// A sync of its disk, one at a time: what is written meanwhile shares the next. Zero if what is
    /// written is durable at once, but for its bytes.
    pub sync: Duration,
    /// Bytes a second that its disk takes, on top of each sync; `None` for no bound.
    pub disk_bandwidth: Option<usize>,
}

/// `[run]`: how long, how often, and with which randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What goes before the measurement.
    pub warmup: Duration,
    /// The measurement.
    pub duration: Duration,
    /// How often each point is run, on a fresh cluster each time.
    pub repetitions: usize,
    /// All randomness follows from it.
    pub seed: u64,
}

impl Run {
    pub(super) const fn blank() -> Self {
        Self { warmup: Duration::ZERO, duration: Duration::ZERO, repetitions: 0, seed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn a_point_goes_to_a_process_as_it_is() {
        let all = ["transport=[uring,sim]", "machine=kv", "protocol=[raft,multipaxos]", "keys=[uniform:7,zipf:9:0.5]"];
        let more = ["round_trips=a-b 5ms", "arrival=[poisson,closed]", "bind=::1", "zero_copy_threshold=1KiB"];
        let set: Vec<String> = all.iter().chain(&more).map(ToString::to_string).collect();
        for point in Spec::parse("name = 'x'", "x", &set).unwrap_or_else(|error| panic!("{error}")).points() {
            let bytes = postcard::to_allocvec(&point).expect("all can be written");
            let there: Point = postcard::from_bytes(&bytes).expect("what was written");
            assert_eq!(Point { coordinates: point.coordinates.clone(), ..there }, point);
        }
    }
}
