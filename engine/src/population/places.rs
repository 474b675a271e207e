//! Partners at a distance: on a ring or a grid, each with a probability that falls as a power of it.
//!
//! Demers et al. 1987, section 3, and Kempe, Kleinberg, Demers, *Spatial Gossip and Resource Location Protocols* (STOC
//! 2001): a node chooses one at a distance d with a probability proportional to d^-a.

use quorumbench_protocols::Prng;

use crate::spec::PartnerChoice;

/// How far partners are, seen from any node: neither a ring nor a grid that is closed has an edge.
///
/// Walker's method of aliases (Vose, *A Linear Algorithm for Generating Random Numbers with a Given Distribution*, 1991):
/// a draw looks at one entry, whatever the distribution.
#[derive(Clone, Debug)]
pub(super) struct Places {
    nodes: u32,
    /// Nodes on a side of the grid; of a ring, all.
    side: u32,
    exponent: f64,
    /// Of each offset but zero: with what probability, of 2^32, it is itself, and else which one.
    entries: Vec<(u32, u32)>,
}

impl Places {
    /// `None` for partners at no distance.
    pub(super) fn new(nodes: usize, partners: PartnerChoice, exponent: f64) -> Option<Self> {
        let side = match partners {
            PartnerChoice::Ring => nodes,
            PartnerChoice::Grid => nodes.isqrt(),
            _ => return None,
        };
        let mut places = Self { nodes: nodes as u32, side: side as u32, exponent, entries: Vec::new() };
        let weights: Vec<f64> = (1..places.nodes).map(|offset| places.weight(offset)).collect();
        places.entries = aliases(weights);
        Some(places)
    }

    /// A partner of `node`.
    #[inline]
    pub(super) fn draw(&self, node: u32, prng: &mut Prng) -> u32 {
        let index = prng.below(self.entries.len() as u64) as u32;
        let (itself, alias) = self.entries[index as usize];
        let drawn = if ((prng.next_u64() >> 32) as u32) < itself { index } else { alias };
        self.at(node, drawn + 1)
    }

    /// How probable a partner is, by the sum over all.
    pub(super) fn weight_of(&self, node: u32, partner: u32) -> f64 {
        let (dx, dy) = (self.part(node, partner, 1), self.part(node, partner, self.side));
        self.weight(dx + dy * self.side)
    }

    /// How far it is from one to the other, along one side.
    fn part(&self, node: u32, partner: u32, unit: u32) -> u32 {
        let along = if unit == 1 { self.side } else { self.nodes / self.side };
        let [from, to] = [node, partner].map(|each| each / unit % along.max(1));
        (to + along - from) % along
    }

    fn at(&self, node: u32, offset: u32) -> u32 {
        let rows = self.nodes / self.side;
        let x = (u64::from(node % self.side) + u64::from(offset % self.side)) % u64::from(self.side);
        let y = (u64::from(node / self.side) + u64::from(offset / self.side)) % u64::from(rows);
        (y * u64::from(self.side) + x) as u32
    }

    fn weight(&self, offset: u32) -> f64 {
        let around = |steps: u32, along: u32| steps.min(along - steps);
        let rows = self.nodes / self.side;
        let distance = around(offset % self.side, self.side) + around(offset / self.side, rows);
        f64::from(distance).powf(-self.exponent)
    }
}

fn aliases(weights: Vec<f64>) -> Vec<(u32, u32)> {
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let mut shares: Vec<f64> = weights.into_iter().map(|weight| weight / mean).collect();
    let (mut less, mut more): (Vec<u32>, Vec<u32>) =
        (0..shares.len() as u32).partition(|&index| shares[index as usize] < 1.0);
    let mut entries: Vec<(u32, u32)> = (0..shares.len() as u32).map(|index| (u32::MAX, index)).collect();
    while let (Some(poor), Some(&rich)) = (less.pop(), more.last()) {
        let share = shares[poor as usize];
        entries[poor as usize] = ((share * f64::from(u32::MAX)) as u32, rich);
        shares[rich as usize] -= 1.0 - share;
        if shares[rich as usize] < 1.0 {
            less.extend(more.pop());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws fall as the weights do, for each partner.
    #[test]
    fn partners_are_as_probable_as_they_are_near() {
        for (partners, nodes, exponent) in
            [(PartnerChoice::Ring, 11, 2.0), (PartnerChoice::Ring, 10, 0.0), (PartnerChoice::Grid, 25, 1.5)]
        {
            let places = Places::new(nodes, partners, exponent).expect("places");
            let (draws, node) = (400_000, 3);
            let mut prng = Prng::new(1);
            let mut drawn = vec![0_u32; nodes];
            (0..draws).for_each(|_| drawn[places.draw(node, &mut prng) as usize] += 1);
            assert_eq!(drawn[node as usize], 0, "nobody is a partner of its own");
            let others = || (0..nodes as u32).filter(|&other| other != node);
            let sum: f64 = others().map(|other| places.weight_of(node, other)).sum();
            for other in others() {
                let (p, is) = (places.weight_of(node, other) / sum, f64::from(drawn[other as usize]));
                let expected = p * f64::from(draws);
                assert!((is - expected).abs() < 5.0 * expected.sqrt(), "{partners:?} {other}: {is}, not {expected}");
            }
        }
    }

    #[test]
    fn distances_go_around() {
        let ring = Places::new(10, PartnerChoice::Ring, 1.0).expect("a ring");
        assert!((ring.weight_of(0, 9) - 1.0).abs() < 1e-12 && (ring.weight_of(0, 5) - 0.2).abs() < 1e-12);
        let grid = Places::new(25, PartnerChoice::Grid, 1.0).expect("a grid");
        assert!((grid.weight_of(0, 24) - 0.5).abs() < 1e-12, "the opposite corner is two steps away");
        assert!((grid.weight_of(7, 9) - 0.5).abs() < 1e-12 && (grid.weight_of(7, 17) - 0.5).abs() < 1e-12);
    }
}
