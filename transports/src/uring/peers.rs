//! Who is there: dialling and accepting, hellos, and the ends of connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use quorumbench_protocols::{Nanos, NodeId};

use super::Uring;
use super::connection::{Connection, Phase};
use super::operation::{Op, Patience, Tag};
use super::ring::Completion;
use crate::hello::Hello;
use crate::peers::{ACCEPT_PAUSE_NS, HELLO_PATIENCE_NS, Origin, makes_room};
use crate::pool::STARVED_NS;
use crate::{socket, storage};

/// The tag of accepts.
const LISTENER: Tag = Tag { slot: u16::MAX, generation: 0 };
/// How long a node that leaves waits for the kernel to let go of its memory.
const LEAVING_NS: u64 = 200_000_000;

impl Uring {
    /// Does what is due.
    pub(super) fn timers(&mut self, now: Nanos) -> io::Result<()> {
        self.alarm = Nanos::NEVER;
        self.accept()?;
        while let Some((peer, address)) = self.dials.next(now) {
            self.dial(peer, address, now)?;
        }
        self.alarm = self.alarm.min(self.dials.due());
        for slot in 0..self.connections.len() as u16 {
            let Some(connection) = &self.connections[usize::from(slot)] else { continue };
            let Phase::Unidentified { until } = connection.phase else { continue };
            if until <= now {
                self.counters.strangers += u64::from(connection.origin == Origin::Accepted);
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

    fn dial(&mut self, peer: NodeId, address: SocketAddr, now: Nanos) -> io::Result<()> {
        // A ring gives up at once on a socket that says it must not wait, and does not wait itself.
        let Some(socket) = socket::dial(address, &self.options.congestion)? else {
            self.dials.failed(peer, now);
            return Ok(());
        };
        rustix::io::ioctl_fionbio(&socket, false)?;
        let slot = self.adopt(socket, Origin::Dialled(peer), now)?;
        let connection = self.connections[usize::from(slot)].as_mut().expect("adopted");
        connection.connecting = true;
        self.ring.connected(connection.socket(), connection.tag)
    }

    /// Gives a socket a slot.
    fn adopt(&mut self, socket: OwnedFd, origin: Origin, now: Nanos) -> io::Result<u16> {
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
        let until = now + HELLO_PATIENCE_NS;
        self.alarm = self.alarm.min(until);
        let tag = Tag { slot, generation: self.generation };
        self.connections[usize::from(slot)] = Some(Box::new(Connection::new(socket, tag, origin, until)));
        Ok(slot)
    }

    pub(super) fn accepted(&mut self, completion: Completion) -> io::Result<()> {
        self.accepting = completion.more();
        let now = self.clock.now();
        if !self.accepting {
            self.alarm = self.alarm.min(now + ACCEPT_PAUSE_NS);
        }
        // Out of descriptors, or gone before it was taken: the next one may do better.
        let Ok(socket) = completion.accepted() else { return Ok(()) };
        if self.listener.is_none() || socket::tune(&socket, &self.options.congestion).is_err() {
            return Ok(());
        }
        let silent = self.connections.iter().flatten();
        let silent = silent.filter_map(|connection| Some((connection.silent_until()?, connection.tag.slot)));
        if let Some(oldest) = makes_room(silent) {
            self.turn_away(oldest)?;
        }
        let slot = self.adopt(socket, Origin::Accepted, now)?;
        let connection = self.connections[usize::from(slot)].as_mut().expect("adopted");
        connection.greet(&mut self.ring)
    }

    /// The connection was made, or not: the hello will tell.
    pub(super) fn connected(&mut self, slot: u16) -> io::Result<()> {
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        connection.connecting = false;
        if connection.phase == Phase::Closing {
            self.release(slot);
            return Ok(());
        }
        connection.greet(&mut self.ring)?;
        self.say_hello(slot);
        Ok(())
    }

    fn say_hello(&mut self, slot: u16) {
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        connection.open(self.peers.hello());
        self.mark_dirty(slot);
    }

    pub(super) fn greeted(&mut self, completion: &Completion) -> io::Result<()> {
        let slot = completion.tag.slot;
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        let (phase, origin) = (connection.phase, connection.origin);
        let greeted = connection.greeted(completion).map(|head| head.map(|head| self.peers.identify(head, origin)));
        match greeted {
            _ if phase == Phase::Closing => self.release(slot),
            Ok(None) => connection.greet(&mut self.ring)?,
            Ok(Some(Some(hello))) => self.establish(slot, hello)?,
            // A peer that was dialled in vain is no stranger.
            Err(_) if origin != Origin::Accepted => self.give_up(slot)?,
            Ok(Some(None)) | Err(_) => self.turn_away(slot)?,
        }
        Ok(())
    }

    fn establish(&mut self, slot: u16, hello: Hello) -> io::Result<()> {
        // The peer has begun anew: what it left open is dead.
        if let Some(older) = self.peers.connect(hello.id, usize::from(slot)) {
            self.give_up(older as u16)?;
        }
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        let incremental = self.capabilities.incremental;
        connection.establish(hello, &mut self.ring, incremental, self.options.max_body)?;
        match connection.origin {
            Origin::Dialled(peer) => self.dials.answered(peer),
            Origin::Accepted => self.say_hello(slot),
        }
        self.receive(slot)
    }

    /// Starts to receive, or looks again later if the pool is empty.
    pub(super) fn receive(&mut self, slot: u16) -> io::Result<()> {
        let Some(connection) = &mut self.connections[usize::from(slot)] else { return Ok(()) };
        if !connection.receive(&mut self.ring, &mut self.pool)? {
            self.starved.push(slot);
            self.alarm = self.alarm.min(self.clock.now() + STARVED_NS);
        }
        Ok(())
    }

    fn turn_away(&mut self, slot: u16) -> io::Result<()> {
        self.counters.strangers += 1;
        self.give_up(slot)
    }

    /// Ends a connection, whatever it was; if this side dialled it, it will again.
    pub(super) fn give_up(&mut self, slot: u16) -> io::Result<()> {
        let connection = self.connections[usize::from(slot)].as_mut().expect("a slot in use");
        let (phase, origin) = (connection.phase, connection.origin);
        connection.close(&mut self.ring)?;
        let _ = rustix::net::shutdown(connection.socket(), rustix::net::Shutdown::Both);
        if let Phase::Established { peer } = phase {
            self.counters.lost_connections += 1;
            self.peers.disconnect(peer, usize::from(slot));
        }
        if let Origin::Dialled(peer) = origin {
            self.dials.failed(peer, self.clock.now());
            self.alarm = self.alarm.min(self.dials.due());
        }
        self.release(slot);
        Ok(())
    }

    /// Frees a closing connection's slot once the kernel has let go.
    pub(super) fn release(&mut self, slot: u16) {
        let entry = &mut self.connections[usize::from(slot)];
        if let Some(connection) = entry.take_if(|connection| connection.is_idle()) {
            self.counters.dropped_frames += connection.release(&mut self.ring, &mut self.pool) as u64;
            self.free.push(slot);
        }
    }

    /// Sends what still fits, closes everything, and waits until the kernel has let go.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.write()?;
        self.files.start(&mut self.ring)?;
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
        let start = self.clock.now();
        while self.accepting || self.connections.iter().any(Option::is_some) || !self.files.is_idle() {
            let patience = if self.files.is_idle() { LEAVING_NS } else { storage::LEAVING_NS };
            let left = (start + patience).saturating_since(self.clock.now());
            if left == 0 {
                break;
            }
            self.ring.enter(Patience::For(left))?;
            self.take_completions(&mut Vec::new())?;
        }
        Ok(())
    }
}
