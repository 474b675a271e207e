//! A map in which the last write to a key wins.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::codec::{Encoded, Part, Reader, Writer, ascending};
use super::operations::MapOperations;
use super::{Crdt, Lattice};
use crate::wire::NodeId;

/// A last-writer-wins register for each key (Shapiro et al. 2011, section 3.2), with a tombstone for one that was
/// removed: without it an older write would come back.
///
/// Its timestamps are Lamport's: above all that the writer has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LwwMap {
    entries: BTreeMap<Bytes, Register>,
    /// The time of the last write: that of the latest entry.
    clock: u64,
}

/// When something was written: by time, and by who wrote it where that is equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Not zero.
    pub time: u64,
    /// Who wrote it.
    pub node: NodeId,
}

/// A value, or its removal. Of two from one stamp, which no correct replicas write, the greater counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Register {
    pub(super) stamp: Stamp,
    pub(super) value: Option<Bytes>,
}

/// What a user may ask of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapUpdate {
    /// This key is to have this value.
    Put(Bytes, Bytes),
    /// This key is to have none.
    Remove(Bytes),
}

impl MapUpdate {
    pub(super) fn parts(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Put(key, value) => (key.clone(), Some(value.clone())),
            Self::Remove(key) => (key.clone(), None),
        }
    }
}

impl LwwMap {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.entries.get(key)?.value.as_ref()
    }

    /// Keeps an entry if it is later than the one that is there. Whether it was.
    pub(super) fn offer(&mut self, key: Bytes, register: Register) -> bool {
        self.clock = self.clock.max(register.stamp.time);
        let is_news = self.entries.get(&key).is_none_or(|own| *own < register);
        if is_news {
            self.entries.insert(key, register);
        }
        is_news
    }

    /// What a write here and now would be; `None` for the removal of what is not there.
    pub(super) fn write_at(&self, at: NodeId, update: &MapUpdate) -> Option<(Bytes, Register)> {
        let (key, value) = update.parts();
        let stamp = Stamp { time: self.clock + 1, node: at };
        (value.is_some() || self.get(&key).is_some()).then_some((key, Register { stamp, value }))
    }

    fn of(entries: impl Iterator<Item = (Bytes, Register)>) -> Self {
        let mut map = Self::default();
        entries.for_each(|(key, register)| _ = map.offer(key, register));
        map
    }
}

impl Lattice for LwwMap {
    fn join(&mut self, other: &Self) {
        for (key, register) in &other.entries {
            self.offer(key.clone(), register.clone());
        }
    }

    fn difference(&self, known: &Self) -> Self {
        let is_news =
            |(key, register): &(&Bytes, &Register)| known.entries.get(*key).is_none_or(|known| known < *register);
        Self::of(self.entries.iter().filter(is_news).map(|(key, register)| (key.clone(), register.clone())))
    }

    fn decompose(&self) -> Vec<Self> {
        let part = |(key, register): (&Bytes, &Register)| Self::of([(key.clone(), register.clone())].into_iter());
        self.entries.iter().map(part).collect()
    }

    fn elements(&self) -> u64 {
        self.entries.len() as u64
    }
}

impl Crdt for LwwMap {
    type Update = MapUpdate;
    type Value = BTreeMap<Bytes, Bytes>;
    type Operations = MapOperations;

    fn delta(&self, at: NodeId, update: &MapUpdate) -> Self {
        Self::of(self.write_at(at, update).into_iter())
    }

    fn value(&self) -> BTreeMap<Bytes, Bytes> {
        let values = self.entries.iter();
        values.filter_map(|(key, register)| Some((key.clone(), register.value.clone()?))).collect()
    }
}

impl Encoded for Stamp {
    fn write(&self, to: &mut Writer) {
        to.number(Part::Metadata, self.time);
        to.node(Part::Metadata, self.node);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { time: from.positive()?, node: from.node()? })
    }
}

impl Encoded for Register {
    fn write(&self, to: &mut Writer) {
        self.stamp.write(to);
        to.number(Part::Metadata, u64::from(self.value.is_some()));
        if let Some(value) = &self.value {
            to.bytes(Part::Payload, value);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let stamp = Stamp::read(from)?;
        let value = if from.flag()? { Some(from.bytes()?) } else { None };
        Ok(Self { stamp, value })
    }
}

impl Encoded for LwwMap {
    fn write(&self, to: &mut Writer) {
        to.count_of(Part::Metadata, self.entries.len());
        for (key, register) in &self.entries {
            to.bytes(Part::Payload, key);
            register.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let mut map = Self::default();
        for _ in 0..from.count()? {
            let key = from.bytes()?;
            ascending(map.entries.last_key_value().map(|(last, _)| last), &key)?;
            let register = Register::read(from)?;
            map.offer(key, register);
        }
        Ok(map)
    }
}
