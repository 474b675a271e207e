//! Contacts a second of a population on one core: `elem/s` is contacts/s.
//!
//! A contact is a draw of a partner, a look at a bit, and, where the rumor is news, a bit to set. What is measured is CPU
//! time, of whole epidemics from the first node to the end, with the arrivals of each round counted. `bare` is the least
//! that push anti-entropy could be: a multiplication for a partner, and a byte a node for the round of its arrival.
//!
//! On one core of a two-core virtual machine that did nothing else, at a million nodes: `bare` 362 million contacts a
//! second, push anti-entropy 384 and rumors with counters 126. A partner costs three multiplications and not one, for a
//! generator that is the crate's and 64 bits of which none is wasted on a bias; bits for bytes win that back, as they stay
//! in the second cache. A rumor's contact has what the node learns on top: four words to read and write, in the order of
//! the nodes, in its turn and at the cycle's end.
//!
//! In asynchronous rounds, `elem/s` of the group `event` is turns/s: each an event on a timing wheel, of every node, whether
//! it has anything to tell or not. `bare wheel` is the least that these could be: the same wheel, and in each turn what
//! `bare` does. Of what is `late`, messages take a random time, and each that arrives is an event, too. There 250 million
//! events a second are bare, 142 those of push anti-entropy, and 145 if it is late: a message is cheaper than a turn, which
//! ends a cycle, draws a partner, and is planned again.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench::population::Population;
use quorumbench::spec::Spec;
use quorumbench_protocols::Prng;
use rustix::time::{ClockId, clock_gettime};

/// The binary's allocator, or the figures would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KINDS: [(&str, &str); 6] = [
    ("anti-entropy push", "style = 'anti-entropy'"),
    ("anti-entropy push-pull", "style = 'anti-entropy', exchange = 'push-pull'"),
    ("rumor push counter", "k = 2"),
    ("rumor pull counter", "exchange = 'pull', k = 2"),
    ("rumor push blind coin", "interest = 'blind', stop = 'coin', k = 4"),
    ("rumor push one connection", "connection_limit = 1, k = 2"),
];

fn contacts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("contact");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for (name, gossip) in KINDS {
        for nodes in [1000, 1_000_000] {
            let config = format!(
                "name = 'x'\ncluster = {{ protocol = 'gossip', transport = 'population', nodes = {nodes} }}
                gossip = {{ {gossip} }}"
            );
            let spec = Spec::parse(&config, "bench.toml", &[]).expect("a valid config");
            let points = spec.points();
            group.bench_function(BenchmarkId::new(name, nodes), |bencher| {
                let mut population = Population::new(nodes, &points[0].gossip);
                measured(bencher, |seed| {
                    population.trial(Prng::new(seed), &|| true).expect("nobody stops it").contacts
                });
            });
        }
    }
    group
        .bench_function(BenchmarkId::new("bare", 1_000_000), |bencher| measured(bencher, |seed| bare(1_000_000, seed)));
    group.finish();
}

/// With the messages of each contact that are events of their own.
const EVENTS: [(&str, &str, u64); 6] = [
    ("anti-entropy push", "style = 'anti-entropy'", 0),
    ("anti-entropy push-pull", "style = 'anti-entropy', exchange = 'push-pull'", 0),
    ("rumor push counter", "k = 2", 0),
    // That an update is wanted, and the update, comes on top: once for each node.
    ("anti-entropy push, late", "style = 'anti-entropy', latency = '250ms'", 1),
    ("rumor push blind, late", "interest = 'blind', k = 10, latency = '250ms'", 1),
    ("rumor push counter, late", "k = 2, latency = '250ms'", 2),
];

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let nodes = 1_000_000;
    for (name, gossip, messages) in EVENTS {
        let config = format!(
            "name = 'x'\ncluster = {{ protocol = 'gossip', transport = 'population', nodes = {nodes} }}
            gossip = {{ rounds = 'asynchronous', {gossip} }}"
        );
        let points = Spec::parse(&config, "bench.toml", &[]).expect("a valid config").points();
        group.bench_function(BenchmarkId::new(name, nodes), |bencher| {
            let mut population = Population::new(nodes, &points[0].gossip);
            measured(bencher, |seed| {
                let trial = population.trial(Prng::new(seed), &|| true).expect("nobody stops it");
                // Each node has one turn in a round.
                trial.arrivals.len() as u64 / trial.parts * nodes as u64 + messages * trial.contacts
            });
        });
    }
    group.bench_function(BenchmarkId::new("bare wheel", nodes), |bencher| {
        measured(bencher, |seed| bare_wheel(nodes as u64, seed));
    });
    group.finish();
}

/// As many whole epidemics as bring the contacts that were asked for, and their CPU time scaled to those.
fn measured(bencher: &mut Bencher<'_>, mut epidemic: impl FnMut(u64) -> u64) {
    let mut seed = 0;
    bencher.iter_custom(|asked| {
        let (mut done, begin) = (0, cpu_time());
        while done < asked {
            seed += 1;
            done += epidemic(seed);
        }
        cpu_time().saturating_sub(begin).mul_f64(asked as f64 / done as f64)
    });
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("time since the thread began")
}

fn bare(nodes: u64, seed: u64) -> u64 {
    const NEVER: u8 = u8::MAX;
    let mut arrivals = vec![NEVER; nodes as usize];
    arrivals[0] = 0;
    let (mut known, mut contacts, mut round, mut state) = (1, 0, 0, seed);
    while known < nodes {
        round += 1;
        for node in 0..nodes {
            if arrivals[node as usize] >= round {
                continue;
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let drawn = ((state >> 32) * (nodes - 1)) >> 32;
            let partner = &mut arrivals[(drawn + u64::from(drawn >= node)) as usize];
            known += u64::from(*partner == NEVER);
            *partner = (*partner).min(round);
            contacts += 1;
        }
    }
    black_box(&arrivals);
    contacts
}

fn bare_wheel(nodes: u64, seed: u64) -> u64 {
    const NEVER: u32 = u32::MAX;
    const ROUND: usize = 1024;
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 32) * below) >> 32
    };
    let mut slots = vec![Vec::new(); 2 * ROUND];
    (0..nodes).for_each(|node| slots[draw(ROUND as u64) as usize].push(node as u32));
    let mut arrivals = vec![NEVER; nodes as usize];
    arrivals[0] = 0;
    let (mut known, mut events, mut now) = (1, 0, 0);
    while known < nodes {
        let mut due = std::mem::take(&mut slots[now % (2 * ROUND)]);
        for &node in &due {
            if arrivals[node as usize] <= now as u32 {
                let drawn = draw(nodes - 1);
                let partner = &mut arrivals[(drawn + u64::from(drawn >= u64::from(node))) as usize];
                known += u64::from(*partner == NEVER);
                *partner = (*partner).min(now as u32);
            }
            slots[(now + ROUND - 16 + (node % 32) as usize) % (2 * ROUND)].push(node);
            events += 1;
        }
        due.clear();
        slots[now % (2 * ROUND)] = due;
        now += 1;
    }
    black_box(&arrivals);
    events
}

criterion_group!(benches, contacts, events);
criterion_main!(benches);
