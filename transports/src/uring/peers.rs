//! Who is there: dialling and accepting, hellos, and the ends of connections.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use quorumbench_protocols::{Head, Nanos, NodeId, Payload};

use super::connection::{Connection, Phase};
use super::operation::{Op, Patience, Tag};
use super::ring::Completion;
use super::{Uring, dial};
use crate::Counters;
use crate::hello::Hello;

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
/// How long a node that leaves waits for the kernel to let go of its memory.
const LEAVING_NS: u64 = 200_000_000;

impl Uring {
    /// Does what is due.
    pub(super) fn timers(&mut self, now: Nanos) -> io::Result<()> {
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

    pub(super) fn accepted(&mut self, completion: Completion) -> io::Result<()> {
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
    pub(super) fn connected(&mut self, slot: u16) -> io::Result<()> {
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

    pub(super) fn greeted(&mut self, completion: &Completion) -> io::Result<()> {
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
    pub(super) fn receive(&mut self, slot: u16) -> io::Result<()> {
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
    pub(super) fn give_up(&mut self, slot: u16) -> io::Result<()> {
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
    pub(super) fn release(&mut self, slot: u16) {
        let entry = &mut self.connections[usize::from(slot)];
        if let Some(connection) = entry.take_if(|connection| connection.is_idle()) {
            let was_peer = connection.was_peer();
            let lost = connection.release(&mut self.ring, &mut self.pool);
            self.counters.dropped_frames += if was_peer { lost as u64 } else { 0 };
            self.counters.syscalls += 1;
            self.free.push(slot);
        }
    }

    /// Sends what still fits, closes everything, and waits until the kernel has let go.
    pub(super) fn leave(&mut self) -> io::Result<()> {
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
