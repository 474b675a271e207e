//! Whom a node talks to: one of those that it may talk to, as long as that one accepts.

use quorumbench_protocols::Prng;

use super::history::History;
use super::members::Members;
use super::places::Places;
use crate::spec::{Gossip, PartnerChoice};

/// Draws partners, and remembers who has accepted how many of them.
#[derive(Clone, Debug)]
pub(super) struct Partners {
    nodes: u32,
    hunt_limit: Option<usize>,
    /// Those of the node whose turn it is.
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
            places: Places::new(nodes, gossip.partners, gossip.exponent),
            is_anyone: gossip.partners == PartnerChoice::Uniform && members.views().is_none(),
            members,
        }
    }

    /// True where a partner is any other node, and always there: [`other`].
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
        if self.members.views().is_none() {
            for _ in 0..TRIES {
                let partner = match &self.places {
                    Some(places) => places.draw(node, prng),
                    None => other(node, self.nodes, prng),
                };
                if !self.chosen.contains(&partner) && !history.avoids(node, partner) {
                    return Some(partner);
                }
            }
        }
        self.any_of(node, |partner| !history.avoids(node, partner), prng).or_else(|| self.any_of(node, |_| true, prng))
    }

    /// One of those that it may talk to, by looking at them all.
    fn any_of(&self, node: u32, suits: impl Fn(u32) -> bool, prng: &mut Prng) -> Option<u32> {
        let fits = |&partner: &u32| partner != node && !self.chosen.contains(&partner) && suits(partner);
        let fitting: Vec<u32> = match self.members.views() {
            Some(views) => views.active(node).iter().copied().filter(fits).collect(),
            None => (0..self.nodes).filter(fits).collect(),
        };
        let Some(places) = &self.places else {
            return (!fitting.is_empty()).then(|| fitting[prng.below(fitting.len() as u64) as usize]);
        };
        let sum: f64 = fitting.iter().map(|&partner| places.weight_of(node, partner)).sum();
        let mut left = prng.unit() * sum;
        let drawn = fitting.iter().copied().find(|&partner| {
            left -= places.weight_of(node, partner);
            left < 0.0
        });
        drawn.or(fitting.last().copied())
    }

    /// The first of `1 + hunts` who accepts.
    fn accepting(&self, node: u32, hunts: usize, history: &History, prng: &mut Prng) -> Option<u32> {
        let desks = self.desks.as_ref().expect("only desks refuse");
        (0..=hunts).filter_map(|_| self.stranger(node, history, prng)).find(|&partner| desks.is_open(partner))
    }
}

/// Draws after which those that are left are looked at one by one.
const TRIES: usize = 64;

/// Uniformly any node but this one.
#[inline]
pub(super) fn other(node: u32, nodes: u32, prng: &mut Prng) -> u32 {
    let drawn = prng.below(u64::from(nodes - 1)) as u32;
    drawn + u32::from(drawn >= node)
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
