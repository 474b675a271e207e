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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn what_happened_is_said_where_it_matters() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |stat: &str, snmp: &str| {
            std::fs::create_dir_all(folder.path().join("proc/net")).expect("a folder");
            std::fs::write(folder.path().join("proc/stat"), stat).expect("written");
            std::fs::write(folder.path().join("proc/net/snmp"), snmp).expect("written");
        };
        let points = |transport: &str| {
            let text = format!("name = 'x'\ncluster.transport = '{transport}'");
            Spec::parse(&text, "x.toml", &[]).expect("a config").points()
        };
        let root = Root::at(folder.path());
        for (transport, expected) in [("mem", vec!["steal"]), ("uring", vec!["steal", "retransmits"]), ("sim", vec![])]
        {
            write("cpu  0 0 0 0 0 0 0 0", "Tcp: OutSegs RetransSegs InErrs\nTcp: 0 0 0\n");
            let watch = Watch { before: Counts::read(&root), findings: Vec::new(), root: root.clone() };
            write("cpu  50 0 0 0 0 0 0 50", "Tcp: OutSegs RetransSegs InErrs\nTcp: 1000 100 0\n");
            let (document, doubts) = watch.end(&points(transport), [].into_iter(), [64.0, 300.0].into_iter());
            let checks: Vec<_> =
                doubts.iter().filter_map(|line| line.strip_prefix("during.")?.split(':').next()).collect();
            assert_eq!(checks, expected, "{transport}");
            assert_eq!(document["deltas"]["steal_share"], 0.5);
            let all: Vec<Finding> = serde_json::from_value(document["findings"].clone()).expect("findings");
            let checks: Vec<_> = all.iter().map(|finding| (finding.check.as_str(), finding.level)).collect();
            assert!(checks.contains(&("cpu.distance", Level::Warn)), "the worst of its cores: {checks:?}");
            assert!(checks.contains(&("during.retransmits", Level::Warn)), "the manifest has all: {checks:?}");
        }
    }
}
