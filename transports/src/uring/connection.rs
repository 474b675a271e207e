//! One connection: its socket, what flies, what is received. It knows no other connection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload};
use rustix::io::Errno;

use super::operation::{Op, Tag};
use super::ring::{Buffers, Completion, Flight, Greeting, Received, Ring};
use crate::framing::{Framer, TooLong};
use crate::hello::Hello;
use crate::peers::{self, End, Origin};
use crate::pool::Pool;
use crate::{Counters, Options};

/// A connection from the first try to reach somebody until the kernel has let go of it.
pub(super) struct Connection {
    pub(super) tag: Tag,
    pub(super) phase: Phase,
    pub(super) origin: Origin,
    /// Whether the kernel watches for the connection to be made.
    pub(super) connecting: bool,
    /// Whether it waits for its turn to write.
    pub(super) is_dirty: bool,
    /// Whether a client is known to be at the other end.
    pub(super) is_client: bool,
    flight: Flight,
    greeting: Greeting,
    inbound: Option<Inbound>,
    socket: OwnedFd,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody knows yet who is there; given up at `until`.
    Unidentified { until: Nanos },
    /// Frames go both ways.
    Established { peer: NodeId },
    /// Given up; the kernel still has some of its memory.
    Closing,
}

/// The receiving side, once it is known who is there.
struct Inbound {
    peer: NodeId,
    framer: Framer,
    buffers: Buffers,
    /// How many chunks the kernel should have. Grows when they were too few.
    wanted: usize,
    /// Where receives go that are too small to give up a whole buffer for. Unused where a receive
    /// takes only what it fills.
    landing: Option<BytesMut>,
}

/// Chunks offered at first: one to fill, and the next.
const FIRST_CHUNKS: usize = 2;
/// A receive that takes a whole buffer and fills less than one part in this many of it is copied.
const SMALL_RECEIVE: usize = 8;

impl Connection {
    pub(super) fn new(socket: OwnedFd, tag: Tag, origin: Origin, until: Nanos) -> Self {
        Self {
            tag,
            phase: Phase::Unidentified { until },
            origin,
            connecting: false,
            is_dirty: false,
            is_client: false,
            flight: Flight::new(tag),
            greeting: Greeting::new(tag),
            inbound: None,
            socket,
        }
    }

    /// Queues this node's hello.
    pub(super) fn open(&mut self, hello: &Head) {
        self.flight.open(hello);
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, head: &Head, body: &Payload, options: &Options, counters: &mut Counters) {
        self.flight.push(head, body, options, counters);
    }

    /// Writes what is queued, if no write is under way.
    pub(super) fn write(&mut self, ring: &mut Ring, zero_copy: usize) -> io::Result<()> {
        if self.connecting || self.phase == Phase::Closing {
            return Ok(());
        }
        self.flight.take_off(ring, self.socket.as_fd(), zero_copy)
    }

    /// A write has completed; `true` if there is more to write.
    pub(super) fn wrote(&mut self, completion: &Completion) -> Result<bool, End> {
        self.flight.landed(completion).map_err(|_| End::Lost)
    }

    /// Reads the other side's hello.
    pub(super) fn greet(&mut self, ring: &mut Ring) -> io::Result<()> {
        self.greeting.start(ring, self.socket.as_fd())
    }

    /// Part of the hello has come: its head, if that was the last.
    pub(super) fn greeted(&mut self, completion: &Completion) -> Result<Option<&Head>, End> {
        self.greeting.landed(completion).map_err(|_| End::Lost)
    }

    /// When its time to say who is there is up, if it is not known and the other end has dialled.
    pub(super) fn silent_until(&self) -> Option<Nanos> {
        match self.phase {
            Phase::Unidentified { until } if self.origin == Origin::Accepted => Some(until),
            _ => None,
        }
    }

    /// It is known who is there: from now on there are frames.
    pub(super) fn establish(
        &mut self,
        hello: Hello,
        ring: &mut Ring,
        incremental: bool,
        max_body: usize,
    ) -> io::Result<()> {
        let buffers = Buffers::register(ring, self.tag, incremental)?;
        let framer = Framer::new(max_body);
        let peer = hello.id;
        self.phase = Phase::Established { peer };
        self.is_client = hello.is_client();
        self.inbound = Some(Inbound { peer, framer, buffers, wanted: FIRST_CHUNKS, landing: None });
        Ok(())
    }

    /// Makes sure that a receive is under way. `false` if the pool has nothing to receive into.
    pub(super) fn receive(&mut self, ring: &mut Ring, pool: &mut Pool) -> io::Result<bool> {
        let Some(inbound) = self.inbound.as_mut().filter(|_| self.phase != Phase::Closing) else { return Ok(true) };
        inbound.refill(pool);
        if inbound.buffers.is_receiving() {
            return Ok(true);
        }
        if inbound.buffers.offered() == 0 {
            return Ok(false);
        }
        inbound.buffers.receive(ring, self.socket.as_fd())?;
        Ok(true)
    }

    /// Takes what was received. `true` if the receive must be started again.
    pub(super) fn received(
        &mut self,
        completion: &Completion,
        pool: &mut Pool,
        inbox: &mut Vec<Frame>,
        counters: &mut Counters,
    ) -> Result<bool, End> {
        let inbound = self.inbound.as_mut().expect("a receive begins when the peer is known");
        if self.phase == Phase::Closing {
            // What still comes in is nobody's; only the kernel's hold on the chunks matters.
            let outcome = inbound.buffers.received(completion, &mut inbound.framer, &mut Vec::new());
            if let Ok(Received::Rest(_, chunk)) = outcome {
                pool.give(chunk);
            }
            return Ok(false);
        }
        let before = inbox.len();
        let outcome = inbound.take(completion, pool, inbox, counters);
        peers::admit(inbound.peer, inbox, before, counters)?;
        outcome.map(|()| !inbound.buffers.is_receiving())
    }

    /// Gives the connection up: nothing more goes out or comes in, and the kernel is asked to let go.
    pub(super) fn close(&mut self, ring: &mut Ring) -> io::Result<()> {
        self.phase = Phase::Closing;
        let receiving = self.inbound.as_ref().is_some_and(|inbound| inbound.buffers.is_receiving());
        let under_way = [
            (self.connecting, Op::Connect),
            (self.greeting.is_reading(), Op::Greet),
            (receiving, Op::Receive),
            (self.flight.is_under_way(), Op::Write),
        ];
        for (_, op) in under_way.into_iter().filter(|(under_way, _)| *under_way) {
            ring.cancel(op, self.tag)?;
        }
        Ok(())
    }

    /// Whether the kernel has let go of everything.
    pub(super) fn is_idle(&self) -> bool {
        let receiving = self.inbound.as_ref().is_some_and(|inbound| inbound.buffers.is_receiving());
        !(self.connecting || self.greeting.is_reading() || receiving || self.flight.is_under_way())
    }

    /// Brings the chunks home and closes the socket, and says how many frames did not get out.
    pub(super) fn release(mut self, ring: &mut Ring, pool: &mut Pool) -> usize {
        if let Some(Inbound { buffers, landing, .. }) = self.inbound.take() {
            buffers.unregister(ring).into_iter().flatten().chain(landing).for_each(|chunk| pool.give(chunk));
        }
        self.flight.abandon()
    }

    /// How many chunks it receives into.
    pub(super) fn chunks(&self) -> usize {
        self.inbound.as_ref().map_or(0, |inbound| inbound.buffers.offered() + usize::from(inbound.landing.is_some()))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Inbound {
    fn take(
        &mut self,
        completion: &Completion,
        pool: &mut Pool,
        inbox: &mut Vec<Frame>,
        counters: &mut Counters,
    ) -> Result<(), End> {
        let received = self.buffers.received(completion, &mut self.framer, inbox);
        match received.map_err(|_: Errno| End::Lost)? {
            Received::Part(bytes, outcome) => {
                counters.received_bytes += bytes as u64;
                outcome.map_err(End::from)
            }
            Received::Rest(bytes, chunk) => {
                counters.received_bytes += bytes as u64;
                self.take_rest(chunk, pool, inbox, counters)?;
                self.refill(pool);
                Ok(())
            }
            Received::Starved => {
                self.wanted = (2 * self.wanted).min(Buffers::MOST);
                Ok(())
            }
        }
    }

    /// Takes a chunk that the kernel is done with.
    fn take_rest(
        &mut self,
        mut chunk: BytesMut,
        pool: &mut Pool,
        inbox: &mut Vec<Frame>,
        counters: &mut Counters,
    ) -> Result<(), TooLong> {
        // Where receives take only what they fill, a chunk that is done with is full.
        let mut outcome = Ok(());
        if chunk.len() < (chunk.capacity() - chunk.len()) / (SMALL_RECEIVE - 1) {
            let copied;
            (copied, outcome) = self.copy(&chunk, pool, inbox);
            counters.copied_bytes += copied as u64;
            if copied == chunk.len() {
                chunk.clear();
                self.buffers.offer(chunk);
                return outcome;
            }
            let _ = chunk.split_to(copied);
        }
        outcome = outcome.and_then(|()| self.frames(&mut chunk, inbox));
        // Also when nothing more is taken from it: the pool counts on it.
        pool.give(chunk);
        outcome
    }

    /// Takes the frames of a chunk that nothing more comes into, and what it begins.
    fn frames(&mut self, chunk: &mut BytesMut, inbox: &mut Vec<Frame>) -> Result<(), TooLong> {
        if let Some(landing) = &mut self.landing {
            self.framer.turn_over(landing.split())?;
        }
        self.framer.frames(chunk, inbox)?;
        self.framer.turn_over(chunk.split())
    }

    /// Copies `bytes` to the landing, and says how many of them: fewer if the pool is empty.
    fn copy(&mut self, bytes: &[u8], pool: &mut Pool, inbox: &mut Vec<Frame>) -> (usize, Result<(), TooLong>) {
        let (mut copied, mut outcome) = (0, Ok(()));
        while copied < bytes.len() && outcome.is_ok() {
            let Some(landing) = &mut self.landing else {
                self.landing = pool.take();
                if self.landing.is_none() {
                    break;
                }
                continue;
            };
            let part = (bytes.len() - copied).min(landing.capacity() - landing.len());
            landing.extend_from_slice(&bytes[copied..copied + part]);
            copied += part;
            outcome = self.framer.frames(landing, inbox);
            if landing.len() == landing.capacity() {
                outcome = outcome.and_then(|()| self.framer.turn_over(landing.split()));
                self.landing.take().into_iter().for_each(|full| pool.give(full));
            }
        }
        (copied, outcome)
    }

    fn refill(&mut self, pool: &mut Pool) {
        while self.buffers.offered() < self.wanted {
            let Some(chunk) = pool.take() else { break };
            self.buffers.offer(chunk);
        }
    }
}
