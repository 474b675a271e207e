//! Protocols whose peers are played: one node at a time, with no transport, disk or clock around it.
#![allow(dead_code, unreachable_pub, reason = "each bench takes what it needs")]

use std::hint::black_box;

use bytes::Bytes;
use quorumbench_protocols::floors::Star;
use quorumbench_protocols::multipaxos::{self, MultiPaxos};
use quorumbench_protocols::paxos::Ballot;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::message::{Accept, Append, Message, Probe};
use quorumbench_protocols::zab::message::{self as zab, Message as ZabMessage};
use quorumbench_protocols::zab::{Standing, Zab, Zxid};
use quorumbench_protocols::{
    Config, DeliveryKind, Frame, Head, Input, Lsn, Nanos, NodeId, Outbox, Payload, PeerSet, Protocol, Recipients, Slot,
};

const COMMAND: usize = 16;

/// A protocol whose peers can be played.
pub trait Subject: Protocol {
    const NAME: &'static str;
    /// Node 0 leads, and the slot that comes next.
    fn leading() -> (Node<Self>, u64);
    /// Node 1 follows node 0, and the slot that comes next.
    fn following() -> (Node<Self>, u64);
    fn append(slot: u64) -> Head;
    fn acknowledge(slot: u64) -> Head;
    /// Node `id`, which takes what node 0 sends.
    fn joined(id: u32) -> Node<Self> {
        Node::new(id)
    }
    /// What says that a slot is committed, if that is a message of its own.
    fn commit(_slot: u64) -> Option<Head> {
        None
    }
}

pub struct Node<P> {
    pub protocol: P,
    pub out: Outbox,
    pub now: Nanos,
    pub lsn: u64,
}

impl<P: Protocol> Node<P> {
    pub fn new(id: u32) -> Self {
        let config = Config { window: 64, ..Config::new(NodeId(id), 3) };
        Self { protocol: P::new(&config, 7), out: Outbox::default(), now: Nanos(1), lsn: 0 }
    }

    pub fn step(&mut self, input: Input<'_>) {
        self.protocol.step(self.now, input, &mut self.out).expect("a correct peer's frame");
    }

    pub fn hear(&mut self, from: u32, head: Head, body: &Payload) {
        let head = Head { from: NodeId(from), body_len: body.len() as u32, ..head };
        self.step(Input::Frame(&Frame { head, body: body.clone() }));
    }

    /// Ends the turn; the disk is fast.
    pub fn flush(&mut self) {
        self.protocol.flush(self.now, &mut self.out);
        if let Some(record) = self.out.records.last() {
            self.lsn = record.lsn.0;
        }
        black_box(&self.out);
        self.out.clear();
    }

    pub fn sync(&mut self) {
        self.step(Input::Durable(Lsn(self.lsn)));
    }
}

impl Subject for Raft {
    const NAME: &'static str = "raft";

    fn leading() -> (Node<Self>, u64) {
        let mut node = Node::<Self>::new(0);
        node.step(Input::Timeout);
        node.now = node.protocol.deadline();
        node.step(Input::Timeout);
        node.flush();
        node.hear(1, Message::PreGrant { term: 1 }.head(), &Payload::EMPTY);
        node.flush();
        node.sync();
        node.flush();
        node.hear(1, Message::Grant { term: 1 }.head(), &Payload::EMPTY);
        node.flush();
        assert_eq!(node.protocol.leader(), Some(NodeId(0)));
        (node, 2)
    }

    fn following() -> (Node<Self>, u64) {
        let mut node = Node::<Self>::new(1);
        let probe = Probe { term: 1, prev: Slot(0), prev_term: 0, commit: Slot(0), trim: Slot(0), round: 1 };
        node.hear(0, Message::Probe(probe).head(), &Payload::EMPTY);
        node.flush();
        node.sync();
        (node, 1)
    }

    fn append(slot: u64) -> Head {
        let (before, prev_term) = (Slot(slot - 1), u64::from(slot > 1));
        let append = Append {
            term: 1,
            slot: Slot(slot),
            entry_term: 1,
            prev_term,
            commit: before,
            trim: before,
            kind: DeliveryKind::Batch,
        };
        Message::Append(append).head()
    }

    fn acknowledge(slot: u64) -> Head {
        Message::Accept(Accept { term: 1, durable: Slot(slot), received: Slot(slot), round: 0 }).head()
    }
}

const BALLOT: Ballot = Ballot { round: 1, node: NodeId(0) };

impl Subject for MultiPaxos {
    const NAME: &'static str = "multipaxos";

    fn leading() -> (Node<Self>, u64) {
        let mut node = Node::<Self>::new(0);
        node.step(Input::Timeout);
        node.now = node.protocol.deadline();
        node.step(Input::Timeout);
        node.flush();
        node.sync();
        node.flush();
        let promise = multipaxos::message::Promise { ballot: BALLOT, decided: Slot(0), from: Slot(1), count: 0 };
        node.hear(1, multipaxos::message::Message::Promise(promise).head(), &Payload::EMPTY);
        node.flush();
        assert_eq!(node.protocol.leader(), Some(NodeId(0)));
        (node, 1)
    }

    fn following() -> (Node<Self>, u64) {
        let mut node = Node::<Self>::new(1);
        let decided = multipaxos::message::Decided { ballot: BALLOT, decided: Slot(0), trim: Slot(0), round: 1 };
        node.hear(0, multipaxos::message::Message::Decided(decided).head(), &Payload::EMPTY);
        node.flush();
        node.sync();
        node.flush();
        (node, 1)
    }

    fn append(slot: u64) -> Head {
        let (slot, before) = (Slot(slot), Slot(slot - 1));
        let accept = multipaxos::message::Accept {
            ballot: BALLOT,
            slot,
            decided: before,
            trim: before,
            kind: DeliveryKind::Batch,
        };
        multipaxos::message::Message::Accept(accept).head()
    }

    fn acknowledge(slot: u64) -> Head {
        let before = Slot(slot - 1);
        let votes = multipaxos::message::Votes {
            ballot: BALLOT,
            first: Slot(slot.saturating_sub(15).max(1)),
            last: Slot(slot),
            round: 0,
            decided: before,
            durable: before,
        };
        multipaxos::message::Message::Accepted(votes).head()
    }
}

impl Subject for Zab {
    const NAME: &'static str = "zab";

    fn leading() -> (Node<Self>, u64) {
        let mut node = Node::<Self>::new(0);
        node.step(Input::Timeout);
        node.flush();
        node.hear(1, notification(Standing::Looking), &Payload::EMPTY);
        while node.protocol.standing() != Standing::Leading {
            node.now = node.protocol.deadline();
            node.step(Input::Timeout);
            node.flush();
        }
        let mut both = |message: ZabMessage| {
            for peer in [1, 2] {
                node.hear(peer, message.head(), &Payload::EMPTY);
            }
            for _ in 0..2 {
                node.flush();
                node.sync();
            }
            node.flush();
        };
        let (session, current, last) = (1, 0, Zxid::ZERO);
        both(ZabMessage::FollowerInfo { accepted: 0, session });
        both(ZabMessage::AckEpoch(zab::AckEpoch { epoch: 1, session, current, last, promised: true }));
        both(ZabMessage::AckNewLeader(start(session)));
        assert!(node.protocol.is_established());
        (node, 1)
    }

    fn following() -> (Node<Self>, u64) {
        (Self::joined(1), 1)
    }

    fn joined(id: u32) -> Node<Self> {
        let mut node = Node::<Self>::new(id);
        node.step(Input::Timeout);
        node.hear(3 - id, notification(Standing::Following), &Payload::EMPTY);
        node.hear(0, notification(Standing::Leading), &Payload::EMPTY);
        node.protocol.flush(node.now, &mut node.out);
        let info = node.out.transmits.iter().find(|transmit| transmit.to == Recipients::One(NodeId(0)));
        let session = info.expect("it connects").head.words[1];
        node.flush();
        let zab::Point { epoch, slot, zxid, .. } = start(session);
        let sync = zab::Sync { epoch, session, slot, zxid, truncate: false };
        for message in [
            ZabMessage::LeaderInfo { epoch, session },
            ZabMessage::Sync(sync),
            ZabMessage::NewLeader(start(session)),
            ZabMessage::UpToDate(start(session)),
        ] {
            node.hear(0, message.head(), &Payload::EMPTY);
            node.flush();
            node.sync();
            node.flush();
        }
        assert_eq!(node.protocol.leader(), Some(NodeId(0)));
        node
    }

    fn append(slot: u64) -> Head {
        let zxid = |slot| if slot == 0 { Zxid::ZERO } else { Zxid::new(1, slot as u32) };
        ZabMessage::Propose(zab::Propose { epoch: 1, slot: Slot(slot), zxid: zxid(slot), prev: zxid(slot - 1) }).head()
    }

    fn acknowledge(slot: u64) -> Head {
        let (slot, zxid) = (Slot(slot), Zxid::new(1, slot as u32));
        ZabMessage::Ack(zab::Ack { epoch: 1, durable: slot, zxid, received: slot, round: 0, session: 1 }).head()
    }

    fn commit(slot: u64) -> Option<Head> {
        let (slot, zxid) = (Slot(slot), Zxid::new(1, slot as u32));
        Some(ZabMessage::Commit { epoch: 1, slot, zxid, trim: slot }.head())
    }
}

/// Of a node that looks as all do, or is led by node 0.
fn notification(standing: Standing) -> Head {
    let vote = zab::Vote { epoch: 0, zxid: Zxid::ZERO, id: NodeId(0) };
    let vote = if standing == Standing::Looking { zab::Vote { epoch: 1, ..vote } } else { vote };
    ZabMessage::Notification(zab::Notification {
        round: 1,
        standing,
        vote: Some(vote),
        hears: PeerSet::first(3),
        connected: PeerSet::first(3),
    })
    .head()
}

/// Where the history of the first epoch begins.
fn start(session: u64) -> zab::Point {
    zab::Point { epoch: 1, session, slot: Slot::ZERO, zxid: Zxid::ZERO }
}

impl Subject for Star {
    const NAME: &'static str = "star";

    fn leading() -> (Node<Self>, u64) {
        let mut node = Node::<Self>::new(0);
        node.hear(1, Self::acknowledge(0), &Payload::EMPTY);
        node.hear(2, Self::acknowledge(0), &Payload::EMPTY);
        (node, 1)
    }

    fn following() -> (Node<Self>, u64) {
        (Node::new(1), 1)
    }

    fn append(slot: u64) -> Head {
        Head { kind: 1, words: [slot, slot - 1, 0, 0, 0, 0], ..Head::default() }
    }

    fn acknowledge(slot: u64) -> Head {
        Head { kind: 2, words: [slot, 0, 0, 0, 0, 0], ..Head::default() }
    }
}

/// A turn in which batches come, and one in which the disk and both followers answer.
pub fn lead<P: Subject>(node: &mut Node<P>, next: &mut u64, turn: u64, body: &Payload) {
    for _ in 0..turn {
        node.step(Input::Submit(body));
    }
    node.flush();
    *next += turn;
    node.sync();
    node.hear(1, P::acknowledge(*next - 1), &Payload::EMPTY);
    node.hear(2, P::acknowledge(*next - 1), &Payload::EMPTY);
    node.flush();
}

/// A turn in which appends come, and one in which the disk answers.
pub fn follow<P: Subject>(node: &mut Node<P>, next: &mut u64, turn: u64, body: &Payload) {
    for slot in *next..*next + turn {
        node.hear(0, P::append(slot), body);
    }
    node.flush();
    *next += turn;
    node.sync();
    if let Some(commit) = P::commit(*next - 1) {
        node.hear(0, commit, &Payload::EMPTY);
    }
    node.flush();
}

/// A leader and its two followers with nothing played: transmits become frames.
pub fn all<P: Subject>(nodes: &mut [Node<P>; 3], frames: &mut Vec<(Recipients, Frame)>, turn: u64, body: &Payload) {
    let collect = |node: &mut Node<P>, frames: &mut Vec<(Recipients, Frame)>| {
        node.protocol.flush(node.now, &mut node.out);
        let taken = node.out.transmits.drain(..);
        frames.extend(taken.map(|transmit| (transmit.to, Frame { head: transmit.head, body: transmit.body })));
        if let Some(record) = node.out.records.last() {
            node.lsn = record.lsn.0;
        }
        black_box(&node.out);
        node.out.clear();
    };
    for _ in 0..turn {
        nodes[0].step(Input::Submit(body));
    }
    collect(&mut nodes[0], frames);
    for node in &mut nodes[1..] {
        for (_, frame) in frames.iter() {
            node.step(Input::Frame(frame));
        }
        node.protocol.flush(node.now, &mut node.out);
        if let Some(record) = node.out.records.last() {
            node.lsn = record.lsn.0;
        }
        node.sync();
    }
    frames.clear();
    collect(&mut nodes[1], frames);
    collect(&mut nodes[2], frames);
    nodes[0].sync();
    for (_, frame) in frames.iter() {
        nodes[0].step(Input::Frame(frame));
    }
    frames.clear();
    // What the leader says of commits arrives with its next appends.
    collect(&mut nodes[0], frames);
}

/// Three nodes, node 0 leading.
pub fn cluster<P: Subject>() -> [Node<P>; 3] {
    let (leader, next) = P::leading();
    let mut nodes = [leader, P::joined(1), P::joined(2)];
    for slot in 1..next {
        let noop = Head { flags: 1, ..P::append(slot) };
        for node in &mut nodes[1..] {
            node.hear(0, noop, &Payload::EMPTY);
            node.flush();
            node.sync();
            node.flush();
        }
    }
    if next > 1 {
        nodes[0].sync();
        nodes[0].hear(1, P::acknowledge(next - 1), &Payload::EMPTY);
        nodes[0].hear(2, P::acknowledge(next - 1), &Payload::EMPTY);
        nodes[0].flush();
    }
    nodes
}

pub fn batch(commands: usize) -> Payload {
    let body = Bytes::from(vec![7; COMMAND * commands]);
    // Shared, as a slice of a receive buffer is from the start.
    let _shared = body.clone();
    body.into()
}
