//! A cluster of a few nodes as one value: what may happen to it next, and what it is then.
//!
//! Time is a small number that only timeouts move, to the deadline of the node whose timeout passes:
//! the others may be late, never early. Nothing else is a matter of chance or of hours: which frame
//! arrives, who is slow, crashes or loses patience is an [`Action`], and all of them are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use quorumbench_protocols::mutant::Switch;
use quorumbench_protocols::{
    Config, Delivery, DeliveryKind, Frame, Input, Lsn, Malformed, Nanos, NodeId, Outbox, Payload, Record, Slot,
};

use crate::print::{Printed, print};
use crate::support::cluster::Subject;

/// What a protocol needs to be checked here.
pub trait Checked: Subject + Clone + Debug + Send + Sync + 'static {
    /// The term, ballot or epoch that it leads, if it does; nobody else ever may.
    fn leads(&self) -> Option<u64>;
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub nodes: usize,
    pub bounds: Bounds,
    pub disks: Disks,
    pub mutant: Switch,
    /// Where a node has begun more rounds than this the search goes no further: two proposers of Paxos could go on
    /// outbidding each other without any timeout.
    pub rounds: u64,
    /// What has happened already, at nobody's expense.
    pub begin: &'static [Prelude],
}

/// How often each may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    pub commands: u8,
    pub timeouts: u8,
    pub crashes: u8,
    /// Of a frame that is the next on its way from one node to another.
    pub losses: u8,
    /// Likewise.
    pub duplicates: u8,
    /// A frame arrives before one that was sent earlier, from the same node to the same. With none left
    /// links are first-in-first-out. [`Bounds::ANY`] for any number of them.
    pub overtakes: u8,
}

impl Bounds {
    /// Not counted.
    pub const ANY: u8 = u8::MAX;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// What a turn records is durable before anything else happens.
    Instant,
    /// A record is durable when an action says so; a crash loses those that are not.
    Slow,
}

/// A step on the way to where the search begins.
#[derive(Clone, Copy, Debug)]
pub enum Prelude {
    Timeout(u32),
    Submit(u32),
    Crash(u32),
    /// A frame from one to another arrives.
    Carry(u32, u32),
    /// Likewise, and so does the next one back.
    Ask(u32, u32),
    /// What is written is durable.
    Sync(u32),
    /// Everything arrives between these nodes, and is durable there; what else was sent is lost.
    Settle(&'static [u32]),
}

impl Prelude {
    /// All that is on its way is lost.
    pub const LOSE: Self = Self::Settle(&[]);
}

/// Something that may happen next. A frame is meant by its place among those in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Deliver(usize),
    /// It arrives, and will again.
    Duplicate(usize),
    Lose(usize),
    Submit(NodeId),
    Timeout(NodeId),
    /// The oldest record that was not durable is.
    Sync(NodeId),
    /// The node stops, and starts again from what was durable. What it sent stays on its way.
    Crash(NodeId),
}

/// A state of the whole.
pub struct World<P> {
    pub nodes: Vec<Arc<Printed<Node<P>>>>,
    /// In the order of the links, and on each in that in which they were sent.
    pub flight: Vec<Arc<Printed<Sent>>>,
    pub left: Bounds,
    pub submitted: u8,
    pub now: Nanos,
    /// What was first delivered in each slot, by whomever: a crash takes nothing back.
    pub decided: BTreeMap<Slot, Said>,
    /// Who was ever seen to lead which term.
    pub leaders: BTreeSet<(u64, NodeId)>,
}

/// One node, its disk and its state machine.
#[derive(Clone, Debug)]
pub struct Node<P> {
    id: NodeId,
    pub protocol: P,
    journal: Vec<Record>,
    /// Recorded and not durable.
    unsynced: Vec<Record>,
    /// Since it was started.
    pub delivered: Vec<(Slot, Said)>,
    /// The first frame that it said no correct peer sends.
    pub malformed: Option<Malformed>,
}

/// A frame in flight.
#[derive(Debug)]
pub struct Sent {
    pub from: NodeId,
    pub to: NodeId,
    pub frame: Frame,
}

/// What comes of something that happens at one node. It depends on nothing but that node and the time.
pub struct Outcome<P> {
    node: Arc<Printed<Node<P>>>,
    sent: Vec<Arc<Printed<Sent>>>,
    delivered: Vec<(Slot, Said)>,
}

/// Something that happens at one node.
#[derive(Clone)]
pub enum Event {
    Frame(Arc<Printed<Sent>>),
    Submit(Payload),
    Timeout,
    Sync,
    Crash,
}

impl Event {
    /// Of the event and nothing else.
    pub fn print(&self) -> u128 {
        match self {
            Self::Frame(sent) => sent.print,
            Self::Submit(body) => print(body),
            Self::Timeout => 1,
            Self::Sync => 2,
            Self::Crash => 3,
        }
    }
}

impl Case {
    /// Three nodes that know nobody, with fast disks.
    pub fn fresh(bounds: Bounds) -> Self {
        Self { nodes: 3, bounds, disks: Disks::Instant, mutant: Switch::default(), rounds: u64::MAX, begin: &[] }
    }

    /// Node 0 leads, and the others have heard of it.
    pub fn led(bounds: Bounds) -> Self {
        Self { begin: &[Prelude::Timeout(0), Prelude::Settle(&[0, 1, 2])], ..Self::fresh(bounds) }
    }

    fn config(&self, id: NodeId) -> Config {
        Config {
            // One tick. All timeouts that are drawn from one to two of it are one: it is an action, not
            // chance, that says whose passes first. So the generator has no say, see `Print`.
            election_timeout: Nanos(1),
            heartbeat: Nanos(1),
            backoff: Nanos::ZERO,
            mutant: self.mutant,
            ..Config::new(id, self.nodes)
        }
    }

    /// The nodes when they have just been started.
    pub fn start<P: Checked>(&self) -> World<P> {
        let start = Nanos(1);
        let ids = (0..self.nodes as u32).map(NodeId);
        let mut world = World {
            nodes: Vec::new(),
            flight: Vec::new(),
            left: self.bounds,
            submitted: 0,
            now: start,
            decided: BTreeMap::new(),
            leaders: BTreeSet::new(),
        };
        for id in ids {
            let outcome = self.started(id, start, P::new(&self.config(id), u64::from(id.0)), Vec::new());
            world.nodes.push(outcome.node.clone());
            world.absorb(id, &outcome);
        }
        world
    }

    /// A node that was made just now: its first deadline has passed.
    fn started<P: Checked>(&self, id: NodeId, now: Nanos, protocol: P, journal: Vec<Record>) -> Outcome<P> {
        let node = Node { id, protocol, journal, unsynced: Vec::new(), delivered: Vec::new(), malformed: None };
        self.happen(now, &node, &Event::Timeout)
    }

    /// What an event at a node does.
    pub fn happen<P: Checked>(&self, now: Nanos, node: &Node<P>, event: &Event) -> Outcome<P> {
        let mut node = node.clone();
        let id = node.id;
        let mut out = Outbox::default();
        match event {
            Event::Frame(sent) => node.turn(now, Input::Frame(&sent.frame), &mut out),
            Event::Submit(body) => node.turn(now, Input::Submit(body), &mut out),
            Event::Timeout => node.turn(now, Input::Timeout, &mut out),
            Event::Sync => node.sync(now, &mut out),
            Event::Crash => {
                let protocol = P::recover(&self.config(id), u64::from(id.0), &node.journal).expect("its own journal");
                return self.started(id, now, protocol, node.journal);
            }
        }
        while self.disks == Disks::Instant && !node.unsynced.is_empty() {
            node.sync(now, &mut out);
        }
        let delivered: Vec<_> = out.deliveries.iter().map(|it| (it.slot, Said::of(it))).collect();
        node.delivered.extend(delivered.iter().copied());
        let mut sent = Vec::new();
        for transmit in out.transmits {
            let frame = Frame { head: transmit.head, body: transmit.body };
            sent.extend(transmit.to.iter().map(|to| Printed::new(Sent { from: id, to, frame: frame.clone() })));
        }
        Outcome { node: Printed::new(node), sent, delivered }
    }
}

impl<P: Checked> Node<P> {
    fn turn(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) {
        self.malformed = self.malformed.or(self.protocol.step(now, input, out).err());
        self.protocol.flush(now, out);
        self.unsynced.append(&mut out.records);
        if let Some(lsn) = out.release.take() {
            self.journal.retain(|record| record.lsn >= lsn);
        }
    }

    fn sync(&mut self, now: Nanos, out: &mut Outbox) {
        let record = self.unsynced.remove(0);
        let lsn: Lsn = record.lsn;
        self.journal.push(record);
        self.turn(now, Input::Durable(lsn), out);
    }
}

impl<P: Checked> World<P> {
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<P> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    pub fn node(&self, id: NodeId) -> &Printed<Node<P>> {
        &self.nodes[id.0 as usize]
    }

    /// Every delivery since a node was started.
    pub fn delivered(&self) -> impl Iterator<Item = &(Slot, Said)> {
        self.nodes.iter().flat_map(|node| &node.delivered)
    }

    /// All that may happen next.
    pub fn actions(&self, actions: &mut Vec<Action>) {
        let Bounds { commands, timeouts, crashes, losses, duplicates, overtakes } = self.left;
        for at in 0..self.flight.len() {
            if self.is_next(at) {
                actions.push(Action::Deliver(at));
                actions.extend((losses > 0).then_some(Action::Lose(at)));
                actions.extend((duplicates > 0).then_some(Action::Duplicate(at)));
            } else if overtakes > 0 {
                actions.push(Action::Deliver(at));
            }
        }
        for id in self.ids() {
            let node = self.node(id);
            actions.extend((commands > 0 && node.protocol.room() > 0).then_some(Action::Submit(id)));
            let sleeps = timeouts > 0 && node.protocol.deadline() < Nanos::NEVER;
            actions.extend(sleeps.then_some(Action::Timeout(id)));
            actions.extend((!node.unsynced.is_empty()).then_some(Action::Sync(id)));
            actions.extend((crashes > 0).then_some(Action::Crash(id)));
        }
    }

    /// Whether a frame in flight is the first on its way from one node to another.
    fn is_next(&self, at: usize) -> bool {
        let link = |at: usize| (self.flight[at].from, self.flight[at].to);
        at == 0 || link(at - 1) != link(at)
    }

    /// Takes an action as far as it concerns no node, and says what happens at which.
    pub fn begin(&mut self, action: Action) -> Option<(NodeId, Event)> {
        Some(match action {
            Action::Deliver(at) => {
                if !self.is_next(at) && self.left.overtakes != Bounds::ANY {
                    self.left.overtakes -= 1;
                }
                let sent = self.flight.remove(at);
                (sent.to, Event::Frame(sent))
            }
            Action::Duplicate(at) => {
                self.left.duplicates -= 1;
                let sent = self.flight[at].clone();
                (sent.to, Event::Frame(sent))
            }
            Action::Lose(at) => {
                self.left.losses -= 1;
                self.flight.remove(at);
                return None;
            }
            Action::Submit(id) => {
                self.left.commands -= 1;
                self.submitted += 1;
                (id, Event::Submit(command(self.submitted)))
            }
            Action::Timeout(id) => {
                self.left.timeouts -= 1;
                self.now = self.now.max(self.node(id).protocol.deadline());
                (id, Event::Timeout)
            }
            Action::Sync(id) => (id, Event::Sync),
            Action::Crash(id) => {
                self.left.crashes -= 1;
                (id, Event::Crash)
            }
        })
    }

    /// Takes on what came of it.
    pub fn absorb(&mut self, id: NodeId, outcome: &Outcome<P>) {
        self.nodes[id.0 as usize] = outcome.node.clone();
        self.flight.extend(outcome.sent.iter().cloned());
        self.flight.sort_by_key(|sent| (sent.from, sent.to));
        for (slot, said) in &outcome.delivered {
            self.decided.entry(*slot).or_insert(*said);
        }
        self.leaders.extend(outcome.node.protocol.leads().map(|term| (term, id)));
    }

    /// What an action is, to a reader.
    pub fn describe(&self, action: Action) -> String {
        let frame = |at: usize| {
            let Sent { from, to, frame } = &**self.flight[at];
            format!("{from} -> {to}: {}", P::describe(frame))
        };
        match action {
            Action::Deliver(at) => frame(at),
            Action::Duplicate(at) => format!("{}, and a copy stays", frame(at)),
            Action::Lose(at) => format!("{}, which is lost", frame(at)),
            other => format!("{other:?}"),
        }
    }

    /// What tells states apart. How many commands were submitted follows from how many are left.
    fn key(&self) -> impl Hash + PartialEq {
        (&self.nodes, &self.flight, self.left, self.now, &self.decided, &self.leaders)
    }
}

impl<P> Clone for World<P> {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            flight: self.flight.clone(),
            left: self.left,
            submitted: self.submitted,
            now: self.now,
            decided: self.decided.clone(),
            leaders: self.leaders.clone(),
        }
    }
}

impl<P: Checked> PartialEq for World<P> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<P: Checked> Hash for World<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl<P: Checked> Debug for World<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.ids().zip(&self.nodes) {
            writeln!(f, "  {id}: {}, delivered {:?}", node.protocol.summary(), node.delivered)?;
        }
        Ok(())
    }
}

/// The body of the command that was submitted as this one.
fn command(number: u8) -> Payload {
    Bytes::from(vec![number]).into()
}

/// What a delivery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    /// The protocol filled the slot itself.
    Noop,
    /// The command that was submitted as this one, counted from 1.
    Command(u8),
    /// Nothing that anyone asked for.
    Foreign,
}

impl Said {
    fn of(delivery: &Delivery) -> Self {
        let bytes: Vec<u8> = delivery.body.pieces().iter().flatten().copied().collect();
        match (delivery.kind, &bytes[..]) {
            (DeliveryKind::Noop, []) => Self::Noop,
            (DeliveryKind::Batch, &[number]) => Self::Command(number),
            _ => Self::Foreign,
        }
    }
}
