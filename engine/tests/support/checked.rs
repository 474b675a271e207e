//! Traced runs of a cluster that little is enough to disturb, with clients that often touch the same keys.

use std::sync::atomic::AtomicBool;

use quorumbench::check::witness::Trace;
use quorumbench::drive::{self, Fault, Outcome};
use quorumbench::spec::Spec;

/// Its config; a test sets what it is about.
pub const CONFIG: &str = "name = 'checked'
    [cluster]
    transport = 'mem'
    machine = 'kv'
    election_timeout = '100ms'
    heartbeat = '20ms'
    [load]
    arrival = 'closed'
    outstanding = 24
    clients = 3
    payload = '12B'
    reads = 0.5
    keys = 'uniform:50'
    resend = '150ms'
    [batch]
    commands = 4
    [run]
    warmup = '50ms'
    duration = '200ms'";

/// The same without reads, of which the null machine knows nothing.
pub const NULL: &[&str] = &["machine=null", "reads=0"];

/// The config with what is set.
pub fn spec(set: &[&str]) -> Spec {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    Spec::parse(CONFIG, "checked.toml", &set).unwrap_or_else(|error| panic!("{error}"))
}

/// A traced run of one point, which holds, and in which nothing that was sent is left out of the order.
pub fn checked(set: &[&str], faults: &[Fault]) -> (Outcome, Trace) {
    let spec = spec(set);
    let [point] = &spec.points()[..] else { panic!("one point") };
    let never = AtomicBool::new(false);
    let (outcome, trace) = drive::measure_and_trace(point, spec.run(), 1, faults, true, &never, &mut |_| ())
        .unwrap_or_else(|error| panic!("{set:?}: {error}"));
    let verified =
        trace.verify(point.cluster.machine).unwrap_or_else(|breach| panic!("{set:?}: {breach}: {:?}", outcome.events));
    assert_eq!(verified.commands, outcome.recording.tally.sent, "{set:?}: nothing was left out of the order");
    assert!(verified.commands > 0);
    let lives = 3 + faults.len();
    assert!((3..=lives).contains(&trace.replicas.len()) && trace.clients.len() == 3, "{} lives", trace.replicas.len());
    (outcome, trace)
}
