//! Frames that a node of ZAB refuses, or survives.

use quorumbench_protocols::Config;
use quorumbench_protocols::zab::message::{self as zab, Message as ZabMessage, Vote};
use quorumbench_protocols::zab::{Standing, Zab, Zxid};

use super::*;

/// A node of ZAB in every state that there is, with a few slots in its history and some not committed.
fn zabs() -> Vec<fn() -> Victim<Zab>> {
    const MS: u64 = 1_000_000;
    fn led(change: impl Fn(&mut Config)) -> Cluster<Zab> {
        let mut cluster = Cluster::with(3, change);
        cluster.run(Nanos(200 * MS));
        cut_off(cluster, 2)
    }
    fn broken_up() -> Cluster<Zab> {
        let mut cluster = led(|_| {});
        cluster.run(Nanos(1000 * MS));
        cluster
    }
    /// From n2 to n0, in the middle.
    fn sending_a_snapshot() -> Cluster<Zab> {
        let mut cluster = Cluster::with(3, |config| (config.window, config.chunk) = (1, 8));
        cluster.run(Nanos(200 * MS));
        let mut cluster = left_behind(cluster, 2, 0);
        cluster.submit(2, &["more"]);
        cluster.settle();
        cluster.run(Nanos(700 * MS));
        cluster.heal();
        cluster.timeout(0);
        for _ in 0..6 {
            cluster.deliver(|_, _| true);
        }
        cluster
    }
    fn observed() -> Cluster<Zab> {
        let mut cluster = Cluster::with_spares(2, 1, |config| config.observers = PeerSet::EMPTY.with(NodeId(2)));
        cluster.run(Nanos(300 * MS));
        cluster.submit(1, &["one"]);
        cluster.settle();
        cluster
    }
    fn connecting() -> Cluster<Zab> {
        let mut cluster = Cluster::<Zab>::new(3);
        cluster.settle();
        for id in 0..3 {
            cluster.timeout(id);
            cluster.timeout(id);
        }
        cluster
    }
    fn check(cluster: Cluster<Zab>, id: usize, standing: Standing) -> Victim<Zab> {
        assert_eq!(cluster.node(id as u32).standing(), standing);
        Victim::of(cluster, id)
    }
    vec![
        || check(Cluster::new(3), 0, Standing::Looking),
        || check(broken_up(), 2, Standing::Looking),
        || check(connecting(), 0, Standing::Following),
        || check(connecting(), 2, Standing::Leading),
        || check(led(|_| {}), 0, Standing::Following),
        || check(led(|_| {}), 2, Standing::Leading),
        || check(observed(), 2, Standing::Observing),
        || check(observed(), 1, Standing::Leading),
        || check(sending_a_snapshot(), 2, Standing::Leading),
        || check(sending_a_snapshot(), 0, Standing::Following),
    ]
}

#[test]
fn zab_survives_arbitrary_frames() {
    for make in zabs() {
        attack(make);
    }
}

#[test]
fn zab_survives_every_number_in_every_word() {
    let (epoch, session, slot, zxid) = (1, 1, Slot(4), Zxid::new(1, 4));
    let point = zab::Point { epoch, session, slot, zxid };
    let vote = Vote { epoch, zxid, id: NodeId(1) };
    let (round, hears, prev) = (1, PeerSet::first(3), Zxid::new(1, 3));
    let heads = [
        ZabMessage::Notification(zab::Notification {
            round,
            standing: Standing::Looking,
            vote: Some(vote),
            hears,
            connected: hears,
        }),
        ZabMessage::Notification(zab::Notification {
            round,
            standing: Standing::Leading,
            vote: Some(vote),
            hears,
            connected: hears,
        }),
        ZabMessage::FollowerInfo { accepted: 1, session },
        ZabMessage::LeaderInfo { epoch, session },
        ZabMessage::AckEpoch(zab::AckEpoch { epoch, session, current: 1, last: zxid, promised: true }),
        ZabMessage::Sync(zab::Sync { epoch, session, slot, zxid, truncate: false }),
        ZabMessage::Received { epoch, session, slot, offset: 8 },
        ZabMessage::NewLeader(point),
        ZabMessage::AckNewLeader(point),
        ZabMessage::UpToDate(point),
        ZabMessage::Propose(zab::Propose { epoch, slot, zxid, prev }),
        ZabMessage::Ack(zab::Ack { epoch, durable: slot, zxid, received: slot, round, session }),
        ZabMessage::Commit { epoch, slot, zxid, trim: slot },
        ZabMessage::Ping(zab::Ping {
            epoch,
            last: slot,
            zxid,
            commit: slot,
            trim: slot,
            round,
            new_leader: true,
            up_to_date: true,
        }),
        ZabMessage::SyncRequest { epoch, session, number: 1 },
        ZabMessage::Synced { epoch, session, number: 1, slot },
    ]
    .map(|message| message.head());
    for make in zabs() {
        nudge(make, &heads);
    }
}

#[test]
fn zab_refuses_what_no_peer_says() {
    let mut cluster = Cluster::<Zab>::new(3);
    cluster.run(Nanos(200_000_000));
    cluster.submit(2, &["one"]);
    cluster.settle();
    let mut follower = Victim::of(cluster, 1);
    let (slot, zxid) = (Slot(1), Zxid::new(1, 1));
    let good = Head { from: NodeId(2), ..ZabMessage::Commit { epoch: 1, slot, zxid, trim: Slot(0) }.head() };
    follower.refuses(Head { group: 1, ..good }, "another group's");
    follower.refuses(Head { from: NodeId(1), ..good }, "not from another member");
    follower.refuses(Head { from: NodeId(3), ..good }, "not from another member");
    follower.refuses(Head { from: NodeId(u32::MAX), ..good }, "not from another member");
    follower.refuses(Head { kind: 0x80, ..good }, "not a message of ZAB");
    follower.refuses(Head { flags: 1, ..good }, "unknown flags");
    follower.refuses(Head { body_len: 1, ..good }, "the body is not as long as the head says");
    follower.refuses(Head { words: [1, 1, zxid.0, u64::MAX, 0, 0], ..good }, "a number beyond reach");
    follower.refuses(Head { words: [1 << 30, 1, zxid.0, 0, 0, 0], ..good }, "an epoch beyond reach");
    follower.refuses(Head { words: [1, 1, zxid.0 + 1, 0, 0, 0], ..good }, "another history than its own");
    follower.refuses(
        Head { words: [1, 1, Zxid::new(2, 1).0, 0, 0, 0], ..good },
        "a transaction of a later epoch than its leader's",
    );
    let synced = ZabMessage::Synced { epoch: 1, session: 1, number: 0, slot }.head();
    follower.refuses(Head { from: NodeId(2), ..synced }, "SYNCs count from one");
    assert_eq!(follower.hit(&Frame { head: good, body: Payload::EMPTY }), None);
}
