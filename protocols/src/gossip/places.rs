//! Partners at a distance: on a ring or a grid, each with a probability that depends on it.
//!
//! Demers et al. 1987, section 3, and Kempe, Kleinberg, Demers, *Spatial Gossip and Resource Location Protocols* (STOC
//! 2001): a node chooses one at a distance d with a probability proportional to d^-a.

use crate::prng::Prng;

/// How far partners are, seen from any node: neither a ring nor a grid that is closed has an edge.
///
/// Walker's method of aliases (Vose, *A Linear Algorithm for Generating Random Numbers with a Given Distribution*, 1991):
/// a draw looks at one entry, whatever the distribution. All of it is whole numbers, and the same on any machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    nodes: u32,
    /// Nodes on a side of the grid; of a ring, all.
    side: u32,
    /// How probable a node is at each distance from 1, by the sum over all.
    weights: Vec<u64>,
    /// Of each offset but zero: with what probability, of 2^32, it is itself, and else which one.
    entries: Vec<(u32, u32)>,
}

impl Places {
    /// A grid with so many nodes, `side` in each row; with as many as there are, a ring. `weight` says how probable a node
    /// at a distance, of 1 and more, is against others.
    ///
    /// # Panics
    /// If there are fewer than two nodes, rows that are not full, or weights of nothing, or of 2^63 and more.
    pub fn new(nodes: u32, side: u32, weight: impl Fn(u32) -> u64) -> Self {
        assert!(nodes > 1 && side > 0 && nodes.is_multiple_of(side), "full rows of nodes");
        let weights: Vec<u64> = (1..=side / 2 + nodes / side / 2).map(weight).collect();
        assert!(weights.iter().all(|&weight| weight > 0 && weight >> 63 == 0), "weights within reach");
        let mut places = Self { nodes, side, weights, entries: Vec::new() };
        places.entries = aliases((1..nodes).map(|offset| places.weight(offset)).collect());
        places
    }

    /// A partner of `node`.
    #[inline]
    pub fn draw(&self, node: u32, prng: &mut Prng) -> u32 {
        let index = prng.below(self.entries.len() as u64) as u32;
        let (itself, alias) = self.entries[index as usize];
        let drawn = if ((prng.next_u64() >> 32) as u32) < itself { index } else { alias };
        self.at(node, drawn + 1)
    }

    /// How probable a partner is, by the sum over all.
    pub fn weight_of(&self, node: u32, partner: u32) -> u64 {
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

    fn weight(&self, offset: u32) -> u64 {
        let around = |steps: u32, along: u32| steps.min(along - steps);
        let rows = self.nodes / self.side;
        let distance = around(offset % self.side, self.side) + around(offset / self.side, rows);
        self.weights[distance as usize - 1]
    }
}

fn aliases(weights: Vec<u64>) -> Vec<(u32, u32)> {
    let (count, sum) = (weights.len() as u128, weights.iter().copied().map(u128::from).sum::<u128>());
    // What is each one's, where an entry has room for `sum`.
    let mut shares: Vec<u128> = weights.into_iter().map(|weight| u128::from(weight) * count).collect();
    let (mut less, mut more): (Vec<u32>, Vec<u32>) =
        (0..shares.len() as u32).partition(|&index| shares[index as usize] < sum);
    let mut entries: Vec<(u32, u32)> = (0..shares.len() as u32).map(|index| (u32::MAX, index)).collect();
    while let (Some(poor), Some(&rich)) = (less.pop(), more.last()) {
        let share = shares[poor as usize];
        entries[poor as usize] = (((share << 32) / sum) as u32, rich);
        shares[rich as usize] -= sum - share;
        if shares[rich as usize] < sum {
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
        let ring = Places::new(11, 11, |distance| (1 << 40) / u64::from(distance).pow(2));
        let even = Places::new(10, 10, |_| 1);
        let grid = Places::new(25, 5, |distance| (1 << 62) / u64::from(distance).pow(3));
        for (places, nodes) in [(ring, 11), (even, 10), (grid, 25)] {
            let (draws, node) = (400_000, 3);
            let mut prng = Prng::new(1);
            let mut drawn = vec![0_u32; nodes];
            (0..draws).for_each(|_| drawn[places.draw(node, &mut prng) as usize] += 1);
            assert_eq!(drawn[node as usize], 0, "nobody is a partner of its own");
            let others = || (0..nodes as u32).filter(|&other| other != node);
            let sum: f64 = others().map(|other| places.weight_of(node, other) as f64).sum();
            for other in others() {
                let (p, is) = (places.weight_of(node, other) as f64 / sum, f64::from(drawn[other as usize]));
                let expected = p * f64::from(draws);
                assert!((is - expected).abs() < 5.0 * expected.sqrt(), "{nodes} {other}: {is}, not {expected}");
            }
        }
    }

    #[test]
    fn distances_go_around() {
        let away = |distance: u32| u64::from(distance);
        let ring = Places::new(10, 10, away);
        assert_eq!([ring.weight_of(0, 9), ring.weight_of(0, 5), ring.weight_of(7, 2)], [1, 5, 5]);
        let grid = Places::new(25, 5, away);
        assert_eq!(grid.weight_of(0, 24), 2, "the opposite corner is two steps away");
        assert_eq!([grid.weight_of(7, 9), grid.weight_of(7, 17)], [2, 2]);
    }
}
