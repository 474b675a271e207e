//! Writes to files as the log hands them out: whoever has a ring or a thread to spare carries them out.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use quorumbench_transports::gather::Gather;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// A write to carry out, in any order with others.
#[derive(Debug)]
pub struct FileWrite {
    /// The log's name for it.
    pub id: u64,
    /// Where to.
    pub file: Arc<File>,
    /// From which byte of the file on.
    pub offset: u64,
    /// What.
    pub bytes: FileBytes,
    /// Whether it counts only once `fdatasync` has returned after it.
    pub sync: bool,
}

/// What a write holds on to while it is under way.
#[derive(Debug)]
pub enum FileBytes {
    /// Runs to be written in a row.
    Gathered(Gather),
    /// One run, aligned in memory as `O_DIRECT` wants it.
    Aligned(AlignedBuffer),
}

/// A write that is over, for good or ill. Its bytes come back, to be used again.
#[derive(Debug)]
pub struct FileWritten {
    /// Which.
    pub id: u64,
    /// What came of write and sync. A write of fewer bytes than asked for is an error.
    pub result: io::Result<()>,
    /// What it held.
    pub bytes: FileBytes,
}

/// Bytes that begin at a multiple of 4096 in memory.
#[derive(Default)]
pub struct AlignedBuffer {
    pages: Vec<Page>,
    len: usize,
}

#[repr(C, align(4096))]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Page([u8; 4096]);

impl AlignedBuffer {
    /// Adds bytes at the end.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.pages.resize(end.div_ceil(size_of::<Page>()).max(self.pages.len()), Page::new_zeroed());
        self.pages.as_mut_slice().as_mut_bytes()[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// What is in it.
    pub fn as_slice(&self) -> &[u8] {
        &self.pages.as_slice().as_bytes()[..self.len]
    }

    /// Empties it, and keeps its memory unless that is large.
    pub fn clear(&mut self) {
        self.len = 0;
        self.pages.truncate(KEPT_PAGES);
        self.pages.shrink_to(KEPT_PAGES);
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

const KEPT_PAGES: usize = 256;

impl FileBytes {
    /// The contiguous runs, in order.
    pub fn runs(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            Self::Gathered(gather) => Box::new(gather.runs(0)),
            Self::Aligned(buffer) => Box::new(std::iter::once(buffer.as_slice())),
        }
    }
}
