//! Epidemics over a population: gossip's rules over bitsets and arrays, millions of nodes in memory.
//!
//! The protocols are those of Demers et al., *Epidemic Algorithms for Replicated Database Maintenance* (PODC 1987):
//! direct mail (section 1.2), anti-entropy (1.3) and rumor mongering (1.4). `docs/gossip.md` has the rules to the
//! letter. Cycles are synchronous, so there is no time but their number: what comes out is the same on any machine.
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

mod bits;
mod interest;
mod partners;
mod spread;
mod theory;
mod trials;

use quorumbench_protocols::Prng;

use crate::spec::{Gossip, Style};
use spread::Spread;

pub use trials::epidemic;
pub(crate) use trials::{Tally, epidemic_of};

/// As many nodes as there are, among which one update after the other spreads.
#[derive(Clone, Debug)]
pub struct Population<'a> {
    nodes: usize,
    gossip: &'a Gossip,
    /// `None` for direct mail, which is over at once.
    spread: Option<Spread<'a>>,
}

/// One epidemic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// How many got the update in each round, from the first. The origin, which had it, is not among them.
    pub arrivals: Vec<u64>,
    /// Updates that were sent, lost ones among them.
    pub sent: u64,
    /// Contacts that were looked at: those that might have carried the update.
    pub contacts: u64,
}

impl Trial {
    /// How many know the update in the end, the origin among them.
    pub fn reached(&self) -> u64 {
        1 + self.arrivals.iter().sum::<u64>()
    }

    /// The round of the last arrival; 0 if there was none.
    pub fn last(&self) -> u64 {
        self.arrivals.iter().rposition(|&arrived| arrived > 0).map_or(0, |index| index as u64 + 1)
    }
}

impl<'a> Population<'a> {
    /// A population that gossips so.
    pub fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        let spread = (gossip.style != Style::DirectMail).then(|| Spread::new(nodes, gossip));
        Self { nodes, gossip, spread }
    }

    /// One epidemic from beginning to end; `None` if `go_on`, asked in every cycle, is false.
    pub fn trial(&mut self, mut prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        let Some(spread) = &mut self.spread else {
            return go_on().then(|| mail(self.nodes as u64 - 1, self.gossip.loss, &mut prng));
        };
        spread.begin(prng);
        let mut arrivals = Vec::new();
        let mut reached = 1;
        while !spread.is_over(reached) {
            if !go_on() {
                return None;
            }
            arrivals.push(spread.cycle());
            reached += arrivals.last().copied().unwrap_or_default();
        }
        Some(Trial { arrivals, sent: spread.sent, contacts: spread.contacts })
    }
}

/// Direct mail: the origin posts to all others, and each letter is lost or not (Demers et al. 1987, section 1.2).
fn mail(others: u64, loss: f64, prng: &mut Prng) -> Trial {
    let arrived = if loss > 0.0 { (0..others).filter(|_| prng.unit() >= loss).count() as u64 } else { others };
    Trial { arrivals: vec![arrived], sent: others, contacts: others }
}
