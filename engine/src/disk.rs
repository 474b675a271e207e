//! The disk that logs are written to: what it is, and how long a sync takes it when nothing else happens.
//!
//! A commit cannot be faster than the sync that it waits for, so every result that has synced logs behind it stands
//! beside the disk's own syncs, measured alone, just before.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quorumbench_transports::storage::AlignedBuffer;

use crate::measure::histogram;
use crate::wal::open_to_write;

/// A folder's disk, as it was found.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What the kernel calls its file system; a number in hexadecimal if it is none that is known here.
    pub file_system: String,
    /// How long one write of [`Disk::BLOCK`] bytes and its sync took, in nanoseconds, one after the other.
    pub syncs: Histogram<u64>,
}

impl Disk {
    /// Bytes of each write that is synced.
    pub const BLOCK: usize = 4096;

    /// Looks at the disk that `folder` is on, for half a second at most. The folder is made if it is not there; the
    /// file that was written to is removed.
    ///
    /// The blocks were written before, as a log's are, so that a sync writes data and nothing about the file.
    ///
    /// # Errors
    /// The machine's: the folder cannot be written to, is full, or takes no `O_DIRECT`.
    pub fn probe(folder: &Path, direct: bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("probe-{}", std::process::id()));
        let syncs = sync_times(&path, direct);
        let removed = fs::remove_file(&path);
        let syncs = syncs?;
        removed?;
        Ok(Self { file_system: file_system(folder)?, syncs })
    }

    /// Whether it is memory that calls itself a disk.
    pub fn is_memory(&self) -> bool {
        ["tmpfs", "ramfs"].contains(&self.file_system.as_str())
    }

    /// Whether its syncs are quicker than any device answers: then something on the way says "done" that is not.
    pub fn is_too_fast(&self) -> bool {
        self.syncs.value_at_quantile(0.5) < TOO_FAST_NS
    }
}

/// The quickest devices with a flush worth the name, on a bus and behind a file system, take more than this for a
/// write and its sync: about 10 us (Optane, or a drive whose capacitors let it ignore the flush).
const TOO_FAST_NS: u64 = 5_000;

/// What a probe writes over and over, as many blocks as a log has before it comes to new ones.
const BLOCKS: u64 = 64;
const MOST_SYNCS: usize = 1000;
const LEAST_SYNCS: usize = 16;
const PROBE: Duration = Duration::from_millis(500);

fn sync_times(path: &Path, direct: bool) -> io::Result<Histogram<u64>> {
    let buffered = OpenOptions::new().write(true).create_new(true).open(path)?;
    buffered.write_all_at(&vec![0; BLOCKS as usize * Disk::BLOCK], 0)?;
    buffered.sync_all()?;
    let file = if direct { open_to_write(path, true)? } else { buffered };
    let mut block = AlignedBuffer::default();
    block.extend_from_slice(&[1; Disk::BLOCK]);
    let mut times = histogram();
    let begin = Instant::now();
    for sync in 0..MOST_SYNCS {
        if sync >= LEAST_SYNCS && begin.elapsed() > PROBE {
            break;
        }
        let at = Instant::now();
        file.write_all_at(&block, sync as u64 % BLOCKS * Disk::BLOCK as u64)?;
        file.sync_data()?;
        times.saturating_record(at.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

/// `statfs(2)` names them by number.
const FILE_SYSTEMS: [(u64, &str); 11] = [
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58F6, "ramfs"),
    (0x794C_7630, "overlay"),
    (0x2FC1_2FC1, "zfs"),
    (0xF2F5_2010, "f2fs"),
    (0xCA45_1A4E, "bcachefs"),
    (0x6969, "nfs"),
    (0x6573_5546, "fuse"),
];

fn file_system(folder: &Path) -> io::Result<String> {
    let number = rustix::fs::statfs(folder)?.f_type.cast_unsigned();
    let known = FILE_SYSTEMS.iter().find(|(each, _)| *each == number);
    Ok(known.map_or_else(|| format!("{number:#x}"), |(_, name)| (*name).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_says_what_it_found_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = folder.path().join("logs");
        let disk = Disk::probe(&logs, false).expect("it can be written to");
        assert!(!disk.file_system.is_empty());
        assert!(disk.syncs.len() >= LEAST_SYNCS as u64);
        assert_eq!(fs::read_dir(&logs).expect("it was made").count(), 0);
    }

    #[test]
    fn memory_is_no_disk() {
        let disk = Disk::probe(Path::new("/dev/shm"), false).expect("every Linux has it");
        assert_eq!(disk.file_system, "tmpfs");
        assert!(disk.is_memory());
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error() {
        assert!(Disk::probe(Path::new("/proc/nowhere"), false).is_err());
    }

    #[test]
    fn a_sync_that_no_device_could_do_is_noticed() {
        let mut disk = Disk { file_system: "ext4".into(), syncs: histogram() };
        disk.syncs.saturating_record(100_000);
        assert!(!disk.is_too_fast() && !disk.is_memory());
        disk.syncs.saturating_record_n(900, 10);
        assert!(disk.is_too_fast());
    }
}
