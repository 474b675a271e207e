//! From records to the bytes of one write.

use std::collections::VecDeque;

use bytes::Bytes;
use quorumbench_protocols::{Head, Lsn, Nanos, Record};
use quorumbench_transports::gather::Gather;
use quorumbench_transports::storage::FileBytes;
use zerocopy::IntoBytes;

use super::format::{BatchHeader, STUB, SegmentHeader, SnapshotHeader, seal};

/// Payload pieces below this are copied next to their heads: an entry of a gather list costs more.
const COPIED_BELOW: usize = 1024;

/// Records that wait for their batch.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Each with when it came.
    records: VecDeque<(Nanos, Record)>,
    bytes: usize,
}

/// How much of what waits goes into the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) count: u32,
    /// With the batch's header, without padding.
    pub(super) bytes: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, now: Nanos, record: Record, aside: Option<u8>) {
        self.bytes += stored(&record, aside);
        self.records.push_back((now, record));
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the first of them came.
    pub(super) fn since(&self) -> Option<Nanos> {
        self.records.front().map(|first| first.0)
    }

    pub(super) fn first(&self) -> Option<Lsn> {
        self.records.front().map(|(_, record)| record.lsn)
    }

    /// The records up to `enough` bytes, or just above; one at least, and no more than `most` unless it is one.
    pub(super) fn extent(&self, enough: usize, most: usize, aside: Option<u8>) -> Extent {
        let mut extent = Extent { count: 0, bytes: BatchHeader::BYTES };
        for (_, record) in &self.records {
            let more = stored(record, aside);
            if extent.count > 0 && (extent.bytes >= enough || extent.bytes + more > most) {
                break;
            }
            extent = Extent { count: extent.count + 1, bytes: extent.bytes + more };
        }
        extent
    }

    /// The records of `extent`, no longer waiting.
    pub(super) fn take(&mut self, extent: Extent) -> impl Iterator<Item = Record> {
        self.bytes -= extent.bytes - BatchHeader::BYTES;
        self.records.drain(..extent.count as usize).map(|(_, record)| record)
    }
}

/// Bytes of a record in the log.
fn stored(record: &Record, aside: Option<u8>) -> usize {
    Head::BYTES + if aside == Some(record.head.kind) { STUB } else { record.body.len() }
}

/// What a log's files are made of, put behind each other.
pub(super) trait Fill {
    /// A segment's first block.
    fn push_segment_header(&mut self, header: &SegmentHeader);
    /// What a batch opens with.
    fn push_batch_header(&mut self, header: &BatchHeader);
    /// A record, with its checksum.
    fn push_record(&mut self, record: &Record);
    /// A snapshot's record in the log, without its body.
    fn push_stub(&mut self, record: &Record, snapshot: &SnapshotHeader);
    /// Zeros up to a multiple of `block`.
    fn pad(&mut self, block: usize);
}

impl Fill for FileBytes {
    fn push_segment_header(&mut self, header: &SegmentHeader) {
        self.extend_from_slice(header.as_bytes());
        self.pad(header.block as usize);
    }

    fn push_batch_header(&mut self, header: &BatchHeader) {
        self.extend_from_slice(header.as_bytes());
    }

    fn push_record(&mut self, record: &Record) {
        let head = Head { body_len: record.body.len() as u32, ..record.head };
        let head = seal(record.lsn, &head, record.body.pieces());
        match self {
            Self::Gathered(gather) => {
                gather.push(&head, &record.body, COPIED_BELOW);
            }
            Self::Aligned(buffer) => {
                buffer.extend_from_slice(head.as_bytes());
                record.body.pieces().iter().for_each(|piece| buffer.extend_from_slice(piece));
            }
        }
    }

    fn push_stub(&mut self, record: &Record, snapshot: &SnapshotHeader) {
        let stub = Bytes::copy_from_slice(&snapshot.stub());
        let head = Head { body_len: record.body.len() as u32, ..record.head };
        self.extend_from_slice(seal(record.lsn, &head, std::slice::from_ref(&stub)).as_bytes());
        self.extend_from_slice(&stub);
    }

    fn pad(&mut self, block: usize) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let len = self.len();
        self.extend_from_slice(&ZEROS[..len.next_multiple_of(block) - len]);
    }
}

/// The file of a snapshot.
pub(super) fn snapshot_file(record: &Record, snapshot: &SnapshotHeader) -> FileBytes {
    let mut gather = Gather::default();
    gather.append(snapshot.as_bytes());
    gather.append_payload(&record.body, COPIED_BELOW);
    FileBytes::Gathered(gather)
}
