//! How long gossip takes: so that nobody waits for hours who did not mean to.

use std::time::Duration;

use super::super::expand::Conflict;
use super::super::keys;
use super::super::names::{Acts, Interest, PartnerChoice, Rounds, Style, TransportName};
use super::super::point::Point;
use super::super::units::duration_text;
use super::Gossip;

impl Gossip {
    /// About how long all trials take: to be read as minutes or days, not more exactly.
    pub fn takes(&self, point: &Point) -> Duration {
        let cluster = &point.cluster;
        let trial_ns = match cluster.transport {
            TransportName::Population => self.contacts_ns(cluster.nodes, 1.0) + self.wheels_ns(cluster.nodes),
            // A contact is a few messages among state machines, and each partner is looked for among those before it.
            TransportName::Sim => {
                let crowded = 1.0 + (self.fanout as f64 / 32.0).powi(2);
                self.contacts_ns(cluster.nodes, 50.0 * crowded)
            }
            // A trial waits for its cycles, and a moment to begin; a tree has one broadcast.
            _ => {
                let cycles = Self { broadcasts: 1, ..self.clone() }.cycles(cluster.nodes);
                let cycles = cycles * point.stretch();
                return (self.interval.mul_f64(2.0 + cycles) + Duration::from_millis(30)) * self.trials as u32;
            }
        };
        Duration::from_secs_f64(trial_ns * self.trials as f64 / 1e9)
    }

    /// The cycle in which an epidemic among so many ends whatever happens, where it might go on for ever.
    pub(crate) fn last_cycle(nodes: usize) -> u64 {
        10 * u64::from(nodes.ilog2() + 1)
    }

    /// About how many cycles a trial has: twice as many as it takes to reach everyone, and those until all lose interest.
    fn cycles(&self, nodes: usize) -> f64 {
        let most = if self.crash > 0.0 { Self::last_cycle(nodes) as f64 } else { f64::INFINITY };
        // Who joins knows nothing, so it is never over before.
        if self.style == Style::AntiEntropy && self.join > 0.0 {
            return most;
        }
        let nodes = nodes as f64;
        // Near partners alone carry an update no further than they are. Beyond a distribution that falls with distance as
        // fast as places get more, the cycles grow with a power of the nodes; measured on rings and grids, and rounded up.
        let dimension = if self.partners == PartnerChoice::Grid { 2.0 } else { 1.0 };
        let nearness = ((self.exponent - dimension) / (2.0 * dimension)).clamp(0.0, 1.6);
        let is_spatial = matches!(self.partners, PartnerChoice::Ring | PartnerChoice::Grid);
        let detour = if is_spatial { nodes.powf(0.6 * nearness / dimension) } else { 1.0 };
        let reach = 2.0 * nodes.log2() * detour * (1.0 + self.trips()) / (1.0 - self.loss);
        let cycles = match self.style {
            Style::DirectMail => 1.0,
            Style::Plumtree => reach * self.broadcasts as f64,
            Style::AntiEntropy | Style::MedianCounter => reach,
            Style::Rumor => reach + self.turns_of_interest(),
        };
        cycles.min(most)
    }

    /// Turns in which a node tells a rumor. With feedback, of what is lost it learns nothing, nor yet of what is under way.
    fn turns_of_interest(&self) -> f64 {
        match self.interest {
            Interest::Blind => self.k as f64,
            Interest::Feedback => (2.0 + self.k as f64 + 2.0 * self.trips()) / (1.0 - self.loss),
        }
    }

    /// About how long what nodes say to each other in a trial takes on one core, where a contact takes `slower` times as
    /// long as over a population. Views are kept in the same way everywhere.
    fn contacts_ns(&self, nodes: usize, slower: f64) -> f64 {
        let doublings = (nodes as f64).log2();
        let turns = match self.style {
            // Announcements, grafts and all, over every link.
            Style::Plumtree => 2.0 * (self.view_size * self.broadcasts) as f64,
            // By push alone a node has only its own turns, and few of these.
            Style::Rumor if !self.exchange.pulls() => self.turns_of_interest().min(self.cycles(nodes)),
            _ => self.cycles(nodes),
        };
        // A contact among them is a few nanoseconds, or a miss of the cache where nodes have to queue for each other.
        let is_plain = self.connection_limit.is_none()
            && self.acts == Acts::NextCycle
            && self.partners == PartnerChoice::Uniform
            && !self.is_partial();
        let contact_ns = slower * if is_plain { 10.0 } else { 100.0 };
        let late_ns = if self.latency.is_zero() { 0.0 } else { 15.0 * slower * self.messages() };
        let contacts = turns * (self.fanout * self.rumors) as f64;
        // To join, to settle, and to keep a view while others come and go: with a tree, in the last broadcast.
        let lasts = if self.style == Style::Plumtree { 20.0 } else { 10.0 * doublings };
        let cycles = if self.crash > 0.0 { lasts } else { 0.0 };
        let view_ns = if self.is_partial() { 30_000.0 + 4_000.0 * cycles } else { 5.0 * slower * cycles };
        (contacts * (contact_ns + late_ns) + view_ns) * nodes as f64
    }

    /// The same of turns that are events on a wheel: of every node, whether it has anything to say or not, and of the
    /// wheel, however few nodes there are.
    fn wheels_ns(&self, nodes: usize) -> f64 {
        match self.rounds {
            Rounds::Synchronous => 0.0,
            Rounds::Asynchronous => self.cycles(nodes) * (10.0 * nodes as f64 + 15_000.0),
        }
    }
}

/// Longer than this for one point is a slip: the hour is better spent on several.
const LONGEST: Duration = Duration::from_secs(60 * 60);

pub(super) fn conflict(point: &Point) -> Option<Conflict> {
    let (gossip, nodes) = (&point.gossip, point.cluster.nodes);
    let takes = gossip.takes(point);
    (takes > LONGEST).then(|| {
        let fit = gossip.trials as f64 * LONGEST.as_secs_f64() / takes.as_secs_f64();
        let long = match takes.as_secs_f64() / LONGEST.as_secs_f64() {
            hours if hours < 2.0 => format!("{:.0} minutes", hours * 60.0),
            hours => format!("{hours:.0} hours"),
        };
        Conflict {
            keys: [&keys::TRIALS, &keys::NODES],
            message: format!("{} {} over {} {nodes} would take about {long}", keys::TRIALS, gossip.trials, keys::NODES),
            help: match fit as u64 {
                0 => format!("a point may take {}: lower {}", duration_text(LONGEST), keys::NODES),
                fit => format!("a point may take {}: {} can be about {fit}", duration_text(LONGEST), keys::TRIALS),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::Spec;

    /// What a core took for a trial, in seconds, on a machine of its day: the estimate is of the same order, and rather
    /// longer than shorter.
    #[test]
    fn estimates_are_of_the_order_of_what_was_measured() {
        let late = "rounds = 'asynchronous', latency";
        for (nodes, gossip, measured) in [
            (4_000_000, format!("{late} = '4s'"), 10.2),
            (1_000_000, format!("{late} = '16s'"), 5.3),
            (1_000_000, "loss = 0.99, k = 10".into(), 7.7),
            (2, format!("{late} = '16s', k = 1000, loss = 0.99"), 0.88),
            (20, format!("{late} = '4s'"), 7.4 / 20_000.0),
            (1_000_000, format!("{late} = '16s', style = 'anti-entropy', exchange = 'push-pull'"), 4.3),
            (1_000_000, format!("{late} = '1s', style = 'anti-entropy', partners = 'ring', crash = 0.01"), 1.8),
        ] {
            let text = format!(
                "name = 'x'\ncluster = {{ protocol = 'gossip', transport = 'population', nodes = {nodes} }}
                gossip = {{ {gossip}, trials = 1 }}"
            );
            let point = &Spec::parse(&text, "x.toml", &[]).expect("a valid config").points()[0];
            let takes = point.gossip.takes(point).as_secs_f64();
            assert!((0.7..20.0).contains(&(takes / measured)), "{gossip}: {takes} s, and {measured} s were measured");
        }
    }
}
