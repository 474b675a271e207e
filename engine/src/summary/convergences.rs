//! The table of replicas that reconcile.

use super::figures::{self, digits, with_interval};
use crate::results::{Convergence, ConvergenceResult};
use crate::spec::Spec;

/// A table for a terminal, a row a point and repetition in the order of the config; `None` if nothing was reconciled.
/// Columns that no row has anything for are left out.
pub fn convergence_table(results: &[ConvergenceResult], spec: &Spec) -> Option<String> {
    figures::table(results, spec, COLUMNS)
}

type Column = figures::Column<ConvergenceResult>;

const COLUMNS: &[Column] = &[
    Column { title: "rounds", of: |row| of(row).rounds.as_ref().map(with_interval) },
    Column { title: "bytes/update", of: |row| Some(with_interval(&of(row).bytes.all)) },
    Column { title: "payload", of: |row| Some(digits(of(row).bytes.payload.mean)) },
    Column { title: "metadata", of: |row| Some(digits(of(row).bytes.metadata.mean)) },
    Column { title: "digest", of: |row| Some(digits(of(row).bytes.digest.mean)) },
    Column { title: "elements", of: |row| Some(digits(of(row).elements.mean)) },
    Column { title: "letters", of: |row| Some(digits(of(row).letters.mean)) },
    Column { title: "merged", of: |row| Some(digits(of(row).merged.mean)) },
    Column { title: "redundancy", of: |row| Some(digits(of(row).redundancy.mean)) },
    Column { title: "catch-up", of: |row| of(row).catch_up.map(|after| with_interval(&after.rounds)) },
    Column { title: "its bytes", of: |row| of(row).catch_up.map(|after| digits(after.bytes.mean)) },
    Column { title: "join", of: |row| of(row).join.map(|after| with_interval(&after.rounds)) },
    Column { title: "its bytes", of: |row| of(row).join.map(|after| digits(after.bytes.mean)) },
    Column { title: "whole", of: |row| of(row).database?.whole.map(|share| digits(share.mean)) },
    Column { title: "certificates", of: |row| of(row).database?.certificates.map(|kept| digits(kept.mean)) },
    Column { title: "resurrected", of: |row| of(row).database?.resurrected.as_ref().map(with_interval) },
    Column { title: "not settled", of: |row| unsettled(of(row)) },
];

const fn of(row: &ConvergenceResult) -> &Convergence {
    &row.convergence
}

/// Trials in which not all agreed in the end, if there were any.
fn unsettled(convergence: &Convergence) -> Option<String> {
    let left = convergence.trials - convergence.settled;
    (left > 0).then(|| format!("{left} of {}", convergence.trials))
}
