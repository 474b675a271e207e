//! Frames that a node of basic Paxos refuses, or survives.

use quorumbench_protocols::paxos::message::{Chosen, Promise, Proposal, Refuse};
use quorumbench_protocols::paxos::{self, Ballot, Paxos};

use super::*;

/// A node that knows a slot, has promised or accepted or proposed in the next, is behind, or sends or receives a snapshot.
fn paxi() -> Vec<fn() -> Victim<Paxos>> {
    fn decided() -> Cluster<Paxos> {
        let mut cluster = Cluster::new(3);
        cluster.submit(0, &["one"]);
        cluster.settle();
        cluster
    }
    fn preparing() -> Cluster<Paxos> {
        let mut cluster = decided();
        cluster.submit(0, &["two"]);
        cluster.deliver(|_, to| to == NodeId(1));
        cluster
    }
    fn accepting() -> Cluster<Paxos> {
        let mut cluster = preparing();
        cluster.deliver(|_, to| to == NodeId(0));
        cluster.deliver(|_, to| to == NodeId(1));
        cluster
    }
    /// From n0 to n2, in the middle.
    fn sending_a_snapshot() -> Cluster<Paxos> {
        let mut cluster = left_behind(Cluster::with(3, |config| (config.window, config.chunk) = (1, 8)), 0, 2);
        cluster.heal();
        cluster.submit(2, &["late"]);
        cluster.deliver(|_, to| to == NodeId(0));
        cluster.deliver(|_, to| to == NodeId(2));
        cluster.deliver(|_, to| to == NodeId(0));
        cluster.deliver(|_, to| to == NodeId(2));
        cluster
    }
    vec![
        || Victim::of(Cluster::new(3), 0),
        || Victim::of(Cluster::new(1), 0),
        || Victim::of(decided(), 1),
        || Victim::of(preparing(), 0),
        || Victim::of(preparing(), 1),
        || Victim::of(accepting(), 0),
        || Victim::of(accepting(), 1),
        || Victim::of(sending_a_snapshot(), 0),
        || Victim::of(sending_a_snapshot(), 2),
    ]
}

#[test]
fn paxos_survives_arbitrary_frames() {
    for make in paxi() {
        attack(make);
    }
}

#[test]
fn paxos_survives_every_number_in_every_word() {
    let (slot, ballot) = (Slot(2), Ballot { round: 1, node: NodeId(0) });
    let proposal = Proposal { slot, ballot };
    let heads = [
        paxos::message::Message::Prepare(proposal),
        paxos::message::Message::Promise(Promise { slot, ballot, accepted: None }),
        paxos::message::Message::Refuse(Refuse { slot, ballot, promised: ballot.next_of(NodeId(1)) }),
        paxos::message::Message::Accept(proposal),
        paxos::message::Message::Accepted(proposal),
        paxos::message::Message::Chosen(Chosen { slot, ballot, durable: Slot(1) }),
        paxos::message::Message::Ask(slot),
        paxos::message::Message::Learn(proposal),
        paxos::message::Message::Received { slot, offset: 8 },
    ]
    .map(|message| message.head());
    for make in paxi() {
        nudge(make, &heads);
    }
}

#[test]
fn paxos_refuses_what_no_peer_says() {
    let mut cluster = Cluster::<Paxos>::new(3);
    cluster.submit(0, &["one"]);
    cluster.settle();
    let mut node = Victim::of(cluster, 1);
    let (slot, ballot) = (Slot(2), Ballot { round: 1, node: NodeId(0) });
    let good = Head { from: NodeId(0), ..paxos::message::Message::Prepare(Proposal { slot, ballot }).head() };
    node.refuses(Head { group: 1, ..good }, "another group's");
    node.refuses(Head { from: NodeId(1), ..good }, "not from another node");
    node.refuses(Head { from: NodeId(3), ..good }, "not from another node");
    node.refuses(Head { from: NodeId(2), ..good }, "a ballot that is not its sender's");
    node.refuses(Head { kind: 0x80, ..good }, "not a message of Paxos");
    node.refuses(Head { flags: 1, ..good }, "unknown flags");
    node.refuses(Head { body_len: 1, ..good }, "the body is not as long as the head says");
    node.refuses(Head { words: [2, 256, 0, 0, 0, 1], ..good }, "words that mean nothing");
    node.refuses(Head { words: [2, u64::MAX - 255, 0, 0, 0, 0], ..good }, "a number beyond reach");
    node.refuses(Head { words: [0, 256, 0, 0, 0, 0], ..good }, "nothing is decided in slot zero");
    let answer = paxos::message::Message::Accepted(Proposal { slot, ballot });
    node.refuses(Head { from: NodeId(0), ..answer.head() }, "an answer to another node's ballot");
    assert_eq!(node.hit(&Frame { head: good, body: Payload::EMPTY }), None);
}
