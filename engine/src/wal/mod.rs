//! A node's log on disk: what the protocol has promised and accepted, durable before anyone is told.
//!
//! [`Wal`] takes a turn's records, makes batches of them (group commit), and hands these out as writes for whoever has
//! a ring: it blocks on nothing itself. Writes come back in any order; the node hears of the longest durable prefix.
//! What would block, names and new files and snapshots, is left to a thread.
//!
//! # A directory
//!
//! - `00000000000000000001.log` and on: *segments*, numbered without a gap, of a fixed size and written full of zeros
//!   before they are used. The first block says what this is: format, run, node, protocol, and the segment's first
//!   record. A segment that is all before the last release is prepared again as a later one.
//! - In a segment, *batches*, one after the other, each at the beginning of a block and padded to one. A batch opens
//!   with a header of 64 bytes: its first record's number, how many there are, how many bytes; and up to where the log
//!   was durable, and was released, when the batch was built. Then its records, as they stand on the wire: the head,
//!   with a CRC-32C in [`Head::reserved`](quorumbench_protocols::Head::reserved) over number, head and body; the body.
//! - `snapshot-…`: the bodies of records of one kind, which are large, each in a file of its own that was written
//!   aside, synced and renamed. In the log stands the head and the body's checksum.
//! - `mark`: twice, in turns, how far the log was durable. It is not synced.
//!
//! # Torn or corrupt
//!
//! After a crash the log is read up to the first batch that is not there as it was written. A crash explains that if
//! nobody was ever told of the batch: its write was under way. Then it is a *torn tail*; it and all behind it, whole
//! batches too that were written at the same time and got further, are overwritten with zeros and the log goes on
//! there. But if somebody *was* told, no crash explains it. A node that went on would have forgotten a vote, or a
//! command that it helped to commit. So it refuses, and says which byte of which file is wrong.
//!
//! How does the log know who was told? Each batch says how far the log was durable when it was built; so do the marks.
//! No write is begun with such a claim before it is true. A batch that is damaged is hence noticed as soon as one
//! header behind it was built after it was acknowledged, wherever that stands and whatever is broken between them. Of
//! the last few that were acknowledged only the marks know. They follow when nothing else has been written for a
//! millisecond, and survive the death of the process; the page cache that holds them does not survive a power failure.
//! That is the one thing that goes unnoticed: a disk that lost what it had synced, *and* only at the very end, *and* a
//! power failure or a death within that millisecond.
//!
//! No block holds parts of two batches, so what a torn write leaves in a block cannot damage what was acknowledged.
//! What stood in a segment before it was used again names another segment in its header and other numbers in its
//! checksums, and is never taken for a batch.
//!
//! A write or sync that fails is the end: nothing is reported durable from then on. The kernel may have thrown away
//! what it could not write, and a second sync would succeed for want of anything to do. For the same reason a log that
//! is opened is written again from what was surely acknowledged on, and synced, before the node takes part.

use std::path::PathBuf;
use std::time::Duration;

use quorumbench_protocols::NodeId;

mod batch;
mod directory;
mod error;
pub(crate) mod format;
mod keeper;
mod open;
mod reader;
mod recovery;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

pub use directory::Image;
pub(crate) use directory::open_to_write;
pub use error::{Problem, WalError};
pub use recovery::{Cut, Recovered, read};
pub use stats::WalStats;
pub use writer::Wal;

pub use quorumbench_transports::storage::{FileError, FileWrite, FileWritten};

/// How a log is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory: one a node.
    pub dir: PathBuf,
    /// What it takes for a record to be durable.
    pub durability: Durability,
    /// Whether batches go past the page cache. Blocks are 4096 bytes then, and 512 otherwise.
    pub direct: bool,
    /// How long a record may wait for others to share its batch.
    pub linger: Duration,
    /// Bytes at which a batch waits no longer.
    pub max_batch: usize,
    /// Bytes of a segment, in whole blocks and at least eight. A batch that needs more has a larger one.
    pub segment_bytes: usize,
    /// Batches under way at a time; at least one.
    pub in_flight: usize,
}

impl Options {
    /// Bytes of a segment, unless told otherwise.
    pub const SEGMENT_BYTES: usize = 64 << 20;

    /// A log that is synced, without a wait, through the page cache.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::Fsync,
            direct: false,
            linger: Duration::ZERO,
            max_batch: 1 << 20,
            segment_bytes: Self::SEGMENT_BYTES,
            in_flight: 4,
        }
    }
}

/// What it takes for a record to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The kernel has it: it survives the process, and not a power failure.
    PageCache,
    /// The disk has it.
    Fsync,
}

/// Whose log it is. One that is not this node's of this run is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The run.
    pub run: u64,
    /// The node.
    pub node: NodeId,
    /// The consensus group.
    pub group: u16,
    /// The protocol's name, padded with zeros: see [`Identity::protocol`].
    pub protocol: [u8; 16],
    /// The kind of record whose body is kept in a file of its own, if there is one.
    pub snapshot_kind: Option<u8>,
}

impl Identity {
    /// A protocol's name as a log holds it: its first 16 bytes.
    pub fn protocol(name: &str) -> [u8; 16] {
        let mut bytes = [0; 16];
        let len = name.len().min(bytes.len());
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        bytes
    }
}
