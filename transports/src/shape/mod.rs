//! Links made worse than they are, inside the process and on top of any [`Transport`].
//!
//! [`Shape`] makes a node far from the others for as long as it lives: each frame that it sends is held back for as long
//! as a [`LinkModel`] of that direction says. Both ends shape what they send, so that a frame passes one model. What it
//! cannot do is to lose, or to reorder, what the transport beneath it sends to carry a frame: segments, packets. To the
//! transport the link is as fast and as sound as ever. Frames themselves may be lost and overtaken, where whoever
//! sends them can bear it.
//!
//! [`Faulty`] is for faults that come and go. It stands on top.

mod faulty;
mod jitter;
mod model;
mod queue;

use std::io;

use hdrhistogram::Histogram;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Recipients, Transmit};

use crate::storage::{FileWrite, FileWritten};
use crate::{Clock, Counters, Transport};

pub use faulty::Faulty;
pub use jitter::Distribution;
pub use model::{Fate, LinkModel, LinkState};
use queue::Queue;

/// A node whose peers are further away than they are.
///
/// ```
/// use std::time::Duration;
/// use quorumbench_protocols::{Head, NodeId, Payload, Recipients, Transmit};
/// use quorumbench_transports::shape::{LinkModel, LinkState, Shape};
/// use quorumbench_transports::{mem, Clock, Options, Transport};
///
/// let (clock, options) = (Clock::start(), Options::default());
/// let mut nodes = mem::mesh(2, clock, &options);
/// let (mut one, zero) = (nodes.remove(1), nodes.remove(0));
/// let far = LinkModel::late(Duration::from_millis(2));
/// let links = (0..2).map(|to| LinkState::new(&far, to));
/// let mut zero = Shape::new(zero, clock, links, options.link_bytes);
///
/// let head = Head { kind: 1, from: NodeId(0), ..Head::default() };
/// let (sent, mut inbox) = (clock.now(), Vec::new());
/// zero.send(&mut vec![Transmit { to: Recipients::One(NodeId(1)), head, body: Payload::EMPTY }])?;
/// while inbox.is_empty() {
///     zero.recv(clock.now() + 10_000_000, &mut Vec::new())?;
///     one.recv(clock.now(), &mut inbox)?;
/// }
/// assert!(clock.now() >= sent + 2_000_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Shape<T> {
    inner: T,
    clock: Clock,
    /// By peer.
    queues: Vec<Queue>,
    /// When the next of all that is held leaves, or before.
    next: Nanos,
    /// Scratch: what leaves now.
    leaving: Vec<Transmit>,
    lateness: Histogram<u64>,
    lost: u64,
    full: u64,
}

const LONGEST_NS: u64 = 3_600_000_000_000;

impl<T: Transport> Shape<T> {
    /// A node on `inner`, with a link to each node in the order of their ids; to whom there is none, it is as near as
    /// ever. So many bytes may be on the way to one peer. Beyond that a frame is dropped and counted, as a transport
    /// does whose peer does not read.
    pub fn new(inner: T, clock: Clock, links: impl IntoIterator<Item = LinkState>, link_bytes: usize) -> Self {
        Self {
            inner,
            clock,
            queues: (0..).zip(links).map(|(id, link)| Queue::new(NodeId(id), link, link_bytes)).collect(),
            next: Nanos::NEVER,
            leaving: Vec::new(),
            lateness: Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds are valid"),
            lost: 0,
            full: 0,
        }
    }

    /// How much later than it should have each frame left that was held, in nanoseconds; an hour for what is longer.
    pub fn lateness(&self) -> &Histogram<u64> {
        &self.lateness
    }

    /// Frames that were lost on the way, as the models say.
    pub fn lost_frames(&self) -> u64 {
        self.lost
    }

    /// Frames that went no further: these, and those for which there was no room.
    pub fn dropped_frames(&self) -> u64 {
        self.lost + self.full
    }

    fn take(&mut self, now: Nanos, peer: NodeId, transmit: Transmit) {
        let Some(queue) = self.queues.get_mut(peer.0 as usize) else { return self.leaving.push(transmit) };
        let bytes = Head::BYTES + transmit.body.len();
        match queue.pass(now, bytes) {
            // Most often that is what a link does that does nothing.
            Fate::Arrives(at) if at <= now && queue.is_empty() => self.leaving.push(transmit),
            Fate::Arrives(at) => {
                self.next = self.next.min(at);
                queue.hold(at, transmit.head, transmit.body);
            }
            Fate::HeldBack(at) => {
                self.next = self.next.min(at);
                queue.hold_back(at, transmit.head, transmit.body);
            }
            Fate::Lost => self.lost += 1,
            Fate::Full => self.full += 1,
        }
    }

    /// Hands on what is due.
    fn release(&mut self, now: Nanos) -> io::Result<()> {
        if self.next <= now {
            let due = self.queues.iter_mut().map(|queue| queue.release(now, &mut self.leaving, &mut self.lateness));
            self.next = due.min().unwrap_or(Nanos::NEVER);
        }
        if self.leaving.is_empty() { Ok(()) } else { self.inner.send(&mut self.leaving) }
    }
}

impl<T: Transport> Transport for Shape<T> {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        let now = self.clock.now();
        for transmit in transmits.drain(..) {
            match transmit.to {
                Recipients::One(peer) => self.take(now, peer, transmit),
                Recipients::Peers(peers) => peers.iter().for_each(|peer| {
                    let body = transmit.body.clone();
                    self.take(now, peer, Transmit { to: Recipients::One(peer), head: transmit.head, body });
                }),
            }
        }
        self.release(now)
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        let before = inbox.len();
        loop {
            let next = self.next;
            self.inner.recv(deadline.min(next), inbox)?;
            if next == Nanos::NEVER {
                return Ok(());
            }
            let now = self.clock.now();
            self.release(now)?;
            // It waited for what was held, and now for what it was asked for. If a write was over meanwhile, that wait
            // ends at once.
            if now < next || now >= deadline || inbox.len() > before {
                return Ok(());
            }
        }
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.inner.write_file(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.inner.written(done);
    }

    fn counters(&self) -> Counters {
        let inner = self.inner.counters();
        Counters { dropped_frames: inner.dropped_frames + self.dropped_frames(), ..inner }
    }
}

#[cfg(test)]
mod tests;
