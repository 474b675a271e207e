//! Rings between the threads of one process: the ceiling of every other transport.
//!
//! A frame crosses as it is, handle and all: nothing is encoded and no payload byte is touched.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Wake, Waker};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Transmit};

use crate::storage::{FileWrite, FileWritten, Writer};
use crate::{Clock, Counters, Options, Transport, Wait};

/// One node of a [`mesh`].
#[derive(Debug)]
pub struct Mem {
    id: NodeId,
    clock: Clock,
    wait: Wait,
    /// To each node, by id. The own one stays empty.
    outgoing: Vec<Arc<Ring>>,
    /// From each node, by id.
    incoming: Vec<Arc<Ring>>,
    doorbells: Vec<Arc<Doorbell>>,
    parker: Parker,
    /// Scratch: who was sent something since the last ring of the bells.
    touched: Vec<bool>,
    writer: Writer,
    /// The own doorbell.
    waker: Waker,
    counters: Counters,
}

type Ring = ArrayQueue<Frame>;

/// How one node's sleep is ended.
#[derive(Debug)]
struct Doorbell {
    asleep: AtomicBool,
    unparker: Unparker,
}

impl Doorbell {
    /// Whether somebody slept.
    fn ring(&self) -> bool {
        let asleep = self.asleep.swap(false, Ordering::SeqCst);
        if asleep {
            self.unparker.unpark();
        }
        asleep
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        fence(Ordering::SeqCst);
        self.ring();
    }
}

/// Nodes `0..nodes`, each joined to each.
pub fn mesh(nodes: usize, clock: Clock, options: &Options) -> Vec<Mem> {
    let parkers: Vec<Parker> = (0..nodes).map(|_| Parker::new()).collect();
    let doorbell = |parker: &Parker| Doorbell { asleep: AtomicBool::new(false), unparker: parker.unparker().clone() };
    let doorbells: Vec<_> = parkers.iter().map(|parker| Arc::new(doorbell(parker))).collect();
    let capacity = |from, to| if from == to { 1 } else { options.link_frames.max(1) };
    let ring = |from, to| Arc::new(Ring::new(capacity(from, to)));
    let rings: Vec<Vec<Arc<Ring>>> = (0..nodes).map(|from| (0..nodes).map(|to| ring(from, to)).collect()).collect();
    let node = |(id, parker): (usize, Parker)| Mem {
        id: NodeId(id as u32),
        clock,
        wait: options.wait,
        outgoing: rings[id].clone(),
        incoming: rings.iter().map(|row| row[id].clone()).collect(),
        doorbells: doorbells.clone(),
        parker,
        touched: vec![false; nodes],
        writer: Writer::default(),
        waker: doorbells[id].clone().into(),
        counters: Counters::default(),
    };
    parkers.into_iter().enumerate().map(node).collect()
}

impl Mem {
    /// Takes all that has arrived.
    fn take_all(&mut self, inbox: &mut Vec<Frame>) -> bool {
        let before = inbox.len();
        for ring in &self.incoming {
            // Bounded by what is there now: a sender that never stops must not keep the loop here.
            for _ in 0..ring.len() {
                let Some(frame) = ring.pop() else { break };
                self.counters.received_bytes += (Head::BYTES + frame.head.body_len as usize) as u64;
                inbox.push(frame);
            }
        }
        self.counters.received_frames += (inbox.len() - before) as u64;
        inbox.len() > before
    }

    fn sleep_until(&mut self, deadline: Nanos) {
        let bell = &self.doorbells[self.id.0 as usize];
        bell.asleep.store(true, Ordering::SeqCst);
        self.writer.listen(&self.waker);
        // Pairs with the fences before the bell is rung: either who does sees us asleep, or we see what
        // it has for us.
        fence(Ordering::SeqCst);
        if self.incoming.iter().all(|ring| ring.is_empty()) && !self.writer.any_over() {
            let patience = deadline.saturating_since(self.clock.now());
            self.counters.syscalls += 1;
            self.parker.park_timeout(Duration::from_nanos(patience));
        }
        self.doorbells[self.id.0 as usize].asleep.store(false, Ordering::Relaxed);
    }

    /// Wakes whoever sleeps and was sent something: one bell a turn, however many frames.
    fn ring_bells(&mut self) {
        fence(Ordering::SeqCst);
        for (touched, bell) in self.touched.iter_mut().zip(&self.doorbells) {
            self.counters.syscalls += u64::from(std::mem::take(touched) && bell.ring());
        }
    }
}

impl Transport for Mem {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        for Transmit { to, head, body } in transmits.drain(..) {
            for peer in to.iter() {
                let ring = self.outgoing.get(peer.0 as usize).filter(|_| peer != self.id);
                if ring.is_some_and(|ring| ring.push(Frame { head, body: body.clone() }).is_ok()) {
                    self.counters.sent_frames += 1;
                    self.counters.sent_bytes += (Head::BYTES + body.len()) as u64;
                    self.touched[peer.0 as usize] = true;
                } else {
                    self.counters.dropped_frames += 1;
                }
            }
        }
        self.ring_bells();
        Ok(())
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        while !self.take_all(inbox) && !self.writer.any_over() && self.clock.now() < deadline {
            match self.wait {
                Wait::Block => self.sleep_until(deadline),
                polling => self.counters.syscalls += polling.pause(),
            }
        }
        Ok(())
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.writer.write(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.writer.written(done);
    }

    fn counters(&self) -> Counters {
        self.writer.add_to(self.counters)
    }
}
