//! Beginning a log, and taking one up again.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use quorumbench_protocols::{Lsn, Nanos};
use zerocopy::IntoBytes;

use super::directory::{self, Entry, Image, MARK, OnDisk, Pieces as _, segment_name};
use super::error::{Problem, WalError};
use super::format::{BLOCK, DIRECT_BLOCK, Mark, SegmentHeader};
use super::keeper::{Segment, Ways, write_zeros};
use super::recovery::{Heed, Recovered, Scan, scan};
use super::writer::{Closed, Marks, Start, Wal};
use super::{Durability, Identity, Options};

/// Bytes of a segment that recovery reads at a time, if no batch is larger.
const WINDOW: u64 = 1 << 20;

impl Wal {
    /// Begins a log in a directory that holds none, and creates the directory if need be.
    ///
    /// # Errors
    /// [`Problem::Occupied`] if it does hold one; or if the system refuses.
    pub fn create(options: Options, identity: Identity) -> Result<Self, WalError> {
        let dir = &options.dir;
        fs::create_dir_all(dir).map_err(WalError::io(dir, "creating it"))?;
        if directory::list(dir)?.iter().any(|(_, entry)| *entry != Entry::Other) {
            return Err(WalError::new(dir, None, Problem::Occupied));
        }
        let ways = options.ways();
        let block = options.block();
        let mut current = ways.prepare(1, options.least_segment(block), None)?;
        let header = SegmentHeader::new(&identity, block, 1, Lsn(1), current.len);
        current.at = u64::from(block);
        put(&dir.join(segment_name(1)), header.as_bytes(), 0, &ways)?;
        let marks = Marks::create(dir, &identity, &ways)?;
        let (closed, snapshots, zero) = (VecDeque::new(), VecDeque::new(), Lsn::ZERO);
        let start = Start { block, current, closed, last: zero, release: zero, snapshots, marks };
        Self::start(options, identity, start)
    }

    /// Takes up a log: what it says, and the log ready to go on. A torn tail is cut off, on disk too, and what may not
    /// have been acknowledged is written again: of a sync that failed, the page cache keeps no trace.
    ///
    /// # Errors
    /// If there is none, or another's, or it is corrupt ([`Problem`]); or if the system refuses. Nothing was changed
    /// if the log is not to be used.
    pub fn open(options: Options, identity: Identity) -> Result<(Self, Recovered), WalError> {
        let image = Image::open(&options.dir, WINDOW)?;
        let scan = scan(&image, &identity, Heed::All)?;
        if options.direct && scan.block != DIRECT_BLOCK {
            let (found, expected) = (scan.block.to_string(), DIRECT_BLOCK.to_string());
            let path = image.segment_path(0);
            return Err(WalError::new(&path, Some(0), Problem::Foreign { what: "block size", found, expected }));
        }
        let ways = options.ways();
        clean(&image, &scan, &ways)?;
        cut(&image, &scan, &ways)?;
        let marks = Marks::open(&options.dir, &identity, &scan, &ways)?;
        let mut segments = VecDeque::new();
        for &(SegmentHeader { sequence, size, .. }, last) in &scan.segments {
            let path = image.dir.join(segment_name(sequence));
            let file = Arc::new(directory::open_to_write(&path, options.direct)?);
            let segment = Segment { sequence, file, len: size, at: scan.end };
            segments.push_back(Closed { segment, last });
        }
        let Some(Closed { segment: current, .. }) = segments.pop_back() else {
            unreachable!("a log that was read has a segment")
        };
        let Scan { block, last, release, .. } = scan;
        let snapshots = scan.snapshots.into();
        let start = Start { block, current, closed: segments, last, release, snapshots, marks };
        Ok((Self::start(options, identity, start)?, scan.recovered))
    }
}

/// Removes what a crash left unfinished, snapshots that no record stands for, and segments behind the end: even one
/// whose header says nothing may hold batches of its own that got further. The last goes first, so that no crash
/// leaves a gap.
fn clean(image: &Image<OnDisk>, scan: &Scan, ways: &Ways) -> Result<(), WalError> {
    let end = image.segments[scan.segments.len() - 1].0;
    for (path, entry) in directory::list(&image.dir)?.into_iter().rev() {
        let needless = match entry {
            Entry::Unfinished => true,
            Entry::Snapshot(lsn) => !scan.snapshots.contains(&lsn),
            Entry::Segment(sequence) => sequence > end,
            Entry::Mark | Entry::Other => false,
        };
        if needless {
            directory::remove(&path)?;
        }
    }
    if ways.sync { directory::sync(&image.dir) } else { Ok(()) }
}

/// Writes what may not have been acknowledged again, as it was read: what the disk says now may be less. Then zeros
/// over what stands behind the end; all of it durable.
pub(super) fn cut(image: &Image<OnDisk>, scan: &Scan, ways: &Ways) -> Result<(), WalError> {
    for (index, (header, _)) in scan.segments.iter().enumerate() {
        let path = image.segment_path(index);
        let file = directory::open_to_write(&path, false)?;
        // It was written together with the first batch.
        if Lsn(header.first) > scan.acknowledged {
            file.write_all_at(header.as_bytes(), 0).map_err(WalError::io(&path, "writing its header again"))?;
        }
        for batch in scan.unsure.iter().filter(|batch| batch.segment == index) {
            file.write_all_at(&batch.bytes, batch.at).map_err(WalError::io(&path, "writing its end again"))?;
        }
        if index + 1 == scan.segments.len() {
            let found = &image.segments[index].1;
            clear(&file, found, scan.end).map_err(WalError::io(&path, "cutting a torn tail off"))?;
        }
        if ways.sync {
            file.sync_data().map_err(WalError::io(&path, "syncing it"))?;
        }
    }
    Ok(())
}

/// Zeros over all that is not from `at` on.
fn clear(file: &File, found: &OnDisk, mut at: u64) -> io::Result<()> {
    while at < found.len() {
        let piece = found.read(at, found.window())?;
        if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
            write_zeros(file, at, at + last as u64 + 1)?;
        }
        at += piece.len() as u64;
    }
    Ok(())
}

impl Marks {
    fn create(dir: &Path, identity: &Identity, ways: &Ways) -> Result<Self, WalError> {
        let path = dir.join(MARK);
        let mut both = [0; Mark::FILE];
        for generation in 0..2 {
            let at = Mark::offset(generation) as usize;
            both[at..at + size_of::<Mark>()].copy_from_slice(Mark::new(identity, generation, Lsn::ZERO).as_bytes());
        }
        fs::write(&path, []).map_err(WalError::io(&path, "creating it"))?;
        put(&path, &both, 0, ways)?;
        if ways.sync {
            directory::sync(dir)?;
        }
        Self::of(&path, 1, Lsn::ZERO)
    }

    fn open(dir: &Path, identity: &Identity, scan: &Scan, ways: &Ways) -> Result<Self, WalError> {
        let path = dir.join(MARK);
        let generation = scan.generation.wrapping_add(1);
        put(&path, Mark::new(identity, generation, scan.last).as_bytes(), Mark::offset(generation), ways)?;
        Self::of(&path, generation, scan.last)
    }

    fn of(path: &Path, generation: u64, written: Lsn) -> Result<Self, WalError> {
        let file = Arc::new(directory::open_to_write(path, false)?);
        Ok(Self { file, generation, written, at: Nanos::ZERO, under_way: false })
    }
}

/// Writes bytes in place, durably.
fn put(path: &Path, bytes: &[u8], at: u64, ways: &Ways) -> Result<(), WalError> {
    let file = OpenOptions::new().write(true).open(path).map_err(WalError::io(path, "opening it"))?;
    file.write_all_at(bytes, at).map_err(WalError::io(path, "writing it"))?;
    if ways.sync { file.sync_data().map_err(WalError::io(path, "syncing it")) } else { Ok(()) }
}

impl Options {
    pub(super) fn ways(&self) -> Ways {
        Ways { dir: self.dir.clone(), direct: self.direct, sync: self.durability == Durability::Fsync }
    }

    /// Bytes in a block.
    pub(super) fn block(&self) -> u32 {
        if self.direct { DIRECT_BLOCK } else { BLOCK }
    }

    /// Bytes of a segment: as wished, in whole blocks, and a few of them.
    pub(super) fn least_segment(&self, block: u32) -> u64 {
        let block = u64::from(block);
        (self.segment_bytes as u64).next_multiple_of(block).max(8 * block)
    }
}
