//! Replicas that are updated apart, and what it takes for them to agree: data types and databases in virtual rounds.
//!
//! The replicas are those of [`quorumbench_protocols::reconcile`], and what they send are real bytes; `docs/crdt.md` has
//! the rules. There is no time but the rounds, so what comes out follows from the seed on any machine.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use quorumbench::convergence::converge;
//! use quorumbench::spec::Spec;
//!
//! let config = r#"
//!     name = "doctest"
//!     cluster = { protocol = "crdt", transport = "sim", nodes = 8 }
//!     crdt = { type = "g-counter", topology = "ring" }
//!     replication = { updates = 50, trials = 3 }
//! "#;
//! let spec = Spec::parse(config, "doctest.toml", &[])?;
//! let convergence = converge(&spec.points()[0], 1, 1, &AtomicBool::new(false), &mut |_| ()).expect("nobody stops it");
//! assert_eq!(convergence.rounds.expect("all agreed").max, 4.0, "half way round");
//! # Ok::<(), quorumbench::spec::SpecError>(())
//! ```

mod tally;
mod topology;
mod trial;
mod workload;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use quorumbench_protocols::crdt::{Crdt, GCounter, LwwMap, MapUpdate, OrSet, PnCounter};
use quorumbench_protocols::reconcile::{
    ByDelta, ByOperation, ByState, Database, DatabaseOptions, Deletion, DeltaOptions, Digest, Replica,
};
use quorumbench_protocols::{NodeId, Prng};

use crate::results::Convergence;
use crate::spec::{self, CrdtType, DeletionName, DigestName, Point, ProtocolName, SyncName};
use crate::trials;
use trial::{Plan, Remains, Trial};
use workload::{Drawn, key, value};

/// Runs the trials of a point of `crdt` or `database` on `threads` threads, each with randomness that follows from `seed`
/// and its number. `None` if `interrupted`.
///
/// `progress` hears every few milliseconds how many are finished, on the calling thread.
pub fn converge(
    point: &Point,
    seed: u64,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Option<Convergence> {
    let seeds = Prng::new(seed);
    let one = |index: usize, go_on: &dyn Fn() -> bool| {
        let mut prng = seeds.fork(index as u64);
        match (point.cluster.protocol, point.crdt.data) {
            (ProtocolName::Database, _) => database(point, &prng, go_on),
            (_, CrdtType::GCounter) => crdt::<GCounter>(point, &mut prng, go_on),
            (_, CrdtType::PnCounter) => crdt::<PnCounter>(point, &mut prng, go_on),
            (_, CrdtType::OrSet) => crdt::<OrSet>(point, &mut prng, go_on),
            (_, CrdtType::LwwMap) => crdt::<LwwMap>(point, &mut prng, go_on),
        }
    };
    // In the order of their numbers, whichever ended first: sums are the same to the last bit.
    let mut all = BTreeMap::new();
    let mut take = |index, trial| _ = all.insert(index, trial);
    let finished = trials::run(point.replication.trials, threads, interrupted, progress, &|| &one, &mut take);
    finished.then(|| tally::convergence(point.cluster.nodes, &all.into_values().collect::<Vec<_>>()))
}

fn crdt<C: Crdt + Drawn>(point: &Point, prng: &mut Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
    let crdt = &point.crdt;
    match crdt.sync {
        SyncName::State => crdt_by::<C, _>(point, prng, go_on, &ByState::<C>::new),
        SyncName::Op => crdt_by::<C, _>(point, prng, go_on, &ByOperation::<C>::new),
        SyncName::Delta => {
            let options = DeltaOptions {
                avoid_back_propagation: crdt.avoid_back_propagation,
                remove_redundant: crdt.remove_redundant,
                buffer: crdt.buffer.unwrap_or(usize::MAX),
            };
            crdt_by::<C, _>(point, prng, go_on, &|id| ByDelta::<C>::new(id, options))
        }
    }
}

fn crdt_by<C: Drawn, R: Replica<Update = C::Update>>(
    point: &Point,
    prng: &mut Prng,
    go_on: &dyn Fn() -> bool,
    replica: &dyn Fn(NodeId) -> R,
) -> Option<Trial> {
    let (crdt, nodes) = (&point.crdt, point.cluster.nodes);
    let links = topology::links(crdt, nodes, prng);
    let newcomer = topology::links_of_a_newcomer(crdt, nodes, prng);
    let plan = Plan {
        replication: &point.replication,
        nodes,
        links,
        newcomer,
        begin: 0,
        replica: &|id, _| replica(id),
        draw: &|prng| C::draw(prng, &point.replication),
        deletions: Vec::new(),
        remains: &|_| None,
    };
    trial::run(&plan, prng, go_on)
}

fn database(point: &Point, prng: &Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
    let (replication, rules, nodes) = (&point.replication, &point.database, point.cluster.nodes);
    let options = DatabaseOptions { digest: digest(rules), deletion: deletion(rules) };
    // What all have from the beginning is not recent.
    let begin = rules.window as u64 + 2;
    let doomed = replication.elements..replication.elements + rules.deletions;
    let replica = |id: NodeId, seed: u64| {
        let mut replica = Database::new(id, options, seed);
        if (id.0 as usize) < nodes {
            replica.load((0..doomed.end).map(|number| (key(number), value(0, replication.payload))));
        }
        // Its clock is set.
        replica.tick(begin, &mut Vec::new());
        replica
    };
    let remains = |replicas: &[Database]| {
        let back = doomed.clone().filter(|&number| replicas[0].has(&key(number))).count();
        Some(Remains {
            resurrected: (rules.deletions > 0).then(|| back as f64 / rules.deletions as f64),
            certificates: replicas.iter().map(Database::certificates).sum::<usize>() as f64 / replicas.len() as f64,
            wholes: replicas.iter().map(Database::wholes).sum(),
        })
    };
    let plan = Plan {
        replication,
        nodes,
        links: topology::everybody(nodes),
        newcomer: (0..nodes).collect(),
        begin,
        replica: &replica,
        draw: &|prng| {
            let number = prng.below(replication.elements as u64) as usize;
            MapUpdate::Put(key(number), value(prng.next_u64(), replication.payload))
        },
        deletions: doomed.clone().map(|number| MapUpdate::Remove(key(number))).collect(),
        remains: &remains,
    };
    trial::run(&plan, prng, go_on)
}

fn digest(rules: &spec::Database) -> Digest {
    match rules.digest {
        DigestName::Whole => Digest::Whole,
        DigestName::Checksum => Digest::Checksum,
        DigestName::Recent => Digest::Recent { window: rules.window as u64 },
        DigestName::PeelBack => Digest::PeelBack { batch: rules.peel },
    }
}

fn deletion(rules: &spec::Database) -> Deletion {
    let retention = rules.retention as u64;
    match rules.deletion {
        DeletionName::None => Deletion::None,
        DeletionName::Certificates => Deletion::Certificates { retention },
        DeletionName::Dormant => Deletion::Dormant { retention, dormant: rules.dormant as u64, sites: rules.sites },
    }
}
