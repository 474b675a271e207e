//! Replicas that reconcile over a network that loses, doubles, delays and reorders.

mod letters;

use std::fmt::Debug;

use bytes::Bytes;
use letters::{Faults, Network};
use quorumbench_protocols::crdt::{Crdt, GCounter, LwwMap, MapUpdate, OrSet, PnCounter, SetUpdate};
use quorumbench_protocols::reconcile::{ByDelta, ByOperation, ByState, DeltaOptions, Replica};
use quorumbench_protocols::{NodeId, Prng};

fn word(prng: &mut Prng) -> Bytes {
    Bytes::from(format!("word {}", prng.below(20)))
}

fn of_a_set(prng: &mut Prng) -> SetUpdate {
    if prng.below(3) > 0 { SetUpdate::Add(word(prng)) } else { SetUpdate::Remove(word(prng)) }
}

fn of_a_map(prng: &mut Prng) -> MapUpdate {
    if prng.below(3) > 0 { MapUpdate::Put(word(prng), word(prng)) } else { MapUpdate::Remove(word(prng)) }
}

const BOTH: DeltaOptions = options(true, true);

const fn options(avoid_back_propagation: bool, remove_redundant: bool) -> DeltaOptions {
    DeltaOptions { avoid_back_propagation, remove_redundant, buffer: usize::MAX }
}

/// What all agree on after some phases: in each, everybody makes updates that depend on the ones before only, and what
/// comes out depends on them alone.
fn outcome<R: Replica<Update = U, Value = V>, U, V: Eq + Debug>(
    replica: impl Fn(NodeId) -> R,
    draw: fn(&mut Prng) -> U,
    faults: Faults,
    seed: u64,
) -> V {
    let mut network = Network::new((0..7).map(NodeId).map(replica).collect(), faults, seed).circle(2);
    let mut updates = Prng::new(5);
    for _ in 0..4 {
        for node in 0..7 {
            (0..updates.below(6)).for_each(|_| _ = network.replicas[node].update(&draw(&mut updates)));
        }
        network.settle();
    }
    let values: Vec<_> = network.replicas.iter().map(Replica::value).collect();
    assert!(values.windows(2).all(|two| two[0] == two[1]));
    network.replicas[0].value()
}

fn all_kinds_reach_the_same<C: Crdt>(draw: fn(&mut Prng) -> C::Update) {
    let expected = outcome(ByState::<C>::new, draw, Faults::NONE, 0);
    for seed in 0..4 {
        assert_eq!(outcome(ByState::<C>::new, draw, Faults::MANY, seed), expected);
        assert_eq!(outcome(ByOperation::<C>::new, draw, Faults::MANY, seed), expected);
        for (avoid, remove) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(outcome(|id| ByDelta::<C>::new(id, options(avoid, remove)), draw, Faults::MANY, seed), expected);
        }
        let short = DeltaOptions { buffer: 2, ..BOTH };
        assert_eq!(
            outcome(|id| ByDelta::<C>::new(id, short), draw, Faults::MANY, seed),
            expected,
            "whole states now and then"
        );
    }
}

#[test]
fn counters_of_all_kinds_reach_the_same() {
    all_kinds_reach_the_same::<GCounter>(|prng| prng.below(5) as u32);
    all_kinds_reach_the_same::<PnCounter>(|prng| prng.below(9) as i32 - 4);
}

#[test]
fn sets_of_all_kinds_reach_the_same() {
    all_kinds_reach_the_same::<OrSet>(of_a_set);
}

#[test]
fn maps_of_all_kinds_reach_the_same() {
    all_kinds_reach_the_same::<LwwMap>(of_a_map);
}

/// Elements sent while each of 15 replicas adds something of its own in each of 20 rounds, as in section V-A of Enes et
/// al. 2019: a set that grows, over links that lose nothing.
fn elements_sent<R: Replica<Update = SetUpdate>>(replica: impl Fn(NodeId) -> R, reach: Option<usize>) -> u64 {
    let network = Network::new((0..15).map(NodeId).map(replica).collect(), Faults::NONE, 1);
    let mut network = match reach {
        Some(reach) => network.circle(reach),
        None => (1..15).fold(network, |mut tree, node| {
            tree.link(node, (node - 1) / 2);
            tree
        }),
    };
    for round in 0..20 {
        for node in 0..15 {
            network.replicas[node].update(&SetUpdate::Add(Bytes::from(format!("{round} of {node}"))));
        }
        network.round();
    }
    network.settle();
    network.sent.elements
}

/// Where there are cycles, naive deltas are hardly better than states, and what counts is to remove what is redundant; in
/// a tree it is enough not to send anything back (what Enes et al. 2019 found, section V).
#[test]
fn naive_deltas_are_states_where_there_are_cycles() {
    let of = |avoid, remove, reach| elements_sent(|id| ByDelta::<OrSet>::new(id, options(avoid, remove)), reach) as f64;
    let (tree, mesh) = (None, Some(2));
    let state = [tree, mesh].map(|topology| elements_sent(ByState::<OrSet>::new, topology) as f64);
    let best = [of(true, true, tree), of(true, true, mesh)];
    assert!(of(false, false, mesh) > 0.5 * state[1], "{} of {}", of(false, false, mesh), state[1]);
    assert!(of(true, false, mesh) > 0.4 * state[1], "{} of {}", of(true, false, mesh), state[1]);
    assert!(of(false, true, mesh) < 0.1 * state[1], "{} of {}", of(false, true, mesh), state[1]);
    assert!(best[1] < of(false, true, mesh) && best[1] < of(true, false, mesh));
    assert!(best[0] < 0.1 * state[0] && (of(true, false, tree) - best[0]).abs() < 1e-9, "{best:?} of {state:?}");
    // Along a tree each element goes over each link once.
    assert!((best[0] - 15.0 * 20.0 * 14.0).abs() < 1e-9);
}

/// Whoever comes late is brought up to date, by whatever is still there.
fn joins<R: Replica<Update = SetUpdate>>(replica: impl Fn(NodeId) -> R) {
    let mut network = Network::new((0..5).map(NodeId).map(&replica).collect(), Faults::NONE, 1).circle(1);
    let mut prng = Prng::new(2);
    for _ in 0..50 {
        (0..5).for_each(|node| _ = network.replicas[node].update(&of_a_set(&mut prng)));
        network.round();
    }
    network.settle();
    let mut newcomer = replica(NodeId(5));
    newcomer.update(&SetUpdate::Add(Bytes::from("from before")));
    network.replicas.push(newcomer);
    network.link(5, 1);
    network.link(5, 3);
    assert!(network.settle() < 6);
    network.faults = Faults::MANY;
    network.replicas[5].update(&SetUpdate::Remove(Bytes::from("from before")));
    network.replicas[0].update(&SetUpdate::Add(Bytes::from("from then")));
    network.settle();
}

#[test]
fn newcomers_are_brought_up_to_date() {
    joins(ByState::<OrSet>::new);
    joins(|id| ByDelta::<OrSet>::new(id, BOTH));
    joins(|id| ByDelta::<OrSet>::new(id, DeltaOptions { buffer: 3, ..options(false, false) }));
    joins(ByOperation::<OrSet>::new);
}

/// What is acknowledged is not sent again, and what is quiet costs nothing.
#[test]
fn nothing_is_sent_when_all_is_known() {
    let mut deltas =
        Network::new((0..5).map(|id| ByDelta::<OrSet>::new(NodeId(id), BOTH)).collect(), Faults::NONE, 1).circle(1);
    let mut operations =
        Network::new((0..5).map(|id| ByOperation::<OrSet>::new(NodeId(id))).collect(), Faults::NONE, 1).circle(1);
    deltas.replicas[0].update(&SetUpdate::Add(Bytes::from("x")));
    operations.replicas[0].update(&SetUpdate::Add(Bytes::from("x")));
    assert_eq!((deltas.settle(), operations.settle()), (2, 2), "two to each side");
    // What came last is offered onwards once, unless it is known from whom it came.
    (0..2).for_each(|_| deltas.round());
    (0..2).for_each(|_| operations.round());
    let quiet = (deltas.letters, operations.letters);
    (0..5).for_each(|_| deltas.round());
    (0..5).for_each(|_| operations.round());
    assert_eq!((deltas.letters, operations.letters), quiet);
    assert!(deltas.sent.elements <= 6 && operations.sent.elements <= 6, "{:?} {:?}", deltas.sent, operations.sent);
}

/// A letter that was tampered with is refused, or says something else; replicas live on either way.
#[test]
fn hostile_letters_are_refused() {
    fn tamper<R: Replica<Update = SetUpdate> + Clone>(replica: impl Fn(NodeId) -> R) {
        let mut prng = Prng::new(3);
        let (mut one, mut other) = (replica(NodeId(0)), replica(NodeId(1)));
        one.connect(NodeId(1));
        other.connect(NodeId(0));
        let mut refused = 0;
        for _ in 0..400 {
            one.update(&of_a_set(&mut prng));
            let mut letters = Vec::new();
            one.tick(1, &mut letters);
            let (mut answers, mut ignored) = (Vec::new(), Vec::new());
            for letter in letters {
                let mut bytes = Vec::from(letter.bytes.clone());
                let at = prng.below(bytes.len() as u64) as usize;
                if prng.below(2) == 0 {
                    bytes.truncate(at);
                } else {
                    bytes[at] ^= 1 << prng.below(8);
                }
                let mut victim = other.clone();
                refused += u64::from(victim.receive(NodeId(0), &bytes, &mut ignored).is_err());
                _ = victim.update(&of_a_set(&mut prng));
                victim.tick(1, &mut ignored);
                other.receive(NodeId(0), &letter.bytes, &mut answers).expect("as it was sent");
            }
            for answer in answers {
                one.receive(NodeId(1), &answer.bytes, &mut ignored).expect("as it was sent");
            }
            assert!(one.agrees_with(&other));
        }
        assert!(refused > 100, "{refused}");
    }
    tamper(ByState::<OrSet>::new);
    tamper(|id| ByDelta::<OrSet>::new(id, BOTH));
    tamper(ByOperation::<OrSet>::new);
}
