//! The table of a run's epidemics: what was measured, and what theory says, side by side.

use super::figures::{self, digits, with_interval};
use super::time_text;
use crate::results::EpidemicResult;
use crate::spec::Spec;

/// A table for a terminal, a row a point and repetition in the order of the config; `None` if nothing gossiped.
/// Columns that no row has anything for are left out.
pub fn epidemic_table(results: &[EpidemicResult], spec: &Spec) -> Option<String> {
    figures::table(results, spec, COLUMNS)
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

type Column = figures::Column<EpidemicResult>;

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
