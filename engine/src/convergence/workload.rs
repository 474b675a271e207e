//! What users ask for.

use bytes::Bytes;
use quorumbench_protocols::Prng;
use quorumbench_protocols::crdt::{Crdt, GCounter, LwwMap, MapUpdate, OrSet, PnCounter, SetUpdate};

use crate::spec::Replication;

/// A type for which there are updates by chance.
pub(super) trait Drawn: Crdt {
    /// The next update of somebody.
    fn draw(prng: &mut Prng, rules: &Replication) -> Self::Update;
}

/// One more, always: the least that an update may be.
impl Drawn for GCounter {
    fn draw(_: &mut Prng, _: &Replication) -> u32 {
        1
    }
}

impl Drawn for PnCounter {
    fn draw(prng: &mut Prng, rules: &Replication) -> i32 {
        if prng.unit() < rules.removals { -1 } else { 1 }
    }
}

impl Drawn for OrSet {
    fn draw(prng: &mut Prng, rules: &Replication) -> SetUpdate {
        let element = value(prng.below(rules.elements as u64), rules.payload);
        if prng.unit() < rules.removals { SetUpdate::Remove(element) } else { SetUpdate::Add(element) }
    }
}

impl Drawn for LwwMap {
    fn draw(prng: &mut Prng, rules: &Replication) -> MapUpdate {
        let key = key(prng.below(rules.elements as u64) as usize);
        if prng.unit() < rules.removals {
            MapUpdate::Remove(key)
        } else {
            MapUpdate::Put(key, value(prng.next_u64(), rules.payload))
        }
    }
}

/// Eight bytes that name an element.
pub(super) fn key(number: usize) -> Bytes {
    value(number as u64, 8)
}

/// A number in so many bytes, at least eight; what it does not need is zero.
pub(super) fn value(number: u64, bytes: usize) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(bytes.max(8), 0);
    value.into()
}
