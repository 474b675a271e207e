//! Elections: who prepares, who is promised, and when.
//!
//! A follower that hears no leader prepares after a timeout that is drawn at random each time, so that of several
//! that lose patience one mostly wins before the next tries (PMMC, section 3.2: "backs off").
//!
//! Two things keep a leader in office that is alive. *Nobody promises against a leader that it hears* (*Paxos Made
//! Live*, section 5.2: replicas "refuse to process Paxos messages" from others while the lease lasts). *The
//! leader outbids* a node that was cut off and has promised itself a higher ballot meanwhile: that node can
//! accept nothing from the leader any more, and everything that it says is "preempted". Deposing the leader for its
//! sake, over and over, is what the authors call master churn; theirs "periodically boosts its sequence number by
//! running a full round of the Paxos algorithm". Here it does so when it hears that it must, and only if the
//! higher ballot leads nobody. A candidate asks under one and the same ballot until it is preempted itself,
//! so once is enough.

use super::leader::Leader;
use super::message::Prepare;
use super::scout::Scout;
use super::{MultiPaxos, State};
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::paxos::Ballot;
use crate::wire::{Nanos, NodeId};

impl MultiPaxos {
    /// Prepares under a ballot above all that it knows of: the election timeout passed, its leader wants it to lead, or
    /// it leads and is outbid.
    pub(super) fn campaign(&mut self, now: Nanos, transfer: bool, out: &mut Outbox) {
        let replica = &mut self.replica;
        replica.timer.rearm(now);
        let ballot = replica.seen.max(replica.promised).next_of(replica.id);
        if replica.mutant.is(Mutant::MP3) {
            (replica.promised, replica.promise_due) = (ballot, None);
        } else {
            replica.promise(ballot, out);
        }
        replica.seen = ballot;
        self.state = State::Scout(Box::new(Scout::new(replica, transfer, now)));
    }

    pub(super) fn flush_scout(&mut self, now: Nanos, out: &mut Outbox) {
        let State::Scout(scout) = &mut self.state else { return };
        if !scout.flush(&mut self.replica, out) {
            return;
        }
        let State::Scout(scout) = std::mem::replace(&mut self.state, State::Follower(super::Follower::new(None, now)))
        else {
            return;
        };
        let adopted = scout.adopted(&self.replica);
        self.state = State::Leader(Box::new(Leader::new(&mut self.replica, adopted, now, out)));
    }

    /// Phase 1a at an acceptor (*Paxos Made Simple*, section 2.2).
    pub(super) fn on_prepare(&mut self, now: Nanos, prepare: &Prepare, out: &mut Outbox) {
        let Prepare { ballot, from, transfer } = *prepare;
        if ballot < self.replica.promised {
            self.replica.preempt_due = self.replica.preempt_due.with(ballot.node);
        } else if ballot == self.replica.promised {
            // It asks again, unless it was answered long ago, and leads.
            if !matches!(&self.state, State::Follower(follower) if follower.leader.is_some()) {
                self.replica.promise_due = Some(from);
            }
        } else if !transfer && self.outbids(now, ballot, false) {
            self.campaign(now, false, out);
        } else if transfer || !self.is_led(now) || self.leader_is(ballot.node) {
            self.replica.promise(ballot, out);
            self.replica.promise_due = Some(from);
            self.replica.timer.rearm(now);
            self.state = State::Follower(super::Follower::new(None, now));
        }
    }

    /// A higher ballot was promised by somebody.
    pub(super) fn on_preempted(&mut self, now: Nanos, ballot: Ballot, led: bool, out: &mut Outbox) {
        if ballot <= self.replica.promised {
            return;
        }
        match &self.state {
            State::Leader(_) => {
                if self.outbids(now, ballot, led) {
                    self.campaign(now, false, out);
                }
            }
            State::Scout(_) => self.become_follower(now),
            State::Follower(_) => {}
        }
    }

    /// Somebody goes by a higher ballot than this node, which leads. It outbids that, if nobody leads under it and it is
    /// heard itself, or else it resigns.
    fn outbids(&mut self, now: Nanos, ballot: Ballot, led: bool) -> bool {
        let State::Leader(leader) = &self.state else { return false };
        let holds = !led && !leader.hands_over() && leader.is_heard(&self.replica, now);
        self.replica.seen = self.replica.seen.max(ballot);
        if !holds {
            self.become_follower(now);
        }
        holds
    }

    /// The leader resigns in favour of this node.
    pub(super) fn on_yield(&mut self, now: Nanos, ballot: Ballot, out: &mut Outbox) {
        if ballot == self.replica.promised && self.leader_is(ballot.node) && self.replica.votes() {
            self.campaign(now, true, out);
        }
    }

    fn leader_is(&self, id: NodeId) -> bool {
        matches!(&self.state, State::Follower(follower) if follower.leader == Some(id))
    }

    /// Whether this node leads, or has a leader that is alive, or may have had one before it crashed.
    pub(super) fn is_led(&self, now: Nanos) -> bool {
        match &self.state {
            _ if now < self.replica.quiet_until => true,
            State::Follower(follower) => follower.hears_leader(now, &self.replica),
            State::Scout(_) => false,
            State::Leader(_) => true,
        }
    }
}
