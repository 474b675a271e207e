//! A node's disk: one journal, written in turns, durable later, and after a crash perhaps not quite
//! what was written.
//!
//! Each turn's records are one write. Writes may complete in any order; the node hears of the longest
//! durable prefix only. A crash keeps that prefix and whatever of the rest can be read back: the
//! journal is laid out as bytes, holes and torn writes included, in records as the real log has them, and read
//! until a checksum is wrong.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::{Lsn, Nanos, Prng, Record};
use zerocopy::IntoBytes;

use super::fault::{Fault, Injected};
use crate::wal::format::{read_record, seal};

/// How a disk behaves. Chances are in parts of 65,536.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// The shortest time from a write to its sync's end.
    pub sync_min_ns: u64,
    /// Syncs take from the shortest time to this much more.
    pub sync_spread_ns: u64,
    /// Chance that one takes far longer.
    pub slow_chance: u16,
    /// How much longer.
    pub slow_ns: u64,
    /// Whether syncs may complete out of order.
    pub any_order: bool,
    /// Chance that a sync fails.
    pub failure: u16,
    /// Whether a part of what was not synced may survive a crash.
    pub torn: bool,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sync {
    pub(super) write: u64,
    pub(super) at: Nanos,
    pub(super) fails: bool,
}

/// A durable record cannot be read: the node that owns it must not take part any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotten;

#[derive(Debug)]
pub(super) struct Disk {
    options: DiskOptions,
    prng: Prng,
    /// The journal; only the first `durable` would survive a crash for certain.
    records: Vec<Record>,
    durable: usize,
    /// Writes under way, each with where in `records` it ends and whether it is complete.
    writes: VecDeque<(usize, bool)>,
    /// The number of the first of them.
    first_write: u64,
    last_sync: u64,
    /// It stalls: what is written from now on is not durable before this.
    stalled_until: Nanos,
    /// A durable record's image no longer has the checksum that it was written with.
    rotten: bool,
    mutant: Switch,
}

impl Disk {
    pub(super) fn new(options: DiskOptions, prng: Prng) -> Self {
        Self {
            options,
            prng,
            records: Vec::new(),
            durable: 0,
            writes: VecDeque::new(),
            first_write: 0,
            last_sync: 0,
            stalled_until: Nanos::ZERO,
            rotten: false,
            mutant: Switch::default(),
        }
    }

    /// The same disk, with a bug in it.
    pub(super) fn with_mutant(self, mutant: Switch) -> Self {
        Self { mutant, ..self }
    }

    /// Takes a turn's records, and says when they will be durable.
    pub(super) fn write(&mut self, now: Nanos, records: &mut Vec<Record>, injected: &mut Injected) -> Sync {
        self.records.append(records);
        self.writes.push_back((self.records.len(), false));
        let write = self.first_write + self.writes.len() as u64 - 1;
        let draw = self.prng.next_u64();
        let mut at = now.0 + self.options.sync_min_ns + self.prng.below(self.options.sync_spread_ns + 1);
        if (draw as u16) < self.options.slow_chance {
            injected[Fault::SlowDisk] += 1;
            at += self.prng.below(self.options.slow_ns + 1);
        }
        at = at.max(self.stalled_until.0);
        if !self.options.any_order {
            at = at.max(self.last_sync);
        } else if at < self.last_sync {
            injected[Fault::DiskOrder] += 1;
        }
        self.last_sync = self.last_sync.max(at);
        Sync { write, at: Nanos(at), fails: ((draw >> 16) as u16) < self.options.failure }
    }

    /// A write is complete. How far the journal is durable now, if that is further than before.
    pub(super) fn synced(&mut self, write: u64) -> Option<Lsn> {
        let index = usize::try_from(write.checked_sub(self.first_write)?).ok()?;
        self.writes.get_mut(index)?.1 = true;
        if self.mutant.is(Mutant::R5c) {
            let lsn = self.writes[index].0.checked_sub(1).map(|last| self.records[last].lsn);
            while let Some(&(end, true)) = self.writes.front() {
                self.durable = end;
                self.writes.pop_front();
                self.first_write += 1;
            }
            return lsn;
        }
        let before = self.durable;
        while let Some(&(end, true)) = self.writes.front() {
            self.durable = end;
            self.writes.pop_front();
            self.first_write += 1;
        }
        (self.durable > before).then(|| self.records[self.durable - 1].lsn)
    }

    /// What is written from now on is not durable until so much after everything before it.
    pub(super) fn stall(&mut self, now: Nanos, nanos: u64) {
        let idle_at = now.max(self.stalled_until).max(Nanos(self.last_sync));
        self.stalled_until = idle_at + nanos;
    }

    /// Lets go of everything before `begin`.
    pub(super) fn release(&mut self, begin: Lsn) {
        let gone = self.records.partition_point(|record| record.lsn < begin);
        self.records.drain(..gone);
        self.durable = self.durable.saturating_sub(gone);
        self.writes.iter_mut().for_each(|(end, _)| *end = end.saturating_sub(gone));
    }

    /// Whether everything that was written is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.writes.is_empty()
    }

    /// The power fails: writes under way are lost, or there, or there in part.
    pub(super) fn crash(&mut self, injected: &mut Injected) {
        let mut image = Vec::new();
        let mut begin = self.durable;
        for &(end, complete) in &self.writes {
            let from = image.len();
            self.records[begin..end].iter().for_each(|record| encode(record, &mut image));
            begin = end;
            let kept = match (complete, self.options.torn) {
                (true, true) => image.len(),
                (false, true) => from + self.prng.below((image.len() - from) as u64 + 1) as usize,
                (_, false) => from,
            };
            image[kept..].fill(0);
        }
        if self.options.torn && image.iter().any(|&byte| byte != 0) {
            injected[Fault::TornTail] += 1;
        }
        let survivors = readable(image.into());
        self.records.truncate(self.durable + survivors);
        self.durable = self.records.len();
        self.first_write += self.writes.len() as u64;
        self.writes.clear();
        (self.last_sync, self.stalled_until) = (0, Nanos::ZERO);
        if self.mutant.is(Mutant::R16) {
            self.records.clear();
            self.durable = 0;
        }
    }

    /// A byte of a durable record changes.
    pub(super) fn rot(&mut self) -> bool {
        if self.durable == 0 {
            return false;
        }
        let mut image = Vec::new();
        let victim = self.prng.below(self.durable as u64) as usize;
        encode(&self.records[victim], &mut image);
        let at = self.prng.below(image.len() as u64) as usize;
        image[at] ^= 1 << self.prng.below(8);
        self.rotten = readable(image.into()) == 0;
        if self.rotten && self.mutant.is(Mutant::R17) {
            self.durable = victim;
            self.writes.clear();
            self.records.truncate(victim);
            self.rotten = false;
            return true;
        }
        self.rotten
    }

    /// What a restarted node finds. Its own durable records with one of them damaged are no torn tail:
    /// a node that cut them off would forget what it has promised.
    pub(super) fn read(&self) -> Result<&[Record], Rotten> {
        debug_assert_eq!(self.durable, self.records.len(), "nothing is under way while a node is down");
        if self.rotten { Err(Rotten) } else { Ok(&self.records) }
    }

    /// From now on syncs are in order, take their usual time, and do not fail.
    pub(super) fn calm_down(&mut self) {
        (self.options.failure, self.options.slow_chance, self.options.any_order) = (0, 0, false);
        self.stalled_until = Nanos::ZERO;
    }
}

/// A record as bytes: its number, which the real log has in the header of a batch; and what stands in that.
fn encode(record: &Record, image: &mut Vec<u8>) {
    image.extend_from_slice(&record.lsn.0.to_le_bytes());
    image.extend_from_slice(seal(record.lsn, &record.head, record.body.pieces()).as_bytes());
    record.body.pieces().iter().for_each(|piece| image.extend_from_slice(piece));
}

/// How many records can be read from the start of `image`.
fn readable(mut image: Bytes) -> usize {
    let mut count = 0;
    while let Ok(lsn) = image.try_get_u64_le()
        && read_record(Lsn(lsn), &mut image, None).is_some()
    {
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Head;

    const CALM: DiskOptions = DiskOptions {
        sync_min_ns: 10,
        sync_spread_ns: 100,
        slow_chance: 0,
        slow_ns: 0,
        any_order: false,
        failure: 0,
        torn: false,
    };

    fn record(lsn: u64) -> Record {
        let body = Bytes::from(lsn.to_string().repeat(10));
        let head = Head { body_len: body.len() as u32, kind: 1, words: [lsn; 6], ..Head::default() };
        Record { lsn: Lsn(lsn), head, body: body.into() }
    }

    fn disk(options: DiskOptions, writes: u64, seed: u64) -> (Disk, Vec<Sync>) {
        let mut disk = Disk::new(options, Prng::new(seed));
        let mut injected = Injected::default();
        let mut write = |at| disk.write(Nanos(at), &mut vec![record(2 * at + 1), record(2 * at + 2)], &mut injected);
        let syncs = (0..writes).map(&mut write).collect();
        (disk, syncs)
    }

    #[test]
    fn whatever_order_syncs_have_a_prefix_is_reported() {
        let (mut disk, syncs) = disk(DiskOptions { any_order: true, ..CALM }, 4, 1);
        assert!(syncs.windows(2).any(|pair| pair[0].at > pair[1].at), "out of order");
        let reported: Vec<_> = [1, 3, 0, 2].into_iter().map(|write| disk.synced(write)).collect();
        assert_eq!(reported, [None, None, Some(Lsn(4)), Some(Lsn(8))]);
    }

    #[test]
    fn a_crash_keeps_what_was_durable() {
        let (mut disk, _) = disk(CALM, 3, 1);
        disk.synced(0);
        disk.synced(2);
        disk.crash(&mut Injected::default());
        assert_eq!(disk.read().map(<[_]>::len), Ok(2));
        assert_eq!(disk.synced(1), None, "a sync of before the crash is no news");
    }

    #[test]
    fn a_torn_tail_is_cut_at_the_first_bad_checksum() {
        let mut survivors = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let (mut disk, _) = disk(DiskOptions { torn: true, ..CALM }, 3, seed);
            disk.synced(0);
            disk.synced(2);
            disk.crash(&mut Injected::default());
            let records = disk.read().expect("not rotten");
            assert!((1..).zip(records).all(|(lsn, record)| record.lsn == Lsn(lsn)));
            survivors.insert(records.len());
        }
        assert_eq!(survivors.into_iter().collect::<Vec<_>>(), [2, 3, 6], "none, one, or all of the second write");
    }

    #[test]
    fn what_is_released_is_gone_and_the_rest_stays() {
        let (mut disk, _) = disk(CALM, 3, 1);
        disk.synced(0);
        disk.synced(1);
        disk.release(Lsn(4));
        assert_eq!(disk.synced(2), Some(Lsn(6)));
        let lsns: Vec<_> = disk.read().expect("not rotten").iter().map(|record| record.lsn).collect();
        assert_eq!(lsns, [Lsn(4), Lsn(5), Lsn(6)]);
    }

    #[test]
    fn a_stalled_disk_delays_what_comes_and_not_what_came() {
        let mut disk = Disk::new(CALM, Prng::new(1));
        let write = |disk: &mut Disk, lsn| disk.write(Nanos(1), &mut vec![record(lsn)], &mut Injected::default()).at;
        let before = write(&mut disk, 1);
        disk.stall(Nanos(1), 1_000_000);
        assert!(before < Nanos(1_000_000) && write(&mut disk, 2) >= Nanos(1_000_000));
        disk.crash(&mut Injected::default());
        assert!(write(&mut disk, 3) < Nanos(1_000_000), "it works again after a crash");
    }

    #[test]
    fn rot_is_no_torn_tail() {
        let (mut disk, _) = disk(CALM, 1, 1);
        assert!(!disk.rot(), "nothing is durable yet");
        disk.synced(0);
        assert!(disk.rot());
        assert_eq!(disk.read().map(<[_]>::len), Err(Rotten));
    }
}
