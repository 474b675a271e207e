//! Whole points on real threads: every protocol on every transport, stored and read back, and what
//! happens when the leader goes away.
//!
//! Nothing here depends on how fast the machine is; windows are short, and bounds are of counts.

mod support;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use quorumbench::drive::{self, EventKind, Fault, FaultKind, Outcome};
use quorumbench::results::{Percentiles, PointResult, decode_histogram};
use quorumbench::spec::Spec;
use quorumbench::summary;
use support::{manifest, measure, points_on_disk, run_spec, spec, uring_works};

/// Every protocol on both machines; with the second, half of the commands are reads.
fn everything(transport: &str) -> Spec {
    spec(&format!(
        "[cluster]
        protocol = ['echo', 'star', 'raft']
        transport = '{transport}'
        machine = ['null', 'kv']
        election_timeout = '100ms'
        heartbeat = '20ms'
        [load]
        arrival = 'closed'
        outstanding = 32
        clients = 2
        reads = 0.5
        keys = 'zipf:1000:0.99'
        resend = '200ms' # what a leader lost that a busy machine deposed
        [batch]
        commands = 8
        [run]
        warmup = '20ms'
        duration = '800ms'"
    ))
}

fn every_protocol(transport: &str) {
    let spec = everything(transport);
    let ran = run_spec(&spec);
    assert!(ran.finished.failure.is_none(), "{:?}", ran.finished.failure);
    let points = points_on_disk(&ran.finished.dir);
    assert_eq!(points.len(), 6);
    let same = serde_json::to_value(&points).ok() == serde_json::to_value(&ran.finished.points).ok();
    assert!(same, "what is on disk is what the run said");
    let planned: Vec<_> = spec.points().iter().map(quorumbench::spec::Point::axes).collect();
    for point in &points {
        point_is_whole(point);
        assert!(planned.contains(&point.axes), "the full coordinates, and no others: {:?}", point.axes);
        floors_are_where_they_must_be(point);
    }
    intervals_add_up(&ran.finished.dir, &points);
    log_is_readable(&ran.finished.dir, &points);
    let manifest = manifest(&ran.finished.dir);
    assert_eq!((manifest["state"].as_str(), manifest["finished_points"].as_u64()), (Some("complete"), Some(6)));
    assert_eq!(manifest["planned_points"], 6);
    let mut files: Vec<_> = std::fs::read_dir(&ran.finished.dir)
        .expect("the run's folder")
        .map(|file| file.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    files.sort();
    assert_eq!(files, ["intervals.csv", "latency.hlog", "manifest.json", "points.jsonl"]);
}

#[test]
fn every_protocol_on_mem() {
    every_protocol("mem");
}

#[test]
fn every_protocol_on_uring() {
    if uring_works() {
        every_protocol("uring");
    }
}

#[test]
fn every_protocol_on_tokio_tcp() {
    every_protocol("tokio-tcp");
}

#[test]
fn every_protocol_on_quic() {
    every_protocol("quic");
}

fn point_is_whole(point: &PointResult) {
    assert_eq!((point.schema.as_str(), point.world.as_str()), ("quorumbench.point/1", "real"));
    let label = point.label(&["protocol", "machine"]);
    assert_eq!((point.errors, point.shed), (0, 0), "{label}: {:?} {:?}", point.warnings, point.events);
    assert!(point.commands > 0 && point.completed_per_s > 0.0);
    let histograms = &point.histograms;
    for (text, stored) in [
        (&histograms.response, point.response_ns),
        (&histograms.service, point.service_ns),
        (&histograms.send_lag, point.send_lag_ns),
    ] {
        let histogram = decode_histogram(text).expect("base64 of V2-deflate");
        assert_eq!(Percentiles::from(&histogram), stored);
        assert_eq!(stored.count, point.commands, "every command intended in the window is in every histogram");
        assert!(stored.p50 <= stored.p99 && stored.p99 <= stored.p99_99 && stored.p99_99 <= stored.max);
    }
    assert!(point.response_ns.p50 >= point.service_ns.p50);
    let cost = &point.cost;
    assert!(cost.cpu_ns_per_command > 0.0 && cost.replica_cpu_ns_per_command > 0.0, "{cost:?}");
    assert!((1.0..=8.0).contains(&cost.commands_per_slot), "{cost:?}");
    assert!(cost.syscalls_per_command > 0.0, "{cost:?}");
    assert!(point.axis("transport") != "mem" || cost.copied_bytes_per_command == 0.0, "{cost:?}");
    assert!(cost.wire_bytes_per_command > 16.0, "{cost:?}");
    let talks = point.axis("protocol") != "echo";
    assert!(cost.messages_per_slot.is_some_and(|messages| (messages > 1.0) == talks), "{cost:?}");
    assert!(cost.bytes_per_slot.is_some_and(|bytes| (bytes > 64.0) == talks), "{cost:?}");
}

fn floors_are_where_they_must_be(point: &PointResult) {
    let ratios = point.floor.map(|floor| {
        let echo = [floor.echo_throughput_ratio, floor.echo_p50_ratio, floor.echo_p99_ratio];
        let star = [floor.star_throughput_ratio, floor.star_p50_ratio, floor.star_p99_ratio];
        [echo, star].map(|ratios| ratios.map(|ratio| ratio.is_some_and(|ratio| ratio > 0.0 && ratio.is_finite())))
    });
    let expected = match point.axis("protocol").as_str() {
        "echo" => None,
        "star" => Some([[true; 3], [false; 3]]),
        _ => Some([[true; 3]; 2]),
    };
    assert_eq!(ratios, expected, "{}", point.axis("protocol"));
}

/// The time series of each point holds what the point holds.
fn intervals_add_up(dir: &Path, points: &[PointResult]) {
    let text = std::fs::read_to_string(dir.join("intervals.csv")).expect("intervals.csv");
    let mut lines = text.lines();
    let columns: Vec<_> = lines.next().expect("a header").split(',').collect();
    let column = |name: &str| columns.iter().position(|each| *each == name).expect(name);
    let mut sums: BTreeMap<usize, (u64, u64, u64)> = BTreeMap::new();
    for line in lines {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(cells.len(), columns.len(), "{line}");
        let number = |name: &str| cells[column(name)].parse::<u64>().expect("a number");
        let sum = sums.entry(number("point") as usize).or_default();
        *sum = (sum.0 + number("completed"), sum.1 + number("count"), sum.2.max(number("max_ns")));
    }
    assert_eq!(sums.len(), points.len());
    for (index, (completed, count, max_ns)) in sums {
        let point = &points[index];
        let expected = point.completed_per_s * point.window_ns as f64 / 1e9;
        assert!((completed as f64 - expected).abs() < 0.5, "{completed} {expected}");
        assert_eq!((count, max_ns), (point.commands, point.response_ns.max));
    }
}

/// The log has what the readers of other languages ask for, and the response times of every point.
fn log_is_readable(dir: &Path, points: &[PointResult]) {
    let text = std::fs::read(dir.join("latency.hlog")).expect("latency.hlog");
    let lines: Vec<_> = std::str::from_utf8(&text).expect("ASCII").lines().collect();
    assert_eq!(lines[0], "#[Histogram log format version 1.3]");
    assert!(lines[1..4].iter().any(|line| line.starts_with("#[StartTime: ")), "{lines:?}");
    assert!(lines[1..4].iter().any(|line| line.starts_with("#[BaseTime: ")), "{lines:?}");
    assert!(
        lines.contains(&"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")
    );
    let intervals = IntervalLogIterator::new(&text).filter_map(|entry| match entry.expect("a line of the format") {
        LogEntry::Interval(interval) => Some(interval),
        _ => None,
    });
    let mut logged = Vec::new();
    for interval in intervals {
        let tag = interval.tag().expect("the tag is the metric").as_str().to_owned();
        assert!(tag.starts_with("protocol=") && tag.ends_with("/response"), "{tag}");
        logged.push(decode_histogram(interval.encoded_histogram()).expect("a histogram").len());
    }
    assert_eq!(logged, points.iter().map(|point| point.commands).collect::<Vec<_>>());
}

/// Raft that elects fast, under a small closed loop.
fn raft(transport: &str, duration: &str) -> String {
    format!(
        "[cluster]
        protocol = 'raft'
        transport = '{transport}'
        election_timeout = '60ms'
        heartbeat = '10ms'
        [load]
        arrival = 'closed'
        outstanding = 32
        clients = 2
        resend = '100ms'
        [batch]
        commands = 4
        [run]
        warmup = '50ms'
        duration = '{duration}'"
    )
}

/// Whatever happened to the cluster: every command was answered, and applied once.
fn nothing_is_lost_or_done_twice(outcome: &Outcome) {
    let tally = outcome.recording.tally;
    assert_eq!(tally.unanswered, 0, "{:?}", outcome.events);
    assert_eq!(outcome.recording.response.len(), tally.intended);
    let applied: Vec<_> = outcome.totals.iter().map(|stats| stats.applied).collect();
    assert_eq!(applied.iter().max(), Some(&tally.sent), "{applied:?}");
}

fn restart_the_leader(transport: &str) {
    let at = Duration::from_millis(300);
    let dies = Fault::new(at, FaultKind::Kill).lasting(Duration::from_millis(300));
    let outcome = measure(&raft(transport, "2200ms"), &[dies]);
    nothing_is_lost_or_done_twice(&outcome);
    let events = &outcome.events;
    let find = |kind: EventKind| events.iter().position(|event| event.kind == kind);
    let (killed, restarted) = (find(EventKind::Killed).expect("killed"), find(EventKind::Restarted).expect("back"));
    assert!(killed < restarted && events[killed].node == events[restarted].node, "{events:?}");
    // Of the death is told when the thread has ended, and on a busy machine the others may notice before.
    let follows = |event: &&drive::Event| event.kind == EventKind::Leader && event.at_ns > at.as_nanos() as i64;
    assert!(events.iter().filter(follows).any(|event| event.node != events[killed].node), "{events:?}");
    let later = &outcome.recording.intervals[1];
    assert!(later.completed > 0, "commands go on being answered: {events:?}");
}

#[test]
fn a_leader_that_dies_and_returns_loses_nothing_on_mem() {
    restart_the_leader("mem");
}

#[test]
fn a_leader_that_dies_and_returns_loses_nothing_on_uring() {
    if uring_works() {
        restart_the_leader("uring");
    }
}

#[test]
fn a_leader_that_dies_and_returns_loses_nothing_on_tokio_tcp() {
    restart_the_leader("tokio-tcp");
}

#[test]
fn a_leader_that_dies_and_returns_loses_nothing_on_quic() {
    restart_the_leader("quic");
}

#[test]
fn leadership_is_handed_over_and_the_result_says_so() {
    let faults = [100, 250].map(|at| Fault::new(Duration::from_millis(at), FaultKind::Transfer));
    let outcome = measure(&raft("mem", "500ms"), &faults);
    nothing_is_lost_or_done_twice(&outcome);
    let of = |kind: EventKind| outcome.events.iter().filter(move |event| event.kind == kind).collect::<Vec<_>>();
    let transfers = of(EventKind::Transfer);
    assert_eq!(transfers.len(), 2);
    let target = (transfers[0].node.0 + 1) % 3;
    let leads = |event: &&drive::Event| event.node.0 == target && event.at_ns >= transfers[0].at_ns;
    assert!(of(EventKind::Leader).into_iter().any(|event| leads(&event)), "{:?}", outcome.events);

    let ran = run_spec(&spec(&format!("{}\n[[faults]]\nat = '100ms'\nkind = 'transfer'", raft("mem", "300ms"))));
    let [point] = &points_on_disk(&ran.finished.dir)[..] else { panic!("one point") };
    assert!(point.events.iter().any(|event| event.kind == "transfer" && event.at_ns >= 0), "{:?}", point.events);
    assert!(point.warnings.iter().any(|warning| warning.starts_with("leader_changed: ")), "{:?}", point.warnings);
    assert_eq!(point.errors, 0);
}

/// The only replica dies for good: the client gives up after a while, and the point says so.
#[test]
fn a_client_that_outlives_the_cluster_gives_up() {
    for transport in ["mem", "tokio-tcp"] {
        let config = raft(transport, "300ms").replace("[cluster]", "[cluster]\nreplicas = 1");
        let outcome = measure(&config, &[Fault::new(Duration::from_millis(100), FaultKind::Kill)]);
        let tally = outcome.recording.tally;
        assert!(tally.completed > 0 && tally.unanswered > 0, "{transport}: {tally:?}");
        assert_eq!(outcome.recording.response.len(), tally.intended, "what was given up is counted with its time");
    }
}

/// Clusters and loads that the protocols' table does not have; all but for echo replicate.
#[test]
fn sizes_clients_and_loads() {
    for lines in [
        "cluster.replicas = 1\nload.arrival = 'closed'\nload.outstanding = 8",
        "cluster.replicas = 5\nload.arrival = 'closed'\nload.outstanding = 7\nload.clients = 3",
        // One replica and one client: more that spin than there are cores would starve each other.
        "cluster.wait = 'spin'\ncluster.replicas = 1\nload.arrival = 'closed'\nload.outstanding = 4\nload.clients = 1",
        "cluster.replicas = 5\nload.arrival = 'poisson'\nload.rate = 2000\nload.clients = 2",
        "load.arrival = 'constant'\nload.rate = 1000\nload.clients = 3",
        "load.arrival = 'constant'\nload.rate = 2000\nload.clients = 1\nbatch.linger = '5ms'",
    ] {
        let common = "cluster.transport = 'mem'\ncluster.protocol = 'raft'\ncluster.election_timeout = '200ms'\ncluster.heartbeat = '20ms'\nrun = { warmup = '20ms', duration = '500ms' }";
        let outcome = measure(&format!("{lines}\n{common}"), &[]);
        nothing_is_lost_or_done_twice(&outcome);
        let tally = outcome.recording.tally;
        assert!(tally.intended > 0 && tally.completed > 0, "{lines}");
        if let Some(rate) = spec(lines).points()[0].load.arrival.rate() {
            let offered = rate * 0.5;
            // Five standard deviations of a Poisson count; a constant schedule is exact to a command a client.
            let slack = if lines.contains("poisson") { 5.0 * offered.sqrt() } else { 3.0 };
            assert!((tally.intended as f64 - offered).abs() <= slack, "{lines}: {} of {offered}", tally.intended);
        }
        if lines.contains("linger") {
            let each = outcome.busiest.commands as f64 / outcome.busiest.slots as f64;
            assert!(each > 3.0, "company came while they lingered: {each} commands a slot");
        }
    }
}

/// An open and a closed loop are never one comparison.
#[test]
fn each_kind_of_loop_has_its_own_sentence() {
    let spec = spec(
        "cluster.transport = 'mem'\nload.arrival = ['closed', 'constant']\nload.rate = 500\nload.outstanding = 8
        run = { warmup = '20ms', duration = '200ms' }",
    );
    let ran = run_spec(&spec);
    let rows = summary::rows(&ran.finished.points, &spec);
    let verdict = summary::verdict(&rows, &spec.varied());
    assert!(verdict.contains("raft (arrival=closed) peaks at "), "{verdict}");
    assert!(verdict.contains("raft (arrival=constant) "), "{verdict}");
    assert!(!summary::table(&rows, &spec).contains("(closed loop)"), "not all of them");
}

/// What a config allows to be in flight has room on its way: a link that overflows stops a floor for
/// ever, and makes everyone else wait for a resend.
#[test]
fn what_may_be_in_flight_is_not_dropped() {
    let deep = "batch.commands = 1\nbatch.window = 20_000\nload.outstanding = 40_000\ncluster.transport = 'mem'";
    let wide = "batch.commands = 2\nbatch.bytes = '4MiB'\nload.payload = '2000KB'\nload.outstanding = 60\ncluster.transport = 'tokio-tcp'";
    let read = "batch.commands = 4096\nload.payload = '8KiB'\nload.outstanding = 4096\ncluster.transport = 'tokio-tcp'\ncluster.machine = 'kv'\nload.reads = 0.999\nload.keys = 'uniform:4'";
    for (lines, protocol) in [(deep, "star"), (wide, "star"), (wide, "echo"), (read, "echo")] {
        let outcome = measure(
            &format!(
                "{lines}\ncluster.protocol = '{protocol}'\nload.arrival = 'closed'\nload.resend = '500ms'
                run = {{ warmup = '0ms', duration = '800ms' }}"
            ),
            &[],
        );
        let dropped = outcome.replicas.counters.dropped_frames + outcome.clients.counters.dropped_frames;
        let malformed = outcome.replicas.counters.malformed + outcome.clients.counters.malformed;
        assert_eq!((dropped, malformed), (0, 0), "{protocol}\n{lines}");
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// A port that is taken, and before it one that nobody uses.
fn port_after_a_free_one() -> (TcpListener, SocketAddr) {
    let taken = (0..100).find_map(|_| {
        let taken = TcpListener::bind("127.0.0.1:0").ok()?;
        let address = taken.local_addr().ok()?;
        TcpListener::bind(("127.0.0.1", address.port() - 1)).ok().map(|_free| (taken, address))
    });
    taken.expect("two ports in a row")
}

/// In a process of its own, because tests beside it come and go with threads of their own.
#[test]
#[ignore = "run by `a_port_in_use_is_named_and_nothing_is_left`, alone in its process"]
fn port_in_use_alone() {
    // Replica 1's port is taken: replica 0's is bound by then, and must be free again.
    let (_taken, address) = port_after_a_free_one();
    let before = threads();
    for transport in ["uring", "tokio-tcp"] {
        let base = address.port() - 1;
        let spec = spec(&format!("cluster.transport = '{transport}'\ncluster.base_port = {base}"));
        let error = drive::measure(&spec.points()[0], spec.run(), 1, &[], &AtomicBool::new(false), &mut |_| ())
            .expect_err("the port is taken");
        let text = error.to_string();
        assert!(text.contains(&format!("cannot listen on {address}")) && text.contains("base_port"), "{text}");
        assert_eq!(threads(), before, "no thread is left");
        drop(TcpListener::bind(("127.0.0.1", base)).expect("the first replica's port is free again"));
    }
    let interrupted = AtomicBool::new(true);
    let spec = everything("tokio-tcp");
    let error = drive::measure(&spec.points()[0], spec.run(), 1, &[], &interrupted, &mut |_| ()).expect_err("stopped");
    assert!(matches!(error, drive::DriveError::Interrupted));
    assert_eq!(threads(), before, "no thread is left");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left() {
    let program = std::env::current_exe().expect("this test");
    let output = std::process::Command::new(program)
        .args(["--exact", "port_in_use_alone", "--ignored", "--test-threads=1"])
        .output()
        .expect("it can be run again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
