//! How far gossip gets round by round, and how the rounds grow with the number of nodes.

use super::document::{Axis, Chart, Dot, Figure, Key, Section, Series, Unit};
use super::material::{Group, Point, Varied, divide, lines, median, range};
use crate::results::WORLD;

/// How many nodes there are.
const NODES: &str = "nodes";

/// The share of nodes that know, by round.
pub(super) fn coverage(group: &Group) -> Option<Section> {
    let (together, apart) = divide(&group.axes_but(&[]), &[WORLD]);
    let figure = |(index, (title, points)): (usize, (String, Vec<&Point>))| {
        let (legend, lines) = lines(&points, &together);
        let series: Vec<Series> = lines.iter().enumerate().map(|(key, line)| curve(key, line[0])).collect();
        let last = series.iter().flat_map(|series| &series.dots).map(|dot| dot.x);
        let x = Axis::linear("round", Unit::Number, last);
        let y = Axis::linear("nodes reached", Unit::Share, [1.0]);
        let chart = Chart { title: "Coverage by round".into(), x, y, series, marks: Vec::new() };
        Figure { id: format!("coverage-{}", index + 1), title: titled(title), legend, charts: vec![chart] }
    };
    let figures = group.apart(&apart).into_iter().enumerate().map(figure).collect();
    let text = "The share of nodes that have the update after each round, over all trials; the line is the median of the \
                repetitions, and the band their least and most.";
    Section { id: "coverage", title: "Coverage by round", text: vec![text.into()], figures, ..Section::default() }
        .unless_empty()
}

fn titled(label: String) -> String {
    if label.is_empty() { "All points".into() } else { label }
}

fn curve(key: usize, point: &Point) -> Series {
    let curves: Vec<Vec<f64>> = (0..point.lines.len())
        .map(|line| {
            let curve = point.lines[line].pointer("/epidemic/curve").and_then(|curve| curve.as_array());
            curve.into_iter().flatten().filter_map(serde_json::Value::as_f64).collect()
        })
        .collect();
    let rounds = curves.iter().map(Vec::len).max().unwrap_or_default();
    let dot = |round: usize| {
        // Where one has ended, nothing changes any more.
        let each: Vec<f64> = curves.iter().filter_map(|curve| curve.get(round).or(curve.last()).copied()).collect();
        let x = round as f64;
        Dot {
            x,
            y: median(&each).unwrap_or_default(),
            y_range: range(&each),
            runs: curves.iter().filter_map(|curve| Some([x, *curve.get(round)?])).collect(),
            ..Dot::default()
        }
    };
    Series { key, dense: true, dots: (0..rounds).map(dot).collect() }
}

/// Rounds until the last arrival, and what theory says of them.
pub(super) fn rounds(group: &Group) -> Option<Section> {
    group.axis(NODES)?;
    let (together, apart) = divide(&group.axes_but(&[NODES]), &[WORLD]);
    let figure =
        |(index, (title, points)): (usize, (String, Vec<&Point>))| rounds_figure(index, title, &points, &together);
    let figures = group.apart(&apart).into_iter().enumerate().map(figure).collect();
    let text = "Until the last node is reached that ever is: the mean over the trials, with its 95 % interval, or, over several \
                repetitions, their median with their least and most. Dashed: what the literature says, where it says it.";
    Section { id: "rounds", title: "Rounds by number of nodes", text: vec![text.into()], figures, ..Section::default() }
        .unless_empty()
}

fn rounds_figure(index: usize, title: String, points: &[&Point], together: &[&Varied]) -> Figure {
    let (mut legend, lines) = lines(points, together);
    let mut series: Vec<Series> = Vec::new();
    for (key, line) in lines.iter().enumerate() {
        series.push(Series { key, dense: false, dots: line.iter().filter_map(|point| measured(point)).collect() });
    }
    for (of, line) in lines.iter().enumerate() {
        let dots: Vec<Dot> = line.iter().filter_map(|point| in_theory(point)).collect();
        if !dots.is_empty() {
            let name = &legend[of].name;
            let name = if name.is_empty() { "theory".into() } else { format!("{name}: theory") };
            legend.push(Key { name, colour: legend[of].colour, dash: 1 });
            series.push(Series { key: legend.len() - 1, dense: true, dots });
        }
    }
    let dots = || series.iter().flat_map(|series| &series.dots);
    let x = Axis::log("nodes", Unit::Number, dots().map(|dot| dot.x));
    let tops = dots().map(|dot| dot.y_range.map_or(dot.y, |range| range[1]));
    let y = Axis::fitting("rounds until the last arrival", Unit::Number, &tops.collect::<Vec<_>>());
    let chart = Chart { title: "Rounds by number of nodes".into(), x, y, series, marks: Vec::new() };
    Figure { id: format!("rounds-{}", index + 1), title: titled(title), legend, charts: vec![chart] }
}

fn nodes(point: &Point) -> Option<f64> {
    point.axis(NODES).parse().ok()
}

fn measured(point: &Point) -> Option<Dot> {
    let means = point.each("/epidemic/rounds_last/mean");
    let (x, y) = (nodes(point)?, median(&means)?);
    let half = point.median("/epidemic/rounds_last/half_interval");
    let y_range = range(&means).or(half.map(|half| [y - half, y + half]));
    Some(Dot { x, y, y_range, runs: means.into_iter().map(|mean| [x, mean]).collect(), ..Dot::default() })
}

fn in_theory(point: &Point) -> Option<Dot> {
    Some(Dot { x: nodes(point)?, y: point.median("/epidemic/theory/rounds_last")?, ..Dot::default() })
}
