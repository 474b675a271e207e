//! A protocol's own speed of light: nanoseconds of a slot in `step` and `flush`, with no transport,
//! disk or clock around it.
//!
//! What bounds it: reference counts. A leader holds a slot's payload in its log, a record, a transmit
//! and a delivery, a follower in all but the transmit, and each handle is an atomic increment and an
//! atomic decrement: about 40 % of the time. Then come the heads and the outbox entries, 192 bytes for
//! each transmit and record. The size of the batch does not matter, because nobody looks inside: the
//! figures for 1, 16 and 256 commands are the same, and would stop being so with the first copy.
//! `turn=16` shows what a turn costs apart from its slots: one acknowledgement, one commit and one sort
//! for all of them.

mod played;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use played::{Subject, all, batch, cluster, follow, lead};
use quorumbench_protocols::floors::Star;
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;

fn bench<P: Subject>(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (commands, turn) in [(1, 1), (16, 1), (256, 1), (16, 16)] {
        let body = batch(commands);
        let name = |role| format!("{}/{role}/batch={commands}/turn={turn}", P::NAME);
        group.throughput(Throughput::Elements(turn));
        group.bench_function(name("leader"), |bencher| {
            let (mut node, mut next) = P::leading();
            bencher.iter(|| lead(&mut node, &mut next, turn, &body));
        });
        group.bench_function(name("follower"), |bencher| {
            let (mut node, mut next) = P::following();
            bencher.iter(|| follow(&mut node, &mut next, turn, &body));
        });
        group.bench_function(name("three nodes"), |bencher| {
            let (mut nodes, mut frames) = (cluster::<P>(), Vec::new());
            bencher.iter(|| all(&mut nodes, &mut frames, turn, &body));
        });
    }
}

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slot");
    bench::<Raft>(&mut group);
    bench::<MultiPaxos>(&mut group);
    bench::<Zab>(&mut group);
    bench::<Star>(&mut group);
    group.finish();
}

criterion_group!(benches, slots);
criterion_main!(benches);
