//! `[gossip]`: how an update spreads, and what no gossip may be.

mod links;
mod takes;
mod trips;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expand::Conflict;
use super::keys;
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
            trips::conflict,
            places_exist,
            views_hold_together,
            views_fit,
            rumors_fit,
            cycles_hold_trips,
            links::conflict,
            takes::conflict,
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
