//! `quorumbench history`: a metric over commits.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{History, Series};
use crate::compare::Metric;
use crate::compare::cli::metric;

/// The version of `history --json`.
pub const HISTORY_SCHEMA: &str = "quorumbench.history/1";

/// Draws metrics over the runs in a folder, from the oldest to the newest, and says where they changed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HistoryArgs {
    /// Where the runs are, a folder each
    #[arg(value_name = "DIR", default_value = "results")]
    folder: PathBuf,
    /// What is drawn; may be given several times. Throughput and p99 of commands, rounds and traffic of gossip, and
    /// bytes-per-update of replicas that reconcile, unless told otherwise
    #[arg(long = "metric", value_name = "METRIC", value_parser = metric)]
    metrics: Vec<Metric>,
    /// The chance of taking noise for a change, each time that it is asked
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = chance)]
    significance: f64,
    /// Prints one JSON document instead
    #[arg(long)]
    json: bool,
    /// Takes runs of different machines or builds together all the same
    #[arg(long)]
    across_hosts: bool,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench history results
  quorumbench history results --metric p99.9 --metric cpu
  quorumbench history results --json | jq '.series[].changes'

A run is one value, the median over its repetitions. Changes are found by e-divisive means (Matteson and James 2014), which
asks of the place where two stretches differ most whether a thousand shufflings differ as much.";

const BY_DEFAULT: [&str; 5] = ["throughput", "p99", "rounds", "traffic", "bytes-per-update"];

impl HistoryArgs {
    /// What is to be printed.
    ///
    /// # Errors
    /// Why there is nothing.
    pub(crate) fn history(&self) -> Result<String, String> {
        let by_default = || BY_DEFAULT.iter().filter_map(|name| Metric::named(name)).collect();
        let metrics = if self.metrics.is_empty() { by_default() } else { self.metrics.clone() };
        let folder = self.folder.display();
        let history = History::read(&self.folder, &metrics, self.significance, self.across_hosts)
            .map_err(|error| format!("cannot read {folder}: {error}; give it the folder that runs lie in"))?;
        if history.series.is_empty() && !self.json {
            let none = format!("{folder} has no two runs of one point, with any of the metrics");
            return Err([none].into_iter().chain(history.notes).collect::<Vec<_>>().join("\nnote: "));
        }
        Ok(if self.json { format!("{}\n", document(&history)) } else { text(&history) })
    }
}

/// For a terminal.
fn text(history: &History) -> String {
    let mut text = String::new();
    for series in &history.series {
        let point: Vec<String> = series.point.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        let _ = writeln!(text, "\n{} {}  {}", series.name, point.join("/"), series.metric.name);
        let (first, last) = (&series.values[0], &series.values[series.values.len() - 1]);
        let _ = writeln!(
            text,
            "  {}  {} runs, {} to {}, now {}",
            spark(series),
            series.values.len(),
            first.started,
            last.started,
            series.metric.text(last.value)
        );
        for change in change_texts(series) {
            let _ = writeln!(text, "  {change}");
        }
    }
    text.push('\n');
    for note in &history.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let changed = history.series.iter().filter(|series| !series.changes.is_empty()).count();
    let _ = writeln!(text, "{changed} of {} series changed", history.series.len());
    text
}

/// One character a value, a change before the value that it begins with.
fn spark(series: &Series) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values = || series.values.iter().map(|value| value.value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let bar = |value: f64| match (value - low) / (high - low) {
        share if share.is_finite() => BARS[(share * 7.0).round() as usize],
        _ => BARS[3],
    };
    let mut line = String::new();
    for (place, value) in values().enumerate() {
        if series.changes.contains(&place) {
            line.push('|');
        }
        line.push(bar(value));
    }
    line
}

/// Where it changed, from which level to which, and whether that is better.
fn change_texts(series: &Series) -> impl Iterator<Item = String> {
    series.shifts().into_iter().map(|shift| {
        let at = &series.values[shift.at];
        let commit = if at.commit.is_empty() { String::new() } else { format!(" commit {}", at.commit) };
        let [from, to] = [shift.from, shift.to].map(|value| series.metric.text(value));
        let percent = (shift.ratio() - 1.0) * 100.0;
        let verdict = if shift.better { "better" } else { "worse" };
        format!("{verdict} from {}{commit}: {from} to {to} ({percent:+.1} %)", at.started)
    })
}

fn document(history: &History) -> Json {
    let series = history.series.iter().map(|series| {
        let values = series
            .values
            .iter()
            .map(|value| json!({"started": value.started, "commit": value.commit, "value": value.value}));
        let changes = series.shifts().into_iter().map(|shift| {
            let (at, commit) = (shift.at, &series.values[shift.at].commit);
            let (from, to, ratio, better) = (shift.from, shift.to, shift.ratio(), shift.better);
            json!({"at": at, "commit": commit, "from": from, "to": to, "ratio": ratio, "better": better})
        });
        json!({
            "name": series.name,
            "point": series.point,
            "metric": series.metric.name,
            "values": values.collect::<Vec<_>>(),
            "changes": changes.collect::<Vec<_>>(),
        })
    });
    json!({"schema": HISTORY_SCHEMA, "series": series.collect::<Vec<_>>(), "notes": history.notes})
}

fn chance(text: &str) -> Result<f64, String> {
    let chance = text.parse().ok().filter(|chance| (0.001..=0.5).contains(chance));
    chance.ok_or_else(|| "a chance from 0.001 to 0.5 is wanted".into())
}
