//! The command line: what may be typed, and what each of it does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::bundled;
use crate::progress::Progress;
use crate::results::RUN_SCHEMA;
use crate::run::{self, Experiment, Finished};
use crate::sim::cli::SimArgs;
use crate::spec::{Spec, SpecError};
use crate::summary;

/// Measures distributed protocols: throughput, tail latency, and what each command cost.
#[derive(Debug, Parser)]
#[command(name = "quorumbench", version, about, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench run bench-configs/quickstart.toml     measure, and print a table
  quorumbench sim --protocol raft --seeds 1000      check, under faults, in virtual time
  quorumbench list                                  what there is to measure

Exit codes: 0 done, 1 it failed, 2 bad usage or config, 5 the run is invalid";

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Sim(SimArgs),
    /// Lists protocols, transports, state machines, and the bundled configs with what each answers.
    #[command(after_help = "Examples:\n  quorumbench list")]
    List,
}

/// Runs experiments: progress while they run, a table at the end, results on disk.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
struct RunArgs {
    /// Experiments, one TOML file each; `quorumbench list` names the bundled ones
    #[arg(required = true, value_name = "CONFIG")]
    configs: Vec<PathBuf>,
    /// Where the run's folder goes
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// Overrides a key of the config; a list makes it an axis. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Prints the points that would be run, and the whole config with its defaults, and runs nothing
    #[arg(long)]
    dry_run: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
    /// Prints one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

const RUN_EXAMPLES: &str = "\
Examples:
  quorumbench run bench-configs/quickstart.toml
  quorumbench run bench-configs/peak.toml --set protocol=raft --set transport=mem
  quorumbench run bench-configs/quickstart.toml --set rate=[10_000,50_000] --set run.duration=10s
  quorumbench run bench-configs/smoke.toml --dry-run
  quorumbench run bench-configs/smoke.toml --json > smoke.json

Ctrl-C stops a run and keeps what was finished.";

/// Exit codes besides success, which users script against.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(super) const INVALID: u8 = 5;
}

impl Cli {
    /// Does what was asked, and says how it went.
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Run(arguments) => arguments.execute(),
            Command::Sim(arguments) => arguments.execute(),
            Command::List => {
                println!("{}", bundled::list());
                ExitCode::SUCCESS
            }
        }
    }
}

impl RunArgs {
    fn execute(self) -> ExitCode {
        let load = |path: &PathBuf| Spec::load(path, &self.overrides);
        // All configs are read before the first is run: a typo in the last must not cost an hour.
        let specs = match self.configs.iter().map(load).collect::<Result<Vec<Spec>, SpecError>>() {
            Ok(specs) => specs,
            Err(error) => return fail(exit::USAGE, &error),
        };
        if self.dry_run {
            specs.iter().for_each(print_plan);
            return ExitCode::SUCCESS;
        }
        if self.json && specs.len() > 1 {
            return fail(exit::USAGE, &"--json prints one document: give it one CONFIG");
        }
        let interrupted = match stop_on_signals() {
            Ok(flag) => flag,
            Err(error) => return fail(exit::FAILED, &format!("cannot listen for signals: {error}")),
        };
        for (spec, config) in specs.iter().zip(&self.configs) {
            let code = self.run(spec, config, &interrupted);
            if code != 0 {
                return code.into();
            }
        }
        ExitCode::SUCCESS
    }

    fn run(&self, spec: &Spec, config: &Path, interrupted: &AtomicBool) -> u8 {
        let command_line = std::env::args().collect();
        let experiment = Experiment { spec, config, out: &self.out, command_line, faults: &[] };
        let mut progress = Progress::new(self.quiet);
        let finished = run::run(&experiment, interrupted, &mut progress);
        progress.clear();
        match finished {
            Err(error) => {
                say(&error);
                exit::FAILED
            }
            Ok(finished) => {
                if self.json {
                    print_json(&finished);
                } else {
                    print_table(&finished, spec);
                }
                conclude(&finished)
            }
        }
    }
}

/// The table, the warnings, the sentence, and where it all is.
fn print_table(finished: &Finished, spec: &Spec) {
    let rows = summary::rows(&finished.points, spec);
    if !rows.is_empty() {
        println!("\n{}\n", summary::table(&rows, spec));
        let warnings = summary::warnings_text(&rows);
        if !warnings.is_empty() {
            println!("{warnings}");
        }
        let verdict = summary::verdict(&rows, spec);
        if !verdict.is_empty() {
            println!("{verdict}");
        }
    }
    println!("Results: {}", finished.dir.display());
}

fn print_json(finished: &Finished) {
    let document = json!({
        "schema": RUN_SCHEMA,
        "run": finished.dir.display().to_string(),
        "points": finished.points,
    });
    println!("{document}");
}

/// Says why a run ended early, or why it is void. The exit code.
fn conclude(finished: &Finished) -> u8 {
    if let Some(failure) = &finished.failure {
        say(failure);
        eprintln!(
            "{} of {} points are finished and stored in {}",
            finished.points.len(),
            finished.planned,
            finished.dir.display()
        );
        return exit::FAILED;
    }
    let void = finished.points.iter().filter(|point| point.completed_per_s == 0.0).count();
    if void > 0 {
        say(&format!("invalid: in {void} of {} points nothing was answered inside the window", finished.planned));
        return exit::INVALID;
    }
    0
}

fn print_plan(spec: &Spec) {
    let points = spec.points();
    let run = spec.run();
    let each = run.warmup + run.duration;
    let total = each.as_secs_f64() * (points.len() * run.repetitions) as f64;
    println!("{}: {} points x {} repetitions, about {total:.0} s", spec.name(), points.len(), run.repetitions);
    for point in &points {
        println!("  {}", serde_json::Value::Object(point.axes()));
    }
    println!("\n{}", spec.to_toml());
}

/// A flag that Ctrl-C and SIGTERM raise. The second signal ends the program at once.
fn stop_on_signals() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, exit::FAILED.into(), flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

pub(crate) fn fail(code: u8, message: &dyn std::fmt::Display) -> ExitCode {
    say(message);
    code.into()
}

fn say(message: &dyn std::fmt::Display) {
    eprintln!("error: {message}");
}
