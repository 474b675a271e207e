//! A replica's thread under orders: it does what the conductor asks, and lets it see where it stands.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use quorumbench_protocols::{Nanos, NodeId};
use quorumbench_transports::Transport;
use quorumbench_transports::shape::Faulty;

use super::EventKind;
use super::arrears::Arrears;
use super::control::LOOK_NS;
use super::log::Log;
use super::orders::Order;
use super::replica::Replica;
use super::threads::Shared;

/// What orders have made of a replica, for as long as its thread lives.
pub(super) struct Ward<'a> {
    id: NodeId,
    shared: &'a Shared,
    /// Its way to the others.
    pub(super) link: Faulty<&'a mut (dyn Transport + 'a)>,
    /// It works at one in so many parts of the time.
    factor: u32,
    /// How long it should have rested by now and has not; negative if it has overslept.
    rest_ns: i64,
    /// What its transport had received when it came back from what was done to it.
    received: u64,
    /// What is to be delivered before it has caught up.
    behind: Arrears,
}

/// A rest that is shorter is not worth a system call, and is put off.
const SHORTEST_REST_NS: i64 = 100_000;
/// How often a replica that stands still looks whether it may go on.
const PAUSE: Duration = Duration::from_micros(200);

impl<'a> Ward<'a> {
    pub(super) fn new(id: NodeId, transport: &'a mut (dyn Transport + 'a), shared: &'a Shared) -> Self {
        let received = transport.counters().received_bytes;
        let link = Faulty::new(transport, shared.control.clock());
        Self { id, shared, link, factor: 1, rest_ns: 0, received, behind: Arrears::default() }
    }

    /// Does what it was told since the last turn. Breaks off if it is to end.
    pub(super) fn obey(&mut self, replica: &mut dyn Replica, mut log: Option<&mut Log>) -> ControlFlow<()> {
        while let Some(order) = self.shared.orders.take() {
            self.follow(order, replica, log.as_deref_mut())?;
        }
        ControlFlow::Continue(())
    }

    fn follow(&mut self, order: Order, replica: &mut dyn Replica, log: Option<&mut Log>) -> ControlFlow<()> {
        match order {
            Order::Die => {
                self.note(EventKind::Killed);
                return ControlFlow::Break(());
            }
            Order::Transfer { to } => {
                self.note(EventKind::Transfer);
                replica.transfer(NodeId(to));
            }
            Order::Pause { on: true } => {
                self.note(EventKind::Paused);
                return self.stand_still(replica, log);
            }
            // It stood still in there; or all of its process did, and could not be told.
            Order::Pause { on: false } => self.received = self.link.counters().received_bytes,
            Order::Isolate { on } => {
                let others = (0..self.shared.nodes as u32).map(NodeId).filter(|&other| on && other != self.id);
                self.link.cut_off(others);
                self.changed(on, EventKind::Isolated, EventKind::Healed);
            }
            Order::SlowLink { extra } => {
                self.link.delay(extra);
                self.changed(!extra.is_zero(), EventKind::Slowed, EventKind::Recovered);
            }
            Order::Slow { factor } => {
                (self.factor, self.rest_ns) = (factor.max(1), 0);
                self.changed(factor > 1, EventKind::Slowed, EventKind::Recovered);
            }
            Order::SlowDisk { extra } => {
                log.expect("the config asks for a disk where one is to be slow").slow_down(extra);
                self.changed(!extra.is_zero(), EventKind::Slowed, EventKind::Recovered);
            }
            Order::CatchUp { slot } => self.behind.add(slot, self.received),
        }
        ControlFlow::Continue(())
    }

    /// Takes no turn until it may go on, or must end.
    fn stand_still(&mut self, replica: &mut dyn Replica, mut log: Option<&mut Log>) -> ControlFlow<()> {
        while !self.shared.control.stopped() {
            match self.shared.orders.take() {
                Some(Order::Pause { on: false }) => {
                    self.changed(false, EventKind::Paused, EventKind::Resumed);
                    break;
                }
                Some(order) => self.follow(order, replica, log.as_deref_mut())?,
                None => thread::sleep(PAUSE),
            }
        }
        ControlFlow::Continue(())
    }

    fn changed(&mut self, on: bool, begins: EventKind, ends: EventKind) {
        if !on {
            self.received = self.link.counters().received_bytes;
        }
        self.note(if on { begins } else { ends });
    }

    fn note(&self, kind: EventKind) {
        self.shared.control.note(kind, self.id);
    }

    /// After a turn that began at `began`: shows where it stands and what it did, and rests if it is to be slow.
    pub(super) fn after_turn(&mut self, began: Nanos, replica: &mut dyn Replica) {
        if let Some(diary) = &self.shared.diary {
            let latest = replica.take_traces();
            if !latest.is_empty() {
                replica.keep_trace();
                diary.write(latest);
            }
        }
        if let Some(board) = &self.shared.board {
            let standing = replica.standing();
            board.write(standing);
            if !self.behind.is_empty() {
                let received = self.link.counters().received_bytes;
                let caught_up = self.behind.settle(standing.delivered, received);
                caught_up.for_each(|kind| self.shared.control.note(kind, self.id));
            }
        }
        if self.factor > 1 {
            self.rest(self.shared.control.clock().now().saturating_since(began));
        }
    }

    /// Rests as long as a turn of `took_ns` asks for, sooner or later.
    fn rest(&mut self, took_ns: u64) {
        self.rest_ns += (took_ns * u64::from(self.factor - 1)).cast_signed();
        while self.rest_ns >= SHORTEST_REST_NS && !self.shared.control.stopped() {
            let before = self.shared.control.clock().now();
            thread::sleep(Duration::from_nanos(self.rest_ns.cast_unsigned().min(LOOK_NS)));
            self.rest_ns -= self.shared.control.clock().now().saturating_since(before).cast_signed();
        }
    }
}
