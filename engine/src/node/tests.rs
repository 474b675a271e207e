//! A node in virtual time, over the floors: they are the smallest protocols there are.

use super::*;
use crate::batch::Writer;
use crate::machine::Null;
use quorumbench_protocols::Config;
use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::membership::Members;

fn submit(client: u32, sequence: u64) -> Frame {
    let mut chunk = BytesMut::new();
    let mut writer = Writer::new(&mut chunk, BatchHead { client, sequence, ..BatchHead::default() });
    writer.command(|_| ());
    writer.command(|_| ());
    let body = Payload::from(writer.finish());
    let head = Head { body_len: body.len() as u32, ..Request::Submit.head(NodeId(client)) };
    Frame { head, body }
}

fn node<P: Protocol>(id: u32, window: usize) -> Node<P, Null> {
    let config = Config { window, ..Config::new(NodeId(id), 3) };
    Node::new(NodeId(id), P::new(&config, 1))
}

fn said(node: &mut Node<impl Protocol, Null>) -> Vec<(Recipients, Option<Request>)> {
    node.transmits().drain(..).map(|transmit| (transmit.to, Request::read(&transmit.head))).collect()
}

#[test]
fn answers_in_a_row_are_one_answer_and_a_resent_batch_is_applied_once() {
    let mut node = node::<Echo>(0, 8);
    node.inbox = vec![submit(3, 0), submit(3, 1), submit(3, 1), submit(4, 0)];
    node.turn(Nanos(1));
    let applied = |client, first, batches| (Recipients::One(NodeId(client)), Some(Request::Applied { first, batches }));
    assert_eq!(said(&mut node), [applied(3, 0, 2), applied(4, 0, 1)]);
    assert_eq!(node.machine().applied(), 6, "the second copy was under way already");
    node.inbox = vec![submit(3, 0)];
    node.turn(Nanos(2));
    assert_eq!(said(&mut node), [applied(3, 0, 1)], "told again");
    assert_eq!(node.machine().applied(), 6);
}

/// A leader with a window of two, whose followers' greetings wait in its inbox.
fn greeted_leader() -> Node<Star, Null> {
    let mut leader = node::<Star>(0, 2);
    for id in [1, 2] {
        let mut follower = node::<Star>(id, 2);
        follower.turn(Nanos(1));
        let greeting = follower.transmits().drain(..).map(|each| Frame { head: each.head, body: each.body });
        leader.inbox.extend(greeting);
    }
    leader
}

#[test]
fn what_the_window_has_no_room_for_waits() {
    let mut leader = greeted_leader();
    leader.inbox.extend((0..5).map(|sequence| submit(3, sequence)));
    leader.turn(Nanos(1));
    assert_eq!((leader.transmits().len(), leader.waiting.len()), (2, 3));
}

#[test]
fn what_is_sent_again_while_it_waits_waits_once() {
    let mut leader = greeted_leader();
    for turn in 1..4 {
        leader.inbox.extend((0..5).map(|sequence| submit(3, sequence)));
        leader.turn(Nanos(turn));
    }
    assert_eq!((leader.transmits().len(), leader.waiting.len()), (2, 3), "two under way, three in line");
}

#[test]
fn a_replica_that_does_not_lead_says_who_does() {
    let mut follower = node::<Star>(1, 2);
    follower.inbox = vec![submit(3, 7)];
    follower.turn(Nanos(1));
    let redirect = Request::Redirect { sequence: 7, leader: Some(NodeId(0)) };
    assert!(said(&mut follower).contains(&(Recipients::One(NodeId(3)), Some(redirect))));
}

#[test]
fn a_batch_in_another_clients_name_is_refused() {
    let mut node = node::<Echo>(0, 8);
    let mut forged = submit(3, 0);
    forged.head.from = NodeId(4);
    node.inbox = vec![forged];
    node.turn(Nanos(1));
    assert_eq!((node.transmits().len(), node.stats().malformed), (0, 1));
}

/// A cluster of one that leads.
fn alone(policy: SnapshotPolicy) -> Node<Raft, Null> {
    let protocol = Raft::new(&Config { window: 8, ..Config::new(NodeId(0), 1) }, 1);
    let mut node = Node::new(NodeId(0), protocol).with_snapshots(policy);
    while node.protocol.room() == 0 {
        node.turn(node.deadline());
    }
    node
}

#[test]
fn an_endless_run_keeps_little() {
    let mut node = alone(SnapshotPolicy { slots: 10, ..SnapshotPolicy::NEVER });
    for sequence in 0..1000 {
        node.inbox = vec![submit(3, sequence)];
        node.turn(node.deadline());
        let log = node.protocol.log();
        assert!(log.last().saturating_since(log.trimmed()) <= 10 + 8);
    }
    assert!(node.stats().snapshots >= 99, "{:?}", node.stats());
    assert_eq!(alone(SnapshotPolicy::NEVER).stats().snapshots, 0);
}

/// R12: sessions are part of the snapshot.
#[test]
fn what_was_applied_before_a_snapshot_is_not_applied_after_it() {
    let mut node = alone(SnapshotPolicy { slots: 1, ..SnapshotPolicy::NEVER });
    node.inbox = vec![submit(3, 0)];
    node.turn(node.deadline());
    let snapshot = node.protocol.snapshot().expect("one a slot").body.clone();
    let members = Members::BYTES;
    let mut other = alone(SnapshotPolicy::NEVER);
    other.restore(&snapshot.slice(members, snapshot.len() - members));
    assert_eq!((other.machine().applied(), other.stats().restored), (2, 1));
    other.inbox = vec![submit(3, 0), submit(3, 1)];
    other.turn(other.deadline());
    assert_eq!(other.machine().applied(), 4, "the second only");
}

#[test]
#[should_panic(expected = "cannot be read")]
fn a_broken_snapshot_stops_the_node() {
    alone(SnapshotPolicy::NEVER).restore(&Bytes::from_static(b"nothing of ours").into());
}
