//! Many epidemics, and what they have in common.

use std::cell::Cell;
use std::sync::atomic::AtomicBool;

use quorumbench_protocols::Prng;

use super::{Population, Trial, theory};
use crate::results::{Epidemic, Spread};
use crate::spec::{Gossip, Style};
use crate::trials;

/// How far the trials of a point are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Those that are over.
    pub finished: usize,
    /// Of these, those in which the graph of who may talk to whom was in several parts.
    pub split: usize,
}

/// Runs `gossip.trials` epidemics on `threads` threads, each with randomness that follows from `seed` and its number:
/// what comes out does not depend on how many threads there are. `None` if `interrupted`.
///
/// `progress` hears every few milliseconds how far they are, on the calling thread.
pub fn epidemic(
    nodes: usize,
    gossip: &Gossip,
    seed: u64,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(SoFar),
) -> Option<Epidemic> {
    epidemic_of(nodes, gossip, seed, threads, interrupted, progress, &|| {
        let mut population = Population::new(nodes, gossip);
        move |prng, go_on: &dyn Fn() -> bool| population.trial(prng, go_on)
    })
}

/// The same in another world: `world` makes one for each thread, which runs a trial from its randomness, for as long as
/// it may go on.
pub(crate) fn epidemic_of<T: FnMut(Prng, &dyn Fn() -> bool) -> Option<Trial>>(
    nodes: usize,
    gossip: &Gossip,
    seed: u64,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(SoFar),
    world: &(dyn Fn() -> T + Sync),
) -> Option<Epidemic> {
    let seeds = Prng::new(seed);
    let mut tally = Tally::new(nodes, gossip);
    let numbered = || {
        let (mut run, seeds) = (world(), &seeds);
        move |index: usize, go_on: &dyn Fn() -> bool| run(seeds.fork(index as u64), go_on)
    };
    let split = Cell::new(0);
    let take = &mut |index, trial| {
        tally.add(index, &trial);
        split.set(tally.split());
    };
    let told = &mut |finished| progress(SoFar { finished, split: split.get() });
    trials::run(gossip.trials, threads, interrupted, told, &numbered, take).then(|| tally.epidemic())
}

/// What is kept of each trial: of all updates that spread in it, added up.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    updates: u64,
    /// Nodes that are up in the end, and those of them that know.
    alive: u64,
    reached: u64,
    arrived: u64,
    sent: u64,
    control: u64,
    /// Rounds, or parts of them.
    last: u64,
    /// Those of all arrivals.
    rounds: u64,
    parts: u64,
}

impl Kept {
    fn add(&mut self, nodes: usize, trial: &Trial) {
        self.updates += 1;
        self.alive += nodes as u64 - trial.down;
        self.reached += trial.reached();
        self.arrived += trial.arrivals.iter().sum::<u64>();
        self.sent += trial.sent;
        self.control += trial.control;
        self.last += trial.last();
        self.rounds += (1..).zip(&trial.arrivals).map(|(round, arrived)| round * arrived).sum::<u64>();
        self.parts = trial.parts;
    }

    /// The share of those that are up in the end who do not know; 1 if nobody is up, who could.
    fn residue(&self) -> f64 {
        // On real transports a host that stood still may have seen one more crash than another.
        let missed = self.alive.saturating_sub(self.reached);
        if self.alive == 0 { 1.0 } else { missed as f64 / self.alive as f64 }
    }
}

/// All trials so far. Sums are of whole numbers, and so the same in whatever order they come.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    nodes: usize,
    gossip: &'a Gossip,
    kept: Vec<Kept>,
    finished: usize,
    /// Arrivals by round, over all trials.
    arrivals: Vec<u64>,
    /// Of those that knew, who crashed, by round.
    departures: Vec<u64>,
    /// How many trials were in parts.
    split: usize,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            nodes,
            gossip,
            kept: vec![Kept::default(); gossip.trials],
            finished: 0,
            arrivals: Vec::new(),
            departures: Vec::new(),
            split: 0,
        }
    }

    /// Trials so far in which some could not be reached by any means.
    pub(crate) fn split(&self) -> usize {
        self.split
    }

    pub(crate) fn add(&mut self, index: usize, trial: &Trial) {
        for each in std::iter::once(trial).chain(&trial.others) {
            self.kept[index].add(self.nodes, each);
            let parts = each.parts as usize;
            let rounds = each.last().div_ceil(each.parts) as usize;
            self.arrivals.resize(self.arrivals.len().max(rounds), 0);
            for (sum, arrived) in self.arrivals.iter_mut().zip(each.arrivals.chunks(parts)) {
                *sum += arrived.iter().sum::<u64>();
            }
            self.departures.resize(self.departures.len().max(each.departures.len()), 0);
            self.departures.iter_mut().zip(&each.departures).for_each(|(sum, departed)| *sum += departed);
        }
        self.split += usize::from(trial.is_split == Some(true));
        self.finished += 1;
    }

    pub(crate) fn epidemic(&self) -> Epidemic {
        let over = |of: fn(&Kept) -> f64| self.kept.iter().map(of).collect::<Vec<f64>>();
        let by_node = |of: fn(&Kept) -> u64| {
            let nodes = self.nodes as f64;
            self.kept.iter().map(|kept| of(kept) as f64 / kept.updates as f64 / nodes).collect::<Vec<f64>>()
        };
        let spread = |values: Vec<f64>| Spread::of(values).expect("there is a trial");
        let sent = by_node(|kept| kept.sent);
        let traffic = spread(sent.clone());
        let anyone = self.kept.iter().filter(|kept| kept.arrived > 0);
        let rounds_last = spread(over(|kept| kept.last as f64 / (kept.parts * kept.updates) as f64));
        Epidemic {
            nodes: self.nodes,
            trials: self.finished,
            last_ns: rounds_last.mean * self.gossip.interval.as_nanos() as f64,
            rounds_last,
            rounds_mean: Spread::of(
                anyone.map(|kept| kept.rounds as f64 / (kept.parts * kept.arrived) as f64).collect(),
            ),
            residue: spread(over(Kept::residue)),
            redundancy: spread(over(|kept| (kept.sent - kept.arrived) as f64 / kept.arrived.max(1) as f64)),
            coverage: spread(over(|kept| 1.0 - kept.residue())),
            bytes_per_node: spread(sent.iter().map(|sent| sent * self.gossip.payload as f64).collect()),
            control: (self.gossip.style == Style::Plumtree).then(|| spread(by_node(|kept| kept.control))),
            split: self.gossip.is_partial().then_some(self.split),
            curve: self.curve(),
            theory: theory::of(self.nodes, self.gossip, traffic.mean),
            traffic,
        }
    }

    /// The share that knows the update after each round, from round 0, when only the origin does.
    fn curve(&self) -> Vec<f64> {
        let updates = (self.gossip.rumors * self.finished) as u64;
        let all = (self.nodes as u64 * updates) as f64;
        let mut reached = updates;
        let begin = std::iter::once(reached as f64 / all);
        let departures = self.departures.iter().copied().chain(std::iter::repeat(0));
        let after = self.arrivals.iter().zip(departures).map(|(arrived, departed)| {
            reached = reached + arrived - departed;
            reached as f64 / all
        });
        begin.chain(after).collect()
    }
}
