//! Every reason to doubt a number is given when there is one, and not otherwise.

mod support;

use quorumbench::drive::{Effort, Event, EventKind, Memory, Outcome, PacketsReport, Usage};
use quorumbench::measure::{INTERVAL_NS, Interval, Recording, Tally, histogram};
use quorumbench::node::NodeStats;
use quorumbench::spec::Point;
use quorumbench::warnings::warnings;
use quorumbench_protocols::NodeId;
use support::{measure, spec};

const SECONDS: u64 = 6;
const PER_SECOND: u64 = 60_000;
const COMMANDS: u64 = SECONDS * PER_SECOND;

fn open() -> Point {
    spec(&format!("load.arrival = 'poisson'\nload.rate = {PER_SECOND}")).points().remove(0)
}

fn closed(wait: &str) -> Point {
    spec(&format!("load.arrival = 'closed'\ncluster.wait = '{wait}'")).points().remove(0)
}

/// What a point yields about which there is nothing to say: each command takes a tenth of a millisecond.
fn healthy() -> Outcome {
    let service_ns = 100_000;
    let (mut times, mut lags, mut each) = (histogram(), histogram(), histogram());
    times.record_n(service_ns, COMMANDS).expect("in range");
    lags.record_n(2_000, COMMANDS).expect("in range");
    each.record_n(service_ns, PER_SECOND).expect("in range");
    let in_flight_ns = u128::from(COMMANDS * service_ns);
    let tally = Tally {
        sent: COMMANDS,
        intended: COMMANDS,
        completed: COMMANDS,
        in_flight_ns,
        service_sum_ns: in_flight_ns,
        ..Tally::default()
    };
    let interval = Interval { completed: PER_SECOND, response: each };
    Outcome {
        recording: Recording {
            response: times.clone(),
            service: times,
            send_lag: lags,
            intervals: vec![interval; SECONDS as usize],
            tally,
            timeline: None,
        },
        replicas: Usage::default(),
        clients: Usage::default(),
        memory: Memory::default(),
        process_cpu_ns: 0,
        busiest: NodeStats::default(),
        together: NodeStats::default(),
        totals: vec![NodeStats::default()],
        groups_led: vec![[1, 1]],
        log_writes: histogram(),
        lateness: histogram(),
        packets: None,
        events: vec![Event { at_ns: -5, kind: EventKind::Leader, node: NodeId(0) }],
        faults: Vec::new(),
        cores: 64,
        window_closed: std::time::SystemTime::now(),
        window_ns: SECONDS * INTERVAL_NS,
    }
}

/// The codes of what is said of an outcome, but for what is true of every short test in a debug build.
fn codes(point: &Point, outcome: &Outcome) -> Vec<String> {
    let said = warnings(point, outcome, None, [60.0, 70.0]).into_iter().map(|warning| warning.to_string());
    let codes = said.map(|text| text.split_once(": ").expect("a code, a colon, and words").0.to_owned());
    codes.filter(|code| !["debug_build", "too_few_samples"].contains(&code.as_str())).collect()
}

/// What is said of a healthy outcome after `spoil` has had its way with it.
fn said(point: &Point, spoil: impl FnOnce(&mut Outcome)) -> Vec<String> {
    let mut outcome = healthy();
    spoil(&mut outcome);
    codes(point, &outcome)
}

#[test]
fn a_healthy_point_is_not_doubted() {
    assert_eq!(codes(&open(), &healthy()), [""; 0]);
    assert_eq!(codes(&closed("block"), &healthy()), [""; 0]);
}

#[test]
fn less_answered_than_offered_is_overloaded() {
    let fewer =
        |share: f64| move |outcome: &mut Outcome| outcome.recording.tally.completed = (COMMANDS as f64 * share) as u64;
    // The books no longer balance either, which is another warning's business.
    let overloaded = |point: &Point, share| said(point, fewer(share)).contains(&"overloaded".to_owned());
    assert!(overloaded(&open(), 0.98) && overloaded(&open(), 0.0));
    assert!(!overloaded(&open(), 0.995));
    assert!(!overloaded(&closed("block"), 0.5), "a closed loop offers nothing");
    // Few arrivals at random: 3 of 400 missing is chance.
    let few = spec("load.arrival = 'poisson'\nload.rate = 66").points().remove(0);
    let chance = |outcome: &mut Outcome| {
        (outcome.recording.tally.intended, outcome.recording.tally.completed) = (396, 391);
    };
    assert!(!said(&few, chance).contains(&"overloaded".to_owned()));
}

#[test]
fn a_generator_that_sends_late_is_the_limit() {
    let lag = |lag_ns: u64, commands: u64| {
        move |outcome: &mut Outcome| {
            outcome.recording.send_lag.reset();
            outcome.recording.send_lag.record_n(2_000, COMMANDS - commands).expect("in range");
            outcome.recording.send_lag.record_n(lag_ns, commands).expect("in range");
        }
    };
    assert_eq!(said(&open(), lag(60_000, COMMANDS / 50)), ["generator_limited"]);
    assert_eq!(said(&open(), lag(45_000, COMMANDS / 50)), [""; 0], "under 50 us is nothing");
    assert_eq!(said(&open(), lag(60_000, COMMANDS / 200)), [""; 0], "the p99 counts");
    let linger = spec(&format!("load.rate = {PER_SECOND}\nbatch.linger = '20us'")).points().remove(0);
    assert_eq!(said(&linger, lag(65_000, COMMANDS / 50)), [""; 0], "what was asked to wait is not late");
    assert_eq!(said(&linger, lag(75_000, COMMANDS / 50)), ["generator_limited"]);
    let slow_system = |outcome: &mut Outcome| {
        lag(60_000, COMMANDS / 50)(outcome);
        outcome.recording.response.reset();
        outcome.recording.response.record_n(1_000_000, COMMANDS).expect("in range");
    };
    assert_eq!(said(&open(), slow_system), [""; 0], "under a tenth of the median it does not matter");
}

#[test]
fn a_mover_without_cpu_time_left_or_room_is_the_limit() {
    let moved = |share: f64, overrun: u64| {
        let cpu_ns = (share * (SECONDS * INTERVAL_NS) as f64) as u64;
        move |outcome: &mut Outcome| {
            outcome.packets = Some(PacketsReport { links: Vec::new(), effort: Some(Effort { cpu_ns, overrun }) });
        }
    };
    assert_eq!(said(&open(), moved(0.85, 0)), [""; 0]);
    assert_eq!(said(&open(), moved(0.95, 0)), ["link_limited"]);
    assert_eq!(said(&open(), moved(0.1, 1)), ["link_limited"]);
    for wait in ["spin", "yield"] {
        assert_eq!(said(&closed(wait), moved(1.0, 0)), [""; 0], "it was told to {wait}");
    }
}

#[test]
fn a_generator_without_cpu_time_left_is_the_limit() {
    let busy = |share: f64| {
        move |outcome: &mut Outcome| outcome.clients.busiest_cpu_ns = (outcome.window_ns as f64 * share) as u64
    };
    assert_eq!(said(&closed("block"), busy(0.95)), ["generator_limited"]);
    assert_eq!(said(&closed("block"), busy(0.85)), [""; 0]);
    assert_eq!(said(&open(), busy(0.95)), ["generator_limited"], "in an open loop too");
    for wait in ["spin", "yield"] {
        assert_eq!(said(&closed(wait), busy(1.0)), [""; 0], "who polls is always busy");
    }
}

#[test]
fn books_that_do_not_balance_are_noticed() {
    for (factor, expected) in [(90, true), (97, false), (103, false), (110, true)] {
        let said = said(&closed("block"), |outcome| {
            let tally = &mut outcome.recording.tally;
            tally.service_sum_ns = tally.in_flight_ns * factor / 100;
        });
        assert_eq!(said == ["littles_law"], expected, "{factor} %: {said:?}");
    }
}

#[test]
fn throughput_that_never_settles_is_noticed() {
    let said = said(&closed("block"), |outcome| {
        for (second, interval) in outcome.recording.intervals.iter_mut().enumerate() {
            interval.completed = 10_000 << second;
        }
    });
    assert_eq!(said, ["no_steady_state"]);
}

#[test]
fn what_went_wrong_is_said() {
    let tally = |change: fn(&mut Tally)| said(&open(), |outcome| change(&mut outcome.recording.tally));
    assert_eq!(tally(|tally| tally.late = 1), ["late"]);
    assert_eq!(tally(|tally| tally.unanswered = 1), ["unanswered"]);
    assert_eq!(said(&open(), |outcome| outcome.replicas.counters.dropped_frames = 1), ["dropped_frames"]);
    assert_eq!(said(&open(), |outcome| outcome.clients.counters.dropped_frames = 1), ["dropped_frames"]);
    assert_eq!(said(&open(), |outcome| outcome.replicas.counters.strangers = 1), ["disturbed"]);
    assert_eq!(said(&open(), |outcome| outcome.clients.counters.lost_connections = 1), ["disturbed"]);
    assert_eq!(said(&open(), |outcome| outcome.totals[0].malformed = 1), ["disturbed"]);
    assert_eq!(said(&open(), |outcome| outcome.events[0].at_ns = 5), ["leader_changed"]);
    assert_eq!(said(&open(), |outcome| outcome.cores = 1), ["shared_cores"]);
    for (wait, advised) in [("block", false), ("yield", false), ("spin", true)] {
        let shared = Outcome { cores: 1, ..healthy() };
        let said: Vec<_> = warnings(&closed(wait), &shared, None, [60.0; 2]).iter().map(ToString::to_string).collect();
        let shared = said.iter().find(|said| said.starts_with("shared_cores: ")).expect("it is");
        assert_eq!(shared.contains("\"yield\""), advised, "{wait}: {shared}");
    }
    let moved = warnings(&open(), &healthy(), None, [60.0, 300.0]);
    assert!(moved.iter().any(|warning| warning.to_string().starts_with("cores_moved: ")));
}

#[test]
fn a_link_that_is_longer_than_it_was_to_be_is_noticed() {
    let shaped = |delay: &str| {
        let regions = "round_trips = 'a-b 1ms, a-c 1ms, b-c 1ms'";
        spec(&format!("[network]\nemulation = 'shape'\nclient_delay = '{delay}'\n{regions}")).points().remove(0)
    };
    let late = |outcome: &mut Outcome| outcome.lateness.record_n(45_000, 1000).expect("in range");
    assert_eq!(said(&shaped("400us"), late), ["coarse_link"]);
    assert_eq!(said(&shaped("500us"), late), [""; 0], "half of a round trip is as short");
    assert_eq!(said(&shaped("0us"), late), [""; 0], "what is no way is not to be kept to");
}

#[test]
fn percentiles_with_too_few_samples_are_named() {
    let said = warnings(&open(), &healthy(), None, [0.0; 2]);
    let text = said.iter().map(ToString::to_string).find(|text| text.starts_with("too_few_samples: "));
    assert_eq!(text.as_deref(), Some("too_few_samples: p99.9, p99.99 from 360000 commands"));
}

/// Far more than any machine carries: the cluster falls behind and says so, and every command that
/// was due is in the percentiles all the same.
#[test]
fn a_flood_overloads() {
    let lines = "[cluster]\nprotocol = 'raft'\ntransport = 'mem'\n[load]\narrival = 'constant'\nrate = 200_000_000\nin_flight_limit = 2000\nresend = '500ms'\n[run]\nwarmup = '0ms'\nduration = '20ms'";
    let outcome = measure(lines, &[]);
    let codes = codes(&spec(lines).points()[0], &outcome);
    for code in ["overloaded", "late"] {
        assert!(codes.contains(&code.to_owned()), "{code}: {codes:?}");
    }
    assert_eq!(outcome.recording.response.len(), outcome.recording.tally.intended);
    assert!(outcome.recording.tally.intended.abs_diff(4_000_000) <= 1, "{}", outcome.recording.tally.intended);
}

/// Nothing limits what is in flight and the server only echoes, so it is the client that cannot send
/// a command every ten nanoseconds.
#[test]
fn a_starved_generator_says_so() {
    let lines = "[cluster]\nprotocol = 'echo'\nreplicas = 1\ntransport = 'mem'\n[load]\narrival = 'constant'\nrate = 100_000_000\npayload = '0B'\nin_flight_limit = 16_000_000\nresend = '30s'\n[batch]\ncommands = 4096\n[run]\nwarmup = '0ms'\nduration = '10ms'";
    let outcome = measure(lines, &[]);
    let codes = codes(&spec(lines).points()[0], &outcome);
    assert!(codes.contains(&"generator_limited".to_owned()), "{codes:?}");
    assert_eq!(outcome.recording.tally.late, 0, "it was not the cap");
}
