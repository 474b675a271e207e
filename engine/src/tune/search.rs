//! The search: from all candidates to an outcome.

use quorumbench_protocols::Prng;

use super::confirm::{self, Finalist};
use super::halving;
use super::outcome::Outcome;
use super::rates::{Ceiling, How};
use super::slo::Verdict;
use super::{Bench, Goal, Load, Observation, Phase, Plan, Settings, Trial};

/// How many are left when candidates are no longer sorted out.
pub(super) const FINALISTS: usize = 3;

/// Searches, by asking `bench`.
///
/// # Errors
/// The bench's, when a run has failed or was interrupted.
pub fn search<B: Bench>(plan: &Plan, bench: &mut B) -> Result<Outcome, B::Error> {
    let mut search = Search { plan, bench, runs: 0, whole: Vec::new() };
    let finalists = match plan.goal {
        Goal::MaxThroughput => search.fastest()?,
        Goal::MinTraffic => search.cheapest()?,
    };
    let contenders = confirm::confirm(&mut search, finalists)?;
    Ok(Outcome::new(plan, contenders, &search.whole))
}

/// A run at full length: what was asked, the answer, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) trial: Trial,
    pub(super) seen: Observation,
    pub(super) verdict: Verdict,
}

/// A search under way.
pub(super) struct Search<'a, B> {
    pub(super) plan: &'a Plan,
    bench: &'a mut B,
    runs: u64,
    /// The runs at full length.
    whole: Vec<Whole>,
}

impl<B: Bench> Search<'_, B> {
    /// One run, with randomness that no other has.
    pub(super) fn run(
        &mut self,
        phase: Phase,
        settings: &Settings,
        load: Load,
        seconds: f64,
    ) -> Result<(Observation, Verdict), B::Error> {
        // Half of all seeds are beyond what a config can say.
        let seed = Prng::new(self.plan.seed).fork(self.runs).next_u64() >> 1;
        self.runs += 1;
        let trial = Trial { phase, settings: settings.clone(), load, seconds, seed };
        let seen = self.bench.measure(&trial)?;
        let verdict = self.plan.slo.verdict(&seen);
        if matches!(phase, Phase::Searching | Phase::Confirming) {
            self.whole.push(Whole { trial, seen: seen.clone(), verdict: verdict.clone() });
        }
        Ok((seen, verdict))
    }

    /// The candidates that carry the highest rates, and the default, each with how high that is.
    fn fastest(&mut self) -> Result<Vec<Finalist>, B::Error> {
        let guesses = self.guesses()?;
        let survivors = halving::by_rate(self, guesses)?;
        let mut finalists = Vec::new();
        for (settings, guess, tolerance) in survivors {
            let how = How {
                phase: Phase::Searching,
                seconds: self.plan.full,
                tolerance: self.plan.tolerance,
                votes: 3,
                stride: 1.0 + tolerance,
            };
            let ceiling: Ceiling = self.ceiling(&settings, guess, how)?;
            let is_default = settings == self.plan.default;
            finalists.push(Finalist { settings, is_default, ceiling: Some(ceiling) });
        }
        Ok(finalists)
    }

    /// What each candidate could do about: most of the peak of its closed loop.
    fn guesses(&mut self) -> Result<Vec<(Settings, f64)>, B::Error> {
        let seconds = halving::first(self.plan);
        let candidates = &self.plan.candidates;
        let guess = |settings: &Settings| {
            let (seen, _) = self.run(Phase::Guessing, settings, Load::Closed, seconds)?;
            Ok((settings.clone(), (OF_THE_PEAK * seen.throughput).max(1.0)))
        };
        candidates.iter().map(guess).collect()
    }

    /// The candidates that send least and hold the SLO, and the default.
    fn cheapest(&mut self) -> Result<Vec<Finalist>, B::Error> {
        let survivors = halving::by_traffic(self)?;
        let finalist = |settings: Settings| {
            let is_default = settings == self.plan.default;
            Finalist { settings, is_default, ceiling: None }
        };
        Ok(survivors.into_iter().map(finalist).collect())
    }
}

/// The part of a closed loop's peak that an open loop begins with.
const OF_THE_PEAK: f64 = 0.9;
