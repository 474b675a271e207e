//! Bare sockets that say what a transport never would.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use quorumbench_protocols::{Head, NodeId};
use quorumbench_transports::{Clock, Options, Role, hello::Hello};
use rustix::net::getpeername;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use zerocopy::IntoBytes;

use crate::harness::{RUN, mesh};

/// A connection that no transport stands behind.
pub(crate) trait Raw: 'static {
    /// Connects to node `peer`, and says nothing. Where proof is asked for, it is that of node `id`.
    fn connect(to: SocketAddr, peer: u32, id: u32) -> Self;

    /// Writes; the other end may have hung up already.
    fn say(&mut self, bytes: &[u8]);

    /// Whether the other end has closed the connection. Throws away what it said before.
    fn is_closed(&mut self) -> bool;

    /// How much the other end has said until [`is_closed`](Self::is_closed).
    fn unheeded(&self) -> usize;

    /// The next head that is said, if it is there already and nothing follows a part of it.
    fn head(&mut self) -> Option<Head>;

    /// Where it comes in.
    fn socket(&self) -> BorrowedFd<'_>;
}

/// Such a one over TCP.
pub(crate) struct RawTcp {
    stream: TcpStream,
    /// How many bytes were thrown away.
    unheeded: usize,
}

impl RawTcp {
    /// One that was accepted.
    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket option");
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a socket option");
        Self { stream, unheeded: 0 }
    }

    /// The socket at the other end, if this process has accepted it.
    pub(crate) fn other_end(&self) -> Option<OwnedFd> {
        let here = self.stream.local_addr().expect("it is connected");
        let myself = pidfd_open(getpid(), PidfdFlags::empty()).expect("this process lives");
        let open = std::fs::read_dir("/proc/self/fd").expect("every Linux has it").flatten();
        let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut sockets = numbers.filter_map(|fd| pidfd_getfd(&myself, fd, PidfdGetfdFlags::empty()).ok());
        sockets.find(|socket| getpeername(socket).is_ok_and(|peer| peer == Some(here.into())))
    }
}

impl Raw for RawTcp {
    fn connect(to: SocketAddr, _: u32, _: u32) -> Self {
        Self::of(TcpStream::connect(to).expect("the listener's backlog has room"))
    }

    fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(bytes) => self.unheeded += bytes,
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    fn unheeded(&self) -> usize {
        self.unheeded
    }

    fn head(&mut self) -> Option<Head> {
        let mut head = Head::default();
        self.stream.read_exact(head.as_mut_bytes()).is_ok().then_some(head)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The hello of node `id` in the suite's run, a replica.
pub(crate) fn hello(id: u32) -> Head {
    hello_as(id, Role::Replica)
}

/// The same of a node that is whatever it says.
pub(crate) fn hello_as(id: u32, role: Role) -> Head {
    let mut mesh = mesh(id, None, &[], Clock::start(), &Options::default());
    (mesh.run, mesh.role) = (RUN, role);
    Hello::head(&mesh)
}

/// A head of the test's own from node `from`.
pub(crate) fn head(from: u32, body_len: u32) -> Head {
    Head { kind: crate::harness::KIND, from: NodeId(from), body_len, ..Head::default() }
}
