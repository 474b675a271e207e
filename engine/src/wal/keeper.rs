//! What may take its time: preparing segments, setting snapshots aside, removing what was released. A thread of its own does
//! it, in order, so that the node's waits for no directory. What comes after a large snapshot waits for it; nothing there is
//! acknowledged before it anyway.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use quorumbench_protocols::Lsn;
use quorumbench_transports::storage::FileBytes;
use rustix::fs::FallocateFlags;

use super::directory::{self, SPARE, segment_name, snapshot_name, unfinished_snapshot_name};
use super::error::WalError;
use super::format::DIRECT_BLOCK;

/// A segment as it is written to.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) file: Arc<File>,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Where the next batch goes.
    pub(super) at: u64,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Chore {
    /// Make segment `sequence` of `bytes` or more, out of `from` if that is given.
    Prepare { sequence: u64, bytes: u64, from: Option<PathBuf> },
    /// Remove a segment.
    Remove(PathBuf),
    /// Write the file of a record's snapshot, and name it when it is whole.
    SetAside(Lsn, FileBytes),
    /// Remove the snapshots of these records.
    Forget(Vec<Lsn>),
}

/// What is done.
#[derive(Debug)]
pub(super) enum Done {
    Prepared(Segment),
    SetAside(Lsn),
}

/// The thread, from the outside.
#[derive(Debug)]
pub(super) struct Keeper {
    /// `None` once it is to end.
    chores: Option<Sender<Chore>>,
    done: Receiver<Result<Done, WalError>>,
    thread: Option<JoinHandle<()>>,
}

/// How files are written.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    pub(super) dir: PathBuf,
    pub(super) direct: bool,
    /// Whether anything is synced at all.
    pub(super) sync: bool,
}

impl Keeper {
    pub(super) fn start(ways: Ways) -> Result<Self, WalError> {
        let (chores, to_do) = channel::<Chore>();
        let (report, done) = channel();
        let dir = ways.dir.clone();
        let work = move || {
            for chore in to_do {
                let outcome = ways.carry_out(chore);
                let failed = outcome.is_err();
                if outcome.transpose().is_some_and(|outcome| report.send(outcome).is_err()) || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("wal-keeper".to_owned()).spawn(work);
        let thread = thread.map_err(WalError::io(&dir, "starting the thread that prepares segments"))?;
        Ok(Self { chores: Some(chores), done, thread: Some(thread) })
    }

    /// Leaves a chore. After an error of an earlier one it is not done.
    pub(super) fn leave(&self, chore: Chore) {
        if let Some(chores) = &self.chores {
            // The thread ends of its own accord after an error only, which is still to be taken.
            let _ = chores.send(chore);
        }
    }

    /// What was done since, or what went wrong.
    pub(super) fn done(&self) -> Result<Option<Done>, WalError> {
        match self.done.try_recv() {
            Ok(outcome) => outcome.map(Some),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.chores = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Ways {
    fn carry_out(&self, chore: Chore) -> Result<Option<Done>, WalError> {
        match chore {
            Chore::Prepare { sequence, bytes, from } => {
                self.prepare(sequence, bytes, from.as_deref()).map(Done::Prepared).map(Some)
            }
            Chore::Remove(path) => directory::remove(&path).map(|()| None),
            Chore::SetAside(lsn, bytes) => self.set_aside(lsn, &bytes).map(|()| Some(Done::SetAside(lsn))),
            Chore::Forget(lsns) => {
                lsns.iter().try_for_each(|&lsn| directory::remove(&self.dir.join(snapshot_name(lsn))))?;
                Ok(None)
            }
        }
    }

    /// Makes a segment whose blocks are all written: a sync that also has to note that blocks are used now takes half
    /// as long again. It has its name only when it is whole, so that no crash leaves half a segment.
    pub(super) fn prepare(&self, sequence: u64, bytes: u64, from: Option<&Path>) -> Result<Segment, WalError> {
        let (spare, path) = (self.dir.join(SPARE), self.dir.join(segment_name(sequence)));
        if let Some(from) = from {
            fs::rename(from, &spare).map_err(WalError::io(from, "setting it aside to be used again"))?;
        }
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&spare);
        let file = opened.map_err(WalError::io(&spare, "creating it"))?;
        let len = file.metadata().map_err(WalError::io(&spare, "asking for its size"))?.len();
        let preallocating = format!("preallocating {bytes} bytes in {}", self.dir.display());
        fill(&file, len, bytes).map_err(WalError::io(&spare, preallocating))?;
        if self.sync {
            file.sync_all().map_err(WalError::io(&spare, "syncing it"))?;
        }
        fs::rename(&spare, &path).map_err(WalError::io(&path, "naming it"))?;
        self.sync_names()?;
        let file = Arc::new(directory::open_to_write(&path, self.direct)?);
        Ok(Segment { sequence, file, len: len.max(bytes), at: 0 })
    }

    fn set_aside(&self, lsn: Lsn, bytes: &FileBytes) -> Result<(), WalError> {
        let (from, to) = (self.dir.join(unfinished_snapshot_name(lsn)), self.dir.join(snapshot_name(lsn)));
        let mut file = File::create(&from).map_err(WalError::io(&from, "creating it"))?;
        let written = bytes.runs(0).try_for_each(|run| file.write_all(run));
        written.map_err(WalError::io(&from, "writing it"))?;
        if self.sync {
            file.sync_data().map_err(WalError::io(&from, "syncing it"))?;
        }
        fs::rename(&from, &to).map_err(WalError::io(&from, "naming it"))?;
        self.sync_names()
    }

    fn sync_names(&self) -> Result<(), WalError> {
        if self.sync { directory::sync(&self.dir) } else { Ok(()) }
    }
}

/// Zeros over the header of what is `len` bytes long already, and from there up to `bytes`.
fn fill(file: &File, len: u64, bytes: u64) -> io::Result<()> {
    if bytes > len {
        // Some file systems take all the room that there is before they find that it is too little: others would feel it.
        let disk = rustix::fs::fstatvfs(file)?;
        if disk.f_blocks > 0 && (bytes - len) / disk.f_frsize.max(1) > disk.f_bfree {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        // A disk that is too small says so at once. Not every file system knows how.
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    write_zeros(file, 0, u64::from(DIRECT_BLOCK).min(len))?;
    write_zeros(file, len, bytes)
}

/// Zeros in `from..to`.
pub(super) fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; (1 << 20).min(to.saturating_sub(from)) as usize];
    let mut at = from;
    while at < to {
        let some = &zeros[..zeros.len().min((to - at) as usize)];
        file.write_all_at(some, at)?;
        at += some.len() as u64;
    }
    Ok(())
}
