//! Proposal numbers, and what an acceptor has accepted under one.

use std::fmt;

use crate::io::DeliveryKind;
use crate::wire::{NodeId, Payload, PeerSet};

/// A proposal number (*Paxos Made Simple*, section 2.2; "ballot" from *The Part-Time Parliament* on).
///
/// Rounds are compared first and nodes then, so no two nodes ever use the same one: "different proposers
/// choose their numbers from disjoint sets of numbers" by construction. That one node uses none twice is
/// for its journal to see to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// How many times it was tried before, by anyone that this node had heard of.
    pub round: u64,
    /// Whose it is. Below [`PeerSet::CAPACITY`].
    pub node: NodeId,
}

impl Ballot {
    /// Lower than any that is used.
    pub const ZERO: Self = Self { round: 0, node: NodeId(0) };

    /// The lowest ballot of `node` that is higher than this one.
    #[must_use]
    pub fn next_of(self, node: NodeId) -> Self {
        Self { round: self.round + 1, node }
    }

    /// As one number, in the same order. The round is below 2^56.
    pub const fn word(self) -> u64 {
        self.round << 8 | self.node.0 as u64
    }

    /// The ballot that a word says; `None` if no node could have made it.
    pub fn read(word: u64) -> Option<Self> {
        let (round, node) = (word >> 8, NodeId((word & 0xff) as u32));
        let made = word == 0 || (round > 0 && (node.0 as usize) < PeerSet::CAPACITY);
        made.then_some(Self { round, node })
    }
}

/// `3.n1`: round 3 of node 1.
impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

/// What an acceptor has accepted in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Under which ballot.
    pub ballot: Ballot,
    /// What its delivery will be, if it is chosen.
    pub kind: DeliveryKind,
    /// The value.
    pub body: Payload,
}

impl Accepted {
    /// Keeps the value of the highest ballot: what a proposer must propose, if any acceptor of its
    /// quorum has accepted something (*Paxos Made Simple*, section 2.2, P2c).
    pub fn keep_highest(best: &mut Option<Self>, heard: Self) {
        if best.as_ref().is_none_or(|best| heard.ballot > best.ballot) {
            *best = Some(heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_of_two_nodes_are_never_the_same() {
        let mut seen = std::collections::BTreeSet::new();
        for node in (0..PeerSet::CAPACITY as u32).map(NodeId) {
            let mut ballot = Ballot::ZERO;
            for _ in 0..10 {
                let next = ballot.next_of(node);
                assert!(next > ballot && next.word() > ballot.word(), "the order of words is that of ballots");
                assert_eq!(Ballot::read(next.word()), Some(next));
                assert!(seen.insert(next.word()));
                ballot = next;
            }
        }
        assert_eq!(Ballot::ZERO.next_of(NodeId(1)).to_string(), "1.n1");
    }

    #[test]
    fn what_nobody_could_have_made_is_no_ballot() {
        assert_eq!(Ballot::read(0), Some(Ballot::ZERO));
        assert_eq!(Ballot::read(5), None, "round 0 of a node");
        assert_eq!(Ballot::read(1 << 8 | 64), None, "no such node");
    }

    #[test]
    fn the_highest_ballot_is_kept() {
        let accepted = |round| Accepted {
            ballot: Ballot { round, node: NodeId(0) },
            kind: DeliveryKind::Batch,
            body: Payload::EMPTY,
        };
        let mut best = None;
        [3, 5, 4].into_iter().for_each(|round| Accepted::keep_highest(&mut best, accepted(round)));
        assert_eq!(best, Some(accepted(5)));
    }
}
