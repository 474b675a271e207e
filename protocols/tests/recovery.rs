//! A node is rebuilt from its records, from any prefix of them, and is what it was.

use bytes::Bytes;
use quorumbench_protocols::multipaxos::{MultiPaxos, message::PROMISED};
use quorumbench_protocols::paxos::Paxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::message::HARD_STATE;
use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::zab::message::EPOCHS;
use quorumbench_protocols::{Config, Input, Nanos, NodeId, Outbox, Protocol, Record, Slot};

/// A cluster of one that orders three batches, after it has elected itself if it must, and every record that it wrote.
fn history<P: Protocol>() -> (Config, P, Vec<Record>) {
    let config = Config::new(NodeId(0), 1);
    let mut node = P::new(&config, 1);
    let (mut out, mut records, mut now) = (Outbox::default(), Vec::new(), Nanos::ZERO);
    for turn in 0..20_u8 {
        now = now.max(node.deadline());
        node.step(now, Input::Timeout, &mut out).expect("no frame");
        if node.room() > 0 && turn >= 17 {
            node.step(now, Input::Submit(&Bytes::from(vec![turn]).into()), &mut out).expect("no frame");
        }
        node.flush(now, &mut out);
        while let Some(last) = out.records.last().map(|record| record.lsn) {
            records.append(&mut out.records);
            node.step(now, Input::Durable(last), &mut out).expect("no frame");
            node.flush(now, &mut out);
        }
        out.clear();
    }
    (config, node, records)
}

#[test]
fn a_node_comes_back_as_it_was() {
    let (config, before, records) = history::<Raft>();
    let after = Raft::recover(&config, 2, &records).expect("its own records");
    assert_eq!((after.term(), after.voted_for()), (before.term(), before.voted_for()));
    assert_eq!(after.durable(), before.durable());
    assert_eq!(after.committed(), Slot::ZERO, "what is committed is for the next leader to say");
    for slot in (1..=after.log().last().0).map(Slot) {
        let recovered = after.log().get(slot).expect("kept");
        assert!(
            before.log().get(slot).is_none_or(|entry| entry.body == recovered.body && entry.stamp == recovered.stamp)
        );
    }
    assert!(after.log().last() >= Slot(4), "a no-op and three batches");
}

#[test]
fn any_prefix_of_the_records_is_a_node() {
    let (config, _, records) = history::<Raft>();
    for kept in 0..=records.len() {
        let raft = Raft::recover(&config, 2, &records[..kept]).expect("a prefix");
        let slots = records[..kept].iter().filter(|record| record.head.kind != HARD_STATE).count();
        assert_eq!(raft.log().last(), Slot(slots as u64));
    }
}

#[test]
fn records_that_were_never_written_so_are_refused() {
    let (config, _, records) = history::<Raft>();
    assert!(Raft::recover(&config, 2, &records[1..]).is_err(), "a gap");
    let mut foreign = records;
    foreign[0].head.kind = 99;
    assert!(Raft::recover(&config, 2, &foreign).is_err(), "not Raft's");
}

#[test]
fn any_prefix_of_the_records_is_an_acceptor_and_a_learner() {
    let (config, before, records) = history::<Paxos>();
    assert_eq!(
        (before.log().last(), records.len()),
        (Slot(3), 9),
        "a promise, an acceptance and what is chosen, thrice"
    );
    for kept in 0..=records.len() {
        let paxos = Paxos::recover(&config, 2, &records[..kept]).expect("a prefix");
        assert_eq!(paxos.log().last(), Slot(kept as u64 / 3));
        assert_eq!(paxos.durable(), paxos.log().last());
        assert_eq!((paxos.promised().round, paxos.accepted().is_some()), (u64::from(kept % 3 > 0), kept % 3 > 1));
    }
    assert!(Paxos::recover(&config, 2, &records[1..]).is_err(), "a gap");
    let mut twice = records.clone();
    twice[3].head.words[0] = 1;
    assert!(Paxos::recover(&config, 2, &twice).is_err(), "a promise for a slot that is decided");
    let mut foreign = records;
    foreign[0].head.kind = 99;
    assert!(Paxos::recover(&config, 2, &foreign).is_err(), "not Paxos's");
}

#[test]
fn a_node_of_multipaxos_comes_back_as_it_was() {
    let (config, before, records) = history::<MultiPaxos>();
    let after = MultiPaxos::recover(&config, 2, &records).expect("its own records");
    assert_eq!(after.promised(), before.promised());
    assert_eq!(before.log().last(), Slot(3), "three batches");
    // A record says what was decided when it was written, and the last one was not.
    assert_eq!((after.log().last(), after.accepted().count()), (Slot(2), 1));
    let bodies = |node: &MultiPaxos| {
        let decided = (1..=node.log().last().0).filter_map(|slot| Some(node.log().get(Slot(slot))?.body.clone()));
        decided.chain(node.accepted().map(|(_, accepted)| accepted.body.clone())).collect::<Vec<_>>()
    };
    assert!(bodies(&after).ends_with(&bodies(&before)), "what was let go is back, and the rest is as it was");
}

#[test]
fn any_prefix_of_the_records_is_a_node_of_multipaxos() {
    let (config, _, records) = history::<MultiPaxos>();
    for kept in 0..=records.len() {
        let node = MultiPaxos::recover(&config, 2, &records[..kept]).expect("a prefix");
        let slots = records[..kept].iter().filter(|record| record.head.kind != PROMISED).count();
        assert_eq!(node.log().last().0 as usize + node.accepted().count(), slots);
        assert_eq!(node.promised().round, u64::from(kept > 0));
    }
    assert!(MultiPaxos::recover(&config, 2, &records[1..]).is_err(), "a gap");
    let mut foreign = records;
    foreign[0].head.kind = 99;
    assert!(MultiPaxos::recover(&config, 2, &foreign).is_err(), "not Multi-Paxos's");
}

#[test]
fn a_node_of_zab_comes_back_as_it_was() {
    let (config, before, records) = history::<Zab>();
    let after = Zab::recover(&config, 2, &records).expect("its own records");
    assert_eq!((after.accepted_epoch(), after.accepted_of()), (before.accepted_epoch(), before.accepted_of()));
    assert_eq!((after.current_epoch(), after.durable()), (1, before.durable()));
    assert_eq!((after.committed(), after.log().last()), (Slot::ZERO, Slot(3)), "three batches, and nobody to say more");
    for slot in (1..=3).map(Slot) {
        let recovered = after.log().get(slot).expect("kept");
        assert!(
            before.log().get(slot).is_none_or(|entry| entry.body == recovered.body && entry.stamp == recovered.stamp)
        );
    }
}

#[test]
fn any_prefix_of_zabs_records_is_a_node() {
    let (config, _, records) = history::<Zab>();
    for kept in 0..=records.len() {
        let zab = Zab::recover(&config, 2, &records[..kept]).expect("a prefix");
        let slots = records[..kept].iter().filter(|record| record.head.kind != EPOCHS).count();
        assert_eq!(zab.log().last(), Slot(slots as u64));
        assert!(zab.current_epoch() <= zab.accepted_epoch());
    }
}

#[test]
fn a_cut_is_remembered_with_nothing_after_it() {
    let (config, _, mut records) = history::<Zab>();
    let last = records.last().expect("a record").lsn;
    let mut cut = records.iter().rfind(|record| record.head.kind == EPOCHS).expect("epochs").clone();
    (cut.lsn, cut.head.words[3]) = (last + 1, 1);
    records.push(cut.clone());
    let zab = Zab::recover(&config, 2, &records).expect("its own records");
    assert_eq!((zab.log().last(), zab.durable()), (Slot(1), Slot(1)));
    cut.lsn = last + 2;
    cut.head.words[3] = 2;
    records.push(cut);
    assert!(Zab::recover(&config, 2, &records).is_err(), "it does not grow again by itself");
}

#[test]
fn records_that_zab_never_wrote_are_refused() {
    let (config, _, records) = history::<Zab>();
    assert!(Zab::recover(&config, 2, &records[1..]).is_err(), "a gap");
    let mut foreign = records.clone();
    foreign[0].head.kind = 99;
    assert!(Zab::recover(&config, 2, &foreign).is_err(), "not ZAB's");
    let mut hole = records;
    let at = hole.iter().position(|record| record.head.kind != EPOCHS).expect("a transaction");
    hole[at].head.words[1] += 1;
    assert!(Zab::recover(&config, 2, &hole).is_err(), "a hole in the history");
}
