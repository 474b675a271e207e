//! `quorumbench doctor`: the findings, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Finding, Level, examine, try_out};
use crate::host::{self, Root};
use crate::results;

/// The version of `doctor --json`.
pub const DOCTOR_SCHEMA: &str = "quorumbench.doctor/1";

/// Looks whether this machine is fit to measure on: what it found, what that costs, and what to type.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Where durable logs would be
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Only what the machine says of itself, in a few milliseconds: no sync, no ring, no cores tried
    #[arg(long)]
    quick: bool,
    /// Prints one JSON document instead of the list
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench doctor
  quorumbench doctor --path results --json | jq '.findings[] | select(.level == \"warn\")'
  quorumbench doctor --quick

It changes nothing. A run looks too: it says what has to do with its experiment, and keeps all of it in its manifest.

Exit codes: 0 it has looked, whatever it found, 2 bad usage";

impl DoctorArgs {
    /// What it found, as it was asked to be printed.
    pub(crate) fn examine(&self) -> String {
        let root = Root::default();
        let mut findings = examine(&root, &self.path);
        if !self.quick {
            findings.extend(try_out(&root, &self.path));
        }
        let host = host::describe();
        let fingerprint = results::fingerprint_of(&json!({ "host": host }));
        if self.json {
            format!("{}\n", document(&findings, &host, &fingerprint))
        } else {
            text(&findings, &fingerprint)
        }
    }
}

/// What `--json` prints.
fn document(findings: &[Finding], host: &Json, fingerprint: &BTreeMap<String, String>) -> Json {
    json!({
        "schema": DOCTOR_SCHEMA,
        "fingerprint": results::fingerprint_hash(fingerprint),
        "fingerprint_of": fingerprint,
        "host": host,
        "findings": findings,
    })
}

/// For a terminal: the worst first, each with what it costs and what to type.
fn text(findings: &[Finding], fingerprint: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let titles = [
        (Level::Warn, "Worse because of it"),
        (Level::Note, "Good to know"),
        (Level::Unknown, "Not known here"),
        (Level::Ok, "As it should be"),
    ];
    for (level, title) in titles {
        let of_level: Vec<&Finding> = findings.iter().filter(|finding| finding.level == level).collect();
        if of_level.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:");
        for finding in of_level {
            let _ = writeln!(text, "  {:<22} {}", finding.check, finding.what);
            for (name, words) in [("costs", &finding.cost), ("do", &finding.todo)] {
                if !words.is_empty() {
                    let _ = writeln!(text, "  {:<22}   {name}: {words}", "");
                }
            }
        }
        text.push('\n');
    }
    let hash = results::fingerprint_hash(fingerprint);
    let _ = writeln!(text, "{}", sentence(findings));
    let _ =
        writeln!(text, "Fingerprint: {hash}. `quorumbench compare` refuses runs where what both looked at differs.");
    text
}

/// What it comes to, in one line.
fn sentence(findings: &[Finding]) -> String {
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (warn, note, unknown) = (count(Level::Warn), count(Level::Note), count(Level::Unknown));
    format!(
        "Of {} checks, {warn} warn, {note} are good to know, and {unknown} found nothing to look at.",
        findings.len()
    )
}

/// The findings that a run says itself: one short line each.
pub(crate) fn lines<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<String> {
    findings.into_iter().map(|finding| format!("{}: {}", finding.check, finding.what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_says_what_to_do() {
        let findings = [
            Finding::ok("a.fine", "all is well"),
            Finding::warn("b.bad", "it is slow").costs("time").todo("make it fast"),
        ];
        let text = text(&findings, &BTreeMap::new());
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in {text}"));
        assert!(at("b.bad") < at("costs: time") && at("do: make it fast") < at("a.fine"), "{text}");
        assert!(text.contains("Of 2 checks, 1 warn, 0 are good to know, and 0 found nothing"));
    }
}
