//! A node's place in a point: its address, and how it gets a transport.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use quorumbench_protocols::{Config, Head, NodeId};
use quorumbench_transports::mem::{self, Mem};
use quorumbench_transports::quic::{self, Authority, Credentials, Quic, QuicOptions};
use quorumbench_transports::tokio_tcp::TokioTcp;
use quorumbench_transports::uring::Uring;
use quorumbench_transports::{Clock, Mesh, Options, Role, Transport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, getsockname, ipproto, socket_with, sockopt};

use super::packets::Network;
use crate::load::CommandStream;
use crate::machine::Kv;
use crate::spec::{
    Arrival, Batch, Cipher, Emulation, MachineName, Mover, Point, QuicCongestion, QuicStreams, TransportName, Wait,
};

/// What a node needs to join, made before its thread is: so that every address is known and every
/// port is bound before the first node dials.
#[derive(Debug)]
pub(super) enum Seat {
    /// A place among the rings.
    Mem(Box<Mem>),
    /// A place among the sockets.
    Socket(TransportName, Box<Mesh>),
}

/// Where a socket node sat, to sit there again.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) transport: TransportName,
    pub(super) run: u64,
    pub(super) id: NodeId,
    pub(super) replicas: Vec<SocketAddr>,
    /// What the others ask for, where they do.
    pub(super) credentials: Option<Credentials>,
    pub(super) clock: Clock,
    pub(super) options: Options,
}

impl Seat {
    /// Takes the seat, on the thread that will use it.
    pub(super) fn join(self) -> io::Result<Box<dyn Transport>> {
        Ok(match self {
            Self::Mem(mem) => mem as Box<dyn Transport>,
            Self::Socket(TransportName::TokioTcp, mesh) => Box::new(TokioTcp::join(*mesh)?),
            Self::Socket(TransportName::Quic, mesh) => Box::new(Quic::join(*mesh)?),
            Self::Socket(_, mesh) => Box::new(Uring::join(*mesh)?),
        })
    }
}

impl Place {
    /// A seat at this place. `listener` is there for a replica and absent for a client.
    pub(super) fn seat(&self, listener: Option<TcpListener>) -> Seat {
        let role = if listener.is_some() { Role::Replica } else { Role::Client };
        let below = self.replicas.iter().take(self.id.0 as usize);
        let mesh = Mesh {
            run: self.run,
            id: self.id,
            role,
            listener,
            dial: below.enumerate().map(|(id, &address)| (NodeId(id as u32), address)).collect(),
            credentials: self.credentials.clone(),
            clock: self.clock,
            options: self.options.clone(),
        };
        Seat::Socket(self.transport, Box::new(mesh))
    }

    /// Binds a replica's port again, after its first listener is gone.
    pub(super) fn rebind(&self) -> io::Result<TcpListener> {
        bind_again(self.replicas[self.id.0 as usize])
    }
}

/// Seats for `nodes` nodes of a `mem` point.
fn mem_seats(nodes: usize, clock: Clock, options: &Options) -> Vec<Seat> {
    mem::mesh(nodes, clock, options).into_iter().map(|mem| Seat::Mem(Box::new(mem))).collect()
}

/// A replica's port, which nobody else is given for as long as this is there: neither while the replica is gone, nor for
/// the near end of a connection, for which the kernel takes any port that is not spoken for.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) address: SocketAddr,
    _socket: OwnedFd,
}

/// Holds the ports of all replicas.
pub(super) fn hold(point: &Point, network: &Network) -> io::Result<Vec<Held>> {
    let hold = |wanted: SocketAddr| {
        let family = if wanted.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
        // It is bound and never listened on: so another socket may do both, if it also says that it shares.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &wanted).map_err(|error| explained(wanted, &error.into()))?;
        let address = getsockname(&socket)?.try_into()?;
        Ok(Held { address, _socket: socket })
    };
    let ids = (0..point.cluster.replicas).map(|id| NodeId(id as u32));
    ids.map(|id| network.at(id, || hold(network.address(point, id)))?).collect()
}

/// A seat, and its place if it is one among sockets.
pub(super) type Seated = (Seat, Option<Place>);

/// Everyone's seat, replicas first, and the ports that are held for them.
/// Every port is bound before anyone dials.
pub(super) fn seats(point: &Point, run: u64, clock: Clock, network: &Network) -> io::Result<(Vec<Held>, Vec<Seated>)> {
    let (options, nodes) = (options(point), point.nodes());
    if point.cluster.transport == TransportName::Mem {
        return Ok((Vec::new(), mem_seats(nodes, clock, &options).into_iter().map(|seat| (seat, None)).collect()));
    }
    let held = hold(point, network)?;
    let addresses: Vec<_> = held.iter().map(|held| held.address).collect();
    let bind = |(id, &address)| network.at(NodeId(id), || bind(address))?;
    let mut listeners = (0..).zip(&addresses).map(bind).collect::<io::Result<Vec<_>>>()?.into_iter();
    let seat = |(id, credentials): (usize, _)| {
        let place = Place {
            transport: point.cluster.transport,
            run,
            id: NodeId(id as u32),
            replicas: addresses.clone(),
            credentials,
            clock,
            options: options.clone(),
        };
        (place.seat(listeners.next()), Some(place))
    };
    Ok((held, credentials(point, run, nodes)?.into_iter().enumerate().map(seat).collect()))
}

/// Not from the seed: two runs of one config must not take each other's nodes for their own.
pub(super) fn fresh_run() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What each of `nodes` nodes of run `run` proves itself with, where that is asked for. Nobody else can
/// join: whom they trust is forgotten here.
pub(super) fn credentials(point: &Point, run: u64, nodes: usize) -> io::Result<Vec<Option<Credentials>>> {
    if point.cluster.transport != TransportName::Quic {
        return Ok(vec![None; nodes]);
    }
    let authority = Authority::new(run)?;
    (0..nodes).map(|id| authority.admit(NodeId(id as u32)).map(Some)).collect()
}

/// The transport's options, as the point has them.
pub(super) fn options(point: &Point) -> Options {
    let tuned = &point.transport_options;
    let defaults = Options::default();
    Options {
        wait: match point.cluster.wait {
            Wait::Block => quorumbench_transports::Wait::Block,
            Wait::Spin => quorumbench_transports::Wait::Spin,
            Wait::Yield => quorumbench_transports::Wait::Yield,
        },
        gather_threshold: tuned.gather_threshold,
        zero_copy_threshold: tuned.zero_copy_threshold,
        congestion: tuned.congestion.clone(),
        quic: QuicOptions {
            cipher: match tuned.cipher {
                Cipher::Aes128Gcm => quic::Cipher::Aes128Gcm,
                Cipher::ChaCha20 => quic::Cipher::ChaCha20,
            },
            mtu: tuned.mtu.min(longest_datagram(point)) as u16,
            window: tuned.window,
            congestion: match tuned.quic_congestion {
                QuicCongestion::Cubic => quic::Congestion::Cubic,
                QuicCongestion::NewReno => quic::Congestion::NewReno,
                QuicCongestion::Bbr => quic::Congestion::Bbr,
            },
            ack_every: tuned.ack_every as u32,
            streams: match tuned.streams {
                QuicStreams::Peer => quic::Streams::Peer,
                QuicStreams::Group => quic::Streams::Group,
            },
            datagrams: point.cluster.protocol.is_gossip(),
            gso: point.network.mover != Mover::Netem,
            idle_timeout: tuned.idle_timeout,
        },
        max_body: point.batch.bytes.max(longest_answer(point)).max(defaults.max_body),
        link_bytes: bytes_on_the_way(point).clamp(defaults.link_bytes, MOST_LINK_BYTES),
        link_frames: frames_on_the_way(point).max(spare_frames(point, defaults.link_frames)).min(MOST_LINK_FRAMES),
        ..defaults
    }
}

/// The most bytes of a datagram that goes over a link in one packet.
fn longest_datagram(point: &Point) -> usize {
    match point.network.emulation {
        Emulation::Packets => point.network.mtu - IP_AND_UDP,
        Emulation::None | Emulation::Shape => usize::MAX,
    }
}

/// Bytes of the headers before a datagram's own (RFC 791, RFC 768): links of packets are in IPv4.
const IP_AND_UDP: usize = 20 + 8;

/// Beyond that a link drops, whatever the config allows to be in flight.
const MOST_LINK_BYTES: usize = 1 << 30;
const MOST_LINK_FRAMES: usize = 1 << 18;

/// What all clients together may have in flight.
fn commands_in_flight(point: &Point) -> usize {
    match point.load.arrival {
        Arrival::Closed { outstanding } => outstanding,
        Arrival::Poisson { .. } | Arrival::Constant { .. } => point.load.in_flight_limit,
    }
}

/// The most bytes of a batch's answers: only reads have any.
fn longest_answer(point: &Point) -> usize {
    if point.cluster.machine == MachineName::Null {
        return 0;
    }
    let shortest = Batch::PREFIX_BYTES + CommandStream::KV_OVERHEAD;
    let commands = point.batch.commands.min(point.batch.bytes / shortest);
    commands * (Kv::RESULT_OVERHEAD + point.load.payload)
}

/// The most bytes that one node may have to send to another: a follower's arrears, or a client's
/// commands, or their answers. What a link drops comes a resend later, or, to a floor, never.
fn bytes_on_the_way(point: &Point) -> usize {
    let command = Batch::PREFIX_BYTES + CommandStream::KV_OVERHEAD + point.load.payload;
    let frame = Head::BYTES + Batch::HEADER_BYTES;
    let batch = point.batch.bytes.min(Batch::HEADER_BYTES + point.batch.commands * command);
    let slots = slots_on_the_way(point);
    (slots.saturating_mul(frame + batch)).max(commands_in_flight(point).saturating_mul(frame + command))
}

/// The most slots that one node may have to send to another, of all consensus groups.
fn slots_on_the_way(point: &Point) -> usize {
    Config::MOST_WINDOWS_BEHIND * point.batch.window * usize::from(point.cluster.groups)
}

/// Room for other frames. Each two nodes have a ring of 192 bytes a frame each way, so that dozens of
/// them get less.
fn spare_frames(point: &Point, most: usize) -> usize {
    let nodes = point.nodes();
    (most * 256 / (nodes * nodes)).min(most)
}

/// The same in frames. An open loop that has as much in flight as it may is overloaded anyway.
fn frames_on_the_way(point: &Point) -> usize {
    let slots = slots_on_the_way(point);
    if point.load.arrival.is_open() { slots } else { slots.max(commands_in_flight(point)) }
}

/// Binds the port of a replica that has died. Its listener may outlive it by a moment: what a ring held, the kernel
/// lets go of in its own time.
pub(super) fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let begin = Instant::now();
    loop {
        match bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < LET_GO => thread::sleep(RETRY),
            bound => return bound,
        }
    }
}

/// How long a port may stay taken.
const LET_GO: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(1);

/// Binds a port.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| explained(address, &error))
}

fn explained(address: SocketAddr, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what listens there, or set `cluster.base_port = 0` for free ports",
        io::ErrorKind::AddrNotAvailable => "; `cluster.bind` must be an address of this machine",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_waited_for_while_its_last_listener_goes() {
        let before = bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = before.local_addr().expect("an address");
        assert_eq!(bind(address).expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
        let goes = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(before);
        });
        assert_eq!(bind_again(address).and_then(|again| again.local_addr()).expect("it is free again"), address);
        goes.join().expect("it went");
    }
}
