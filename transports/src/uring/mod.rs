//! TCP on `io_uring`: one system call a turn, whatever is sent and received in it.
//!
//! Each connection receives into chunks of its own, in order, so that its bytes lie side by side and
//! are sliced where the kernel put them. What is sent is gathered per peer, and one write is under
//! way per socket. [`Transport::recv`] submits the writes and waits in the same call: writes do not
//! wait for room in their sockets, so they are over as soon as they are submitted, and the wait is
//! for one completion more than there are writes. Writes to files take longer, and are what such a wait
//! is for: their completions, too, end it.
//!
//! `ring` is the boundary to the kernel and the only file of this module with `unsafe`; `connection` is one socket's
//! life; `peers` is who is there; `files` is what is written to files.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Recipients, Transmit};
use rustix::io::Errno;

use crate::dial::Dials;
use crate::peers::{End, Peers};
use crate::pool::Pool;
use crate::storage::{FileWrite, FileWritten};
use crate::{Clock, Counters, Mesh, Options, Transport, Wait};

mod capabilities;
mod connection;
mod files;
mod operation;
mod peers;
mod ring;

pub use capabilities::{Capabilities, Unavailable};
use connection::{Connection, Phase};
use files::Files;
use operation::{Op, Patience, Tag};
use ring::Ring;

/// One node of a mesh over TCP.
///
/// It belongs to the thread that made it: a ring serves one thread only, and is the faster for it.
pub struct Uring {
    clock: Clock,
    options: Options,
    capabilities: Capabilities,
    listener: Option<TcpListener>,
    peers: Peers,
    dials: Dials,
    /// By slot, the number that `peers` knows them by.
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<u16>,
    /// Slots with something to write, each once.
    dirty: Vec<u16>,
    /// Slots that found the pool empty.
    starved: Vec<u16>,
    generation: u32,
    accepting: bool,
    /// When a timer is due, at the earliest.
    alarm: Nanos,
    pool: Pool,
    files: Files,
    counters: Counters,
    /// Dropped after everything it lends memory from.
    ring: Ring,
}

/// Whether a ring can be had on this machine, and what it can do.
///
/// # Errors
/// With an [`Unavailable`] inside that says why not.
pub fn probe() -> io::Result<Capabilities> {
    open().map(|(_, capabilities)| capabilities)
}

fn open() -> io::Result<(Ring, Capabilities)> {
    let open = || Ring::new().and_then(|mut ring| ring.capabilities().map(|capabilities| (ring, capabilities)));
    let mut opened = open();
    // The kernel asks for a ring's pages at once and does not wait for them. While files are written at full speed there
    // may be none for a moment; and what a process that died had locked comes back a little later.
    for _ in 0..TRIES {
        match &opened {
            Err(error) if error.raw_os_error() == Some(Errno::NOMEM.raw_os_error()) => {
                thread::sleep(BETWEEN_TRIES);
                opened = open();
            }
            _ => break,
        }
    }
    opened.map_err(|error| Unavailable::explain(&error))
}

/// How often a ring for which there was no memory is asked for again.
const TRIES: usize = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(25);

/// How many times a spinning wait looks before it reads the clock.
const LOOKS: usize = 16;

impl Uring {
    /// Joins a run, on the thread that will use it.
    ///
    /// # Errors
    /// With an [`Unavailable`] inside if there is no ring to be had; those of [`Options::check`]; or the
    /// machine's.
    pub fn join(mesh: Mesh) -> io::Result<Self> {
        Self::join_with(mesh, Capabilities { incremental: true, zero_copy: true })
    }

    /// Joins a run and uses no more of the kernel than `most` says: the way to measure or test what
    /// an older one would do.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_with(mesh: Mesh, most: Capabilities) -> io::Result<Self> {
        mesh.options.check()?;
        let (ring, capabilities) = open()?;
        let (peers, dials) = (Peers::new(&mesh), Dials::new(&mesh));
        let Mesh { listener, clock, options, .. } = mesh;
        if let Some(listener) = &listener {
            // A ring gives up at once on a socket that says it must not wait.
            listener.set_nonblocking(false)?;
        }
        Ok(Self {
            clock,
            capabilities: Capabilities {
                incremental: capabilities.incremental && most.incremental,
                zero_copy: capabilities.zero_copy && most.zero_copy,
            },
            listener,
            peers,
            dials,
            connections: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            starved: Vec::new(),
            generation: 0,
            accepting: false,
            alarm: Nanos::ZERO,
            pool: Pool::new(options.chunk_bytes, options.chunks),
            files: Files::default(),
            counters: Counters::default(),
            options,
            ring,
        })
    }

    /// How many receive chunks somebody holds on to: frames that were delivered, or the beginning of
    /// one that is not whole. Those that are being received into do not count.
    pub fn chunks_out(&mut self) -> usize {
        let receiving: usize = self.connections.iter().flatten().map(|connection| connection.chunks()).sum();
        self.pool.made() - self.pool.home() - receiving
    }

    /// Takes everything that has completed.
    fn take_completions(&mut self, inbox: &mut Vec<Frame>) -> io::Result<()> {
        while let Some(completion) = self.ring.next() {
            match completion.op {
                Op::Accept => {
                    self.accepted(completion)?;
                    continue;
                }
                Op::WriteFile | Op::SyncFile => {
                    self.files.landed(&completion, &mut self.ring, &mut self.counters)?;
                    continue;
                }
                Op::Connect | Op::Greet | Op::Receive | Op::Write | Op::Cancel => {}
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
                Op::Accept | Op::Cancel | Op::WriteFile | Op::SyncFile => {}
            }
        }
        self.files.sync(&mut self.ring)
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

    fn mark_dirty(&mut self, slot: u16) {
        let connection = self.connection(slot);
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Starts the writes of all that was queued: for clients, and then for all others.
    fn write(&mut self) -> io::Result<()> {
        let wanted = self.options.zero_copy_threshold.filter(|_| self.capabilities.zero_copy);
        for clients in [true, false] {
            for &slot in &self.dirty {
                let connection = self.connections[usize::from(slot)].as_mut();
                if let Some(connection) = connection.filter(|connection| connection.is_client == clients) {
                    connection.is_dirty = false;
                    connection.write(&mut self.ring, wanted.unwrap_or(usize::MAX))?;
                }
            }
        }
        self.dirty.clear();
        Ok(())
    }

    /// Submits, and waits for something until `deadline`.
    fn enter(&mut self, now: Nanos, deadline: Nanos) -> io::Result<()> {
        let until = deadline.min(self.alarm);
        match (self.options.wait, until) {
            (Wait::Spin | Wait::Yield, _) => self.look(until),
            (Wait::Block, Nanos::NEVER) => self.ring.enter(Patience::Forever),
            (Wait::Block, until) if now < until => self.ring.enter(Patience::For(until.saturating_since(now))),
            // Only a look: the kernel need not be asked if it has nothing to say.
            (Wait::Block, _) if self.ring.has_work() => self.ring.enter(Patience::None),
            (Wait::Block, _) => Ok(()),
        }
    }

    /// Looks for something, at least once, until `until`; enters the kernel only when that does something.
    fn look(&mut self, until: Nanos) -> io::Result<()> {
        // Others may have run for long between two.
        let looks = if self.options.wait == Wait::Yield { 1 } else { LOOKS };
        loop {
            for _ in 0..looks {
                if self.ring.has_work() {
                    self.ring.enter(Patience::None)?;
                }
                if self.ring.has_completions() {
                    return Ok(());
                }
                self.ring.syscalls += self.options.wait.pause();
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
        let Some(slot) = self.peers.reach(peer) else {
            self.counters.dropped_frames += 1;
            return;
        };
        let connection = self.connections[slot].as_mut().expect("a slot in use");
        connection.push(head, body, &self.options, &mut self.counters);
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(connection.tag.slot);
        }
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
            self.files.start(&mut self.ring)?;
            self.enter(now, if self.files.any_over() { Nanos::ZERO } else { deadline })?;
            self.take_completions(inbox)?;
            let done = inbox.len() > before || self.files.any_over();
            now = self.clock.now();
            if done || now >= deadline {
                return self.files.hurry(&mut self.ring);
            }
        }
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.files.begin(write);
        Ok(())
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.files.written(done);
    }

    fn counters(&self) -> Counters {
        Counters { syscalls: self.ring.syscalls, ..self.counters }
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
        f.debug_struct("Uring")
            .field("id", &self.peers.hello().from)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
