//! Logs on a real disk, in real runs: what dies comes back from them, and what they cannot do is said.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorumbench::drive::{self, EventKind, Fault, FaultKind, Outcome};
use quorumbench::spec::{Point, Spec};

/// A point with its logs in `folder`, under a light closed loop.
fn point(folder: &Path, overrides: &[&str]) -> (Spec, Point) {
    let config = "name = 'durable'
        [cluster]
        machine = 'kv'
        election_timeout = '100ms'
        heartbeat = '20ms'
        [storage]
        durability = 'fsync'
        segment = '256KiB'
        [load]
        arrival = 'closed'
        outstanding = 64
        reads = 0.3
        keys = 'uniform:20'
        resend = '200ms'
        [run]
        warmup = '100ms'
        duration = '1500ms'";
    let mut overrides: Vec<_> = overrides.iter().map(|&each| each.to_owned()).collect();
    overrides.push(format!("storage.path={}", folder.display()));
    let spec = Spec::parse(config, "durable.toml", &overrides).unwrap_or_else(|error| panic!("{error}"));
    let point = spec.points().remove(0);
    (spec, point)
}

/// Runs it, and verifies that it was linearizable.
fn checked((spec, point): (Spec, Point), faults: &[Fault]) -> Outcome {
    let never = AtomicBool::new(false);
    let (outcome, trace) = drive::measure_and_trace(&point, spec.run(), 1, faults, true, &never, &mut |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
    let verified = trace.verify(point.cluster.machine).unwrap_or_else(|breach| panic!("{breach}"));
    assert!(verified.commands > 0);
    outcome
}

/// A leader that dies twice comes back with what its log holds, whatever it writes to and however.
#[test]
fn a_leader_that_dies_comes_back_from_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let restart = |at| Fault {
        at: Duration::from_millis(at),
        kind: FaultKind::RestartLeader { down_for: Duration::from_millis(200) },
    };
    for protocol in ["raft", "multipaxos", "zab"] {
        for more in [
            &["transport=uring"][..],
            &["transport=uring", "direct=true", "storage_in_flight=1"],
            &["transport=mem", "durability=page-cache"],
            &["transport=tokio-tcp", "storage_linger=100us"],
        ] {
            let protocol = format!("protocol={protocol}");
            let overrides = [&[protocol.as_str()], more].concat();
            let outcome = checked(point(folder.path(), &overrides), &[restart(200), restart(800)]);
            let back = outcome.events.iter().filter(|event| event.kind == EventKind::Restarted).count();
            assert_eq!(back, 2, "{overrides:?}: {:?}", outcome.events);
            let counters = outcome.replicas.counters;
            let synced = !more.contains(&"durability=page-cache");
            assert!(counters.file_writes > 0 && (counters.file_syncs > 0) == synced, "{overrides:?}: {counters:?}");
            assert!(!outcome.log_writes.is_empty(), "{overrides:?}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).unwrap_or_default(), 0, "logs go with their run");
}

/// Logs are cut at snapshots, so that a disk holds little more than two of them, however long the run.
#[test]
fn logs_do_not_grow_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let often = ["transport=mem", "durability=page-cache", "snapshot_slots=50", "segment=64KiB", "payload=256B"];
    let restart = FaultKind::RestartLeader { down_for: Duration::from_millis(100) };
    let outcome = checked(point(folder.path(), &often), &[Fault { at: Duration::from_millis(700), kind: restart }]);
    assert!(outcome.totals.iter().all(|stats| stats.snapshots > 2), "{:?}", outcome.totals);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_one_clear_error() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (spec, point) = point(&file.path().join("below"), &["transport=mem"]);
    let never = AtomicBool::new(false);
    let failed = drive::measure(&point, spec.run(), 1, &[], &never, &mut |_| ()).expect_err("a file is no folder");
    let said = failed.to_string();
    assert!(said.contains("replica") && said.contains("below"), "{said}");
}
