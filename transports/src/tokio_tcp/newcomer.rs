//! A connection whose other end has not said who it is.

use std::io;
use std::net::TcpStream as StdTcpStream;
use std::task::{Context, Poll, ready};

use quorumbench_protocols::{Head, Nanos};
use rustix::io::Errno;
use tokio::net::TcpStream;

use super::line::Line;
use crate::dial::Dial;
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
    /// Connects to the node, which may take a while yet.
    pub(super) fn dial(dial: &Dial, congestion: &str, now: Nanos) -> io::Result<Self> {
        let socket = socket::open(dial.address, congestion)?;
        match rustix::net::connect(&socket, &dial.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from_std(StdTcpStream::from(socket))?;
        Ok(Self::new(stream, Origin::Dialled(dial.peer), now))
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
        hello: &Head,
        counters: &mut Counters,
    ) -> Progress {
        match self.greet(cx, peers, hello, counters) {
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

    fn greet(
        &mut self,
        cx: &mut Context<'_>,
        peers: &Peers,
        hello: &Head,
        counters: &mut Counters,
    ) -> Poll<io::Result<Progress>> {
        if !self.said && self.origin != Origin::Accepted {
            ready!(self.line.poll_connected(cx))?;
            self.line.open(hello);
            self.said = true;
        }
        self.line.poll_write(cx, counters)?;
        while self.greeting.missing() > 0 {
            let mut bytes = [0; Head::BYTES];
            // No further than the hello: what follows it belongs in a chunk.
            let read = ready!(self.line.poll_read_some(cx, &mut bytes[..self.greeting.missing()], counters))?;
            if read == 0 {
                return Poll::Ready(Ok(Progress::Gone));
            }
            self.greeting.take(&bytes[..read]);
        }
        let Some(theirs) = self.greeting.head().and_then(|first| peers.identify(first, self.origin)) else {
            return Poll::Ready(Ok(Progress::Stranger));
        };
        if !self.said {
            self.line.open(hello);
        }
        Poll::Ready(Ok(Progress::Known(theirs)))
    }
}
