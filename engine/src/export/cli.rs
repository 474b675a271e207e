//! `quorumbench export`: a run for another tool.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Document, Format, export};
use crate::results::{ReadError, StoredRun, replace};

/// Writes a run in the format of another tool.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The folder of a run, as `quorumbench run` names it at its end; csv, json and otava take several
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// For which tool
    #[arg(long, value_enum)]
    format: Format,
    /// Where it goes: a folder for hgrm and github-action, a file for the others. Standard output unless told otherwise
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench export results/20261120T101500Z-peak --format csv > peak.csv
  quorumbench export RUN --format benchstat > new.txt && benchstat old.txt new.txt
  quorumbench export RUN --format hgrm --out percentiles/
  quorumbench export results/*-regression --format otava --out history.csv

hgrm makes a file of each point and repetition, and github-action one where smaller is better and one where bigger is.";

/// Why nothing is exported.
#[derive(Debug)]
pub(crate) enum ExportError {
    Read(ReadError),
    /// The command line asks for what cannot be.
    Usage(String),
    Write(PathBuf, io::Error),
}

impl std::fmt::Display for ExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Usage(why) => f.write_str(why),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl ExportArgs {
    /// What is to be printed, if it does not go elsewhere.
    pub(crate) fn export(&self) -> Result<String, ExportError> {
        if self.runs.len() > 1 && !self.format.takes_several() {
            return Err(ExportError::Usage("this format holds one run: give it one RUN at a time".into()));
        }
        let runs: Result<Vec<_>, _> = self.runs.iter().map(|path| StoredRun::read(path)).collect();
        let mut runs = runs.map_err(ExportError::Read)?;
        runs.sort_by(|one, other| one.started().cmp(other.started()));
        let mut documents = export(&runs, self.format);
        match (&self.out, &documents[..]) {
            (_, []) if self.runs.len() > 1 => {
                Err(ExportError::Usage("the runs have nothing in common that this format is about".into()))
            }
            (_, []) => Err(ExportError::Usage("the run has nothing that this format is about".into())),
            (Some(path), documents) => self.write(path, documents).map(|()| String::new()),
            (None, [_]) => Ok(documents.remove(0).text),
            (None, many) => {
                Err(ExportError::Usage(format!("that makes {} files: say --out DIR where they go", many.len())))
            }
        }
    }

    /// What `path` means depends on the format alone, and never on the data.
    fn write(&self, path: &Path, documents: &[Document]) -> Result<(), ExportError> {
        let wrong = |is, wanted| {
            Err(ExportError::Usage(format!("--out {}: that is {is}, and this format wants {wanted}", path.display())))
        };
        if !self.format.makes_several() {
            let to_file = |document| if path.is_dir() { wrong("a folder", "a file") } else { write(path, document) };
            return documents.iter().try_for_each(to_file);
        }
        if path.exists() && !path.is_dir() {
            return wrong("no folder", "one");
        }
        fs::create_dir_all(path).map_err(|error| ExportError::Write(path.to_owned(), error))?;
        documents.iter().try_for_each(|document| write(&path.join(&document.name), document))
    }
}

/// Whole, or not at all.
fn write(path: &Path, document: &Document) -> Result<(), ExportError> {
    replace(path, document.text.as_bytes()).map_err(|error| ExportError::Write(path.to_owned(), error))
}
