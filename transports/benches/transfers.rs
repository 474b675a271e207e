//! Every transport beside every other, in one table: frames one way, for payloads of 0 B to 64 KiB and
//! batches of 1 to 512.
//!
//! The rounds go through all transports in turn, so that what else the machine does falls on each alike,
//! and the median round stands for a cell. `cargo bench --bench transfers -- transports=uring,quic
//! payloads=0,1024 batches=128 rounds=15` measures some of it.

use std::fmt::Write;
use std::time::Duration;

use quorumbench_protocols::Head;
use quorumbench_transports::Options;
use quorumbench_transports::quic::QuicOptions;

#[path = "transfer/ends.rs"]
#[allow(dead_code, reason = "the other bench has more rows")]
mod ends;
#[path = "transfer/flow.rs"]
#[allow(dead_code, reason = "the other bench has more rows")]
mod flow;

use ends::{mem_ends, quic_ends, tokio_tcp_ends, uring_ends};
use flow::{Cost, one_way};

/// Frames one way, in batches of so many, with payloads of so many bytes.
type Run = fn(u64, usize, usize) -> Cost;

/// The columns.
const TRANSPORTS: [(&str, Run); 5] = [
    ("mem", |frames, batch, payload| one_way(mem_ends(&Options::default()), frames, batch, payload)),
    ("uring", |frames, batch, payload| one_way(uring_ends(&Options::default()), frames, batch, payload)),
    ("tokio-tcp", |frames, batch, payload| one_way(tokio_tcp_ends(&Options::default()), frames, batch, payload)),
    ("quic", |frames, batch, payload| one_way(quic_ends(&Options::default()), frames, batch, payload)),
    ("quic-1452", |frames, batch, payload| one_way(quic_ends(&ethernet()), frames, batch, payload)),
];
const PAYLOADS: [usize; 6] = [0, 16, 64, 1 << 10, 16 << 10, 64 << 10];
const BATCHES: [usize; 5] = [1, 8, 32, 128, 512];
const ROUNDS: usize = 3;

/// What a measurement of a cell sends: it is over in some tenths of a second.
const FRAMES: u64 = 300_000;
const BYTES: u64 = 128 << 20;
const BATCHES_SENT: u64 = 10_000;

/// QUIC as it is over an Ethernet.
fn ethernet() -> Options {
    Options { quic: QuicOptions { mtu: 1452, ..QuicOptions::default() }, ..Options::default() }
}

/// What is to be measured.
struct Plan {
    transports: Vec<(&'static str, Run)>,
    payloads: Vec<usize>,
    batches: Vec<usize>,
    rounds: usize,
}

impl Plan {
    /// All of it, or what the command line says.
    fn read(arguments: impl Iterator<Item = String>) -> Self {
        let (transports, payloads, batches) = (TRANSPORTS.to_vec(), PAYLOADS.to_vec(), BATCHES.to_vec());
        let mut plan = Self { transports, payloads, batches, rounds: ROUNDS };
        for argument in arguments.filter(|argument| !argument.starts_with('-')) {
            let (key, value) = argument.split_once('=').unwrap_or_else(|| panic!("`{argument}` is not `key=value`"));
            let numbers = || value.split(',').map(|number| number.parse().expect("a number")).collect::<Vec<usize>>();
            match key {
                "transports" => plan.transports.retain(|(name, _)| value.split(',').any(|wanted| wanted == *name)),
                "payloads" => plan.payloads = numbers(),
                "batches" => plan.batches = numbers(),
                "rounds" => plan.rounds = numbers()[0],
                _ => panic!("`{key}`: transports, payloads, batches or rounds"),
            }
        }
        plan
    }

    /// The median of each transport's rounds.
    fn measure(&self, payload: usize, batch: usize) -> Vec<Cost> {
        let frames = FRAMES.min(BYTES / (Head::BYTES + payload) as u64).min(BATCHES_SENT * batch as u64);
        let mut costs = vec![Vec::new(); self.transports.len()];
        for _ in 0..self.rounds {
            for (costs, (_, run)) in costs.iter_mut().zip(&self.transports) {
                costs.push(run(frames, batch, payload));
            }
        }
        costs
            .iter()
            .map(|costs| Cost {
                wall: median(costs, |cost| cost.wall),
                cpu: median(costs, |cost| cost.cpu),
                ..costs[0]
            })
            .collect()
    }
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> Duration) -> Duration {
    let mut all: Vec<Duration> = costs.iter().map(of).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn main() {
    let plan = Plan::read(std::env::args().skip(1));
    println!("Millions of frames a second, and nanoseconds of CPU a frame, of both ends.\n");
    let (mut heads, mut line) = ("| payload | batch |".to_owned(), "|---:|---:|".to_owned());
    for (name, _) in &plan.transports {
        write!(heads, " {name} |").expect("there is memory");
        line.push_str("---:|");
    }
    println!("{heads}\n{line}");
    for &payload in &plan.payloads {
        for &batch in &plan.batches {
            let mut row = format!("| {payload} | {batch} |");
            for Cost { frames, wall, cpu, .. } in plan.measure(payload, batch) {
                let rate = frames as f64 / wall.as_secs_f64() / 1e6;
                write!(row, " {rate:.3}, {:.0} |", cpu.as_nanos() as f64 / frames as f64).expect("there is memory");
            }
            println!("{row}");
        }
    }
}
