//! A set in which an addition wins over a concurrent removal.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::codec::{Encoded, Part, Reader, Writer, ascending};
use super::operations::SetOperations;
use super::{CausalContext, Crdt, Dot, Lattice};
use crate::wire::{NodeId, reject};

/// The observed-remove set without tombstones (Bieniusa et al., *An optimized conflict-free replicated set*, 2012; as a
/// delta CRDT, the add-wins set of Almeida et al. 2018, section 7.3).
///
/// Each addition has a dot. A dot in the context whose element is not there was removed. So a dot is unheard of, live
/// or removed, in this order, and the set is the product of these chains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrSet {
    /// The element of each live dot.
    live: BTreeMap<Dot, Bytes>,
    /// The live dots of each element; none is empty.
    elements: BTreeMap<Bytes, BTreeSet<Dot>>,
    /// All dots ever heard of, live ones among them.
    context: CausalContext,
}

/// What a user may ask of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetUpdate {
    /// This one is to be in it.
    Add(Bytes),
    /// This one is not, as far as is known here.
    Remove(Bytes),
}

impl OrSet {
    /// Whether an element is in it.
    pub fn contains(&self, element: &[u8]) -> bool {
        self.elements.contains_key(element)
    }

    fn insert(&mut self, dot: Dot, element: Bytes) {
        self.elements.entry(element.clone()).or_default().insert(dot);
        self.live.insert(dot, element);
    }

    fn remove(&mut self, dot: Dot) {
        let Some(element) = self.live.remove(&dot) else { return };
        let dots = self.elements.get_mut(&element).expect("a live dot has an element");
        dots.remove(&dot);
        if dots.is_empty() {
            self.elements.remove(&element);
        }
    }

    /// Live dots of which `other` knows that they were removed. Looks only where the two may differ.
    fn removed_by<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        let among = other.context.runs().flat_map(|run| self.live.range(run).map(|(&dot, _)| dot));
        among.filter(|dot| !other.live.contains_key(dot))
    }
}

impl Lattice for OrSet {
    fn join(&mut self, other: &Self) {
        let removed: Vec<_> = self.removed_by(other).collect();
        removed.into_iter().for_each(|dot| self.remove(dot));
        for (&dot, element) in &other.live {
            if !self.context.contains(dot) {
                self.insert(dot, element.clone());
            }
        }
        self.context.join(&other.context);
    }

    fn difference(&self, known: &Self) -> Self {
        let mut news = Self { context: self.context.minus(&known.context), ..Self::default() };
        let added: Vec<_> = news.context.runs().flat_map(|run| self.live.range(run)).collect();
        added.into_iter().for_each(|(&dot, element)| news.insert(dot, element.clone()));
        known.removed_by(self).for_each(|dot| news.context.insert(dot));
        news
    }

    fn decompose(&self) -> Vec<Self> {
        let part = |dot| {
            let mut part = Self { context: [dot].into_iter().collect(), ..Self::default() };
            if let Some(element) = self.live.get(&dot) {
                part.insert(dot, element.clone());
            }
            part
        };
        self.context.dots().map(part).collect()
    }

    /// Live dots, and runs of the context that hold others.
    fn elements(&self) -> u64 {
        let has_removed = |run: &std::ops::RangeInclusive<Dot>| {
            let dots = run.end().count - run.start().count + 1;
            dots > self.live.range(run.clone()).count() as u64
        };
        (self.live.len() + self.context.runs().filter(has_removed).count()) as u64
    }
}

impl Crdt for OrSet {
    type Update = SetUpdate;
    type Value = BTreeSet<Bytes>;
    type Operations = SetOperations;

    fn delta(&self, at: NodeId, update: &SetUpdate) -> Self {
        let (SetUpdate::Add(element) | SetUpdate::Remove(element)) = update;
        let observed = self.elements.get(element).into_iter().flatten().copied();
        let mut delta = Self { context: observed.collect(), ..Self::default() };
        if let SetUpdate::Add(element) = update {
            let dot = self.context.next(at);
            delta.context.insert(dot);
            delta.insert(dot, element.clone());
        }
        delta
    }

    fn value(&self) -> BTreeSet<Bytes> {
        self.elements.keys().cloned().collect()
    }
}

impl Encoded for OrSet {
    fn write(&self, to: &mut Writer) {
        to.count_of(Part::Metadata, self.elements.len());
        for (element, dots) in &self.elements {
            to.bytes(Part::Payload, element);
            to.count_of(Part::Metadata, dots.len());
            dots.iter().for_each(|dot| dot.write(to));
        }
        self.context.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let mut set = Self::default();
        for _ in 0..from.count()? {
            let element = from.bytes()?;
            ascending(set.elements.last_key_value().map(|(last, _)| last), &element)?;
            let count = from.count()?;
            reject(count == 0, "an element without a dot")?;
            let mut last = None;
            for _ in 0..count {
                let dot = Dot::read(from)?;
                ascending(last.as_ref(), &dot)?;
                reject(set.live.contains_key(&dot), "two elements of one dot")?;
                set.insert(dot, element.clone());
                last = Some(dot);
            }
        }
        set.context = CausalContext::read(from)?;
        reject(set.live.keys().any(|&dot| !set.context.contains(dot)), "a live dot that is not in the context")?;
        Ok(set)
    }
}
