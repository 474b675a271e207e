//! How `recv` waits. Upper bounds are generous, because the machine is not ours alone; those that
//! mean something are on a median of many.

use std::thread;
use std::time::{Duration, Instant};

use quorumbench_protocols::{Nanos, Payload};
use quorumbench_transports::{Clock, Options, Transport, Wait};

use crate::harness::{Cluster, Subject, transmit, until};

const ALL: [Wait; 3] = [Wait::Block, Wait::Spin, Wait::Yield];
/// A deadline that the protocols set.
const SHORT_NS: u64 = 200_000;
/// A tick of a millisecond must not pass for [`SHORT_NS`]; a busy machine may.
const TICK: Duration = Duration::from_millis(1);

fn options(wait: Wait) -> Options {
    Options { wait, ..Options::default() }
}

pub(crate) fn without_frames_it_waits_for_the_deadline<S: Subject>() {
    for wait in ALL {
        let Cluster { mut nodes, clock, .. } = Cluster::new::<S>(2, &options(wait));
        for wait_ns in [1, 100_000, 30_000_000] {
            let (deadline, mut inbox) = (clock.now() + wait_ns, Vec::new());
            // It may return early with nothing, and then it is asked again; but not without end.
            let mut calls = 0;
            while clock.now() < deadline {
                nodes[0].recv(deadline, &mut inbox).expect("receives");
                calls += 1;
            }
            assert!(inbox.is_empty() && calls < 10, "{calls} calls for {wait_ns} ns");
        }
    }
}

pub(crate) fn a_deadline_in_the_past_only_looks<S: Subject>() {
    for wait in ALL {
        let mut cluster = Cluster::new::<S>(2, &options(wait));
        let start = Instant::now();
        for _ in 0..100 {
            cluster.nodes[1].recv(Nanos::ZERO, &mut cluster.inboxes[1]).expect("receives");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "it does not wait");
        assert!(cluster.inboxes[1].is_empty());
        cluster.send(0, [transmit(0, 1, 7, Payload::EMPTY)]);
        until("a look finds the frame", || {
            cluster.nodes[1].recv(Nanos::ZERO, &mut cluster.inboxes[1]).expect("receives");
            !cluster.inboxes[1].is_empty()
        });
    }
}

/// Node 1 sends once node 0 has been waiting for a while; node 0 would wait for half a minute.
pub(crate) fn a_frame_ends_the_wait<S: Subject>() {
    for wait in ALL {
        let clock = Clock::start();
        let mut seats = S::seats(2, clock, &options(wait));
        let (one, zero) = (seats.remove(1), seats.remove(0));
        let other = thread::spawn(move || {
            let (mut node, mut inbox) = (S::sit(one), Vec::new());
            until("node 0 is heard", || {
                node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
                !inbox.is_empty()
            });
            thread::sleep(Duration::from_millis(30));
            node.send(&mut vec![transmit(1, 0, 7, Payload::EMPTY)]).expect("sends");
            // What was written has left only when the kernel has it, so this node stays a while.
            until("node 0 has heard", || {
                inbox.clear();
                node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
                inbox.iter().any(|frame| frame.head.words[0] == 8)
            });
        });
        let (mut node, mut inbox) = (S::sit(zero), Vec::new());
        until("node 1 is there", || {
            node.send(&mut vec![transmit(0, 1, 7, Payload::EMPTY)]).expect("sends");
            node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
            node.counters().sent_frames > 0
        });
        let deadline = clock.now() + 30_000_000_000;
        until("a frame comes", || {
            node.recv(deadline, &mut inbox).expect("receives");
            !inbox.is_empty()
        });
        assert!(clock.now() < deadline, "long before the deadline");
        until("the other has heard that", || {
            node.send(&mut vec![transmit(0, 1, 8, Payload::EMPTY)]).expect("sends");
            node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
            other.is_finished()
        });
        other.join().expect("node 1 ends well");
    }
}

pub(crate) fn short_deadlines_are_kept<S: Subject>() {
    let Cluster { mut nodes, clock, .. } = Cluster::new::<S>(2, &options(Wait::Block));
    let median = median(|| {
        let (deadline, mut inbox) = (clock.now() + SHORT_NS, Vec::new());
        while clock.now() < deadline {
            nodes[0].recv(deadline, &mut inbox).expect("receives");
        }
    });
    assert!(median < TICK, "{SHORT_NS} ns took {median:?}");
}

/// Two nodes that answer each other and have a deadline every 200 us, as protocols do.
pub(crate) fn a_ping_pong_under_short_deadlines_does_not_wait_for_them<S: Subject>() {
    let clock = Clock::start();
    let mut seats = S::seats(2, clock, &options(Wait::Block));
    let (one, zero) = (seats.remove(1), seats.remove(0));
    let echo = thread::spawn(move || {
        let (mut node, mut inbox) = (S::sit(one), Vec::new());
        until("the last ping comes", || {
            node.recv(clock.now() + SHORT_NS, &mut inbox).expect("receives");
            let last = inbox.iter().any(|frame| frame.head.words[0] == u64::MAX);
            let pongs = inbox.drain(..).map(|ping| transmit(1, 0, ping.head.words[0], ping.body));
            node.send(&mut pongs.collect()).expect("sends");
            last
        });
    });
    let (mut node, mut inbox) = (S::sit(zero), Vec::new());
    until("the echo is there", || {
        node.send(&mut vec![transmit(0, 1, 0, Payload::EMPTY)]).expect("sends");
        node.recv(clock.now() + SHORT_NS, &mut inbox).expect("receives");
        !inbox.is_empty()
    });
    let mut number = 0;
    let median = median(|| {
        number += 1;
        node.send(&mut vec![transmit(0, 1, number, Payload::EMPTY)]).expect("sends");
        until("the pong comes", || {
            inbox.clear();
            node.recv(clock.now() + SHORT_NS, &mut inbox).expect("receives");
            inbox.iter().any(|pong| pong.head.words[0] == number)
        });
    });
    assert!(median < TICK, "a round trip took {median:?}");
    until("the echo ends", || {
        node.send(&mut vec![transmit(0, 1, u64::MAX, Payload::EMPTY)]).expect("sends");
        node.recv(clock.now() + SHORT_NS, &mut inbox).expect("receives");
        echo.is_finished()
    });
    echo.join().expect("it ends well");
}

/// The least of a few medians: a busy machine spoils some of them, a timer that is too coarse all.
fn median(mut step: impl FnMut()) -> Duration {
    let mut once = || {
        let start = Instant::now();
        step();
        start.elapsed()
    };
    let mut median = || {
        let mut elapsed: Vec<Duration> = (0..101).map(|_| once()).collect();
        elapsed.sort();
        elapsed[elapsed.len() / 2]
    };
    (0..5).map(|_| median()).min().unwrap_or_default()
}
