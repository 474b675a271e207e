//! `[[links]]`: directed links that are other than `[network]` says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Complaint, SpecError};
use super::expand::{Conflict, lost_from_streams};
use super::keys::{self, Draft, Key};
use super::names::{Emulation, JitterDistribution};
use super::netem;
use super::point::{Network, Point};
use super::tables::{Given, List, Row, keys_of_list};
use super::value::{Kind, Value};

/// What one table says of the links that it is about. What it leaves open is as `[network]` has it, or an earlier table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Who sends.
    pub from: LinkEnd,
    /// Who receives.
    pub to: LinkEnd,
    /// As [`Way::delay`], whatever region either is in.
    pub delay: Option<Duration>,
    /// As [`Way::jitter`].
    pub jitter: Option<Duration>,
    /// As [`Way::jitter_distribution`].
    pub jitter_distribution: Option<JitterDistribution>,
    /// As [`Way::loss`].
    pub loss: Option<f64>,
    /// As [`Way::loss_burst`].
    pub loss_burst: Option<f64>,
    /// As [`Way::reorder`].
    pub reorder: Option<f64>,
    /// As [`Way::reorder_delay`].
    pub reorder_delay: Option<Duration>,
    /// As [`Way::bandwidth`], where there is one.
    pub bandwidth: Option<Option<usize>>,
}

/// Which nodes are at one end of such links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkEnd {
    /// All.
    Any,
    /// All replicas.
    Replicas,
    /// All clients.
    Clients,
    /// One replica.
    Replica(u32),
}

/// What one directed link does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// One way.
    pub delay: Duration,
    /// The mean of what comes on top.
    pub jitter: Duration,
    /// How that is distributed.
    pub jitter_distribution: JitterDistribution,
    /// The share that is lost: of packets, or of frames where there are none.
    pub loss: f64,
    /// How many times longer the runs of losses are than independent ones.
    pub loss_burst: f64,
    /// The share that is held back past what is sent later.
    pub reorder: f64,
    /// For how long.
    pub reorder_delay: Duration,
    /// Bytes a second; `None` for no bound.
    pub bandwidth: Option<usize>,
}

impl Point {
    /// What the link from one node to another does, replicas before clients.
    pub fn way(&self, from: usize, to: usize) -> Way {
        let usual = self.network.usual(self.distance(from, to));
        let about = self.network.links.iter().filter(|link| link.is_about(from, to, self.cluster.replicas));
        about.fold(usual, |way, link| link.over(way))
    }

    /// Directed links that there are, each kind at least once: between replicas, and between those and one client.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let nodes = self.cluster.replicas + 1;
        (0..nodes).flat_map(move |from| (0..nodes).filter(move |&to| to != from).map(move |to| (from, to)))
    }

    /// Whether its links are what they are made, and each for itself.
    fn has_links(&self) -> bool {
        self.cluster.protocol.orders() && (self.is_virtual() || self.network.emulation != Emulation::None)
    }
}

impl Network {
    /// A link of this length that no table is about.
    pub(super) fn usual(&self, delay: Duration) -> Way {
        Way {
            delay,
            jitter: self.jitter,
            jitter_distribution: self.jitter_distribution,
            loss: self.loss,
            loss_burst: self.loss_burst,
            reorder: self.reorder,
            reorder_delay: self.reorder_delay,
            bandwidth: self.bandwidth,
        }
    }
}

impl Link {
    fn of(row: &Row) -> Self {
        let end = |key: &Key| match row.value(key) {
            Some(Value::Count(id)) => LinkEnd::Replica(*id as u32),
            Some(Value::Choice(name)) if *name == REPLICAS => LinkEnd::Replicas,
            Some(Value::Choice(name)) if *name == CLIENTS => LinkEnd::Clients,
            _ => LinkEnd::Any,
        };
        Self {
            from: end(&FROM),
            to: end(&TO),
            delay: row.value(&DELAY).map(Value::duration),
            jitter: row.value(&JITTER).map(Value::duration),
            jitter_distribution: row.value(&JITTER_DISTRIBUTION).map(|value| value.choice(JitterDistribution::named)),
            loss: row.value(&LOSS).map(Value::number),
            loss_burst: row.value(&LOSS_BURST).map(Value::number),
            reorder: row.value(&REORDER).map(Value::number),
            reorder_delay: row.value(&REORDER_DELAY).map(Value::duration),
            bandwidth: row.value(&BANDWIDTH).map(Value::size_or_off),
        }
    }

    fn is_about(&self, from: usize, to: usize, replicas: usize) -> bool {
        self.from.is(from, replicas) && self.to.is(to, replicas)
    }

    /// `way`, but for what this says.
    fn over(&self, way: Way) -> Way {
        Way {
            delay: self.delay.unwrap_or(way.delay),
            jitter: self.jitter.unwrap_or(way.jitter),
            jitter_distribution: self.jitter_distribution.unwrap_or(way.jitter_distribution),
            loss: self.loss.unwrap_or(way.loss),
            loss_burst: self.loss_burst.unwrap_or(way.loss_burst),
            reorder: self.reorder.unwrap_or(way.reorder),
            reorder_delay: self.reorder_delay.unwrap_or(way.reorder_delay),
            bandwidth: self.bandwidth.unwrap_or(way.bandwidth),
        }
    }

    /// The links of a point that it is about.
    fn ways(&self, point: &Point) -> impl Iterator<Item = Way> {
        let replicas = point.cluster.replicas;
        point.pairs().filter(move |&(from, to)| self.is_about(from, to, replicas)).map(|(from, to)| point.way(from, to))
    }
}

impl LinkEnd {
    fn is(self, node: usize, replicas: usize) -> bool {
        match self {
            Self::Any => true,
            Self::Replicas => node < replicas,
            Self::Clients => node >= replicas,
            Self::Replica(id) => node == id as usize && node < replicas,
        }
    }
}

const ANY: &str = "any";
const REPLICAS: &str = "replicas";
const CLIENTS: &str = "clients";
const END: Kind = Kind::Target(&[ANY, REPLICAS, CLIENTS]);

keys_of_list! { "links":
    FROM = key("from", END, ANY, "who sends");
    TO = key("to", END, ANY, "who receives");
    DELAY = key("delay", keys::DELAY.kind, "50us", "one way, whatever region either is in");
    JITTER = key("jitter", keys::JITTER.kind, "10us", keys::JITTER.doc);
    JITTER_DISTRIBUTION = key("jitter_distribution", keys::JITTER_DISTRIBUTION.kind, "uniform",
        keys::JITTER_DISTRIBUTION.doc);
    LOSS = key("loss", keys::LOSS.kind, "0.01", keys::LOSS.doc);
    LOSS_BURST = key("loss_burst", keys::LOSS_BURST.kind, "2", keys::LOSS_BURST.doc);
    REORDER = key("reorder", keys::REORDER.kind, "0.01", keys::REORDER.doc);
    REORDER_DELAY = key("reorder_delay", keys::REORDER_DELAY.kind, "1ms", keys::REORDER_DELAY.doc);
    BANDWIDTH = key("bandwidth", keys::BANDWIDTH.kind, "1MB", "bytes a second");
}

/// All of them.
pub(super) static LIST: List = List { name: "links", one: "a link", keys: KEYS, required: &[], assumed: &[&FROM, &TO] };

/// Gives the links that a config lists to those of its points that have any.
pub(super) fn lay(given: &[Given<'_>], drafts: &mut [Draft]) {
    let links: Vec<_> = given.iter().map(|given| Link::of(&given.row)).collect();
    for draft in drafts.iter_mut().filter(|draft| draft.point.has_links()) {
        draft.point.network.links.clone_from(&links);
    }
}

/// What none of them may be, where all that `[network]` says may be.
pub(super) fn check(
    given: &[Given<'_>],
    drafts: &[Draft],
    is_overridden: impl Fn(&Key) -> bool,
) -> Result<(), SpecError> {
    let points: Vec<_> = drafts.iter().map(|draft| &draft.point).filter(|point| point.has_links()).collect();
    let passed_over = [&keys::PROTOCOL, &keys::TRANSPORT, &keys::EMULATION].into_iter().any(is_overridden);
    for given in given {
        let link = &Link::of(&given.row);
        let nowhere = || (!passed_over && points.is_empty()).then(|| has_none(&drafts[0].point));
        let wrong = nowhere()
            .or_else(|| by_itself(&given.row))
            .or_else(|| points.iter().find_map(|point| at_point(&given.row, link, point)))
            .or_else(|| idle(link, &points));
        if let Some((key, complaint)) = wrong {
            return Err(given.error(key, complaint));
        }
    }
    Ok(())
}

/// What is wrong, and the key to point at.
type Wrong = (&'static Key, Complaint);

fn has_none(point: &Point) -> Wrong {
    let (protocol, emulation) = (point.cluster.protocol, point.network.emulation);
    if !protocol.orders() {
        let complaint = Complaint::new(format!("a link with {} \"{protocol}\"", keys::PROTOCOL));
        return (&FROM, complaint.help(format!("of nodes that gossip, {} says how far they are", keys::ROUND_TRIPS)));
    }
    let complaint = Complaint::new(format!("a link with {} \"{emulation}\", where each is as it is", keys::EMULATION));
    let others = [Emulation::Shape, Emulation::Packets].map(|each| format!("\"{each}\""));
    (&FROM, complaint.help(format!("set {} to {}", keys::EMULATION, others.join(" or "))))
}

fn by_itself(row: &Row) -> Option<Wrong> {
    let is_end = |key: &Key| [FROM.name, TO.name].contains(&key.name);
    row.entries().all(|(key, _)| is_end(key)).then(|| {
        let names: Vec<_> = KEYS.iter().filter(|key| !is_end(key)).map(|key| key.name).collect();
        (&FROM, Complaint::new("a link of which nothing is said").help(format!("it may have {}", names.join(", "))))
    })
}

fn at_point(row: &Row, link: &Link, point: &Point) -> Option<Wrong> {
    let replicas = point.cluster.replicas;
    for (key, end) in [(&FROM, link.from), (&TO, link.to)] {
        if let LinkEnd::Replica(id) = end
            && id as usize >= replicas
        {
            let complaint = Complaint::new(format!("{key} {id} with {} {replicas}", keys::REPLICAS));
            return Some((key, complaint.help(format!("ids are from 0 to {}", replicas - 1))));
        }
    }
    let mut ways = link.ways(point).peekable();
    if ways.peek().is_none() {
        let complaint = Complaint::new("a link between nodes that have none");
        let help = "there is one from each replica to each other one, and both ways to each client";
        return Some((&TO, complaint.help(help)));
    }
    let conflict = lost_from_streams(point, link.loss.unwrap_or(0.0), link.reorder.unwrap_or(0.0), [&LOSS, &REORDER])
        .or_else(|| ways.find_map(|way| netem::conflict_of_link(point, &way, &|key| own(row, key))));
    conflict.map(|Conflict { keys: [key, _], message, help }| (key, Complaint::new(message).help(help)))
}

/// Says of some loss, say, what it is like, where nothing is lost.
fn idle(link: &Link, points: &[&Point]) -> Option<Wrong> {
    let is_idle = |has: fn(&Way) -> bool| !points.iter().any(|point| link.ways(point).any(|way| has(&way)));
    let said = [
        (
            &JITTER_DISTRIBUTION,
            &JITTER,
            link.jitter_distribution.is_some(),
            (|way| !way.jitter.is_zero()) as fn(&Way) -> bool,
        ),
        (&LOSS_BURST, &LOSS, link.loss_burst.is_some(), |way| way.loss > 0.0),
        (&REORDER_DELAY, &REORDER, link.reorder_delay.is_some(), |way| way.reorder > 0.0),
    ];
    let idle = said.into_iter().find(|(_, _, is_said, has)| *is_said && !points.is_empty() && is_idle(*has));
    idle.map(|(key, needed, ..)| {
        let complaint = Complaint::new(format!("{key} does nothing without {needed}"));
        (key, complaint.help(format!("leave it out, or set {needed}")))
    })
}

/// Its own key in the place of one of `[network]`, if it has it.
fn own(row: &Row, key: &'static Key) -> &'static Key {
    row.entries().map(|(own, _)| own).find(|own| own.name == key.name).unwrap_or(key)
}
