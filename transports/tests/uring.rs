//! What only the ring's transport promises, on top of what every transport does.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use quorumbench_protocols::{Frame, Head, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::gather::Gather;
use quorumbench_transports::storage::{FileBytes, FileWrite};
use quorumbench_transports::uring::{Uring, probe};
use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};

const ROUNDS: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

fn send(node: &mut Uring, from: u32, number: u64) {
    let head = Head { kind: 1, from: NodeId(from), words: [number; 6], ..Head::default() };
    let mut out = vec![Transmit { to: Recipients::One(NodeId(1 - from)), head, body: Payload::EMPTY }];
    node.send(&mut out).expect("sends");
}

/// Answers until the other has left.
fn echo(mut node: Uring, clock: Clock) {
    let mut inbox: Vec<Frame> = Vec::new();
    while node.counters().lost_connections == 0 {
        node.recv(clock.now() + SECOND, &mut inbox).expect("receives");
        inbox.drain(..).for_each(|frame| send(&mut node, 1, frame.head.words[0]));
    }
}

/// A node by itself.
fn alone(clock: Clock) -> Uring {
    let (role, options) = (Role::Replica, Options::default());
    let mesh =
        Mesh { run: 1, id: NodeId(0), role, listener: None, dial: Vec::new(), credentials: None, clock, options };
    Uring::join(mesh).expect("joins")
}

#[test]
fn a_synced_write_takes_two_enters() {
    if let Err(error) = probe() {
        println!("not tested: {error}");
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("enters-{}", std::process::id()));
    let (clock, file) = (Clock::start(), Arc::new(File::create(&path).expect("a file can be made")));
    let (mut node, mut done) = (alone(clock), Vec::new());
    node.recv(clock.now(), &mut Vec::new()).expect("receives");
    let before = node.counters();
    for id in 0..ROUNDS {
        let mut gather = Gather::default();
        gather.append(&[7; 100]);
        let bytes = FileBytes::Gathered(gather);
        node.write_file(FileWrite { id, file: file.clone(), offset: 0, bytes, sync: true }).expect("begins");
        while done.is_empty() {
            node.recv(clock.now() + SECOND, &mut Vec::new()).expect("receives");
            node.written(&mut done);
        }
        done.pop().expect("one").result.expect("it is written");
    }
    let spent = node.counters().since(before);
    assert_eq!((spent.file_writes, spent.file_syncs, spent.file_bytes), (ROUNDS, ROUNDS, 100 * ROUNDS));
    let enters = spent.syscalls;
    assert!(enters <= 2 * ROUNDS + ROUNDS / 10, "one that writes, one that syncs: {enters} in {ROUNDS}");
    fs::remove_file(path).expect("it is there");
}

#[test]
fn one_enter_sends_and_waits() {
    if let Err(error) = probe() {
        println!("not tested: {error}");
        return;
    }
    let (clock, listener) = (Clock::start(), TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("it is bound");
    let mesh = move |id, listener, dial| {
        let (role, options) = (Role::Replica, Options::default());
        Mesh { run: 1, id: NodeId(id), role, listener, dial, credentials: None, clock, options }
    };
    let other = thread::spawn(move || {
        let one = mesh(1, None, vec![(NodeId(0), address)]);
        echo(Uring::join(one).expect("joins"), clock);
    });
    let mut zero = Uring::join(mesh(0, Some(listener), Vec::new())).expect("joins");
    let mut inbox = Vec::new();
    while inbox.is_empty() {
        assert!(clock.now().0 < 30 * SECOND, "they do not meet");
        send(&mut zero, 0, 0);
        zero.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
    }
    // Whatever was on its way has come.
    let quiet = clock.now() + SECOND / 20;
    while clock.now() < quiet {
        zero.recv(quiet, &mut inbox).expect("receives");
    }
    let before = zero.counters();
    for number in 1..=ROUNDS {
        inbox.clear();
        send(&mut zero, 0, number);
        zero.recv(clock.now() + SECOND, &mut inbox).expect("receives");
        assert_eq!(inbox.iter().map(|frame| frame.head.words[0]).collect::<Vec<_>>(), [number]);
    }
    let spent = zero.counters().since(before);
    assert!(spent.syscalls <= ROUNDS + ROUNDS / 100, "one a round trip: {} in {ROUNDS}", spent.syscalls);
    drop(zero);
    other.join().expect("the echo ends well");
}
