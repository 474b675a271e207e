//! A run's figures for Prometheus, over HTTP.
//!
//! One connection at a time, each for a second at most, on a thread that the run never waits for. What comes over it may be
//! anything: it is read up to a few kilobytes, and answered or not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::drive::Phase;
use crate::live::Status;

/// Answers who asks for the figures, for as long as this process lives.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    status: Arc<Mutex<Status>>,
}

impl Metrics {
    /// Listens on `address`; of its port 0 the system makes one that is free.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub fn serve(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let status: Arc<Mutex<Status>> = Arc::default();
        let shown = Arc::clone(&status);
        let body = move || {
            for stream in listener.incoming() {
                match stream {
                    // Whoever hangs up has had enough.
                    Ok(stream) => drop(answer(stream, &shown)),
                    // Out of files, perhaps: not for ever.
                    Err(_) => thread::sleep(PATIENCE),
                }
            }
        };
        thread::Builder::new().name("metrics".into()).spawn(body)?;
        Ok(Self { address, status })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it shows from now on.
    pub(crate) fn show(&self, status: &Status) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone_from(status);
    }
}

/// `9100`, on this machine only; or `0.0.0.0:9100`, for everybody.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<u16>().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    bare.or_else(|_| text.parse())
        .map_err(|_| "a port is wanted, or an address and a port, as in 127.0.0.1:9100".into())
}

/// For how long one who asks is heard.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a request may have, its headers included.
const MOST_BYTES: usize = 8 << 10;
const MOST_HEADERS: usize = 64;
/// What of a request is still heard after its answer.
const MOST_UNREAD: usize = 1 << 20;

/// Reads one request, answers it, and hangs up.
fn answer(mut stream: TcpStream, status: &Mutex<Status>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 1024]);
    let reply = loop {
        let read = read(&mut stream, &mut piece, until)?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..read]);
        if let Some(reply) = reply(&bytes, || text(&status.lock().unwrap_or_else(PoisonError::into_inner))) {
            break reply;
        }
    };
    stream.write_all(reply.as_bytes())?;
    // To hang up on what is not read yet would reset the connection, and the answer may be lost with it (RFC 9112, 9.6).
    stream.shutdown(Shutdown::Write)?;
    let mut unread = 0;
    while unread < MOST_UNREAD {
        match read(&mut stream, &mut piece, until)? {
            0 => break,
            more => unread += more,
        }
    }
    Ok(())
}

/// What comes until then; nothing at the end.
fn read(stream: &mut TcpStream, piece: &mut [u8], until: Instant) -> io::Result<usize> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(0);
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(piece)
}

/// What a request is answered, once it is complete, or cannot be.
fn reply(request: &[u8], metrics: impl FnOnce() -> String) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let plain = "text/plain; charset=utf-8";
    let refuse = |status: &str, why: &str| Some(response(status, plain, &format!("{why}\n"), true));
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) if request.len() < MOST_BYTES => return None,
        Ok(httparse::Status::Partial) => return refuse("431 Request Header Fields Too Large", "too long"),
        Err(_) => return refuse("400 Bad Request", "that is no HTTP"),
        Ok(httparse::Status::Complete(_)) => {}
    }
    let path = parsed.path.and_then(|path| path.split('?').next());
    match (parsed.method, path) {
        (Some(method @ ("GET" | "HEAD")), Some("/metrics")) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Some(response("200 OK", kind, &metrics(), method == "GET"))
        }
        (Some("GET" | "HEAD"), _) => refuse("404 Not Found", "there is /metrics"),
        _ => refuse("405 Method Not Allowed", "GET /metrics"),
    }
}

fn response(status: &str, kind: &str, body: &str, whole: bool) -> String {
    let length = body.len();
    let body = if whole { body } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n{body}"
    )
}

type Labels = Vec<(String, String)>;
type Values = Family<Labels, Gauge<f64, AtomicU64>>;

const PHASES: [(Phase, &str); 5] = [
    (Phase::Starting, "starting"),
    (Phase::WarmingUp, "warming_up"),
    (Phase::Measuring, "measuring"),
    (Phase::Draining, "draining"),
    (Phase::Checking, "checking"),
];

/// `OpenMetrics`, all gauges: each point begins from zero.
fn text(status: &Status) -> String {
    let mut registry = Registry::with_prefix("quorumbench");
    let experiment = vec![("experiment".to_owned(), status.name.clone())];
    let labels: Labels = experiment
        .iter()
        .cloned()
        .chain(status.axes.iter().map(|(name, value)| (label(name), value.clone())))
        .collect();
    let mut gauge = |name: &str, help: &str, labels: &Labels, value: f64| {
        let family = Values::default();
        family.get_or_create(labels).set(value);
        registry.register(name, help, family);
    };
    let figures = &status.figures;
    gauge("point_index", "The point that runs, from 0", &experiment, status.index as f64);
    gauge("points_total", "How many points the run has", &experiment, status.total as f64);
    if let Some(left) = status.left {
        gauge("left_seconds", "How long the run still takes", &experiment, left.as_secs_f64());
    }
    if let Some((finished, of)) = status.trials {
        gauge("trials_finished", "Trials of the point that are finished", &labels, finished as f64);
        gauge("trials_planned", "Trials that the point has", &labels, of as f64);
    }
    if status.phase.is_some() {
        let help = "Commands answered in the last second";
        gauge("throughput_commands_per_second", help, &labels, figures.throughput);
        gauge("commands", "Commands answered in the window so far", &labels, figures.completed as f64);
        gauge("errors", "Commands given up in the window so far", &labels, figures.errors as f64);
        gauge(
            "late",
            "Commands in the window so far that were due and could not be sent",
            &labels,
            figures.late as f64,
        );
        let families =
            [("response_seconds_p50", figures.p50_so_far_ns), ("response_seconds_p99", figures.p99_so_far_ns)];
        for (name, ns) in families {
            let help = "Response time in the window so far, to a sixteenth";
            ns.into_iter().for_each(|ns| gauge(name, help, &labels, ns as f64 / 1e9));
        }
    }
    let phases = Values::default();
    for (phase, name) in PHASES {
        let labels: Labels = labels.iter().cloned().chain([("phase".to_owned(), name.to_owned())]).collect();
        phases.get_or_create(&labels).set(f64::from(u8::from(status.phase == Some(phase))));
    }
    registry.register("phase", "1 for the phase that the point is in", phases);
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// An axis as the name of a label may be.
fn label(axis: &str) -> String {
    axis.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_is_this_machines_own() {
        assert_eq!(address("9100"), Ok(([127, 0, 0, 1], 9100).into()));
        assert_eq!(address("0.0.0.0:0"), Ok(([0, 0, 0, 0], 0).into()));
        assert!(address("[::1]:9100").is_ok_and(|address| address.is_ipv6()));
        for wrong in ["", "70000", "localhost", "1.2.3.4", ":9100"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_is_answered_once_it_is_whole() {
        let reply = |request: &[u8]| reply(request, || "figures".into());
        let status = |request: &[u8]| reply(request).map(|reply| reply.split(' ').nth(1).expect("a status").to_owned());
        assert_eq!(reply(b""), None);
        assert_eq!(reply(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"), None);
        assert!(reply(b"GET /metrics?a=b HTTP/1.1\r\n\r\n").is_some_and(|reply| reply.ends_with("\r\n\r\nfigures")));
        assert!(reply(b"HEAD /metrics HTTP/1.0\r\n\r\n").is_some_and(|reply| reply.ends_with("\r\n\r\n")));
        for (request, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"\x16\x03\x01\x02\x00\x01", "400"),
            (b"GET /metrics HTTP/9.9\r\n\r\n", "400"),
            (&[b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(100), b"\r\n".to_vec()].concat(), "400"),
            (&[b"GET /".to_vec(), vec![b'a'; 10_000]].concat(), "431"),
        ] {
            assert_eq!(status(request).as_deref(), Some(expected));
        }
    }

    #[test]
    fn who_says_too_much_is_told_so() {
        let metrics = Metrics::serve(([127, 0, 0, 1], 0).into()).expect("a port");
        let ask = |request: &[u8]| {
            let mut stream = TcpStream::connect(metrics.address()).expect("it listens");
            stream.write_all(request).expect("it is heard to its end");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("the connection is not reset");
            answer.split(' ').nth(1).map(str::to_owned)
        };
        let head = b"GET /metrics HTTP/1.1\r\n".to_vec();
        for _ in 0..20 {
            assert_eq!(ask(&b"a".repeat(200_000)).as_deref(), Some("431"));
            assert_eq!(ask(&[head.clone(), b"x: y\r\n".repeat(10_000)].concat()).as_deref(), Some("400"));
            assert_eq!(ask(&[head.clone(), b"\r\n".to_vec(), vec![b'x'; 200_000]].concat()).as_deref(), Some("200"));
        }
    }

    #[test]
    fn hostile_names_are_no_lines_of_their_own() {
        let axes = vec![("storage.path".to_owned(), "a\"b\nquorumbench_errors 7\\".to_owned())];
        let status = Status { axes, phase: Some(Phase::Measuring), ..Status::default() };
        let text = text(&status);
        assert!(text.contains(r#"storage_path="a\"b\nquorumbench_errors 7\\""#), "{text}");
        assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("quorumbench_")), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("quorumbench_errors 7")) && text.ends_with("# EOF\n"));
    }
}
