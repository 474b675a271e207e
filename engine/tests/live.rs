//! Figures of a run while it runs: those that its clients count, and those that anybody may ask for over HTTP.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use quorumbench::drive::{self, Extras, Phase};
use quorumbench::live::{Gauge, Live};
use quorumbench::spec::Point;
use support::desk::{Desk, PATIENCE, Said, end, fails};
use support::spec;

/// What clients counted, and what they recorded, are the same.
#[test]
fn what_is_shown_is_what_is_recorded() {
    let closed = "[cluster]\nprotocol = 'echo'\nreplicas = 1\nTRANSPORT\n[load]\narrival = 'closed'\noutstanding = 8\nclients = 2\n[run]\nwarmup = '1ms'\nduration = '1s'";
    for transport in ["transport = 'mem'", "transport = 'tokio-tcp'\nplacement = 'processes'"] {
        drive::set_program(support::desk::PROGRAM);
        let spec = spec(&closed.replace("TRANSPORT", transport));
        let live = Arc::new(Live::default());
        let (mut gauge, mut looks) = (Gauge::new(Arc::clone(&live)), Vec::new());
        let mut last = Instant::now();
        let progress = &mut |phase: Phase| {
            if last.elapsed() > Duration::from_millis(40) {
                last = Instant::now();
                looks.push((phase, gauge.look(last, phase.is_measured())));
            }
        };
        let point: &Point = &spec.points()[0];
        let extras = Extras { live: Some(Arc::clone(&live)), ..Extras::default() };
        let (outcome, _) = drive::measure_with(point, spec.run(), 1, &[], extras, &AtomicBool::new(false), progress)
            .unwrap_or_else(|error| panic!("{error}"));
        let shown = looks.iter().filter(|(phase, _)| *phase == Phase::Measuring).map(|(_, figures)| figures);
        let shown: Vec<_> = shown.collect();
        assert!(shown.len() > 2, "{looks:?}");
        assert!(
            shown.iter().any(|figures| figures.throughput > 0.0 && figures.p99_ns > Some(0)),
            "{transport}: {shown:?}"
        );
        assert!(shown.windows(2).all(|pair| pair[0].completed <= pair[1].completed), "{shown:?}");
        // What clients of other processes say is a tenth of a second old; of threads it is all there.
        let (seen, recorded) = (live.read(), &outcome.recording);
        if transport.contains("mem") {
            assert_eq!(seen.completed, recorded.tally.sent, "all that was sent was answered");
            assert_eq!((seen.errors, seen.late), (recorded.tally.unanswered, recorded.tally.late));
            let [shown, exact] =
                [seen.quantile_ns(0.5).expect("times") as f64, recorded.response.value_at_quantile(0.5) as f64];
            assert!((shown / exact - 1.0).abs() < 0.5, "the median, but for a millisecond: {shown}, {exact}");
        } else {
            assert!(seen.completed > 0 && seen.completed <= recorded.tally.sent);
        }
    }
}

const LONG: &str = "name = 'long'
[cluster]
protocol = 'echo'
replicas = 1
transport = 'mem'
[load]
arrival = 'constant'
rate = [2000, 3000]
[run]
warmup = '200ms'
duration = '3s'
";

/// A run that shows its figures, where, and what it says.
fn begin(desk: &Desk, more: &[&str]) -> (Child, SocketAddr, BufReader<ChildStderr>) {
    let mut child = desk.command(&[&["run", "x.toml", "--metrics", "0"], more].concat()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("UTF-8");
    let address = line.trim().strip_prefix("metrics: http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address: SocketAddr = address.unwrap_or_else(|| panic!("{line}")).parse().expect("an address");
    assert!(address.ip().is_loopback());
    (child, address, said)
}

/// What is answered to these bytes, if anything is.
fn ask(address: SocketAddr, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Some(String::from_utf8(answer).expect("UTF-8"))
}

fn scrape(address: SocketAddr) -> Option<String> {
    let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("application/openmetrics-text"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())) && body.ends_with("# EOF\n"), "{body}");
    Some(body.to_owned())
}

/// The value of the only sample of this name whose labels have all of `parts`.
fn sample(text: &str, name: &str, parts: &[&str]) -> Option<f64> {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let mut lines = text.lines().filter(of_name).filter(|line| parts.iter().all(|part| line.contains(part)));
    let value = lines.next()?.rsplit(' ').next()?.parse().ok()?;
    assert!(lines.next().is_none(), "one {name} in {text}");
    Some(value)
}

fn finished(child: Child, mut said: BufReader<ChildStderr>) -> Said {
    let mut err = String::new();
    said.read_to_string(&mut err).expect("UTF-8");
    Said { err, ..end(child) }
}

#[test]
fn a_run_can_be_watched_from_outside() {
    let desk = Desk::new(LONG);
    let (child, address, said) = begin(&desk, &[]);
    let measuring = "phase=\"measuring\"";
    let begin = Instant::now();
    let (mut watched, mut second) = (None, false);
    while let Some(text) = scrape(address) {
        assert!(begin.elapsed() < PATIENCE, "{text}");
        let in_window = sample(&text, "quorumbench_phase", &[measuring]) == Some(1.0);
        let p99 = sample(&text, "quorumbench_response_seconds_p99", &["protocol=\"echo\""]);
        if in_window && p99.is_some() && sample(&text, "quorumbench_commands", &[]) > Some(500.0) {
            watched = Some(text.clone());
        }
        second |= sample(&text, "quorumbench_point_index", &[]) == Some(1.0);
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = watched.expect("it was seen while it was measured");
    let labels = ["experiment=\"long\"", "protocol=\"echo\"", "rate=\"", "transport=\"mem\""];
    let throughput = sample(&text, "quorumbench_throughput_commands_per_second", &labels).expect("a throughput");
    assert!((1.0..20_000.0).contains(&throughput), "offered are two or three thousand: {throughput}");
    let [p50, p99] = ["p50", "p99"].map(|name| sample(&text, &format!("quorumbench_response_seconds_{name}"), &labels));
    assert!(p50 > Some(0.0) && p50 <= p99, "{p50:?} {p99:?}");
    assert_eq!(sample(&text, "quorumbench_points_total", &[]), Some(2.0));
    assert!(sample(&text, "quorumbench_left_seconds", &[]) < Some(60.0), "{text}");
    assert!(
        sample(&text, "quorumbench_errors", &labels) >= Some(0.0)
            && sample(&text, "quorumbench_late", &labels).is_some()
    );
    assert!(second, "the second point was seen");
    let said = finished(child, said);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn whatever_comes_over_http_the_run_goes_on() {
    let desk = Desk::new(LONG);
    let (child, address, said) = begin(&desk, &["--set", "rate=2000"]);
    // Some say nothing, and stay.
    let silent: Vec<_> = (0..3).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let flood = b"a".repeat(1 << 20);
    let mut lines = b"GET /metrics HTTP/1.1\r\n".to_vec();
    (0..100_000).for_each(|_| lines.extend_from_slice(b"x: y\r\n"));
    let hostile: [&[u8]; 8] = [
        b"",
        b"\x00\xff\xfe\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://\x1b[31m HTTP/1.1\r\n\r\n",
        b"DELETE /metrics HTTP/1.1\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        &flood,
        &lines,
    ];
    for bytes in hostile {
        // Shut, so that what is never whole ends.
        let stream = TcpStream::connect(address).expect("it listens");
        let _ = (&stream).write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = (&stream).read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(ask(address, b"GET / HTTP/1.1\r\n\r\n").is_some_and(|answer| answer.starts_with("HTTP/1.1 404")));
    assert!(scrape(address).is_some_and(|text| sample(&text, "quorumbench_points_total", &[]) == Some(1.0)));
    drop(silent);
    let said = finished(child, said);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.err.contains("panicked"), "{said:?}");
}

#[test]
fn a_quiet_run_says_where_it_can_be_watched() {
    let desk = Desk::new(LONG);
    let (child, address, said) = begin(&desk, &["--quiet", "--set", "rate=2000"]);
    assert!(scrape(address).is_some());
    let said = finished(child, said);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "and nothing else");
}

#[test]
fn an_address_that_is_taken_or_none_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let desk = Desk::new(LONG);
    fails(&desk.run(&["run", "x.toml", "--metrics", &address]), 1, &["--metrics", "choose another ADDR"]);
    let said = desk.run(&["run", "x.toml", "--metrics", "everywhere"]);
    assert!(said.code == Some(2) && said.err.contains("127.0.0.1:9100"), "{said:?}");
    assert!(!desk.path("results").exists());
}
