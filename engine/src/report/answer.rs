//! The top of the page: what was asked, the answer, and whether to believe it.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::axis::trimmed;
use super::document::{Badge, Document, Level, REPORT_SCHEMA, Section};
use super::leader::leader;
use super::material::{Group, Material, Point, Varied, label, run_names};
use crate::results::{StoredRun, WORLD, voids};
use crate::summary::{self, Row, digits};

/// The document of these runs, with these sections.
pub(super) fn document(runs: &[StoredRun], material: &Material, sections: Vec<Section>) -> Document {
    Document {
        schema: REPORT_SCHEMA,
        title: run_names(runs).join(" and "),
        asked: runs.iter().map(asked).collect(),
        answer: answer(runs, material),
        badges: badges(runs, material),
        sections,
    }
}

/// The question that the config opens with, or what it varies.
fn asked(run: &StoredRun) -> String {
    let text = |key: &str| run.manifest.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let name = text("name").unwrap_or("a run");
    if let Some(question) = text("question") {
        return format!("{name}: {question}");
    }
    let varied: Vec<String> = run.axes().into_iter().filter(|axis| run.varies(axis)).map(str::to_owned).collect();
    if varied.is_empty() { format!("{name}: one point") } else { format!("{name}: over {}", varied.join(", ")) }
}

/// First what it comes to, in one sentence for each run, by its name where there are several; then the rest.
fn answer(runs: &[StoredRun], material: &Material) -> Vec<String> {
    let (mut answer, mut more) = (Vec::new(), Vec::new());
    let commands = &material.commands;
    let varied: Vec<&str> = commands.axes.iter().map(|axis| axis.name.as_str()).collect();
    for (run, name) in run_names(runs).iter().enumerate() {
        for world in ["real", "virtual"] {
            let here = |point: &&Point| point.run == run && point.axis(WORLD) == world;
            let points: Vec<&Point> = commands.points.iter().filter(here).collect();
            let rows: Vec<Row<'_>> = points.iter().map(|point| Row { runs: point.results.iter().collect() }).collect();
            let verdict = summary::verdict(&rows, &varied);
            let sentences: Vec<&str> = verdict.lines().collect();
            let all = leader(&points).filter(|_| sentences.len() > 1);
            let all = all.iter().map(String::as_str).chain(sentences);
            let mut all = all.map(|said| if runs.len() > 1 { format!("{name}: {said}") } else { said.to_owned() });
            answer.extend(all.next());
            more.extend(all);
        }
    }
    answer.extend(more);
    answer.extend(epidemics(&material.epidemics));
    answer.extend(convergences(&material.convergences));
    answer
}

/// How far epidemics got, and how soon: the fastest of those that got furthest.
fn epidemics(group: &Group) -> Option<String> {
    let figure = |point: &Point, name: &str| point.median(&format!("/epidemic/{name}/mean"));
    let rank = |point: &Point| (figure(point, "residue"), figure(point, "rounds_last"));
    // How many they are is no merit.
    let nodes = |point: &Point| point.axis("nodes").parse::<u64>().unwrap_or_default();
    let most = group.points.iter().map(nodes).max()?;
    let largest: Vec<&Point> = group.points.iter().filter(|point| nodes(point) == most).collect();
    let best =
        largest.iter().copied().min_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal))?;
    let label = label(best, &group.axes_but(&["nodes"]));
    let place = match largest.len() {
        1 => format!("Gossip among {most} nodes"),
        kinds => format!("Of {kinds} kinds of gossip among {most} nodes, {label}"),
    };
    let theory = best.median("/epidemic/theory/rounds_last");
    let theory = theory.map(|rounds| format!(" (theory: {})", figure_text(rounds))).unwrap_or_default();
    Some(format!(
        "{place} left {} % of nodes out, the last one heard in round {}{theory}, for {} updates sent a node.",
        figure_text(figure(best, "residue")? * 100.0),
        figure_text(figure(best, "rounds_last")?),
        figure_text(figure(best, "traffic")?),
    ))
}

/// What it took replicas to agree, where it took least: for each type of data, which do not compare.
fn convergences(group: &Group) -> Vec<String> {
    let types: Vec<&Varied> = group.axis("type").into_iter().collect();
    group.apart(&types).iter().filter_map(|(kind, points)| convergence(group, kind, points)).collect()
}

fn convergence(group: &Group, kind: &str, points: &[&Point]) -> Option<String> {
    let bytes = |point: &Point| point.median("/convergence/bytes/all/mean").unwrap_or(f64::MAX);
    let best = points.iter().min_by(|a, b| bytes(a).total_cmp(&bytes(b)))?;
    let label = label(best, &group.axes_but(&["type"]));
    let of = if kind.is_empty() { String::new() } else { format!("{kind}: ") };
    let place = match points.len() {
        1 => format!("{of}replicas sent"),
        ways => format!("{of}of {ways} ways, {label} sent least:"),
    };
    let rounds = best.median("/convergence/rounds/mean");
    let rounds =
        rounds.map(|rounds| format!(", and all agreed after {} rounds", figure_text(rounds))).unwrap_or_default();
    Some(format!("{place} {} bytes for an update{rounds}.", figure_text(bytes(best))))
}

/// Four digits at most, and no zeros behind them.
fn figure_text(value: f64) -> String {
    trimmed(&digits(value))
}

/// Whether to believe it.
fn badges(runs: &[StoredRun], material: &Material) -> Vec<Badge> {
    let badge = |level, text: String, why: &str| Badge { text, level, why: why.into() };
    let mut badges = Vec::new();
    let points = || material.groups().into_iter().flat_map(|group| &group.points);
    badges.extend(runs.iter().filter_map(unfinished));
    for world in points().map(|point| point.axis(WORLD)).collect::<BTreeSet<_>>() {
        let why = match world {
            "real" => "on a wall clock, on real threads",
            "virtual" => "in virtual time: it never compares with what was measured on a wall clock",
            _ => "in rounds, without any time but their number",
        };
        let text = if world == "real" { "measured".into() } else { format!("computed: {world}") };
        badges.push(badge(Level::Plain, text, why));
    }
    for closed in [false, true] {
        if material.commands.points.iter().any(|point| point.is_closed() == closed) {
            let (text, why) = if closed {
                ("closed loop", "a fixed number of commands is in flight: it finds the peak, and flatters latency")
            } else {
                ("open loop", "commands are sent on schedule, and timed from when they were meant to be sent")
            };
            badges.push(badge(Level::Plain, text.into(), why));
        }
    }
    let repetitions: BTreeSet<usize> = points().map(|point| point.lines.len()).collect();
    if let (Some(least), Some(most)) = (repetitions.first(), repetitions.last()) {
        let text = match (least, most) {
            (1, 1) => "1 repetition".into(),
            _ if least == most => format!("{least} repetitions"),
            _ => format!("{least} to {most} repetitions"),
        };
        let level = if *least < 2 { Level::Doubtful } else { Level::Plain };
        let why =
            if *least < 2 { "a single run says nothing of how far runs lie apart" } else { "each on a fresh cluster" };
        badges.push(badge(level, text, why));
    }
    if !material.commands.points.is_empty() && material.commands.points.iter().all(Point::is_checked) {
        badges.push(badge(Level::Good, "checked".into(), "all that was measured was verified to be linearizable"));
    }
    badges.extend(void(&material.commands));
    badges.extend(doubtful(&material.commands));
    if runs.iter().any(|run| run.fingerprint.get("profile").is_some_and(|profile| profile == "debug")) {
        badges.push(badge(Level::Bad, "debug build".into(), "built without optimisation: the figures say nothing"));
    }
    if runs.iter().any(|run| run.commit.ends_with("-dirty")) {
        badges.push(badge(Level::Doubtful, "uncommitted changes".into(), "the tree it was built from is in no commit"));
    }
    if runs.windows(2).any(|pair| !pair[0].differences(&pair[1]).is_empty()) {
        badges.push(badge(Level::Bad, "different hosts".into(), "runs of different machines or builds hardly compare"));
    }
    badges
}

/// How a run ended, if not as it should.
fn unfinished(run: &StoredRun) -> Option<Badge> {
    let state = run.manifest.get("state").and_then(Json::as_str).filter(|&state| state != "complete")?;
    let count = |key: &str| run.manifest.get(key).and_then(Json::as_u64).unwrap_or_default();
    let why = run.manifest.get("error").and_then(Json::as_str).unwrap_or("it did not come to its end");
    Some(Badge {
        text: format!("{state}: {} of {} points", count("finished_points"), count("planned_points")),
        level: Level::Bad,
        why: why.into(),
    })
}

/// Nothing was answered.
fn void(commands: &Group) -> Option<Badge> {
    let runs = || commands.points.iter().flat_map(|point| &point.results);
    let void = runs().filter(|result| result.completed_per_s == 0.0).count();
    (void > 0).then(|| Badge {
        text: format!("{void} of {} runs void", runs().count()),
        level: Level::Bad,
        why: "nothing was answered inside the window".into(),
    })
}

fn doubtful(commands: &Group) -> Option<Badge> {
    let runs = || commands.points.iter().flat_map(|point| &point.results);
    let doubted = runs().filter(|result| result.is_doubtful()).count();
    let codes: BTreeSet<&str> = runs()
        .flat_map(|result| &result.warnings)
        .filter(|warning| voids(warning))
        .filter_map(|warning| warning.split(':').next())
        .collect();
    let why = codes.into_iter().collect::<Vec<_>>().join(", ");
    let all = runs().count();
    (doubted > 0).then(|| Badge {
        text: format!("{doubted} of {all} runs doubtful"),
        level: if doubted < all { Level::Doubtful } else { Level::Bad },
        why: format!("{why}: they are drawn hollow, and listed below"),
    })
}
