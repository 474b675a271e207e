//! The log on a disk that crashes: writes complete in any order, and of those under way any blocks are there.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use quorumbench_protocols::{Head, Lsn, Nanos, NodeId, Prng, Record};
use tempfile::TempDir;

use super::directory::{Image, MARK, segment_name, snapshot_name, unfinished_snapshot_name};
use super::open::cut;
use super::reader::Reader;
use super::recovery::{Heed, Scan, openings, read_marks, scan};
use super::{Identity, Options, Problem, Wal};
use quorumbench_transports::storage::{FileWrite, FileWritten};

const SNAPSHOT_KIND: u8 = 9;
const IDENTITY: Identity = Identity {
    run: 0x1234_5678,
    node: NodeId(2),
    group: 0,
    protocol: *b"raft\0\0\0\0\0\0\0\0\0\0\0\0",
    snapshot_kind: Some(SNAPSHOT_KIND),
};
const BLOCK: usize = 512;

/// In memory where that is possible: thousands of logs are made.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn record(lsn: Lsn, kind: u8, len: usize, prng: &mut Prng) -> Record {
    let body: Vec<u8> = (0..len).map(|_| prng.next_u64() as u8).collect();
    let words = [lsn.0, prng.next_u64(), 0, 0, 0, 0];
    let head = Head { body_len: len as u32, kind, words, ..Head::default() };
    Record { lsn, head, body: Bytes::from(body).into() }
}

/// What the disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// It says that it has synced, and has not written.
    Lies,
}

/// A node with a disk.
struct Lab {
    dir: TempDir,
    prng: Prng,
    options: Options,
    wal: Option<Wal>,
    bug: Bug,
    pending: Vec<FileWrite>,
    /// All that was ever written and not cut, by number.
    written: Vec<Record>,
    acknowledged: Lsn,
    released: Lsn,
    /// The marks as they were when the log was opened: none of them was synced since.
    marks: Vec<u8>,
    /// That had not their names yet when it crashed.
    torn_snapshots: u32,
    now: Nanos,
}

impl Lab {
    fn new(seed: u64, bug: Bug) -> Self {
        let (dir, mut prng) = (directory(), Prng::new(seed));
        let options = Options {
            max_batch: 300 + prng.below(2000) as usize,
            segment_bytes: 16 << 10,
            in_flight: 1 + prng.below(5) as usize,
            direct: prng.below(8) == 0,
            ..Options::new(dir.path())
        };
        let wal = Wal::create(options.clone(), IDENTITY).expect("a new log");
        let marks = fs::read(dir.path().join(MARK)).expect("marks");
        let (pending, written) = (Vec::new(), Vec::new());
        let (acknowledged, released, now) = (Lsn::ZERO, Lsn::ZERO, Nanos(1));
        Self {
            dir,
            prng,
            options,
            wal: Some(wal),
            bug,
            pending,
            written,
            acknowledged,
            released,
            marks,
            torn_snapshots: 0,
            now,
        }
    }

    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().expect("a log that is open")
    }

    fn append(&mut self) {
        let count = 1 + self.prng.below(4);
        let mut records = Vec::new();
        for _ in 0..count {
            let lsn = Lsn(self.written.len() as u64 + 1);
            let (kind, len) = match self.prng.below(40) {
                0..3 => (SNAPSHOT_KIND, 1500),
                3 => (1, 20_000),
                4..20 => (1, 900),
                _ => (1, 30),
            };
            let len = self.prng.below(len) as usize;
            let record = record(lsn, kind, len, &mut self.prng);
            self.written.push(record.clone());
            records.push(record);
        }
        let now = self.now;
        self.wal().append(now, &mut records).expect("a log that works");
    }

    fn submit(&mut self) {
        let mut writes = Vec::new();
        self.now += self.prng.below(400_000);
        loop {
            let now = self.now;
            let durable = self.wal().submit(now, &mut writes).expect("a log that works");
            self.acknowledge(durable);
            if !self.wal().waits_for_keeper() {
                break;
            }
            std::thread::yield_now();
        }
        self.pending.append(&mut writes);
    }

    fn complete_one(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let FileWrite { id, file, offset, bytes, .. } = {
            let at = self.prng.below(self.pending.len() as u64) as usize;
            self.pending.remove(at)
        };
        let run: Vec<u8> = bytes.runs(0).flatten().copied().collect();
        if self.bug != Bug::Lies {
            write_through(&file, &run, offset).expect("a write");
        }
        self.now += 1;
        let now = self.now;
        let durable = self.wal().written(now, FileWritten { id, result: Ok(()), bytes }).expect("a log that works");
        self.acknowledge(durable);
    }

    fn acknowledge(&mut self, durable: Option<Lsn>) {
        let Some(durable) = durable else { return };
        assert!(durable > self.acknowledged && durable.0 <= self.written.len() as u64);
        self.acknowledged = durable;
        let snapshot = self.written[..durable.0 as usize].iter().rev().find(|record| record.head.kind == SNAPSHOT_KIND);
        let release = snapshot.map_or(Lsn::ZERO, |record| record.lsn);
        if release > self.released && self.prng.below(3) == 0 {
            self.released = release;
            self.wal().release(release);
        }
    }

    fn work(&mut self, steps: u64) {
        for _ in 0..steps {
            match self.prng.below(4) {
                0 => self.append(),
                1 => self.submit(),
                _ => self.complete_one(),
            }
        }
    }

    /// The power fails: of the writes under way, any blocks are there, and one in part.
    fn crash(&mut self) {
        self.wal = None;
        let all = self.prng.below(4);
        for FileWrite { file, offset, bytes, .. } in std::mem::take(&mut self.pending) {
            let run: Vec<u8> = bytes.runs(0).flatten().copied().collect();
            for (index, block) in run.chunks(BLOCK).enumerate() {
                let kept = match (all, self.prng.below(8)) {
                    (0, _) | (2.., 0..3) => 0,
                    (2.., 3) => self.prng.below(block.len() as u64) as usize,
                    _ => block.len(),
                };
                let at = offset + (index * BLOCK) as u64;
                write_through(&file, &block[..kept], at).expect("a write");
            }
        }
        self.crash_while_set_aside();
        let path = self.dir.path().join(MARK);
        let mut marks = fs::read(&path).expect("marks");
        for slot in 0..2 {
            if self.prng.below(2) == 0 {
                marks[slot * BLOCK..][..64].copy_from_slice(&self.marks[slot * BLOCK..][..64]);
            }
        }
        fs::write(path, marks).expect("marks");
    }

    /// Of the snapshots behind what is acknowledged, some were not named yet, some not written, and some not begun.
    fn crash_while_set_aside(&mut self) {
        let dir = self.dir.path();
        for Record { lsn, .. } in &self.written[self.acknowledged.0 as usize..] {
            let (named, unfinished) = (dir.join(snapshot_name(*lsn)), dir.join(unfinished_snapshot_name(*lsn)));
            let Ok(whole) = fs::metadata(&named).map(|file| file.len()) else { continue };
            self.torn_snapshots += 1;
            match self.prng.below(5) {
                0 | 1 => self.torn_snapshots -= 1,
                2 => fs::remove_file(&named).expect("a snapshot"),
                torn => {
                    fs::rename(&named, &unfinished).expect("a snapshot");
                    let file = fs::OpenOptions::new().write(true).open(&unfinished).expect("a snapshot");
                    file.set_len(if torn == 3 { whole } else { self.prng.below(whole + 1) }).expect("a cut");
                }
            }
        }
    }

    /// What there is, whatever pieces it is read in.
    fn scan(&self) -> Scan {
        let image = Image::read(self.dir.path()).expect("a directory");
        let whole = scan(&image, &IDENTITY, Heed::All).unwrap_or_else(|error| panic!("{error}"));
        let window = self.prng.clone().below(10_000);
        let image = Image::open(self.dir.path(), window).expect("a directory");
        let pieces = scan(&image, &IDENTITY, Heed::All).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "in pieces of {window} bytes");
        whole
    }

    /// What is acknowledged is there, and what else is there was written.
    fn check(&self, scan: &Scan) {
        assert!(scan.last >= self.acknowledged, "{} were acknowledged and {} are there", self.acknowledged, scan.last);
        assert!(scan.release <= self.released);
        let from = scan.release.0.max(1) as usize - 1;
        let expected = &self.written[from..scan.last.0 as usize];
        let records = &scan.recovered.records;
        assert_eq!(records.len(), expected.len());
        for (found, expected) in records.iter().zip(expected) {
            assert_eq!((found.lsn, found.head, &found.body), (expected.lsn, expected.head, &expected.body));
        }
    }

    /// A crash while a torn tail is being cut off.
    fn cut_in_part(&mut self, scan: &Scan) {
        let image = Image::read(self.dir.path()).expect("a directory");
        let end = scan.segments.len() - 1;
        for index in (end + 1..image.segments.len()).rev() {
            if self.prng.below(2) == 0 {
                break;
            }
            fs::remove_file(image.segment_path(index)).expect("a segment");
        }
        let (_, bytes) = &image.segments[end];
        let file = fs::OpenOptions::new().write(true).open(image.segment_path(end)).expect("a segment");
        for at in (scan.end as usize..bytes.len()).step_by(BLOCK) {
            if self.prng.below(2) == 0 {
                file.write_all_at(&[0; BLOCK], at as u64).expect("a write");
            }
        }
    }

    fn reopen(&mut self) {
        let (wal, recovered) = Wal::open(self.options.clone(), IDENTITY).unwrap_or_else(|error| panic!("{error}"));
        let last = wal.durable();
        assert!(recovered.records.last().is_none_or(|record| record.lsn == last));
        // Nobody else may be at work in the directory while it is looked at.
        drop(wal);
        self.written.truncate(last.0 as usize);
        self.acknowledged = last;
        let again = self.scan();
        assert_eq!((again.last, &again.recovered.cut), (last, &None), "cut off for good");
        self.check(&again);
        self.marks = fs::read(self.dir.path().join(MARK)).expect("marks");
        self.wal = Some(Wal::open(self.options.clone(), IDENTITY).unwrap_or_else(|error| panic!("{error}")).0);
    }
}

/// `O_DIRECT` wants its memory aligned; these tests are not about that.
fn write_through(file: &fs::File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::OpenOptions::new().write(true).open(path)?.write_all_at(bytes, at)
}

/// In how many of its crashes a tail was torn, in how many of these more was behind it, and how many snapshots were torn.
fn live(seed: u64, bug: Bug) -> [u32; 3] {
    let mut lab = Lab::new(seed, bug);
    let (mut cut, mut behind) = (0, 0);
    for _ in 0..3 {
        let steps = lab.prng.below(150);
        lab.work(steps);
        lab.crash();
        let scan = lab.scan();
        lab.check(&scan);
        cut += u32::from(scan.recovered.cut.is_some());
        behind += u32::from(scan.recovered.cut.as_ref().is_some_and(|cut| cut.batches > 0));
        if lab.prng.below(2) == 0 {
            lab.cut_in_part(&scan);
            let again = lab.scan();
            assert_eq!(again.last, scan.last);
            lab.check(&again);
        }
        lab.reopen();
    }
    [cut, behind, lab.torn_snapshots]
}

#[test]
fn what_was_acknowledged_survives_any_crash() {
    let seeds = std::env::var("WAL_SEEDS").map_or(400, |seeds| seeds.parse().expect("a number"));
    let mut seen = [0; 3];
    for seed in 0..seeds {
        let more = std::panic::catch_unwind(|| live(seed, Bug::None)).unwrap_or_else(|_| panic!("seed {seed}"));
        seen = std::array::from_fn(|index| seen[index] + u64::from(more[index]));
    }
    let [cut, behind, torn] = seen;
    assert!(
        cut > seeds / 2 && behind > seeds / 4 && torn > seeds / 4,
        "{cut} torn tails, {behind} with more behind, {torn} torn snapshots"
    );
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let silence = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let found = (0..20).filter(|&seed| std::panic::catch_unwind(|| live(seed, Bug::Lies)).is_err()).count();
    std::panic::set_hook(silence);
    assert!(found >= 19, "{found} of 20");
}

/// A log of many batches in order, all acknowledged.
fn orderly(seed: u64, turns: usize) -> Lab {
    let mut lab = Lab::new(seed, Bug::None);
    lab.options.direct = false;
    for _ in 0..turns {
        lab.append();
        while !lab.wal().is_idle() {
            lab.submit();
            lab.complete_one();
        }
    }
    lab.wal = None;
    lab
}

/// If recovery did not ask who was told, it would forget: the check above can fail.
#[test]
fn a_log_that_asks_nobody_forgets() {
    let lab = orderly(3, 12);
    let mut image = Image::read(lab.dir.path()).expect("a directory");
    let whole = scan(&image, &IDENTITY, Heed::All).expect("a log");
    let index = whole.segments.len() - 1;
    let mut bytes = image.segments[index].1.to_vec();
    bytes[whole.end as usize - BLOCK + 70] ^= 1;
    bytes[BLOCK + 70] ^= 1;
    image.segments[index].1 = bytes.into();
    let heedless = scan(&image, &IDENTITY, Heed::Nothing).expect("it thinks nothing of it");
    assert!(heedless.last < lab.acknowledged);
    let error = scan(&image, &IDENTITY, Heed::All).expect_err("it says what is lost");
    assert!(matches!(error.problem, Problem::Lost { acknowledged, .. } if acknowledged == lab.acknowledged), "{error}");
    assert!(error.to_string().contains(&segment_name(image.segments[index].0)), "{error}");
}

/// A sync that failed leaves in the page cache what the disk does not have, and the kernel may drop it at any moment.
#[test]
fn what_may_not_be_on_disk_is_written_again_as_it_was_read() {
    let mut lab = orderly(7, 12);
    lab.options.max_batch = 1 << 20;
    let ways = lab.options.ways();
    lab.wal = Some(Wal::open(lab.options.clone(), IDENTITY).expect("a log").0);
    // A batch that goes into a segment of its own, and nobody hears of it.
    let large = record(Lsn(lab.written.len() as u64 + 1), 1, 20_000, &mut lab.prng);
    lab.written.push(large.clone());
    lab.wal().append(Nanos(1), &mut vec![large]).expect("a log that works");
    while lab.pending.is_empty() {
        lab.submit();
    }
    let FileWrite { file, offset, bytes, .. } = lab.pending.remove(0);
    assert_eq!(offset, 0, "with the header of its segment");
    let run: Vec<u8> = bytes.runs(0).flatten().copied().collect();
    file.write_all_at(&run, 0).expect("a write");
    lab.wal = None;
    let image = Image::open(lab.dir.path(), 4096).expect("a directory");
    let read = scan(&image, &IDENTITY, Heed::All).expect("a log");
    assert_eq!(read.last.0, lab.written.len() as u64);
    file.write_all_at(&vec![0; run.len()], 0).expect("it is dropped");
    cut(&image, &read, &ways).expect("it is written again");
    lab.acknowledged = read.last;
    lab.check(&lab.scan());
}

/// A log of which little is needed takes little memory, however long it is.
#[test]
fn what_was_released_is_not_kept_while_a_log_is_read() {
    let lab = orderly(5, 400);
    let image = Image::open(lab.dir.path(), BLOCK as u64).expect("a directory");
    let openings = openings(&image, &IDENTITY).expect("segments");
    let mut reader = Reader::new(&image, &IDENTITY, &openings, Heed::All);
    let mark = read_marks(&image, &IDENTITY).expect("marks");
    reader.acknowledge(Lsn(mark.durable));
    reader.walk().expect("a log");
    let (kept, needed) = (reader.records.len(), lab.written.len() - reader.release().0 as usize + 1);
    let gone = reader.release().0 - reader.first.0;
    assert!(kept == needed && gone > 10, "{kept} records are kept of {needed} that are needed, {gone} were not");
    let unsure = reader.into_scan(0, 0).unsure.len();
    assert_eq!(unsure, 0, "all of them were acknowledged");
}

#[test]
fn what_is_released_goes_and_segments_are_used_again() {
    let lab = orderly(5, 400);
    let sequences: Vec<u64> = Image::read(lab.dir.path()).expect("a directory").segments.iter().map(|s| s.0).collect();
    assert!(sequences[0] > 5 && sequences.len() < 12, "{sequences:?}");
    lab.check(&lab.scan());
    assert!(fs::metadata(Path::new(lab.dir.path()).join(segment_name(1))).is_err());
}
