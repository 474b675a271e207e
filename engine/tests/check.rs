//! `run --check` on real threads: honest runs pass, whatever happens to the leader, and the very same runs do not once
//! their traces are tampered with.

mod support;

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorumbench::check::witness::{Asked, Trace};
use quorumbench::drive::{self, EventKind, Fault, FaultKind};
use quorumbench::spec::MachineName;
use support::{points_on_disk, spec};

const PROGRAM: &str = env!("CARGO_BIN_EXE_quorumbench");

fn config(protocol: &str, transport: &str, machine: &str, duration: &str) -> String {
    let reads = if machine == "kv" { 0.5 } else { 0.0 };
    format!(
        "[cluster]
        protocol = '{protocol}'
        transport = '{transport}'
        machine = '{machine}'
        election_timeout = '100ms'
        heartbeat = '20ms'
        [load]
        arrival = 'closed'
        outstanding = 24
        clients = 3
        payload = '12B'
        reads = {reads:.1}
        keys = 'uniform:50'
        resend = '150ms'
        [batch]
        commands = 4
        [run]
        warmup = '50ms'
        duration = '{duration}'"
    )
}

/// A traced run that holds.
fn checked(config: &str, machine: MachineName, faults: &[Fault]) -> (Trace, Vec<drive::Event>) {
    let spec = spec(config);
    let [point] = &spec.points()[..] else { panic!("one point") };
    let never = AtomicBool::new(false);
    let measured = drive::measure_and_trace(point, spec.run(), 1, faults, true, &never, &mut |_| ());
    let (outcome, trace) = measured.unwrap_or_else(|error| panic!("{error}"));
    let verified = trace.verify(machine).unwrap_or_else(|breach| panic!("{breach}: {:?}", outcome.events));
    assert_eq!(verified.commands, outcome.recording.tally.sent, "nothing was left out of the order");
    assert!(verified.commands > 0);
    assert_eq!((trace.replicas.len(), trace.clients.len()), (3, 3));
    (trace, outcome.events)
}

fn leader_dies(transport: &str, name: &str, machine: MachineName) {
    let kind = FaultKind::RestartLeader { down_for: Duration::from_millis(250) };
    let fault = Fault { at: Duration::from_millis(200), kind };
    let (trace, events) = checked(&config("raft", transport, name, "1500ms"), machine, &[fault]);
    assert!(events.iter().any(|event| event.kind == EventKind::Restarted), "{events:?}");
    let replicated = trace.replicas.iter().filter(|replica| !replica.applied.is_empty()).count();
    assert_eq!(replicated, 3, "the trace of a replica outlives its thread");
}

#[test]
fn a_leader_that_dies_and_returns_breaks_nothing_on_mem() {
    leader_dies("mem", "null", MachineName::Null);
    leader_dies("mem", "kv", MachineName::Kv);
}

#[test]
fn a_leader_that_dies_and_returns_breaks_nothing_on_tokio_tcp() {
    leader_dies("tokio-tcp", "null", MachineName::Null);
    leader_dies("tokio-tcp", "kv", MachineName::Kv);
}

#[test]
fn leadership_that_is_handed_over_breaks_nothing() {
    let faults = [50, 120, 190].map(|at| Fault { at: Duration::from_millis(at), kind: FaultKind::TransferLeader });
    checked(&config("raft", "mem", "kv", "300ms"), MachineName::Kv, &faults);
}

#[test]
fn floors_hold_while_nothing_happens_to_them() {
    for protocol in ["echo", "star"] {
        checked(&config(protocol, "mem", "kv", "100ms"), MachineName::Kv, &[]);
    }
}

#[test]
fn a_real_run_that_is_tampered_with_is_found_out() {
    let (honest, _) = checked(&config("raft", "mem", "kv", "200ms"), MachineName::Kv, &[]);
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
    let text = format!("name = 'checked'\n{}", config("raft", "mem", "kv", "100ms"));
    std::fs::write(folder.path().join("x.toml"), text).expect("written");
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
