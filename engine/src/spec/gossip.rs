//! `[gossip]`: how an update spreads, and what no gossip may be.

mod links;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expand::Conflict;
use super::keys::{self, Key};
use super::names::{
    Acts, Exchange, Interest, Judging, PartnerChoice, ProtocolName, Pulls, Rounds, Stop, Style, Toss, TransportName,
    View,
};
use super::point::Point;
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
    /// Which nodes a node chooses.
    pub partners: PartnerChoice,
    /// a: the probability of a partner at a distance d falls as d^-a.
    pub exponent: f64,
    /// Whom a node may talk to.
    pub view: View,
    /// Nodes in an active view.
    pub view_size: usize,
    /// Nodes in a passive view.
    pub passive_size: usize,
    /// Updates of a trial over a tree, of which the last is measured.
    pub broadcasts: usize,
    /// Cycles until a node asks for what was announced.
    pub graft_timeout: usize,
    /// When nodes have their turns.
    pub rounds: Rounds,
    /// How long a message is under way in asynchronous rounds, on average.
    pub latency: Duration,
    /// Updates that spread at once.
    pub rumors: usize,
    /// The share of the nodes that crash in a cycle.
    pub crash: f64,
    /// The share of the nodes that join in a cycle.
    pub join: f64,
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
    /// How those count who pull from one node in a cycle and knew.
    pub pulls: Pulls,
    /// When a blind node tosses its coin.
    pub toss: Toss,
    /// When a node acts on an update that it has got.
    pub acts: Acts,
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
            partners: PartnerChoice::ALL[0],
            exponent: 0.0,
            view: View::ALL[0],
            view_size: 0,
            passive_size: 0,
            broadcasts: 0,
            graft_timeout: 0,
            rounds: Rounds::ALL[0],
            latency: Duration::ZERO,
            rumors: 0,
            crash: 0.0,
            join: 0.0,
            connection_limit: None,
            hunt_limit: None,
            minimize: false,
            judging: Judging::ALL[0],
            reset: false,
            pulls: Pulls::ALL[0],
            toss: Toss::ALL[0],
            acts: Acts::ALL[0],
            interval: Duration::ZERO,
            trials: 0,
            payload: 0,
            loss: 0.0,
        }
    }

    /// Whether nodes know only some of the others.
    pub fn is_partial(&self) -> bool {
        self.view == View::Partial || self.style == Style::Plumtree
    }

    /// How long a message is under way on average, where a cycle is so many ticks: to the next of them.
    pub(crate) fn mean_trip(&self, cycle: u64) -> u64 {
        (self.trips() * cycle as f64).round() as u64
    }

    /// How many cycles a message is under way on average.
    fn trips(&self) -> f64 {
        self.latency.as_secs_f64() / self.interval.as_secs_f64()
    }

    /// About how long all trials take: to be read as minutes or days, not more exactly.
    pub fn takes(&self, point: &Point) -> Duration {
        let cluster = &point.cluster;
        match cluster.transport {
            TransportName::Population => self.estimate(cluster.nodes, 1.0),
            // A contact is a few messages among state machines, and each partner is looked for among those before it.
            TransportName::Sim => {
                let crowded = 1.0 + (self.fanout as f64 / 32.0).powi(2);
                self.estimate(cluster.nodes, 50.0 * crowded)
            }
            // A trial waits for its cycles, and a moment to begin; a tree has one broadcast.
            _ => {
                let cycles = Self { broadcasts: 1, ..self.clone() }.cycles(cluster.nodes);
                let cycles = cycles * point.stretch();
                (self.interval.mul_f64(2.0 + cycles) + Duration::from_millis(30)) * self.trials as u32
            }
        }
    }

    /// The cycle in which an epidemic among so many ends whatever happens, where it might go on for ever.
    pub(crate) fn last_cycle(nodes: usize) -> u64 {
        10 * u64::from(nodes.ilog2() + 1)
    }

    /// About how many cycles a trial has: twice as many as it takes to reach everyone, and those until all lose interest.
    fn cycles(&self, nodes: usize) -> f64 {
        // Who joins knows nothing, so it is never over before.
        if self.style == Style::AntiEntropy && self.join > 0.0 {
            return Self::last_cycle(nodes) as f64;
        }
        let nodes = nodes as f64;
        // Near partners alone carry an update no further than they are. Beyond a distribution that falls with distance as
        // fast as places get more, the cycles grow with a power of the nodes; measured on rings and grids, and rounded up.
        let dimension = if self.partners == PartnerChoice::Grid { 2.0 } else { 1.0 };
        let nearness = ((self.exponent - dimension) / (2.0 * dimension)).clamp(0.0, 1.6);
        let is_spatial = matches!(self.partners, PartnerChoice::Ring | PartnerChoice::Grid);
        let detour = if is_spatial { nodes.powf(0.6 * nearness / dimension) } else { 1.0 };
        // A contact is up to three trips.
        let reach = 2.0 * nodes.log2() * detour * (1.0 + 3.0 * self.trips()) / (1.0 - self.loss);
        match self.style {
            Style::DirectMail => 1.0,
            Style::Plumtree => reach * self.broadcasts as f64,
            Style::AntiEntropy | Style::MedianCounter => reach,
            Style::Rumor => reach + self.k as f64,
        }
    }

    /// About how long all trials among so many take on one core, where a contact takes `slower` times as long as over a
    /// population. Views are kept in the same way everywhere.
    fn estimate(&self, nodes: usize, slower: f64) -> Duration {
        let doublings = (nodes as f64).log2();
        let turns = match self.style {
            // Announcements, grafts and all, over every link.
            Style::Plumtree => 2.0 * (self.view_size * self.broadcasts) as f64,
            // By push alone a node has only its own turns, and few of these.
            Style::Rumor if !self.exchange.pulls() => 2.0 + self.k as f64,
            _ => self.cycles(nodes),
        };
        // A contact among them is a few nanoseconds, or a miss of the cache where nodes have to queue for each other.
        let is_plain = self.connection_limit.is_none()
            && self.acts == Acts::NextCycle
            && self.partners == PartnerChoice::Uniform
            && !self.is_partial();
        let contact_ns = slower * if is_plain { 10.0 } else { 100.0 };
        let contacts = turns * (self.fanout * self.rumors) as f64;
        // To join, to settle, and to keep a view while others come and go: with a tree, in the last broadcast.
        let lasts = if self.style == Style::Plumtree { 20.0 } else { 10.0 * doublings };
        let cycles = if self.crash > 0.0 { lasts } else { 0.0 };
        let view_ns = if self.is_partial() { 30_000.0 + 4_000.0 * cycles } else { 5.0 * slower * cycles };
        Duration::from_secs_f64((contacts * contact_ns + view_ns) * nodes as f64 * self.trials as f64 / 1e9)
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
            hunts_are_uniform,
            senders_push,
            one_is_remembered,
            trips_fit,
            places_exist,
            views_hold_together,
            views_fit,
            rumors_fit,
            cycles_hold_trips,
            links::conflict,
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
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    let others = nodes - 1;
    let (key, many, most, why) = if gossip.is_partial() && gossip.view_size > others {
        (&keys::VIEW_SIZE, gossip.view_size, others, "there are")
    } else if gossip.view == View::Partial && gossip.fanout > gossip.view_size {
        (&keys::FANOUT, gossip.fanout, gossip.view_size, "a view has")
    } else if gossip.style.chooses_partners() && gossip.fanout > others {
        (&keys::FANOUT, gossip.fanout, others, "a node has")
    } else {
        return None;
    };
    let (other, value) = if most == others { (&keys::NODES, nodes) } else { (&keys::VIEW_SIZE, gossip.view_size) };
    Some(Conflict {
        keys: [key, other],
        message: format!("{key} {many} of {other} {value}: {why} only {most} others to choose from"),
        help: format!("it can be at most {most}"),
    })
}

/// Who is hunted for without end is found among all that accept, wherever they are.
fn hunts_are_uniform(point: &Point) -> Option<Conflict> {
    let gossip = &point.gossip;
    let key = if gossip.view == View::Partial { &keys::VIEW } else { &keys::PARTNERS };
    let value = if gossip.view == View::Partial { gossip.view.name() } else { gossip.partners.name() };
    let is_uniform = gossip.partners == PartnerChoice::Uniform && gossip.view == View::Full;
    (gossip.hunt_limit.is_none() && !is_uniform).then(|| Conflict {
        keys: [&keys::HUNT_LIMIT, key],
        message: format!(
            "{} \"unlimited\" with {key} \"{value}\": such a hunt is for any node that accepts",
            keys::HUNT_LIMIT
        ),
        help: format!("set {} to a number", keys::HUNT_LIMIT),
    })
}

/// Who only asks sends to nobody that it chooses.
fn senders_push(point: &Point) -> Option<Conflict> {
    let Gossip { style, exchange, partners, .. } = point.gossip;
    (partners.remembers() && style.has_contacts() && !exchange.pushes()).then(|| Conflict {
        keys: [&keys::PARTNERS, &keys::EXCHANGE],
        message: format!(
            "{} \"{partners}\" with {} \"{exchange}\": nobody sends to whom it chooses",
            keys::PARTNERS,
            keys::EXCHANGE
        ),
        help: format!("set {} to \"{}\" or \"{}\"", keys::EXCHANGE, Exchange::Push, Exchange::PushPull),
    })
}

/// Of several updates each has come another way.
fn one_is_remembered(point: &Point) -> Option<Conflict> {
    let Gossip { rumors, partners, .. } = point.gossip;
    (partners.remembers() && rumors > 1).then(|| Conflict {
        keys: [&keys::PARTNERS, &keys::RUMORS],
        message: format!(
            "{} \"{partners}\" with {} {rumors}, which share contacts and have come from different nodes",
            keys::PARTNERS,
            keys::RUMORS
        ),
        help: format!("set {} to 1", keys::RUMORS),
    })
}

/// What is under way is one update, of a contact that waits for none before it, and may be looked at when it arrives.
fn trips_fit(point: &Point) -> Option<Conflict> {
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    if gossip.latency.is_zero() {
        return None;
    }
    let with = |key: &'static Key, value: String, why: &str, help: String| Conflict {
        keys: [&keys::LATENCY, key],
        message: format!("{} {} with {key} {value}: {why}", keys::LATENCY, duration_text(gossip.latency)),
        help,
    };
    let interval = duration_text(gossip.interval);
    let shortest = gossip.interval / SHORTEST_TRIP;
    let each = gossip.trips() * gossip.fanout as f64;
    let most = if point.cluster.transport == TransportName::Sim { MOST_FRAMES } else { MOST_UNDER_WAY };
    match () {
        () if gossip.latency < shortest => Some(with(
            &keys::INTERVAL,
            interval,
            "too short to matter",
            format!("set it to 0s, or at least {}", duration_text(shortest)),
        )),
        () if gossip.latency > gossip.interval * LONGEST_TRIP => Some(with(
            &keys::INTERVAL,
            interval,
            "many cycles long",
            format!("it can be at most {}", duration_text(gossip.interval * LONGEST_TRIP)),
        )),
        () if each * nodes as f64 > most => Some(with(
            &keys::NODES,
            nodes.to_string(),
            "all that is under way takes several GiB for each thread",
            format!("with such trips there can be at most {:.0}", (most / each).floor()),
        )),
        () if gossip.rumors > 1 => Some(with(
            &keys::RUMORS,
            gossip.rumors.to_string(),
            "each would need messages of its own",
            format!("set {} to 1", keys::RUMORS),
        )),
        () if gossip.minimize => Some(with(
            &keys::MINIMIZE,
            "true".into(),
            "counters that are compared would be those of different times",
            format!("set {} to false", keys::MINIMIZE),
        )),
        () if gossip.style == Style::AntiEntropy && gossip.fanout > 1 => Some(with(
            &keys::FANOUT,
            gossip.fanout.to_string(),
            "anti-entropy begins a contact when the one before it is over",
            format!("set {} to 1", keys::FANOUT),
        )),
        () => None,
    }
}

/// The shortest latency that is not nothing is this part of a cycle, and the longest so many cycles.
const SHORTEST_TRIP: u32 = 250;
const LONGEST_TRIP: u32 = 16;

/// Messages, of eight bytes each; and frames of state machines.
const MOST_UNDER_WAY: f64 = (1_u64 << 28) as f64;
const MOST_FRAMES: f64 = (1_u64 << 22) as f64;

/// A grid is a square, and who has a place in it may be anywhere in a view.
fn places_exist(point: &Point) -> Option<Conflict> {
    let (Gossip { partners, view, .. }, nodes) = (&point.gossip, point.cluster.nodes);
    let side = nodes.isqrt();
    if partners.is_spatial() && *view == View::Partial {
        return Some(Conflict {
            keys: [&keys::PARTNERS, &keys::VIEW],
            message: format!(
                "{} \"{partners}\" with {} \"{view}\": views know no distances",
                keys::PARTNERS,
                keys::VIEW
            ),
            help: format!("set {} to \"{}\"", keys::VIEW, View::Full),
        });
    }
    (*partners == PartnerChoice::Grid && side * side != nodes).then(|| Conflict {
        keys: [&keys::PARTNERS, &keys::NODES],
        message: format!(
            "{} \"{partners}\" of {} {nodes}, which is not the square of a number",
            keys::PARTNERS,
            keys::NODES
        ),
        help: format!("it can be {} or {}", side * side, (side + 1) * (side + 1)),
    })
}

/// With one peer each, nodes are pairs; with two, they are in rings, and hardly ever in a single one. Of 20 overlays of
/// 10,000 nodes 6 were in parts with views of 3 and 30, and none with 4 and 8; with fewer in the passive view than in the
/// active one, half of them and more.
fn views_hold_together(point: &Point) -> Option<Conflict> {
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    let (active, passive) = (gossip.view_size, gossip.passive_size);
    let least = if nodes > MOST_OF_THREE { 4 } else { 3 };
    // A passive view has no one of the active one.
    let least_passive = active.min(MOST_PASSIVE).min(nodes.saturating_sub(active + 1));
    let (key, size, least) = match () {
        () if active < least => (&keys::VIEW_SIZE, active, least),
        () if passive < least_passive => (&keys::PASSIVE_SIZE, passive, least_passive),
        () => return None,
    };
    (gossip.is_partial() && nodes > active + 1).then(|| Conflict {
        keys: [key, &keys::NODES],
        message: format!(
            "{key} {size} of {} {nodes}: the graph of who may talk to whom would not be connected",
            keys::NODES
        ),
        help: format!("it must be at least {least}"),
    })
}

/// More nodes than this are hardly ever connected by three peers each.
const MOST_OF_THREE: usize = 1_000;

/// With views of five nobody needs more than this to fall back on; larger ones are connected anyway.
const MOST_PASSIVE: usize = 5;

fn views_fit(point: &Point) -> Option<Conflict> {
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    let size = gossip.view_size + gossip.passive_size;
    (gossip.is_partial() && nodes > MOST_VIEWED / size).then(|| Conflict {
        keys: [&keys::NODES, &keys::PASSIVE_SIZE],
        message: format!("{} {nodes}, each with views of {size} others, take several GiB for each thread", keys::NODES),
        help: format!("with such views there can be at most {}", MOST_VIEWED / size),
    })
}

/// Several updates have bits and counters of their own on every node.
fn rumors_fit(point: &Point) -> Option<Conflict> {
    let (rumors, nodes) = (point.gossip.rumors, point.cluster.nodes);
    (rumors > 1 && nodes > MOST_SPREAD / rumors).then(|| Conflict {
        keys: [&keys::NODES, &keys::RUMORS],
        message: format!("{} {nodes} with {} {rumors} take several GiB for each thread", keys::NODES, keys::RUMORS),
        help: format!("with so many updates there can be at most {}", MOST_SPREAD / rumors),
    })
}

/// Nodes times updates: of about five bytes each.
const MOST_SPREAD: usize = 1 << 29;

/// Over a real transport a cycle has to hold the few trips of a contact.
fn cycles_hold_trips(point: &Point) -> Option<Conflict> {
    let (interval, transport) = (point.gossip.interval, point.cluster.transport);
    let is_real = !matches!(transport, TransportName::Population | TransportName::Sim);
    (is_real && interval < SHORTEST).then(|| Conflict {
        keys: [&keys::INTERVAL, &keys::TRANSPORT],
        message: format!(
            "{} {} over {} \"{transport}\": no contact fits into that",
            keys::INTERVAL,
            duration_text(interval),
            keys::TRANSPORT
        ),
        help: format!("set it to {} at least, better to many times a round trip", duration_text(SHORTEST)),
    })
}

/// The shortest cycle over a real transport.
const SHORTEST: Duration = Duration::from_millis(1);

/// Entries of all views together: of four bytes each.
const MOST_VIEWED: usize = 1 << 28;

/// Longer than this for one point is a slip: the hour is better spent on several.
const LONGEST: Duration = Duration::from_secs(60 * 60);

fn ends_in_time(point: &Point) -> Option<Conflict> {
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    let takes = gossip.takes(point);
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
