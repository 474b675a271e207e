//! Worlds, run one by one or many at once, and what became of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::checks::{Violation, property};
use super::history;
use super::subject::Subject;
use super::swarm::{Scenario, Wishes};
use super::world::{Stats, World};
use crate::check::History;

/// Is shown every event, as a line.
pub type Print = Box<dyn FnMut(&str) + Send>;

/// What became of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it drew.
    pub scenario: Scenario,
    /// What happened.
    pub stats: Stats,
    /// What its clients invoked and saw.
    pub history: History,
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
}

/// What a failing seed has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The property that does not hold.
    pub violation: Violation,
    /// How each node stands.
    pub states: Vec<String>,
    /// The last events.
    pub last_events: Vec<String>,
}

/// Runs the world that `seed` draws.
pub fn run<P: Subject>(seed: u64, wishes: &Wishes, print: Option<Print>) -> Outcome {
    let mut scenario = Scenario::draw(seed, wishes);
    if P::OBSERVES && wishes.cluster.is_none() {
        scenario.draw_observers();
    }
    let mut world = World::<P>::new(scenario.clone(), print);
    // A protocol asserts what it relies on. That is a finding like any other, with a seed to replay.
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match ended {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Some(Violation::new(property::NO_PANIC, text.unwrap_or_else(|| "without a word".into())))
        }
    };
    let history = history::of(world.operations());
    let violation = violation.or_else(|| history::judge(&history).err());
    let failure =
        violation.map(|violation| Failure { violation, states: world.states(), last_events: world.last_events() });
    Outcome { scenario, stats: world.stats(), history, failure }
}

/// Runs `count` seeds from `first` on with `run_seed`, on `jobs` threads, and hands the outcomes to `each`
/// in the order of the seeds, up to and with the first that failed.
///
/// Seeds share nothing, so the outcomes are the same with any number of threads.
pub fn run_many(
    first: u64,
    count: u64,
    jobs: usize,
    run_seed: impl Fn(u64) -> Outcome + Sync,
    each: &mut (dyn FnMut(Outcome) + Send),
) {
    run_many_while(first, count, jobs, &|| true, run_seed, each);
}

/// As [`run_many`], and begins no seed but the first once it may not `go_on`: how many are run then depends on that.
pub fn run_many_while(
    first: u64,
    count: u64,
    jobs: usize,
    go_on: &(dyn Fn() -> bool + Sync),
    run_seed: impl Fn(u64) -> Outcome + Sync,
    each: &mut (dyn FnMut(Outcome) + Send),
) {
    let next = AtomicU64::new(first);
    let end = first.saturating_add(count);
    let failed = AtomicU64::new(u64::MAX);
    let in_order = Mutex::new(InOrder { next: first, early: Vec::new(), each });
    let work = || {
        loop {
            if next.load(Ordering::Relaxed) > first && !go_on() {
                return;
            }
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Every seed below the first failing one was begun before it, and is finished.
            if seed >= end || seed > failed.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run_seed(seed);
            if outcome.failure.is_some() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
            in_order.lock().expect("nobody panics in here").take(outcome);
        }
    };
    std::thread::scope(|scope| {
        (1..jobs.max(1)).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
}

/// Outcomes that came before their turn wait.
struct InOrder<'a> {
    /// The seed whose turn it is; [`u64::MAX`] after a failure.
    next: u64,
    early: Vec<Outcome>,
    each: &'a mut (dyn FnMut(Outcome) + Send),
}

impl InOrder<'_> {
    fn take(&mut self, outcome: Outcome) {
        self.early.push(outcome);
        while let Some(at) = self.early.iter().position(|outcome| outcome.scenario.seed == self.next) {
            let outcome = self.early.swap_remove(at);
            self.next = if outcome.failure.is_some() { u64::MAX } else { self.next + 1 };
            (self.each)(outcome);
        }
    }
}
