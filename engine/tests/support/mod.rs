//! What the tests share: specs from a few lines, runs into a folder that goes away, the folder read back.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::path::Path;
use std::sync::atomic::AtomicBool;

use quorumbench::drive::{self, Fault, Outcome};
use quorumbench::results::PointResult;
use quorumbench::run::{self, Experiment, Finished, Silence};
use quorumbench::spec::{Mover, Spec};
use tempfile::TempDir;

pub mod alive;
pub mod checked;
pub mod desk;
pub mod network;
pub mod reported;

/// A spec from the lines that matter to a test.
pub fn spec(text: &str) -> Spec {
    Spec::parse(&format!("name = \"test\"\n{text}"), "test.toml", &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether this machine gives out rings; says why not. Tests on them then have nothing to test.
pub fn uring_works() -> bool {
    let probed = quorumbench_transports::uring::probe();
    if let Err(error) = &probed {
        println!("skipped: {error}");
    }
    probed.is_ok()
}

/// Whether this machine lets nodes be in networks of their own; says why not. Tests of links that carry packets then have
/// nothing to test.
pub fn packets_work() -> bool {
    packets_work_by(Mover::Tun)
}

/// The same where `mover` moves the packets.
pub fn packets_work_by(mover: Mover) -> bool {
    drive::set_program(desk::PROGRAM);
    let probed = drive::probe_packets(mover);
    if let Err(error) = &probed {
        println!("skipped: {error}");
    }
    probed.is_ok()
}

/// A run, and its folder for as long as this lives.
pub struct Ran {
    pub finished: Finished,
    pub out: TempDir,
}

/// Runs all of `spec`.
pub fn run_spec(spec: &Spec) -> Ran {
    let out = tempfile::tempdir().expect("a temporary folder");
    let finished = run_into(spec, out.path());
    Ran { finished, out }
}

/// Runs all of `spec` into `out`.
pub fn run_into(spec: &Spec, out: &Path) -> Finished {
    let config = Path::new("test.toml");
    let experiment = Experiment { spec, config, out, command_line: vec!["test".into()], check: false };
    run::run(&experiment, &AtomicBool::new(false), &mut Silence).expect("the folder can be made")
}

/// Measures the only point of a spec.
pub fn measure(text: &str, faults: &[Fault]) -> Outcome {
    let spec = spec(text);
    let [point] = &spec.points()[..] else { panic!("one point") };
    drive::measure(point, spec.run(), 1, faults, &AtomicBool::new(false), &mut |_| ())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The lines of a run's `points.jsonl`.
pub fn points_on_disk(dir: &Path) -> Vec<PointResult> {
    let text = std::fs::read_to_string(dir.join("points.jsonl")).expect("points.jsonl");
    assert!(text.is_empty() || text.ends_with('\n'), "no line is half-written");
    text.lines().map(|line| serde_json::from_str(line).expect("a point a line")).collect()
}

/// A run's `manifest.json`.
pub fn manifest(dir: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(dir.join("manifest.json")).expect("manifest.json");
    serde_json::from_str(&text).expect("JSON")
}
