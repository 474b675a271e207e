//! The queue beside a protocol that answers when it is told to.
#![expect(clippy::disallowed_types, reason = "the tests name what they are made of")]

use bytes::BytesMut;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::{Config, Delivery, DeliveryKind, Head, Malformed, NodeId, Outbox, Payload, Record};

use super::*;
use crate::batch::Writer;
use crate::machine::{Kv, KvCommand};

/// Delivers and answers what it is told to, with its next flush.
#[derive(Default)]
struct Scripted {
    asked: Vec<(u64, ReadMode)>,
    answers: Vec<ReadAnswer>,
    deliveries: Vec<Delivery>,
}

impl Protocol for Scripted {
    const SNAPSHOT_RECORD: Option<u8> = None;

    fn new(_config: &Config, _seed: u64) -> Self {
        Self::default()
    }

    fn recover(config: &Config, seed: u64, _records: &[Record]) -> Result<Self, Malformed> {
        Ok(Self::new(config, seed))
    }

    fn step(&mut self, _now: Nanos, input: Input<'_>, _out: &mut Outbox) -> Result<(), Malformed> {
        if let Input::Read { id, mode } = input {
            self.asked.push((id, mode));
        }
        Ok(())
    }

    fn flush(&mut self, _now: Nanos, out: &mut Outbox) {
        out.reads.append(&mut self.answers);
        out.deliveries.append(&mut self.deliveries);
    }

    fn deadline(&self) -> Nanos {
        Nanos::NEVER
    }

    fn room(&self) -> usize {
        0
    }

    fn leader(&self) -> Option<NodeId> {
        Some(NodeId(2))
    }
}

const KEY: &[u8] = b"key";

fn batch(sequence: u64, command: KvCommand<'_>) -> Payload {
    let mut chunk = BytesMut::new();
    let mut writer = Writer::new(&mut chunk, BatchHead::next(3, sequence, 0, None));
    writer.command(|chunk| command.write(chunk));
    writer.finish().into()
}

fn read(mode: ReadMode, sequence: u64) -> Frame {
    read_of(mode, sequence, 0)
}

/// By a client that has seen `least`.
fn read_of(mode: ReadMode, sequence: u64, least: u64) -> Frame {
    let body = batch(sequence, KvCommand::Get(KEY));
    let head = Request::Read { mode, least: Slot(least) }.head(NodeId(3));
    Frame { head: Head { body_len: body.len() as u32, ..head }, body }
}

fn node() -> Node<Scripted, Kv> {
    Node::new(NodeId(0), Scripted::default())
}

impl<P: Protocol> Node<P, Kv> {
    /// A turn, and what it says, with the first value that was read.
    fn says(&mut self, now: u64) -> Vec<(Option<Request>, Vec<u8>)> {
        self.turn(Nanos(now));
        let value = |body: &Payload| body.pieces().concat().get(Kv::RESULT_OVERHEAD..).unwrap_or_default().to_vec();
        self.transmits().drain(..).map(|each| (Request::read(&each.head), value(&each.body))).collect()
    }
}

impl Node<Scripted, Kv> {
    fn will_answer(&mut self, id: u64, outcome: ReadOutcome) {
        self.protocol.answers.push(ReadAnswer { id, outcome });
    }

    fn will_deliver(&mut self, slot: u64, value: &[u8]) {
        let body = batch(slot, KvCommand::Put(KEY, value));
        self.protocol.deliveries.push(Delivery { slot: Slot(slot), kind: DeliveryKind::Batch, body });
    }
}

fn served(sequence: u64, slot: u64, value: &[u8]) -> (Option<Request>, Vec<u8>) {
    (Some(Request::Served { sequence, slot: Slot(slot) }), value.to_vec())
}

#[test]
fn a_read_waits_for_its_slot() {
    let mut node = node();
    node.will_deliver(1, b"old");
    node.inbox = vec![read(ReadMode::Index, 7)];
    assert_eq!(node.says(1), [], "the protocol has not answered");
    node.will_answer(1, ReadOutcome::At(Slot(3)));
    node.will_deliver(2, b"older than the read");
    assert_eq!(node.says(2), [], "the slot is not there");
    node.will_deliver(3, b"new");
    node.will_deliver(4, b"newer");
    assert_eq!(node.says(3), [served(7, 4, b"newer")]);
    assert_eq!(node.says(4), [], "once");
    assert_eq!((node.stats().reads, node.stats().applied, node.reads.waiting), (1, 4, 0));
}

#[test]
fn what_arrives_together_is_one_question_and_no_question_is_asked_twice() {
    let mut node = node();
    let (index, stale) = (ReadMode::Index, ReadMode::Stale);
    node.inbox = vec![read(index, 0), read(index, 1), read(stale, 2), read(index, 3)];
    assert_eq!(node.says(1), []);
    // A resent batch waits in a round of its own: an answer to the old one says nothing of the new one.
    node.inbox = vec![read(index, 0)];
    assert_eq!(node.says(2), []);
    let mut asked = node.protocol.asked.clone();
    asked.sort_unstable_by_key(|&(id, _)| id);
    assert_eq!(asked, [(1, index), (2, stale), (3, index)]);
    node.will_answer(2, ReadOutcome::At(Slot::ZERO));
    assert_eq!(node.says(3), [served(2, 0, b"")]);
    node.will_answer(1, ReadOutcome::At(Slot::ZERO));
    node.will_answer(77, ReadOutcome::At(Slot::ZERO));
    assert_eq!(node.says(4), [0, 1, 3].map(|sequence| served(sequence, 0, b"")));
    node.will_answer(1, ReadOutcome::At(Slot::ZERO));
    assert_eq!(node.says(5), [], "the last round still waits");
    node.will_answer(3, ReadOutcome::At(Slot::ZERO));
    assert_eq!(node.says(6), [served(0, 0, b"")]);
}

#[test]
fn what_is_refused_goes_elsewhere() {
    let mut node = node();
    node.inbox = vec![read(ReadMode::Lease, 5), read(ReadMode::Lease, 6)];
    node.will_answer(1, ReadOutcome::Refused);
    let redirect = |sequence| (Some(Request::Redirect { sequence, leader: Some(NodeId(2)) }), vec![]);
    assert_eq!(node.says(1), [redirect(5), redirect(6)]);
    assert_eq!(node.reads.waiting, 0);
}

#[test]
fn the_queue_is_bounded() {
    let mut node = node();
    let one = read(ReadMode::Index, 0);
    node.inbox = vec![one; MAX_WAITING];
    assert_eq!(node.says(1), []);
    node.inbox = vec![read(ReadMode::Index, 9)];
    assert_eq!(node.says(2), [(Some(Request::Busy { sequence: 9 }), vec![])]);
    assert_eq!(node.stats().busy, 1);
    node.will_answer(1, ReadOutcome::Refused);
    assert_eq!(node.says(3).len(), MAX_WAITING);
    node.inbox = vec![read(ReadMode::Index, 9)];
    assert_eq!(node.says(4), [], "there is room again");
}

#[test]
fn a_stale_read_whose_client_has_seen_more_goes_elsewhere() {
    let mut node = node();
    node.will_deliver(2, b"old");
    let read = |(sequence, least)| read_of(ReadMode::Stale, sequence, least);
    node.inbox = [(5, 3), (6, 1), (7, 2), (8, u64::MAX)].map(read).into();
    node.will_answer(1, ReadOutcome::At(Slot(2)));
    let redirect = |sequence| (Some(Request::Redirect { sequence, leader: Some(NodeId(2)) }), vec![]);
    assert_eq!(node.says(1), [redirect(5), served(6, 2, b"old"), served(7, 2, b"old"), redirect(8)]);
    assert_eq!((node.reads.waiting, node.reads.rounds.len()), (0, 0), "nothing is kept");
    node.will_deliver(3, b"new");
    node.inbox = vec![read((5, 3))];
    node.will_answer(2, ReadOutcome::At(Slot(2)));
    assert_eq!(node.says(2), [served(5, 3, b"new")]);
}

#[test]
fn what_is_no_batch_or_in_another_clients_name_is_refused() {
    let mut node = node();
    let mut forged = read(ReadMode::Stale, 0);
    forged.head.from = NodeId(4);
    node.inbox = vec![forged, Frame { body: Payload::EMPTY, ..read(ReadMode::Stale, 0) }];
    assert_eq!(node.says(1), []);
    assert_eq!((node.stats().malformed, node.protocol.asked.len()), (2, 0));
}

/// A leader whose majority is gone keeps reads waiting until it steps down, and then sends them away.
#[test]
fn a_leader_that_is_deposed_sends_its_reads_away() {
    let config = |id| Config { window: 8, ..Config::new(NodeId(id), 2) };
    let mut nodes = [0, 1].map(|id| Node::<Raft, Kv>::new(NodeId(id), Raft::new(&config(id), u64::from(id) + 1)));
    let mut now = Nanos::ZERO;
    while nodes.iter().all(|node| node.protocol.room() == 0) {
        now = nodes.iter().map(Node::deadline).min().expect("two").max(now + 1_000_000);
        for from in 0..2 {
            nodes[from].turn(now);
            let sent: Vec<_> = nodes[from].transmits().drain(..).collect();
            nodes[1 - from].inbox.extend(sent.into_iter().map(|each| Frame { head: each.head, body: each.body }));
        }
    }
    let leader = nodes.iter_mut().find(|node| node.protocol.room() > 0).expect("one leads");
    leader.inbox = vec![read(ReadMode::Index, 4)];
    let mut said = Vec::new();
    for _ in 0..1000 {
        now = leader.deadline().max(now + 1_000_000);
        said.extend(leader.says(now.0).into_iter().filter(|(request, _)| request.is_some()));
    }
    assert_eq!(said, [(Some(Request::Redirect { sequence: 4, leader: None }), vec![])]);
    assert_eq!(leader.reads.waiting, 0);
}
