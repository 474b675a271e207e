//! Hostile frames, in every role: refused with the state as it was, or harmless. Never a panic, and
//! never more memory than the frame itself is worth.

mod multipaxos;
mod paxos;
#[path = "../support/mod.rs"]
mod support;
mod zab;

use std::fmt::Debug;

use bytes::Bytes;
use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::raft::message::{Accept, Append, Candidacy, Message, Probe, Received, Reject};
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{
    Change, DeliveryKind, Frame, Head, Input, Lsn, Nanos, NodeId, Outbox, Payload, PeerSet, Prng, Protocol, ReadMode,
    Slot,
};
use support::cluster::{Cluster, Event, Subject};

const SEEDS: u64 = 12;
const FRAMES: usize = 300;
/// Around every number that means something to the nodes below, and where arithmetic ends.
const NUMBERS: [u64; 17] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    1 << 32,
    (1 << 62) - 2,
    (1 << 62) - 1,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// A node under attack.
struct Victim<P> {
    node: P,
    out: Outbox,
    now: Nanos,
}

impl<P: Protocol + Debug> Victim<P> {
    /// Node `id` of a cluster that the test has led somewhere.
    fn of(mut cluster: Cluster<P>, id: usize) -> Self
    where
        P: Subject,
    {
        Self { node: cluster.nodes.swap_remove(id).protocol, out: Outbox::default(), now: cluster.now }
    }

    /// What it says is wrong with the frame, if it does.
    fn hit(&mut self, frame: &Frame) -> Option<&'static str> {
        let before = format!("{:?}", self.node);
        let result = self.node.step(self.now, Input::Frame(frame), &mut self.out);
        if let Err(error) = &result {
            assert_eq!(error.kind, frame.head.kind);
            assert_eq!(format!("{:?}", self.node), before, "{error}, and yet something changed");
            assert!(self.out.transmits.is_empty() && self.out.records.is_empty() && self.out.deliveries.is_empty());
        }
        self.node.flush(self.now, &mut self.out);
        assert!(self.out.transmits.len() <= 64 && self.out.records.len() <= 6, "out of proportion: {:?}", self.out);
        self.out.clear();
        result.err().map(|error| error.what)
    }

    /// A frame without a body is refused for this reason.
    fn refuses(&mut self, head: Head, why: &str) {
        assert_eq!(self.hit(&Frame { head, body: Payload::EMPTY }), Some(why));
    }

    fn go_on(&mut self, prng: &mut Prng) {
        match prng.below(7) {
            6 => {
                let id = NodeId(prng.below(70) as u32);
                let replace = Change::Replace { voters: PeerSet::from_bits(prng.below(16)) };
                let changes = [Change::AddLearner(id), Change::Promote(id), Change::Remove(id), replace];
                self.step(Input::Reconfigure(changes[prng.below(4) as usize]));
            }
            5 => self
                .step(Input::Read { id: 1, mode: if prng.below(2) == 0 { ReadMode::Index } else { ReadMode::Lease } }),
            0 => self.now += prng.below(400_000_000),
            4 => {
                let slot = Slot(NUMBERS[prng.below(NUMBERS.len() as u64) as usize]);
                self.step(Input::Snapshot { slot, body: &Bytes::from_static(b"state").into() });
            }
            1 => self.step(Input::Durable(Lsn(NUMBERS[prng.below(NUMBERS.len() as u64) as usize]))),
            2 => self.step(Input::Transfer(NodeId(prng.below(70) as u32))),
            _ => self.step(Input::Timeout),
        }
        self.node.flush(self.now, &mut self.out);
        self.out.clear();
    }

    fn step(&mut self, input: Input<'_>) {
        self.node.step(self.now, input, &mut self.out).expect("only frames are malformed");
    }
}

/// Anything at all, but mostly near enough to a real frame to get past the first check.
fn arbitrary(prng: &mut Prng) -> Frame {
    let pick = |prng: &mut Prng| match prng.below(8) {
        0 => prng.next_u64(),
        _ => NUMBERS[prng.below(NUMBERS.len() as u64) as usize],
    };
    let body = match prng.below(6) {
        0 | 1 => Bytes::from(vec![7; prng.below(64) as usize]),
        // A membership, or the beginning of a snapshot.
        2 => {
            let members = [PeerSet::first(prng.below(5) as usize), PeerSet::EMPTY, PeerSet::EMPTY].map(PeerSet::bits);
            let mut bytes: Vec<u8> = members.into_iter().flat_map(u64::to_le_bytes).collect();
            bytes.resize(24 + prng.below(2) as usize * prng.below(64) as usize, 7);
            bytes.into()
        }
        _ => Bytes::new(),
    };
    let body_len = if prng.below(16) == 0 { prng.next_u64() as u32 } else { body.len() as u32 };
    let head = Head {
        body_len,
        kind: if prng.below(16) == 0 { prng.next_u64() as u8 } else { prng.below(16) as u8 },
        flags: if prng.below(4) == 0 { prng.next_u64() as u8 } else { prng.below(2) as u8 },
        group: u16::from(prng.below(32) == 0),
        from: NodeId(if prng.below(16) == 0 { prng.next_u64() as u32 } else { prng.below(4) as u32 }),
        reserved: 0,
        words: std::array::from_fn(|_| pick(prng)),
    };
    let body = if prng.below(4) == 0 { Payload::Pieces([body.slice(..0), body].into()) } else { body.into() };
    Frame { head, body }
}

fn attack<P: Protocol + Debug>(make: impl Fn() -> Victim<P>) {
    for seed in 0..SEEDS {
        let mut prng = Prng::new(seed);
        let mut victim = make();
        for _ in 0..FRAMES {
            victim.hit(&arbitrary(&mut prng));
            if prng.below(8) == 0 {
                victim.go_on(&mut prng);
            }
        }
    }
}

/// Real frames with one word, or two, replaced by every number there is.
fn nudge<P: Protocol + Debug>(make: impl Fn() -> Victim<P>, heads: &[Head]) {
    for head in heads {
        for (first, second) in (0..6).flat_map(|first| (0..6).map(move |second| (first, second))) {
            let mut victim = make();
            for number in NUMBERS {
                for from in 0..3 {
                    let mut head = Head { from: NodeId(from), ..*head };
                    head.words[first] = number;
                    victim.hit(&Frame { head, body: Payload::EMPTY });
                    head.words[second] = number.wrapping_add(1);
                    victim.hit(&Frame { head, body: Payload::EMPTY });
                }
            }
        }
    }
}

/// Node 0 leads so many.
fn elected<P: Subject>(replicas: usize) -> Cluster<P> {
    let mut cluster = Cluster::new(replicas);
    cluster.elect(0);
    cluster
}

/// `leader` has committed two slots, and written two more that nobody else heard of.
fn cut_off<P: Subject>(mut cluster: Cluster<P>, leader: u32) -> Cluster<P> {
    cluster.submit(leader, &["one", "two"]);
    cluster.settle();
    cluster.split(&[&[0], &[1], &[2]]);
    cluster.submit(leader, &["three", "four"]);
    cluster
}

/// `from` took a snapshot of what `to`, which hears nobody, lacks.
fn left_behind<P: Subject>(mut cluster: Cluster<P>, from: u32, to: u32) -> Cluster<P> {
    cluster.split(&[&[1, from], &[to]]);
    for _ in 0..4 {
        cluster.submit(from, &["something that takes a few parts to travel"]);
        cluster.settle();
    }
    cluster.snapshot(from);
    cluster
}

fn handing_over<P: Subject>(mut cluster: Cluster<P>) -> Cluster<P> {
    cluster.turn(NodeId(0), &[Event::Transfer(NodeId(2))]);
    cluster
}

type Make = fn() -> Victim<Raft>;

/// A node in every role that there is, with a few slots in its log and some not committed.
fn rafts() -> Vec<Make> {
    fn led() -> Cluster<Raft> {
        cut_off(elected(3), 0)
    }
    /// From n0 to n2, in the middle.
    fn sending_a_snapshot() -> Cluster<Raft> {
        let mut cluster = Cluster::with(3, |config| (config.window, config.chunk) = (1, 24));
        cluster.elect(0);
        let mut cluster = left_behind(cluster, 0, 2);
        cluster.heal();
        cluster.timeout(0);
        cluster.deliver(|_, _| true);
        cluster.deliver(|_, _| true);
        cluster.deliver(|_, to| to == NodeId(2));
        cluster
    }
    fn check(cluster: Cluster<Raft>, id: usize, role: Role) -> Victim<Raft> {
        assert_eq!(cluster.node(id as u32).role(), role);
        Victim::of(cluster, id)
    }
    vec![
        || check(Cluster::new(3), 0, Role::Follower),
        || check(elected(1), 0, Role::Leader),
        || check(led(), 1, Role::Follower),
        || check(led(), 0, Role::Leader),
        || check(sending_a_snapshot(), 0, Role::Leader),
        || check(sending_a_snapshot(), 2, Role::Follower),
        || check(handing_over(led()), 0, Role::Leader),
        || {
            let mut asking = led();
            asking.timeout(2);
            check(asking, 2, Role::PreCandidate)
        },
        || {
            let mut campaigning = led();
            campaigning.heal();
            campaigning.slow_disks = true;
            campaigning.now += 1_000_000_000;
            campaigning.timeout(2);
            campaigning.deliver(|from, to| from == NodeId(2) && to == NodeId(1));
            campaigning.deliver(|from, to| from == NodeId(1) && to == NodeId(2));
            check(campaigning, 2, Role::Candidate)
        },
    ]
}

#[test]
fn raft_survives_arbitrary_frames() {
    for make in rafts() {
        attack(make);
    }
}

#[test]
fn raft_survives_every_number_in_every_word() {
    let (term, slot) = (1, Slot(4));
    let candidacy = Candidacy { term: 2, last: slot, last_term: 1, transfer: false };
    let heads = [
        Message::Append(Append {
            term,
            slot,
            entry_term: 1,
            prev_term: 1,
            commit: slot,
            trim: slot,
            kind: DeliveryKind::Batch,
        }),
        Message::Probe(Probe { term, prev: slot, prev_term: 1, commit: slot, trim: slot, round: 1 }),
        Message::Accept(Accept { term, durable: slot, received: slot, round: 0 }),
        Message::Reject(Reject { term, prev: slot, hint: Slot(3), hint_term: 1, hint_first: Slot(1), round: 0 }),
        Message::Received(Received { term, slot, offset: 24 }),
        Message::PreVote(candidacy),
        Message::Vote(Candidacy { transfer: true, ..candidacy }),
        Message::PreGrant { term: 2 },
        Message::Grant { term: 2 },
        Message::TimeoutNow { term },
        Message::Stale { term },
    ]
    .map(|message| message.head());
    for make in rafts() {
        nudge(make, &heads);
    }
}

#[test]
fn raft_refuses_what_no_peer_says() {
    let mut follower = Victim::of(elected::<Raft>(3), 1);
    let probe = Probe { term: 1, prev: Slot(1), prev_term: 1, commit: Slot(0), trim: Slot(0), round: 1 };
    let good = Head { from: NodeId(0), ..Message::Probe(probe).head() };
    follower.refuses(Head { group: 1, ..good }, "another group's");
    follower.refuses(Head { from: NodeId(1), ..good }, "not from another node");
    follower.refuses(Head { from: NodeId(64), ..good }, "not from another node");
    follower.refuses(Head { from: NodeId(u32::MAX), ..good }, "not from another node");
    follower.refuses(Head { from: NodeId(2), ..good }, "a second leader in its term");
    follower.refuses(Head { kind: 0x80, ..good }, "not a message of Raft");
    follower.refuses(Head { flags: 1, ..good }, "unknown flags");
    follower.refuses(Head { body_len: 1, ..good }, "the body is not as long as the head says");
    follower.refuses(Head { words: [1, 1, 1, 0, 0, u64::MAX], ..good }, "a number beyond reach");
    assert_eq!(follower.hit(&Frame { head: good, body: Payload::EMPTY }), None);
}

#[test]
fn star_survives_arbitrary_frames() {
    for id in 0..2 {
        let make = || {
            let mut cluster = Cluster::<Star>::new(3);
            cluster.timeout(1);
            cluster.timeout(2);
            cluster.settle();
            cluster.submit(0, &["one", "two"]);
            cluster.settle();
            cluster.submit(0, &["three"]);
            Victim::of(cluster, id)
        };
        attack(make);
        let heads = [1, 2, 3].map(|kind| Head { kind, words: [4, 3, 0, 0, 0, 0], ..Head::default() });
        nudge(make, &heads);
    }
}

#[test]
fn echo_survives_arbitrary_frames() {
    attack(|| Victim::of(Cluster::<Echo>::new(3), 0));
    attack(|| Victim::of(Cluster::<Echo>::new(3), 1));
}
