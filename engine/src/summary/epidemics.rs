//! The table of a run's epidemics: what was measured, and what theory says, side by side.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::time_text;
use crate::results::{EpidemicResult, Spread};
use crate::spec::Spec;

/// A table for a terminal, a row a point and repetition in the order of the config; `None` if nothing gossiped.
/// Columns that no row has anything for are left out.
pub fn epidemic_table(results: &[EpidemicResult], spec: &Spec) -> Option<String> {
    let order: Vec<_> = spec.points().iter().map(crate::spec::Point::axes).collect();
    let mut rows: Vec<&EpidemicResult> = results.iter().collect();
    rows.sort_by_key(|row| (order.iter().position(|axes| *axes == row.axes), row.repetition));
    let used: Vec<&Column> =
        COLUMNS.iter().filter(|column| rows.iter().any(|row| (column.of)(row).is_some())).collect();
    let varied = spec.varied();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(varied.iter().copied().chain(used.iter().map(|column| column.title)));
    for row in &rows {
        let coordinates = varied.iter().map(|&axis| Cell::new(row.axis(axis)));
        let figures = used
            .iter()
            .map(|column| Cell::new((column.of)(row).unwrap_or_default()).set_alignment(CellAlignment::Right));
        table.add_row(coordinates.chain(figures).collect::<Vec<_>>());
    }
    (!rows.is_empty()).then(|| table.trim_fmt())
}

/// What makes figures doubtful, a line each, with the point that it is about; empty if nothing does.
pub fn epidemic_warnings(results: &[EpidemicResult], spec: &Spec) -> String {
    let varied = spec.varied();
    let line = |row: &EpidemicResult, warning: &String| {
        let point = varied.iter().map(|&axis| format!("{axis}={}", row.axis(axis))).collect::<Vec<_>>().join(" ");
        if point.is_empty() { format!("warning: {warning}\n") } else { format!("warning: {point}: {warning}\n") }
    };
    results.iter().flat_map(|row| row.warnings.iter().map(move |warning| line(row, warning))).collect()
}

struct Column {
    title: &'static str,
    of: fn(&EpidemicResult) -> Option<String>,
}

const COLUMNS: &[Column] = &[
    Column { title: "residue s", of: |row| Some(with_interval(&row.epidemic.residue)) },
    Column { title: "theory s", of: |row| row.epidemic.theory.residue.map(digits) },
    Column { title: "e^-m", of: |row| row.epidemic.theory.residue_of_traffic.map(digits) },
    Column { title: "traffic m", of: |row| Some(with_interval(&row.epidemic.traffic)) },
    Column { title: "t_last", of: |row| Some(with_interval(&row.epidemic.rounds_last)) },
    Column { title: "theory t", of: |row| row.epidemic.theory.rounds_last.map(digits) },
    Column { title: "p99", of: |row| Some(digits(row.epidemic.rounds_last.p99)) },
    Column { title: "t_ave", of: |row| row.epidemic.rounds_mean.as_ref().map(with_interval) },
    Column { title: "redundancy", of: |row| Some(digits(row.epidemic.redundancy.mean)) },
    Column { title: "control/node", of: |row| row.epidemic.control.as_ref().map(with_interval) },
    Column { title: "bytes/node", of: |row| Some(digits(row.epidemic.bytes_per_node.mean)) },
    Column { title: "wire B/node", of: |row| Some(digits(row.real.as_ref()?.wire_bytes_per_node.mean)) },
    Column { title: "travelled", of: |row| Some(format!("{:.0} %", row.real.as_ref()?.travelled * 100.0)) },
    Column { title: "time", of: |row| Some(time_text(row.epidemic.last_ns)) },
    Column { title: "time p99", of: |row| Some(time_text(row.real.as_ref()?.last_ns.p99)) },
];

/// The mean, and half of its 95 % interval where that is not nothing.
fn with_interval(figure: &Spread) -> String {
    match figure.half_interval.filter(|&half| half > 0.0) {
        Some(half) => format!("{} \u{b1}{}", digits(figure.mean), two_digits(half)),
        None => digits(figure.mean),
    }
}

/// Four significant digits: of what is small, as a power of ten.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 999.5 => format!("{value:.0}"),
        size if size >= 99.95 => format!("{value:.1}"),
        size if size >= 9.995 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

fn two_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 9.95 => format!("{value:.0}"),
        size if size >= 0.995 => format!("{value:.1}"),
        size if size >= 0.0995 => format!("{value:.2}"),
        size if size >= 0.000_995 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        let shown = [0.0, 0.176_49, 0.000_004, 16.81, 123.456, 1234.5].map(digits);
        assert_eq!(shown, ["0", "0.1765", "4.00e-6", "16.81", "123.5", "1234"]);
        assert_eq!([12.3, 1.23, 0.123, 0.0123, 0.000_012_3].map(two_digits), ["12", "1.2", "0.12", "0.0123", "1.2e-5"]);
    }
}
