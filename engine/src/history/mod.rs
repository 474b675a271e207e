//! A metric over commits: one value a run, and where it changed.
//!
//! ```
//! use quorumbench::history::change_points;
//!
//! let p99 = [10.0, 10.1, 9.9, 10.2, 10.0, 10.1, 9.8, 12.1, 12.0, 12.2, 11.9, 12.1, 12.0, 12.2];
//! assert_eq!(change_points(&p99, 0.01, 1), [7]);
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::compare::Metric;
use crate::compare::statistics::median;
use crate::results::{Coordinates, StoredRun};

mod changes;
pub mod cli;

pub use changes::change_points;

/// Runs of one folder, from the oldest to the newest, as series.
#[derive(Clone, Debug)]
pub struct History {
    /// One a point and metric, in the order of points, each with at least two values.
    pub series: Vec<Series>,
    /// What a reader should know before believing it.
    pub notes: Vec<String>,
}

/// One metric of one point.
#[derive(Clone, Debug)]
pub struct Series {
    /// The experiment.
    pub name: String,
    /// The coordinates in which its points differ.
    pub point: Coordinates,
    /// What is drawn.
    pub metric: Metric,
    /// A value a run that has the point, in the order of the runs.
    pub values: Vec<Value>,
    /// The places of the values with which something changed.
    pub changes: Vec<usize>,
}

/// What one run says.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// When the run began, as its manifest has it.
    pub started: String,
    /// What it was built from; empty if unknown.
    pub commit: String,
    /// The median over its repetitions.
    pub value: f64,
}

impl Series {
    /// What changed where: the medians of the stretches before and after.
    pub fn shifts(&self) -> Vec<Shift> {
        let begins = std::iter::once(0).chain(self.changes.iter().copied());
        let ends = self.changes.iter().copied().chain([self.values.len()]);
        let level = |(from, to): (usize, usize)| {
            median(&self.values[from..to].iter().map(|value| value.value).collect::<Vec<_>>())
        };
        let levels: Vec<f64> = begins.zip(ends).map(level).collect();
        let shift = |(&at, pair): (&usize, &[f64])| {
            let (from, to) = (pair[0], pair[1]);
            Shift { at, from, to, better: (to > from) == self.metric.more_is_better }
        };
        self.changes.iter().zip(levels.windows(2)).map(shift).collect()
    }
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The place of the first value that is of the new level.
    pub at: usize,
    /// The old level: the median of its values.
    pub from: f64,
    /// The new one.
    pub to: f64,
    /// Whether the new level is the one to wish for.
    pub better: bool,
}

impl Shift {
    /// The new level as a multiple of the old one.
    pub fn ratio(&self) -> f64 {
        self.to / self.from
    }
}

impl History {
    /// Reads the runs that lie in `folder`, and looks for changes in `metrics` of each point. `significance` is the chance
    /// of taking noise for a change. Unless `across_hosts`, only runs of the newest one's kind of machine and build count.
    ///
    /// # Errors
    /// If the folder cannot be read. Whatever in it is no run is passed over.
    pub fn read(folder: &Path, metrics: &[Metric], significance: f64, across_hosts: bool) -> io::Result<Self> {
        let mut notes = Vec::new();
        let mut runs = runs(folder, &mut notes)?;
        if let (false, Some(newest)) = (across_hosts, runs.last().cloned()) {
            let all = runs.len();
            runs.retain(|run| run.differences(&newest).is_empty());
            if runs.len() < all {
                let others = all - runs.len();
                notes.push(format!(
                    "{others} of {all} runs are of other machines or builds than the newest, and left out"
                ));
            }
        }
        let varied = varied(&runs);
        let mut series: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for run in &runs {
            for (point, lines) in &run.points {
                let name = run.name();
                let shown: Coordinates =
                    point.iter().filter(|(axis, _)| varied.contains(&(name, axis.as_str()))).map(owned).collect();
                for (place, metric) in metrics.iter().enumerate() {
                    let values: Vec<f64> = lines.iter().filter_map(|line| metric.of(line)).collect();
                    if !values.is_empty() {
                        let value =
                            Value { started: run.started().into(), commit: run.commit.clone(), value: median(&values) };
                        series.entry((name.to_owned(), shown.clone(), place)).or_default().push(value);
                    }
                }
            }
        }
        let finish = |((name, shown, place), values): ((String, Coordinates, usize), Vec<Value>)| {
            let figures: Vec<f64> = values.iter().map(|value| value.value).collect();
            let changes = change_points(&figures, significance, SEED);
            Series { name, point: shown, metric: metrics[place], values, changes }
        };
        let long = series.into_iter().filter(|(_, values)| values.len() > 1);
        Ok(Self { series: long.map(finish).collect(), notes })
    }
}

/// The same folder has the same changes, whenever it is looked at.
const SEED: u64 = 1;

fn owned((axis, value): (&String, &String)) -> (String, String) {
    (axis.clone(), value.clone())
}

/// All runs in a folder, by when they began.
fn runs(folder: &Path, notes: &mut Vec<String>) -> io::Result<Vec<StoredRun>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let mut path = entry?.path();
        if !path.join("manifest.json").is_file() {
            // Of two builds that were measured in turn, this one.
            path.push("new");
        }
        if !path.join("manifest.json").is_file() {
            continue;
        }
        match StoredRun::read(&path) {
            Ok(run) if run.points.is_empty() => {}
            Ok(run) => runs.push(run),
            Err(error) => notes.push(format!("passed over: {error}")),
        }
    }
    runs.sort_by(|one, other| (one.started(), &one.path).cmp(&(other.started(), &other.path)));
    Ok(runs)
}

/// The axes in which the points of an experiment differ from each other, over all runs of that name. One that older
/// programs did not know is none of them as long as it has one value.
fn varied(runs: &[StoredRun]) -> BTreeSet<(&str, &str)> {
    let mut seen: BTreeMap<(&str, &str), BTreeSet<Option<&String>>> = BTreeMap::new();
    for run in runs {
        for axis in run.axes() {
            seen.entry((run.name(), axis)).or_default().extend(run.points.keys().map(|point| point.get(axis)));
        }
    }
    seen.into_iter().filter(|(_, values)| values.len() > 1).map(|(key, _)| key).collect()
}
