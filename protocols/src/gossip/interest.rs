//! How a node loses interest in a rumor (Demers et al. 1987, section 1.4).

use super::config::{Interest, Mongering, Pulls, Stop};
use crate::prng::Prng;

/// What a node that spreads a rumor has learned from its contacts.
///
/// What it hears in a cycle has its effect at the cycle's end, so it does not matter in what order it is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spreading {
    /// As of the start of the cycle.
    counter: u64,
    /// How many it told in this cycle who knew.
    told_in_vain: u64,
    /// How many who knew asked in this cycle.
    asked_in_vain: u64,
    was_useful: bool,
}

impl Spreading {
    pub(super) fn counter(&self) -> u64 {
        self.counter
    }

    pub(super) fn useful(&mut self) {
        self.was_useful = true;
    }

    /// Someone knew. With minimization, if that one spreads the rumor too and has the smaller `counter`, it is the one
    /// to get tired, alone.
    pub(super) fn useless(&mut self, was_answer: bool, counter: Option<u64>) {
        if counter.is_some_and(|theirs| theirs < self.counter) {
            return;
        }
        if was_answer {
            self.asked_in_vain += 1;
        } else {
            self.told_in_vain += 1;
        }
    }

    /// The cycle is over. Whether interest is lost.
    pub(super) fn end_cycle(&mut self, rules: &Mongering, prng: &mut Prng) -> bool {
        let Self { counter, told_in_vain, asked_in_vain, was_useful } = std::mem::take(self);
        let useless = match rules.interest {
            Interest::Feedback if rules.pulls == Pulls::Each => told_in_vain + asked_in_vain,
            // However many asked, they count once (the note on table 3).
            Interest::Feedback => told_in_vain + u64::from(asked_in_vain > 0 && !was_useful),
            Interest::Blind => 1,
        };
        match rules.stop {
            Stop::Counter => {
                let is_reset = rules.interest == Interest::Feedback && rules.reset && was_useful;
                self.counter = if is_reset { 0 } else { counter + useless };
                self.counter >= rules.k
            }
            Stop::Coin => (0..useless).any(|_| prng.below(rules.k) == 0),
        }
    }
}
