//! Tables of what was found in many trials: a row a point and repetition, a column a figure.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Map, Value as Json};

use crate::results::{ConvergenceResult, EpidemicResult, Spread};
use crate::spec::Spec;

/// What a row is of.
pub(super) trait Line {
    /// Which point, and which repetition of it.
    fn place(&self) -> (&Map<String, Json>, usize);
    /// A coordinate as text.
    fn axis(&self, name: &str) -> String;
}

impl Line for EpidemicResult {
    fn place(&self) -> (&Map<String, Json>, usize) {
        (&self.axes, self.repetition)
    }

    fn axis(&self, name: &str) -> String {
        self.axis(name)
    }
}

impl Line for ConvergenceResult {
    fn place(&self) -> (&Map<String, Json>, usize) {
        (&self.axes, self.repetition)
    }

    fn axis(&self, name: &str) -> String {
        self.axis(name)
    }
}

/// One figure of each row, where it has one.
pub(super) struct Column<R> {
    pub(super) title: &'static str,
    pub(super) of: fn(&R) -> Option<String>,
}

/// A table for a terminal, its rows in the order of the config; `None` if there is no row. Columns that no row has
/// anything for are left out.
pub(super) fn table<R: Line>(results: &[R], spec: &Spec, columns: &[Column<R>]) -> Option<String> {
    let order: Vec<_> = spec.points().iter().map(crate::spec::Point::axes).collect();
    let mut rows: Vec<&R> = results.iter().collect();
    rows.sort_by_key(|row| {
        let (place, repetition) = row.place();
        (order.iter().position(|axes| axes == place), repetition)
    });
    let used: Vec<_> = columns.iter().filter(|column| rows.iter().any(|row| (column.of)(row).is_some())).collect();
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

/// The mean, and half of its 95 % interval where that is not nothing.
pub(super) fn with_interval(figure: &Spread) -> String {
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
