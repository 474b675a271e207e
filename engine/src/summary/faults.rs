//! The second table of a run with faults: what each of them did.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{Row, thousands, time_text};
use crate::results::FaultLine;
use crate::spec::Spec;

/// A table for a terminal, a row a point and fault, or a point where one comes again and again; `None` if there
/// were no faults. Each figure is the median over repetitions, and over the times that it came.
pub fn fault_table(rows: &[Row<'_>], spec: &Spec) -> Option<String> {
    let varied: Vec<_> = spec.varied().into_iter().filter(|&axis| axis != "protocol").collect();
    let kinds = |row: &Row<'_>| {
        let mut kinds: Vec<String> = Vec::new();
        for fault in row.runs.iter().flat_map(|run| &run.faults) {
            if !kinds.contains(&fault.kind) {
                kinds.push(fault.kind.clone());
            }
        }
        kinds
    };
    let of_row = |row| kinds(row).into_iter().map(move |kind| (row, kind));
    let lines: Vec<(&Row<'_>, String)> = rows.iter().flat_map(of_row).collect();
    if lines.is_empty() {
        return None;
    }
    let used: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| lines.iter().any(|(row, kind)| median(row, kind, column.of).is_some()))
        .collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let mut header: Vec<&str> = varied.clone();
    header.extend(["protocol", "fault"]);
    header.extend(used.iter().map(|column| column.title));
    table.set_header(header);
    for (row, kind) in &lines {
        let mut cells: Vec<Cell> = varied.iter().map(|&axis| Cell::new(row.axis(axis))).collect();
        cells.extend([row.axis("protocol"), kind.clone()].map(Cell::new));
        cells.extend(used.iter().map(|column| {
            let text = median(row, kind, column.of).map_or_else(|| "-".to_owned(), column.text);
            Cell::new(text).set_alignment(CellAlignment::Right)
        }));
        table.add_row(cells);
    }
    Some(table.trim_fmt())
}

/// A figure of a fault, in the order of the table. One that no fault has is left out.
struct Column {
    title: &'static str,
    of: fn(&FaultLine) -> Option<f64>,
    text: fn(f64) -> String,
}

#[expect(clippy::cast_precision_loss, reason = "times and counts far below 2^53")]
const COLUMNS: [Column; 12] = [
    Column { title: "no service", of: |fault| fault.gap_ns.map(|ns| ns as f64), text: time_text },
    Column { title: "new leader", of: |fault| fault.leader_ns.map(|ns| ns as f64), text: time_text },
    Column { title: "throughput back", of: |fault| fault.throughput_back_ns.map(|ns| ns as f64), text: time_text },
    Column { title: "p99 back", of: |fault| fault.p99_back_ns.map(|ns| ns as f64), text: time_text },
    Column { title: "caught up", of: |fault| fault.catch_up_ns.map(|ns| ns as f64), text: time_text },
    Column { title: "with bytes", of: |fault| fault.catch_up_bytes.map(|bytes| bytes as f64), text: thousands },
    Column { title: "lag, slots", of: |fault| fault.lag_slots.map(|slots| slots as f64), text: thousands },
    Column { title: "its lag", of: |fault| fault.lag_grows.map(|grows| f64::from(u8::from(grows))), text: lag_text },
    Column {
        title: "others keep, bytes",
        of: |fault| fault.others_kept_bytes.map(|bytes| bytes as f64),
        text: thousands,
    },
    Column { title: "unknown", of: |fault| Some(fault.unknown as f64), text: thousands },
    Column { title: "resent", of: |fault| Some(fault.resent as f64), text: thousands },
    Column { title: "lost", of: |fault| fault.lost.map(|lost| lost as f64), text: thousands },
];

/// Whether it still grew in the end: half of the times or more.
fn lag_text(grows: f64) -> String {
    if grows >= 0.5 { "grows" } else { "bounded" }.to_owned()
}

/// Over all times that faults of this kind came at this point, those that have the figure.
fn median(row: &Row<'_>, kind: &str, of: fn(&FaultLine) -> Option<f64>) -> Option<f64> {
    let faults = row.runs.iter().flat_map(|run| &run.faults).filter(|fault| fault.kind == kind);
    super::median(faults.filter_map(of).collect())
}
