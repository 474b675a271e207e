//! How far from its mean a delay may be: distributions, drawn so that every machine draws the same.
//!
//! No function of the platform's mathematics library is called: sums, products, quotients and square roots are exactly
//! rounded everywhere, and the logarithm here is made of them.

use std::f64::consts::{LN_2, SQRT_2};

use quorumbench_protocols::Prng;

/// How what comes on top of a delay is distributed around its mean. None is ever below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// Anything up to twice the mean.
    Uniform,
    /// A bell: a third of the mean is its standard deviation, and it ends at zero and at twice the mean.
    Normal,
    /// Most are small, and some are several times the mean: what waits behind others.
    #[default]
    Exponential,
    /// A heavy tail, of the second type (Lomax) with shape 3: one in a thousand is eighteen times the mean.
    Pareto,
}

impl Distribution {
    /// One value, in whatever unit the mean has.
    pub fn draw(self, mean: u64, dice: &mut Prng) -> u64 {
        let in_means = match self {
            Self::Uniform => 2.0 * dice.unit(),
            Self::Normal => 1.0 + bell(dice) / BELL,
            Self::Exponential => -ln(above_zero(dice)),
            // The greatest of three is distributed as the cube root of one.
            Self::Pareto => 2.0 * (1.0 / above_zero(dice).max(above_zero(dice)).max(above_zero(dice)) - 1.0),
        };
        (in_means * mean as f64) as u64
    }
}

/// Standard deviations to where the bell ends.
const BELL: f64 = 3.0;

/// Normally distributed, up to [`BELL`] either way, by Marsaglia's polar method.
fn bell(dice: &mut Prng) -> f64 {
    loop {
        let (x, y) = (2.0 * dice.unit() - 1.0, 2.0 * dice.unit() - 1.0);
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            let value = x * (-2.0 * ln(square) / square).sqrt();
            if value.abs() <= BELL {
                return value;
            }
        }
    }
}

/// Uniform in `(0, 1]`.
fn above_zero(dice: &mut Prng) -> f64 {
    1.0 - dice.unit()
}

/// The natural logarithm of a normal number above zero, to within 1e-12.
fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let mantissa = f64::from_bits(bits & MANTISSA | 1.0_f64.to_bits());
    // From 1..2 to around 1, where the series is short.
    let (mantissa, exponent) = if mantissa > SQRT_2 { (mantissa / 2.0, exponent + 1) } else { (mantissa, exponent) };
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..8).rev().fold(0.0, |sum, term| sum * (s * s) + 1.0 / f64::from(2 * term + 1));
    2.0 * s * series + f64::from(exponent) * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorted, with a mean of a million.
    fn drawn(distribution: Distribution) -> Vec<u64> {
        let mut dice = Prng::new(3);
        let mut values: Vec<_> = (0..200_000).map(|_| distribution.draw(1_000_000, &mut dice)).collect();
        values.sort_unstable();
        values
    }

    fn is_about(measured: f64, expected: f64, tolerance: f64) {
        assert!((measured / expected - 1.0).abs() < tolerance, "{measured} is not about {expected}");
    }

    #[test]
    fn each_has_its_mean_and_its_tail() {
        // What half, a tenth and a thousandth of all are above, in means.
        for (distribution, quantiles) in [
            (Distribution::Uniform, [1.0, 1.8, 1.998]),
            (Distribution::Normal, [1.0, 1.426, 1.958]),
            (Distribution::Exponential, [2, 10, 1000].map(|share| f64::from(share).ln())),
            (Distribution::Pareto, [0.5198, 2.3089, 18.0]),
        ] {
            let values = drawn(distribution);
            let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
            is_about(mean, 1e6, 0.01);
            for (share, expected) in [2, 10, 1000].into_iter().zip(quantiles) {
                is_about(values[values.len() - values.len() / share] as f64 / 1e6, expected, 0.06);
            }
        }
    }

    #[test]
    fn the_logarithm_is_one() {
        let mut dice = Prng::new(1);
        for _ in 0..10_000 {
            let x = above_zero(&mut dice) / (1_u64 << dice.below(50)) as f64;
            assert!((ln(x) - x.ln()).abs() < 1e-12 * x.ln().abs().max(1.0), "{x}");
        }
    }
}
