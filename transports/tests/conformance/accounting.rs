//! What is counted is what happened, and what was lent comes home.

use std::io::ErrorKind;

use quorumbench_protocols::{Head, NodeId, Payload, PeerSet, Prng, Recipients, Transmit};
use quorumbench_transports::{Clock, Counters, Options};

use crate::harness::{Cluster, OverSockets, Socketed, Subject, listener, mesh, payload, transmit, until};

pub(crate) fn what_is_sent_is_received<S: Subject>() {
    let mut cluster = Cluster::new::<S>(3, &Options::default());
    let (mut prng, mut expected) = (Prng::new(3), vec![0; 3]);
    let mut bytes = 0;
    for number in 0..500 {
        let (from, len) = (prng.below(3) as u32, prng.below(3000) as usize);
        let others = PeerSet::first(3).without(NodeId(from));
        let Transmit { head, body, .. } = transmit(from, 0, number, payload(number, len));
        cluster.send(from as usize, [Transmit { to: Recipients::Peers(others), head, body }]);
        others.iter().for_each(|to| expected[to.0 as usize] += 1);
        bytes += 2 * (Head::BYTES + len) as u64;
        cluster.pump();
    }
    for (at, &count) in expected.iter().enumerate() {
        cluster.pump_until(at, count);
    }
    let Counters { sent_frames, sent_bytes, received_frames, received_bytes, .. } = cluster.all_counters();
    assert_eq!((sent_frames, received_frames), (1000, 1000));
    assert_eq!((sent_bytes, received_bytes), (bytes, bytes));
    let Counters { dropped_frames, lost_connections, strangers, malformed, .. } = cluster.all_counters();
    assert_eq!((dropped_frames, lost_connections, strangers, malformed), (0, 0, 0, 0));
    assert!(!S::SOCKETS || cluster.all_counters().syscalls > 0);
}

/// A node of no seat, an id far beyond any table, and the node itself.
pub(crate) fn frames_to_nobody_are_dropped_and_counted<S: Subject>() {
    let mut cluster = Cluster::new::<S>(2, &Options::default());
    cluster.send(0, [7, u32::MAX, 0].map(|to| transmit(0, to, 1, payload(1, 100))));
    let Transmit { head, body, .. } = transmit(0, 0, 2, payload(2, 10));
    cluster.send(0, [Transmit { to: Recipients::Peers(PeerSet::first(64)), head, body }]);
    cluster.pump_until(1, 1);
    let counters = cluster.counters(0);
    assert_eq!((counters.sent_frames, counters.dropped_frames), (1, 3 + 63));
}

pub(crate) fn small_payloads_are_copied_and_counted<T: Socketed>() {
    let options = Options { gather_threshold: 512, ..Options::default() };
    let mut cluster = Cluster::new::<OverSockets<T>>(2, &options);
    for (len, copied) in [(0, 0), (100, 100), (511, 511), (512, 0), (5000, 0)] {
        let before = cluster.all_counters().copied_bytes;
        let received = cluster.inboxes[1].len();
        cluster.send(0, [transmit(0, 1, 0, payload(0, len))]);
        cluster.pump_until(1, received + 1);
        assert_eq!(cluster.all_counters().copied_bytes - before, copied, "{len} bytes");
    }
}

/// Neither a counter nor an inbox sees it (every `pump` checks its inbox for one).
pub(crate) fn a_hello_is_nobody_s_frame<T: Socketed>() {
    let mut cluster = Cluster::new::<OverSockets<T>>(2, &Options::default());
    let since_the_start = |cluster: &Cluster<T>| {
        let [zero, one] = [0, 1].map(|at| cluster.nodes[at].counters());
        (zero.sent_frames - one.received_frames, one.sent_frames - zero.received_frames)
    };
    assert_eq!(since_the_start(&cluster), (0, 0), "the probes, and nothing else");
    cluster.send(0, [transmit(0, 1, 0, Payload::EMPTY)]);
    cluster.pump_until(1, 1);
    assert_eq!(since_the_start(&cluster), (0, 0));
}

pub(crate) fn every_chunk_comes_home<T: Socketed>() {
    let options = Options { max_body: 20_000, chunk_bytes: 4096, chunks: 500, ..Options::default() };
    let mut cluster = Cluster::new::<OverSockets<T>>(3, &options);
    for number in 0..300 {
        let length = [0, 10, 600, 5000, 20_000][number as usize % 5];
        cluster.send(0, [1, 2].map(|to| transmit(0, to, number, payload(number, length))));
        cluster.pump();
        if number % 20 == 0 {
            cluster.inboxes.iter_mut().for_each(Vec::clear);
        }
    }
    cluster.inboxes.iter_mut().for_each(Vec::clear);
    let total = |cluster: &Cluster<T>| cluster.all_counters().received_frames;
    until("all frames have come", || {
        cluster.pump();
        cluster.inboxes.iter_mut().for_each(Vec::clear);
        total(&cluster) == 600
    });
    for (at, node) in cluster.nodes.iter_mut().enumerate() {
        assert_eq!(node.chunks_out(), 0, "node {at}");
    }
}

/// What `T` says about joining with `options`, which it cannot.
fn refusal<T: Socketed>(options: &Options) -> String {
    let Err(error) = T::join(mesh(0, Some(listener()), &[], Clock::start(), options)) else { panic!("it joined") };
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.to_string()
}

pub(crate) fn an_unknown_congestion_control_is_an_error<T: Socketed>() {
    let error = refusal::<T>(&Options { congestion: "no-such-one".into(), ..Options::default() });
    assert!(error.contains("`no-such-one`") && error.contains("available: "), "{error}");
}

pub(crate) fn a_pool_too_small_for_the_longest_frame_is_an_error<T: Socketed>() {
    let error = refusal::<T>(&Options { max_body: 1 << 20, chunk_bytes: 64 << 10, chunks: 16, ..Options::default() });
    assert!(error.contains("`max_body` 1048576") && error.contains("`chunks` is 16"), "{error}");
}
