//! What only the ring's transport promises, on top of what every transport does.
#![cfg(target_os = "linux")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Prng, Recipients, Transmit};
use quorumbench_transports::hello::Hello;
use quorumbench_transports::uring::{Capabilities, Uring, probe};
use quorumbench_transports::{Clock, Counters, Mesh, Options, Role, Transport, Wait};
use zerocopy::IntoBytes;

const RUN: u64 = 42;
const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: u64 = 1_000_000_000;

/// A node, with what a test wants to know of it.
struct Node {
    id: u32,
    address: SocketAddr,
    clock: Clock,
    transport: Uring,
}

impl Node {
    fn listening(id: u32, options: &Options, capabilities: Capabilities) -> Self {
        Self::join(id, TcpListener::bind("127.0.0.1:0").expect("a port"), &[], options, capabilities)
    }

    fn join(id: u32, listener: TcpListener, dial: &[&Self], options: &Options, capabilities: Capabilities) -> Self {
        let (clock, address) = (Clock::start(), listener.local_addr().expect("an address"));
        let mut mesh = mesh(id, Some(listener), options);
        mesh.dial = dial.iter().map(|peer| (NodeId(peer.id), peer.address)).collect();
        let transport = Uring::join_with(mesh, capabilities).expect("a ring");
        Self { id, address, clock, transport }
    }

    fn send(&mut self, to: &Self, number: u64, body: impl Into<Payload>) {
        self.send_to(to.id, number, body.into());
    }

    fn send_to(&mut self, to: u32, number: u64, body: Payload) {
        let head = head(self.id, number, body.len());
        let mut transmits = vec![Transmit { to: Recipients::One(NodeId(to)), head, body }];
        self.transport.send(&mut transmits).expect("the machine works");
    }

    /// Looks, and does not wait.
    fn turn(&mut self, inbox: &mut Vec<Frame>) {
        self.transport.recv(Nanos::ZERO, inbox).expect("the machine works");
    }

    fn wait(&mut self, ns: u64, inbox: &mut Vec<Frame>) {
        self.transport.recv(self.clock.now() + ns, inbox).expect("the machine works");
    }

    fn counters(&self) -> Counters {
        self.transport.counters()
    }
}

fn mesh(id: u32, listener: Option<TcpListener>, options: &Options) -> Mesh {
    let (clock, options) = (Clock::start(), options.clone());
    Mesh { run: RUN, id: NodeId(id), role: Role::Replica, listener, dial: Vec::new(), clock, options }
}

fn hello(id: u32, run: u64) -> Head {
    Hello::head(&Mesh { run, ..mesh(id, None, &Options::default()) })
}

fn head(from: u32, number: u64, body_len: usize) -> Head {
    Head { kind: 1, from: NodeId(from), body_len: body_len as u32, words: [number; 6], ..Head::default() }
}

/// What this kernel does, and what an old one would.
fn kernels() -> Vec<Capabilities> {
    let new = probe().expect("io_uring");
    let old = Capabilities { incremental: false, ..new };
    if new == old { vec![old] } else { vec![new, old] }
}

/// Nodes 0 and 1, connected.
fn pair(options: &Options, capabilities: Capabilities) -> (Node, Node) {
    let mut zero = Node::listening(0, options, capabilities);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut one = Node::join(1, listener, &[&zero], options, capabilities);
    connect(&mut one, &mut zero);
    (zero, one)
}

/// Until frames go both ways.
fn connect(a: &mut Node, b: &mut Node) {
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    until("connected", || {
        a.send(b, 0, Payload::EMPTY);
        b.send(a, 0, Payload::EMPTY);
        a.turn(&mut at_a);
        b.turn(&mut at_b);
        !at_a.is_empty() && !at_b.is_empty()
    });
    settle(a, b, &mut Vec::new());
}

/// Until nothing more comes.
fn settle(a: &mut Node, b: &mut Node, inbox: &mut Vec<Frame>) {
    let mut quiet = 0;
    while quiet < 20 {
        let before = inbox.len();
        a.turn(inbox);
        b.turn(inbox);
        quiet = if inbox.len() == before { quiet + 1 } else { 0 };
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
    }
}

fn pattern(number: u64, len: usize) -> Bytes {
    (0..len).map(|at| (at as u64 + number) as u8).collect()
}

fn is_pattern(frame: &Frame) -> bool {
    let number = frame.head.words[0];
    frame.body.pieces().iter().flatten().enumerate().all(|(at, &byte)| byte == (at as u64 + number) as u8)
}

fn size(debug: usize, release: usize) -> usize {
    if cfg!(debug_assertions) { debug } else { release }
}

/// Streams `total` bytes from one thread to another, which says how far it has come.
fn stream(options: &Options, capabilities: Capabilities, total: usize, longest: u64) -> Counters {
    let mut zero = Node::listening(0, options, capabilities);
    let (address, sender_options) = (zero.address, options.clone());
    let sender = std::thread::spawn(move || {
        let mut mesh = mesh(1, None, &sender_options);
        mesh.dial = vec![(NodeId(0), address)];
        let transport = Uring::join_with(mesh, capabilities).expect("a ring");
        send_stream(Node { id: 1, address, clock: Clock::start(), transport }, total, longest)
    });
    let (mut inbox, mut expected, mut received) = (Vec::new(), 0, 0);
    while received < total {
        zero.wait(SECOND, &mut inbox);
        for frame in inbox.drain(..).filter(|frame| frame.head.words[0] != u64::MAX) {
            assert_eq!(frame.head.words[0], expected, "in order and complete");
            assert!(is_pattern(&frame), "intact");
            expected += 1;
            received += Head::BYTES + frame.body.len();
        }
        zero.send_to(1, received as u64, Payload::EMPTY);
    }
    let counters = zero.counters();
    drop(zero);
    assert_eq!(sender.join().expect("the sender is fine"), expected);
    assert_eq!((counters.malformed, counters.lost_connections), (0, 0));
    counters
}

fn send_stream(mut node: Node, total: usize, longest: u64) -> u64 {
    const AHEAD: usize = 8 << 20;
    let mut inbox = Vec::new();
    until("the receiver's word", || {
        node.send_to(0, u64::MAX, Payload::EMPTY);
        node.wait(1_000_000, &mut inbox);
        !inbox.is_empty()
    });
    let (mut prng, mut number, mut sent, mut come) = (Prng::new(5), 0, 0, 0);
    let source = pattern(0, longest as usize + 256);
    while come < total && node.counters().lost_connections == 0 {
        while sent < total && sent - come < AHEAD {
            let (at, len) = (number as usize % 256, prng.below(longest) as usize);
            node.send_to(0, number, source.slice(at..at + len).into());
            (number, sent) = (number + 1, sent + len + Head::BYTES);
        }
        node.wait(SECOND, &mut inbox);
        come = inbox.drain(..).last().map_or(come, |frame| frame.head.words[0] as usize);
    }
    number
}

#[test]
fn a_long_stream_arrives_intact_and_in_order() {
    for capabilities in kernels() {
        let counters = stream(&Options::default(), capabilities, size(30 << 20, 1 << 30), 20_000);
        assert!(capabilities.incremental == (counters.copied_bytes == 0), "{counters:?}");
    }
}

#[test]
fn a_stream_through_chunks_shorter_than_its_frames() {
    for capabilities in kernels() {
        for chunk_bytes in [4096, 1000] {
            let options = Options { chunk_bytes, chunks: 64, ..Options::default() };
            stream(&options, capabilities, size(3 << 20, 100 << 20), 9000);
        }
    }
}

#[test]
fn a_stream_by_spinning_and_by_zero_copy() {
    let options = Options { wait: Wait::Spin, zero_copy_threshold: Some(16 << 10), ..Options::default() };
    stream(&options, kernels()[0], size(5 << 20, 200 << 20), 30_000);
}

#[test]
fn payloads_are_sliced_where_the_kernel_put_them() {
    let (mut zero, mut one) = pair(&Options::default(), kernels()[0]);
    for number in 0..10 {
        one.send(&zero, number, pattern(number, 2000));
    }
    let mut inbox = Vec::new();
    settle(&mut one, &mut zero, &mut inbox);
    let addresses: Vec<usize> = inbox.iter().map(|frame| frame.body.pieces()[0].as_ptr() as usize).collect();
    assert_eq!(addresses.len(), 10);
    assert!(addresses.windows(2).all(|two| two[1] - two[0] == 2000 + Head::BYTES), "one chunk, side by side");
    assert_eq!(one.counters().copied_bytes, 0, "gathered, not copied");
}

#[test]
fn one_enter_sends_and_waits() {
    const ROUNDS: u64 = 1000;
    let mut zero = Node::listening(0, &Options::default(), kernels()[0]);
    let address = zero.address;
    let echo = std::thread::spawn(move || {
        let mut mesh = mesh(1, None, &Options::default());
        mesh.dial = vec![(NodeId(0), address)];
        let transport = Uring::join(mesh).expect("a ring");
        let mut one = Node { id: 1, address, clock: Clock::start(), transport };
        let mut inbox = Vec::new();
        while one.counters().lost_connections == 0 {
            one.wait(SECOND, &mut inbox);
            inbox.drain(..).for_each(|frame| one.send_to(0, frame.head.words[0], Payload::EMPTY));
        }
    });
    let mut inbox = Vec::new();
    until("the first answer", || {
        zero.send_to(1, 0, Payload::EMPTY);
        zero.wait(1_000_000, &mut inbox);
        !inbox.is_empty()
    });
    std::thread::sleep(Duration::from_millis(20));
    zero.turn(&mut inbox);
    let before = zero.counters().syscalls;
    for number in 1..=ROUNDS {
        inbox.clear();
        zero.send_to(1, number, Payload::EMPTY);
        zero.wait(SECOND, &mut inbox);
        assert_eq!(inbox.iter().map(|frame| frame.head.words[0]).collect::<Vec<_>>(), [number]);
    }
    let spent = zero.counters().syscalls - before;
    assert!(spent <= ROUNDS + ROUNDS / 100, "one a round trip: {spent} in {ROUNDS}");
    drop(zero);
    echo.join().expect("the echo is fine");
}

#[test]
fn a_receiver_that_does_not_read_costs_its_own_frames_and_no_memory() {
    let options = Options { link_bytes: 1 << 20, chunks: 8, ..Options::default() };
    let (mut zero, mut one) = pair(&options, kernels()[0]);
    let (body, before) = (pattern(0, 10_000), one.counters());
    let mut number = 0;
    while one.counters().since(before).dropped_frames < 2000 {
        number += 1;
        assert!(number < 50_000, "it fills up");
        one.send(&zero, number, body.clone());
        one.turn(&mut Vec::new());
    }
    // Everything that was not dropped comes, in order, as soon as it is read.
    let wanted = number - one.counters().since(before).dropped_frames;
    let (mut last, mut come, mut inbox) = (0, 0, Vec::new());
    until("the rest", || {
        one.turn(&mut Vec::new());
        zero.turn(&mut inbox);
        for frame in inbox.drain(..) {
            assert!(frame.head.words[0] > last);
            (last, come) = (frame.head.words[0], come + 1);
        }
        come == wanted
    });
}

#[test]
fn a_node_leaves_in_the_middle_of_a_write() {
    for zero_copy_threshold in [None, Some(0)] {
        let options = Options { zero_copy_threshold, ..Options::default() };
        let (mut zero, mut one) = pair(&options, kernels()[0]);
        let body = pattern(0, 100_000);
        for number in 0..300 {
            one.send(&zero, number, body.clone());
            one.turn(&mut Vec::new());
        }
        let start = Instant::now();
        drop(one);
        assert!(start.elapsed() < Duration::from_secs(1), "it does not wait for the other side");
        let mut inbox = Vec::new();
        until_counted("the end", &mut zero, &mut inbox, |counters| counters.lost_connections == 1);
        let numbers: Vec<u64> = inbox.iter().map(|frame| frame.head.words[0]).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "whole frames, in order: {numbers:?}");
        assert!(inbox.iter().all(|frame| frame.body == body.clone().into()), "intact");
    }
}

#[test]
fn an_empty_pool_stops_reading_until_a_chunk_comes_home() {
    for capabilities in kernels() {
        let options = Options { chunks: 3, chunk_bytes: 4096, ..Options::default() };
        let (mut zero, mut one) = pair(&options, capabilities);
        for number in 0..100 {
            one.send(&zero, number, pattern(number, 2000));
        }
        let (mut held, mut number) = (Vec::new(), 0);
        settle(&mut one, &mut zero, &mut held);
        assert!(held.len() < 30, "held frames pin what there is: {}", held.len());
        let (syscalls, start) = (zero.counters().syscalls, Instant::now());
        while start.elapsed() < Duration::from_millis(20) {
            zero.wait(5_000_000, &mut held);
        }
        assert!(zero.counters().syscalls - syscalls < 100, "it does not spin");
        until("all of it", || {
            for frame in held.drain(..) {
                assert_eq!(frame.head.words[0], number);
                assert!(is_pattern(&frame));
                number += 1;
            }
            one.turn(&mut Vec::new());
            zero.turn(&mut held);
            number == 100
        });
    }
}

#[test]
fn a_peer_that_comes_back_is_reached_again() {
    let (options, capabilities) = (Options::default(), kernels()[0]);
    let (mut zero, mut one) = pair(&options, capabilities);
    for round in 1..=3 {
        let address = zero.address;
        drop(zero);
        until("the loss is seen", || {
            one.turn(&mut Vec::new());
            one.counters().lost_connections == round
        });
        let dropped = one.counters().dropped_frames;
        one.send_to(0, 0, Payload::EMPTY);
        assert_eq!(one.counters().dropped_frames, dropped + 1, "nobody is there");
        let listener = TcpListener::bind(address).expect("the port is free again");
        zero = Node::join(0, listener, &[], &options, capabilities);
        connect(&mut one, &mut zero);
    }
}

/// Turns until `wanted` says that it has what it wants of `node`'s counters.
fn until_counted(what: &str, node: &mut Node, inbox: &mut Vec<Frame>, wanted: impl Fn(Counters) -> bool) {
    until(what, || {
        node.turn(inbox);
        wanted(node.counters())
    });
}

#[test]
fn strangers_are_turned_away() {
    let (mut zero, mut one) = pair(&Options::default(), kernels()[0]);
    let noise: Vec<u8> = (0..1000_u32).map(|byte| (byte * 7) as u8).collect();
    let (other_run, own_name, no_hello) = (hello(5, 1), hello(0, RUN), head(1, 1, 0));
    let all = [&noise[..], other_run.as_bytes(), own_name.as_bytes(), no_hello.as_bytes(), b"x", b""];
    for (strangers, bytes) in (1..).zip(all) {
        let mut stream = TcpStream::connect(zero.address).expect("it listens");
        stream.write_all(bytes).expect("it takes bytes");
        stream.shutdown(Shutdown::Write).expect("half closed");
        until_counted("turned away", &mut zero, &mut Vec::new(), |counters| counters.strangers == strangers);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let end = stream.read_to_end(&mut Vec::new());
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    }
    let counters = zero.counters();
    assert_eq!((counters.malformed, counters.lost_connections), (0, 0));
    connect(&mut one, &mut zero);
}

#[test]
fn frames_that_a_peer_may_not_send_end_its_connection() {
    let (mut zero, mut one) = pair(&Options::default(), kernels()[0]);
    let anothers_name = head(9, 2, 0);
    let too_long = Head { body_len: u32::MAX, ..head(7, 2, 0) };
    for (malformed, bad) in (1..).zip([anothers_name, hello(7, RUN), too_long]) {
        let mut stream = TcpStream::connect(zero.address).expect("it listens");
        for head in [hello(7, RUN), head(7, 1, 0), bad, head(7, 3, 0)] {
            stream.write_all(head.as_bytes()).expect("it takes bytes");
        }
        let mut inbox = Vec::new();
        until_counted("ended", &mut zero, &mut inbox, |counters| counters.malformed == malformed);
        assert_eq!(inbox.len(), 1, "what came before is good, what comes after is not looked at");
        assert_eq!(zero.counters().lost_connections, malformed);
    }
    connect(&mut one, &mut zero);
}

#[test]
fn silent_strangers_are_not_kept() {
    let (mut zero, mut one) = pair(&Options::default(), kernels()[0]);
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(zero.address).expect("it listens")).collect();
    until_counted("the oldest made room", &mut zero, &mut Vec::new(), |counters| counters.strangers == 100 - 64);
    connect(&mut one, &mut zero);
    until_counted("the others ran out of time", &mut zero, &mut Vec::new(), |counters| counters.strangers == 100);
    drop(silent);
}

#[test]
fn a_dialled_node_must_be_who_was_dialled() {
    let (options, capabilities) = (Options::default(), kernels()[0]);
    let mut two = Node::listening(2, &options, capabilities);
    let mut seven = Node::listening(7, &options, capabilities);
    seven.transport = {
        let mut mesh = mesh(7, None, &options);
        mesh.dial = vec![(NodeId(3), two.address)];
        Uring::join_with(mesh, capabilities).expect("a ring")
    };
    until("turned away", || {
        two.turn(&mut Vec::new());
        seven.turn(&mut Vec::new());
        seven.counters().strangers > 2
    });
    assert_eq!(seven.counters().lost_connections, 0);
}

#[test]
fn a_newer_connection_replaces_the_older() {
    let (mut zero, _one) = pair(&Options::default(), kernels()[0]);
    let mut newer = TcpStream::connect(zero.address).expect("it listens");
    newer.write_all(hello(1, RUN).as_bytes()).expect("it takes bytes");
    until_counted("replaced", &mut zero, &mut Vec::new(), |counters| counters.lost_connections == 1);
    zero.send_to(1, 3, Payload::EMPTY);
    zero.turn(&mut Vec::new());
    let mut bytes = [0; 2 * Head::BYTES];
    newer.read_exact(&mut bytes).expect("a hello and a frame");
    assert_eq!(bytes[Head::BYTES..], *head(0, 3, 0).as_bytes());
}

#[test]
fn an_unknown_congestion_control_is_named() {
    let options = Options { congestion: "carrier-pigeon".into(), ..Options::default() };
    let error = Uring::join(mesh(0, None, &options)).expect_err("there is none");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`carrier-pigeon`"), "{error}");
}
