//! What a report is made from: the points of all runs by kind, and the axes in which they differ, in order.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::document::Key;
use crate::results::{
    CONVERGENCE_SCHEMA, Coordinates, EPIDEMIC_SCHEMA, POINT_SCHEMA, PointResult, StoredRun, WORLD, voids,
};
use crate::spec::{ProtocolName, Spec};

/// The axis on which runs lie, where there are several.
const RUN: &str = "run";

/// Points of one kind: of commands, of epidemics, or of replicas that reconcile.
#[derive(Debug)]
pub(super) struct Group {
    /// The axes that vary, in the order of a config.
    pub(super) axes: Vec<Varied>,
    /// In the order of the axes and their values.
    pub(super) points: Vec<Point>,
}

/// An axis that varies.
#[derive(Debug)]
pub(super) struct Varied {
    pub(super) name: String,
    /// Its values, in the order of the config.
    pub(super) values: Vec<String>,
}

/// A point of one run.
#[derive(Debug)]
pub(super) struct Point {
    /// Where it is; which run it is of is a coordinate where there are several.
    pub(super) at: Coordinates,
    /// Its repetitions, as they were stored.
    pub(super) lines: Vec<Json>,
    /// The same, where they are about commands.
    pub(super) results: Vec<PointResult>,
    /// Of which run it is.
    pub(super) run: usize,
}

/// All points, by kind.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) commands: Group,
    pub(super) epidemics: Group,
    pub(super) convergences: Group,
}

/// A line that is not what its schema says.
#[derive(Debug)]
pub struct BadLine {
    /// Of which run.
    pub run: String,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: points.jsonl has a line that is not whole: {}; was it edited?", self.run, self.source)
    }
}

impl std::error::Error for BadLine {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Material {
    /// Of these runs.
    pub(super) fn of(runs: &[StoredRun]) -> Result<Self, BadLine> {
        Ok(Self {
            commands: Group::of(runs, POINT_SCHEMA)?,
            epidemics: Group::of(runs, EPIDEMIC_SCHEMA)?,
            convergences: Group::of(runs, CONVERGENCE_SCHEMA)?,
        })
    }

    /// All points.
    pub(super) fn groups(&self) -> [&Group; 3] {
        [&self.commands, &self.epidemics, &self.convergences]
    }
}

impl Group {
    fn of(runs: &[StoredRun], schema: &str) -> Result<Self, BadLine> {
        let names = run_names(runs);
        let mut points = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            for (at, lines) in &run.points {
                if lines.iter().all(|line| line["schema"] != schema) {
                    continue;
                }
                let mut at = at.clone();
                if runs.len() > 1 {
                    at.insert(RUN.into(), names[index].clone());
                }
                let parsed = |line: &Json| serde_json::from_value::<PointResult>(line.clone());
                let results = match schema {
                    POINT_SCHEMA => lines.iter().map(parsed).collect::<Result<_, _>>(),
                    _ => Ok(Vec::new()),
                };
                let results = results.map_err(|source| BadLine { run: names[index].clone(), source })?;
                points.push(Point { at, lines: lines.clone(), results, run: index });
            }
        }
        let axes = varied(&points, runs);
        points.sort_by_key(|point| axes.iter().map(|axis| axis.rank(point)).collect::<Vec<_>>());
        Ok(Self { axes, points })
    }

    /// The points in groups of their own, by the values of those axes: each with what they have in common.
    pub(super) fn apart(&self, axes: &[&Varied]) -> Vec<(String, Vec<&Point>)> {
        let mut parts: Vec<(String, Vec<&Point>)> = Vec::new();
        let mut places: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for point in &self.points {
            let rank = axes.iter().map(|axis| axis.rank(point)).collect();
            let at = *places.entry(rank).or_insert_with(|| {
                parts.push((label(point, axes), Vec::new()));
                parts.len() - 1
            });
            parts[at].1.push(point);
        }
        parts
    }

    /// Charts to be drawn of commands, but for the axes `but`: the axes along which lines of one chart differ, and, for
    /// each chart, what its points have in common, and they. Closed loops and open ones never share a chart.
    pub(super) fn facets(&self, but: &[&str]) -> (Vec<&Varied>, Vec<(String, Vec<&Point>)>) {
        let (together, apart) = divide(&self.axes_but(but), &[WORLD]);
        let mut facets = Vec::new();
        for (label, points) in self.apart(&apart) {
            for (closed, kind) in [(false, "Open loop"), (true, "Closed loop")] {
                let points: Vec<&Point> = points.iter().copied().filter(|point| point.is_closed() == closed).collect();
                if !points.is_empty() {
                    facets.push((if label.is_empty() { kind.into() } else { format!("{kind}, {label}") }, points));
                }
            }
        }
        (together, facets)
    }

    /// The axis of this name, if it varies.
    pub(super) fn axis(&self, name: &str) -> Option<&Varied> {
        self.axes.iter().find(|axis| axis.name == name)
    }

    /// The axes that vary, but for these.
    pub(super) fn axes_but(&self, names: &[&str]) -> Vec<&Varied> {
        self.axes.iter().filter(|axis| !names.contains(&axis.name.as_str())).collect()
    }
}

impl Varied {
    /// The place of a point's value among all of them; last, where it has none.
    pub(super) fn rank(&self, point: &Point) -> usize {
        let value = point.at.get(&self.name);
        value.and_then(|value| self.values.iter().position(|each| each == value)).unwrap_or(self.values.len())
    }
}

impl Point {
    /// A coordinate, or nothing.
    pub(super) fn axis(&self, name: &str) -> &str {
        self.at.get(name).map_or("", String::as_str)
    }

    /// Whether it has a fixed number of commands in flight.
    pub(super) fn is_closed(&self) -> bool {
        self.axis("arrival") == "closed"
    }

    /// Whether each repetition was verified.
    pub(super) fn is_checked(&self) -> bool {
        self.results.iter().all(|result| result.checked)
    }

    /// Whether it is what others are read against.
    pub(super) fn is_floor(&self) -> bool {
        ProtocolName::named(self.axis("protocol")).is_some_and(ProtocolName::is_floor)
    }

    /// What each repetition has at a place in its line (RFC 6901), in their order; those that have nothing are left out.
    pub(super) fn each(&self, pointer: &str) -> Vec<f64> {
        self.lines.iter().filter_map(|line| line.pointer(pointer)?.as_f64()).collect()
    }

    /// The median of these.
    pub(super) fn median(&self, pointer: &str) -> Option<f64> {
        median(&self.each(pointer))
    }

    /// Its warnings, as they were stored, over all repetitions.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        let warnings = self.lines.iter().filter_map(|line| line.get("warnings")?.as_array()).flatten();
        warnings.filter_map(Json::as_str)
    }

    /// Why it is no measure for others: each of its repetitions' reasons, once.
    pub(super) fn doubts(&self) -> Vec<String> {
        let void = self.results.iter().any(|result| result.completed_per_s == 0.0);
        let void = void.then(|| "void: nothing was answered inside the window".to_owned());
        let mut doubts: Vec<String> = void.into_iter().collect();
        for warning in self.warnings().filter(|warning| voids(warning)) {
            let code = |warning: &str| warning.split(':').next().map(str::to_owned);
            if !doubts.iter().any(|doubt| code(doubt) == code(warning)) {
                doubts.push(warning.to_owned());
            }
        }
        doubts
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| crate::compare::statistics::median(values))
}

/// The least and the most, if there are several.
pub(super) fn range(values: &[f64]) -> Option<[f64; 2]> {
    let (least, most) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    (values.len() > 1).then_some([least, most])
}

/// `raft, replicas=3`: the coordinates on those axes, for people.
pub(super) fn label(point: &Point, axes: &[&Varied]) -> String {
    let named = |axis: &&Varied| {
        let value = point.at.get(&axis.name)?;
        Some(if SPEAK_FOR_THEMSELVES.contains(&axis.name.as_str()) {
            value.clone()
        } else {
            format!("{}={value}", axis.name)
        })
    };
    axes.iter().filter_map(named).collect::<Vec<_>>().join(", ")
}

/// Axes whose values nobody takes for those of another.
const SPEAK_FOR_THEMSELVES: [&str; 9] =
    ["protocol", "transport", RUN, WORLD, "style", "exchange", "type", "crdt_sync", "arrival"];

/// Lines of a chart by what they are called, each with the points on it, and how they look.
pub(super) fn lines<'a>(points: &[&'a Point], axes: &[&Varied]) -> (Vec<Key>, Vec<Vec<&'a Point>>) {
    let mut names: Vec<String> = Vec::new();
    let mut lines: Vec<Vec<&Point>> = Vec::new();
    for point in points {
        let name = label(point, axes);
        let at = names.iter().position(|each| *each == name).unwrap_or_else(|| {
            names.push(name);
            lines.push(Vec::new());
            lines.len() - 1
        });
        lines[at].push(point);
    }
    let mut floors = 0;
    let mut colours = 0;
    let keys = names.into_iter().zip(&lines).map(|(name, line)| {
        let next = if line[0].is_floor() { &mut floors } else { &mut colours };
        *next += 1;
        if line[0].is_floor() {
            Key { name: format!("{name} (floor)"), colour: COLOURS, dash: 1 + (*next - 1) % 2 }
        } else {
            Key { name, colour: (*next - 1) % COLOURS, dash: 0 }
        }
    });
    (keys.collect(), lines)
}

/// Colours for what is compared. One more is for what it is compared with.
pub(super) const COLOURS: usize = 8;

/// Which of `axes` make lines of one chart, and which make charts of their own: no more lines than there are colours.
/// The last axis moves out first, the protocol never.
pub(super) fn divide<'a>(axes: &[&'a Varied], always_apart: &[&str]) -> (Vec<&'a Varied>, Vec<&'a Varied>) {
    let (mut apart, mut together): (Vec<_>, Vec<_>) =
        axes.iter().copied().partition(|axis| always_apart.contains(&axis.name.as_str()));
    while together.iter().map(|axis| axis.values.len()).product::<usize>() > COLOURS {
        let last = together.iter().rposition(|axis| axis.name != "protocol" && axis.name != RUN);
        let Some(last) = last else { break };
        apart.push(together.remove(last));
    }
    (together, apart)
}

/// The axes in which points differ, with their values in the order in which the configs have them.
fn varied(points: &[Point], runs: &[StoredRun]) -> Vec<Varied> {
    let keys = Spec::keys().iter().map(|key| key.coordinate);
    let mut order: Vec<&str> = vec![WORLD, RUN];
    order.extend(keys);
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for point in points {
        for (axis, value) in &point.at {
            let known = values.entry(axis).or_default();
            if !known.contains(value) {
                known.push(value.clone());
            }
        }
    }
    let mut axes: Vec<Varied> = Vec::new();
    for (name, mut values) in values.into_iter().filter(|(_, values)| values.len() > 1) {
        let configured = configured(name, runs);
        let place = |value: &String| configured.iter().position(|each| each == value).unwrap_or(usize::MAX);
        let number = |value: &String| value.parse::<f64>().unwrap_or(f64::MAX);
        // Numbers in their own order, whatever order they were written in.
        if values.iter().all(|value| value.parse::<f64>().is_ok()) {
            values.sort_by(|a, b| number(a).total_cmp(&number(b)));
        } else {
            values.sort_by_key(place);
        }
        axes.push(Varied { name: name.to_owned(), values });
    }
    axes.sort_by_key(|axis| order.iter().position(|name| *name == axis.name).unwrap_or(usize::MAX));
    axes
}

/// The values of an axis, as the runs' configs list them.
fn configured(axis: &str, runs: &[StoredRun]) -> Vec<String> {
    let Some(key) = Spec::keys().iter().find(|key| key.coordinate == axis) else {
        return if axis == RUN { run_names(runs) } else { Vec::new() };
    };
    let pointer = if key.section.is_empty() {
        format!("/spec/{}", key.name)
    } else {
        format!("/spec/{}/{}", key.section, key.name)
    };
    let lists = runs.iter().filter_map(|run| run.manifest.pointer(&pointer));
    let plain = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    lists
        .flat_map(|list| list.as_array().map_or_else(|| vec![plain(list)], |list| list.iter().map(plain).collect()))
        .collect()
}

/// What runs are called: by their folders, or, where two have one name, by their paths.
pub(super) fn run_names(runs: &[StoredRun]) -> Vec<String> {
    let folder = |run: &StoredRun| {
        let whole = run.path.canonicalize().unwrap_or_else(|_| run.path.clone());
        whole.file_name().map_or_else(|| run.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    };
    let folders: Vec<String> = runs.iter().map(folder).collect();
    let unique = |name: &String| folders.iter().filter(|each| *each == name).count() == 1;
    let name = |(run, folder): (&StoredRun, &String)| {
        if unique(folder) { folder.clone() } else { run.path.display().to_string() }
    };
    runs.iter().zip(&folders).map(name).collect()
}
