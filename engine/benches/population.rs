//! Contacts a second of a population on one core: `elem/s` is contacts/s.
//!
//! A contact is a draw of a partner, a look at a bit, and, where the rumor is news, a bit to set. What is measured are
//! whole epidemics from the first node to the end, with the arrivals of each round counted.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench::population::Population;
use quorumbench::spec::Spec;
use quorumbench_protocols::Prng;

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
                let mut seed = 0;
                // As many whole epidemics as bring the contacts that were asked for, and the time scaled to those.
                bencher.iter_custom(|asked| {
                    let (mut done, mut spent) = (0, Duration::ZERO);
                    while done < asked {
                        seed += 1;
                        let begin = std::time::Instant::now();
                        let trial = population.trial(Prng::new(seed), &|| true).expect("nobody stops it");
                        spent += begin.elapsed();
                        done += trial.contacts;
                    }
                    spent.mul_f64(asked as f64 / done as f64)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, contacts);
criterion_main!(benches);
