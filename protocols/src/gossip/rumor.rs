//! Rumors, and letters: told without asking what the other knows (Demers et al. 1987, sections 1.2 and 1.4).

use super::Gossip;
use super::config::{Acts, Interest, Judging, Style};
use super::interest::Spreading;
use super::median::Meetings;
use super::message::Message;
use crate::io::{Delivery, DeliveryKind, Outbox};
use crate::wire::{NodeId, Payload, Slot};

/// A rumor that a node knows.
#[derive(Clone, Debug)]
pub(super) struct Rumor {
    pub(super) body: Payload,
    /// The cycle in which it came: it is acted upon from the next, if not at once.
    pub(super) since: u64,
    /// Whether this node's turn had begun in that cycle.
    after_turn: bool,
    /// Whom it came from; `None` if it began here.
    pub(super) from: Option<NodeId>,
    /// Whom it was sent to, where partners depend on that.
    pub(super) sent: Vec<u32>,
    /// Its state, in median-counter.
    pub(super) meetings: Meetings,
    /// What became of spreading it; `None` when interest is lost, or never was.
    pub(super) spreading: Option<Spreading>,
}

impl Gossip {
    /// The origin posts what it was brought to all others, and is done with it.
    pub(super) fn post(&mut self, out: &mut Outbox) {
        let others = || (0..self.config.nodes).map(NodeId).filter(|&node| node != self.config.id);
        for (number, rumor) in self.offered() {
            others().for_each(|node| self.tell(node, number, rumor, false, out));
        }
        let cycle = self.cycle;
        for rumor in self.rumors.values_mut().filter(|rumor| rumor.since < cycle) {
            let posted = rumor.spreading.take().is_some();
            self.spreading -= usize::from(posted);
            self.contacts += u64::from(posted) * u64::from(self.config.nodes - 1);
        }
    }

    /// Tells a partner everything that is of interest, and asks for the like.
    pub(super) fn gossip_with(&self, partner: NodeId, out: &mut Outbox) {
        if self.stages().is_some() {
            return self.call(partner, false, out);
        }
        // First the question, so that nobody answers with what it is told in the same contact.
        if self.config.exchange.pulls() {
            self.say(Message::Ask, partner, Payload::EMPTY, out);
        }
        if self.config.exchange.pushes() {
            self.tell_all(partner, false, out);
        }
    }

    pub(super) fn on_ask(&self, from: NodeId, out: &mut Outbox) {
        self.tell_all(from, true, out);
    }

    pub(super) fn on_rumor(&mut self, from: NodeId, number: Slot, is_answer: bool, body: &Payload, out: &mut Outbox) {
        if self.is_tree() {
            return self.on_branch(from, number, body, out);
        }
        let was_useful = self.is_missing(number);
        if self.config.mongering().is_some_and(|rules| rules.interest == Interest::Feedback) {
            // Who acts at once may spread what it is judged not to know.
            let counter = self.counter_to_compare(number).filter(|_| !was_useful);
            let feedback = Message::Feedback { number, was_answer: is_answer, was_useful, counter };
            self.say(feedback, from, Payload::EMPTY, out);
        }
        self.learn(number, body, self.config.mongering().is_some(), Some(from), out);
    }

    /// Learns of a rumor that it may know, to spread it from the next cycle on or not.
    pub(super) fn learn(
        &mut self,
        number: Slot,
        body: &Payload,
        spreads: bool,
        from: Option<NodeId>,
        out: &mut Outbox,
    ) {
        if self.rumors.contains_key(&number) {
            return;
        }
        let spreading = spreads.then(Spreading::default);
        self.spreading += usize::from(spreads);
        let meetings = if from.is_none() { Meetings::origin() } else { Meetings::default() };
        let (body_here, since, sent) = (body.clone(), self.cycle, Vec::new());
        let after_turn = self.turned == self.cycle;
        self.rumors.insert(number, Rumor { body: body_here, since, after_turn, from, sent, meetings, spreading });
        out.deliveries.push(Delivery { slot: number, kind: DeliveryKind::Batch, body: body.clone() });
    }

    /// Whoever has lost interest, or does not spread it yet, has nothing to learn of it.
    pub(super) fn on_feedback(&mut self, number: Slot, was_answer: bool, was_useful: bool, counter: Option<u64>) {
        let (cycle, at_once) = (self.cycle, self.acts_at_once());
        let rumor = self.rumors.get_mut(&number).filter(|rumor| at_once || rumor.since < cycle);
        let Some(spreading) = rumor.and_then(|rumor| rumor.spreading.as_mut()) else { return };
        if was_useful {
            spreading.useful();
        } else {
            spreading.useless(was_answer, counter);
        }
    }

    /// The cycle is over: what its contacts said has its effect.
    pub(super) fn end_cycle(&mut self) {
        self.look_back();
        if let Some(stages) = self.stages() {
            for rumor in self.rumors.values_mut() {
                if !rumor.meetings.end_cycle(stages) {
                    self.spreading -= usize::from(rumor.spreading.take().is_some());
                }
            }
        }
        let Some(&rules) = self.config.mongering() else { return };
        // Who acts at once has met others in that cycle, too; but it is no whole cycle for those who count these.
        let met_others = self.acts_at_once() && rules.interest == Interest::Feedback;
        let (all, cycle) = (met_others || rules.tosses_first(), self.cycle);
        for rumor in self.rumors.values_mut().filter(|rumor| all || rumor.since < cycle) {
            if rumor.spreading.as_mut().is_some_and(|spreading| spreading.end_cycle(&rules, &mut self.prng)) {
                rumor.spreading = None;
                self.spreading -= 1;
            }
        }
    }

    /// Whether a rumor would be news to this node.
    pub(super) fn is_missing(&self, number: Slot) -> bool {
        match self.config.judging {
            Judging::Snapshot => self.rumors.get(&number).is_none_or(|rumor| rumor.since >= self.cycle),
            Judging::Arrival => !self.rumors.contains_key(&number),
        }
    }

    fn counter_to_compare(&self, number: Slot) -> Option<u64> {
        self.config.mongering().filter(|rules| rules.minimize)?;
        let rumor = self.rumors.get(&number).filter(|rumor| self.acts_on(rumor))?;
        Some(rumor.spreading.as_ref()?.counter())
    }

    /// What it may offer in this cycle: what it spreads; of anti-entropy, what it knows.
    pub(super) fn offered(&self) -> impl Iterator<Item = (Slot, &Rumor)> {
        let all = self.config.style == Style::AntiEntropy;
        let offered = move |rumor: &Rumor| self.acts_on(rumor) && (all || rumor.spreading.is_some());
        self.rumors.iter().map(|(&number, rumor)| (number, rumor)).filter(move |(_, rumor)| offered(rumor))
    }

    pub(super) fn acts_at_once(&self) -> bool {
        self.config.acts == Acts::SameCycle
    }

    /// Whether it came early enough that this node acts on it.
    fn acts_on(&self, rumor: &Rumor) -> bool {
        rumor.since < self.cycle || self.acts_at_once()
    }

    /// In its turn a node tells what it had when that began.
    fn tell_all(&self, to: NodeId, is_answer: bool, out: &mut Outbox) {
        let told = |rumor: &Rumor| is_answer || rumor.since < self.cycle || !rumor.after_turn;
        let rumors = self.offered().filter(|(_, rumor)| told(rumor));
        rumors.for_each(|(number, rumor)| self.tell(to, number, rumor, is_answer, out));
    }

    pub(super) fn tell(&self, to: NodeId, number: Slot, rumor: &Rumor, is_answer: bool, out: &mut Outbox) {
        self.say(Message::Rumor { number, is_answer }, to, rumor.body.clone(), out);
    }
}
