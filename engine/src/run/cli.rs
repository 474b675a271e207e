//! `quorumbench run`: experiments, one after the other or in turn with another build's.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;

use super::{Experiment, Finished, RunError};
use crate::compare::cli::{THRESHOLD, compared, gate, metric, percent};
use crate::compare::{
    Design, InterleaveError, Interleaving, Metric, SIDES, end_with_conductor, interleave, least_observations,
};
use crate::console::{exit, fail, print, say, stop_on_signals, typed};
use crate::drive;
use crate::metrics::{self, Metrics};
use crate::progress::{self, Progress};
use crate::report::cli::beside;
use crate::results::{self, PointResult, RUN_SCHEMA};
use crate::spec::{Spec, SpecError};
use crate::summary;

/// Runs experiments: progress while they run, a table at the end, results on disk.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a command line has")]
pub(crate) struct RunArgs {
    /// Experiments, one TOML file each; `quorumbench list` names the bundled ones
    #[arg(required = true, value_name = "CONFIG")]
    configs: Vec<PathBuf>,
    /// Where the run's folder goes
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// Overrides a key of the config; a list makes it an axis. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Runs only this one of the points that --dry-run lists. May be given several times
    #[arg(long = "point", value_name = "NUMBER")]
    points: Vec<usize>,
    /// Prints the points that would be run, and the whole config with its defaults, and runs nothing
    #[arg(long)]
    dry_run: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
    /// Prints one JSON document instead of the table
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
    /// Records what clients invoked and saw, and verifies after each point, with slot order as the witness, that it was
    /// linearizable. A violation ends the run: exit code 5
    #[arg(long)]
    check: bool,
    /// Measures this build and another one in turn, and compares: exit code 3 if this one is worse. For machines that are
    /// never the same for long
    #[arg(long, value_name = "BASE_BINARY", conflicts_with_all = ["dry_run", "json", "check"])]
    interleave: Option<PathBuf>,
    /// What --interleave compares, as `quorumbench compare` does; may be given several times
    #[arg(long = "metric", value_name = "METRIC", value_parser = metric, requires = "interleave")]
    compared: Vec<Metric>,
    /// A change that nobody minds, to --interleave
    #[arg(long, value_name = "PERCENT", default_value = THRESHOLD, value_parser = percent, requires = "interleave")]
    threshold: f64,
    /// Shows figures of the point that runs to Prometheus, at `/metrics` of ADDR; a port alone is on this machine only
    #[arg(long, value_name = "ADDR", value_parser = metrics::address, conflicts_with_all = ["dry_run", "interleave"])]
    metrics: Option<SocketAddr>,
    /// Shows the run on the whole screen: the latency-throughput curve as it grows. `q` stops it
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with_all = ["dry_run", "interleave", "quiet"])]
    tui: bool,
}

const RUN_EXAMPLES: &str = "\
Examples:
  quorumbench run bench-configs/quickstart.toml
  quorumbench run bench-configs/peak.toml --set protocol=raft --set transport=mem
  quorumbench run bench-configs/quickstart.toml --set rate=[10_000,50_000] --set run.duration=10s
  quorumbench run bench-configs/smoke.toml --dry-run
  quorumbench run bench-configs/smoke.toml --json > smoke.json
  quorumbench run bench-configs/smoke.toml --check --set machine=kv
  quorumbench run bench-configs/peak.toml --metrics 9100
  quorumbench run bench-configs/peak.toml --interleave ./quorumbench-of-main --set repetitions=8

Ctrl-C stops a run and keeps what was finished.";

impl RunArgs {
    pub(crate) fn execute(self) -> ExitCode {
        let load = |path: &PathBuf| Spec::load(path, &self.overrides);
        // All configs are read before the first is run: a typo in the last must not cost an hour.
        let mut specs = match self.configs.iter().map(load).collect::<Result<Vec<Spec>, SpecError>>() {
            Ok(specs) => specs,
            Err(error) => return fail(exit::USAGE, &error),
        };
        if !self.points.is_empty() {
            specs = match specs.into_iter().map(|spec| self.chosen(spec)).collect() {
                Ok(specs) => specs,
                Err(error) => return fail(exit::USAGE, &error),
            };
        }
        for note in specs.iter().filter_map(Spec::note) {
            progress::note(&format!("note: {note}"));
        }
        if self.dry_run {
            return print(&specs.iter().map(plan_text).collect::<String>()).into();
        }
        if self.check && specs.iter().any(orders_nothing) {
            return fail(
                exit::USAGE,
                &"--check verifies answers to commands, and gossip and replicas that reconcile have none: leave it out",
            );
        }
        if self.json && specs.len() > 1 {
            return fail(exit::USAGE, &"--json prints one document: give it one CONFIG");
        }
        // The very file that runs, even if another one has taken its place by now.
        drive::set_program("/proc/self/exe");
        let interrupted = match stop_on_signals() {
            Ok(flag) => flag,
            Err(error) => return fail(exit::FAILED, &format!("cannot listen for signals: {error}")),
        };
        if let Err(error) = end_with_conductor() {
            return fail(exit::FAILED, &format!("cannot end with the run that this one is part of: {error}"));
        }
        let metrics = match self.metrics.map(Metrics::serve).transpose() {
            Ok(metrics) => metrics,
            Err(error) => {
                return fail(exit::FAILED, &format!("cannot listen for --metrics: {error}; choose another ADDR"));
            }
        };
        // Also to --quiet: nobody could find it otherwise.
        if let Some(metrics) = &metrics {
            progress::note(&format!("metrics: http://{}/metrics", metrics.address()));
        }
        let mut worst = 0;
        for (spec, config) in specs.iter().zip(&self.configs) {
            let code = match &self.interleave {
                Some(base) => self.run_in_turn(base, spec, config, &interrupted),
                None => self.run(spec, config, metrics.as_ref(), &interrupted),
            };
            // What became of one config in turn says nothing of the next.
            let goes_on = self.interleave.is_some() && matches!(code, exit::REGRESSION | exit::INVALID);
            if code != 0 && !goes_on {
                return code.into();
            }
            worst = worst.max(code);
        }
        worst.into()
    }

    /// The points that --point names.
    fn chosen(&self, spec: Spec) -> Result<Spec, String> {
        let count = spec.points().len();
        match self.points.iter().find(|&&number| !(1..=count).contains(&number)) {
            Some(number) => Err(format!("--point {number}: {} has points 1 to {count}", spec.name())),
            None => Ok(spec.only(&self.points.iter().map(|number| number - 1).collect::<Vec<_>>())),
        }
    }

    fn run(&self, spec: &Spec, config: &Path, metrics: Option<&Metrics>, interrupted: &Arc<AtomicBool>) -> u8 {
        let experiment = Experiment { spec, config, out: &self.out, command_line: typed(), check: self.check };
        let mut progress = match self.progress(metrics, interrupted) {
            Ok(progress) => progress,
            Err(error) => {
                say(&format!("--tui: {error}; leave it out"));
                return exit::USAGE;
            }
        };
        let finished = super::run(&experiment, interrupted, &mut progress);
        progress.clear();
        match finished {
            Err(error) => {
                say(&error);
                exit::FAILED
            }
            Ok(finished) => {
                draw(&finished);
                let text = if self.json { json_text(&finished) } else { table_text(&finished, spec) };
                let printed = print(&text);
                match conclude(&finished) {
                    0 => printed,
                    code => code,
                }
            }
        }
    }

    #[cfg(feature = "tui")]
    fn progress<'a>(&self, metrics: Option<&'a Metrics>, interrupted: &Arc<AtomicBool>) -> io::Result<Progress<'a>> {
        if self.tui {
            let screen = crate::tui::Screen::enter(Arc::clone(interrupted))?;
            return Ok(Progress::on(screen, metrics));
        }
        Ok(Progress::new(self.quiet, metrics))
    }

    #[cfg(not(feature = "tui"))]
    #[expect(clippy::unnecessary_wraps, reason = "a whole screen may not be had")]
    fn progress<'a>(&self, metrics: Option<&'a Metrics>, _: &Arc<AtomicBool>) -> io::Result<Progress<'a>> {
        Ok(Progress::new(self.quiet, metrics))
    }

    /// The same with another build as the base, one repetition of each after the other.
    fn run_in_turn(&self, base: &Path, spec: &Spec, config: &Path, interrupted: &AtomicBool) -> u8 {
        let run = spec.run();
        let programs = [base, Path::new("/proc/self/exe")];
        let points = if self.points.is_empty() { (1..=spec.points().len()).collect() } else { self.points.clone() };
        let plan = Interleaving {
            programs,
            config,
            overrides: &self.overrides,
            points: &points,
            repetitions: run.repetitions,
            seed: run.seed,
            varied: &spec.varied(),
            command_line: &typed(),
            quiet: self.quiet,
        };
        let out = match results::stamped_folder(&self.out, &format!("{}-interleaved", spec.name()), SystemTime::now()) {
            Ok(out) => out,
            Err(error) => {
                say(&error);
                return exit::FAILED;
            }
        };
        let least = least_observations(Design::Pairs, 1);
        if run.repetitions < least {
            progress::note(&format!(
                "note: {} repetitions show no change, however large: --set repetitions={least} does, and more if only one of \
                 many figures changes",
                run.repetitions
            ));
        }
        let turns = plan.turns();
        let progress = &mut |turn: usize, side: usize| {
            if !self.quiet {
                progress::note(&format!("run {} of {turns}: {}", turn + 1, SIDES[side]));
            }
        };
        match interleave(&plan, &out, interrupted, progress) {
            Err(error) => {
                say(&error);
                progress::note(&format!("what was finished is in {}", out.display()));
                match error {
                    InterleaveError::Failed { status, .. } if status.code() == Some(exit::USAGE.into()) => exit::USAGE,
                    InterleaveError::NoRun { .. } => exit::USAGE,
                    InterleaveError::Invalid { .. } => exit::INVALID,
                    _ => exit::FAILED,
                }
            }
            Ok(sides) => {
                let code = gate(compared(sides, self.compared.clone(), self.threshold));
                let out = out.display();
                print(&format!(
                    "Results: {out}\nOther metrics: quorumbench compare {out}/base {out}/new --metric ...\n"
                ));
                code
            }
        }
    }
}

/// The table, the warnings, the sentence, and where it all is.
fn table_text(finished: &Finished, spec: &Spec) -> String {
    let mut text = String::new();
    // What was measured and what was computed do not share a table.
    let (virtual_points, real): (Vec<_>, Vec<_>) = finished.points.iter().cloned().partition(PointResult::is_virtual);
    for (points, title) in [(real, ""), (virtual_points, "In virtual time; not to be compared with real results:\n")] {
        let rows = summary::rows(&points, spec);
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{title}{}\n", summary::table(&rows, spec));
        if let Some(faults) = summary::fault_table(&rows, spec) {
            let _ = writeln!(text, "Faults, medians:\n{faults}\n");
        }
        for part in [summary::warnings_text(&rows), summary::verdict(&rows, &spec.varied())] {
            if !part.is_empty() {
                let _ = writeln!(text, "{part}");
            }
        }
    }
    if let Some(table) = summary::epidemic_table(&finished.epidemics, spec) {
        let warnings = summary::epidemic_warnings(&finished.epidemics, spec);
        let _ = writeln!(text, "\nEpidemics, means over the trials and their 95 % intervals:\n{table}\n{warnings}");
    }
    if let Some(table) = summary::convergence_table(&finished.convergences, spec) {
        let _ = writeln!(text, "\nReplicas that reconcile, means over the trials and their 95 % intervals:\n{table}\n");
    }
    for doubt in &finished.doubts {
        let _ = writeln!(text, "  during the run, {}", doubt.trim_start_matches("during."));
    }
    let _ = writeln!(text, "Results: {}", finished.dir.display());
    text
}

fn json_text(finished: &Finished) -> String {
    let mut lines: Vec<_> = finished.points.iter().map(|point| json!(point)).collect();
    lines.extend(finished.epidemics.iter().map(|epidemic| json!(epidemic)));
    lines.extend(finished.convergences.iter().map(|convergence| json!(convergence)));
    let document = json!({
        "schema": RUN_SCHEMA,
        "run": finished.dir.display().to_string(),
        "points": lines,
        "doubts": finished.doubts,
    });
    format!("{document}\n")
}

/// The run's report, beside its results. They are as good without it.
fn draw(finished: &Finished) {
    if finished.count() > 0
        && let Err(error) = beside(&finished.dir)
    {
        progress::note(&format!("note: there is no report: {error}"));
    }
}

/// Says why a run ended early, or why it is void. The exit code.
fn conclude(finished: &Finished) -> u8 {
    if let Some(failure) = &finished.failure {
        say(failure);
        let (done, planned) = (finished.count(), finished.planned);
        progress::note(&format!("{done} of {planned} points are finished and stored in {}", finished.dir.display()));
        return if matches!(failure, RunError::Unsafe { .. }) { exit::INVALID } else { exit::FAILED };
    }
    let void = finished.points.iter().filter(|point| point.completed_per_s == 0.0).count();
    if void > 0 {
        say(&format!("invalid: in {void} of {} points nothing was answered inside the window", finished.planned));
        return exit::INVALID;
    }
    0
}

fn orders_nothing(spec: &Spec) -> bool {
    spec.points().iter().any(|point| !point.cluster.protocol.orders())
}

fn plan_text(spec: &Spec) -> String {
    let points = spec.points();
    let run = spec.run();
    let total =
        points.iter().map(|point| super::lasts(point, run)).sum::<Duration>().as_secs_f64() * run.repetitions as f64;
    let (name, repetitions) = (spec.name(), run.repetitions);
    let mut text = format!("{name}: {} points x {repetitions} repetitions, about {total:.0} s\n", points.len());
    for (number, point) in (1..).zip(&points) {
        let _ = writeln!(text, "{number:3}  {}", serde_json::Value::Object(point.axes()));
    }
    let _ = writeln!(text, "\n{}", spec.to_toml());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::witness::{Applied, Breach};

    fn nothing(failure: Option<RunError>) -> Finished {
        let (points, epidemics, convergences, doubts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Finished { dir: "x".into(), points, epidemics, convergences, doubts, planned: 1, failure }
    }

    #[test]
    fn what_happened_to_the_machine_is_said_below_the_table() {
        let spec = Spec::parse("name = 'x'", "x.toml", &[]).expect("a config");
        let doubtful = Finished { doubts: vec!["during.steal: much".into()], ..nothing(None) };
        assert_eq!(table_text(&doubtful, &spec), "  during the run, steal: much\nResults: x\n");
        assert!(json_text(&doubtful).contains("\"doubts\":[\"during.steal: much\"]"));
        assert_eq!(table_text(&nothing(None), &spec), "Results: x\n");
    }

    #[test]
    fn a_run_that_was_not_safe_is_invalid() {
        let batch = Applied { slot: 7, sequence: 3, client: 4, commands: 64 };
        let breach = Breach::Twice { first: batch, second: Applied { slot: 9, ..batch } };
        let failure = RunError::Unsafe { label: "rate=10".into(), breach: Box::new(breach) };
        let said = "invalid: rate=10: at most once is violated: batch 3 of client 4 (64 commands, slot 7) was applied again in slot 9";
        assert_eq!(failure.to_string(), said);
        let finished = nothing(Some(failure));
        assert_eq!(conclude(&finished), exit::INVALID);
        assert_eq!(conclude(&Finished { failure: Some(RunError::Interrupted), ..finished }), exit::FAILED);
    }
}
