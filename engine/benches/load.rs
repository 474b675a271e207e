//! The load generator alone: what a command costs a client, with no transport, no cluster and no
//! wall clock around it.
//!
//! Every turn the client takes the answers to the batch of the turn before and sends the next. The
//! answers are synthesised, one frame a batch, so the figure is the generator's and nothing else's:
//! drawing arrivals and keys, writing commands, and recording three times each. It must stay under
//! 100 ns a command, or the generator is what is measured.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorumbench::batch::BatchHead;
use quorumbench::client::{Client, ClientOptions, Pace};
use quorumbench::load::{Arrivals, CommandStream, Mix, Schedule};
use quorumbench::measure::Window;
use quorumbench::request::Request;
use quorumbench::spec::Keys;
use quorumbench_protocols::{Frame, Nanos, NodeId, Payload, Slot};

/// The binary's allocator, or the figures would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;
/// Virtual time between two turns, in which an open loop at [`RATE`] brings one batch on average.
const TURN_NS: u64 = 64_000;
const RATE: f64 = 1e6;
const SERVER: NodeId = NodeId(0);

/// A client, and a cluster that answers at once.
struct Bench {
    client: Client,
    now: Nanos,
}

impl Bench {
    fn new(mix: Mix, pace: Pace) -> Self {
        let options = ClientOptions {
            id: NodeId(3),
            replicas: 3,
            groups: 1,
            batch_commands: BATCH,
            batch_bytes: 64 << 10,
            linger: Duration::ZERO,
            resend: Duration::from_secs(1),
            in_flight_limit: 1 << 16,
            reads: None,
            anywhere: false,
        };
        let mut bench = Self { client: Client::new(options, CommandStream::new(mix, 7)), now: Nanos(0) };
        bench.turn();
        bench.turn();
        assert!(bench.client.ready());
        bench.client.start(pace, Window { from: Nanos(0), until: Nanos(u64::MAX / 2) }, Nanos::NEVER);
        bench
    }

    /// One turn, and the answers to what it sent. How many commands that was.
    fn turn(&mut self) -> u64 {
        self.now += TURN_NS;
        self.client.turn(self.now);
        let mut commands = 0;
        let mut answers = std::mem::take(&mut self.client.inbox);
        for transmit in self.client.transmits().drain(..) {
            let head = BatchHead::read(&transmit.body).expect("a batch");
            commands += u64::from(head.commands);
            let answer = Request::Applied { first: head.sequence, batches: 1, slot: Slot(1) }.head(SERVER);
            answers.push(Frame { head: answer, body: Payload::EMPTY });
        }
        self.client.inbox = answers;
        black_box(commands)
    }
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    group.throughput(Throughput::Elements(1));
    let opaque = Mix::Opaque { payload: 16 };
    let kv = Mix::Kv { payload: 16, reads: 0.5, keys: Keys::Zipf { count: 1_000_000, exponent: 0.99 } };
    let closed = Pace::Closed { outstanding: BATCH };
    let poisson = Pace::Open(Arrivals::new(Schedule::Poisson, RATE, Nanos(0), 7));
    for (name, mix, pace) in [
        ("closed/opaque", opaque, closed.clone()),
        ("poisson/opaque", opaque, poisson.clone()),
        ("closed/kv-zipf", kv, closed),
        ("poisson/kv-zipf", kv, poisson),
    ] {
        group.bench_function(name, |bencher| {
            // As many turns as bring the commands that were asked for, give or take a batch in millions.
            bencher.iter_custom(|commands| {
                let mut bench = Bench::new(mix, pace.clone());
                let begin = std::time::Instant::now();
                let mut done = 0;
                while done < commands {
                    done += bench.turn();
                }
                begin.elapsed().mul_f64(commands as f64 / done as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
