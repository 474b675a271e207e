//! The laws of replicated data types, and that no bytes break them.

use bytes::Bytes;
use quorumbench_protocols::crdt::{
    Crdt, Dot, Encoded, GCounter, Lattice, LwwMap, MapUpdate, Operations, OrSet, PnCounter, SetUpdate,
};
use quorumbench_protocols::{NodeId, Prng};

/// An update by chance, among few elements, so that updates meet.
trait Drawn: Crdt {
    fn draw(prng: &mut Prng) -> Self::Update;
}

impl Drawn for GCounter {
    fn draw(prng: &mut Prng) -> u32 {
        prng.below(3) as u32
    }
}

impl Drawn for PnCounter {
    fn draw(prng: &mut Prng) -> i32 {
        prng.below(7) as i32 - 3
    }
}

fn word(prng: &mut Prng) -> Bytes {
    Bytes::from(format!("{}", prng.below(6)))
}

impl Drawn for OrSet {
    fn draw(prng: &mut Prng) -> SetUpdate {
        if prng.below(5) < 3 { SetUpdate::Add(word(prng)) } else { SetUpdate::Remove(word(prng)) }
    }
}

impl Drawn for LwwMap {
    fn draw(prng: &mut Prng) -> MapUpdate {
        let (key, value) = (word(prng), word(prng));
        if prng.below(4) < 3 { MapUpdate::Put(key, value) } else { MapUpdate::Remove(key) }
    }
}

fn joined<T: Lattice>(mut one: T, other: &T) -> T {
    one.join(other);
    one
}

/// Three states with a common history, which have heard parts of each other, and deltas on the way between them.
struct World<T> {
    states: [T; 3],
    deltas: Vec<T>,
}

impl<T: Drawn> World<T> {
    fn draw(prng: &mut Prng) -> Self {
        let mut world = Self { states: [T::default(), T::default(), T::default()], deltas: Vec::new() };
        for _ in 0..prng.below(25) {
            let at = prng.below(3) as usize;
            match prng.below(4) {
                0 | 1 => {
                    let delta = world.states[at].delta(NodeId(at as u32), &T::draw(prng));
                    world.states[at].join(&delta);
                    world.deltas.push(delta);
                }
                2 if !world.deltas.is_empty() => {
                    let index = prng.below(world.deltas.len() as u64) as usize;
                    world.states[at].join(&world.deltas[index]);
                }
                _ => {
                    let from = world.states[prng.below(3) as usize].clone();
                    world.states[at].join(&from);
                }
            }
        }
        world
    }

    /// States and deltas alike: they are of one kind.
    fn any(&self, prng: &mut Prng) -> T {
        let among = prng.below(3 + self.deltas.len() as u64) as usize;
        self.states.iter().chain(&self.deltas).nth(among).expect("so many").clone()
    }
}

fn laws<T: Drawn>() {
    let mut prng = Prng::new(7);
    for _ in 0..1500 {
        let world = World::<T>::draw(&mut prng);
        let [a, b, c] = [(); 3].map(|()| world.any(&mut prng));
        assert_eq!(joined(joined(a.clone(), &b), &c), joined(a.clone(), &joined(b.clone(), &c)), "associative");
        assert_eq!(joined(a.clone(), &b), joined(b.clone(), &a), "commutative");
        assert_eq!(joined(a.clone(), &a), a, "idempotent");
        assert_eq!(joined(a.clone(), &T::default()), a, "bottom is below all");

        let both = joined(a.clone(), &b);
        assert!(a.is_below(&both) && b.is_below(&both), "a join is above both");
        assert_eq!(both.is_below(&a), both == a);

        // What is missing, and no more.
        let missing = b.difference(&a);
        assert_eq!(joined(a.clone(), &missing), both, "what was missing is all that there was");
        assert!(missing.is_below(&b));
        let parts = b.decompose();
        let news = parts.iter().filter(|part| joined(a.clone(), part) != a);
        assert_eq!(missing, news.fold(T::default(), joined), "those of its parts that are news");

        // The parts: all of it, and none of them in vain, nor divisible.
        assert_eq!(parts.iter().fold(T::default(), joined), b);
        for (index, part) in parts.iter().enumerate() {
            let others = parts.iter().enumerate().filter(|(other, _)| *other != index);
            assert_ne!(others.fold(T::default(), |all, (_, part)| joined(all, part)), b, "{part:?} in vain");
            assert_eq!(part.decompose(), std::slice::from_ref(part));
            assert_eq!((part.elements(), part.is_bottom()), (1, false));
        }

        // What arrives is what was sent, and there is one way to write it.
        let bytes = a.encode();
        assert_eq!(T::decode(&bytes).as_ref(), Ok(&a));
        assert_eq!(a.size().bytes(), bytes.len() as u64);

        // An update's delta is what it changes.
        let update = T::draw(&mut prng);
        let state = &world.states[1];
        let delta = state.delta(NodeId(1), &update);
        let after = joined(state.clone(), &delta);
        assert!(after.difference(state).is_below(&delta));
        assert!(delta.elements() <= 1 + state.elements());
    }
}

#[test]
fn g_counters_are_lattices() {
    laws::<GCounter>();
}

#[test]
fn pn_counters_are_lattices() {
    laws::<PnCounter>();
}

#[test]
fn or_sets_are_lattices() {
    laws::<OrSet>();
}

#[test]
fn lww_maps_are_lattices() {
    laws::<LwwMap>();
}

/// All deltas of a history, in any order, as often as you like: the state after it.
fn deltas_are_enough<T: Drawn>() {
    let mut prng = Prng::new(8);
    for _ in 0..500 {
        let mut world = World::<T>::draw(&mut prng);
        let all = world.states.iter().fold(T::default(), joined);
        let mut heard = T::default();
        let doubled = world.deltas.clone();
        world.deltas.extend(doubled);
        while !world.deltas.is_empty() {
            let next = prng.below(world.deltas.len() as u64) as usize;
            heard.join(&world.deltas.swap_remove(next));
        }
        assert_eq!(heard, all);
        assert_eq!(heard.value(), all.value());
    }
}

#[test]
fn deltas_joined_are_states_joined() {
    deltas_are_enough::<GCounter>();
    deltas_are_enough::<PnCounter>();
    deltas_are_enough::<OrSet>();
    deltas_are_enough::<LwwMap>();
}

/// At one replica after the other, where nothing is concurrent, both kinds mean what a plain variable would.
fn kinds_agree<T: Drawn>() {
    let mut prng = Prng::new(9);
    for _ in 0..300 {
        let (mut state, mut operations) = (T::default(), T::Operations::default());
        for count in 1..30 {
            let (at, update) = (NodeId(prng.below(3) as u32), T::draw(&mut prng));
            state.join(&state.delta(at, &update));
            if let Some(operation) = operations.prepare(at, &update) {
                let bytes = operation.encode();
                assert_eq!(Encoded::decode(&bytes).as_ref(), Ok(&operation));
                operations.apply(Dot { node: at, count }, &operation);
            }
            assert_eq!(state.value(), operations.value());
        }
        assert_eq!(T::Operations::decode(&operations.encode()).as_ref(), Ok(&operations));
    }
}

#[test]
fn states_and_operations_mean_the_same() {
    kinds_agree::<GCounter>();
    kinds_agree::<PnCounter>();
    kinds_agree::<OrSet>();
    kinds_agree::<LwwMap>();
}

/// Whatever is read was written so: bytes that are changed are refused, or are something else's.
fn hostile<T: Drawn>() {
    let mut prng = Prng::new(10);
    let mut refused = 0;
    for _ in 0..3000 {
        let mut bytes = World::<T>::draw(&mut prng).any(&mut prng).encode();
        for _ in 0..=prng.below(3) {
            let at = prng.below(bytes.len() as u64 + 1) as usize;
            match prng.below(4) {
                0 => bytes.insert(at, prng.next_u64() as u8),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => bytes[at] = prng.next_u64() as u8,
                _ if at < bytes.len() => bytes[at] ^= 1 << prng.below(8),
                _ => bytes.push(prng.below(4) as u8),
            }
        }
        match T::decode(&bytes) {
            Ok(state) => {
                assert_eq!(state.encode(), bytes, "{state:?}");
                let other = World::<T>::draw(&mut prng).any(&mut prng);
                _ = joined(other.clone(), &state).difference(&other).elements();
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn hostile_bytes_are_refused() {
    hostile::<GCounter>();
    hostile::<PnCounter>();
    hostile::<OrSet>();
    hostile::<LwwMap>();
}

#[test]
fn additions_win_and_last_writes_do() {
    let (mut here, mut there) = (OrSet::default(), OrSet::default());
    let x = Bytes::from("x");
    here.join(&here.delta(NodeId(0), &SetUpdate::Add(x.clone())));
    there.join(&here);
    there.join(&there.delta(NodeId(1), &SetUpdate::Remove(x.clone())));
    here.join(&here.delta(NodeId(0), &SetUpdate::Add(x.clone())));
    here.join(&there);
    assert!(here.contains(b"x"), "added while it was removed");
    there.join(&here);
    there.join(&there.delta(NodeId(1), &SetUpdate::Remove(x)));
    here.join(&there);
    assert!(!here.contains(b"x") && here.value().is_empty(), "removed after both additions");

    let (mut here, mut there) = (LwwMap::default(), LwwMap::default());
    let put = |value: &'static str| MapUpdate::Put(Bytes::from("k"), Bytes::from(value));
    here.join(&here.delta(NodeId(0), &put("old")));
    there.join(&here);
    there.join(&there.delta(NodeId(1), &put("new")));
    here.join(&there);
    assert_eq!(here.get(b"k"), Some(&Bytes::from("new")));
    here.join(&here.delta(NodeId(0), &MapUpdate::Remove(Bytes::from("k"))));
    there.join(&here);
    assert_eq!((there.get(b"k"), there.elements()), (None, 1), "a tombstone stays");
}
