//! Whatever comes to a node's QUIC port, above all what was once good: datagrams of a real connection that
//! are lost, repeated, altered or replaced on their way to it.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Recipients, Transmit};
use quorumbench_transports::quic::{Authority, Quic, QuicOptions};
use quorumbench_transports::{Clock, MOST_LOOKS, Mesh, Options, Role, Transport};

use crate::relay::{Fate, Relay, Way};

/// What a run may hold on to: the chunk that is received into, and the one before it.
const MOST_CHUNKS: usize = 2;
const MOST_STEPS: usize = 64;
/// By when a connection is drained, however slow the machine.
const DRAINED_NS: Nanos = Nanos(20_000_000_000);

/// A node, and another that dials it and sends it frames over a path that does as `data` says, four bytes a
/// step. Says how many frames arrived.
///
/// # Panics
/// If the node does, or if something arrives that was not sent, or twice, or if it holds on to what came.
pub fn receive(data: &[u8]) -> u64 {
    let (mut node, mut peer, mut relay) = meet();
    let mut arrived = Vec::new();
    let (mut inbox, mut out) = (Vec::new(), Vec::new());
    for (number, step) in (0..).zip(data.chunks_exact(4).take(MOST_STEPS)) {
        let (what, at, value) = (step[0], usize::from(u16::from_le_bytes([step[1], step[2]])), step[3]);
        out.push(frame(number));
        peer.send(&mut out).expect("it takes all");
        (0..MOST_LOOKS).for_each(|_| peer.recv(Nanos::ZERO, &mut Vec::new()).expect("the machine lets it"));
        relay.pump(|way, datagram| if way == Way::There { fate(datagram, what, at, value, data) } else { Fate::Pass });
        node.recv(Nanos::ZERO, &mut inbox).expect("whatever comes");
        arrived.append(&mut inbox);
    }
    assert!(arrived.windows(2).all(|pair| pair[0].head.words[0] < pair[1].head.words[0]), "in order, and once");
    assert!(arrived.iter().all(is_sent), "as it was sent");
    let count = arrived.len() as u64;
    assert_eq!(node.counters().received_frames, count);
    assert_eq!(node.counters().malformed, 0, "nobody but the peer is heard");
    arrived.clear();
    drop(peer);
    // What is still under way, the end among it. What came before something that is missing is let go of when the
    // connection is drained, some round trips later (RFC 9000, section 10.2), or idle for too long.
    let (clock, mut looks) = (Clock::start(), 0);
    while looks < 4 || node.chunks_out() > MOST_CHUNKS {
        relay.pump(|_, _| Fate::Pass);
        node.recv(Nanos::ZERO, &mut Vec::new()).expect("whatever comes");
        looks += 1;
        assert!(clock.now() < DRAINED_NS, "{} chunks are held", node.chunks_out());
    }
    count
}

/// What becomes of a datagram.
fn fate(datagram: &[u8], what: u8, at: usize, value: u8, data: &[u8]) -> Fate {
    let at = at % datagram.len().max(1);
    let mut changed = datagram.to_vec();
    match what % 12 {
        0 => return Fate::Drop,
        1 => return Fate::Hold(u64::from(value % 8)),
        2 => changed[at] ^= value.max(1),
        3 => changed.truncate(at),
        4 => changed.resize(datagram.len() + usize::from(value) * 8, value),
        // The head of a packet: its form, its version, its connection's number.
        5 => changed[at % datagram.len().min(32)] = value,
        6 => return Fate::Replaced(vec![changed; usize::from(value % 4) + 1]),
        7 => return Fate::Replaced(vec![data.to_vec(), changed]),
        8 => return Fate::Replaced(vec![datagram[..at].to_vec(), datagram[at..].to_vec()]),
        _ => return Fate::Pass,
    }
    // The good one comes as well, before or behind it.
    match value % 3 {
        0 => Fate::Replaced(vec![changed]),
        1 => Fate::Replaced(vec![changed, datagram.to_vec()]),
        _ => Fate::Replaced(vec![datagram.to_vec(), changed]),
    }
}

/// Node 0, node 1 and the path between them.
fn meet() -> (Quic, Quic, Relay) {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    let authority = AUTHORITY.get_or_init(|| Authority::new(1).expect("there is randomness"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let relay = Relay::new(listener.local_addr().expect("it is bound"));
    let join = |id, listener, dial| {
        let credentials = Some(authority.admit(NodeId(id)).expect("there is randomness"));
        let quic = QuicOptions { idle_timeout: Duration::from_secs(2), ..QuicOptions::default() };
        let options = Options { max_body: 1 << 16, chunks: 8, quic, ..Options::default() };
        let (role, clock) = (Role::Replica, Clock::start());
        Quic::join(Mesh { run: 1, id: NodeId(id), role, listener, dial, credentials, clock, options }).expect("joins")
    };
    (join(0, Some(listener), Vec::new()), join(1, None, vec![(NodeId(0), relay.at())]), relay)
}

fn frame(number: u64) -> Transmit {
    let body = body(number);
    let head = Head { kind: 1, from: NodeId(1), body_len: body.len() as u32, ..Head::default() };
    let head = Head { words: [number; 6], ..head };
    Transmit { to: Recipients::One(NodeId(0)), head, body: body.into() }
}

fn body(number: u64) -> Bytes {
    vec![number as u8; (number * 131 % 3000) as usize].into()
}

fn is_sent(come: &Frame) -> bool {
    let pieces = if come.body.is_empty() { &[] } else { come.body.pieces() };
    pieces.concat() == body(come.head.words[0])
}
