//! What stands on disk, byte for byte: headers of segments, batches, snapshots and marks, and records.
//!
//! All numbers are little-endian. Every header holds its own CRC-32C, taken with that field as zero.

use bytes::{Buf, Bytes};
use crc32c::{crc32c, crc32c_append};
use quorumbench_protocols::{Head, Lsn, NodeId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Identity;

/// The version of this format.
pub(super) const VERSION: u32 = 1;
/// A block of a log that is written through the page cache: what a disk writes whole or not at all.
pub(super) const BLOCK: u32 = 512;
/// A block of a log that is written past it.
pub(super) const DIRECT_BLOCK: u32 = 4096;

const SEGMENT_MAGIC: [u8; 8] = *b"QBWALSEG";
const SNAPSHOT_MAGIC: [u8; 8] = *b"QBWALSNP";
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"QBba");
const MARK_MAGIC: u32 = u32::from_le_bytes(*b"QBmk");

/// A header that holds its own checksum.
pub(super) trait Sealed: FromBytes + IntoBytes + Immutable + Copy {
    fn crc(&mut self) -> &mut u32;

    /// Whether it says that it is such a header at all.
    fn has_magic(&self) -> bool;

    #[must_use]
    fn sealed(mut self) -> Self {
        *self.crc() = 0;
        let crc = crc32c(self.as_bytes());
        *self.crc() = crc;
        self
    }

    /// The header that `bytes` begin with, if they begin with one.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (mut header, _) = Self::read_from_prefix(bytes).ok()?;
        if !header.has_magic() {
            return None;
        }
        let claimed = *header.crc();
        (*header.sealed().crc() == claimed).then_some(header)
    }
}

/// The first block of a segment; zeros behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct SegmentHeader {
    magic: [u8; 8],
    pub(super) version: u32,
    /// Batches begin at multiples of this.
    pub(super) block: u32,
    pub(super) run: u64,
    pub(super) node: u32,
    pub(super) group: u16,
    /// The kind of record that is kept aside, or [`NO_KIND`].
    pub(super) snapshot_kind: u16,
    pub(super) protocol: [u8; 16],
    /// Its number, which its name has too.
    pub(super) sequence: u64,
    /// Its first record.
    pub(super) first: u64,
    /// Bytes of the whole file.
    pub(super) size: u64,
    reserved: u32,
    crc: u32,
}

/// There is no such kind of record.
const NO_KIND: u16 = u16::MAX;

impl SegmentHeader {
    pub(super) fn new(identity: &Identity, block: u32, sequence: u64, first: Lsn, size: u64) -> Self {
        Self {
            magic: SEGMENT_MAGIC,
            version: VERSION,
            block,
            run: identity.run,
            node: identity.node.0,
            group: identity.group,
            snapshot_kind: identity.snapshot_kind.map_or(NO_KIND, u16::from),
            protocol: identity.protocol,
            sequence,
            first: first.0,
            size,
            reserved: 0,
            crc: 0,
        }
        .sealed()
    }

    /// The version that `bytes` claim to be of, if they begin as a segment does, even one that is damaged.
    pub(super) fn claimed_version(bytes: &[u8]) -> Option<u32> {
        let version = bytes.strip_prefix(&SEGMENT_MAGIC)?.first_chunk()?;
        Some(u32::from_le_bytes(*version))
    }

    /// Of what this is another log's: what, what it says, and what was expected.
    pub(super) fn foreign(&self, identity: &Identity) -> Option<(&'static str, String, String)> {
        let ours = Self::new(identity, self.block, self.sequence, Lsn(self.first), self.size);
        let name = |name: &[u8; 16]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        if self.run != ours.run {
            return Some(("run", format!("{:016x}", self.run), format!("{:016x}", ours.run)));
        }
        if self.node != ours.node {
            return Some(("node", NodeId(self.node).to_string(), NodeId(ours.node).to_string()));
        }
        if self.group != ours.group {
            return Some(("group", self.group.to_string(), ours.group.to_string()));
        }
        if self.protocol != ours.protocol || self.snapshot_kind != ours.snapshot_kind {
            return Some(("protocol", name(&self.protocol), name(&ours.protocol)));
        }
        None
    }
}

impl Sealed for SegmentHeader {
    fn crc(&mut self) -> &mut u32 {
        &mut self.crc
    }

    fn has_magic(&self) -> bool {
        self.magic == SEGMENT_MAGIC
    }
}

/// What a batch opens with. `run` and `sequence` are in it so that nothing that stood in a segment before it was used
/// again can be taken for a batch of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct BatchHeader {
    magic: u32,
    crc: u32,
    pub(super) run: u64,
    /// The segment's number.
    pub(super) sequence: u64,
    /// The first record.
    pub(super) first: u64,
    /// How many records.
    pub(super) count: u32,
    reserved: u32,
    /// Bytes of header and records, without padding.
    pub(super) bytes: u64,
    /// Every record up to this one was durable when the batch was built.
    pub(super) durable: u64,
    /// Records before this one are not needed any more.
    pub(super) release: u64,
}

impl BatchHeader {
    pub(super) const BYTES: usize = size_of::<Self>();

    pub(super) fn new(run: u64, sequence: u64, first: Lsn, count: u32, bytes: u64, durable: Lsn, release: Lsn) -> Self {
        let (first, durable, release) = (first.0, durable.0, release.0);
        let magic = BATCH_MAGIC;
        Self { magic, crc: 0, run, sequence, first, count, reserved: 0, bytes, durable, release }.sealed()
    }
}

impl Sealed for BatchHeader {
    fn crc(&mut self) -> &mut u32 {
        &mut self.crc
    }

    fn has_magic(&self) -> bool {
        self.magic == BATCH_MAGIC
    }
}

/// How far the log was durable, beside the log. Two of them take turns, each in a block of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct Mark {
    magic: u32,
    crc: u32,
    pub(super) run: u64,
    pub(super) node: u32,
    reserved: u32,
    /// The later of two is the one of the higher number.
    pub(super) generation: u64,
    /// Every record up to this one was durable.
    pub(super) durable: u64,
    padding: [u64; 3],
}

impl Mark {
    /// Bytes of a file of marks.
    pub(super) const FILE: usize = 2 * BLOCK as usize;

    pub(super) fn new(identity: &Identity, generation: u64, durable: Lsn) -> Self {
        let (run, node, durable) = (identity.run, identity.node.0, durable.0);
        Self { magic: MARK_MAGIC, crc: 0, run, node, reserved: 0, generation, durable, padding: [0; 3] }.sealed()
    }

    /// Where in the file it stands.
    pub(super) fn offset(generation: u64) -> u64 {
        generation % 2 * u64::from(BLOCK)
    }
}

impl Sealed for Mark {
    fn crc(&mut self) -> &mut u32 {
        &mut self.crc
    }

    fn has_magic(&self) -> bool {
        self.magic == MARK_MAGIC
    }
}

/// What a snapshot's file opens with; the body follows at once, to the file's end.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct SnapshotHeader {
    magic: [u8; 8],
    pub(super) run: u64,
    pub(super) lsn: u64,
    /// Bytes of body.
    pub(super) len: u64,
    pub(super) node: u32,
    /// Of the body.
    pub(super) body: u32,
    reserved: u32,
    crc: u32,
    padding: [u64; 2],
}

impl SnapshotHeader {
    pub(super) const BYTES: usize = size_of::<Self>();

    pub(super) fn new(identity: &Identity, lsn: Lsn, body: &[Bytes]) -> Self {
        let (run, node, lsn) = (identity.run, identity.node.0, lsn.0);
        let len = body.iter().map(|piece| piece.len() as u64).sum();
        let (magic, body) = (SNAPSHOT_MAGIC, crc_of(body));
        Self { magic, run, lsn, len, node, body, reserved: 0, crc: 0, padding: [0; 2] }.sealed()
    }

    /// What stands in the log in place of the body.
    pub(super) fn stub(&self) -> [u8; STUB] {
        let mut stub = [0; STUB];
        stub[..4].copy_from_slice(&self.body.to_le_bytes());
        stub
    }
}

impl Sealed for SnapshotHeader {
    fn crc(&mut self) -> &mut u32 {
        &mut self.crc
    }

    fn has_magic(&self) -> bool {
        self.magic == SNAPSHOT_MAGIC
    }
}

const _: () = assert!(BatchHeader::BYTES == 64 && size_of::<Mark>() == 64 && SnapshotHeader::BYTES == 64);

/// What stands in the log in place of a snapshot's body: its checksum, and zeros.
pub(super) const STUB: usize = 8;

/// The body of snapshot `lsn`, if `file` holds it whole and `stub` stands for it.
pub(super) fn snapshot_body(identity: &Identity, lsn: Lsn, stub: &[u8], file: &Bytes) -> Option<Bytes> {
    let header = SnapshotHeader::read(file)?;
    let body = file.slice(SnapshotHeader::BYTES..);
    let ours = header.run == identity.run && header.node == identity.node.0 && header.lsn == lsn.0;
    let whole = header.len == body.len() as u64 && header.body == crc32c(&body);
    (ours && whole && header.stub()[..] == *stub).then_some(body)
}

/// `head` as it stands in front of `body` in the log. The checksum is over the record's number, so that no record can
/// stand in for another, and head and body.
pub(crate) fn seal(lsn: Lsn, head: &Head, body: &[Bytes]) -> Head {
    let head = Head { reserved: 0, ..*head };
    Head { reserved: body.iter().fold(crc_of_head(lsn, &head), |crc, piece| crc32c_append(crc, piece)), ..head }
}

/// Takes record `lsn` from the front of `bytes`: its head as it was before it was sealed, and what stands behind it.
/// `None`, with `bytes` as they were, if it is not there or damaged. A record of kind `aside` is followed by a stub.
pub(crate) fn read_record(lsn: Lsn, bytes: &mut Bytes, aside: Option<u8>) -> Option<(Head, Bytes)> {
    let (sealed, rest) = Head::read_from_prefix(bytes).ok()?;
    let len = if aside == Some(sealed.kind) { STUB } else { sealed.body_len as usize };
    let body = rest.get(..len)?;
    let head = Head { reserved: 0, ..sealed };
    if crc32c_append(crc_of_head(lsn, &head), body) != sealed.reserved {
        return None;
    }
    bytes.advance(Head::BYTES);
    Some((head, bytes.split_to(len)))
}

fn crc_of_head(lsn: Lsn, head: &Head) -> u32 {
    crc32c_append(crc32c(&lsn.0.to_le_bytes()), head.as_bytes())
}

fn crc_of(pieces: &[Bytes]) -> u32 {
    pieces.iter().fold(0, |crc, piece| crc32c_append(crc, piece))
}
