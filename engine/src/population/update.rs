//! One update among nodes: who knows it, who spreads it, and what a contact makes of it.

use quorumbench_protocols::Prng;

use super::bits::Bits;
use super::history::History;
use super::interest::Interests;
use crate::spec::{Acts, Gossip, Interest, Judging, Pulls, Rounds, Style};

/// An update that spreads by contacts.
#[derive(Clone, Debug)]
pub(super) struct Update {
    /// Who knew it at the start of the cycle; in asynchronous rounds, of its own.
    pub(super) known: Bits,
    /// Who got it in this cycle, and acts from the next, if not at once.
    fresh: Bits,
    /// `None` for anti-entropy, of which nobody ever tires.
    pub(super) interests: Option<Interests>,
    /// What nodes remember of how it came, and where it went.
    pub(super) history: History,
    /// Whether it is judged on arrival what a contact knew.
    on_arrival: bool,
    /// Whether nodes act on it in the cycle in which they get it.
    at_once: bool,
    /// Whether the node whose turn it is may tell it: it had it when the turn began.
    tells: bool,
    /// Updates that were sent.
    pub(super) sent: u64,
    /// Arrivals so far.
    arrived: u64,
    /// Those of nodes that know it still, and the origin.
    knowing: u64,
}

impl Update {
    /// Nobody knows it.
    pub(super) fn new(nodes: usize, gossip: &Gossip) -> Self {
        Self {
            known: Bits::new(nodes),
            fresh: Bits::new(nodes),
            interests: (gossip.style == Style::Rumor).then(|| Interests::new(nodes)),
            history: History::new(nodes, gossip.partners),
            on_arrival: gossip.judging == Judging::Arrival || gossip.rounds == Rounds::Asynchronous,
            at_once: gossip.acts == Acts::SameCycle,
            tells: true,
            sent: 0,
            arrived: 0,
            knowing: 0,
        }
    }

    /// Only `origin` knows it: from the first cycle, or its own first turn.
    pub(super) fn begin(&mut self, origin: u32, gossip: &Gossip, prng: &mut Prng) {
        self.known.clear();
        self.fresh.clear();
        self.history.clear();
        if let Some(interests) = &mut self.interests {
            interests.begin();
        }
        // It got it in the cycle before the first.
        self.fresh.add(origin);
        if gossip.rounds == Rounds::Synchronous {
            self.end_cycle(gossip, prng);
        }
        (self.sent, self.arrived, self.knowing) = (0, 0, 1);
    }

    /// True if nobody spreads it, or all of so many know it; and none is under way.
    pub(super) fn is_over(&self, alive: u64, is_under_way: bool) -> bool {
        match &self.interests {
            Some(_) => !is_under_way && self.spreaders().is_empty() && self.fresh.is_empty(),
            None => self.knowing == alive || (self.knowing == 0 && !is_under_way),
        }
    }

    /// Who has something to send: as of the start of the cycle.
    pub(super) fn spreaders(&self) -> &Bits {
        self.interests.as_ref().map_or(&self.known, Interests::infective)
    }

    /// What the cycle was good for: how many got it.
    pub(super) fn end_cycle(&mut self, gossip: &Gossip, prng: &mut Prng) -> u64 {
        if let Some(interests) = &mut self.interests {
            interests.end_cycle(&self.fresh, gossip, prng);
        }
        let arrived = self.fresh.count();
        self.known.add_all(&self.fresh);
        self.fresh.clear();
        self.knowing += arrived;
        arrived
    }

    /// A node's own cycle is over, in asynchronous rounds.
    #[inline]
    pub(super) fn end_turn(&mut self, node: u32, gossip: &Gossip, prng: &mut Prng) {
        let is_fresh = self.fresh.has(node);
        if let Some(interests) = &mut self.interests {
            interests.end_turn(node, is_fresh, gossip, prng);
        }
        if is_fresh {
            self.known.add(node);
            self.fresh.drop(node);
        }
    }

    /// How many got it since this was asked the last time, in asynchronous rounds.
    pub(super) fn take_arrived(&mut self) -> u64 {
        let arrived = std::mem::take(&mut self.arrived);
        self.knowing += arrived;
        arrived
    }

    /// A node is down. Whether it knew the update.
    pub(super) fn forget(&mut self, node: u32) -> bool {
        let knew = self.known.has(node) || self.fresh.has(node);
        self.known.drop(node);
        self.fresh.drop(node);
        self.history.forget(node);
        if let Some(interests) = &mut self.interests {
            interests.forget(node);
        }
        self.knowing -= u64::from(knew);
        knew
    }

    /// A node's turn begins, where nodes act at once: a rumor that comes in its turn it does not tell in it.
    pub(super) fn begin_turn(&mut self, node: u32) {
        self.tells = self.spreaders().has(node);
    }

    /// A node has chosen its partner. With `NOTES`, what is sent is noted: for the history, and for the arrivals in
    /// asynchronous rounds.
    #[inline]
    pub(super) fn meet<const RUMOR: bool, const PUSH: bool, const PULL: bool, const NOTES: bool>(
        &mut self,
        gossip: &Gossip,
        prng: &mut Prng,
        node: u32,
        knows: bool,
        partner: u32,
    ) {
        if RUMOR {
            self.gossip_with::<PUSH, PULL, NOTES>(gossip, prng, node, partner);
        } else {
            self.resolve_with::<PUSH, PULL, NOTES>(gossip, prng, node, knows, partner);
        }
    }

    /// Anti-entropy: the two compare, and only what is missing is sent (Demers et al. 1987, section 1.3).
    #[inline]
    fn resolve_with<const PUSH: bool, const PULL: bool, const NOTES: bool>(
        &mut self,
        gossip: &Gossip,
        prng: &mut Prng,
        node: u32,
        knows: bool,
        partner: u32,
    ) {
        if NOTES && self.at_once {
            let tells = PUSH && self.holds(node) && self.is_missing(partner);
            let answers = PULL && self.holds(partner) && self.is_missing(node);
            for (_, from, to) in [(tells, node, partner), (answers, partner, node)].into_iter().filter(|way| way.0) {
                self.send::<NOTES>(gossip, prng, from, to);
            }
            return;
        }
        match (knows, self.known.has(partner)) {
            (true, false) if PUSH && self.is_missing(partner) => _ = self.send::<NOTES>(gossip, prng, node, partner),
            (false, true) if PULL && self.is_missing(node) => _ = self.send::<NOTES>(gossip, prng, partner, node),
            _ => {}
        }
    }

    /// Rumors: whoever is infective sends, whatever the other knows (section 1.4).
    #[inline]
    fn gossip_with<const PUSH: bool, const PULL: bool, const NOTES: bool>(
        &mut self,
        gossip: &Gossip,
        prng: &mut Prng,
        node: u32,
        partner: u32,
    ) {
        let Some(interests) = &self.interests else { return };
        let pushes = PUSH && (!PULL || (interests.infective().has(node) && (!NOTES || self.tells)));
        let answers = PULL && interests.infective().has(partner);
        let compared = (gossip.minimize && pushes && answers).then(|| interests.smaller(node, partner));
        let (node_tires, partner_tires) = compared.unwrap_or((true, true));
        if pushes {
            let is_useful = self.is_missing(partner);
            if self.send::<NOTES>(gossip, prng, node, partner) && (is_useful || node_tires) {
                self.learn(gossip, |interests| interests.told(node, is_useful));
            }
        }
        if answers {
            let is_useful = self.is_missing(node);
            if self.send::<NOTES>(gossip, prng, partner, node) && (is_useful || partner_tires) {
                self.learn(gossip, |interests| match gossip.pulls {
                    Pulls::Together => interests.answered(partner, is_useful),
                    Pulls::Each => interests.told(partner, is_useful),
                });
            }
        }
    }

    /// A sender hears what it was good for, if it cares.
    #[inline]
    fn learn(&mut self, gossip: &Gossip, learn: impl FnOnce(&mut Interests)) {
        if let Some(interests) = self.interests.as_mut().filter(|_| gossip.interest == Interest::Feedback) {
            learn(interests);
        }
    }

    /// It is sent, and will take its time. Whether it will arrive.
    #[inline]
    pub(super) fn post(&mut self, gossip: &Gossip, prng: &mut Prng, from: u32, to: u32) -> bool {
        self.sent += 1;
        self.history.note(from, to, false);
        gossip.loss == 0.0 || prng.unit() >= gossip.loss
    }

    /// It arrives, after its time. Whether that was of use.
    #[inline]
    pub(super) fn take(&mut self, from: u32, to: u32) -> bool {
        let is_new = !self.holds(to);
        self.arrived += u64::from(is_new);
        self.fresh.add_if(to, is_new);
        self.history.note(from, to, is_new);
        is_new
    }

    /// A sender hears what it was good for, some time later: whoever has lost interest meanwhile does not care.
    #[inline]
    pub(super) fn hear(&mut self, gossip: &Gossip, node: u32, was_answer: bool, was_useful: bool) {
        let Some(interests) = self.interests.as_mut().filter(|interests| interests.infective().has(node)) else {
            return;
        };
        if was_answer && gossip.pulls == Pulls::Together {
            interests.answered(node, was_useful);
        } else {
            interests.told(node, was_useful);
        }
    }

    /// Whether a node has it, acting on it yet or not.
    #[inline]
    pub(super) fn holds(&self, node: u32) -> bool {
        self.known.has(node) || self.fresh.has(node)
    }

    /// Whether a node is judged not to know the update.
    #[inline]
    fn is_missing(&self, node: u32) -> bool {
        let missing = !self.known.has(node);
        if self.on_arrival { missing && !self.fresh.has(node) } else { missing }
    }

    /// Sends the update. Whether it arrives.
    #[inline]
    fn send<const NOTES: bool>(&mut self, gossip: &Gossip, prng: &mut Prng, from: u32, to: u32) -> bool {
        self.sent += 1;
        let is_lost = gossip.loss > 0.0 && prng.unit() < gossip.loss;
        if NOTES {
            self.note(from, to, is_lost);
        }
        if is_lost {
            return false;
        }
        self.fresh.add_if(to, !self.known.has(to));
        true
    }

    /// What is kept of an update that is sent, where cycles are not enough.
    #[inline]
    fn note(&mut self, from: u32, to: u32, is_lost: bool) {
        // Without a branch, as anywhere: it could not be foretold.
        let is_new = !(is_lost | self.known.has(to) | self.fresh.has(to));
        self.arrived += u64::from(is_new);
        self.history.note(from, to, is_new);
        if self.at_once && is_new {
            self.interests.iter_mut().for_each(|interests| interests.add(to));
        }
    }
}
