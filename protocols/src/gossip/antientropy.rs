//! Anti-entropy: two compare what they know, and send what is missing (Demers et al. 1987, section 1.3).
//!
//! Who chose its partner sends a digest of what it knows. The partner sends what that lacks, if updates are pulled, and
//! always an answer: what it would have in turn, if they are pushed. So the one who chose knows that the contact is over,
//! and begins its next.

use super::Gossip;
use super::config::Judging;
use super::message::{self, Known, Message};
use crate::io::Outbox;
use crate::wire::{NodeId, Payload};

impl Gossip {
    pub(super) fn compare_with(&self, partner: NodeId, contact: u64, out: &mut Outbox) {
        let known = self.rumors.iter().map(|(&number, rumor)| Known { number, is_fresh: rumor.since >= self.cycle });
        let lists_all = self.config.judging == Judging::Arrival || self.acts_at_once();
        let listed = known.filter(|known| !known.is_fresh || lists_all);
        self.say(Message::Digest { contact }, partner, message::digest(listed), out);
    }

    pub(super) fn on_digest(&self, from: NodeId, contact: u64, body: &Payload, out: &mut Outbox) {
        if self.config.exchange.pulls() {
            let knew = |known: &Known| !known.is_fresh || self.config.judging == Judging::Arrival;
            self.send_all_but(message::read_digest(body).filter(knew), from, out);
        }
        let acts_on = |known: &Known| !known.is_fresh || self.acts_at_once();
        let offered = message::read_digest(body).filter(|known| self.config.exchange.pushes() && acts_on(known));
        let wanted = message::wants(offered.map(|known| known.number).filter(|&number| self.is_missing(number)));
        self.say(Message::Want { contact }, from, wanted, out);
    }

    /// Both ascend.
    fn send_all_but(&self, listed: impl Iterator<Item = Known>, to: NodeId, out: &mut Outbox) {
        let mut listed = listed.peekable();
        for (number, rumor) in self.offered() {
            while listed.next_if(|known| known.number < number).is_some() {}
            if listed.peek().is_none_or(|known| known.number > number) {
                self.tell(to, number, rumor, true, out);
            }
        }
    }

    pub(super) fn on_want(&mut self, from: NodeId, contact: u64, body: &Payload, out: &mut Outbox) {
        for number in message::read_wants(body) {
            if let Some(rumor) = self.rumors.get(&number) {
                self.tell(from, number, rumor, false, out);
            }
        }
        self.conclude(from, contact, out);
    }
}
