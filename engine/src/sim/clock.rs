//! A node's own clock, which is not the world's.

use quorumbench_protocols::Nanos;

/// A clock that started somewhere and runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    offset: u64,
    /// Parts per million that it runs fast (or slow).
    ppm: i64,
}

impl Clock {
    pub(super) const fn new(offset: u64, ppm: i64) -> Self {
        assert!(ppm.abs() < 500_000, "no clock is that bad");
        Self { offset, ppm }
    }

    /// What it shows when the world's clock shows `at`.
    pub(super) const fn local(&self, at: Nanos) -> Nanos {
        // Fits for a day of virtual time; a step of one never moves it by more than one, so it never goes back.
        let drift = at.0.cast_signed() * self.ppm / 1_000_000;
        Nanos((self.offset.cast_signed() + at.0.cast_signed() + drift).cast_unsigned())
    }

    /// When, by the world's clock, it first shows `local` or more.
    pub(super) fn world(&self, local: Nanos) -> Nanos {
        if local == Nanos::NEVER {
            return local;
        }
        let since = u128::from(local.saturating_since(Nanos(self.offset)));
        let mut at = Nanos((since * 1_000_000 / (1_000_000 + self.ppm) as u128).saturating_sub(2) as u64);
        while self.local(at) < local {
            // A clock of whole parts stands still now and then, so this takes a few steps.
            at += local.saturating_since(self.local(at)).div_ceil(2);
        }
        at
    }

    /// It jumps ahead.
    pub(super) const fn leap(&mut self, nanos: u64) {
        self.offset += nanos;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Prng;

    #[test]
    fn deadlines_are_mapped_back() {
        let mut prng = Prng::new(1);
        for _ in 0..10_000 {
            let clock = Clock::new(prng.below(1 << 40), prng.below(100_000).cast_signed() - 50_000);
            let local = Nanos(prng.below(1 << 45));
            let at = clock.world(local);
            assert!(clock.local(at) >= local);
            let early = clock.local(Nanos(at.0.saturating_sub(2_000)));
            assert!(at.0 < 2_000 || early < local, "not much later than it must be");
        }
        assert_eq!(Clock::new(7, 3).world(Nanos::NEVER), Nanos::NEVER);
    }

    #[test]
    fn never_goes_back() {
        let clock = Clock::new(0, -50_000);
        assert!((0..100_000).all(|at| clock.local(Nanos(at)) <= clock.local(Nanos(at + 1))));
    }
}
