//! Reads through the log and beside it, on real threads and in virtual time: each way is whole, its answers are
//! checked, and the checks find what is wrong.

mod support;

use std::time::Duration;

use quorumbench::check::witness::{Served, Trace};
use quorumbench::drive::{Fault, FaultKind, Target};
use quorumbench::spec::{MachineName, ReadsMode};
use support::{points_on_disk, run_spec};

/// A run that holds, with some batches answered beside the log if that is the mode.
fn checked(transport: &str, mode: ReadsMode, duration: &str, faults: &[Fault]) -> Trace {
    let set = [format!("transport={transport}"), format!("mode={mode}"), format!("duration={duration}")];
    let (outcome, trace) = support::checked::checked(&set.each_ref().map(String::as_str), faults);
    assert_eq!(outcome.recording.tally.unanswered, 0, "{mode}: everything is accounted for");
    let beside = trace.clients.iter().any(|client| !client.served.is_empty());
    assert_eq!(beside, mode != ReadsMode::Log, "{mode}");
    trace
}

#[test]
fn every_mode_is_whole_and_holds() {
    for transport in ["mem", "tokio-tcp", "sim"] {
        for &mode in ReadsMode::ALL {
            checked(transport, mode, "150ms", &[]);
        }
    }
}

#[test]
fn a_leader_that_dies_and_returns_answers_no_read_wrongly() {
    for &mode in ReadsMode::ALL {
        // One: it comes back empty, so that a second could lose what was only on those two.
        let dies = Fault::new(Duration::from_millis(200), FaultKind::Kill).lasting(Duration::from_millis(250));
        checked("mem", mode, "1200ms", &[dies]);
    }
}

#[test]
fn leadership_that_is_handed_over_answers_no_read_wrongly() {
    for mode in [ReadsMode::Index, ReadsMode::Lease] {
        let faults = [50, 120, 190].map(|at| Fault::new(Duration::from_millis(at), FaultKind::Transfer));
        checked("mem", mode, "300ms", &faults);
    }
}

/// ZAB's followers and observers ask the leader up to where their reads must have come, on real threads too.
#[test]
fn under_zab_every_replica_answers_linearizable_reads() {
    let lasts = Some(Duration::from_millis(250));
    let death = Fault { lasts, ..Fault::new(Duration::from_millis(200), FaultKind::Kill) };
    for (transport, observers, duration, faults) in [
        ("mem", 1, "150ms", &[][..]),
        ("tokio-tcp", 1, "150ms", &[]),
        ("sim", 1, "150ms", &[]),
        ("mem", 0, "1200ms", &[death]),
    ] {
        let set = [format!("transport={transport}"), format!("observers={observers}"), format!("duration={duration}")];
        let set: Vec<_> = ["protocol=zab", "mode=index"].into_iter().chain(set.iter().map(String::as_str)).collect();
        let (outcome, _) = support::checked::checked(&set, faults);
        assert!(outcome.totals.iter().all(|replica| replica.reads > 0), "{set:?}: {:?}", outcome.totals);
    }
}

/// What was measured as stale, called linearizable: behind some follower's back something was written.
#[test]
fn stale_reads_that_are_taken_for_linearizable_are_found_out() {
    let honest = checked("sim", ReadsMode::Stale, "300ms", &[]);
    let mut claimed = honest.clone();
    claimed.clients.iter_mut().for_each(|client| client.stale = false);
    assert_eq!(claimed.verify(MachineName::Kv).expect_err("some lag").property(), "real-time order");
    // Stale or not, nobody is told what never was.
    let mut invented = honest;
    let Served { sequence, .. } = invented.clients[1].served[5];
    invented.clients[1].asked[sequence as usize].told ^= 1;
    assert_eq!(invented.verify(MachineName::Kv).expect_err("an invention").property(), "results");
}

/// Replicas that are not equally far, and clients that ask them in turn. That reads lag, and that no client notices, are
/// both of them seen: called linearizable, not all of these runs are.
#[test]
fn a_clients_stale_reads_do_not_go_back_wherever_they_are_answered() {
    let lags = ["raft", "multipaxos", "paxos", "zab"].map(|protocol| {
        let protocol = format!("protocol={protocol}");
        let set = ["transport=sim", "mode=stale", "duration=300ms", "delay=1ms", "jitter=3ms", &protocol];
        let (_, mut trace) = support::checked::checked(&set, &[]);
        trace.clients.iter_mut().for_each(|client| client.stale = false);
        let broken = trace.verify(MachineName::Kv).err().map(|breach| breach.property());
        assert!(matches!(broken, None | Some("real-time order")), "{protocol}: {broken:?}");
        broken.is_some()
    });
    assert!(lags.contains(&true), "{lags:?}");
}

#[test]
fn a_replica_that_is_slow_or_comes_back_empty_shows_no_client_what_is_old() {
    let follower = |kind| Fault::new(Duration::from_millis(150), kind).lasting(Duration::from_millis(300));
    for kind in [FaultKind::Slow { factor: 30 }, FaultKind::Pause, FaultKind::Kill] {
        for transport in ["mem", "tokio-tcp", "sim"] {
            checked(transport, ReadsMode::Stale, "700ms", &[follower(kind).on(Target::Follower)]);
        }
    }
    let far = FaultKind::SlowLink { extra: Duration::from_millis(10) };
    for transport in ["mem", "tokio-tcp", "sim"] {
        checked(transport, ReadsMode::Stale, "700ms", &[follower(far).on(Target::Leader)]);
    }
}

#[test]
fn coordinates_have_the_mode_and_the_log_alone_has_reads_in_slots() {
    let ran = run_spec(&support::checked::spec(&["mode=[log,index,lease,stale]"]));
    assert!(ran.finished.failure.is_none(), "{:?}", ran.finished.failure);
    let points = points_on_disk(&ran.finished.dir);
    let mut modes: Vec<_> = points.iter().map(|point| point.axis("mode")).collect();
    modes.sort();
    assert_eq!(modes, ["index", "lease", "log", "stale"]);
    for point in points {
        assert_eq!((point.errors, point.shed), (0, 0), "{:?}", point.warnings);
        assert!(point.commands > 0 && point.completed_per_s > 0.0);
        assert_eq!(point.response_ns.count, point.commands, "reads are timed like writes");
    }
}
