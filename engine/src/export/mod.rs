//! A run in the formats of other tools.
//!
//! | format | read by |
//! |---|---|
//! | `hlog` | `HdrHistogram`'s log readers and plotters: a histogram a point, repetition and metric |
//! | `hgrm` | `HdrHistogram`'s percentile plotter: a file a point and repetition, in microseconds |
//! | `csv` | anything: a line a point, repetition and metric |
//! | `json` | anything: the manifest and all lines, in one document |
//! | `benchstat` | Go's benchstat: a line a point and repetition |
//! | `bencher` | Bencher: medians, with the least and the most of the repetitions |
//! | `github-action` | github-action-benchmark: one file where smaller is better, one where bigger is |
//! | `otava` | Apache Otava: a line a run, a column a point and metric |
//! | `prometheus` | Prometheus: a gauge a metric, a sample a point and repetition |
//!
//! ```no_run
//! use quorumbench::export::{Format, export};
//! use quorumbench::results::StoredRun;
//!
//! let run = StoredRun::read("results/20261120T101500Z-peak".as_ref())?;
//! for document in export(&[run], Format::Csv) {
//!     println!("{}: {} bytes", document.name, document.text.len());
//! }
//! # Ok::<(), quorumbench::results::ReadError>(())
//! ```

use serde_json::{Value as Json, json};

use crate::compare::Metric;
use crate::compare::statistics::median;
use crate::results::{Coordinates, StoredRun};

mod benchstat;
pub mod cli;
mod dashboards;
mod histograms;
mod prometheus;
mod tables;

/// A format of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the module's table says what they are")]
pub enum Format {
    Hlog,
    Hgrm,
    Csv,
    Json,
    Benchstat,
    Bencher,
    GithubAction,
    Otava,
    Prometheus,
}

/// The version of the `json` format.
pub const EXPORT_SCHEMA: &str = "quorumbench.export/1";

/// A file of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is called beside others.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl Document {
    fn new(name: impl Into<String>, text: String) -> Self {
        Self { name: name.into(), text }
    }
}

impl Format {
    /// Whether several runs have a place in it. Others hold one run at a time.
    pub fn takes_several(self) -> bool {
        matches!(self, Self::Csv | Self::Json | Self::Otava)
    }

    /// Whether it may make several files, which are in a folder then. Others make one.
    pub fn makes_several(self) -> bool {
        matches!(self, Self::Hgrm | Self::GithubAction)
    }
}

/// The files that hold these runs, from the oldest to the newest: one, except where the format [makes
/// several](Format::makes_several). Where they have nothing that the format is about, none.
pub fn export(runs: &[StoredRun], format: Format) -> Vec<Document> {
    let each = |one: fn(&StoredRun) -> Vec<Document>| runs.iter().flat_map(one).collect();
    match format {
        Format::Hlog => each(histograms::hlog),
        Format::Hgrm => each(histograms::hgrm),
        Format::Csv => tables::csv(runs),
        Format::Json => vec![whole(runs)],
        Format::Benchstat => each(benchstat::benchstat),
        Format::Bencher => each(dashboards::bencher),
        Format::GithubAction => each(dashboards::github_action),
        Format::Otava => tables::otava(runs),
        Format::Prometheus => each(prometheus::prometheus),
    }
}

/// All that there is.
fn whole(runs: &[StoredRun]) -> Document {
    let run = |run: &StoredRun| {
        let points: Vec<&Json> = run.points.values().flatten().collect();
        json!({"run": run.path.display().to_string(), "manifest": run.manifest, "points": points})
    };
    let document = json!({"schema": EXPORT_SCHEMA, "runs": runs.iter().map(run).collect::<Vec<_>>()});
    Document::new("run.json", format!("{document}\n"))
}

/// A point's name: the coordinates in which the run's points differ; the experiment's if there is one point only.
fn label(run: &StoredRun, point: &Coordinates) -> String {
    label_by(run, point, |axis| run.varies(axis))
}

/// The same by the axes that are said to vary.
fn label_by(run: &StoredRun, point: &Coordinates, varies: impl Fn(&str) -> bool) -> String {
    let varied = point.iter().filter(|(axis, _)| varies(axis));
    let label = varied.map(|(axis, value)| format!("{axis}={value}")).collect::<Vec<_>>().join("/");
    if label.is_empty() { run.name().to_owned() } else { label }
}

/// A metric over the repetitions of a point.
struct Summary {
    metric: Metric,
    median: f64,
    least: f64,
    most: f64,
    repetitions: usize,
}

/// What a point has of the metrics that are compared by default.
fn summaries(lines: &[Json]) -> Vec<Summary> {
    let summary = |metric: Metric| {
        let mut values: Vec<f64> = lines.iter().filter_map(|line| metric.of(line)).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        Some(Summary { metric, median: median(&values), least, most, repetitions: values.len() })
    };
    Metric::ALL.into_iter().filter(|metric| metric.by_default).filter_map(summary).collect()
}
