//! The acceptor: promises, accepts, and says so once it is durable (*Paxos Made Simple*, section 2.2; PMMC, figure 4).

use std::collections::VecDeque;

use super::message::{Accept, Message, PROMISED, Promise, Report, Votes};
use super::replica::Replica;
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::paxos::{Accepted, Ballot};
use crate::wire::{Head, Lsn, Payload, Recipients, Slot};

/// What was accepted and is not known to be decided, as far as everything before it is: slots may be missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Acceptor {
    slots: VecDeque<Option<Held>>,
    /// The slot before the first of them.
    before: Slot,
    /// What is to be acknowledged under the ballot promised, once the record is durable.
    due: VecDeque<(Lsn, Slot)>,
}

/// An accepted value, and the record of it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) accepted: Accepted,
    lsn: Lsn,
}

impl Acceptor {
    pub(super) fn get(&self, slot: Slot) -> Option<&Accepted> {
        let at = slot.0.checked_sub(self.before.0 + 1)?;
        self.slots.get(usize::try_from(at).ok()?)?.as_ref().map(|held| &held.accepted)
    }

    /// Every slot in which something was accepted.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Accepted)> {
        let slots = (self.before.0 + 1..).map(Slot).zip(&self.slots);
        slots.filter_map(|(slot, held)| Some((slot, &held.as_ref()?.accepted)))
    }

    /// The slot after those that are decided was decided, too: what was accepted in it.
    pub(super) fn pop(&mut self) -> Option<Accepted> {
        self.before += 1;
        self.slots.pop_front().flatten().map(|held| held.accepted)
    }

    /// Everything up to `slot` was decided.
    pub(super) fn forget_to(&mut self, slot: Slot) {
        while self.before < slot && !self.slots.is_empty() {
            self.pop();
        }
        self.before = self.before.max(slot);
    }

    /// # Panics
    /// If the slot was decided before.
    pub(super) fn put(&mut self, slot: Slot, accepted: Accepted, lsn: Lsn) {
        let at = (slot.0 - self.before.0 - 1) as usize;
        if at == self.slots.len() {
            self.slots.push_back(Some(Held { accepted, lsn }));
            return;
        }
        if at > self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(Held { accepted, lsn });
    }

    fn lsn(&self, slot: Slot) -> Option<Lsn> {
        let at = slot.0.checked_sub(self.before.0 + 1)?;
        self.slots.get(usize::try_from(at).ok()?)?.as_ref().map(|held| held.lsn)
    }
}

impl Replica {
    /// Promises to accept nothing below `ballot`, and remembers it for good.
    pub(super) fn promise(&mut self, ballot: Ballot, out: &mut Outbox) {
        self.promised = ballot;
        self.promise_due = None;
        self.ask_anew();
        if !self.mutant.is(Mutant::P6) {
            self.acceptor.due.clear();
        }
        let head = Head { kind: PROMISED, group: self.group, from: self.id, ..Head::default() };
        self.journal.record_hard_state(Head { words: [ballot.word(), 0, 0, 0, 0, 0], ..head }, out);
    }

    /// Phase 2b, for a leader whose ballot was just promised or is the one promised. What came twice is acknowledged
    /// again. So is what is known to be decided, without another record: if a value is chosen and this node may
    /// still accept this ballot's, they are the same (P2c), and its answer to any later phase 1 is that the
    /// slot is decided.
    pub(super) fn on_accept(&mut self, accept: &Accept, body: &Payload, out: &mut Outbox) {
        if accept.slot <= self.log.last() {
            self.acceptor.due.push_back((Lsn::ZERO, accept.slot));
        } else if self.acceptor.get(accept.slot).is_some_and(|held| held.ballot == accept.ballot) {
            let lsn = self.acceptor.lsn(accept.slot).unwrap_or(Lsn::ZERO);
            self.acceptor.due.push_back((lsn, accept.slot));
        } else if accept.slot.saturating_since(self.log.last()) <= self.most_ahead() {
            // Beyond that it is dropped, as the network might have: this node has to catch up first.
            let accepted = Accepted { ballot: accept.ballot, kind: accept.kind, body: body.clone() };
            self.accept(accept.slot, accepted, out);
        }
    }

    /// Accepts a value under the ballot that it comes with. Its record says, besides, how far this node knew everything
    /// to be decided, so that a crash makes it forget little of that and the disk learns it for nothing.
    pub(super) fn accept(&mut self, slot: Slot, accepted: Accepted, out: &mut Outbox) {
        let head = self.record_head(slot, &accepted);
        self.journal.record_slot(self.log.last(), head, accepted.body.clone(), out);
        let lsn = self.journal.last();
        self.acceptor.put(slot, accepted, lsn);
        self.acceptor.due.push_back((lsn, slot));
    }

    /// The accept that brought this value, or would have.
    pub(super) fn record_head(&self, slot: Slot, accepted: &Accepted) -> Head {
        let Accepted { ballot, kind, ref body } = *accepted;
        let accept = Accept { ballot, slot, decided: self.log.last(), trim: Slot::ZERO, kind };
        Head { from: ballot.node, body_len: body.len() as u32, ..self.head(Message::Accept(accept)) }
    }

    /// What may be acknowledged now, as ranges of slots. An acceptance counts no sooner than its record, and
    /// the promise that it implies, would survive a crash.
    pub(super) fn acknowledge(&mut self, mut range: impl FnMut(&mut Self, Slot, Slot)) {
        if self.acceptor.due.is_empty() || !self.journal.holds_hard_state() {
            return;
        }
        let mut run: Option<(Slot, Slot)> = None;
        while let Some(&(lsn, slot)) = self.acceptor.due.front()
            && self.journal.holds(lsn)
        {
            self.acceptor.due.pop_front();
            run = match run {
                Some((first, last)) if slot == last + 1 => Some((first, slot)),
                Some((first, last)) => {
                    range(self, first, last);
                    Some((slot, slot))
                }
                None => Some((slot, slot)),
            };
        }
        if let Some((first, last)) = run {
            range(self, first, last);
        }
    }

    /// Phase 2b's message.
    pub(super) fn vote(&self, first: Slot, last: Slot, round: u64) -> Message {
        let (decided, durable) = (self.log.last(), self.journal.slot().min(self.log.last()));
        Message::Accepted(Votes { ballot: self.promised, first, last, round, decided, durable })
    }

    /// Phase 1b, once the promise is durable: what was accepted in each slot that is not known to be decided, and how
    /// much that was, so that a loss is noticed. Decided slots are left to be learned: a candidate that
    /// lacks them would otherwise be sent the whole log.
    pub(super) fn answer_prepare(&mut self, out: &mut Outbox) {
        if !self.journal.holds_hard_state() {
            return;
        }
        let Some(from) = self.promise_due.take() else { return };
        let (ballot, to) = (self.promised, Recipients::One(self.promised.node));
        let mut count = 0;
        for (slot, accepted) in self.acceptor.iter().filter(|&(slot, _)| slot >= from) {
            let report = Report { ballot, slot, accepted: accepted.ballot, kind: accepted.kind };
            out.transmit(to, self.head(Message::Report(report)), accepted.body.clone());
            count += 1;
        }
        self.send(to, Message::Promise(Promise { ballot, decided: self.log.last(), from, count }), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::DeliveryKind;
    use crate::wire::NodeId;

    fn accepted(round: u64) -> Accepted {
        Accepted { ballot: Ballot { round, node: NodeId(0) }, kind: DeliveryKind::Batch, body: Payload::EMPTY }
    }

    #[test]
    fn slots_may_be_missing_until_they_are_decided() {
        let mut acceptor = Acceptor::default();
        acceptor.put(Slot(1), accepted(1), Lsn(1));
        acceptor.put(Slot(4), accepted(1), Lsn(2));
        acceptor.put(Slot(3), accepted(2), Lsn(3));
        let slots: Vec<_> = acceptor.iter().map(|(slot, accepted)| (slot.0, accepted.ballot.round)).collect();
        assert_eq!(slots, [(1, 1), (3, 2), (4, 1)]);
        assert_eq!((acceptor.pop(), acceptor.pop()), (Some(accepted(1)), None));
        assert_eq!((acceptor.get(Slot(1)), acceptor.get(Slot(3))), (None, Some(&accepted(2))));
        acceptor.forget_to(Slot(9));
        assert_eq!(acceptor.iter().count(), 0);
        acceptor.put(Slot(10), accepted(3), Lsn(4));
        assert_eq!(acceptor.lsn(Slot(10)), Some(Lsn(4)));
    }
}
