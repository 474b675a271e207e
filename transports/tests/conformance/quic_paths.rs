//! QUIC over a path that loses, delays and forgets: a relay in between, which does what it is told.

use quorumbench_protocols::{Head, NodeId, Payload, Prng, Transmit};
use quorumbench_transports::quic::{Authority, QuicOptions, Streams};
use quorumbench_transports::{Clock, Options};

use crate::harness::{Cluster, Socketed, address, is_payload, listener, mesh, payload, transmit, until};
use crate::relay::{Fate, Relay, Way};

/// Node 0, and node 1, which dials it through a relay.
struct Apart<T> {
    cluster: Cluster<T>,
    relay: Relay,
}

impl<T: Socketed> Apart<T> {
    fn new(options: &Options) -> Self {
        let (clock, zero) = (Clock::start(), listener());
        let mut relay = Relay::new(address(&zero));
        let zero = T::join(mesh(0, Some(zero), &[], clock, options)).expect("joins");
        let one = T::join(mesh(1, None, &[relay.at()], clock, options)).expect("joins");
        let cluster = Cluster::of_with(vec![zero, one], clock, || relay.pump(|_, _| Fate::Pass));
        Self { cluster, relay }
    }

    /// Lets the nodes look, and the relay do to what is under way as `fate` says.
    fn pump(&mut self, fate: impl FnMut(Way, &[u8]) -> Fate) {
        self.cluster.pump();
        self.relay.pump(fate);
    }

    /// Sends from node `from`, and has the relay do as `fate` says with it.
    fn send(&mut self, from: usize, transmits: Vec<Transmit>, fate: &Fate) {
        self.cluster.send(from, transmits);
        self.relay.pump(|_, _| fate.clone());
    }

    /// What node `at` has received of the test's own frames, by their first words.
    fn numbers(&self, at: usize) -> Vec<u64> {
        self.cluster.inboxes[at].iter().map(|frame| frame.head.words[0]).collect()
    }
}

/// One of twenty is lost, one of ten comes late, in both directions, at the smallest datagrams.
pub(crate) fn what_is_lost_or_late_comes_all_the_same<T: Socketed>() {
    const COUNT: u64 = 300;
    let quic = QuicOptions { mtu: 1200, ..QuicOptions::default() };
    for seed in 0..4 {
        let mut apart = Apart::<T>::new(&Options { quic: quic.clone(), ..Options::default() });
        let mut prng = Prng::new(seed);
        let mut fate = |_: Way, _: &[u8]| match prng.below(20) {
            0 => Fate::Drop,
            1 | 2 => Fate::Hold(1 + prng.below(30)),
            _ => Fate::Pass,
        };
        for number in 0..COUNT {
            let len = (number * 37 % 3000) as usize;
            for (from, to) in [(0, 1), (1, 0)] {
                apart.cluster.send(from, [transmit(from as u32, to, number, payload(number, len))]);
            }
            apart.pump(&mut fate);
        }
        until("all frames come", || {
            apart.pump(&mut fate);
            apart.cluster.inboxes.iter().all(|inbox| inbox.len() as u64 >= COUNT)
        });
        for inbox in &apart.cluster.inboxes {
            assert!((0..).zip(inbox).all(|(number, frame)| frame.head.words[0] == number
                && is_payload(&frame.body, number, (number * 37 % 3000) as usize)));
            assert_eq!(inbox.len() as u64, COUNT);
        }
        assert!(apart.relay.dropped > 10 && apart.relay.held_back > 10, "{:?}", apart.relay);
        let counters = apart.cluster.all_counters();
        assert_eq!((counters.lost_connections, counters.dropped_frames), (0, 0));
    }
}

/// As behind a router that gives node 1 another port, time and again.
pub(crate) fn a_peer_whose_address_changes_stays_connected<T: Socketed>() {
    let mut apart = Apart::<T>::new(&Options::default());
    for round in 0..4 {
        apart.relay.rebind();
        // Node 0 learns of the new address by what comes from there.
        for (from, to) in [(1, 0), (0, 1)] {
            let frames = (0..20).map(|number| transmit(from, to, 20 * round + number, payload(number, 2000)));
            apart.cluster.send(from as usize, frames);
            until("frames come by the new address", || {
                apart.pump(|_, _| Fate::Pass);
                apart.cluster.inboxes[to as usize].len() as u64 == 20 * (round + 1)
            });
        }
    }
    assert_eq!(apart.numbers(0), (0..80).collect::<Vec<_>>());
    assert_eq!(apart.numbers(1), (0..80).collect::<Vec<_>>());
    assert_eq!(apart.cluster.all_counters().lost_connections, 0);
}

/// The path is cut for longer than the time-out: both ends notice, and find each other again behind it.
pub(crate) fn a_cut_path_is_a_lost_connection<T: Socketed>() {
    let mut apart = Apart::<T>::new(&crate::quic_only::impatient());
    until("both ends miss the other", || {
        apart.pump(|_, _| Fate::Drop);
        (0..2).all(|at| apart.cluster.counters(at).lost_connections > 0)
    });
    let Apart { cluster, relay } = &mut apart;
    cluster.meet_with(|| relay.pump(|_, _| Fate::Pass));
    apart.cluster.send(1, [transmit(1, 0, 7, Payload::EMPTY)]);
    until("a frame comes", || {
        apart.pump(|_, _| Fate::Pass);
        apart.numbers(0) == [7]
    });
}

/// A node of another run takes node 1's place on the path: it is refused, and node 1 is not replaced.
pub(crate) fn a_peer_that_comes_back_with_foreign_keys_is_refused<T: Socketed>() {
    let mut apart = Apart::<T>::new(&Options::default());
    let clock = apart.cluster.clock;
    let mut foreign = mesh(1, None, &[apart.relay.at()], clock, &Options::default());
    let other = Authority::new(2).expect("there is randomness");
    foreign.credentials = Some(other.admit(NodeId(1)).expect("there is randomness"));
    // Node 1 is silent now, and alive.
    let mut foreign = T::join(foreign).expect("joins");
    until("it is turned away", || {
        foreign.recv(clock.now() + 100_000, &mut Vec::new()).expect("receives");
        apart.cluster.look(0);
        apart.relay.pump(|_, _| Fate::Pass);
        foreign.counters().strangers + apart.cluster.counters(0).strangers > 0
    });
    drop(foreign);
    apart.cluster.send(1, [transmit(1, 0, 3, Payload::EMPTY)]);
    until("node 1 is heard", || {
        apart.pump(|_, _| Fate::Pass);
        apart.numbers(0) == [3]
    });
    assert_eq!(apart.cluster.all_counters().lost_connections, 0);
}

fn of_group(group: u16, number: u64) -> Transmit {
    let sent = transmit(0, 1, number, payload(number, 100));
    Transmit { head: Head { group, ..sent.head }, ..sent }
}

/// Frames 1 of group 1, 2 of group 2 and 3 of group 1, of which the first is lost. What node 1 has before
/// node 0 could notice, and what it has in the end.
fn with_one_lost<T: Socketed>(quic: QuicOptions) -> [Vec<u64>; 2] {
    let mut apart = Apart::<T>::new(&Options { quic, ..Options::default() });
    // Every stream is there.
    for group in [1, 2] {
        apart.send(0, vec![of_group(group, 0)], &Fate::Pass);
        until("it comes", || {
            apart.pump(|_, _| Fate::Pass);
            apart.cluster.inboxes[1].drain(..).count() == 1
        });
    }
    // Nothing else is under way.
    (0..100).for_each(|_| apart.pump(|_, _| Fate::Pass));
    for (group, number, fate) in [(1, 1, Fate::Drop), (2, 2, Fate::Pass), (1, 3, Fate::Pass)] {
        apart.send(0, vec![of_group(group, number)], &fate);
    }
    (0..100).for_each(|_| apart.cluster.look(1));
    let early = apart.numbers(1);
    let deadline = apart.cluster.clock.now() + 300_000_000;
    while apart.cluster.clock.now() < deadline && apart.cluster.inboxes[1].len() < 3 {
        apart.pump(|_, _| Fate::Pass);
    }
    assert_eq!(apart.cluster.all_counters().lost_connections, 0);
    [early, apart.numbers(1)]
}

pub(crate) fn what_is_lost_holds_up_its_stream_alone<T: Socketed>() {
    let of = |streams| with_one_lost::<T>(QuicOptions { streams, ..QuicOptions::default() });
    assert_eq!(of(Streams::Peer), [vec![], vec![1, 2, 3]]);
    assert_eq!(of(Streams::Group), [vec![2], vec![2, 1, 3]]);
}

/// Lost is lost, and nothing waits for it.
pub(crate) fn a_lost_datagram_holds_up_nothing_and_does_not_come<T: Socketed>() {
    let quic = QuicOptions { datagrams: true, ..QuicOptions::default() };
    assert_eq!(with_one_lost::<T>(quic), [vec![2, 3], vec![2, 3]]);
}

/// Also where frames of many groups share streams.
pub(crate) fn each_group_keeps_its_order<T: Socketed>() {
    const GROUPS: u64 = 3000;
    let quic = QuicOptions { streams: Streams::Group, ..QuicOptions::default() };
    let mut cluster = Cluster::new::<crate::OverSockets<T>>(2, &Options { quic, ..Options::default() });
    for turn in 0..4 {
        cluster.send(0, (0..GROUPS).map(|group| of_group(group as u16, turn)));
    }
    cluster.pump_until(1, 4 * GROUPS as usize);
    let mut come = vec![0; GROUPS as usize];
    for frame in &cluster.inboxes[1] {
        let come = &mut come[usize::from(frame.head.group)];
        assert_eq!(frame.head.words[0], *come);
        assert!(is_payload(&frame.body, *come, 100));
        *come += 1;
    }
}

/// What does not fit goes by the stream, whole.
pub(crate) fn a_frame_too_long_for_a_datagram_arrives<T: Socketed>() {
    let quic = QuicOptions { datagrams: true, ..QuicOptions::default() };
    let mut cluster = Cluster::new::<crate::OverSockets<T>>(2, &Options { quic, ..Options::default() });
    let lens = [0, 1, 1000, 1100, 1200, 40_000, 200_000];
    for (number, len) in (0..).zip(lens) {
        cluster.send(0, [transmit(0, 1, number, payload(number, len))]);
        cluster.pump_until(1, number as usize + 1);
    }
    let mut bodies: Vec<_> = cluster.inboxes[1].drain(..).collect();
    bodies.sort_by_key(|frame| frame.head.words[0]);
    assert!((0..).zip(lens).zip(&bodies).all(|((number, len), frame)| is_payload(&frame.body, number, len)));
    let (sent, received) = (cluster.counters(0), cluster.counters(1));
    assert_eq!((sent.sent_frames, sent.sent_bytes), (received.received_frames, received.received_bytes));
}

/// What a busy node sends in many turns goes in few datagrams, and without more to come it goes at once.
pub(crate) fn what_a_busy_node_sends_goes_together<T: Socketed>() {
    const TURNS: u64 = 300;
    let mut apart = Apart::<T>::new(&Options::default());
    // Until the path's largest datagram is known.
    (0..2000).for_each(|_| apart.pump(|_, _| Fate::Pass));
    let mut there = 0;
    for turn in 0..TURNS {
        apart.cluster.nodes[1].send(&mut vec![transmit(1, 0, turn, Payload::EMPTY)]).expect("it takes all");
        apart.cluster.look(1);
        apart.relay.pump(|way, _| {
            there += u64::from(way == Way::There);
            Fate::Pass
        });
    }
    assert!(there < TURNS / 2 && there > 0, "{there} datagrams");
    // Where it may wait, nothing is kept.
    apart.cluster.nodes[1].send(&mut vec![transmit(1, 0, TURNS, Payload::EMPTY)]).expect("it takes all");
    let deadline = apart.cluster.clock.now() + 1_000_000_000;
    apart.cluster.send(0, [transmit(0, 1, 1, Payload::EMPTY)]);
    apart.relay.pump(|_, _| Fate::Pass);
    apart.cluster.nodes[1].recv(deadline, &mut apart.cluster.inboxes[1]).expect("receives");
    until("all frames come", || {
        apart.relay.pump(|_, _| Fate::Pass);
        apart.cluster.look(0);
        apart.cluster.inboxes[0].len() as u64 == TURNS + 1
    });
}

/// There is no queue without an end for them either.
pub(crate) fn datagrams_beyond_what_a_link_holds_are_dropped_and_counted<T: Socketed>() {
    const COUNT: u64 = 5000;
    let quic = QuicOptions { datagrams: true, ..QuicOptions::default() };
    let options = Options { quic, link_bytes: 1 << 20, ..Options::default() };
    let mut cluster = Cluster::new::<crate::OverSockets<T>>(2, &options);
    cluster.send(0, (0..COUNT).map(|number| transmit(0, 1, number, payload(number, 1000))));
    let counters = cluster.counters(0);
    assert_eq!(counters.sent_frames + counters.dropped_frames, COUNT);
    assert!(counters.sent_frames > 500 && counters.sent_bytes <= 1 << 20, "{counters:?}");
    cluster.pump_until(1, counters.sent_frames as usize);
    assert!(cluster.inboxes[1].iter().all(|frame| is_payload(&frame.body, frame.head.words[0], 1000)));
}
