//! A cluster whose time, network and disks move only when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::multipaxos::{self, MultiPaxos};
use quorumbench_protocols::paxos::{self, Ballot, Paxos};
use quorumbench_protocols::raft::membership::Members;
use quorumbench_protocols::raft::message::Message;
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::zab::message::{Message as ZabMessage, Propose};
use quorumbench_protocols::zab::{Standing, Zab, Zxid};
use quorumbench_protocols::{
    Change, Config, Delivery, DeliveryKind, Frame, Head, Input, Lsn, Malformed, Nanos, NodeId, Outbox, Payload,
    Protocol, ReadAnswer, ReadMode, ReadOutcome, Record, Slot,
};

/// A protocol that can tell a reader what it says and where it stands.
pub trait Subject: Protocol {
    fn describe(frame: &Frame) -> String;
    fn standing(&self) -> String;
    fn summary(&self) -> String;
    fn members(&self) -> String {
        String::new()
    }
    /// A journal with which it has counted almost to the end, if it counts.
    fn worn() -> Vec<Record> {
        Vec::new()
    }
}

impl Subject for Raft {
    fn describe(frame: &Frame) -> String {
        Message::read(frame).map_or_else(|error| error.to_string(), |message| message.to_string())
    }

    fn standing(&self) -> String {
        let role = match self.role() {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        };
        format!("{role} of term {}", self.term())
    }

    fn members(&self) -> String {
        Self::members(self).to_string()
    }

    fn summary(&self) -> String {
        let log = self.log();
        let mut text = format!("{}, committed {}, log {}", self.standing(), self.committed(), log.trimmed());
        for slot in log.trimmed().0 + 1..=log.last().0 {
            let entry = log.get(Slot(slot)).expect("between trimmed and last");
            let body = if entry.kind == DeliveryKind::Noop { "-".into() } else { read(&entry.body) };
            write!(text, " | {slot}@{} {body}", entry.stamp).expect("a String takes all");
        }
        text
    }
}

impl Subject for Paxos {
    fn describe(frame: &Frame) -> String {
        paxos::message::Message::read(frame).map_or_else(|error| error.to_string(), |message| message.to_string())
    }

    fn standing(&self) -> String {
        "without a role".into()
    }

    fn summary(&self) -> String {
        let log = self.log();
        let mut text = format!("log {}", log.trimmed());
        for slot in log.trimmed().0 + 1..=log.last().0 {
            let entry = log.get(Slot(slot)).expect("between trimmed and last");
            let ballot = Ballot::read(entry.stamp).expect("a stamp is a ballot");
            write!(text, " | {slot}@{ballot} {}", read(&entry.body)).expect("a String takes all");
        }
        if self.promised() > Ballot::ZERO {
            write!(text, ", in slot {} promised {}", self.slot(), self.promised()).expect("a String takes all");
        }
        if let Some(accepted) = self.accepted() {
            write!(text, ", accepted {} {}", accepted.ballot, read(&accepted.body)).expect("a String takes all");
        }
        text
    }
}

impl Subject for Zab {
    fn describe(frame: &Frame) -> String {
        ZabMessage::read(frame).map_or_else(|error| error.to_string(), |message| message.to_string())
    }

    fn standing(&self) -> String {
        let standing = match self.standing() {
            Standing::Looking => "looking",
            Standing::Following => "following",
            Standing::Observing => "observing",
            Standing::Leading if self.is_established() => "established",
            Standing::Leading => "leading",
        };
        format!("{standing}, epoch {}/{}", self.current_epoch(), self.accepted_epoch())
    }

    fn summary(&self) -> String {
        let log = self.log();
        let mut text = format!("{}, committed {}, log {}", Subject::standing(self), self.committed(), log.trimmed());
        for slot in log.trimmed().0 + 1..=log.last().0 {
            let entry = log.get(Slot(slot)).expect("between trimmed and last");
            write!(text, " | {slot}@{} {}", Zxid(entry.stamp), read(&entry.body)).expect("a String takes all");
        }
        text
    }

    /// A transaction of epoch 1, and no record that any epoch was accepted: whoever leads epoch 1 counts on from it.
    fn worn() -> Vec<Record> {
        let (zxid, body) = (Zxid::new(1, u32::MAX - 2), Bytes::from_static(b"old"));
        let propose = ZabMessage::Propose(Propose { epoch: 1, slot: Slot(1), zxid, prev: Zxid::ZERO });
        let head = Head { body_len: body.len() as u32, ..propose.head() };
        vec![Record { lsn: Lsn(1), head, body: body.into() }]
    }
}

impl Subject for MultiPaxos {
    fn describe(frame: &Frame) -> String {
        let read = multipaxos::message::Message::read(frame);
        read.map_or_else(|error| error.to_string(), |message| message.to_string())
    }

    fn standing(&self) -> String {
        let role = match self.role() {
            multipaxos::Role::Follower => "follower",
            multipaxos::Role::Candidate => "candidate",
            multipaxos::Role::Leader => "leader",
        };
        format!("{role}, promised {}", self.promised())
    }

    /// What is decided, and after a `/` what is accepted beyond that.
    fn summary(&self) -> String {
        let log = self.log();
        let mut text = format!("{}, decided {}, log {}", self.standing(), log.last(), log.trimmed());
        let mut slot = |separator: char, slot: Slot, ballot, kind, body: &Payload| {
            let body = if kind == DeliveryKind::Noop { "-".into() } else { read(body) };
            write!(text, " {separator} {slot}@{ballot} {body}").expect("a String takes all");
        };
        for at in (log.trimmed().0 + 1..=log.last().0).map(Slot) {
            let entry = log.get(at).expect("between trimmed and last");
            slot('|', at, Ballot::read(entry.stamp).expect("a ballot"), entry.kind, &entry.body);
        }
        for (at, accepted) in self.accepted() {
            slot('/', at, accepted.ballot, accepted.kind, &accepted.body);
        }
        text
    }
}

impl Subject for Star {
    fn describe(frame: &Frame) -> String {
        let [slot, commit, ..] = frame.head.words;
        match frame.head.kind {
            1 => format!("Propose slot={slot} commit={commit}"),
            2 => format!("Acknowledge slot={slot}"),
            _ => format!("Commit commit={commit}"),
        }
    }

    fn standing(&self) -> String {
        "star".into()
    }

    fn summary(&self) -> String {
        format!("room {}", self.room())
    }
}

impl Subject for Echo {
    fn describe(frame: &Frame) -> String {
        format!("{:?}", frame.head)
    }

    fn standing(&self) -> String {
        "echo".into()
    }

    fn summary(&self) -> String {
        format!("room {}", self.room())
    }
}

/// An input that owns what it brings.
#[derive(Clone, Debug)]
pub enum Event {
    Frame(Frame),
    Submit(Payload),
    Durable(Lsn),
    Timeout,
    Transfer(NodeId),
    Snapshot(Slot, Payload),
    Read(u64, ReadMode),
    Reconfigure(Change),
}

impl Event {
    pub fn input(&self) -> Input<'_> {
        match self {
            Self::Frame(frame) => Input::Frame(frame),
            Self::Submit(body) => Input::Submit(body),
            Self::Durable(lsn) => Input::Durable(*lsn),
            Self::Timeout => Input::Timeout,
            Self::Transfer(target) => Input::Transfer(*target),
            Self::Reconfigure(change) => Input::Reconfigure(*change),
            Self::Read(id, mode) => Input::Read { id: *id, mode: *mode },
            Self::Snapshot(slot, body) => Input::Snapshot { slot: *slot, body },
        }
    }
}

pub struct Node<P> {
    pub protocol: P,
    /// What was delivered since the last snapshot, or since the start. The state machine is their
    /// texts in a row.
    pub delivered: Vec<Delivery>,
    /// Recorded and not durable.
    pub records: Vec<Record>,
    /// Durable and not released.
    pub journal: Vec<Record>,
    /// All that ever was durable.
    pub history: Vec<Record>,
    vouched: Lsn,
    config: Config,
    pub malformed: Vec<Malformed>,
    out: Outbox,
}

impl<P> Node<P> {
    /// What was recorded is durable.
    fn write(&mut self) -> Option<Event> {
        self.history.extend(self.records.iter().cloned());
        self.journal.append(&mut self.records);
        let last = self.journal.last()?.lsn;
        (std::mem::replace(&mut self.vouched, last) < last).then_some(Event::Durable(last))
    }
}

pub struct Cluster<P> {
    pub now: Nanos,
    pub nodes: Vec<Node<P>>,
    pub links: BTreeMap<(NodeId, NodeId), VecDeque<Frame>>,
    /// With slow disks a record becomes durable when the test says so, else at once.
    pub slow_disks: bool,
    pub trace: String,
    /// The side of the partition that a node is on.
    sides: Vec<usize>,
    /// Links that lose everything, one way.
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl<P: Subject> Cluster<P> {
    pub fn new(replicas: usize) -> Self {
        Self::with(replicas, |_| {})
    }

    pub fn with(replicas: usize, change: impl Fn(&mut Config)) -> Self {
        Self::with_spares(replicas, 0, change)
    }

    /// With as many nodes more that are no members and know who is.
    pub fn with_spares(replicas: usize, spares: usize, change: impl Fn(&mut Config)) -> Self {
        let all = replicas + spares;
        let node = |id: u32| {
            let mut config = Config::new(NodeId(id), replicas);
            change(&mut config);
            Node {
                protocol: P::new(&config, u64::from(id)),
                delivered: Vec::new(),
                records: Vec::new(),
                journal: Vec::new(),
                history: Vec::new(),
                vouched: Lsn::ZERO,
                config,
                malformed: Vec::new(),
                out: Outbox::default(),
            }
        };
        let mut cluster = Self {
            now: Nanos(1_000_000_000),
            nodes: (0..all as u32).map(node).collect(),
            links: BTreeMap::new(),
            slow_disks: false,
            trace: String::new(),
            sides: vec![0; all],
            cut: BTreeSet::new(),
        };
        for id in cluster.ids() {
            cluster.turn(id, &[Event::Timeout]);
        }
        cluster.trace.clear();
        cluster
    }

    pub fn ids(&self) -> Vec<NodeId> {
        (0..self.nodes.len() as u32).map(NodeId).collect()
    }

    pub fn node(&self, id: u32) -> &P {
        &self.nodes[id as usize].protocol
    }

    pub fn delivered(&self, id: u32) -> Vec<String> {
        self.nodes[id as usize].delivered.iter().map(|delivery| read(&delivery.body)).collect()
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{line}").expect("a String takes all");
    }

    /// One turn of a node, and with fast disks the turns that durability brings.
    pub fn turn(&mut self, id: NodeId, events: &[Event]) {
        let mut next = events.to_vec();
        while !next.is_empty() {
            self.one_turn(id, &next);
            next.clear();
            if !self.slow_disks {
                next.extend(self.nodes[id.0 as usize].write());
            }
        }
    }

    fn one_turn(&mut self, id: NodeId, events: &[Event]) {
        let now = self.now;
        let node = &mut self.nodes[id.0 as usize];
        let before = node.protocol.standing();
        let mut errors = Vec::new();
        for event in events {
            errors.extend(node.protocol.step(now, event.input(), &mut node.out).err());
        }
        node.protocol.flush(now, &mut node.out);
        let out = std::mem::take(&mut node.out);
        node.records.extend(out.records);
        node.malformed.extend(errors.iter());
        let after = node.protocol.standing();
        for error in errors {
            self.say(format_args!("{id}: {error}"));
        }
        if before != after {
            self.say(format_args!("{id} is {after}"));
        }
        for transmit in out.transmits {
            let frame = Frame { head: transmit.head, body: transmit.body };
            let to: Vec<_> = transmit.to.iter().collect();
            let names: Vec<_> = to.iter().map(ToString::to_string).collect();
            let body = if frame.body.is_empty() { String::new() } else { format!(" {}", read(&frame.body)) };
            self.say(format_args!("{id} -> {}: {}{body}", names.join(","), P::describe(&frame)));
            for to in to {
                if self.is_connected(id, to) {
                    self.links.entry((id, to)).or_default().push_back(frame.clone());
                }
            }
        }
        for delivery in out.deliveries {
            let node = &mut self.nodes[id.0 as usize];
            let body = if delivery.body.is_empty() { "-".into() } else { read(&delivery.body) };
            let what = match delivery.kind {
                DeliveryKind::Snapshot => {
                    node.delivered.clear();
                    "the snapshot of "
                }
                DeliveryKind::Batch | DeliveryKind::Noop | DeliveryKind::Config => "",
            };
            let slot = delivery.slot;
            node.delivered.push(delivery);
            self.say(format_args!("{id} delivers {what}{slot} {body}"));
        }
        for ReadAnswer { id: read, outcome } in out.reads {
            match outcome {
                ReadOutcome::At(slot) => self.say(format_args!("{id} answers read {read} at {slot}")),
                ReadOutcome::Refused => self.say(format_args!("{id} refuses read {read}")),
            }
        }
        for refusal in out.refused {
            self.say(format_args!("{id} refuses {:?}: {}", refusal.change, refusal.why));
        }
        if let Some(lsn) = out.release {
            let journal = &mut self.nodes[id.0 as usize].journal;
            journal.retain(|record| record.lsn >= lsn);
            assert_eq!(Some(journal[0].head.kind), P::SNAPSHOT_RECORD, "a journal that was cut begins with a snapshot");
            let (slot, more) = (journal[0].head.words[0], journal.len() - 1);
            self.say(format_args!("{id} keeps the record of the snapshot of {slot}, and {more} more"));
        }
    }

    /// Waits for a node's deadline, and tells it that it passed. The others sleep on.
    pub fn timeout(&mut self, id: u32) {
        self.now = self.now.max(self.node(id).deadline());
        self.turn(NodeId(id), &[Event::Timeout]);
    }

    pub fn submit(&mut self, id: u32, bodies: &[&str]) {
        let events: Vec<_> = bodies.iter().map(|body| Event::Submit(Bytes::from((*body).to_owned()).into())).collect();
        self.turn(NodeId(id), &events);
    }

    /// Everything that a slow disk holds back becomes durable.
    pub fn sync(&mut self, id: u32) {
        if let Some(durable) = self.nodes[id as usize].write() {
            self.turn(NodeId(id), &[durable]);
        }
    }

    /// A crash, and back again: what was not durable is lost, and so is what was on its way.
    pub fn restart(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        node.records.clear();
        node.delivered.clear();
        node.out.clear();
        node.vouched = node.journal.last().map_or(Lsn::ZERO, |record| record.lsn);
        node.protocol = P::recover(&node.config, u64::from(id), &node.journal).expect("its own journal");
        self.links.retain(|&(from, to), _| from.0 != id && to.0 != id);
        self.turn(NodeId(id), &[Event::Timeout]);
    }

    /// All come back with a journal in which almost all is counted.
    pub fn wear(&mut self) {
        for id in self.ids() {
            self.nodes[id.0 as usize].journal = P::worn();
            self.restart(id.0);
        }
        self.trace.clear();
    }

    /// The driver of `id` brings a snapshot of what was delivered.
    pub fn snapshot(&mut self, id: u32) {
        let delivered = &self.nodes[id as usize].delivered;
        let slot = delivered.last().map_or(Slot::ZERO, |delivery| delivery.slot);
        let text: Vec<_> = self.delivered(id).into_iter().filter(|text| !text.is_empty()).collect();
        self.turn(NodeId(id), &[Event::Snapshot(slot, Bytes::from(text.join("+")).into())]);
    }

    /// What is on the links that `filter` picks arrives: per node all at once, in one turn.
    pub fn deliver(&mut self, filter: impl Fn(NodeId, NodeId) -> bool) -> usize {
        let mut inboxes: BTreeMap<NodeId, Vec<Event>> = BTreeMap::new();
        for (&(from, to), link) in &mut self.links {
            if filter(from, to) && !link.is_empty() {
                inboxes.entry(to).or_default().extend(link.drain(..).map(Event::Frame));
            }
        }
        let count = inboxes.values().map(Vec::len).sum();
        for (to, events) in inboxes {
            self.turn(to, &events);
        }
        count
    }

    /// Rounds of deliveries until nothing is on its way; says how many.
    pub fn settle(&mut self) -> usize {
        (0..100).find(|_| self.deliver(|_, _| true) == 0).expect("the cluster never comes to rest")
    }

    /// Loses the last `count` frames of the links that `filter` picks.
    pub fn lose(&mut self, count: usize, filter: impl Fn(NodeId, NodeId) -> bool) {
        let mut lines = Vec::new();
        for (&(from, to), link) in &mut self.links {
            if filter(from, to) {
                let keep = link.len().saturating_sub(count);
                lines.extend(link.drain(keep..).map(|frame| format!("{from} -x {to}: {}", P::describe(&frame))));
            }
        }
        for line in lines {
            self.say(format_args!("{line}"));
        }
    }

    /// Splits the cluster; what is on its way between the parts is lost. Nodes not named are alone together.
    pub fn split(&mut self, parts: &[&[u32]]) {
        for (node, side) in self.sides.iter_mut().enumerate() {
            *side = parts.iter().position(|part| part.contains(&(node as u32))).unwrap_or(parts.len());
        }
        let sides = self.sides.clone();
        self.links.retain(|(from, to), _| sides[from.0 as usize] == sides[to.0 as usize]);
    }

    /// What `from` sends to `to` is lost from now on, but not what comes back.
    pub fn cut(&mut self, from: u32, to: u32) {
        self.cut.insert((NodeId(from), NodeId(to)));
    }

    pub fn heal(&mut self) {
        self.sides.fill(0);
        self.cut.clear();
    }

    fn is_connected(&self, from: NodeId, to: NodeId) -> bool {
        self.sides.get(from.0 as usize) == self.sides.get(to.0 as usize) && !self.cut.contains(&(from, to))
    }

    /// Time passes, and everyone's deadlines with it, up to and with the next one of `id`. Whatever
    /// is sent before that arrives at once.
    pub fn until(&mut self, id: u32) {
        for _ in 0..10_000 {
            let next = self.ids().into_iter().min_by_key(|next| self.node(next.0).deadline()).expect("a node");
            self.timeout(next.0);
            if next.0 == id {
                return;
            }
            self.settle();
        }
        panic!("n{id} never wakes");
    }

    /// Time passes, everyone's deadlines with it, and everything arrives.
    pub fn run(&mut self, time: Nanos) {
        let end = self.now + time.0;
        self.settle();
        for _ in 0..10_000 {
            let next = self.ids().into_iter().min_by_key(|next| self.node(next.0).deadline()).expect("a node");
            if self.node(next.0).deadline() > end {
                self.now = end;
                return;
            }
            self.timeout(next.0);
            self.settle();
        }
        panic!("time stands still: a deadline that has passed stays");
    }

    /// Elects `id`, by its timeout, and lets the dust settle.
    pub fn elect(&mut self, id: u32) {
        self.timeout(id);
        self.settle();
    }
}

/// A batch as text.
pub fn read(body: &Payload) -> String {
    let members = (body.len() >= Members::BYTES).then(|| Members::read(&body.slice(0, Members::BYTES))).flatten();
    if let Some(members) = members {
        return format!("{members}{}", read(&body.slice(Members::BYTES, body.len() - Members::BYTES)));
    }
    body.pieces().iter().map(|piece| String::from_utf8_lossy(piece)).collect()
}
