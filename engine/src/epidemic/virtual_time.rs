//! Nodes that gossip in virtual time: a queue of turns, and frames that take their time.

use bytes::Bytes;
use quorumbench_protocols::gossip::Gossip as Node;
use quorumbench_protocols::gossip::message::Message;
use quorumbench_protocols::{Frame, Head, Input, Nanos, NodeId, Outbox, Payload, Prng, Transmit};

use super::{Rules, Trips, Updates};
use crate::population::{Members, Trial};
use crate::sim::queue::Queue;
use crate::spec::{Gossip, Style};

/// As many nodes as there are, among which one update after the other spreads.
///
/// How long a cycle is does not matter: unless messages are [given](Gossip::latency) their time, a trip is so short
/// against it that no two contacts are under way at once, but by a rare chance. So nodes have their turns one after the
/// other, in a random order.
#[derive(Debug)]
pub struct VirtualTime<'a> {
    nodes: usize,
    gossip: &'a Gossip,
    rules: Rules,
    members: Vec<Node>,
    /// Who is up, and who may talk to whom.
    overlay: Members,
    /// When each member's next turn is, of those that have one.
    turns: Queue<u32>,
    trips: Trips,
    out: Outbox,
    /// Whether an update is lost, and who crashes and joins.
    prng: Prng,
    /// The cycle that it is in, counted from 1, and the first one of this broadcast.
    cycle: u64,
    first: u64,
    /// Members that spread an update.
    spreading: usize,
    /// Messages of a tree that carry no update.
    control: u64,
    updates: Updates,
}

/// The length of a cycle: the first begins at this time, too, and what arrives in it arrives in round 1.
const CYCLE: u64 = 1_000_000_000_000;
/// One way between any two, if trips take no time to speak of.
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
            trips: Trips::new(TRIP, gossip.mean_trip(CYCLE)),
            out: Outbox::default(),
            prng: Prng::new(0),
            cycle: 0,
            first: 1,
            spreading: 0,
            control: 0,
            updates: Updates::new(nodes, gossip, &mut Prng::new(0)),
        }
    }

    /// One epidemic from beginning to end; over a tree, as many as there are broadcasts, of which the last is told.
    /// `None` if `go_on`, asked now and then, is false.
    pub fn trial(&mut self, prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        if !self.begin(prng, go_on) {
            return None;
        }
        let broadcasts = if self.gossip.style == Style::Plumtree { self.gossip.broadcasts } else { 1 };
        let mut events = 0_u64;
        for broadcast in 1..=broadcasts {
            self.overlay.hold(broadcast < broadcasts);
            if broadcast > 1 {
                self.updates.begin_again(self.nodes);
            }
            self.submit();
            while !self.is_over() {
                if events.is_multiple_of(LOOK_EVENTS) && !go_on() {
                    return None;
                }
                events += 1;
                self.event();
            }
        }
        let seen = Trial {
            contacts: self.members.iter().map(Node::contacts).sum(),
            control: self.control,
            down: self.nodes as u64 - self.overlay.alive(),
            is_split: self.overlay.is_split(),
            ..Trial::default()
        };
        let next = Updates::new(self.nodes, self.gossip, &mut Prng::new(0));
        Some(std::mem::replace(&mut self.updates, next).trial(&seen))
    }

    /// New nodes, that know nothing.
    fn begin(&mut self, mut prng: Prng, go_on: &dyn Fn() -> bool) -> bool {
        self.trips.clear();
        self.turns = Queue::new();
        (self.cycle, self.spreading) = (0, 0);
        self.members.clear();
        let members = self.rules.members(Nanos(CYCLE), CYCLE, &mut prng);
        self.members.extend(members.map(|(config, seed)| Node::new(config, seed)));
        (0..self.nodes as u32).for_each(|id| self.plan(NodeId(id)));
        self.updates = Updates::new(self.nodes, self.gossip, &mut prng);
        if !self.overlay.begin(&mut prng, go_on) {
            return false;
        }
        self.introduce();
        self.prng = prng;
        true
    }

    /// Everyone hears whom it may talk to.
    fn introduce(&mut self) {
        for (id, node) in (0..).zip(&mut self.members) {
            self.overlay.view(id).into_iter().for_each(|view| node.set_peers(view));
        }
    }

    /// Some are brought the updates, at the end of a cycle.
    fn submit(&mut self) {
        (self.first, self.control) = (self.cycle + 1, 0);
        let update = Payload::from(Bytes::from(vec![0; self.gossip.payload]));
        for origin in self.updates.origins.clone() {
            self.step(Nanos(self.first * CYCLE - 1), origin, Input::Submit(&update));
        }
    }

    /// True if nothing can happen any more: nobody spreads anything; or everyone knows all, and the cycle is over.
    fn is_over(&self) -> bool {
        let ends_cycle = self.next_at().0 / CYCLE > self.cycle;
        match self.gossip.style {
            _ if ends_cycle && self.cycle - (self.first - 1) >= self.overlay.last_cycle() => true,
            Style::AntiEntropy => {
                let is_under_way = self.trips.carry_updates();
                ends_cycle && self.gossip.join == 0.0 && self.updates.are_settled(self.overlay.alive(), is_under_way)
            }
            // The turns of those that have nothing to say any more come before the next broadcast.
            Style::Plumtree => ends_cycle && self.spreading == 0,
            _ => self.spreading == 0 && !self.trips.carry_updates(),
        }
    }

    /// The next event.
    fn next_at(&self) -> Nanos {
        self.turns.next_at().unwrap_or(Nanos::NEVER).min(self.trips.next_at())
    }

    fn event(&mut self) {
        let next_at = self.next_at();
        if next_at.0 / CYCLE > self.cycle {
            return self.begin_cycle();
        }
        if self.trips.next_at() <= next_at {
            let (at, frame) = self.trips.pop().expect("there is one");
            let to = Message::recipient(&frame.head);
            if self.overlay.is_up(to.0) {
                self.step(at, to, Input::Frame(&frame));
            }
        } else if let Some((at, node)) = self.turns.pop()
            && self.overlay.is_up(node)
            // One that was down has other turns now.
            && self.members[node as usize].deadline() == at
        {
            self.step(at, NodeId(node), Input::Timeout);
            self.plan(NodeId(node));
        }
    }

    /// Another cycle: some crash, and some join, who know nothing. Not if the epidemic ended with the last one, which
    /// nodes would notice only in their turns.
    fn begin_cycle(&mut self) {
        let now = Nanos((self.cycle + 1) * CYCLE);
        if self.overlay.changes() {
            self.settle(now);
            if self.is_over() {
                return;
            }
        }
        self.cycle += 1;
        if !self.overlay.has_churn() {
            return;
        }
        self.overlay.cycle(&mut self.prng);
        for index in 0..self.overlay.gone.len() {
            let node = &mut self.members[self.overlay.gone[index] as usize];
            self.spreading -= usize::from(node.spreads());
            self.updates.lost(self.cycle - (self.first - 1), |number| node.knows(number), |_| ());
            node.restart(now, self.prng.next_u64());
        }
        for index in 0..self.overlay.joined.len() {
            let id = self.overlay.joined[index];
            self.members[id as usize].restart(now, self.prng.next_u64());
            self.plan(NodeId(id));
        }
        self.introduce();
    }

    /// What was said in the cycle that ends now has its effect on those that spread something.
    fn settle(&mut self, now: Nanos) {
        for node in self.members.iter_mut().filter(|node| node.spreads()) {
            node.settle(now);
            self.spreading -= usize::from(!node.spreads());
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
            if let Some(after) = now.0.checked_sub(self.first * CYCLE) {
                self.updates.arrived(delivery.slot, after, CYCLE);
            }
        }
        self.trips.depart(now);
        for Transmit { head, body, .. } in self.out.transmits.drain(..) {
            if !self.overlay.is_up(Message::recipient(&head).0) {
                refusal(&Frame { head, body }).into_iter().for_each(|answer| self.trips.push(answer, &mut self.prng));
                continue;
            }
            self.control += u64::from(Message::is_control(&head));
            if let Some(number) = Message::update(&head) {
                self.updates.sent(number);
                if self.gossip.loss > 0.0 && self.prng.unit() < self.gossip.loss {
                    continue;
                }
            }
            self.trips.push(Frame { head, body }, &mut self.prng);
        }
    }

    fn plan(&mut self, id: NodeId) {
        let at = self.members[id.0 as usize].deadline();
        if at < Nanos::NEVER {
            self.turns.push(at, id.0);
        }
    }
}

/// What comes of a contact with a node that is down, for whoever began it: nobody is there who would have it, and nothing
/// goes over it.
pub(crate) fn refusal(frame: &Frame) -> Option<Frame> {
    let answer = match Message::read(frame).ok()? {
        Message::Connect { contact } => Message::Refuse { contact },
        Message::Digest { contact } => Message::Want { contact },
        _ => return None,
    };
    let head = answer.head(Message::recipient(&frame.head), Message::sender(&frame.head));
    Some(Frame { head: Head { group: frame.head.group, ..head }, body: Payload::EMPTY })
}
