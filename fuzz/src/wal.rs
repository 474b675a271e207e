//! Directories of a log, as no log leaves them: recovery must say what it makes of them, and not panic.

use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use bytes::Bytes;
use quorumbench::wal::{FileError, FileWrite, FileWritten, Identity, Image, Options, Wal, read};
use quorumbench_protocols::{Head, Lsn, Nanos, NodeId, Record};

/// Whose logs they are.
pub const IDENTITY: Identity =
    Identity { run: 7, node: NodeId(1), group: 0, protocol: *b"raft\0\0\0\0\0\0\0\0\0\0\0\0", snapshot_kind: Some(9) };
const BLOCK: usize = 512;

/// Makes a directory of `data`, recovers it, and checks what comes of it. Whether it was a log.
///
/// An even first byte: the rest is the files themselves. An odd one: it is what is done to a good log.
///
/// # Panics
/// If recovery does, or finds more than there is, or records with a gap between them.
pub fn recover(data: &[u8]) -> bool {
    let Some((&first, rest)) = data.split_first() else { return false };
    let image = if first.is_multiple_of(2) { raw(rest) } else { edited(rest) };
    let size: usize = image.segments.iter().map(|file| file.1.len()).sum();
    let aside: usize = image.snapshots.iter().map(|file| file.1.len()).sum();
    let Ok(recovered) = read(&image, &IDENTITY) else { return false };
    let records = &recovered.records;
    assert!(records.windows(2).all(|pair| pair[1].lsn == pair[0].lsn + 1));
    assert!(records.len() * Head::BYTES <= size && recovered.bytes as usize <= size);
    assert!(records.iter().map(|record| record.body.len()).sum::<usize>() <= size + aside);
    assert!(records.iter().all(|record| record.body.len() == record.head.body_len as usize));
    true
}

/// Files of lengths that stand before them, in blocks: marks, a snapshot, segments.
fn raw(mut data: &[u8]) -> Image {
    let mut files = Vec::new();
    while let Some((&blocks, rest)) = data.split_first() {
        let (file, behind) = rest.split_at((usize::from(blocks) * BLOCK).min(rest.len()));
        files.push(Bytes::copy_from_slice(file));
        data = behind;
    }
    let mut files = files.into_iter();
    let (mark, snapshot) = (files.next(), files.next());
    let snapshots = snapshot.into_iter().map(|file| (Lsn(3), file)).collect();
    Image { dir: "fuzz".into(), segments: (1..).zip(files).collect(), mark, snapshots }
}

/// A good log after some edits, of six bytes each: what, which file, where, and how.
fn edited(data: &[u8]) -> Image {
    let mut image = base().clone();
    for edit in data.chunks_exact(6).take(16) {
        let &[what, file, low, high, value, more] = edit else { continue };
        let index = usize::from(file) % (image.segments.len() + 2);
        let slot = match index.checked_sub(2) {
            Some(segment) => &mut image.segments[segment].1,
            None if index == 0 => image.mark.get_or_insert_default(),
            None => &mut image.snapshots[0].1,
        };
        let mut bytes = slot.to_vec();
        let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len().max(1);
        apply(&mut bytes, what, at, value, more);
        *slot = bytes.into();
    }
    image
}

fn apply(bytes: &mut Vec<u8>, what: u8, at: usize, value: u8, more: u8) {
    let block = at / BLOCK * BLOCK;
    let len = bytes.len();
    match what % 6 {
        0 if at < len => bytes[at] ^= value.max(1),
        1 => bytes[at..(at + usize::from(value) * 16).min(len)].fill(more),
        2 if block + BLOCK <= len => {
            let to = usize::from(value) * BLOCK % len;
            if to + BLOCK <= len {
                bytes.copy_within(block..block + BLOCK, to);
            }
        }
        3 => bytes.truncate(at),
        // A field of a header, made to look as if it had been meant.
        4 => {
            let field = block + usize::from(value) % 80;
            if field < len {
                bytes[field] = more;
            }
            reseal(bytes, block, 64, 4);
        }
        5 => {
            let field = usize::from(value) % 80;
            if field < len {
                bytes[field] = more;
            }
            reseal(bytes, 0, 80, 76);
        }
        _ => {}
    }
}

/// Writes the checksum of the `len` bytes at `at` into their byte `crc`.
fn reseal(bytes: &mut [u8], at: usize, len: usize, crc: usize) {
    let Some(header) = bytes.get_mut(at..at + len) else { return };
    header[crc..crc + 4].fill(0);
    let sealed = crc32c::crc32c(header).to_le_bytes();
    header[crc..crc + 4].copy_from_slice(&sealed);
}

/// A small log: batches of several sizes, a snapshot, three segments.
pub fn base() -> &'static Image {
    static BASE: OnceLock<Image> = OnceLock::new();
    BASE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { segment_bytes: 4 << 10, ..Options::new(dir.path()) };
        let mut wal = Wal::create(options, IDENTITY).expect("a log");
        for turn in 0..12_u64 {
            let record = |lsn: u64| {
                let kind = if lsn == 3 { 9 } else { 1 };
                let body = vec![lsn as u8; (lsn as usize * 131) % 700];
                let head = Head { body_len: body.len() as u32, kind, words: [lsn; 6], ..Head::default() };
                Record { lsn: Lsn(lsn), head, body: Bytes::from(body).into() }
            };
            write(&mut wal, Nanos(turn), &mut (1..=2).map(|more| record(2 * turn + more)).collect());
        }
        drop(wal);
        Image::read(dir.path()).expect("a log")
    })
}

/// Appends records and does all that there is to do, in as much time as it takes.
pub fn write(wal: &mut Wal, mut now: Nanos, records: &mut Vec<Record>) {
    wal.append(now, records).expect("a log that works");
    let mut writes = Vec::new();
    while !wal.is_idle() {
        now = Some(wal.deadline()).filter(|&due| due < Nanos::NEVER).map_or(now, |due| due.max(now));
        wal.submit(now, &mut writes).expect("a log that works");
        for write in writes.drain(..) {
            let written = carry_out(write);
            wal.written(now, written).expect("a log that works");
        }
    }
}

/// Does as a ring would.
pub fn carry_out(write: FileWrite) -> FileWritten {
    let FileWrite { id, file, mut offset, bytes, sync } = write;
    let written = bytes.runs(0).try_for_each(|run| {
        file.write_all_at(run, offset)?;
        offset += run.len() as u64;
        Ok(())
    });
    let mut outcome = written.map_err(FileError::Write);
    if sync && outcome.is_ok() {
        outcome = file.sync_data().map_err(FileError::Sync);
    }
    FileWritten { id, result: outcome, bytes }
}
