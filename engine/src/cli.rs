//! The command line: what may be typed, and what each of it does.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bundled;
use crate::compare::cli::{CompareArgs, gate};
use crate::console::{exit, fail, print};
use crate::doctor::cli::DoctorArgs;
use crate::drive::{self, ChildError};
use crate::export::cli::{ExportArgs, ExportError};
use crate::history::cli::HistoryArgs;
use crate::report::cli::ReportArgs;
use crate::run::cli::RunArgs;
use crate::schema::SchemaArgs;
use crate::sim::cli::SimArgs;
use crate::tune::cli::TuneArgs;

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
  quorumbench compare BASE NEW                      did it get slower?
  quorumbench history results                       since when?
  quorumbench doctor                                is this machine fit to measure on?
  quorumbench tune CONFIG --goal G --slo S          which batch, which window, which fan-out?
  quorumbench report RUN                            what does it look like?
  quorumbench list                                  what there is to measure

Exit codes: 0 done, 1 it failed, 2 bad usage or config, 3 something got worse, 4 nothing holds the SLO,
5 the run is invalid";

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Sim(SimArgs),
    Compare(CompareArgs),
    History(HistoryArgs),
    Export(ExportArgs),
    Schema(SchemaArgs),
    Doctor(DoctorArgs),
    Tune(TuneArgs),
    Report(ReportArgs),
    /// Lists protocols, transports, state machines, and the bundled configs with what each answers.
    #[command(after_help = "Examples:\n  quorumbench list")]
    List,
    /// One node of a run whose replicas and clients are processes. The run starts it
    #[command(hide = true)]
    Node,
    /// What moves the packets of a run whose links are emulated packet by packet. The run starts it
    #[command(hide = true)]
    Mover,
}

impl Cli {
    /// Does what was asked, and says how it went.
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Run(arguments) => arguments.execute(),
            Command::Sim(arguments) => arguments.execute(),
            Command::Compare(arguments) => gate(arguments.compare()).into(),
            Command::History(arguments) => match arguments.history() {
                Ok(text) => print(&text).into(),
                Err(error) => fail(exit::FAILED, &error),
            },
            Command::Export(arguments) => match arguments.export() {
                Ok(text) => print(&text).into(),
                Err(error) => {
                    let code = if matches!(error, ExportError::Usage(_)) { exit::USAGE } else { exit::FAILED };
                    fail(code, &error)
                }
            },
            Command::Schema(arguments) => print(&arguments.text()).into(),
            Command::Doctor(arguments) => print(&arguments.examine()).into(),
            Command::Tune(arguments) => arguments.execute(),
            Command::Report(arguments) => match arguments.report() {
                Ok(text) => print(&text).into(),
                Err(error) => fail(exit::FAILED, &error),
            },
            Command::List => print(&(bundled::list() + "\n")).into(),
            Command::Node => child(drive::node()),
            Command::Mover => child(drive::mover()),
        }
    }
}

/// How a process that a run has started, or should have, ended.
fn child(ended: Result<(), ChildError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(ChildError::Failed) => exit::FAILED.into(),
        Err(error) => fail(exit::USAGE, &error),
    }
}
