//! Epidemics over a population: gossip's rules over bitsets and arrays, millions of nodes in memory.
//!
//! The protocols are those of Demers et al., *Epidemic Algorithms for Replicated Database Maintenance* (PODC 1987):
//! direct mail (section 1.2), anti-entropy (1.3) and rumor mongering (1.4); the median-counter algorithm of Karp et al.
//! (FOCS 2000); and Plumtree, of Leitão et al. (SRDS 2007). `docs/gossip.md` has the rules to the letter. There is no time
//! but the number of rounds: what comes out is the same on any machine.
//!
//! ```
//! use quorumbench::population::Population;
//! use quorumbench::spec::Spec;
//! use quorumbench_protocols::Prng;
//!
//! let config = r#"
//!     name = "doctest"
//!     cluster = { protocol = "gossip", transport = "population", nodes = 1000 }
//!     gossip = { style = "anti-entropy", exchange = "push-pull" }
//! "#;
//! let spec = Spec::parse(config, "doctest.toml", &[])?;
//! let point = &spec.points()[0];
//! let mut population = Population::new(point.cluster.nodes, &point.gossip);
//! let trial = population.trial(Prng::new(1), &|| true).expect("nobody stops it");
//! assert_eq!(trial.reached(), 1000, "anti-entropy reaches everyone");
//! # Ok::<(), quorumbench::spec::SpecError>(())
//! ```

mod asynchronous;
mod bits;
mod history;
mod interest;
mod median;
mod members;
mod partners;
mod places;
mod plumtree;
mod spread;
mod theory;
mod trials;
mod trips;
mod update;
mod views;
mod wheel;

use quorumbench_protocols::Prng;

use crate::spec::{Gossip, Style};
use median::Median;
use plumtree::Tree;
use spread::Spread;

pub(crate) use asynchronous::PARTS;
pub(crate) use median::stages;
pub(crate) use members::Members;
pub(crate) use places::places;
pub use trials::{SoFar, epidemic};
pub(crate) use trials::{Tally, epidemic_of};

/// As many nodes as there are, among which one update after the other spreads.
#[derive(Clone, Debug)]
pub struct Population<'a> {
    nodes: usize,
    gossip: &'a Gossip,
    kind: Kind<'a>,
}

/// How the update spreads.
#[derive(Clone, Debug)]
enum Kind<'a> {
    Mail,
    Contacts(Spread<'a>),
    Median(Median<'a>),
    Tree(Tree<'a>),
}

/// One epidemic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How many got the update in each round, or in each of the [`parts`](Self::parts) of it, from the first. The origin,
    /// which had it, is not among them.
    pub arrivals: Vec<u64>,
    /// Into how many parts arrivals divide a round: 1 where rounds are synchronous.
    pub parts: u64,
    /// How many of those that knew it crashed in each round; empty if none can.
    pub departures: Vec<u64>,
    /// Nodes that are down in the end.
    pub down: u64,
    /// Updates that were sent, lost ones among them.
    pub sent: u64,
    /// Contacts that were looked at: those that might have carried the update.
    pub contacts: u64,
    /// Messages that only say where updates are, or should go.
    pub control: u64,
    /// Whether the graph of who may talk to whom was in several parts, at the start or in the end; `None` where everyone
    /// may talk to everyone.
    pub is_split: Option<bool>,
    /// The same of the other updates that spread over the same contacts.
    pub others: Vec<Self>,
}

impl Default for Trial {
    /// Of an epidemic that has not begun.
    fn default() -> Self {
        Self {
            arrivals: Vec::new(),
            parts: 1,
            departures: Vec::new(),
            down: 0,
            sent: 0,
            contacts: 0,
            control: 0,
            is_split: None,
            others: Vec::new(),
        }
    }
}

impl Trial {
    /// How many know the update in the end, the origin among them.
    pub fn reached(&self) -> u64 {
        1 + self.arrivals.iter().sum::<u64>() - self.departures.iter().sum::<u64>()
    }

    /// The round of the last arrival, or the part of it; 0 if there was none.
    pub fn last(&self) -> u64 {
        self.arrivals.iter().rposition(|&arrived| arrived > 0).map_or(0, |index| index as u64 + 1)
    }
}

impl<'a> Population<'a> {
    /// A population that gossips so.
    pub fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        let kind = match gossip.style {
            Style::DirectMail => Kind::Mail,
            Style::AntiEntropy | Style::Rumor => Kind::Contacts(Spread::new(nodes, gossip)),
            Style::MedianCounter => Kind::Median(Median::new(nodes, gossip)),
            Style::Plumtree => Kind::Tree(Tree::new(nodes, gossip)),
        };
        Self { nodes, gossip, kind }
    }

    /// One epidemic from beginning to end; `None` if `go_on`, asked in every cycle, is false.
    pub fn trial(&mut self, mut prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        match &mut self.kind {
            Kind::Mail => go_on().then(|| mail(self.nodes as u64 - 1, self.gossip.loss, &mut prng)),
            Kind::Contacts(spread) => spread.trial(prng, go_on),
            Kind::Median(median) => median.trial(prng, go_on),
            Kind::Tree(tree) => tree.trial(prng, go_on),
        }
    }
}

/// Direct mail: the origin posts to all others, and each letter is lost or not (Demers et al. 1987, section 1.2).
fn mail(others: u64, loss: f64, prng: &mut Prng) -> Trial {
    let arrived = if loss > 0.0 { (0..others).filter(|_| prng.unit() >= loss).count() as u64 } else { others };
    Trial { arrivals: vec![arrived], sent: others, contacts: others, ..Trial::default() }
}
