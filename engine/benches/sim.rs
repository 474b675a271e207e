//! Simulated events per second on one core, all properties checked after each.
//!
//! The goal is a million; measured were 3.5 (290 ns an event) on one core of a shared two-core machine. An
//! event is one turn of a node and all that hangs on it: the event is moved into and out of a slab, the
//! heap is sifted by one 16-byte key, the protocol steps and flushes, and the checkers compare the ends of
//! one log. Calm worlds and broken ones cost the same, so faults are not what bounds it; that leaves the
//! turn and the memory that it touches. Nothing is allocated an event, only a batch: its bytes, and its
//! place in the logs.

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
