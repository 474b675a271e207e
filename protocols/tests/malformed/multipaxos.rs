//! Frames that a node of Multi-Paxos refuses, or survives.

use quorumbench_protocols::multipaxos::{self, MultiPaxos, message as paxos};
use quorumbench_protocols::paxos::Ballot;

use super::*;

/// A node in every role that there is, with a few slots decided and some not.
fn multipaxoses() -> Vec<fn() -> Victim<MultiPaxos>> {
    fn led() -> Cluster<MultiPaxos> {
        let mut cluster = Cluster::with(3, |config| config.window = 4);
        cluster.elect(0);
        cluster.submit(0, &["one", "two"]);
        cluster.settle();
        cluster.split(&[&[0], &[1], &[2]]);
        cluster.submit(0, &["three", "four"]);
        cluster
    }
    /// From n0 to n2, in the middle.
    fn sending_a_snapshot() -> Cluster<MultiPaxos> {
        let mut cluster = Cluster::with(3, |config| (config.window, config.chunk) = (1, 24));
        cluster.elect(0);
        cluster.split(&[&[0, 1], &[2]]);
        for _ in 0..4 {
            cluster.submit(0, &["something that takes a few parts to travel"]);
            cluster.settle();
        }
        cluster.snapshot(0);
        cluster.heal();
        cluster.timeout(0);
        (0..4).for_each(|_| assert!(cluster.deliver(|_, _| true) > 0));
        cluster
    }
    /// n2 has asked, and been promised by nobody else.
    fn campaigning() -> Cluster<MultiPaxos> {
        let mut cluster = led();
        cluster.timeout(2);
        cluster
    }
    fn check(cluster: Cluster<MultiPaxos>, id: usize, role: multipaxos::Role) -> Victim<MultiPaxos> {
        assert_eq!(cluster.node(id as u32).role(), role);
        Victim::of(cluster, id)
    }
    vec![
        || check(Cluster::new(3), 0, multipaxos::Role::Follower),
        || {
            let mut alone = Cluster::new(1);
            alone.elect(0);
            check(alone, 0, multipaxos::Role::Leader)
        },
        || check(led(), 1, multipaxos::Role::Follower),
        || check(led(), 0, multipaxos::Role::Leader),
        || check(sending_a_snapshot(), 0, multipaxos::Role::Leader),
        || check(sending_a_snapshot(), 2, multipaxos::Role::Follower),
        || {
            let mut handing_over = led();
            handing_over.turn(NodeId(0), &[Event::Transfer(NodeId(2))]);
            check(handing_over, 0, multipaxos::Role::Leader)
        },
        || check(campaigning(), 2, multipaxos::Role::Candidate),
    ]
}

#[test]
fn multipaxos_survives_arbitrary_frames() {
    for make in multipaxoses() {
        attack(make);
    }
}

#[test]
fn multipaxos_survives_every_number_in_every_word() {
    let ballot = |round, node| Ballot { round, node: NodeId(node) };
    let (slot, kind) = (Slot(4), DeliveryKind::Batch);
    let (own, two) = (ballot(1, 0), Slot(2));
    let heads = [
        paxos::Message::Prepare(paxos::Prepare { ballot: ballot(2, 1), from: slot, transfer: false }),
        paxos::Message::Prepare(paxos::Prepare { ballot: ballot(3, 2), from: slot, transfer: true }),
        paxos::Message::Report(paxos::Report { ballot: ballot(2, 2), slot, accepted: own, kind }),
        paxos::Message::Promise(paxos::Promise { ballot: ballot(2, 2), decided: two, from: Slot(1), count: 1 }),
        paxos::Message::Accept(paxos::Accept { ballot: own, slot, decided: two, trim: two, kind }),
        paxos::Message::Accepted(paxos::Votes {
            ballot: own,
            first: slot,
            last: slot,
            round: 1,
            decided: two,
            durable: two,
        }),
        paxos::Message::Decided(paxos::Decided { ballot: own, decided: two, trim: two, round: 1 }),
        paxos::Message::Preempted { ballot: ballot(2, 1), led: false },
        paxos::Message::Learn { from: Slot(1) },
        paxos::Message::Learned(paxos::Learned { slot: Slot(3), stamp: own, decided: slot, kind }),
        paxos::Message::Received { slot, offset: 24 },
        paxos::Message::Yield { ballot: own },
    ]
    .map(|message| message.head());
    for make in multipaxoses() {
        nudge(make, &heads);
    }
}

#[test]
fn multipaxos_refuses_what_no_peer_says() {
    let mut cluster = Cluster::<MultiPaxos>::new(3);
    cluster.elect(0);
    cluster.submit(0, &["one"]);
    let mut leader = Victim::of(cluster, 0);
    let ballot = Ballot { round: 1, node: NodeId(0) };
    let (none, one) = (Slot(0), Slot(1));
    let votes = paxos::Votes { ballot, first: one, last: one, round: 1, decided: none, durable: none };
    let good = Head { from: NodeId(1), ..paxos::Message::Accepted(votes).head() };
    let mut refused = |head, why| {
        let frame = Frame { head, body: Payload::EMPTY };
        let error = leader.node.step(leader.now, Input::Frame(&frame), &mut leader.out).expect_err(why);
        assert_eq!(error.what, why);
    };
    let word = ballot.word();
    refused(Head { group: 1, ..good }, "another group's");
    refused(Head { from: NodeId(0), ..good }, "not from another node");
    refused(Head { from: NodeId(3), ..good }, "not from another node");
    refused(Head { kind: 0x80, ..good }, "not a message of Multi-Paxos");
    refused(Head { flags: 1, ..good }, "unknown flags");
    refused(Head { body_len: 1, ..good }, "the body is not as long as the head says");
    refused(Head { words: [word, 2, 2, 1, 0, 0], ..good }, "acknowledges a slot never sent");
    refused(Head { words: [word, 1, 1, 2, 0, 0], ..good }, "answers a question never asked");
    refused(Head { words: [word, 0, 1, 1, 0, 0], ..good }, "half a range");
    refused(Head { words: [word, 1, 1, 1, 0, 1], ..good }, "durable before it was decided");
    refused(Head { words: [0, 1, 1, 1, 0, 0], ..good }, "ballot zero is nobody's");
    let accept = paxos::Accept { ballot, slot: one, decided: none, trim: none, kind: DeliveryKind::Batch };
    refused(Head { from: NodeId(1), ..paxos::Message::Accept(accept).head() }, "under another node's ballot");
    leader.step(Input::Frame(&Frame { head: good, body: Payload::EMPTY }));
}
