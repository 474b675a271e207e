//! Where nodes are, and how probable partners are at a distance.

use quorumbench_protocols::gossip::Places;

use crate::spec::Gossip;
use crate::spec::PartnerChoice;

/// A ring or a grid of so many nodes, on which partners at a distance d are chosen with a probability proportional to
/// d^-a; `None` for partners at no distance.
pub(crate) fn places(nodes: usize, gossip: &Gossip) -> Option<Places> {
    let side = match gossip.partners {
        PartnerChoice::Ring => nodes,
        PartnerChoice::Grid => nodes.isqrt(),
        _ => return None,
    };
    let weight = |distance: u32| ((NEXT_DOOR * f64::from(distance).powf(-gossip.exponent)) as u64).max(1);
    Some(Places::new(nodes as u32, side as u32, weight))
}

/// What d^-a = 1 weighs: so much that what is cut off of others is next to nothing.
const NEXT_DOOR: f64 = (1_u64 << 62) as f64;
