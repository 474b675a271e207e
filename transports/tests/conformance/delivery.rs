//! What is sent arrives: once, in order, unchanged, and not copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use quorumbench_protocols::{Frame, Head, NodeId, Payload, PeerSet, Prng, Recipients, Transmit};
use quorumbench_transports::{Clock, Options, Transport};

use crate::harness::{Cluster, Subject, is_payload, payload, transmit, until};

pub(crate) fn frames_arrive_once_and_in_order<S: Subject>() {
    const EACH: usize = 3000;
    let mut cluster = Cluster::new::<S>(3, &Options::default());
    let mut prng = Prng::new(1);
    let mut sent = 0;
    while sent < EACH {
        let batch = (1 + prng.below(64) as usize).min(EACH - sent);
        for from in 0..3 {
            let to = [(from + 1) % 3, (from + 2) % 3];
            let frames = (sent..sent + batch).flat_map(|number| to.map(|to| (to, number as u64)));
            let frames =
                frames.map(|(to, number)| transmit(from, to, number, payload(number, (number * 37 % 900) as usize)));
            cluster.send(from as usize, frames);
        }
        sent += batch;
        cluster.pump();
    }
    for at in 0..3 {
        cluster.pump_until(at, 2 * EACH);
        for from in 0..3 {
            let of_one = cluster.inboxes[at].iter().filter(|frame| frame.head.from == NodeId(from));
            for (number, frame) in (0..).zip(of_one) {
                assert_eq!(frame.head.words[0], number, "from {from} to {at}");
                assert!(is_payload(&frame.body, number, (number * 37 % 900) as usize));
            }
        }
    }
    assert_eq!(cluster.all_counters().dropped_frames, 0);
}

/// Everyone sends to everyone and waits in the kernel; nobody's node leaves its thread.
pub(crate) fn each_node_may_have_a_thread_of_its_own<S: Subject>() {
    let clock = Clock::start();
    let done = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..)
        .zip(S::seats(TALKERS as usize, clock, &Options::default()))
        .map(|(id, seat)| {
            let done = done.clone();
            thread::spawn(move || talk(id, S::sit(seat), clock, &done))
        })
        .collect();
    for thread in threads {
        thread.join().expect("every thread ends well");
    }
}

const TALKERS: u32 = 3;

/// Numbers frames to all others until each has heard enough of each; they need this node until then.
fn talk(id: u32, mut node: impl Transport, clock: Clock, done: &AtomicU32) {
    let others: Vec<u32> = (0..TALKERS).filter(|&other| other != id).collect();
    let (mut inbox, mut told, mut content, mut idle) = (Vec::new(), 0, false, true);
    let mut next = [0; TALKERS as usize];
    until("all have heard all", || {
        let slowest = others.iter().map(|&other| next[other as usize]).min().unwrap_or_default();
        // Nobody runs far ahead, so nothing is dropped; what nobody was there for yet is said again.
        if told < slowest + 200 || idle {
            let frames = others.iter().map(|&to| transmit(id, to, told, payload(told, 600)));
            node.send(&mut frames.collect()).expect("sends");
            told += 1;
        }
        node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
        idle = inbox.is_empty();
        for Frame { head, body } in inbox.drain(..) {
            let (number, expected) = (head.words[0], &mut next[head.from.0 as usize]);
            assert!(number == *expected || *expected == 0, "nothing is missing once frames flow");
            assert!(is_payload(&body, number, 600));
            *expected = number + 1;
        }
        if !content && slowest >= 500 {
            content = true;
            done.fetch_add(1, Ordering::SeqCst);
        }
        done.load(Ordering::SeqCst) == TALKERS
    });
}

pub(crate) fn heads_arrive_as_they_were_sent<S: Subject>() {
    let mut cluster = Cluster::new::<S>(2, &Options::default());
    let words = [1, u64::MAX, 3, 4, 5, 6];
    let body = payload(0, 9);
    let head = Head { body_len: 9, kind: 0xfe, flags: 0xa5, group: 0xbeef, from: NodeId(1), reserved: 0, words };
    cluster.send(1, [Transmit { to: Recipients::One(NodeId(0)), head, body }]);
    cluster.pump_until(0, 1);
    assert_eq!(cluster.inboxes[0][0].head, head);
}

pub(crate) fn payloads_of_any_length_arrive<S: Subject>() {
    let mut cluster = Cluster::new::<S>(2, &Options::default());
    let lengths = [0, 1, 63, 64, 65, 511, 512, 513, 4096, 65_536, 262_144 - 64, 262_144, 1_000_001, 5 << 20, 0, 7];
    let frame = |(number, &len): (u64, &usize)| transmit(0, 1, number, payload(number, len));
    cluster.send(0, (0..).zip(&lengths).map(frame));
    cluster.pump_until(1, lengths.len());
    for ((number, &len), frame) in (0..).zip(&lengths).zip(&cluster.inboxes[1]) {
        assert_eq!((frame.head.words[0], frame.head.body_len as usize), (number, len));
        assert!(is_payload(&frame.body, number, len), "{len} bytes");
    }
}

pub(crate) fn frames_may_straddle_chunks<S: Subject>() {
    let options = Options { max_body: 10_000, chunk_bytes: 1000, chunks: 10_000, ..Options::default() };
    let mut cluster = Cluster::new::<S>(2, &options);
    let length = |number: u64| [10_000, 40, 937, 0, 1000, 300][number as usize % 6];
    cluster.send(0, (0..600).map(|number| transmit(0, 1, number, payload(number, length(number)))));
    cluster.pump_until(1, 600);
    for (number, frame) in (0..).zip(&cluster.inboxes[1]) {
        assert!(is_payload(&frame.body, number, length(number)), "frame {number}");
        if S::SOCKETS && S::LEAST_CHUNK_BYTES <= 1000 && length(number) == 10_000 {
            assert!(frame.body.pieces().len() >= 10, "nothing was moved to make it whole");
        }
    }
}

pub(crate) fn a_broadcast_shares_one_payload<S: Subject>() {
    let mut cluster = Cluster::new::<S>(4, &Options::default());
    let body = payload(5, 100_000);
    let sent = body.pieces()[0].as_ptr();
    let Transmit { head, .. } = transmit(0, 0, 5, body.clone());
    cluster.send(0, [Transmit { to: Recipients::Peers(PeerSet::first(4).without(NodeId(0))), head, body }]);
    for at in 1..4 {
        cluster.pump_until(at, 1);
        let body = &cluster.inboxes[at][0].body;
        assert!(is_payload(body, 5, 100_000));
        assert!(S::SOCKETS || body.pieces()[0].as_ptr() == sent, "the very same bytes");
    }
    let counters = cluster.counters(0);
    assert_eq!((counters.sent_frames, counters.copied_bytes), (3, 3 * 100_000 * S::COPIES), "once per recipient");
}

/// In memory, the receiver has the sender's very bytes. Over sockets, it has them where the kernel
/// put them: frames follow each other in one chunk, and payloads are slices of it.
pub(crate) fn payloads_are_not_copied<S: Subject>() {
    const LEN: usize = 600;
    let options = Options { gather_threshold: LEN, ..Options::default() };
    let mut cluster = Cluster::new::<S>(2, &options);
    let bodies: Vec<Payload> = (0..20).map(|number| payload(number, LEN)).collect();
    cluster.send(0, (0..).zip(&bodies).map(|(number, body)| transmit(0, 1, number, body.clone())));
    cluster.pump_until(1, bodies.len());
    let start = |body: &Payload| body.pieces()[0].as_ptr() as usize;
    let received: Vec<usize> = cluster.inboxes[1].iter().map(|frame| start(&frame.body)).collect();
    if S::SOCKETS {
        assert!(
            received.windows(2).all(|pair| pair[1] - pair[0] == Head::BYTES + LEN),
            "sliced in place: {received:?}"
        );
    } else {
        assert_eq!(received, bodies.iter().map(start).collect::<Vec<_>>());
    }
    assert_eq!(cluster.all_counters().copied_bytes, 0);
}
