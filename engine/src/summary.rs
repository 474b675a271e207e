//! A run's points, repetitions put together: what tables and sentences are made of.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::results::PointResult;
use crate::spec::{ProtocolName, Spec};
use crate::warnings::{PERCENTILES, samples_needed};

/// One row: a point, over all of its repetitions. Each figure is the median of the repetitions'.
#[derive(Debug)]
pub struct Row<'a> {
    /// The point's runs.
    pub runs: Vec<&'a PointResult>,
}

/// Puts a run's points together, in the order of the config: points that differ only in their
/// protocol stand next to each other.
pub fn rows<'a>(points: &'a [PointResult], spec: &Spec) -> Vec<Row<'a>> {
    let order: Vec<_> = spec.points().iter().map(crate::spec::Point::axes).collect();
    let rank = |point: &PointResult| {
        let same_group = |axes: &serde_json::Map<_, _>| {
            axes.iter().all(|(axis, value)| axis == "protocol" || point.axes.get(axis) == Some(value))
        };
        let group = order.iter().position(same_group);
        (group, order.iter().position(|axes| *axes == point.axes))
    };
    let mut ranked: Vec<_> = points.iter().map(|point| (rank(point), point)).collect();
    ranked.sort_by_key(|&(rank, point)| (rank, point.repetition));
    let mut rows: Vec<Row<'a>> = Vec::new();
    for (_, point) in ranked {
        match rows.last_mut().filter(|row| row.runs[0].axes == point.axes) {
            Some(row) => row.runs.push(point),
            None => rows.push(Row { runs: vec![point] }),
        }
    }
    rows
}

impl Row<'_> {
    /// The median over repetitions of `of`, where it has a value.
    pub fn median(&self, of: impl Fn(&PointResult) -> Option<f64>) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| of(run)).collect())
    }

    /// Whether any repetition has a warning of this code.
    pub fn warned(&self, code: &str) -> bool {
        self.runs.iter().any(|run| run.warnings.iter().any(|warning| warning_code(warning) == code))
    }

    fn throughput(&self) -> f64 {
        self.median(|run| Some(run.completed_per_s)).unwrap_or_default()
    }

    /// Rounds of phase 1 a slot.
    fn rounds(&self) -> f64 {
        self.median(|run| run.cost.rounds_per_slot).unwrap_or_default()
    }

    fn p50_ns(&self) -> f64 {
        self.median(|run| Some(run.response_ns.p50 as f64)).unwrap_or_default()
    }

    fn axis(&self, name: &str) -> String {
        self.runs[0].axis(name)
    }

    fn protocol(&self) -> Option<ProtocolName> {
        ProtocolName::named(&self.axis("protocol"))
    }

    fn is_floor(&self) -> bool {
        self.protocol().is_some_and(ProtocolName::is_floor)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(values[middle], values[values.len() / 2]))
}

/// The part of a warning before its colon.
fn warning_code(warning: &str) -> &str {
    warning.split(':').next().unwrap_or(warning)
}

mod convergences;
mod epidemics;
mod faults;
mod figures;

pub use convergences::convergence_table;
pub use epidemics::{epidemic_table, epidemic_warnings};
pub use faults::fault_table;
pub(crate) use figures::digits;

/// Warnings that say more about the set-up than about one point; they are said once, below the table.
const SAID_ONCE: [&str; 3] = ["shared_cores", "debug_build", "too_few_samples"];

/// A table for a terminal, without control characters.
pub fn table(rows: &[Row<'_>], spec: &Spec) -> String {
    let varied: Vec<_> = spec.varied().into_iter().filter(|&axis| axis != "protocol").collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    // Where loops of both kinds stand in one table, their own column tells them apart.
    let closed = rows.iter().all(|row| row.axis("arrival") == "closed");
    let figures = ["commands/s", "p50", "p99", "p99.9", "CPU/cmd", "to echo", "to star", "notes"];
    let mut header: Vec<String> = varied.iter().map(|&axis| axis.to_owned()).collect();
    header.push("protocol".into());
    header.extend(figures.map(str::to_owned));
    if closed {
        let at = header.iter().position(|name| name == "commands/s").expect("it was just put there");
        header[at] = "commands/s (closed loop)".into();
    }
    let slots = rows.iter().any(|row| row.rounds() > 0.0);
    if slots {
        let at = header.len() - 1;
        header.splice(at..at, ["rounds/slot", "messages/slot"].map(str::to_owned));
    }
    let columns = header.len();
    table.set_header(header);
    let mut group = None;
    for row in rows {
        let coordinates: Vec<String> = varied.iter().map(|&axis| row.axis(axis)).collect();
        if group.as_ref().is_some_and(|group| *group != coordinates) && varied.len() < spec.varied().len() {
            table.add_row(vec![""; columns]);
        }
        let floor = if row.is_floor() { " (floor)" } else { "" };
        let mut cells: Vec<Cell> = coordinates.iter().map(Cell::new).collect();
        cells.push(Cell::new(format!("{}{floor}", row.axis("protocol"))));
        cells.extend(figures_of(row).into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right)));
        if slots {
            let messages = row.median(|run| run.cost.messages_per_slot).unwrap_or_default();
            let figures = [row.rounds(), messages].map(|figure| format!("{figure:.2}"));
            cells.extend(figures.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right)));
        }
        cells.push(Cell::new(notes(row)));
        table.add_row(cells);
        group = Some(coordinates);
    }
    table.trim_fmt()
}

fn figures_of(row: &Row<'_>) -> [String; 7] {
    let percentile = |name: &str, of: fn(&PointResult) -> u64| {
        let time = row.median(|run| Some(of(run) as f64)).unwrap_or_default();
        // What has too few samples behind it is marked, not shown as if it had.
        let needed =
            PERCENTILES.iter().find(|(each, _)| *each == name).map_or(0, |&(_, quantile)| samples_needed(quantile));
        let enough = row.runs.iter().all(|run| run.response_ns.count >= needed);
        format!("{}{}", if enough { "" } else { "~" }, time_text(time))
    };
    let over = |throughput: Option<f64>, p50: Option<f64>, doubtful: bool| match (throughput, p50) {
        (Some(throughput), Some(p50)) => {
            format!("{}{:.0} %, p50 {p50:.1}x", if doubtful { "~" } else { "" }, throughput * 100.0)
        }
        _ => String::new(),
    };
    let floor = |of: fn(&crate::results::Floor) -> Option<f64>| row.median(|run| run.floor.as_ref().and_then(of));
    let doubtful =
        |of: fn(&crate::results::Floor) -> bool| row.runs.iter().any(|run| run.floor.as_ref().is_some_and(of));
    [
        format!("{}{}", thousands(row.throughput()), spread(row)),
        time_text(row.p50_ns()),
        percentile("p99", |run| run.response_ns.p99),
        percentile("p99.9", |run| run.response_ns.p99_9),
        time_text(row.median(|run| Some(run.cost.cpu_ns_per_command)).unwrap_or_default()),
        over(
            floor(|floor| floor.echo_throughput_ratio),
            floor(|floor| floor.echo_p50_ratio),
            doubtful(|floor| floor.echo_doubtful),
        ),
        over(
            floor(|floor| floor.star_throughput_ratio),
            floor(|floor| floor.star_p50_ratio),
            doubtful(|floor| floor.star_doubtful),
        ),
    ]
}

/// How far the repetitions lie apart, as half their range.
fn spread(row: &Row<'_>) -> String {
    if row.runs.len() < 2 {
        return String::new();
    }
    let rates = row.runs.iter().map(|run| run.completed_per_s);
    let (low, high) = rates.fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
    format!(" \u{b1}{:.0} %", (high - low) / 2.0 / row.throughput().max(1.0) * 100.0)
}

fn notes(row: &Row<'_>) -> String {
    let mut codes: Vec<&str> = Vec::new();
    if row.runs.iter().all(|run| run.checked) {
        codes.push("checked");
    }
    for warning in row.runs.iter().flat_map(|run| &run.warnings) {
        let code = warning_code(warning);
        if !codes.contains(&code) && !SAID_ONCE.contains(&code) {
            codes.push(code);
        }
    }
    codes.join(" ")
}

/// The warnings in words, each kind once, with how many of the runs have it.
pub fn warnings_text(rows: &[Row<'_>]) -> String {
    let runs: Vec<&PointResult> = rows.iter().flat_map(|row| row.runs.iter().copied()).collect();
    let mut kinds: Vec<(&str, &str, usize)> = Vec::new();
    for warning in runs.iter().flat_map(|run| &run.warnings) {
        match kinds.iter_mut().find(|(code, ..)| *code == warning_code(warning)) {
            Some((.., count)) => *count += 1,
            None => kinds.push((warning_code(warning), warning, 1)),
        }
    }
    let mut text = String::new();
    for (code, example, count) in kinds {
        let said = match code {
            "too_few_samples" => {
                "~ marks a percentile with too few samples behind it, or a ratio to a floor that has doubts itself"
                    .to_owned()
            }
            _ if count == runs.len() => example.to_owned(),
            _ => format!("{example} (in {count} of {} runs, here the first)", runs.len()),
        };
        let _ = writeln!(text, "  {said}");
    }
    text
}

/// What the run says, in a sentence or two per kind of cluster, which are told apart by the axes that vary.
pub fn verdict(rows: &[Row<'_>], varied: &[&str]) -> String {
    let mut sentences = Vec::new();
    let besides: Vec<_> =
        varied.iter().copied().filter(|axis| !["protocol", "rate", "outstanding"].contains(axis)).collect();
    let mut kinds: Vec<(String, ProtocolName)> = Vec::new();
    for row in rows.iter().filter(|row| !row.is_floor()) {
        let kind = row.protocol().map(|protocol| (row.runs[0].label(&besides), protocol));
        if let Some(kind) = kind.filter(|kind| !kinds.contains(kind)) {
            kinds.push(kind);
        }
    }
    for (label, protocol) in kinds {
        let of_kind: Vec<_> = rows
            .iter()
            .filter(|row| row.protocol() == Some(protocol) && row.runs[0].label(&besides) == label)
            .collect();
        sentences.extend(sentence(&of_kind, &label, protocol));
    }
    sentences.join("\n")
}

/// One protocol on one kind of cluster: the most that it sustained, and what that is next to its floor.
fn sentence(rows: &[&Row<'_>], label: &str, protocol: ProtocolName) -> Option<String> {
    let sustained: Vec<&Row<'_>> = rows.iter().copied().filter(|row| !row.warned("overloaded")).collect();
    let best = fastest(&sustained).or_else(|| fastest(rows))?;
    let place = if label.is_empty() { String::new() } else { format!(" ({})", label.replace('/', ", ")) };
    if best.throughput() == 0.0 {
        return Some(format!("{protocol}{place} answered nothing."));
    }
    let closed = best.axis("arrival") == "closed";
    let verb = match (closed, best.warned("overloaded")) {
        (true, _) => "peaks at",
        (false, true) => "was overloaded at every rate; at best it carried",
        (false, false) => "sustains",
    };
    let p99 = best.median(|run| Some(run.response_ns.p99 as f64)).unwrap_or_default();
    let mut text = format!(
        "{protocol}{place} {verb} {} commands/s with p50 {} and p99 {}, at {} of CPU a command over all threads",
        thousands(best.throughput()),
        time_text(best.p50_ns()),
        time_text(p99),
        time_text(best.median(|run| Some(run.cost.cpu_ns_per_command)).unwrap_or_default()),
    );
    let floor = |of: fn(&crate::results::Floor) -> Option<f64>| best.median(|run| run.floor.as_ref().and_then(of));
    if let (Some(throughput), Some(p50)) =
        (floor(|floor| floor.echo_throughput_ratio), floor(|floor| floor.echo_p50_ratio))
    {
        let _ = write!(text, "; that is {:.0} % of echo's throughput at {p50:.1} times its p50", throughput * 100.0);
        if best.runs.iter().any(|run| run.floor.as_ref().is_some_and(|floor| floor.echo_doubtful)) {
            text += ", but the generator could not keep its schedule for echo either, so take the ratio with care";
        }
    }
    let overloaded = rows.len() - sustained.len();
    if overloaded > 0 && !sustained.is_empty() {
        let _ = write!(text, "; it did not keep up at {overloaded} of {} rates", rows.len());
    }
    Some(text + ".")
}

fn fastest<'a, 'r>(rows: &[&'a Row<'r>]) -> Option<&'a Row<'r>> {
    rows.iter().copied().max_by(|a, b| a.throughput().total_cmp(&b.throughput()))
}

/// `1,234,567`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds as people read them: three digits and a unit.
pub fn time_text(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 999.5 => (ns, "ns"),
        _ if ns < 999_500.0 => (ns / 1e3, "us"),
        _ if ns < 999_500_000.0 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let decimals = if value < 9.995 && unit != "ns" { 2 } else { usize::from(value < 99.95 && unit != "ns") };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        let times: Vec<_> = [0.0, 72.4, 999.4, 999.6, 1234.0, 45_678.0, 999_499.0, 1e6, 2.5e9].map(time_text).to_vec();
        assert_eq!(times, ["0 ns", "72 ns", "999 ns", "1.00 us", "1.23 us", "45.7 us", "999 us", "1.00 ms", "2.50 s"]);
        assert_eq!([0.0, 999.0, 1000.0, 12_345_678.4].map(thousands).to_vec(), ["0", "999", "1,000", "12,345,678"]);
    }
}
