//! Gossip between nodes that are far from each other: how much longer it takes, and which links it cannot bear.

use std::time::Duration;

use quorumbench_protocols::Head;

use super::super::expand::Conflict;
use super::super::keys;
use super::super::names::{Emulation, Style};
use super::super::point::Point;
use super::super::units::duration_text;

/// One way after the other: a digest, what its receiver would have, and that.
const TRIPS: u32 = 3;

impl Point {
    /// About how many times more cycles gossip takes than over links that lose nothing and take no time; 1 over those.
    pub(crate) fn stretch(&self) -> f64 {
        if self.network.emulation == Emulation::None {
            return 1.0;
        }
        let cycles = f64::from(TRIPS) * trip(self).as_secs_f64() / self.gossip.interval.as_secs_f64();
        (1.0 + cycles) / (1.0 - self.network.usual.loss).powi(TRIPS.cast_signed())
    }
}

/// About how long the way takes between two that are furthest from each other, to a microsecond.
fn trip(point: &Point) -> Duration {
    let usual = &point.network.usual;
    let bytes = (Head::BYTES + point.gossip.payload) as f64;
    let line = usual.bandwidth.map_or(0.0, |bandwidth| bytes / bandwidth as f64);
    let held_back = usual.reorder_delay.mul_f64(usual.reorder);
    let way = point.longest_way() + usual.jitter + held_back + Duration::from_secs_f64(line);
    Duration::from_micros(way.as_nanos().div_ceil(1000) as u64)
}

/// What links no gossip has.
pub(super) fn conflict(point: &Point) -> Option<Conflict> {
    if point.network.emulation == Emulation::None {
        return None;
    }
    between_nodes(point).or_else(|| trees_keep_connections(point)).or_else(|| answers_come_in_time(point))
}

/// Packets go between the hosts' sockets, each of which has many nodes.
fn between_nodes(point: &Point) -> Option<Conflict> {
    let (emulation, protocol) = (point.network.emulation, point.cluster.protocol);
    (emulation == Emulation::Packets).then(|| Conflict {
        keys: [&keys::EMULATION, &keys::PROTOCOL],
        message: format!(
            "{} \"{emulation}\" with {} \"{protocol}\", whose nodes are many to a host: packets go between hosts only",
            keys::EMULATION,
            keys::PROTOCOL
        ),
        help: format!("use {} = \"{}\"", keys::EMULATION, Emulation::Shape),
    })
}

/// A branch that never hears that it was cut, or an announcement that is lost, is not made up for: in the paper the links
/// of a tree are TCP connections.
fn trees_keep_connections(point: &Point) -> Option<Conflict> {
    let (usual, style) = (&point.network.usual, point.gossip.style);
    let (key, share) = if usual.loss > 0.0 { (&keys::LOSS, usual.loss) } else { (&keys::REORDER, usual.reorder) };
    (style == Style::Plumtree && share > 0.0).then(|| Conflict {
        keys: [key, &keys::STYLE],
        message: format!(
            "{key} {share} with {} \"{style}\", whose links are connections: nothing is lost on them, and all is in order",
            keys::STYLE
        ),
        help: format!("leave it out; {} loses updates, and nothing else", keys::GOSSIP_LOSS),
    })
}

/// A node that asks for a connection gives up at the end of its cycle. Its turn may be in the middle of it.
fn answers_come_in_time(point: &Point) -> Option<Conflict> {
    let (interval, limit) = (point.gossip.interval, point.gossip.connection_limit?);
    let least = 4 * trip(point);
    (interval < least).then(|| Conflict {
        keys: [&keys::CONNECTION_LIMIT, &keys::INTERVAL],
        message: format!(
            "{} {limit} with {} {} over links of about {} one way: who asks for a connection in its turn has no answer \
             before its cycle is over",
            keys::CONNECTION_LIMIT,
            keys::INTERVAL,
            duration_text(interval),
            duration_text(trip(point)),
        ),
        help: format!("set {} to at least {}, or leave the limit out", keys::INTERVAL, duration_text(least)),
    })
}
