//! A counter that only grows.

use std::collections::BTreeMap;

use super::codec::{Encoded, Part, Reader, Writer, ascending};
use super::operations::Counter;
use super::{Crdt, Lattice};
use crate::wire::NodeId;

/// A count for each replica, of which only it makes more (Shapiro et al. 2011, figure 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GCounter {
    /// None is zero.
    counts: BTreeMap<NodeId, u64>,
}

impl Lattice for GCounter {
    fn join(&mut self, other: &Self) {
        for (&node, &count) in &other.counts {
            let own = self.counts.entry(node).or_default();
            *own = count.max(*own);
        }
    }

    fn difference(&self, known: &Self) -> Self {
        let is_news = |(node, count): &(&NodeId, &u64)| known.counts.get(node).is_none_or(|known| known < *count);
        Self { counts: self.counts.iter().filter(is_news).map(|(&node, &count)| (node, count)).collect() }
    }

    fn decompose(&self) -> Vec<Self> {
        self.counts.iter().map(|(&node, &count)| Self { counts: [(node, count)].into() }).collect()
    }

    fn elements(&self) -> u64 {
        self.counts.len() as u64
    }
}

/// By how much it grows.
impl Crdt for GCounter {
    type Update = u32;
    type Value = i128;
    type Operations = Counter;

    fn delta(&self, at: NodeId, &update: &u32) -> Self {
        let count = self.counts.get(&at).copied().unwrap_or_default() + u64::from(update);
        Self { counts: (update > 0).then_some((at, count)).into_iter().collect() }
    }

    fn value(&self) -> i128 {
        self.counts.values().map(|&count| i128::from(count)).sum()
    }
}

impl Encoded for GCounter {
    fn write(&self, to: &mut Writer) {
        to.count_of(Part::Metadata, self.counts.len());
        for (&node, &count) in &self.counts {
            to.node(Part::Metadata, node);
            to.number(Part::Payload, count);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let mut counts = BTreeMap::new();
        for _ in 0..from.count()? {
            let node = from.node()?;
            ascending(counts.last_key_value().map(|(last, _)| last), &node)?;
            counts.insert(node, from.positive()?);
        }
        Ok(Self { counts })
    }
}
