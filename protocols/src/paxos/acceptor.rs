//! The acceptor: what it has promised and accepted in the slot that is not decided yet (*Paxos Made
//! Simple*, section 2.2, phases 1b and 2b).
//!
//! "An acceptor must remember its promises and what it has accepted, even if it fails and then
//! restarts" (section 2.4): every answer but a refusal waits until what it says is durable.

use std::collections::VecDeque;

use super::Site;
use super::ballot::{Accepted, Ballot};
use super::message::{Message, PROMISED, Promise, Proposal, Refuse};
use crate::io::{DeliveryKind, Outbox};
use crate::journal::Journal;
use crate::mutant::{Mutant, Switch};
use crate::wire::{Head, Lsn, NodeId, Payload, Recipients, Slot};

#[derive(Clone, Debug, Default)]
pub(super) struct Acceptor {
    promised: Ballot,
    accepted: Option<Accepted>,
    /// Answers that wait for their records, in the order of these.
    due: VecDeque<Answer>,
}

/// An answer of phase 1 or 2.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// It goes out once this is durable.
    lsn: Lsn,
    /// Who asked. A node's proposer asks its own acceptor too.
    pub(super) to: NodeId,
    pub(super) message: Message,
    /// What was accepted before, in a promise.
    pub(super) body: Payload,
}

impl Acceptor {
    pub(super) fn promised(&self) -> Ballot {
        self.promised
    }

    pub(super) fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// Phase 1b. A request that comes twice was answered.
    pub(super) fn on_prepare(&mut self, site: &Site, proposal: Proposal, journal: &mut Journal, out: &mut Outbox) {
        let Proposal { slot, ballot } = proposal;
        if ballot <= self.promised {
            self.refuse(site, proposal, out);
            return;
        }
        self.promised = ballot;
        let lsn = self.record_promise(site, slot, journal, out);
        let accepted = self.accepted.as_ref();
        let message = Message::Promise(Promise { slot, ballot, accepted: accepted.map(|accepted| accepted.ballot) });
        let body = accepted.map_or(Payload::EMPTY, |accepted| accepted.body.clone());
        self.due.push_back(Answer { lsn, to: ballot.node, message, body });
    }

    /// Phase 2b: "it accepts the proposal unless it has already responded to a prepare request having a
    /// number greater than n".
    pub(super) fn on_accept(
        &mut self,
        site: &Site,
        proposal: Proposal,
        body: &Payload,
        journal: &mut Journal,
        out: &mut Outbox,
    ) {
        let ballot = proposal.ballot;
        if ballot < self.promised {
            self.refuse(site, proposal, out);
            return;
        }
        if self.accepted.as_ref().is_some_and(|accepted| accepted.ballot == ballot) {
            return;
        }
        if !site.mutant.is(Mutant::P2) {
            self.promised = ballot;
        }
        self.accepted = Some(Accepted { ballot, kind: DeliveryKind::Batch, body: body.clone() });
        let lsn = self.record_accepted(site, proposal.slot, journal, out);
        let message = Message::Accepted(proposal);
        self.due.push_back(Answer { lsn, to: ballot.node, message, body: Payload::EMPTY });
    }

    /// A courtesy, which says only what is so in any case: the proposer "should probably abandon its
    /// proposal" (section 2.2, at its end).
    fn refuse(&self, site: &Site, Proposal { slot, ballot }: Proposal, out: &mut Outbox) {
        if ballot < self.promised {
            let refuse = Message::Refuse(Refuse { slot, ballot, promised: self.promised });
            site.send(Recipients::One(ballot.node), refuse, Payload::EMPTY, out);
        }
    }

    /// The next answer whose record is durable.
    pub(super) fn next_answer(&mut self, site: &Site, journal: &Journal) -> Option<Answer> {
        let early = |answer: &Answer| {
            site.mutant.is(Mutant::P3) && answer.to == site.id && matches!(answer.message, Message::Promise(_))
        };
        let durable = self.due.front().is_some_and(|answer| journal.holds(answer.lsn) || early(answer));
        if durable { self.due.pop_front() } else { None }
    }

    /// The slot is decided; the next one begins.
    pub(super) fn on_decided(&mut self) {
        (self.promised, self.accepted) = (Ballot::ZERO, None);
        self.due.clear();
    }

    /// Writes down again what a new journal would lack.
    pub(super) fn record_again(&self, site: &Site, slot: Slot, journal: &mut Journal, out: &mut Outbox) {
        if self.accepted.is_some() {
            self.record_accepted(site, slot, journal, out);
        }
        if self.promised > self.accepted.as_ref().map_or(Ballot::ZERO, |accepted| accepted.ballot) {
            self.record_promise(site, slot, journal, out);
        }
    }

    fn record_promise(&self, site: &Site, slot: Slot, journal: &mut Journal, out: &mut Outbox) -> Lsn {
        let words = [slot.0, self.promised.word(), 0, 0, 0, 0];
        let head = Head { kind: PROMISED, group: site.group, from: site.id, words, ..Head::default() };
        journal.record_other(head, Payload::EMPTY, out)
    }

    /// As it stands on the wire.
    fn record_accepted(&self, site: &Site, slot: Slot, journal: &mut Journal, out: &mut Outbox) -> Lsn {
        let Some(Accepted { ballot, body, .. }) = &self.accepted else { return Lsn::ZERO };
        let accept = Message::Accept(Proposal { slot, ballot: *ballot });
        let head = Head { group: site.group, from: ballot.node, body_len: body.len() as u32, ..accept.head() };
        journal.record_other(head, body.clone(), out)
    }

    /// Takes back what it had recorded of a promise.
    pub(super) fn replay_promise(&mut self, ballot: Ballot) {
        self.promised = self.promised.max(ballot);
    }

    /// Takes back what it had recorded of an acceptance, and the promise that is in it.
    pub(super) fn replay_accepted(&mut self, ballot: Ballot, body: &Payload) {
        self.promised = self.promised.max(ballot);
        let accepted = Accepted { ballot, kind: DeliveryKind::Batch, body: body.clone() };
        Accepted::keep_highest(&mut self.accepted, accepted);
    }

    /// A bug may make it forget some of what it had recorded.
    pub(super) fn forget(&mut self, mutant: Switch) {
        if mutant.is(Mutant::P1a) {
            self.promised = self.accepted.as_ref().map_or(Ballot::ZERO, |accepted| accepted.ballot);
        }
        self.accepted.take_if(|_| mutant.is(Mutant::P1b));
    }
}
