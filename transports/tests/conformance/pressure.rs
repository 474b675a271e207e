//! Who cannot keep up holds up nobody, and there is no queue without an end.

use quorumbench_protocols::{Head, Nanos, Payload};
use quorumbench_transports::{Options, Transport};

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
        // Node 0 goes on with its own work, and with its other peer.
        cluster.nodes[0].recv(Nanos::ZERO, &mut cluster.inboxes[0]).expect("receives");
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
        cluster.nodes[2].recv(Nanos::ZERO, &mut cluster.inboxes[2]).expect("receives");
        cluster.inboxes[2].len() == 1
    });

    cluster.pump_until(1, counters.sent_frames as usize);
    let numbers: Vec<u64> = cluster.inboxes[1].drain(..).map(|frame| frame.head.words[0]).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, though not all");
    cluster.send(0, (0..10).map(|number| transmit(0, 1, number, payload(number, 5000))));
    cluster.pump_until(1, 10);
    assert!((0..).zip(&cluster.inboxes[1]).all(|(number, frame)| is_payload(&frame.body, number, 5000)));
}

/// The receiver's owner keeps every frame: it gets as many as its chunks hold, and no more until it
/// lets go. Nothing is lost, because the kernel's flow control holds the sender back.
pub(crate) fn an_empty_pool_stops_reading<T: Socketed>() {
    const CHUNKS: usize = 4;
    let options = Options { chunk_bytes: 4096, chunks: CHUNKS, ..Options::default() };
    let mut cluster = Cluster::new::<OverSockets<T>>(2, &options);
    cluster.send(0, (0..1000).map(|number| transmit(0, 1, number, payload(number, 1000))));
    let mut numbers = Vec::new();
    until("all frames come", || {
        let mut still = 0;
        until("the pool is empty", || {
            let before = cluster.inboxes[1].len();
            cluster.pump();
            still = if cluster.inboxes[1].len() == before { still + 1 } else { 0 };
            still > 20
        });
        assert!(cluster.inboxes[1].len() <= CHUNKS * 4, "what was kept fits the chunks");
        assert!(cluster.nodes[1].chunks_out() <= CHUNKS);
        for frame in cluster.inboxes[1].drain(..) {
            assert!(is_payload(&frame.body, frame.head.words[0], 1000));
            numbers.push(frame.head.words[0]);
        }
        numbers.len() == 1000
    });
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());

    cluster.send(0, (0..100).map(|number| transmit(0, 1, number, payload(number, 1000))));
    until("the pool is empty again", || {
        cluster.pump();
        cluster.inboxes[1].len() >= 12
    });
    cluster.pump();
    let (before, deadline) = (cluster.counters(1).syscalls, cluster.clock.now() + 100_000_000);
    while cluster.clock.now() < deadline {
        cluster.nodes[1].recv(deadline, &mut cluster.inboxes[1]).expect("receives");
    }
    let rounds = cluster.counters(1).syscalls - before;
    assert!(rounds < 5000, "it waits for a chunk without spinning: {rounds} system calls in 100 ms");
}
