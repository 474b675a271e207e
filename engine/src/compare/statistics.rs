//! Whether two samples differ, by how much, and how many more observations it would take to know.
//!
//! The observations are runs, not requests: a run's percentile is one number. Their distribution is nobody's
//! bell curve, and there are five or ten of them, so everything here goes by ranks or by resampling.

/// The chance, if two samples are of one distribution, of ranks that are at least as far apart: the Mann-Whitney test,
/// two-sided and exact (Mann and Whitney, *On a test of whether one of two random variables is stochastically larger
/// than the other*, 1947). Equal values share the mean of their ranks, and the distribution is that of all ways to deal
/// these very ranks out. 1 if either sample is empty.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> f64 {
    let all: Vec<f64> = first.iter().chain(second).copied().collect();
    let ranks = doubled_ranks(&all);
    let (own, total) = (&ranks[..first.len()], ranks.iter().sum::<usize>());
    let sum = own.iter().sum::<usize>();
    // ways[size][sum]: in how many ways `size` of the ranks that were looked at add up to `sum`.
    let mut ways = vec![vec![0.0_f64; total + 1]; first.len() + 1];
    ways[0][0] = 1.0;
    for &rank in &ranks {
        for size in (1..=first.len()).rev() {
            let (smaller, larger) = ways.split_at_mut(size);
            for (from, count) in smaller[size - 1][..=total - rank].iter().enumerate() {
                larger[0][from + rank] += count;
            }
        }
    }
    let deals = &ways[first.len()];
    let (low, all): (f64, f64) = (deals[..=sum].iter().sum(), deals.iter().sum());
    let high: f64 = deals[sum..].iter().sum();
    (2.0 * low.min(high) / all).min(1.0)
}

/// The chance, if pairs of observations differ by chance alone, one way as often as the other, of ranks of the
/// differences that are at least as uneven: the signed-rank test, two-sided and exact (Wilcoxon, *Individual comparisons
/// by ranking methods*, 1945). Pairs that do not differ are left out, as there; equal differences share the mean of their
/// ranks, and the distribution is that of all signs on these very ranks. 1 without a difference.
pub fn signed_rank(differences: &[f64]) -> f64 {
    let differences: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    let ranks = doubled_ranks(&sizes);
    let positive: usize = ranks.iter().zip(&differences).filter(|(_, by)| **by > 0.0).map(|(rank, _)| rank).sum();
    // chances[sum]: of all signs, the share in which the positive ranks add up to `sum`.
    let mut chances = vec![0.0_f64; ranks.iter().sum::<usize>() + 1];
    chances[0] = 1.0;
    for &rank in &ranks {
        for sum in (0..chances.len()).rev() {
            let without = chances[sum];
            chances[sum] = f64::midpoint(without, if sum < rank { 0.0 } else { chances[sum - rank] });
        }
    }
    let [low, high]: [f64; 2] = [chances[..=positive].iter().sum(), chances[positive..].iter().sum()];
    (2.0 * low.min(high)).min(1.0)
}

/// Twice the rank of each value among all of them: whole numbers even where equal values share.
fn doubled_ranks(all: &[f64]) -> Vec<usize> {
    let rank = |value: &f64| {
        let below = all.iter().filter(|other| other.total_cmp(value).is_lt()).count();
        let equal = all.iter().filter(|other| other.total_cmp(value).is_eq()).count();
        2 * below + equal + 1
    };
    all.iter().map(rank).collect()
}

/// How the observations of two sides belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Not at all: two samples, judged by [`mann_whitney`], their medians compared.
    Samples,
    /// Each with one of the other side, taken next to it, so that what was the matter with both does not count: judged by
    /// [`signed_rank`] of the logarithms of their ratios, and the median of the ratios. Equally many on both sides.
    Pairs,
}

impl Design {
    /// The chance that sides which do not differ are as far apart.
    pub(super) fn p(self, base: &[f64], new: &[f64]) -> f64 {
        match self {
            Self::Samples => mann_whitney(base, new),
            Self::Pairs => signed_rank(&ratios(base, new).map(f64::ln).collect::<Vec<_>>()),
        }
    }

    /// New over base, and its 95 % interval: the percentile bootstrap. Of one observation that is anything.
    ///
    /// # Panics
    /// If either sample is empty.
    pub(super) fn ratio(self, base: &[f64], new: &[f64]) -> (f64, [f64; 2]) {
        if base.len().min(new.len()) < 2 {
            return (ratio(median(base), median(new)), [0.0, f64::INFINITY]);
        }
        match self {
            Self::Samples => (ratio(median(base), median(new)), ratio_interval(base, new)),
            Self::Pairs => {
                let ratios: Vec<f64> = ratios(base, new).collect();
                (median(&ratios), median_interval(&ratios))
            }
        }
    }

    /// The least p that so many observations on either side can give: that of sides wholly apart.
    fn least_p(self, observations: usize) -> f64 {
        match self {
            // 2 / C(2n, n)
            Self::Samples => (1..=observations).fold(2.0, |p, k| p * k as f64 / (observations + k) as f64),
            // 2 / 2^n
            Self::Pairs => (1..=observations).fold(2.0, |p, _| p / 2.0),
        }
    }
}

fn ratios(base: &[f64], new: &[f64]) -> impl Iterator<Item = f64> {
    base.iter().zip(new).map(|(&base, &new)| ratio(base, new))
}

/// Corrects p-values for being many: Benjamini and Hochberg, *Controlling the false discovery rate* (1995). Of those
/// that are then below q, no more than a share of q is false, on average.
pub fn benjamini_hochberg(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    let (mut corrected, mut least) = (vec![1.0; ps.len()], 1.0_f64);
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(ps[index] * ps.len() as f64 / (rank + 1) as f64);
        corrected[index] = least;
    }
    corrected
}

/// The median; of an even number the mean of the two in the middle.
///
/// # Panics
/// If there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    median_of(&mut sorted)
}

fn median_of(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// `new` over `base`; 1 if both are zero.
pub fn ratio(base: f64, new: f64) -> f64 {
    if base.total_cmp(&new).is_eq() { 1.0 } else { new / base }
}

/// The 95 % interval of the ratio of medians, `new` over `base`: the percentile bootstrap (Efron and Tibshirani, *An
/// Introduction to the Bootstrap*, 1993, chapter 13). Nothing is drawn for it: of medians the bootstrap's distribution is
/// known (Efron, *Bootstrap methods: another look at the jackknife*, 1979, section 3).
///
/// # Panics
/// If either sample is empty.
pub fn ratio_interval(base: &[f64], new: &[f64]) -> [f64; 2] {
    let (base, new) = (drawn_medians(base), drawn_medians(new));
    let least = |values: &[(f64, f64)]| values.first().expect("a median").0;
    let most = |values: &[(f64, f64)]| values.last().expect("a median").0;
    let ends = [ratio(most(&base), least(&new)), ratio(least(&base), most(&new))];
    // The chance that a ratio drawn anew is at most so large.
    let mut sum = 0.0;
    let up_to: Vec<f64> = new
        .iter()
        .map(|(_, chance)| {
            sum += chance;
            sum
        })
        .collect();
    let chance = |ratio: f64| {
        let below = |base: f64| new.partition_point(|(value, _)| *value <= ratio * base).checked_sub(1);
        base.iter().map(|&(value, chance)| chance * below(value).map_or(0.0, |last| up_to[last])).sum::<f64>()
    };
    [0.025, 0.975].map(|quantile| {
        let [mut low, mut high] = ends;
        if high.is_infinite() {
            high = most(&new)
                / base.iter().map(|(value, _)| *value).find(|&value| value > 0.0).unwrap_or(f64::MIN_POSITIVE);
            if chance(high) < quantile {
                return f64::INFINITY;
            }
        }
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if chance(middle) < quantile { low = middle } else { high = middle }
        }
        high
    })
}

/// The 95 % interval of a median, by the same bootstrap.
fn median_interval(sample: &[f64]) -> [f64; 2] {
    let medians = drawn_medians(sample);
    [0.025, 0.975].map(|quantile| {
        let mut sum = 0.0;
        let reached = medians.iter().find(|(_, chance)| {
            sum += chance;
            sum >= quantile
        });
        reached.or(medians.last()).expect("a median").0
    })
}

/// The medians of all samples that can be drawn from this one, as many values with each put back, in order, and the
/// chance of each.
fn drawn_medians(sample: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len();
    let share = |values: usize| values as f64 / count as f64;
    // The lower of the two in the middle, or the one: the chance that it is the value at this place.
    let middle = count.div_ceil(2);
    let is_at = |place: usize| at_least(middle, count, share(place + 1)) - at_least(middle, count, share(place));
    if count % 2 == 1 {
        return sorted.iter().enumerate().map(|(place, &value)| (value, is_at(place))).collect();
    }
    // Half of those drawn end at the lower place, and the others begin at the upper one.
    let half = middle as f64;
    let ends_at = |place: usize| share(place + 1).powf(half) - share(place).powf(half);
    let choices = choose(count, middle);
    let mut medians = Vec::with_capacity(count * (count + 1) / 2);
    for (lower, &value) in sorted.iter().enumerate() {
        let mut apart = 0.0;
        for (upper, &other) in sorted.iter().enumerate().skip(lower + 1) {
            let chance = choices * ends_at(lower) * ends_at(count - 1 - upper);
            medians.push((f64::midpoint(value, other), chance));
            apart += chance;
        }
        medians.push((value, is_at(lower) - apart));
    }
    medians.sort_unstable_by(|(value, _), (other, _)| value.total_cmp(other));
    medians
}

/// The chance of at least `least` of `count` tosses, each of which comes out with this chance.
fn at_least(least: usize, count: usize, chance: f64) -> f64 {
    let exactly =
        |hits: usize| choose(count, hits) * chance.powf(hits as f64) * (1.0 - chance).powf((count - hits) as f64);
    (least..=count).map(exactly).sum()
}

/// In how many ways some of `count` can be chosen: as a number that is as good as right up to a thousand of them.
fn choose(count: usize, some: usize) -> f64 {
    (0..some.min(count - some)).fold(1.0, |ways, taken| ways * (count - taken) as f64 / (taken + 1) as f64)
}

/// About how many observations on either side would show an effect of `threshold`: an interval narrows with the square
/// root of their number, and of `tests` that are judged together, the one that shows must do so after the correction.
pub fn observations_needed(
    design: Design,
    observations: usize,
    interval: [f64; 2],
    threshold: f64,
    tests: usize,
) -> usize {
    let half = (interval[1] - interval[0]) / 2.0;
    let narrowed = if half.is_finite() { (observations as f64 * (half / threshold).powi(2)).ceil() } else { 0.0 };
    // Beyond this nobody would wait for them: the noise has to go.
    (narrowed.min(10_000.0) as usize).max(least_observations(design, tests)).max(observations + 1)
}

/// How many observations on either side it takes for any effect to show, however large, where of so many tests that are
/// judged together it alone does.
pub fn least_observations(design: Design, tests: usize) -> usize {
    (2..64).find(|&count| design.least_p(count) * (tests as f64) < ALPHA).unwrap_or(64)
}

/// The chance of a false alarm that is put up with.
pub const ALPHA: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 5e-9, "{value} is not {expected}");
    }

    #[test]
    fn mann_whitney_gives_the_published_values() {
        let range = |from: f64| (0..6).map(|step| from + f64::from(step)).collect::<Vec<_>>();
        close(mann_whitney(&range(1.0), &range(2.5)), 0.240_259_74);
        close(mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]), 0.007_936_508);
        close(mann_whitney(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0]), 0.111_111_111);
    }

    #[test]
    fn equal_values_share_their_ranks() {
        close(mann_whitney(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]), 1.0);
        // By hand: the ranks are 1, 3, 3 and 3, 5.5, 5.5. Of the 20 ways to deal them out, those with a sum of at most 7
        // have the 1 and two of the three 3s: 3 ways. So p = 2 * 3 / 20.
        close(mann_whitney(&[1.0, 2.0, 2.0], &[2.0, 3.0, 3.0]), 0.3);
        close(mann_whitney(&[], &[1.0]), 1.0);
    }

    #[test]
    fn signed_rank_gives_the_published_values() {
        // Darwin's maize: Fisher, The Design of Experiments, section 17; the exact p is also in scipy's documentation.
        let maize = [6.0, 8.0, 14.0, 16.0, 23.0, 24.0, 28.0, 29.0, 41.0, -48.0, 49.0, 56.0, 60.0, -67.0, 75.0];
        close(signed_rank(&maize), 0.041_259_765_625);
        // By hand: ranks 1.5, 1.5 and 3, of the eight signs those with a positive sum of at most 1.5 are three.
        close(signed_rank(&[1.0, -1.0, -2.0, 0.0]), 0.75);
        close(signed_rank(&[0.0, 0.0]), 1.0);
        close(signed_rank(&[]), 1.0);
    }

    #[test]
    fn pairs_see_through_what_both_suffer() {
        // Levels that wander threefold, and a tenth more on each.
        let base = [100.0, 300.0, 120.0, 250.0, 90.0, 280.0, 110.0, 200.0];
        let noise = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99];
        let new: Vec<f64> = base.iter().zip(noise).map(|(level, noise)| level * 1.1 * noise).collect();
        assert!(Design::Samples.p(&base, &new) > 0.3);
        assert!(Design::Pairs.p(&base, &new) < 0.01);
        let (ratio, [low, high]) = Design::Pairs.ratio(&base, &new);
        assert!((1.09..1.11).contains(&ratio) && low > 1.07 && high < 1.13, "{ratio}: {low} to {high}");
    }

    #[test]
    fn the_least_p_is_that_of_samples_apart() {
        for count in 1..8 {
            let low: Vec<f64> = (0..count).map(f64::from).collect();
            let high: Vec<f64> = low.iter().map(|value| value + 100.0).collect();
            close(Design::Samples.least_p(count as usize), mann_whitney(&low, &high));
            close(Design::Pairs.least_p(count as usize), signed_rank(&high));
        }
    }

    #[test]
    fn few_pairs_show_nothing() {
        assert_eq!([1, 4, 24].map(|tests| least_observations(Design::Pairs, tests)), [6, 8, 10]);
        assert_eq!(least_observations(Design::Samples, 1), 4);
    }

    #[test]
    fn benjamini_hochberg_gives_the_published_values() {
        // Benjamini and Hochberg 1995, section 3.2: at 5 % the first four of these fifteen are rejected.
        let ps = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        let corrected = benjamini_hochberg(&ps);
        assert_eq!(corrected.iter().filter(|&&p| p < ALPHA).count(), 4, "{corrected:?}");
        close(corrected[0], 0.0015);
        close(corrected[3], 0.035_625);
        let reversed: Vec<f64> = ps.iter().rev().copied().collect();
        let mut again = benjamini_hochberg(&reversed);
        again.reverse();
        assert_eq!(again, corrected);
    }

    /// Every one of the n^n samples that can be drawn, counted.
    #[test]
    fn medians_have_the_chances_of_all_draws() {
        for sample in
            [vec![3.0], vec![1.0, 2.0], vec![1.0, 2.0, 4.0], vec![1.0, 2.0, 4.0, 8.0], vec![1.0, 2.0, 2.0, 5.0, 9.0]]
        {
            let count = sample.len();
            let draws = count.pow(count as u32);
            let drawn =
                |draw: usize| (0..count).map(|at| sample[draw / count.pow(at as u32) % count]).collect::<Vec<_>>();
            let medians: Vec<f64> = (0..draws).map(|draw| median(&drawn(draw))).collect();
            let all = drawn_medians(&sample);
            close(all.iter().map(|(_, chance)| chance).sum(), 1.0);
            for bound in all.iter().map(|(value, _)| *value) {
                let counted = medians.iter().filter(|&&median| median <= bound).count() as f64 / draws as f64;
                let said = all.iter().filter(|(value, _)| *value <= bound).map(|(_, chance)| chance).sum();
                close(said, counted);
            }
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "no rounding is involved")]
    fn intervals_hold_the_ratio_and_know_zero() {
        let (base, new) = ([10.0, 11.0, 12.0, 13.0, 14.0], [20.0, 22.0, 24.0, 26.0, 28.0]);
        let [low, high] = ratio_interval(&base, &new);
        assert!(low < 2.0 && 2.0 < high && low > 1.4 && high < 2.8, "{low} to {high}");
        assert_eq!(ratio_interval(&[5.0; 4], &[10.0; 6]), [2.0, 2.0]);
        assert_eq!(ratio_interval(&[0.0; 4], &[1.0; 4]), [f64::INFINITY; 2]);
        assert_eq!(ratio_interval(&[0.0; 3], &[0.0; 3]), [1.0, 1.0]);
        assert_eq!(ratio(0.0, 3.0), f64::INFINITY);
    }

    #[test]
    fn few_observations_ask_for_more() {
        // Three against three can never show anything; of twenty tests at once, six may.
        assert_eq!(observations_needed(Design::Samples, 3, [0.99, 1.01], 0.05, 1), 4);
        assert_eq!(observations_needed(Design::Samples, 3, [0.99, 1.01], 0.05, 20), 6);
        // Half an interval of a tenth, where a twentieth is asked: four times as many.
        assert_eq!(observations_needed(Design::Samples, 5, [0.9, 1.1], 0.0501, 1), 20);
    }
}
