//! `[gossip]`: how an update spreads, and what no gossip may be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expand::Conflict;
use super::keys;
use super::names::{Exchange, Interest, Judging, ProtocolName, Stop, Style, TransportName};
use super::point::{Cluster, Point};
use super::units::duration_text;

/// How an update spreads. `docs/gossip.md` has the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gossip {
    /// Once, for ever, or for as long as it is of interest.
    pub style: Style,
    /// Which way it goes in a contact.
    pub exchange: Exchange,
    /// What makes a node lose interest in a rumor.
    pub interest: Interest,
    /// How it loses it.
    pub stop: Stop,
    /// After how many useless contacts, or cycles, or with what probability after each: 1/k.
    pub k: usize,
    /// Partners that a node chooses in a cycle.
    pub fanout: usize,
    /// Contacts that a node accepts in a cycle; `None` for all.
    pub connection_limit: Option<usize>,
    /// Other partners that a node tries when one does not accept; `None` for as many as it takes.
    pub hunt_limit: Option<usize>,
    /// Whether of two who both know a rumor only the smaller counter rises.
    pub minimize: bool,
    /// When it is judged whether a contact knew the update.
    pub judging: Judging,
    /// Whether a useful contact sets the counter back to zero.
    pub reset: bool,
    /// How long a cycle is.
    pub interval: Duration,
    /// Epidemics of each point.
    pub trials: usize,
    /// Bytes of the update.
    pub payload: usize,
    /// The share of updates sent that are lost.
    pub loss: f64,
}

impl Gossip {
    pub(super) const fn blank() -> Self {
        Self {
            style: Style::ALL[0],
            exchange: Exchange::ALL[0],
            interest: Interest::ALL[0],
            stop: Stop::ALL[0],
            k: 0,
            fanout: 0,
            connection_limit: None,
            hunt_limit: None,
            minimize: false,
            judging: Judging::ALL[0],
            reset: false,
            interval: Duration::ZERO,
            trials: 0,
            payload: 0,
            loss: 0.0,
        }
    }

    /// About how long all trials take: to be read as minutes or days, not more exactly.
    pub fn takes(&self, cluster: &Cluster) -> Duration {
        match cluster.transport {
            TransportName::Population => self.estimate(cluster.nodes),
            // A contact is a few messages among state machines.
            TransportName::Sim => self.estimate(cluster.nodes) * 50,
            // A trial waits for its cycles: twice as many as it takes to reach everyone, and a moment to begin.
            _ => {
                let cycles = 2.0 + 2.0 * (cluster.nodes as f64).log2() / (1.0 - self.loss);
                let cycles = if self.style == Style::DirectMail { 1.0 } else { cycles };
                (self.interval.mul_f64(cycles) + Duration::from_millis(30)) * self.trials as u32
            }
        }
    }

    /// About how long all trials over a population of so many take on one core.
    pub fn estimate(&self, nodes: usize) -> Duration {
        let doublings = (nodes as f64).log2();
        let turns = match self.style {
            Style::DirectMail => 1.0,
            Style::AntiEntropy => 2.0 * doublings,
            // By push alone a node has only its own turns, and few of these.
            Style::Rumor if !self.exchange.pulls() => 2.0 + self.k as f64,
            Style::Rumor => 2.0 * doublings + self.k as f64,
        };
        // A contact among them is a few nanoseconds, or a miss of the cache where nodes have to queue for each other.
        let contact_ns = if self.connection_limit.is_some() { 100.0 } else { 10.0 };
        let contacts = turns / (1.0 - self.loss) * self.fanout as f64 * nodes as f64 * self.trials as f64;
        Duration::from_secs_f64(contacts * contact_ns / 1e9)
    }
}

/// What no gossip may be, nor anything else that is run as gossip is.
pub(super) fn conflict(point: &Point) -> Option<Conflict> {
    let gossips = point.cluster.protocol.is_gossip();
    runs_there(point).or_else(|| {
        let checks = [
            machines_fit,
            hosts_exist,
            partners_exist,
            hunts_are_needed,
            counters_are_compared,
            judges_listen,
            ends_in_time,
        ];
        checks.into_iter().filter(|_| gossips).find_map(|check| check(point))
    })
}

fn runs_there(point: &Point) -> Option<Conflict> {
    let (protocol, transport) = (point.cluster.protocol, point.cluster.transport);
    (!protocol.is_gossip() && transport == TransportName::Population).then(|| Conflict {
        keys: [&keys::TRANSPORT, &keys::PROTOCOL],
        message: format!(
            "{} \"{transport}\" with {} \"{protocol}\": a population only gossips",
            keys::TRANSPORT,
            keys::PROTOCOL
        ),
        help: format!("set {} to \"{}\", or use another transport", keys::PROTOCOL, ProtocolName::Gossip),
    })
}

/// Most nodes that are state machines of their own.
const MOST_MACHINES: usize = 100_000;

fn machines_fit(point: &Point) -> Option<Conflict> {
    let (nodes, transport) = (point.cluster.nodes, point.cluster.transport);
    (transport != TransportName::Population && nodes > MOST_MACHINES).then(|| Conflict {
        keys: [&keys::NODES, &keys::TRANSPORT],
        message: format!(
            "{} {nodes} with {} \"{transport}\", where each is a state machine of its own",
            keys::NODES,
            keys::TRANSPORT
        ),
        help: format!("it can be at most {MOST_MACHINES}, or {} \"{}\"", keys::TRANSPORT, TransportName::Population),
    })
}

/// Nodes are on hosts, and talk across them.
fn hosts_exist(point: &Point) -> Option<Conflict> {
    let (hosts, nodes) = (point.cluster.hosts, point.cluster.nodes);
    let conflict = |message, help| Some(Conflict { keys: [&keys::HOSTS, &keys::NODES], message, help });
    match hosts {
        1 => conflict(
            format!("{} 1: nothing would go over the transport", keys::HOSTS),
            format!("set it to at least 2, or {} to \"{}\"", keys::TRANSPORT, TransportName::Sim),
        ),
        _ if hosts > nodes => conflict(
            format!("{} {hosts} for {} {nodes}: some would have none", keys::HOSTS, keys::NODES),
            format!("it can be at most {nodes}"),
        ),
        _ => None,
    }
}

/// Partners of one cycle are different nodes, and all of them others.
fn partners_exist(point: &Point) -> Option<Conflict> {
    let (fanout, nodes) = (point.gossip.fanout, point.cluster.nodes);
    (point.gossip.style != Style::DirectMail && fanout >= nodes).then(|| Conflict {
        keys: [&keys::FANOUT, &keys::NODES],
        message: format!(
            "{} {fanout} of {} {nodes}: a node has only {} others to choose from",
            keys::FANOUT,
            keys::NODES,
            nodes - 1
        ),
        help: format!("it can be at most {}", nodes - 1),
    })
}

fn hunts_are_needed(point: &Point) -> Option<Conflict> {
    let gossip = &point.gossip;
    (gossip.hunt_limit != Some(0) && gossip.connection_limit.is_none()).then(|| Conflict {
        keys: [&keys::HUNT_LIMIT, &keys::CONNECTION_LIMIT],
        message: format!("{} where everyone accepts: nobody ever hunts", keys::HUNT_LIMIT),
        help: format!("leave it out, or set {} to 1", keys::CONNECTION_LIMIT),
    })
}

fn counters_are_compared(point: &Point) -> Option<Conflict> {
    let Gossip { minimize, exchange, .. } = point.gossip;
    (minimize && exchange != Exchange::PushPull).then(|| Conflict {
        keys: [&keys::MINIMIZE, &keys::EXCHANGE],
        message: format!(
            "{} with {} \"{exchange}\": there are no two counters to compare",
            keys::MINIMIZE,
            keys::EXCHANGE
        ),
        help: format!("it goes with {} \"{}\"", keys::EXCHANGE, Exchange::PushPull),
    })
}

fn judges_listen(point: &Point) -> Option<Conflict> {
    let Gossip { style, interest, judging, .. } = point.gossip;
    let in_vain = style == Style::Rumor && interest == Interest::Blind && judging != Judging::Snapshot;
    in_vain.then(|| Conflict {
        keys: [&keys::JUDGING, &keys::INTEREST],
        message: format!(
            "{} \"{judging}\" with {} \"{interest}\": nobody hears what contacts knew",
            keys::JUDGING,
            keys::INTEREST
        ),
        help: format!("leave it out, or set {} to \"{}\"", keys::INTEREST, Interest::Feedback),
    })
}

/// Longer than this for one point is a slip: the hour is better spent on several.
const LONGEST: Duration = Duration::from_secs(60 * 60);

fn ends_in_time(point: &Point) -> Option<Conflict> {
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    let takes = gossip.takes(&point.cluster);
    (takes > LONGEST).then(|| {
        let fit = gossip.trials as f64 * LONGEST.as_secs_f64() / takes.as_secs_f64();
        Conflict {
            keys: [&keys::TRIALS, &keys::NODES],
            message: format!(
                "{} {} over {} {nodes} would take about {:.0} hours",
                keys::TRIALS,
                gossip.trials,
                keys::NODES,
                takes.as_secs_f64() / 3600.0
            ),
            help: match fit as u64 {
                0 => format!("a point may take {}: lower {}", duration_text(LONGEST), keys::NODES),
                fit => format!("a point may take {}: {} can be about {fit}", duration_text(LONGEST), keys::TRIALS),
            },
        }
    })
}
