//! Messages that take their time: how many are under way, and what does not go with them.

use super::super::expand::Conflict;
use super::super::keys::{self, Key};
use super::super::names::{Exchange, Interest, Style, TransportName};
use super::super::point::Point;
use super::super::units::duration_text;
use super::Gossip;

impl Gossip {
    /// How long a message is under way on average, where a cycle is so many ticks: to the next of them.
    pub(crate) fn mean_trip(&self, cycle: u64) -> u64 {
        (self.trips() * cycle as f64).round() as u64
    }

    /// How many cycles a message is under way on average.
    pub(super) fn trips(&self) -> f64 {
        self.latency.as_secs_f64() / self.interval.as_secs_f64()
    }

    /// Messages of a contact, at most but for updates of anti-entropy, which are few: a question or a digest, or what is
    /// told, an answer, and what each update was good for.
    pub(super) fn messages(&self) -> f64 {
        let asked = f64::from(u8::from(self.exchange.pulls()));
        let told = f64::from(u8::from(self.exchange != Exchange::Pull));
        match (self.style, self.interest) {
            (Style::Rumor, Interest::Feedback) => 1.0 + 2.0 * asked + told,
            (Style::Rumor, Interest::Blind) => 1.0 + asked,
            _ => 1.5,
        }
    }
}

/// What is under way is one update, of a contact that waits for none before it, and may be looked at when it arrives.
pub(super) fn conflict(point: &Point) -> Option<Conflict> {
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
    let each = gossip.trips() * gossip.messages() * gossip.fanout as f64;
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

/// Messages under way: of eight bytes each, in slots that keep the room for as many as they ever held, about 32 in all.
const MOST_UNDER_WAY: f64 = (1_u64 << 26) as f64;
/// The same of frames between state machines, of about half a KiB.
const MOST_FRAMES: f64 = (1_u64 << 22) as f64;
