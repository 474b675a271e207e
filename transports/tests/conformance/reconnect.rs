//! Connections are lost and come back.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use quorumbench_protocols::{Nanos, Payload};
use quorumbench_transports::{Clock, Options};
use rustix::net::sockopt;
use zerocopy::IntoBytes;

use crate::harness::{Cluster, OverSockets, Socketed, address, listener, mesh, payload, transmit, until};
use crate::raw::{self, Raw, RawTcp};

/// Nodes 0 and 1, and where node 0 listens.
fn pair<T: Socketed>() -> (Cluster<T>, SocketAddr) {
    let (clock, options) = (Clock::start(), Options::default());
    let (zero, one) = (listener(), listener());
    let at = address(&zero);
    let zero = T::join(mesh(0, Some(zero), &[], clock, &options)).expect("joins");
    let one = T::join(mesh(1, Some(one), &[at], clock, &options)).expect("joins");
    (Cluster::of(vec![zero, one], clock), at)
}

/// Sends from `from` while the other is away, until a frame is dropped.
fn send_in_vain<T: Socketed>(cluster: &mut Cluster<T>, from: u32) {
    until("a frame to who is away is dropped", || {
        cluster.send(from as usize, [transmit(from, 1 - from, 0, Payload::EMPTY)]);
        let (node, inbox) = (&mut cluster.nodes[from as usize], &mut cluster.inboxes[from as usize]);
        node.recv(cluster.clock.now() + 100_000, inbox).expect("receives");
        cluster.counters(from as usize).dropped_frames > 0
    });
    assert_eq!(cluster.counters(from as usize).lost_connections, 1);
}

fn exchange<T: Socketed>(cluster: &mut Cluster<T>) {
    cluster.meet();
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.send(from, (0..10).map(|number| transmit(from as u32, to as u32, number, Payload::EMPTY)));
        cluster.pump_until(to, 10);
    }
}

pub(crate) fn a_listener_that_comes_back_is_dialled_again<T: Socketed>() {
    let (mut cluster, at) = pair::<T>();
    let clock = cluster.clock;
    drop(cluster.nodes.remove(0));
    // The place of the dead is taken by a node that nobody knows, so that the other keeps its own.
    cluster.nodes.insert(0, T::join(mesh(0, None, &[], clock, &Options::default())).expect("joins"));
    send_in_vain(&mut cluster, 1);
    let again = TcpListener::bind(at).expect("the port is free again");
    cluster.nodes[0] = T::join(mesh(0, Some(again), &[], clock, &Options::default())).expect("joins");
    exchange(&mut cluster);
}

pub(crate) fn a_dialler_that_comes_back_is_accepted_again<T: Socketed>() {
    let (mut cluster, at) = pair::<T>();
    let clock = cluster.clock;
    cluster.nodes.truncate(1);
    cluster.nodes.push(T::join(mesh(1, None, &[], clock, &Options::default())).expect("joins"));
    send_in_vain(&mut cluster, 0);
    cluster.nodes[1] = T::join(mesh(1, None, &[at], clock, &Options::default())).expect("joins");
    exchange(&mut cluster);
}

/// A bare socket that has said hello as node 9 and was answered.
fn node_9<T: Socketed>(cluster: &mut Cluster<T>, at: SocketAddr) -> T::Raw {
    let mut raw = T::Raw::connect(at, 0, 9);
    raw.say(raw::hello(9).as_bytes());
    until("the hello is answered", || {
        cluster.pump();
        raw.head().is_some_and(|answer| answer == raw::hello(0))
    });
    raw
}

/// Connections are made by the kernel as soon as somebody listens, which may be long before a node accepts them.
pub(crate) fn what_is_accepted_is_tuned_whenever_it_was_dialled<T: Socketed>() {
    let (clock, options) = (Clock::start(), Options { congestion: "reno".into(), ..Options::default() });
    let zero = listener();
    let at = address(&zero);
    let early = RawTcp::connect(at, 0, 9);
    let mut node = T::join(mesh(0, Some(zero), &[], clock, &options)).expect("joins");
    let late = RawTcp::connect(at, 0, 9);
    for dialler in [early, late] {
        until("it is accepted, and tuned", || {
            node.recv(clock.now() + 1_000_000, &mut Vec::new()).expect("receives");
            let accepted = dialler.other_end();
            accepted.is_some_and(|socket| {
                sockopt::tcp_nodelay(&socket) == Ok(true)
                    && sockopt::tcp_congestion(&socket).is_ok_and(|congestion| congestion == "reno")
            })
        });
    }
}

/// A peer that restarted knows better than this node that its older connection is dead.
pub(crate) fn a_newer_connection_replaces_the_older<T: Socketed>() {
    let (mut cluster, at) = pair::<T>();
    let mut older = node_9(&mut cluster, at);
    let mut newer = node_9(&mut cluster, at);
    until("the older is closed", || {
        cluster.pump();
        older.is_closed()
    });
    let said = transmit(0, 9, 77, Payload::EMPTY);
    let head = said.head;
    cluster.send(0, [said]);
    until("the newer has the frame", || {
        cluster.pump();
        newer.head().is_some_and(|heard| heard == head)
    });
    assert_eq!(cluster.counters(0).lost_connections, 1);
    exchange(&mut cluster);
}

/// What the kernel had taken nobody can know; what it had not is counted, and the rest of the list
/// that was being written with it.
pub(crate) fn what_was_queued_for_a_lost_connection_is_counted<T: Socketed>() {
    let (mut cluster, at) = pair::<T>();
    let raw = node_9(&mut cluster, at);
    let body = payload(0, 64 << 10);
    cluster.send(0, (0..450).map(|number| transmit(0, 9, number, body.clone())));
    cluster.pump();
    assert_eq!(cluster.counters(0).dropped_frames, 0, "there was room in the link");
    drop(raw);
    until("the loss is noticed", || {
        cluster.pump();
        cluster.counters(0).lost_connections == 1
    });
    let dropped = cluster.counters(0).dropped_frames;
    assert!((1..=450).contains(&dropped), "{dropped} frames");
    exchange(&mut cluster);
}

pub(crate) fn a_node_that_leaves_closes_its_connections<T: Socketed>() {
    let (mut cluster, at) = pair::<T>();
    let (mut silent, mut peer) = (T::Raw::connect(at, 0, 9), node_9(&mut cluster, at));
    drop(cluster.nodes.remove(0));
    until("both are closed", || peer.is_closed() && silent.is_closed());
    TcpListener::bind(at).expect("nobody listens there any more");
}

/// Whole frames come, as many as were written, and it does not wait for the other side to read them.
pub(crate) fn a_node_may_leave_in_the_middle_of_a_write<T: Socketed>() {
    for zero_copy_threshold in [None, Some(0)] {
        let options = Options { zero_copy_threshold, ..Options::default() };
        let mut cluster = Cluster::new::<OverSockets<T>>(2, &options);
        let body = payload(0, 100_000);
        for number in 0..300 {
            cluster.send(1, [transmit(1, 0, number, body.clone())]);
            cluster.nodes[1].recv(Nanos::ZERO, &mut cluster.inboxes[1]).expect("receives");
        }
        let leaver = cluster.nodes.pop();
        let start = Instant::now();
        drop(leaver);
        assert!(start.elapsed() < Duration::from_secs(5), "it does not wait for the other side");
        until("the loss is noticed", || {
            cluster.pump();
            cluster.counters(0).lost_connections == 1
        });
        assert_eq!(cluster.counters(0).malformed, 0);
        let numbers: Vec<u64> = cluster.inboxes[0].iter().map(|frame| frame.head.words[0]).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "in order: {numbers:?}");
        assert!(cluster.inboxes[0].iter().all(|frame| frame.body == body), "intact");
    }
}

/// Somebody accepts and hangs up at once. The first second has room for about fifteen attempts.
pub(crate) fn whoever_does_not_answer_is_dialled_less_and_less_often<T: Socketed>() {
    let (clock, rude) = (Clock::start(), listener());
    rude.set_nonblocking(true).expect("a socket option");
    let mut node = T::join(mesh(1, None, &[address(&rude)], clock, &Options::default())).expect("joins");
    let (mut attempts, mut inbox) = (0, Vec::new());
    while clock.now().0 < 1_000_000_000 {
        node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
        attempts += std::iter::from_fn(|| rude.accept().ok()).count();
    }
    assert!((3..=40).contains(&attempts), "{attempts} attempts in a second");
    assert_eq!(node.counters().lost_connections, 0, "none was established");
}
