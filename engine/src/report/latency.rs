//! Latency over throughput: how fast it is under which load, and where it stops keeping up.

use super::document::{Axis, Chart, Dot, Figure, Section, Series, Unit};
use super::material::{Group, Point, Varied, lines, median, range};
use crate::warnings::{PERCENTILES, samples_needed};

/// The axes that say how much load there is.
pub(super) const LOAD: [&str; 2] = ["rate", "outstanding"];

/// The section, if anything answered commands under several loads.
pub(super) fn section(group: &Group) -> Option<Section> {
    let (together, facets) = group.facets(&LOAD);
    let figure = |(index, (title, points)): (usize, (String, Vec<&Point>))| figure(index, title, &points, &together);
    // A single load makes no line: how protocols and settings compare there is in the tables.
    let has_lines = |(_, points): &(String, Vec<&Point>)| lines(points, &together).1.iter().any(|line| has_loads(line));
    let figures = facets.into_iter().filter(has_lines).enumerate().map(figure).collect();
    let text = [
        "Each line follows the offered load; where it bends back, more load made it slower. Dots are medians over the \
         repetitions, bars their least and most. Dashed: the floors, which are no protocols.",
        "An open loop sends on schedule; a closed one keeps a fixed number of commands in flight, and the two never share a \
         chart. A hollow dot is to be doubted: the point was late, overloaded or limited by its generator, or a percentile has \
         too few samples.",
    ];
    let text = text.map(str::to_owned).to_vec();
    Section { id: "latency", title: "Latency and throughput", text, figures, ..Section::default() }.unless_empty()
}

fn figure(index: usize, title: String, points: &[&Point], together: &[&Varied]) -> Figure {
    let (legend, lines) = lines(points, together);
    let charts = ["p50", "p99"].map(|percentile| {
        let series: Vec<Series> = (0..).zip(&lines).map(|(key, line)| series(key, line, percentile)).collect();
        let all = |of: fn(&Dot) -> (f64, Option<[f64; 2]>)| {
            let dots = series.iter().flat_map(|series| &series.dots).map(of);
            dots.flat_map(|(value, range)| [value].into_iter().chain(range.into_iter().flatten())).collect::<Vec<_>>()
        };
        let x = Axis::fitting("commands/s answered", Unit::PerSecond, &all(|dot| (dot.x, dot.x_range)));
        let y = Axis::log(&format!("{percentile} response time"), Unit::Nanoseconds, all(|dot| (dot.y, dot.y_range)));
        Chart { title: format!("{percentile} by throughput"), x, y, series, marks: Vec::new() }
    });
    Figure { id: format!("latency-{}", index + 1), title, legend, charts: charts.into() }
}

/// One line, in the order of what was offered.
fn series(key: usize, line: &[&Point], percentile: &str) -> Series {
    let mut line = line.to_vec();
    // Stable: points that differ in something else keep their order.
    line.sort_by(|a, b| load(a).total_cmp(&load(b)));
    Series { key, dense: false, dots: line.iter().filter_map(|point| dot(point, percentile)).collect() }
}

fn load(point: &Point) -> f64 {
    LOAD.iter().find_map(|axis| point.axis(axis).parse().ok()).unwrap_or_default()
}

fn has_loads(line: &[&Point]) -> bool {
    line.iter().any(|point| load(point).to_bits() != load(line[0]).to_bits())
}

fn dot(point: &Point, percentile: &str) -> Option<Dot> {
    let (xs, ys) = (point.each("/completed_per_s"), point.each(&format!("/response_ns/{percentile}")));
    let mut doubts = point.doubts();
    doubts.extend(too_few(point, percentile));
    let load = LOAD.iter().find(|axis| !point.axis(axis).is_empty());
    Some(Dot {
        x: median(&xs)?,
        y: median(&ys)?,
        x_range: range(&xs),
        y_range: range(&ys),
        label: load.map(|axis| format!("{axis}={}", point.axis(axis))).unwrap_or_default(),
        doubts,
        runs: xs.into_iter().zip(ys).map(|(x, y)| [x, y]).collect(),
    })
}

/// Why a percentile says little, if it has too few samples behind it.
pub(super) fn too_few(point: &Point, percentile: &str) -> Option<String> {
    let &(_, quantile) = PERCENTILES.iter().find(|(name, _)| *name == percentile)?;
    let (count, needed) =
        (point.results.iter().map(|result| result.response_ns.count).min()?, samples_needed(quantile));
    (count < needed).then(|| format!("too_few_samples: {percentile} from {count} commands; it wants {needed}"))
}
