//! ZAB's connections on links that keep no order: what belongs to an older one comes late.

mod support;

use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::{Frame, Nanos, NodeId, Protocol as _};
use support::cluster::{Cluster, Event, Subject};

const LEADER: NodeId = NodeId(2);
const FOLLOWER: NodeId = NodeId(1);

#[test]
fn an_older_connection_that_comes_late_does_not_cut_a_follower_off() {
    let mut cluster = elected();
    let older = connect(&mut cluster);
    connect(&mut cluster);
    cluster.run(milliseconds(200));
    hear_late(&mut cluster, &older);
    assert_follows(cluster);
}

#[test]
fn nor_does_the_newer_one_that_comes_again_after_it() {
    let mut cluster = elected();
    let [older, _] = connect(&mut cluster);
    let [newer, _] = connect(&mut cluster);
    until_sent(&mut cluster, LEADER, FOLLOWER, "UpToDate");
    hear_late(&mut cluster, &[older, newer]);
    assert_follows(cluster);
}

/// It would lead in an epoch of the same number after the crash, and hear answers to what it had said before.
#[test]
fn nothing_is_said_in_an_epoch_that_a_crash_would_take() {
    let mut cluster = Cluster::<Zab>::new(3);
    cluster.slow_disks = true;
    cluster.run(milliseconds(1000));
    let said = cluster.trace.clone();
    assert!(said.contains("FollowerInfo") && !said.contains("epoch="), "{said}");
    for _ in 0..20 {
        cluster.ids().into_iter().for_each(|id| cluster.sync(id.0));
        cluster.run(milliseconds(10));
    }
    assert!(cluster.node(0).leader().is_some(), "{}", cluster.trace);
}

/// A cluster that n2 leads.
fn elected() -> Cluster<Zab> {
    let mut cluster = Cluster::<Zab>::new(3);
    cluster.run(milliseconds(200));
    assert_eq!(cluster.node(0).leader(), Some(LEADER));
    cluster
}

/// n1 comes back from a crash. What it connects with: who it is, and where it stands.
fn connect(cluster: &mut Cluster<Zab>) -> [Frame; 2] {
    cluster.run(milliseconds(200));
    cluster.restart(FOLLOWER.0);
    ["FollowerInfo", "AckEpoch"].map(|name| until_sent(cluster, FOLLOWER, LEADER, name))
}

/// Lets time pass until somebody says something of this name, which is still on its way then.
fn until_sent(cluster: &mut Cluster<Zab>, from: NodeId, to: NodeId, name: &str) -> Frame {
    for _ in 0..1000 {
        let sent = cluster.links.get(&(from, to)).into_iter().flatten();
        if let Some(frame) = sent.clone().find(|frame| Zab::describe(frame).starts_with(name)) {
            return frame.clone();
        }
        if cluster.deliver(|_, _| true) == 0 {
            let next = cluster.ids().into_iter().min_by_key(|id| cluster.node(id.0).deadline()).expect("a node");
            cluster.timeout(next.0);
        }
    }
    panic!("{from} never says {name}");
}

/// These reach the leader one after the other, and what it says at once, like all that is on its way, is lost.
fn hear_late(cluster: &mut Cluster<Zab>, late: &[Frame]) {
    for frame in late {
        cluster.turn(LEADER, &[Event::Frame(frame.clone())]);
    }
    cluster.lose(usize::MAX, |_, _| true);
}

fn assert_follows(mut cluster: Cluster<Zab>) {
    cluster.run(milliseconds(1000));
    cluster.submit(LEADER.0, &["one"]);
    cluster.run(milliseconds(1000));
    assert_eq!(cluster.delivered(FOLLOWER.0), ["one"]);
}

fn milliseconds(count: u64) -> Nanos {
    Nanos(count * 1_000_000)
}
