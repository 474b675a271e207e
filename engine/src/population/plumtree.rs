//! Plumtree: Leitão, Pereira, Rodrigues, *Epidemic Broadcast Trees* (SRDS 2007), algorithms 1 and 2.

use quorumbench_protocols::Prng;

use super::Trial;
use super::bits::Bits;
use super::members::Members;
use super::spread::ORIGIN;
use super::views::Views;
use crate::spec::Gossip;

/// Nodes with an overlay, and in it the tree that one broadcast after the other makes.
#[derive(Clone, Debug)]
pub(super) struct Tree<'a> {
    gossip: &'a Gossip,
    nodes: usize,
    members: Members,
    known: Bits,
    /// Who got the update in this cycle, and from whom.
    fresh: Vec<Message>,
    /// Who announced it, in order, to each node that does not know it.
    announced: Vec<Vec<u32>>,
    /// Those whose timer runs, and when each ends.
    timers: Vec<(u32, u64)>,
    /// The same as a set.
    waiting: Bits,
    /// What is sent in the next cycle: updates that were asked for, and PRUNE.
    asked: Vec<Message>,
    prunes: Vec<Message>,
    prng: Prng,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    from: u32,
    to: u32,
}

/// What is under way in one cycle.
#[derive(Debug, Default)]
struct Sent {
    updates: Vec<Message>,
    prunes: Vec<Message>,
    announcements: Vec<Message>,
    grafts: Vec<Message>,
}

/// Cycles that a graft and its answer take: the second timer (section 3.6).
const ROUND_TRIP: u64 = 2;

impl<'a> Tree<'a> {
    pub(super) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            gossip,
            nodes,
            members: Members::new(nodes, gossip),
            known: Bits::new(nodes),
            fresh: Vec::new(),
            announced: vec![Vec::new(); nodes],
            timers: Vec::new(),
            waiting: Bits::new(nodes),
            asked: Vec::new(),
            prunes: Vec::new(),
            prng: Prng::new(0),
        }
    }

    /// All broadcasts over a new overlay, of which the last is told; `None` if `go_on` is false.
    pub(super) fn trial(&mut self, prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        self.prng = prng;
        if !self.members.begin(&mut self.prng, go_on) {
            return None;
        }
        let mut last = None;
        for broadcast in 1..=self.gossip.broadcasts {
            self.members.hold(broadcast < self.gossip.broadcasts);
            last = Some(self.broadcast(go_on)?);
        }
        last
    }

    fn broadcast(&mut self, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        let mut trial = Trial::default();
        self.known.clear();
        self.announced.iter_mut().for_each(Vec::clear);
        self.asked.clear();
        self.prunes.clear();
        self.timers.clear();
        self.waiting.clear();
        self.known.add(ORIGIN);
        self.fresh = vec![Message { from: ORIGIN, to: ORIGIN }];
        let mut cycle = 0;
        while !self.is_over() && cycle < self.members.last_cycle() {
            if !go_on() {
                return None;
            }
            cycle += 1;
            self.lose_and_win(&mut trial);
            let sent = self.send(cycle, &mut trial);
            self.receive(sent, cycle);
            trial.arrivals.push(self.fresh.len() as u64);
        }
        trial.down = self.nodes as u64 - self.members.alive();
        trial.is_split = self.members.is_split();
        Some(trial)
    }

    /// Nothing is under way, nor waited for.
    fn is_over(&self) -> bool {
        self.fresh.is_empty() && self.asked.is_empty() && self.prunes.is_empty() && self.timers.is_empty()
    }

    fn lose_and_win(&mut self, trial: &mut Trial) {
        if !self.members.has_churn() {
            return;
        }
        self.members.cycle(&mut self.prng);
        let mut knew = 0;
        for &node in &self.members.gone {
            knew += u64::from(self.known.has(node));
            self.known.drop(node);
            self.announced[node as usize].clear();
        }
        let members = &self.members;
        self.members.gone.iter().for_each(|&node| self.waiting.drop(node));
        self.timers.retain(|&(node, _)| members.is_up(node));
        // Who has got it sends it on, though whoever it is from may be gone.
        self.fresh.retain(|message| members.is_up(message.to));
        for queue in [&mut self.asked, &mut self.prunes] {
            queue.retain(|message| members.is_up(message.to) && members.is_up(message.from));
        }
        trial.departures.push(knew);
    }

    /// What is sent in a cycle: by those that are new to the update, to all of their peers, what was asked for, and what
    /// timers ask for.
    fn send(&mut self, cycle: u64, trial: &mut Trial) -> Sent {
        let mut sent = Sent {
            updates: std::mem::take(&mut self.asked),
            prunes: std::mem::take(&mut self.prunes),
            ..Sent::default()
        };
        for Message { from: sender, to: from } in std::mem::take(&mut self.fresh) {
            for (to, is_lazy) in self.views().links(from).filter(|&(to, _)| to != sender) {
                let queue = if is_lazy { &mut sent.announcements } else { &mut sent.updates };
                queue.push(Message { from, to });
            }
        }
        sent.grafts = self.graft(cycle);
        trial.sent += sent.updates.len() as u64;
        trial.control += (sent.prunes.len() + sent.announcements.len() + sent.grafts.len()) as u64;
        trial.contacts += (sent.updates.len() + sent.announcements.len()) as u64;
        sent
    }

    /// Whose timer ended without the update asks for it, and waits for that.
    fn graft(&mut self, cycle: u64) -> Vec<Message> {
        let mut grafts = Vec::new();
        let mut timers = std::mem::take(&mut self.timers);
        timers.retain_mut(|(node, end)| {
            if self.known.has(*node) || *end > cycle {
                return !self.known.has(*node);
            }
            let announced = &mut self.announced[*node as usize];
            while !announced.is_empty() {
                let peer = announced.remove(0);
                // One that is no peer any more is passed over (NeighborDown).
                if self.members.views().is_some_and(|views| views.active(*node).contains(&peer)) {
                    grafts.push(Message { from: *node, to: peer });
                    *end = cycle + ROUND_TRIP;
                    return true;
                }
            }
            self.waiting.drop(*node);
            false
        });
        self.timers = timers;
        for &Message { from, to } in &grafts {
            self.views_mut().make_lazy(from, to, false);
        }
        grafts
    }

    /// What arrives at the cycle's end.
    fn receive(&mut self, mut sent: Sent, cycle: u64) {
        shuffle(&mut sent.updates, &mut self.prng);
        for message in sent.updates {
            self.hear(message);
        }
        for Message { from, to } in sent.prunes {
            self.views_mut().make_lazy(to, from, true);
        }
        shuffle(&mut sent.announcements, &mut self.prng);
        for Message { from, to } in sent.announcements.into_iter().filter(|message| !self.known.has(message.to)) {
            self.announced[to as usize].push(from);
            if !self.waiting.has(to) {
                self.waiting.add(to);
                self.timers.push((to, cycle + self.gossip.graft_timeout as u64));
            }
        }
        for Message { from, to } in sent.grafts {
            self.views_mut().make_lazy(to, from, false);
            if self.known.has(to) {
                self.asked.push(Message { from: to, to: from });
            }
        }
        let known = &self.known;
        self.timers.retain(|&(node, _)| !known.has(node));
    }

    /// An update: the link is of the tree if it is new, and else is not.
    fn hear(&mut self, Message { from, to }: Message) {
        let is_lost = self.gossip.loss > 0.0 && self.prng.unit() < self.gossip.loss;
        if is_lost || !self.members.is_up(to) {
            return;
        }
        let is_new = !self.known.has(to);
        if is_new {
            self.known.add(to);
            self.fresh.push(Message { from, to });
        } else {
            self.prunes.push(Message { from: to, to: from });
        }
        self.views_mut().make_lazy(to, from, !is_new);
    }

    fn views(&self) -> &Views {
        self.members.views().expect("a tree is in an overlay")
    }

    fn views_mut(&mut self) -> &mut Views {
        self.members.views_mut().expect("a tree is in an overlay")
    }
}

fn shuffle(messages: &mut [Message], prng: &mut Prng) {
    for last in (1..messages.len()).rev() {
        messages.swap(last, prng.below(last as u64 + 1) as usize);
    }
}
