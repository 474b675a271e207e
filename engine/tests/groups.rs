//! Many consensus groups over the same nodes: each is whole on its own, and nothing that was acknowledged is lost, whatever
//! they share.

mod support;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorumbench::check::witness::Trace;
use quorumbench::drive::{self, EventKind, Fault, FaultKind, Outcome, Target};
use quorumbench::run::{self, Experiment};
use quorumbench::spec::{ProtocolName, Spec};
use support::desk::{Desk, PROGRAM, fails};
use support::{points_on_disk, uring_works};

const GROUPS: u32 = 8;

/// Eight groups on three replicas, with clients that often touch the same keys.
const CONFIG: &str = "name = 'groups'
    [cluster]
    groups = 8
    machine = 'kv'
    transport = 'sim'
    election_timeout = '300ms'
    heartbeat = '30ms'
    [load]
    arrival = 'closed'
    outstanding = 64
    clients = 3
    payload = '12B'
    reads = 0.5
    keys = 'uniform:50'
    resend = '150ms'
    [batch]
    commands = 4
    [network]
    client_delay = '2ms'
    [run]
    warmup = '50ms'
    duration = '300ms'";

/// A traced run of the only point, in which every group holds, and orders more than what clients searched with.
fn held(set: &[&str], faults: &[Fault]) -> (Outcome, Trace) {
    let overrides: Vec<_> = set.iter().map(ToString::to_string).collect();
    let spec = Spec::parse(CONFIG, "groups.toml", &overrides).unwrap_or_else(|error| panic!("{error}"));
    let [point] = &spec.points()[..] else { panic!("one point") };
    let (outcome, trace) =
        drive::measure_and_trace(point, spec.run(), 1, faults, true, &AtomicBool::new(false), &mut |_| ())
            .unwrap_or_else(|error| panic!("{set:?}: {error}"));
    trace.verify(point.cluster.machine).unwrap_or_else(|breach| panic!("{set:?}: {breach}: {:?}", outcome.events));
    for group in 0..point.cluster.groups {
        let ordered = trace.replicas.iter().filter(|replica| replica.group == group).map(|each| each.applied.len());
        assert!(ordered.max() > Some(3), "{set:?}: group {group}");
    }
    (outcome, trace)
}

/// The same, in which nothing that was sent is left out of the order.
fn checked(set: &[&str], faults: &[Fault]) -> (Outcome, Trace) {
    let (outcome, trace) = held(set, faults);
    let asked = trace.clients.iter().flat_map(|client| &client.asked);
    let commands: u64 = asked.map(|asked| u64::from(asked.commands)).sum();
    let tally = outcome.recording.tally;
    assert_eq!((tally.unanswered, tally.sent), (0, commands), "{set:?}: {:?}", outcome.events);
    (outcome, trace)
}

#[test]
fn every_group_holds_under_every_protocol_and_on_every_transport() {
    let ordered = ProtocolName::ALL.iter().filter(|protocol| protocol.orders());
    for protocol in ordered.map(|protocol| format!("protocol={protocol}")) {
        for transport in ["transport=mem", "transport=sim", "transport=uring"] {
            if transport != "transport=uring" || uring_works() {
                checked(&[transport, &protocol], &[]);
            }
        }
    }
    for transport in ["transport=tokio-tcp", "transport=quic"] {
        checked(&[transport], &[]);
    }
}

/// As many on each replica as can be, and those that the group's number says.
#[test]
fn leaders_are_spread_over_the_replicas() {
    // Far more than a start takes on any machine: whoever comes up late is not the first to lead.
    let patient = ["election_timeout=5s", "heartbeat=500ms", "replicas=5"];
    for transport in ["mem", "sim"] {
        for protocol in ["raft", "multipaxos", "zab", "echo", "star"] {
            let (transport, protocol) = (format!("transport={transport}"), format!("protocol={protocol}"));
            let (outcome, _) = checked(&[&patient[..], &[&transport, &protocol]].concat(), &[]);
            let led: Vec<_> = outcome.groups_led.iter().map(|led| led[0]).collect();
            assert_eq!(led, [2, 2, 2, 1, 1], "{transport} {protocol}");
            assert_eq!(outcome.groups_led.iter().map(|led| led[1]).sum::<u32>(), GROUPS);
        }
    }
    let observed = ["transport=sim", "protocol=zab", "replicas=4", "observers=2"];
    let (outcome, _) = checked(&observed, &[]);
    assert_eq!(outcome.groups_led, [[4, 4], [4, 4], [0, 0], [0, 0]], "among those that vote");
}

fn kill(at: u64, target: Target) -> Fault {
    Fault::new(Duration::from_millis(at), FaultKind::Kill).on(target).lasting(Duration::from_millis(200))
}

#[test]
fn a_replica_that_dies_takes_no_group_with_it() {
    for transport in ["mem", "uring", "sim"].into_iter().filter(|&each| each != "uring" || uring_works()) {
        for protocol in ["raft", "multipaxos", "zab"] {
            let (transport, protocol) = (format!("transport={transport}"), format!("protocol={protocol}"));
            let set = [&*transport, &*protocol, "duration=3s", "election_timeout=100ms", "heartbeat=20ms"];
            let (outcome, _) = checked(&set, &[kill(300, Target::Leader)]);
            let kinds: Vec<_> = outcome.events.iter().map(|event| event.kind).collect();
            assert!(kinds.contains(&EventKind::Killed) && kinds.contains(&EventKind::Restarted), "{kinds:?}");
            let led: Vec<_> = outcome.groups_led.iter().map(|led| led[1]).collect();
            // On a machine that stands still for a moment, one may be between two leaders just then.
            assert!(transport != "transport=sim" || led.iter().sum::<u32>() == GROUPS, "{set:?}: {led:?}");
        }
    }
}

/// Every group comes back from the one log of its replica: whole, or from snapshots where that was cut.
#[test]
fn who_dies_comes_back_with_all_groups_from_its_log() {
    drive::set_program(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let path = format!("storage.path={}", folder.path().display());
    let kills = [kill(200, Target::Leader), kill(800, Target::Follower), kill(1400, Target::Any)];
    for protocol in ["raft", "multipaxos", "zab", "paxos"] {
        for more in [
            &["transport=uring", "durability=fsync"][..],
            &["transport=mem", "durability=page-cache", "snapshot_slots=400"],
            &["transport=uring", "placement=processes", "durability=fsync", "snapshot_slots=400"],
        ] {
            if more.contains(&"transport=uring") && !uring_works() {
                continue;
            }
            let protocol = format!("protocol={protocol}");
            let set =
                [&protocol, &path, "segment=256KiB", "duration=3500ms", "election_timeout=100ms", "heartbeat=20ms"];
            // What a slow disk holds up is given up, and may have been done or not.
            let (outcome, _) = held(&[&set[..], more].concat(), &kills);
            let back = outcome.events.iter().filter(|event| event.kind == EventKind::Restarted).count();
            assert_eq!(back, 3, "{more:?}: {:?}", outcome.events);
            if more.contains(&"snapshot_slots=400") {
                let snapshots = outcome.totals.iter().map(|stats| stats.snapshots).sum::<u64>();
                assert!(snapshots > u64::from(GROUPS), "{more:?}: {snapshots}");
            }
        }
    }
}

/// Snapshots without a disk: each group takes its own, and nothing is written that could be let go of.
#[test]
fn groups_take_snapshots_where_nothing_is_written() {
    for protocol in ["raft", "multipaxos", "zab"] {
        for transport in ["sim", "mem"] {
            let (transport, protocol) = (format!("transport={transport}"), format!("protocol={protocol}"));
            let (outcome, _) =
                held(&[&*transport, &*protocol, "duration=1s", "snapshot_slots=80", "snapshot_basis=delivered"], &[]);
            let snapshots = outcome.totals.iter().map(|stats| stats.snapshots).sum::<u64>();
            assert!(snapshots > u64::from(GROUPS), "{transport} {protocol}: {snapshots}");
        }
    }
}

/// One log for all groups: as much goes to the disk with one sync as one group would have had to itself.
#[test]
fn groups_share_their_syncs() {
    let Some(written) = uring_works().then(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = format!("storage.path={}", folder.path().display());
        let set = ["transport=uring", "durability=fsync", "segment=256KiB", "duration=1s", &path];
        let (outcome, _) = held(&set, &[]);
        let counters = outcome.replicas.counters;
        let files = std::fs::read_dir(folder.path()).map(Iterator::count).unwrap_or_default();
        assert_eq!(files, 0, "logs go with their run");
        (outcome.together.slots, counters.file_syncs)
    }) else {
        return;
    };
    let (slots, syncs) = written;
    // Each slot is at least a record on each replica, and was synced before it was delivered.
    assert!(syncs > 0 && slots > 2 * syncs, "{slots} slots, {syncs} syncs");
}

#[test]
fn reads_beside_the_log_ask_their_own_group() {
    for mode in ["index", "lease", "stale"] {
        for transport in ["mem", "sim"] {
            let (mode, transport) = (format!("mode={mode}"), format!("transport={transport}"));
            let (outcome, trace) = checked(&[&mode, &transport], &[]);
            assert!(trace.clients.iter().all(|client| !client.served.is_empty()), "{mode}: in every group");
            assert!(outcome.together.reads > 0, "{mode}");
        }
    }
}

#[test]
fn a_virtual_run_of_groups_is_the_same_every_time() {
    for protocol in ["raft", "multipaxos", "zab"] {
        let protocol = format!("protocol={protocol}");
        let run = || {
            let (outcome, trace) =
                checked(&[&protocol, "transport=sim", "cost.sync=100us"], &[kill(100, Target::Leader)]);
            let applied: Vec<_> = trace.replicas.into_iter().map(|replica| (replica.group, replica.applied)).collect();
            (outcome.recording.response, outcome.events, outcome.together, outcome.groups_led, applied)
        };
        assert!(run() == run(), "{protocol}");
    }
}

#[test]
fn an_open_loop_is_of_all_groups_together() {
    let open = ["arrival=constant", "rate=2000", "machine=null", "reads=0", "duration=500ms"];
    let (outcome, trace) = checked(&open, &[]);
    let tally = outcome.recording.tally;
    assert!(tally.intended.abs_diff(1000) <= 3, "{} commands were due", tally.intended);
    for groups in trace.clients.chunk_by(|one, next| one.client == next.client) {
        let asked: Vec<_> = groups.iter().map(|group| group.asked.len()).collect();
        let (least, most) = (asked.iter().min(), asked.iter().max());
        assert!(least.zip(most).is_some_and(|(least, most)| most - least <= 2), "groups take turns: {asked:?}");
    }
}

/// The result says who led how many, and a floor is one of as many groups.
#[test]
fn results_say_how_leaders_were_spread() {
    let set = ["groups=[1,4]", "protocol=[star,raft]", "transport=sim", "duration=200ms"].map(String::from);
    let spec = Spec::parse(CONFIG, "groups.toml", &set).unwrap_or_else(|error| panic!("{error}"));
    let out = tempfile::tempdir().expect("a folder");
    let config = Path::new("groups.toml");
    let experiment =
        Experiment { spec: &spec, config, out: out.path(), command_line: vec!["test".into()], check: true };
    let finished = run::run(&experiment, &AtomicBool::new(false), &mut run::Silence).expect("the folder can be made");
    assert!(finished.failure.is_none(), "{:?}", finished.failure);
    let points = points_on_disk(&finished.dir);
    assert_eq!(points.len(), 4);
    for point in points {
        let leaders = point.leaders.as_ref().expect("this version says it");
        let groups: u32 = point.axis("groups").parse().expect("a number");
        assert_eq!((leaders.start.iter().sum::<u32>(), leaders.start.len()), (groups, 3));
        assert!(groups == 1 || leaders.end == [2, 1, 1], "{leaders:?}");
        let over_star = point.floor.and_then(|floor| floor.star_throughput_ratio);
        assert_eq!(over_star.is_some(), point.axis("protocol") == "raft", "{}", point.axis("protocol"));
    }
}

#[test]
fn the_simulator_of_faults_says_that_it_takes_one_group() {
    let desk = Desk::new(CONFIG);
    fails(&desk.run(&["sim", "x.toml", "--seeds", "1"]), 2, &["`cluster.groups` 8", "--set groups=1"]);
    assert!(desk.run(&["sim", "x.toml", "--seeds", "1", "--set", "groups=1"]).code == Some(0));
}
