//! `quorumbench report`: its arguments, and what it prints.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{BadLine, Report};
use crate::results::{self, ReadError, StoredRun};

/// The version of `report --json`.
pub const REPORT_FILES_SCHEMA: &str = "quorumbench.report-files/1";

/// Where the report of a run is, in its folder.
const FILE: &str = "report.html";

/// Draws runs as one HTML file that needs no network: several runs stand side by side.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportArgs {
    /// Folders that `quorumbench run` made
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where the page goes; report.html in the first RUN's folder unless told otherwise
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draws the charts as SVG too, a file each, into this folder, in place of those of an earlier report
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Prints what was written as one JSON document
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench report results/20261120T101500Z-peak
  quorumbench report BEFORE AFTER --out before-after.html
  quorumbench report results/20261120T101500Z-peak --svg charts

`quorumbench run` writes the report of its own run by itself.";

/// Why there is no report.
#[derive(Debug)]
pub(crate) enum ReportError {
    Read(ReadError),
    Line(BadLine),
    Empty(Vec<PathBuf>),
    Write(PathBuf, io::Error),
}

impl std::fmt::Display for ReportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Line(error) => error.fmt(f),
            Self::Empty(runs) => {
                let runs = runs.iter().map(|run| run.display().to_string()).collect::<Vec<_>>().join(", ");
                write!(f, "{runs}: there is no point yet, so there is nothing to draw")
            }
            Self::Write(path, source) => {
                write!(f, "cannot write {}: {source}; choose another place with --out or --svg", path.display())
            }
        }
    }
}

impl ReportArgs {
    /// Writes what was asked for, and says where it is.
    pub(crate) fn report(&self) -> Result<String, ReportError> {
        let report = read(&self.runs)?;
        let page = self.out.clone().unwrap_or_else(|| self.runs[0].join(FILE));
        write(&report, &page)?;
        let (charts, removed) = match &self.svg {
            Some(folder) => (write_charts(&report, folder)?, remove_stale(&report, folder)?),
            None => (Vec::new(), Vec::new()),
        };
        if self.json {
            let path = |path: &PathBuf| path.display().to_string();
            let document = json!({
                "schema": REPORT_FILES_SCHEMA,
                "page": path(&page),
                "charts": charts.iter().map(path).collect::<Vec<_>>(),
                "removed": removed.iter().map(path).collect::<Vec<_>>(),
            });
            return Ok(format!("{document}\n"));
        }
        let mut text = format!("Report: {}\n", page.display());
        for chart in &charts {
            let _ = writeln!(text, "Chart: {}", chart.display());
        }
        for chart in &removed {
            let _ = writeln!(text, "Removed, as an earlier report's: {}", chart.display());
        }
        Ok(text)
    }
}

/// Writes the report of a run into its folder. Where it is.
pub(crate) fn beside(run: &Path) -> Result<PathBuf, ReportError> {
    let page = run.join(FILE);
    write(&read(&[run.to_owned()])?, &page)?;
    Ok(page)
}

fn read(runs: &[PathBuf]) -> Result<Report, ReportError> {
    let stored: Vec<_> =
        runs.iter().map(|run| StoredRun::read(run)).collect::<Result<_, _>>().map_err(ReportError::Read)?;
    if stored.iter().all(|run| run.points.is_empty()) {
        return Err(ReportError::Empty(runs.to_vec()));
    }
    Report::of(&stored).map_err(ReportError::Line)
}

/// A file a chart, in a folder that is made if it is not there.
fn write_charts(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let charts = report.charts().into_iter().map(|(name, svg)| {
        let path = folder.join(format!("{name}.svg"));
        results::replace(&path, svg.as_bytes()).map_err(failed(&path)).map(|()| path)
    });
    charts.collect()
}

/// Removes what an earlier report has drawn into this folder and this one has not. Which files.
fn remove_stale(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let ours: Vec<String> = report.charts().into_iter().map(|(name, _)| name).collect();
    let mut stale = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".svg"));
        if name.is_some_and(|name| Report::is_name_of_chart(name) && ours.iter().all(|each| each != name)) {
            fs::remove_file(&path).map_err(failed(&path))?;
            stale.push(path);
        }
    }
    stale.sort();
    Ok(stale)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ReportError + use<> {
    let path = path.to_owned();
    move |source| ReportError::Write(path, source)
}

fn write(report: &Report, page: &Path) -> Result<(), ReportError> {
    report.write(page).map_err(|source| ReportError::Write(page.to_owned(), source))
}
