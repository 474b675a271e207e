//! `quorumbench compare`: the gate.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, TableStyle, presets};
use serde_json::{Value as Json, json};

use super::{Comparison, Design, Metric, Row, Terms, Verdict};
use crate::console::{exit, print, say};
use crate::results::{ReadError, StoredRun};

/// The version of `compare --json`.
pub const COMPARE_SCHEMA: &str = "quorumbench.compare/1";

/// Compares two runs point by point: old, new, their ratio with its 95 % interval, and whether that is better or worse.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a command line has")]
pub(crate) struct CompareArgs {
    /// The run to compare with: a folder that `quorumbench run` made
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The run to judge
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// What is compared; may be given several times. Of commands throughput, p50, p99 and cpu unless told otherwise, of
    /// gossip rounds, residue, traffic and time, of replicas that reconcile rounds-to-agree and bytes-per-update
    #[arg(long = "metric", value_name = "METRIC", value_parser = metric)]
    metrics: Vec<Metric>,
    /// A change that nobody minds
    #[arg(long, value_name = "PERCENT", default_value = THRESHOLD, value_parser = percent)]
    threshold: f64,
    /// Prints one JSON document instead of the table
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Prints a table for a pull request's comment
    #[arg(long)]
    markdown: bool,
    /// Compares runs of different machines or builds all the same
    #[arg(long)]
    across_hosts: bool,
    /// Compares what both runs have, even if the new one lacks points or figures of the base
    #[arg(long)]
    partial: bool,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench compare results/20261120T101500Z-peak results/20261121T101500Z-peak
  quorumbench compare BASE NEW --metric p99 --metric p99.9 --threshold 10%
  quorumbench compare BASE NEW --markdown > comment.md

A point is worse if three things hold at once: a Mann-Whitney test, exact and corrected over the table, says that it
differs (p < 0.05); the ratio of the medians is beyond the threshold; and its interval does not contain 1. It is `~` if
the interval lies within the threshold, and inconclusive otherwise. What `run --interleave` measured is judged by pairs,
with the signed-rank test in place of Mann and Whitney's.

Exit codes: 0 nothing is worse, 1 a run cannot be read, 2 the runs do not compare, 3 something is worse";

/// Why there is no comparison: what went wrong, and whether it was the user.
#[derive(Debug)]
pub(crate) enum CompareError {
    Read(ReadError),
    Incomparable(super::Incomparable),
}

impl std::fmt::Display for CompareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Incomparable(error) => error.fmt(f),
        }
    }
}

/// The threshold unless told otherwise, in percent.
pub(crate) const THRESHOLD: &str = "5%";

/// What two folders compare to, for a terminal, and whether anything is worse. Without `metrics`, those by default.
pub(crate) fn compared(
    [base, new]: [PathBuf; 2],
    metrics: Vec<Metric>,
    threshold: f64,
) -> Result<(String, bool), CompareError> {
    CompareArgs { base, new, metrics, threshold, json: false, markdown: false, across_hosts: false, partial: false }
        .compare()
}

impl CompareArgs {
    /// The comparison, as it was asked to be printed, and whether anything is worse.
    pub(crate) fn compare(&self) -> Result<(String, bool), CompareError> {
        let [base, new] = [&self.base, &self.new].map(|path| StoredRun::read(path).map_err(CompareError::Read));
        let (base, new) = (base?, new?);
        let by_default = || Metric::ALL.into_iter().filter(|metric| metric.by_default).collect();
        let metrics = if self.metrics.is_empty() { by_default() } else { self.metrics.clone() };
        let terms =
            Terms { metrics, threshold: self.threshold, across_hosts: self.across_hosts, partial: self.partial };
        let comparison = Comparison::of(&base, &new, &terms).map_err(CompareError::Incomparable)?;
        let text = match (self.json, self.markdown) {
            (true, _) => format!("{}\n", json_document(&comparison, &base, &new)),
            (_, true) => markdown(&comparison, &base, &new),
            _ => text(&comparison),
        };
        Ok((text, comparison.has_regressed()))
    }
}

/// Prints a comparison, if there is one. The exit code.
pub(crate) fn gate(compared: Result<(String, bool), CompareError>) -> u8 {
    match compared {
        Ok((text, regressed)) => match print(&text) {
            0 if regressed => exit::REGRESSION,
            code => code,
        },
        Err(error) => {
            say(&error);
            if matches!(error, CompareError::Incomparable(_)) { exit::USAGE } else { exit::FAILED }
        }
    }
}

/// For a terminal.
pub(crate) fn text(comparison: &Comparison) -> String {
    let mut text = format!("\n{}\n\n", table(comparison, presets::UTF8_BORDERS_ONLY));
    for note in &comparison.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text + &sentence(comparison) + "\n"
}

/// For a pull request.
fn markdown(comparison: &Comparison, base: &StoredRun, new: &StoredRun) -> String {
    let mut text = format!("### {}\n\n", sentence(comparison));
    let _ = writeln!(text, "{}\n", table(comparison, presets::ASCII_MARKDOWN));
    for note in &comparison.notes {
        let _ = writeln!(text, "- {note}");
    }
    let [base, new] = [base, new].map(|run| if run.commit.is_empty() { "unknown" } else { &run.commit });
    text + &format!("- base is commit `{base}`, new is commit `{new}`\n")
}

fn table(comparison: &Comparison, style: TableStyle) -> String {
    let axes: Vec<&String> = comparison.rows.first().map(|row| row.point.keys().collect()).unwrap_or_default();
    let mut table = Table::new();
    table.load_style(style);
    let figures = ["metric", "base", "new", "ratio", "95 % interval", "p", "runs", "verdict"];
    table.set_header(axes.iter().map(|axis| axis.as_str()).chain(figures));
    for row in &comparison.rows {
        let coordinates = axes.iter().map(|axis| Cell::new(row.point.get(*axis).map_or("", String::as_str)));
        let figures = figures_of(row).map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        let ends = [Cell::new(verdict_text(row))];
        table.add_row(coordinates.chain([Cell::new(row.metric.name)]).chain(figures).chain(ends).collect::<Vec<_>>());
    }
    table.trim_fmt()
}

fn figures_of(row: &Row) -> [String; 6] {
    let judged = &row.judged;
    let [low, high] = judged.interval;
    let [base, new] = row.repetitions;
    [
        row.metric.text(judged.base),
        row.metric.text(judged.new),
        format!("{:.3}", judged.ratio),
        if high.is_finite() { format!("{low:.3} to {high:.3}") } else { "unknown".into() },
        if judged.p < 0.001 { "<0.001".into() } else { format!("{:.3}", judged.p) },
        if base == new { base.to_string() } else { format!("{base}, {new}") },
    ]
}

fn verdict_text(row: &Row) -> String {
    let doubt = if row.doubtful { " (doubtful)" } else { "" };
    format!("{}{doubt}", row.judged.verdict)
}

/// What it comes to, in one line.
fn sentence(comparison: &Comparison) -> String {
    let count = |is: fn(Verdict) -> bool| comparison.rows.iter().filter(|row| is(row.judged.verdict)).count();
    let inconclusive = count(|verdict| matches!(verdict, Verdict::Inconclusive { .. }));
    let (better, worse) = (count(|verdict| verdict == Verdict::Better), count(|verdict| verdict == Verdict::Worse));
    let same = comparison.rows.len() - inconclusive - better - worse;
    format!("{worse} worse, {better} better, {same} the same, {inconclusive} inconclusive")
}

fn json_document(comparison: &Comparison, base: &StoredRun, new: &StoredRun) -> Json {
    let rows = comparison.rows.iter().map(|row| {
        let (name, needs) = match row.judged.verdict {
            Verdict::Better => ("better", None),
            Verdict::Worse => ("worse", None),
            Verdict::Same => ("same", None),
            Verdict::Inconclusive { needs } => ("inconclusive", Some(needs)),
        };
        json!({
            "point": row.point,
            "metric": row.metric.name,
            "repetitions": row.repetitions,
            "base": row.judged.base,
            "new": row.judged.new,
            "ratio": row.judged.ratio,
            "interval": row.judged.interval,
            "p": row.judged.p,
            "verdict": name,
            "needs_repetitions": needs,
            "doubtful": row.doubtful,
        })
    });
    let side = |run: &StoredRun| json!({"run": run.path.display().to_string(), "commit": run.commit});
    json!({
        "schema": COMPARE_SCHEMA,
        "base": side(base),
        "new": side(new),
        "test": match comparison.design {
            Design::Samples => "mann-whitney",
            Design::Pairs => "signed-rank",
        },
        "rows": rows.collect::<Vec<_>>(),
        "notes": comparison.notes,
        "regressed": comparison.has_regressed(),
    })
}

/// A metric by its name, or which there are.
pub(crate) fn metric(name: &str) -> Result<Metric, String> {
    Metric::named(name).ok_or_else(|| {
        let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name).collect();
        format!("there are {}", names.join(", "))
    })
}

/// `5%` as 0.05.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let percent = number.filter(|percent| (0.0..1000.0).contains(percent));
    percent.map(|percent| percent / 100.0).ok_or_else(|| "a share in percent is wanted, as in 5%".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_need_their_sign() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0.5 %"), Ok(0.005));
        for wrong in ["5", "-1%", "x%", "NaN%", "%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
