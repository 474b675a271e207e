//! Whom a node chooses among those that it may talk to.

use super::places::Places;
use crate::prng::Prng;

/// Those that a node may choose from: all others, or its view.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The node that chooses.
    pub node: u32,
    /// How many nodes there are, from 0.
    pub nodes: u32,
    /// Where they are; `None` where all are as good.
    pub places: Option<&'a Places>,
    /// Whom alone it may talk to; `None` for everyone. None of them has a place then.
    pub view: Option<&'a [u32]>,
}

/// Draws after which those that are left are looked at one by one.
const TRIES: usize = 64;

impl Choice<'_> {
    /// One that was not `met` yet; and, while there is any, one that the node does not rather avoid. `None` if there is
    /// nobody.
    pub fn draw(&self, met: &[u32], avoids: impl Fn(u32) -> bool, prng: &mut Prng) -> Option<u32> {
        if self.view.is_none() {
            for _ in 0..TRIES {
                let partner = match self.places {
                    Some(places) => places.draw(self.node, prng),
                    None => other(self.node, self.nodes, prng),
                };
                if !met.contains(&partner) && !avoids(partner) {
                    return Some(partner);
                }
            }
        }
        let fits = |partner: u32| partner != self.node && !met.contains(&partner);
        self.any(|partner| fits(partner) && !avoids(partner), prng).or_else(|| self.any(fits, prng))
    }

    /// One of those that fit, by looking at them all.
    fn any(&self, fits: impl Fn(u32) -> bool, prng: &mut Prng) -> Option<u32> {
        let fitting: Vec<u32> = match self.view {
            Some(view) => view.iter().copied().filter(|&partner| fits(partner)).collect(),
            None => (0..self.nodes).filter(|&partner| fits(partner)).collect(),
        };
        let last = *fitting.last()?;
        let Some(places) = self.places else {
            return Some(fitting[prng.below(fitting.len() as u64) as usize]);
        };
        let weight = |partner: u32| places.weight_of(self.node, partner);
        let sum: u128 = fitting.iter().map(|&partner| u128::from(weight(partner))).sum();
        let shift = (u128::BITS - sum.leading_zeros()).saturating_sub(u64::BITS);
        let mut left = prng.below((sum >> shift) as u64);
        let drawn = fitting.into_iter().find(|&partner| {
            let weight = weight(partner) >> shift;
            let is_drawn = left < weight;
            left = left.saturating_sub(weight);
            is_drawn
        });
        Some(drawn.unwrap_or(last))
    }
}

/// Uniformly any node but this one, of so many.
#[inline]
pub fn other(node: u32, nodes: u32, prng: &mut Prng) -> u32 {
    let drawn = prng.below(u64::from(nodes - 1)) as u32;
    drawn + u32::from(drawn >= node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_it_would_rather_avoid_is_the_last() {
        let (mut prng, nodes) = (Prng::new(1), 4);
        let ring = Places::new(nodes, nodes, |distance| 1 << (62 - 2 * distance));
        for (places, view) in [(None, None), (Some(&ring), None), (None, Some(&[0, 1, 2][..]))] {
            let choice = Choice { node: 3, nodes, places, view };
            for _ in 0..100 {
                assert_eq!(choice.draw(&[0], |partner| partner == 1, &mut prng), Some(2));
                assert_eq!(choice.draw(&[0, 2], |partner| partner == 1, &mut prng), Some(1));
                assert_eq!(choice.draw(&[0, 1, 2], |_| false, &mut prng), None);
            }
        }
    }

    /// Looking at all of them gives what draws would.
    #[test]
    fn those_that_are_left_are_as_probable_as_they_are_near() {
        let ring = Places::new(6, 6, |distance| [6 << 40, 3 << 40, 1 << 40][distance as usize - 1]);
        let choice = Choice { node: 0, nodes: 6, places: Some(&ring), view: None };
        let (mut prng, mut drawn) = (Prng::new(1), [0; 6]);
        (0..20_000).for_each(|_| drawn[choice.any(|partner| partner > 1, &mut prng).expect("some") as usize] += 1);
        // Of nodes 2 to 5, at distances 2, 3, 2 and 1.
        for (partner, weight) in [(2, 3), (3, 1), (4, 3), (5, 6)] {
            let expected = 20_000.0 * f64::from(weight) / 13.0;
            assert!((f64::from(drawn[partner]) - expected).abs() < 5.0 * expected.sqrt(), "{drawn:?}");
        }
    }
}
