//! The single runs of one build, put together as if they were one run.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::{INTERLEAVED, Interleaving};
use crate::results::{Ending, replace};

/// A run that grows by whole runs of one point and repetition.
#[derive(Debug)]
pub(super) struct Side {
    path: PathBuf,
    /// What the whole is, whatever its parts say of themselves.
    whole: Map<String, Json>,
    /// The whole's, once there is a part.
    manifest: Json,
    /// How many lines `points.jsonl` has.
    finished: usize,
    /// When its log begins, in seconds since 1970.
    start: f64,
}

impl Side {
    /// A run at `path`, one of two that share the name `pairing`. There is nothing of it until something is added.
    pub(super) fn new(path: PathBuf, pairing: &str, plan: &Interleaving<'_>) -> Self {
        let whole = [
            (INTERLEAVED, json!(pairing)),
            ("command_line", json!(plan.command_line)),
            ("varied", json!(plan.varied)),
            ("planned_points", json!(plan.points.len() * plan.repetitions)),
        ];
        let whole = whole.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        Self { path, whole, manifest: Json::Null, finished: 0, start: 0.0 }
    }

    /// Adds the run that a build has left at `run`.
    pub(super) fn add(&mut self, run: &Path, repetition: usize, plan: &Interleaving<'_>) -> io::Result<()> {
        let manifest: Json = serde_json::from_str(&fs::read_to_string(run.join("manifest.json"))?)?;
        if self.finished == 0 {
            fs::create_dir_all(&self.path)?;
            self.manifest = self.of_all(manifest, plan);
        } else {
            add_findings(&mut self.manifest, &manifest);
        }
        self.append("intervals.csv", &self.intervals(&optional(&run.join("intervals.csv"))?, repetition))?;
        let log = self.log(&optional(&run.join("latency.hlog"))?);
        self.append("latency.hlog", &log)?;
        let mut points = String::new();
        for line in fs::read_to_string(run.join("points.jsonl"))?.lines() {
            let mut line: Json = serde_json::from_str(line)?;
            line["repetition"] = repetition.into();
            let _ = writeln!(points, "{line}");
        }
        self.append("points.jsonl", &points)?;
        self.finished += points.lines().count();
        self.write_manifest("running")
    }

    /// Says how it ended, and `why` if that is not as it should.
    pub(super) fn end(&mut self, ending: Ending, why: Option<String>) -> io::Result<()> {
        if self.finished == 0 {
            return Ok(());
        }
        if let Some(why) = why {
            self.manifest["error"] = why.into();
        }
        self.write_manifest(ending.name())
    }

    /// The manifest of the first part as that of all.
    fn of_all(&self, mut manifest: Json, plan: &Interleaving<'_>) -> Json {
        self.whole.iter().for_each(|(key, value)| manifest[key] = value.clone());
        if let Some(run) = manifest.pointer_mut("/spec/run").and_then(Json::as_object_mut) {
            run.insert("repetitions".into(), plan.repetitions.into());
            run.insert("seed".into(), plan.seed.into());
        }
        // They are from the start to the end of one part, and no sum of them says what lies between.
        if let Some(doctor) = manifest.get_mut("doctor").and_then(Json::as_object_mut) {
            doctor.remove("deltas");
        }
        manifest
    }

    fn write_manifest(&mut self, state: &str) -> io::Result<()> {
        self.manifest["state"] = state.into();
        self.manifest["finished_points"] = self.finished.into();
        replace(&self.path.join("manifest.json"), format!("{:#}\n", self.manifest).as_bytes())
    }

    /// A part's seconds, with the number and the repetition that the point has here; the columns' names once.
    fn intervals(&self, text: &str, repetition: usize) -> String {
        let mut lines = text.lines();
        let head = lines.next().filter(|_| self.finished == 0).map(|head| format!("{head}\n")).unwrap_or_default();
        let line = |line: &str| {
            let mut fields = line.splitn(3, ',');
            let index = self.finished + fields.next()?.parse::<usize>().ok()?;
            Some(format!("{index},{repetition},{}\n", fields.nth(1)?))
        };
        head + &lines.filter_map(line).collect::<String>()
    }

    /// A part's histograms, counted from where the first part began.
    fn log(&mut self, text: &str) -> String {
        let start = text.lines().find_map(|line| line.strip_prefix("#[StartTime: ")?.split(' ').next()?.parse().ok());
        if self.finished == 0 {
            self.start = start.unwrap_or_default();
            return text.to_owned();
        }
        let later = start.unwrap_or(self.start) - self.start;
        let line = |line: &str| {
            let (tag, rest) = line.split_once(',').filter(|_| line.starts_with("Tag="))?;
            let (from, rest) = rest.split_once(',')?;
            Some(format!("{tag},{:.3},{rest}\n", from.parse::<f64>().ok()? + later))
        };
        text.lines().filter_map(line).collect()
    }

    fn append(&self, name: &str, text: &str) -> io::Result<()> {
        File::options().create(true).append(true).open(self.path.join(name))?.write_all(text.as_bytes())
    }
}

/// What was found at a later part, and not before.
fn add_findings(of_all: &mut Json, run: &Json) {
    let found = |manifest: &'_ Json| manifest.pointer("/doctor/findings").and_then(Json::as_array).cloned();
    let (Some(known), Some(found)) = (found(of_all), found(run)) else { return };
    let is_new = |finding: &Json| known.iter().all(|known| known["check"] != finding["check"]);
    let more: Vec<Json> = found.into_iter().filter(is_new).collect();
    of_all["doctor"]["findings"] = known.iter().cloned().chain(more).collect();
}

/// A file that older builds do not write.
fn optional(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}
