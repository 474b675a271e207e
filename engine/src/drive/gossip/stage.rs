//! What the hosts share with their conductor: which trial is on, how far it is, and when it is over.

use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorumbench_protocols::{Nanos, Prng};
use quorumbench_transports::Counters;

use super::super::control::Control;
use crate::epidemic::together;
use crate::population::Trial;
use crate::spec::{Point, Style};

/// Shared by all.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) control: Control,
    pub(super) hosts: usize,
    nodes: usize,
    /// Arrivals, and beginnings, until everyone knows all.
    all: usize,
    interval: u64,
    /// Whether an epidemic is over when everyone knows, and not when nobody spreads.
    lasts: bool,
    plan: Mutex<Option<Plan>>,
    /// The number of the plan, for those who only look.
    number: AtomicU64,
    /// When the trial ends: from here on no node has a turn in it.
    ends_at: AtomicU64,
    /// Hosts that have heard from all others.
    greeted: AtomicUsize,
    /// Nodes that spread an update.
    spreading: AtomicIsize,
    /// Nodes that know an update, for each.
    reached: AtomicUsize,
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
    /// Frames between nodes of the host.
    pub(super) handed_over: u64,
    pub(super) turns: u64,
    /// Turns that began more than half a cycle late.
    pub(super) late_turns: u64,
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
            handed_over: self.handed_over + other.handed_over,
            turns: self.turns + other.turns,
            late_turns: self.late_turns + other.late_turns,
            strays: self.strays + other.strays,
            malformed: self.malformed + other.malformed,
        }
    }
}

/// Hosts look at the plan at least this often.
pub(super) const LOOK_NS: u64 = 4_000_000;
/// A first cycle begins so much later than it is planned, and by [`NODE_NS`] for each node, which has to be made.
const LEAD_NS: u64 = 4 * LOOK_NS;
const NODE_NS: u64 = 2_000;

impl Stage {
    pub(super) fn new(point: &Point, control: &Control) -> Self {
        Self {
            control: control.clone(),
            hosts: point.cluster.replicas,
            nodes: point.cluster.nodes,
            all: point.cluster.nodes * point.gossip.rumors,
            interval: point.gossip.interval.as_nanos() as u64,
            lasts: point.gossip.style == Style::AntiEntropy,
            plan: Mutex::new(None),
            number: AtomicU64::new(0),
            ends_at: AtomicU64::new(u64::MAX),
            greeted: AtomicUsize::new(0),
            spreading: AtomicIsize::new(0),
            reached: AtomicUsize::new(0),
            records: Mutex::new(Vec::new()),
        }
    }

    /// Gives out a trial.
    pub(super) fn begin(&self, number: u64, prng: Prng) {
        let first_cycle = self.control.clock().now() + (LEAD_NS + NODE_NS * self.nodes as u64);
        self.spreading.store(0, Ordering::Relaxed);
        self.reached.store(0, Ordering::Relaxed);
        self.ends_at.store(u64::MAX, Ordering::Relaxed);
        *lock(&self.plan) = Some(Plan { number, first_cycle, prng });
        self.number.store(number, Ordering::Release);
    }

    /// The trial that is on, if it is another one than the host has.
    pub(super) fn next(&self, number: u64) -> Option<Plan> {
        if self.number.load(Ordering::Acquire) == number { None } else { lock(&self.plan).clone() }
    }

    /// So many nodes more of a host spread the update, or fewer; and so many more know it.
    pub(super) fn tell(&self, spreading: isize, reached: usize) {
        // Before it is known who got it: else it would seem for a moment that nobody spreads it.
        self.spreading.fetch_add(spreading, Ordering::Release);
        self.reached.fetch_add(reached, Ordering::Release);
    }

    /// Sees to it that the trial ends with this cycle, if nothing more can happen in it.
    pub(super) fn look(&self) {
        if self.ends_at.load(Ordering::Relaxed) < u64::MAX {
            return;
        }
        let reached = self.reached.load(Ordering::Acquire);
        let spreading = self.spreading.load(Ordering::Acquire);
        if reached == self.all && self.lasts || reached > 0 && spreading == 0 && !self.lasts {
            let first = lock(&self.plan).as_ref().map_or(Nanos::ZERO, |plan| plan.first_cycle);
            let cycles = self.control.clock().now().saturating_since(first) / self.interval + 1;
            self.ends_at.store(first.0 + cycles * self.interval, Ordering::Release);
        }
    }

    pub(super) fn ends_at(&self) -> Nanos {
        Nanos(self.ends_at.load(Ordering::Acquire))
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
