//! What a shaped link costs: frames in batches over rings, from one end to the other on one thread, as they are, held
//! for no time, and held for some. Nothing ever sleeps, and what is shown is CPU time. The line after each says how many
//! were under way at once, and how late they left.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::shape::{Distribution, LinkModel, LinkState, Shape};
use quorumbench_transports::{Clock, Options, Transport, mem};
use rustix::time::{ClockId, clock_gettime};

const BATCH: u64 = 128;
const MS: Duration = Duration::from_millis(1);
/// Frames that may be under way: more than are sent in the longest delay.
const WINDOW: u64 = 1 << 18;

/// Frames that a figure is taken from.
const LEAST: u64 = 1 << 19;

/// Two ends of rings that hold a window.
fn ends() -> (Clock, mem::Mem, mem::Mem) {
    let clock = Clock::start();
    let mut nodes = mem::mesh(2, clock, &Options { link_frames: 1 << 18, ..Options::default() });
    let (one, zero) = (nodes.pop().expect("two"), nodes.pop().expect("two"));
    (clock, zero, one)
}

/// The CPU time that so many frames take from one end to the other, once the first has come; and the most that were
/// under way.
fn through(sender: &mut impl Transport, receiver: &mut impl Transport, frames: u64) -> (Duration, u64) {
    let (mut out, mut inbox, mut unheard) = (Vec::new(), Vec::<Frame>::new(), Vec::new());
    let (mut sent, mut come, mut most) = (0_u64, 0, 0);
    let mut begin = None;
    loop {
        if sent - come + BATCH <= WINDOW {
            let head = |number| Head { kind: 1, from: NodeId(0), words: [number; 6], ..Head::default() };
            let to = Recipients::One(NodeId(1));
            out.extend((sent..sent + BATCH).map(|number| Transmit { to, head: head(number), body: Payload::EMPTY }));
            sent += BATCH;
            sender.send(&mut out).expect("rings do not fail");
        }
        sender.recv(Nanos::ZERO, &mut unheard).expect("rings do not fail");
        receiver.recv(Nanos::ZERO, &mut inbox).expect("rings do not fail");
        come += inbox.len() as u64;
        inbox.drain(..).for_each(|frame| drop(black_box(frame)));
        most = most.max(sent - come);
        match begin {
            None if come > 0 => begin = Some((cpu(), come)),
            Some((at, before)) if come - before >= LEAST => {
                return (cpu().saturating_sub(at).mul_f64(frames as f64 / (come - before) as f64), most);
            }
            _ => {}
        }
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("it does not go back")
}

fn cost(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shape");
    group.throughput(Throughput::Elements(1));
    group.bench_function("none", |bencher| {
        bencher.iter_custom(|frames| {
            let (_, mut zero, mut one) = ends();
            through(&mut zero, &mut one, frames).0
        });
    });
    let still = LinkModel::late(Duration::ZERO);
    let late = LinkModel::late(MS);
    for (name, model) in [
        ("0 ms", still),
        ("1 ms", late),
        ("1 ms, 1 GB/s", LinkModel { rate: Some(1 << 30), ..late }),
        ("1 ms, exponential jitter", LinkModel { jitter: MS / 10, ..late }),
        ("1 ms, normal jitter", LinkModel { jitter: MS / 10, distribution: Distribution::Normal, ..late }),
        ("1 ms, a tenth held back", LinkModel { reorder: 0.1, reorder_delay: MS, ..late }),
    ] {
        let mut said = None;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|frames| {
                let (clock, zero, mut one) = ends();
                let links = (0..2).map(|to| LinkState::new(&model, to));
                let mut zero = Shape::new(zero, clock, links, 1 << 30);
                let (took, held) = through(&mut zero, &mut one, frames);
                let late = [0.5, 0.99].map(|share| zero.lateness().value_at_quantile(share));
                said = Some((held, late));
                took
            });
        });
        if let Some((held, [p50, p99])) = said {
            println!("{name}: at most {held} under way; late by {p50} ns at p50 and {p99} at p99");
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(2 * Duration::from_secs(1));
    targets = cost
}
criterion_main!(benches);
