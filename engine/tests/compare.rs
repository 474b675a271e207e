//! The gate: false alarms are rare, what got slower is caught, and what does not compare is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quorumbench::compare::{Design, Metric, Verdict, judge};
use quorumbench_protocols::Prng;
use serde_json::{Value as Json, json};

/// A latency as runs have it on a machine that is shared: about 5 % of noise with a longer tail above, and now and then
/// a run that somebody disturbed.
fn noisy(prng: &mut Prng, typical: f64) -> f64 {
    let bell: f64 = (0..12).map(|_| prng.unit()).sum::<f64>() - 6.0;
    let disturbed = if prng.unit() < 0.05 { 1.0 + 0.3 * prng.unit() } else { 1.0 };
    typical * (0.05 * bell).exp() * disturbed
}

fn sample(prng: &mut Prng, count: usize, typical: f64) -> Vec<f64> {
    (0..count).map(|_| noisy(prng, typical)).collect()
}

fn p99() -> Metric {
    Metric::named("p99").expect("there is one")
}

/// The share of so many comparisons that say so.
fn share(of: usize, seed: u64, effect: f64, repetitions: usize, says: impl Fn(Verdict) -> bool) -> f64 {
    let mut prng = Prng::new(seed);
    let said = (0..of).filter(|_| {
        let (base, new) = (sample(&mut prng, repetitions, 1000.0), sample(&mut prng, repetitions, 1000.0 * effect));
        says(judge(Design::Samples, &[(p99(), &base, &new)], 0.05)[0].verdict)
    });
    said.count() as f64 / of as f64
}

fn differs(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Better | Verdict::Worse)
}

#[test]
fn a_thousand_comparisons_of_the_same_raise_few_false_alarms() {
    for repetitions in [5, 10] {
        let alarms = share(1000, 1, 1.0, repetitions, differs);
        assert!(alarms < 0.05, "{repetitions} repetitions: {alarms}");
    }
}

/// The same of pairs: the machine's level wanders threefold, from pair to pair, and shakes each of a pair by 5 %.
fn share_of_pairs(of: usize, seed: u64, effect: f64, repetitions: usize, says: impl Fn(Verdict) -> bool) -> f64 {
    let mut prng = Prng::new(seed);
    let said = (0..of).filter(|_| {
        let levels: Vec<f64> = (0..repetitions).map(|_| 1000.0 * 3.0_f64.powf(prng.unit())).collect();
        let base: Vec<f64> = levels.iter().map(|&level| noisy(&mut prng, level)).collect();
        let new: Vec<f64> = levels.iter().map(|&level| noisy(&mut prng, level * effect)).collect();
        says(judge(Design::Pairs, &[(p99(), &base, &new)], 0.05)[0].verdict)
    });
    said.count() as f64 / of as f64
}

#[test]
fn pairs_raise_few_false_alarms_and_catch_a_tenth() {
    for repetitions in [6, 10, 20] {
        let alarms = share_of_pairs(1000, 7, 1.0, repetitions, differs);
        assert!(alarms < 0.05, "{repetitions} pairs: {alarms}");
    }
    let caught = share_of_pairs(500, 8, 1.1, 10, |verdict| verdict == Verdict::Worse);
    assert!(caught > 0.8, "{caught}");
}

#[test]
fn a_tenth_more_is_caught_with_ten_repetitions() {
    let caught = share(500, 2, 1.1, 10, |verdict| verdict == Verdict::Worse);
    assert!(caught > 0.8, "{caught}");
    let praised = share(500, 3, 0.9, 10, |verdict| verdict == Verdict::Better);
    assert!(praised > 0.8, "{praised}");
}

/// Each table of thirty, all alike: the correction holds the whole table's alarms down, not each row's.
#[test]
fn large_tables_raise_no_more_alarms_than_small_ones() {
    let mut prng = Prng::new(4);
    let tables = (0..60).filter(|_| {
        let rows: Vec<_> = (0..30).map(|_| (sample(&mut prng, 10, 1000.0), sample(&mut prng, 10, 1000.0))).collect();
        let samples: Vec<_> = rows.iter().map(|(base, new)| (p99(), base.as_slice(), new.as_slice())).collect();
        judge(Design::Samples, &samples, 0.0).iter().any(|judged| differs(judged.verdict))
    });
    let alarms = tables.count();
    assert!(alarms <= 7, "{alarms} tables of 60");
}

#[test]
fn repetitions_that_are_said_to_be_enough_are() {
    let mut prng = Prng::new(5);
    let needs: Vec<usize> = (0..50)
        .filter_map(|_| {
            let (base, new) = (sample(&mut prng, 4, 1000.0), sample(&mut prng, 4, 1100.0));
            match judge(Design::Samples, &[(p99(), &base, &new)], 0.05)[0].verdict {
                Verdict::Inconclusive { needs } => Some(needs),
                _ => None,
            }
        })
        .collect();
    let middle =
        quorumbench::compare::statistics::median(&needs.iter().map(|&n| n as f64).collect::<Vec<_>>()) as usize;
    assert!(middle > 4, "{needs:?}");
    let caught = share(200, 6, 1.1, middle, |verdict| verdict == Verdict::Worse);
    assert!(caught > 0.5, "{middle} repetitions: {caught}");
}

/// A folder as a run leaves it, with these p99 for a point, and a throughput.
fn run_folder(at: &Path, name: &str, cpu: &str, world: &str, p99s: &[f64]) -> PathBuf {
    let folder = at.join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let manifest = json!({"host": {"cpu": cpu, "cores": 2, "build": {"profile": "release", "commit": name}}});
    fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a manifest");
    let line = |(repetition, p99): (usize, &f64)| {
        let line = json!({
            "schema": "quorumbench.point/1", "repetition": repetition, "world": world,
            "axes": {"protocol": "raft", "outstanding": 16}, "warnings": [],
            "completed_per_s": 1e6, "response_ns": {"p50": 500, "p99": p99}, "cost": {"cpu_ns_per_command": 90.0},
        });
        format!("{line}\n")
    };
    fs::write(folder.join("points.jsonl"), p99s.iter().enumerate().map(line).collect::<String>()).expect("points");
    folder
}

fn compare(base: &Path, new: &Path, options: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_quorumbench");
    Command::new(program).arg("compare").args([base, new]).args(options).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const BEFORE: [f64; 8] = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0];

#[test]
fn what_got_slower_fails_the_gate() {
    let at = tempfile::tempdir().expect("a folder");
    let base = run_folder(at.path(), "base", "A", "real", &BEFORE);
    let slower = run_folder(at.path(), "slower", "A", "real", &BEFORE.map(|time| time * 1.2));
    let worse = compare(&base, &slower, &[]);
    assert_eq!(worse.status.code(), Some(3), "{}", said(&worse));
    assert!(said(&worse).contains("1 worse, 0 better, 3 the same, 0 inconclusive"), "{}", said(&worse));
    let better = compare(&slower, &base, &["--metric", "p99"]);
    assert_eq!(better.status.code(), Some(0), "{}", said(&better));
    assert!(said(&better).contains("0 worse, 1 better"), "{}", said(&better));
    assert_eq!(compare(&base, &slower, &["--threshold", "30%"]).status.code(), Some(0));
    assert_eq!(compare(&base, &base, &[]).status.code(), Some(0));
}

#[test]
fn it_says_the_same_in_json_and_markdown() {
    let at = tempfile::tempdir().expect("a folder");
    let base = run_folder(at.path(), "base", "A", "real", &BEFORE);
    let slower = run_folder(at.path(), "slower", "A", "real", &BEFORE.map(|time| time * 1.2));
    let output = compare(&base, &slower, &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let document: Json = serde_json::from_slice(&output.stdout).expect("one document");
    let rows = document["rows"].as_array().expect("rows");
    let p99 = rows.iter().find(|row| row["metric"] == "p99").expect("p99");
    assert_eq!((&p99["verdict"], &p99["base"]), (&json!("worse"), &json!(103.5)));
    assert!((p99["ratio"].as_f64().expect("a ratio") - 1.2).abs() < 1e-9);
    assert_eq!(document["regressed"], true);
    let markdown = said(&compare(&base, &slower, &["--markdown"]));
    assert!(markdown.starts_with("### 1 worse") && markdown.contains("| p99 "), "{markdown}");
    assert!(markdown.contains("base is commit `base`, new is commit `slower`"), "{markdown}");
}

#[test]
fn what_does_not_compare_is_refused() {
    let at = tempfile::tempdir().expect("a folder");
    let base = run_folder(at.path(), "base", "A", "real", &BEFORE);
    let refused = |new: &Path, code: i32, why: &str| {
        let output = compare(&base, new, &[]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
    };
    let elsewhere = run_folder(at.path(), "elsewhere", "B", "real", &BEFORE);
    refused(&elsewhere, 2, "cpu: A and B");
    let across = compare(&base, &elsewhere, &["--across-hosts"]);
    assert!(across.status.success() && said(&across).contains("note: across hosts"), "{}", said(&across));
    refused(&run_folder(at.path(), "computed", "A", "virtual", &BEFORE), 2, "never compares with what was measured");
    refused(&run_folder(at.path(), "empty", "A", "real", &[]), 2, "the new run has no points");
    refused(&at.path().join("nowhere"), 1, "give it the folder of a run");
    let rates: Vec<f64> = BEFORE.iter().copied().cycle().take(16).collect();
    let whole = run_folder(at.path(), "whole", "A", "real", &rates);
    // Half of it has another coordinate, and is not in the new run.
    let text = fs::read_to_string(whole.join("points.jsonl")).expect("points");
    let split = |(index, line): (usize, &str)| if index < 8 { line.to_owned() } else { line.replace(":16", ":64") };
    let lines: Vec<String> = text.lines().enumerate().map(split).collect();
    fs::write(whole.join("points.jsonl"), lines.join("\n")).expect("written");
    let lost = compare(&whole, &base, &[]);
    assert_eq!(lost.status.code(), Some(2), "{}", said(&lost));
    assert!(said(&lost).contains("lacks what the base has: 1 of 2 points"), "{}", said(&lost));
    let partial = compare(&whole, &base, &["--partial"]);
    assert!(
        partial.status.success() && said(&partial).contains("note: the new run lacks 1 of 2"),
        "{}",
        said(&partial)
    );
    let silent = run_folder(at.path(), "silent", "A", "real", &BEFORE);
    let text = fs::read_to_string(silent.join("points.jsonl")).expect("points").replace("\"p99\":", "\"p98\":");
    fs::write(silent.join("points.jsonl"), text).expect("written");
    refused(&silent, 2, "lacks what the base has: p99 of 1 points");
    let broken = run_folder(at.path(), "broken", "A", "real", &BEFORE);
    fs::write(broken.join("points.jsonl"), "{\"schema\": \"other/9\"}\n").expect("a line");
    refused(&broken, 1, "points.jsonl:1: schema other/9");
}

#[test]
fn what_is_not_the_same_experiment_is_said() {
    let at = tempfile::tempdir().expect("a folder");
    let runs = ["one", "two"].map(|name| run_folder(at.path(), name, "A", "real", &BEFORE));
    for (run, duration) in runs.iter().zip(["1s", "10s"]) {
        let path = run.join("manifest.json");
        let mut manifest: Json = serde_json::from_str(&fs::read_to_string(&path).expect("a manifest")).expect("JSON");
        manifest["spec"] = json!({"run": {"warmup": "0s", "duration": duration}});
        manifest["state"] = if duration == "1s" { "complete".into() } else { "interrupted".into() };
        fs::write(path, manifest.to_string()).expect("written");
    }
    let text = said(&compare(&runs[0], &runs[1], &[]));
    assert!(text.contains("not the same experiment: run.duration is \"1s\" in base and \"10s\" in new"), "{text}");
    assert!(text.contains("the new run is not complete: interrupted"), "{text}");
}

#[test]
fn too_few_repetitions_are_said_to_be_too_few() {
    let at = tempfile::tempdir().expect("a folder");
    let base = run_folder(at.path(), "base", "A", "real", &BEFORE[..3]);
    let slower = run_folder(at.path(), "slower", "A", "real", &BEFORE.map(|time| time * 1.2)[..3]);
    let output = compare(&base, &slower, &["--metric", "p99"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("inconclusive: needs about"), "{}", said(&output));
}

/// The table of bench-configs/regression.toml, measured in turn twenty times: one of its 24 rows got a tenth slower.
#[test]
fn one_row_of_a_table_that_got_slower_is_caught() {
    let mut prng = Prng::new(9);
    let caught = (0..100).filter(|_| {
        let rows: Vec<[Vec<f64>; 2]> = (0..24)
            .map(|row| {
                let levels: Vec<f64> = (0..20).map(|_| 1000.0 * 3.0_f64.powf(prng.unit())).collect();
                let effect = if row == 0 { 1.1 } else { 1.0 };
                [1.0, effect].map(|effect| levels.iter().map(|&level| noisy(&mut prng, level * effect)).collect())
            })
            .collect();
        let samples: Vec<_> = rows.iter().map(|[base, new]| (p99(), base.as_slice(), new.as_slice())).collect();
        judge(Design::Pairs, &samples, 0.05)[0].verdict == Verdict::Worse
    });
    let caught = caught.count();
    assert!(caught > 80, "{caught} of 100");
}

/// Of so few nobody can say that nothing changed, and a single one has no interval.
#[test]
fn few_repetitions_never_say_the_same() {
    let mut prng = Prng::new(10);
    for repetitions in 1..5 {
        let same = share(200, 11 + repetitions as u64, 1.0, repetitions, |verdict| verdict == Verdict::Same);
        assert!(same == 0.0, "{repetitions} repetitions: {same}");
    }
    let (base, new) = (sample(&mut prng, 1, 1000.0), sample(&mut prng, 1, 1000.0));
    let judged = judge(Design::Samples, &[(p99(), &base, &new)], 0.05)[0];
    assert!(judged.interval == [0.0, f64::INFINITY] && matches!(judged.verdict, Verdict::Inconclusive { .. }));
    // What was computed is the same however often.
    assert_eq!(judge(Design::Samples, &[(p99(), &[5.0], &[5.0])], 0.05)[0].verdict, Verdict::Same);
}

/// Levels that wander threefold, and 15 % more on each: two samples show nothing of it, and pairs do.
#[test]
fn what_was_measured_in_turn_is_judged_by_pairs() {
    let at = tempfile::tempdir().expect("a folder");
    let levels = [100.0, 300.0, 150.0, 280.0, 110.0, 250.0, 120.0, 220.0, 130.0, 190.0];
    let base = run_folder(at.path(), "base", "A", "real", &levels);
    let slower = run_folder(at.path(), "slower", "A", "real", &levels.map(|time| time * 1.15));
    let p99 = ["--metric", "p99", "--json"];
    let document = |output: &Output| serde_json::from_slice::<Json>(&output.stdout).expect("one document");
    let apart = compare(&base, &slower, &p99);
    assert_eq!((apart.status.code(), &document(&apart)["test"]), (Some(0), &json!("mann-whitney")));
    let mark = |folder: &Path, turn: &str| {
        let path = folder.join("manifest.json");
        let mut manifest: Json = serde_json::from_str(&fs::read_to_string(&path).expect("a manifest")).expect("JSON");
        manifest["interleaved"] = turn.into();
        fs::write(path, manifest.to_string()).expect("written");
    };
    mark(&base, "one");
    mark(&slower, "another");
    assert_eq!(compare(&base, &slower, &p99).status.code(), Some(0), "measured in turn, and not with each other");
    mark(&slower, "one");
    let paired = compare(&base, &slower, &p99);
    assert_eq!((paired.status.code(), &document(&paired)["test"]), (Some(3), &json!("signed-rank")));
    assert!((document(&paired)["rows"][0]["ratio"].as_f64().expect("a ratio") - 1.15).abs() < 1e-9);
    // A repetition that one of them lacks has no pair.
    let points = slower.join("points.jsonl");
    let lines = fs::read_to_string(&points).expect("points");
    fs::write(&points, lines.split_inclusive('\n').skip(1).collect::<String>()).expect("written");
    assert_eq!(document(&compare(&base, &slower, &p99))["rows"][0]["repetitions"], json!([9, 9]));
    assert!(said(&compare(&base, &slower, &[])).contains("note: measured in turn: judged by pairs"));
}

/// The same build in turn with itself: the runs are there, in order, and compare.
#[test]
fn two_builds_are_measured_in_turn() {
    let at = tempfile::tempdir().expect("a folder");
    let program = env!("CARGO_BIN_EXE_quorumbench");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench-configs/smoke.toml");
    let output = Command::new(program)
        .args(["run", "--interleave", program, "--quiet", "--out"])
        .args([at.path(), &config])
        .args(["--set", "repetitions=2", "--set", "protocol=echo", "--set", "transport=mem"])
        .args(["--set", "duration=100ms", "--set", "warmup=20ms"])
        .output()
        .expect("it runs");
    // Two repetitions show nothing, so nothing is worse.
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let run = fs::read_dir(at.path()).expect("a folder").next().expect("a run").expect("readable").path();
    for side in ["base", "new"] {
        let points = fs::read_to_string(run.join(side).join("points.jsonl")).expect("points");
        let repetitions: Vec<_> = points
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).expect("JSON")["repetition"].as_u64())
            .collect();
        assert!(repetitions.contains(&Some(0)) && repetitions.contains(&Some(1)), "{repetitions:?}");
        let manifest = fs::read_to_string(run.join(side).join("manifest.json")).expect("a manifest");
        let manifest: Json = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(manifest["interleaved"], json!(run.file_name().expect("a name").to_str()));
    }
    assert!(said(&output).contains("inconclusive"), "{}", said(&output));
}

/// `scripts/display-cost.sh` passes where it is seen that looking costs little, and not where nothing is seen.
#[test]
fn what_does_not_tell_is_no_proof_that_looking_is_cheap() {
    let at = tempfile::tempdir().expect("a folder");
    let script = include_str!("../../scripts/display-cost.sh");
    let judges = script.find("\"$program\" compare").map(|from| &script[from..]).expect("it compares");
    let store = |name: &str, throughputs: [f64; 8]| {
        let points = run_folder(at.path(), name, "A", "real", &throughputs).join("points.jsonl");
        let text = fs::read_to_string(&points).expect("points");
        let with_throughput = |(line, throughput): (&str, f64)| {
            let mut line: Json = serde_json::from_str(line).expect("JSON");
            line["completed_per_s"] = json!(throughput);
            format!("{line}\n")
        };
        fs::write(points, text.lines().zip(throughputs).map(with_throughput).collect::<String>()).expect("points");
    };
    let verdict = |name: &str, watched: [f64; 8]| {
        store(&format!("{name}/new"), [1e6; 8]);
        store(&format!("{name}/base"), watched.map(|ratio| 1e6 * ratio));
        let judged = Command::new("bash")
            .args(["-c", &format!("set -euo pipefail\n{judges}")])
            .envs([
                ("program", env!("CARGO_BIN_EXE_quorumbench").into()),
                ("run", at.path().join(name).into_os_string()),
            ])
            .output()
            .expect("bash");
        (judged.status.code(), said(&judged))
    };
    let near = [1.001, 0.999, 1.002, 0.998, 1.0, 1.001, 0.999, 1.0];
    for (name, ratios, code) in [
        ("near", near, 0),
        ("better", near.map(|ratio| ratio * 1.2), 0),
        ("far", near.map(|ratio| 1.0 + 100.0 * (ratio - 1.0)), 1),
        ("worse", near.map(|ratio| ratio / 1.2), 1),
    ] {
        let (seen, said) = verdict(name, ratios);
        assert_eq!(seen, Some(code), "{name}: {said}");
        assert!(said.contains("watched, it has at least "), "{name}: {said}");
    }
}
