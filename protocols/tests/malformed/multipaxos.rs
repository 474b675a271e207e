//! Frames that a node of Multi-Paxos refuses, or survives.

use quorumbench_protocols::multipaxos::{self, MultiPaxos, message as paxos};
use quorumbench_protocols::paxos::Ballot;

use super::*;

/// A node in every role that there is, with a few slots decided and some not.
fn multipaxoses() -> Vec<fn() -> Victim<MultiPaxos>> {
    fn led() -> Cluster<MultiPaxos> {
        let mut cluster = Cluster::with(3, |config| config.window = 4);
        cluster.elect(0);
        cut_off(cluster, 0)
    }
    /// From n0 to n2, in the middle.
    fn sending_a_snapshot() -> Cluster<MultiPaxos> {
        let mut cluster = Cluster::with(3, |config| (config.window, config.chunk) = (1, 24));
        cluster.elect(0);
        let mut cluster = left_behind(cluster, 0, 2);
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
        || check(elected(1), 0, multipaxos::Role::Leader),
        || check(led(), 1, multipaxos::Role::Follower),
        || check(led(), 0, multipaxos::Role::Leader),
        || check(sending_a_snapshot(), 0, multipaxos::Role::Leader),
        || check(sending_a_snapshot(), 2, multipaxos::Role::Follower),
        || check(handing_over(led()), 0, multipaxos::Role::Leader),
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
    let mut cluster = elected::<MultiPaxos>(3);
    cluster.submit(0, &["one"]);
    let mut leader = Victim::of(cluster, 0);
    let ballot = Ballot { round: 1, node: NodeId(0) };
    let (none, one) = (Slot(0), Slot(1));
    let votes = paxos::Votes { ballot, first: one, last: one, round: 1, decided: none, durable: none };
    let good = Head { from: NodeId(1), ..paxos::Message::Accepted(votes).head() };
    let word = ballot.word();
    leader.refuses(Head { group: 1, ..good }, "another group's");
    leader.refuses(Head { from: NodeId(0), ..good }, "not from another node");
    leader.refuses(Head { from: NodeId(3), ..good }, "not from another node");
    leader.refuses(Head { kind: 0x80, ..good }, "not a message of Multi-Paxos");
    leader.refuses(Head { flags: 1, ..good }, "unknown flags");
    leader.refuses(Head { body_len: 1, ..good }, "the body is not as long as the head says");
    leader.refuses(Head { words: [word, 2, 2, 1, 0, 0], ..good }, "acknowledges a slot never sent");
    leader.refuses(Head { words: [word, 1, 1, 2, 0, 0], ..good }, "answers a question never asked");
    leader.refuses(Head { words: [word, 0, 1, 1, 0, 0], ..good }, "half a range");
    leader.refuses(Head { words: [word, 1, 1, 1, 0, 1], ..good }, "durable before it was decided");
    leader.refuses(Head { words: [0, 1, 1, 1, 0, 0], ..good }, "ballot zero is nobody's");
    let accept = paxos::Accept { ballot, slot: one, decided: none, trim: none, kind: DeliveryKind::Batch };
    leader.refuses(Head { from: NodeId(1), ..paxos::Message::Accept(accept).head() }, "under another node's ballot");
    assert_eq!(leader.hit(&Frame { head: good, body: Payload::EMPTY }), None);
}
