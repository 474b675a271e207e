//! Over rings, whose own delay is small: what is early is wrong, and what is late is the machine's affair.

use std::time::Duration;

use super::*;
use crate::mem::{self, Mem};
use crate::{Clock, Options};
use quorumbench_protocols::{Payload, PeerSet};

const MS: Duration = Duration::from_millis(1);

/// Node 0 of so many with these links to all, itself included, and the others.
fn joined(links: &[LinkModel], link_bytes: usize) -> (Clock, Shape<Mem>, Vec<Mem>) {
    let clock = Clock::start();
    let mut nodes = mem::mesh(links.len(), clock, &Options { link_frames: 1 << 17, ..Options::default() });
    let states = links.iter().zip(1..).map(|(model, seed)| LinkState::new(model, seed));
    (clock, Shape::new(nodes.remove(0), clock, states, link_bytes), nodes)
}

fn transmit(to: Recipients, number: u64) -> Transmit {
    let head = Head { kind: 1, from: NodeId(0), words: [number; 6], ..Head::default() };
    Transmit { to, head, body: Payload::EMPTY }
}

fn to_one(numbers: impl Iterator<Item = u64>) -> Vec<Transmit> {
    numbers.map(|number| transmit(Recipients::One(NodeId(1)), number)).collect()
}

/// The numbers of what has arrived.
fn arrived(node: &mut Mem) -> Vec<u64> {
    let mut inbox = Vec::new();
    node.recv(Nanos::ZERO, &mut inbox).expect("rings do not fail");
    inbox.iter().map(|frame| frame.head.words[0]).collect()
}

/// Lets it be until nothing is held.
fn settle(link: &mut Shape<Mem>, clock: Clock) {
    while link.next < Nanos::NEVER {
        link.recv(clock.now() + 1_000_000, &mut Vec::new()).expect("rings do not fail");
    }
}

#[test]
fn each_peer_is_as_far_away_as_its_own_link() {
    let near = LinkModel::late(Duration::ZERO);
    let (clock, mut link, mut others) =
        joined(&[near, near, LinkModel::late(5 * MS), LinkModel::late(10 * MS)], 1 << 20);
    let all = Recipients::Peers(PeerSet::first(4).without(NodeId(0)));
    let sent = clock.now();
    link.send(&mut vec![transmit(all, 1), transmit(all, 2)]).expect("sent");
    let mut first = [None; 3];
    while first.contains(&None) {
        for (node, first) in others.iter_mut().zip(&mut first) {
            let now = clock.now();
            let frames = arrived(node);
            if !frames.is_empty() {
                assert_eq!((frames, first.replace(now)), (vec![1, 2], None));
            }
        }
        link.recv(clock.now() + 100_000, &mut Vec::new()).expect("received");
    }
    let waited = first.map(|at| at.expect("it came").saturating_since(sent));
    assert!(waited[1] + 1_000_000 >= 5_000_000 && waited[2] + 1_000_000 >= 10_000_000, "{waited:?}");
    let lateness = link.lateness();
    assert_eq!(lateness.len(), 4, "the near one's were not held");
    assert_eq!(link.next, Nanos::NEVER);
}

#[test]
fn nothing_is_early_and_the_order_stays_however_much_it_jitters() {
    let (clock, mut link, mut others) = joined(&[LinkModel { jitter: MS, ..LinkModel::late(MS) }; 2], 1 << 20);
    let mut sent = Vec::new();
    let mut came = Vec::new();
    while came.len() < 200 {
        if sent.len() < 200 {
            sent.push(clock.now());
            link.send(&mut to_one(std::iter::once(sent.len() as u64 - 1))).expect("sent");
        }
        link.recv(clock.now() + 20_000, &mut Vec::new()).expect("received");
        let frames = arrived(&mut others[0]);
        assert!(frames.iter().all(|&number| clock.now() >= sent[number as usize] + 1_000_000));
        came.extend(frames);
    }
    assert!(came.into_iter().eq(0..200));
}

#[test]
fn a_wait_goes_on_when_what_was_held_has_left() {
    let (clock, mut link, mut others) = joined(&[LinkModel::late(MS); 2], 1 << 20);
    link.send(&mut to_one(0..1)).expect("sent");
    let deadline = clock.now() + 5_000_000;
    link.recv(deadline, &mut Vec::new()).expect("received");
    assert!(clock.now() >= deadline);
    assert_eq!(arrived(&mut others[0]), [0]);
}

#[test]
fn a_rate_is_kept_and_nothing_is_lost_within_what_a_link_holds() {
    let bytes = Head::BYTES as u64;
    let model = LinkModel { rate: Some(bytes * 10_000), ..LinkModel::late(Duration::ZERO) };
    let (clock, mut link, mut others) = joined(&[model; 2], 300 * Head::BYTES);
    let sent = clock.now();
    link.send(&mut to_one(0..300)).expect("sent");
    settle(&mut link, clock);
    assert!(clock.now() >= sent + 30_000_000, "300 of them at 10 000 a second");
    assert!(arrived(&mut others[0]).into_iter().eq(0..300));
    assert_eq!(link.counters().dropped_frames, 0);

    link.send(&mut to_one(0..310)).expect("sent");
    assert_eq!(link.counters().dropped_frames, 10, "there is no room for more");
    settle(&mut link, clock);
    assert!(arrived(&mut others[0]).into_iter().eq(0..300));
    link.send(&mut to_one(0..1)).expect("sent");
    settle(&mut link, clock);
    assert_eq!(arrived(&mut others[0]), [0], "there is room again");
}

#[test]
fn frames_may_be_lost_and_overtaken() {
    let model =
        LinkModel { loss: 0.2, loss_burst: 3.0, reorder: 0.1, reorder_delay: MS, ..LinkModel::late(Duration::ZERO) };
    let (clock, mut link, mut others) = joined(&[model; 2], 64 << 20);
    let mut came = Vec::new();
    for round in 0..20_u64 {
        link.send(&mut to_one(round * 1000..(round + 1) * 1000)).expect("sent");
        link.recv(clock.now() + 100_000, &mut Vec::new()).expect("received");
        came.extend(arrived(&mut others[0]));
    }
    settle(&mut link, clock);
    came.extend(arrived(&mut others[0]));
    let lost = link.lost_frames();
    assert_eq!((came.len() as u64 + lost, link.counters().dropped_frames), (20_000, lost));
    assert!((3500..4500).contains(&lost), "{lost}");
    let highest = came.iter().scan(0, |highest, &number| {
        *highest = number.max(*highest);
        Some(*highest)
    });
    let late = came.iter().zip(highest).filter(|&(&number, highest)| number < highest).count();
    // All that came, but for those that nothing was sent after.
    assert!((1000..2000).contains(&late), "{late}");
    came.sort_unstable();
    came.dedup();
    assert_eq!(came.len() as u64 + lost, 20_000, "none came twice");
}

#[test]
fn whom_no_link_leads_to_is_as_near_as_ever() {
    let (clock, mut link, mut others) = joined(&[LinkModel::late(1000 * MS); 2], 1 << 20);
    link.send(&mut vec![transmit(Recipients::One(NodeId(9)), 1)]).expect("sent");
    assert_eq!(link.counters().dropped_frames, 1, "the rings know no node 9");
    // And a fault on top of it keeps to itself.
    let mut faulty = Faulty::new(&mut link, clock);
    faulty.cut_off([NodeId(1)]);
    faulty.send(&mut to_one(0..1)).expect("sent");
    assert_eq!(faulty.counters().dropped_frames, 2);
    assert_eq!((link.next, arrived(&mut others[0])), (Nanos::NEVER, vec![]));
}
