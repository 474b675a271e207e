//! Simulated events per second on one core, all properties checked after each.
//!
//! The goal is a million. What bounds it is memory, not logic: an event lies in a slab of a few hundred
//! lines and is moved in and out (a frame is 64 bytes of head and a handle), the heap is sifted by one
//! 16-byte key, and a turn touches the node, its disk, its links and the checkers' copy of its log. A
//! step and its flush are about a third; the queue, the trace's ring and the checkers share the rest.
//! Nothing is allocated an event, only a batch: its bytes, and its place in the logs.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorumbench::sim::{Fault, Wishes, protocols};
use quorumbench::spec::ProtocolName;

/// The binary's allocator, or the figures would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    for (name, without) in [("calm", Fault::ALL.to_vec()), ("swarm", Vec::new())] {
        let wishes = Wishes { without, ..Wishes::default() };
        group.bench_function(name, |bencher| {
            // As many whole worlds as bring the events that were asked for, and the time scaled to those.
            bencher.iter_custom(|events| {
                let (mut done, mut seed, mut spent) = (0, 0, Duration::ZERO);
                while done < events {
                    seed += 1;
                    let begin = std::time::Instant::now();
                    let outcome = protocols::run(ProtocolName::Raft, seed, &wishes, None).expect("raft is no floor");
                    spent += begin.elapsed();
                    assert!(outcome.failure.is_none());
                    done += outcome.stats.events;
                }
                spent.mul_f64(events as f64 / done as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
