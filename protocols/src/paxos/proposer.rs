//! The proposer: its rounds for the slot that is not decided yet, and how long it stands back when
//! another one is ahead (*Paxos Made Simple*, sections 2.2 and 2.4).

use super::ballot::{Accepted, Ballot};
use crate::io::Config;
use crate::mutant::{Mutant, Switch};
use crate::prng::Prng;
use crate::quorum;
use crate::wire::{Nanos, NodeId, Payload, PeerSet};

#[derive(Clone, Debug)]
pub(super) struct Proposer {
    /// A client's batch that is to be chosen, in this slot or a later one.
    value: Option<Payload>,
    round: Option<Round>,
    /// The highest ballot that refused one of this node's, in this slot.
    refused_for: Ballot,
    /// No round begins before this.
    wait_until: Nanos,
    /// Rounds that were overtaken since a value of this node was chosen last.
    overtaken: u32,
    backoff: u64,
    rounds: u64,
    prng: Prng,
    mutant: Switch,
}

/// A ballot that is being tried.
#[derive(Clone, Debug)]
struct Round {
    ballot: Ballot,
    promised: PeerSet,
    /// The value of the highest ballot among what those who promised had accepted.
    highest: Option<Accepted>,
    /// What was proposed, once a majority had promised.
    proposed: Option<Payload>,
    accepted: PeerSet,
}

/// Beyond it, the longest back-off does not double any more.
const MOST_DOUBLINGS: u32 = 8;

impl Proposer {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        Self {
            value: None,
            round: None,
            refused_for: Ballot::ZERO,
            wait_until: Nanos::ZERO,
            overtaken: 0,
            backoff: if config.mutant.is(Mutant::P7) { 0 } else { config.backoff.0 },
            rounds: 0,
            prng: Prng::new(seed).fork(1),
            mutant: config.mutant,
        }
    }

    /// Whether it can take a client's batch.
    pub(super) fn has_room(&self) -> bool {
        self.value.is_none()
    }

    pub(super) fn submit(&mut self, value: &Payload) {
        if self.has_room() {
            self.value = Some(value.clone());
        }
    }

    /// How many rounds it has begun.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(super) fn is_busy(&self) -> bool {
        self.round.is_some()
    }

    /// When it begins its next round by itself.
    pub(super) fn begins_at(&self) -> Nanos {
        if self.value.is_some() && self.round.is_none() { self.wait_until } else { Nanos::NEVER }
    }

    /// Begins a round: a ballot above all that it has heard of, and above `promised`, which is its own
    /// acceptor's and durable, or soon will be. That one hears of the new ballot first, and nobody else
    /// before it is durable there: so a node that crashed never uses one twice.
    pub(super) fn begin(&mut self, id: NodeId, promised: Ballot) -> Ballot {
        let ballot = promised.max(self.refused_for).next_of(id);
        self.rounds += 1;
        self.round =
            Some(Round { ballot, promised: PeerSet::EMPTY, highest: None, proposed: None, accepted: PeerSet::EMPTY });
        ballot
    }

    /// An acceptor has promised. What to propose, once a majority has: the value of the highest ballot
    /// that any of them had accepted (section 2.2, P2c), or else a value of its own.
    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        accepted: Option<Accepted>,
        voters: PeerSet,
    ) -> Option<(Ballot, Payload)> {
        let careless = self.mutant.is(Mutant::P4);
        let preparing = |round: &&mut Round| round.proposed.is_none() && (round.ballot == ballot || careless);
        let round = self.round.as_mut().filter(preparing)?;
        round.promised = round.promised.with(from);
        if let Some(accepted) = accepted {
            Accepted::keep_highest(&mut round.highest, accepted);
        }
        if !quorum::is_majority(round.promised, voters) {
            return None;
        }
        let adopted = round.highest.take().map(|accepted| accepted.body);
        let Some(value) = adopted.or_else(|| self.value.clone()) else {
            // It meant to finish what another had begun, and nobody has accepted that.
            self.round = None;
            return None;
        };
        round.proposed = Some(value.clone());
        Some((round.ballot, value))
    }

    /// An acceptor has accepted. What is chosen, once a majority has.
    pub(super) fn on_accepted(&mut self, from: NodeId, ballot: Ballot, voters: PeerSet) -> Option<Payload> {
        let round = self.round.as_mut().filter(|round| round.ballot == ballot && round.proposed.is_some())?;
        round.accepted = round.accepted.with(from);
        if quorum::is_majority(round.accepted, voters) { round.proposed.take() } else { None }
    }

    /// An acceptor, perhaps this node's own, goes by a higher ballot: the round is lost, and another may
    /// have the next moment for itself. "Progress can be guaranteed" if proposers do not meet again and
    /// again (section 2.4), so each stands back for a random time, up to twice as long each time.
    pub(super) fn on_overtaken(&mut self, now: Nanos, ballot: Ballot, by: Ballot) {
        if self.round.as_ref().is_none_or(|round| round.ballot != ballot) {
            return;
        }
        self.refused_for = self.refused_for.max(by);
        self.round = None;
        self.overtaken += 1;
        let longest = self.backoff << self.overtaken.min(MOST_DOUBLINGS);
        self.wait_until = now.later(if longest == 0 { 0 } else { self.prng.below(longest) });
    }

    /// The ballot that it tries.
    pub(super) fn ballot(&self) -> Option<Ballot> {
        self.round.as_ref().map(|round| round.ballot)
    }

    /// Nobody answered for long enough.
    pub(super) fn give_up(&mut self) {
        self.round = None;
    }

    /// The slot is decided, with this value if it is known; the next one begins.
    pub(super) fn on_decided(&mut self, value: Option<&Payload>) {
        (self.round, self.refused_for) = (None, Ballot::ZERO);
        if value.is_some() && value == self.value.as_ref() {
            self.value = None;
            (self.overtaken, self.wait_until) = (0, Nanos::ZERO);
        }
    }
}
