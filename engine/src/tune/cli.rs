//! `quorumbench tune`: the command.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use clap::Args;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::journal::{Journal, JournalError};
use super::measured::{Measured, TrialError};
use super::space::Space;
use super::{Finding, Goal, Outcome, Plan, Slo, search};
use crate::compare::cli::percent;
use crate::console::{exit, fail, print, say, stop_on_signals};
use crate::drive;
use crate::host;
use crate::progress;
use crate::results::{self, StoreError, fingerprint_of};
use crate::run::RunError;

mod text;

/// The version of `tune.json`, and of `tune --json`.
pub const TUNE_SCHEMA: &str = "quorumbench.tune/1";

/// Searches the keys that a config's `tune` names for a goal under an SLO, and confirms what it finds against the default.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a command line has")]
pub(crate) struct TuneArgs {
    /// The experiment: one point, and `tune = ["batch.commands", ...]` for what may change
    #[arg(value_name = "CONFIG", required_unless_present = "resume", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// What is wanted: max-throughput, or of gossip min-traffic
    #[arg(long, value_name = "GOAL", value_parser = goal, required_unless_present = "resume", conflicts_with = "resume")]
    goal: Option<Goal>,
    #[arg(long, value_name = "SLO", help = SLO_HELP, required_unless_present = "resume", conflicts_with = "resume")]
    slo: Option<String>,
    /// How exactly a highest rate is found, and by how much more nobody minds
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = tolerance, conflicts_with = "resume")]
    tolerance: f64,
    /// Counts a run that holds even if the generator was late. Response times run from the intended send, so that can
    /// break an SLO and not keep it: for machines whose cores are shared by replicas and clients
    #[arg(long, conflicts_with = "resume")]
    accept_send_lag: bool,
    /// Overrides a key of the config. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    overrides: Vec<String>,
    /// Where the search's folder goes
    #[arg(long, value_name = "DIR", default_value = "results", conflicts_with = "resume")]
    out: PathBuf,
    /// Goes on with a search that was interrupted, from its folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Says what would be tried, and runs nothing
    #[arg(long)]
    dry_run: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
    /// Prints one JSON document instead of the table
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
}

const SLO_HELP: &str = "What has to hold: metric<value,... with p50, p90, p99, p99.9, mean, errors; of gossip rounds_mean, \
                        rounds_p99, rounds_max, residue, residue_max, traffic, coverage (>)";

const EXAMPLES: &str = "\
Examples:
  quorumbench tune bench-configs/tune-raft.toml --goal max-throughput --slo \"p99<5ms\"
  quorumbench tune bench-configs/tune-gossip.toml --goal min-traffic --slo \"rounds_p99<12,residue<1e-4\"
  quorumbench tune bench-configs/quickstart.toml --goal max-throughput --slo \"p99<5ms,p50<1ms\" \\
      --set protocol=raft --set tune=[batch.commands,batch.window] --set batch.window=[8,32,128] --dry-run
  quorumbench tune --resume results/20261120T101500Z-tune-raft-tune

A key with a list of values is tried at these; any other at powers of two around what the config says.

Exit codes: 0 done, with a recommendation or with the default as good as any; 1 it failed or was interrupted; 2 bad usage
or config; 4 nothing holds the SLO; 5 the generator was the limit, so nobody can tell";

/// What a search is of: all that it takes to go on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Request {
    config: PathBuf,
    config_text: String,
    overrides: Vec<String>,
    goal: Goal,
    slo: String,
    tolerance: f64,
    accept_send_lag: bool,
}

/// Why there is no outcome: what to say, and the exit code.
struct Failure(u8, String);

impl Failure {
    fn usage(error: &dyn std::fmt::Display) -> Self {
        Self(exit::USAGE, error.to_string())
    }

    fn failed(error: &dyn std::fmt::Display) -> Self {
        Self(exit::FAILED, error.to_string())
    }
}

impl TuneArgs {
    pub(crate) fn execute(self) -> ExitCode {
        match self.tune() {
            Ok(code) => code.into(),
            Err(Failure(code, why)) => fail(code, &why),
        }
    }

    fn tune(&self) -> Result<u8, Failure> {
        let (request, before) = self.request()?;
        let slo = Slo::parse(&request.slo, request.goal).map_err(|error| Failure::usage(&error))?;
        let slo = slo.accepting_send_lag(request.accept_send_lag);
        let file = request.config.display().to_string();
        let space = Space::new(&request.config_text, &file, &request.overrides, request.goal);
        let space = space.map_err(|error| Failure::usage(&error))?;
        let plan = space.plan(request.goal, slo, request.tolerance);
        if self.dry_run {
            return Ok(print(&text::plan(&space, &plan)));
        }
        // The very file that runs, even if another one has taken its place by now.
        drive::set_program("/proc/self/exe");
        let interrupted =
            stop_on_signals().map_err(|error| Failure::failed(&format!("cannot listen for signals: {error}")))?;
        let mut folder = match (&self.resume, before) {
            (Some(path), Some(document)) => Folder { path: path.clone(), document },
            _ => Folder::create(&self.out, &request, &space, &plan).map_err(|error| Failure::failed(&error))?,
        };
        // As long as it lives, this search is the only one in its folder.
        let _lock = folder.lock()?;
        folder.write("running").map_err(|error| Failure::failed(&error))?;
        let searched = self.search(&space, &plan, &request.config, &folder.path, &interrupted);
        self.conclude(searched, &mut folder, &plan)
    }

    /// What is asked for, or was when the search began, with the document that says so.
    fn request(&self) -> Result<(Request, Option<Json>), Failure> {
        if let Some(dir) = &self.resume {
            return resumed(dir).map(|(request, document)| (request, Some(document)));
        }
        let (Some(config), Some(goal), Some(slo)) = (&self.config, self.goal, &self.slo) else {
            return Err(Failure::usage(&"CONFIG, --goal and --slo are needed, or --resume DIR"));
        };
        let config_text = fs::read_to_string(config)
            .map_err(|error| Failure::usage(&format!("cannot read the config {}: {error}", config.display())))?;
        let request = Request {
            config: config.clone(),
            config_text,
            overrides: self.overrides.clone(),
            goal,
            slo: slo.clone(),
            tolerance: self.tolerance,
            accept_send_lag: self.accept_send_lag,
        };
        Ok((request, None))
    }

    fn search(
        &self,
        space: &Space,
        plan: &Plan,
        config: &Path,
        dir: &Path,
        interrupted: &AtomicBool,
    ) -> Result<Outcome, JournalError<TrialError>> {
        let (dir, slo, quiet) = (dir.to_owned(), &plan.slo, self.quiet);
        let path = dir.join("steps.jsonl");
        let bench = Measured { space, slo, config, dir, next: 0, quiet, interrupted };
        let mut journal = Journal::open(&path, slo, bench)?;
        let done = journal.steps().len();
        journal.bench().next = done;
        if done > 0 && !self.quiet {
            progress::note(&format!("{done} runs are there already"));
        }
        search(plan, &mut journal)
    }

    fn conclude(
        &self,
        searched: Result<Outcome, JournalError<TrialError>>,
        folder: &mut Folder,
        plan: &Plan,
    ) -> Result<u8, Failure> {
        let outcome = match searched {
            Ok(outcome) => outcome,
            Err(error) => {
                let interrupted = matches!(error, JournalError::Bench(TrialError::Run(RunError::Interrupted)));
                folder.document["error"] = json!(error.to_string());
                folder
                    .write(if interrupted { "interrupted" } else { "failed" })
                    .map_err(|error| Failure::failed(&error))?;
                say(&error);
                // What is no step of this search is none when it is resumed either.
                if !matches!(error, JournalError::Differs { .. }) {
                    let dir = folder.path.display();
                    progress::note(&format!("what was measured is kept; to go on: quorumbench tune --resume {dir}"));
                }
                return Ok(exit::FAILED);
            }
        };
        folder.document["outcome"] = json!(outcome);
        folder.document["recommendation"] = json!(outcome.recommended().map(|each| each.settings.to_string()));
        folder.write("complete").map_err(|error| Failure::failed(&error))?;
        let printed = print(&if self.json {
            format!("{}\n", folder.document)
        } else {
            text::outcome(&outcome, plan, &folder.path)
        });
        Ok(match outcome.finding {
            Finding::Found { .. } | Finding::NoBetter => printed,
            Finding::NotFound { .. } => exit::SLO_MISSED,
            Finding::GeneratorLimited { .. } => exit::INVALID,
        })
    }
}

/// A search's folder, and its `tune.json`.
struct Folder {
    path: PathBuf,
    document: Json,
}

impl Folder {
    fn create(out: &Path, request: &Request, space: &Space, plan: &Plan) -> Result<Self, StoreError> {
        let (name, started) = (space.spec().name(), SystemTime::now());
        let path = results::stamped_folder(out, &format!("{name}-tune"), started)?;
        let axes: serde_json::Map<_, _> = space
            .axes
            .iter()
            .map(|(key, values)| (key.full(), values.iter().map(crate::spec::Value::to_json).collect()))
            .collect();
        let document = json!({
            "schema": TUNE_SCHEMA,
            "name": name,
            "run": path.display().to_string(),
            "command_line": std::env::args_os().map(|each| each.to_string_lossy().into_owned()).collect::<Vec<_>>(),
            "started": humantime::format_rfc3339_seconds(started).to_string(),
            "request": request,
            "axes": axes,
            "combinations": space.combinations,
            "candidates": plan.candidates.len(),
            "default": plan.default,
            "host": host::describe(),
        });
        Ok(Self { path, document })
    }

    /// Keeps others out until what it returns is dropped, or the process ends in any way.
    fn lock(&self) -> Result<File, Failure> {
        let dir = self.path.display();
        let cannot = |error: io::Error| Failure::failed(&format!("cannot lock {dir}: {error}"));
        let folder = File::open(&self.path).map_err(cannot)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(folder),
            Err(Errno::WOULDBLOCK) => {
                let why = "another `quorumbench tune` is searching there; wait for its end, or interrupt it";
                Err(Failure::failed(&format!("{dir}: {why}")))
            }
            Err(error) => Err(cannot(error.into())),
        }
    }

    /// Puts the document, with this state, in the place of what is there.
    fn write(&mut self, state: &str) -> Result<(), StoreError> {
        self.document["state"] = json!(state);
        if state != "failed" && state != "interrupted" {
            self.document.as_object_mut().map(|document| document.remove("error"));
        }
        let path = self.path.join("tune.json");
        let mut text = serde_json::to_vec_pretty(&self.document).expect("it has no keys but strings");
        text.push(b'\n');
        results::replace(&path, &text).map_err(|source| StoreError { path, source })
    }
}

/// The request of a search that has begun. On another machine, or by another build, it cannot go on: its figures would not
/// be comparable.
fn resumed(dir: &Path) -> Result<(Request, Json), Failure> {
    let path = dir.join("tune.json");
    let wrong = |why: String| {
        Failure::usage(&format!("{}: {why}; give --resume the folder that `quorumbench tune` made", path.display()))
    };
    let text = fs::read_to_string(&path).map_err(|error| wrong(format!("cannot read it: {error}")))?;
    let document: Json = serde_json::from_str(&text).map_err(|error| wrong(format!("this is no JSON: {error}")))?;
    if document["schema"] != TUNE_SCHEMA {
        return Err(wrong(format!("schema {}, and this program knows {TUNE_SCHEMA}", document["schema"])));
    }
    let request: Request =
        serde_json::from_value(document["request"].clone()).map_err(|error| wrong(error.to_string()))?;
    let now = json!({"host": host::describe()});
    let identity = |document: &Json| {
        let mut identity = fingerprint_of(document);
        identity.insert("commit".into(), document["host"]["build"]["commit"].to_string());
        identity
    };
    let (then, now) = (identity(&document), identity(&now));
    let differs = then.iter().find(|(what, value)| now.get(*what) != Some(*value));
    if let Some((what, value)) = differs {
        let now = now.get(what).map_or("unknown", String::as_str);
        let why = format!("it was begun on another machine or by another build ({what}: {value}, and now {now})");
        return Err(Failure::usage(&format!("{}: {why}; begin a new search", path.display())));
    }
    Ok((request, document))
}

fn goal(name: &str) -> Result<Goal, String> {
    Goal::named(name).ok_or_else(|| format!("there are {}", Goal::ALL.map(Goal::name).join(" and ")))
}

fn tolerance(text: &str) -> Result<f64, String> {
    let share = percent(text)?;
    if (0.01..=0.5).contains(&share) { Ok(share) } else { Err("it can be 1% to 50%".into()) }
}
