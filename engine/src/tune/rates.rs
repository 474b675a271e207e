//! The highest rate at which the SLO holds: a geometric ramp, then bisection in log space.

use serde::Serialize;

use super::search::Search;
use super::slo::Verdict;
use super::{Bench, Load, Phase, Settings};

/// How high a candidate's rate can be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// The highest rate that held, in commands a second; `None` if none did.
    pub rate: Option<f64>,
    /// The lowest that did not; `None` if every rate held.
    pub beyond: Option<f64>,
    /// What became of that one.
    pub verdict: Option<Verdict>,
}

impl Ceiling {
    /// Whether it is the generator's and not the system's.
    pub fn is_generators(&self) -> bool {
        matches!(self.verdict, Some(Verdict::GeneratorLimited(_)))
    }
}

/// With which care it is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) phase: Phase,
    pub(super) seconds: f64,
    /// How far what held and what did not may be apart in the end, as a share.
    pub(super) tolerance: f64,
    /// How many runs decide on a rate: an odd number, of which the majority counts.
    pub(super) votes: usize,
    /// The ramp's first factor. It is squared with each step, up to a factor of two upwards.
    pub(super) stride: f64,
}

impl<B: Bench> Search<'_, B> {
    pub(super) fn ceiling(&mut self, settings: &Settings, guess: f64, how: How) -> Result<Ceiling, B::Error> {
        let (mut low, mut high): (Option<f64>, Option<(f64, Verdict)>) = (None, None);
        let (mut rate, mut stride) = (rounded(guess), how.stride);
        loop {
            match self.decide(settings, rate, how)? {
                Verdict::Held => low = Some(rate),
                verdict => high = Some((rate, verdict)),
            }
            rate = match (low, &high) {
                (Some(low), Some((high, _))) if high / low <= 1.0 + how.tolerance => break,
                (Some(low), Some((high, _))) => rounded((low * high).sqrt()),
                (Some(low), None) if low >= MOST_RATE => break,
                (Some(low), None) => rounded((low * stride.min(MOST_STRIDE_UP)).min(MOST_RATE)),
                (None, Some((high, _))) if *high <= guess / HOPELESS || *high * how.seconds < FEWEST => break,
                (None, Some((high, _))) => rounded((high / stride).max(LEAST_RATE)),
                (None, None) => unreachable!("a rate was decided on"),
            };
            stride = (stride * stride).min(MOST_STRIDE_DOWN);
        }
        let (beyond, verdict) = high.unzip();
        Ok(Ceiling { rate: low, beyond, verdict })
    }

    /// What most runs at this rate say. No more are done than it takes to know.
    fn decide(&mut self, settings: &Settings, rate: f64, how: How) -> Result<Verdict, B::Error> {
        let majority = how.votes / 2 + 1;
        let (mut held, mut against) = (0, Vec::new());
        loop {
            match self.run(how.phase, settings, Load::Open { rate }, how.seconds)?.1 {
                Verdict::Held => held += 1,
                verdict => against.push(verdict),
            }
            if held == majority {
                return Ok(Verdict::Held);
            }
            if against.len() == majority {
                // Only if it was never the system is it the generator.
                let missed = against.iter().find(|verdict| matches!(verdict, Verdict::Missed(_))).cloned();
                return Ok(missed.unwrap_or_else(|| against.swap_remove(0)));
            }
        }
    }
}

/// To four digits, as people write rates.
pub(super) fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 3.0);
    let rounded = (rate / unit).round() * unit;
    // What is below one has more digits than it takes, from the unit's own rounding.
    if unit >= 1.0 { rounded.round() } else { (rounded * 1e6).round() / 1e6 }
}

/// What the config allows.
const MOST_RATE: f64 = 1e9;
const LEAST_RATE: f64 = 0.001;
/// Below this part of the first guess nothing is looked for any more.
const HOPELESS: f64 = 1024.0;
/// Nor for what sends fewer commands in a run.
const FEWEST: f64 = 10.0;
const MOST_STRIDE_UP: f64 = 2.0;
const MOST_STRIDE_DOWN: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_four_digits() {
        let texts = [123_456.0, 1.0, 0.123_456, 9999.6, 1e9].map(|rate| rounded(rate).to_string());
        assert_eq!(texts, ["123500", "1", "0.1235", "10000", "1000000000"]);
    }
}
