//! The folder of a run, written so that it is readable whatever happens and whenever.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{ConvergenceResult, EpidemicResult, PointResult, encode};
use crate::measure::{INTERVAL_NS, Recording};

/// A run's folder: `manifest.json`, `points.jsonl`, `intervals.csv`, `latency.hlog`.
///
/// A point's lines go in whole or not at all, and the manifest is replaced, never rewritten in place.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    started: SystemTime,
    manifest: Json,
    points: Appended,
    intervals: Appended,
    latency: Appended,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All points are there.
    Complete,
    /// The user stopped it.
    Interrupted,
    /// A point could not be measured.
    Failed,
}

impl Ending {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// A file of a run could not be written.
#[derive(Debug)]
pub struct StoreError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write {}: {}", self.path.display(), self.source)?;
        match self.source.kind() {
            io::ErrorKind::StorageFull => write!(f, "; what was finished is whole. Free some space, or use --out DIR"),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                write!(f, "; choose another place with --out DIR")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl RunDir {
    /// Makes `out/<UTC time>-<name>` and puts the manifest in it. `manifest` is an object; the
    /// run's state is added to it.
    ///
    /// # Errors
    /// [`StoreError`] if the folder or a file cannot be made.
    pub fn create(out: &Path, name: &str, started: SystemTime, manifest: Json) -> Result<Self, StoreError> {
        let path = stamped_folder(out, name, started)?;
        let mut dir = Self {
            points: Appended::create(path.join("points.jsonl"))?,
            intervals: Appended::create(path.join("intervals.csv"))?,
            latency: Appended::create(path.join("latency.hlog"))?,
            path,
            started,
            manifest,
        };
        dir.write_manifest("running", 0)?;
        let columns = b"point,repetition,label,second,completed,count,mean_ns,p50_ns,p99_ns,p99_9_ns,max_ns\n";
        dir.intervals.append(columns)?;
        dir.latency.append(&encode::log_head(started))?;
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts something about the whole run into the manifest, from the next time on that it is written.
    pub fn note(&mut self, key: &str, value: Json) {
        self.manifest[key] = value;
    }

    /// Adds a finished point: `index` counts the lines so far, `label` is for people, `ended` is when
    /// its window closed.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the point is in any file.
    pub fn append(
        &mut self,
        index: usize,
        result: &PointResult,
        label: &str,
        recording: &Recording,
        ended: SystemTime,
    ) -> Result<(), StoreError> {
        let began = ended
            .duration_since(self.started)
            .unwrap_or_default()
            .saturating_sub(Duration::from_nanos(result.window_ns));
        let (mut csv, mut hlog) = (String::new(), Vec::new());
        for (second, interval) in recording.intervals.iter().enumerate() {
            let (completed, times) = (interval.completed, &interval.response);
            let at = |quantile| times.value_at_quantile(quantile);
            let _ = writeln!(
                csv,
                "{index},{},{label},{second},{completed},{},{:.0},{},{},{},{}",
                result.repetition,
                times.len(),
                times.mean(),
                at(0.5),
                at(0.99),
                at(0.999),
                times.max(),
            );
            let length = Duration::from_nanos(INTERVAL_NS.min(result.window_ns - second as u64 * INTERVAL_NS));
            let from = began + Duration::from_nanos(second as u64 * INTERVAL_NS);
            let tag = if label.is_empty() { "response".to_owned() } else { format!("{label}/response") };
            hlog.extend(encode::log_line(times, from, length, &tag));
        }
        let (intervals, latency) = (self.intervals.len, self.latency.len);
        let appended = self.intervals.append(csv.as_bytes());
        let appended =
            appended.and_then(|()| self.latency.append(&hlog)).and_then(|()| self.points.append(&line(result)));
        if appended.is_err() {
            self.intervals.cut_back(intervals);
            self.latency.cut_back(latency);
        }
        appended
    }

    /// Adds a finished point of gossip. It has no seconds, and no response times.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the point is in any file.
    pub fn append_epidemic(&mut self, result: &EpidemicResult) -> Result<(), StoreError> {
        self.points.append(&line(result))
    }

    /// Adds a finished point of replicas that reconcile. It has neither.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the point is in any file.
    pub fn append_convergence(&mut self, result: &ConvergenceResult) -> Result<(), StoreError> {
        self.points.append(&line(result))
    }

    /// Says in the manifest how many points are there. Apart from [`append`](Self::append), because
    /// where this fails the point is stored all the same.
    ///
    /// # Errors
    /// [`StoreError`]; the old manifest is still there.
    pub fn progress(&mut self, points: usize) -> Result<(), StoreError> {
        self.write_manifest("running", points)
    }

    /// Says in the manifest how the run ended, and `why` if that is not as it should.
    ///
    /// # Errors
    /// [`StoreError`]; the old manifest is still there.
    pub fn finish(&mut self, ending: Ending, why: Option<String>, points: usize) -> Result<(), StoreError> {
        if let Some(why) = why {
            self.manifest["error"] = json!(why);
        }
        self.write_manifest(ending.name(), points)
    }

    fn write_manifest(&mut self, state: &str, finished: usize) -> Result<(), StoreError> {
        self.manifest["state"] = json!(state);
        self.manifest["finished_points"] = json!(finished);
        let path = self.path.join("manifest.json");
        let mut text = serde_json::to_vec_pretty(&self.manifest).expect("a manifest has no keys but strings");
        text.push(b'\n');
        replace(&path, &text).map_err(|source| StoreError { path, source })
    }
}

fn line(result: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(result).expect("a result has no keys but strings");
    line.push(b'\n');
    line
}

/// A file that only grows, by whole pieces.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Appended {
    fn create(path: PathBuf) -> Result<Self, StoreError> {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self { path, file, len: 0 }),
            Err(source) => Err(StoreError { path, source }),
        }
    }

    /// Adds `piece`, or leaves the file as it was.
    fn append(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        if let Err(source) = self.file.write_all(piece).and_then(|()| self.file.sync_data()) {
            // A full disk may have taken part of it.
            self.cut_back(self.len);
            return Err(StoreError { path: self.path.clone(), source });
        }
        self.len += piece.len() as u64;
        Ok(())
    }

    /// Takes off what lies beyond `len`. That needs no space, and nothing can be done if it fails.
    fn cut_back(&mut self, len: u64) {
        let _ = self.file.set_len(len);
        let _ = self.file.seek(io::SeekFrom::Start(len));
        self.len = len;
    }
}

/// Puts `text` in the place of the file at `path`, at once; where that is a link, of the file behind it. What is there and
/// is no file, such as a pipe or a device, stays, and is written into.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => return OpenOptions::new().write(true).open(path)?.write_all(text),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let path = &behind(path);
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let written = File::create(&aside).and_then(|mut file| file.write_all(text).and_then(|()| file.sync_data()));
    if let Err(error) = written.and_then(|()| fs::rename(&aside, path)) {
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    Ok(())
}

/// Where a link leads, even if nothing is there yet. A circle of links has no metadata, so that there is an end.
fn behind(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    while let Ok(target) = fs::read_link(&path) {
        path.pop();
        path.push(target);
    }
    path
}

/// Makes `out/<UTC time>-<name>`.
pub(crate) fn stamped_folder(out: &Path, name: &str, started: SystemTime) -> Result<PathBuf, StoreError> {
    let stamp = humantime::format_rfc3339_seconds(started).to_string();
    fresh_folder(out, &format!("{}-{name}", stamp.replace(['-', ':'], "")))
}

/// Makes `out/name`, or `out/name-2` and so on where that exists: two runs may start in one second.
fn fresh_folder(out: &Path, name: &str) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(out).map_err(|source| StoreError { path: out.to_owned(), source })?;
    let mut path = out.join(name);
    for number in 2.. {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => path = out.join(format!("{name}-{number}")),
            Err(source) => return Err(StoreError { path, source }),
            Ok(()) => break,
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_goes_in_whole_or_not_at_all() {
        // The device that is always full.
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).expect("Linux has one");
        let mut full = Appended { path, file, len: 0 };
        let error = full.append(b"a line\n").expect_err("there is no space");
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("--out"));
        assert_eq!(full.len, 0);
    }

    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [file, link, ahead, pipe] = ["file", "link", "ahead", "pipe"].map(|name| folder.path().join(name));
        let text = |path: &Path| fs::read_to_string(path).expect("text");
        fs::write(&file, "before").expect("written");
        std::os::unix::fs::symlink("file", &link).expect("a link");
        std::os::unix::fs::symlink(folder.path().join("not yet"), &ahead).expect("a link");
        for (link, file) in [(&link, &file), (&ahead, &folder.path().join("not yet"))] {
            replace(link, b"after").expect("written");
            assert!(link.is_symlink() && !file.is_symlink() && text(file) == "after", "{}", link.display());
        }
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe)
        });
        replace(&pipe, b"through").expect("written");
        let there = fs::symlink_metadata(&pipe).expect("it is there still");
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&there.file_type()));
        assert_eq!(reader.join().expect("it ends").expect("text"), "through");
    }
}
