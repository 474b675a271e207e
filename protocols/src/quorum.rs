//! Quorum arithmetic.

use crate::wire::PeerSet;

/// The smallest majority of `voters` nodes.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether `granted` holds a majority of `voters`. Nobody outside `voters` counts.
pub fn is_majority(granted: PeerSet, voters: PeerSet) -> bool {
    voters.iter().filter(|&id| granted.contains(id)).count() >= majority(voters.len())
}

/// The highest value that a majority of `values` has reached: what may be committed when each
/// value is a node's acknowledged slot. Sorts `values`. Zero where there are none.
pub fn reached_by_majority(values: &mut [u64]) -> u64 {
    reached_by(majority(values.len()), values)
}

/// The highest value that at least `quorum` of `values` have reached. Sorts `values`. Zero where there are not that many.
pub fn reached_by(quorum: usize, values: &mut [u64]) -> u64 {
    values.sort_unstable();
    let at = values.len().checked_sub(quorum);
    at.and_then(|at| values.get(at)).map_or(0, |&value| value)
}

/// How many acceptors make a quorum in either phase of Paxos (Howard, Malkhi & Spiegelman, *Flexible Paxos*, OPODIS
/// 2016): it is enough that each quorum of phase 1 shares a node with each of phase 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    phase1: usize,
    phase2: usize,
}

impl Quorums {
    /// Majorities of `voters` nodes in both phases.
    pub const fn majorities(voters: usize) -> Self {
        Self { phase1: majority(voters), phase2: majority(voters) }
    }

    /// So many of `voters` nodes; `None` unless they are that many, and any two of either kind share one.
    pub const fn flexible(voters: usize, phase1: usize, phase2: usize) -> Option<Self> {
        let exist = 1 <= phase1 && phase1 <= voters && 1 <= phase2 && phase2 <= voters;
        if exist && phase1 + phase2 > voters { Some(Self { phase1, phase2 }) } else { None }
    }

    /// Quorums that need not meet: a bug to plant.
    #[cfg(feature = "mutants")]
    pub(crate) const fn unchecked(phase1: usize, phase2: usize) -> Self {
        Self { phase1, phase2 }
    }

    /// How many must promise before anything is proposed.
    pub const fn phase1(self) -> usize {
        self.phase1
    }

    /// How many must accept before a value is chosen.
    pub const fn phase2(self) -> usize {
        self.phase2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::NodeId;

    #[test]
    fn majorities_meet() {
        for n in 1..64 {
            assert!(2 * majority(n) > n, "two majorities of {n} share a node");
            assert!(2 * (majority(n) - 1) <= n, "and none is larger than it must be");
        }
    }

    #[test]
    fn strangers_do_not_count() {
        let voters = PeerSet::first(3);
        assert!(!is_majority(PeerSet::EMPTY.with(NodeId(0)).with(NodeId(7)), voters));
        assert!(is_majority(PeerSet::EMPTY.with(NodeId(0)).with(NodeId(2)), voters));
    }

    #[test]
    fn flexible_quorums_meet_or_are_none() {
        for voters in 1..8 {
            for (phase1, phase2) in (0..10).flat_map(|phase1| (0..10).map(move |phase2| (phase1, phase2))) {
                let meet = (1..=voters).contains(&phase1) && (1..=voters).contains(&phase2) && phase1 + phase2 > voters;
                assert_eq!(Quorums::flexible(voters, phase1, phase2).is_some(), meet, "{phase1} and {phase2}");
            }
            let Quorums { phase1, phase2 } = Quorums::majorities(voters);
            assert!(Quorums::flexible(voters, phase1, phase2).is_some());
        }
        assert_eq!((reached_by(1, &mut [2, 9, 4]), reached_by(3, &mut [2, 9, 4])), (9, 2));
        assert_eq!((reached_by(4, &mut [2, 9, 4]), reached_by(0, &mut [2])), (0, 0), "nobody is left to ask");
    }

    #[test]
    fn the_median_is_reached_by_a_majority() {
        assert_eq!(reached_by_majority(&mut []), 0);
        assert_eq!(reached_by_majority(&mut [4]), 4);
        assert_eq!(reached_by_majority(&mut [9, 4]), 4);
        assert_eq!(reached_by_majority(&mut [9, 2, 4]), 4);
        assert_eq!(reached_by_majority(&mut [1, 9, 2, 4]), 2);
        assert_eq!(reached_by_majority(&mut [5, 1, 9, 2, 4]), 4);
    }
}
