//! How a snapshot travels to a node that lacks what everybody has let go: in parts, a few at a time,
//! over links that lose and repeat.

use bytes::Bytes;

use crate::io::Snapshot;
use crate::wire::{Payload, Slot, reject};

/// Which bytes of which snapshot a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The last slot in the snapshot.
    pub(crate) slot: Slot,
    /// The term, ballot or epoch of that slot.
    pub(crate) stamp: u64,
    /// Where in the snapshot the bytes begin.
    pub(crate) offset: u64,
    /// The whole snapshot's bytes.
    pub(crate) total: u64,
}

impl Part {
    /// Whether a part with `len` bytes can be one. All numbers are far below what overflows.
    pub(crate) fn check(&self, len: u64) -> Result<(), &'static str> {
        reject(self.slot == Slot::ZERO || self.stamp == 0, "a snapshot of nothing")?;
        reject(self.total > u64::from(u32::MAX), "a snapshot that no record could hold")?;
        reject(len == 0 || self.offset + len > self.total, "a part past the end")
    }
}

/// A snapshot on its way to another node.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) snapshot: Snapshot,
    /// The receiver has this much.
    acknowledged: usize,
    /// This much is on its way.
    sent: usize,
    /// It made progress since the last heartbeat.
    moved: bool,
    /// It did not: frames were lost, or the receiver forgot what it had.
    stalled: bool,
}

impl Transfer {
    /// Chunks that may be on their way.
    const IN_FLIGHT: usize = 4;

    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, acknowledged: 0, sent: 0, moved: true, stalled: false }
    }

    /// The next part to send, of at most `chunk` bytes, if one may go.
    pub(crate) fn next(&mut self, chunk: usize) -> Option<(Part, Payload)> {
        let Snapshot { slot, stamp, ref body } = self.snapshot;
        let total = body.len();
        let ahead = if self.stalled { 1 } else { Self::IN_FLIGHT };
        if self.sent == total || self.sent - self.acknowledged >= ahead * chunk {
            return None;
        }
        let (offset, len) = (self.sent, chunk.min(total - self.sent));
        self.sent += len;
        Some((Part { slot, stamp, offset: offset as u64, total: total as u64 }, body.slice(offset, len)))
    }

    /// A heartbeat passed. Without progress it goes back to what the receiver is known to have, or
    /// asks anew from the start if that was all.
    pub(crate) fn on_heartbeat(&mut self) {
        self.stalled = !std::mem::take(&mut self.moved);
        if self.stalled {
            self.acknowledged = if self.acknowledged == self.snapshot.body.len() { 0 } else { self.acknowledged };
            self.sent = self.acknowledged;
        }
    }

    /// The receiver has everything up to `offset`, and says so of this snapshot. Less than before is believed only after
    /// a stall: it may be an old answer. Whether that is all.
    pub(crate) fn on_received(&mut self, offset: u64) -> Result<bool, &'static str> {
        let total = self.snapshot.body.len();
        let offset = usize::try_from(offset).ok().filter(|&offset| offset <= total);
        let offset = offset.ok_or("acknowledges bytes never sent")?;
        if offset > self.acknowledged || (self.stalled && offset < self.acknowledged) {
            self.sent = if offset > self.acknowledged { self.sent.max(offset) } else { offset };
            self.acknowledged = offset;
            (self.moved, self.stalled) = (true, false);
        }
        Ok(offset == total)
    }
}

/// A snapshot that is arriving, if one is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arriving(Option<Assembly>);

impl Arriving {
    /// Takes a part. How much of its snapshot is here, and the snapshot once it is whole. One of a later
    /// slot takes the place of one that is not whole yet.
    pub(crate) fn add(&mut self, part: &Part, body: &Payload) -> (u64, Option<Snapshot>) {
        if self.0.as_ref().is_none_or(|assembly| !assembly.is_of(part) && assembly.slot <= part.slot) {
            self.0 = (part.offset == 0).then(|| Assembly::new(part));
        }
        let Some(assembly) = self.0.as_mut().filter(|assembly| assembly.is_of(part)) else { return (0, None) };
        assembly.add(part, body);
        let (have, whole) = (assembly.have, assembly.finish());
        self.0.take_if(|_| whole.is_some());
        (have, whole)
    }
}

#[derive(Clone, Debug)]
struct Assembly {
    slot: Slot,
    stamp: u64,
    total: u64,
    pieces: Vec<Bytes>,
    have: u64,
}

impl Assembly {
    fn new(part: &Part) -> Self {
        Self { slot: part.slot, stamp: part.stamp, total: part.total, pieces: Vec::new(), have: 0 }
    }

    fn is_of(&self, part: &Part) -> bool {
        (self.slot, self.stamp, self.total) == (part.slot, part.stamp, part.total)
    }

    /// Takes what comes next; anything else came twice, or too early. The pieces are at most as many
    /// as the snapshot has bytes, and at least as large as what was sent.
    fn add(&mut self, part: &Part, body: &Payload) {
        if part.offset == self.have {
            self.have += body.len() as u64;
            self.pieces.extend(body.pieces().iter().filter(|piece| !piece.is_empty()).cloned());
        }
    }

    /// The snapshot, if it is whole.
    fn finish(&mut self) -> Option<Snapshot> {
        (self.have == self.total).then(|| {
            let body = self.pieces.drain(..).collect();
            Snapshot { slot: self.slot, stamp: self.stamp, body }
        })
    }
}
