//! Groups in virtual time, on a cluster of one replica.

use super::*;
use crate::batch::{BatchHead, Writer};
use crate::machine::Null;
use crate::node::{SnapshotPolicy, Storage};
use crate::request::Request;
use crate::spec::SnapshotBasis;
use bytes::BytesMut;
use quorumbench_protocols::floors::Echo;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::{Config, Head, Payload};

fn config(group: u16) -> Config {
    Config { group, ..Config::new(NodeId(0), 1) }
}

fn submit(group: u16, sequence: u64) -> Frame {
    let mut chunk = BytesMut::new();
    let mut writer = Writer::new(&mut chunk, BatchHead::next(1, sequence, sequence, None));
    writer.command(|_| ());
    let body = Payload::from(writer.finish());
    let head = Head { body_len: body.len() as u32, group, ..Request::Submit.head(NodeId(1)) };
    Frame { head, body }
}

fn echoes() -> Groups<Echo, Null> {
    let node = |group| Node::new(NodeId(0), Echo::new(&config(group), 1)).in_group(group);
    let mut groups = Groups::new((0..3).map(node).collect());
    groups.turn(Nanos(1));
    groups
}

#[test]
fn a_turn_is_of_those_groups_that_have_something_to_do() {
    let mut groups = echoes();
    assert_eq!(groups.deadline(), Nanos::NEVER);
    let turns = |groups: &Groups<Echo, Null>| groups.nodes.iter().map(|node| node.stats().turns).collect::<Vec<_>>();
    assert_eq!(turns(&groups), [1, 1, 1], "the first is everybody's");
    groups.inbox().extend([submit(2, 0), submit(1, 0), submit(2, 1)]);
    groups.turn(Nanos(2));
    assert_eq!(turns(&groups), [1, 2, 2]);
    let said: Vec<_> = groups.transmits().drain(..).map(|said| (said.head.group, Request::read(&said.head))).collect();
    let applied = |batches, slot| Some(Request::Applied { first: 0, batches, slot: quorumbench_protocols::Slot(slot) });
    assert_eq!(said, [(1, applied(1, 1)), (2, applied(2, 2))], "one send, each with its group");
    assert_eq!((groups.stats().commands, groups.standing().delivered), (3, 3));
}

#[test]
fn a_frame_of_no_group_is_malformed_and_nothing_else() {
    let mut groups = echoes();
    groups.inbox().extend([submit(3, 0), submit(u16::MAX, 0), submit(0, 0)]);
    groups.turn(Nanos(2));
    assert_eq!((groups.stats().malformed, groups.stats().commands), (2, 1));
    assert_eq!(groups.transmits().len(), 1);
}

#[test]
fn each_group_leads_and_hands_over_for_itself() {
    let mut groups = echoes();
    assert_eq!((groups.groups_led(), groups.leader()), (3, Some(NodeId(0))));
    groups.transfer(NodeId(0));
    assert_eq!(groups.deadline(), DUE, "the first has something to do");
}

const OFTEN: SnapshotPolicy = SnapshotPolicy { slots: 10, bytes: u64::MAX, of: SnapshotBasis::Delivered };

fn rafts(node: impl Fn(u16) -> Raft) -> Vec<Node<Raft, Null>> {
    let node = |group| Node::with_storage(NodeId(0), node(group), Storage::Deferred);
    (0..2).map(|group| node(group).in_group(group).with_snapshots(OFTEN)).collect()
}

/// What a disk would hold, without what it was told to let go.
#[derive(Default)]
struct Disk {
    records: Vec<Record>,
    release: Lsn,
}

impl Disk {
    /// A turn, whose records are durable before the next.
    fn turn(&mut self, groups: &mut Groups<Raft, Null>, now: Nanos) {
        groups.turn(now);
        groups.transmits().clear();
        self.release = self.release.max(groups.take_release().unwrap_or_default());
        self.records.append(groups.records());
        let Some(last) = self.records.last() else { return };
        groups.durable(last.lsn);
        let gone = self.records.partition_point(|record| record.lsn < self.release);
        self.records.drain(..gone);
    }
}

/// Group 0 is asked for much and group 1 for little: neither keeps the log for ever, and both come back from what is left
/// of it, at any time, and go on.
#[test]
fn one_log_is_cut_and_split_again() {
    let mut groups = Groups::new(rafts(|group| Raft::new(&config(group), 1)));
    let (mut disk, mut now) = (Disk::default(), Nanos(1));
    let mut longest = 0;
    for step in 0..2000_u64 {
        now += 1_000_000;
        groups.inbox().push(submit(0, step));
        if step.is_multiple_of(50) {
            groups.inbox().push(submit(1, step / 50));
        }
        disk.turn(&mut groups, now);
        longest = longest.max(disk.records.len());
        if step % 97 == 96 {
            let slots = |groups: &Groups<Raft, Null>| {
                groups.nodes.iter().map(|node| node.protocol().log().last()).collect::<Vec<_>>()
            };
            let split = split(disk.records.clone(), 2, Raft::SNAPSHOT_RECORD).expect("its own log");
            let recover = |group: u16| Raft::recover(&config(group), step, &split.records[usize::from(group)]);
            let back = Groups::recovered(rafts(|group| recover(group).expect("its own records")), &split);
            assert_eq!(slots(&back), slots(&groups), "step {step}");
            groups = back;
            // Time to be elected again.
            for _ in 0..1000 {
                now += 1_000_000;
                disk.turn(&mut groups, now);
            }
            assert_eq!(groups.groups_led(), 2, "step {step}");
        }
    }
    assert!(disk.release > Lsn(1000), "{}", disk.release);
    assert!(longest < 200, "{longest} records: the log goes with what the slower group is delivered");
}
