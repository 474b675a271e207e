//! Keys as people choose them: few of them often.

use quorumbench_protocols::Prng;

/// Zipf's distribution: key `k`, from 1 on, comes in proportion to `k` to the minus `exponent`.
///
/// Drawn by rejection under a curve whose integral can be inverted, as `rand_distr` does it, with one
/// power a draw instead of three: the two in the acceptance test are one, and a chord below the curve
/// spares nearly all of those. A generator of load has no 60 ns a command to spare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zipf {
    count: f64,
    exponent: f64,
    /// The area under the curve: 1 up to 1, and the power of x from there to `count`.
    area: f64,
}

impl Zipf {
    /// Keys below `count`.
    ///
    /// # Panics
    /// If there are no keys, or the exponent is negative or no number.
    pub(super) fn new(count: u64, exponent: f64) -> Self {
        assert!(count > 0 && exponent >= 0.0 && exponent.is_finite(), "keys, and an exponent from zero");
        let count = count as f64;
        let rest = 1.0 - exponent;
        let area = if rest == 0.0 { 1.0 + count.ln() } else { (count.powf(rest) - exponent) / rest };
        Self { count, exponent, area }
    }

    /// A key; 0 is the likeliest.
    pub(super) fn draw(&self, prng: &mut Prng) -> u64 {
        loop {
            let at = self.at_area(prng.unit() * self.area);
            let key = (at + 1.0).floor().min(self.count);
            // The curve lies above the steps that it covers, by this ratio to the power of the exponent.
            let ratio = if key > 1.0 { (at / key).min(1.0) } else { 1.0 };
            let chord = if self.exponent <= 1.0 { ratio } else { 1.0 - self.exponent * (1.0 - ratio) };
            let height = prng.unit();
            if height < chord || height < ratio.powf(self.exponent) {
                return key as u64 - 1;
            }
        }
    }

    /// Up to where the area under the curve is `area`.
    fn at_area(&self, area: f64) -> f64 {
        let rest = 1.0 - self.exponent;
        if area <= 1.0 {
            area
        } else if rest == 0.0 {
            (area - 1.0).exp()
        } else {
            (area * rest + self.exponent).powf(1.0 / rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pearson's chi-squared against the definition, at one chance in ten thousand; the seed is fixed.
    #[test]
    fn keys_come_as_often_as_the_definition_says() {
        const KEYS: usize = 20;
        const DRAWS: u32 = 200_000;
        for exponent in [0.0, 0.3, 0.99, 1.0, 1.01, 1.7, 3.0] {
            let (zipf, mut prng) = (Zipf::new(KEYS as u64, exponent), Prng::new(11));
            let mut hits = [0_u32; KEYS];
            (0..DRAWS).for_each(|_| hits[zipf.draw(&mut prng) as usize] += 1);
            let weights: Vec<f64> = (1..=KEYS).map(|key| (key as f64).powf(-exponent)).collect();
            let scale = f64::from(DRAWS) / weights.iter().sum::<f64>();
            let terms = hits.iter().zip(&weights).map(|(&hits, weight)| {
                let expected = weight * scale;
                (f64::from(hits) - expected).powi(2) / expected
            });
            let chi_squared: f64 = terms.sum();
            assert!(chi_squared < 51.0, "exponent {exponent}: {chi_squared} for 19 degrees of freedom");
        }
    }

    #[test]
    fn one_key_and_a_trillion() {
        let mut prng = Prng::new(1);
        for exponent in [0.0, 0.99, 1.0, 5.0] {
            assert_eq!(Zipf::new(1, exponent).draw(&mut prng), 0);
            let many = Zipf::new(1 << 40, exponent);
            assert!((0..1000).all(|_| many.draw(&mut prng) < 1 << 40));
        }
    }
}
