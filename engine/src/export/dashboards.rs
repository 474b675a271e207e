//! What services that draw charts take.

use serde_json::{Map, Value as Json, json};

use super::{Document, Summary, label, summaries};
use crate::compare::Metric;
use crate::results::StoredRun;

/// Bencher's metric format.
pub(super) fn bencher(run: &StoredRun) -> Vec<Document> {
    let mut benchmarks = Map::new();
    for (point, lines) in &run.points {
        let measure = |summary: Summary| {
            let value = json!({"value": summary.median, "lower_value": summary.least, "upper_value": summary.most});
            (measure(summary.metric).to_owned(), value)
        };
        let measures: Map<String, Json> = summaries(lines).into_iter().map(measure).collect();
        if !measures.is_empty() {
            benchmarks.insert(label(run, point), measures.into());
        }
    }
    if benchmarks.is_empty() {
        return Vec::new();
    }
    vec![Document::new("bencher.json", format!("{:#}\n", Json::from(benchmarks)))]
}

/// Bencher has a unit for two names: operations a second, and nanoseconds.
fn measure(metric: Metric) -> &'static str {
    if metric.name == "p50" { "latency" } else { metric.name }
}

/// What github-action-benchmark calls `customSmallerIsBetter` and `customBiggerIsBetter`.
pub(super) fn github_action(run: &StoredRun) -> Vec<Document> {
    let entries = |more_is_better: bool| -> Vec<Json> {
        let of_point = |(point, lines): (_, &Vec<Json>)| {
            let name = label(run, point);
            let these =
                summaries(lines).into_iter().filter(move |summary| summary.metric.more_is_better == more_is_better);
            these.map(move |summary| entry(&name, &summary)).collect::<Vec<_>>()
        };
        run.points.iter().flat_map(of_point).collect()
    };
    let files = [("smaller-is-better.json", entries(false)), ("bigger-is-better.json", entries(true))];
    let document = |(name, entries)| Document::new(name, format!("{:#}\n", Json::Array(entries)));
    files.into_iter().filter(|(_, entries)| !entries.is_empty()).map(document).collect()
}

fn entry(label: &str, summary: &Summary) -> Json {
    let Summary { metric, median, least, most, repetitions } = summary;
    json!({
        "name": format!("{label} {}", metric.name),
        "value": median,
        "unit": metric.unit.name(),
        "range": format!("{least} to {most}"),
        "extra": format!("median of {repetitions} repetitions"),
    })
}
