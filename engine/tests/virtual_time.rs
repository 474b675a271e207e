//! The virtual world is held to arithmetic: what can be computed by hand must come out.

use std::sync::atomic::AtomicBool;

use quorumbench::drive::{self, EventKind, Outcome};
use quorumbench::spec::Spec;

/// One command at a time, one per batch, on nodes whose work costs nothing.
const ONE_AT_A_TIME: &str = "
name = 'virtual'
cluster = { transport = 'sim' }
batch = { commands = 1 }
load = { arrival = 'closed', outstanding = 1 }
network = { delay = '3ms', client_delay = '0us' }
cost = { turn = '0us', frame = '0us', kib = '0us' }
run = { warmup = '500ms', duration = '2s' }
";

fn measure_with(config: &str, seed: u64, set: &[&str]) -> Outcome {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let spec = Spec::parse(config, "virtual.toml", &set).expect("a valid config");
    let point = &spec.points()[0];
    drive::measure(point, spec.run(), seed, &[], &AtomicBool::new(false), &mut |_| ()).expect("it runs")
}

fn measure(set: &[&str]) -> Outcome {
    measure_with(ONE_AT_A_TIME, 1, set)
}

fn p50_ms(outcome: &Outcome) -> f64 {
    outcome.recording.response.value_at_quantile(0.5) as f64 / 1e6
}

/// Within 1 %.
fn is_about(measured: f64, computed: f64) {
    assert!((measured / computed - 1.0).abs() < 0.01, "{measured} is not about {computed}");
}

#[test]
fn a_commit_takes_one_round_trip_and_a_client_beside_the_leader_sees_it_then() {
    for replicas in ["replicas=3", "replicas=5", "replicas=7"] {
        for protocol in ["protocol=raft", "protocol=star"] {
            is_about(p50_ms(&measure(&[replicas, protocol])), 6.0);
        }
    }
}

#[test]
fn a_client_further_away_waits_for_its_own_round_trip_too() {
    is_about(p50_ms(&measure(&["client_delay=5ms"])), 6.0 + 10.0);
    is_about(p50_ms(&measure(&["client_delay=5ms", "protocol=echo"])), 10.0);
}

#[test]
fn across_regions_the_nearest_majority_decides() {
    let round_trips = "round_trips='a-b 20ms, a-c 60ms, b-c 90ms'";
    // From each leader to its nearest follower, and from region a, where the client is.
    let expected = [20.0, 20.0 + 20.0, 60.0 + 60.0];
    for seed in 0..8 {
        let outcome = measure_with(ONE_AT_A_TIME, seed, &[round_trips, "election_timeout=1s", "heartbeat=100ms"]);
        let leader = outcome.events.iter().rfind(|event| event.kind == EventKind::Leader).expect("somebody leads");
        // The client's own region is no distance away: its delay within the region is none.
        is_about(p50_ms(&outcome), expected[leader.node.0 as usize]);
    }
}

#[test]
fn work_takes_the_time_that_it_costs() {
    let outcome = measure(&["cost.turn=1ms", "network.delay=10ms", "protocol=echo"]);
    // One turn of the client and one of the server, and no way between them.
    is_about(p50_ms(&outcome), 2.0);
    is_about(outcome.replicas.cpu_ns as f64, outcome.clients.cpu_ns as f64);
}

#[test]
fn a_narrow_link_is_the_limit() {
    // A slot of 1 KiB and its heads cross two links to the followers at 100 kB/s each.
    let outcome = measure(&["bandwidth=100KB", "payload=936B", "outstanding=64", "window=64", "delay=0us"]);
    let per_s = outcome.recording.tally.completed as f64 / 2.0;
    // The heartbeats, twenty a second, take their share.
    is_about(per_s, (100_000.0 - 20.0 * 64.0) / (64.0 + 24.0 + 4.0 + 936.0));
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_seed_another() {
    let set = ["jitter=1ms", "loss=0.01", "arrival=poisson", "rate=2000", "resend=50ms"];
    let fingerprint = |seed| {
        let outcome = measure_with(ONE_AT_A_TIME, seed, &set);
        let histogram: Vec<_> = outcome.recording.response.iter_recorded().map(|at| at.value_iterated_to()).collect();
        (histogram, outcome.recording.tally, outcome.replicas.counters, outcome.events)
    };
    assert_eq!(fingerprint(1), fingerprint(1));
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn lost_frames_delay_and_lose_nothing() {
    let outcome = measure(&["loss=0.05", "resend=40ms", "outstanding=16", "window=16"]);
    assert_eq!(outcome.recording.tally.unanswered, 0);
    assert!(outcome.recording.tally.completed > 500, "{:?}", outcome.recording.tally);
    assert!(outcome.replicas.counters.dropped_frames > 0);
    assert!(outcome.recording.response.max() > 2 * outcome.recording.response.value_at_quantile(0.5));
}

/// Five replicas, one of which proposes. Both phases and the news are five messages to or from each of the others;
/// one more is the answer to the client.
#[test]
fn a_decision_of_paxos_takes_two_round_trips_and_one_round() {
    let outcome = measure(&["protocol=paxos", "replicas=5"]);
    is_about(p50_ms(&outcome), 2.0 * 6.0);
    let slots = outcome.busiest.slots as f64;
    is_about(outcome.replicas.rounds as f64 / slots, 1.0);
    // The heartbeats, of each replica to one other, take their share.
    let heartbeats = 5.0 * 2.0 / 0.05;
    is_about(outcome.replicas.counters.sent_frames as f64, slots * 21.0 + heartbeats);
}

#[test]
fn proposers_that_compete_need_more_rounds() {
    let rounds = |proposers: &str| {
        let outcome =
            measure(&["protocol=paxos", "replicas=5", "clients=5", "outstanding=5", proposers, "backoff=12ms"]);
        assert_eq!(outcome.recording.tally.unanswered, 0);
        outcome.replicas.rounds as f64 / outcome.busiest.slots as f64
    };
    is_about(rounds("proposers=1"), 1.0);
    let (two, five) = (rounds("proposers=2"), rounds("proposers=5"));
    assert!(two > 1.05 && five > 1.05, "{two} and {five} rounds");
}
