//! A node that is dropped has closed all that it opened. In a file, and so a process, of its own, and in
//! one test: a process has one table of descriptors, and other tests would open some meanwhile.

use std::fs::read_dir;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use quorumbench_protocols::{Head, Nanos, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::quic::{Authority, Quic};
use quorumbench_transports::tokio_tcp::TokioTcp;
use quorumbench_transports::uring::{Uring, probe};
use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};

#[test]
fn a_dropped_node_leaves_no_descriptor_open() {
    leaves_none_open(TokioTcp::join);
    leaves_none_open(Quic::join);
    match probe() {
        Ok(_) => leaves_none_open(Uring::join),
        Err(error) => println!("not tested: {error}"),
    }
}

fn leaves_none_open<T: Transport>(join: fn(Mesh) -> io::Result<T>) {
    // One after the other, and the first round is for what a process opens once.
    come_and_go(join);
    let before = descriptors();
    for _ in 0..20 {
        come_and_go(join);
    }
    assert_eq!(descriptors(), before);
}

/// Two nodes meet and talk, while others connect to them in vain; one leaves, and when the other has
/// seen that, so does it.
fn come_and_go<T: Transport>(join: fn(Mesh) -> io::Result<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (clock, authority) = (Clock::start(), Authority::new(1).expect("there is randomness"));
    let mesh = |id, listener, dial| {
        let (role, options) = (Role::Replica, Options::default());
        let credentials = Some(authority.admit(NodeId(id)).expect("there is randomness"));
        Mesh { run: 1, id: NodeId(id), role, listener, dial, credentials, clock, options }
    };
    let mut zero = join(mesh(0, Some(listener), Vec::new())).expect("joins");
    let nobody = (NodeId(1), ([127, 0, 0, 1], 1).into());
    let mut two = join(mesh(2, None, vec![(NodeId(0), address), nobody])).expect("joins");
    let _silent: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(address).expect("somebody listens")).collect();
    let head = Head { kind: 1, from: NodeId(2), ..Head::default() };
    let (mut inbox, start) = (Vec::new(), Instant::now());
    let in_time = || assert!(start.elapsed() < Duration::from_secs(30), "it takes too long");
    while inbox.is_empty() {
        in_time();
        let mut out = vec![Transmit { to: Recipients::One(NodeId(0)), head, body: Payload::EMPTY }];
        two.send(&mut out).expect("sends");
        zero.recv(Nanos::ZERO, &mut inbox).expect("receives");
        two.recv(Nanos::ZERO, &mut Vec::new()).expect("receives");
    }
    drop(two);
    while zero.counters().lost_connections == 0 {
        in_time();
        zero.recv(clock.now() + 100_000, &mut inbox).expect("receives");
    }
}

fn descriptors() -> usize {
    read_dir("/proc/self/fd").expect("this is Linux").count()
}
