//! The node's UDP socket: batches of datagrams out, and batches in, into chunks.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use quinn_proto::EcnCodepoint;
use quinn_udp::{RecvMeta, UdpSocketState};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, socket_with, sockopt};

use super::options::MOST_MTU;
use crate::pool::Pool;
use crate::{Counters, Mesh, Options};

/// A socket, and what is received into.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Whether it may send several datagrams as one.
    gso: bool,
    /// Has the port of the same number in TCP, so that whoever is given a free one there is given both.
    _held: OwnedFd,
    pool: Pool,
    /// The chunk that is being filled: what of it is still to be received into, its front written once
    /// already. With room for less than [`MOST_BYTES`] if there is none.
    chunk: BytesMut,
    /// What is received into while every chunk is in somebody's hands.
    spare: Vec<u8>,
    /// What the kernel did not take yet.
    held: Option<(quinn_proto::Transmit, Vec<u8>)>,
}

/// Datagrams of one sender that came together, one behind the other.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) from: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    bytes: BytesMut,
    each: usize,
}

/// No more than this comes with one system call.
const MOST_BYTES: usize = 64 << 10;
/// A chunk takes several such.
const LEAST_CHUNK_BYTES: usize = 4 * MOST_BYTES;
/// What is asked of the kernel for datagrams that nobody has looked at; it gives what it may.
const SOCKET_BYTES: usize = 8 << 20;

/// The size of a receive chunk: that of `options`, if what the kernel hands over at once fits it.
pub(super) fn chunk_bytes(options: &Options) -> usize {
    options.chunk_bytes.max(LEAST_CHUNK_BYTES)
}

impl Port {
    /// The node's port, or any if nobody is to find it.
    ///
    /// # Errors
    /// The machine's: above all, that the port is taken.
    pub(super) fn open(mesh: &mut Mesh) -> io::Result<Self> {
        let held = match mesh.listener.take() {
            Some(listener) => listener.into(),
            None if mesh.dial.iter().any(|(_, address)| address.is_ipv6()) => hold(Ipv6Addr::UNSPECIFIED.into())?,
            None => hold(Ipv4Addr::UNSPECIFIED.into())?,
        };
        let address = SocketAddr::try_from(getsockname(&held)?)?;
        let socket = UdpSocket::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot receive datagrams at {address}: {error}")))?;
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES)?;
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_BYTES)?;
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            gso: mesh.options.quic.gso,
            socket,
            _held: held,
            pool: Pool::new(chunk_bytes(&mesh.options), mesh.options.chunks),
            chunk: BytesMut::new(),
            spare: Vec::new(),
            held: None,
        })
    }

    /// Whether a datagram is never sent in parts, so that the largest can be found out.
    pub(super) fn keeps_datagrams_whole(&self) -> bool {
        !self.state.may_fragment()
    }

    /// How many datagrams of `mtu` bytes the kernel takes at once.
    pub(super) fn most_datagrams(&self, mtu: u16) -> usize {
        (usize::from(MOST_MTU) / usize::from(mtu)).clamp(1, if self.gso { self.state.max_gso_segments() } else { 1 })
    }

    /// Hands `contents` to the kernel; what it does not take now goes out with
    /// [`flush`](Self::flush). A network that cannot carry it has lost it, as any network may.
    pub(super) fn send(&mut self, transmit: quinn_proto::Transmit, contents: &mut Vec<u8>, counters: &mut Counters) {
        debug_assert!(self.held.is_none(), "one after the other");
        if !self.try_send(&transmit, contents, counters) {
            self.held = Some((transmit, std::mem::take(contents)));
        }
    }

    /// Whether the kernel takes more, now that it was asked again.
    pub(super) fn flush(&mut self, counters: &mut Counters) -> bool {
        if let Some((transmit, contents)) = self.held.take()
            && !self.try_send(&transmit, &contents, counters)
        {
            self.held = Some((transmit, contents));
        }
        self.held.is_none()
    }

    /// Whether something waits for the kernel to take it.
    pub(super) fn is_full(&self) -> bool {
        self.held.is_some()
    }

    fn try_send(&self, transmit: &quinn_proto::Transmit, contents: &[u8], counters: &mut Counters) -> bool {
        counters.syscalls += 1;
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &contents[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let sent = self.state.try_send((&self.socket).into(), &transmit);
        !sent.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// The next datagrams, if some are there. While there is no chunk for them, they are copied, which
    /// is counted.
    ///
    /// # Errors
    /// The machine's.
    pub(super) fn receive(&mut self, counters: &mut Counters) -> io::Result<Option<Batch>> {
        let starved = self.is_starved();
        let room = if starved { &mut self.spare[..] } else { &mut self.chunk[..] };
        let Some(meta) = receive(&self.state, &self.socket, room, counters)? else { return Ok(None) };
        let bytes = if starved {
            counters.copied_bytes += meta.len as u64;
            BytesMut::from(&self.spare[..meta.len])
        } else {
            self.chunk.split_to(meta.len)
        };
        let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        Ok(Some(Batch { from: meta.addr, ecn, bytes, each: meta.stride.max(1) }))
    }

    /// Whether every chunk is in somebody's hands. Otherwise there is one to receive into.
    pub(super) fn is_starved(&mut self) -> bool {
        if self.chunk.capacity() < MOST_BYTES {
            if self.chunk.capacity() > 0 {
                self.pool.give(std::mem::take(&mut self.chunk));
            }
            let Some(chunk) = self.pool.take() else {
                self.spare.resize(MOST_BYTES, 0);
                return true;
            };
            self.chunk = chunk;
        }
        // Kernels write where something was written before, if `unsafe` is not to be: a twentieth of all that
        // frames of 1 KiB cost.
        self.chunk.resize(MOST_BYTES.max(self.chunk.len()), 0);
        false
    }

    /// How many chunks are not home.
    pub(super) fn chunks_out(&mut self) -> usize {
        if self.chunk.capacity() > 0 {
            self.pool.give(std::mem::take(&mut self.chunk));
        }
        self.pool.made() - self.pool.home()
    }
}

/// A TCP port that nobody else has, and nobody can connect to.
fn hold(address: IpAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    bind(&socket, &SocketAddr::new(address, 0))?;
    Ok(socket)
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Iterator for Batch {
    type Item = BytesMut;

    fn next(&mut self) -> Option<BytesMut> {
        (!self.bytes.is_empty()).then(|| self.bytes.split_to(self.each.min(self.bytes.len())))
    }
}

fn receive(
    state: &UdpSocketState,
    socket: &UdpSocket,
    room: &mut [u8],
    counters: &mut Counters,
) -> io::Result<Option<RecvMeta>> {
    let mut meta = [RecvMeta::default()];
    counters.syscalls += 1;
    match state.recv(socket.into(), &mut [IoSliceMut::new(room)], &mut meta) {
        Ok(_) => Ok(Some(meta[0])),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        // What was sent before did not arrive; who waits for it finds out.
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}
