//! When a node loses patience with a leader that it does not hear.

use crate::prng::Prng;
use crate::wire::Nanos;

/// An election timer. Each timeout is drawn anew from `[t, 2t)`, so that nodes which wait for the same
/// leader seldom campaign at once (Raft paper, section 5.2; *Paxos Made Live*, section 4, does the like).
#[derive(Clone, Debug)]
pub(crate) struct ElectionTimer {
    shortest: u64,
    prng: Prng,
    at: Nanos,
}

impl ElectionTimer {
    /// One that has passed already, since nobody knows what time it is: the first timeout arms it.
    pub(crate) fn new(shortest: Nanos, seed: u64) -> Self {
        Self { shortest: shortest.0.max(1), prng: Prng::new(seed), at: Nanos::ZERO }
    }

    /// Waits for another timeout from `now` on.
    pub(crate) fn rearm(&mut self, now: Nanos) {
        self.at = now.later(self.shortest.saturating_add(self.prng.below(self.shortest)));
    }

    /// Waits for `ns` from `now` on, and not for a timeout: nobody has led yet, and this node is to be the first.
    pub(crate) fn hasten(&mut self, now: Nanos, ns: u64) {
        self.at = now.later(ns.min(self.shortest));
    }

    /// When it passes.
    pub(crate) fn at(&self) -> Nanos {
        self.at
    }

    /// Whether it was ever armed.
    pub(crate) fn is_armed(&self) -> bool {
        self.at > Nanos::ZERO
    }

    /// The shortest timeout: for so long after it was heard, nobody may take a leader for dead.
    pub(crate) fn shortest(&self) -> u64 {
        self.shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_drawn_anew_between_one_and_two() {
        let mut timer = ElectionTimer::new(Nanos(1000), 1);
        assert!(!timer.is_armed());
        let mut draw = || {
            timer.rearm(Nanos(5000));
            timer.at().0
        };
        let drawn: Vec<_> = (0..100).map(|_| draw()).collect();
        assert!(drawn.iter().all(|at| (6000..7000).contains(at)), "{drawn:?}");
        assert!(drawn.iter().any(|&at| at < 6300) && drawn.iter().any(|&at| at > 6700), "{drawn:?}");
        timer.rearm(Nanos::NEVER);
        assert_eq!(timer.at(), Nanos::NEVER);
    }
}
