//! What a log says after a crash: a function of the bytes in its directory, and of nothing else.
//!
//! The batches are read in order up to the first that is not there as it was written. That one, `b`, and all behind it
//! are a torn tail, unless something says that `b` was acknowledged: the marks, or the header of any batch, wherever
//! it stands in what is left, that was built when `b` was durable already. Then the log is corrupt, and nothing is cut.

use std::path::PathBuf;

use quorumbench_protocols::{Lsn, Record};

use super::Identity;
use super::directory::{Image, MARK, Pieces, segment_name};
use super::error::{Problem, WalError};
use super::format::{BLOCK, DIRECT_BLOCK, Mark, Sealed, SegmentHeader, VERSION};
use super::reader::{Batch, Reader};

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
    /// The image's segments that hold batches, or will next, by what they open with; with the last record of each.
    pub(super) segments: Vec<(SegmentHeader, Lsn)>,
    /// Where the log goes on: in the last of them, at this byte.
    pub(super) end: u64,
    /// Every record up to this one was acknowledged, as far as the log itself knows.
    pub(super) acknowledged: Lsn,
    /// The batches of which nobody knows that they were acknowledged.
    pub(super) unsure: Vec<Batch>,
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

pub(super) fn scan<F: Pieces>(image: &Image<F>, identity: &Identity, heed: Heed) -> Result<Scan, WalError> {
    let openings = openings(image, identity)?;
    let mark = read_marks(image, identity)?;
    let mut reader = Reader::new(image, identity, &openings, heed);
    reader.acknowledge(Lsn(mark.durable));
    reader.walk()?;
    reader.resolve_snapshots()?;
    let intact = reader.heed_headers_behind()?;
    let (last, acknowledged, release) = (reader.last(), reader.acknowledged(), reader.release());
    if last < acknowledged {
        let damage = reader.stop.found.unwrap_or("nothing stands here");
        let (segment, at) = reader.stop.damage;
        let file = image.segment_path(segment);
        return Err(WalError::new(&file, Some(at), Problem::Lost { damage, ends: last, acknowledged }));
    }
    if reader.first > release && reader.first > Lsn(1) {
        let file = image.dir.join(segment_name(image.segments[0].0.saturating_sub(1)));
        let what = format!("it is missing: nothing says that the records before {} may go", reader.first);
        return Err(WalError::corrupt(&file, 0, what));
    }
    Ok(reader.into_scan(mark.generation, intact))
}

/// No log comes to so many segments or records.
const MOST: u64 = 1 << 62;

/// What a segment's first block says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opening {
    Begun(SegmentHeader),
    /// Zeros: it was prepared, and not used yet.
    Blank,
    /// It was being written.
    Torn,
}

pub(super) fn openings<F: Pieces>(image: &Image<F>, identity: &Identity) -> Result<Vec<Opening>, WalError> {
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

fn opening<F: Pieces>(image: &Image<F>, identity: &Identity, index: usize) -> Result<Opening, WalError> {
    let (sequence, file) = &image.segments[index];
    let path = || image.segment_path(index);
    let len = file.len();
    if len < 2 * u64::from(BLOCK) || !len.is_multiple_of(u64::from(BLOCK)) {
        return Err(WalError::corrupt(&path(), len, "it ends here, which no segment does"));
    }
    let foreign = |what, found, expected| WalError::new(&path(), Some(0), Problem::Foreign { what, found, expected });
    let bytes = file.read(0, u64::from(BLOCK)).map_err(WalError::io(&path(), "reading it"))?;
    let Some(header) = SegmentHeader::read(&bytes) else {
        // A header that was torn off has no version, or this one.
        if let Some(version) = SegmentHeader::claimed_version(&bytes).filter(|version| ![0, VERSION].contains(version))
        {
            return Err(foreign("version", version.to_string(), VERSION.to_string()));
        }
        let blank = bytes.iter().all(|&byte| byte == 0);
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
pub(super) fn read_marks<F>(image: &Image<F>, identity: &Identity) -> Result<Mark, WalError> {
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
