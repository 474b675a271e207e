//! The log on a real directory, and what recovery makes of every way in which its bytes can be wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorumbench::wal::{
    Durability, FileError, FileWrite, FileWritten, Identity, Image, Options, Problem, Recovered, Wal, WalError,
    WalStats, read,
};
use quorumbench_protocols::{Head, Lsn, Nanos, NodeId, Payload, Prng, Record};
use rustix::fs::{FileType, Mode};
use tempfile::TempDir;

#[path = "../../fuzz/src/wal.rs"]
#[expect(unreachable_pub, reason = "a library for the fuzzer, a module here")]
mod fuzz;

use fuzz::{IDENTITY, base, carry_out, write};

const BLOCK: usize = 512;

fn record(lsn: u64, len: usize) -> Record {
    let body: Vec<u8> = (0..len).map(|at| (at as u64 * 7 + lsn) as u8).collect();
    let head = Head { body_len: len as u32, kind: 1, words: [lsn; 6], ..Head::default() };
    Record { lsn: Lsn(lsn), head, body: Bytes::from(body).into() }
}

fn small(dir: &Path) -> Options {
    Options { segment_bytes: 16 << 10, ..Options::new(dir) }
}

fn assert_same(found: &[Record], expected: &[Record]) {
    let parts = |record: &Record| (record.lsn, record.head, record.body.clone());
    assert_eq!(found.iter().map(parts).collect::<Vec<_>>(), expected.iter().map(parts).collect::<Vec<_>>());
}

fn acknowledged() -> Vec<Record> {
    read(base(), &IDENTITY).expect("a good log").records
}

#[test]
fn what_is_written_is_read_whatever_its_shape() {
    let sizes = [0, 1, 63, 64, 65, 383, 384, 385, 447, 512, 1023, 1024, 4095, 4096, 70_000, 3];
    let ways = [
        (Durability::Fsync, false),
        (Durability::Fsync, true),
        (Durability::PageCache, false),
        (Durability::PageCache, true),
    ];
    for (durability, direct) in ways {
        for turn in [1, 3, sizes.len()] {
            let dir = tempfile::tempdir().expect("a directory");
            let options = Options { durability, direct, ..small(dir.path()) };
            let mut all: Vec<Record> = (1..).zip(sizes).map(|(lsn, len)| record(lsn, len)).collect();
            let pieces = [Bytes::from_static(b"in "), Bytes::from(vec![1; 2000]), Bytes::from_static(b"pieces")];
            all[4].body = Payload::Pieces(pieces.into());
            all[4].head.body_len = all[4].body.len() as u32;
            let mut wal = Wal::create(options.clone(), IDENTITY).expect("a new log");
            all.chunks(turn).for_each(|records| write(&mut wal, Nanos(1), &mut records.to_vec()));
            assert_eq!(wal.durable(), Lsn(sizes.len() as u64));
            drop(wal);
            let (mut wal, recovered) = Wal::open(options.clone(), IDENTITY).expect("a log");
            assert_same(&recovered.records, &all);
            assert_eq!(recovered.cut, None);
            all.push(record(17, 100));
            write(&mut wal, Nanos(1), &mut all[16..].to_vec());
            drop(wal);
            let (_, recovered) = Wal::open(options, IDENTITY).expect("a log that went on");
            assert_same(&recovered.records, &all);
        }
    }
}

/// `base`, and one more batch that was handed out and not written.
fn with_one_under_way(len: usize) -> (Image, FileWrite, Vec<Record>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut wal = Wal::create(small(dir.path()), IDENTITY).expect("a new log");
    let mut all: Vec<Record> = (1..=6).map(|lsn| record(lsn, 700)).collect();
    write(&mut wal, Nanos(1), &mut all.clone());
    let mut last = vec![record(7, len), record(8, 40)];
    all.extend(last.iter().cloned());
    wal.append(Nanos(1), &mut last).expect("a log that works");
    let mut writes = Vec::new();
    while writes.is_empty() {
        wal.submit(Nanos(1), &mut writes).expect("a log that works");
    }
    let last = writes.remove(0);
    drop(wal);
    (Image::read(dir.path()).expect("a log"), last, all)
}

fn patch(image: &Image, segment: usize, edit: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut image = image.clone();
    let mut bytes = image.segments[segment].1.to_vec();
    edit(&mut bytes);
    image.segments[segment].1 = bytes.into();
    image
}

#[test]
fn a_write_torn_at_any_byte_is_cut() {
    // In the segment that is there, and with the header of the next one before it.
    for (len, segment) in [(800, 0), (11_500, 1)] {
        let (image, write, all) = with_one_under_way(len);
        assert_eq!(write.offset == 0, segment == 1);
        let bytes: Vec<u8> = write.bytes.runs(0).flatten().copied().collect();
        let whole = (if segment == 1 { BLOCK } else { 0 }) + 64 + 64 + len + 64 + 40;
        let step = if segment == 0 { 1 } else { 3 };
        for torn in (0..=bytes.len()).step_by(step) {
            let image =
                patch(&image, segment, |file| file[write.offset as usize..][..torn].copy_from_slice(&bytes[..torn]));
            let recovered = read(&image, &IDENTITY).unwrap_or_else(|error| panic!("{torn}: {error}"));
            assert_same(&recovered.records, if torn < whole { &all[..6] } else { &all });
            // A header alone is no tail: the segment goes on behind it.
            let cut = torn > 0 && torn < whole && (segment == 0 || torn > BLOCK);
            assert!(recovered.cut.is_some() == cut || (segment == 1 && torn < BLOCK), "{torn} bytes");
        }
    }
}

/// Exact, or an error that names a file of the log; never less than was acknowledged.
fn exact_or_refused(image: &Image, all: &[Record], what: &str) -> Result<(), WalError> {
    match read(image, &IDENTITY) {
        Ok(Recovered { records, .. }) => {
            assert_same(&records, all);
            Ok(())
        }
        Err(error) => {
            assert!(error.file.starts_with(&image.dir) && error.at.is_some(), "{what}: {error}");
            Err(error)
        }
    }
}

/// Bytes of a segment that are more than zeros, in blocks.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| (at + 1).next_multiple_of(BLOCK))
}

#[test]
fn every_flipped_bit_is_noticed_or_does_no_harm() {
    let (image, all) = (base(), acknowledged());
    let (mut refused, mut harmless) = (0, 0);
    for segment in 0..image.segments.len() {
        for at in 0..used(&image.segments[segment].1) {
            // Each byte at one bit; of headers, which begin blocks, all.
            let bits = if at % BLOCK < 128 { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let flipped = patch(image, segment, |bytes| bytes[at] ^= 1 << bit);
                match exact_or_refused(&flipped, &all, &format!("bit {bit} of byte {at} of segment {segment}")) {
                    Ok(()) => harmless += 1,
                    Err(error) => {
                        refused += 1;
                        let path = &image.dir.join(format!("{:020}.log", image.segments[segment].0));
                        assert!(&error.file == path && error.at.is_some_and(|said| said <= at as u64), "{at}: {error}");
                    }
                }
            }
        }
    }
    assert!(refused > 10_000 && harmless > 1000, "{refused} refused, {harmless} in what nobody reads");
    for at in 0..image.snapshots[0].1.len() {
        let mut image = image.clone();
        let mut bytes = image.snapshots[0].1.to_vec();
        bytes[at] ^= 1 << (at % 8);
        image.snapshots[0].1 = bytes.into();
        exact_or_refused(&image, &all, "the snapshot").expect_err("it is needed");
    }
    for at in 0..2 * BLOCK {
        let mut image = image.clone();
        let mut bytes = image.mark.as_ref().expect("marks").to_vec();
        bytes[at] ^= 1 << (at % 8);
        image.mark = Some(bytes.into());
        exact_or_refused(&image, &all, "a mark").expect("the other mark, and the log, say enough");
    }
}

#[test]
fn a_tail_that_was_lost_is_missed() {
    let (image, all) = (base(), acknowledged());
    for segment in 0..image.segments.len() {
        let bytes = &image.segments[segment].1;
        let used = used(bytes);
        for len in 0..bytes.len() {
            let outcome = exact_or_refused(&patch(image, segment, |bytes| bytes.truncate(len)), &all, "cut short");
            // The last was prepared and not begun: nobody knows how long it was.
            assert!(outcome.is_err() || used == 0, "{len} bytes of segment {segment}");
        }
        for from in (0..used).step_by(7) {
            let end = bytes[from..used].iter().any(|&byte| byte != 0);
            let zeroed = patch(image, segment, |bytes| bytes[from..].fill(0));
            let outcome = exact_or_refused(&zeroed, &all, "zeros");
            let in_padding = used - from < BLOCK && outcome.is_ok();
            assert!(outcome.is_err() || in_padding || !end, "from byte {from} of segment {segment} on");
        }
    }
}

#[test]
fn a_tail_that_nobody_was_told_of_may_be_lost() {
    let (image, write, all) = with_one_under_way(3000);
    let bytes: Vec<u8> = write.bytes.runs(0).flatten().copied().collect();
    let image = patch(&image, 0, |file| file[write.offset as usize..][..bytes.len()].copy_from_slice(&bytes));
    for at in 0..bytes.len() {
        let flipped = patch(&image, 0, |file| file[write.offset as usize + at] ^= 1 << (at % 8));
        let recovered = read(&flipped, &IDENTITY).expect("nobody was told");
        assert_same(&recovered.records, if recovered.cut.is_some() { &all[..6] } else { &all });
    }
}

#[test]
fn segments_that_are_missing_or_out_of_place_are_missed() {
    let (image, all) = (base(), acknowledged());
    let last = image.segments.iter().rposition(|file| used(&file.1) > 0).expect("a segment");
    for segment in 0..=last {
        let mut gone = image.clone();
        gone.segments.remove(segment);
        let error = exact_or_refused(&gone, &all, "gone").expect_err("it is missing");
        assert!(matches!(error.problem, Problem::Corrupt(_) | Problem::Lost { .. }), "{error}");
    }
    let mut swapped = image.clone();
    (swapped.segments[0].1, swapped.segments[1].1) = (image.segments[1].1.clone(), image.segments[0].1.clone());
    let error = exact_or_refused(&swapped, &all, "swapped").expect_err("they are out of order");
    assert!(error.to_string().contains("by its header"), "{error}");
    let mut unmarked = image.clone();
    unmarked.mark = None;
    exact_or_refused(&unmarked, &all, "unmarked").expect_err("the marks are missing");
    let none = Image { dir: image.dir.clone(), ..Image::default() };
    assert!(matches!(read(&none, &IDENTITY).expect_err("nothing").problem, Problem::Missing));
}

#[test]
fn another_nodes_log_is_refused_by_name() {
    let others = [
        ("run", Identity { run: 8, ..IDENTITY }, "0000000000000007, where 0000000000000008"),
        ("node", Identity { node: NodeId(3), ..IDENTITY }, "n1, where n3"),
        ("group", Identity { group: 4, ..IDENTITY }, "0, where 4"),
        ("protocol", Identity { protocol: Identity::protocol("zab"), ..IDENTITY }, "raft, where zab"),
    ];
    for (what, identity, said) in others {
        let error = read(base(), &identity).expect_err("another's").to_string();
        assert!(error.contains(&format!("of another {what}: {said} was expected")), "{error}");
        assert!(error.contains("00000000000000000001.log"), "{error}");
    }
    let later = patch(base(), 0, |bytes| {
        bytes[8] = 2;
        bytes[76..80].fill(0);
        let crc = crc32c::crc32c(&bytes[..80]);
        bytes[76..80].copy_from_slice(&crc.to_le_bytes());
    });
    let error = read(&later, &IDENTITY).expect_err("of a later version").to_string();
    assert!(error.contains("of another version: 2, where 1 was expected"), "{error}");
}

#[test]
fn a_directory_that_cannot_hold_a_log_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(Wal::create(small(dir.path()), IDENTITY).expect("a new log"));
    let error = Wal::create(small(dir.path()), IDENTITY).expect_err("there is one");
    assert!(matches!(error.problem, Problem::Occupied), "{error}");
    let file = dir.path().join("a file");
    fs::write(&file, "").expect("a file");
    let error = Wal::create(small(&file.join("wal")), IDENTITY).expect_err("no directory");
    assert!(matches!(error.problem, Problem::Io { .. }) && error.to_string().contains("a file"), "{error}");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let error = Wal::open(small(&empty), IDENTITY).expect_err("nothing there");
    assert!(matches!(error.problem, Problem::Missing), "{error}");
}

#[test]
fn a_directory_that_is_read_only_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).expect("permissions");
    if fs::write(dir.path().join("probe"), "").is_ok() {
        println!("skipped: permissions do not bind this user");
        return;
    }
    let error = Wal::create(small(dir.path()), IDENTITY).expect_err("nothing can be created there");
    let problem = error.to_string();
    assert!(problem.contains(&dir.path().display().to_string()) && problem.contains("creating it"), "{problem}");
}

#[test]
fn a_disk_that_is_too_small_says_so_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { segment_bytes: 1 << 42, ..small(dir.path()) };
    let error = Wal::create(options, IDENTITY).expect_err("no disk is that large").to_string();
    assert!(error.contains(&format!("preallocating {} bytes in {}", 1_u64 << 42, dir.path().display())), "{error}");
}

/// Submits until there is something to write.
fn submit(wal: &mut Wal, now: u64) -> Vec<FileWrite> {
    let mut writes = Vec::new();
    wal.submit(Nanos(now), &mut writes).expect("a log that works");
    writes
}

fn done(wal: &mut Wal, write: FileWrite) -> Option<Lsn> {
    wal.written(Nanos(50), carry_out(write)).expect("a log that works")
}

#[test]
fn batches_complete_in_any_order_and_a_prefix_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { max_batch: 1, in_flight: 3, ..small(dir.path()) };
    let mut wal = Wal::create(options, IDENTITY).expect("a new log");
    wal.append(Nanos(1), &mut (1..=4).map(|lsn| record(lsn, 10)).collect()).expect("a log that works");
    let mut writes = submit(&mut wal, 1);
    assert_eq!(writes.len(), 3, "no more than may be in flight");
    assert!(submit(&mut wal, 2).is_empty());
    assert_eq!(wal.deadline(), Nanos::NEVER, "the next waits for room");
    assert_eq!(done(&mut wal, writes.remove(2)), None);
    assert_eq!(done(&mut wal, writes.remove(0)), Some(Lsn(1)));
    assert_eq!(done(&mut wal, writes.remove(0)), Some(Lsn(3)));
    assert_eq!(wal.durable(), Lsn(3));
    let WalStats { batches, records, syncs, longest_sync_ns, .. } = wal.stats();
    assert_eq!((batches, records, syncs, longest_sync_ns), (3, 4, 3, 49));
}

#[test]
fn records_linger_for_others_to_share_their_batch() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { linger: Duration::from_nanos(100), max_batch: 1000, ..small(dir.path()) };
    let mut wal = Wal::create(options, IDENTITY).expect("a new log");
    wal.append(Nanos(10), &mut vec![record(1, 100)]).expect("a log that works");
    assert!(submit(&mut wal, 10).is_empty());
    wal.append(Nanos(60), &mut vec![record(2, 100)]).expect("a log that works");
    assert_eq!(wal.deadline(), Nanos(110), "from the first of them");
    assert!(submit(&mut wal, 109).is_empty());
    let mut writes = submit(&mut wal, 110);
    assert_eq!(writes.len(), 1);
    assert_eq!(done(&mut wal, writes.remove(0)), Some(Lsn(2)), "both");
    wal.append(Nanos(200), &mut vec![record(3, 1100)]).expect("a log that works");
    assert!(wal.deadline() <= Nanos(200), "enough for a batch");
    assert!(submit(&mut wal, 200).iter().any(|write| write.sync));
}

#[test]
fn a_write_that_fails_is_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut wal = Wal::create(Options { max_batch: 1, ..small(dir.path()) }, IDENTITY).expect("a new log");
    wal.append(Nanos(1), &mut (1..=3).map(|lsn| record(lsn, 10)).collect()).expect("a log that works");
    let mut writes = submit(&mut wal, 1);
    let full = FileError::Write(std::io::ErrorKind::StorageFull.into());
    let FileWrite { id, bytes, .. } = writes.remove(1);
    let error = wal.written(Nanos(2), FileWritten { id, result: Err(full), bytes }).expect_err("it failed").to_string();
    assert!(error.contains("00000000000000000001.log: writing it: no storage space"), "{error}");
    let again = wal.written(Nanos(3), carry_out(writes.remove(0))).expect_err("never again").to_string();
    assert_eq!(again, error);
    assert!(wal.append(Nanos(4), &mut vec![record(4, 0)]).is_err());
    assert!(wal.submit(Nanos(4), &mut Vec::new()).is_err());
    assert_eq!((wal.durable(), wal.deadline()), (Lsn::ZERO, Nanos::NEVER));
}

/// What is in the file may be lost all the same: whoever reads of it must not look for a write.
#[test]
fn a_sync_that_fails_is_called_one() {
    let failed = |what: fn(std::io::Error) -> FileError| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut wal = Wal::create(small(dir.path()), IDENTITY).expect("a new log");
        wal.append(Nanos(1), &mut vec![record(1, 10)]).expect("a log that works");
        let FileWrite { id, bytes, .. } = submit(&mut wal, 1).remove(0);
        let result = Err(what(std::io::Error::from_raw_os_error(5)));
        wal.written(Nanos(2), FileWritten { id, result, bytes }).expect_err("it failed").to_string()
    };
    let [sync, either] = [failed(FileError::Sync), failed(FileError::Either)];
    assert!(sync.contains("00000000000000000001.log: syncing it: Input/output error"), "{sync}");
    assert!(either.contains(".log: writing and syncing it: Input/output error"), "{either}");
}

#[test]
fn a_segment_that_cannot_be_prepared_is_the_end() {
    let dir: TempDir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("wal");
    let mut wal = Wal::create(small(&path), IDENTITY).expect("a new log");
    fs::remove_dir_all(&path).expect("it is gone");
    let begun = Instant::now();
    let mut lsn = 0;
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was not noticed");
        lsn += 1;
        let _ = wal.append(Nanos(lsn), &mut vec![record(lsn, 8000)]);
        let mut writes = Vec::new();
        match wal.submit(Nanos(lsn), &mut writes) {
            Err(error) => break error,
            Ok(_) => writes.into_iter().for_each(|write| _ = done(&mut wal, write)),
        }
    };
    assert!(matches!(error.problem, Problem::Io { .. }), "{error}");
}

/// A log with a snapshot and a record behind it, and the path that the snapshot is first written to.
fn with_snapshot(dir: &Path) -> (Options, [Record; 2], PathBuf) {
    let mut snapshot = record(1, 5000);
    snapshot.head.kind = 9;
    let options = Options { durability: Durability::PageCache, ..small(dir) };
    (options, [snapshot, record(2, 10)], dir.join("snapshot-00000000000000000001.tmp"))
}

/// What somebody writes to a pipe, if it does so at all.
fn read_whole(pipe: PathBuf) -> Vec<u8> {
    let (reader, read) = std::sync::mpsc::channel();
    // It waits until somebody opens it, and for ever if nobody does.
    std::thread::spawn(move || reader.send(fs::read(pipe)));
    read.recv_timeout(Duration::from_secs(20)).expect("somebody writes to it").expect("all of it")
}

#[test]
fn nothing_behind_a_snapshot_is_durable_before_it_and_nobody_waits_for_its_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (options, all, path) = with_snapshot(dir.path());
    let mut wal = Wal::create(options.clone(), IDENTITY).expect("a new log");
    // Opening a pipe to write takes until somebody reads from it.
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    wal.append(Nanos(1), &mut all.to_vec()).expect("a log that works");
    let mut writes = submit(&mut wal, 1);
    assert_eq!(writes.len(), 1, "the batch");
    assert_eq!(done(&mut wal, writes.remove(0)), None, "the batch is there, the snapshot is not");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(wal.submit(Nanos(2), &mut writes).expect("a log that works"), None);
    assert!(wal.deadline() < Nanos::NEVER, "it looks again");
    let begun = Instant::now();
    let file = read_whole(path);
    let durable = loop {
        assert!(begun.elapsed() < Duration::from_secs(20) && wal.deadline() < Nanos::NEVER);
        if let Some(durable) = wal.submit(Nanos(2), &mut writes).expect("a log that works") {
            break durable;
        }
    };
    assert_eq!(durable, Lsn(2));
    drop(wal);
    let named = dir.path().join("snapshot-00000000000000000001");
    fs::remove_file(&named).expect("it has its name");
    fs::write(&named, &file).expect("a file");
    let (_, recovered) = Wal::open(options, IDENTITY).expect("a log");
    assert_same(&recovered.records, &all);
}

#[test]
fn a_snapshot_that_cannot_be_set_aside_is_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let (options, all, path) = with_snapshot(dir.path());
    let mut wal = Wal::create(options, IDENTITY).expect("a new log");
    fs::create_dir(&path).expect("a directory in its place");
    wal.append(Nanos(1), &mut all.to_vec()).expect("a log that works");
    let mut writes = submit(&mut wal, 1);
    assert_eq!(done(&mut wal, writes.remove(0)), None);
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was not noticed");
        match wal.submit(Nanos(2), &mut writes) {
            Err(error) => break error.to_string(),
            Ok(durable) => assert_eq!(durable, None),
        }
    };
    assert!(error.contains(&format!("{}: creating it: ", path.display())), "{error}");
    assert_eq!((wal.durable(), wal.deadline()), (Lsn::ZERO, Nanos::NEVER));
}

/// What the fuzzer does, for as long as a test may take, and without it.
#[test]
fn no_directory_makes_recovery_panic() {
    let mut logs = 0;
    for seed in 0..6000 {
        let mut prng = Prng::new(seed);
        let len = if seed % 4 == 0 { prng.below(6000) } else { 1 + 6 * (1 + prng.below(4)) };
        let mut data: Vec<u8> = (0..len).map(|_| prng.next_u64() as u8).collect();
        if let Some(first) = data.first_mut() {
            *first = u8::from(seed % 4 != 0);
        }
        logs += u32::from(fuzz::recover(&data));
    }
    assert!(logs > 300, "{logs} were logs all the same");
}
