//! The virtual world is held to arithmetic: what can be computed by hand must come out.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorumbench::drive::{self, Event, EventKind, Fault, FaultKind, Outcome};
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
    measure_through(config, seed, set, &[])
}

fn measure_through(config: &str, seed: u64, set: &[&str], faults: &[Fault]) -> Outcome {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let spec = Spec::parse(config, "virtual.toml", &set).expect("a valid config");
    let point = &spec.points()[0];
    drive::measure(point, spec.run(), seed, faults, &AtomicBool::new(false), &mut |_| ()).expect("it runs")
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
fn a_link_may_be_longer_than_the_way_back() {
    let with = |protocol: &str, links: &str| {
        p50_ms(&measure_with(&format!("{ONE_AT_A_TIME}{links}"), 1, &[&format!("protocol={protocol}")]))
    };
    let late = |from: &str, to: &str| format!("[[links]]\nfrom = {from}\nto = {to}\ndelay = '20ms'\n");
    is_about(with("echo", &late("'clients'", "0")), 20.0);
    is_about(with("echo", &late("0", "'clients'")), 20.0);
    is_about(with("echo", &(late("'any'", "0") + &late("0", "'any'"))), 40.0);
    // The leader of a star is the first. It needs one of the two others, however far the other one is.
    is_about(with("star", &late("0", "2")), 6.0);
    is_about(with("star", &(late("0", "2") + &late("1", "'replicas'"))), 23.0);
    is_about(with("star", &(late("0", "'replicas'") + &late("'replicas'", "0"))), 40.0);
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
fn a_commit_waits_for_the_slower_of_the_leaders_disk_and_a_followers_answer() {
    // The leader's disk works while its append is on the way, so a commit takes max(f, 2d + f) = 2d + f.
    for (delay, sync, expected) in [("3ms", "2ms", 8.0), ("3ms", "10ms", 16.0), ("0us", "7ms", 7.0)] {
        let set = [format!("delay={delay}"), format!("cost.sync={sync}"), "protocol=raft".into()];
        let set = set.each_ref().map(String::as_str);
        is_about(p50_ms(&measure(&set)), expected);
        is_about(p50_ms(&measure(&[&set[..2], &["protocol=star"]].concat())), expected);
    }
    is_about(p50_ms(&measure(&["replicas=1", "cost.sync=7ms"])), 7.0);
    is_about(p50_ms(&measure(&["protocol=echo", "cost.sync=7ms", "client_delay=5ms"])), 10.0);
}

#[test]
fn with_group_commit_the_window_is_the_limit_and_not_the_syncs() {
    // All that the window holds is written in one turn, and shares its syncs.
    let set = ["cost.sync=4ms", "commands=8", "outstanding=512", "window=64", "delay=3ms"];
    let per_s = measure(&set).recording.tally.completed as f64 / 2.0;
    is_about(per_s, 64.0 * 8.0 / (2.0 * 0.003 + 0.004));
}

#[test]
fn what_comes_during_a_sync_waits_for_it_and_then_takes_one_itself() {
    // At any time in a sync, evenly: half a sync on average, and then a whole one.
    let set = ["arrival=constant", "rate=10_000", "window=1024", "delay=0us", "cost.sync=10ms"];
    let outcome = measure(&set);
    is_about(outcome.recording.tally.completed as f64 / 2.0, 10_000.0);
    is_about(outcome.recording.response.mean() / 1e6, 15.0);
    is_about(outcome.recording.response.max() as f64 / 1e6, 20.0);
}

#[test]
fn a_slow_disk_is_the_limit() {
    let outcome = measure(&["disk_bandwidth=10MB", "payload=936B", "outstanding=64", "window=64", "delay=0us"]);
    is_about(outcome.recording.tally.completed as f64 / 2.0, 10_000_000.0 / (64.0 + 24.0 + 4.0 + 936.0));
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

#[test]
fn jitter_is_distributed_as_it_is_told_to_be() {
    // Two ways of 1 ms of jitter each, on average, between a client and a server that does nothing.
    let way = |distribution: &str| measure(&["protocol=echo", "jitter=1ms", distribution]).recording.response;
    for distribution in ["uniform", "normal", "exponential", "pareto"] {
        let response = way(&format!("jitter_distribution={distribution}"));
        assert!((response.mean() / 2e6 - 1.0).abs() < 0.1, "{distribution}: {}", response.mean());
    }
    assert!(way("jitter_distribution=uniform").max() <= 4_010_000);
    assert!(way("jitter_distribution=pareto").max() > 10_000_000);
}

#[test]
fn what_is_held_back_is_late_and_not_lost() {
    let set = ["reorder=0.2", "reorder_delay=5ms", "protocol=echo", "client_delay=1ms"];
    let outcome = measure(&set);
    assert_eq!((outcome.recording.tally.unanswered, outcome.replicas.counters.dropped_frames), (0, 0));
    // In time on both ways, or late on one of them, or on both.
    let shares = [(0.5, 2e6), (0.8, 7e6), (0.99, 12e6)];
    shares.into_iter().for_each(|(quantile, ns)| {
        is_about(outcome.recording.response.value_at_quantile(quantile) as f64, ns);
    });
}

/// 100 ms into the window.
const AT: Duration = Duration::from_millis(100);

/// What happens in a cluster of five to which this is done; nothing that was asked is lost.
fn events(faults: &[Fault]) -> Vec<Event> {
    let set = ["replicas=5", "arrival=poisson", "rate=1000", "resend=50ms", "cost.sync=1ms"];
    let outcome = measure_through(ONE_AT_A_TIME, 1, &set, faults);
    assert_eq!(outcome.recording.tally.unanswered, 0, "{faults:?}");
    outcome.events.into_iter().filter(|event| event.at_ns >= 0).collect()
}

#[test]
fn leaders_die_for_good_one_after_the_other() {
    let events = events(&[Fault::new(AT, FaultKind::Kill); 2]);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Killed, EventKind::Leader, EventKind::Killed, EventKind::Leader], "{events:?}");
    assert_eq!(events[0].at_ns, 100_000_000);
    assert_eq!(events[1].node, events[2].node, "the second fault waits for a leader");
    assert!(events[1].at_ns > events[0].at_ns + 300_000_000, "nobody loses patience sooner: {events:?}");
    assert!(events[0].node != events[1].node && events[2].node != events[3].node, "{events:?}");
    assert_ne!(events[0].node, events[3].node, "the dead stay dead");
}

#[test]
fn a_leader_that_was_down_comes_back_on_time() {
    let events = events(&[Fault::new(AT, FaultKind::Kill).lasting(Duration::from_millis(50))]);
    let [killed, restarted, ..] = events[..] else { panic!("{events:?}") };
    assert_eq!((killed.kind, restarted.kind, killed.node), (EventKind::Killed, EventKind::Restarted, restarted.node));
    assert_eq!(restarted.at_ns, killed.at_ns + 50_000_000);
}

#[test]
fn leadership_is_handed_over_without_waiting_for_anybodys_patience() {
    let events = events(&[Fault::new(AT, FaultKind::Transfer)]);
    let [asked, leads] = events[..] else { panic!("{events:?}") };
    assert_eq!((asked.kind, leads.kind), (EventKind::Transfer, EventKind::Leader));
    assert_eq!(leads.node.0, (asked.node.0 + 1) % 5);
    assert!(leads.at_ns - asked.at_ns < 50_000_000, "a few round trips and syncs: {events:?}");
}

/// Five replicas, one of which proposes. Both phases and the news are five messages to or from each of the others.
#[test]
fn a_decision_of_paxos_takes_two_round_trips_and_one_round() {
    let outcome = measure(&["protocol=paxos", "replicas=5"]);
    is_about(p50_ms(&outcome), 2.0 * 6.0);
    let slots = outcome.busiest.slots as f64;
    is_about(outcome.together.rounds as f64 / slots, 1.0);
    // The heartbeats, of each replica to one other, take their share.
    let heartbeats = 5.0 * 2.0 / 0.05;
    is_about(outcome.together.messages as f64, slots * 20.0 + heartbeats);
}

#[test]
fn proposers_that_compete_need_more_rounds() {
    let rounds = |proposers: &str| {
        let outcome =
            measure(&["protocol=paxos", "replicas=5", "clients=5", "outstanding=5", proposers, "backoff=12ms"]);
        assert_eq!(outcome.recording.tally.unanswered, 0);
        outcome.together.rounds as f64 / outcome.busiest.slots as f64
    };
    is_about(rounds("proposers=1"), 1.0);
    let (two, five) = (rounds("proposers=2"), rounds("proposers=5"));
    assert!(two > 1.05 && five > 1.05, "{two} and {five} rounds");
}
