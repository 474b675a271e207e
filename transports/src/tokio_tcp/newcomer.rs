//! A connection whose other end has not said who it is.

use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::task::{Context, Poll, ready};

use quorumbench_protocols::{Nanos, NodeId};
use tokio::net::TcpStream;

use super::line::Line;
use crate::hello::{Greeting, Hello};
use crate::peers::{HELLO_PATIENCE_NS, Origin, Peers};
use crate::{Counters, socket};

/// It costs a socket and a head, for no longer than [`HELLO_PATIENCE_NS`]. Who dialled says hello
/// first; who accepted answers none but a peer.
#[derive(Debug)]
pub(super) struct Newcomer {
    line: Line,
    origin: Origin,
    until: Nanos,
    /// Whether this end has said hello.
    said: bool,
    greeting: Greeting,
}

/// How far a newcomer has got.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing yet, and it may take longer.
    Silent,
    /// A peer.
    Known(Hello),
    /// Something else than a peer.
    Stranger,
    /// Left, or took too long.
    Gone,
}

impl Newcomer {
    /// Connects to the node, which may take a while yet, unless nobody can be there.
    pub(super) fn dial(peer: NodeId, address: SocketAddr, congestion: &str, now: Nanos) -> io::Result<Option<Self>> {
        let Some(socket) = socket::dial(address, congestion)? else { return Ok(None) };
        let stream = TcpStream::from_std(StdTcpStream::from(socket))?;
        Ok(Some(Self::new(stream, Origin::Dialled(peer), now)))
    }

    /// Somebody has connected to this node.
    pub(super) fn accepted(stream: TcpStream, now: Nanos) -> Self {
        Self::new(stream, Origin::Accepted, now)
    }

    fn new(stream: TcpStream, origin: Origin, now: Nanos) -> Self {
        let greeting = Greeting::default();
        Self { line: Line::new(stream), origin, until: now + HELLO_PATIENCE_NS, said: false, greeting }
    }

    /// Goes on as far as the socket allows. With [`Progress::Known`], both ends have said hello.
    pub(super) fn look(
        &mut self,
        cx: &mut Context<'_>,
        now: Nanos,
        peers: &Peers,
        counters: &mut Counters,
    ) -> Progress {
        match self.greet(cx, peers, counters) {
            Poll::Ready(Ok(progress)) => progress,
            Poll::Ready(Err(_)) => Progress::Gone,
            Poll::Pending if now >= self.until => Progress::Gone,
            Poll::Pending => Progress::Silent,
        }
    }

    /// When its time is up.
    pub(super) fn until(&self) -> Nanos {
        self.until
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// The connection, for what a peer does with it.
    pub(super) fn into_line(self) -> Line {
        self.line
    }

    fn greet(&mut self, cx: &mut Context<'_>, peers: &Peers, counters: &mut Counters) -> Poll<io::Result<Progress>> {
        if !self.said && self.origin != Origin::Accepted {
            ready!(self.line.poll_connected(cx))?;
            self.line.open(peers.hello());
            self.said = true;
        }
        self.line.poll_write(cx, counters)?;
        while self.greeting.missing() > 0 {
            let read = ready!(self.line.poll_read_some(cx, self.greeting.room(), counters))?;
            if read == 0 {
                return Poll::Ready(Ok(Progress::Gone));
            }
            self.greeting.took(read);
        }
        let Some(theirs) = self.greeting.head().and_then(|first| peers.identify(first, self.origin)) else {
            return Poll::Ready(Ok(Progress::Stranger));
        };
        if !self.said {
            self.line.open(peers.hello());
        }
        Poll::Ready(Ok(Progress::Known(theirs)))
    }
}
