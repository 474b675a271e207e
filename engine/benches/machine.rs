//! What a snapshot of the key-value machine costs: for so long the replica that takes it does nothing else.
//!
//! Measured were 14 ms for a hundred thousand keys and 250 ms for a million (22 and 640 ms to become one), on a shared
//! two-core machine that was busy with other things. Sorting is not what bounds it: each key and value is a place of its
//! own in memory, looked at once. So replicas take none while they agree to let go of their logs
//! (`cluster.snapshot_basis`).

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench::batch::{BatchHead, Commands, Writer};
use quorumbench::machine::{Kv, KvCommand, Machine};
use quorumbench_protocols::{Payload, Prng};

/// The binary's allocator, or the figures would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A map of so many keys as a load writes them, in no order.
fn filled(keys: u64) -> Kv {
    let (mut kv, mut prng, mut results) = (Kv::default(), Prng::new(7), BytesMut::new());
    let mut order: Vec<u64> = (0..keys).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, prng.below(last as u64 + 1) as usize);
    }
    for keys in order.chunks(64) {
        let mut chunk = BytesMut::new();
        let mut writer = Writer::new(&mut chunk, BatchHead::default());
        for key in keys {
            writer.command(|chunk| KvCommand::Put(&key.to_le_bytes(), &[0x5a; 16]).write(chunk));
        }
        let body = Payload::from(writer.finish());
        let head = BatchHead::read(&body).expect("a batch");
        kv.apply(&head, Commands::new(&head, &body), &mut results);
        results.clear();
    }
    kv
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10);
    for keys in [100_000, 1_000_000] {
        let kv = filled(keys);
        group.throughput(Throughput::Elements(keys));
        group.bench_function(format!("take/{keys}"), |bencher| {
            bencher.iter(|| {
                let mut bytes = BytesMut::new();
                kv.snapshot(&mut bytes);
                black_box(bytes)
            });
        });
        let mut bytes = BytesMut::new();
        kv.snapshot(&mut bytes);
        group.bench_function(format!("restore/{keys}"), |bencher| {
            bencher.iter_batched_ref(Kv::default, |kv| assert!(kv.restore(&bytes)), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, snapshots);
criterion_main!(benches);
