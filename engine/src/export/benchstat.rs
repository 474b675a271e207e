//! Go's benchmark format (golang.org/design/14313-benchmark-format, and its unit lines), for benchstat.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{Document, label};
use crate::compare::{Metric, Unit};
use crate::results::StoredRun;

/// A line a point and repetition. What it says of the host is what benchstat groups by.
pub(super) fn benchstat(run: &StoredRun) -> Vec<Document> {
    let host = |name: &str| run.fingerprint.get(name).map_or("unknown", String::as_str);
    let mut text = format!("pkg: quorumbench/{}\ncpu: {}\n", word(run.name()), host("cpu"));
    let metrics = || Metric::ALL.into_iter().filter(|metric| metric.by_default);
    for metric in metrics() {
        let better = if metric.more_is_better { "higher" } else { "lower" };
        let _ = writeln!(text, "Unit {} better={better}", unit(metric));
    }
    let mut any = false;
    for (point, lines) in &run.points {
        for line in lines {
            let values: Vec<String> =
                metrics().filter_map(|metric| Some(format!("{} {}", metric.of(line)?, unit(metric)))).collect();
            let count = ["/commands", "/epidemic/trials", "/convergence/trials"];
            let count = count.iter().find_map(|pointer| line.pointer(pointer)?.as_u64()).unwrap_or(1).max(1);
            if !values.is_empty() {
                // Without cores at its end, a name that ends in a dash and digits is taken to have them.
                let (name, cores) = (word(&label(run, point)), host("cores"));
                let _ = writeln!(text, "Benchmark{}/{name}-{cores} {count} {}", kind(line), values.join(" "));
                any = true;
            }
        }
    }
    if any { vec![Document::new("bench.txt", text)] } else { Vec::new() }
}

fn kind(line: &Json) -> &'static str {
    match line.get("schema").and_then(Json::as_str) {
        Some(crate::results::EPIDEMIC_SCHEMA) => "Epidemic",
        Some(crate::results::CONVERGENCE_SCHEMA) => "Convergence",
        _ => "Commit",
    }
}

fn unit(metric: Metric) -> String {
    match metric.unit {
        Unit::PerSecond => "commands/s".into(),
        Unit::Nanoseconds => format!("{}-ns/op", metric.name),
        Unit::Number => metric.name.into(),
    }
}

/// Without what would end a word.
fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}
