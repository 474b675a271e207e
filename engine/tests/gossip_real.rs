//! Gossip on real transports: everyone is reached, in as many rounds as in virtual time, and it stops when it is told to.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quorumbench::drive::{self, DriveError};
use quorumbench::epidemic::epidemic;
use quorumbench::results::{Epidemic, EpidemicResult, Real};
use quorumbench::spec::Point;
use support::{run_spec, spec};

fn point(cluster: &str, gossip: &str) -> Point {
    let text = format!("cluster = {{ protocol = 'gossip', {cluster} }}\ngossip = {{ {gossip} }}");
    spec(&text).points().remove(0)
}

fn run(cluster: &str, gossip: &str) -> (Epidemic, Real) {
    drive::gossip(&point(cluster, gossip), 1, &AtomicBool::new(false), &mut |_| ())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Push-pull anti-entropy among 150 nodes, in cycles that a busy machine keeps up with.
fn reaches_everyone(transport: &str) {
    let gossip = "style = 'anti-entropy', exchange = 'push-pull', interval = '60ms', trials = 3";
    let (epidemic, real) = run(&format!("transport = '{transport}', nodes = 150, hosts = 3"), gossip);
    assert_eq!((epidemic.nodes, epidemic.trials, epidemic.coverage.mean, epidemic.residue.max), (150, 3, 1.0, 0.0));
    assert!(epidemic.traffic.mean >= 149.0 / 150.0, "each was sent it: {epidemic:?}");
    assert!(real.hosts == 3 && (0.55..0.78).contains(&real.travelled), "two of three nodes are elsewhere: {real:?}");
    assert!(real.wire_bytes_per_node.mean > 64.0 && real.malformed == 0, "{real:?}");
    let rounds = real.last_ns.mean / 60e6;
    assert!(rounds > epidemic.rounds_last.mean - 1.0 && rounds < epidemic.rounds_last.mean, "{epidemic:?} {real:?}");
    assert!((epidemic.last_ns - real.last_ns.mean).abs() < 1.0, "time is what was measured");
    if (real.late_turns, real.stalls) == (0, 0) {
        assert!((4.0..12.0).contains(&epidemic.rounds_last.mean), "log3 n + log2 ln n is 7: {epidemic:?}");
    }
}

#[test]
fn over_mem_everyone_is_reached() {
    reaches_everyone("mem");
}

#[test]
fn over_tokio_tcp_everyone_is_reached() {
    reaches_everyone("tokio-tcp");
}

#[test]
fn over_uring_everyone_is_reached() {
    if support::uring_works() {
        reaches_everyone("uring");
    }
}

#[test]
fn over_quic_everyone_is_reached() {
    reaches_everyone("quic");
}

#[test]
fn every_style_comes_to_an_end() {
    for gossip in [
        "style = 'direct-mail'",
        "style = 'direct-mail', loss = 0.5",
        "style = 'anti-entropy', exchange = 'pull', loss = 0.3, payload = '20KiB'",
        "exchange = 'push', k = 3",
        "exchange = 'pull', k = 2",
        "exchange = 'push-pull', interest = 'blind', stop = 'coin', k = 3, fanout = 2",
        "exchange = 'push-pull', k = 2, connection_limit = 1, hunt_limit = 'unlimited'",
        "exchange = 'push-pull', k = 3, rumors = 5",
        "style = 'anti-entropy', exchange = 'push-pull', rumors = 5, rounds = 'asynchronous'",
        "style = 'median-counter', partners = 'not-sent'",
        "style = 'plumtree', loss = 0.1",
        "style = 'anti-entropy', partners = 'ring'",
        "exchange = 'push-pull', view = 'partial', k = 3",
        "exchange = 'push', k = 3, rounds = 'asynchronous'",
    ] {
        let gossip = format!("{gossip}, interval = '20ms', trials = 3");
        let (epidemic, real) = run("transport = 'mem', nodes = 60", &gossip);
        assert!(real.hosts >= 2 && real.malformed == 0 && real.dropped_frames == 0, "{gossip}: {real:?}");
        let needed = epidemic.coverage.mean - 1.0 / 60.0;
        assert!(epidemic.trials == 3 && epidemic.traffic.mean >= needed - 1e-9, "{gossip}: {epidemic:?}");
        if gossip.contains("direct-mail") {
            let (sent, lost) = (59.0 / 60.0, gossip.contains("loss"));
            assert!(
                (epidemic.traffic.max - sent).abs() < 1e-9 && epidemic.residue.mean.total_cmp(&0.1).is_gt() == lost
            );
        } else if gossip.contains("anti-entropy") {
            assert!(epidemic.residue.max <= 0.0, "it tries until it succeeds");
        }
    }
}

/// The same rules in virtual time say what should come out.
#[test]
fn nodes_crash_and_join_as_they_do_in_virtual_time() {
    for gossip in [
        "style = 'anti-entropy', exchange = 'push-pull', crash = 0.05, rumors = 2",
        "style = 'anti-entropy', exchange = 'pull', crash = 0.1, rumors = 5",
        "style = 'anti-entropy', exchange = 'push', crash = 0.05, connection_limit = 1, hunt_limit = 1",
        "exchange = 'push-pull', k = 2, crash = 0.05, join = 0.03",
        "exchange = 'push', k = 2, crash = 0.02, join = 0.02, view = 'partial'",
        "style = 'median-counter', crash = 0.05",
        "style = 'plumtree', crash = 0.1",
    ] {
        let gossip = |trials: usize| format!("{gossip}, interval = '20ms', trials = {trials}");
        let (seen, real) = run("transport = 'mem', nodes = 100, hosts = 3", &gossip(10));
        // Of a tree only the first broadcast, as on real transports.
        let first = gossip(600).replace("'plumtree'", "'plumtree', broadcasts = 1");
        let expected = point("transport = 'sim', nodes = 100", &first);
        let expected = epidemic(100, &expected.gossip, 2, 2, &AtomicBool::new(false), &mut |_| ()).expect("it ends");
        assert!(real.malformed == 0 && real.dropped_frames == 0, "{real:?}");
        if 100 * real.late_turns > real.turns || (real.late_turns == 0 && real.stalls > 0) {
            continue; // A machine that stood still has other rounds.
        }
        let figures = |of: &Epidemic| [("residue", of.residue), ("traffic", of.traffic), ("rounds", of.rounds_last)];
        for ((name, seen), (_, expected)) in figures(&seen).into_iter().zip(figures(&expected)) {
            let error = expected.sd * (1.0 / 10.0 + 1.0 / 600.0_f64).sqrt();
            let apart = (seen.mean - expected.mean).abs();
            assert!(apart <= 5.0 * error + 1e-3, "{name} of {}: {} for {expected:?}", gossip(10), seen.mean);
        }
    }
}

#[test]
fn a_run_stores_what_was_real() {
    let spec = spec(
        "cluster = { protocol = 'gossip', transport = ['mem', 'sim'], nodes = 40 }
        gossip = { style = 'anti-entropy', interval = '20ms', trials = 2 }",
    );
    let ran = run_spec(&spec);
    assert!(ran.finished.failure.is_none(), "{:?}", ran.finished.failure);
    let text = std::fs::read_to_string(ran.finished.dir.join("points.jsonl")).expect("points.jsonl");
    let lines: Vec<EpidemicResult> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(lines, ran.finished.epidemics);
    for line in &lines {
        let is_real = line.axis("transport") == "mem";
        assert_eq!(
            (line.world == "real", line.real.is_some(), line.axes.contains_key("hosts")),
            (is_real, is_real, is_real)
        );
    }
    let table = quorumbench::summary::epidemic_table(&lines, &spec).expect("a table");
    assert!(table.contains("wire B/node") && table.contains("travelled") && table.contains("time p99"), "{table}");
}

/// Half of a cycle is 5 us: too short for two hundred turns on any machine.
#[test]
fn late_rounds_are_counted_and_said() {
    let spec = spec(
        "cluster = { protocol = 'gossip', transport = 'mem', nodes = 5000 }
        gossip = { style = 'anti-entropy', interval = '1ms', trials = 2 }",
    );
    let ran = run_spec(&spec).finished;
    let [result] = &ran.epidemics[..] else { panic!("{:?}", ran.failure) };
    assert!(result.real.as_ref().is_some_and(|real| real.late_turns > 0 && real.late_turns <= real.turns));
    assert!(
        result.real.as_ref().is_some_and(|real| real.stalls > 0),
        "whose turns are late was away: {:?}",
        result.real
    );
    assert!(result.warnings.iter().any(|warning| warning.starts_with("late_rounds: ")), "{:?}", result.warnings);
    assert!(result.epidemic.residue.max <= 0.0, "late, and yet everyone");
}

#[test]
fn it_stops_within_a_second() {
    let point = point("transport = 'tokio-tcp', nodes = 100", "style = 'anti-entropy', interval = '10s', trials = 10");
    let interrupted = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| drive::gossip(&point, 1, &interrupted, &mut |_| ()));
        thread::sleep(Duration::from_millis(500));
        let told = Instant::now();
        interrupted.store(true, Ordering::Relaxed);
        let ended = running.join().expect("no panic");
        assert!(matches!(ended, Err(DriveError::Interrupted)), "{ended:?}");
        assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    });
}
