//! What the hosts share with their conductor: which trial is on, how far it is, and when it is over.

use std::sync::atomic::{AtomicI64, AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorumbench_protocols::{Nanos, Prng};
use quorumbench_transports::Counters;

use super::super::control::Control;
use super::links::Passed;
use crate::epidemic::together;
use crate::population::Trial;
use crate::spec::{Point, Style};

/// Shared by all.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) control: Control,
    pub(super) hosts: usize,
    nodes: usize,
    /// How long a host takes to make a node, with its view.
    node_ns: u64,
    interval: u64,
    /// Whether an epidemic is over when everyone knows, and not when nobody spreads.
    lasts: bool,
    /// Whether nodes join, so that there is always somebody who does not know.
    grows: bool,
    plan: Mutex<Option<Plan>>,
    /// The number of the plan, for those who only look.
    number: AtomicU64,
    /// When the trial ends: from here on no node has a turn in it.
    ends_at: AtomicU64,
    /// When it ends whatever happens.
    latest: AtomicU64,
    /// Hosts that have heard from all others.
    greeted: AtomicUsize,
    /// What hosts have told, packed into one number: nobody who looks sees that a message has arrived and not that it
    /// made its receiver spread.
    activity: AtomicI64,
    /// Updates that have begun.
    begun: AtomicUsize,
    /// Nodes that are up.
    alive: AtomicIsize,
    /// Of these, those that know an update, for each.
    known: Vec<AtomicIsize>,
    /// How many messages were under way when the conductor last looked, and since when nobody spreads and that has not
    /// changed.
    awaited: Mutex<(i32, Nanos)>,
    records: Mutex<Vec<Record>>,
}

/// A trial to come.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) first_cycle: Nanos,
    pub(super) prng: Prng,
}

/// What a host saw of a trial.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) trial: Trial,
    /// When the last update arrived, from the beginning of the first cycle.
    pub(super) last_ns: u64,
    /// What the transport did.
    pub(super) counters: Counters,
    /// What links did that nodes are far from each other for.
    pub(super) passed: Passed,
    /// Frames between nodes of the host.
    pub(super) handed_over: u64,
    pub(super) turns: u64,
    /// Turns that began more than half a cycle late.
    pub(super) late_turns: u64,
    /// How often it woke up more than half a cycle late.
    pub(super) stalls: u64,
    /// Frames that came when their trial was over.
    pub(super) strays: u64,
    /// Frames that no node says.
    pub(super) malformed: u64,
}

impl Record {
    /// That of two hosts.
    fn plus(&self, other: &Self) -> Self {
        Self {
            trial: together(&self.trial, &other.trial),
            last_ns: self.last_ns.max(other.last_ns),
            counters: self.counters.plus(other.counters),
            passed: self.passed.plus(other.passed),
            handed_over: self.handed_over + other.handed_over,
            turns: self.turns + other.turns,
            late_turns: self.late_turns + other.late_turns,
            stalls: self.stalls + other.stalls,
            strays: self.strays + other.strays,
            malformed: self.malformed + other.malformed,
        }
    }
}

/// What a host has not told yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    pub(super) activity: Activity,
    /// Updates that began.
    pub(super) begun: usize,
}

/// Why a trial is not over, or how much more or less of that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Activity {
    /// Nodes that spread an update, and what links hold that may make somebody know one.
    pub(super) spreading: i32,
    /// Updates, and what says where they are, that one host has sent to another, and that has not got yet.
    pub(super) under_way: i32,
}

impl Activity {
    /// As a number: the sum of two is that of both together.
    fn pack(self) -> i64 {
        (i64::from(self.spreading) << 32) + i64::from(self.under_way)
    }

    fn unpack(sum: i64) -> Self {
        let under_way = sum as i32;
        Self { spreading: ((sum - i64::from(under_way)) >> 32) as i32, under_way }
    }
}

/// Hosts look at the plan at least this often.
pub(super) const LOOK_NS: u64 = 4_000_000;
/// A first cycle begins so much later than it is planned, and by [`NODE_NS`] for each node, which has to be made.
const LEAD_NS: u64 = 4 * LOOK_NS;
const NODE_NS: u64 = 2_000;
/// The same for its view: every host makes all of them.
const VIEW_NS: u64 = 60_000;
/// An update that has not come for so long, and for a cycle, is lost.
const PATIENCE_NS: u64 = 100_000_000;

impl Stage {
    pub(super) fn new(point: &Point, control: &Control) -> Self {
        Self {
            control: control.clone(),
            hosts: point.cluster.replicas,
            nodes: point.cluster.nodes,
            node_ns: if point.gossip.is_partial() { NODE_NS + VIEW_NS } else { NODE_NS },
            interval: point.gossip.interval.as_nanos() as u64,
            lasts: point.gossip.style == Style::AntiEntropy,
            grows: point.gossip.join > 0.0,
            plan: Mutex::new(None),
            number: AtomicU64::new(0),
            ends_at: AtomicU64::new(u64::MAX),
            latest: AtomicU64::new(u64::MAX),
            greeted: AtomicUsize::new(0),
            activity: AtomicI64::new(0),
            begun: AtomicUsize::new(0),
            alive: AtomicIsize::new(0),
            known: (0..point.gossip.rumors).map(|_| AtomicIsize::new(0)).collect(),
            awaited: Mutex::new((0, Nanos::ZERO)),
            records: Mutex::new(Vec::new()),
        }
    }

    /// Gives out a trial.
    pub(super) fn begin(&self, number: u64, prng: Prng) {
        let first_cycle = self.control.clock().now() + (LEAD_NS + self.node_ns * self.nodes as u64);
        self.activity.store(0, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
        self.alive.store(self.nodes.cast_signed(), Ordering::Relaxed);
        self.known.iter().for_each(|known| known.store(0, Ordering::Relaxed));
        self.ends_at.store(u64::MAX, Ordering::Relaxed);
        self.latest.store(u64::MAX, Ordering::Relaxed);
        *lock(&self.awaited) = (0, first_cycle);
        *lock(&self.plan) = Some(Plan { number, first_cycle, prng });
        self.number.store(number, Ordering::Release);
    }

    /// The trial that is on, if it is another one than the host has.
    pub(super) fn next(&self, number: u64) -> Option<Plan> {
        if self.number.load(Ordering::Acquire) == number { None } else { lock(&self.plan).clone() }
    }

    /// What changed on a host, before it sends what it counts as under way: so nothing seems to be over that is not.
    pub(super) fn tell(&self, news: News) {
        self.activity.fetch_add(news.activity.pack(), Ordering::Release);
        // Who sees that all have begun sees who spreads them.
        self.begun.fetch_add(news.begun, Ordering::Release);
    }

    /// So many more nodes that are up know this update.
    pub(super) fn learn(&self, update: usize, nodes: isize) {
        self.known[update].fetch_add(nodes, Ordering::Release);
    }

    /// So many more nodes are up. What those know that are not any more is told before.
    pub(super) fn rise(&self, nodes: isize) {
        self.alive.fetch_add(nodes, Ordering::Release);
    }

    /// Whether each update is known to all that are up, or to nobody any more, which `is_quiet` says will stay so.
    fn are_settled(&self, is_quiet: bool) -> bool {
        // In this order: who crashes is not up after it knows nothing any more, so nobody is missing who is there.
        let alive = self.alive.load(Ordering::Acquire);
        self.known
            .iter()
            .map(|known| known.load(Ordering::Acquire))
            .all(|known| known == alive || is_quiet && known == 0)
    }

    /// The trial goes on for no longer than that.
    pub(super) fn end_by(&self, latest: Nanos) {
        self.latest.store(latest.0, Ordering::Release);
    }

    /// Sees to it that the trial ends with this cycle, if nothing more can happen in it.
    pub(super) fn look(&self) {
        let now = self.control.clock().now();
        if self.ends_at.load(Ordering::Relaxed) == u64::MAX && self.is_over(now) {
            let first = lock(&self.plan).as_ref().map_or(Nanos::ZERO, |plan| plan.first_cycle);
            let cycles = now.saturating_since(first) / self.interval + 1;
            self.ends_at.store(first.0 + cycles * self.interval, Ordering::Release);
        }
    }

    /// Everyone knows all that anybody does; or, where nodes stop, nobody will be told anything any more.
    fn is_over(&self, now: Nanos) -> bool {
        if self.begun.load(Ordering::Acquire) < self.known.len() {
            return false;
        }
        let is_quiet = self.is_quiet(now);
        if self.lasts { !self.grows && self.are_settled(is_quiet) } else { is_quiet }
    }

    /// Nobody spreads anything, and what is under way has arrived, or will not.
    fn is_quiet(&self, now: Nanos) -> bool {
        let Activity { spreading, under_way } = Activity::unpack(self.activity.load(Ordering::Acquire));
        let mut awaited = lock(&self.awaited);
        if awaited.0 != under_way || spreading > 0 {
            *awaited = (under_way, now);
        }
        spreading <= 0 && (under_way == 0 || now.saturating_since(awaited.1) > self.interval.max(PATIENCE_NS))
    }

    pub(super) fn ends_at(&self) -> Nanos {
        Nanos(self.ends_at.load(Ordering::Acquire).min(self.latest.load(Ordering::Acquire)))
    }

    pub(super) fn greet(&self) {
        self.greeted.fetch_add(1, Ordering::Release);
    }

    pub(super) fn greeted(&self) -> usize {
        self.greeted.load(Ordering::Acquire)
    }

    pub(super) fn record(&self, record: Record) {
        lock(&self.records).push(record);
    }

    /// How many hosts have handed in what they saw.
    pub(super) fn recorded(&self) -> usize {
        lock(&self.records).len()
    }

    /// All of it together.
    pub(super) fn take(&self) -> Record {
        lock(&self.records).drain(..).reduce(|sum, record| sum.plus(&record)).expect("there is a host")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Activity;

    #[test]
    fn activity_is_in_a_number_what_it_is() {
        let all: Vec<_> = [-70_000, -1, 0, 1, 3_000_000]
            .into_iter()
            .flat_map(|spreading| [-5, 0, 7, i32::MAX].map(|under_way| Activity { spreading, under_way }))
            .collect();
        assert!(all.iter().all(|&activity| Activity::unpack(activity.pack()) == activity));
        let more = Activity { spreading: -3, under_way: -2 };
        for Activity { spreading, under_way } in all {
            let sum = Activity { spreading, under_way }.pack() + more.pack();
            assert_eq!(Activity::unpack(sum), Activity { spreading: spreading - 3, under_way: under_way - 2 });
        }
    }
}
