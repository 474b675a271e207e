//! `run --check`, mostly on real threads: honest runs pass, whatever happens to the leader, and the very same runs do not once
//! their traces are tampered with.

mod support;

use std::process::Command;
use std::time::Duration;

use quorumbench::check::witness::{Asked, Trace};
use quorumbench::drive::{EventKind, Fault, FaultKind, Outcome};
use quorumbench::spec::MachineName;
use support::checked::{CONFIG, NULL, checked};
use support::points_on_disk;

const PROGRAM: &str = env!("CARGO_BIN_EXE_quorumbench");

fn leader_dies(transport: &str, down_for_ms: u64, more: &[&str]) -> (Outcome, Trace) {
    let fault = Fault::new(Duration::from_millis(200), FaultKind::Kill).lasting(Duration::from_millis(down_for_ms));
    let transport = format!("transport={transport}");
    let (outcome, trace) = checked(&[&[&*transport, "duration=1500ms"], more].concat(), &[fault]);
    assert!(outcome.events.iter().any(|event| event.kind == EventKind::Restarted), "{:?}", outcome.events);
    let replicated = trace.replicas.iter().filter(|replica| !replica.applied.is_empty()).count();
    assert_eq!(replicated, 3, "the trace of a replica outlives its thread");
    (outcome, trace)
}

#[test]
fn a_leader_that_dies_and_returns_breaks_nothing() {
    for transport in ["mem", "tokio-tcp"] {
        leader_dies(transport, 250, NULL);
        leader_dies(transport, 250, &[]);
    }
}

#[test]
fn a_leader_that_returns_to_a_shorter_log_is_sent_a_snapshot() {
    for machine in [NULL, &[]] {
        let (outcome, trace) = leader_dies("mem", 800, &[machine, &["snapshot_slots=64"]].concat());
        let totals = &outcome.totals;
        assert!(totals.iter().any(|stats| stats.restored > 0), "{totals:?}");
        assert!(totals.iter().map(|stats| stats.snapshots).sum::<u64>() > 1, "{totals:?}");
        let mut unsaid = trace.clone();
        unsaid.replicas.iter_mut().for_each(|replica| replica.skipped.clear());
        let machine = if machine.is_empty() { MachineName::Kv } else { MachineName::Null };
        assert_eq!(unsaid.verify(machine).expect_err("it left out slots").property(), "state machine safety");
    }
}

#[test]
fn snapshots_all_the_time_change_no_answer() {
    for world in [&["transport=mem"][..], &["transport=sim"], &["transport=sim", "cost.sync=100us"]] {
        for machine in [NULL, &[]] {
            let often = ["snapshot_basis=delivered", "snapshot_slots=10"];
            let (outcome, _) = checked(&[world, &often, machine].concat(), &[]);
            let [slots, snapshots] = [outcome.totals[0].slots, outcome.totals[0].snapshots];
            // A turn may deliver a window at once, and no-ops are slots too.
            assert!((slots / (10 + 32)..=slots / 10 + 2).contains(&snapshots), "{snapshots} of {slots} slots");
        }
    }
    let (outcome, _) = checked(&[], &[]);
    assert!(outcome.totals.iter().all(|stats| stats.snapshots == 0), "none while all follow: {:?}", outcome.totals);
}

#[test]
fn leadership_that_is_handed_over_breaks_nothing() {
    let faults = [50, 120, 190].map(|at| Fault::new(Duration::from_millis(at), FaultKind::Transfer));
    checked(&["duration=300ms"], &faults);
}

#[test]
fn floors_hold_while_nothing_happens_to_them() {
    for protocol in ["protocol=echo", "protocol=star"] {
        checked(&[protocol], &[]);
    }
}

#[test]
fn a_real_run_that_is_tampered_with_is_found_out() {
    let (_, honest) = checked(&[], &[]);
    let property = |mutate: &dyn Fn(&mut Trace)| {
        let mut trace = honest.clone();
        mutate(&mut trace);
        trace.verify(MachineName::Kv).expect_err("it was tampered with").property()
    };
    let longest = (0..3).max_by_key(|&replica| honest.replicas[replica].applied.len()).expect("three replicas");
    let only = |trace: &mut Trace| trace.replicas = vec![trace.replicas[longest].clone()];
    let other = (longest + 1) % 3;
    assert!(honest.replicas[other].applied.len() > 20, "the followers follow");
    assert_eq!(property(&|trace| trace.replicas[other].applied.swap(10, 11)), "state machine safety");
    let twice = |trace: &mut Trace| {
        only(trace);
        let last = *trace.replicas[0].applied.last().expect("some");
        let again = trace.replicas[0].applied[3];
        trace.replicas[0].applied.push(quorumbench::check::witness::Applied { slot: last.slot + 1, ..again });
    };
    assert_eq!(property(&twice), "at most once");
    let lost = |trace: &mut Trace| {
        only(trace);
        let order = &mut trace.replicas[0].applied;
        order.truncate(order.len() / 2);
    };
    assert_eq!(property(&lost), "nothing acknowledged is lost");
    let late = |trace: &mut Trace| {
        only(trace);
        let order = &mut trace.replicas[0].applied;
        let slots: Vec<u64> = order.iter().map(|batch| batch.slot).collect();
        order.rotate_right(1);
        order.iter_mut().zip(slots).for_each(|(batch, slot)| batch.slot = slot);
    };
    assert_eq!(property(&late), "real-time order");
    let lied_to = |trace: &mut Trace| {
        let told = |asked: &&mut Asked| asked.answered_ns != Asked::UNANSWERED && asked.commands > 0;
        trace.clients[1].asked.iter_mut().rfind(told).expect("some").told ^= 1 << 40;
    };
    assert_eq!(property(&lied_to), "results");
}

#[test]
fn the_result_says_that_it_was_checked_only_if_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("x.toml"), CONFIG).expect("written");
    for (arguments, expected) in [(&["--check"][..], true), (&[], false)] {
        let out = folder.path().join(format!("out-{expected}"));
        let mut command = Command::new(PROGRAM);
        command.args(["run", "x.toml", "--quiet", "--out"]).arg(&out).args(arguments).current_dir(&folder);
        let output = command.output().expect("the program can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let table = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(table.contains("checked "), expected, "{table}");
        let run = std::fs::read_dir(&out).expect("the run").next().expect("one run").expect("readable").path();
        let [point] = &points_on_disk(&run)[..] else { panic!("one point") };
        assert_eq!(point.checked, expected);
    }
}
