//! The cycles of epidemics by contacts.

use quorumbench_protocols::Prng;
use quorumbench_protocols::gossip::other;

use super::Trial;
use super::bits::for_each_of;
use super::partners::Partners;
use super::update::Update;
use crate::spec::{Acts, Exchange, Gossip, Rounds};

/// Nodes among which updates spread.
#[derive(Clone, Debug)]
pub(super) struct Spread<'a> {
    pub(super) gossip: &'a Gossip,
    pub(super) nodes: usize,
    /// Those that spread at once, over the same contacts.
    pub(super) updates: Vec<Update>,
    pub(super) partners: Partners,
    /// Where partners refuse, or act at once, nodes have their turns in a random order: nobody is always the first.
    queue: Vec<u32>,
    pub(super) prng: Prng,
    /// Contacts in which one might have been sent.
    pub(super) contacts: u64,
}

/// Who begins.
pub(super) const ORIGIN: u32 = 0;

impl<'a> Spread<'a> {
    pub(super) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            gossip,
            nodes,
            updates: vec![Update::new(nodes, gossip); gossip.rumors],
            partners: Partners::new(nodes, gossip),
            queue: Vec::new(),
            prng: Prng::new(0),
            contacts: 0,
        }
    }

    /// One epidemic of each update, from the beginning of all to the end of all; `None` if `go_on` is false.
    pub(super) fn trial(&mut self, prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        if !self.begin(prng, go_on) {
            return None;
        }
        if self.gossip.rounds == Rounds::Asynchronous {
            return super::asynchronous::trial(self, go_on);
        }
        let mut trials = vec![Trial::default(); self.updates.len()];
        let mut cycles = 0;
        while !self.is_over(cycles, false) {
            if !go_on() {
                return None;
            }
            self.cycle(&mut trials);
            cycles += 1;
        }
        self.finished(trials)
    }

    /// Each update is known by one node.
    fn begin(&mut self, prng: Prng, go_on: &dyn Fn() -> bool) -> bool {
        (self.prng, self.contacts) = (prng, 0);
        if !self.partners.members.begin(&mut self.prng, go_on) {
            return false;
        }
        for (index, update) in self.updates.iter_mut().enumerate() {
            let origin = if index == 0 { ORIGIN } else { self.prng.below(self.nodes as u64) as u32 };
            update.begin(origin, self.gossip, &mut self.prng);
        }
        true
    }

    /// True if nothing can happen any more, not even by updates that are under way; with nodes that join, after so many
    /// cycles.
    pub(super) fn is_over(&self, cycles: u64, is_under_way: bool) -> bool {
        let members = &self.partners.members;
        let comes = self.gossip.join > 0.0 && self.updates.iter().any(|update| update.interests.is_none());
        let is_over = |update: &Update| update.is_over(members.alive(), is_under_way);
        cycles >= members.last_cycle() || (!comes && self.updates.iter().all(is_over))
    }

    /// The first update's, with the others, and what is the same for all.
    pub(super) fn finished(&self, trials: Vec<Trial>) -> Option<Trial> {
        let members = &self.partners.members;
        let of = |(trial, update): (Trial, &Update)| Trial {
            sent: update.sent,
            contacts: self.contacts,
            down: self.nodes as u64 - members.alive(),
            is_split: members.is_split(),
            ..trial
        };
        let mut trials = trials.into_iter().zip(&self.updates).map(of);
        let first = trials.next()?;
        Some(Trial { others: trials.collect(), ..first })
    }

    /// One cycle: who got which update in it.
    fn cycle(&mut self, trials: &mut [Trial]) {
        self.lose_and_win(trials);
        self.partners.begin_cycle();
        match (self.updates[0].interests.is_some(), self.gossip.exchange) {
            (false, Exchange::Push) => self.turns::<false, true, false>(),
            (false, Exchange::Pull) => self.turns::<false, false, true>(),
            (false, Exchange::PushPull) => self.turns::<false, true, true>(),
            (true, Exchange::Push) => self.turns::<true, true, false>(),
            (true, Exchange::Pull) => self.turns::<true, false, true>(),
            (true, Exchange::PushPull) => self.turns::<true, true, true>(),
        }
        for (update, trial) in self.updates.iter_mut().zip(trials) {
            trial.arrivals.push(update.end_cycle(self.gossip, &mut self.prng));
        }
    }

    /// Some crash, and some join, who know nothing.
    pub(super) fn lose_and_win(&mut self, trials: &mut [Trial]) {
        let members = &mut self.partners.members;
        if !members.has_churn() {
            return;
        }
        members.cycle(&mut self.prng);
        for (update, trial) in self.updates.iter_mut().zip(trials) {
            let lost = members.gone.iter().filter(|&&node| update.forget(node)).count();
            trial.departures.push(lost as u64);
        }
    }

    /// Whether all that a node does in its turn is to meet one other, any, for one update.
    pub(super) fn is_plain(&self) -> bool {
        self.gossip.fanout == 1 && self.partners.is_uniform() && self.updates.len() == 1
    }

    fn acts_at_once(&self) -> bool {
        self.gossip.acts == Acts::SameCycle
    }

    /// Everyone's turn who chooses partners.
    fn turns<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self) {
        if self.gossip.connection_limit.is_some() || self.acts_at_once() {
            return self.queued_turns::<RUMOR, PUSH, PULL>();
        }
        let is_plain = self.is_plain();
        // Its own copy stays in registers.
        let mut prng = self.prng.clone();
        for index in 0..self.nodes.div_ceil(64) {
            let initiators = self.initiators::<RUMOR, PUSH, PULL>(index);
            if !is_plain {
                for_each_of(index, initiators, |node| self.turn::<RUMOR, PUSH, PULL>(node));
                continue;
            }
            let (update, nodes, prng) = (&mut self.updates[0], self.nodes as u32, &mut prng);
            self.contacts += u64::from(initiators.count_ones());
            let known = update.known.word(index);
            let knows = |node: u32| known >> (node % 64) & 1 == 1;
            if RUMOR {
                for_each_of(index, initiators, |node| {
                    let partner = other(node, nodes, prng);
                    update.meet::<RUMOR, PUSH, PULL, false>(self.gossip, prng, node, knows(node), partner);
                });
                continue;
            }
            // Most pairs agree. Without a branch on whether they do, a processor looks at many of them at once.
            let (mut partners, mut differ) = ([0; 64], 0);
            for_each_of(index, initiators, |node| {
                let partner = other(node, nodes, prng);
                partners[node as usize % 64] = partner;
                differ |= u64::from(update.known.has(partner) != knows(node)) << (node % 64);
            });
            for_each_of(index, differ, |node| {
                let partner = partners[node as usize % 64];
                update.meet::<RUMOR, PUSH, PULL, false>(self.gossip, prng, node, knows(node), partner);
            });
        }
        if is_plain {
            self.prng = prng;
        }
    }

    /// Which of 64 choose partners. Those that have nothing to give, or nothing to gain, need not be looked at.
    #[inline]
    fn initiators<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&self, index: usize) -> u64 {
        let everyone = self.updates[0].known.everyone(index);
        let any = |of: fn(&Update, usize) -> u64| self.updates.iter().fold(0, |any, update| any | of(update, index));
        let choose = match (PUSH, PULL) {
            (_, false) => any(|update, index| update.spreaders().word(index)),
            (false, true) if !RUMOR => everyone & any(|update, index| !update.known.word(index)),
            _ => everyone,
        };
        choose & self.partners.members.word(index)
    }

    /// The same where partners may refuse, or act at once: in random order, and all who would connect, or may yet.
    fn queued_turns<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.clear();
        for index in 0..self.nodes.div_ceil(64) {
            let initiators = if RUMOR && !PULL && !self.acts_at_once() {
                self.initiators::<RUMOR, PUSH, PULL>(index)
            } else {
                self.updates[0].known.everyone(index) & self.partners.members.word(index)
            };
            for_each_of(index, initiators, |node| queue.push(node));
        }
        for last in (1..queue.len()).rev() {
            queue.swap(last, self.prng.below(last as u64 + 1) as usize);
        }
        // Who was told before its turn is not known before.
        let all_have_a_say = !RUMOR || PULL || !self.acts_at_once();
        for &node in &queue {
            if all_have_a_say || self.updates.iter().any(|update| update.spreaders().has(node)) {
                self.turn::<RUMOR, PUSH, PULL>(node);
            }
        }
        self.queue = queue;
    }

    pub(super) fn turn<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self, node: u32) {
        self.partners.begin_turn();
        if RUMOR && self.acts_at_once() {
            self.updates.iter_mut().for_each(|update| update.begin_turn(node));
        }
        for _ in 0..self.gossip.fanout {
            if let Some(partner) = self.partners.next(node, &self.updates[0].history, &mut self.prng) {
                self.contacts += 1;
                let is_list = self.updates.len() > 1;
                for update in &mut self.updates {
                    // Of a hot rumor list each node sends what it is infective with.
                    if is_list && RUMOR && !PULL && !update.spreaders().has(node) {
                        continue;
                    }
                    let knows = update.known.has(node);
                    update.meet::<RUMOR, PUSH, PULL, true>(self.gossip, &mut self.prng, node, knows, partner);
                }
            }
        }
    }
}
