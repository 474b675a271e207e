//! Plumtree: Leitão, Pereira, Rodrigues, *Epidemic Broadcast Trees* (SRDS 2007), algorithms 1 and 2.
//!
//! What a node hears in a cycle it looks at when the cycle is over: updates first, then PRUNE, IHAVE, GRAFT. What follows
//! from it is said in its next turn.

use std::collections::{BTreeMap, VecDeque};

use super::Gossip;
use super::config::Style;
use super::message::Message;
use crate::io::Outbox;
use crate::prng::Prng;
use crate::wire::{NodeId, Payload, Slot};

/// A node's place in the tree, and what it has to do there.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Its peers, and whether updates are only announced over the link.
    links: Vec<(u32, bool)>,
    heard: Heard,
    /// What it sends in its next turn: to all of its peers, to who asked for it, and to whose update came second.
    fresh: Vec<Slot>,
    asked: Vec<(NodeId, Slot)>,
    prunes: Vec<NodeId>,
    /// What it does not know, but others do.
    missing: BTreeMap<Slot, Missing>,
}

/// What came in this cycle.
#[derive(Clone, Debug, Default)]
struct Heard {
    updates: Vec<(NodeId, Slot)>,
    prunes: Vec<NodeId>,
    announced: Vec<(NodeId, Slot)>,
    grafts: Vec<(NodeId, Slot)>,
}

/// Who announced it, in order, and the cycle at whose start the timer ends, if it runs.
#[derive(Clone, Debug, Default)]
struct Missing {
    announced: VecDeque<NodeId>,
    timer: Option<u64>,
}

/// Cycles that a graft and its answer take: the second timer (section 3.6).
const ROUND_TRIP: u64 = 2;

impl Tree {
    /// Whether it has anything to do, or waits for something.
    pub(super) fn is_busy(&self) -> bool {
        let Heard { updates, prunes, announced, grafts } = &self.heard;
        let heard = updates.len() + prunes.len() + announced.len() + grafts.len();
        let to_say = self.fresh.len() + self.asked.len() + self.prunes.len();
        heard + to_say > 0 || self.missing.values().any(|missing| missing.timer.is_some())
    }

    /// Links that are new are eager (`NeighborUp`), and others stay as they are, or are gone (`NeighborDown`).
    pub(super) fn set_peers(&mut self, peers: &[u32]) {
        let lazy = |peer: u32| self.links.iter().any(|&(linked, is_lazy)| linked == peer && is_lazy);
        self.links = peers.iter().map(|&peer| (peer, lazy(peer))).collect();
    }

    /// An update begins here.
    pub(super) fn begin(&mut self, number: Slot) {
        self.fresh.push(number);
    }

    fn make_lazy(&mut self, peer: NodeId, is_lazy: bool) {
        if let Some(link) = self.links.iter_mut().find(|link| link.0 == peer.0) {
            link.1 = is_lazy;
        }
    }

    /// IHAVE: noted; and if no timer runs, one begins.
    fn note(&mut self, from: NodeId, number: Slot, timer: u64) {
        let missing = self.missing.entry(number).or_default();
        missing.announced.push_back(from);
        missing.timer.get_or_insert(timer);
    }

    /// Whose timers have ended: whom to ask for what. Who is no peer any more is passed over.
    fn grafts(&mut self, cycle: u64) -> Vec<(NodeId, Slot)> {
        let mut grafts = Vec::new();
        for (&number, missing) in &mut self.missing {
            if missing.timer.is_none_or(|end| end > cycle) {
                continue;
            }
            missing.timer = None;
            while let Some(peer) = missing.announced.pop_front() {
                if self.links.iter().any(|link| link.0 == peer.0) {
                    missing.timer = Some(cycle + ROUND_TRIP);
                    grafts.push((peer, number));
                    break;
                }
            }
        }
        grafts.iter().for_each(|&(peer, _)| self.make_lazy(peer, false));
        grafts
    }
}

impl Gossip {
    pub(super) fn is_tree(&self) -> bool {
        matches!(self.config.style, Style::Plumtree { .. })
    }

    /// An update has come: it is delivered at once.
    pub(super) fn on_branch(&mut self, from: NodeId, number: Slot, body: &Payload, out: &mut Outbox) {
        self.learn(number, body, false, Some(from), out);
        self.tree.heard.updates.push((from, number));
    }

    pub(super) fn on_prune(&mut self, from: NodeId) {
        self.tree.heard.prunes.push(from);
    }

    pub(super) fn on_announcement(&mut self, from: NodeId, number: Slot) {
        self.tree.heard.announced.push((from, number));
    }

    pub(super) fn on_graft(&mut self, from: NodeId, number: Slot) {
        self.tree.heard.grafts.push((from, number));
    }

    /// The cycle is over: links become what its messages say.
    pub(super) fn look_back(&mut self) {
        let Style::Plumtree { graft_timeout } = self.config.style else { return };
        let Heard { mut updates, prunes, mut announced, grafts } = std::mem::take(&mut self.tree.heard);
        let (tree, cycle) = (&mut self.tree, self.cycle);
        shuffle(&mut updates, &mut self.prng);
        for (from, number) in updates {
            let rumor = self.rumors.get_mut(&number).filter(|rumor| rumor.since == cycle && rumor.from.is_some());
            let is_new = rumor.is_some() && !tree.fresh.contains(&number);
            if is_new {
                rumor.into_iter().for_each(|rumor| rumor.from = Some(from));
                tree.fresh.push(number);
                tree.missing.remove(&number);
            } else {
                tree.prunes.push(from);
            }
            tree.make_lazy(from, !is_new);
        }
        prunes.into_iter().for_each(|from| tree.make_lazy(from, true));
        shuffle(&mut announced, &mut self.prng);
        for (from, number) in announced {
            if !self.rumors.contains_key(&number) {
                tree.note(from, number, cycle + graft_timeout);
            }
        }
        for (from, number) in grafts {
            tree.make_lazy(from, false);
            if self.rumors.contains_key(&number) {
                tree.asked.push((from, number));
            }
        }
    }

    /// Its turn: what it was asked for, PRUNE, and the updates that are new to it, to all but those that they are from;
    /// over lazy links only IHAVE. Last, GRAFT.
    pub(super) fn tend(&mut self, out: &mut Outbox) {
        for (to, number) in std::mem::take(&mut self.tree.asked) {
            self.send_branch(to, number, out);
        }
        for to in std::mem::take(&mut self.tree.prunes) {
            self.say(Message::Prune, to, Payload::EMPTY, out);
        }
        for number in std::mem::take(&mut self.tree.fresh) {
            let sender = self.rumors.get(&number).and_then(|rumor| rumor.from);
            for index in 0..self.tree.links.len() {
                let (peer, is_lazy) = self.tree.links[index];
                if sender == Some(NodeId(peer)) {
                    continue;
                }
                if is_lazy {
                    self.contacts += 1;
                    self.say(Message::IHave { number }, NodeId(peer), Payload::EMPTY, out);
                } else {
                    self.send_branch(NodeId(peer), number, out);
                }
            }
        }
        for (to, number) in self.tree.grafts(self.cycle) {
            self.say(Message::Graft { number }, to, Payload::EMPTY, out);
        }
    }

    fn send_branch(&mut self, to: NodeId, number: Slot, out: &mut Outbox) {
        if let Some(rumor) = self.rumors.get(&number) {
            self.contacts += 1;
            self.tell(to, number, rumor, false, out);
        }
    }
}

fn shuffle<T>(items: &mut [T], prng: &mut Prng) {
    for last in (1..items.len()).rev() {
        items.swap(last, prng.below(last as u64 + 1) as usize);
    }
}
