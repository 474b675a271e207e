//! Histograms as `HdrHistogram`'s own tools read them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde_json::Value as Json;

use super::{Document, label};
use crate::results::{StoredRun, decode_histogram, log_head, log_line};

/// One log: the three histograms of each point and repetition, as if one had followed the other. The tag says which it is.
pub(super) fn hlog(run: &StoredRun) -> Vec<Document> {
    let start = humantime::parse_rfc3339_weak(run.started()).unwrap_or(SystemTime::UNIX_EPOCH);
    let (mut log, mut since) = (log_head(start), Duration::ZERO);
    let mut any = false;
    for (point, lines) in &run.points {
        let label = label(run, point);
        for line in lines {
            let length = Duration::from_nanos(line.get("window_ns").and_then(Json::as_u64).unwrap_or_default());
            for metric in ["response", "service", "send_lag"] {
                let Some(histogram) = stored(line, metric) else { continue };
                log.extend(log_line(&histogram, since, length, &format!("{label}/{metric}")));
                any = true;
            }
            since += length;
        }
    }
    let text = String::from_utf8(log).expect("a log is text");
    if any { vec![Document::new("latency.hlog", text)] } else { Vec::new() }
}

/// The percentiles of response times, a file a point and repetition.
pub(super) fn hgrm(run: &StoredRun) -> Vec<Document> {
    let mut documents = Vec::new();
    for (point, lines) in &run.points {
        for (number, line) in lines.iter().enumerate() {
            let name = format!("{}-{number}.hgrm", file_name(&label(run, point)));
            documents.extend(stored(line, "response").map(|histogram| Document::new(name, distribution(&histogram))));
        }
    }
    documents
}

fn stored(line: &Json, metric: &str) -> Option<Histogram<u64>> {
    decode_histogram(line.get("histograms")?.get(metric)?.as_str()?)
}

/// What is stored is in nanoseconds; plots have microseconds.
const UNIT_NS: f64 = 1000.0;
/// As many steps for each half of what is left as the other implementations take.
const TICKS: u32 = 5;

/// As Java's `outputPercentileDistribution` writes it.
fn distribution(histogram: &Histogram<u64>) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut counted = 0;
    for step in histogram.iter_quantiles(TICKS) {
        counted += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / UNIT_NS, step.quantile_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(text, "{value:12.3} {quantile:2.12} {counted:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {counted:10}")
        };
    }
    let [mean, deviation, max] =
        [histogram.mean(), histogram.stdev(), histogram.max() as f64].map(|value| value / UNIT_NS);
    // Enough of them for twice the precision, and a power of two.
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len());
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]", histogram.buckets());
    text
}

/// A label as part of a file's name.
fn file_name(label: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '=' | '.' | '-' | '_') { c } else { '_' };
    label.chars().map(plain).take(120).collect()
}
