//! What is asked of the kernel, for which connection, and how that is written on an operation.

use std::time::Duration;

use io_uring::types::Timespec;

/// Which connection an operation belongs to: its slot, and a number that no later user of the slot has.
/// Or which place among the file writes, or among the syncs: nobody else has it until that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Accept,
    Connect,
    Greet,
    Receive,
    Write,
    Cancel,
    WriteFile,
    SyncFile,
}

/// How long an enter may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    For(u64),
    Forever,
}

impl Tag {
    /// Of a file write or a sync.
    pub(super) fn of_file(place: usize) -> Self {
        Self { slot: 0, generation: u32::try_from(place).expect("fewer than four billion at once") }
    }

    /// The place that [`of_file`](Self::of_file) was given.
    pub(super) fn place(self) -> usize {
        self.generation as usize
    }
}

impl Patience {
    pub(super) fn timespec(self) -> Option<Timespec> {
        match self {
            Self::For(ns) => Some(Duration::from_nanos(ns).into()),
            Self::None | Self::Forever => None,
        }
    }
}

const OPS: [Op; 8] =
    [Op::Accept, Op::Connect, Op::Greet, Op::Receive, Op::Write, Op::Cancel, Op::WriteFile, Op::SyncFile];

/// The number that an operation carries, and its completion brings back.
pub(super) fn encode(op: Op, tag: Tag) -> u64 {
    (op as u64) << 56 | u64::from(tag.slot) << 32 | u64::from(tag.generation)
}

/// What `encode` was given.
pub(super) fn decode(number: u64) -> (Op, Tag) {
    (OPS[(number >> 56) as usize], Tag { slot: (number >> 32) as u16, generation: number as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_comes_back() {
        let tag = Tag { slot: u16::MAX, generation: u32::MAX - 1 };
        assert!(OPS.iter().all(|&op| decode(encode(op, tag)) == (op, tag)));
    }
}
