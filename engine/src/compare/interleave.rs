//! Two builds measured in turn, on a machine that is never the same for long.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal, test_kill_process};
use side::Side;

use crate::console::exit::{INVALID, USAGE};
use crate::results::Ending;

mod side;

/// Why two builds could not be measured in turn.
#[derive(Debug)]
pub enum InterleaveError {
    /// A build did not start, or its results could not be read or put together.
    File {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A build ended with an error, which it has said itself.
    Failed {
        /// Which.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// A build answered nothing inside the window.
    Invalid {
        /// Which, of [`SIDES`].
        side: &'static str,
    },
    /// A program ended as it should, and has measured nothing.
    NoRun {
        /// Which.
        program: PathBuf,
    },
    /// The user stopped it.
    Interrupted,
}

impl std::fmt::Display for InterleaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Failed { program, status } if status.code() == Some(USAGE.into()) => {
                write!(f, "{}: {status}. Both builds must know everything that the config has", program.display())
            }
            Self::Failed { program, status } => write!(f, "{}: {status}", program.display()),
            Self::Invalid { side } => {
                write!(
                    f,
                    "invalid: the {side} build answered nothing inside the window, so there is nothing to compare"
                )
            }
            Self::NoRun { program } => {
                write!(f, "{}: it left no run. Is it a build of quorumbench?", program.display())
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for InterleaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What is to be measured in turn.
#[derive(Clone, Debug)]
pub struct Interleaving<'a> {
    /// The two builds, the base first.
    pub programs: [&'a Path; 2],
    /// The experiment.
    pub config: &'a Path,
    /// What of it is overridden.
    pub overrides: &'a [String],
    /// Which of its points, by the numbers that `run --dry-run` gives them.
    pub points: &'a [usize],
    /// How often each build measures them.
    pub repetitions: usize,
    /// The first repetition's seed; each has one of its own, and both builds the same.
    pub seed: u64,
    /// The axes on which its points differ.
    pub varied: &'a [&'a str],
    /// What was typed, for the manifests.
    pub command_line: &'a [String],
    /// Whether the builds say how far they are.
    pub quiet: bool,
}

/// What a manifest says of runs whose repetitions are pairs: by what name, which both sides share.
pub(super) const INTERLEAVED: &str = "interleaved";

/// The builds' names, as their folders have them.
pub const SIDES: [&str; 2] = ["base", "new"];

impl Interleaving<'_> {
    /// How many runs that makes.
    pub fn turns(&self) -> usize {
        2 * self.points.len() * self.repetitions
    }
}

/// Measures both builds, point by point, in the order base, new, new, base: neither is always the first, what drifts
/// drifts for both, and the two runs that make a pair are neighbours. What each leaves behind is put together in
/// `out/base` and `out/new`, as runs that [compare](super::Comparison) pair by pair. `progress` hears which run begins,
/// from 0, and of which side it is.
///
/// # Errors
/// If a build fails, leaves nothing, answers nothing, or is `interrupted`: what was finished by then is kept.
pub fn interleave(
    plan: &Interleaving<'_>,
    out: &Path,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<[PathBuf; 2], InterleaveError> {
    let paths = SIDES.map(|side| out.join(side));
    let pairing = out.file_name().unwrap_or_default().to_string_lossy();
    let mut sides = paths.clone().map(|path| Side::new(path, &pairing, plan));
    let measured = measure(plan, out, &mut sides, interrupted, progress);
    let (ending, why) = match &measured {
        Ok(()) => (Ending::Complete, None),
        Err(error @ InterleaveError::Interrupted) => (Ending::Interrupted, Some(error.to_string())),
        Err(error) => (Ending::Failed, Some(error.to_string())),
    };
    let ended = sides
        .iter_mut()
        .zip(&paths)
        .try_for_each(|(side, path)| side.end(ending, why.clone()).map_err(|source| failure(path, source)));
    measured.and(ended).map(|()| paths)
}

fn measure(
    plan: &Interleaving<'_>,
    out: &Path,
    sides: &mut [Side; 2],
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), InterleaveError> {
    for (turn, [repetition, point, side]) in order(plan.points, plan.repetitions).enumerate() {
        progress(turn, side);
        let scratch = out.join("single-runs").join(format!("{repetition}-{point}-{}", SIDES[side]));
        let mut command = Command::new(plan.programs[side]);
        command.arg("run").arg(plan.config).arg("--out").arg(&scratch).args(plan.quiet.then_some("--quiet"));
        for set in plan.overrides {
            command.args(["--set", set]);
        }
        // The last word on a key counts.
        let seed = plan.seed.wrapping_add(repetition as u64);
        command.args(["--point", &point.to_string()]).env(CONDUCTOR, process::id().to_string());
        command.args(["--set", "run.repetitions=1", "--set", &format!("run.seed={seed}")]).stdout(Stdio::null());
        let status = finish(&mut command, interrupted).map_err(|source| failure(plan.programs[side], source))?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(InterleaveError::Interrupted);
        }
        let program = || plan.programs[side].to_owned();
        if status.code() == Some(INVALID.into()) {
            return Err(InterleaveError::Invalid { side: SIDES[side] });
        }
        if !status.success() {
            return Err(InterleaveError::Failed { program: program(), status });
        }
        let run = run_under(&scratch).map_err(|source| failure(&scratch, source))?;
        let run = run.ok_or_else(|| InterleaveError::NoRun { program: program() })?;
        sides[side].add(&run, repetition, plan).map_err(|source| failure(&run, source))?;
    }
    Ok(())
}

/// Where a build that is measured in turn is told by which process.
const CONDUCTOR: &str = "QUORUMBENCH_INTERLEAVED_BY";

/// Lets this run end as if it was told to when its parent is gone, however that went, if that measures it in turn with
/// another build. Call it when signals are listened for.
///
/// # Errors
/// The kernel's; also that it is gone already.
pub fn end_with_conductor() -> io::Result<()> {
    let conductor = env::var(CONDUCTOR).ok().and_then(|process| Pid::from_raw(process.parse().ok()?));
    let Some(conductor) = conductor else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    match test_kill_process(conductor) {
        Err(gone @ Errno::SRCH) => Err(gone.into()),
        _ => Ok(()),
    }
}

/// Repetition, point and side of each run: of each point base, new, new, base, and so on.
fn order(points: &[usize], repetitions: usize) -> impl Iterator<Item = [usize; 3]> {
    let pairs = (0..repetitions)
        .flat_map(move |repetition| (0..).zip(points).map(move |(place, &point)| [repetition, place, point]));
    pairs.flat_map(|[repetition, place, point]| {
        let first = (repetition + place) % 2;
        [[repetition, point, first], [repetition, point, 1 - first]]
    })
}

fn failure(path: &Path, source: io::Error) -> InterleaveError {
    InterleaveError::File { path: path.to_owned(), source }
}

/// Runs it to its end. A build that is stopped keeps what it has finished, so it is asked, and waited for.
fn finish(command: &mut Command, interrupted: &AtomicBool) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if !asked && interrupted.load(Ordering::Relaxed) {
            asked = true;
            if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                kill_process(pid, Signal::TERM)?;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The one run that a build has left under `scratch`, if it has.
fn run_under(scratch: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_dir(scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        runs => runs?.next().map(|run| run.map(|run| run.path())).transpose(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_build_is_always_the_first() {
        let of = |point: usize| order(&[3, 5], 4).filter(|run| run[1] == point).map(|run| run[2]).collect::<Vec<_>>();
        assert_eq!((of(3), of(5)), (vec![0, 1, 1, 0, 0, 1, 1, 0], vec![1, 0, 0, 1, 1, 0, 0, 1]));
        assert_eq!(order(&[3, 5], 1).collect::<Vec<_>>(), [[0, 3, 0], [0, 3, 1], [0, 5, 1], [0, 5, 0]]);
    }
}
