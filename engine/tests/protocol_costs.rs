//! What each protocol costs, counted in virtual time, beside what its papers' arithmetic says. The tables of
//! `docs/protocols.md` are exactly what is measured here; with `UPDATE=1` in the environment they are written anew.

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quorumbench::check::witness::Asked;
use quorumbench::drive::{self, Fault, FaultKind};
use quorumbench::results::PointResult;
use quorumbench::spec::{Batch, ProtocolName, Spec};
use quorumbench_protocols::Head;
use support::{run_spec, spec};

/// What a protocol's papers say that it costs, with n replicas.
struct Arithmetic {
    /// Messages for a slot, where one turn takes w slots and w messages of it can share an answer.
    messages: Formula,
    /// How many of these carry the batch.
    bodies: Formula,
    /// From the leader's getting a batch to its being committed there.
    round_trips: Formula,
    /// The mean time without service after the leader's death, in election timeouts; `None` where it never ends.
    silence: Option<Formula>,
}

/// Those that order commands.
fn protocols() -> impl Iterator<Item = ProtocolName> {
    ProtocolName::ALL.iter().copied().filter(|protocol| protocol.orders())
}

/// A line for each protocol: all that this file knows about it.
fn arithmetic(protocol: ProtocolName) -> Arithmetic {
    match protocol {
        // The first of n - 1 timeouts, each drawn between one and two.
        ProtocolName::Raft => Arithmetic {
            messages: formula!(|n, w| (n - 1.0) * (1.0 + 1.0 / w)),
            bodies: formula!(|n, _w| n - 1.0),
            round_trips: formula!(|_n, _w| 1.0),
            silence: Some(formula!(|n, _w| 1.0 + 1.0 / n)),
        },
        // An accept, its answer, and word of the decision; an idle leader takes the first of n timeouts.
        ProtocolName::MultiPaxos => Arithmetic {
            messages: formula!(|n, w| (n - 1.0) * (1.0 + 2.0 / w)),
            bodies: formula!(|n, _w| n - 1.0),
            round_trips: formula!(|_n, _w| 1.0),
            silence: Some(formula!(|n, _w| 1.0 + 1.0 / n)),
        },
        // A proposal, its acknowledgement, and a COMMIT of its own. Who looks for a leader waits one timeout that is not
        // drawn, and then a heartbeat, in which a better vote may come.
        ProtocolName::Zab => Arithmetic {
            messages: formula!(|n, w| (n - 1.0) * (1.0 + 2.0 / w)),
            bodies: formula!(|n, _w| n - 1.0),
            round_trips: formula!(|_n, _w| 1.0),
            silence: Some(formula!(|_n, _w| 1.0 + 1.0 / 10.0)),
        },
        // Prepare and promise, accept and accepted, and the news: for each slot anew, whoever proposes.
        ProtocolName::Paxos => Arithmetic {
            messages: formula!(|n, _w| 5.0 * (n - 1.0)),
            bodies: formula!(|n, _w| n - 1.0),
            round_trips: formula!(|_n, _w| 2.0),
            silence: Some(formula!(|_n, _w| 0.0)),
        },
        ProtocolName::Echo => Arithmetic {
            messages: formula!(|_n, _w| 0.0),
            bodies: formula!(|_n, _w| 0.0),
            round_trips: formula!(|_n, _w| 0.0),
            silence: None,
        },
        ProtocolName::Star => Arithmetic {
            messages: formula!(|n, w| (n - 1.0) * (1.0 + 1.0 / w)),
            bodies: formula!(|n, _w| n - 1.0),
            round_trips: formula!(|_n, _w| 1.0),
            silence: None,
        },
        ProtocolName::Gossip | ProtocolName::Crdt | ProtocolName::Database => unreachable!("it orders nothing"),
    }
}

/// A function of n and w, and how it is written.
struct Formula {
    text: &'static str,
    of: fn(f64, f64) -> f64,
}

/// A [`Formula`]'s text and function from one expression.
macro_rules! formula {
    (|$n:ident, $w:ident| $formula:expr) => {
        Formula { text: stringify!($formula), of: |$n, $w| $formula }
    };
}
use formula;

impl std::fmt::Display for Formula {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text.replace(".0", ""))
    }
}

const REPLICAS: [usize; 3] = [3, 5, 7];
/// Slots in flight where the window is full.
const WINDOW: usize = 32;
/// Bytes of a command's value: with its own length and the batch's head, 128 bytes.
const PAYLOAD: usize = 100;
const BODY_BYTES: usize = Batch::HEADER_BYTES + Batch::PREFIX_BYTES + PAYLOAD;
/// Between two replicas, and between a client and a replica: without any, a closed loop over `echo` stops time.
const ROUND_TRIP_NS: f64 = 500_000.0;
const CLIENT_ROUND_TRIP_NS: f64 = 100_000.0;

/// One command a slot, nodes whose work costs nothing, and so few heartbeats that they do not count.
fn steady(outstanding: usize, duration: &str) -> Spec {
    let names: Vec<_> = protocols().map(ProtocolName::name).collect();
    spec(&format!(
        "cluster = {{ transport = 'sim', protocol = {names:?}, replicas = {REPLICAS:?}, election_timeout = '6s', heartbeat = '2s' }}
        batch = {{ commands = 1, window = {WINDOW} }}
        load = {{ arrival = 'closed', outstanding = {outstanding}, payload = '{PAYLOAD}B' }}
        network = {{ delay = '250us', client_delay = '50us' }}
        cost = {{ turn = '0us', frame = '0us', kib = '0us' }}
        run = {{ warmup = '100ms', duration = '{duration}' }}"
    ))
}

#[test]
fn messages_bytes_and_round_trips_are_what_the_papers_say() {
    let alone = run_spec(&steady(1, "2s")).finished.points;
    let full = run_spec(&steady(WINDOW, "120ms")).finished.points;
    let (mut formulas, mut measured) = (String::new(), String::new());
    for protocol in protocols() {
        let Arithmetic { messages, bodies, round_trips, .. } = arithmetic(protocol);
        let purpose = protocol.purpose();
        writeln!(formulas, "| {protocol} | {purpose} | `{messages}` | `{bodies}` | `{round_trips}` |")
            .expect("a String takes all");
        for replicas in REPLICAS {
            let n = replicas as f64;
            let mut row = format!("| {protocol} | {replicas} |");
            let mut bytes = String::new();
            for (points, w) in [(&alone, 1.0), (&full, WINDOW as f64)] {
                let cost = point(points, protocol, replicas).cost;
                let computed = (messages.of)(n, w);
                row += &cell(cost.messages_per_slot.expect("slots were delivered"), computed, 2);
                let computed = computed * Head::BYTES as f64 + (bodies.of)(n, w) * BODY_BYTES as f64;
                bytes += &cell(cost.bytes_per_slot.expect("slots were delivered"), computed, 0);
            }
            let commit_ns = point(&alone, protocol, replicas).response_ns.p50 as f64 - CLIENT_ROUND_TRIP_NS;
            row += &bytes;
            row += &cell(commit_ns / ROUND_TRIP_NS, (round_trips.of)(n, 1.0), 2);
            writeln!(measured, "{row}").expect("a String takes all");
        }
    }
    documented("arithmetic", &formulas);
    documented("costs", &measured);
}

/// More batches are brought than the window takes: what waited goes out in the turn in which its place became free, and
/// its accepts say what was decided. In ZAB that is a COMMIT all the same.
#[test]
fn what_waits_takes_along_what_is_decided() {
    let points = run_spec(&steady(2 * WINDOW, "120ms")).finished.points;
    for replicas in REPLICAS {
        let messages = |protocol| point(&points, protocol, replicas).cost.messages_per_slot.expect("slots");
        let computed = |protocol| (arithmetic(protocol).messages.of)(replicas as f64, WINDOW as f64);
        cell(messages(ProtocolName::MultiPaxos), computed(ProtocolName::Raft), 2);
        cell(messages(ProtocolName::Zab), computed(ProtocolName::Zab), 2);
    }
}

fn point(points: &[PointResult], protocol: ProtocolName, replicas: usize) -> &PointResult {
    let is_it = |point: &&PointResult| point.axis("protocol") == protocol.name() && point.axes["replicas"] == replicas;
    points.iter().find(is_it).expect("every protocol and size was run")
}

/// A cell of a table: what was measured, beside what was computed, which it must be to within 1 %.
fn cell(measured: f64, computed: f64, decimals: usize) -> String {
    // Histograms have three digits.
    assert!(
        (measured - computed).abs() <= 0.01 * computed.max(0.1),
        "{measured} was measured, and {computed} computed"
    );
    let computed = format!("{computed:.decimals$}");
    let short = if decimals > 0 { computed.trim_end_matches('0').trim_end_matches('.') } else { &computed };
    format!(" {measured:.decimals$} ({short}) |")
}

/// Rounds of phase 1 and messages for a slot, in `bench-configs/paxos-duel.toml`.
#[test]
fn competing_proposers_take_rounds() {
    const PROPOSERS: [usize; 4] = [1, 2, 3, 5];
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench-configs/paxos-duel.toml");
    let points = run_spec(&Spec::load(&config, &[]).expect("a bundled config")).finished.points;
    let mut measured = String::new();
    for backoff in ["100us", "400us", "2ms"] {
        let mut row = format!("| {backoff} |");
        for proposers in PROPOSERS {
            let is_it = |point: &&PointResult| {
                point.axis("backoff") == backoff && point.axes["proposers"] == proposers && point.axes["replicas"] == 5
            };
            let cost = points.iter().find(is_it).expect("it was run").cost;
            let (rounds, messages) = (cost.rounds_per_slot.expect("slots"), cost.messages_per_slot.expect("slots"));
            if proposers == 1 {
                cell(rounds, 1.0, 2);
                cell(messages, (arithmetic(ProtocolName::Paxos).messages.of)(5.0, 1.0), 1);
            } else {
                assert!(rounds > 1.0, "{proposers} proposers that wait {backoff} never met");
            }
            write!(row, " {rounds:.2}, {messages:.0} |").expect("a String takes all");
        }
        writeln!(measured, "{row}").expect("a String takes all");
    }
    documented("duel", &measured);
}

/// How often a leader dies, each time in another world.
const DEATHS: u64 = 32;
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
const GAP: Duration = Duration::from_millis(10);

/// A command every [`GAP`], one at a time, from a client beside all replicas that soon asks the next one.
fn mortal(protocol: ProtocolName, replicas: usize) -> Spec {
    spec(&format!(
        "cluster = {{ transport = 'sim', protocol = '{protocol}', replicas = {replicas}, election_timeout = '{}s', heartbeat = '100ms' }}
        load = {{ arrival = 'constant', rate = {}, in_flight_limit = 1, resend = '2ms' }}
        network = {{ delay = '100us', client_delay = '0us' }}
        cost = {{ turn = '0us', frame = '0us', kib = '0us' }}
        run = {{ warmup = '100ms', duration = '2500ms' }}",
        ELECTION_TIMEOUT.as_secs(),
        1.0 / GAP.as_secs_f64(),
    ))
}

/// The longest time without an answer, less the usual, in election timeouts, in a world whose leader dies; `None` if
/// no answer came any more. What was answered is verified.
fn silence(spec: &Spec, seed: u64) -> Option<f64> {
    let point = &spec.points()[0];
    // All over the time between two commands.
    let at = Duration::from_millis(100) + GAP * seed as u32 / DEATHS as u32;
    let dies = Fault::new(at, FaultKind::Kill);
    let (outcome, trace) =
        drive::measure_and_trace(point, spec.run(), seed, &[dies], true, &AtomicBool::new(false), &mut |_| ())
            .expect("it runs");
    trace.verify(point.cluster.machine).expect("what was answered survives");
    let answered = trace.clients.iter().flat_map(|client| &client.asked).map(|asked| asked.answered_ns);
    let mut answered: Vec<_> = answered.filter(|&at| at != Asked::UNANSWERED).collect();
    answered.sort_unstable();
    let longest = answered.windows(2).map(|pair| pair[1] - pair[0]).max().expect("commands were answered");
    let silent = (longest as f64 - GAP.as_nanos() as f64) / ELECTION_TIMEOUT.as_nanos() as f64;
    (outcome.recording.tally.unanswered == 0).then_some(silent)
}

#[test]
fn the_time_without_service_is_what_the_election_timeouts_say() {
    let mut measured = String::new();
    for protocol in protocols() {
        for replicas in REPLICAS {
            let spec = mortal(protocol, replicas);
            let row = silence_cells(protocol, replicas, (0..DEATHS).map(|seed| silence(&spec, seed)));
            writeln!(measured, "| {protocol} | {replicas} |{row}").expect("a String takes all");
        }
    }
    documented("silence", &measured);
}

fn silence_cells(protocol: ProtocolName, replicas: usize, mut silences: impl Iterator<Item = Option<f64>>) -> String {
    let Some(formula) = arithmetic(protocol).silence else {
        assert_eq!(silences.next(), Some(None), "{protocol} survives its leader");
        return " for ever | for ever | for ever |".into();
    };
    let silences: Vec<f64> = silences.map(|each| each.expect("service returns")).collect();
    let (mean, longest) = (mean(&silences), silences.iter().copied().fold(0.0, f64::max));
    let computed = (formula.of)(replicas as f64, 1.0);
    // Four standard errors, and what finding the new leader takes.
    let slack = 4.0 * deviation(&silences) / (silences.len() as f64).sqrt() + 0.02;
    assert!((mean - computed).abs() < slack, "{protocol} of {replicas}: {mean}, and not {computed}");
    format!(" `{formula}` = {computed:.2} | {mean:.2} | {longest:.2} |")
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// Holds the rows of a table of `docs/protocols.md` against `rows`, or writes them there.
fn documented(table: &str, rows: &str) {
    static PAGE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocols.md");
    let page = std::fs::read_to_string(&path).expect("docs/protocols.md");
    let (before, rest) = page.split_once(&format!("<!-- {table} -->\n")).expect("where the table begins");
    let (old, after) = rest.split_once("\n\n").expect("an empty line after the table");
    let head = old.lines().take(2);
    let new = head.chain(rows.lines()).collect::<Vec<_>>().join("\n");
    if std::env::var_os("UPDATE").is_some() {
        let page = format!("{before}<!-- {table} -->\n{new}\n\n{after}");
        std::fs::write(&path, page).expect("docs/protocols.md can be written");
    } else {
        assert_eq!(old, new, "docs/protocols.md is out of date: run this test with UPDATE=1");
    }
}
