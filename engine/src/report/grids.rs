//! Tables whose shade is the figure: protocols side by side, and sweeps over two axes.

use super::document::{Cell, Column, Row, Section, Table, Unit};
use super::material::{Group, Point, Varied};
use crate::results::WORLD;

/// A figure to compare by.
struct Figure {
    title: &'static str,
    pointer: &'static str,
    unit: Unit,
    more_is_better: bool,
}

const fn less(title: &'static str, pointer: &'static str, unit: Unit) -> Figure {
    Figure { title, pointer, unit, more_is_better: false }
}

const THROUGHPUT: Figure = Figure { more_is_better: true, ..less("commands/s", "/completed_per_s", Unit::PerSecond) };
const P50: Figure = less("p50", "/response_ns/p50", Unit::Nanoseconds);
const P99: Figure = less("p99", "/response_ns/p99", Unit::Nanoseconds);

/// Open loops answer what is offered: how soon is what tells them apart. Closed loops are for how much.
const OPEN: [Figure; 2] = [P50, P99];
const CLOSED: [Figure; 2] = [THROUGHPUT, P50];
const EPIDEMIC: [Figure; 3] = [
    less("round of the last arrival", "/epidemic/rounds_last/mean", Unit::Number),
    less("updates sent a node", "/epidemic/traffic/mean", Unit::Number),
    less("share of nodes left out", "/epidemic/residue/mean", Unit::Share),
];
const CONVERGENCE: [Figure; 2] = [
    less("bytes an update", "/convergence/bytes/all/mean", Unit::Bytes),
    less("rounds until all agree", "/convergence/rounds/mean", Unit::Number),
];

/// Protocols against the same workloads, over echo where it is there, or over the best.
pub(super) fn matrix(group: &Group) -> Option<Section> {
    let protocols = group.axis("protocol")?;
    let workloads = group.axes_but(&["protocol"]);
    let mut tables = Vec::new();
    for (closed, figures) in [(false, &OPEN), (true, &CLOSED)] {
        let rows: Vec<(String, Vec<&Point>)> = group
            .apart(&workloads)
            .into_iter()
            .map(|(name, points)| (name, points.into_iter().filter(|point| point.is_closed() == closed).collect()))
            .filter(|(_, points): &(String, Vec<&Point>)| points.len() > 1)
            .collect();
        tables
            .extend(figures.iter().filter(|_| !rows.is_empty()).map(|figure| ratios(figure, closed, protocols, &rows)));
    }
    let text = "Each row is one workload; its protocols stand over echo, one server that replicates nothing, or over the best \
                of them where there is no echo. The stronger the shade, the further behind.";
    Section { id: "matrix", title: "Protocols by workload", text: vec![text.into()], tables, ..Section::default() }
        .unless_empty()
}

fn ratios(figure: &Figure, closed: bool, protocols: &Varied, rows: &[(String, Vec<&Point>)]) -> Table {
    let of_row = |(name, points): &(String, Vec<&Point>)| {
        let value = |protocol: &str| {
            points
                .iter()
                .find(|point| point.axis("protocol") == protocol)?
                .median(figure.pointer)
                .filter(|&value| value > 0.0)
        };
        let values: Vec<Option<f64>> = protocols.values.iter().map(|protocol| value(protocol)).collect();
        let best = |a: f64, b: f64| if figure.more_is_better { a.max(b) } else { a.min(b) };
        let base = value("echo").or_else(|| values.iter().flatten().copied().reduce(best));
        let cells = values.iter().map(|value| Cell::of(value.zip(base).map(|(value, base)| value / base))).collect();
        let doubts = points.iter().flat_map(|point| {
            let protocol = point.axis("protocol");
            point.doubts().into_iter().map(move |doubt| format!("{protocol}: {doubt}"))
        });
        let name = if name.is_empty() { "the only one".into() } else { name.clone() };
        Row { names: vec![name], cells, doubts: doubts.collect() }
    };
    let mut rows: Vec<Row> = rows.iter().map(of_row).collect();
    shade(rows.iter_mut().flat_map(|row| &mut row.cells), figure.more_is_better);
    let over = if protocols.values.iter().any(|protocol| protocol == "echo") { "echo's" } else { "the best" };
    Table {
        title: format!("{} over {over}, {} loop", figure.title, if closed { "closed" } else { "open" }),
        note: "Medians over the repetitions. Grey rows hold a point to be doubted.".into(),
        names: vec!["workload".into()],
        columns: protocols.values.iter().map(|protocol| column(protocol, Unit::Times)).collect(),
        rows,
    }
}

/// Sweeps over two quantities.
pub(super) fn heatmaps(groups: [&Group; 3]) -> Option<Section> {
    let [commands, epidemics, convergences] = groups;
    let is = |closed: bool| move |point: &Point| point.is_closed() == closed;
    let mut tables = of_group(commands, &[THROUGHPUT, P99], &is(true));
    tables.extend(of_group(commands, &OPEN, &is(false)));
    tables.extend(of_group(epidemics, &EPIDEMIC, &|_| true));
    tables.extend(of_group(convergences, &CONVERGENCE, &|_| true));
    let text = "Medians over the repetitions. The stronger the shade, the worse.";
    Section { id: "heatmap", title: "Sweeps over two axes", text: vec![text.into()], tables, ..Section::default() }
        .unless_empty()
}

fn of_group(group: &Group, figures: &[Figure], is: &dyn Fn(&Point) -> bool) -> Vec<Table> {
    let is_quantity = |axis: &&Varied| axis.values.iter().all(|value| value.starts_with(|c: char| c.is_ascii_digit()));
    let mut quantities: Vec<&Varied> = group.axes_but(&[WORLD]).into_iter().filter(is_quantity).collect();
    // The longest two; of equals, the first.
    quantities.sort_by_key(|axis| std::cmp::Reverse(axis.values.len()));
    let [down, across, ..] = quantities[..] else { return Vec::new() };
    let mut tables = Vec::new();
    for (name, points) in group.apart(&group.axes_but(&[&down.name, &across.name])) {
        let points: Vec<&Point> = points.into_iter().filter(|point| is(point)).collect();
        let several = |axis: &Varied| points.iter().any(|point| axis.rank(point) != axis.rank(points[0]));
        if !points.is_empty() && several(down) && several(across) {
            tables.extend(figures.iter().map(|figure| heatmap(figure, &name, &points, down, across)));
        }
    }
    tables
}

fn heatmap(figure: &Figure, name: &str, points: &[&Point], down: &Varied, across: &Varied) -> Table {
    let at = |row: &str, column: &str| {
        points.iter().find(|point| point.axis(&down.name) == row && point.axis(&across.name) == column)
    };
    let of_row = |value: &String| {
        let cell = |column: &String| {
            let point = at(value, column);
            let grey = point.is_some_and(|point| !point.doubts().is_empty());
            Cell { grey, ..Cell::of(point.and_then(|point| point.median(figure.pointer))) }
        };
        let cells: Vec<Cell> = across.values.iter().map(cell).collect();
        Row { names: vec![value.clone()], cells, doubts: Vec::new() }
    };
    let mut rows: Vec<Row> = down.values.iter().map(of_row).collect();
    rows.retain(|row| row.cells.iter().any(|cell| cell.value.is_some()));
    shade(rows.iter_mut().flat_map(|row| &mut row.cells), figure.more_is_better);
    Table {
        title: format!("{}, {} by {}", figure.title, down.name, across.name),
        note: name.to_owned(),
        names: vec![format!("{} \\ {}", down.name, across.name)],
        columns: across.values.iter().map(|value| column(value, figure.unit)).collect(),
        rows,
    }
}

fn column(title: &str, unit: Unit) -> Column {
    Column { title: title.into(), unit }
}

/// By how many times a figure is worse than the best, on a logarithmic scale that ends at the worst.
fn shade<'a>(cells: impl Iterator<Item = &'a mut Cell>, more_is_better: bool) {
    let mut cells: Vec<&mut Cell> = cells.filter(|cell| cell.value.is_some()).collect();
    let worth = |cell: &Cell| {
        let value = cell.value.unwrap_or_default().max(f64::MIN_POSITIVE).ln();
        if more_is_better { -value } else { value }
    };
    let zero = |cell: &Cell| cell.value.is_some_and(|value| value <= 0.0);
    let bounds = cells.iter().filter(|cell| !zero(cell)).map(|cell| worth(cell));
    let (best, worst) = bounds.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    // Where all are nearly alike, none is dark.
    let span = (worst - best).max(0.2);
    for cell in &mut cells {
        let share = ((worth(cell) - best) / span).clamp(0.0, 1.0);
        cell.shade = Some((share * 1000.0).round() / 1000.0);
    }
}
