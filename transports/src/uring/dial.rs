//! Whom this node dials, when it tries again, and how its sockets are set up.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use quorumbench_protocols::{Nanos, NodeId};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// One node to be reached, again and again until it answers.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) id: NodeId,
    address: SocketAddr,
    /// How long the next failure is waited out.
    back_off_ns: u64,
    /// When to try, unless a connection is there or being made.
    pub(super) due: Nanos,
}

const FIRST_BACK_OFF_NS: u64 = 1_000_000;
const LAST_BACK_OFF_NS: u64 = 100_000_000;

impl Dial {
    pub(super) fn new((id, address): (NodeId, SocketAddr)) -> Self {
        Self { id, address, back_off_ns: FIRST_BACK_OFF_NS, due: Nanos::ZERO }
    }

    /// A socket on its way to be connected.
    pub(super) fn start(&mut self, congestion: &str) -> io::Result<OwnedFd> {
        self.due = Nanos::NEVER;
        let family = if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        tune(&socket, congestion)?;
        match rustix::net::connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        // A ring gives up at once on a socket that says it must not wait, and does not wait itself.
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(socket)
    }

    /// It failed or was lost: when to try again.
    pub(super) fn failed(&mut self, now: Nanos) -> Nanos {
        self.due = now + self.back_off_ns;
        self.back_off_ns = (2 * self.back_off_ns).min(LAST_BACK_OFF_NS);
        self.due
    }

    /// The peer has answered.
    pub(super) fn succeeded(&mut self) {
        self.back_off_ns = FIRST_BACK_OFF_NS;
    }
}

/// System calls of [`Dial::start`].
pub(super) const DIAL_SYSCALLS: u64 = 3 + TUNE_SYSCALLS;
/// System calls of [`tune`].
pub(super) const TUNE_SYSCALLS: u64 = 2;

/// Sets a connection's options.
pub(super) fn tune(socket: impl AsFd, congestion: &str) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_congestion(&socket, congestion).map_err(|error| match error {
        Errno::NOENT | Errno::INVAL => {
            let available = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
            let available = available.unwrap_or_default();
            let what = format!("there is no congestion control `{congestion}`; available: {}", available.trim());
            io::Error::new(io::ErrorKind::InvalidInput, what)
        }
        error => error.into(),
    })
}

/// Finds out before a run whether sockets can be set up as asked.
pub(super) fn check(congestion: &str) -> io::Result<()> {
    tune(rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?, congestion)
}
