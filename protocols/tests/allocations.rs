//! Once warm, a slot costs no allocation: not in the leader, not in its followers, however many
//! slots go through.

// An allocator cannot be written without `unsafe`; it is here and nowhere else.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use quorumbench_protocols::floors::Star;
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::paxos::Paxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;
use quorumbench_protocols::{Config, Frame, Input, Lsn, Nanos, NodeId, Outbox, Payload, Protocol};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator with the arguments as they came, and the count
// lives in a thread-local without destructor or lazy initialisation, so it allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout, since all of this type's memory does.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nodes and their outboxes, with nothing in between that allocates.
struct Wired<P> {
    nodes: Vec<(P, Outbox)>,
    /// Scratch: what is on its way.
    frames: VecDeque<(NodeId, Frame)>,
    now: Nanos,
    delivered: u64,
    leader: usize,
}

impl<P: Protocol> Wired<P> {
    fn new(replicas: usize) -> Self {
        let node = |id| (P::new(&Config::new(NodeId(id), replicas), u64::from(id)), Outbox::default());
        Self {
            nodes: (0..replicas as u32).map(node).collect(),
            frames: VecDeque::new(),
            now: Nanos(1),
            delivered: 0,
            leader: 0,
        }
    }

    fn step(&mut self, id: usize, input: Input<'_>) {
        let (node, out) = &mut self.nodes[id];
        node.step(self.now, input, out).expect("a correct peer's frame");
    }

    /// Flushes, answers for the disk, and flushes again; what was sent is on its way.
    fn flush(&mut self, id: usize) {
        loop {
            let (node, out) = &mut self.nodes[id];
            node.flush(self.now, out);
            for transmit in out.transmits.drain(..) {
                let frame = Frame { head: transmit.head, body: transmit.body };
                self.frames.extend(transmit.to.iter().map(|to| (to, frame.clone())));
            }
            self.delivered += out.deliveries.len() as u64;
            let durable = out.records.last().map_or(Lsn::ZERO, |record| record.lsn);
            out.clear();
            if durable == Lsn::ZERO {
                return;
            }
            node.step(self.now, Input::Durable(durable), out).expect("no frame");
        }
    }

    fn settle(&mut self) {
        while let Some((to, frame)) = self.frames.pop_front() {
            self.step(to.0 as usize, Input::Frame(&frame));
            self.flush(to.0 as usize);
        }
    }

    /// `slots` batches in one turn of the leader, and all that follows from them.
    fn commit(&mut self, body: &Payload, slots: usize) {
        for _ in 0..slots {
            self.step(self.leader, Input::Submit(body));
        }
        self.flush(self.leader);
        self.settle();
    }
}

fn costs_nothing<P: Protocol>(wired: Wired<P>) {
    costs_nothing_by(wired, 32, 1000, Wired::commit);
}

/// So many `rounds` of up to `most` slots, brought to an end by `commit`.
fn costs_nothing_by<P: Protocol>(
    mut wired: Wired<P>,
    most: usize,
    rounds: usize,
    commit: fn(&mut Wired<P>, &Payload, usize),
) {
    // A client's chunk is shared from the start; a `Bytes` made of a vector becomes so when it is
    // first cloned, with an allocation that is not the protocol's.
    let body: Payload = Bytes::from(vec![7; 1024]).into();
    let _shared = body.clone();
    for round in 0..200 {
        commit(&mut wired, &body, 1 + round % most);
    }
    let (before, delivered) = (ALLOCATIONS.get(), wired.delivered);
    for round in 0..rounds {
        commit(&mut wired, &body, 1 + round % most);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let slots = (wired.delivered - delivered) / wired.nodes.len() as u64;
    assert!(slots > 10_000, "{slots} slots went through");
}

/// Node 0 leads.
fn elected<P: Protocol>(replicas: usize) -> Wired<P> {
    let mut wired = Wired::<P>::new(replicas);
    wired.step(0, Input::Timeout);
    wired.now = wired.nodes[0].0.deadline();
    wired.step(0, Input::Timeout);
    wired.flush(0);
    wired.settle();
    assert!(wired.nodes[0].0.room() > 0, "node 0 leads");
    wired
}

#[test]
fn a_slot_of_raft_allocates_nothing() {
    [1, 3, 5].into_iter().for_each(|replicas| costs_nothing(elected::<Raft>(replicas)));
}

#[test]
fn a_slot_of_multipaxos_allocates_nothing() {
    [1, 3, 5].into_iter().for_each(|replicas| costs_nothing(elected::<MultiPaxos>(replicas)));
}

/// One slot, and a heartbeat of everyone's: what all know durably is let go when they say so.
fn decide(wired: &mut Wired<Paxos>, body: &Payload, slots: usize) {
    wired.commit(body, slots);
    wired.now = wired.nodes.iter().map(|(node, _)| node.deadline()).max().unwrap_or(wired.now);
    for id in 0..wired.nodes.len() {
        wired.step(id, Input::Timeout);
        wired.flush(id);
    }
    wired.settle();
}

#[test]
fn a_slot_of_paxos_allocates_nothing() {
    for replicas in [1, 3, 5] {
        costs_nothing_by(Wired::<Paxos>::new(replicas), 1, 10_001, decide);
    }
}

#[test]
fn a_slot_of_zab_allocates_nothing() {
    for replicas in [1, 3, 5] {
        let mut wired = Wired::<Zab>::new(replicas);
        // Everyone looks, waits a moment, and the last becomes the leader.
        while wired.nodes.iter().all(|(node, _)| node.room() == 0) {
            wired.now = wired.nodes.iter().map(|(node, _)| node.deadline()).min().expect("a node").max(wired.now);
            for id in 0..replicas {
                if wired.nodes[id].0.deadline() <= wired.now {
                    wired.step(id, Input::Timeout);
                }
                wired.flush(id);
                wired.settle();
            }
        }
        wired.leader = replicas - 1;
        assert!(wired.nodes[wired.leader].0.room() > 0, "the last node leads");
        costs_nothing(wired);
    }
}

#[test]
fn a_slot_of_star_allocates_nothing() {
    let mut wired = Wired::<Star>::new(3);
    for follower in [1, 2] {
        wired.step(follower, Input::Timeout);
        wired.flush(follower);
    }
    wired.settle();
    costs_nothing(wired);
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(Box::new(7));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
