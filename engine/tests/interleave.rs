//! Two builds measured in turn: what they leave behind is one run of each, and what went wrong is said of the right one.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use rustix::process::{Pid, Signal};
use serde_json::{Value as Json, json};
use support::alive::{children, is_alive, wait_until};
use support::desk::{Desk, PATIENCE, PROGRAM, end, fails, signal};

/// Two points; windows in virtual time cost little.
const CONFIG: &str = "name = 'turns'
[cluster]
protocol = ['raft', 'echo']
transport = 'sim'
[load]
arrival = 'constant'
rate = 500
[run]
warmup = '50ms'
duration = '3s'
repetitions = 2
seed = 7
";

/// A base that is this program, called by a script.
fn base(desk: &Desk, script: &str) -> String {
    let path = desk.path("base");
    fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("PROGRAM", PROGRAM))).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its own file");
    path.display().to_string()
}

fn manifest(run: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(run.join("manifest.json")).expect("a manifest")).expect("JSON")
}

#[test]
fn what_is_put_together_is_a_whole_run() {
    let desk = Desk::new(CONFIG);
    let said = desk.run(&["run", "x.toml", "--quiet", "--interleave", PROGRAM]);
    assert!(said.err.contains("2 repetitions show no change, however large: --set repetitions=6 does"), "{said:?}");
    assert_eq!(said.code, Some(0), "{said:?}");
    let run = desk.only_run("results");
    for side in ["base", "new"] {
        let side = run.join(side);
        let manifest = manifest(&side);
        assert_eq!([&manifest["planned_points"], &manifest["finished_points"]], [&json!(4), &json!(4)]);
        assert_eq!([&manifest["state"], &manifest["varied"]], [&json!("complete"), &json!(["protocol"])]);
        assert_eq!([&manifest["spec"]["run"]["repetitions"], &manifest["spec"]["run"]["seed"]], [&json!(2), &json!(7)]);
        let typed = manifest["command_line"].as_array().expect("words");
        assert!(typed.contains(&json!("--interleave")) && !typed.contains(&json!("--point")), "{typed:?}");
        assert!(manifest["doctor"]["findings"].is_array() && manifest.pointer("/doctor/deltas").is_none());
        let table = fs::read_to_string(side.join("intervals.csv")).expect("intervals");
        let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split(',').collect()).collect();
        assert_eq!(rows[0][..4], ["point", "repetition", "label", "second"]);
        let of = |at: usize| rows[1..].iter().map(|row| row[at]).collect::<Vec<_>>();
        assert_eq!(of(0), ["0", "0", "0", "1", "1", "1", "2", "2", "2", "3", "3", "3"]);
        assert_eq!(of(1), ["0", "0", "0", "0", "0", "0", "1", "1", "1", "1", "1", "1"]);
        assert_eq!(of(2).iter().filter(|&&label| label == "protocol=raft").count(), 6);
        let log = fs::read(side.join("latency.hlog")).expect("a log");
        let intervals = IntervalLogIterator::new(&log).filter_map(|entry| match entry.expect("a line") {
            LogEntry::Interval(interval) => Some(interval.start_timestamp()),
            _ => None,
        });
        let begins: Vec<_> = intervals.collect();
        assert!(begins.len() == 12 && (3..12).step_by(3).all(|first| begins[first] > begins[first - 3]), "{begins:?}");
    }
    let said = desk.run(&["report", run.join("base").to_str().expect("text"), "--out", "page.html"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(fs::read_to_string(desk.path("page.html")).expect("a page").contains("Second by second"));
}

#[test]
fn who_answers_nothing_is_named() {
    let desk = Desk::new(CONFIG);
    let base = base(&desk, "exec PROGRAM \"$@\" --set run.duration=3s");
    let silent = ["--set", "network.delay=100ms", "--set", "run.duration=50ms"];
    let said = desk.run(&[&["run", "x.toml", "--quiet", "--interleave", &base], &silent[..]].concat());
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.err.contains("invalid: the new build answered nothing"), "{said:?}");
    assert!(!said.err.contains("must know everything"), "{said:?}");
    let manifest = manifest(&desk.only_run("results").join("base"));
    assert_eq!([&manifest["state"], &manifest["finished_points"]], [&json!("failed"), &json!(1)]);
}

#[test]
fn a_program_that_measures_nothing_is_named() {
    let desk = Desk::new(CONFIG);
    fails(&desk.run(&["run", "x.toml", "--quiet", "--interleave", "/bin/true"]), 2, &["/bin/true: it left no run"]);
    let base = base(&desk, "exec PROGRAM \"$@\" --no-such-option");
    let said = desk.run(&["run", "x.toml", "--quiet", "--interleave", &base]);
    assert!(said.code == Some(2) && said.err.contains("Both builds must know everything"), "{said:?}");
    let said = desk.run(&["run", "x.toml", "--quiet", "--interleave", "/bin/false"]);
    assert!(said.code == Some(1) && !said.err.contains("Both builds must know everything"), "{said:?}");
}

#[test]
fn the_build_that_is_measured_ends_with_who_measures_it() {
    let desk = Desk::new(CONFIG);
    let set = ["--set", "protocol=raft", "--set", "transport=tokio-tcp", "--set", "placement=processes"];
    let run = ["run", "x.toml", "--quiet", "--interleave", PROGRAM, "--set", "run.duration=60s"];
    let run = desk.command(&[&run[..], &set].concat()).spawn().expect("run");
    let mut processes = Vec::new();
    wait_until("a build and its nodes", PATIENCE, || {
        let builds = children(Pid::from_child(&run));
        let nodes = builds.first().map(|&(_, build)| children(build)).unwrap_or_default();
        processes = [builds, nodes].concat();
        processes.len() == 1 + 3 + 1
    });
    signal(&run, Signal::KILL);
    for (name, process) in processes {
        wait_until(&format!("{name} is gone"), Duration::from_secs(10), || !is_alive(process));
    }
    assert_eq!(end(run).code, None);
}

/// The base is faster under the first config, and the second is measured in spite of that.
#[test]
fn a_regression_does_not_keep_the_next_config_from_being_measured() {
    let config = CONFIG.replace("repetitions = 2", "repetitions = 8").replace("'3s'", "'50ms'");
    let desk = Desk::new(&config.replace("['raft', 'echo']", "'echo'"));
    let slow = fs::read_to_string(desk.path("x.toml")).expect("a config").replace("'turns'", "'slow'");
    fs::write(desk.path("slow.toml"), slow).expect("written");
    // Five hundred commands a second become fifteen hundred.
    let script = "PROGRAM \"$@\" || exit\ncase \"$2\" in slow.toml) sed -i 's/\"completed_per_s\":/&1/' \"$4\"/*/points.jsonl;; esac";
    let base = base(&desk, script);
    let both = ["run", "slow.toml", "x.toml", "--quiet", "--interleave", &base];
    let in_turn = |more: &[&str]| desk.run(&[&both[..], more].concat());
    let said = in_turn(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(said.out.matches("Results: ").count(), 2, "{}", said.out);
    // What is compared, and what nobody minds, are as they were asked for.
    let said = in_turn(&["--metric", "throughput", "--threshold", "500%", "--out", "other"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("throughput") && !said.out.contains("p99"), "{}", said.out);
    let said = desk.run(&["run", "x.toml", "--threshold", "1%"]);
    assert!(said.code == Some(2) && said.err.contains("--interleave"), "{said:?}");
    let runs: Vec<PathBuf> =
        fs::read_dir(desk.path("other")).expect("runs").map(|run| run.expect("a run").path()).collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
}
