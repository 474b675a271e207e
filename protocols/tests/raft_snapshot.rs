//! Snapshots: what bounds memory, and what they must never do.

mod support;

use bytes::Bytes;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::membership::Members;
use quorumbench_protocols::raft::message::{Chunk, Message};
use quorumbench_protocols::{Config, DeliveryKind, Frame, Head, Input, Lsn, NodeId, Payload, PeerSet, Protocol, Slot};
use support::bench::{Bench, accepted, probe};
use support::cluster::{Cluster, read};

/// n1 leads; the snapshot of `slot` comes from it in one part.
fn hear_snapshot(bench: &mut Bench, term: u64, slot: u64, stamp: u64, text: &str) {
    let body = [Members::of(PeerSet::first(3)).bytes(), Bytes::from(text.to_owned())].into_iter();
    let body: Payload = body.collect();
    let chunk = Chunk { term, slot: Slot(slot), stamp, offset: 0, total: body.len() as u64 };
    let head = Head { from: NodeId(1), body_len: body.len() as u32, ..Message::Chunk(chunk).head() };
    bench.step(Input::Frame(&Frame { head, body }));
}

fn restored(bench: &mut Bench) -> Vec<(u64, String)> {
    bench.raft.flush(bench.now, &mut bench.out);
    let snapshots = bench.out.deliveries.iter().filter(|delivery| delivery.kind == DeliveryKind::Snapshot);
    snapshots.map(|delivery| (delivery.slot.0, read(&delivery.body))).collect()
}

#[test]
fn memory_is_bounded_while_a_follower_is_down_for_ever() {
    let mut cluster = Cluster::<Raft>::with(3, |config| config.window = 8);
    cluster.elect(0);
    cluster.split(&[&[0, 1], &[2]]);
    for round in 0..400 {
        cluster.submit(0, &["a", "b", "c", "d"]);
        cluster.settle();
        cluster.trace.clear();
        if round % 10 == 9 {
            (0..2).for_each(|id| cluster.snapshot(id));
        }
        for id in 0..2 {
            let (log, journal) = (cluster.node(id).log(), &cluster.nodes[id as usize].journal);
            let kept = log.last().saturating_since(log.trimmed());
            assert!(kept <= 4 * 10 + 2 * 8 + 1, "n{id} keeps {kept} slots");
            assert!(journal.len() as u64 <= 4 * 10 + 2 * 8 + 4, "n{id} keeps {} records", journal.len());
        }
    }
    assert!(cluster.node(0).committed() > Slot(1600));
    cluster.heal();
    cluster.timeout(0);
    cluster.settle();
    assert_eq!(cluster.node(2).committed(), cluster.node(0).committed(), "and then it is back");
}

/// R11: what is committed is not taken back, whatever comes late.
#[test]
fn a_snapshot_that_comes_late_changes_nothing() {
    let mut bench = Bench::new(3);
    bench.fill(&[1, 1, 1]);
    bench.hear(1, probe(1, 3, 1, 3));
    bench.said();
    hear_snapshot(&mut bench, 1, 2, 1, "old");
    assert_eq!(restored(&mut bench), []);
    assert_eq!((bench.stamps(), bench.raft.committed()), (vec![1, 1, 1], Slot(3)));
    assert_eq!(accepted(&bench.said()), [(3, 3)], "the leader learns what is here");
}

/// A log that holds the snapshot's last slot is ahead of it.
#[test]
fn a_snapshot_of_what_is_there_keeps_what_follows() {
    let mut bench = Bench::new(3);
    bench.fill(&[1, 1, 1]);
    hear_snapshot(&mut bench, 1, 2, 1, "known");
    assert_eq!(accepted(&bench.said()), [(3, 3)], "all of the term's slots match");
    assert_eq!((bench.stamps(), bench.raft.committed()), (vec![1, 1, 1], Slot(2)));
}

/// R11: a slot that conflicts goes, and all after it; the log begins where the snapshot ends.
#[test]
fn a_snapshot_replaces_a_log_that_went_another_way() {
    let mut bench = Bench::new(3);
    bench.fill(&[1, 1, 1, 1]);
    hear_snapshot(&mut bench, 3, 3, 2, "theirs");
    assert_eq!(restored(&mut bench), [], "it is not durable");
    assert_eq!((bench.raft.log().trimmed(), bench.raft.log().last()), (Slot(3), Slot(3)));
    assert!(bench.raft.durable() < Slot(3));
    bench.out.clear();
    bench.sync();
    assert_eq!(restored(&mut bench), [(3, "theirs".into())]);
    assert_eq!((bench.raft.durable(), bench.raft.committed()), (Slot(3), Slot(3)));
    assert_eq!(bench.out.release, Some(Lsn(7)), "two terms, four slots, and it");
}

/// The records of a follower whose log and snapshot met in every way, cut anywhere: what comes back
/// is what was.
#[test]
fn a_node_comes_back_from_snapshots_and_records() {
    let mut cluster = Cluster::<Raft>::with(3, |config| config.window = 4);
    cluster.elect(0);
    for round in 0..12 {
        cluster.submit(0, &["x", "y", "z"]);
        if round % 3 == 2 {
            // In the middle of the round: some slots are not delivered, and are written down again.
            cluster.deliver(|_, to| to == NodeId(1));
            cluster.snapshot(1);
        }
        cluster.settle();
        let (journal, history) = (&cluster.nodes[1].journal, &cluster.nodes[1].history);
        let config = Config::new(NodeId(1), 3);
        let node = Raft::recover(&config, 1, journal).expect("its own records");
        assert_eq!(node.log().last(), cluster.node(1).log().last());
        assert_eq!((node.term(), node.voted_for()), (cluster.node(1).term(), cluster.node(1).voted_for()));
        assert_eq!(node.durable(), cluster.node(1).durable());
        // Before the driver cuts, all of it is there, and comes to the same.
        let whole = Raft::recover(&config, 1, history).expect("its own records");
        assert_eq!((whole.log().last(), whole.committed()), (node.log().last(), node.committed()));
    }
    let history = &cluster.nodes[1].history;
    assert!(history.len() > cluster.nodes[1].journal.len() + 20);
    for kept in 0..=history.len() {
        let config = Config::new(NodeId(1), 3);
        let node = Raft::recover(&config, 1, &history[..kept]).expect("a prefix");
        assert!(node.log().last() >= node.committed());
    }
}
