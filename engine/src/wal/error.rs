//! What can be wrong with a log: which file, which byte, and what was expected there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorumbench_protocols::Lsn;

/// Why a node cannot use its log, or not any more. It must not take part.
#[derive(Clone, Debug)]
pub struct WalError {
    /// The file or directory.
    pub file: PathBuf,
    /// The byte of it, where it is about one.
    pub at: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a log.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A new log was to begin where there is one.
    Occupied,
    /// There is no log.
    Missing,
    /// It is another node's, another run's, or of another version.
    Foreign {
        /// Of what another one.
        what: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// What no crash leaves behind.
    Corrupt(String),
    /// Records that were acknowledged cannot be read.
    Lost {
        /// What stands where they should be.
        damage: &'static str,
        /// The last record that can be read.
        ends: Lsn,
        /// The last one that was acknowledged, as far as the log itself knows.
        acknowledged: Lsn,
    },
    /// The system refused.
    Io {
        /// What was tried.
        doing: String,
        /// What it said.
        error: Arc<io::Error>,
    },
}

impl WalError {
    pub(super) fn new(file: &Path, at: Option<u64>, problem: Problem) -> Self {
        Self { file: file.to_owned(), at, problem }
    }

    pub(super) fn corrupt(file: &Path, at: u64, what: impl Into<String>) -> Self {
        Self::new(file, Some(at), Problem::Corrupt(what.into()))
    }

    /// Makes an error of what the system said of `file` while it was `doing` something.
    pub(super) fn io(file: &Path, doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::new(file, None, Problem::Io { doing: doing.into(), error: Arc::new(error) })
    }
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, ", byte {at}")?;
        }
        match &self.problem {
            Problem::Occupied => write!(f, ": there is a log already; a new one needs an empty directory"),
            Problem::Missing => write!(f, ": there is no log"),
            Problem::Foreign { what, found, expected } => {
                write!(f, ": this log is of another {what}: {found}, where {expected} was expected")
            }
            Problem::Corrupt(what) => write!(f, ": {what}; no crash leaves that behind, the node must not take part"),
            Problem::Lost { damage, ends, acknowledged } => write!(
                f,
                ": {damage}; the log can be read up to record {ends}, but {acknowledged} had been acknowledged: \
                 the node must not take part"
            ),
            Problem::Io { doing, error } => write!(f, ": {doing}: {error}"),
        }
    }
}

impl From<WalError> for io::Error {
    /// Of the kind that the system gave it, if that was it.
    fn from(error: WalError) -> Self {
        let kind = match &error.problem {
            Problem::Io { error, .. } => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for WalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
