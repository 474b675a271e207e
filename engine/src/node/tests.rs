//! A node in virtual time, over the floors: they are the smallest protocols there are.

use super::*;
use crate::batch::Writer;
use crate::machine::Null;
use crate::spec::SnapshotBasis;
use quorumbench_protocols::Config;
use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::membership::Members;
use std::sync::Arc;

fn submit(client: u32, sequence: u64) -> Frame {
    let mut chunk = BytesMut::new();
    let mut writer = Writer::new(&mut chunk, BatchHead::next(client, sequence, 0, sequence.checked_sub(1)));
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
    let applied = |client, first, batches| {
        (Recipients::One(NodeId(client)), Some(Request::Applied { first, batches, slot: Slot(3) }))
    };
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
fn a_leader_keeps_a_clients_order_and_asks_for_what_is_missing() {
    let mut leader = greeted_leader();
    leader.inbox.extend([2, 1].map(|sequence| submit(3, sequence)));
    leader.turn(Nanos(1));
    let missing =
        |sequence| (Recipients::One(NodeId(3)), Some(Request::Redirect { sequence, leader: Some(NodeId(0)) }));
    assert_eq!(said(&mut leader), [missing(1), missing(0)], "nothing is submitted");
    leader.inbox.extend([0, 4].map(|sequence| submit(3, sequence)));
    leader.turn(Nanos(2));
    let waiting: Vec<_> = leader.waiting.iter().filter_map(|frame| BatchHead::read(&frame.body)).collect();
    assert_eq!(waiting.iter().map(|head| head.sequence).collect::<Vec<_>>(), [2], "0 and 1 are in the window");
    assert!(said(&mut leader).contains(&missing(3)));
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

/// A batch whose body says, by being dropped, that nobody holds it any more.
fn watched(sequence: u64, holders: &Arc<()>) -> Frame {
    struct Watched(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let Frame { head, body } = submit(9, sequence);
    Frame { head, body: Bytes::from_owner(Watched(body.pieces().concat(), holders.clone())).into() }
}

/// All of them take a turn, with what the ones before said to them; what is said to others is lost.
fn exchange(nodes: &mut [Node<Raft, Null>], now: Nanos) {
    for from in 0..nodes.len() {
        nodes[from].turn(now);
        for Transmit { to, head, body } in std::mem::take(nodes[from].transmits()) {
            for to in to.iter() {
                if let Some(node) = nodes.get_mut(to.0 as usize) {
                    node.inbox.push(Frame { head, body: body.clone() });
                }
            }
        }
    }
}

/// A replica that is gone holds back what the others agree to let go. What they keep is bounded by the
/// policy all the same, the memory that batches came in included; and while all are there, agreement
/// is enough.
#[test]
fn the_log_is_bounded_whoever_is_gone() {
    const WINDOW: u64 = 8;
    const POLICY: SnapshotPolicy = SnapshotPolicy { slots: 100, bytes: u64::MAX, of: SnapshotBasis::Kept };
    let node = |id| {
        let config = Config { window: WINDOW as usize, ..Config::new(NodeId(id), 3) };
        Node::<Raft, Null>::new(NodeId(id), Raft::new(&config, u64::from(id))).with_snapshots(POLICY)
    };
    let mut nodes: Vec<_> = (0..3).map(node).collect();
    let (holders, mut now, mut sequence) = (Arc::new(()), Nanos(1), 0);
    let mut run = |nodes: &mut [Node<Raft, Null>], batches: u64| {
        let mut most = 0;
        for _ in 0..batches {
            let leader = nodes.iter_mut().find(|node| node.protocol.room() > 0);
            if let Some(leader) = leader {
                leader.inbox.push(watched(sequence, &holders));
                sequence += 1;
            }
            for _ in 0..3 {
                exchange(nodes, now);
                now += 1_000_000;
            }
            let kept = nodes.iter().map(|node| node.protocol.kept().slots).max().unwrap_or_default();
            most = most.max(kept).max(Arc::strong_count(&holders) as u64 - 1);
        }
        most
    };
    let of = |nodes: &[Node<Raft, Null>], count: fn(NodeStats) -> u64| {
        nodes.iter().map(|node| count(node.stats())).sum::<u64>()
    };
    run(&mut nodes, 2000);
    assert!(run(&mut nodes, 2000) <= WINDOW);
    assert_eq!(of(&nodes, |stats| stats.snapshots), 0, "they agree");
    let most = run(&mut nodes[..2], 5000);
    assert!((100..=100 + 2 * WINDOW).contains(&most), "{most}");
    assert!(of(&nodes, |stats| stats.snapshots) >= 2 * 40);
    run(&mut nodes, 500);
    let taken = of(&nodes, |stats| stats.snapshots);
    assert_eq!(of(&nodes, |stats| stats.restored), 1, "the one that was gone is sent a snapshot");
    assert!(run(&mut nodes, 2000) <= WINDOW);
    assert_eq!(of(&nodes, |stats| stats.snapshots), taken, "they agree again");
    assert_eq!(nodes[0].machine().applied(), nodes[2].machine().applied());
    assert!(nodes[0].machine().applied() > 2 * 10_000);
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
    other.restore(Slot::ZERO, &snapshot.slice(members, snapshot.len() - members));
    assert_eq!((other.machine().applied(), other.stats().restored), (2, 1));
    other.inbox = vec![submit(3, 0), submit(3, 1)];
    other.turn(other.deadline());
    assert_eq!(other.machine().applied(), 4, "the second only");
}

#[test]
#[should_panic(expected = "cannot be read")]
fn a_broken_snapshot_stops_the_node() {
    alone(SnapshotPolicy::NEVER).restore(Slot::ZERO, &Bytes::from_static(b"nothing of ours").into());
}

#[test]
fn a_frame_of_another_group_is_malformed_and_answers_say_their_own() {
    let mut node = Node::<Echo, Null>::new(NodeId(0), Echo::new(&Config::new(NodeId(0), 1), 1)).in_group(4);
    let of_group = |group| {
        let frame = submit(3, u64::from(group));
        Frame { head: Head { group, ..frame.head }, ..frame }
    };
    node.inbox = vec![of_group(0), of_group(4), of_group(5)];
    node.turn(Nanos(1));
    assert_eq!((node.stats().malformed, node.stats().slots), (2, 0), "it waits for the ones before it");
    assert!(node.transmits().iter().all(|said| said.head.group == 4) && !node.transmits().is_empty());
}
