//! The updates of a trial: where each begins, and what is seen of it.

use quorumbench_protocols::gossip::Gossip as Node;
use quorumbench_protocols::{NodeId, Prng, Slot};
use rustc_hash::FxHashMap;

use crate::population::{PARTS, Trial};
use crate::spec::{Gossip, Rounds};

/// All updates that spread at once.
#[derive(Debug)]
pub(crate) struct Updates {
    /// Where each begins.
    pub(crate) origins: Vec<NodeId>,
    /// Which one it is that has a number.
    indices: FxHashMap<Slot, usize>,
    seen: Vec<Trial>,
}

const ORIGIN: NodeId = NodeId(0);

impl Updates {
    /// As many as `rules` say, the others at random nodes.
    pub(crate) fn new(nodes: usize, rules: &Gossip, prng: &mut Prng) -> Self {
        let mut origins = vec![ORIGIN];
        origins.extend((1..rules.rumors).map(|_| NodeId(prng.below(nodes as u64) as u32)));
        let number = |index: usize| {
            let earlier = origins[..index].iter().filter(|&&origin| origin == origins[index]).count() as u64;
            Node::number(origins[index], nodes as u32, earlier + 1)
        };
        let indices = (0..origins.len()).map(|index| (number(index), index)).collect();
        let parts = if rules.rounds == Rounds::Asynchronous { PARTS as u64 } else { 1 };
        let seen = vec![Trial { parts, ..Trial::default() }; origins.len()];
        Self { origins, indices, seen }
    }

    /// One was sent.
    pub(crate) fn sent(&mut self, number: Slot) {
        if let Some(&index) = self.indices.get(&number) {
            self.seen[index].sent += 1;
        }
    }

    /// One arrived, so long after the first cycle began, where cycles are `interval` long.
    pub(crate) fn arrived(&mut self, number: Slot, after: u64, interval: u64) {
        let Some(&index) = self.indices.get(&number) else { return };
        let trial = &mut self.seen[index];
        let part = (u128::from(after) * u128::from(trial.parts) / u128::from(interval)) as usize;
        trial.arrivals.resize(trial.arrivals.len().max(part + 1), 0);
        trial.arrivals[part] += 1;
    }

    /// Which of them has this number.
    pub(crate) fn index(&self, number: Slot) -> Option<usize> {
        self.indices.get(&number).copied()
    }

    /// Who knew these crashed, in a round that is counted from 1. Says which it knew.
    pub(crate) fn lost(&mut self, round: u64, knew: impl Fn(Slot) -> bool, mut lost: impl FnMut(usize)) {
        for &index in self.indices.iter().filter(|&(&number, _)| knew(number)).map(|(_, index)| index) {
            let departures = &mut self.seen[index].departures;
            departures.resize(departures.len().max(round as usize), 0);
            departures[round as usize - 1] += 1;
            lost(index);
        }
    }

    /// Others begin at the same of so many nodes, and what was seen is forgotten.
    pub(crate) fn begin_again(&mut self, nodes: usize) {
        self.indices = self.indices.drain().map(|(number, index)| (Slot(number.0 + nodes as u64), index)).collect();
        self.seen.iter_mut().for_each(|seen| *seen = Trial { parts: seen.parts, ..Trial::default() });
    }

    /// Whether each is known by all of so many, or can never be: none is under way then.
    pub(crate) fn are_settled(&self, alive: u64, is_under_way: bool) -> bool {
        self.seen.iter().map(Trial::reached).all(|reached| reached == alive || (reached == 0 && !is_under_way))
    }

    /// What was seen, and what is the same for all: contacts, and who may talk to whom.
    pub(crate) fn trial(self, all: &Trial) -> Trial {
        let of = |seen: Trial| Trial {
            contacts: all.contacts,
            is_split: all.is_split,
            control: all.control,
            down: all.down,
            ..seen
        };
        let mut trials = self.seen.into_iter().map(of);
        let first = trials.next().expect("at least one update spreads");
        Trial { others: trials.collect(), ..first }
    }
}

/// What two saw who looked at different nodes.
pub(crate) fn together(one: &Trial, other: &Trial) -> Trial {
    let (longer, shorter) = if one.arrivals.len() < other.arrivals.len() { (other, one) } else { (one, other) };
    let mut sum = longer.clone();
    sum.arrivals.iter_mut().zip(&shorter.arrivals).for_each(|(sum, arrived)| *sum += arrived);
    let departures = [&one.departures, &other.departures];
    let round = |round: usize| departures.iter().filter_map(|departed| departed.get(round)).sum();
    sum.departures = (0..departures.map(Vec::len).into_iter().max().unwrap_or(0)).map(round).collect();
    sum.sent += shorter.sent;
    sum.contacts += shorter.contacts;
    sum.control += shorter.control;
    sum.others = one.others.iter().zip(&other.others).map(|(one, other)| together(one, other)).collect();
    sum
}
