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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
        let usual = Way { delay: self.distance(from, to), ..self.network.usual };
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

impl Way {
    /// What the defaults of the keys are set over.
    pub(super) fn blank() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_distribution: JitterDistribution::ALL[0],
            loss: 0.0,
            loss_burst: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            bandwidth: None,
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
    let Some(first) = given.first() else { return Ok(()) };
    if points.is_empty() {
        let passed_over = [&keys::PROTOCOL, &keys::TRANSPORT, &keys::EMULATION].into_iter().any(is_overridden);
        return if passed_over { Ok(()) } else { Err(first.error(&FROM, nowhere(drafts))) };
    }
    let tables: Vec<_> = given.iter().map(|given| Table { given, link: Link::of(&given.row) }).collect();
    for (index, table) in tables.iter().enumerate() {
        let wrong = says_something(table)
            .or_else(|| leads_somewhere(table, &points).filter(|_| !is_overridden(&keys::REPLICAS)))
            .or_else(|| qualifies(table, &points, &is_overridden))
            .or_else(|| counts(table, &tables[index + 1..], &points));
        if let Some((key, complaint)) = wrong {
            return Err(table.given.error(key, complaint));
        }
    }
    points.iter().find_map(|point| otherwise(&tables, point)).map_or(Ok(()), Err)
}

/// One of them, and where it is written.
struct Table<'a> {
    given: &'a Given<'a>,
    link: Link,
}

impl Table<'_> {
    fn has(&self, key: &Key) -> bool {
        self.given.row.value(key).is_some()
    }

    /// The links of a point that it is about.
    fn pairs(&self, point: &Point) -> impl Iterator<Item = (usize, usize)> {
        let replicas = point.cluster.replicas;
        point.pairs().filter(move |&(from, to)| self.link.is_about(from, to, replicas))
    }
}

/// What is wrong, and the key to point at.
type Wrong = (&'static Key, Complaint);

fn nowhere(drafts: &[Draft]) -> Complaint {
    let Some(point) = drafts.iter().map(|draft| &draft.point).find(|point| point.cluster.protocol.orders()) else {
        let protocol = drafts[0].point.cluster.protocol;
        let complaint = Complaint::new(format!("a link with {} \"{protocol}\"", keys::PROTOCOL));
        return complaint.help("links of their own are for protocols that order commands");
    };
    let emulation = point.network.emulation;
    let complaint = Complaint::new(format!("a link with {} \"{emulation}\", where each is as it is", keys::EMULATION));
    let fits = |each: &Emulation| *each == Emulation::Shape || point.cluster.transport.has_sockets();
    let others = [Emulation::Shape, Emulation::Packets].into_iter().filter(fits).map(|each| format!("\"{each}\""));
    complaint.help(format!("set {} to {}", keys::EMULATION, others.collect::<Vec<_>>().join(" or ")))
}

/// All keys but those that say which link it is.
fn what_it_does() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().filter(|key| ![FROM.name, TO.name].contains(&key.name))
}

fn says_something(table: &Table<'_>) -> Option<Wrong> {
    (!what_it_does().any(|key| table.has(key))).then(|| {
        let names: Vec<_> = what_it_does().map(|key| key.name).collect();
        (&FROM, Complaint::new("a link of which nothing is said").help(format!("it may have {}", names.join(", "))))
    })
}

fn leads_somewhere(table: &Table<'_>, points: &[&Point]) -> Option<Wrong> {
    let fewest = points.iter().map(|point| point.cluster.replicas).min()?;
    for (key, end) in [(&FROM, table.link.from), (&TO, table.link.to)] {
        if let LinkEnd::Replica(id) = end
            && id as usize >= fewest
        {
            let complaint = Complaint::new(format!("{key} {id} with {} {fewest}", keys::REPLICAS));
            return Some((key, complaint.help(format!("ids are from 0 to {}", fewest - 1))));
        }
    }
    points.iter().all(|point| table.pairs(point).next().is_none()).then(|| {
        let complaint =
            Complaint::new(format!("a link between nodes that have none, with {} {fewest}", keys::REPLICAS));
        (&TO, complaint.help("there is one from each replica to each other one, and both ways to each client"))
    })
}

/// Says of some loss, say, what it is like, where something is lost.
fn qualifies(table: &Table<'_>, points: &[&Point], is_overridden: impl Fn(&Key) -> bool) -> Option<Wrong> {
    type Has = fn(&Way) -> bool;
    let qualities: [(&Key, &Key, &Key, Has); 3] = [
        (&JITTER_DISTRIBUTION, &JITTER, &keys::JITTER, |way| !way.jitter.is_zero()),
        (&LOSS_BURST, &LOSS, &keys::LOSS, |way| way.loss > 0.0),
        (&REORDER_DELAY, &REORDER, &keys::REORDER, |way| way.reorder > 0.0),
    ];
    let ways = || points.iter().flat_map(|point| table.pairs(point).map(|(from, to)| point.way(from, to)));
    let idle = qualities
        .into_iter()
        .find(|(key, _, usual, has)| table.has(key) && !is_overridden(usual) && !ways().any(|way| has(&way)));
    idle.map(|(key, needed, ..)| {
        let complaint = Complaint::new(format!("{key} does nothing without {needed}"));
        (key, complaint.help(format!("leave it out, or set {needed}")))
    })
}

/// Each of its keys counts for some link, and not only those of tables that come later.
fn counts(table: &Table<'_>, later: &[Table<'_>], points: &[&Point]) -> Option<Wrong> {
    let is_said_again = |key: &Key, point: &Point, (from, to): (usize, usize)| {
        let about = later.iter().filter(|table| table.link.is_about(from, to, point.cluster.replicas));
        about.into_iter().any(|table| table.has(key))
    };
    let never = |key: &&'static Key| {
        let mut links = points.iter().flat_map(|point| table.pairs(point).map(move |pair| (point, pair))).peekable();
        table.has(key) && links.peek().is_some() && links.all(|(point, pair)| is_said_again(key, point, pair))
    };
    what_it_does().find(never).map(|key| {
        let complaint = Complaint::new(format!("{key} does nothing: a later table says it of all these links"));
        (key, complaint.help("leave it out, or put it below that one"))
    })
}

/// What is asked of a link that whatever makes it does otherwise. The last table that has a part in it is to blame.
fn otherwise(tables: &[Table<'_>], point: &Point) -> Option<SpecError> {
    point.pairs().find_map(|(from, to)| {
        let about = || tables.iter().rev().filter(|table| table.link.is_about(from, to, point.cluster.replicas));
        let last = about().next()?;
        // How jitter is distributed belongs to it.
        let belongs = |key: &Key| key.name == JITTER_DISTRIBUTION.name && about().any(|table| table.has(&JITTER));
        let own = |key: &'static Key| match KEYS.iter().find(|own| own.name == key.name) {
            Some(own) if belongs(own) || about().any(|table| table.has(own)) => own,
            _ => key,
        };
        let way = point.way(from, to);
        let conflict = lost_from_streams(point, way.loss, way.reorder, [own(&keys::LOSS), own(&keys::REORDER)])
            .or_else(|| netem::conflict_of_link(point, &way, &own));
        let Conflict { keys: [key, _], message, help } = conflict?;
        let is_named = |table: &&Table<'_>| KEYS.iter().any(|key| table.has(key) && message.contains(&key.to_string()));
        let blamed = about().find(is_named).unwrap_or(last);
        Some(blamed.given.error(key, Complaint::new(message).help(help)))
    })
}

/// What `[network]` says of links, each of which has a table that says otherwise.
pub(super) fn idle(drafts: &[Draft], is_set: impl Fn(&Key) -> bool) -> Option<Conflict> {
    type Change = fn(&mut Network);
    let usual: [(&Key, Change); 7] = [
        (&keys::DELAY, |network| network.usual.delay += MOMENT),
        (&keys::CLIENT_DELAY, |network| network.client_delay += MOMENT),
        (&keys::ROUND_TRIPS, |network| network.round_trips = None),
        (&keys::JITTER, |network| network.usual.jitter += MOMENT),
        (&keys::LOSS, |network| network.usual.loss += 1.0),
        (&keys::REORDER, |network| network.usual.reorder += 1.0),
        (&keys::BANDWIDTH, |network| {
            network.usual.bandwidth = Some(network.usual.bandwidth.map_or(1, |bytes| bytes + 1));
        }),
    ];
    // Others that have the key have nothing else to go by.
    let differs = |point: &Point, change: Change| {
        let mut other = point.clone();
        change(&mut other.network);
        point.pairs().any(|(from, to)| point.way(from, to) != other.way(from, to))
    };
    let does_something = |key: &Key, change| {
        let having = drafts.iter().map(|draft| &draft.point).filter(|point| point.coordinate(key).is_some());
        having.into_iter().any(|point| !point.has_links() || differs(point, change))
    };
    let is_laid = drafts.iter().any(|draft| !draft.point.network.links.is_empty());
    let idle = usual.into_iter().find(|(key, change)| is_laid && is_set(key) && !does_something(key, *change));
    idle.map(|(key, _)| Conflict {
        keys: [key, key],
        message: format!("{key} does nothing: each link has a table of its own that says it"),
        help: "leave it out".into(),
    })
}

const MOMENT: Duration = Duration::from_nanos(1);
