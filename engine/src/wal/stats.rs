//! What a log has done.

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Records taken.
    pub records: u64,
    /// Batches written.
    pub batches: u64,
    /// Bytes of them, padding included.
    pub bytes: u64,
    /// Bytes of the largest.
    pub largest_batch: u64,
    /// Writes that were synced and are over: batches and snapshots.
    pub syncs: u64,
    /// Nanoseconds from handing out a batch to its being over, in all.
    pub sync_ns: u64,
    /// Nanoseconds of the longest.
    pub longest_sync_ns: u64,
    /// Snapshots that were written aside.
    pub snapshots: u64,
    /// How often a batch was ready and no segment was.
    pub stalls: u64,
}

impl WalStats {
    /// What was added since `earlier`. The largest and the longest stay what they are.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            largest_batch: self.largest_batch,
            longest_sync_ns: self.longest_sync_ns,
            ..self.zip(earlier, |now, then| now - then)
        }
    }

    /// What two logs did together: the sums, and the larger of the largest.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            largest_batch: self.largest_batch.max(other.largest_batch),
            longest_sync_ns: self.longest_sync_ns.max(other.longest_sync_ns),
            ..self.zip(other, |a, b| a + b)
        }
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            records: f(self.records, other.records),
            batches: f(self.batches, other.batches),
            bytes: f(self.bytes, other.bytes),
            largest_batch: 0,
            syncs: f(self.syncs, other.syncs),
            sync_ns: f(self.sync_ns, other.sync_ns),
            longest_sync_ns: 0,
            snapshots: f(self.snapshots, other.snapshots),
            stalls: f(self.stalls, other.stalls),
        }
    }
}
