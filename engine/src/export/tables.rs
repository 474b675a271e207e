//! Comma-separated values (RFC 4180).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{Document, Summary, label_by, summaries};
use crate::compare::Metric;
use crate::results::StoredRun;

/// Long form: a line a point, repetition and metric, with a column for each axis that varies in any of the runs.
pub(super) fn csv(runs: &[StoredRun]) -> Vec<Document> {
    let axes: BTreeSet<&str> =
        runs.iter().flat_map(|run| run.axes().into_iter().filter(|axis| run.varies(axis))).collect();
    let ends = ["repetition", "metric", "value", "unit"];
    let mut table = vec![
        ["run", "name", "commit"].into_iter().chain(axes.iter().copied()).chain(ends).map(str::to_owned).collect(),
    ];
    for run in runs {
        let folder = run.path.file_name().unwrap_or_default().to_string_lossy();
        for (point, lines) in &run.points {
            for (number, line) in lines.iter().enumerate() {
                let repetition = line.get("repetition").and_then(Json::as_u64).unwrap_or(number as u64).to_string();
                for (metric, value) in Metric::ALL.iter().filter_map(|metric| Some((metric, metric.of(line)?))) {
                    let head = [&*folder, run.name(), &run.commit].into_iter();
                    let coordinates = axes.iter().map(|axis| point.get(*axis).map_or("", String::as_str));
                    let ends = [&repetition, metric.name, &value.to_string(), metric.unit.name()];
                    table.push(head.chain(coordinates).chain(ends).map(str::to_owned).collect());
                }
            }
        }
    }
    if table.len() > 1 { vec![Document::new("run.csv", text(&table))] } else { Vec::new() }
}

/// A line a run, as Otava imports it: when, from which commit, and the median of each metric of each point that all of the
/// runs have, since it bears no gaps. A point has the same name in all runs of one experiment.
pub(super) fn otava(runs: &[StoredRun]) -> Vec<Document> {
    let medians = |run: &StoredRun| -> BTreeMap<String, f64> {
        let varied = varied(runs, run.name());
        let of_point = |(point, lines): (_, &Vec<Json>)| {
            let label = label_by(run, point, |axis| varied.contains(axis));
            let named = move |summary: Summary| (format!("{label} {}", summary.metric.name), summary.median);
            summaries(lines).into_iter().map(named).collect::<Vec<_>>()
        };
        run.points.iter().flat_map(of_point).collect()
    };
    let rows: Vec<_> = runs.iter().map(medians).collect();
    let columns: Vec<&String> = rows
        .first()
        .map(|first| first.keys().filter(|column| rows.iter().all(|row| row.contains_key(*column))).collect())
        .unwrap_or_default();
    if columns.is_empty() {
        return Vec::new();
    }
    let head = ["time", "commit"].map(str::to_owned).into_iter();
    let mut table: Vec<Vec<String>> = vec![head.chain(columns.iter().map(|&column| column.clone())).collect()];
    for (run, row) in runs.iter().zip(&rows) {
        let head = [run.started(), &run.commit].map(str::to_owned).into_iter();
        table.push(head.chain(columns.iter().map(|&column| row[column].to_string())).collect());
    }
    vec![Document::new("otava.csv", text(&table))]
}

/// The axes on which the points of all runs of this name have several values, where they apply.
fn varied<'a>(runs: &'a [StoredRun], name: &str) -> BTreeSet<&'a str> {
    let points = runs.iter().filter(|run| run.name() == name).flat_map(|run| run.points.keys());
    let (mut first, mut varied) = (BTreeMap::new(), BTreeSet::new());
    for (axis, value) in points.flatten() {
        if *first.entry(axis).or_insert(value) != value {
            varied.insert(axis.as_str());
        }
    }
    varied
}

fn text(table: &[Vec<String>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    table.iter().for_each(|row| writer.write_record(row).expect("a Vec takes everything, and rows are equally long"));
    String::from_utf8(writer.into_inner().expect("a Vec takes everything")).expect("fields are text")
}
