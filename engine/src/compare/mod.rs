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

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::results::{Coordinates, StoredRun, WORLD};

pub mod cli;
mod interleave;
mod metric;
pub mod statistics;

use interleave::INTERLEAVED;
pub use interleave::{InterleaveError, Interleaving, SIDES, interleave};
pub use metric::{Metric, Unit};
pub use statistics::Design;
use statistics::{ALPHA, benjamini_hochberg, median, observations_needed};

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

impl Comparison {
    /// Compares `metrics` of all points that both runs have. `threshold` is what a ratio may differ from 1 by, without
    /// anybody minding: 0.05 for 5 %.
    ///
    /// # Errors
    /// If they do not compare; different fingerprints do only `across_hosts`.
    pub fn of(
        base: &StoredRun,
        new: &StoredRun,
        metrics: &[Metric],
        threshold: f64,
        across_hosts: bool,
    ) -> Result<Self, Incomparable> {
        let mut notes = Vec::new();
        let differences = fingerprint_differences(base, new);
        match (differences.is_empty(), across_hosts) {
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
        let samples: Vec<Sample<'_>> = pairs.iter().flat_map(|pair| pair.samples(metrics, design)).collect();
        if samples.is_empty() {
            return Err(worlds(base, new).map_or(Incomparable::NothingInCommon, Incomparable::Worlds));
        }
        let values: Vec<_> =
            samples.iter().map(|sample| (sample.metric, sample.base.as_slice(), sample.new.as_slice())).collect();
        let judged = judge(design, &values, threshold);
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
        } else if interval[0] >= 1.0 - threshold && interval[1] <= 1.0 + threshold {
            Verdict::Same
        } else {
            let fewer = base.len().min(new.len());
            Verdict::Inconclusive { needs: observations_needed(design, fewer, interval, threshold, samples.len()) }
        };
        Judged { base: median(base), new: median(new), ratio, interval, p, verdict }
    };
    samples.iter().zip(corrected).map(judge).collect()
}

/// The repetitions of a point in both runs.
struct Pair<'a> {
    point: &'a Coordinates,
    base: &'a [Json],
    new: &'a [Json],
}

/// A metric of a pair.
struct Sample<'a> {
    pair: &'a Pair<'a>,
    metric: Metric,
    base: Vec<f64>,
    new: Vec<f64>,
}

impl<'a> Pair<'a> {
    fn samples(&'a self, metrics: &[Metric], design: Design) -> Vec<Sample<'a>> {
        let sample = |&metric: &Metric| {
            let values = |lines: &[Json]| lines.iter().filter_map(|line| metric.of(line)).collect::<Vec<_>>();
            let (base, new) = match design {
                Design::Samples => (values(self.base), values(self.new)),
                Design::Pairs => self.matched().filter_map(|(base, new)| metric.of(base).zip(metric.of(new))).unzip(),
            };
            // A line of commands has nothing of epidemics, and the other way round.
            (!base.is_empty() && !new.is_empty()).then_some(Sample { pair: self, metric, base, new })
        };
        metrics.iter().filter_map(sample).collect()
    }

    /// The lines that were taken next to each other.
    fn matched(&self) -> impl Iterator<Item = (&Json, &Json)> {
        let same = |base: &Json| self.new.iter().find(|new| new["repetition"] == base["repetition"]);
        self.base.iter().filter_map(move |base| Some((base, same(base)?)))
    }

    /// By their own warnings, as a point beside its floor.
    fn doubtful(&self) -> bool {
        let doubts = |line: &Json| {
            let warnings = line.get("warnings").and_then(Json::as_array).into_iter().flatten();
            warnings.filter_map(Json::as_str).any(crate::results::voids)
        };
        self.base.iter().chain(self.new).any(doubts)
    }
}

/// How the repetitions belong together: as pairs, if the runs were taken in turn.
fn design(base: &StoredRun, new: &StoredRun, notes: &mut Vec<String>) -> Design {
    let turn = |run: &StoredRun| run.manifest.get(INTERLEAVED).cloned();
    if turn(base).is_none() || turn(base) != turn(new) || base.path == new.path {
        return Design::Samples;
    }
    notes.push("measured in turn: judged by pairs, with the signed-rank test, and the median of their ratios".into());
    Design::Pairs
}

fn pairs<'a>(
    base: &'a StoredRun,
    new: &'a StoredRun,
    shared: &BTreeSet<&str>,
    notes: &mut Vec<String>,
) -> Vec<Pair<'a>> {
    let theirs: BTreeMap<Coordinates, &Vec<Json>> =
        new.points.iter().map(|(point, lines)| (only(point, shared), lines)).collect();
    let pair = |(point, base): (&'a Coordinates, &'a Vec<Json>)| {
        theirs.get(&only(point, shared)).map(|new| Pair { point, base, new })
    };
    let pairs: Vec<_> = base.points.iter().filter_map(pair).collect();
    for (name, run) in [("base", base), ("new", new)] {
        let alone = run.points.len() - pairs.len();
        if alone > 0 {
            notes.push(format!("{alone} of {} points are only in the {name} run", run.points.len()));
        }
    }
    pairs
}

/// The axes that both know. One that a newer program has and an older had not is passed over if it has one value.
fn shared_axes<'a>(
    base: &'a StoredRun,
    new: &'a StoredRun,
    notes: &mut Vec<String>,
) -> Result<BTreeSet<&'a str>, Incomparable> {
    let (ours, theirs) = (base.axes(), new.axes());
    for &axis in ours.symmetric_difference(&theirs) {
        if base.varies(axis) || new.varies(axis) {
            return Err(Incomparable::Axis(axis.to_owned()));
        }
        notes.push(format!("{axis} is known to one of the runs only, and passed over"));
    }
    Ok(ours.intersection(&theirs).copied().collect())
}

fn only(point: &Coordinates, axes: &BTreeSet<&str>) -> Coordinates {
    let kept = point.iter().filter(|(axis, _)| axes.contains(axis.as_str()));
    kept.map(|(axis, value)| (axis.clone(), value.clone())).collect()
}

/// What only one of the runs has looked at is no difference: the other's program did not know it yet.
fn fingerprint_differences(base: &StoredRun, new: &StoredRun) -> Vec<(String, [String; 2])> {
    let both = base.fingerprint.iter().filter_map(|(name, base)| {
        let new = new.fingerprint.get(name)?;
        Some((name.clone(), [base.clone(), new.clone()]))
    });
    both.filter(|(_, [base, new])| base != new).collect()
}

/// The runs' worlds, if they have none in common.
fn worlds(base: &StoredRun, new: &StoredRun) -> Option<[String; 2]> {
    let of = |run: &StoredRun| run.points.keys().filter_map(|point| point.get(WORLD).cloned()).collect::<BTreeSet<_>>();
    let (ours, theirs) = (of(base), of(new));
    let named = |worlds: BTreeSet<String>| worlds.into_iter().collect::<Vec<_>>().join(" and ");
    (ours.is_disjoint(&theirs) && !ours.is_empty() && !theirs.is_empty()).then(|| [named(ours), named(theirs)])
}
