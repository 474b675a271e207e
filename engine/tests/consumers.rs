//! The tools that exports are for, asked themselves. They are Python's, so `scripts/consumers.sh` gets them first:
//! `HdrHistogram`'s reader, Prometheus' parser, Apache Otava, and a validator of JSON Schemas.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use support::desk::Desk;

const CONFIG: &str = "name = 'consumed'
[cluster]
protocol = ['raft', 'echo']
transport = 'sim'
[load]
arrival = 'poisson'
rate = 5000
[run]
warmup = '50ms'
duration = '200ms'
repetitions = 2
";

#[test]
#[ignore = "needs Python's packages: scripts/consumers.sh gets them, and runs this"]
fn the_tools_themselves_understand_what_is_exported() {
    let desk = Desk::new(CONFIG);
    let done = |arguments: &[&str]| {
        let said = desk.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    };
    done(&["run", "x.toml", "--quiet"]);
    let run = desk.only_run("results");
    let path = run.display().to_string();
    for (format, name) in [("hlog", "latency.hlog"), ("csv", "run.csv"), ("prometheus", "metrics.prom")] {
        done(&["export", &path, "--format", format, "--out", run.join(name).to_str().expect("text")]);
    }
    done(&["export", &path, "--format", "hgrm", "--out", run.join("percentiles").to_str().expect("text")]);
    // Twelve nights of one experiment; from the seventh on, it takes longer.
    let nights = (0..12).map(|night| {
        let (seed, out) = (format!("seed={night}"), format!("night-{night}"));
        done(&["run", "x.toml", "--quiet", "--out", &out, "--set", &seed, "--set", "network.delay=100us"]);
        let run = desk.only_run(&out);
        date(&run, night);
        if night >= 6 {
            slow_down(&run);
        }
        run.display().to_string()
    });
    let nights: Vec<String> = nights.collect();
    let history = run.join("history.csv").display().to_string();
    let arguments = ["export", "--format", "otava", "--out", &history].into_iter();
    done(&arguments.chain(nights.iter().map(String::as_str)).collect::<Vec<_>>());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/consumers.py");
    let said = Command::new("python3").arg(script).arg(&run).output().expect("Python");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// Gives a run a day, and a commit, of its own.
fn date(run: &Path, night: usize) {
    let path = run.join("manifest.json");
    let mut manifest: Json = serde_json::from_str(&fs::read_to_string(&path).expect("a manifest")).expect("JSON");
    manifest["started"] = format!("2026-11-{:02}T03:00:00Z", night + 1).into();
    manifest["host"]["build"]["commit"] = format!("c{night}").into();
    fs::write(path, manifest.to_string()).expect("written");
}

/// Makes a run's medians half as long again.
fn slow_down(run: &Path) {
    let path = run.join("points.jsonl");
    let slower = |line: &str| {
        let mut line: Json = serde_json::from_str(line).expect("JSON");
        let p50 = line["response_ns"]["p50"].as_u64().expect("a median");
        line["response_ns"]["p50"] = (p50 * 3 / 2).into();
        format!("{line}\n")
    };
    let lines: String = fs::read_to_string(&path).expect("points").lines().map(slower).collect();
    fs::write(path, lines).expect("written");
}
