//! Whom a node talks to: one of those that it may talk to, as long as that one accepts.

use quorumbench_protocols::Prng;
use quorumbench_protocols::gossip::{Choice, Places, other};

use super::history::History;
use super::members::Members;
use super::places::places;
use crate::spec::{Gossip, PartnerChoice};

/// Draws partners, and remembers who has accepted how many of them.
#[derive(Clone, Debug)]
pub(super) struct Partners {
    nodes: u32,
    hunt_limit: Option<usize>,
    /// Those of the node whose turn it is, and those that refused it.
    chosen: Vec<u32>,
    /// `None` where everyone accepts all.
    desks: Option<Desks>,
    /// `None` where nodes have no places.
    places: Option<Places>,
    pub(super) members: Members,
    /// Whether any other node is as good a partner as any.
    is_anyone: bool,
}

impl Partners {
    pub(super) fn new(nodes: usize, gossip: &Gossip) -> Self {
        let members = Members::new(nodes, gossip);
        Self {
            nodes: nodes as u32,
            hunt_limit: gossip.hunt_limit,
            chosen: Vec::with_capacity(gossip.fanout),
            desks: gossip.connection_limit.map(|limit| Desks::new(nodes, limit)),
            places: places(nodes, gossip),
            is_anyone: gossip.partners == PartnerChoice::Uniform && members.views().is_none(),
            members,
        }
    }

    /// True where a partner is any other node, and always there.
    pub(super) fn is_uniform(&self) -> bool {
        self.is_anyone && self.desks.is_none() && !self.members.has_churn()
    }

    /// Everyone accepts again.
    pub(super) fn begin_cycle(&mut self) {
        if let Some(desks) = &mut self.desks {
            desks.open(&self.members);
        }
    }

    /// It is another node's turn.
    pub(super) fn begin_turn(&mut self) {
        self.chosen.clear();
    }

    /// Another partner of `node` in its turn; `None` if none accepted, or the one that was chosen is down.
    pub(super) fn next(&mut self, node: u32, history: &History, prng: &mut Prng) -> Option<u32> {
        let partner = match (&self.desks, self.hunt_limit) {
            (None, _) => self.stranger(node, history, prng),
            (Some(_), Some(hunts)) => self.accepting(node, hunts, history, prng),
            (Some(desks), None) => desks.any_open(node, &self.chosen, prng),
        }?;
        self.chosen.push(partner);
        if let Some(desks) = &mut self.desks {
            desks.accept(partner);
        }
        self.members.is_up(partner).then_some(partner)
    }

    /// Someone else, whom it has not chosen in this turn, nor would rather not choose. `None` if there is nobody.
    #[inline]
    fn stranger(&self, node: u32, history: &History, prng: &mut Prng) -> Option<u32> {
        if !self.is_anyone {
            return self.chosen_stranger(node, history, prng);
        }
        loop {
            let partner = other(node, self.nodes, prng);
            if !self.chosen.contains(&partner) {
                return Some(partner);
            }
        }
    }

    /// The same where not all are as good.
    fn chosen_stranger(&self, node: u32, history: &History, prng: &mut Prng) -> Option<u32> {
        let choice = Choice { node, nodes: self.nodes, places: self.places.as_ref(), view: self.members.view(node) };
        choice.draw(&self.chosen, |partner| history.avoids(node, partner), prng)
    }

    /// The first of `1 + hunts` who accepts. Nobody is asked twice in a turn.
    fn accepting(&mut self, node: u32, hunts: usize, history: &History, prng: &mut Prng) -> Option<u32> {
        for _ in 0..=hunts {
            if self.chosen.len() + 1 >= self.nodes as usize {
                return None;
            }
            let partner = self.stranger(node, history, prng)?;
            if self.desks.as_ref().is_some_and(|desks| desks.is_open(partner)) {
                return Some(partner);
            }
            self.chosen.push(partner);
        }
        None
    }
}

/// Who still accepts in this cycle.
#[derive(Clone, Debug)]
struct Desks {
    limit: u16,
    accepted: Vec<u16>,
    /// Those that have not accepted as many as they may, in no order.
    open: Vec<u32>,
    /// Where in there each of them is.
    places: Vec<u32>,
}

impl Desks {
    fn new(nodes: usize, limit: usize) -> Self {
        Self { limit: limit as u16, accepted: vec![0; nodes], open: Vec::with_capacity(nodes), places: vec![0; nodes] }
    }

    /// All accept again, but those that are down.
    fn open(&mut self, members: &Members) {
        let nodes = self.accepted.len() as u32;
        self.accepted.fill(0);
        self.open.clear();
        self.open.extend(0..nodes);
        self.places.iter_mut().zip(0..nodes).for_each(|(place, node)| *place = node);
        if !members.has_churn() {
            return;
        }
        for node in (0..nodes).filter(|&node| !members.is_up(node)) {
            self.accepted[node as usize] = self.limit;
            self.close(node);
        }
    }

    fn is_open(&self, node: u32) -> bool {
        self.accepted[node as usize] < self.limit
    }

    fn accept(&mut self, node: u32) {
        self.accepted[node as usize] += 1;
        if !self.is_open(node) {
            self.close(node);
        }
    }

    fn close(&mut self, node: u32) {
        let place = self.places[node as usize];
        self.open.swap_remove(place as usize);
        if let Some(&moved) = self.open.get(place as usize) {
            self.places[moved as usize] = place;
        }
    }

    /// Uniformly any that accepts: whom a node finds that hunts for as long as it takes.
    fn any_open(&self, node: u32, chosen: &[u32], prng: &mut Prng) -> Option<u32> {
        let fits = |partner: &u32| *partner != node && !chosen.contains(partner);
        if self.open.len() <= chosen.len() + 1 {
            let left: Vec<u32> = self.open.iter().copied().filter(fits).collect();
            return (!left.is_empty()).then(|| left[prng.below(left.len() as u64) as usize]);
        }
        // More than could be unfit, so one of them fits.
        loop {
            let partner = self.open[prng.below(self.open.len() as u64) as usize];
            if fits(&partner) {
                return Some(partner);
            }
        }
    }
}
