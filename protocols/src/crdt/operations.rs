//! The same types by operations: smaller states, for each operation must come once, and after its causes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::codec::{Encoded, Part, Reader, Writer, ascending};
use super::lww_map::Register;
use super::{Crdt, Dot, LwwMap, MapUpdate, Operations, SetUpdate};
use crate::wire::{NodeId, reject};

/// A number, to which numbers are added (Shapiro et al. 2011, section 3.1): both counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    total: i128,
}

/// What an operation of a counter adds: as much as an update may, to either side.
impl Encoded for i64 {
    fn write(&self, to: &mut Writer) {
        write_signed(i128::from(*self), to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let change = read_signed(from)?;
        reject(change == 0, "a change by nothing")?;
        reject(change.unsigned_abs() > u128::from(u32::MAX), "a change beyond reach")?;
        Ok(change as Self)
    }
}

impl Encoded for Counter {
    fn write(&self, to: &mut Writer) {
        write_signed(self.total, to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { total: read_signed(from)? })
    }
}

fn write_signed(number: i128, to: &mut Writer) {
    to.number(Part::Metadata, u64::from(number < 0));
    to.number(Part::Payload, u64::try_from(number.unsigned_abs()).expect("no count goes beyond reach"));
}

fn read_signed(from: &mut Reader<'_>) -> Result<i128, &'static str> {
    let is_negative = from.flag()?;
    let size = i128::from(from.number()?);
    reject(is_negative && size == 0, "less than nothing, by nothing")?;
    Ok(if is_negative { -size } else { size })
}

impl Counter {
    fn change(&mut self, by: i64) {
        self.total += i128::from(by);
    }
}

impl Operations<u32> for Counter {
    type Operation = i64;
    type Value = i128;

    fn prepare(&self, _: NodeId, &update: &u32) -> Option<i64> {
        (update != 0).then_some(i64::from(update))
    }

    fn apply(&mut self, _: Dot, operation: &i64) {
        self.change(*operation);
    }

    fn value(&self) -> i128 {
        self.total
    }
}

impl Operations<i32> for Counter {
    type Operation = i64;
    type Value = i128;

    fn prepare(&self, _: NodeId, &update: &i32) -> Option<i64> {
        (update != 0).then_some(i64::from(update))
    }

    fn apply(&mut self, _: Dot, operation: &i64) {
        self.change(*operation);
    }

    fn value(&self) -> i128 {
        self.total
    }
}

/// Elements and the dots of their additions: no causal context, no tombstones (Bieniusa et al. 2012, section 4, with an
/// operation's name as the dot of what it adds).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetOperations {
    elements: BTreeMap<Bytes, BTreeSet<Dot>>,
}

/// An element, in or out, in place of the additions of it that were observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOperation {
    element: Bytes,
    is_added: bool,
    observed: BTreeSet<Dot>,
}

impl Operations<SetUpdate> for SetOperations {
    type Operation = SetOperation;
    type Value = BTreeSet<Bytes>;

    fn prepare(&self, _: NodeId, update: &SetUpdate) -> Option<SetOperation> {
        let (SetUpdate::Add(element) | SetUpdate::Remove(element)) = update;
        let is_added = matches!(update, SetUpdate::Add(_));
        let observed = self.elements.get(element).cloned().unwrap_or_default();
        (is_added || !observed.is_empty()).then(|| SetOperation { element: element.clone(), is_added, observed })
    }

    fn apply(&mut self, id: Dot, operation: &SetOperation) {
        let SetOperation { element, is_added, observed } = operation;
        let dots = self.elements.entry(element.clone()).or_default();
        dots.retain(|dot| !observed.contains(dot));
        if *is_added {
            dots.insert(id);
        }
        if dots.is_empty() {
            self.elements.remove(element);
        }
    }

    fn value(&self) -> BTreeSet<Bytes> {
        self.elements.keys().cloned().collect()
    }
}

fn write_dots(dots: &BTreeSet<Dot>, to: &mut Writer) {
    to.count_of(Part::Metadata, dots.len());
    dots.iter().for_each(|dot| dot.write(to));
}

fn read_dots(from: &mut Reader<'_>) -> Result<BTreeSet<Dot>, &'static str> {
    let mut dots = BTreeSet::new();
    for _ in 0..from.count()? {
        let dot = Dot::read(from)?;
        ascending(dots.last(), &dot)?;
        dots.insert(dot);
    }
    Ok(dots)
}

impl Encoded for SetOperation {
    fn write(&self, to: &mut Writer) {
        to.bytes(Part::Payload, &self.element);
        to.number(Part::Metadata, u64::from(self.is_added));
        write_dots(&self.observed, to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let (element, is_added, observed) = (from.bytes()?, from.flag()?, read_dots(from)?);
        reject(!is_added && observed.is_empty(), "a removal of nothing")?;
        Ok(Self { element, is_added, observed })
    }
}

impl Encoded for SetOperations {
    fn write(&self, to: &mut Writer) {
        to.count_of(Part::Metadata, self.elements.len());
        for (element, dots) in &self.elements {
            to.bytes(Part::Payload, element);
            write_dots(dots, to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let mut elements = BTreeMap::new();
        for _ in 0..from.count()? {
            let element = from.bytes()?;
            ascending(elements.last_key_value().map(|(last, _)| last), &element)?;
            let dots = read_dots(from)?;
            reject(dots.is_empty(), "an element without a dot")?;
            elements.insert(element, dots);
        }
        Ok(Self { elements })
    }
}

/// The map as it is: its entries are operations already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapOperations {
    map: LwwMap,
}

/// A write to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapOperation {
    key: Bytes,
    register: Register,
}

impl Operations<MapUpdate> for MapOperations {
    type Operation = MapOperation;
    type Value = BTreeMap<Bytes, Bytes>;

    fn prepare(&self, at: NodeId, update: &MapUpdate) -> Option<MapOperation> {
        self.map.write_at(at, update).map(|(key, register)| MapOperation { key, register })
    }

    fn apply(&mut self, _: Dot, operation: &MapOperation) {
        self.map.offer(operation.key.clone(), operation.register.clone());
    }

    fn value(&self) -> BTreeMap<Bytes, Bytes> {
        self.map.value()
    }
}

impl Encoded for MapOperation {
    fn write(&self, to: &mut Writer) {
        to.bytes(Part::Payload, &self.key);
        self.register.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { key: from.bytes()?, register: Register::read(from)? })
    }
}

impl Encoded for MapOperations {
    fn write(&self, to: &mut Writer) {
        self.map.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { map: LwwMap::read(from)? })
    }
}
