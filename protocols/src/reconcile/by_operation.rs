//! Operations over causal broadcast.

use std::collections::{BTreeMap, VecDeque};

use super::{Kind, Letter, Merged, Replica, open};
use crate::crdt::{Crdt, Dot, Encoded, Operations, Part, Reader, Writer};
use crate::wire::{Malformed, NodeId, reject};

/// A replica that stores operations and forwards them, with vector clocks, until each neighbour has said that it has
/// delivered them. One that arrives before what it was caused by waits (Shapiro et al. 2011, section 2.2; causal
/// broadcast after Birman, Schiper, Stephenson, *Lightweight causal and atomic group multicast*, 1991).
///
/// A neighbour that is new gets the state in one piece, with the clock that says what is in it.
#[derive(Clone, Debug)]
pub struct ByOperation<C: Crdt> {
    id: NodeId,
    state: C::Operations,
    /// How many operations of each replica are in the state.
    delivered: Clock,
    /// Those that somebody may lack, in the order in which they were delivered: causes first.
    log: VecDeque<Caused<Operation<C>>>,
    /// Of which operations not all are in the log that are in the state: those up to here.
    trimmed: Clock,
    /// Those whose causes have not arrived.
    waiting: BTreeMap<Dot, Caused<Operation<C>>>,
    /// What each neighbour has delivered, as far as is known here.
    neighbours: BTreeMap<NodeId, Clock>,
}

type Operation<C> = <<C as Crdt>::Operations as Operations<<C as Crdt>::Update>>::Operation;

/// An operation, its name, and what was delivered where it was made when it was.
#[derive(Clone, Debug)]
struct Caused<O> {
    id: Dot,
    after: Clock,
    operation: O,
}

/// How many operations of each replica: a vector clock, in which nothing is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Clock {
    counts: BTreeMap<NodeId, u64>,
}

impl Clock {
    fn of(&self, node: NodeId) -> u64 {
        self.counts.get(&node).copied().unwrap_or_default()
    }

    fn has(&self, dot: Dot) -> bool {
        dot.count <= self.of(dot.node)
    }

    fn raise(&mut self, dot: Dot) {
        let count = self.counts.entry(dot.node).or_default();
        *count = dot.count.max(*count);
    }

    fn join(&mut self, other: &Self) {
        other.counts.iter().for_each(|(&node, &count)| self.raise(Dot { node, count }));
    }

    fn is_below(&self, other: &Self) -> bool {
        self.counts.iter().all(|(&node, &count)| other.has(Dot { node, count }))
    }

    fn write(&self, part: Part, to: &mut Writer) {
        to.count_of(part, self.counts.len());
        for (&node, &count) in &self.counts {
            to.node(part, node);
            to.number(part, count);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let mut counts = BTreeMap::new();
        for _ in 0..from.count()? {
            let node = from.node()?;
            reject(counts.last_key_value().is_some_and(|(&last, _)| last >= node), "entries out of order")?;
            counts.insert(node, from.positive()?);
        }
        Ok(Self { counts })
    }
}

impl<O: Encoded> Encoded for Caused<O> {
    fn write(&self, to: &mut Writer) {
        self.id.write(to);
        self.after.write(Part::Metadata, to);
        self.operation.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let (id, after) = (Dot::read(from)?, Clock::read(from)?);
        reject(after.of(id.node) + 1 != id.count, "an operation that is not its replica's next")?;
        Ok(Self { id, after, operation: O::read(from)? })
    }
}

impl<C: Crdt> ByOperation<C> {
    /// A replica that knows nothing and nobody.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            state: C::Operations::default(),
            delivered: Clock::default(),
            log: VecDeque::new(),
            trimmed: Clock::default(),
            waiting: BTreeMap::new(),
            neighbours: BTreeMap::new(),
        }
    }

    fn deliver(&mut self, caused: Caused<Operation<C>>) {
        self.state.apply(caused.id, &caused.operation);
        self.delivered.raise(caused.id);
        self.log.push_back(caused);
    }

    /// Keeps an operation that is new, until it can be delivered. Whether it was.
    fn accept(&mut self, caused: Caused<Operation<C>>) -> bool {
        let is_news = !self.delivered.has(caused.id) && !self.waiting.contains_key(&caused.id);
        if is_news && caused.after.is_below(&self.delivered) {
            self.deliver(caused);
        } else if is_news {
            self.waiting.insert(caused.id, caused);
        }
        is_news
    }

    /// Delivers what was waiting, as far as it is due.
    fn deliver_waiting(&mut self) {
        let delivered = &self.delivered;
        self.waiting.retain(|&id, _| !delivered.has(id));
        let due = |this: &Self| {
            this.waiting.values().find(|caused| caused.after.is_below(&this.delivered)).map(|caused| caused.id)
        };
        while let Some(id) = due(self) {
            let caused = self.waiting.remove(&id).expect("it was found there");
            self.deliver(caused);
        }
    }

    /// Becomes what a snapshot holds, and what has happened here beside it. One that lacks what cannot be done again is
    /// an old one, and no use.
    fn restore(&mut self, snapshot: C::Operations, clock: &Clock) -> bool {
        if clock.is_below(&self.delivered) || !self.trimmed.is_below(clock) {
            return false;
        }
        self.state = snapshot;
        for caused in self.log.iter().filter(|caused| !clock.has(caused.id)) {
            self.state.apply(caused.id, &caused.operation);
        }
        self.delivered.join(clock);
        self.trimmed.join(clock);
        self.deliver_waiting();
        true
    }

    /// Lets go of what all neighbours have delivered.
    fn trim(&mut self) {
        let (neighbours, trimmed) = (&self.neighbours, &mut self.trimmed);
        self.log.retain(|caused| {
            let is_missing = neighbours.values().any(|known| !known.has(caused.id));
            if !is_missing {
                trimmed.raise(caused.id);
            }
            is_missing
        });
    }

    fn heard(&mut self, neighbour: NodeId, clock: &Clock) {
        if let Some(known) = self.neighbours.get_mut(&neighbour) {
            known.join(clock);
        }
        self.trim();
    }
}

enum Content<C: Crdt> {
    Operations(Vec<Caused<Operation<C>>>),
    Heard(Clock),
    Snapshot(C::Operations, Clock),
}

impl<C: Crdt> Content<C> {
    fn read(kind: Kind, from: &mut Reader<'_>) -> Result<Self, &'static str> {
        match kind {
            Kind::Operations => {
                let count = from.count()?;
                (0..count).map(|_| Caused::read(from)).collect::<Result<_, _>>().map(Self::Operations)
            }
            Kind::OperationsHeard => Clock::read(from).map(Self::Heard),
            Kind::Snapshot => Ok(Self::Snapshot(C::Operations::read(from)?, Clock::read(from)?)),
            _ => Err("no letter of a replica that sends operations"),
        }
    }
}

impl<C: Crdt> Replica for ByOperation<C> {
    type Update = C::Update;
    type Value = C::Value;

    fn connect(&mut self, neighbour: NodeId) {
        self.neighbours.entry(neighbour).or_default();
    }

    fn update(&mut self, update: &C::Update) -> bool {
        let Some(operation) = self.state.prepare(self.id, update) else { return false };
        let id = Dot { node: self.id, count: self.delivered.of(self.id) + 1 };
        self.deliver(Caused { id, after: self.delivered.clone(), operation });
        true
    }

    fn tick(&mut self, _: u64, out: &mut Vec<Letter>) {
        self.trim();
        for (&to, known) in &self.neighbours {
            if !self.trimmed.is_below(known) {
                out.push(Letter::new(to, Kind::Snapshot, 1, |writer| {
                    self.state.write(writer);
                    self.delivered.write(Part::Metadata, writer);
                }));
                continue;
            }
            let news: Vec<_> = self.log.iter().filter(|caused| !known.has(caused.id)).collect();
            if !news.is_empty() {
                out.push(Letter::new(to, Kind::Operations, news.len() as u64, |writer| {
                    writer.count_of(Part::Metadata, news.len());
                    news.iter().for_each(|caused| caused.write(writer));
                }));
            }
        }
    }

    fn receive(&mut self, from: NodeId, letter: &[u8], out: &mut Vec<Letter>) -> Result<Merged, Malformed> {
        let merged = match open(letter, Content::<C>::read)? {
            Content::Heard(clock) => {
                self.heard(from, &clock);
                return Ok(Merged::default());
            }
            Content::Operations(operations) => {
                let elements = operations.len() as u64;
                let mut theirs = Clock::default();
                let mut news = 0;
                for caused in operations {
                    theirs.raise(caused.id);
                    news += u64::from(self.accept(caused));
                }
                self.deliver_waiting();
                self.heard(from, &theirs);
                Merged { elements, news }
            }
            Content::Snapshot(state, clock) => {
                let news = u64::from(self.restore(state, &clock));
                self.heard(from, &clock);
                Merged { elements: 1, news }
            }
        };
        let delivered = &self.delivered;
        out.push(Letter::new(from, Kind::OperationsHeard, 0, |writer| delivered.write(Part::Digest, writer)));
        Ok(merged)
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.delivered == other.delivered && self.state == other.state
    }

    fn value(&self) -> C::Value {
        self.state.value()
    }
}
