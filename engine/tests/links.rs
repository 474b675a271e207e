//! Links that are longer than they are: nothing is early, nothing is lost, and results say what was asked for.
//!
//! Bounds are of what must have passed at least: how late a machine is beyond that is its own affair.

mod support;

use std::time::Duration;

use quorumbench::drive::{EventKind, Fault, FaultKind, Outcome};
use quorumbench::results::{Percentiles, decode_histogram};
use serde_json::Value as Json;
use support::desk::{Desk, whole};
use support::{measure, run_spec, spec, uring_works};

/// One command at a time.
const ONE_AT_A_TIME: &str = "[batch]\ncommands = 1\n[load]\narrival = 'closed'\noutstanding = 1";

fn shaped(cluster: &str, network: &str, more: &str) -> String {
    format!(
        "[cluster]\nelection_timeout = '1s'\nheartbeat = '100ms'\n{cluster}\n[network]\nemulation = 'shape'\n{network}\n\
         {more}\n[run]\nwarmup = '300ms'\nduration = '800ms'"
    )
}

/// The quickest answer, in milliseconds; recorded to three digits.
fn quickest_ms(outcome: &Outcome) -> f64 {
    let tally = outcome.recording.tally;
    assert!(tally.completed > 0 && tally.unanswered == 0, "{tally:?} {:?}", outcome.events);
    outcome.recording.response.min() as f64 / 1e6 * 1.001
}

fn a_commit_takes_its_ways(transport: &str) {
    let network = "delay = '5ms'\nclient_delay = '3ms'";
    let outcome = measure(&shaped(&format!("transport = '{transport}'"), network, ONE_AT_A_TIME), &[]);
    // To the leader and back, and between the two a round trip to the nearest follower.
    assert!(quickest_ms(&outcome) >= 3.0 + 10.0 + 3.0, "{}", quickest_ms(&outcome));
    assert!(outcome.lateness.len() > 4 * outcome.recording.tally.completed, "each frame was held");
}

#[test]
fn a_commit_takes_its_ways_over_mem() {
    a_commit_takes_its_ways("mem");
}

#[test]
fn a_commit_takes_its_ways_over_uring() {
    if uring_works() {
        a_commit_takes_its_ways("uring");
    }
}

#[test]
fn a_commit_takes_its_ways_over_tokio_tcp() {
    a_commit_takes_its_ways("tokio-tcp");
}

#[test]
fn a_commit_takes_its_ways_over_quic() {
    a_commit_takes_its_ways("quic");
}

#[test]
fn a_link_of_its_own_is_as_long_as_it_is_said_to_be() {
    for (links, least, shortest) in [
        ("[[links]]\nfrom = 'clients'\ndelay = '40ms'", 43.0, 3),
        ("[[links]]\nto = 'clients'\ndelay = '20ms'", 23.0, 3),
        ("[[links]]\nfrom = 0\ndelay = '1ms'\n[[links]]\nto = 'clients'\ndelay = '30ms'", 33.0, 1),
        ("[[links]]\nto = 0\ndelay = '4ms'\n[[links]]\nfrom = 0\ndelay = '4ms'", 8.0, 3),
    ] {
        let cluster = "transport = 'mem'\nprotocol = 'echo'";
        let spec = spec(&shaped(cluster, "delay = '9ms'\nclient_delay = '3ms'", &format!("{ONE_AT_A_TIME}\n{links}")));
        let ran = run_spec(&spec);
        let point = ran.finished.points.first().unwrap_or_else(|| panic!("{links}: {:?}", ran.finished.failure));
        assert!(point.response_ns.p50 as f64 * 1.001 >= least * 1e6, "{links}: {:?}", point.response_ns);
        let link = point.link.as_ref().expect("links are shaped");
        assert_eq!(Duration::from_nanos(link.shortest_ns), Duration::from_millis(shortest), "{links}");
    }
}

#[test]
fn across_regions_the_nearest_majority_decides() {
    let network = "client_delay = '0us'\nround_trips = 'a-b 10ms, a-c 30ms, b-c 50ms'";
    let outcome = measure(&shaped("transport = 'mem'", network, ONE_AT_A_TIME), &[]);
    let leader = outcome.events.iter().rfind(|event| event.kind == EventKind::Leader).expect("somebody leads");
    // From each leader to its nearest follower, and from region a, where the client is.
    let least = [10.0, 10.0 + 10.0, 30.0 + 30.0][leader.node.0 as usize];
    assert!(quickest_ms(&outcome) >= least, "{} with {leader:?}", quickest_ms(&outcome));
}

#[test]
fn a_narrow_link_is_the_limit() {
    let network = "delay = '0us'\nclient_delay = '0us'\nbandwidth = '200KB'";
    let load = "[batch]\ncommands = 1\n[load]\narrival = 'closed'\noutstanding = 64\npayload = '936B'";
    let outcome = measure(&shaped("transport = 'mem'\nprotocol = 'echo'", network, load), &[]);
    // From the client to the server: 200 kB in a second, and what was sent before the window and came in it.
    let bytes = 64 + 24 + 4 + 936;
    let most = (200_000 * 8 / 10) / bytes + 1;
    assert!((1..=most).contains(&outcome.recording.tally.completed), "{} of {most}", outcome.recording.tally.completed);
    assert_eq!(outcome.clients.counters.dropped_frames, 0, "within what a link holds");
}

#[test]
fn far_links_hold_all_that_may_be_in_flight() {
    let load = "[load]\narrival = 'closed'\noutstanding = 4096\n[batch]\nwindow = 256";
    for transport in ["mem", "tokio-tcp", "quic"] {
        let network = "delay = '20ms'\nclient_delay = '1ms'\njitter = '1ms'\njitter_distribution = 'pareto'";
        let outcome = measure(&shaped(&format!("transport = '{transport}'"), network, load), &[]);
        assert!(quickest_ms(&outcome) >= 42.0, "{transport}: {}", quickest_ms(&outcome));
        assert_eq!(outcome.replicas.counters.lost_connections, 0, "{transport}");
        // Over sockets, whoever is late to join is not sent what came before.
        let dropped = [outcome.replicas, outcome.clients].map(|usage| usage.counters.dropped_frames);
        assert!(transport != "mem" || dropped == [0, 0], "{dropped:?}");
    }
}

#[test]
fn faults_stand_on_top() {
    let at = Duration::from_millis;
    let slow = Fault::new(at(100), FaultKind::SlowLink { extra: at(3) }).lasting(at(50));
    let kill = Fault::new(at(200), FaultKind::Kill).lasting(at(20));
    let config = shaped(
        "transport = 'mem'",
        "delay = '2ms'\nclient_delay = '1ms'",
        "[load]\narrival = 'closed'\noutstanding = 8\nresend = '100ms'",
    );
    let config =
        config.replace("'1s'", "'60ms'").replace("'100ms'\ntransport", "'10ms'\ntransport").replace("800ms", "1200ms");
    let outcome = measure(&config, &[slow, kill]);
    let seen = |kind| outcome.events.iter().any(|event| event.kind == kind);
    assert!([EventKind::Slowed, EventKind::Recovered, EventKind::Killed, EventKind::Restarted].into_iter().all(seen));
    assert_eq!(outcome.recording.tally.unanswered, 0, "{:?}", outcome.events);
    assert!(outcome.recording.response.min() as f64 * 1.001 >= 6e6);
}

#[test]
fn results_say_what_was_asked_for_and_how_late_it_came() {
    let spec = spec(&shaped(
        "transport = 'mem'",
        "delay = ['0us', '4ms']\nclient_delay = '1ms'\njitter = '100us'",
        ONE_AT_A_TIME,
    ));
    let ran = run_spec(&spec);
    assert!(ran.finished.failure.is_none(), "{:?}", ran.finished.failure);
    assert_eq!(ran.finished.points.len(), 2);
    for point in &ran.finished.points {
        let axes = ["emulation", "delay", "client_delay", "jitter", "jitter_distribution"].map(|axis| point.axis(axis));
        assert_eq!([&axes[0], &axes[2], &axes[3], &axes[4]], ["shape", "1ms", "100us", "exponential"]);
        let link = point.link.as_ref().expect("links are shaped");
        assert_eq!(link.shortest_ns, 1_000_000);
        let late_ns = link.late_ns.expect("they hold");
        assert!(late_ns.count > 0 && late_ns.p50 > 0);
        let histogram = link.late_histogram.as_ref().expect("of that");
        assert_eq!(Percentiles::from(&decode_histogram(histogram).expect("a histogram")), late_ns);
    }
}

#[test]
fn processes_shape_what_they_send_too() {
    let network = "delay = '5ms'\nclient_delay = '3ms'";
    let config = shaped("transport = 'tokio-tcp'\nplacement = 'processes'", network, ONE_AT_A_TIME);
    let desk = Desk::new(&format!("name = 'far'\n{config}"));
    let said = desk.run(&["run", "x.toml", "--json", "--check"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let point = &whole(&said.out)["points"][0];
    assert!(point["response_ns"]["p50"].as_u64() >= Some(16_000_000), "{point}");
    let late = &point["link"]["late_ns"]["count"];
    assert!(late.as_u64() > point["commands"].as_u64().map(|commands| 4 * commands), "{point}");
    assert_eq!((&point["checked"], &point["errors"]), (&Json::from(true), &Json::from(0)), "{point}");
}
