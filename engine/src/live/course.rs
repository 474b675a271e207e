//! How far a run has come, and how long it still takes.

use std::time::{Duration, Instant};

use super::Figures;
use crate::drive::Phase;
use crate::results::{ConvergenceResult, EpidemicResult, PointResult};
use crate::summary::{thousands, time_text};

/// A point that is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its coordinates, as the config has them.
    pub axes: Vec<(String, String)>,
    /// How long it takes at least.
    pub lasts: Duration,
}

/// Where a run is: what a display shows.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The experiment's name.
    pub name: String,
    /// Which point, from 0.
    pub index: usize,
    /// Of how many.
    pub total: usize,
    /// What is special about it.
    pub label: String,
    /// Its coordinates.
    pub axes: Vec<(String, String)>,
    /// Where it is; `None` before the first, and where there are trials.
    pub phase: Option<Phase>,
    /// How many of its trials are finished, and of how many.
    pub trials: Option<(usize, usize)>,
    /// What its clients see.
    pub figures: Figures,
    /// How long the run still takes.
    pub left: Option<Duration>,
}

impl Status {
    /// What is going on, in a line.
    pub fn text(&self) -> String {
        let what = match (self.trials, self.phase) {
            (Some((finished, of)), _) => format!("trial {finished} of {of}"),
            (None, Some(phase)) => phase.text().to_owned(),
            (None, None) => String::new(),
        };
        let figures = self.figures;
        let loaded = matches!(self.phase, Some(Phase::WarmingUp | Phase::Measuring)) && figures.throughput > 0.0;
        let figures = match figures.p99_ns.filter(|_| loaded) {
            Some(p99) => format!("  {}/s, p99 {}", thousands(figures.throughput), time_text(p99 as f64)),
            None => String::new(),
        };
        format!("{}  {what}{figures}", self.label)
    }
}

/// The plan of a run, and the clock beside it.
#[derive(Debug)]
pub struct Course {
    plan: Vec<Planned>,
    began: Instant,
    /// The point that runs, and since when it does.
    index: usize,
    point_began: Instant,
}

impl Course {
    /// It begins at `now`.
    pub fn new(plan: Vec<Planned>, now: Instant) -> Self {
        Self { plan, began: now, index: 0, point_began: now }
    }

    /// Point `index` begins. Its coordinates.
    pub fn begin(&mut self, index: usize, now: Instant) -> Vec<(String, String)> {
        (self.index, self.point_began) = (index, now);
        self.plan.get(index).map(|point| point.axes.clone()).unwrap_or_default()
    }

    /// How long all that is left takes: what it should, times what those before took over what they should.
    pub fn left(&self, now: Instant) -> Duration {
        let (before, rest) = self.plan.split_at(self.index.min(self.plan.len()));
        let sum = |points: &[Planned]| points.iter().map(|point| point.lasts).sum::<Duration>();
        let planned = sum(before);
        let took = self.point_began.saturating_duration_since(self.began);
        let slower = if planned.is_zero() { 1.0 } else { took.as_secs_f64() / planned.as_secs_f64() };
        let Some((current, rest)) = rest.split_first() else { return Duration::ZERO };
        let stretched = |lasts: Duration| lasts.mul_f64(slower.min(1000.0));
        let current = stretched(current.lasts).saturating_sub(now.saturating_duration_since(self.point_began));
        current + stretched(sum(rest))
    }
}

/// What a finished point says of itself, in a line.
pub(crate) trait Outline {
    /// Its experiment.
    fn name(&self) -> &str;
    /// What came of it.
    fn outline(&self) -> String;
}

impl Outline for PointResult {
    fn name(&self) -> &str {
        &self.name
    }

    fn outline(&self) -> String {
        let (rate, times) = (thousands(self.completed_per_s), self.response_ns);
        format!("{rate} commands/s, p50 {}, p99 {}", time_text(times.p50 as f64), time_text(times.p99 as f64))
    }
}

impl Outline for EpidemicResult {
    fn name(&self) -> &str {
        &self.name
    }

    fn outline(&self) -> String {
        let epidemic = &self.epidemic;
        let (missed, rounds, traffic) = (epidemic.residue.mean, epidemic.rounds_last.mean, epidemic.traffic.mean);
        format!("{rounds:.2} rounds, residue {missed:.3e}, traffic {traffic:.2}")
    }
}

impl Outline for ConvergenceResult {
    fn name(&self) -> &str {
        &self.name
    }

    fn outline(&self) -> String {
        let bytes = thousands(self.convergence.bytes.all.mean);
        let rounds = self.convergence.rounds.map_or("never".into(), |rounds| format!("in {:.2} rounds", rounds.mean));
        format!("agreed {rounds}, {bytes} bytes an update")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_of_the_plan_and_not_of_the_count() {
        let planned = |seconds| Planned { axes: Vec::new(), lasts: Duration::from_secs(seconds) };
        let began = Instant::now();
        let mut course = Course::new(vec![planned(1), planned(1), planned(8)], began);
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        assert_eq!(course.left(began), Duration::from_secs(10));
        assert_eq!(course.left(after(1)), Duration::from_secs(9));
        course.begin(2, after(2));
        assert_eq!(course.left(after(2)), Duration::from_secs(8), "not a third of the time");
        // Each took half as long again as it should.
        course.begin(2, after(3));
        assert_eq!(course.left(after(3)), Duration::from_secs(12));
        assert_eq!(course.left(after(40)), Duration::ZERO, "what takes longer than it should is nearly done");
        course.begin(3, after(40));
        assert_eq!(course.left(after(40)), Duration::ZERO);
    }
}
