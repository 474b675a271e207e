//! Two runs side by side: is the new one better, worse, or can nobody tell?
//!
//! Points meet by their coordinates. For each of them and each metric the repetitions are the observations. The new run
//! is worse (or better) if three things hold at once: an exact Mann-Whitney test, corrected over the whole table, says
//! that it differs; the ratio of the medians is beyond the threshold; and the ratio's bootstrap interval does not
//! contain 1. It is the same if the interval lies within the threshold. Anything else is inconclusive, and says how many
//! repetitions it would take.
//!
//! Runs of two builds that were measured in turn are pairs, repetition by repetition, and are judged as such: by the
//! signed-rank test instead, and the median of the ratios. A machine that changes under both of a pair then says nothing.
//!
//! ```
//! use quorumbench::compare::{Design, Metric, Verdict, judge};
//!
//! let p99 = Metric::named("p99").expect("there is one");
//! let before = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0];
//! let after = before.map(|time| time * 1.2);
//! let judged = judge(Design::Samples, &[(p99, &before, &after)], 0.05);
//! assert_eq!(judged[0].verdict, Verdict::Worse);
//! assert!(judged[0].interval[0] > 1.1);
//! ```

use std::collections::BTreeSet;

use crate::results::{Coordinates, StoredRun};

pub mod cli;
mod interleave;
mod matching;
mod metric;
pub mod statistics;

pub use interleave::{InterleaveError, Interleaving, SIDES, end_with_conductor, interleave};
use matching::{Sample, circumstances, design, lost, only, pairs, shared_axes, worlds};
pub use metric::{Metric, Unit};
use statistics::{ALPHA, benjamini_hochberg, median, observations_needed};
pub use statistics::{Design, least_observations};

/// Two runs, point by point.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The base run's points that the new one has too, in order, each with its metrics.
    pub rows: Vec<Row>,
    /// How the repetitions of the two runs belong together.
    pub design: Design,
    /// What a reader should know before believing it.
    pub notes: Vec<String>,
}

/// One metric of one point.
#[derive(Clone, Debug)]
pub struct Row {
    /// The coordinates in which the points of the runs differ from each other.
    pub point: Coordinates,
    /// What is compared.
    pub metric: Metric,
    /// Repetitions in the base run and in the new one.
    pub repetitions: [usize; 2],
    /// What came out.
    pub judged: Judged,
    /// Whether a repetition on either side says of itself that it is no measure for others.
    pub doubtful: bool,
}

/// What came out of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The median of the base sample.
    pub base: f64,
    /// The median of the new one.
    pub new: f64,
    /// New over base: of the medians, or the median of pairs' ratios.
    pub ratio: f64,
    /// The 95 % interval of the ratio.
    pub interval: [f64; 2],
    /// The chance that two samples of one distribution are as far apart, corrected for all that are judged together.
    pub p: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows from a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The new one is better, beyond the threshold.
    Better,
    /// The new one is worse, beyond the threshold.
    Worse,
    /// If there is a difference, it is within the threshold.
    Same,
    /// Nobody can tell from so few repetitions.
    Inconclusive {
        /// About how many on either side would tell.
        needs: usize,
    },
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Better => f.write_str("better"),
            Self::Worse => f.write_str("worse"),
            Self::Same => f.write_str("~"),
            Self::Inconclusive { needs } => write!(f, "inconclusive: needs about {needs} repetitions"),
        }
    }
}

/// Why two runs do not compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incomparable {
    /// They were taken on hosts, or by builds, that differ: in what, and what it was in each.
    Fingerprint(Vec<(String, [String; 2])>),
    /// An axis that varies in one of them is unknown to the other.
    Axis(String),
    /// No point is in both, or none has any of the metrics.
    NothingInCommon,
    /// The new one lacks this of what the base has.
    Lost(Vec<String>),
    /// The one of this name has no points.
    Empty(&'static str),
    /// The one was measured, the other computed.
    Worlds([String; 2]),
}

impl std::fmt::Display for Incomparable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fingerprint(differences) => {
                f.write_str("the runs are of different machines or builds:")?;
                for (what, [base, new]) in differences {
                    write!(f, "\n  {what}: {base} and {new}")?;
                }
                f.write_str("\nTheir figures say little about each other; --across-hosts compares them all the same")
            }
            Self::Axis(axis) => {
                write!(f, "{axis} varies in one of the runs and is unknown to the other: run both from one config")
            }
            Self::NothingInCommon => f.write_str(
                "no point and metric is in both runs: run both from one config, or choose others by --metric",
            ),
            Self::Lost(what) => write!(
                f,
                "the new run lacks what the base has: {}. That is no pass; --partial compares what both have",
                what.join(", ")
            ),
            Self::Empty(name) => write!(f, "the {name} run has no points: nothing of it was finished"),
            Self::Worlds([base, new]) => {
                write!(
                    f,
                    "the base run is {base} and the new one {new}: what was computed never compares with what was measured"
                )
            }
        }
    }
}

impl std::error::Error for Incomparable {}

/// What is compared, and how strictly.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Which figures.
    pub metrics: Vec<Metric>,
    /// What a ratio may differ from 1 by, without anybody minding: 0.05 for 5 %.
    pub threshold: f64,
    /// Whether runs of different machines or builds compare.
    pub across_hosts: bool,
    /// Whether the new run may lack points or figures that the base has.
    pub partial: bool,
}

impl Comparison {
    /// Compares all points that both runs have.
    ///
    /// # Errors
    /// If they do not compare on these terms.
    pub fn of(base: &StoredRun, new: &StoredRun, terms: &Terms) -> Result<Self, Incomparable> {
        let metrics = &terms.metrics;
        let mut notes = circumstances(base, new);
        let differences = base.differences(new);
        match (differences.is_empty(), terms.across_hosts) {
            (true, _) => {}
            (false, true) => {
                let what = differences.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>().join(", ");
                notes.push(format!("across hosts: the runs differ in {what}"));
            }
            (false, false) => return Err(Incomparable::Fingerprint(differences)),
        }
        if let Some((name, _)) = [("base", base), ("new", new)].iter().find(|(_, run)| run.points.is_empty()) {
            return Err(Incomparable::Empty(name));
        }
        let shared = shared_axes(base, new, &mut notes)?;
        let shown: BTreeSet<&str> =
            shared.iter().copied().filter(|axis| base.varies(axis) || new.varies(axis)).collect();
        let design = design(base, new, &mut notes);
        let mut pairs = pairs(base, new, &shared, &mut notes);
        pairs.sort_by_key(|pair| only(pair.point, &shown));
        let lost = lost(base, &pairs, metrics);
        if let (Some(worlds), true) = (worlds(base, new), pairs.is_empty()) {
            return Err(Incomparable::Worlds(worlds));
        }
        if !lost.is_empty() && !pairs.is_empty() {
            if !terms.partial {
                return Err(Incomparable::Lost(lost));
            }
            notes.push(format!("the new run lacks {}", lost.join(", ")));
        }
        let samples: Vec<Sample<'_>> = pairs.iter().flat_map(|pair| pair.samples(metrics, design)).collect();
        if samples.is_empty() {
            return Err(Incomparable::NothingInCommon);
        }
        let values: Vec<_> =
            samples.iter().map(|sample| (sample.metric, sample.base.as_slice(), sample.new.as_slice())).collect();
        let judged = judge(design, &values, terms.threshold);
        let row = |(sample, judged): (&Sample<'_>, Judged)| Row {
            point: only(sample.pair.point, &shown),
            metric: sample.metric,
            repetitions: [sample.base.len(), sample.new.len()],
            judged,
            doubtful: sample.pair.doubtful(),
        };
        Ok(Self { rows: samples.iter().zip(judged).map(row).collect(), design, notes })
    }

    /// Whether anything got worse.
    pub fn has_regressed(&self) -> bool {
        self.rows.iter().any(|row| row.judged.verdict == Verdict::Worse)
    }
}

/// Judges samples together, each a metric with its values in the base run and in the new one.
///
/// # Panics
/// If a sample is empty.
pub fn judge(design: Design, samples: &[(Metric, &[f64], &[f64])], threshold: f64) -> Vec<Judged> {
    let ps: Vec<f64> = samples.iter().map(|(_, base, new)| design.p(base, new)).collect();
    let corrected = benjamini_hochberg(&ps);
    let judge = |(&(metric, base, new), p): (&(Metric, &[f64], &[f64]), f64)| {
        let (ratio, interval) = design.ratio(base, new);
        let differs = p < ALPHA && !(interval[0] <= 1.0 && 1.0 <= interval[1]) && (ratio - 1.0).abs() > threshold;
        let verdict = if differs {
            if (ratio > 1.0) == metric.more_is_better { Verdict::Better } else { Verdict::Worse }
        } else if says_the_same(base, new, interval, threshold) {
            Verdict::Same
        } else {
            let fewer = base.len().min(new.len());
            Verdict::Inconclusive { needs: observations_needed(design, fewer, interval, threshold, samples.len()) }
        };
        Judged { base: median(base), new: median(new), ratio, interval, p, verdict }
    };
    samples.iter().zip(corrected).map(judge).collect()
}

/// Whether it is known that nobody minds the difference. An interval of fewer than five observations is narrower than what is
/// known. Values that are all alike were computed, and need no second.
fn says_the_same(base: &[f64], new: &[f64], interval: [f64; 2], threshold: f64) -> bool {
    let alike = base.iter().chain(new).all(|value| value.total_cmp(&base[0]).is_eq());
    let within = interval[0] >= 1.0 - threshold && interval[1] <= 1.0 + threshold;
    alike || within && base.len().min(new.len()) >= FEWEST_FOR_AN_INTERVAL
}

/// Of fewer, a bootstrap's interval holds the truth far less often than it says: about nine times in ten of three.
const FEWEST_FOR_AN_INTERVAL: usize = 5;
