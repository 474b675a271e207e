//! Logs on a real disk, in real runs: what dies comes back from them, and what they cannot do is said.

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorumbench::drive::{self, EventKind, Fault, FaultKind, Outcome, Target};
use quorumbench::spec::{Point, Spec};
use support::desk::PROGRAM;
use support::uring_works;

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
        duration = '2500ms'";
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

/// Replicas that die come back with what their logs hold, whatever they write to and however, and whoever keeps them
/// apart. Nothing that was acknowledged is lost.
#[test]
fn who_dies_comes_back_from_its_log() {
    drive::set_program(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let lasts = Some(Duration::from_millis(100));
    let kill = |at, target| Fault { at: Duration::from_millis(at), kind: FaultKind::Kill, target, lasts };
    let kills = [kill(200, Target::Leader), kill(600, Target::Follower), kill(1000, Target::Any)];
    for protocol in ["raft", "multipaxos", "zab", "paxos"] {
        for more in [
            &["transport=uring"][..],
            &["transport=uring", "direct=true", "storage_in_flight=1"],
            &["transport=mem", "durability=page-cache"],
            &["transport=tokio-tcp", "storage_linger=100us"],
            &["transport=uring", "placement=processes"],
            &["transport=tokio-tcp", "placement=processes", "durability=page-cache", "snapshot_slots=200"],
        ] {
            if more.contains(&"transport=uring") && !uring_works() {
                continue;
            }
            let protocol = format!("protocol={protocol}");
            let overrides = [&[protocol.as_str()], more].concat();
            let outcome = checked(point(folder.path(), &overrides), &kills);
            let back = outcome.events.iter().filter(|event| event.kind == EventKind::Restarted).count();
            assert_eq!(back, 3, "{overrides:?}: {:?}", outcome.events);
            let counters = outcome.replicas.counters;
            let synced = !more.contains(&"durability=page-cache");
            assert!(counters.file_writes > 0 && (counters.file_syncs > 0) == synced, "{overrides:?}: {counters:?}");
            assert!(!outcome.log_writes.is_empty(), "{overrides:?}");
            // All of them have died, and were delivered again from their logs what they had been: that counts once.
            let (once, counted) = (outcome.recording.tally.completed, outcome.busiest.commands);
            assert!(counted < once + once / 4, "{overrides:?}: {counted} commands were delivered, and {once} answered");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).unwrap_or_default(), 0, "logs go with their run");
}

/// A replica that is killed for good takes next to nothing of what it had done and used with it.
#[test]
fn what_the_killed_had_counted_is_in_the_result() {
    drive::set_program(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let fault = Fault::new(Duration::from_millis(1800), FaultKind::Kill).on(Target::Id(1));
    for placement in ["placement=threads", "placement=processes"] {
        let overrides = ["transport=tokio-tcp", "durability=page-cache", placement];
        let outcome = checked(point(folder.path(), &overrides), &[fault]);
        let commands: Vec<_> = outcome.totals.iter().map(|each| each.commands).collect();
        assert!(commands[1] > commands[0] / 4, "{placement}: {commands:?}");
        let slots = [outcome.together.slots, outcome.busiest.slots];
        assert!(slots[0] > slots[1] * 9 / 4, "{placement}: of all, and of one: {slots:?}");
    }
}

/// Logs are cut at snapshots, so that a disk holds little more than two of them, however long the run.
#[test]
fn logs_do_not_grow_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let often = ["transport=mem", "durability=page-cache", "snapshot_slots=50", "segment=64KiB", "payload=256B"];
    let kill = Fault {
        at: Duration::from_millis(700),
        kind: FaultKind::Kill,
        target: Target::Leader,
        lasts: Some(Duration::from_millis(100)),
    };
    let outcome = checked(point(folder.path(), &often), &[kill]);
    assert!(outcome.totals.iter().all(|stats| stats.snapshots > 2), "{:?}", outcome.totals);
}

/// A disk that is made slow holds up what waits for it, and for no longer than it is slow.
#[test]
fn a_slow_disk_is_slow_for_as_long_as_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = Fault {
        at: Duration::from_millis(300),
        kind: FaultKind::SlowDisk { extra: Duration::from_millis(50) },
        target: Target::Leader,
        lasts: Some(Duration::from_millis(300)),
    };
    let outcome = checked(point(folder.path(), &["transport=mem", "durability=page-cache"]), &[slow]);
    assert!(outcome.log_writes.max() >= 50_000_000, "{} ns", outcome.log_writes.max());
    let kinds: Vec<_> = outcome.events.iter().filter(|event| event.at_ns >= 0).map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::Slowed) && kinds.contains(&EventKind::Recovered), "{kinds:?}");
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
