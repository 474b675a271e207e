//! Whom a node talks to in its turn, and who may talk to it: choice, connection limit, hunting.

use super::Gossip;
use super::choice::Choice;
use super::config::{Partners, Style};
use super::message::Message;
use crate::io::{Outbox, Transmit};
use crate::wire::{NodeId, Payload};

/// A node's turn: as many contacts as its fan-out.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    /// Contacts still to be begun.
    left: usize,
    /// Whom it had one with, or was refused by: not to be asked again.
    met: Vec<u32>,
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
}

impl Gossip {
    /// It is this node's turn.
    pub(super) fn begin_turn(&mut self, out: &mut Outbox) {
        self.turn.give_up();
        self.turn.met.clear();
        if self.config.style == Style::DirectMail {
            self.post(out);
        } else if self.is_tree() {
            self.tend(out);
        } else if self.has_a_say() {
            self.turn.left = self.config.fanout;
            self.meet(out);
        }
    }

    /// Whether its turn may be of any use, whoever the partner is. With nothing to offer it would not be; where contacts
    /// are limited, anti-entropy takes it all the same, and keeps a partner from others.
    fn has_a_say(&self) -> bool {
        let limited = self.config.style == Style::AntiEntropy && self.config.connection_limit.is_some();
        self.config.exchange.pulls() || self.stages().is_some() || limited || self.offered().next().is_some()
    }

    /// Begins contacts until one has to be waited for.
    fn meet(&mut self, out: &mut Outbox) {
        while self.turn.left > 0 && self.turn.waiting.is_none() {
            let Some(partner) = self.stranger() else {
                self.turn.left = 0;
                return;
            };
            self.turn.met.push(partner.0);
            if self.config.connection_limit.is_none() {
                self.talk_to(partner, out);
            } else {
                let contact = self.wait_for(partner);
                self.say(Message::Connect { contact }, partner, Payload::EMPTY, out);
            }
        }
    }

    /// One of those that it may talk to, that was not met yet, if there is any.
    fn stranger(&mut self) -> Option<NodeId> {
        let Self { config, peers, rumors, turn, prng, .. } = self;
        let places = if let Partners::Near(places) = &config.partners { Some(&**places) } else { None };
        let choice = Choice { node: config.id.0, nodes: config.nodes, places, view: peers.as_deref() };
        let avoids = |partner: u32| match config.partners {
            Partners::Uniform | Partners::Near(_) => false,
            _ if rumors.is_empty() => false,
            Partners::NotSender => rumors.values().all(|rumor| rumor.from == Some(NodeId(partner))),
            Partners::NotSent => rumors.values().all(|rumor| rumor.sent.contains(&partner)),
        };
        choice.draw(&turn.met, avoids, prng).map(NodeId)
    }

    /// Remembers whom it sent rumors to, where partners depend on that: all that was said since.
    pub(super) fn remember(&mut self, said: &[Transmit]) {
        if self.config.partners != Partners::NotSent {
            return;
        }
        for Transmit { head, .. } in said {
            let (to, rumor) =
                (Message::recipient(head).0, Message::update(head).and_then(|it| self.rumors.get_mut(&it)));
            if let Some(rumor) = rumor.filter(|rumor| !rumor.sent.contains(&to)) {
                rumor.sent.push(to);
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
