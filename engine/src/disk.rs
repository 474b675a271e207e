//! The disk that logs are written to: what it is, and how long a sync takes it when nothing else happens.
//!
//! A commit cannot be faster than the sync that it waits for, so every result that has synced logs behind it stands
//! beside the disk's own syncs, measured alone, just before.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
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
    /// The same where as many files are written and synced at the same moment as there are logs on this disk.
    pub together: Histogram<u64>,
}

impl Disk {
    /// Bytes of each write that is synced.
    pub const BLOCK: usize = 4096;

    /// Looks at the disk that `folder` is on and `logs` logs will be, for a second at most. The folder is made if it is
    /// not there; the files that were written to are removed.
    ///
    /// The blocks were written before, as a log's are, so that a sync writes data and nothing about the file.
    ///
    /// # Errors
    /// The machine's: the folder cannot be written to, is full, or takes no `O_DIRECT`.
    pub fn probe(folder: &Path, direct: bool, logs: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = |log| folder.join(format!("probe-{}-{log}", std::process::id()));
        let files = (0..logs).map(|log| Probed::create(path(log), direct)).collect::<io::Result<Vec<_>>>()?;
        let syncs = files.first().map_or_else(|| Ok(histogram()), one_after_the_other)?;
        let together = match files.len() {
            0 | 1 => syncs.clone(),
            all => at_once(&files, (syncs.len() as usize / all).clamp(LEAST_SYNCS, MOST_SYNCS))?,
        };
        Ok(Self { file_system: file_system(folder)?, syncs, together })
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

/// A file whose blocks are all written, to write its blocks over and over.
struct Probed {
    path: PathBuf,
    file: File,
    block: AlignedBuffer,
}

impl Probed {
    fn create(path: PathBuf, direct: bool) -> io::Result<Self> {
        let buffered = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let mut block = AlignedBuffer::default();
        block.extend_from_slice(&[1; Disk::BLOCK]);
        let mut probed = Self { path, file: buffered, block };
        probed.file.write_all_at(&vec![0; BLOCKS as usize * Disk::BLOCK], 0)?;
        probed.file.sync_all()?;
        if direct {
            probed.file = open_to_write(&probed.path, true)?;
        }
        Ok(probed)
    }

    /// How long it took to make the `count`th block durable, in nanoseconds.
    fn sync(&self, count: usize) -> io::Result<u64> {
        let at = Instant::now();
        self.file.write_all_at(&self.block, count as u64 % BLOCKS * Disk::BLOCK as u64)?;
        self.file.sync_data()?;
        Ok(at.elapsed().as_nanos() as u64)
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn one_after_the_other(probed: &Probed) -> io::Result<Histogram<u64>> {
    let mut times = histogram();
    let begin = Instant::now();
    for count in 0..MOST_SYNCS {
        if count >= LEAST_SYNCS && begin.elapsed() > PROBE {
            break;
        }
        times.saturating_record(probed.sync(count)?);
    }
    Ok(times)
}

/// All of them begin at the same moment, `rounds` times.
fn at_once(all: &[Probed], rounds: usize) -> io::Result<Histogram<u64>> {
    let ready = Barrier::new(all.len());
    let rounds_of = |probed: &Probed| {
        let mut times: io::Result<_> = Ok(histogram());
        for count in 0..rounds {
            // Whose disk has failed still keeps the others company.
            ready.wait();
            times = times.and_then(|mut times| {
                times.saturating_record(probed.sync(count)?);
                Ok(times)
            });
        }
        times
    };
    thread::scope(|scope| {
        let each: Vec<_> = all.iter().map(|probed| scope.spawn(|| rounds_of(probed))).collect();
        let mut times = histogram();
        for one in each {
            let one = one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            times.add(one).map_err(io::Error::other)?;
        }
        Ok(times)
    })
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

/// What the kernel calls the file system of a folder that is there.
pub(crate) fn file_system(folder: &Path) -> io::Result<String> {
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
        let disk = Disk::probe(&logs, false, 3).expect("it can be written to");
        assert!(!disk.file_system.is_empty());
        assert!(disk.syncs.len() >= LEAST_SYNCS as u64);
        assert!(disk.together.len() >= 3 * LEAST_SYNCS as u64 && disk.together.len().is_multiple_of(3));
        assert_eq!(fs::read_dir(&logs).expect("it was made").count(), 0);
    }

    #[test]
    fn memory_is_no_disk() {
        let disk = Disk::probe(Path::new("/dev/shm"), false, 1).expect("every Linux has it");
        assert_eq!(disk.file_system, "tmpfs");
        assert!(disk.is_memory());
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error() {
        assert!(Disk::probe(Path::new("/proc/nowhere"), false, 1).is_err());
    }

    #[test]
    fn a_sync_that_no_device_could_do_is_noticed() {
        let mut disk = Disk { file_system: "ext4".into(), syncs: histogram(), together: histogram() };
        disk.syncs.saturating_record(100_000);
        assert!(!disk.is_too_fast() && !disk.is_memory());
        disk.syncs.saturating_record_n(900, 10);
        assert!(disk.is_too_fast());
    }
}
