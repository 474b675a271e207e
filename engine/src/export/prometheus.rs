//! Prometheus' text exposition format, version 0.0.4.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::Document;
use crate::compare::{Metric, Unit};
use crate::results::StoredRun;

/// A gauge a metric, with a sample a point and repetition; its labels are the axes that vary.
pub(super) fn prometheus(run: &StoredRun) -> Vec<Document> {
    let mut text = String::new();
    for metric in Metric::ALL {
        let (name, scale) = name(metric);
        let mut samples = String::new();
        for (point, lines) in &run.points {
            let varied = point.iter().filter(|(axis, _)| run.varies(axis));
            let labels: Vec<String> = varied.map(|(axis, value)| format!("{axis}=\"{}\"", escaped(value))).collect();
            for (number, line) in lines.iter().enumerate() {
                let Some(value) = metric.of(line) else { continue };
                let repetition = line.get("repetition").and_then(Json::as_u64).unwrap_or(number as u64);
                let own = [format!("experiment=\"{}\"", escaped(run.name())), format!("repetition=\"{repetition}\"")];
                let all = own.iter().chain(&labels).map(String::as_str).collect::<Vec<_>>().join(",");
                let _ = writeln!(samples, "{name}{{{all}}} {}", value * scale);
            }
        }
        if !samples.is_empty() {
            let _ = write!(text, "# HELP {name} {} of a point's run.\n# TYPE {name} gauge\n{samples}", metric.name);
        }
    }
    if text.is_empty() { Vec::new() } else { vec![Document::new("metrics.prom", text)] }
}

/// A metric's name there, and what its value is multiplied by: times are in seconds.
fn name(metric: Metric) -> (String, f64) {
    let base = metric.name.replace(['-', '.'], "_");
    match metric.unit {
        Unit::PerSecond => (format!("quorumbench_{base}_commands_per_second"), 1.0),
        Unit::Nanoseconds => (format!("quorumbench_{base}_seconds"), 1e-9),
        Unit::Number => (format!("quorumbench_{base}"), 1.0),
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
