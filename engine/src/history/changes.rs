//! Where a series changes: e-divisive means.
//!
//! Matteson and James, *A nonparametric approach for multiple change point analysis of multivariate data* (Journal of the
//! American Statistical Association, 2014), with their alpha of 1: a series is divided where the two sides differ most in
//! their energy distance, as long as a permutation test says that they would hardly differ so much by chance. The tools of
//! `MongoDB` and Netflix find regressions so (Daly et al., *The use of change point detection to identify software
//! performance regressions in a continuous integration system*, ICPE 2020).

use quorumbench_protocols::Prng;

use crate::run::shuffle;

/// Divides `series`: the first place of each stretch but the first, in order. `significance` is the chance of dividing
/// what does not change, each time that it is asked; `seed` draws the permutations.
pub fn change_points(series: &[f64], significance: f64, seed: u64) -> Vec<usize> {
    let mut prng = Prng::new(seed);
    let mut changes = Vec::new();
    while let Some(best) = best_division(series, &changes) {
        let mut shuffled = series.to_vec();
        let mut as_far = 0_usize;
        for _ in 0..PERMUTATIONS {
            clusters(&changes, series.len()).for_each(|(from, to)| shuffle(&mut shuffled[from..to], &mut prng));
            as_far += usize::from(best_division(&shuffled, &changes).is_some_and(|by_chance| by_chance.q >= best.q));
        }
        // Section 2.4: the series itself is one of the permutations.
        if (as_far + 1) as f64 / (PERMUTATIONS + 1) as f64 > significance {
            break;
        }
        changes.push(best.at);
        changes.sort_unstable();
    }
    changes
}

/// So that a p of a hundredth is well told from its neighbours.
const PERMUTATIONS: usize = 999;

/// Where a cluster would be divided.
#[derive(Clone, Copy)]
struct Division {
    at: usize,
    /// The scaled energy distance of its sides.
    q: f64,
}

/// The stretches between changes, as their first place and the one behind their last.
fn clusters(changes: &[usize], len: usize) -> impl Iterator<Item = (usize, usize)> {
    let ends = changes.iter().copied().chain([len]);
    std::iter::once(0).chain(changes.iter().copied()).zip(ends)
}

/// The division whose sides differ most, over all clusters; `None` if none has two values.
fn best_division(series: &[f64], changes: &[usize]) -> Option<Division> {
    let best = |(from, to)| {
        let Division { at, q } = best_of(&series[from..to])?;
        Some(Division { at: from + at, q })
    };
    clusters(changes, series.len()).filter_map(best).max_by(|one, other| one.q.total_cmp(&other.q))
}

/// Equations 5 and 7 of the paper: of all stretches X before and Y behind a place, Y ending anywhere, the two whose scaled
/// distance is largest. Sums of distances are carried from place to place, so that all of it takes n^2 steps.
fn best_of(values: &[f64]) -> Option<Division> {
    let len = values.len();
    let distance = |one: usize, other: usize| (values[one] - values[other]).abs();
    // Of each value: to all before it, and to those of X.
    let before: Vec<f64> = (0..len).map(|at| (0..at).map(|other| distance(at, other)).sum()).collect();
    let mut to_x = vec![0.0_f64; len];
    let (mut within_x, mut best) = (0.0, None::<Division>);
    for at in 1..len {
        within_x += before[at - 1];
        to_x.iter_mut().enumerate().skip(at).for_each(|(other, sum)| *sum += distance(at - 1, other));
        let (mut between, mut within_y) = (0.0, 0.0);
        for end in at..len {
            between += to_x[end];
            within_y += before[end] - to_x[end];
            let (x, y) = (at as f64, (end + 1 - at) as f64);
            let mean_within =
                |sum: f64, count: f64| if count > 1.0 { 2.0 * sum / (count * (count - 1.0)) } else { 0.0 };
            let energy = 2.0 * between / (x * y) - mean_within(within_x, x) - mean_within(within_y, y);
            let q = x * y / (x + y) * energy;
            if best.is_none_or(|best| q > best.q) {
                best = Some(Division { at, q });
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many values around each level, with a noise of 2 %.
    fn steps(levels: &[(usize, f64)], seed: u64) -> Vec<f64> {
        let mut prng = Prng::new(seed);
        let mut noisy = |level: f64| level * (1.0 + 0.02 * ((0..12).map(|_| prng.unit()).sum::<f64>() - 6.0));
        levels.iter().flat_map(|&(count, level)| vec![level; count]).map(&mut noisy).collect()
    }

    #[test]
    fn changes_are_found_where_they_are() {
        for seed in 0..10 {
            let series = steps(&[(20, 100.0), (15, 112.0), (25, 95.0)], seed);
            let found = change_points(&series, 0.01, 1);
            assert!(found.len() == 2, "{seed}: {found:?}");
            assert!(found.iter().zip([20, 35]).all(|(at, change)| at.abs_diff(change) <= 1), "{seed}: {found:?}");
        }
    }

    #[test]
    fn what_does_not_change_is_hardly_ever_divided() {
        let alarms = (0..100).filter(|&seed| !change_points(&steps(&[(30, 100.0)], seed), 0.01, 1).is_empty()).count();
        assert!(alarms <= 4, "{alarms} of 100");
        assert!(change_points(&[5.0; 40], 0.01, 1).is_empty());
        assert!(change_points(&[5.0], 0.01, 1).is_empty() && change_points(&[], 0.01, 1).is_empty());
    }

    /// The same sum as the definition has it: every pair of stretches, every pair of values.
    #[test]
    fn carried_sums_are_those_of_the_definition() {
        let values = steps(&[(5, 10.0), (4, 30.0)], 3);
        let mean = |one: &[f64], other: &[f64]| {
            one.iter().map(|a| other.iter().map(|b| (a - b).abs()).sum::<f64>()).sum::<f64>()
        };
        let within =
            |all: &[f64]| if all.len() > 1 { mean(all, all) / (all.len() * (all.len() - 1)) as f64 } else { 0.0 };
        let mut largest = (f64::MIN, 0);
        for at in 1..values.len() {
            for end in at + 1..=values.len() {
                let (left, right) = (&values[..at], &values[at..end]);
                let (many, few) = (left.len() as f64, right.len() as f64);
                let energy = 2.0 * mean(left, right) / (many * few) - within(left) - within(right);
                let q = many * few / (many + few) * energy;
                if q > largest.0 {
                    largest = (q, at);
                }
            }
        }
        let found = best_of(&values).expect("a division");
        assert_eq!(found.at, largest.1);
        assert!((found.q - largest.0).abs() < 1e-9, "{} {}", found.q, largest.0);
    }
}
