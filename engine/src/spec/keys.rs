//! The table of keys: each one's name, kind, range, default, meaning and place in a [`Point`], once.
//!
//! A new key is a new row, and a field for it. Parsing, defaults, errors, coordinates, the written-out config and
//! the documentation all read the table, in its order.

use std::fmt;
use std::time::Duration;

use super::applies::{Applies, Rule};
use super::names::{
    ArrivalName, Cipher, Durability, Emulation, JitterDistribution, MachineName, Mover, Pin, Placement, ProtocolName,
    QuicCongestion, QuicStreams, ReadsMode, SnapshotBasis, TransportName, Wait,
};
use super::parse;
use super::point::{Arrival, Point, Run};
use super::value::{Kind, Value};

/// A key of the config.
#[derive(Debug)]
pub struct Key {
    /// The table that it is in; empty for the top of the file.
    pub section: &'static str,
    /// Its name in there.
    pub name: &'static str,
    /// Its name among a point's coordinates, which no other key has: [`name`](Self::name), unless that is taken.
    pub coordinate: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Its value when there is none, without quotes; `None` for a key that must be given.
    pub default: Option<&'static str>,
    /// True if it may be a list, and so an axis of the experiment.
    pub axis: bool,
    /// Where it means something.
    pub applies: Applies,
    /// What it is, in one line.
    pub doc: &'static str,
    /// Puts a value where the engine reads it.
    apply: fn(&mut Draft, &Value),
}

impl Key {
    /// Its name with its section: `batch.commands`.
    pub fn full(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// Its value when there is none; `None` for a key that must be given.
    pub fn default_value(&self) -> Option<Value> {
        parse::default(self)
    }

    /// What decides whether it means something: of each of these, any must allow it.
    pub(super) fn clauses(&self) -> impl Iterator<Item = Vec<Rule>> {
        let applies = self.applies;
        let others = [Applies::asks_for_gossip, Applies::asks_for_replicas, Applies::asks_for_links];
        let is_others = self.is_shared() || others.iter().any(|asks| asks(applies));
        let orders = if is_others { Applies::Always } else { Applies::Ordered };
        let mut clauses: Vec<Applies> = std::iter::successors(Some(self.applies), |applies| Some(applies.also()))
            .take_while(|&applies| applies != Applies::Always)
            .chain([orders])
            .collect();
        clauses.reverse();
        clauses.into_iter().map(Applies::rules).filter(|any| !any.is_empty())
    }

    /// True at this point, whose earlier keys are set.
    pub(super) fn applies_to(&self, point: &Point) -> bool {
        let holds = |rule: &Rule| point.coordinate(rule.key).is_some_and(|value| rule.allows(value));
        self.clauses().all(|any| any.iter().any(holds))
    }

    /// Whether every experiment has it, whatever it is about.
    fn is_shared(&self) -> bool {
        match self.section {
            "" => true,
            "cluster" => ["protocol", "transport"].contains(&self.name),
            "run" => ["repetitions", "seed"].contains(&self.name),
            _ => false,
        }
    }

    pub(super) fn apply(&self, draft: &mut Draft, value: &Value) {
        (self.apply)(draft, value);
    }

    const fn axis(self) -> Self {
        Self { axis: true, ..self }
    }

    const fn when(self, applies: Applies) -> Self {
        Self { applies, ..self }
    }

    const fn known_as(self, coordinate: &'static str) -> Self {
        Self { coordinate, ..self }
    }

    const fn required(self) -> Self {
        Self { default: None, ..self }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.full())
    }
}

/// What the keys are applied to, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) run: Run,
    pub(super) point: Point,
}

impl Draft {
    pub(super) fn blank() -> Self {
        Self { name: String::new(), run: Run::blank(), point: Point::blank() }
    }
}

/// A row; `axis`, `when` and `required` say what is not usual about it.
const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
    apply: fn(&mut Draft, &Value),
) -> Key {
    Key {
        section: "",
        name,
        coordinate: name,
        kind,
        default: Some(default),
        axis: false,
        applies: Applies::Always,
        doc,
        apply,
    }
}

/// A key of a [list](super::tables)'s tables, which is read by name.
pub(super) const fn listed(
    list: &'static str,
    name: &'static str,
    kind: Kind,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key { section: list, ..key(name, kind, example, doc, |_, _| ()) }
}

pub(super) const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

pub(super) const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

/// Most bytes of a batch. Far above any that pays, and far below what would exhaust memory a window at a time.
const BATCH_BYTES: u64 = 64 << 20;

/// Most commands in flight: each has a slot of memory in its client.
const IN_FLIGHT: u64 = 1 << 24;

/// Most consensus groups: each is a node of a protocol on every replica, and a session of every client.
const MOST_GROUPS: u64 = 256;

const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Declares each key and collects them in `ROWS`.
macro_rules! table {
    ($($section:literal { $($id:ident = $key:expr;)+ })+) => {
        $($(pub(in crate::spec) static $id: Key = Key { section: $section, ..$key };)+)+
        /// All of these, section by section.
        pub(super) const ROWS: &[&Key] = &[$($(&$id),+),+];
    };
}

/// What a search may change: full names of axes, or their names as coordinates. Not of the table, as it is no part of any
/// point.
pub(super) static TUNE: Key =
    key("tune", Kind::Label { max: 64 }, "", "the axes that `quorumbench tune` may change", |_, _| ());

/// All that a config may have outside of its [lists](super::tables).
pub(super) fn all() -> impl Iterator<Item = &'static Key> + Clone {
    TABLE.iter().copied().chain([&TUNE])
}

// A key whose `when` looks at another one comes after it.
table! {
    "" {
        NAME = key("name", Kind::Label { max: 64 }, "",
            "the experiment's name, part of its results' folder", |to, value| to.name = value.text()).required();
    }
    "cluster" {
        PROTOCOL = key("protocol", Kind::Choice(ProtocolName::CHOICES), "raft",
            "what orders the batches",
            |to, value| to.point.cluster.protocol = value.choice(ProtocolName::named)).axis();
        REPLICAS = key("replicas", count(1, 63), "3",
            "replicas of each batch",
            |to, value| to.point.cluster.replicas = value.count()).axis();
        NODES = key("nodes", count(2, 100_000_000), "1000",
            "nodes that an update is to reach",
            |to, value| to.point.cluster.nodes = value.count()).axis().when(Applies::Unordered);
        OBSERVERS = key("observers", count(0, 62), "0",
            "replicas, the last ones, that receive everything and never vote",
            |to, value| to.point.cluster.observers = value.count()).axis().when(Applies::Observers);
        GROUPS = key("groups", count(1, MOST_GROUPS), "1",
            "consensus groups over the same nodes and connections; with several, group g is first led by replica g mod voters",
            |to, value| to.point.cluster.groups = value.count() as u16).axis();
        TRANSPORT = key("transport", Kind::Choice(TransportName::CHOICES), "uring",
            "what moves frames between nodes",
            |to, value| to.point.cluster.transport = value.choice(TransportName::named)).axis();
        HOSTS = key("hosts", count(0, 63), "0",
            "threads that nodes share, each with an endpoint of the transport; 0 for as many as cores, and at least 2",
            |to, value| to.point.cluster.hosts = value.count()).axis().when(Applies::Hosts);
        MACHINE = key("machine", Kind::Choice(MachineName::CHOICES), "null",
            "what delivered commands are applied to",
            |to, value| to.point.cluster.machine = value.choice(MachineName::named)).axis();
        WAIT = key("wait", Kind::Choice(Wait::CHOICES), "block",
            "how a node waits for input",
            |to, value| to.point.cluster.wait = value.choice(Wait::named)).axis().when(Applies::Threads);
        PIN = key("pin", Kind::Choice(Pin::CHOICES), "spread",
            "which core each node runs on",
            |to, value| to.point.cluster.pin = value.choice(Pin::named)).axis().when(Applies::Threads);
        PLACEMENT = key("placement", Kind::Choice(Placement::CHOICES), "threads",
            "what replicas and clients are to each other",
            |to, value| to.point.cluster.placement = value.choice(Placement::named)).axis().when(Applies::Sockets);
        BIND = key("bind", Kind::Address, "127.0.0.1",
            "the address that replicas listen on",
            |to, value| to.point.cluster.bind = value.address()).when(Applies::Sockets);
        BASE_PORT = key("base_port", count(0, 65535), "0",
            "replica i listens on base_port + i; 0 for ports of the system's choice",
            |to, value| to.point.cluster.base_port = value.count() as u16).when(Applies::Sockets);
        ELECTION_TIMEOUT = key("election_timeout", duration(Duration::from_millis(1), HOUR), "300ms",
            "the shortest silence after which a follower stands for election",
            |to, value| to.point.cluster.election_timeout = value.duration()).axis();
        HEARTBEAT = key("heartbeat", duration(Duration::from_micros(100), HOUR), "50ms",
            "how often an idle leader says that it is there; below half of election_timeout",
            |to, value| to.point.cluster.heartbeat = value.duration()).axis();
        SNAPSHOT_SLOTS = key("snapshot_slots", count(1, 1 << 40), "1_048_576",
            "slots after which a replica takes a snapshot and lets go of its log",
            |to, value| to.point.cluster.snapshot_slots = value.count() as u64).axis();
        SNAPSHOT_BYTES = key("snapshot_bytes", size(1, 1 << 40), "256MiB",
            "bytes of batches after which it does",
            |to, value| to.point.cluster.snapshot_bytes = value.size() as u64).axis();
        SNAPSHOT_BASIS = key("snapshot_basis", Kind::Choice(SnapshotBasis::CHOICES), "auto",
            "slots and bytes of what",
            |to, value| to.point.cluster.snapshot_basis = value.choice(SnapshotBasis::named)).axis();
        PROPOSERS = key("proposers", count(1, 63), "1",
            "replicas that clients bring commands to, one client after the other; they compete",
            |to, value| to.point.cluster.proposers = value.count()).axis().when(Applies::Leaderless);
        BACKOFF = key("backoff", duration(Duration::ZERO, MINUTE), "1ms",
            "how long a proposer stands back, on average, when it is first overtaken; 0us to never do, and perhaps never end",
            |to, value| to.point.cluster.backoff = value.duration()).axis().when(Applies::Leaderless);
    }
    "batch" {
        COMMANDS = key("commands", count(1, 65536), "64",
            "most commands in a slot",
            |to, value| to.point.batch.commands = value.count()).axis();
        BYTES = key("bytes", size(1, BATCH_BYTES), "64KiB",
            "most bytes in a slot",
            |to, value| to.point.batch.bytes = value.size()).axis();
        LINGER = key("linger", duration(Duration::ZERO, Duration::from_secs(1)), "0us",
            "how long a batch may wait for company",
            |to, value| to.point.batch.linger = value.duration()).axis();
        WINDOW = key("window", count(1, 65536), "32",
            "slots in flight: the pipeline's depth",
            |to, value| to.point.batch.window = value.count()).axis();
    }
    "load" {
        ARRIVAL = key("arrival", Kind::Choice(ArrivalName::CHOICES), "poisson",
            "when clients send",
            |to, value| to.point.load.arrival = Arrival::unset(value.choice(ArrivalName::named))).axis();
        RATE = key("rate", Kind::Number { min: 0.001, max: 1e9 }, "10_000",
            "commands a second that are offered",
            |to, value| to.point.load.arrival.set_rate(value.number())).axis().when(Applies::OpenLoop);
        OUTSTANDING = key("outstanding", count(1, IN_FLIGHT), "1024",
            "commands in flight, over all clients",
            |to, value| to.point.load.arrival.set_outstanding(value.count())).axis().when(Applies::ClosedLoop);
        CLIENTS = key("clients", count(1, 64), "1",
            "client threads",
            |to, value| to.point.load.clients = value.count()).axis();
        PAYLOAD = key("payload", size(0, BATCH_BYTES), "16B",
            "bytes of one command's value",
            |to, value| to.point.load.payload = value.size()).axis();
        READS = key("reads", Kind::Number { min: 0.0, max: 1.0 }, "0.0",
            "the share of commands that read",
            |to, value| to.point.load.reads = value.number()).axis().when(Applies::Kv);
        KEYS = key("keys", Kind::Keys, "uniform:1e6",
            "which keys commands touch",
            |to, value| to.point.load.keys = value.keys()).axis().when(Applies::Kv);
        RESEND = key("resend", duration(Duration::from_millis(1), HOUR), "1s",
            "after how long without an answer a client resends",
            |to, value| to.point.load.resend = value.duration()).axis();
        IN_FLIGHT_LIMIT = key("in_flight_limit", count(1, IN_FLIGHT), "65536",
            "most commands in flight; those due beyond it are sent late, and counted",
            |to, value| to.point.load.in_flight_limit = value.count()).axis().when(Applies::OpenLoop);
    }
    "reads" {
        MODE = key("mode", Kind::Choice(ReadsMode::CHOICES), "log",
            "how reads are answered; beside the log, a batch has reads only or writes only",
            |to, value| to.point.reads.mode = value.choice(ReadsMode::named)).axis().when(Applies::Kv);
    }
    "quorum" {
        PHASE1 = key("phase1", Kind::Quorum { max: 63 }, "majority",
            "how many replicas must promise before one may lead; with phase2 more than there are",
            |to, value| to.point.quorum.phase1 = value.quorum()).axis().when(Applies::Quorums);
        PHASE2 = key("phase2", Kind::Quorum { max: 63 }, "majority",
            "how many replicas must accept a slot, the leader among them",
            |to, value| to.point.quorum.phase2 = value.quorum()).axis().when(Applies::Quorums);
    }
    "run" {
        WARMUP = key("warmup", duration(Duration::ZERO, DAY), "1s",
            "load before the measurement", |to, value| to.run.warmup = value.duration());
        DURATION = key("duration", duration(Duration::from_millis(1), DAY), "5s",
            "the measurement", |to, value| to.run.duration = value.duration());
        REPETITIONS = key("repetitions", count(1, 1000), "1",
            "runs of each point, each on a fresh cluster", |to, value| to.run.repetitions = value.count());
        SEED = key("seed", count(0, i64::MAX as u64), "1",
            "all randomness follows from it", |to, value| to.run.seed = value.count() as u64);
    }
    "storage" {
        DURABILITY = key("durability", Kind::Choice(Durability::CHOICES), "none",
            "what stands behind an acknowledgement",
            |to, value| to.point.storage.durability = value.choice(Durability::named)).axis().when(Applies::Log);
        PATH = key("path", Kind::Folder, "auto",
            "the folder that logs are written to while a point runs; auto for the run's own",
            |to, value| to.point.storage.path = value.folder()).axis().when(Applies::Disk);
        DIRECT = key("direct", Kind::Switch, "false",
            "whether logs are written past the kernel's cache, with O_DIRECT",
            |to, value| to.point.storage.direct = value.switch()).axis().when(Applies::Synced);
        STORAGE_LINGER = key("linger", duration(Duration::ZERO, SECOND), "0us",
            "how long records may wait for company before they are written",
            |to, value| to.point.storage.linger = value.duration())
            .known_as("storage_linger").axis().when(Applies::Disk);
        MAX_BATCH = key("max_batch", size(1, BATCH_BYTES), "1MiB",
            "bytes of records from which they wait no longer",
            |to, value| to.point.storage.max_batch = value.size()).axis().when(Applies::Disk);
        WRITES = key("in_flight", count(1, 64), "4",
            "most writes of one log under way at once",
            |to, value| to.point.storage.in_flight = value.count())
            .known_as("storage_in_flight").axis().when(Applies::Disk);
        SEGMENT = key("segment", size(64 << 10, 1 << 32), "64MiB",
            "bytes of one file of a log, laid out in advance",
            |to, value| to.point.storage.segment = value.size()).axis().when(Applies::Disk);
    }
    "transport" {
        CONGESTION = key("congestion", Kind::Label { max: 15 }, "cubic",
            "the congestion control of TCP sockets",
            |to, value| to.point.transport_options.congestion = value.text()).when(Applies::Tcp);
        ZERO_COPY_THRESHOLD = key("zero_copy_threshold", Kind::SizeOrOff { min: 1, max: BATCH_BYTES }, "off",
            "frames from this size on are sent with SEND_ZC",
            |to, value| to.point.transport_options.zero_copy_threshold = value.size_or_off())
            .axis().when(Applies::Uring);
        GATHER_THRESHOLD = key("gather_threshold", size(0, BATCH_BYTES), "1KiB",
            "payloads below this size are copied next to their heads",
            |to, value| to.point.transport_options.gather_threshold = value.size()).axis().when(Applies::Sockets);
        CIPHER = key("cipher", Kind::Choice(Cipher::CHOICES), "aes-128-gcm",
            "how packets are encrypted",
            |to, value| to.point.transport_options.cipher = value.choice(Cipher::named)).axis().when(Applies::Quic);
        MTU = key("mtu", size(1200, 65_507), "32700B",
            "the largest datagram that is tried; 1452 B is what an Ethernet carries",
            |to, value| to.point.transport_options.mtu = value.size()).axis().when(Applies::Quic);
        QUIC_WINDOW = key("window", size(64 << 10, 1 << 30), "4MiB",
            "bytes under way to one peer: no less than the path's rate times its round trip",
            |to, value| to.point.transport_options.window = value.size())
            .known_as("quic_window").axis().when(Applies::Quic);
        QUIC_CONGESTION = key("quic_congestion", Kind::Choice(QuicCongestion::CHOICES), "cubic",
            "how the rate is found that the path carries",
            |to, value| to.point.transport_options.quic_congestion = value.choice(QuicCongestion::named))
            .axis().when(Applies::Quic);
        ACK_EVERY = key("ack_every", count(1, 1000), "10",
            "packets after which they are acknowledged at once",
            |to, value| to.point.transport_options.ack_every = value.count()).axis().when(Applies::Quic);
        STREAMS = key("streams", Kind::Choice(QuicStreams::CHOICES), "peer",
            "which frames to a peer share a stream of QUIC, so that one that is lost holds up the others",
            |to, value| to.point.transport_options.streams = value.choice(QuicStreams::named))
            .axis().when(Applies::Streams);
        IDLE_TIMEOUT = key("idle_timeout", duration(Duration::from_millis(10), HOUR), "10s",
            "the silence after which a connection is lost; a quarter of it is never silent",
            |to, value| to.point.transport_options.idle_timeout = value.duration()).axis().when(Applies::Quic);
    }
    "network" {
        EMULATION = key("emulation", Kind::Choice(Emulation::CHOICES), "none",
            "what makes the links of a real transport worse than they are",
            |to, value| to.point.network.emulation = value.choice(Emulation::named)).axis().when(Applies::Emulable);
        MOVER = key("mover", Kind::Choice(Mover::CHOICES), "tun",
            "what moves the packets",
            |to, value| to.point.network.mover = value.choice(Mover::named)).axis().when(Applies::Packets);
        NETWORK_MTU = key("mtu", size(1280, 65_535), "1500B",
            "the longest packet, IP header included",
            |to, value| to.point.network.mtu = value.size()).known_as("network_mtu").axis().when(Applies::Packets);
        DELAY = key("delay", duration(Duration::ZERO, MINUTE), "50us",
            "one way between two replicas, or two nodes that gossip, within a region",
            |to, value| to.point.network.usual.delay = value.duration()).axis().when(Applies::Ways);
        CLIENT_DELAY = key("client_delay", duration(Duration::ZERO, MINUTE), "50us",
            "one way between a client and a replica, within a region",
            |to, value| to.point.network.client_delay = value.duration()).axis().when(Applies::Links);
        JITTER = key("jitter", duration(Duration::ZERO, MINUTE), "0us",
            "mean of a random delay on top, which keeps the order",
            |to, value| to.point.network.usual.jitter = value.duration()).axis().when(Applies::Ways);
        JITTER_DISTRIBUTION = key("jitter_distribution", Kind::Choice(JitterDistribution::CHOICES), "exponential",
            "how that is distributed",
            |to, value| to.point.network.usual.jitter_distribution = value.choice(JitterDistribution::named))
            .axis().when(Applies::Jitter);
        LOSS = key("loss", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of packets that are lost; of frames where there are none",
            |to, value| to.point.network.usual.loss = value.number()).axis().when(Applies::Ways);
        LOSS_BURST = key("loss_burst", Kind::Number { min: 1.0, max: 1e6 }, "1.0",
            "how many times longer runs of losses are than independent ones, by Gilbert's model",
            |to, value| to.point.network.usual.loss_burst = value.number()).axis().when(Applies::Loss);
        REORDER = key("reorder", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of packets that are held back past later ones; of frames where there are none",
            |to, value| to.point.network.usual.reorder = value.number()).axis().when(Applies::Ways);
        REORDER_DELAY = key("reorder_delay", duration(Duration::from_micros(1), MINUTE), "1ms",
            "for how long these are",
            |to, value| to.point.network.usual.reorder_delay = value.duration()).axis().when(Applies::Reorder);
        BANDWIDTH = key("bandwidth", Kind::SizeOrOff { min: 1, max: 1 << 50 }, "off",
            "bytes a second over each link",
            |to, value| to.point.network.usual.bandwidth = value.size_or_off()).axis().when(Applies::Ways);
        ROUND_TRIPS = key("round_trips", Kind::Regions, "off",
            "regions, and the round-trip times between them; replicas, or nodes, are placed in turn, clients in the first",
            |to, value| to.point.network.round_trips = value.regions()).axis().when(Applies::Ways);
    }
    "cost" {
        TURN = key("turn", duration(Duration::ZERO, SECOND), "5us",
            "virtual CPU time of a turn: waking up and the system calls of a batch of inputs",
            |to, value| to.point.cost.turn = value.duration()).axis().when(Applies::Sim);
        FRAME = key("frame", duration(Duration::ZERO, SECOND), "150ns",
            "virtual CPU time of a frame, received or sent",
            |to, value| to.point.cost.frame = value.duration()).axis().when(Applies::Sim);
        KIB = key("kib", duration(Duration::ZERO, SECOND), "200ns",
            "virtual CPU time of 1024 bytes, received or sent",
            |to, value| to.point.cost.kib = value.duration()).axis().when(Applies::Sim);
        SYNC = key("sync", duration(Duration::ZERO, MINUTE), "0us",
            "virtual time of a disk's sync; one at a time, and what is written meanwhile shares the next; 0us for none",
            |to, value| to.point.cost.sync = value.duration()).axis().when(Applies::Sim);
        DISK_BANDWIDTH = key("disk_bandwidth", Kind::SizeOrOff { min: 1, max: 1 << 50 }, "off",
            "bytes a second that a disk takes: a sync's bytes add to its time",
            |to, value| to.point.cost.disk_bandwidth = value.size_or_off()).axis().when(Applies::Sim);
    }
}

mod gossip;
mod replication;
pub(super) use gossip::*;
pub(super) use replication::*;

/// All keys, section by section. Points vary over them in this order.
pub(super) static TABLE: &[&Key] = &{
    let parts = [ROWS, gossip::ROWS, replication::ROWS];
    let mut table = [&NAME; ROWS.len() + gossip::ROWS.len() + replication::ROWS.len()];
    let (mut part, mut first, mut index) = (0, 0, 0);
    while index < table.len() {
        if index == first + parts[part].len() {
            (part, first) = (part + 1, index);
        }
        table[index] = parts[part][index - first];
        index += 1;
    }
    table
};

/// The sections, in the table's order.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = TABLE.iter().map(|key| key.section).filter(|section| !section.is_empty()).collect();
    sections.dedup();
    sections
}

/// Where this key is in the table.
pub(super) fn position(key: &Key) -> usize {
    TABLE.iter().position(|each| each.coordinate == key.coordinate).expect("keys are made by the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_comes_first() {
        for (index, key) in TABLE.iter().enumerate() {
            for rule in key.applies.rules() {
                assert!(position(rule.key) < index && rule.key.axis, "{key}");
                assert!(!rule.allowed().is_empty() && key.default.is_some(), "{key}");
            }
        }
    }

    #[test]
    fn coordinates_are_unique() {
        for (index, key) in TABLE.iter().enumerate() {
            assert_eq!(position(key), index, "coordinates and overrides go by {}", key.coordinate);
            assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{key}");
        }
        assert_eq!(
            sections(),
            [
                "cluster",
                "batch",
                "load",
                "reads",
                "quorum",
                "run",
                "storage",
                "transport",
                "network",
                "cost",
                "gossip",
                "crdt",
                "database",
                "replication"
            ],
            "each in one piece"
        );
    }
}
