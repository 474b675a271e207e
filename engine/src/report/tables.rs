//! Tables of figures, a row a point: costs of commands, epidemics, replicas that reconcile.

use super::document::{Cell, Column, Row, Section, Table, Unit};
use super::latency::too_few;
use super::material::{Group, Point};

/// A column: what it is called, where its figure stands in a line (RFC 6901), and what that counts.
type Figure = (&'static str, &'static str, Unit);

const COSTS: [Figure; 14] = [
    ("commands/s", "/completed_per_s", Unit::PerSecond),
    ("p50", "/response_ns/p50", Unit::Nanoseconds),
    ("p99", "/response_ns/p99", Unit::Nanoseconds),
    ("p99.9", "/response_ns/p99_9", Unit::Nanoseconds),
    ("CPU/cmd", "/cost/cpu_ns_per_command", Unit::Nanoseconds),
    ("CPU/cmd, replicas", "/cost/replica_cpu_ns_per_command", Unit::Nanoseconds),
    ("CPU/cmd, clients", "/cost/client_cpu_ns_per_command", Unit::Nanoseconds),
    ("system calls/cmd", "/cost/syscalls_per_command", Unit::Number),
    ("copied/cmd", "/cost/copied_bytes_per_command", Unit::Bytes),
    ("wire/cmd", "/cost/wire_bytes_per_command", Unit::Bytes),
    ("commands/slot", "/cost/commands_per_slot", Unit::Number),
    ("messages/slot", "/cost/messages_per_slot", Unit::Number),
    ("syncs/s", "/storage/syncs_per_s", Unit::Number),
    ("log write p99", "/storage/write_ns/p99", Unit::Nanoseconds),
];

const EPIDEMICS: [Figure; 14] = [
    ("last round", "/epidemic/rounds_last/mean", Unit::Number),
    ("theory", "/epidemic/theory/rounds_last", Unit::Number),
    ("p99", "/epidemic/rounds_last/p99", Unit::Number),
    ("mean round", "/epidemic/rounds_mean/mean", Unit::Number),
    ("left out", "/epidemic/residue/mean", Unit::Share),
    ("theory", "/epidemic/theory/residue", Unit::Share),
    ("updates/node", "/epidemic/traffic/mean", Unit::Number),
    ("redundancy", "/epidemic/redundancy/mean", Unit::Number),
    ("control/node", "/epidemic/control/mean", Unit::Number),
    ("bytes/node", "/epidemic/bytes_per_node/mean", Unit::Bytes),
    ("wire/node", "/real/wire_bytes_per_node/mean", Unit::Bytes),
    ("over the wire", "/real/travelled", Unit::Share),
    ("time", "/epidemic/last_ns", Unit::Nanoseconds),
    ("time, real", "/real/last_ns/mean", Unit::Nanoseconds),
];

const CONVERGENCES: [Figure; 15] = [
    ("bytes/update", "/convergence/bytes/all/mean", Unit::Bytes),
    ("payload", "/convergence/bytes/payload/mean", Unit::Bytes),
    ("metadata", "/convergence/bytes/metadata/mean", Unit::Bytes),
    ("digest", "/convergence/bytes/digest/mean", Unit::Bytes),
    ("rounds", "/convergence/rounds/mean", Unit::Number),
    ("elements/update", "/convergence/elements/mean", Unit::Number),
    ("letters/update", "/convergence/letters/mean", Unit::Number),
    ("merged/update", "/convergence/merged/mean", Unit::Number),
    ("redundancy", "/convergence/redundancy/mean", Unit::Number),
    ("catch-up rounds", "/convergence/catch_up/rounds/mean", Unit::Number),
    ("catch-up bytes", "/convergence/catch_up/bytes/mean", Unit::Bytes),
    ("join rounds", "/convergence/join/rounds/mean", Unit::Number),
    ("join bytes", "/convergence/join/bytes/mean", Unit::Bytes),
    ("whole", "/convergence/database/whole/mean", Unit::Share),
    ("resurrected", "/convergence/database/resurrected/mean", Unit::Share),
];

/// What a command cost.
pub(super) fn costs(group: &Group) -> Option<Section> {
    let text = "By command answered, clients included unless it says otherwise. `~` marks a percentile that has too few \
                samples behind it.";
    section(group, &COSTS, "costs", "Costs", text)
}

/// What became of epidemics.
pub(super) fn epidemics(group: &Group) -> Option<Section> {
    let text =
        "Means over the trials, medians over the repetitions; beside them what the literature says, where it says it.";
    section(group, &EPIDEMICS, "epidemics", "Epidemics", text)
}

/// What replicas that reconcile sent.
pub(super) fn convergences(group: &Group) -> Option<Section> {
    let text = "Means over the trials, medians over the repetitions.";
    section(group, &CONVERGENCES, "convergence", "Bytes until replicas agree", text)
}

/// What of a fault is shown, with where it stands in the fault's part of a line.
const FAULTS: [Figure; 11] = [
    ("no service", "gap_ns", Unit::Nanoseconds),
    ("new leader", "leader_ns", Unit::Nanoseconds),
    ("throughput back", "throughput_back_ns", Unit::Nanoseconds),
    ("p99 back", "p99_back_ns", Unit::Nanoseconds),
    ("caught up", "catch_up_ns", Unit::Nanoseconds),
    ("with", "catch_up_bytes", Unit::Bytes),
    ("lag, slots", "lag_slots", Unit::Number),
    ("others keep", "others_kept_bytes", Unit::Bytes),
    ("unknown", "unknown", Unit::Number),
    ("resent", "resent", Unit::Number),
    ("lost", "lost", Unit::Number),
];

/// What came of each fault, a row a point and fault.
pub(super) fn faults(group: &Group) -> Option<Table> {
    let row = |point: &Point, index: usize, kind: &str| Row {
        names: names(group, point).into_iter().chain([kind.to_owned()]).collect(),
        cells: FAULTS.iter().map(|(_, key, _)| Cell::of(point.median(&format!("/faults/{index}/{key}")))).collect(),
        doubts: point.doubts(),
    };
    let of_point = |point: &Point| {
        let faults = point.results.first().map(|result| result.faults.as_slice()).unwrap_or_default();
        faults.iter().enumerate().map(|(index, fault)| row(point, index, &fault.kind)).collect::<Vec<_>>()
    };
    let rows: Vec<Row> = group.points.iter().flat_map(of_point).collect();
    (!rows.is_empty()).then(|| Table {
        title: "What came of each fault".into(),
        note: "Medians over the repetitions in which it happened.".into(),
        names: heads(group).into_iter().chain(["fault".to_owned()]).collect(),
        columns: FAULTS.iter().map(|&(title, _, unit)| Column { title: title.into(), unit }).collect(),
        rows,
    })
}

fn section(group: &Group, figures: &[Figure], id: &'static str, title: &'static str, text: &str) -> Option<Section> {
    if group.points.is_empty() {
        return None;
    }
    let has = |(_, pointer, _): &&Figure| group.points.iter().any(|point| !point.each(pointer).is_empty());
    let figures: Vec<&Figure> = figures.iter().filter(has).collect();
    let row = |point: &Point| Row {
        names: names(group, point),
        cells: figures.iter().map(|figure| cell(point, figure)).collect(),
        doubts: point.doubts(),
    };
    let table = Table {
        names: heads(group),
        columns: figures.iter().map(|&&(title, _, unit)| Column { title: title.into(), unit }).collect(),
        rows: group.points.iter().map(row).collect(),
        ..Table::default()
    };
    Some(Section { id, title, text: vec![text.into()], tables: vec![table], ..Section::default() })
}

fn cell(point: &Point, &(title, pointer, _): &Figure) -> Cell {
    let grey = pointer.starts_with("/response_ns/") && too_few(point, title).is_some();
    Cell { grey, ..Cell::of(point.median(pointer)) }
}

/// The axes that vary: what names a row.
pub(super) fn heads(group: &Group) -> Vec<String> {
    if group.axes.is_empty() { vec!["point".into()] } else { group.axes.iter().map(|axis| axis.name.clone()).collect() }
}

/// Where a point lies on these.
pub(super) fn names(group: &Group, point: &Point) -> Vec<String> {
    if group.axes.is_empty() {
        return vec!["the only one".into()];
    }
    group.axes.iter().map(|axis| point.axis(&axis.name).to_owned()).collect()
}
