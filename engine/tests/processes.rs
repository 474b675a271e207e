//! Replicas and clients in processes of their own: the same results as with threads, and no process that
//! is left behind, whoever dies.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use quorumbench::drive::{self, DriveError, EventKind, Fault, FaultKind, Outcome, Target};
use quorumbench_protocols::NodeId;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value as Json;
use support::alive::{children, is_alive, stopped_children, wait_until};
use support::checked::checked;
use support::desk::{Desk, PATIENCE, PROGRAM, Said, end, fails, signal, whole};
use support::{manifest, points_on_disk, uring_works};

const CONFIG: &str = "name = 'processes'
[cluster]
transport = 'tokio-tcp'
machine = 'kv'
placement = 'processes'
[load]
rate = 2000
clients = 2
reads = 0.5
keys = 'uniform:50'
[run]
warmup = '50ms'
duration = '300ms'
";

/// The points of a run that succeeds.
fn points(arguments: &[&str]) -> Vec<Json> {
    let desk = Desk::new(CONFIG);
    let said = desk.run(&[&["run", "x.toml", "--json", "--check"], arguments].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    whole(&said.out)["points"].as_array().expect("points").clone()
}

fn every_protocol(transport: &str) {
    let points = points(&["--set", transport, "--set", "protocol=[echo,star,raft,multipaxos,zab,paxos]"]);
    assert_eq!(points.len(), 6);
    for point in points {
        let label = &point["axes"]["protocol"];
        assert_eq!((&point["checked"], &point["errors"]), (&true.into(), &0.into()), "{label}: {point}");
        assert!(point["commands"].as_u64() > Some(300), "{label}: {point}");
        // A stranger may knock: what another test left dialling a port that was free for a moment.
        let disturbed = |warning: &Json| {
            let text = warning.as_str().unwrap_or_default();
            let knocked = text.starts_with("disturbed: 0 connections lost") && text.ends_with(" 0 malformed frames");
            text.starts_with("disturbed") && !knocked
        };
        assert!(!point["warnings"].as_array().expect("warnings").iter().any(disturbed), "{label}: {point}");
        let [all, replicas, clients] = ["", "replica_", "client_"]
            .map(|role| point["cost"][format!("{role}cpu_ns_per_command")].as_f64().expect("a number"));
        assert!(replicas > 0.0 && clients > 0.0 && all > 0.99 * (replicas + clients), "{label}: {all} {point}");
        for role in ["replica", "client"] {
            let rss = point["memory"][format!("{role}_rss_bytes")].as_u64().expect("each has its own");
            assert!((1 << 20..1 << 32).contains(&rss), "{label}: {rss}");
        }
    }
}

#[test]
fn every_protocol_on_tokio_tcp() {
    every_protocol("transport=tokio-tcp");
}

#[test]
fn every_protocol_on_uring() {
    if uring_works() {
        every_protocol("transport=uring");
    }
}

/// The names of everything in a document.
fn names(document: &Json, path: &str, into: &mut BTreeSet<String>) {
    for (name, value) in document.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        names(value, &path, into);
        into.insert(path);
    }
}

#[test]
fn a_result_looks_the_same_as_with_threads() {
    let points = points(&["--set", "placement=[threads,processes]", "--set", "protocol=[echo,raft]"]);
    let [all @ .., _] = &points[..] else { panic!("points") };
    let of = |placement: &str| {
        let is = |point: &&Json| point["axes"]["placement"] == placement && point["axes"]["protocol"] == "raft";
        points.iter().find(is).unwrap_or_else(|| panic!("{placement}: {all:?}"))
    };
    let [threads, processes] = ["threads", "processes"].map(of);
    let [mut expected, mut found] = [BTreeSet::new(), BTreeSet::new()];
    names(threads, "", &mut expected);
    names(processes, "", &mut found);
    assert_eq!(found, expected);
    assert!(threads["memory"]["replica_rss_bytes"].is_null(), "one process holds all: {threads}");
    assert!(processes["floor"]["echo_p50_ratio"].as_f64() > Some(0.0), "a floor of its own kind: {processes}");
}

/// A traced run of three replicas and three clients in processes.
fn with_faults(set: &[&str], faults: &[Fault]) -> Outcome {
    drive::set_program(PROGRAM);
    checked(&[&["placement=processes", "transport=tokio-tcp", "duration=1500ms"], set].concat(), faults).0
}

#[test]
fn a_leader_that_is_killed_is_followed_by_another() {
    for protocol in ["protocol=raft", "protocol=multipaxos", "protocol=zab"] {
        let outcome = with_faults(&[protocol], &[Fault::new(Duration::from_millis(200), FaultKind::Kill)]);
        let killed = outcome.events.iter().position(|event| event.kind == EventKind::Killed).expect("it was killed");
        let (before, after) = outcome.events.split_at(killed);
        assert_eq!(before.last().map(|event| (event.kind, event.node)), Some((EventKind::Leader, after[0].node)));
        let next = after.iter().find(|event| event.kind == EventKind::Leader).expect("another leads");
        assert!(next.node != after[0].node && next.at_ns < 1_500_000_000, "{protocol}: {:?}", outcome.events);
    }
}

/// Who is killed says no goodbye over QUIC, and no kernel says it for them. All others dial replica 0: they learn of its
/// next life from that, and not when they have heard nothing for a minute.
#[test]
fn who_is_killed_over_quic_is_back_at_once() {
    drive::set_program(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let path = format!("storage.path={}", folder.path().display());
    let kill =
        Fault::new(Duration::from_millis(200), FaultKind::Kill).on(Target::Id(0)).lasting(Duration::from_millis(300));
    for protocol in ["protocol=raft", "protocol=zab"] {
        let quic = ["placement=processes", "transport=quic", "idle_timeout=1m", "duration=5s"];
        let (outcome, _) =
            checked(&[&quic[..], &["durability=page-cache", "segment=256KiB", &path, protocol]].concat(), &[kill]);
        let of_0 = outcome.events.iter().filter(|event| event.node == NodeId(0)).map(|event| event.kind);
        let of_0: Vec<_> = of_0.skip_while(|kind| *kind != EventKind::Killed).collect();
        assert!(matches!(of_0[..], [_, EventKind::Restarted, EventKind::CaughtUp { .. }, ..]), "{protocol}: {of_0:?}");
    }
}

#[test]
fn a_leader_hands_over_when_told() {
    let outcome = with_faults(&[], &[Fault::new(Duration::from_millis(200), FaultKind::Transfer)]);
    let kinds: Vec<_> = outcome.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Leader, EventKind::Transfer, EventKind::Leader]);
}

#[test]
fn no_replica_comes_back_blank() {
    let faults = [Fault::new(Duration::from_millis(10), FaultKind::Restart)];
    for protocol in ["raft", "echo"] {
        let spec = support::spec(&format!("[cluster]\nprotocol = '{protocol}'\nplacement = 'processes'"));
        let measured = drive::measure(&spec.points()[0], spec.run(), 1, &faults, &AtomicBool::new(false), &mut |_| ());
        assert!(matches!(measured, Err(DriveError::Blank)), "{protocol}: {measured:?}");
    }
}

/// Each kind of fault that is no death, to a follower, from the config to the result.
#[test]
fn faults_are_done_to_processes_as_to_threads() {
    let faults = [("pause", "", "resumed"), ("partition", "", "healed"), ("slow-link", "extra = '5ms'", "recovered")];
    for (kind, more, ends) in faults {
        let fault = format!("[[faults]]\nat = '200ms'\nfor = '300ms'\nkind = '{kind}'\ntarget = 'follower'\n{more}\n");
        let desk = Desk::new(&format!("{CONFIG}{fault}"));
        let said = desk.run(&["run", "x.toml", "--json", "--check", "--set", "duration=2s"]);
        assert_eq!(said.code, Some(0), "{kind}: {said:?}");
        let point = &whole(&said.out)["points"][0];
        let events: Vec<_> = point["events"].as_array().expect("events").iter().collect();
        let at = |kind: &str| {
            let event = events.iter().find(|event| event["kind"] == kind);
            event.unwrap_or_else(|| panic!("{kind} in {events:?}"))["at_ns"].as_i64().expect("a number")
        };
        let (ended, caught_up) = (at(ends), at("caught-up"));
        assert!(ended >= 500_000_000 && caught_up >= ended, "{kind}: {events:?}");
        assert!(point["completed_per_s"].as_f64() > Some(0.0), "{kind}: the others go on");
        let aftermath = &point["faults"][0];
        let number = |name: &str| aftermath[name].as_u64().unwrap_or_else(|| panic!("{kind}: {name} of {aftermath}"));
        assert!(kind == "slow-link" || number("lag_slots") > 20, "{kind}: {aftermath}");
        // Of four thousand commands of some twenty bytes at most, and not what it had received before.
        assert!(number("catch_up_bytes") < 400_000, "{kind}: {aftermath}");
    }
}

/// It is paused from 200 ms on. Each case: what kills it meanwhile, how long the pause would last, what happens to it, and
/// whether the pause and the death have an end.
#[test]
fn a_replica_may_die_while_it_stands_still() {
    use EventKind::{Killed, Paused, Restarted, Resumed};
    drive::set_program(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let path = format!("storage.path={}", folder.path().display());
    let ms = Duration::from_millis;
    let [kill, restart] = [FaultKind::Kill, FaultKind::Restart].map(|kind| Fault::new(ms(210), kind));
    let cases = [
        (kill.lasting(ms(600)), 400, vec![Paused, Killed, Restarted], [false, true]),
        (kill.lasting(ms(100)), 600, vec![Paused, Killed, Restarted, Paused, Resumed], [true, true]),
        (restart, 600, vec![Paused, Killed, Restarted, Paused, Resumed], [true, true]),
        (kill, 400, vec![Paused, Killed], [false, false]),
    ];
    for placement in ["placement=processes", "placement=threads"] {
        for (death, lasts, happens, ends) in &cases {
            let pause = Fault::new(ms(200), FaultKind::Pause).on(Target::Id(1)).lasting(ms(*lasts));
            let faults = [pause, death.on(Target::Id(1))];
            let set =
                [placement, "durability=page-cache", "segment=256KiB", &path, "duration=2500ms", "protocol=multipaxos"];
            let outcome = with_faults(&set, &faults);
            let of_1 = outcome.events.iter().filter(|event| event.node == NodeId(1) && event.at_ns >= 0);
            let told: Vec<_> = of_1.filter(|event| happens.contains(&event.kind)).collect();
            let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
            assert_eq!(&kinds, happens, "{placement}, {death:?}: {:?}", outcome.events);
            let at = |kind| told.iter().find(|event| event.kind == kind).map(|event| event.at_ns);
            let entries: Vec<_> = outcome.faults.iter().map(|fault| (fault.at_ns, fault.until_ns)).collect();
            let expected = [(Paused, Resumed), (Killed, Restarted)].map(|(begins, ends)| (at(begins), at(ends)));
            assert_eq!(entries, expected, "{placement}, {death:?}");
            assert_eq!(expected.map(|(_, until)| until.is_some()), *ends, "{placement}, {death:?}");
            let caught_up = outcome.faults[1].catch_up_ns.is_some();
            assert_eq!(caught_up, ends[1], "{placement}, {death:?}: {:?}", outcome.events);
        }
    }
}

/// A run whose first point is finished, and whose second one goes on for long.
struct InTheSecond {
    desk: Desk,
    run: Child,
    err: BufReader<ChildStderr>,
    /// Three replicas and two clients.
    children: Vec<(String, Pid)>,
}

impl InTheSecond {
    fn new() -> Self {
        let desk = Desk::new(CONFIG);
        let mut command = desk.command(&["run", "x.toml", "--set", "repetitions=2", "--set", "run.duration=3s"]);
        let mut run = command.process_group(0).spawn().expect("run");
        let mut err = BufReader::new(run.stderr.take().expect("piped"));
        let mut lines = String::new();
        while !lines.contains("commands/s") {
            assert!(err.read_line(&mut lines).expect("UTF-8") > 0, "{lines}");
        }
        let mut found = Vec::new();
        let names = ["client 0", "client 1", "replica 0", "replica 1", "replica 2"];
        wait_until("five children", PATIENCE, || {
            found = children(Pid::from_child(&run));
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.iter().map(|(name, _)| name.as_str()).eq(names)
        });
        Self { desk, run, err, children: found }
    }

    fn child(&self, name: &str) -> Pid {
        self.children.iter().find(|(each, _)| each == name).expect("it is there").1
    }

    /// What it says until its end, having failed; nothing of it is left but its first point.
    fn fails(mut self, state: &str) -> Said {
        let mut lines = String::new();
        self.err.read_to_string(&mut lines).expect("UTF-8");
        let said = Said { err: lines, ..end(self.run) };
        assert_eq!(said.code, Some(1), "{said:?}");
        for (name, process) in &self.children {
            assert!(!is_alive(*process), "{name} outlives its run");
        }
        let dir = self.desk.only_run("results");
        assert_eq!(points_on_disk(&dir).len(), 1);
        assert_eq!((&manifest(&dir)["state"], &manifest(&dir)["finished_points"]), (&state.into(), &1.into()));
        assert!(said.err.contains("1 of 2 points are finished and stored in "), "{said:?}");
        said
    }
}

#[test]
fn a_child_that_dies_is_named() {
    for name in ["replica 1", "client 0"] {
        let run = InTheSecond::new();
        let child = run.child(name);
        let begin = Instant::now();
        kill_process(child, Signal::KILL).expect("it runs");
        let said = run.fails("failed");
        assert!(begin.elapsed() < Duration::from_secs(2), "at once, not at the end of the point");
        let what = format!("error: {name} (process {}) was killed by signal 9\n", child.as_raw_nonzero());
        assert!(said.err.contains(&what), "{said:?}");
    }
}

/// It lasts 20 s: no machine is so busy.
#[test]
fn a_client_that_stands_still_is_not_waited_for_for_ever() {
    let run = InTheSecond::new();
    // Sooner, and the cluster would never have answered it.
    std::thread::sleep(Duration::from_millis(1500));
    kill_process(run.child("client 1"), Signal::STOP).expect("it runs");
    let said = run.fails("failed");
    assert!(said.err.contains("error: ") && said.err.contains("a client has not ended 15 s after"), "{said:?}");
}

#[test]
fn children_die_with_their_parent() {
    let InTheSecond { run, children, .. } = InTheSecond::new();
    // One that is stopped cannot see that anything ended.
    kill_process(children[2].1, Signal::STOP).expect("it runs");
    signal(&run, Signal::KILL);
    for (name, process) in children {
        wait_until(&format!("{name} is gone"), Duration::from_secs(1), || !is_alive(process));
    }
    assert_eq!(end(run).code, None);
}

/// Its log, of which each file is filled before it is used, is not there yet: the others are enough to begin with.
#[test]
fn who_is_killed_before_it_had_a_log_begins_anew() {
    drive::set_program(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    let path = format!("storage.path={}", folder.path().display());
    let ms = Duration::from_millis;
    let [stopped, again] = [0, 1].map(|at| Fault::new(ms(at), FaultKind::Restart).on(Target::Id(1)));
    let outcome = with_faults(&["durability=page-cache", "protocol=multipaxos", &path], &[stopped, again]);
    assert!(outcome.faults.iter().all(|fault| fault.until_ns.is_some()), "{:?}", outcome.events);
}

/// A replica that is stopped and killed is stopped again as soon as it is back: before it could see to anything.
#[test]
fn who_is_stopped_as_it_starts_dies_with_its_parent() {
    let faults = "[[faults]]\nat = '50ms'\nkind = 'pause'\ntarget = 1\nfor = '30s'\n\
                  [[faults]]\nat = '1s'\nkind = 'kill'\ntarget = 1\nfor = '100ms'\n";
    let desk = Desk::new(&format!("{CONFIG}{faults}"));
    let set = ["run", "x.toml", "--set", "run.duration=31s", "--set", "durability=page-cache"];
    let run = desk.command(&set).spawn().expect("run");
    let stopped = || stopped_children(Pid::from_child(&run)).first().copied();
    let (mut first, mut second) = (None, None);
    wait_until("a replica that stands still", PATIENCE, || {
        first = stopped();
        first.is_some()
    });
    wait_until("its next life", PATIENCE, || {
        second = stopped().filter(|&child| Some(child) != first);
        second.is_some()
    });
    signal(&run, Signal::KILL);
    let second = second.expect("it was waited for");
    wait_until("it is gone", PATIENCE, || !is_alive(second));
    assert_eq!(end(run).code, None);
}

#[test]
fn ctrl_c_is_the_parents() {
    for by in [Signal::INT, Signal::TERM, Signal::HUP] {
        let run = InTheSecond::new();
        kill_process_group(Pid::from_child(&run.run), by).expect("it runs");
        let said = run.fails("interrupted");
        assert!(said.err.contains("error: interrupted") && !said.err.contains("signal"), "{said:?}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let desk = Desk::new(CONFIG);
    // The second replica's.
    let said = desk.run(&["run", "x.toml", "--quiet", "--set", &format!("base_port={}", port - 1)]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let what = format!("cannot listen on 127.0.0.1:{port}");
    assert!(said.err.contains(&what) && said.err.contains("base_port = 0"), "{said:?}");
}

#[test]
fn node_is_not_for_the_command_line() {
    let desk = Desk::new("");
    fails(&desk.run(&["node"]), 2, &["`node` is not for the command line", "cluster.placement"]);
    let (_, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut command = desk.command(&["node"]);
    let said = Said::from(command.stdin(Stdio::from(OwnedFd::from(theirs))).output().expect("run"));
    fails(&said, 2, &["`node` is not for the command line"]);
    assert!(!desk.run(&["--help"]).out.contains("node "), "nor in its help");
}
