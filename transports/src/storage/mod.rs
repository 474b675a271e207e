//! Writing to files from the place where a node waits: what a durable log stands on.
//!
//! A node has one thread and waits in one place, [`Transport::recv`](crate::Transport::recv). So that
//! the protocol goes on while a disk works, a write is begun by
//! [`Transport::write_file`](crate::Transport::write_file), ends the wait when it is over, and is taken
//! with [`Transport::written`](crate::Transport::written). Many may be under way, and they are over in
//! any order: what must not overlap, or must be in the file before something else is, the caller
//! holds back.
//!
//! **One sync for many writes.** A file that is not written directly has one `fdatasync` under way at a
//! time, and it serves every write that was in the file when it began; what is written meanwhile shares
//! the next. Measured on ext4 over a virtual disk with a cache, a file filled with zeros, through one ring
//! (synced writes/s at 1, 4 and 16 in flight, and what their alternatives did):
//!
//! | | shared syncs | a sync linked to each write | `RWF_DSYNC` |
//! |---|---|---|---|
//! | 4 KiB, gathered | 9.7 k, 17 k, 50 k | 9.0 k, 18 k, 37 k | 10.0 k, 10 k, 10 k |
//! | 64 KiB, gathered | 8.0 k, 14 k, 35 k | 8.0 k, 13 k, 24 k | 8.4 k, 7 k, 9 k |
//! | 4 KiB, `O_DIRECT` | 10.2 k, 25 k, 85 k | 10.3 k, 22 k, 61 k | 11.4 k, 27 k, 73 k |
//! | 64 KiB, `O_DIRECT` | 8.8 k, 19 k, 46 k | 7.7 k, 19 k, 43 k | 9.0 k, 24 k, 50 k |
//!
//! That is while a sync takes 0.1 ms. The disk's host holds back whoever syncs much, and then one takes
//! 4 ms: what counts is how few there are. At 16 in flight a sync serves 7 writes.
//!
//! A gathered write that syncs itself holds the file's lock until the disk has answered, so those share
//! syncs. A direct one syncs itself: the disk's answer to the write starts the flush, without a worker of the
//! kernel's that has to be woken for it, and without the node in between. Three replicas of Raft that shared a disk
//! took 10 to 25 % less CPU a command for it.
//!
//! **Errors of a sync** are told once, to the writes that it served, and never tried again: the kernel
//! may have dropped what it could not write, and a second sync would say that all is well. For the
//! same reason syncs of one file do not overlap: the kernel tells an error to whichever sees it first.
//! Whoever is told must take nothing for durable that was written to that file since its last good
//! sync, whatever a later one says.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::{Errno, ReadWriteFlags};

mod aligned;
mod group;
mod thread;

pub use aligned::AlignedBuffer;
pub(crate) use group::Groups;
pub(crate) use thread::Writer;

use crate::gather::Gather;

/// How long a transport that is dropped waits for its file writes, in nanoseconds. Beyond that they are
/// left to the kernel, with their memory.
pub(crate) const LEAVING_NS: u64 = 2_000_000_000;
/// The most entries that a gather list may have (`UIO_MAXIOV`): more are written in parts.
pub(crate) const MOST_RUNS: usize = 1024;

/// A write to a file, and perhaps a sync after it.
#[derive(Debug)]
pub struct FileWrite {
    /// The caller's number for it: comes back with [`FileWritten`], and means nothing here.
    pub id: u64,
    /// Where to. Writes through one `Arc` share syncs; it is held until the write is over.
    pub file: Arc<File>,
    /// The offset of the first byte. The last one's is below 2^63.
    pub offset: u64,
    /// What is written. With none and `sync`, what was written to the file before is made durable.
    pub bytes: FileBytes,
    /// Whether it is over only when it is durable: by an `fdatasync`, or, if it is [aligned](FileBytes::Aligned), by
    /// `RWF_DSYNC`.
    pub sync: bool,
}

/// What is written.
#[derive(Debug)]
pub enum FileBytes {
    /// From wherever it lies, gathered by the kernel.
    Gathered(Gather),
    /// From one aligned block, as a file opened with `O_DIRECT` wants it: then its length and the
    /// write's offset must be multiples of the file's block, too.
    Aligned(AlignedBuffer),
}

/// A write that is over.
#[derive(Debug)]
pub struct FileWritten {
    /// The number that its [`FileWrite`] had.
    pub id: u64,
    /// Ok when every byte is in the file and, if a sync was asked for, durable. Otherwise the first
    /// error: of the write, which may have left a part in the file, or of the sync.
    pub result: Result<(), FileError>,
    /// What was written: its memory can be used again.
    pub bytes: FileBytes,
}

/// What failed of a write and its sync.
#[derive(Debug)]
pub enum FileError {
    /// The write: a part of it may be in the file.
    Write(io::Error),
    /// The sync, after the bytes were in the file.
    Sync(io::Error),
    /// A write that syncs itself: the kernel does not say which of the two it was.
    Either(io::Error),
}

impl FileError {
    /// What was tried.
    pub const fn doing(&self) -> &'static str {
        match self {
            Self::Write(_) => "writing it",
            Self::Sync(_) => "syncing it",
            Self::Either(_) => "writing and syncing it",
        }
    }

    /// What the system said.
    pub const fn source(&self) -> &io::Error {
        let (Self::Write(error) | Self::Sync(error) | Self::Either(error)) = self;
        error
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        let (FileError::Write(error) | FileError::Sync(error) | FileError::Either(error)) = error;
        error
    }
}

impl FileBytes {
    /// None yet: for a file opened with `O_DIRECT` if `direct`.
    pub fn new(direct: bool) -> Self {
        if direct { Self::Aligned(AlignedBuffer::default()) } else { Self::Gathered(Gather::default()) }
    }

    /// Adds bytes at the end, copied.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        match self {
            Self::Gathered(gather) => gather.append(bytes),
            Self::Aligned(block) => block.extend_from_slice(bytes),
        }
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        match self {
            Self::Gathered(gather) => gather.clear(),
            Self::Aligned(block) => block.clear(),
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        match self {
            Self::Gathered(gather) => gather.bytes(),
            Self::Aligned(block) => block.len(),
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contiguous runs in order, after the first `skip` bytes. None is empty.
    pub fn runs(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        let (gather, block) = match self {
            Self::Gathered(gather) => (Some(gather), None),
            Self::Aligned(block) => (None, block.get(skip..).filter(|rest| !rest.is_empty())),
        };
        gather.into_iter().flat_map(move |gather| gather.runs(skip)).chain(block)
    }
}

/// A write that has begun: what of it is in the file.
#[derive(Debug)]
pub(crate) struct Begun {
    write: FileWrite,
    taken: usize,
}

impl Begun {
    /// # Panics
    /// If the file would be longer than a file can be.
    pub(crate) fn new(write: FileWrite) -> Self {
        let end = write.offset.checked_add(write.bytes.len() as u64);
        assert!(end.is_some_and(|end| i64::try_from(end).is_ok()), "a file's offsets are below 2^63");
        Self { write, taken: 0 }
    }

    pub(crate) fn file(&self) -> &File {
        &self.write.file
    }

    /// Where the rest goes.
    pub(crate) fn offset(&self) -> u64 {
        self.write.offset + self.taken as u64
    }

    /// Whether each write makes its own bytes durable: then no sync comes after it.
    pub(crate) fn syncs_itself(&self) -> bool {
        self.write.sync && matches!(self.write.bytes, FileBytes::Aligned(_)) && !self.write.bytes.is_empty()
    }

    /// With which flags the rest is written.
    pub(crate) fn flags(&self) -> ReadWriteFlags {
        if self.syncs_itself() { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() }
    }

    /// What is not yet in the file. Stays where it is until the write is over.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &[u8]> {
        self.write.bytes.runs(self.taken)
    }

    /// Takes what a try to write some of the rest came to. How the write ended, if it has; otherwise
    /// there is a rest to go on with.
    pub(crate) fn took(&mut self, took: Result<usize, Errno>) -> Option<io::Result<()>> {
        match took {
            Ok(0) if !self.is_whole() => Some(Err(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => {
                self.taken += bytes;
                assert!(self.taken <= self.write.bytes.len(), "the kernel takes no more than it was given");
                self.is_whole().then_some(Ok(()))
            }
            Err(Errno::INTR | Errno::AGAIN) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.taken == self.write.bytes.len()
    }

    /// The write is over, but for the sync: to `groups` if it asked for one, to `over` otherwise.
    pub(crate) fn end(self, result: io::Result<()>, groups: &mut Groups, over: &mut Vec<FileWritten>) {
        let syncs_itself = self.syncs_itself();
        let wants_sync = self.write.sync && result.is_ok() && !syncs_itself;
        let result = result.map_err(if syncs_itself { FileError::Either } else { FileError::Write });
        let FileWrite { id, file, bytes, .. } = self.write;
        let written = FileWritten { id, result, bytes };
        if wants_sync {
            groups.add(file, written);
        } else {
            over.push(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(sync: bool) -> Begun {
        of(FileBytes::new(false), sync)
    }

    fn of(mut bytes: FileBytes, sync: bool) -> Begun {
        bytes.extend_from_slice(b"0123456789");
        let file = Arc::new(File::open("/dev/null").expect("it is there"));
        Begun::new(FileWrite { id: 7, file, offset: 100, bytes, sync })
    }

    #[test]
    fn a_short_write_goes_on_where_it_ended() {
        let mut begun = begun(false);
        assert!(begun.took(Ok(4)).is_none() && begun.took(Err(Errno::INTR)).is_none());
        assert_eq!((begun.offset(), begun.rest().collect::<Vec<_>>()), (104, vec![&b"456789"[..]]));
        assert!(matches!(begun.took(Ok(6)), Some(Ok(()))));
        assert_eq!(begun.rest().count(), 0);
    }

    #[test]
    fn a_write_that_gets_nowhere_is_an_error() {
        let error = begun(false).took(Ok(0)).and_then(Result::err).expect("an error");
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let error = begun(false).took(Err(Errno::IO)).and_then(Result::err).expect("an error");
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }

    #[test]
    fn only_what_was_written_is_synced() {
        let (mut groups, mut over) = (Groups::default(), Vec::new());
        begun(true).end(Err(Errno::NOSPC.into()), &mut groups, &mut over);
        assert!(matches!(over[0].result, Err(FileError::Write(_))), "{over:?}");
        begun(false).end(Ok(()), &mut groups, &mut over);
        assert!(over.len() == 2 && groups.start().is_none());
        let direct = of(FileBytes::new(true), true);
        assert_eq!((direct.flags(), begun(true).flags()), (ReadWriteFlags::DSYNC, ReadWriteFlags::empty()));
        direct.end(Ok(()), &mut groups, &mut over);
        assert!(over.len() == 3 && groups.start().is_none(), "it has synced itself");
        of(FileBytes::new(true), true).end(Err(Errno::IO.into()), &mut groups, &mut over);
        let failed = over.pop().and_then(|written| written.result.err());
        assert!(matches!(failed, Some(FileError::Either(_))), "{failed:?}");
        begun(true).end(Ok(()), &mut groups, &mut over);
        assert!(over.len() == 3 && groups.start().is_some());
    }
}
