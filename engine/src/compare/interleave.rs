//! Two builds measured in turn, on a machine that is never the same for long.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

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
    /// The user stopped it.
    Interrupted,
}

impl std::fmt::Display for InterleaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Failed { program, status } => {
                write!(f, "{}: {status}. Both builds must know everything that the config has", program.display())
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for InterleaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Failed { .. } | Self::Interrupted => None,
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
    /// How often each build measures it.
    pub repetitions: usize,
    /// The first repetition's seed; each has one of its own, and both builds the same.
    pub seed: u64,
    /// Whether the builds say how far they are.
    pub quiet: bool,
}

/// The builds' names, as their folders have them.
pub const SIDES: [&str; 2] = ["base", "new"];

/// Measures both builds, one repetition after the other, in the order base, new, new, base: neither is always the first,
/// and what drifts drifts for both. What each leaves behind is put together in `out/base` and `out/new`, as runs that
/// [compare](super::Comparison). `progress` hears which
/// run begins, from 0, and of which side it is.
///
/// # Errors
/// If a build fails, or is `interrupted`: what was finished by then is kept.
pub fn interleave(
    plan: &Interleaving<'_>,
    out: &Path,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<[PathBuf; 2], InterleaveError> {
    let sides = SIDES.map(|side| out.join(side));
    for (turn, side) in order(plan.repetitions).enumerate() {
        progress(turn, side);
        let repetition = turn / 2;
        let scratch = out.join("single-runs").join(format!("{repetition}-{}", SIDES[side]));
        let mut command = Command::new(plan.programs[side]);
        command.arg("run").arg(plan.config).arg("--out").arg(&scratch).args(plan.quiet.then_some("--quiet"));
        for set in plan.overrides {
            command.args(["--set", set]);
        }
        // The last word on a key counts.
        let seed = plan.seed.wrapping_add(repetition as u64);
        command.args(["--set", "run.repetitions=1", "--set", &format!("run.seed={seed}")]).stdout(Stdio::null());
        let status = finish(&mut command, interrupted).map_err(|source| failure(plan.programs[side], source))?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(InterleaveError::Interrupted);
        }
        if !status.success() {
            return Err(InterleaveError::Failed { program: plan.programs[side].to_owned(), status });
        }
        append(&scratch, &sides[side], repetition).map_err(|source| failure(&scratch, source))?;
    }
    Ok(sides)
}

/// Whose turn it is: base, new, new, base, and so on.
fn order(repetitions: usize) -> impl Iterator<Item = usize> {
    (0..repetitions).flat_map(|repetition| if repetition % 2 == 0 { [0, 1] } else { [1, 0] })
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

/// Adds the one run under `scratch` to those of its side.
fn append(scratch: &Path, side: &Path, repetition: usize) -> io::Result<()> {
    let run = fs::read_dir(scratch)?.next().ok_or(io::ErrorKind::NotFound)??.path();
    fs::create_dir_all(side)?;
    if repetition == 0 {
        fs::copy(run.join("manifest.json"), side.join("manifest.json"))?;
    }
    let mut lines = String::new();
    for line in fs::read_to_string(run.join("points.jsonl"))?.lines() {
        let mut line: Json = serde_json::from_str(line)?;
        line["repetition"] = repetition.into();
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    File::options().create(true).append(true).open(side.join("points.jsonl"))?.write_all(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_build_is_always_the_first() {
        assert_eq!(order(4).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 1, 1, 0]);
    }
}
