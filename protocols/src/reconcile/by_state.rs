//! All that is known, to everybody, again and again.

use std::collections::BTreeSet;

use super::{Kind, Letter, Merged, Replica, open};
use crate::crdt::Crdt;
use crate::wire::{Malformed, NodeId};

/// A replica that sends its whole state to each neighbour in each round (Shapiro et al. 2011, section 2.1). It remembers
/// nothing of what it has sent, and needs nothing to arrive.
#[derive(Clone, Debug)]
pub struct ByState<C> {
    id: NodeId,
    state: C,
    neighbours: BTreeSet<NodeId>,
}

impl<C: Crdt> ByState<C> {
    /// A replica that knows nothing and nobody.
    pub fn new(id: NodeId) -> Self {
        Self { id, state: C::default(), neighbours: BTreeSet::new() }
    }
}

impl<C: Crdt> Replica for ByState<C> {
    type Update = C::Update;
    type Value = C::Value;

    fn connect(&mut self, neighbour: NodeId) {
        self.neighbours.insert(neighbour);
    }

    fn update(&mut self, update: &C::Update) -> bool {
        let delta = self.state.delta(self.id, update);
        self.state.join(&delta);
        !delta.is_bottom()
    }

    fn tick(&mut self, _: u64, out: &mut Vec<Letter>) {
        let Some(&first) = self.neighbours.first() else { return };
        let letter = Letter::new(first, Kind::State, self.state.elements(), |to| self.state.write(to));
        out.extend(self.neighbours.iter().map(|&to| Letter { to, ..letter.clone() }));
    }

    fn receive(&mut self, _: NodeId, letter: &[u8], _: &mut Vec<Letter>) -> Result<Merged, Malformed> {
        let state = open(letter, |kind, from| match kind {
            Kind::State => C::read(from),
            _ => Err("no letter of a replica that sends states"),
        })?;
        let news = state.difference(&self.state).elements();
        self.state.join(&state);
        Ok(Merged { elements: state.elements(), news })
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.state == other.state
    }

    fn value(&self) -> C::Value {
        self.state.value()
    }
}
