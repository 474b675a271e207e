//! Each kind of fault on real threads, from the config to the stored result, checked: nothing acknowledged is lost.
//!
//! Bounds are what must be on any machine, however slow; the arithmetic is held to in virtual time.

mod support;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use quorumbench::results::{FaultLine, PointResult};
use quorumbench::run::{self, Experiment};
use quorumbench::spec::Spec;
use quorumbench::summary;
use support::{manifest, points_on_disk, uring_works};

const MS: u64 = 1_000_000;

fn config(transport: &str, faults: &str) -> Spec {
    let text = format!(
        "name = 'faults'
        [cluster]
        transport = '{transport}'
        election_timeout = '100ms'
        heartbeat = '20ms'
        [load]
        arrival = 'closed'
        outstanding = 24
        clients = 2
        resend = '60ms'
        [batch]
        commands = 4
        [run]
        warmup = '50ms'
        duration = '2500ms'
        {faults}"
    );
    Spec::parse(&text, "faults.toml", &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs it with `--check`, and reads back the only point.
fn ran(spec: &Spec) -> PointResult {
    let out = tempfile::tempdir().expect("a temporary folder");
    let config = Path::new("faults.toml");
    let experiment = Experiment { spec, config, out: out.path(), command_line: vec!["test".into()], check: true };
    let finished = run::run(&experiment, &AtomicBool::new(false), &mut run::Silence).expect("the folder can be made");
    assert!(finished.failure.is_none(), "{:?}", finished.failure);
    assert_eq!(manifest(&finished.dir)["spec"]["faults"][0]["at"], "400ms");
    let table = summary::fault_table(&summary::rows(&finished.points, spec), spec).expect("there were faults");
    assert!(table.contains("no service") && table.contains(&finished.points[0].faults[0].kind), "{table}");
    let [point] = &points_on_disk(&finished.dir)[..] else { panic!("one point") };
    assert_eq!(point.errors, 0, "{:?}", point.events);
    assert!(point.checked && point.faults.iter().all(|fault| fault.lost == Some(0)));
    point.clone()
}

/// The only fault of a run over each transport that there is. It happened when it was to, and not before.
fn each(faults: &str, see: impl Fn(&FaultLine, &PointResult)) {
    for transport in ["mem", "uring"].into_iter().filter(|&each| each == "mem" || uring_works()) {
        let point = ran(&config(transport, &format!("[[faults]]\nat = '400ms'\n{faults}")));
        let [fault] = &point.faults[..] else { panic!("one fault: {:?}", point.faults) };
        assert!(fault.at_ns.is_some_and(|at| at >= (400 * MS).cast_signed()), "{fault:?}");
        assert!(fault.gap_ns.is_some_and(|gap| gap < 2500 * MS) && fault.unknown <= fault.resent, "{fault:?}");
        see(fault, &point);
    }
}

/// It was undone, and the node then had what it lacked.
fn was_away(fault: &FaultLine) {
    assert!(fault.until_ns > fault.at_ns, "{fault:?}");
    assert!(fault.catch_up_ns.is_some() && fault.catch_up_bytes.is_some(), "{fault:?}");
}

fn has(point: &PointResult, kinds: &[&str]) {
    for kind in kinds {
        assert!(point.events.iter().any(|event| event.kind == *kind), "no {kind} in {:?}", point.events);
    }
}

#[test]
fn a_leader_is_killed_and_comes_back() {
    each("kind = 'kill'\nfor = '500ms'", |fault, point| {
        was_away(fault);
        has(point, &["killed", "leader", "restarted", "caught-up"]);
        assert!(fault.leader_ns.is_some() && fault.gap_ns > Some(20 * MS), "{fault:?}");
        assert!(fault.unknown > 0, "what it was sent, nobody knows: {fault:?}");
        assert!(fault.catch_up_bytes > Some(0) && fault.lag_slots > Some(0), "{fault:?}");
    });
}

#[test]
fn a_follower_is_killed_for_good() {
    each("kind = 'kill'\ntarget = 'follower'", |fault, point| {
        has(point, &["killed"]);
        let undone = (fault.until_ns, fault.catch_up_ns, fault.catch_up_bytes);
        assert_eq!(undone, (None, None, None), "{fault:?}");
        assert!(fault.lag_slots > Some(0), "{fault:?}");
    });
}

#[test]
fn a_follower_crashes_again_and_again() {
    for transport in ["mem", "uring"].into_iter().filter(|&each| each == "mem" || uring_works()) {
        let often = "[[faults]]\nat = '400ms'\nkind = 'restart'\ntarget = 'follower'\nevery = '200ms'\ntimes = 4";
        let point = ran(&config(transport, often));
        let at: Vec<_> = point.faults.iter().map(|fault| fault.at_ns.expect("it happened")).collect();
        assert!(at.len() == 4 && at.windows(2).all(|pair| pair[0] < pair[1]), "{at:?}");
        assert!(point.faults.iter().all(|fault| fault.until_ns >= fault.at_ns), "{:?}", point.faults);
        assert_eq!(point.events.iter().filter(|event| event.kind == "restarted").count(), 4);
    }
}

#[test]
fn a_leader_stands_still_and_goes_on() {
    each("kind = 'pause'\nfor = '500ms'", |fault, point| {
        was_away(fault);
        has(point, &["paused", "resumed", "caught-up"]);
        assert!(fault.leader_ns.is_some() && fault.gap_ns > Some(20 * MS), "{fault:?}");
    });
}

#[test]
fn a_leader_is_cut_off_and_let_in_again() {
    each("kind = 'partition'\nfor = '500ms'", |fault, point| {
        was_away(fault);
        has(point, &["isolated", "healed", "caught-up"]);
        assert!(fault.leader_ns.is_some() && fault.gap_ns > Some(20 * MS), "{fault:?}");
        let dropped = point.warnings.iter().any(|warning| warning.starts_with("dropped_frames: "));
        assert!(dropped, "what was sent from there is counted: {:?}", point.warnings);
    });
}

#[test]
fn a_leader_far_away_answers_late() {
    each("kind = 'slow-link'\nextra = '15ms'\nfor = '500ms'", |fault, point| {
        was_away(fault);
        has(point, &["slowed", "recovered"]);
        // To a follower and to the client.
        assert!(point.response_ns.max >= 30 * MS, "{:?}", point.response_ns);
    });
}

#[test]
fn a_slow_follower_is_compared_with_the_others() {
    each("kind = 'slow'\nfactor = 20\ntarget = 'follower'", |fault, point| {
        has(point, &["slowed"]);
        assert!(fault.lag_slots.is_some() && fault.lag_grows.is_some(), "{fault:?}");
        assert!(fault.kept_bytes.is_some() && fault.others_kept_bytes.is_some(), "{fault:?}");
        let said = point.warnings.iter().any(|warning| warning.starts_with("lag_grows: "));
        assert_eq!(said, fault.lag_grows == Some(true), "{:?}", point.warnings);
    });
}

#[test]
fn a_leader_hands_over() {
    each("kind = 'transfer'", |fault, point| {
        has(point, &["transfer"]);
        assert!(fault.leader_ns.is_some() && fault.until_ns.is_none(), "{fault:?} {:?}", point.events);
    });
}

#[test]
fn a_run_without_faults_has_none() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let spec = config("mem", "");
    let finished = support::run_into(&spec, out.path());
    let text = std::fs::read_to_string(finished.dir.join("points.jsonl")).expect("points.jsonl");
    assert!(!text.contains("\"faults\":") && manifest(&finished.dir)["spec"]["faults"].is_null());
    assert_eq!(summary::fault_table(&summary::rows(&finished.points, &spec), &spec), None);
}
