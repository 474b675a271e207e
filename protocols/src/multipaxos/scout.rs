//! The scout: phase 1, once for all slots (*Paxos Made Simple*, section 3; PMMC, figure 6b).

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Message, Prepare, Promise, Report};
use super::replica::Replica;
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::paxos::{Accepted, Ballot};
use crate::wire::{Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

/// A campaign for one ballot. It asks again, under the same ballot, until it is preempted: a node that nobody hears
/// must not count rounds up for all that time.
#[derive(Clone, Debug)]
pub(super) struct Scout {
    ballot: Ballot,
    /// The leader itself asked for it.
    transfer: bool,
    /// The own promise is durable, and who has not answered has been asked.
    asked: bool,
    retry_at: Nanos,
    /// How often it asked.
    tries: usize,
    /// By node id.
    answers: Vec<Answer>,
    /// The value of the highest ballot for each slot.
    adopted: BTreeMap<Slot, Accepted>,
}

#[derive(Clone, Debug, Default)]
struct Answer {
    promise: Option<Promise>,
    reported: BTreeSet<Slot>,
}

impl Answer {
    /// Everything that the promise speaks of has arrived. What was decided since an earlier answer is not missed; and
    /// a report of a slot that this answer was not asked about is none of those that it counts, or it would stand in
    /// for one that was lost.
    fn is_complete(&self) -> bool {
        self.promise.is_some_and(|promise| {
            let first = promise.from.max(promise.decided + 1);
            self.reported.range(first..).count() as u64 >= promise.count
        })
    }
}

impl Scout {
    pub(super) fn new(replica: &Replica, transfer: bool, now: Nanos) -> Self {
        let ids = replica.voters.iter().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        Self {
            ballot: replica.promised,
            transfer,
            asked: false,
            retry_at: now.later(replica.heartbeat),
            tries: 0,
            answers: vec![Answer::default(); ids],
            adopted: BTreeMap::new(),
        }
    }

    pub(super) fn on_report(&mut self, replica: &Replica, from: NodeId, report: &Report, body: &Payload) {
        // It is asked for again once this node has learned what is before it.
        let too_far = report.slot.saturating_since(replica.log.last()) > replica.most_adopted();
        if (report.ballot != self.ballot && !replica.mutant.is(Mutant::MP4)) || too_far {
            return;
        }
        self.answers[from.0 as usize].reported.insert(report.slot);
        let accepted = Accepted { ballot: report.accepted, kind: report.kind, body: body.clone() };
        self.adopt(replica, report.slot, accepted);
    }

    fn adopt(&mut self, replica: &Replica, slot: Slot, accepted: Accepted) {
        if slot <= replica.log.last() {
            return;
        }
        let mut best = self.adopted.remove(&slot);
        if replica.mutant.is(Mutant::P5a) {
            best = best.or(Some(accepted));
        } else {
            Accepted::keep_highest(&mut best, accepted);
        }
        self.adopted.extend(best.map(|best| (slot, best)));
    }

    pub(super) fn on_promise(&mut self, replica: &mut Replica, from: NodeId, promise: &Promise) {
        if promise.ballot == self.ballot || replica.mutant.is(Mutant::MP4) {
            self.answers[from.0 as usize].promise = Some(*promise);
            replica.hear_of(promise.decided);
        }
    }

    pub(super) fn retry_at(&self) -> Nanos {
        self.retry_at
    }

    /// Time to ask again who has not answered, or not for all of it.
    pub(super) fn on_timeout(&mut self, replica: &mut Replica, now: Nanos) {
        if now >= self.retry_at {
            self.retry_at = now.later(replica.heartbeat);
            self.asked = false;
            replica.lose_patience();
        }
    }

    /// Asks once the own promise is durable, and only then counts it: a candidate that forgot it could accept under a
    /// lower ballot what this one does not hear of. Says whether phase 1 is over.
    #[must_use]
    pub(super) fn flush(&mut self, replica: &mut Replica, out: &mut Outbox) -> bool {
        if !replica.journal.holds_hard_state() && !replica.mutant.is(Mutant::MP3) {
            return false;
        }
        if !std::mem::replace(&mut self.asked, true) {
            self.tries += 1;
            let silent: PeerSet =
                replica.peers.iter().filter(|id| !self.answers[id.0 as usize].is_complete()).collect();
            if !silent.is_empty() {
                let from = replica.log.last() + 1;
                let prepare = Prepare { ballot: self.ballot, from, transfer: self.transfer };
                replica.send(Recipients::Peers(silent), Message::Prepare(prepare), out);
            }
        }
        self.is_promised(replica) || self.catch_up(replica, out)
    }

    /// A quorum has promised, and told of nothing decided that is not here: then it told of everything that may have
    /// been chosen besides.
    fn is_promised(&self, replica: &Replica) -> bool {
        let others = replica.peers.iter().map(|id| &self.answers[id.0 as usize]);
        let known = |answer: &Answer| answer.promise.is_some_and(|promise| promise.decided <= replica.log.last());
        1 + others.filter(|answer| answer.is_complete() && known(answer)).count() >= replica.quorums.phase1()
    }

    /// Whoever promised and knows more is asked for it, one after the other in case that it is gone.
    fn catch_up(&self, replica: &mut Replica, out: &mut Outbox) -> bool {
        let more = |id: &NodeId| {
            let promise = self.answers[id.0 as usize].promise;
            promise.is_some_and(|promise| promise.decided > replica.log.last())
        };
        let teachers: PeerSet = replica.peers.iter().filter(more).collect();
        if let Some(teacher) = teachers.iter().nth(self.tries % teachers.len().max(1)) {
            replica.ask(teacher, out);
        }
        false
    }

    /// What the new leader must propose, from its first undecided slot on: for each the value of the highest ballot
    /// that anyone reported, or that it accepted itself; where there is none nothing can have been chosen,
    /// and a no-op fills the hole.
    pub(super) fn adopted(mut self, replica: &Replica) -> BTreeMap<Slot, Accepted> {
        for (slot, accepted) in replica.acceptor.iter() {
            self.adopt(replica, slot, accepted.clone());
        }
        self.adopted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_an_earlier_answer_does_not_stand_in_for_one_that_was_lost() {
        let promise = |from, count| Promise { ballot: Ballot::ZERO, decided: Slot(28), from: Slot(from), count };
        let reported = [38, 39, 40, 42].map(Slot).into_iter().collect();
        let mut answer = Answer { promise: Some(promise(38, 5)), reported };
        assert!(!answer.is_complete());
        answer.promise = Some(promise(39, 4));
        assert!(!answer.is_complete(), "41 is missing, and 38 was not asked for again");
        answer.reported.insert(Slot(41));
        assert!(answer.is_complete());
    }
}
