//! Who is in the cluster, and who of them votes.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use crate::quorum;
use crate::wire::{NodeId, Payload, PeerSet, Slot};

/// A membership: what a CONFIG slot holds, and a snapshot begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: PeerSet,
    /// In a joint configuration, who voted before it: nothing is decided without a majority of these
    /// either (paper, section 6). Otherwise empty.
    pub outgoing: PeerSet,
    /// Who receives everything and has no say (thesis, section 4.2.1).
    pub learners: PeerSet,
}

impl Members {
    /// Bytes of its encoding.
    pub const BYTES: usize = 24;

    /// These vote, and nobody else is there.
    pub const fn of(voters: PeerSet) -> Self {
        Self { voters, outgoing: PeerSet::EMPTY, learners: PeerSet::EMPTY }
    }

    /// Everyone.
    pub fn all(&self) -> PeerSet {
        self.voters | self.outgoing | self.learners
    }

    /// Whether `id` has a say.
    pub fn votes(&self, id: NodeId) -> bool {
        self.voters.contains(id) || self.outgoing.contains(id)
    }

    /// Whether `granted` decides: in a joint configuration it takes a majority of each side, not of
    /// both taken together.
    pub fn is_majority(&self, granted: PeerSet) -> bool {
        quorum::is_majority(granted, self.voters)
            && (self.outgoing.is_empty() || quorum::is_majority(granted, self.outgoing))
    }

    /// Its bytes: the three sets, one bit a node.
    pub fn bytes(&self) -> Bytes {
        let words = [self.voters, self.outgoing, self.learners].map(PeerSet::bits);
        let bytes: [u8; Self::BYTES] = zerocopy::transmute!(words);
        Bytes::from_owner(bytes)
    }

    /// Reads what [`bytes`](Self::bytes) wrote; `None` for anything that is no membership.
    pub fn read(body: &Payload) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if body.len() != bytes.len() {
            return None;
        }
        bytes.iter_mut().zip(body.pieces().iter().flatten()).for_each(|(to, &from)| *to = from);
        let (sets, _) = bytes.as_chunks::<8>();
        let set = |at: usize| PeerSet::from_bits(u64::from_le_bytes(sets[at]));
        let members = Self { voters: set(0), outgoing: set(1), learners: set(2) };
        let voting = members.voters.bits() | members.outgoing.bits();
        (!members.voters.is_empty() && voting & members.learners.bits() == 0).then_some(members)
    }
}

/// `[n0 n1 n2]`, with the outgoing voters after a `/` and the learners after a `+`.
impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: PeerSet| set.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
        write!(f, "[{}", names(self.voters))?;
        for (mark, set) in [("/", self.outgoing), ("+", self.learners)] {
            if !set.is_empty() {
                write!(f, " {mark} {}", names(set))?;
            }
        }
        write!(f, "]")
    }
}

/// The memberships that stand in the log, and the one before them. The last one counts, committed or
/// not (paper, section 6); if it is truncated, the one before it counts again.
#[derive(Clone, Debug)]
pub(super) struct Memberships {
    /// Where each was written, ascending; never empty.
    entries: VecDeque<(Slot, Members)>,
}

impl Memberships {
    /// What a node starts with, or a snapshot of `slot` says.
    pub(super) fn new(slot: Slot, members: Members) -> Self {
        Self { entries: VecDeque::from([(slot, members)]) }
    }

    /// The one that counts.
    pub(super) fn current(&self) -> Members {
        self.entries.back().map(|&(_, members)| members).unwrap_or_default()
    }

    /// Where it was written.
    pub(super) fn slot(&self) -> Slot {
        self.entries.back().map_or(Slot::ZERO, |&(slot, _)| slot)
    }

    /// The one as of `slot`, which was not trimmed.
    pub(super) fn at(&self, slot: Slot) -> Members {
        let written = self.entries.iter().rev().find(|&&(at, _)| at <= slot);
        written.or(self.entries.front()).map(|&(_, members)| members).unwrap_or_default()
    }

    pub(super) fn write(&mut self, slot: Slot, members: Members) {
        self.entries.push_back((slot, members));
    }

    pub(super) fn truncate_after(&mut self, slot: Slot) {
        while self.entries.len() > 1 && self.slot() > slot {
            self.entries.pop_back();
        }
    }

    /// Nobody will ask for the membership as of a slot before `slot`.
    pub(super) fn trim_to(&mut self, slot: Slot) {
        while self.entries.get(1).is_some_and(|&(next, _)| next <= slot) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let members = Members {
            voters: PeerSet::from_bits(0b0111),
            outgoing: PeerSet::from_bits(0b0011),
            learners: PeerSet::from_bits(0b1000),
        };
        assert_eq!(Members::read(&members.bytes().into()), Some(members));
        assert_eq!(Members::read(&members.bytes().slice(1..).into()), None);
        let both = Members { learners: PeerSet::first(1), ..members };
        assert_eq!(Members::read(&both.bytes().into()), None, "a learner that votes");
        assert_eq!(Members::read(&Members::default().bytes().into()), None, "nobody");
    }
}
