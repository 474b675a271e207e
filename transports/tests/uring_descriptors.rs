//! A node that leaves takes everything with it. Alone in its process, because it counts descriptors.
#![cfg(target_os = "linux")]

use std::net::{TcpListener, TcpStream};

use quorumbench_protocols::{Frame, Head, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::uring::Uring;
use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

fn say(node: &mut Uring, from: u32, to: u32) {
    let head = Head { kind: 1, from: NodeId(from), ..Head::default() };
    let mut transmits = vec![Transmit { to: Recipients::One(NodeId(to)), head, body: Payload::EMPTY }];
    node.send(&mut transmits).expect("the machine works");
}

/// Two nodes that know each other, one that dials nobody's port, and strangers at the door.
fn live_and_leave() {
    let clock = Clock::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mesh = |id, listener, dial| Mesh {
        run: 1,
        id: NodeId(id),
        role: Role::Replica,
        listener,
        dial,
        clock,
        options: Options::default(),
    };
    let mut zero = Uring::join(mesh(0, Some(listener), Vec::new())).expect("a ring");
    let nobody = "127.0.0.1:1".parse().expect("an address");
    let mut one = Uring::join(mesh(1, None, vec![(NodeId(0), address), (NodeId(9), nobody)])).expect("a ring");
    let _strangers: Vec<_> = (0..5).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let (mut inbox, mut late): (Vec<Frame>, Vec<Frame>) = (Vec::new(), Vec::new());
    while inbox.is_empty() {
        say(&mut one, 1, 0);
        one.recv(clock.now() + 100_000, &mut late).expect("the machine works");
        zero.recv(clock.now() + 100_000, &mut inbox).expect("the machine works");
    }
    drop(one);
    while zero.counters().lost_connections == 0 {
        zero.recv(clock.now() + 100_000, &mut inbox).expect("the machine works");
    }
}

#[test]
fn nothing_stays_open() {
    live_and_leave();
    let before = open_descriptors();
    for _ in 0..20 {
        live_and_leave();
    }
    assert_eq!(open_descriptors(), before);
}
