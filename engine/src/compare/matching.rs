//! Which points, repetitions and figures of two runs belong together, and what has no counterpart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::interleave::INTERLEAVED;
use super::{Design, Incomparable, Metric};
use crate::results::{Coordinates, StoredRun, WORLD};

/// The repetitions of a point in both runs.
pub(super) struct Pair<'a> {
    pub(super) point: &'a Coordinates,
    base: &'a [Json],
    new: &'a [Json],
}

/// A metric of a pair.
pub(super) struct Sample<'a> {
    pub(super) pair: &'a Pair<'a>,
    pub(super) metric: Metric,
    pub(super) base: Vec<f64>,
    pub(super) new: Vec<f64>,
}

impl<'a> Pair<'a> {
    pub(super) fn samples(&'a self, metrics: &[Metric], design: Design) -> Vec<Sample<'a>> {
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

    /// Those of the metrics that only the base run has.
    pub(super) fn lost<'m>(&self, metrics: &'m [Metric]) -> impl Iterator<Item = &'m Metric> {
        let has = |lines: &[Json], metric: &Metric| lines.iter().any(|line| metric.of(line).is_some());
        metrics.iter().filter(move |metric| has(self.base, metric) && !has(self.new, metric))
    }

    /// The lines that were taken next to each other.
    fn matched(&self) -> impl Iterator<Item = (&Json, &Json)> {
        let same = |base: &Json| self.new.iter().find(|new| new["repetition"] == base["repetition"]);
        self.base.iter().filter_map(move |base| Some((base, same(base)?)))
    }

    /// By their own warnings, as a point beside its floor.
    pub(super) fn doubtful(&self) -> bool {
        let doubts = |line: &Json| {
            let warnings = line.get("warnings").and_then(Json::as_array).into_iter().flatten();
            warnings.filter_map(Json::as_str).any(crate::results::voids)
        };
        self.base.iter().chain(self.new).any(doubts)
    }
}

/// How the repetitions belong together: as pairs, if the runs were taken in turn.
pub(super) fn design(base: &StoredRun, new: &StoredRun, notes: &mut Vec<String>) -> Design {
    let turn = |run: &StoredRun| run.manifest.get(INTERLEAVED).cloned();
    if turn(base).is_none() || turn(base) != turn(new) || base.path == new.path {
        return Design::Samples;
    }
    notes.push("measured in turn: judged by pairs, with the signed-rank test, and the median of their ratios".into());
    Design::Pairs
}

/// The points that both have.
pub(super) fn pairs<'a>(
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

/// What the new run should have and has not: points of the base run, or figures of them.
pub(super) fn lost(base: &StoredRun, pairs: &[Pair<'_>], metrics: &[Metric]) -> Vec<String> {
    let mut lost = Vec::new();
    if pairs.len() < base.points.len() {
        lost.push(format!("{} of {} points", base.points.len() - pairs.len(), base.points.len()));
    }
    for metric in metrics {
        let points = pairs.iter().filter(|pair| pair.lost(std::slice::from_ref(metric)).next().is_some()).count();
        if points > 0 {
            lost.push(format!("{} of {points} points", metric.name));
        }
    }
    lost
}

/// What a reader should know of two runs besides their figures: that one of them did not end as it should, and in what the
/// experiments differ that is no axis.
pub(super) fn circumstances(base: &StoredRun, new: &StoredRun) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, run) in [("base", base), ("new", new)] {
        if let Some(state) = run.manifest.get("state").and_then(Json::as_str).filter(|state| *state != "complete") {
            notes.push(format!("the {name} run is not complete: {state}"));
        }
    }
    for key in ["/spec/run/warmup", "/spec/run/duration", "/spec/links", "/spec/faults"] {
        let [of_base, of_new] = [base, new].map(|run| run.manifest.pointer(key));
        if base.manifest.get("spec").is_some() && new.manifest.get("spec").is_some() && of_base != of_new {
            let name = key.trim_start_matches("/spec/").replace('/', ".");
            let text = |value: Option<&Json>| value.map_or_else(|| "none".to_owned(), ToString::to_string);
            notes.push(format!(
                "not the same experiment: {name} is {} in base and {} in new",
                text(of_base),
                text(of_new)
            ));
        }
    }
    notes
}

/// The axes that both know. One that a newer program has and an older had not is passed over if it has one value.
pub(super) fn shared_axes<'a>(
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

/// Without the other axes.
pub(super) fn only(point: &Coordinates, axes: &BTreeSet<&str>) -> Coordinates {
    let kept = point.iter().filter(|(axis, _)| axes.contains(axis.as_str()));
    kept.map(|(axis, value)| (axis.clone(), value.clone())).collect()
}

/// The runs' worlds, if they have none in common.
pub(super) fn worlds(base: &StoredRun, new: &StoredRun) -> Option<[String; 2]> {
    let of = |run: &StoredRun| run.points.keys().filter_map(|point| point.get(WORLD).cloned()).collect::<BTreeSet<_>>();
    let (ours, theirs) = (of(base), of(new));
    let named = |worlds: BTreeSet<String>| worlds.into_iter().collect::<Vec<_>>().join(" and ");
    (ours.is_disjoint(&theirs) && !ours.is_empty() && !theirs.is_empty()).then(|| [named(ours), named(theirs)])
}
