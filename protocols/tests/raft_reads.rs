//! Reads, and the promises that a lease relies on.

mod support;

use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::message::{Candidacy, Message};
use quorumbench_protocols::{Config, Input, Nanos, NodeId, Protocol, ReadMode, ReadOutcome, Slot};
use support::bench::{Bench, MS, probe, vote};

fn asked(bench: &mut Bench, mode: ReadMode) -> Vec<ReadOutcome> {
    bench.step(Input::Read { id: 1, mode });
    bench.raft.flush(bench.now, &mut bench.out);
    let outcomes = bench.out.reads.iter().map(|answer| answer.outcome).collect();
    bench.out.clear();
    outcomes
}

#[test]
fn a_cluster_of_one_asks_nobody() {
    let mut bench = Bench::lead(1, &[]);
    assert_eq!(asked(&mut bench, ReadMode::Lease), [], "its no-op is not durable");
    bench.sync();
    assert_eq!(asked(&mut bench, ReadMode::Index), [ReadOutcome::At(Slot(1)); 2]);
}

#[test]
fn reads_that_nobody_can_answer_are_bounded() {
    let mut bench = Bench::lead(3, &[]);
    bench.flush();
    (0..100_000).for_each(|id| bench.step(Input::Read { id, mode: ReadMode::Index }));
    assert_eq!(bench.out.reads.len(), 100_000 - (1 << 16), "refused at once");
}

/// R14 and R13 at once: word of a later term ends the following, and not the promise that a lease is
/// made of; which is short, so nobody waits for ever.
#[test]
fn a_later_term_does_not_break_the_promise_to_a_leader() {
    let mut bench = Bench::new(3);
    bench.hear(1, probe(1, 0, 0, 0));
    bench.sync();
    bench.said();
    bench.now = Nanos(bench.now.0 + 100 * MS);
    bench.hear(2, Message::Stale { term: 5 });
    bench.sync();
    assert_eq!((bench.raft.term(), bench.raft.leader()), (5, None));
    bench.hear(2, vote(6, 9, 5));
    bench.hear(2, Message::PreVote(Candidacy { term: 6, last: Slot(9), last_term: 5, transfer: false }));
    assert_eq!((bench.said(), bench.raft.term()), (vec![], 5));
    bench.now = Nanos(bench.now.0 + 200 * MS);
    bench.hear(2, vote(6, 9, 5));
    bench.sync();
    assert_eq!(bench.said(), [Message::Grant { term: 6 }]);
}

#[test]
fn a_node_that_comes_back_is_quiet_for_a_while() {
    let mut bench = Bench::new(3);
    bench.raft = Raft::recover(&Config::new(NodeId(0), 3), 1, &[]).expect("nothing to read");
    bench.hear(1, vote(6, 9, 5));
    assert_eq!(bench.said(), []);
    bench.now = Nanos(bench.now.0 + 300 * MS);
    bench.hear(1, vote(6, 9, 5));
    bench.flush();
    bench.sync();
    assert_eq!(bench.said(), [Message::Grant { term: 6 }]);
}
