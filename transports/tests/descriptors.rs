//! A node that is dropped has closed all that it opened. In a file, and so a process, of its own: a
//! process has one table of descriptors, and other tests would open some meanwhile.

use std::fs::read_dir;
use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use quorumbench_protocols::{Head, Nanos, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::tokio_tcp::TokioTcp;
use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};

#[test]
fn a_dropped_node_leaves_no_descriptor_open() {
    // One after the other, and the first round is for what a process opens once.
    come_and_go(TokioTcp::join);
    let before = descriptors();
    for _ in 0..20 {
        come_and_go(TokioTcp::join);
    }
    assert_eq!(descriptors(), before);
}

/// Two nodes meet, talk and leave, while a third connects to them in vain.
fn come_and_go<T: Transport>(join: impl Fn(Mesh) -> io::Result<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (clock, options) = (Clock::start(), Options::default());
    let mesh = |id, listener, dial| {
        let (role, options) = (Role::Replica, options.clone());
        Mesh { run: 1, id: NodeId(id), role, listener, dial, clock, options }
    };
    let mut zero = join(mesh(0, Some(listener), Vec::new())).expect("joins");
    let nobody = (NodeId(1), ([127, 0, 0, 1], 1).into());
    let mut two = join(mesh(2, None, vec![(NodeId(0), address), nobody])).expect("joins");
    let _silent = std::net::TcpStream::connect(address).expect("somebody listens");
    let head = Head { kind: 1, from: NodeId(2), ..Head::default() };
    let (mut inbox, start) = (Vec::new(), Instant::now());
    while inbox.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "they do not meet");
        let mut out = vec![Transmit { to: Recipients::One(NodeId(0)), head, body: Payload::EMPTY }];
        two.send(&mut out).expect("sends");
        zero.recv(Nanos::ZERO, &mut inbox).expect("receives");
        two.recv(Nanos::ZERO, &mut Vec::new()).expect("receives");
    }
}

fn descriptors() -> usize {
    read_dir("/proc/self/fd").expect("this is Linux").count()
}
