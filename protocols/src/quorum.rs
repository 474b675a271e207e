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
    values.sort_unstable();
    let at = values.len().checked_sub(majority(values.len()));
    at.map_or(0, |at| values[at])
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
    fn the_median_is_reached_by_a_majority() {
        assert_eq!(reached_by_majority(&mut []), 0);
        assert_eq!(reached_by_majority(&mut [4]), 4);
        assert_eq!(reached_by_majority(&mut [9, 4]), 4);
        assert_eq!(reached_by_majority(&mut [9, 2, 4]), 4);
        assert_eq!(reached_by_majority(&mut [1, 9, 2, 4]), 2);
        assert_eq!(reached_by_majority(&mut [5, 1, 9, 2, 4]), 4);
    }
}
