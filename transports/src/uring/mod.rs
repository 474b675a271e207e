//! TCP on `io_uring`: one system call a turn, whatever is sent and received in it.
//!
//! Each connection receives into chunks of its own, in order, so that its bytes lie side by side and
//! are sliced where the kernel put them. What is sent is gathered per peer, and one write is under
//! way per socket. [`Transport::recv`] submits the writes and waits in the same call: writes do not
//! wait for room in their sockets, so they are over as soon as they are submitted, and the wait is
//! for one completion more than there are writes.
//!
//! `ring` is the boundary to the kernel and the only file with `unsafe`; `connection` is one socket's
//! life; `dial` is whom to reach and when.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Recipients, Transmit};

use crate::hello::Hello;
use crate::pool::Pool;
use crate::{Clock, Counters, Mesh, Options, Transport, Wait};

mod capabilities;
mod connection;
mod dial;
mod ring;

pub use capabilities::{Capabilities, Unavailable};
use connection::{Connection, End, Phase};
use dial::Dial;
use ring::{Completion, Op, Patience, Ring, Tag};

/// One node of a mesh over TCP.
///
/// It belongs to the thread that made it: a ring serves one thread only, and is the faster for it.
pub struct Uring {
    id: NodeId,
    run: u64,
    hello: Head,
    clock: Clock,
    options: Options,
    capabilities: Capabilities,
    listener: Option<TcpListener>,
    dials: Vec<Dial>,
    /// By slot.
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<u16>,
    /// The slot of each node's established connection, by id.
    slots: Vec<Option<u16>>,
    /// Slots with something to write, each once.
    dirty: Vec<u16>,
    /// Slots that found the pool empty.
    starved: Vec<u16>,
    generation: u32,
    accepting: bool,
    /// When a timer is due, at the earliest.
    alarm: Nanos,
    pool: Pool,
    counters: Counters,
    /// Dropped after everything it lends memory from.
    ring: Ring,
}

/// Whether a ring can be had on this machine, and what it can do.
///
/// # Errors
/// With an [`Unavailable`] inside that says why not.
pub fn probe() -> io::Result<Capabilities> {
    Ring::new().and_then(|mut ring| ring.capabilities()).map_err(|error| Unavailable::explain(&error))
}

/// How long a connection may take to be made and to say who is there.
const HELLO_NS: u64 = 2_000_000_000;
/// How many that did not say so may be open at once; the oldest makes room.
const MOST_STRANGERS: usize = 64;
/// Node ids stay below this: the table of peers is indexed by them.
const MOST_NODES: u32 = 1 << 20;
/// How often an empty pool is looked at again, and accepting is tried again after it failed.
const RETRY_NS: u64 = 1_000_000;
/// The tag of accepts.
const LISTENER: Tag = Tag { slot: u16::MAX, generation: 0 };
/// How many times a spinning wait looks before it reads the clock.
const LOOKS: usize = 16;
/// How long a node that leaves waits for the kernel to let go of its memory.
const LEAVING_NS: u64 = 200_000_000;

impl Uring {
    /// Joins a run, on the thread that will use it.
    ///
    /// # Errors
    /// With an [`Unavailable`] inside if there is no ring to be had; if the congestion control is
    /// unknown; or the machine's.
    pub fn join(mesh: Mesh) -> io::Result<Self> {
        Self::join_with(mesh, probe()?)
    }

    /// Joins a run and uses of the kernel only what `capabilities` says: the way to measure or test
    /// what an older one would do.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_with(mesh: Mesh, capabilities: Capabilities) -> io::Result<Self> {
        dial::check(&mesh.options.congestion)?;
        let ring = Ring::new().map_err(|error| Unavailable::explain(&error))?;
        let hello = Hello::head(&mesh);
        let Mesh { run, id, listener, dial, clock, options, .. } = mesh;
        // A ring gives up at once on a socket that says it must not wait.
        listener.as_ref().map_or(Ok(()), |listener| listener.set_nonblocking(false))?;
        Ok(Self {
            id,
            run,
            hello,
            clock,
            capabilities,
            listener,
            dials: dial.into_iter().map(Dial::new).collect(),
            connections: Vec::new(),
            free: Vec::new(),
            slots: Vec::new(),
            dirty: Vec::new(),
            starved: Vec::new(),
            generation: 0,
            accepting: false,
            alarm: Nanos::ZERO,
            pool: Pool::new(options.chunk_bytes, options.chunks),
            counters: Counters::default(),
            options,
            ring,
        })
    }

    /// Does what is due.
    fn timers(&mut self, now: Nanos) -> io::Result<()> {
        self.alarm = Nanos::NEVER;
        self.accept()?;
        for dial in 0..self.dials.len() {
            if self.dials[dial].due <= now {
                self.dial(dial, now)?;
            } else {
                self.alarm = self.alarm.min(self.dials[dial].due);
            }
        }
        for slot in 0..self.connections.len() as u16 {
            let Some(connection) = &self.connections[usize::from(slot)] else { continue };
            let Phase::Unidentified { until } = connection.phase else { continue };
            if until <= now {
                self.counters.strangers += u64::from(connection.dialled.is_none());
                self.give_up(slot)?;
            } else {
                self.alarm = self.alarm.min(until);
            }
        }
        for slot in std::mem::take(&mut self.starved) {
            self.receive(slot)?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        if let Some(listener) = self.listener.as_ref().filter(|_| !self.accepting) {
            self.ring.accept(listener.as_fd(), LISTENER)?;
            self.accepting = true;
        }
        Ok(())
    }

    fn dial(&mut self, dial: usize, now: Nanos) -> io::Result<()> {
        self.counters.syscalls += dial::DIAL_SYSCALLS;
        let Ok(socket) = self.dials[dial].start(&self.options.congestion) else {
            self.alarm = self.alarm.min(self.dials[dial].failed(now));
            return Ok(());
        };
        let connection = self.adopt(socket, now)?;
        (connection.dialled, connection.connecting) = (Some(dial), true);
        let tag = connection.tag;
        let connection = self.connections[usize::from(tag.slot)].as_ref().expect("adopted");
        self.ring.connected(connection.socket(), tag)
    }

    /// Gives a socket a slot.
    fn adopt(&mut self, socket: OwnedFd, now: Nanos) -> io::Result<&mut Connection> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.connections.len() < usize::from(u16::MAX) => {
                self.connections.push(None);
                (self.connections.len() - 1) as u16
            }
            None => {
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "more connections than a ring has groups"));
            }
        };
        self.generation = self.generation.wrapping_add(1);
        let until = now + HELLO_NS;
        self.alarm = self.alarm.min(until);
        let tag = Tag { slot, generation: self.generation };
        Ok(self.connections[usize::from(slot)].insert(Box::new(Connection::new(socket, tag, until))))
    }

    /// Takes everything that has completed.
    fn take_completions(&mut self, inbox: &mut Vec<Frame>) -> io::Result<()> {
        while let Some(completion) = self.ring.next() {
            if completion.op == Op::Accept {
                self.accepted(completion)?;
                continue;
            }
            let Tag { slot, generation } = completion.tag;
            let connection = self.connections.get_mut(usize::from(slot)).and_then(Option::as_mut);
            let Some(connection) = connection.filter(|connection| connection.tag.generation == generation) else {
                continue;
            };
            match completion.op {
                Op::Connect => self.connected(slot)?,
                Op::Greet => self.greeted(&completion)?,
                Op::Receive => {
                    let again = connection.received(&completion, &mut self.pool, inbox, &mut self.counters);
                    self.go_on(slot, again, Self::receive)?;
                }
                Op::Write => {
                    let more = connection.wrote(&completion);
                    self.go_on(slot, more, |transport, slot| {
                        transport.mark_dirty(slot);
                        Ok(())
                    })?;
                }
                Op::Accept | Op::Cancel => {}
            }
        }
        Ok(())
    }

    /// Goes on with a connection, or ends it.
    fn go_on(
        &mut self,
        slot: u16,
        outcome: Result<bool, End>,
        next: impl FnOnce(&mut Self, u16) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.connection(slot).phase == Phase::Closing {
            self.release(slot);
            return Ok(());
        }
        match outcome {
            Ok(true) => next(self, slot),
            Ok(false) => Ok(()),
            Err(end) => {
                self.counters.malformed += u64::from(end == End::Malformed);
                self.give_up(slot)
            }
        }
    }

    fn accepted(&mut self, completion: Completion) -> io::Result<()> {
        self.accepting = completion.more();
        let now = self.clock.now();
        if !self.accepting {
            self.alarm = self.alarm.min(now + RETRY_NS);
        }
        // Out of descriptors, or gone before it was taken: the next one may do better.
        let Ok(socket) = completion.accepted() else { return Ok(()) };
        if self.listener.is_none() {
            return Ok(());
        }
        self.counters.syscalls += dial::TUNE_SYSCALLS;
        if dial::tune(&socket, &self.options.congestion).is_err() {
            return Ok(());
        }
        self.make_room_for_a_stranger()?;
        let slot = self.adopt(socket, now)?.tag.slot;
        self.greet(slot)
    }

    /// The connection was made, or not: the hello will tell.
    fn connected(&mut self, slot: u16) -> io::Result<()> {
        let connection = self.connection(slot);
        connection.connecting = false;
        if connection.phase == Phase::Closing {
            self.release(slot);
            return Ok(());
        }
        self.greet(slot)
    }

    /// Says hello, and waits for the other side's.
    fn greet(&mut self, slot: u16) -> io::Result<()> {
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        // A hello is no frame of the run, and is not counted.
        connection.push(&self.hello, &Payload::EMPTY, &self.options, &mut Counters::default());
        connection.greet(&mut self.ring)?;
        self.mark_dirty(slot);
        Ok(())
    }

    fn greeted(&mut self, completion: &Completion) -> io::Result<()> {
        let slot = completion.tag.slot;
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        let (greeted, dialled) = (connection.greeted(completion), connection.dialled);
        if connection.phase == Phase::Closing {
            self.release(slot);
            return Ok(());
        }
        match greeted {
            Ok(None) => connection.greet(&mut self.ring),
            Ok(Some(head)) => match self.identify(&head, dialled) {
                Some(peer) => self.establish(slot, peer),
                None => self.turn_away(slot),
            },
            // A peer that was dialled in vain is no stranger.
            Err(_) if dialled.is_some() => self.give_up(slot),
            Err(_) => self.turn_away(slot),
        }
    }

    /// Who says this hello, if it may.
    fn identify(&self, head: &Head, dialled: Option<usize>) -> Option<NodeId> {
        let Hello { id, .. } = Hello::read(head, self.run)?;
        let expected = match dialled {
            Some(dial) => self.dials[dial].id == id,
            None => self.dials.iter().all(|dial| dial.id != id),
        };
        (expected && id != self.id && id.0 < MOST_NODES).then_some(id)
    }

    fn establish(&mut self, slot: u16, peer: NodeId) -> io::Result<()> {
        let index = peer.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        // The peer has begun anew: what it left open is dead.
        if let Some(older) = self.slots[index].take() {
            self.give_up(older)?;
        }
        self.slots[index] = Some(slot);
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        let incremental = self.capabilities.incremental;
        connection.establish(peer, &mut self.ring, incremental, self.options.max_body)?;
        if let Some(dial) = connection.dialled {
            self.dials[dial].succeeded();
        }
        self.receive(slot)
    }

    /// Starts to receive, or looks again later if the pool is empty.
    fn receive(&mut self, slot: u16) -> io::Result<()> {
        let Some(connection) = &mut self.connections[usize::from(slot)] else { return Ok(()) };
        if !connection.receive(&mut self.ring, &mut self.pool)? {
            self.starved.push(slot);
            self.alarm = self.alarm.min(self.clock.now() + RETRY_NS);
        }
        Ok(())
    }

    fn turn_away(&mut self, slot: u16) -> io::Result<()> {
        self.counters.strangers += 1;
        self.give_up(slot)
    }

    fn make_room_for_a_stranger(&mut self) -> io::Result<()> {
        let strangers = self.connections.iter().flatten().filter(|connection| connection.dialled.is_none());
        let since = |connection: &Connection| match connection.phase {
            Phase::Unidentified { until } => Some((until, connection.tag.slot)),
            _ => None,
        };
        let strangers: Vec<_> = strangers.filter_map(|connection| since(connection)).collect();
        match strangers.iter().min() {
            Some(&(_, oldest)) if strangers.len() >= MOST_STRANGERS => self.turn_away(oldest),
            _ => Ok(()),
        }
    }

    /// Ends a connection, whatever it was; if this side dialled it, it will again.
    fn give_up(&mut self, slot: u16) -> io::Result<()> {
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        let (phase, dialled) = (connection.phase, connection.dialled);
        connection.close(&mut self.ring)?;
        self.counters.syscalls += 1;
        let _ = rustix::net::shutdown(connection.socket(), rustix::net::Shutdown::Both);
        if let Phase::Established { peer } = phase {
            self.counters.lost_connections += 1;
            let current = &mut self.slots[peer.0 as usize];
            *current = current.filter(|&current| current != slot);
        }
        if let Some(dial) = dialled {
            self.alarm = self.alarm.min(self.dials[dial].failed(self.clock.now()));
        }
        self.release(slot);
        Ok(())
    }

    /// Frees a closing connection's slot once the kernel has let go.
    fn release(&mut self, slot: u16) {
        let entry = &mut self.connections[usize::from(slot)];
        if let Some(connection) = entry.take_if(|connection| connection.is_idle()) {
            let was_peer = connection.was_peer();
            let lost = connection.release(&mut self.ring, &mut self.pool);
            self.counters.dropped_frames += if was_peer { lost as u64 } else { 0 };
            self.counters.syscalls += 1;
            self.free.push(slot);
        }
    }

    fn mark_dirty(&mut self, slot: u16) {
        let connection = self.connection(slot);
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Starts the writes of all that was queued.
    fn write(&mut self) -> io::Result<()> {
        let wanted = self.options.zero_copy_threshold.filter(|_| self.capabilities.zero_copy);
        for slot in self.dirty.drain(..) {
            if let Some(connection) = &mut self.connections[usize::from(slot)] {
                connection.is_dirty = false;
                connection.write(&mut self.ring, wanted.unwrap_or(usize::MAX))?;
            }
        }
        Ok(())
    }

    /// Submits, and waits for something until `deadline`.
    fn enter(&mut self, now: Nanos, deadline: Nanos) -> io::Result<()> {
        let until = deadline.min(self.alarm);
        match (self.options.wait, until) {
            (Wait::Spin, _) => self.look(until),
            (Wait::Block, Nanos::NEVER) => self.ring.enter(Patience::Forever),
            (Wait::Block, until) if now < until => self.ring.enter(Patience::For(until.saturating_since(now))),
            // Only a look: the kernel need not be asked if it has nothing to say.
            (Wait::Block, _) if self.ring.has_work() => self.ring.enter(Patience::None),
            (Wait::Block, _) => Ok(()),
        }
    }

    /// Looks for something, at least once, until `until`; enters the kernel only when that does something.
    fn look(&mut self, until: Nanos) -> io::Result<()> {
        loop {
            for _ in 0..LOOKS {
                if self.ring.has_work() {
                    self.ring.enter(Patience::None)?;
                }
                if self.ring.has_completions() {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
            if self.clock.now() >= until {
                return Ok(());
            }
        }
    }

    fn connection(&mut self, slot: u16) -> &mut Connection {
        self.connections[usize::from(slot)].as_mut().expect("a slot in use")
    }
}

impl Uring {
    /// Takes one frame for one peer.
    fn push(&mut self, peer: NodeId, head: &Head, body: &Payload) {
        let Some(slot) = self.slots.get(peer.0 as usize).copied().flatten() else {
            self.counters.dropped_frames += 1;
            return;
        };
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        connection.push(head, body, &self.options, &mut self.counters);
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Sends what still fits, closes everything, and waits until the kernel has let go.
    fn leave(&mut self) -> io::Result<()> {
        self.write()?;
        self.ring.enter(Patience::None)?;
        self.take_completions(&mut Vec::new())?;
        if self.accepting {
            self.ring.cancel(Op::Accept, LISTENER)?;
        }
        self.listener = None;
        for slot in 0..self.connections.len() as u16 {
            if self.connections[usize::from(slot)].as_ref().is_some_and(|open| open.phase != Phase::Closing) {
                self.give_up(slot)?;
            }
        }
        let until = self.clock.now() + LEAVING_NS;
        while self.accepting || self.connections.iter().any(Option::is_some) {
            let left = until.saturating_since(self.clock.now());
            if left == 0 {
                break;
            }
            self.ring.enter(Patience::For(left))?;
            self.take_completions(&mut Vec::new())?;
        }
        Ok(())
    }
}

impl Transport for Uring {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        for Transmit { to, head, body } in transmits.iter() {
            match *to {
                Recipients::One(peer) => self.push(peer, head, body),
                Recipients::Peers(peers) => peers.iter().for_each(|peer| self.push(peer, head, body)),
            }
        }
        transmits.clear();
        Ok(())
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        let before = inbox.len();
        let mut now = self.clock.now();
        loop {
            if self.alarm <= now {
                self.timers(now)?;
            }
            self.write()?;
            self.enter(now, deadline)?;
            self.take_completions(inbox)?;
            if inbox.len() > before {
                self.counters.received_frames += (inbox.len() - before) as u64;
                return Ok(());
            }
            now = self.clock.now();
            if now >= deadline {
                return Ok(());
            }
        }
    }

    fn counters(&self) -> Counters {
        Counters { syscalls: self.counters.syscalls + self.ring.syscalls, ..self.counters }
    }
}

impl Drop for Uring {
    /// Memory that the kernel does not let go of in time is leaked.
    fn drop(&mut self) {
        let _ = self.leave();
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring").field("id", &self.id).field("counters", &self.counters()).finish_non_exhaustive()
    }
}
