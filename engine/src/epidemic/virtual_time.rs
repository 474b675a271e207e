//! Nodes that gossip in virtual time: a queue of turns, and frames that all take equally long.

use std::collections::VecDeque;

use bytes::Bytes;
use quorumbench_protocols::gossip::Gossip as Node;
use quorumbench_protocols::gossip::message::Message;
use quorumbench_protocols::{Frame, Input, Nanos, NodeId, Outbox, Payload, Prng};

use super::{Rules, Updates};
use crate::population::{Members, Trial};
use crate::sim::queue::Queue;
use crate::spec::{Gossip, Style};

/// As many nodes as there are, among which one update after the other spreads.
///
/// How long a cycle is does not matter: a trip is so short against it that no two contacts are under way at once, but by
/// a rare chance. So nodes have their turns one after the other, in a random order.
#[derive(Debug)]
pub struct VirtualTime<'a> {
    nodes: usize,
    gossip: &'a Gossip,
    rules: Rules,
    members: Vec<Node>,
    /// Who may talk to whom.
    overlay: Members,
    /// When each member's next turn is, of those that have one.
    turns: Queue<u32>,
    /// On their way, in the order of their arrival.
    frames: VecDeque<(Nanos, Frame)>,
    out: Outbox,
    /// Whether an update is lost.
    prng: Prng,
    /// Members that spread an update.
    spreading: usize,
    /// Members that know an update, for each.
    reached: usize,
    updates: Updates,
}

/// The length of a cycle: the first begins at this time, too, and what arrives in it arrives in round 1.
const CYCLE: u64 = 1_000_000_000_000;
/// One way between any two.
const TRIP: u64 = 1_000;
/// Events between two looks at the outside.
const LOOK_EVENTS: u64 = 1 << 12;

impl<'a> VirtualTime<'a> {
    /// Nodes that gossip so.
    pub fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            nodes,
            gossip,
            rules: Rules::new(nodes, gossip),
            members: Vec::with_capacity(nodes),
            overlay: Members::new(nodes, gossip),
            turns: Queue::new(),
            frames: VecDeque::new(),
            out: Outbox::default(),
            prng: Prng::new(0),
            spreading: 0,
            reached: 0,
            updates: Updates::new(nodes, gossip, &mut Prng::new(0)),
        }
    }

    /// One epidemic from beginning to end; `None` if `go_on`, asked now and then, is false.
    pub fn trial(&mut self, prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        self.begin(prng);
        let mut events = 0_u64;
        while !self.is_over() {
            if events.is_multiple_of(LOOK_EVENTS) && !go_on() {
                return None;
            }
            events += 1;
            self.event();
        }
        let contacts = self.members.iter().map(Node::contacts).sum();
        let seen = Trial { contacts, is_split: self.overlay.is_split(), ..Trial::default() };
        let next = Updates::new(self.nodes, self.gossip, &mut Prng::new(0));
        Some(std::mem::replace(&mut self.updates, next).trial(&seen))
    }

    /// New nodes, of which some are brought the updates.
    fn begin(&mut self, mut prng: Prng) {
        self.frames.clear();
        self.turns = Queue::new();
        (self.spreading, self.reached) = (0, 0);
        self.members.clear();
        let members = self.rules.members(Nanos(CYCLE), CYCLE, &mut prng);
        self.members.extend(members.map(|(config, seed)| Node::new(config, seed)));
        (0..self.nodes as u32).for_each(|id| self.plan(NodeId(id)));
        self.updates = Updates::new(self.nodes, self.gossip, &mut prng);
        self.overlay.begin(&mut prng);
        for (id, node) in (0..).zip(&mut self.members) {
            self.overlay.view(id).into_iter().for_each(|view| node.set_peers(view));
        }
        self.prng = prng;
        let update = Payload::from(Bytes::from(vec![0; self.gossip.payload]));
        for origin in self.updates.origins.clone() {
            self.step(Nanos::ZERO, origin, Input::Submit(&update));
        }
    }

    /// True if nothing can happen any more: nobody spreads anything; or everyone knows all, and the cycle is over.
    fn is_over(&self) -> bool {
        let done = match self.gossip.style {
            Style::AntiEntropy => {
                let (all, round) = (self.nodes * self.gossip.rumors, self.updates.last_round());
                self.reached == all && self.turns.next_at().is_none_or(|at| at.0 / CYCLE > round)
            }
            _ => self.spreading == 0,
        };
        done && self.frames.is_empty()
    }

    fn event(&mut self) {
        let turn_at = self.turns.next_at().unwrap_or(Nanos::NEVER);
        if self.frames.front().is_some_and(|(at, _)| *at <= turn_at) {
            let (at, frame) = self.frames.pop_front().expect("there is one");
            self.step(at, Message::recipient(&frame.head), Input::Frame(&frame));
        } else if let Some((at, node)) = self.turns.pop() {
            self.step(at, NodeId(node), Input::Timeout);
            self.plan(NodeId(node));
        }
    }

    fn step(&mut self, now: Nanos, id: NodeId, input: Input<'_>) {
        let node = &mut self.members[id.0 as usize];
        let (spread, deadline) = (node.spreads(), node.deadline());
        node.step(now, input, &mut self.out).expect("nodes understand each other");
        node.flush(now, &mut self.out);
        self.spreading = self.spreading + usize::from(node.spreads()) - usize::from(spread);
        if deadline == Nanos::NEVER {
            self.plan(id);
        }
        for delivery in self.out.deliveries.drain(..) {
            self.reached += 1;
            if let Some(after) = now.0.checked_sub(CYCLE) {
                self.updates.arrived(delivery.slot, after, CYCLE);
            }
        }
        for transmit in self.out.transmits.drain(..) {
            if let Some(number) = Message::update(&transmit.head) {
                self.updates.sent(number);
                if self.gossip.loss > 0.0 && self.prng.unit() < self.gossip.loss {
                    continue;
                }
            }
            self.frames.push_back((now + TRIP, Frame { head: transmit.head, body: transmit.body }));
        }
    }

    fn plan(&mut self, id: NodeId) {
        let at = self.members[id.0 as usize].deadline();
        if at < Nanos::NEVER {
            self.turns.push(at, id.0);
        }
    }
}
