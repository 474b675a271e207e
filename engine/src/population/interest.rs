//! Who spreads a rumor, and when each of them has had enough (Demers et al. 1987, section 1.4).

use quorumbench_protocols::Prng;

use super::bits::{Bits, for_each_of};
use crate::spec::{Acts, Gossip, Interest, Stop, Toss};

/// The infective nodes, and what their contacts made of the rumor.
///
/// What happens in a cycle is noted, and has its effect at the cycle's end: so it does not depend on the order in which
/// nodes are looked at.
#[derive(Clone, Debug)]
pub(super) struct Interests {
    /// Who spreads it: as of the start of the cycle, unless nodes act at once.
    infective: Bits,
    counters: Vec<u16>,
    /// How many in this cycle were told by each node and knew already, of those that count by themselves.
    useless: Vec<u16>,
    /// Who pulled from each node and knew already: however many, they count once.
    asked_in_vain: Bits,
    /// Who was of use to somebody.
    useful: Bits,
}

/// What decides beside the kind of interest.
#[derive(Clone, Copy, Debug)]
struct Rule {
    k: usize,
    reset: bool,
}

impl Interests {
    pub(super) fn new(nodes: usize) -> Self {
        let none = Bits::new(nodes);
        Self {
            infective: none.clone(),
            counters: vec![0; nodes],
            useless: vec![0; nodes],
            asked_in_vain: none.clone(),
            useful: none,
        }
    }

    /// Nobody spreads anything.
    pub(super) fn begin(&mut self) {
        for each in [&mut self.infective, &mut self.asked_in_vain, &mut self.useful] {
            each.clear();
        }
        self.counters.fill(0);
        self.useless.fill(0);
    }

    /// `node` spreads it, from now on.
    pub(super) fn add(&mut self, node: u32) {
        self.infective.add(node);
    }

    pub(super) fn infective(&self) -> &Bits {
        &self.infective
    }

    /// Who of two infective nodes gets tired of the other: whose counter is smaller, or both (section 1.4,
    /// minimization).
    pub(super) fn smaller(&self, one: u32, other: u32) -> (bool, bool) {
        let [one, other] = [one, other].map(|node| self.counters[node as usize]);
        (one <= other, other <= one)
    }

    /// `node` has told a partner that it chose, or another that counts by itself.
    #[inline]
    pub(super) fn told(&mut self, node: u32, was_useful: bool) {
        self.useful.add_if(node, was_useful);
        let useless = &mut self.useless[node as usize];
        *useless = useless.saturating_add(u16::from(!was_useful));
    }

    /// `node` has answered one that chose it, and counts together with others that did.
    #[inline]
    pub(super) fn answered(&mut self, node: u32, was_useful: bool) {
        self.useful.add_if(node, was_useful);
        self.asked_in_vain.add_if(node, !was_useful);
    }

    /// The cycle is over: some lose interest, and those that heard of the rumor in it begin to spread it.
    pub(super) fn end_cycle(&mut self, fresh: &Bits, gossip: &Gossip, prng: &mut Prng) {
        let at_once = gossip.acts == Acts::SameCycle;
        // Those who heard of it may toss before they send, or act at once and have met others. A cycle that they have
        // only a part of is none for those who count these.
        let counts_for_all = gossip.toss == Toss::Before || (at_once && gossip.interest == Interest::Feedback);
        if counts_for_all {
            self.infective.add_all(fresh);
        } else if at_once {
            (0..fresh.len()).for_each(|index| self.infective.remove(index, fresh.word(index)));
        }
        // Each rule has a loop of its own, that asks nothing twice.
        let rule = Rule { k: gossip.k, reset: gossip.reset };
        match (gossip.interest, gossip.stop) {
            (Interest::Feedback, Stop::Counter) => {
                self.lose(|it, node, useful| it.has_enough::<true, true>(node, useful, rule, prng));
            }
            (Interest::Feedback, Stop::Coin) => {
                self.lose(|it, node, useful| it.has_enough::<true, false>(node, useful, rule, prng));
            }
            (Interest::Blind, Stop::Counter) => {
                self.lose(|it, node, useful| it.has_enough::<false, true>(node, useful, rule, prng));
            }
            (Interest::Blind, Stop::Coin) => {
                self.lose(|it, node, useful| it.has_enough::<false, false>(node, useful, rule, prng));
            }
        }
        if gossip.interest == Interest::Feedback {
            self.asked_in_vain.clear();
            self.useful.clear();
        }
        if !counts_for_all {
            self.infective.add_all(fresh);
        }
    }

    /// The same of one node, whose turn it is again: what it met with since its last one has its effect.
    pub(super) fn end_turn(&mut self, node: u32, is_fresh: bool, gossip: &Gossip, prng: &mut Prng) {
        if is_fresh && gossip.toss == Toss::Before {
            self.infective.add(node);
        }
        if self.infective.has(node) {
            let useful = self.useful.has(node);
            let rule = Rule { k: gossip.k, reset: gossip.reset };
            let has_enough = match (gossip.interest, gossip.stop) {
                (Interest::Feedback, Stop::Counter) => self.has_enough::<true, true>(node, useful, rule, prng),
                (Interest::Feedback, Stop::Coin) => self.has_enough::<true, false>(node, useful, rule, prng),
                (Interest::Blind, Stop::Counter) => self.has_enough::<false, true>(node, useful, rule, prng),
                (Interest::Blind, Stop::Coin) => self.has_enough::<false, false>(node, useful, rule, prng),
            };
            if has_enough {
                self.infective.drop(node);
            }
            self.asked_in_vain.drop(node);
            self.useful.drop(node);
        } else if is_fresh {
            self.infective.add(node);
        }
    }

    /// A node is gone, with all that it had noted.
    pub(super) fn forget(&mut self, node: u32) {
        for each in [&mut self.infective, &mut self.asked_in_vain, &mut self.useful] {
            each.drop(node);
        }
        (self.counters[node as usize], self.useless[node as usize]) = (0, 0);
    }

    /// Whether an infective node loses interest after this cycle, in which it was of use, or not.
    #[inline]
    fn has_enough<const FEEDBACK: bool, const COUNTED: bool>(
        &mut self,
        node: u32,
        was_useful: bool,
        Rule { k, reset }: Rule,
        prng: &mut Prng,
    ) -> bool {
        let mut toss = || prng.below(k as u64) == 0;
        let useless = if FEEDBACK { self.useless_contacts(node, was_useful) } else { 1 };
        if !COUNTED {
            return (0..useless).any(|_| toss());
        }
        let keeps = !(FEEDBACK && was_useful && reset);
        let counter = &mut self.counters[node as usize];
        *counter = counter.saturating_add(useless) * u16::from(keeps);
        usize::from(*counter) >= k
    }

    /// Those lose interest whom `loses` says, of each infective node and whether it was of use in this cycle. Nothing
    /// branches on what a node met with: that cannot be foretold, and a processor that guesses wrong is slower than all
    /// of the rest.
    #[inline]
    fn lose(&mut self, mut loses: impl FnMut(&mut Self, u32, bool) -> bool) {
        for index in 0..self.infective.len() {
            let useful = self.useful.word(index);
            let mut lost = 0;
            for_each_of(index, self.infective.word(index), |node| {
                let was_useful = useful >> (node % 64) & 1 == 1;
                lost |= u64::from(loses(self, node, was_useful)) << (node % 64);
            });
            self.infective.remove(index, lost);
        }
    }

    /// Contacts in this cycle who knew the rumor already. Those who pulled count once together, and not at all if the
    /// node was of use to anyone (section 1.4, the note on table 3).
    #[inline]
    fn useless_contacts(&mut self, node: u32, was_useful: bool) -> u16 {
        let told = std::mem::take(&mut self.useless[node as usize]);
        told.saturating_add(u16::from(self.asked_in_vain.has(node)) * u16::from(!was_useful))
    }
}
