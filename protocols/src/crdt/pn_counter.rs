//! A counter that goes up and down.

use super::codec::{Encoded, Reader, Writer};
use super::operations::Counter;
use super::{Crdt, GCounter, Lattice};
use crate::wire::NodeId;

/// What was added, and what was taken away (Shapiro et al. 2011, section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PnCounter {
    added: GCounter,
    taken: GCounter,
}

impl Lattice for PnCounter {
    fn join(&mut self, other: &Self) {
        self.added.join(&other.added);
        self.taken.join(&other.taken);
    }

    fn difference(&self, known: &Self) -> Self {
        Self { added: self.added.difference(&known.added), taken: self.taken.difference(&known.taken) }
    }

    fn decompose(&self) -> Vec<Self> {
        let added = self.added.decompose().into_iter().map(|added| Self { added, ..Self::default() });
        let taken = self.taken.decompose().into_iter().map(|taken| Self { taken, ..Self::default() });
        added.chain(taken).collect()
    }

    fn elements(&self) -> u64 {
        self.added.elements() + self.taken.elements()
    }
}

/// By how much it changes.
impl Crdt for PnCounter {
    type Update = i32;
    type Value = i128;
    type Operations = Counter;

    fn delta(&self, at: NodeId, &update: &i32) -> Self {
        let more = update.unsigned_abs();
        if update < 0 {
            Self { taken: self.taken.delta(at, &more), ..Self::default() }
        } else {
            Self { added: self.added.delta(at, &more), ..Self::default() }
        }
    }

    fn value(&self) -> i128 {
        self.added.value() - self.taken.value()
    }
}

impl Encoded for PnCounter {
    fn write(&self, to: &mut Writer) {
        self.added.write(to);
        self.taken.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { added: GCounter::read(from)?, taken: GCounter::read(from)? })
    }
}
