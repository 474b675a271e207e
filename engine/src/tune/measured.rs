//! The bench that measures: each trial an ordinary run, in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::journal::run_folder;
use super::slo::{Slo, Verdict};
use super::space::Space;
use super::{Bench, Load, Observation, Trial};
use crate::console::typed;
use crate::progress;
use crate::results::{EpidemicResult, PointResult};
use crate::run::{self, Experiment, RunError, Silence};
use crate::spec::SpecError;
use crate::summary::{digits, thousands, time_text};

/// Runs trials into the folder of a search.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pub(super) space: &'a Space,
    pub(super) slo: &'a Slo,
    pub(super) config: &'a Path,
    pub(super) dir: PathBuf,
    /// The step of the next trial.
    pub(super) next: usize,
    pub(super) quiet: bool,
    pub(super) interrupted: &'a AtomicBool,
}

/// Why a trial has no result.
#[derive(Debug)]
pub(super) enum TrialError {
    /// It is no experiment.
    Spec(SpecError),
    /// It failed.
    Run(RunError),
}

impl std::fmt::Display for TrialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TrialError {}

impl Bench for Measured<'_> {
    type Error = TrialError;

    fn measure(&mut self, trial: &Trial) -> Result<Observation, TrialError> {
        // A run of one point that is short in real time may end without looking.
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(TrialError::Run(RunError::Interrupted));
        }
        let spec = self.space.experiment(trial).map_err(TrialError::Spec)?;
        let step = self.next;
        let experiment = Experiment {
            spec: &spec,
            config: self.config,
            out: &self.dir.join(run_folder(step)),
            command_line: typed(),
            check: false,
        };
        let finished = run::run(&experiment, self.interrupted, &mut Silence).map_err(TrialError::Run)?;
        if let Some(failure) = finished.failure {
            return Err(TrialError::Run(failure));
        }
        let commands = finished.points.first().map(of_commands);
        let seen = commands.or_else(|| finished.epidemics.first().map(of_epidemics));
        let seen = seen.expect("a run that did not fail has its point");
        self.next += 1;
        if !self.quiet {
            progress::note(&line(step, trial, &seen, &self.slo.verdict(&seen)));
        }
        Ok(seen)
    }
}

/// What a step was, for people.
fn line(step: usize, trial: &Trial, seen: &Observation, verdict: &Verdict) -> String {
    let (phase, settings) = (trial.phase.name(), trial.settings.text());
    let found = match trial.load {
        Load::Closed => format!("peaks at {} commands/s", thousands(seen.throughput)),
        Load::Open { rate } => {
            format!("{} commands/s, p99 {}", thousands(rate), time_text(seen.figure("p99")))
        }
        Load::Epidemics { trials } => {
            let [traffic, rounds] = ["traffic", "rounds_p99"].map(|figure| digits(seen.figure(figure)));
            format!("{trials} epidemics, traffic {traffic}, p99 of rounds {rounds}")
        }
    };
    let verdict = match (trial.load, verdict) {
        (Load::Closed, _) => String::new(),
        (_, Verdict::Held) => ": held".into(),
        (_, Verdict::Missed(why)) => format!(": missed, {why}"),
        (_, Verdict::GeneratorLimited(why)) => format!(": generator-limited, {why}"),
    };
    format!("  {:4} {phase:10} {settings}: {found}{verdict}", step + 1)
}

fn of_commands(point: &PointResult) -> Observation {
    let times = &point.response_ns;
    let times = [
        ("p50", times.p50 as f64),
        ("p90", times.p90 as f64),
        ("p99", times.p99 as f64),
        ("p99.9", times.p99_9 as f64),
        ("mean", times.mean),
        ("errors", point.errors as f64),
    ];
    let warned = |code: &str| point.warnings.iter().find_map(|warning| warning.strip_prefix(code));
    // What waits because too many are in flight is sent late by no fault of the generator's.
    let generator = warned("generator_limited: ").filter(|_| point.late == 0);
    Observation {
        throughput: point.completed_per_s,
        figures: times.map(|(name, value)| (name.to_owned(), value)).into(),
        overloaded: warned("overloaded:").is_some() || falls_behind(point),
        lost: point.errors + point.shed,
        generator: generator.map(str::to_owned),
    }
}

/// Whether less than 99 % of what was sent in the window was answered in it, and more was in flight in its end than chance
/// explains. What is in flight varies as batches that come at random do: by the root of their mean number, times their size.
fn falls_behind(point: &PointResult) -> bool {
    let (sent, answered) = (point.commands as f64, point.completed_per_s * point.window_ns as f64 / 1e9);
    // Little's law.
    let in_flight = point.completed_per_s * point.response_ns.mean / 1e9;
    let chance = 3.0 * (2.0 * in_flight * point.cost.commands_per_slot.max(1.0)).sqrt();
    answered == 0.0 || sent - answered > (0.01 * sent).max(chance)
}

fn of_epidemics(result: &EpidemicResult) -> Observation {
    let epidemic = &result.epidemic;
    let figures = [
        ("rounds_mean", epidemic.rounds_last.mean),
        ("rounds_p99", epidemic.rounds_last.p99),
        ("rounds_max", epidemic.rounds_last.max),
        ("residue", epidemic.residue.mean),
        ("residue_max", epidemic.residue.max),
        ("traffic", epidemic.traffic.mean),
        ("coverage", epidemic.coverage.mean),
    ];
    let late = result.warnings.iter().find_map(|warning| warning.strip_prefix("late_rounds: "));
    Observation {
        figures: figures.map(|(name, value)| (name.to_owned(), value)).into(),
        generator: late.map(str::to_owned),
        ..Observation::default()
    }
}
