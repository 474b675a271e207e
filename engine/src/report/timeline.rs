//! What happened second by second, with elections and faults.

use std::collections::BTreeMap;
use std::fs;

use super::document::{Axis, Chart, Dot, Figure, Mark, Section, Series, Unit};
use super::material::{Group, Point, lines};
use super::tables;
use crate::measure::INTERVAL_NS;
use crate::results::{EventLine, PointResult, StoredRun};

/// Fewer intervals than this are no course of events.
const FEWEST: usize = 3;

/// The section, if any point was long enough.
pub(super) fn section(runs: &[StoredRun], group: &Group) -> Option<Section> {
    let courses: Vec<Courses> = runs.iter().map(courses).collect();
    let (together, facets) = group.facets(&[]);
    let mut figures = Vec::new();
    for (title, points) in facets {
        let (legend, lines) = lines(&points, &together);
        let of_line = |(key, line): (usize, &Vec<&Point>)| {
            let seconds = |result: &PointResult| courses[line[0].run].of(&runs[line[0].run], result);
            line[0].results.iter().map(|result| (key, seconds(result))).collect::<Vec<_>>()
        };
        let seconds: Vec<(usize, Vec<Second>)> = lines.iter().enumerate().flat_map(of_line).collect();
        if seconds.iter().all(|(_, seconds)| seconds.len() < FEWEST) {
            continue;
        }
        let marks: Vec<Mark> = lines.iter().enumerate().flat_map(|(key, line)| marks(key, line[0])).collect();
        let charts = vec![
            chart("Throughput by second", "commands/s answered", Unit::PerSecond, &seconds, &marks, |second| {
                second.rate
            }),
            chart("p99 by second", "p99 response time", Unit::Nanoseconds, &seconds, &marks, |second| second.p99_ns),
        ];
        figures.push(Figure { id: format!("timeline-{}", figures.len() + 1), title, legend, charts });
    }
    let text = "Each repetition is a line. Dashed from top to bottom: elections and faults, with the replica's id; those of \
                the first repetition are labelled.";
    let tables = tables::faults(group).into_iter().collect();
    Section { id: "timeline", title: "Second by second", text: vec![text.into()], figures, tables }.unless_empty()
}

fn chart(
    title: &str,
    label: &str,
    unit: Unit,
    lines: &[(usize, Vec<Second>)],
    marks: &[Mark],
    of: fn(&Second) -> f64,
) -> Chart {
    let dot = |second: &Second| Dot { x: second.middle, y: of(second), ..Dot::default() };
    let series =
        lines.iter().map(|(key, seconds)| Series { key: *key, dense: true, dots: seconds.iter().map(dot).collect() });
    let series: Vec<Series> = series.collect();
    let dots = || series.iter().flat_map(|series| &series.dots);
    let x = Axis::linear(
        "since the window opened",
        Unit::Seconds,
        lines.iter().flat_map(|(_, seconds)| seconds).map(|second| second.end),
    );
    let values = dots().map(|dot| dot.y);
    let mut y =
        if unit == Unit::Nanoseconds { Axis::log(label, unit, values) } else { Axis::linear(label, unit, values) };
    if !marks.is_empty() {
        // Labels stand above the lines.
        y.max *= if y.log { (y.max / y.min).sqrt() } else { 1.5 };
    }
    Chart { title: title.into(), x, y, series, marks: marks.to_vec() }
}

/// An interval of a repetition; the last may be shorter than a second.
#[derive(Clone, Debug)]
struct Second {
    /// Seconds from the opening of the window.
    middle: f64,
    end: f64,
    rate: f64,
    p99_ns: f64,
}

/// A run's `intervals.csv`, by label and repetition.
#[derive(Debug, Default)]
struct Courses {
    rows: BTreeMap<(String, usize), Vec<Interval>>,
}

/// A line of it: which second, how many commands were answered, and p99 in nanoseconds.
type Interval = (usize, f64, f64);

/// Reads them; a run that has none, or is of a time when they were written otherwise, has nothing to show.
fn courses(run: &StoredRun) -> Courses {
    let text = fs::read_to_string(run.path.join("intervals.csv")).unwrap_or_default();
    let mut courses = Courses::default();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        // The label may hold commas.
        let Some(after) = fields.len().checked_sub(8).filter(|&after| after >= 2) else { continue };
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (Ok(repetition), Ok(second)) = (fields[1].parse::<usize>(), fields[after].parse::<usize>()) else {
            continue;
        };
        let (Some(completed), Some(p99)) = (number(after + 1), number(after + 5)) else { continue };
        let label = fields[2..after].join(",");
        courses.rows.entry((label, repetition)).or_default().push((second, completed, p99));
    }
    courses
}

impl Courses {
    fn of(&self, run: &StoredRun, result: &PointResult) -> Vec<Second> {
        let varied = run.manifest.get("varied").and_then(|varied| varied.as_array()).into_iter().flatten();
        let varied: Vec<&str> = varied.filter_map(|axis| axis.as_str()).collect();
        let rows = self.rows.get(&(result.label(&varied), result.repetition)).map(Vec::as_slice).unwrap_or_default();
        let second = |&(second, completed, p99_ns): &Interval| {
            let from = second as u64 * INTERVAL_NS;
            let length = INTERVAL_NS.min(result.window_ns.saturating_sub(from)).max(1) as f64 / 1e9;
            let from = from as f64 / 1e9;
            Second { middle: from + length / 2.0, end: from + length, rate: completed / length, p99_ns }
        };
        rows.iter().map(second).collect()
    }
}

/// What happened inside the window.
fn marks(key: usize, point: &Point) -> Vec<Mark> {
    let of = |result: &PointResult| {
        let inside = |at_ns: i64| (0..=result.window_ns.cast_signed()).contains(&at_ns);
        let events = result.events.iter().filter(|event| inside(event.at_ns));
        let mark = |event: &EventLine| {
            let what = if event.kind == "leader" { "leads" } else { &event.kind };
            let text = format!("#{} {what}", event.node);
            Mark { x: event.at_ns as f64 / 1e9, key, text, repetition: result.repetition }
        };
        events.map(mark).collect::<Vec<_>>()
    };
    point.results.iter().flat_map(of).collect()
}
