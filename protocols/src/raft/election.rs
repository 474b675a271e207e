//! Elections: who campaigns, who gets a vote, and when.

use super::leader::Leader;
use super::message::{Candidacy, Message};
use super::replica::Replica;
use super::{Raft, State};
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::wire::{Nanos, NodeId, PeerSet, Recipients};

/// A campaign, for the promise of votes at first and then for the votes.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) stage: Stage,
    granted: PeerSet,
    /// The requests are out.
    asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asking whether a campaign could succeed. No term is raised yet, so that a node which was cut
    /// off disturbs nobody when it comes back (thesis, section 9.6).
    PreVote,
    /// Asking for votes in a new term.
    Vote {
        /// At the leader's own wish.
        transfer: bool,
    },
}

impl Campaign {
    fn new(stage: Stage) -> Self {
        Self { stage, granted: PeerSet::EMPTY, asked: false }
    }

    fn request(&self, replica: &Replica) -> Message {
        let candidacy = |term, transfer| Candidacy {
            term,
            last: replica.log.last(),
            last_term: replica.log.last_stamp(),
            transfer,
        };
        match self.stage {
            Stage::PreVote => Message::PreVote(candidacy(replica.term + 1, false)),
            Stage::Vote { transfer } => Message::Vote(candidacy(replica.term, transfer)),
        }
    }
}

impl Raft {
    /// The election timeout passed.
    pub(super) fn pre_campaign(&mut self, now: Nanos) {
        self.replica.await_leader(now);
        self.state = State::Campaign(Campaign::new(Stage::PreVote));
    }

    /// A majority would vote for this node, or its leader wants it to lead.
    pub(super) fn campaign(&mut self, now: Nanos, transfer: bool, out: &mut Outbox) {
        self.replica.timer.rearm(now);
        self.replica.enter_term(self.replica.term + 1, Some(self.replica.id), out);
        self.state = State::Campaign(Campaign::new(Stage::Vote { transfer }));
    }

    /// Sends the requests once the own vote is durable, and only then counts it: a candidate that
    /// forgot it could vote for another in the same term. A pre-vote promises nothing and waits for
    /// nothing.
    pub(super) fn flush_campaign(&mut self, now: Nanos, out: &mut Outbox) {
        let State::Campaign(campaign) = &mut self.state else { return };
        if campaign.asked || (campaign.stage != Stage::PreVote && !self.replica.journal.holds_hard_state()) {
            return;
        }
        campaign.asked = true;
        let others = (self.replica.members.voters | self.replica.members.outgoing).without(self.replica.id);
        if !others.is_empty() {
            self.replica.send(Recipients::Peers(others), campaign.request(&self.replica), out);
        }
        self.count(now, self.replica.id, out);
    }

    /// Would this node vote for the candidate? Nothing changes here, whatever the answer.
    pub(super) fn on_pre_vote(&self, now: Nanos, from: NodeId, candidacy: &Candidacy, out: &mut Outbox) {
        if self.is_led(now) || self.abstains() {
            return;
        }
        if candidacy.term <= self.replica.term && self.replica.mutant.is(Mutant::R14a) {
            return;
        }
        let message = if candidacy.term <= self.replica.term {
            // The candidate is behind by a term, perhaps with the better log. Left without an answer
            // it might never learn why nobody would vote for it.
            Message::Stale { term: self.replica.term }
        } else if self.replica.is_up_to_date(candidacy) {
            Message::PreGrant { term: candidacy.term }
        } else {
            return;
        };
        self.replica.send(Recipients::One(from), message, out);
    }

    /// Paper, section 5.2 and 5.4.1. While a leader is alive, a vote and its term are ignored, unless
    /// that leader asked for the election (thesis, section 4.2.3). Whether this node is a voter is for the candidate to
    /// say: what makes it one may not have come here yet (thesis, section 4.1).
    pub(super) fn on_vote(&mut self, now: Nanos, from: NodeId, candidacy: &Candidacy, out: &mut Outbox) {
        if (self.is_led(now) && !candidacy.transfer) || self.abstains() {
            return;
        }
        let newer = candidacy.term > self.replica.term;
        let free = newer || self.replica.voted_for.is_none_or(|candidate| candidate == from);
        let grant = free && self.replica.is_up_to_date(candidacy);
        if newer || (grant && self.replica.voted_for.is_none()) {
            self.replica.enter_term(candidacy.term, grant.then_some(from), out);
        }
        if newer {
            self.become_follower(now);
        }
        if grant {
            self.replica.vote_due = true;
            self.replica.timer.rearm(now);
        }
    }

    pub(super) fn on_pre_grant(&mut self, now: Nanos, from: NodeId, term: u64, out: &mut Outbox) {
        if self.stage() == Some(Stage::PreVote) && term == self.replica.term + 1 {
            self.count(now, from, out);
        }
    }

    pub(super) fn on_grant(&mut self, now: Nanos, from: NodeId, term: u64, out: &mut Outbox) {
        if matches!(self.stage(), Some(Stage::Vote { .. }))
            && (term == self.replica.term || self.replica.mutant.is(Mutant::Q2))
        {
            self.count(now, from, out);
        }
    }

    /// The leader resigns in favour of this node, which has everything: no pre-vote, no waiting.
    pub(super) fn on_timeout_now(&mut self, now: Nanos, from: NodeId, term: u64, out: &mut Outbox) {
        if term == self.replica.term
            && self.replica.may_campaign()
            && matches!(&self.state, State::Follower(f) if f.leader == Some(from))
        {
            self.campaign(now, true, out);
        }
    }

    /// Counts a voice for the campaign, and goes on to the next stage with a majority of them.
    fn count(&mut self, now: Nanos, from: NodeId, out: &mut Outbox) {
        let State::Campaign(campaign) = &mut self.state else { return };
        campaign.granted = campaign.granted.with(from);
        if !self.replica.electorate().is_majority(campaign.granted) {
            return;
        }
        match campaign.stage {
            Stage::PreVote => self.campaign(now, false, out),
            Stage::Vote { .. } => self.state = State::Leader(Leader::new(&mut self.replica, now, out)),
        }
    }

    /// Never: a learner, as far as it knows, may be a voter by now.
    fn abstains(&self) -> bool {
        self.replica.mutant.is(Mutant::R15b) && !self.replica.members.votes(self.replica.id)
    }

    fn stage(&self) -> Option<Stage> {
        if let State::Campaign(campaign) = &self.state { Some(campaign.stage) } else { None }
    }

    /// Whether this node leads, or has a leader that is alive, or may have had one before it crashed.
    fn is_led(&self, now: Nanos) -> bool {
        match &self.state {
            _ if now < self.replica.quiet_until => true,
            State::Follower(follower) => follower.hears_leader(now, &self.replica),
            State::Campaign(_) => false,
            State::Leader(_) => true,
        }
    }
}
