//! The doctor at a run: what was found before, what happened during it, and what it has measured anyhow.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::{Counts, Deltas, Finding, Level, cli, cpu, disk, examine};
use crate::disk::Disk;
use crate::host::Root;
use crate::spec::Point;

/// Watches the machine from the start of a run to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    root: Root,
    findings: Vec<Finding>,
    before: Counts,
}

impl Watch {
    /// Looks, and begins to count. Nothing is tried that takes a moment: what this run needs it will try itself.
    pub(crate) fn begin(folder: &Path) -> Self {
        let root = Root::default();
        Self { findings: examine(&root, folder), before: Counts::read(&root), root }
    }

    /// For the manifest, at the start.
    pub(crate) fn findings(&self) -> Json {
        json!({ "findings": self.findings })
    }

    /// A line for each finding that has to do with any of `points`.
    pub(crate) fn lines(&self, points: &[Point]) -> Vec<String> {
        cli::lines(of_concern(&self.findings, points))
    }

    /// It is over. For the manifest: all findings, those of what the run itself has measured among them, and the deltas.
    /// For people: what happened meanwhile that puts it in doubt.
    pub(crate) fn end<'a>(
        mut self,
        points: &[Point],
        disks: impl Iterator<Item = &'a Disk>,
        round_trips_ns: impl Iterator<Item = f64>,
    ) -> (Json, Vec<String>) {
        self.findings.extend(disks.map(disk::judge));
        self.findings.extend(round_trips_ns.reduce(f64::max).map(cpu::distance));
        let deltas = Deltas::between(&self.before, &Counts::read(&self.root));
        let during = deltas.findings();
        let doubts = cli::lines(of_concern(&during, points));
        self.findings.extend(during);
        (json!({ "findings": self.findings, "deltas": deltas }), doubts)
    }
}

fn of_concern<'a>(findings: &'a [Finding], points: &[Point]) -> impl Iterator<Item = &'a Finding> {
    let concerned = |finding: &&Finding| points.iter().any(|point| finding.touches.concerns(point));
    findings.iter().filter(|finding| finding.level == Level::Warn).filter(concerned).collect::<Vec<_>>().into_iter()
}
