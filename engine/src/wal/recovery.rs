//! What a log says after a crash: a function of the bytes in its directory, and of nothing else.
//!
//! The batches are read in order up to the first that is not there as it was written. That one, `b`, and all behind it
//! are a torn tail, unless something says that `b` was acknowledged: the marks, or the header of any batch, wherever
//! it stands in what is left, that was built when `b` was durable already. Then the log is corrupt, and nothing is cut.

use std::path::PathBuf;

use bytes::Bytes;
use quorumbench_protocols::{Lsn, Payload, Record};

use super::Identity;
use super::directory::{Image, MARK, segment_name};
use super::error::{Problem, WalError};
use super::format::{self, BLOCK, BatchHeader, DIRECT_BLOCK, Mark, Sealed, SegmentHeader, VERSION, read_record};

/// What a log says.
#[derive(Debug)]
pub struct Recovered {
    /// What a node is rebuilt from: everything from the last release on, or from the first record.
    pub records: Vec<Record>,
    /// Bytes of the batches that were read.
    pub bytes: u64,
    /// The tail that was cut off, if there was one.
    pub cut: Option<Cut>,
}

/// A tail that was torn: nothing in it had been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file in which that shows.
    pub file: PathBuf,
    /// At which byte.
    pub at: u64,
    /// What stands there.
    pub found: &'static str,
    /// Batches behind it whose headers are intact: they were written at the same time and got further.
    pub batches: usize,
}

/// What is to be done before a log goes on.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) recovered: Recovered,
    /// Bytes in a block.
    pub(super) block: u32,
    /// The last record that there is.
    pub(super) last: Lsn,
    pub(super) release: Lsn,
    /// The number of the last mark.
    pub(super) generation: u64,
    /// Each segment that holds batches, or will next, with its last record.
    pub(super) segments: Vec<(usize, Lsn)>,
    /// Where the log goes on: in the last of them, at this byte.
    pub(super) end: u64,
    /// Where what may not have been acknowledged begins: an index into the image's segments, and a byte.
    pub(super) unsure: (usize, u64),
    /// Snapshots that are needed.
    pub(super) snapshots: Vec<Lsn>,
}

/// What says that a record was acknowledged. Only tests look away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    All,
    #[cfg(test)]
    Nothing,
}

/// Reads a log without touching it.
///
/// # Errors
/// If it is none, or another's, or corrupt.
pub fn read(image: &Image, identity: &Identity) -> Result<Recovered, WalError> {
    scan(image, identity, Heed::All).map(|scan| scan.recovered)
}

pub(super) fn scan(image: &Image, identity: &Identity, heed: Heed) -> Result<Scan, WalError> {
    let headers = headers(image, identity)?;
    let mark = read_marks(image, identity)?;
    let mut reader = Reader::new(image, identity, &headers);
    reader.walk()?;
    let mut acknowledged = reader.batches.iter().map(|batch| batch.durable).fold(Lsn(mark.durable), Lsn::max);
    reader.resolve_snapshots();
    let intact = reader.headers_behind(&headers);
    acknowledged = intact.iter().copied().fold(acknowledged, Lsn::max);
    #[cfg(test)]
    if heed == Heed::Nothing {
        acknowledged = Lsn::ZERO;
    }
    let _ = heed;
    let last = reader.last();
    if last < acknowledged {
        let damage = reader.stop.found.unwrap_or("nothing stands here");
        let (segment, at) = reader.stop.damage;
        let file = image.segment_path(segment);
        return Err(WalError::new(&file, Some(at), Problem::Lost { damage, ends: last, acknowledged }));
    }
    let release = reader.release();
    if reader.first > release && reader.first > Lsn(1) {
        let file = image.dir.join(segment_name(image.segments[0].0.saturating_sub(1)));
        let what = format!("it is missing: nothing says that the records before {} may go", reader.first);
        return Err(WalError::corrupt(&file, 0, what));
    }
    Ok(reader.into_scan(acknowledged, release, mark.generation, intact.len(), &headers))
}

/// No log comes to so many segments or records.
const MOST: u64 = 1 << 62;

/// What a segment's first block says.
#[derive(Clone, Copy, Debug)]
enum Opening {
    Begun(SegmentHeader),
    /// Zeros: it was prepared, and not used yet.
    Blank,
    /// It was being written.
    Torn,
}

fn headers(image: &Image, identity: &Identity) -> Result<Vec<Opening>, WalError> {
    let Some((before, _)) = image.segments.first() else {
        return Err(WalError::new(&image.dir, None, Problem::Missing));
    };
    for (index, (sequence, _)) in image.segments.iter().enumerate() {
        let due = before.saturating_add(index as u64);
        if *sequence != due {
            return Err(WalError::corrupt(
                &image.dir.join(segment_name(due)),
                0,
                "it is missing, and later ones are there",
            ));
        }
    }
    let openings = (0..image.segments.len()).map(|index| opening(image, identity, index));
    let openings = openings.collect::<Result<Vec<_>, _>>()?;
    let Opening::Begun(first) = openings[0] else {
        return Err(WalError::corrupt(&image.segment_path(0), 0, "the header of the first segment is damaged"));
    };
    let other = |opening: &Opening| matches!(opening, Opening::Begun(header) if header.block != first.block);
    match openings.iter().position(other) {
        Some(index) => Err(WalError::corrupt(&image.segment_path(index), 0, "its blocks are not of the others' size")),
        None => Ok(openings),
    }
}

fn opening(image: &Image, identity: &Identity, index: usize) -> Result<Opening, WalError> {
    let (sequence, bytes) = &image.segments[index];
    let path = || image.segment_path(index);
    let len = bytes.len() as u64;
    if len < 2 * u64::from(BLOCK) || !len.is_multiple_of(u64::from(BLOCK)) {
        return Err(WalError::corrupt(&path(), len, "it ends here, which no segment does"));
    }
    let foreign = |what, found, expected| WalError::new(&path(), Some(0), Problem::Foreign { what, found, expected });
    let Some(header) = SegmentHeader::read(bytes) else {
        // A header that was torn off has no version, or this one.
        if let Some(version) = SegmentHeader::claimed_version(bytes).filter(|version| ![0, VERSION].contains(version)) {
            return Err(foreign("version", version.to_string(), VERSION.to_string()));
        }
        let blank = bytes[..BLOCK as usize].iter().all(|&byte| byte == 0);
        return Ok(if blank { Opening::Blank } else { Opening::Torn });
    };
    if header.version != VERSION {
        return Err(foreign("version", header.version.to_string(), VERSION.to_string()));
    }
    if let Some((what, found, expected)) = header.foreign(identity) {
        return Err(foreign(what, found, expected));
    }
    if header.sequence != *sequence {
        let was = segment_name(header.sequence);
        return Err(WalError::corrupt(&path(), 0, format!("it is {was} by its header")));
    }
    if ![BLOCK, DIRECT_BLOCK].contains(&header.block) || len < 2 * u64::from(header.block) {
        return Err(WalError::corrupt(&path(), 0, "its blocks are of no size that a log has"));
    }
    if header.size != len {
        return Err(WalError::corrupt(
            &path(),
            len.min(header.size),
            format!("it is {len} bytes long, and was {}", header.size),
        ));
    }
    if header.first == 0 || header.first.max(*sequence) > MOST {
        return Err(WalError::corrupt(&path(), 0, "its number, or that of its first record, is none that a log has"));
    }
    Ok(Opening::Begun(header))
}

/// The later of the marks. One of them may be torn.
fn read_marks(image: &Image, identity: &Identity) -> Result<Mark, WalError> {
    let path = image.dir.join(MARK);
    let bytes = image.mark.as_ref().ok_or_else(|| WalError::corrupt(&path, 0, "it is missing"))?;
    let marks = bytes.chunks(BLOCK as usize).take(2).filter_map(Mark::read);
    let mark = marks.max_by_key(|mark| mark.generation);
    let mark = mark.ok_or_else(|| WalError::corrupt(&path, 0, "neither mark in it can be read"))?;
    if mark.run != identity.run || mark.node != identity.node.0 {
        let (found, expected) =
            (format!("{:016x}, n{}", mark.run, mark.node), format!("{:016x}, {}", identity.run, identity.node));
        return Err(WalError::new(&path, Some(0), Problem::Foreign { what: "run or node", found, expected }));
    }
    Ok(mark)
}

/// A batch that can be read.
#[derive(Clone, Copy, Debug)]
struct Batch {
    /// Where it stands: an index into the image's segments, and a byte.
    segment: usize,
    at: u64,
    /// Where the next one does.
    end: u64,
    last: Lsn,
    durable: Lsn,
    release: Lsn,
    /// How many records were read before it, and how many snapshots stand aside.
    records: usize,
    stubs: usize,
}

/// What stands where a batch is due.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// It, up to where the next one is due.
    Batch { end: u64 },
    /// Not it, which shows at this byte; and what else, unless it is as if nothing had ever been written.
    Damage { byte: u64, found: Option<&'static str> },
}

/// Where reading stopped, and why.
#[derive(Clone, Copy, Debug)]
struct Stop {
    segment: usize,
    /// The batch that is not there.
    at: u64,
    /// The segment and the byte at which that shows.
    damage: (usize, u64),
    /// What stands there, unless it is as if nothing had ever been written.
    found: Option<&'static str>,
}

/// A record whose body is kept aside.
#[derive(Clone, Copy, Debug)]
struct Stub {
    record: usize,
    at: u64,
}

struct Reader<'a> {
    image: &'a Image,
    identity: &'a Identity,
    headers: &'a [Opening],
    block: u64,
    first: Lsn,
    next: Lsn,
    records: Vec<Record>,
    batches: Vec<Batch>,
    stubs: Vec<Stub>,
    stop: Stop,
}

impl<'a> Reader<'a> {
    fn new(image: &'a Image, identity: &'a Identity, headers: &'a [Opening]) -> Self {
        let Opening::Begun(SegmentHeader { block, first, .. }) = headers[0] else {
            unreachable!("the first segment was looked at")
        };
        let (block, first) = (u64::from(block), Lsn(first));
        let stop = Stop { segment: 0, at: block, damage: (0, block), found: None };
        let (records, batches, stubs) = (Vec::new(), Vec::new(), Vec::new());
        Self { image, identity, headers, block, first, next: first, records, batches, stubs, stop }
    }

    /// Reads batches in order until one is not there.
    fn walk(&mut self) -> Result<(), WalError> {
        for (segment, opening) in self.headers.iter().enumerate() {
            match opening {
                Opening::Begun(header) if Lsn(header.first) == self.next => self.walk_segment(segment)?,
                Opening::Begun(header) if Lsn(header.first) < self.next => {
                    let what = format!("it begins with record {}, and {} is due", header.first, self.next);
                    return Err(WalError::corrupt(&self.image.segment_path(segment), 0, what));
                }
                Opening::Torn if self.stop.found.is_none() => {
                    self.stop.damage = (segment, 0);
                    self.stop.found = Some("the header of a segment that is damaged");
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn walk_segment(&mut self, segment: usize) -> Result<(), WalError> {
        let mut at = self.block;
        loop {
            match self.read_batch(segment, at)? {
                Found::Batch { end } => at = end,
                Found::Damage { byte, found } => {
                    self.stop = Stop { segment, at, damage: (segment, byte), found };
                    return Ok(());
                }
            }
        }
    }

    /// Reads the batch at `at`.
    fn read_batch(&mut self, segment: usize, at: u64) -> Result<Found, WalError> {
        let (sequence, image) = &self.image.segments[segment];
        let rest = image.slice((at as usize).min(image.len())..);
        let header = BatchHeader::read(&rest).filter(|header| self.is_ours(header, *sequence));
        let Some(header) = header else {
            return Ok(Found::Damage { byte: at, found: self.without_batch(&rest) });
        };
        if Lsn(header.first) != self.next {
            let what = format!("a batch begins with record {}, and {} is due", header.first, self.next);
            return Err(WalError::corrupt(&self.image.segment_path(segment), at, what));
        }
        let bytes = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        if bytes < BatchHeader::BYTES || bytes > rest.len() || header.count == 0 {
            return Err(WalError::corrupt(&self.image.segment_path(segment), at, "a batch of a size that cannot be"));
        }
        let before = (self.records.len(), self.stubs.len());
        let mut body = rest.slice(BatchHeader::BYTES..bytes);
        for count in 0..header.count {
            let lsn = self.next + u64::from(count);
            let byte = at + (bytes - body.len()) as u64;
            if !self.read_record(lsn, byte, &mut body) {
                self.records.truncate(before.0);
                self.stubs.truncate(before.1);
                return Ok(Found::Damage { byte, found: Some("a record that is damaged") });
            }
        }
        if !body.is_empty() {
            let what = "a batch that is longer than its records";
            return Err(WalError::corrupt(&self.image.segment_path(segment), at, what));
        }
        let end = at + header.bytes.next_multiple_of(self.block);
        self.next += u64::from(header.count);
        self.batches.push(Batch {
            segment,
            at,
            end,
            last: self.next - 1,
            durable: Lsn(header.durable),
            release: Lsn(header.release),
            records: before.0,
            stubs: before.1,
        });
        Ok(Found::Batch { end })
    }

    fn is_ours(&self, header: &BatchHeader, sequence: u64) -> bool {
        header.run == self.identity.run && header.sequence == sequence
    }

    /// What stands where no batch begins: nothing, if that is zeros or what was there before the segment was used
    /// again.
    fn without_batch(&self, rest: &Bytes) -> Option<&'static str> {
        let block = &rest[..rest.len().min(self.block as usize)];
        let unused = block.iter().all(|&byte| byte == 0) || BatchHeader::read(block).is_some();
        (!unused).then_some("the header of a batch that is damaged")
    }

    fn read_record(&mut self, lsn: Lsn, at: u64, body: &mut Bytes) -> bool {
        let aside = self.identity.snapshot_kind;
        let Some((head, body)) = read_record(lsn, body, aside) else { return false };
        if aside == Some(head.kind) {
            self.stubs.push(Stub { record: self.records.len(), at });
        }
        self.records.push(Record { lsn, head, body: Payload::from(body) });
        true
    }

    /// What the headers that are intact behind the stop say was durable: each block may be one.
    fn headers_behind(&self, openings: &[Opening]) -> Vec<Lsn> {
        let mut durable = Vec::new();
        for segment in self.stop.segment..openings.len() {
            let (sequence, bytes) = &self.image.segments[segment];
            let from = if segment == self.stop.segment { self.stop.at } else { 0 };
            let rest = &bytes[(from as usize).min(bytes.len())..];
            let headers = rest.chunks(self.block as usize).filter_map(BatchHeader::read);
            durable.extend(headers.filter(|header| self.is_ours(header, *sequence)).map(|header| Lsn(header.durable)));
        }
        durable
    }

    /// Puts the snapshots back into their records. One that is needed and cannot be read is where the log ends.
    fn resolve_snapshots(&mut self) {
        // Without its last batches, the log may need an earlier snapshot than with them.
        while let Some(missing) = self.fill_stubs() {
            let found = Some("the record of a snapshot that is missing or damaged");
            let batch = self.batches.partition_point(|batch| batch.records <= missing.record) - 1;
            let Batch { segment, at, records, stubs, .. } = self.batches[batch];
            self.next = self.records[records].lsn;
            self.records.truncate(records);
            self.stubs.truncate(stubs);
            self.batches.truncate(batch);
            self.stop = Stop { segment, at, damage: (segment, missing.at), found };
        }
    }

    /// Fills in the snapshots that are needed; the first that cannot be.
    fn fill_stubs(&mut self) -> Option<Stub> {
        let release = self.release();
        let mut filled = Vec::new();
        let mut missing = None;
        for &stub in &self.stubs {
            let Record { lsn, head, body } = &self.records[stub.record];
            if *lsn < release {
                continue;
            }
            let snapshots = &self.image.snapshots;
            let file = snapshots.binary_search_by_key(lsn, |snapshot| snapshot.0).ok().map(|at| &snapshots[at].1);
            let body = file.and_then(|file| format::snapshot_body(self.identity, *lsn, &body.pieces()[0], file));
            let Some(body) = body.filter(|body| body.len() == head.body_len as usize) else {
                missing = Some(stub);
                break;
            };
            filled.push((stub.record, body));
        }
        if missing.is_none() {
            filled.into_iter().for_each(|(record, body)| self.records[record].body = body.into());
        }
        missing
    }

    fn last(&self) -> Lsn {
        self.next - 1
    }

    fn release(&self) -> Lsn {
        self.batches.iter().map(|batch| batch.release).fold(Lsn::ZERO, Lsn::max)
    }

    fn into_scan(
        mut self,
        acknowledged: Lsn,
        release: Lsn,
        generation: u64,
        intact: usize,
        openings: &[Opening],
    ) -> Scan {
        let stop = self.stop;
        let begun = openings[stop.segment + 1..].iter().any(|opening| !matches!(opening, Opening::Blank));
        let found = stop.found.or((intact > 0 || begun).then_some("nothing, though there is more behind it"));
        let (segment, at) = stop.damage;
        let cut = found.map(|found| Cut { file: self.image.segment_path(segment), at, found, batches: intact });
        let last_of = |segment| {
            let last = self.batches.iter().rev().find(|batch| batch.segment <= segment).map(|batch| batch.last);
            (segment, last.unwrap_or(self.first - 1))
        };
        let unsure = self.batches.iter().find(|batch| batch.last > acknowledged);
        let unsure = unsure.map_or((stop.segment, stop.at), |batch| (batch.segment, batch.at));
        let needed = |stub: &Stub| Some(self.records[stub.record].lsn).filter(|lsn| *lsn >= release);
        let snapshots = self.stubs.iter().filter_map(needed).collect();
        let segments = (0..=stop.segment).map(last_of).collect();
        let bytes = self.batches.iter().map(|batch| batch.end - batch.at).sum();
        let last = self.last();
        let gone = self.records.partition_point(|record| record.lsn < release);
        self.records.drain(..gone);
        Scan {
            recovered: Recovered { records: self.records, bytes, cut },
            block: self.block as u32,
            last,
            release,
            generation,
            segments,
            end: stop.at,
            unsure,
            snapshots,
        }
    }
}
