//! The cycles of one epidemic.

use quorumbench_protocols::Prng;

use super::bits::{Bits, for_each_of};
use super::interest::Interests;
use super::partners::{Partners, other};
use crate::spec::{Exchange, Gossip, Interest, Judging, Style};

/// Nodes among which one update spreads, in synchronous cycles.
#[derive(Clone, Debug)]
pub(super) struct Spread<'a> {
    gossip: &'a Gossip,
    nodes: usize,
    /// Who knew the update at the start of the cycle.
    known: Bits,
    /// Who got it in this cycle, and acts from the next.
    fresh: Bits,
    /// `None` for anti-entropy, of which nobody ever tires.
    interests: Option<Interests>,
    partners: Partners,
    /// Where partners refuse, nodes have their turns in a random order: nobody is always the first.
    queue: Vec<u32>,
    prng: Prng,
    /// Updates that were sent.
    pub(super) sent: u64,
    /// Contacts in which one might have been.
    pub(super) contacts: u64,
}

/// Who begins.
const ORIGIN: u32 = 0;

impl<'a> Spread<'a> {
    pub(super) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            gossip,
            nodes,
            known: Bits::new(nodes),
            fresh: Bits::new(nodes),
            interests: (gossip.style == Style::Rumor).then(|| Interests::new(nodes)),
            partners: Partners::new(nodes, gossip),
            queue: Vec::new(),
            prng: Prng::new(0),
            sent: 0,
            contacts: 0,
        }
    }

    /// Only the origin knows the update.
    pub(super) fn begin(&mut self, prng: Prng) {
        self.known.clear();
        self.fresh.clear();
        self.known.add(ORIGIN);
        if let Some(interests) = &mut self.interests {
            interests.begin(ORIGIN);
        }
        (self.prng, self.sent, self.contacts) = (prng, 0, 0);
    }

    /// True if nothing can happen any more: everyone knows the update, or nobody spreads it.
    pub(super) fn is_over(&self, reached: u64) -> bool {
        match &self.interests {
            Some(interests) => interests.infective().is_empty(),
            None => reached == self.nodes as u64,
        }
    }

    /// One cycle. How many got the update in it.
    pub(super) fn cycle(&mut self) -> u64 {
        match (self.interests.is_some(), self.gossip.exchange) {
            (false, Exchange::Push) => self.turns::<false, true, false>(),
            (false, Exchange::Pull) => self.turns::<false, false, true>(),
            (false, Exchange::PushPull) => self.turns::<false, true, true>(),
            (true, Exchange::Push) => self.turns::<true, true, false>(),
            (true, Exchange::Pull) => self.turns::<true, false, true>(),
            (true, Exchange::PushPull) => self.turns::<true, true, true>(),
        }
        if let Some(interests) = &mut self.interests {
            interests.end_cycle(&self.fresh, self.gossip, &mut self.prng);
        }
        let arrived = self.fresh.count();
        self.known.add_all(&self.fresh);
        self.fresh.clear();
        arrived
    }

    /// Everyone's turn who chooses partners.
    fn turns<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self) {
        if self.gossip.connection_limit.is_some() {
            return self.queued_turns::<RUMOR, PUSH, PULL>();
        }
        for index in 0..self.known.len() {
            let known = self.known.word(index);
            let initiators = match &self.interests {
                Some(interests) if !PULL => interests.infective().word(index),
                // Those that have nothing to give, or nothing to gain, need not be looked at.
                None if !PULL => known,
                None if !PUSH => self.known.everyone(index) & !known,
                _ => self.known.everyone(index),
            };
            if self.gossip.fanout > 1 {
                for_each_of(index, initiators, |node| self.turn::<RUMOR, PUSH, PULL>(node));
                continue;
            }
            self.contacts += u64::from(initiators.count_ones());
            let knows = |node: u32| known >> (node % 64) & 1 == 1;
            if RUMOR {
                for_each_of(index, initiators, |node| {
                    let partner = other(node, self.nodes as u32, &mut self.prng);
                    self.meet::<RUMOR, PUSH, PULL>(node, knows(node), partner);
                });
                continue;
            }
            // Most pairs agree. Without a branch on whether they do, a processor looks at many of them at once.
            let (mut partners, mut differ) = ([0; 64], 0);
            for_each_of(index, initiators, |node| {
                let partner = other(node, self.nodes as u32, &mut self.prng);
                partners[node as usize % 64] = partner;
                differ |= u64::from(self.known.has(partner) != knows(node)) << (node % 64);
            });
            for_each_of(index, differ, |node| {
                self.meet::<RUMOR, PUSH, PULL>(node, knows(node), partners[node as usize % 64]);
            });
        }
    }

    /// The same where partners may refuse: in random order, and all who would connect.
    fn queued_turns<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self) {
        self.partners.begin_cycle();
        let mut queue = std::mem::take(&mut self.queue);
        queue.clear();
        for index in 0..self.known.len() {
            let initiators = match &self.interests {
                Some(interests) if !PULL => interests.infective().word(index),
                _ => self.known.everyone(index),
            };
            for_each_of(index, initiators, |node| queue.push(node));
        }
        for last in (1..queue.len()).rev() {
            queue.swap(last, self.prng.below(last as u64 + 1) as usize);
        }
        queue.iter().for_each(|&node| self.turn::<RUMOR, PUSH, PULL>(node));
        self.queue = queue;
    }

    fn turn<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self, node: u32) {
        self.partners.begin_turn();
        for _ in 0..self.gossip.fanout {
            if let Some(partner) = self.partners.next(node, &mut self.prng) {
                self.contacts += 1;
                self.meet::<RUMOR, PUSH, PULL>(node, self.known.has(node), partner);
            }
        }
    }

    #[inline]
    fn meet<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self, node: u32, knows: bool, partner: u32) {
        if RUMOR {
            self.gossip_with::<PUSH, PULL>(node, partner);
        } else {
            self.resolve_with::<PUSH, PULL>(node, knows, partner);
        }
    }

    /// Anti-entropy: the two compare, and only what is missing is sent (Demers et al. 1987, section 1.3).
    #[inline]
    fn resolve_with<const PUSH: bool, const PULL: bool>(&mut self, node: u32, knows: bool, partner: u32) {
        match (knows, self.known.has(partner)) {
            (true, false) if PUSH && self.is_missing(partner) => _ = self.send(partner),
            (false, true) if PULL && self.is_missing(node) => _ = self.send(node),
            _ => {}
        }
    }

    /// Rumors: whoever is infective sends, whatever the other knows (section 1.4).
    #[inline]
    fn gossip_with<const PUSH: bool, const PULL: bool>(&mut self, node: u32, partner: u32) {
        let Some(interests) = &self.interests else { return };
        let pushes = PUSH && (!PULL || interests.infective().has(node));
        let answers = PULL && interests.infective().has(partner);
        let compared = (self.gossip.minimize && pushes && answers).then(|| interests.smaller(node, partner));
        let (node_tires, partner_tires) = compared.unwrap_or((true, true));
        if pushes {
            let is_useful = self.is_missing(partner);
            self.tell(partner, is_useful || node_tires, |sender| sender.told(node, is_useful));
        }
        if answers {
            let is_useful = self.is_missing(node);
            self.tell(node, is_useful || partner_tires, |sender| sender.answered(partner, is_useful));
        }
    }

    /// Sends the rumor. If it arrives, and `counts`, the sender learns from it.
    #[inline]
    fn tell(&mut self, to: u32, counts: bool, learn: impl FnOnce(&mut Interests)) {
        let hears = self.send(to) && counts && self.gossip.interest == Interest::Feedback;
        if let Some(interests) = self.interests.as_mut().filter(|_| hears) {
            learn(interests);
        }
    }

    /// Whether a node is judged not to know the update.
    #[inline]
    fn is_missing(&self, node: u32) -> bool {
        let missing = !self.known.has(node);
        if self.gossip.judging == Judging::Snapshot { missing } else { missing && !self.fresh.has(node) }
    }

    /// Sends the update to a node. Whether it arrives.
    #[inline]
    fn send(&mut self, to: u32) -> bool {
        self.sent += 1;
        if self.gossip.loss > 0.0 && self.prng.unit() < self.gossip.loss {
            return false;
        }
        self.fresh.add_if(to, !self.known.has(to));
        true
    }
}
