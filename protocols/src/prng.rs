//! The only randomness a protocol has: a seeded generator.

/// `SplitMix64` (Steele, Lea & Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014):
/// eight bytes of state, every seed a good one.
#[derive(Clone, Debug)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// The generator of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound` (Lemire's multiplication; the bias is below `bound / 2^64`).
    ///
    /// # Panics
    /// If `bound` is zero.
    #[inline]
    pub const fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    #[inline]
    pub const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A generator of its own for `stream`, which shares nothing with this one or other streams.
    #[must_use]
    pub const fn fork(&self, stream: u64) -> Self {
        let mut mixer = Self::new(self.state ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self::new(mixer.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference implementation's first outputs for seed 1234567 (prng.di.unimi.it/splitmix64.c).
    #[test]
    fn is_splitmix64() {
        let mut prng = Prng::new(1_234_567);
        let first: Vec<_> = (0..3).map(|_| prng.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn stays_in_range_and_reaches_it_all() {
        let mut prng = Prng::new(1);
        let mut seen = [false; 10];
        (0..1000).for_each(|_| seen[prng.below(10) as usize] = true);
        assert!(seen.iter().all(|&hit| hit));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&prng.unit())));
    }
}
