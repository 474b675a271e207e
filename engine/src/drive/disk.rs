//! A node's disk in virtual time: a journal that is synced as a database syncs its own, by group commit.
//!
//! One sync is under way at a time. What is written meanwhile, in however many turns, waits and shares
//! the next one, so a busy disk makes more durable with each sync and not more syncs. A sync takes
//! `cost.sync`, and what its bytes take at `cost.disk_bandwidth` on top.

use std::time::Duration;

use quorumbench_protocols::{Head, Lsn, Nanos, Record};

use crate::spec::Cost;

#[derive(Debug)]
pub(super) struct Disk {
    sync_ns: u64,
    /// What a fault adds to each sync.
    extra_ns: u64,
    bandwidth: Option<usize>,
    /// What the sync under way makes durable.
    under_way: Option<Written>,
    /// What the next one will.
    waiting: Option<Written>,
}

/// Records that were written in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The last of them.
    last: Lsn,
    bytes: u64,
}

impl Written {
    /// A turn's records, if there are any.
    pub(super) fn of(records: &[Record]) -> Option<Self> {
        let bytes = records.iter().map(|record| (Head::BYTES + record.body.len()) as u64).sum();
        records.last().map(|record| Self { last: record.lsn, bytes })
    }
}

impl Disk {
    /// `None` where a sync takes no time: what is written is durable at once.
    pub(super) fn new(cost: Cost) -> Option<Self> {
        let sync_ns = cost.sync.as_nanos() as u64;
        let takes_time = sync_ns > 0 || cost.disk_bandwidth.is_some();
        takes_time.then_some(Self {
            sync_ns,
            extra_ns: 0,
            bandwidth: cost.disk_bandwidth,
            under_way: None,
            waiting: None,
        })
    }

    /// Each sync that begins from now on takes so much longer than its own time.
    pub(super) fn slow_down(&mut self, extra: Duration) {
        self.extra_ns = extra.as_nanos() as u64;
    }

    /// Takes what was written by now. When a sync ends, if one begins with it.
    pub(super) fn write(&mut self, now: Nanos, written: Written) -> Option<Nanos> {
        let before = self.waiting.map_or(0, |waiting| waiting.bytes);
        self.waiting = Some(Written { last: written.last, bytes: before + written.bytes });
        if self.under_way.is_none() { self.begin(now) } else { None }
    }

    /// The sync under way is over. How far the journal is durable now, and when the next one ends.
    pub(super) fn synced(&mut self, now: Nanos) -> (Option<Lsn>, Option<Nanos>) {
        let durable = self.under_way.take().map(|written| written.last);
        (durable, self.begin(now))
    }

    fn begin(&mut self, now: Nanos) -> Option<Nanos> {
        self.under_way = self.waiting.take();
        let bytes = self.under_way?.bytes;
        let seconds = self.bandwidth.map_or(0.0, |per_second| bytes as f64 / per_second as f64);
        Some(now + self.sync_ns + self.extra_ns + (seconds * 1e9) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(sync: Duration, disk_bandwidth: Option<usize>) -> Option<Disk> {
        let free = Duration::ZERO;
        Disk::new(Cost { turn: free, frame: free, kib: free, sync, disk_bandwidth })
    }

    fn written(last: u64) -> Written {
        Written { last: Lsn(last), bytes: 1000 }
    }

    #[test]
    fn what_is_written_during_a_sync_shares_the_next() {
        let mut disk = disk(Duration::from_nanos(100), None).expect("it takes time");
        assert_eq!(disk.write(Nanos(5), written(1)), Some(Nanos(105)));
        assert_eq!(disk.write(Nanos(6), written(2)), None);
        assert_eq!(disk.write(Nanos(104), written(3)), None);
        assert_eq!(disk.synced(Nanos(105)), (Some(Lsn(1)), Some(Nanos(205))));
        assert_eq!(disk.write(Nanos(110), written(4)), None);
        assert_eq!(disk.synced(Nanos(205)), (Some(Lsn(3)), Some(Nanos(305))));
        assert_eq!(disk.synced(Nanos(305)), (Some(Lsn(4)), None));
        assert_eq!(disk.write(Nanos(400), written(5)), Some(Nanos(500)), "it was idle");
    }

    #[test]
    fn bytes_take_their_time() {
        let mut disk = disk(Duration::from_nanos(100), Some(1_000_000_000)).expect("it takes time");
        assert_eq!(disk.write(Nanos(0), written(1)), Some(Nanos(1100)));
        disk.write(Nanos(1), written(2));
        disk.write(Nanos(2), written(3));
        assert_eq!(disk.synced(Nanos(1100)).1, Some(Nanos(1100 + 100 + 2000)));
    }

    #[test]
    fn a_disk_that_takes_no_time_is_none() {
        assert!(disk(Duration::ZERO, None).is_none());
        assert!(disk(Duration::ZERO, Some(1)).is_some());
    }
}
