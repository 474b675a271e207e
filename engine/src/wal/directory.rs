//! A log's directory: what its files are called, and reading them all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorumbench_protocols::Lsn;

use super::error::WalError;

/// How far the log was durable.
pub(super) const MARK: &str = "mark";
/// What will be a segment, and is none yet.
pub(super) const SPARE: &str = "segment.tmp";

pub(super) fn segment_name(sequence: u64) -> String {
    format!("{sequence:020}.log")
}

pub(super) fn snapshot_name(lsn: Lsn) -> String {
    format!("snapshot-{:020}", lsn.0)
}

pub(super) fn unfinished_snapshot_name(lsn: Lsn) -> String {
    snapshot_name(lsn) + UNFINISHED
}

const UNFINISHED: &str = ".tmp";

/// What a name in the directory is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Mark,
    Segment(u64),
    Snapshot(Lsn),
    /// Something that a crash left unfinished.
    Unfinished,
    /// Nothing of the log's.
    Other,
}

impl Entry {
    fn of(name: &str) -> Self {
        let number = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
        let segment = name.strip_suffix(".log").and_then(number).map(Self::Segment);
        let snapshot = || name.strip_prefix("snapshot-").and_then(number).map(|lsn| Self::Snapshot(Lsn(lsn)));
        match name {
            MARK => Self::Mark,
            SPARE => Self::Unfinished,
            _ if name.starts_with("snapshot-") && name.ends_with(UNFINISHED) => Self::Unfinished,
            _ => segment.or_else(snapshot).unwrap_or(Self::Other),
        }
    }
}

/// What is in the directory, in the order of the names.
pub(super) fn list(dir: &Path) -> Result<Vec<(PathBuf, Entry)>, WalError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(WalError::io(dir, "listing it"))? {
        let entry = entry.map_err(WalError::io(dir, "listing it"))?;
        let what = entry.file_name().to_str().map_or(Entry::Other, Entry::of);
        entries.push((entry.path(), what));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// A log as it lies in its directory, each of its large files as an `F`.
#[derive(Clone, Debug, Default)]
pub struct Image<F = Bytes> {
    /// The directory: for what is said of its files.
    pub dir: PathBuf,
    /// The segments, by ascending number.
    pub segments: Vec<(u64, F)>,
    /// The file of marks.
    pub mark: Option<Bytes>,
    /// The snapshots, by ascending number of the record that each stands for.
    pub snapshots: Vec<(Lsn, F)>,
}

impl Image {
    /// Reads all that there is.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn read(dir: &Path) -> Result<Self, WalError> {
        Self::of(dir, |path| fs::read(path).map(Bytes::from))
    }
}

impl Image<OnDisk> {
    /// Looks what there is; it is read when it is needed, in pieces of `window` bytes.
    pub(super) fn open(dir: &Path, window: u64) -> Result<Self, WalError> {
        Self::of(dir, |path| Ok(OnDisk { path: path.to_owned(), len: fs::metadata(path)?.len(), window }))
    }
}

impl<F> Image<F> {
    fn of(dir: &Path, file: impl Fn(&Path) -> io::Result<F>) -> Result<Self, WalError> {
        let mut image = Self { dir: dir.to_owned(), segments: Vec::new(), mark: None, snapshots: Vec::new() };
        for (path, entry) in list(dir)? {
            let file = || file(&path).map_err(WalError::io(&path, "reading it"));
            match entry {
                Entry::Mark => {
                    image.mark = Some(fs::read(&path).map_err(WalError::io(&path, "reading it"))?.into());
                }
                Entry::Segment(sequence) => image.segments.push((sequence, file()?)),
                Entry::Snapshot(lsn) => image.snapshots.push((lsn, file()?)),
                Entry::Unfinished | Entry::Other => {}
            }
        }
        Ok(image)
    }

    pub(super) fn segment_path(&self, index: usize) -> PathBuf {
        self.dir.join(segment_name(self.segments[index].0))
    }
}

/// A file that is read in pieces.
pub(super) trait Pieces {
    /// Bytes of it.
    fn len(&self) -> u64;

    /// Bytes to read at a time where fewer are needed.
    fn window(&self) -> u64;

    /// The bytes from `at` on: `len` of them, or all that there are.
    fn read(&self, at: u64, len: u64) -> io::Result<Bytes>;
}

impl Pieces for Bytes {
    fn len(&self) -> u64 {
        Self::len(self) as u64
    }

    fn window(&self) -> u64 {
        u64::MAX
    }

    fn read(&self, at: u64, len: u64) -> io::Result<Bytes> {
        let whole = Pieces::len(self);
        Ok(self.slice(at.min(whole) as usize..at.saturating_add(len).min(whole) as usize))
    }
}

/// A file that is opened for each piece: there may be more of them than a process may have open.
#[derive(Clone, Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    len: u64,
    window: u64,
}

impl Pieces for OnDisk {
    fn len(&self) -> u64 {
        self.len
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn read(&self, at: u64, len: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; len.min(self.len.saturating_sub(at)) as usize];
        File::open(&self.path)?.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }
}

/// Makes the names in it durable.
pub(super) fn sync(dir: &Path) -> Result<(), WalError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(WalError::io(dir, "making its names durable"))
}

/// Opens a file for writing in place, past the page cache if `direct`.
pub(crate) fn open_to_write(path: &Path, direct: bool) -> Result<File, WalError> {
    let flags = if direct { rustix::fs::OFlags::DIRECT.bits().cast_signed() } else { 0 };
    let opened = OpenOptions::new().write(true).custom_flags(flags).open(path);
    opened.map_err(WalError::io(path, if direct { "opening it for O_DIRECT" } else { "opening it" }))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), WalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WalError::io(path, "removing it")(error)),
        _ => Ok(()),
    }
}
