//! What is measured of a fault, held to arithmetic: in virtual time it can be computed by hand.

mod support;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorumbench::drive::{self, Aftermath, EventKind, Fault, FaultKind, Outcome, Target};
use quorumbench::spec::Spec;
use quorumbench::warnings::warnings;

/// A command a millisecond, each in a slot of its own, a millisecond between any two replicas, and nothing else
/// that takes time.
const STEADY: &str = "
name = 'steady'
cluster = { transport = 'sim', election_timeout = '100ms', heartbeat = '10ms' }
batch = { commands = 1 }
load = { arrival = 'constant', rate = 1000, resend = '10ms' }
network = { delay = '1ms', client_delay = '0us' }
cost = { turn = '0us', frame = '0us', kib = '0us' }
run = { warmup = '500ms', duration = '3s' }
";

const MS: u64 = 1_000_000;
const AT: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn measure(set: &[&str], faults: &[Fault]) -> Outcome {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let spec = Spec::parse(STEADY, "steady.toml", &set).expect("a valid config");
    let (outcome, trace) =
        drive::measure_and_trace(&spec.points()[0], spec.run(), 1, faults, true, &AtomicBool::new(false), &mut |_| ())
            .expect("it runs");
    trace.verify(spec.points()[0].cluster.machine).expect("nothing that was answered is lost");
    assert_eq!(outcome.faults.len(), faults.len());
    outcome
}

/// What came of the only fault, which happened on time.
fn aftermath(set: &[&str], fault: Fault) -> Aftermath {
    let outcome = measure(set, &[fault]);
    let [aftermath] = outcome.faults[..] else { panic!("{:?}", outcome.faults) };
    assert_eq!(aftermath.at_ns, Some((AT.as_nanos() as u64).cast_signed()), "{aftermath:?}");
    let lasts = fault.lasts.map(|lasts| ((AT + lasts).as_nanos() as u64).cast_signed());
    assert_eq!(aftermath.until_ns, lasts, "{aftermath:?}");
    aftermath
}

fn is_within(measured: Option<u64>, least_ms: u64, most_ms: u64) -> bool {
    measured.is_some_and(|ns| (least_ms * MS..=most_ms * MS).contains(&ns))
}

/// Followers lose patience between one and two election timeouts after the last they heard, which was within a
/// command of the death; ballots, a client's patience and its search for the new leader come on top.
#[test]
fn a_leader_that_dies_costs_an_election_timeout_and_what_clients_take_to_notice() {
    for protocol in ["raft", "multipaxos", "zab"] {
        for timeout in [100, 300] {
            let set = [format!("protocol={protocol}"), format!("election_timeout={timeout}ms")];
            let after = aftermath(&set.each_ref().map(String::as_str), Fault::new(AT, FaultKind::Kill));
            assert!(is_within(after.leader_ns, timeout - 15, 2 * timeout + 30), "{protocol} {timeout}: {after:?}");
            let leader = after.leader_ns.expect("it was just looked at");
            assert!(is_within(after.gap_ns, leader / MS - 2, leader / MS + 35), "{protocol} {timeout}: {after:?}");
            // What was due meanwhile is answered in one go.
            let back = after.throughput_back_ns.expect("it comes back");
            assert!(back + 10 * MS > after.gap_ns.expect("seen") && back < leader + 100 * MS, "{after:?}");
            assert!(after.p99_back_ns > after.throughput_back_ns, "late answers count until they leave the span");
            assert!(after.unknown > 0 && after.unknown <= after.resent, "{after:?}");
            assert!(after.resent <= leader / MS + 60, "only what was sent to the dead: {after:?}");
        }
    }
}

#[test]
fn where_every_replica_leads_none_begins_to() {
    let after = aftermath(&["protocol=paxos"], Fault::new(AT, FaultKind::Kill).on(Target::Id(1)).lasting(ms(700)));
    assert_eq!(after.leader_ns, None, "it says that it leads as it comes back: {after:?}");
    assert!(after.catch_up_ns.is_some(), "{after:?}");
}

#[test]
fn of_two_pauses_the_second_begins_when_the_first_is_over() {
    let pause = |at| Fault::new(ms(at), FaultKind::Pause).on(Target::Id(2)).lasting(ms(200));
    let outcome = measure(&[], &[pause(1000), pause(1100)]);
    let times: Vec<_> = outcome.faults.iter().map(|fault| (fault.at_ns, fault.until_ns)).collect();
    let at = |at: u64| Some((at * MS).cast_signed());
    assert_eq!(times, [(at(1000), at(1200)), (at(1200), at(1400))]);
}

#[test]
fn a_dead_leader_that_returns_catches_up_on_what_it_missed() {
    let after = aftermath(&[], Fault::new(AT, FaultKind::Kill).lasting(ms(700)));
    // It is told within a heartbeat, and asks for what it lacks a few round trips long.
    assert!(is_within(after.catch_up_ns, 1, 60), "{after:?}");
    let missed = 1000 * 700 / 1000 - 250;
    assert!(after.catch_up_bytes.is_some_and(|bytes| bytes > missed * (64 + 16)), "{after:?}");
}

#[test]
fn a_partition_costs_what_a_death_does_and_ends_on_time() {
    let after = aftermath(&[], Fault::new(AT, FaultKind::Partition).lasting(ms(600)));
    assert!(is_within(after.leader_ns, 85, 230) && is_within(after.gap_ns, 85, 265), "{after:?}");
    assert!(after.catch_up_ns.is_some() && after.lag_slots.is_some_and(|lag| lag > 300), "{after:?}");
}

#[test]
fn a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on() {
    let after = aftermath(&[], Fault::new(AT, FaultKind::Pause).lasting(ms(600)));
    assert!(is_within(after.leader_ns, 85, 230) && is_within(after.gap_ns, 85, 265), "{after:?}");
    assert!(after.catch_up_ns.is_some(), "{after:?}");
}

#[test]
fn leadership_that_is_handed_over_costs_a_few_round_trips() {
    let after = aftermath(&[], Fault::new(AT, FaultKind::Transfer));
    assert!(is_within(after.leader_ns, 1, 6) && is_within(after.gap_ns, 1, 25), "{after:?}");
    assert_eq!((after.throughput_back_ns, after.until_ns), (Some(0), None), "{after:?}");
}

#[test]
fn a_follower_that_stands_still_costs_nothing_and_lags_by_what_was_decided_without_it() {
    let after = aftermath(&[], Fault::new(AT, FaultKind::Pause).on(Target::Follower).lasting(ms(300)));
    assert!(is_within(after.gap_ns, 1, 2), "a command a millisecond: {after:?}");
    assert_eq!((after.throughput_back_ns, after.p99_back_ns, after.leader_ns), (Some(0), Some(0), None));
    assert!(after.lag_slots.is_some_and(|lag| (290..=305).contains(&lag)), "{after:?}");
    assert_eq!((after.lag_grows, after.unknown, after.resent), (None, 0, 0), "{after:?}");
    assert!(is_within(after.catch_up_ns, 0, 30), "{after:?}");
}

#[test]
fn a_slow_link_adds_what_it_says_to_every_way_from_there() {
    let slow = |lasts: Option<Duration>| {
        let fault = Fault::new(AT, FaultKind::SlowLink { extra: ms(5) });
        let fault = Fault { lasts, ..fault };
        let outcome = measure(&["resend=100ms", "duration=4s"], &[fault]);
        // To a follower, and then to the client; the follower's answer takes what it did.
        let longest = outcome.recording.response.max() as f64 / 1e6;
        assert!((longest - 12.0).abs() < 0.1, "{longest} ms");
        outcome.faults[0]
    };
    let for_good = slow(None);
    assert_eq!((for_good.p99_back_ns, for_good.until_ns), (None, None), "{for_good:?}");
    let for_a_second = slow(Some(ms(1000)));
    // Its last late answers leave the span of a second.
    assert!(is_within(for_a_second.p99_back_ns, 2000, 2100), "{for_a_second:?}");
}

#[test]
fn a_slow_disk_adds_what_it_says_to_every_sync() {
    let fault = Fault::new(AT, FaultKind::SlowDisk { extra: ms(20) }).lasting(ms(500));
    let outcome = measure(&["replicas=1", "cost.sync=1ms", "rate=10"], &[fault]);
    let longest = outcome.recording.response.max() as f64 / 1e6;
    assert!((longest - 21.0).abs() < 0.1, "{longest} ms");
    assert!((outcome.recording.response.min() as f64 / 1e6 - 1.0).abs() < 0.1);
    let kinds: Vec<_> = outcome.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Leader, EventKind::Slowed, EventKind::Recovered]);
}

#[test]
fn a_slow_node_takes_as_many_times_as_long() {
    let fault = Fault::new(AT, FaultKind::Slow { factor: 10 });
    let outcome = measure(&["protocol=echo", "cost.turn=1ms", "rate=10", "resend=1s"], &[fault]);
    // A turn of the client to send, and one of the server.
    let at = |quantile| outcome.recording.response.value_at_quantile(quantile) as f64 / 1e6;
    let (first_second, later) = (at(0.2), at(0.6));
    assert!((first_second - 2.0).abs() < 0.1 && (later - 11.0).abs() < 0.1, "{first_second}, {later} ms");
}

/// What the slowed follower's cluster is told, at a load that it can or cannot carry.
fn of_a_slow_follower(cost: &str) -> (Aftermath, Vec<String>) {
    let set = [cost, "duration=4s", "resend=1s"];
    let outcome = measure(&set, &[Fault::new(AT, FaultKind::Slow { factor: 10 }).on(Target::Follower)]);
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let spec = Spec::parse(STEADY, "steady.toml", &set).expect("a valid config");
    let said = warnings(&spec.points()[0], &outcome, None, [0.0; 2]).into_iter().map(|warning| warning.to_string());
    (outcome.faults[0], said.filter(|warning| warning.starts_with("lag_grows: ")).collect())
}

#[test]
fn a_follower_that_keeps_up_is_not_said_to_fall_behind() {
    // Ten times 10 us are well within a millisecond.
    let (after, said) = of_a_slow_follower("cost.turn=10us");
    assert_eq!((after.lag_grows, said.len()), (Some(false), 0), "{after:?}");
    assert!(after.lag_slots.is_some_and(|lag| lag < 10), "{after:?}");
}

#[test]
fn a_follower_that_cannot_keep_up_is_said_to_fall_behind() {
    // A slot's frame takes it 1.3 ms, so that of each 1000 it takes less than 800. The leader handles six in 0.78 ms.
    let (after, said) = of_a_slow_follower("cost.frame=130us");
    assert_eq!((after.lag_grows, said.len()), (Some(true), 1), "{after:?}");
    assert!(after.lag_slots.is_some_and(|lag| lag > 3 * 200), "{after:?}");
    assert!(said[0].contains("slots behind and still fell back"), "{said:?}");
}

/// A slot is a batch of one: a head, a length, 16 bytes.
#[test]
fn what_a_dead_follower_lacks_is_kept_until_a_snapshot_stands_for_it() {
    for protocol in ["raft", "multipaxos", "zab"] {
        let kept = |slots: &str| {
            let set = [&*format!("protocol={protocol}"), slots];
            let outcome = measure(&set, &[Fault::new(AT, FaultKind::Kill).on(Target::Follower)]);
            let snapshots = outcome.totals.iter().map(|stats| stats.snapshots).max();
            (outcome.faults[0].others_kept_bytes.expect("it is known"), snapshots)
        };
        let ((all, none), (some, many)) = (kept("snapshot_slots=100_000"), kept("snapshot_slots=100"));
        assert!(all > 1950 * 44 && none == Some(0), "{protocol}: {all} {none:?}");
        assert!(some < 400 * 44 && many > Some(5), "{protocol}: {some} {many:?}");
    }
}

#[test]
fn faults_of_a_crash_loop_answer_for_their_own_time() {
    let times = [1000, 1500, 2000].map(|at| Fault::new(ms(at), FaultKind::Restart).on(Target::Follower));
    let outcome = measure(&[], &times);
    let at: Vec<_> = outcome.faults.iter().map(|fault| fault.at_ns.expect("it happened") / MS.cast_signed()).collect();
    assert_eq!(at, [1000, 1500, 2000]);
    for fault in &outcome.faults {
        assert!(fault.until_ns == fault.at_ns && is_within(fault.gap_ns, 1, 2), "{fault:?}");
    }
}

/// The second fault must wait for a leader, whom only the end of the first one makes possible.
#[test]
fn a_fault_that_waits_does_not_hold_up_the_end_of_another() {
    let kill = |at, target| Fault::new(ms(at), FaultKind::Kill).on(target);
    let outcome = measure(
        &["resend=50ms"],
        &[
            kill(1000, Target::Follower).lasting(ms(600)),
            kill(1010, Target::Leader),
            kill(1020, Target::Leader).lasting(ms(200)),
        ],
    );
    let began: Vec<_> =
        outcome.faults.iter().map(|fault| fault.at_ns.expect("it happened") / MS.cast_signed()).collect();
    assert!(began[0] == 1000 && began[1] == 1010 && began[2] > 1600, "{began:?}");
    assert_eq!(outcome.recording.tally.unanswered, 0);
}

/// It is back after 200 ms, and still cut off for 300 more.
#[test]
fn who_is_back_from_a_death_is_as_cut_off_as_before() {
    let cut_off = Fault::new(AT, FaultKind::Partition).on(Target::Id(2)).lasting(ms(600));
    let kill = Fault::new(AT + ms(100), FaultKind::Kill).on(Target::Id(2)).lasting(ms(200));
    let outcome = measure(&["election_timeout=1s"], &[cut_off, kill]);
    let at = |kind: &dyn Fn(EventKind) -> bool| {
        let at = outcome.events.iter().filter(|event| event.at_ns > 0 && kind(event.kind)).map(|event| event.at_ns);
        at.map(|at| at / MS.cast_signed()).collect::<Vec<_>>()
    };
    assert_eq!(at(&|kind| kind == EventKind::Isolated), [1000, 1300]);
    assert_eq!(
        (at(&|kind| kind == EventKind::Restarted), at(&|kind| kind == EventKind::Healed)),
        (vec![1300], vec![1600])
    );
    let caught_up = at(&|kind| matches!(kind, EventKind::CaughtUp { .. }));
    assert!(caught_up.iter().all(|&at| at > 1600), "{caught_up:?}");
}

#[test]
fn the_same_seed_gives_the_same_aftermath() {
    let any = Fault::new(AT, FaultKind::Kill).on(Target::Any).lasting(ms(300));
    let run = || measure(&["network.jitter=200us"], &[any]).faults;
    assert_eq!(run(), run());
}

#[test]
fn a_fault_that_finds_nobody_is_said_not_to_have_happened() {
    let nobody = Fault::new(ms(1500), FaultKind::Kill).on(Target::Id(0));
    let outcome = measure(&["replicas=5"], &[Fault::new(AT, FaultKind::Kill).on(Target::Id(0)), nobody]);
    let [first, second] = outcome.faults[..] else { panic!("two") };
    assert!(first.at_ns.is_some() && first.gap_ns.is_some());
    assert_eq!((second.node, second.at_ns, second.gap_ns), (None, None, None));
}
