//! A point's figures while it runs: what its clients have seen so far, for whoever looks.
//!
//! Each client counts in a [`Slot`] of its own. It is the only one to write there, so it adds with a load and a store: no
//! lock, no locked instruction, nothing to wait for. Who looks adds the slots up, and takes two looks for a rate. A look may
//! see a command counted in one figure and not yet in another; results are not made of this.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

mod course;

pub(crate) use course::Outline;
pub use course::{Course, Planned, Status};

/// The slots of the clients of one point after the other.
#[derive(Debug, Default)]
pub struct Live {
    slots: Mutex<Vec<Arc<Slot>>>,
}

impl Live {
    /// A new client's, from zero.
    pub fn slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&slot));
        slot
    }

    /// All of them, added up.
    pub fn read(&self) -> Snapshot {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().fold(Snapshot::default(), |sum, slot| sum.plus(&slot.read()))
    }

    /// The clients are gone, and others will come.
    pub fn clear(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What one client has seen since its load began. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Slot {
    completed: AtomicU64,
    errors: AtomicU64,
    late: AtomicU64,
    times: [AtomicU64; BUCKETS],
}

impl Default for Slot {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { completed: zero(), errors: zero(), late: zero(), times: std::array::from_fn(|_| zero()) }
    }
}

/// For one writer.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Slot {
    /// So many commands were answered.
    pub fn answered(&self, commands: u64) {
        add(&self.completed, commands);
    }

    /// So many commands took so long, from their intended send.
    pub fn took(&self, ns: u64, commands: u64) {
        add(&self.times[bucket(ns)], commands);
    }

    /// So many commands were given up.
    pub fn gave_up(&self, commands: u64) {
        add(&self.errors, commands);
    }

    /// So many commands were due and could not be sent.
    pub fn late(&self, commands: u64) {
        add(&self.late, commands);
    }

    /// As it is now.
    pub fn read(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            completed: load(&self.completed),
            errors: load(&self.errors),
            late: load(&self.late),
            times: self.times.iter().map(load).collect(),
        }
    }

    /// Takes over what a client in another process has read.
    pub fn write(&self, snapshot: &Snapshot) {
        self.completed.store(snapshot.completed, Ordering::Relaxed);
        self.errors.store(snapshot.errors, Ordering::Relaxed);
        self.late.store(snapshot.late, Ordering::Relaxed);
        for (counter, &count) in self.times.iter().zip(&snapshot.times) {
            counter.store(count, Ordering::Relaxed);
        }
    }
}

/// Each octave of times has so many buckets: a time is known to a sixteenth.
const STEPS: u32 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Times up to 2^42 ns, more than an hour, are told apart.
const BUCKETS: usize = ((42 - STEP_BITS + 1) * STEPS) as usize;

/// Below 16 each nanosecond has a bucket; above, the four bits after the highest one choose it.
fn bucket(ns: u64) -> usize {
    let octave = (u64::BITS - ns.leading_zeros()).saturating_sub(STEP_BITS + 1);
    ((octave * STEPS) as usize + (ns >> octave) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn middle_ns(bucket: usize) -> u64 {
    let octave = (bucket as u32 / STEPS).saturating_sub(1);
    let low = (bucket as u64 - u64::from(octave * STEPS)) << octave;
    low + (1 << octave >> 1)
}

/// Counts at one moment, or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Commands answered.
    pub completed: u64,
    /// Commands given up.
    pub errors: u64,
    /// Commands that were due and could not be sent.
    pub late: u64,
    /// By bucket; empty where nothing was ever counted.
    times: Vec<u64>,
}

impl Snapshot {
    fn with(&self, other: &Self, each: impl Fn(u64, u64) -> u64) -> Self {
        let longest = self.times.len().max(other.times.len());
        let at = |times: &[u64], bucket: usize| times.get(bucket).copied().unwrap_or(0);
        Self {
            completed: each(self.completed, other.completed),
            errors: each(self.errors, other.errors),
            late: each(self.late, other.late),
            times: (0..longest).map(|bucket| each(at(&self.times, bucket), at(&other.times, bucket))).collect(),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    /// What was counted since.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// So long the share `quantile` of commands took at most, to a sixteenth, in nanoseconds; `None` if there was none.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        let all: u64 = self.times.iter().sum();
        let rank = ((all as f64 * quantile).ceil() as u64).clamp(1, all.max(1));
        let mut below = 0;
        let found = self.times.iter().position(|&count| {
            below += count;
            below >= rank
        });
        found.filter(|_| all > 0).map(middle_ns)
    }
}

/// What people want to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Commands answered in the last second, a second.
    pub throughput: f64,
    /// Of the same second.
    pub p99_ns: Option<u64>,
    /// From the start of the measured window, or before it of the load: commands answered.
    pub completed: u64,
    /// Of the same time.
    pub p50_so_far_ns: Option<u64>,
    /// Of the same time.
    pub p99_so_far_ns: Option<u64>,
    /// Commands given up meanwhile.
    pub errors: u64,
    /// Commands meanwhile that were due and could not be sent.
    pub late: u64,
}

/// Takes looks, now and then, and makes figures of them.
#[derive(Debug)]
pub struct Gauge {
    live: Arc<Live>,
    /// The looks of the last second, and one that is older.
    looks: VecDeque<(Instant, Snapshot)>,
    /// When the measured window opened.
    from: Option<Snapshot>,
}

const SECOND: Duration = Duration::from_secs(1);

impl Gauge {
    /// Of whatever is counted in `live`.
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, looks: VecDeque::new(), from: None }
    }

    /// Another point begins.
    pub fn restart(&mut self) {
        self.live.clear();
        self.looks.clear();
        self.from = None;
    }

    /// A look; `measuring` if the window is open, or was.
    pub fn look(&mut self, now: Instant, measuring: bool) -> Figures {
        let seen = self.live.read();
        if measuring && self.from.is_none() {
            self.from = Some(seen.clone());
        }
        while self.looks.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= SECOND) {
            self.looks.pop_front();
        }
        let last = self.looks.front().map(|(at, earlier)| (now.saturating_duration_since(*at), seen.since(earlier)));
        let so_far = self.from.as_ref().map_or_else(|| seen.clone(), |from| seen.since(from));
        self.looks.push_back((now, seen));
        let (over, last) = last.unwrap_or_default();
        Figures {
            throughput: if over.is_zero() { 0.0 } else { last.completed as f64 / over.as_secs_f64() },
            p99_ns: last.quantile_ns(0.99),
            completed: so_far.completed,
            p50_so_far_ns: so_far.quantile_ns(0.5),
            p99_so_far_ns: so_far.quantile_ns(0.99),
            errors: so_far.errors,
            late: so_far.late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_known_to_a_sixteenth() {
        let times = (0..60).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + (1 << bits >> 1) + 1]);
        let mut last = 0;
        let mut times: Vec<u64> = times.filter(|&ns| ns < 1 << 42).collect();
        times.sort_unstable();
        for ns in times {
            assert!(bucket(ns) >= last, "{ns}: buckets are in order");
            last = bucket(ns);
            let off = middle_ns(bucket(ns)).abs_diff(ns);
            assert!(off as f64 <= ns as f64 / 31.0, "{ns}: {} is off by {off}", middle_ns(bucket(ns)));
        }
        assert!((0..BUCKETS).all(|each| bucket(middle_ns(each)) == each), "no bucket is left out");
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_times() {
        let slot = Slot::default();
        assert_eq!(slot.read().quantile_ns(0.99), None);
        (1..=1000).for_each(|us| slot.took(us * 1000, 1));
        let seen = slot.read();
        for (quantile, expected) in [(0.5, 500_000.0), (0.99, 990_000.0), (0.0, 1000.0), (1.0, 1_000_000.0)] {
            let found = seen.quantile_ns(quantile).expect("there are times") as f64;
            assert!((found / expected - 1.0).abs() < 0.0625, "{quantile}: {found}");
        }
    }

    #[test]
    fn slots_add_up_wherever_their_clients_are() {
        let live = Live::default();
        let (here, there) = (live.slot(), live.slot());
        here.answered(3);
        here.took(100, 3);
        let elsewhere = Slot::default();
        elsewhere.answered(5);
        elsewhere.took(200, 5);
        elsewhere.late(2);
        elsewhere.gave_up(1);
        there.write(&elsewhere.read());
        let seen = live.read();
        assert_eq!((seen.completed, seen.late, seen.errors), (8, 2, 1));
        assert_eq!(seen.times.iter().sum::<u64>(), 8);
        // Of another build, or cut short: what there is counts.
        there.write(&Snapshot { completed: 1, ..Snapshot::default() });
        assert_eq!(live.read().completed, 4);
        live.clear();
        assert_eq!(live.read(), Snapshot::default());
    }

    #[test]
    fn figures_are_of_the_last_second_and_of_the_window() {
        let live = Arc::new(Live::default());
        let mut gauge = Gauge::new(Arc::clone(&live));
        let slot = live.slot();
        let begin = Instant::now();
        let at = |tenths: u64| begin + Duration::from_millis(100 * tenths);
        assert_eq!(gauge.look(at(0), false), Figures::default());
        // A hundred a tenth of a second, slow; then, in the window, twice as many and fast.
        for tenth in 1..=30 {
            let measured = tenth > 10;
            slot.answered(if measured { 200 } else { 100 });
            slot.took(if measured { 1000 } else { 1_000_000 }, 100);
            let figures = gauge.look(at(tenth), tenth >= 10);
            match tenth {
                10 => {
                    assert!((figures.throughput - 1000.0).abs() < 1.0 && figures.p99_ns > Some(900_000), "{figures:?}");
                }
                30 => {
                    assert!((figures.throughput - 2000.0).abs() < 1.0 && figures.p99_ns < Some(1100), "{figures:?}");
                    assert!(figures.completed == 4000 && figures.p99_so_far_ns < Some(1100), "{figures:?}");
                }
                _ => {}
            }
        }
        gauge.restart();
        assert_eq!(gauge.look(at(31), false), Figures::default());
    }
}
