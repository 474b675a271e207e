//! When commands completed, finely enough to see what a fault did. Kept only where there are faults.

use hdrhistogram::Histogram;
use quorumbench_protocols::Nanos;
use serde::{Deserialize, Serialize};

use super::{LONGEST_NS, Window};
use crate::remote;

/// One client's, or all clients', completions over a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    window: Window,
    bins: Vec<Bin>,
    slices: Vec<Slice>,
    /// When a time-out passed without an answer, and commands in that batch.
    #[serde(with = "remote::counts")]
    unknown: Vec<(Nanos, u32)>,
    /// When a batch went out a second time, and commands in it.
    #[serde(with = "remote::counts")]
    resent: Vec<(Nanos, u32)>,
}

/// Response times of a tenth of a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slice(#[serde(with = "remote::histogram")] Histogram<u32>);

/// One millisecond of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Commands answered in it.
    pub completed: u32,
    /// When the first of them was, and the last, in nanoseconds from the bin's begin.
    pub first_ns: u32,
    /// The last.
    pub last_ns: u32,
}

/// A [`Bin`]'s length.
pub const BIN_NS: u64 = 1_000_000;
/// The length of the slices that response times are kept for.
pub const SLICE_NS: u64 = 100_000_000;

impl Timeline {
    /// An empty one.
    pub fn new(window: Window) -> Self {
        let bins = window.length_ns().div_ceil(BIN_NS) as usize;
        Self { window, bins: vec![Bin::default(); bins], slices: Vec::new(), unknown: Vec::new(), resent: Vec::new() }
    }

    /// `commands` commands were answered now.
    pub fn answered(&mut self, now: Nanos, commands: u64) {
        if commands == 0 || !self.window.contains(now) {
            return;
        }
        let at = now.saturating_since(self.window.from);
        let bin = &mut self.bins[(at / BIN_NS) as usize];
        let offset = (at % BIN_NS) as u32;
        bin.first_ns = if bin.completed == 0 { offset } else { bin.first_ns.min(offset) };
        bin.last_ns = bin.last_ns.max(offset);
        bin.completed = bin.completed.saturating_add(commands as u32);
    }

    /// `commands` commands that were answered now had taken so long.
    pub fn took(&mut self, now: Nanos, response_ns: u64, commands: u64) {
        if !self.window.contains(now) {
            return;
        }
        let slice = (now.saturating_since(self.window.from) / SLICE_NS) as usize;
        while self.slices.len() <= slice {
            self.slices.push(coarse());
        }
        self.slices[slice].0.saturating_record_n(response_ns, commands as u32);
    }

    /// A batch of `commands` commands was neither answered nor refused in time. Once a batch.
    pub fn unknown(&mut self, now: Nanos, commands: u32) {
        self.unknown.push((now, commands));
    }

    /// A batch of `commands` commands went out again. Once a batch.
    pub fn resent(&mut self, now: Nanos, commands: u32) {
        self.resent.push((now, commands));
    }

    /// Adds another client's, of the same window.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            match (mine.completed, theirs.completed) {
                (_, 0) => {}
                (0, _) => *mine = *theirs,
                _ => {
                    mine.completed = mine.completed.saturating_add(theirs.completed);
                    mine.first_ns = mine.first_ns.min(theirs.first_ns);
                    mine.last_ns = mine.last_ns.max(theirs.last_ns);
                }
            }
        }
        while self.slices.len() < other.slices.len() {
            self.slices.push(coarse());
        }
        for (mine, theirs) in self.slices.iter_mut().zip(&other.slices) {
            mine.0.add(&theirs.0).expect("all slices have the same bounds");
        }
        self.unknown.extend(&other.unknown);
        self.resent.extend(&other.resent);
    }

    /// The window, millisecond by millisecond.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// The 99th percentile of the response times of what was answered in these slices; `None` if nothing was.
    pub fn p99(&self, slices: std::ops::Range<usize>) -> Option<u64> {
        let mut sum = coarse();
        for slice in self.slices.iter().take(slices.end).skip(slices.start) {
            sum.0.add(&slice.0).expect("all slices have the same bounds");
        }
        (!sum.0.is_empty()).then(|| sum.0.value_at_quantile(0.99))
    }

    /// Commands in batches whose time-out passed in `[from, until)` without an answer.
    pub fn unknown_in(&self, from: Nanos, until: Nanos) -> u64 {
        sum_in(&self.unknown, from, until)
    }

    /// Commands in batches that went out a second time in `[from, until)`.
    pub fn resent_in(&self, from: Nanos, until: Nanos) -> u64 {
        sum_in(&self.resent, from, until)
    }
}

fn sum_in(counts: &[(Nanos, u32)], from: Nanos, until: Nanos) -> u64 {
    counts.iter().filter(|&&(at, _)| from <= at && at < until).map(|&(_, count)| u64::from(count)).sum()
}

/// Microseconds and two digits are enough to tell twice from once, and there are many of these.
fn coarse() -> Slice {
    Slice(Histogram::new_with_bounds(1024, LONGEST_NS, 2).expect("constant bounds are valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: Nanos(10 * BIN_NS), until: Nanos(310 * BIN_NS) };

    #[test]
    fn bins_know_their_first_and_last_and_merge() {
        let (mut one, mut other) = (Timeline::new(WINDOW), Timeline::new(WINDOW));
        for at in [9 * BIN_NS, 10 * BIN_NS + 7, 10 * BIN_NS + 3, 310 * BIN_NS] {
            one.answered(Nanos(at), 2);
        }
        other.answered(Nanos(10 * BIN_NS + 9), 1);
        other.answered(Nanos(11 * BIN_NS + 5), 1);
        one.merge(&other);
        assert_eq!(one.bins().len(), 300);
        assert_eq!(one.bins()[0], Bin { completed: 5, first_ns: 3, last_ns: 9 });
        assert_eq!(one.bins()[1], Bin { completed: 1, first_ns: 5, last_ns: 5 });
        assert!(one.bins()[2..].iter().all(|bin| *bin == Bin::default()));
    }

    #[test]
    fn slices_have_the_times_of_what_was_answered_in_them() {
        let (mut one, mut other) = (Timeline::new(WINDOW), Timeline::new(WINDOW));
        one.took(WINDOW.from, 2_000_000, 100);
        other.took(WINDOW.from + 2 * SLICE_NS, 9_000_000, 100);
        one.merge(&other);
        let is_about =
            |p99: Option<u64>, expected: f64| p99.is_some_and(|p99| (p99 as f64 / expected - 1.0).abs() < 0.01);
        assert!(is_about(one.p99(0..1), 2e6) && is_about(one.p99(0..3), 9e6) && one.p99(1..2).is_none());
    }
}
