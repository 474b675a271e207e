//! Whom a node talks to in its turn, and who may talk to it: uniform choice, connection limit, hunting.

use super::Gossip;
use super::config::Style;
use super::message::Message;
use crate::io::Outbox;
use crate::prng::Prng;
use crate::wire::{NodeId, Payload};

/// A node's turn: as many contacts as its fan-out.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    /// Contacts still to be begun.
    left: usize,
    /// Whom it had one with, or was refused by: not to be asked again.
    met: Vec<NodeId>,
    /// How many in a row refused.
    refusals: usize,
    /// The contact whose end is waited for, and with whom it is. The next one begins then.
    waiting: Option<(u64, NodeId)>,
}

impl Turn {
    /// What comes too late ends nothing.
    pub(super) fn give_up(&mut self) {
        (self.left, self.refusals, self.waiting) = (0, 0, None);
    }

    /// Uniformly one of the others that was not met yet, if there is any.
    fn stranger(&mut self, id: NodeId, nodes: u32, prng: &mut Prng) -> Option<NodeId> {
        let others = nodes - 1;
        let left = (others as usize).checked_sub(self.met.len()).filter(|&left| left > 0)?;
        let is_stranger = |partner: &NodeId| *partner != id && !self.met.contains(partner);
        if left < self.met.len() {
            let mut strangers = (0..nodes).map(NodeId).filter(is_stranger);
            return strangers.nth(prng.below(left as u64) as usize);
        }
        loop {
            let drawn = prng.below(u64::from(others)) as u32;
            let partner = NodeId(drawn + u32::from(drawn >= id.0));
            if is_stranger(&partner) {
                return Some(partner);
            }
        }
    }
}

impl Gossip {
    /// It is this node's turn.
    pub(super) fn begin_turn(&mut self, out: &mut Outbox) {
        self.turn.give_up();
        self.turn.met.clear();
        if self.config.style == Style::DirectMail {
            self.post(out);
        } else if self.has_a_say() {
            self.turn.left = self.config.fanout;
            self.meet(out);
        }
    }

    /// Whether its turn may be of any use, whoever the partner is. With nothing to offer it would not be; where contacts
    /// are limited, anti-entropy takes it all the same, and keeps a partner from others.
    fn has_a_say(&self) -> bool {
        let limited = self.config.style == Style::AntiEntropy && self.config.connection_limit.is_some();
        self.config.exchange.pulls() || limited || self.offered().next().is_some()
    }

    /// Begins contacts until one has to be waited for.
    fn meet(&mut self, out: &mut Outbox) {
        while self.turn.left > 0 && self.turn.waiting.is_none() {
            let Some(partner) = self.turn.stranger(self.config.id, self.config.nodes, &mut self.prng) else {
                self.turn.left = 0;
                return;
            };
            self.turn.met.push(partner);
            if self.config.connection_limit.is_none() {
                self.talk_to(partner, out);
            } else {
                let contact = self.wait_for(partner);
                self.say(Message::Connect { contact }, partner, Payload::EMPTY, out);
            }
        }
    }

    /// A contact with a partner who accepts it.
    fn talk_to(&mut self, partner: NodeId, out: &mut Outbox) {
        self.contacts += 1;
        self.turn.left -= 1;
        self.turn.refusals = 0;
        if self.config.style == Style::AntiEntropy {
            let contact = self.wait_for(partner);
            self.compare_with(partner, contact, out);
        } else {
            self.gossip_with(partner, out);
        }
    }

    fn wait_for(&mut self, partner: NodeId) -> u64 {
        self.named += 1;
        self.turn.waiting = Some((self.named, partner));
        self.named
    }

    /// Whether this contact was waited for until now.
    fn ends_wait(&mut self, from: NodeId, contact: u64) -> bool {
        let waited = self.turn.waiting == Some((contact, from));
        if waited {
            self.turn.waiting = None;
        }
        waited
    }

    /// A contact is over, and the next can begin.
    pub(super) fn conclude(&mut self, from: NodeId, contact: u64, out: &mut Outbox) {
        if self.ends_wait(from, contact) {
            self.meet(out);
        }
    }

    pub(super) fn on_connect(&mut self, from: NodeId, contact: u64, out: &mut Outbox) {
        let accepts = self.config.connection_limit.is_none_or(|limit| self.accepted < limit);
        self.accepted += usize::from(accepts);
        let answer = if accepts { Message::Accept { contact } } else { Message::Refuse { contact } };
        self.say(answer, from, Payload::EMPTY, out);
    }

    pub(super) fn on_accept(&mut self, from: NodeId, contact: u64, out: &mut Outbox) {
        if self.ends_wait(from, contact) {
            self.talk_to(from, out);
            self.meet(out);
        }
    }

    /// It tries another: so many that this contact is given up, if there is a limit.
    pub(super) fn on_refuse(&mut self, from: NodeId, contact: u64, out: &mut Outbox) {
        if self.ends_wait(from, contact) {
            self.turn.refusals += 1;
            if self.config.hunt_limit.is_some_and(|hunts| self.turn.refusals > hunts) {
                self.turn.refusals = 0;
                self.turn.left -= 1;
            }
            self.meet(out);
        }
    }
}
