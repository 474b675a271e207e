//! Who cannot keep up holds up nobody, and there is no queue without an end.

use std::thread;
use std::time::Duration;

use quorumbench_protocols::{Head, Payload};
use quorumbench_transports::Options;

use crate::harness::{Cluster, OverSockets, Socketed, Subject, is_payload, payload, transmit, until};

pub(crate) fn a_receiver_that_does_not_read_holds_up_nobody<S: Subject>() {
    const LEN: usize = 64 << 10;
    let options = Options { link_bytes: 1 << 20, ..Options::default() };
    let mut cluster = Cluster::new::<S>(3, &options);
    let body = payload(0, LEN);
    let mut sent = 0;
    until("what does not fit is dropped", || {
        cluster.send(0, (sent..sent + 100).map(|number| transmit(0, 1, number, body.clone())));
        sent += 100;
        cluster.counters(0).dropped_frames > 0
    });
    cluster.send(0, (0..10_000).map(|number| transmit(0, 1, sent + number, body.clone())));
    sent += 10_000;
    let counters = cluster.counters(0);
    assert_eq!(counters.sent_frames + counters.dropped_frames, sent, "each frame is one or the other");
    // In memory nothing is copied, and a ring holds 8192 frames; a socket's buffers hold a few MiB.
    let most = if S::SOCKETS { 200 << 20 } else { 8192 * (Head::BYTES + LEN) as u64 };
    assert!(counters.sent_bytes <= most, "{} bytes under way", counters.sent_bytes);
    cluster.send(0, [transmit(0, 2, 1, Payload::EMPTY)]);
    until("the other peer is not held up", || {
        cluster.look(2);
        cluster.inboxes[2].len() == 1
    });

    cluster.pump_until(1, counters.sent_frames as usize);
    let numbers: Vec<u64> = cluster.inboxes[1].drain(..).map(|frame| frame.head.words[0]).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, though not all");
    cluster.send(0, (0..10).map(|number| transmit(0, 1, number, payload(number, 5000))));
    cluster.pump_until(1, 10);
    assert!((0..).zip(&cluster.inboxes[1]).all(|(number, frame)| is_payload(&frame.body, number, 5000)));
}

/// One peer sends more than is read, all the time; the other's frame comes all the same.
pub(crate) fn a_peer_that_never_stops_does_not_drown_the_others<S: Subject>() {
    let options = Options { link_bytes: 4 << 20, ..Options::default() };
    let mut cluster = Cluster::new::<S>(3, &options);
    let body = payload(0, 64 << 10);
    let flood = |cluster: &mut Cluster<S::Node>| {
        cluster.send(1, (0..200).map(|number| transmit(1, 0, number, body.clone())));
        cluster.look(0);
        cluster.inboxes[0].drain(..).any(|frame| frame.head.from.0 == 2)
    };
    for _ in 0..20 {
        assert!(!flood(&mut cluster));
    }
    cluster.send(2, [transmit(2, 0, 1, Payload::EMPTY)]);
    let mut looks = 0;
    until("the quiet peer is heard", || {
        looks += 1;
        flood(&mut cluster)
    });
    assert!(looks < 100, "it took {looks} looks");
}

/// The receiver's owner keeps every frame: it gets as many as its chunks hold, and no more until it
/// lets go. Nothing is lost, because the kernel's flow control holds the sender back.
pub(crate) fn an_empty_pool_stops_reading<T: Socketed>() {
    let options = Options { max_body: 1000, chunk_bytes: 4096, chunks: CHUNKS, ..Options::default() };
    let mut cluster = Cluster::new::<OverSockets<T>>(2, &options);
    let fits = frames_that_fit::<T>();
    // A transport whose flow control is its own has a window's worth beside them, a quarter as much.
    let most = fits + fits / 4 * usize::from(T::COPIES > 0);
    let all = (3 * fits as u64).max(1000);
    cluster.send(0, (0..all).map(|number| transmit(0, 1, number, payload(number, 1000))));
    let mut numbers = Vec::new();
    until("all frames come", || {
        empty_the_pool(&mut cluster);
        assert!(cluster.inboxes[1].len() <= most, "what was kept fits the chunks: {}", cluster.inboxes[1].len());
        assert!(cluster.nodes[1].chunks_out() <= CHUNKS);
        for frame in cluster.inboxes[1].drain(..) {
            assert!(is_payload(&frame.body, frame.head.words[0], 1000));
            numbers.push(frame.head.words[0]);
        }
        numbers.len() == all as usize
    });
    assert_eq!(numbers, (0..all).collect::<Vec<_>>());
}

const CHUNKS: usize = 4;

/// How many payloads of 1000 bytes, without their heads, that many chunks of 4096 bytes hold.
fn frames_that_fit<T: Socketed>() -> usize {
    CHUNKS * T::LEAST_CHUNK_BYTES.max(4096) / 1000
}

/// Until nothing more comes to node 1, whose frames hold all of its chunks.
fn empty_the_pool<T: Socketed>(cluster: &mut Cluster<T>) {
    let mut still = 0;
    until("the pool is empty", || {
        let before = cluster.inboxes[1].len();
        cluster.pump();
        still = if cluster.inboxes[1].len() == before { still + 1 } else { 0 };
        still > 20
    });
}

/// It waits for a chunk without spinning, and goes on when one has come home, although no socket
/// announces that.
pub(crate) fn a_chunk_that_comes_home_ends_the_wait<T: Socketed>() {
    let options = Options { max_body: 1000, chunk_bytes: 4096, chunks: CHUNKS, ..Options::default() };
    let mut cluster = Cluster::new::<OverSockets<T>>(2, &options);
    cluster.send(0, (0..6 * frames_that_fit::<T>() as u64).map(|number| transmit(0, 1, number, payload(number, 1000))));
    empty_the_pool(&mut cluster);
    // All that the sender may send is under way.
    let settled = cluster.clock.now() + 100_000_000;
    while cluster.clock.now() < settled {
        cluster.pump();
    }
    let (before, deadline) = (cluster.counters(1).syscalls, cluster.clock.now() + 100_000_000);
    while cluster.clock.now() < deadline {
        cluster.nodes[1].recv(deadline, &mut cluster.inboxes[1]).expect("receives");
    }
    let rounds = cluster.counters(1).syscalls - before;
    assert!(rounds < 5000, "{rounds} system calls in 100 ms");

    let held = std::mem::take(&mut cluster.inboxes[1]);
    let owner = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        drop(held);
    });
    let deadline = cluster.clock.now() + 20_000_000_000;
    until("reading goes on", || {
        cluster.nodes[1].recv(deadline, &mut cluster.inboxes[1]).expect("receives");
        !cluster.inboxes[1].is_empty()
    });
    assert!(cluster.clock.now() < deadline);
    owner.join().expect("it only lets go");
}
