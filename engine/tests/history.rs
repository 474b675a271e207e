//! A metric over commits: what changed is found, where another tool finds it, and what does not compare is left out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use quorumbench::history::change_points;
use serde_json::{Value as Json, json};

/// Otava has the same algorithm by other hands (Matteson and James 2014, its `--orig-edivisive`), with permutations of its
/// own.
#[test]
fn changes_are_those_that_otava_finds() {
    let text = include_str!("data/otava.json");
    let document: Json = serde_json::from_str(text).expect("JSON");
    let cases = document["cases"].as_array().expect("cases");
    assert!(cases.len() >= 10);
    for case in cases {
        let series: Vec<f64> = case["series"].as_array().expect("a series").iter().filter_map(Json::as_f64).collect();
        assert_eq!(json!(change_points(&series, 0.01, 1)), case["changes"], "{}", case["name"]);
    }
}

/// A folder as a run leaves it.
fn run_folder(at: &Path, number: usize, cpu: &str, p99s: &[f64]) {
    let folder = at.join(format!("run-{number}"));
    fs::create_dir(&folder).expect("a folder");
    let manifest = json!({
        "name": "nightly", "started": format!("2026-11-{:02}T03:00:00Z", number + 1),
        "host": {"cpu": cpu, "cores": 2, "build": {"profile": "release", "commit": format!("c{number}")}},
    });
    fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a manifest");
    let line = |(outstanding, p99): (usize, f64)| {
        let line = json!({
            "schema": "quorumbench.point/1", "world": "real", "axes": {"protocol": "raft", "outstanding": outstanding},
            "warnings": [], "completed_per_s": 1e6, "response_ns": {"p50": 500, "p99": p99},
        });
        format!("{line}\n")
    };
    let lines: String = p99s.iter().flat_map(|&p99| [line((1, p99)), line((64, 1000.0))]).collect();
    fs::write(folder.join("points.jsonl"), lines).expect("points");
}

fn history(folder: &Path, options: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_quorumbench");
    Command::new(program).arg("history").arg(folder).args(options).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Twelve nights, from the eighth on a fifth slower at one point.
fn twelve_nights(at: &Path) {
    for night in 0..12_usize {
        let level = if night < 7 { 100.0 } else { 120.0 };
        run_folder(at, night, "A", &[level + (night % 3) as f64, 400.0, level]);
    }
}

#[test]
fn a_night_that_made_it_slower_is_named() {
    let at = tempfile::tempdir().expect("a folder");
    twelve_nights(at.path());
    fs::create_dir(at.path().join("something else")).expect("a folder");
    let output = history(at.path(), &["--metric", "p99"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("nightly outstanding=1  p99\n"), "{text}");
    assert!(text.contains("worse from 2026-11-08T03:00:00Z commit c7: 101 ns to 121 ns (+19.8 %)"), "{text}");
    assert!(text.contains('|') && text.ends_with("1 of 2 series changed\n"), "{text}");
    let document: Json =
        serde_json::from_slice(&history(at.path(), &["--metric", "p99", "--json"]).stdout).expect("JSON");
    let slower =
        document["series"].as_array().expect("series").iter().find(|series| series["point"]["outstanding"] == "1");
    let slower = slower.expect("it is there");
    assert_eq!(slower["values"].as_array().map(Vec::len), Some(12));
    assert_eq!((&slower["changes"][0]["commit"], &slower["changes"][0]["better"]), (&json!("c7"), &json!(false)));
}

#[test]
fn other_machines_are_left_out_unless_asked_for() {
    let at = tempfile::tempdir().expect("a folder");
    twelve_nights(at.path());
    run_folder(at.path(), 12, "B", &[90.0]);
    let alone = history(at.path(), &[]);
    assert_eq!(alone.status.code(), Some(1), "the newest is alone");
    assert!(said(&alone).contains("12 of 13 runs are of other machines or builds"), "{}", said(&alone));
    assert!(said(&history(at.path(), &["--across-hosts"])).contains(" 13 runs"));
}

/// An axis, and a trait of the machine, that older programs did not look at: the series goes on.
#[test]
fn a_newer_program_goes_on_with_older_runs() {
    let at = tempfile::tempdir().expect("a folder");
    twelve_nights(at.path());
    for night in 6..12 {
        let folder = at.path().join(format!("run-{night}"));
        let newer = |name: &str, from: &str, to: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path).expect("text").replace(from, to);
            fs::write(path, text).expect("written");
        };
        newer("points.jsonl", "\"protocol\":", "\"groups\":1,\"protocol\":");
        newer("manifest.json", "\"cpu\":", "\"tuning\":{\"smt\":\"on\"},\"cpu\":");
    }
    let text = said(&history(at.path(), &["--metric", "p99"]));
    assert!(text.contains(" 12 runs") && text.ends_with("1 of 2 series changed\n"), "{text}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let at = tempfile::tempdir().expect("a folder");
    let empty = history(at.path(), &[]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(said(&empty).contains("no two runs of one point"), "{}", said(&empty));
    let nowhere = history(&at.path().join("nowhere"), &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(said(&nowhere).contains("give it the folder that runs lie in"), "{}", said(&nowhere));
    twelve_nights(at.path());
    fs::write(at.path().join("run-3/points.jsonl"), "{").expect("written");
    let output = history(at.path(), &[]);
    assert!(output.status.success() && said(&output).contains("note: passed over: "), "{}", said(&output));
    assert_eq!(history(at.path(), &["--significance", "2"]).status.code(), Some(2));
}
