//! When a node loses patience with a leader that it does not hear.

use crate::io::Config;
use crate::prng::Prng;
use crate::wire::Nanos;

/// An election timer. Each timeout is drawn anew from `[t, 2t)`, so that nodes which wait for the same
/// leader seldom campaign at once (Raft paper, section 5.2; *Paxos Made Live*, section 4, does the like).
#[derive(Clone, Debug)]
pub(crate) struct ElectionTimer {
    shortest: u64,
    prng: Prng,
    at: Nanos,
    /// How long this node waits where nobody has led yet, if it is to be the first.
    first: Option<u64>,
}

impl ElectionTimer {
    /// One that has passed already, since nobody knows what time it is: the first timeout arms it.
    pub(crate) fn new(shortest: Nanos, seed: u64) -> Self {
        Self { shortest: shortest.0.max(1), prng: Prng::new(seed), at: Nanos::ZERO, first: None }
    }

    /// The same, of a node that waits only for a heartbeat if it is [to lead first](Config::first_leader).
    pub(crate) fn of_first_leader(self, config: &Config) -> Self {
        Self { first: (config.first_leader == Some(config.id)).then_some(config.heartbeat.0.max(1)), ..self }
    }

    /// A node that was rebuilt does not know that nobody has led, whatever its log says.
    pub(crate) fn forget_first(&mut self) {
        self.first = None;
    }

    /// Waits for another timeout from `now` on.
    pub(crate) fn rearm(&mut self, now: Nanos) {
        self.at = now.later(self.shortest.saturating_add(self.prng.below(self.shortest)));
    }

    /// Waits for a leader from `now` on: for a timeout, unless nobody has led yet, and this node is to be the first.
    pub(crate) fn await_leader(&mut self, now: Nanos, nobody_has_led: bool) {
        match self.first.filter(|_| nobody_has_led) {
            Some(ns) => self.at = now.later(ns.min(self.shortest)),
            None => self.rearm(now),
        }
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
