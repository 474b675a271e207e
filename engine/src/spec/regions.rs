//! Where the nodes of a virtual or emulated cluster are, and how far from each other.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::point::Point;
use super::units::{self, DURATIONS, duration_text};

/// Regions and the round-trip times between them, written `virginia-ireland 68ms, virginia-tokyo
/// 145ms, ireland-tokyo 205ms`. Replicas are placed in the regions in turn; clients are in the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    /// In order of their first mention.
    names: Vec<String>,
    /// Between each two, as written.
    round_trips: Vec<(usize, usize, Duration)>,
}

impl Regions {
    /// How many regions there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// From one region to another and back; nothing within one.
    ///
    /// # Panics
    /// If there is no such region.
    pub fn round_trip(&self, a: usize, b: usize) -> Duration {
        assert!(a < self.count() && b < self.count(), "a region that was mentioned");
        self.distance(a, b).unwrap_or_default()
    }

    /// Reads them; the error is the end of "cannot be ...: ".
    pub(super) fn parse(text: &str) -> Result<Self, BadRegions> {
        let mut regions = Self { names: Vec::new(), round_trips: Vec::new() };
        for pair in text.split(',') {
            let mut words = pair.split_whitespace();
            let (Some(ends), Some(time), None) = (words.next(), words.next(), words.next()) else {
                return Err(BadRegions::Pair(pair.trim().into()));
            };
            let (a, b) = ends.split_once('-').ok_or_else(|| BadRegions::Pair(pair.trim().into()))?;
            let (a, b) = (regions.named(a)?, regions.named(b)?);
            let time = units::parse(time, DURATIONS).ok().map(Duration::from_nanos).filter(|time| *time <= LONGEST);
            let time = time.ok_or_else(|| BadRegions::Pair(pair.trim().into()))?;
            if a == b || regions.distance(a, b).is_some() {
                return Err(BadRegions::Twice(ends.into()));
            }
            regions.round_trips.push((a, b, time));
        }
        match regions.missing() {
            Some(missing) => Err(missing),
            None => Ok(regions),
        }
    }

    fn named(&mut self, name: &str) -> Result<usize, BadRegions> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
            return Err(BadRegions::Name(name.chars().take(40).collect()));
        }
        Ok(self.names.iter().position(|each| each == name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        }))
    }

    fn distance(&self, a: usize, b: usize) -> Option<Duration> {
        let between =
            |&&(from, to, _): &&(usize, usize, Duration)| (from.min(to), from.max(to)) == (a.min(b), a.max(b));
        self.round_trips.iter().find(between).map(|&(_, _, time)| time)
    }

    /// The first pair whose distance is missing.
    fn missing(&self) -> Option<BadRegions> {
        let mut pairs = (0..self.count()).flat_map(|a| (a + 1..self.count()).map(move |b| (a, b)));
        let missing = pairs.find(|&(a, b)| self.distance(a, b).is_none());
        missing.map(|(a, b)| BadRegions::Missing(format!("{}-{}", self.names[a], self.names[b])))
    }
}

impl fmt::Display for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (a, b, time)) in self.round_trips.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{} {}", self.names[*a], self.names[*b], duration_text(*time))?;
        }
        Ok(())
    }
}

impl Point {
    /// One way between two nodes, replicas first: half of the round trip between two regions, or what there is within
    /// one. Replicas, or those that gossip, are placed in the regions in turn, and clients in the first.
    pub(super) fn distance(&self, from: usize, to: usize) -> Duration {
        let (network, replicas) = (&self.network, self.placed());
        let within = if from.max(to) >= replicas { network.client_delay } else { network.usual.delay };
        let across = network.round_trips.as_ref().map(|regions| {
            let region = |node: usize| if node < replicas { node % regions.count() } else { 0 };
            regions.round_trip(region(from), region(to)) / 2
        });
        across.filter(|across| !across.is_zero()).unwrap_or(within)
    }

    /// The shortest of these ways that takes time at all, between nodes that talk to each other; zero if none does.
    pub fn shortest_way(&self) -> Duration {
        self.ways().filter(|way| !way.is_zero()).min().unwrap_or_default()
    }

    /// The longest of them.
    pub fn longest_way(&self) -> Duration {
        self.ways().max().unwrap_or_default()
    }

    /// How many nodes are placed in the regions in turn: all that there may be, of those that gossip.
    fn placed(&self) -> usize {
        if self.cluster.protocol.is_gossip() { usize::MAX } else { self.cluster.replicas }
    }

    /// How many regions there are.
    pub(crate) fn regions(&self) -> usize {
        self.network.round_trips.as_ref().map_or(1, Regions::count)
    }

    /// Each at least once. Of thousands that gossip, two in each region have all of them.
    fn ways(&self) -> impl Iterator<Item = Duration> {
        let last = self.cluster.nodes.min(2 * self.regions());
        let among_all = (0..last).flat_map(move |a| (a + 1..last).map(move |b| (a, b)));
        let is_gossip = self.cluster.protocol.is_gossip();
        let pairs = among_all.filter(move |_| is_gossip).chain(self.pairs().filter(move |_| !is_gossip));
        pairs.map(|(from, to)| self.way(from, to).delay)
    }
}

/// What is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadRegions {
    Pair(String),
    Name(String),
    Twice(String),
    Missing(String),
}

impl fmt::Display for BadRegions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(pair) => write!(f, "`{}` is no `from-to TIME`", pair.chars().take(60).collect::<String>()),
            Self::Name(name) => write!(f, "`{name}` is no name of letters, digits and `_`"),
            Self::Twice(ends) => {
                write!(f, "`{}` is there twice, or goes nowhere", ends.chars().take(80).collect::<String>())
            }
            Self::Missing(ends) => write!(f, "the time of `{ends}` is missing"),
        }
    }
}

/// Further than the moon and back.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn reads_and_writes() {
        let text = "a-b 68ms, a-c 145ms, b-c 205ms";
        let regions = Regions::parse(text).expect(text);
        assert_eq!((regions.count(), regions.to_string().as_str()), (3, text));
        assert_eq!(regions.round_trip(2, 1), Duration::from_millis(205));
        assert_eq!(regions.round_trip(1, 1), Duration::ZERO);
    }

    #[test]
    fn replicas_are_placed_in_turn_and_clients_in_the_first() {
        let set = ["transport=sim", "replicas=3", "clients=2", "network.delay=2ms", "client_delay=1ms"];
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        let one = Spec::parse("name = 'x'", "x", &set).expect("a config").points().remove(0);
        let ms = Duration::from_millis;
        assert_eq!(
            [one.distance(0, 2), one.distance(3, 0), one.distance(1, 4), one.shortest_way()],
            [2, 1, 1, 1].map(ms)
        );
        let far = [&set[..], &["round_trips=a-b 20ms".into()]].concat();
        let far = Spec::parse("name = 'x'", "x", &far).expect("a config").points().remove(0);
        assert_eq!([far.distance(0, 1), far.distance(2, 1), far.distance(0, 2)], [10, 10, 2].map(ms));
        assert_eq!([far.distance(4, 1), far.distance(4, 2), far.shortest_way()], [10, 1, 1].map(ms));
    }

    #[test]
    fn says_why_not() {
        for (text, why) in [
            ("", BadRegions::Pair(String::new())),
            ("a-b", BadRegions::Pair("a-b".into())),
            ("a-b 5", BadRegions::Pair("a-b 5".into())),
            ("a-b 5ms 6ms", BadRegions::Pair("a-b 5ms 6ms".into())),
            ("a-b 2h", BadRegions::Pair("a-b 2h".into())),
            ("a-b? 5ms", BadRegions::Name("b?".into())),
            ("a-a 5ms", BadRegions::Twice("a-a".into())),
            ("a-b 5ms, b-a 6ms", BadRegions::Twice("b-a".into())),
            ("a-b 5ms, b-c 6ms", BadRegions::Missing("a-c".into())),
        ] {
            assert_eq!(Regions::parse(text), Err(why), "{text}");
        }
    }
}
