//! Group commit: which records go into a batch, which batches are under way, and how far the log is durable.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use quorumbench_protocols::{Lsn, Nanos, Record};
use quorumbench_transports::gather::Gather;
use quorumbench_transports::storage::{FileBytes, FileWrite, FileWritten};
use zerocopy::IntoBytes;

use super::batch::{Extent, Fill as _, Waiting, snapshot_file};
use super::directory::{MARK, segment_name};
use super::error::WalError;
use super::format::{BatchHeader, Mark, SegmentHeader, SnapshotHeader};
use super::keeper::{Chore, Done, Keeper, Segment};
use super::stats::WalStats;
use super::{Durability, Identity, Options};

/// A log that is written. See the [module](super) for what stands on disk.
///
/// After each turn: [`append`](Self::append) its records, [`submit`](Self::submit), carry the writes out, and give each
/// back with [`written`](Self::written); come back at [`deadline`](Self::deadline) at the latest.
#[derive(Debug)]
pub struct Wal {
    options: Options,
    identity: Identity,
    block: u32,
    keeper: Keeper,
    waiting: Waiting,
    /// The last record taken.
    last: Lsn,
    current: Segment,
    /// The segment after it, once it is prepared.
    next: Option<Segment>,
    /// A batch waits for it.
    stalled: bool,
    /// Segments before it that are still needed, in order.
    closed: VecDeque<Closed>,
    /// Segments that are not needed and may be used again, in order.
    released: VecDeque<PathBuf>,
    /// Batches under way, in order.
    flights: VecDeque<Flight>,
    /// The number of the first of them.
    first_flight: u64,
    /// Snapshots under way, in order: nothing from their records on is durable before they are.
    aside: VecDeque<Lsn>,
    /// Snapshots that are there.
    snapshots: VecDeque<Lsn>,
    /// Everything up to here is durable.
    durable: Lsn,
    /// What is not needed any more: as the node says, as the last batch says, and as a durable one does.
    release: [Lsn; 3],
    marks: Marks,
    /// What writes held, to be filled again.
    buffers: Vec<FileBytes>,
    /// When it was last looked whether anything is done.
    polled: Nanos,
    stats: WalStats,
    failed: Option<WalError>,
}

/// What a log begins with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) block: u32,
    pub(super) current: Segment,
    pub(super) closed: VecDeque<Closed>,
    pub(super) last: Lsn,
    pub(super) release: Lsn,
    pub(super) snapshots: VecDeque<Lsn>,
    pub(super) marks: Marks,
}

/// A segment that is full.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) segment: Segment,
    /// Its last record.
    pub(super) last: Lsn,
}

/// The file of marks.
#[derive(Debug)]
pub(super) struct Marks {
    pub(super) file: Arc<File>,
    pub(super) generation: u64,
    /// What the last one says.
    pub(super) written: Lsn,
    /// When anything was last said of how far the log is durable, by a mark or by a batch.
    pub(super) at: Nanos,
    pub(super) under_way: bool,
}

/// A batch under way.
#[derive(Debug)]
struct Flight {
    segment: u64,
    last: Lsn,
    release: Lsn,
    begun: Nanos,
    written: bool,
}

/// What a write is of: the lowest bit of its name.
const BATCH: u64 = 0;
const MARKS: u64 = 1;

/// How often to look whether the keeper is done, while something waits for it.
const POLL_NS: u64 = 200_000;
/// For how long a log is still before it is marked. A batch says as much of the ones before it, and a mark is another
/// write, and another wake-up.
const MARK_NS: u64 = 1_000_000;
/// Segments that are kept to be used again.
const MOST_RELEASED: usize = 2;

impl Wal {
    pub(super) fn start(options: Options, identity: Identity, start: Start) -> Result<Self, WalError> {
        let Start { block, current, closed, last, release, snapshots, marks } = start;
        let keeper = Keeper::start(options.ways())?;
        let mut wal = Self {
            options,
            identity,
            block,
            keeper,
            waiting: Waiting::default(),
            last,
            current,
            next: None,
            stalled: false,
            closed,
            released: VecDeque::new(),
            flights: VecDeque::new(),
            first_flight: 0,
            aside: VecDeque::new(),
            snapshots,
            durable: last,
            release: [release; 3],
            marks,
            buffers: Vec::new(),
            polled: Nanos::ZERO,
            stats: WalStats::default(),
            failed: None,
        };
        wal.let_go();
        wal.prepare_next();
        Ok(wal)
    }

    /// Takes a turn's records.
    ///
    /// # Errors
    /// If the log has failed; the records are dropped.
    ///
    /// # Panics
    /// If they do not follow the last ones.
    pub fn append(&mut self, now: Nanos, records: &mut Vec<Record>) -> Result<(), WalError> {
        self.stats.records += records.len() as u64;
        for record in records.drain(..) {
            assert_eq!(record.lsn, self.last + 1, "a journal without a gap");
            self.last = record.lsn;
            self.waiting.push(now, record, self.identity.snapshot_kind);
        }
        self.check()
    }

    /// Records before this one are not needed any more: it is a snapshot's, and everything up to it is durable. Their
    /// segments go once a batch that says so is durable.
    pub fn release(&mut self, before: Lsn) {
        self.release[0] = self.release[0].max(before);
    }

    /// Adds the writes that are due to `writes`: batches while there is room under way, and a mark. How far
    /// the log is durable, if that is further than was last said: the keeper may have been what it waited for.
    ///
    /// # Errors
    /// If the log has failed, now or before.
    pub fn submit(&mut self, now: Nanos, writes: &mut Vec<FileWrite>) -> Result<Option<Lsn>, WalError> {
        self.check()?;
        self.polled = now;
        self.take_done()?;
        let durable = self.advance();
        while self.is_due(now) {
            let extent = self.extent();
            if !self.has_room(extent) {
                break;
            }
            writes.push(self.batch(now, extent));
        }
        writes.extend(self.mark(now));
        Ok(durable)
    }

    /// Takes a write that is over. How far the log is durable, if that is further than was last said.
    ///
    /// # Errors
    /// If the write failed: the log is of no use any more, and says so whenever it is asked.
    pub fn written(&mut self, now: Nanos, written: FileWritten) -> Result<Option<Lsn>, WalError> {
        let FileWritten { id, result, mut bytes } = written;
        self.check()?;
        if let Err(error) = result {
            let path = self.options.dir.join(self.name_of(id));
            return Err(self.fail(WalError::io(&path, error.doing())(error.into())));
        }
        let number = id >> 1;
        match id & 1 {
            BATCH => {
                bytes.clear();
                if self.buffers.len() < self.options.in_flight {
                    self.buffers.push(bytes);
                }
                self.batch_written(now, number);
            }
            _ => self.marks.under_way = false,
        }
        Ok(self.advance())
    }

    /// When to [`submit`](Self::submit) again, if nothing else happens. [`Nanos::NEVER`] for not at all.
    pub fn deadline(&self) -> Nanos {
        if self.failed.is_some() {
            return Nanos::NEVER;
        }
        let mark = if self.lacks_mark() { self.marks.at.later(MARK_NS) } else { Nanos::NEVER };
        let batch = match self.waiting.since() {
            Some(since) if self.flights.len() < self.most_flights() && !self.stalled => self.due_at(since),
            _ => Nanos::NEVER,
        };
        let poll = if self.waits_for_keeper() { self.polled.later(POLL_NS) } else { Nanos::NEVER };
        mark.min(batch).min(poll)
    }

    /// For how long the batch of this write has been under way, in nanoseconds; `None` if it is no batch's.
    pub fn under_way_for(&self, now: Nanos, id: u64) -> Option<u64> {
        (id & 1 == BATCH).then(|| self.flight(id >> 1))?.map(|flight| now.saturating_since(flight.begun))
    }

    /// The batch of this number, if it is under way.
    fn flight(&self, number: u64) -> Option<&Flight> {
        self.flights.get(self.place(number)?)
    }

    /// Where among those under way it is, if it is.
    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first_flight)?).ok()
    }

    /// Every record up to this one is durable.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.durable == self.last && !self.marks.under_way && !self.lacks_mark()
    }

    /// What it has done since it was opened.
    pub fn stats(&self) -> WalStats {
        self.stats
    }

    pub(super) fn waits_for_keeper(&self) -> bool {
        self.stalled || !self.aside.is_empty()
    }

    fn check(&self) -> Result<(), WalError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: WalError) -> WalError {
        self.failed = Some(error.clone());
        error
    }

    fn syncs(&self) -> bool {
        self.options.durability == Durability::Fsync
    }

    fn most_flights(&self) -> usize {
        self.options.in_flight.max(1)
    }

    fn due_at(&self, since: Nanos) -> Nanos {
        if self.waiting.bytes() >= self.options.max_batch {
            since
        } else {
            since.later(self.options.linger.as_nanos() as u64)
        }
    }

    fn is_due(&self, now: Nanos) -> bool {
        self.flights.len() < self.most_flights() && self.waiting.since().is_some_and(|since| self.due_at(since) <= now)
    }

    fn extent(&self) -> Extent {
        let most = self.options.least_segment(self.block) as usize - self.block as usize;
        self.waiting.extent(self.options.max_batch, most, self.identity.snapshot_kind)
    }

    /// Bytes of a batch on disk.
    fn padded(&self, extent: Extent) -> u64 {
        extent.bytes.next_multiple_of(self.block as usize) as u64
    }

    /// Whether a batch fits into the current segment, or the next one, which then is the current one.
    fn has_room(&mut self, extent: Extent) -> bool {
        let padded = self.padded(extent);
        if self.current.at + padded <= self.current.len {
            return true;
        }
        let needed = u64::from(self.block) + padded;
        match self.next.take() {
            Some(next) if next.len >= needed => {
                let last = self.waiting.first().map_or(self.last, |first| first - 1);
                let segment = std::mem::replace(&mut self.current, next);
                self.closed.push_back(Closed { segment, last });
                self.prepare_next();
                self.stalled = false;
                return true;
            }
            Some(next) => {
                let from = Some(self.options.dir.join(segment_name(next.sequence)));
                self.keeper.leave(Chore::Prepare { sequence: next.sequence, bytes: needed, from });
            }
            None => {}
        }
        self.stalled = true;
        false
    }

    fn prepare_next(&mut self) {
        let (sequence, bytes) = (self.current.sequence + 1, self.options.least_segment(self.block));
        self.keeper.leave(Chore::Prepare { sequence, bytes, from: self.released.pop_front() });
    }

    fn take_done(&mut self) -> Result<(), WalError> {
        while let Some(done) = self.keeper.done().map_err(|error| self.fail(error))? {
            match done {
                Done::Prepared(segment) => {
                    self.next = Some(segment);
                    self.stalled = false;
                }
                Done::SetAside(lsn) => {
                    self.stats.syncs += u64::from(self.syncs());
                    self.aside.pop_front();
                    self.snapshots.push_back(lsn);
                }
            }
        }
        Ok(())
    }

    /// Builds a batch, and has the snapshots in it set aside.
    fn batch(&mut self, now: Nanos, extent: Extent) -> FileWrite {
        let mut bytes = self.buffers.pop().unwrap_or_else(|| FileBytes::new(self.options.direct));
        let first = self.waiting.first().unwrap_or(self.last + 1);
        let run = self.identity.run;
        let Segment { sequence, len, at, .. } = self.current;
        if at == 0 {
            bytes.push_segment_header(&SegmentHeader::new(&self.identity, self.block, sequence, first, len));
        }
        if self.release[0] <= self.durable {
            self.release[1] = self.release[0];
        }
        let [_, release, _] = self.release;
        let header = BatchHeader::new(run, sequence, first, extent.count, extent.bytes as u64, self.durable, release);
        bytes.push_batch_header(&header);
        let mut waiting = std::mem::take(&mut self.waiting);
        for record in waiting.take(extent) {
            if self.identity.snapshot_kind == Some(record.head.kind) {
                let snapshot = SnapshotHeader::new(&self.identity, record.lsn, record.body.pieces());
                bytes.push_stub(&record, &snapshot);
                self.aside.push_back(record.lsn);
                self.keeper.leave(Chore::SetAside(record.lsn, snapshot_file(&record, &snapshot)));
            } else {
                bytes.push_record(&record);
            }
        }
        self.waiting = waiting;
        bytes.pad(self.block as usize);
        let padded = bytes.len() as u64;
        self.current.at += padded;
        // It says what a mark would.
        self.marks.at = now;
        self.stats.batches += 1;
        self.stats.bytes += padded;
        let id = (self.first_flight + self.flights.len() as u64) << 1 | BATCH;
        let last = first + u64::from(extent.count) - 1;
        self.flights.push_back(Flight { segment: sequence, last, release, begun: now, written: false });
        FileWrite { id, file: Arc::clone(&self.current.file), offset: at, bytes, sync: self.syncs() }
    }

    /// Whether the last mark says too little, and another may be written: one at a time, since two might both be torn.
    fn lacks_mark(&self) -> bool {
        self.durable > self.marks.written && !self.marks.under_way
    }

    /// A mark, if one is due.
    fn mark(&mut self, now: Nanos) -> Option<FileWrite> {
        if !self.lacks_mark() || now < self.marks.at.later(MARK_NS) {
            return None;
        }
        let generation = self.marks.generation.wrapping_add(1);
        let mut gather = Gather::default();
        gather.append(Mark::new(&self.identity, generation, self.durable).as_bytes());
        let file = Arc::clone(&self.marks.file);
        self.marks = Marks { file: Arc::clone(&file), generation, written: self.durable, at: now, under_way: true };
        let (offset, bytes) = (Mark::offset(generation), FileBytes::Gathered(gather));
        Some(FileWrite { id: MARKS, file, offset, bytes, sync: false })
    }

    fn batch_written(&mut self, now: Nanos, number: u64) {
        let Some(flight) = self.place(number).and_then(|place| self.flights.get_mut(place)) else { return };
        flight.written = true;
        let took = now.saturating_since(flight.begun);
        self.stats.syncs += u64::from(self.syncs());
        self.stats.longest_sync_ns = self.stats.longest_sync_ns.max(took);
    }

    /// Takes the batches that are durable, with everything before them, from those under way.
    fn advance(&mut self) -> Option<Lsn> {
        let before = self.durable;
        let aside = self.aside.front().copied();
        while let Some(&Flight { last, release, written: true, .. }) = self.flights.front()
            && aside.is_none_or(|lsn| last < lsn)
        {
            self.flights.pop_front();
            self.first_flight += 1;
            self.durable = last;
            self.release[2] = release;
        }
        if self.durable == before {
            return None;
        }
        self.let_go();
        Some(self.durable)
    }

    /// Lets go of what a durable batch says is not needed, the first segment first: no crash leaves a gap.
    fn let_go(&mut self) {
        let [.., release] = self.release;
        while let Some(closed) = self.closed.front().filter(|closed| closed.last < release) {
            self.released.push_back(self.options.dir.join(segment_name(closed.segment.sequence)));
            self.closed.pop_front();
        }
        while self.released.len() > MOST_RELEASED {
            self.released.pop_front().into_iter().for_each(|path| self.keeper.leave(Chore::Remove(path)));
        }
        let gone: Vec<_> = self.snapshots.iter().copied().filter(|&lsn| lsn < release).collect();
        if !gone.is_empty() {
            self.snapshots.retain(|&lsn| lsn >= release);
            self.keeper.leave(Chore::Forget(gone));
        }
    }

    /// The file that a write goes to.
    fn name_of(&self, id: u64) -> String {
        let number = id >> 1;
        match id & 1 {
            BATCH => segment_name(self.flight(number).map_or(self.current.sequence, |flight| flight.segment)),
            _ => MARK.to_owned(),
        }
    }
}
