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
    /// Writes that were synced and are over: batches and snapshots.
    pub syncs: u64,
    /// Nanoseconds from handing out a batch to its being over, of the longest.
    pub longest_sync_ns: u64,
}
