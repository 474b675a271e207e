//! What a search has asked and was told, so that it can be asked again after an interruption.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::slo::Verdict;
use super::{Bench, Observation, Slo, Trial};

/// A line of `steps.jsonl`: one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which, from 0.
    pub step: usize,
    /// What was asked.
    #[serde(flatten)]
    pub trial: Trial,
    /// What follows from the answer.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The answer.
    pub seen: Observation,
    /// The folder in the search's own that has the run's.
    pub run: String,
}

/// Where a step's run goes, in the search's folder.
pub(super) fn run_folder(step: usize) -> String {
    format!("runs/{step:04}")
}

/// A bench whose answers are kept: what was asked before is not measured again.
#[derive(Debug)]
pub struct Journal<'a, B> {
    bench: B,
    slo: &'a Slo,
    path: PathBuf,
    file: File,
    steps: Vec<Step>,
    /// The step that is asked for next.
    next: usize,
}

/// Why a search could not go on.
#[derive(Debug)]
pub enum JournalError<E> {
    /// The bench's reason.
    Bench(E),
    /// The journal could not be read or written.
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal is of another search.
    Differs {
        /// Which file.
        path: PathBuf,
        /// In which line, from 1.
        line: usize,
    },
}

impl<E: std::fmt::Display> std::fmt::Display for JournalError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bench(error) => error.fmt(f),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Differs { path, line } => write!(
                f,
                "{}:{line}: this is no step of this search, so it cannot go on: was it edited? Begin a new search",
                path.display()
            ),
        }
    }
}

impl<E: std::fmt::Debug + std::fmt::Display> std::error::Error for JournalError<E> {}

impl<'a, B: Bench> Journal<'a, B> {
    /// A journal in the file at `path`, which goes on if it is there.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something else.
    pub fn open(path: &Path, slo: &'a Slo, bench: B) -> Result<Self, JournalError<B::Error>> {
        let failed = |source| JournalError::File { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(failed)?,
        };
        // A line that was not finished was not told to anybody.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut steps = Vec::new();
        for (index, line) in text[..whole].lines().enumerate() {
            let step: Option<Step> = serde_json::from_str(line).ok().filter(|step: &Step| step.step == index);
            steps.push(step.ok_or_else(|| JournalError::Differs { path: path.to_owned(), line: index + 1 })?);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
        Ok(Self { bench, slo, path: path.to_owned(), file, steps, next: 0 })
    }

    /// The steps so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What answers what was not asked before.
    pub fn bench(&mut self) -> &mut B {
        &mut self.bench
    }

    fn keep(&mut self, step: &Step) -> io::Result<()> {
        let mut line = serde_json::to_vec(step)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

impl<B: Bench> Bench for Journal<'_, B> {
    type Error = JournalError<B::Error>;

    fn measure(&mut self, trial: &Trial) -> Result<Observation, Self::Error> {
        let index = self.next;
        self.next += 1;
        if let Some(step) = self.steps.get(index) {
            let differs = || JournalError::Differs { path: self.path.clone(), line: index + 1 };
            return (step.trial == *trial).then(|| step.seen.clone()).ok_or_else(differs);
        }
        let seen = self.bench.measure(trial).map_err(JournalError::Bench)?;
        let verdict = self.slo.verdict(&seen);
        let step = Step { step: index, trial: trial.clone(), verdict, seen: seen.clone(), run: run_folder(index) };
        self.keep(&step).map_err(|source| JournalError::File { path: self.path.clone(), source })?;
        self.steps.push(step);
        Ok(seen)
    }
}
