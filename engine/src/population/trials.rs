//! Many epidemics, and what they have in common.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use quorumbench_protocols::Prng;

use super::{Population, Trial, theory};
use crate::results::{Epidemic, Spread};
use crate::spec::Gossip;

/// Runs `gossip.trials` epidemics on `threads` threads, each with randomness that follows from `seed` and its number:
/// what comes out does not depend on how many threads there are. `None` if `interrupted`.
///
/// `progress` hears every few milliseconds how many are finished, on the calling thread.
pub fn epidemic(
    nodes: usize,
    gossip: &Gossip,
    seed: u64,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize),
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
    progress: &mut dyn FnMut(usize),
    world: &(dyn Fn() -> T + Sync),
) -> Option<Epidemic> {
    let seeds = Prng::new(seed);
    let next = AtomicUsize::new(0);
    let go_on = || !interrupted.load(Ordering::Relaxed);
    let mut tally = Tally::new(nodes, gossip);
    thread::scope(|scope| {
        let (finished, trials) = mpsc::sync_channel(64);
        for _ in 0..threads.clamp(1, gossip.trials) {
            let (finished, next, seeds, go_on) = (finished.clone(), &next, &seeds, &go_on);
            scope.spawn(move || {
                let mut run = world();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= gossip.trials {
                        break;
                    }
                    let Some(trial) = run(seeds.fork(index as u64), go_on) else { break };
                    if finished.send((index, trial)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(finished);
        loop {
            match trials.recv_timeout(PAUSE) {
                Ok((index, trial)) => tally.add(index, &trial),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            progress(tally.finished);
        }
    });
    (tally.finished == gossip.trials).then(|| tally.epidemic())
}

/// How often progress is told while no trial ends.
const PAUSE: Duration = Duration::from_millis(20);

/// What is kept of each trial.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    reached: u64,
    sent: u64,
    last: u64,
    /// The rounds of all arrivals, added up.
    rounds: u64,
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
}

impl<'a> Tally<'a> {
    pub(crate) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self { nodes, gossip, kept: vec![Kept::default(); gossip.trials], finished: 0, arrivals: Vec::new() }
    }

    pub(crate) fn add(&mut self, index: usize, trial: &Trial) {
        let rounds = (1..).zip(&trial.arrivals).map(|(round, arrived)| round * arrived).sum();
        self.kept[index] = Kept { reached: trial.reached(), sent: trial.sent, last: trial.last(), rounds };
        self.finished += 1;
        let rounds = trial.last() as usize;
        self.arrivals.resize(self.arrivals.len().max(rounds), 0);
        self.arrivals.iter_mut().zip(&trial.arrivals).for_each(|(sum, arrived)| *sum += arrived);
    }

    pub(crate) fn epidemic(&self) -> Epidemic {
        let nodes = self.nodes as f64;
        let over = |of: fn(&Kept) -> f64| self.kept.iter().map(of).collect::<Vec<f64>>();
        let share =
            |of: fn(&Kept) -> f64, per: f64| over(of).into_iter().map(|value| value / per).collect::<Vec<f64>>();
        let spread = |values: Vec<f64>| Spread::of(values).expect("there is a trial");
        let sent = share(|kept| kept.sent as f64, nodes);
        let traffic = spread(sent.clone());
        let residues = self.kept.iter().map(|kept| (self.nodes as u64 - kept.reached) as f64 / nodes).collect();
        let anyone = self.kept.iter().filter(|kept| kept.reached > 1);
        let rounds_last = spread(over(|kept| kept.last as f64));
        Epidemic {
            nodes: self.nodes,
            trials: self.finished,
            last_ns: rounds_last.mean * self.gossip.interval.as_nanos() as f64,
            rounds_last,
            rounds_mean: Spread::of(anyone.map(|kept| kept.rounds as f64 / (kept.reached - 1) as f64).collect()),
            residue: spread(residues),
            redundancy: spread(over(|kept| {
                let arrived = kept.reached - 1;
                (kept.sent - arrived) as f64 / arrived.max(1) as f64
            })),
            coverage: spread(share(|kept| kept.reached as f64, nodes)),
            bytes_per_node: spread(sent.iter().map(|sent| sent * self.gossip.payload as f64).collect()),
            curve: self.curve(),
            theory: theory::of(self.nodes, self.gossip, traffic.mean),
            traffic,
        }
    }

    /// The share that knows the update after each round, from round 0, when only the origin does.
    fn curve(&self) -> Vec<f64> {
        let all = (self.nodes * self.finished) as f64;
        let mut reached = self.finished as u64;
        let begin = std::iter::once(reached as f64 / all);
        let after = self.arrivals.iter().map(|arrived| {
            reached += arrived;
            reached as f64 / all
        });
        begin.chain(after).collect()
    }
}
