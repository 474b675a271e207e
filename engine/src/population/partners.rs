//! Whom a node talks to: uniformly any other, as long as that one accepts.

use quorumbench_protocols::Prng;

use crate::spec::Gossip;

/// Draws partners, and remembers who has accepted how many of them.
#[derive(Clone, Debug)]
pub(super) struct Partners {
    nodes: u32,
    hunt_limit: Option<usize>,
    /// Those of the node whose turn it is.
    chosen: Vec<u32>,
    /// `None` where everyone accepts all.
    desks: Option<Desks>,
}

impl Partners {
    pub(super) fn new(nodes: usize, gossip: &Gossip) -> Self {
        Self {
            nodes: nodes as u32,
            hunt_limit: gossip.hunt_limit,
            chosen: Vec::with_capacity(gossip.fanout),
            desks: gossip.connection_limit.map(|limit| Desks::new(nodes, limit)),
        }
    }

    /// Everyone accepts again.
    pub(super) fn begin_cycle(&mut self) {
        if let Some(desks) = &mut self.desks {
            desks.open();
        }
    }

    /// It is another node's turn.
    pub(super) fn begin_turn(&mut self) {
        self.chosen.clear();
    }

    /// Another partner of `node` in its turn; `None` if none accepted.
    pub(super) fn next(&mut self, node: u32, prng: &mut Prng) -> Option<u32> {
        let partner = match (&self.desks, self.hunt_limit) {
            (None, _) => Some(self.stranger(node, prng)),
            (Some(_), Some(hunts)) => self.accepting(node, hunts, prng),
            (Some(desks), None) => desks.any_open(node, &self.chosen, prng),
        }?;
        self.chosen.push(partner);
        if let Some(desks) = &mut self.desks {
            desks.accept(partner);
        }
        Some(partner)
    }

    /// Someone else, whom it has not chosen in this turn.
    fn stranger(&self, node: u32, prng: &mut Prng) -> u32 {
        loop {
            let partner = other(node, self.nodes, prng);
            if !self.chosen.contains(&partner) {
                return partner;
            }
        }
    }

    /// The first of `1 + hunts` who accepts.
    fn accepting(&self, node: u32, hunts: usize, prng: &mut Prng) -> Option<u32> {
        let desks = self.desks.as_ref().expect("only desks refuse");
        (0..=hunts).map(|_| self.stranger(node, prng)).find(|&partner| desks.is_open(partner))
    }
}

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

    fn open(&mut self) {
        let nodes = self.accepted.len() as u32;
        self.accepted.fill(0);
        self.open.clear();
        self.open.extend(0..nodes);
        self.places.iter_mut().zip(0..nodes).for_each(|(place, node)| *place = node);
    }

    fn is_open(&self, node: u32) -> bool {
        self.accepted[node as usize] < self.limit
    }

    fn accept(&mut self, node: u32) {
        self.accepted[node as usize] += 1;
        if !self.is_open(node) {
            let place = self.places[node as usize];
            self.open.swap_remove(place as usize);
            if let Some(&moved) = self.open.get(place as usize) {
                self.places[moved as usize] = place;
            }
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
