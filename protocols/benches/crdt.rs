//! What a merge costs: an element that is news to a large state, the same again, and all of another state.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench_protocols::NodeId;
use quorumbench_protocols::crdt::{Crdt, GCounter, LwwMap, MapUpdate, OrSet, SetUpdate};

/// Entries of the states that are joined.
const ELEMENTS: u32 = 10_000;

fn word(number: u32) -> Bytes {
    Bytes::from(format!("{number:016}"))
}

/// A state of so many updates, each at one of `nodes` replicas.
fn grown<C: Crdt>(nodes: u32, update: impl Fn(u32) -> C::Update) -> C {
    (0..ELEMENTS).fold(C::default(), |mut state, number| {
        state.join(&state.delta(NodeId(number % nodes), &update(number)));
        state
    })
}

fn merges<C: Crdt>(criterion: &mut Criterion, name: &str, state: &C, delta: &C) {
    let mut group = criterion.benchmark_group(name);
    let mut joined = state.clone();
    joined.join(delta);
    group.bench_function("delta", |bench| {
        bench.iter_batched_ref(|| state.clone(), |state| state.join(black_box(delta)), BatchSize::LargeInput);
    });
    group.bench_function("known delta", |bench| bench.iter(|| joined.join(black_box(delta))));
    group.bench_function("difference of a known delta", |bench| bench.iter(|| black_box(delta.difference(&joined))));
    let (mut same, bytes) = (state.clone(), state.encode());
    group.throughput(Throughput::Elements(state.elements()));
    group.bench_function("whole state", |bench| bench.iter(|| same.join(black_box(state))));
    group.bench_function("encode", |bench| bench.iter(|| black_box(state.encode())));
    group.bench_function("decode", |bench| bench.iter(|| black_box(C::decode(&bytes))));
    group.finish();
}

fn bench(criterion: &mut Criterion) {
    let counter: GCounter = grown(ELEMENTS, |_| 1);
    merges(criterion, "g-counter", &counter, &counter.delta(NodeId(7), &1));
    let set: OrSet = grown(15, |number| SetUpdate::Add(word(number)));
    merges(criterion, "or-set", &set, &set.delta(NodeId(7), &SetUpdate::Add(word(ELEMENTS))));
    let map: LwwMap = grown(15, |number| MapUpdate::Put(word(number), word(number)));
    merges(criterion, "lww-map", &map, &map.delta(NodeId(7), &MapUpdate::Put(word(5), word(6))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = bench
}
criterion_main!(benches);
