//! Where a key means something: what other keys must say for it.

use super::keys::{
    ARRIVAL, CONNECTION_LIMIT, CRASH, DURABILITY, EMULATION, EXCHANGE, GROUPS, INTEREST, JITTER, Key, LOSS, MACHINE,
    PARTNERS, PROTOCOL, REORDER, ROUNDS, STOP, STYLE, TRANSPORT, VIEW,
};
use super::keys::{CRDT_TYPE, DELETION, DIGEST, PARTITION, SYNC_KIND, TOPOLOGY};
use super::names::{
    ArrivalName, Durability, Emulation, Exchange, Interest, MachineName, PartnerChoice, ProtocolName, Rounds, Stop,
    Style, TransportName, View,
};
use super::names::{CrdtType, DeletionName, DigestName, SyncName, Topology};
use super::parse;
use super::value::{Kind, Value};

/// Where a key means something. Elsewhere its values make no points, and its default holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// Everywhere that its section does.
    Always,
    /// With a protocol that orders commands.
    Ordered,
    /// With gossip.
    Gossip,
    /// With gossip on a real transport.
    Hosts,
    /// With gossip of more than one round.
    Lasting,
    /// With gossip whose nodes choose partners.
    Partners,
    /// With gossip in which it can be chosen what a contact is.
    Epidemic,
    /// With such gossip, where all have their turns at once.
    Cycles,
    /// With such gossip, where each node has a clock of its own, and trips take the time that they are given.
    Delayed,
    /// With gossip on no real transport.
    Imagined,
    /// With partners at a distance.
    Spatial,
    /// With gossip over an overlay.
    PartialView,
    /// With a tree.
    Tree,
    /// With a tree that one broadcast after the other grows: on real transports a trial has only the first.
    Grown,
    /// With nodes that crash.
    Crash,
    /// With rumors.
    Rumor,
    /// With rumors that are lost interest in for what contacts knew.
    Feedback,
    /// With such rumors, where some are asked for.
    Pulled,
    /// With such rumors, where contacts are counted.
    Counted,
    /// With such counts, of both ends of a contact.
    Compared,
    /// With rumors that are lost interest in with time alone.
    Blind,
    /// With such rumors, by a coin.
    Tossed,
    /// With gossip in cycles, where a node may be refused.
    Refused,
    /// With gossip in cycles, unless nodes care nothing for what contacts knew.
    Judged,
    /// With whatever orders nothing.
    Unordered,
    /// With replicas that reconcile.
    Replicated,
    /// With a replicated data type.
    Crdt,
    /// With a replicated database.
    Database,
    /// With such a type, or the database, of many elements.
    Keyed,
    /// With a type whose updates may take away.
    Removals,
    /// With deltas.
    Delta,
    /// With a topology that has as many neighbours as you like.
    Degree,
    /// With a list of recent updates.
    RecentList,
    /// With peeling back.
    PeelBack,
    /// With death certificates.
    Certificates,
    /// With dormant ones.
    DormantCertificates,
    /// With replicas that are cut off for a while.
    Partition,
    /// With an open loop.
    OpenLoop,
    /// With a closed loop.
    ClosedLoop,
    /// With a protocol that has no leader.
    Leaderless,
    /// With a protocol that has observers.
    Observers,
    /// With the key-value machine.
    Kv,
    /// With a protocol whose quorums need not be majorities.
    Quorums,
    /// With a transport on sockets.
    Sockets,
    /// With a transport on TCP.
    Tcp,
    /// With the transport on QUIC.
    Quic,
    /// With the transport on QUIC, between nodes of several consensus groups.
    Streams,
    /// With several consensus groups.
    ManyGroups,
    /// With the transport on `io_uring`.
    Uring,
    /// With threads, and not in virtual time.
    Threads,
    /// In virtual time.
    Sim,
    /// With nodes that talk over links: where commands are ordered, or updates told.
    Talking,
    /// With such nodes on a real transport.
    Emulable,
    /// With links that are made worse than they are.
    Emulated,
    /// The same, or in virtual time, where all links are what they are made.
    Links,
    /// The same for whoever talks over links. In virtual time gossip has none.
    Ways,
    /// With commands that are ordered, or links that are made worse than they are.
    Shaped,
    /// With links that carry packets.
    Packets,
    /// With links that have jitter.
    Jitter,
    /// With links that lose.
    Loss,
    /// With links that hold back.
    Reorder,
    /// With a protocol that writes a log.
    Log,
    /// With a log on a disk.
    Disk,
    /// With a log on a disk that is synced.
    Synced,
}

impl Applies {
    /// True where the protocol decides.
    pub fn asks_the_protocol(self) -> bool {
        let decides = |rule: &Rule| std::ptr::eq(rule.key, &raw const PROTOCOL) || rule.key.applies.asks_the_protocol();
        self.rules().iter().any(decides)
    }

    /// True of what only gossip has.
    pub(super) fn asks_for_gossip(self) -> bool {
        matches!(
            self,
            Self::Gossip
                | Self::Hosts
                | Self::Lasting
                | Self::Partners
                | Self::Epidemic
                | Self::Cycles
                | Self::Delayed
                | Self::Imagined
                | Self::Spatial
                | Self::PartialView
                | Self::Tree
                | Self::Grown
                | Self::Crash
                | Self::Rumor
                | Self::Feedback
                | Self::Pulled
                | Self::Counted
                | Self::Compared
                | Self::Blind
                | Self::Tossed
                | Self::Refused
                | Self::Judged
        )
    }

    /// True of what gossip has as well as what orders commands.
    pub(super) fn asks_for_links(self) -> bool {
        matches!(self, Self::Talking | Self::Emulable | Self::Ways | Self::Shaped | Self::Jitter | Self::Reorder)
    }

    /// True of what only replicas that reconcile have, or these and gossip.
    pub(super) fn asks_for_replicas(self) -> bool {
        matches!(
            self,
            Self::Unordered
                | Self::Replicated
                | Self::Crdt
                | Self::Database
                | Self::Keyed
                | Self::Removals
                | Self::Delta
                | Self::Degree
                | Self::RecentList
                | Self::PeelBack
                | Self::Certificates
                | Self::DormantCertificates
                | Self::Partition
        )
    }

    /// What else must hold.
    pub(super) const fn also(self) -> Self {
        match self {
            Self::Pulled | Self::Counted => Self::Feedback,
            Self::Tossed => Self::Blind,
            Self::Compared => Self::Counted,
            Self::Grown => Self::Tree,
            Self::Delayed => Self::Imagined,
            Self::Refused | Self::Judged => Self::Cycles,
            Self::Hosts => Self::Gossip,
            Self::Streams => Self::ManyGroups,
            Self::Ways => Self::Shaped,
            Self::Emulable | Self::Shaped | Self::Jitter | Self::Reorder => Self::Talking,
            _ => Self::Always,
        }
    }

    /// What decides: any of them will do. None for what means something everywhere.
    pub(super) fn rules(self) -> Vec<Rule> {
        let (key, allows): (&'static Key, fn(&str) -> bool) = match self {
            Self::Always => return Vec::new(),
            Self::Ordered => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(ProtocolName::orders)),
            Self::Talking => {
                (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(|each| each.orders() || each.is_gossip()))
            }
            Self::Unordered => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(|each| !each.orders())),
            Self::Replicated => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(ProtocolName::reconciles)),
            Self::Crdt => (&PROTOCOL, |name| name == ProtocolName::Crdt.name()),
            Self::Database => (&PROTOCOL, |name| name == ProtocolName::Database.name()),
            Self::Keyed => {
                let keyed = |name: &str| [CrdtType::OrSet.name(), CrdtType::LwwMap.name()].contains(&name);
                return [vec![Rule { key: &CRDT_TYPE, allows: Allows::Names(keyed) }], Self::Database.rules()].concat();
            }
            Self::Removals => (&CRDT_TYPE, |name| name != CrdtType::GCounter.name()),
            Self::Delta => (&SYNC_KIND, |name| name == SyncName::Delta.name()),
            Self::Degree => (&TOPOLOGY, |name| Topology::named(name).is_some_and(Topology::has_degree)),
            Self::RecentList => (&DIGEST, |name| name == DigestName::Recent.name()),
            Self::PeelBack => (&DIGEST, |name| name == DigestName::PeelBack.name()),
            Self::Certificates => (&DELETION, |name| name != DeletionName::None.name()),
            Self::DormantCertificates => (&DELETION, |name| name == DeletionName::Dormant.name()),
            Self::Partition => return vec![Rule::more_than_nothing(&PARTITION)],
            Self::Gossip => (&PROTOCOL, |name| name == ProtocolName::Gossip.name()),
            Self::Lasting => (&STYLE, |name| name != Style::DirectMail.name()),
            Self::Partners => (&STYLE, |name| Style::named(name).is_some_and(Style::chooses_partners)),
            Self::Epidemic => (&STYLE, |name| Style::named(name).is_some_and(Style::has_contacts)),
            Self::Cycles => (&ROUNDS, |name| name == Rounds::Synchronous.name()),
            Self::Delayed => (&ROUNDS, |name| name == Rounds::Asynchronous.name()),
            Self::Spatial => (&PARTNERS, |name| PartnerChoice::named(name).is_some_and(PartnerChoice::is_spatial)),
            Self::PartialView => {
                let partial = Rule { key: &VIEW, allows: Allows::Names(|name| name == View::Partial.name()) };
                return [vec![partial], Self::Tree.rules()].concat();
            }
            Self::Tree => (&STYLE, |name| name == Style::Plumtree.name()),
            Self::Grown | Self::Imagined => {
                (&TRANSPORT, |name| TransportName::named(name).is_some_and(|each| !each.is_real()))
            }
            Self::Crash => return vec![Rule::more_than_nothing(&CRASH)],
            Self::Rumor => (&STYLE, |name| name == Style::Rumor.name()),
            Self::Feedback => (&INTEREST, |name| name == Interest::Feedback.name()),
            Self::Pulled => (&EXCHANGE, |name| Exchange::named(name).is_some_and(Exchange::pulls)),
            Self::Blind => (&INTEREST, |name| name == Interest::Blind.name()),
            Self::Tossed => (&STOP, |name| name == Stop::Coin.name()),
            Self::Counted => (&STOP, |name| name == Stop::Counter.name()),
            Self::Compared => (&EXCHANGE, |name| name == Exchange::PushPull.name()),
            Self::Refused => return vec![Rule { key: &CONNECTION_LIMIT, allows: Allows::Numbers }],
            Self::Judged => {
                let cares =
                    |name: &str| Style::named(name).is_some_and(|style| style.has_contacts() && style != Style::Rumor);
                return [Self::Feedback.rules(), vec![Rule { key: &STYLE, allows: Allows::Names(cares) }]].concat();
            }
            Self::OpenLoop => (&ARRIVAL, |name| name != ArrivalName::Closed.name()),
            Self::ClosedLoop => (&ARRIVAL, |name| name == ArrivalName::Closed.name()),
            Self::Leaderless => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(ProtocolName::is_leaderless)),
            Self::Observers => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(ProtocolName::has_observers)),
            Self::Quorums => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(ProtocolName::has_quorums)),
            Self::Kv => (&MACHINE, |name| name == MachineName::Kv.name()),
            Self::Sockets => (&TRANSPORT, |name| TransportName::named(name).is_some_and(TransportName::has_sockets)),
            Self::Tcp => (&TRANSPORT, |name| TransportName::named(name).is_some_and(TransportName::is_tcp)),
            Self::Quic | Self::Streams => (&TRANSPORT, |name| name == TransportName::Quic.name()),
            Self::Uring => (&TRANSPORT, |name| name == TransportName::Uring.name()),
            Self::Threads | Self::Hosts | Self::Emulable => {
                (&TRANSPORT, |name| TransportName::named(name).is_some_and(TransportName::is_real))
            }
            Self::Sim => (&TRANSPORT, |name| name == TransportName::Sim.name()),
            Self::Emulated => (&EMULATION, |name| name != Emulation::None.name()),
            Self::Packets => (&EMULATION, |name| name == Emulation::Packets.name()),
            Self::Links | Self::Ways => return [Self::Sim.rules(), Self::Emulated.rules()].concat(),
            Self::Shaped => return [Self::Ordered.rules(), Self::Emulated.rules()].concat(),
            Self::ManyGroups => return vec![Rule::more_than_nothing(&GROUPS)],
            Self::Jitter => return vec![Rule::more_than_nothing(&JITTER)],
            Self::Loss => return vec![Rule::more_than_nothing(&LOSS)],
            Self::Reorder => return vec![Rule::more_than_nothing(&REORDER)],
            Self::Log => (&PROTOCOL, |name| ProtocolName::named(name).is_some_and(ProtocolName::has_log)),
            Self::Disk => (&DURABILITY, |name| name != Durability::None.name()),
            Self::Synced => (&DURABILITY, |name| name == Durability::Fsync.name()),
        };
        vec![Rule { key, allows: Allows::Names(allows) }]
    }
}

/// Another key's value decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Which key's: one of an earlier row, that may be a list.
    pub(super) key: &'static Key,
    allows: Allows,
}

/// Which of its values will do.
#[derive(Clone, Copy, Debug)]
enum Allows {
    /// Some of the names that it chooses between.
    Names(fn(&str) -> bool),
    /// Any but its default, which is nothing.
    MoreThanNothing,
    /// Limits that are numbers.
    Numbers,
}

impl Rule {
    const fn more_than_nothing(key: &'static Key) -> Self {
        Self { key, allows: Allows::MoreThanNothing }
    }

    pub(super) fn allows(self, value: &Value) -> bool {
        match (self.allows, value) {
            (Allows::Names(allows), Value::Choice(name)) => allows(name),
            (Allows::Names(_), _) => false,
            (Allows::Numbers, value) => *value != Value::Unlimited,
            (Allows::MoreThanNothing, value) => Some(value) != parse::default(self.key).as_ref(),
        }
    }

    /// What it allows, as the end of "set it to ...".
    pub(super) fn allowed(self) -> String {
        match self.key.kind {
            Kind::Choice(choices) => {
                let choices = choices.iter().map(|choice| Value::Choice(choice.name));
                listed(&choices.filter(|value| self.allows(value)).collect::<Vec<_>>())
            }
            _ if matches!(self.allows, Allows::Numbers) => "a number".into(),
            _ => format!("more than {}", listed(parse::default(self.key).as_slice())),
        }
    }
}

/// As it would be written: one, or one of several.
pub(super) fn listed(values: &[Value]) -> String {
    values.iter().map(Value::to_toml).collect::<Vec<_>>().join(" or ")
}
