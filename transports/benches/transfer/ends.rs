//! Two connected ends of every transport, each made on the thread that uses it.

use std::net::TcpListener;

use quorumbench_protocols::NodeId;
use quorumbench_transports::quic::{Authority, Quic};
use quorumbench_transports::tokio_tcp::TokioTcp;
use quorumbench_transports::uring::{Capabilities, Uring};
use quorumbench_transports::{Clock, Mesh, Options, Role, mem};

/// Two ends, each to be made on its own thread.
pub(crate) struct Ends<T> {
    pub(crate) sender: Box<dyn FnOnce() -> T + Send>,
    /// Receives, or echoes.
    pub(crate) receiver: Box<dyn FnOnce() -> T + Send>,
    /// How many frames may be under way before some are dropped.
    pub(crate) most_frames: usize,
}

pub(crate) fn mem_ends(options: &Options) -> Ends<mem::Mem> {
    let mut nodes = mem::mesh(2, Clock::start(), options);
    let (one, zero) = (nodes.pop().expect("two"), nodes.pop().expect("two"));
    Ends { sender: Box::new(|| zero), receiver: Box::new(|| one), most_frames: 4096 }
}

pub(crate) fn uring_ends(options: &Options) -> Ends<Uring> {
    socket_ends(options, |mesh| Uring::join(mesh).expect("a ring"))
}

/// As on a kernel where a receive takes its whole buffer.
pub(crate) fn uring_6_1_ends(options: &Options) -> Ends<Uring> {
    let join = |mesh| Uring::join_with(mesh, Capabilities { incremental: false, zero_copy: true }).expect("a ring");
    socket_ends(options, join)
}

pub(crate) fn tokio_tcp_ends(options: &Options) -> Ends<TokioTcp> {
    socket_ends(options, |mesh| TokioTcp::join(mesh).expect("it joins"))
}

pub(crate) fn quic_ends(options: &Options) -> Ends<Quic> {
    socket_ends(options, |mesh| Quic::join(mesh).expect("it joins"))
}

/// Ends over a real socket, by how a node joins.
fn socket_ends<T: 'static>(options: &Options, join: fn(Mesh) -> T) -> Ends<T> {
    let (clock, listener) = (Clock::start(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let dial = vec![(NodeId(0), listener.local_addr().expect("an address"))];
    let authority = Authority::new(1).expect("there is randomness");
    let mesh = |id, listener, dial| Mesh {
        run: 1,
        id: NodeId(id),
        role: Role::Replica,
        listener,
        dial,
        credentials: Some(authority.admit(NodeId(id)).expect("there is randomness")),
        clock,
        // Two of the largest batches of the largest frames.
        options: Options { link_bytes: 128 << 20, ..options.clone() },
    };
    let (zero, one) = (mesh(0, Some(listener), Vec::new()), mesh(1, None, dial));
    Ends { sender: Box::new(move || join(zero)), receiver: Box::new(move || join(one)), most_frames: usize::MAX }
}
