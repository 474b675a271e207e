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
    Column { title: "bytes/node", of: |row| Some(digits(row.epidemic.bytes_per_node.mean)) },
    Column { title: "time", of: |row| Some(time_text(row.epidemic.last_ns)) },
];
