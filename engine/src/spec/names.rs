//! The names that a config chooses between, each with a line that says what it is for.

use std::fmt;

use quorumbench_protocols::ReadMode;
use serde::{Deserialize, Serialize};

/// A name that a key takes, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As written in a config.
    pub name: &'static str,
    /// One line for a list of choices.
    pub purpose: &'static str,
}

/// Declares an enum whose variants have a name and a purpose: name, purpose and order exist once.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal: $purpose:literal,)+ }) => {
        $(#[$doc])*
        // A purpose is for terminals too: no backticks, and brackets are no links.
        #[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $(#[doc = $purpose] $variant,)+
        }

        impl $type {
            /// All of them, in the order in which they are listed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The same, as a key's choices.
            pub(super) const CHOICES: &'static [Choice] = &[$(Choice { name: $name, purpose: $purpose }),+];

            /// As written in a config.
            pub const fn name(self) -> &'static str {
                Self::CHOICES[self as usize].name
            }

            /// What it is for, in one line.
            pub const fn purpose(self) -> &'static str {
                Self::CHOICES[self as usize].purpose
            }

            /// The one of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.name() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names! {
    /// What orders the batches.
    ProtocolName {
        Raft = "raft": "consensus: Raft, a leader replicates each batch to a majority",
        MultiPaxos = "multipaxos": "consensus: Multi-Paxos, slots are decided in any order by any quorum",
        Zab = "zab": "atomic broadcast: ZAB, as ZooKeeper has it: a primary proposes, a quorum acknowledges, a COMMIT follows",
        Paxos = "paxos": "consensus: basic Paxos, every slot decided from scratch, any replica proposes",
        Echo = "echo": "floor: one server answers each batch, no replication",
        Star = "star": "floor: a fixed leader and one round trip to a majority, no faults survived",
        Gossip = "gossip": "epidemics: an update spreads from node to node, by the rules in [gossip]",
        Crdt = "crdt": "replicated data types: replicas reconcile by states, deltas or operations, by the rules in [crdt]",
        Database = "database": "anti-entropy: replicas of a database resolve differences, by the rules in [database]",
    }
}

impl ProtocolName {
    /// True for what is no protocol, but what protocols are read against.
    pub const fn is_floor(self) -> bool {
        matches!(self, Self::Echo | Self::Star)
    }

    /// True for what orders nothing: an update spreads, and what is measured is how fast, at what cost, and whom it
    /// misses.
    pub const fn is_gossip(self) -> bool {
        matches!(self, Self::Gossip)
    }

    /// True for what orders nothing either: replicas are updated apart, and what is measured is what it takes for them to
    /// agree.
    pub const fn reconciles(self) -> bool {
        matches!(self, Self::Crdt | Self::Database)
    }

    /// True for what orders commands, or is read against what does.
    pub const fn orders(self) -> bool {
        !self.is_gossip() && !self.reconciles()
    }

    /// True where replicas write a log that must outlive them.
    pub const fn has_log(self) -> bool {
        !self.is_floor() && self.orders()
    }

    /// True where every replica takes commands, for want of a leader.
    pub const fn is_leaderless(self) -> bool {
        matches!(self, Self::Paxos)
    }

    /// True where a leader may be asked to hand over.
    pub const fn hands_over(self) -> bool {
        matches!(self, Self::Raft | Self::MultiPaxos)
    }

    /// True for a protocol of two phases, whose quorums need not be majorities.
    pub const fn has_quorums(self) -> bool {
        matches!(self, Self::MultiPaxos)
    }

    /// True where some replicas may receive everything and never vote.
    pub const fn has_observers(self) -> bool {
        matches!(self, Self::Zab)
    }

    /// True where followers answer linearizable reads too: they ask their leader how far they must have come.
    pub const fn has_sync(self) -> bool {
        matches!(self, Self::Zab)
    }

    /// True where a leader may answer reads alone while a lease lasts.
    pub const fn has_leases(self) -> bool {
        matches!(self, Self::Raft | Self::MultiPaxos)
    }
}

names! {
    /// What moves frames between nodes.
    TransportName {
        Uring = "uring": "TCP on io_uring: batched submissions, received in place",
        Mem = "mem": "rings between threads of one process: the ceiling",
        TokioTcp = "tokio-tcp": "TCP on tokio: what most would write, and the portable fallback",
        Quic = "quic": "QUIC in the node's own loop: every byte encrypted, every peer authenticated",
        Sim = "sim": "a virtual network in virtual time, as far away as its keys say; never compared with real ones",
        Population = "population": "none: gossip in rounds, over as many as 100 million nodes in memory",
    }
}

impl TransportName {
    /// True for what goes through the kernel's sockets.
    pub const fn has_sockets(self) -> bool {
        self.is_tcp() || matches!(self, Self::Quic)
    }

    /// True for what takes real time.
    pub const fn is_real(self) -> bool {
        !matches!(self, Self::Sim | Self::Population)
    }

    /// True for what goes over TCP.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Uring | Self::TokioTcp)
    }
}

names! {
    /// How packets are encrypted.
    Cipher {
        Aes128Gcm = "aes-128-gcm": "the fastest where the processor has instructions for it",
        ChaCha20 = "chacha20": "ChaCha20-Poly1305, for processors that have none",
    }
}

names! {
    /// How the rate is found that a path carries.
    QuicCongestion {
        Cubic = "cubic": "grows with the time since the last loss: what TCP does on Linux",
        NewReno = "new-reno": "grows by a packet a round trip, halved by each loss",
        Bbr = "bbr": "models the path's rate and delay; quinn calls it experimental",
    }
}

names! {
    /// What makes the links of a real transport worse than they are.
    Emulation {
        None = "none": "nothing: they are this machine's own",
        Shape = "shape": "each node, which holds back what it sends; needs no privileges",
        Packets = "packets": "real links between network namespaces, which TCP and QUIC meet packet by packet; needs CAP_NET_ADMIN",
    }
}

names! {
    /// What moves the packets of emulated links.
    Mover {
        Tun = "tun": "a process of our own, between TUN devices: seeded, and the same on every kernel",
        Netem = "netem": "the kernel's netem, on a veth pair between any two nodes; needs iproute2",
    }
}

names! {
    /// How what comes on top of a link's delay is distributed around its mean.
    JitterDistribution {
        Exponential = "exponential": "most is small, and some is several times the mean",
        Uniform = "uniform": "from nothing to twice the mean",
        Normal = "normal": "a bell around the mean, a third of it wide, that ends at nothing and at twice the mean",
        Pareto = "pareto": "a heavy tail: one in a thousand is eighteen times the mean",
    }
}

names! {
    /// Which frames to a peer share a stream of QUIC, and with it their order.
    QuicStreams {
        Peer = "peer": "all of them",
        Group = "group": "those of a consensus group: what one has lost holds up no other",
    }
}

names! {
    /// What delivered commands are applied to.
    MachineName {
        Null = "null": "drops every command: ordering alone is measured",
        Kv = "kv": "a map from keys to values, with reads and writes",
    }
}

names! {
    /// What counts towards a replica's next snapshot.
    SnapshotBasis {
        Auto = "auto": "with a log on a disk as delivered, else as kept",
        Kept = "kept": "what the log still keeps: while all replicas follow, they agree to let go, and none is taken",
        Delivered = "delivered": "all that was delivered since the last one, as where a journal on a disk must be cut",
    }
}

names! {
    /// What stands behind an acknowledgement.
    Durability {
        None = "none": "memory only: what is measured is ordering, and a crash would lose it",
        PageCache = "page-cache": "a log, written to the kernel: survives a killed process, not a power cut",
        Fsync = "fsync": "a log, synced before anything is acknowledged: survives both",
    }
}

names! {
    /// What is done to a replica.
    FaultName {
        Kill = "kill": "it dies and loses its connections; with `for` it comes back after that long, else never",
        Restart = "restart": "it dies, and comes back at once",
        Pause = "pause": "it stands still, with its connections open, and then goes on",
        Partition = "partition": "it is cut off from everybody, replicas and clients: what is sent meanwhile is lost",
        SlowDisk = "slow-disk": "each sync of its log takes `extra` longer",
        SlowLink = "slow-link": "everything that it sends arrives `extra` later",
        Slow = "slow": "it works at 1/`factor` of its speed",
        Transfer = "transfer": "the leader hands over to the next replica",
    }
}

names! {
    /// How a node waits for input.
    Wait {
        Block = "block": "sleeps in the kernel until something arrives",
        Spin = "spin": "polls without end: lower latency for a whole core",
        Yield = "yield": "polls, and lets others have the core between two looks: for fewer cores than threads",
    }
}

impl Wait {
    /// Whether a node looks again and again, and is busy whether or not there is something to do.
    pub fn polls(self) -> bool {
        self != Self::Block
    }
}

names! {
    /// Which core a node's thread runs on.
    Pin {
        Spread = "spread": "each thread on a core of its own; where there are too few, round robin over them",
        Off = "off": "wherever the kernel puts it, which may differ from run to run",
    }
}

names! {
    /// What replicas and clients are to each other.
    Placement {
        Threads = "threads": "threads of one process: nothing between them but the transport",
        Processes = "processes": "processes of their own, each with its memory and allocator, as where they are deployed",
    }
}

names! {
    /// When clients send: the kind of an [`Arrival`](super::Arrival).
    ArrivalName {
        Poisson = "poisson": "open loop, exponential gaps: independent users",
        Constant = "constant": "open loop, equal gaps",
        Closed = "closed": "closed loop, a fixed number in flight: finds peak throughput, hides queueing",
    }
}

names! {
    /// How reads are answered.
    ReadsMode {
        Log = "log": "through the log, like writes: linearizable, at the price of a write",
        Index = "index": "by the leader, or under zab any replica that asks it, once a majority says that it still leads: linearizable, a round trip for many reads",
        Lease = "lease": "by the leader, at once while it holds a lease: linearizable if clocks run within 1 % of true time",
        Stale = "stale": "by any replica, once it has what the client has seen: may lag behind others, but no client's reads go back or miss what it wrote",
    }
}

impl ReadsMode {
    /// What a protocol is asked for; `None` for reads through the log.
    pub const fn beside_the_log(self) -> Option<ReadMode> {
        match self {
            Self::Log => None,
            Self::Index => Some(ReadMode::Index),
            Self::Lease => Some(ReadMode::Lease),
            Self::Stale => Some(ReadMode::Stale),
        }
    }

    /// Whether any replica may answer.
    pub const fn is_anywhere(self, protocol: ProtocolName) -> bool {
        match self {
            Self::Stale => true,
            Self::Index => protocol.has_sync(),
            Self::Log | Self::Lease => false,
        }
    }
}

names! {
    /// How an update spreads.
    Style {
        DirectMail = "direct-mail": "the origin posts to everyone, once",
        AntiEntropy = "anti-entropy": "each node resolves differences with partners every round, for ever",
        Rumor = "rumor": "each node that hears it spreads it, until it loses interest",
        MedianCounter = "median-counter": "each node calls another, and both send, until counters say that it is old",
        Plumtree = "plumtree": "a tree in an overlay carries it, and the other links announce it",
    }
}

impl Style {
    /// True where each node chooses partners in each of its cycles.
    pub const fn chooses_partners(self) -> bool {
        matches!(self, Self::AntiEntropy | Self::Rumor | Self::MedianCounter)
    }

    /// True of those in which the rules of a contact can be chosen (Demers et al. 1987).
    pub const fn has_contacts(self) -> bool {
        matches!(self, Self::AntiEntropy | Self::Rumor)
    }
}

names! {
    /// Which nodes a node chooses among those that it may talk to.
    PartnerChoice {
        Uniform = "uniform": "any, with the same probability",
        NotSender = "not-sender": "any but the one that it has the update from",
        NotSent = "not-sent": "any that it has not sent the update to, while there are such",
        Ring = "ring": "on a ring, with a probability that falls with the distance",
        Grid = "grid": "on a square grid without an edge, with a probability that falls with the distance",
    }
}

impl PartnerChoice {
    /// True where nodes have places, and distances.
    pub const fn is_spatial(self) -> bool {
        matches!(self, Self::Ring | Self::Grid)
    }

    /// True where nodes remember where an update came from, or went.
    pub const fn remembers(self) -> bool {
        matches!(self, Self::NotSender | Self::NotSent)
    }
}

names! {
    /// Whom a node may talk to.
    View {
        Full = "full": "everyone",
        Partial = "partial": "a few, its active view, that HyParView keeps",
    }
}

names! {
    /// When nodes have their turns.
    Rounds {
        Synchronous = "synchronous": "all at once, in cycles",
        Asynchronous = "asynchronous": "each by a clock and at a phase of its own",
    }
}

names! {
    /// Which way an update goes in a contact.
    Exchange {
        Push = "push": "from the node that chose its partner",
        Pull = "pull": "to the node that chose its partner",
        PushPull = "push-pull": "both ways",
    }
}

impl Exchange {
    /// True if it goes to the partner.
    pub const fn pushes(self) -> bool {
        !matches!(self, Self::Pull)
    }

    /// True if it comes from the partner.
    pub const fn pulls(self) -> bool {
        !matches!(self, Self::Push)
    }
}

names! {
    /// What makes a node lose interest in a rumor.
    Interest {
        Feedback = "feedback": "contacts who knew it already",
        Blind = "blind": "time alone, whatever the contacts knew",
    }
}

names! {
    /// How a node loses interest.
    Stop {
        Counter = "counter": "after k of them",
        Coin = "coin": "with probability 1/k after each",
    }
}

names! {
    /// When it is judged whether a contact knew the update.
    Judging {
        Snapshot = "snapshot": "at the start of the cycle: of two who tell one node in a cycle, both were useful",
        Arrival = "arrival": "when the update arrives: of two who tell one node in a cycle, the first was useful",
    }
}

names! {
    /// How those count who pulled a rumor from one node in one cycle, and knew it.
    Pulls {
        Together = "together": "once a cycle, unless the node was of use to anyone",
        Each = "each": "each by itself, as each does that is told in vain",
    }
}

names! {
    /// When a node acts on an update that it has got.
    Acts {
        NextCycle = "next-cycle": "from the next cycle",
        SameCycle = "same-cycle": "at once: it answers, and has its turn if that is still to come",
    }
}

names! {
    /// When a blind node tosses its coin.
    Toss {
        After = "after": "after each cycle in which it sent",
        Before = "before": "before each cycle: if it loses, it sends nothing any more",
    }
}

names! {
    /// What is replicated.
    CrdtType {
        GCounter = "g-counter": "a counter that only grows",
        PnCounter = "pn-counter": "a counter that goes up and down",
        OrSet = "or-set": "a set in which an addition wins over a concurrent removal",
        LwwMap = "lww-map": "a map in which the last write to a key wins",
    }
}

names! {
    /// What replicas send each other.
    SyncName {
        State = "state": "all that they know, in every round",
        Delta = "delta": "what is new, until it is acknowledged",
        Op = "op": "operations, delivered once each and after their causes",
    }
}

names! {
    /// Who is whose neighbour.
    Topology {
        Ring = "ring": "each has two",
        Tree = "tree": "a binary tree: there is one way from each to each",
        Mesh = "mesh": "a ring in which each has those at its side, and those at theirs, up to `degree`",
        Random = "random": "a ring, and links by chance between any two, until each has `degree` on average",
        Full = "full": "everybody is everybody's",
    }
}

impl Topology {
    /// True where it says how many neighbours there are.
    pub const fn has_degree(self) -> bool {
        matches!(self, Self::Mesh | Self::Random)
    }
}

names! {
    /// How two databases find out in what they differ.
    DigestName {
        Whole = "whole": "all is sent",
        Checksum = "checksum": "checksums first, and all if they disagree",
        Recent = "recent": "what was written in the last `window` rounds first, then checksums, and then all",
        PeelBack = "peel-back": "the latest first, until checksums agree",
    }
}

names! {
    /// What is left of an item that is deleted.
    DeletionName {
        None = "none": "nothing: an old copy that turns up is as good as a new item",
        Certificates = "certificates": "a death certificate, for `retention` rounds",
        Dormant = "dormant": "a death certificate, which `sites` keep for `dormant` rounds more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for &protocol in ProtocolName::ALL {
            assert_eq!(ProtocolName::named(protocol.name()), Some(protocol));
            assert_eq!(protocol.is_floor(), protocol.purpose().starts_with("floor: "));
        }
        assert_eq!(TransportName::named("tokio-tcp"), Some(TransportName::TokioTcp));
        assert_eq!(MachineName::named("Null"), None, "names are exact");
        assert_eq!(format!("{:>6}|{:<6}", Wait::Spin, Wait::Block), "  spin|block ");
    }
}
