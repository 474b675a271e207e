//! A run as it lies on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::{CONVERGENCE_SCHEMA, EPIDEMIC_SCHEMA, POINT_SCHEMA};

/// The lines of a run, by point.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// Its folder.
    pub path: PathBuf,
    /// What the whole run has in common: `manifest.json`.
    pub manifest: Json,
    /// By the point's coordinates: the lines of its repetitions, in their order.
    pub points: BTreeMap<Coordinates, Vec<Json>>,
    /// What makes its figures comparable with another's: by name, what the host and the build were.
    pub fingerprint: BTreeMap<String, String>,
    /// From which commit it was built; empty if unknown.
    pub commit: String,
}

/// A point's coordinates: by axis, what the config has, as JSON.
pub type Coordinates = BTreeMap<String, String>;

/// A run that cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// A file of it cannot be.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    Content {
        /// Which.
        path: PathBuf,
        /// In which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())?;
                if source.kind() == io::ErrorKind::NotFound {
                    write!(f, "; give it the folder of a run, as `quorumbench run` names it at its end")?;
                }
                Ok(())
            }
            Self::Content { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Content { .. } => None,
        }
    }
}

/// What of a host's description has to be the same. Its name may differ: one machine of a cloud is as good as the next
/// of its kind, and a container has another name each time.
const FINGERPRINT: [&str; 17] = [
    "/host/cpu",
    "/host/cores",
    "/host/memory_kib",
    "/host/machine",
    "/host/kernel",
    "/host/virtual_machine",
    "/host/governor",
    "/host/clocksource",
    "/host/tcp_congestion_control",
    "/host/tuning/turbo",
    "/host/tuning/smt",
    "/host/tuning/isolated_cores",
    "/host/tuning/transparent_hugepages",
    "/host/tuning/idle_exit_us",
    "/host/tuning/idle_limit_us",
    "/host/tuning/mitigations",
    "/host/build/profile",
];

/// What makes the figures of a run comparable with another's, by name, of its manifest. What was not looked at is absent.
pub(crate) fn fingerprint_of(manifest: &Json) -> BTreeMap<String, String> {
    let found = |pointer: &&str| Some((pointer.rsplit('/').next()?.to_owned(), plain(manifest.pointer(pointer)?)));
    FINGERPRINT.iter().filter_map(found).collect()
}

/// A fingerprint in twelve digits, to be seen to be the same: 64-bit FNV-1a (draft-eastlake-fnv) of its lines, cut.
pub(crate) fn fingerprint_hash(fingerprint: &BTreeMap<String, String>) -> String {
    let lines = fingerprint.iter().map(|(name, value)| format!("{name}={value}\n"));
    let bytes = lines.collect::<String>().into_bytes();
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:012x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step) >> 16)
}

impl StoredRun {
    /// Reads a run's folder: complete, interrupted or failed, what is in it counts.
    ///
    /// # Errors
    /// If it is no run's folder, or of a version that this program does not know.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let manifest_path = path.join("manifest.json");
        let manifest: Json = serde_json::from_str(&text(&manifest_path)?)
            .map_err(|error| content(&manifest_path, error.line(), format!("this is no JSON: {error}")))?;
        let points_path = path.join("points.jsonl");
        let mut points: BTreeMap<_, Vec<Json>> = BTreeMap::new();
        for (index, line) in text(&points_path)?.lines().enumerate() {
            let at = |why| content(&points_path, index + 1, why);
            let line: Json = serde_json::from_str(line).map_err(|error| at(format!("this is no JSON: {error}")))?;
            points.entry(coordinates(&line).map_err(at)?).or_default().push(line);
        }
        Ok(Self {
            path: path.to_owned(),
            points,
            fingerprint: fingerprint_of(&manifest),
            commit: manifest.pointer("/host/build/commit").map(plain).unwrap_or_default(),
            manifest,
        })
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        self.manifest.get("name").and_then(Json::as_str).unwrap_or_default()
    }

    /// When it began, in RFC 3339, which sorts as it should.
    pub fn started(&self) -> &str {
        self.manifest.get("started").and_then(Json::as_str).unwrap_or_default()
    }

    /// In what its fingerprint and another's differ, and what it is in each. What only one of them looked at is no
    /// difference: the other's program did not know it yet.
    pub fn differences(&self, other: &Self) -> Vec<(String, [String; 2])> {
        let both = self.fingerprint.iter().filter_map(|(name, own)| {
            let theirs = other.fingerprint.get(name)?;
            Some((name.clone(), [own.clone(), theirs.clone()]))
        });
        both.filter(|(_, [own, theirs])| own != theirs).collect()
    }

    /// Its axes.
    pub fn axes(&self) -> BTreeSet<&str> {
        self.points.keys().flat_map(|point| point.keys().map(String::as_str)).collect()
    }

    /// Whether an axis has several values, where it applies.
    pub fn varies(&self, axis: &str) -> bool {
        let mut values = self.points.keys().filter_map(|point| point.get(axis));
        let first = values.next();
        values.any(|value| Some(value) != first)
    }
}

/// Where a line's figures come from is a coordinate like the others: what was measured and what was computed never meet.
pub(crate) const WORLD: &str = "world";

fn coordinates(line: &Json) -> Result<Coordinates, String> {
    let schema = line.get("schema").and_then(Json::as_str).unwrap_or("none");
    let known = [POINT_SCHEMA, EPIDEMIC_SCHEMA, CONVERGENCE_SCHEMA];
    if !known.contains(&schema) {
        return Err(format!("schema {schema}: this program knows {}", known.join(", ")));
    }
    let (Some(Json::Object(axes)), Some(world)) = (line.get("axes"), line.get(WORLD)) else {
        return Err("a result without its axes or its world".into());
    };
    Ok(named(axes).chain([(WORLD.to_owned(), plain(world))]).collect())
}

fn named(axes: &Map<String, Json>) -> impl Iterator<Item = (String, String)> {
    axes.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), plain(value)))
}

/// As people write it.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError::File { path: path.to_owned(), source })
}

fn content(path: &Path, line: usize, why: String) -> ReadError {
    ReadError::Content { path: path.to_owned(), line, why }
}
