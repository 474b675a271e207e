//! Reading a log's batches in order. Segments are read in pieces, and what is kept is what a node is rebuilt from, and
//! a few words a snapshot: the memory that it takes is bounded by that, and not by what lies in the directory.

use std::collections::VecDeque;

use bytes::Bytes;
use quorumbench_protocols::{Lsn, Payload, Record};

use super::Identity;
use super::directory::{Image, Pieces, snapshot_name};
use super::error::WalError;
use super::format::{BatchHeader, STUB, Sealed, SegmentHeader, read_record, snapshot_body};
use super::recovery::{Cut, Heed, Opening, Recovered, Scan};

pub(super) struct Reader<'a, F> {
    image: &'a Image<F>,
    identity: &'a Identity,
    openings: &'a [Opening],
    heed: Heed,
    block: u64,
    /// The first record that there is.
    pub(super) first: Lsn,
    next: Lsn,
    piece: Piece,
    /// The segments that were read, in order.
    begun: Vec<SegmentHeader>,
    /// From what was released by batches that were acknowledged on.
    pub(super) records: VecDeque<Record>,
    /// Bytes of the batches that were read.
    bytes: u64,
    /// The last batches: those of which nothing so far says that they were acknowledged.
    unsure: VecDeque<Batch>,
    acknowledged: Lsn,
    /// What batches say is released, where one says more than those before it: its first record, and up to where.
    releases: Vec<(Lsn, Lsn)>,
    stubs: Vec<Stub>,
    pub(super) stop: Stop,
}

/// What of a segment was read last.
#[derive(Default)]
struct Piece {
    segment: usize,
    at: u64,
    bytes: Bytes,
}

/// A batch that can be read.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Where it stands: an index into the image's segments, and a byte.
    pub(super) segment: usize,
    pub(super) at: u64,
    /// It, with its padding.
    pub(super) bytes: Bytes,
    first: Lsn,
    last: Lsn,
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
pub(super) struct Stop {
    segment: usize,
    /// The batch that is not there.
    at: u64,
    /// The segment and the byte at which that shows.
    pub(super) damage: (usize, u64),
    /// What stands there, unless it is as if nothing had ever been written.
    pub(super) found: Option<&'static str>,
}

/// A record whose body is kept aside.
#[derive(Clone, Copy, Debug)]
struct Stub {
    lsn: Lsn,
    /// Bytes of the body, and what stands in its place.
    len: u32,
    sum: [u8; STUB],
    segment: usize,
    at: u64,
    /// Its batch, and the first record of that.
    batch: u64,
    first: Lsn,
}

impl<'a, F: Pieces> Reader<'a, F> {
    pub(super) fn new(image: &'a Image<F>, identity: &'a Identity, openings: &'a [Opening], heed: Heed) -> Self {
        let Opening::Begun(SegmentHeader { block, first, .. }) = openings[0] else {
            unreachable!("the first segment was looked at")
        };
        let (block, first) = (u64::from(block), Lsn(first));
        Self {
            image,
            identity,
            openings,
            heed,
            block,
            first,
            next: first,
            piece: Piece::default(),
            begun: Vec::new(),
            records: VecDeque::new(),
            bytes: 0,
            unsure: VecDeque::new(),
            acknowledged: Lsn::ZERO,
            releases: Vec::new(),
            stubs: Vec::new(),
            stop: Stop { segment: 0, at: block, damage: (0, block), found: None },
        }
    }

    /// Reads batches in order until one is not there.
    pub(super) fn walk(&mut self) -> Result<(), WalError> {
        for (segment, opening) in self.openings.iter().enumerate() {
            match opening {
                Opening::Begun(header) if Lsn(header.first) == self.next => {
                    self.begun.push(*header);
                    self.walk_segment(segment)?;
                }
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
        let (sequence, ref file) = self.image.segments[segment];
        let rest = file.len().saturating_sub(at);
        let block = self.bytes(segment, at, self.block)?;
        let Some(header) = BatchHeader::read(&block).filter(|header| self.is_ours(header, sequence)) else {
            return Ok(Found::Damage { byte: at, found: without_batch(&block) });
        };
        let first = self.next;
        let corrupt = |what: String| Err(WalError::corrupt(&self.image.segment_path(segment), at, what));
        if Lsn(header.first) != first {
            return corrupt(format!("a batch begins with record {}, and {first} is due", header.first));
        }
        if header.bytes < BatchHeader::BYTES as u64 || header.bytes > rest || header.count == 0 {
            return corrupt("a batch of a size that cannot be".to_owned());
        }
        let end = at + header.bytes.next_multiple_of(self.block);
        let bytes = self.bytes(segment, at, end - at)?;
        let before = (self.records.len(), self.stubs.len());
        let mut body = bytes.slice(BatchHeader::BYTES..header.bytes as usize);
        for lsn in (0..header.count).map(|count| first + u64::from(count)) {
            let byte = at + header.bytes - body.len() as u64;
            let place = Stub { lsn, len: 0, sum: [0; STUB], segment, at: byte, batch: at, first };
            if !self.read_record(place, &mut body) {
                self.records.truncate(before.0);
                self.stubs.truncate(before.1);
                return Ok(Found::Damage { byte, found: Some("a record that is damaged") });
            }
        }
        if !body.is_empty() {
            return corrupt("a batch that is longer than its records".to_owned());
        }
        self.next += u64::from(header.count);
        self.bytes += bytes.len() as u64;
        if Lsn(header.release) > self.release() {
            self.releases.push((first, Lsn(header.release)));
        }
        self.unsure.push_back(Batch { segment, at, bytes, first, last: self.last() });
        self.acknowledge(Lsn(header.durable));
        Ok(Found::Batch { end })
    }

    /// Bytes of a segment from `at` on: `len` of them, or all that there are.
    fn bytes(&mut self, segment: usize, at: u64, len: u64) -> Result<Bytes, WalError> {
        let file = &self.image.segments[segment].1;
        let len = len.min(file.len().saturating_sub(at));
        let Piece { segment: held, at: from, bytes } = &self.piece;
        if *held != segment || at < *from || at + len > from + bytes.len() as u64 {
            let bytes = file.read(at, len.max(file.window()));
            let bytes = bytes.map_err(WalError::io(&self.image.segment_path(segment), "reading it"))?;
            self.piece = Piece { segment, at, bytes };
        }
        let from = (at - self.piece.at) as usize;
        Ok(self.piece.bytes.slice(from..from + len as usize))
    }

    fn is_ours(&self, header: &BatchHeader, sequence: u64) -> bool {
        header.run == self.identity.run && header.sequence == sequence
    }

    fn read_record(&mut self, place: Stub, body: &mut Bytes) -> bool {
        let aside = self.identity.snapshot_kind;
        let Some((head, body)) = read_record(place.lsn, body, aside) else { return false };
        if aside == Some(head.kind) {
            let sum = body[..].try_into().unwrap_or_default();
            self.stubs.push(Stub { len: head.body_len, sum, ..place });
        }
        self.records.push_back(Record { lsn: place.lsn, head, body: Payload::from(body) });
        true
    }

    /// Something says that every record up to `lsn` was acknowledged. Were one of their batches to be cut off, the log
    /// would be corrupt; so what they release is not needed, whatever comes.
    pub(super) fn acknowledge(&mut self, lsn: Lsn) {
        if self.heed == Heed::All {
            self.acknowledged = self.acknowledged.max(lsn);
        }
        while self.unsure.front().is_some_and(|batch| batch.last <= self.acknowledged) {
            self.unsure.pop_front();
        }
        let sure = self.unsure.front().map_or(self.next, |batch| batch.first);
        let release =
            self.releases.iter().rev().find(|release| release.0 < sure).map_or(Lsn::ZERO, |release| release.1);
        self.let_go(release);
    }

    fn let_go(&mut self, release: Lsn) {
        while self.records.front().is_some_and(|record| record.lsn < release) {
            self.records.pop_front();
        }
    }

    /// Heeds the headers that are intact behind the stop, and says how many there are: each block may be one.
    pub(super) fn heed_headers_behind(&mut self) -> Result<usize, WalError> {
        let mut intact = 0;
        for segment in self.stop.segment..self.image.segments.len() {
            let (sequence, ref file) = self.image.segments[segment];
            let from = if segment == self.stop.segment { self.stop.at } else { 0 };
            for at in (from..file.len()).step_by(self.block as usize) {
                let bytes = self.bytes(segment, at, BatchHeader::BYTES as u64)?;
                if let Some(header) = BatchHeader::read(&bytes).filter(|header| self.is_ours(header, sequence)) {
                    self.acknowledge(Lsn(header.durable));
                    intact += 1;
                }
            }
        }
        Ok(intact)
    }

    /// Puts the snapshots back into their records. One that is needed and cannot be read is where the log ends.
    pub(super) fn resolve_snapshots(&mut self) -> Result<(), WalError> {
        // Without its last batches, the log may need an earlier snapshot than with them.
        while let Some(Stub { segment, at, batch, first, .. }) = self.fill_stubs()? {
            self.next = first;
            self.records.truncate(self.records.partition_point(|record| record.lsn < first));
            self.stubs.truncate(self.stubs.partition_point(|stub| stub.lsn < first));
            self.releases.truncate(self.releases.partition_point(|release| release.0 < first));
            for batch in self.unsure.drain(self.unsure.partition_point(|batch| batch.first < first)..) {
                self.bytes -= batch.bytes.len() as u64;
            }
            let found = Some("the record of a snapshot that is missing or damaged");
            self.stop = Stop { segment, at: batch, damage: (segment, at), found };
        }
        Ok(())
    }

    /// Fills in the snapshots that are needed; the first that cannot be.
    fn fill_stubs(&mut self) -> Result<Option<Stub>, WalError> {
        let release = self.release();
        let mut filled = Vec::new();
        for stub in self.stubs.iter().filter(|stub| stub.lsn >= release) {
            match self.body_of(stub)? {
                Some(body) => filled.push((stub.lsn, body)),
                None => return Ok(Some(*stub)),
            }
        }
        for (lsn, body) in filled {
            if let Ok(index) = self.records.binary_search_by_key(&lsn, |record| record.lsn) {
                self.records[index].body = body.into();
            }
        }
        Ok(None)
    }

    /// The body of a snapshot, if it is there as it was written.
    fn body_of(&self, stub: &Stub) -> Result<Option<Bytes>, WalError> {
        let snapshots = &self.image.snapshots;
        let Ok(index) = snapshots.binary_search_by_key(&stub.lsn, |snapshot| snapshot.0) else { return Ok(None) };
        let file = &snapshots[index].1;
        let path = self.image.dir.join(snapshot_name(stub.lsn));
        let file = file.read(0, file.len()).map_err(WalError::io(&path, "reading it"))?;
        let body = snapshot_body(self.identity, stub.lsn, &stub.sum, &file);
        Ok(body.filter(|body| body.len() == stub.len as usize))
    }

    pub(super) fn last(&self) -> Lsn {
        self.next - 1
    }

    pub(super) fn acknowledged(&self) -> Lsn {
        self.acknowledged
    }

    pub(super) fn release(&self) -> Lsn {
        self.releases.last().map_or(Lsn::ZERO, |release| release.1)
    }

    pub(super) fn into_scan(mut self, generation: u64, intact: usize) -> Scan {
        let (stop, release, last) = (self.stop, self.release(), self.last());
        let begun = self.openings[stop.segment + 1..].iter().any(|opening| !matches!(opening, Opening::Blank));
        let found = stop.found.or((intact > 0 || begun).then_some("nothing, though there is more behind it"));
        let (segment, at) = stop.damage;
        let cut = found.map(|found| Cut { file: self.image.segment_path(segment), at, found, batches: intact });
        // Each ends where the next one begins.
        self.begun.truncate(stop.segment + 1);
        let lasts = self.begun[1..].iter().map(|header| Lsn(header.first) - 1).chain([last]);
        let segments = self.begun.iter().copied().zip(lasts).collect();
        self.let_go(release);
        let snapshots = self.stubs.iter().map(|stub| stub.lsn).filter(|&lsn| lsn >= release).collect();
        Scan {
            recovered: Recovered { records: self.records.into(), bytes: self.bytes, cut },
            block: self.block as u32,
            last,
            release,
            generation,
            segments,
            end: stop.at,
            acknowledged: self.acknowledged,
            unsure: self.unsure.into(),
            snapshots,
        }
    }
}

/// What stands in a block where no batch begins: nothing, if that is zeros or what was there before the segment was
/// used again.
fn without_batch(block: &[u8]) -> Option<&'static str> {
    let unused = block.iter().all(|&byte| byte == 0) || BatchHeader::read(block).is_some();
    (!unused).then_some("the header of a batch that is damaged")
}
