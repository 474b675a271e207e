//! Under what circumstances: doubts, the config with every default, the host, and what its doctor said.

use serde_json::Value as Json;

use super::document::{Cell, Column, Row, Section, Table, Unit};
use super::material::{Group, Material, run_names};
use super::tables;
use crate::results::StoredRun;

/// What makes points doubtful, and which.
pub(super) fn warnings(material: &Material) -> Option<Section> {
    let mut kinds: Vec<(String, String, usize)> = Vec::new();
    for line in material.groups().into_iter().flat_map(|group| &group.points).flat_map(|point| &point.lines) {
        let warnings = line.get("warnings").and_then(Json::as_array).into_iter().flatten();
        for warning in warnings.filter_map(Json::as_str) {
            let code = warning.split(':').next().unwrap_or(warning);
            match kinds.iter_mut().find(|(known, ..)| known == code) {
                Some((.., count)) => *count += 1,
                None => kinds.push((code.to_owned(), warning.to_owned(), 1)),
            }
        }
    }
    let row = |(code, example, count): &(String, String, usize)| Row {
        names: vec![code.clone()],
        cells: vec![Cell::of(Some(*count as f64)), Cell::text(example)],
        doubts: Vec::new(),
    };
    let kinds = Table {
        title: "What is to be known".into(),
        note: "Each kind of warning, in how many runs of points it is, and the first of them.".into(),
        names: vec!["warning".into()],
        columns: vec![column("runs"), column("for example")],
        rows: kinds.iter().map(row).collect(),
    };
    let doubtful = material.groups().into_iter().filter_map(doubtful);
    let tables: Vec<Table> = [kinds].into_iter().filter(|table| !table.rows.is_empty()).chain(doubtful).collect();
    Section { id: "warnings", title: "Warnings", tables, ..Section::default() }.unless_empty()
}

/// The points of a group that are no measure for others.
fn doubtful(group: &Group) -> Option<Table> {
    let doubted = group.points.iter().filter(|point| !point.doubts().is_empty());
    let rows: Vec<Row> = doubted
        .map(|point| Row {
            names: tables::names(group, point),
            cells: vec![Cell::text(point.doubts().join("; "))],
            doubts: Vec::new(),
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: "Points to be doubted".into(),
        note: "They are drawn hollow or grey.".into(),
        names: tables::heads(group),
        columns: vec![column("why")],
        rows,
    })
}

/// The configs, with every default.
pub(super) fn config(runs: &[StoredRun]) -> Option<Section> {
    let spec = |run: &StoredRun| run.manifest.get("spec").cloned().unwrap_or_default();
    let specs: Vec<Json> = runs.iter().map(spec).collect();
    // What stands in no section comes first.
    let sections = specs.iter().filter_map(Json::as_object).flatten();
    let mut names: Vec<&str> = vec![""];
    for (name, _) in sections.filter(|(_, value)| !is_value(value)) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let part = |section: &str| -> Vec<Json> {
        specs.iter().map(|spec| if section.is_empty() { values_only(spec) } else { spec[section].clone() }).collect()
    };
    let title = |section: &str| if section.is_empty() { String::new() } else { format!("[{section}]") };
    let tables = names.iter().filter_map(|name| side_by_side(&title(name), &part(name), runs)).collect();
    let text = "As it was run, with every default. What is a list was an axis.";
    Section { id: "config", title: "Config", text: vec![text.into()], tables, ..Section::default() }.unless_empty()
}

/// The machine, the build, and what was typed.
pub(super) fn host(runs: &[StoredRun]) -> Option<Section> {
    let of = |key: &str| runs.iter().map(|run| run.manifest.get(key).cloned().unwrap_or_default()).collect::<Vec<_>>();
    let typed = |run: &StoredRun| {
        let words = run.manifest.get("command_line").and_then(Json::as_array).into_iter().flatten();
        let line = words.filter_map(Json::as_str).collect::<Vec<_>>().join(" ");
        let text = |key: &str| run.manifest.get(key).cloned().unwrap_or_default();
        serde_json::json!({
            "command line": line, "config": text("config"), "started": text("started"), "state": text("state"),
        })
    };
    let runs_themselves: Vec<Json> = runs.iter().map(typed).collect();
    let tables = [side_by_side("Run", &runs_themselves, runs), side_by_side("Host and build", &of("host"), runs)];
    let tables = tables.into_iter().flatten().collect();
    Section { id: "host", title: "Host and build", tables, ..Section::default() }.unless_empty()
}

/// What was found about the machine's fitness to measure on.
pub(super) fn doctor(runs: &[StoredRun]) -> Option<Section> {
    let deltas: Vec<Json> =
        runs.iter().map(|run| run.manifest.pointer("/doctor/deltas").cloned().unwrap_or_default()).collect();
    let findings = runs.iter().zip(run_names(runs)).filter_map(|(run, name)| findings(run, name));
    let tables = findings.chain(side_by_side("While it ran", &deltas, runs)).collect();
    Section { id: "doctor", title: "Doctor", tables, ..Section::default() }.unless_empty()
}

/// A row a finding: which, how bad, what was seen, what it costs, and what to do.
fn findings(run: &StoredRun, name: String) -> Option<Table> {
    const WHAT: [&str; 4] = ["level", "what", "cost", "todo"];
    let findings = run.manifest.pointer("/doctor/findings")?.as_array()?;
    let row = |finding: &Json| Row {
        names: vec![plain(&finding["check"])],
        cells: WHAT.map(|key| Cell::text(plain(&finding[key]))).into(),
        doubts: Vec::new(),
    };
    (!findings.is_empty()).then(|| Table {
        title: name,
        names: vec!["check".into()],
        columns: ["level", "what was seen", "what it costs", "what to do"].map(column).into(),
        rows: findings.iter().map(row).collect(),
        ..Table::default()
    })
}

/// A row a key, a column a run.
fn side_by_side(title: &str, parts: &[Json], runs: &[StoredRun]) -> Option<Table> {
    let flat: Vec<Vec<(String, String)>> = parts.iter().map(|part| flatten("", part)).collect();
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in flat.iter().flatten() {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let value = |part: &Vec<(String, String)>, key: &str| {
        part.iter().find(|(each, _)| each == key).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let row = |key: &&str| Row {
        names: vec![(*key).to_owned()],
        cells: flat.iter().map(|part| Cell::text(value(part, key))).collect(),
        doubts: Vec::new(),
    };
    let heads = if runs.len() > 1 { run_names(runs) } else { vec!["value".into()] };
    (!keys.is_empty()).then(|| Table {
        title: title.to_owned(),
        names: vec!["key".into()],
        columns: heads.iter().map(|head| column(head)).collect(),
        rows: keys.iter().map(row).collect(),
        ..Table::default()
    })
}

/// Objects as `outer.inner`; what is null is left out.
fn flatten(prefix: &str, value: &Json) -> Vec<(String, String)> {
    match value {
        Json::Null => Vec::new(),
        Json::Object(map) => {
            let inner = |(key, value): (&String, &Json)| {
                flatten(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, value)
            };
            map.iter().flat_map(inner).collect()
        }
        Json::Array(items) if items.iter().any(Json::is_object) => {
            items.iter().enumerate().flat_map(|(at, item)| flatten(&format!("{prefix}[{at}]"), item)).collect()
        }
        value => vec![(prefix.to_owned(), plain(value))],
    }
}

fn is_value(value: &Json) -> bool {
    let in_list = |value: &Json| !value.is_object() && !value.is_array();
    in_list(value) || value.as_array().is_some_and(|items| items.iter().all(in_list))
}

/// What of a config stands in no section.
fn values_only(spec: &Json) -> Json {
    let values = spec.as_object().into_iter().flatten().filter(|(_, value)| is_value(value));
    Json::Object(values.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// As people write it.
fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

fn column(title: &str) -> Column {
    Column { title: title.into(), unit: Unit::Number }
}
