//! What is new, until it is acknowledged.

use std::collections::{BTreeMap, VecDeque};

use super::{Kind, Letter, Merged, Replica, open};
use crate::crdt::{Crdt, Part};
use crate::wire::{Malformed, NodeId};

/// A replica that keeps what it learnt, and sends it on until each neighbour has acknowledged it: algorithm 2 of Almeida
/// et al. 2018, with what algorithm 1 of Enes et al., *Efficient synchronization of state-based CRDTs* (ICDE 2019), adds
/// to it as options.
///
/// A neighbour whose acknowledgement is older than what is kept gets the whole state: one that is new, or that was away
/// for longer than the [buffer](DeltaOptions::buffer) lasts.
#[derive(Clone, Debug)]
pub struct ByDelta<C> {
    id: NodeId,
    options: DeltaOptions,
    state: C,
    buffer: VecDeque<Learnt<C>>,
    /// The number of the first in the buffer: they are numbered as they come.
    first: u64,
    /// Up to which of these each has acknowledged.
    neighbours: BTreeMap<NodeId, u64>,
}

/// What naive deltas leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaOptions {
    /// Not to send a delta back to whom it came from (BP).
    pub avoid_back_propagation: bool,
    /// To keep, of a delta that was received, only what was news (RR).
    pub remove_redundant: bool,
    /// Most deltas that are kept for those who have not acknowledged them.
    pub buffer: usize,
}

#[derive(Clone, Debug)]
struct Learnt<C> {
    delta: C,
    from: NodeId,
}

impl<C: Crdt> ByDelta<C> {
    /// A replica that knows nothing and nobody.
    pub fn new(id: NodeId, options: DeltaOptions) -> Self {
        let (buffer, neighbours) = (VecDeque::new(), BTreeMap::new());
        Self { id, options, state: C::default(), buffer, first: 0, neighbours }
    }

    /// The number of the next delta.
    fn next(&self) -> u64 {
        self.first + self.buffer.len() as u64
    }

    fn learn(&mut self, delta: C, from: NodeId) {
        self.state.join(&delta);
        self.buffer.push_back(Learnt { delta, from });
        if self.buffer.len() > self.options.buffer {
            self.buffer.pop_front();
            self.first += 1;
        }
    }

    /// What a neighbour that has acknowledged so much is to get; `None` for nothing.
    fn missing(&self, neighbour: NodeId, acknowledged: u64) -> Option<C> {
        let Some(known) = acknowledged.checked_sub(self.first) else { return Some(self.state.clone()) };
        let its_own = |learnt: &&Learnt<C>| self.options.avoid_back_propagation && learnt.from == neighbour;
        let news = self.buffer.range(known as usize..).filter(|learnt| !its_own(learnt));
        news.map(|learnt| &learnt.delta).fold(None, |all: Option<C>, delta| {
            let mut all = all.unwrap_or_default();
            all.join(delta);
            Some(all)
        })
    }

    /// Lets go of what everybody has acknowledged.
    fn trim(&mut self) {
        let least = self.neighbours.values().copied().min().unwrap_or(self.next());
        let done = least.saturating_sub(self.first).min(self.buffer.len() as u64);
        self.buffer.drain(..done as usize);
        self.first += done;
    }
}

enum Content<C> {
    Delta(u64, C),
    Heard(u64),
}

impl<C: Crdt> Replica for ByDelta<C> {
    type Update = C::Update;
    type Value = C::Value;

    fn connect(&mut self, neighbour: NodeId) {
        self.neighbours.entry(neighbour).or_default();
    }

    fn update(&mut self, update: &C::Update) -> bool {
        let delta = self.state.delta(self.id, update);
        let is_change = !delta.is_bottom();
        if is_change {
            self.learn(delta, self.id);
        }
        is_change
    }

    fn tick(&mut self, _: u64, out: &mut Vec<Letter>) {
        let next = self.next();
        let mut neighbours = std::mem::take(&mut self.neighbours);
        for (&to, acknowledged) in &mut neighbours {
            let Some(delta) = self.missing(to, *acknowledged) else {
                // Nothing but what came from there.
                *acknowledged = next;
                continue;
            };
            out.push(Letter::new(to, Kind::Delta, delta.elements(), |writer| {
                writer.number(Part::Metadata, next);
                delta.write(writer);
            }));
        }
        self.neighbours = neighbours;
        self.trim();
    }

    fn receive(&mut self, from: NodeId, letter: &[u8], out: &mut Vec<Letter>) -> Result<Merged, Malformed> {
        let next = self.next();
        let content = open(letter, |kind, reader| match kind {
            Kind::Delta => Ok(Content::Delta(reader.number()?, C::read(reader)?)),
            Kind::DeltaHeard => match reader.number()? {
                number if number <= next => Ok(Content::Heard(number)),
                _ => Err("an acknowledgement of what was never sent"),
            },
            _ => Err("no letter of a replica that sends deltas"),
        })?;
        match content {
            Content::Delta(number, delta) => {
                out.push(Letter::new(from, Kind::DeltaHeard, 0, |writer| writer.number(Part::Digest, number)));
                let news = delta.difference(&self.state);
                let merged = Merged { elements: delta.elements(), news: news.elements() };
                if !news.is_bottom() {
                    self.learn(if self.options.remove_redundant { news } else { delta }, from);
                }
                Ok(merged)
            }
            Content::Heard(number) => {
                if let Some(acknowledged) = self.neighbours.get_mut(&from) {
                    *acknowledged = number.max(*acknowledged);
                }
                self.trim();
                Ok(Merged::default())
            }
        }
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.state == other.state
    }

    fn value(&self) -> C::Value {
        self.state.value()
    }
}
