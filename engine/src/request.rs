//! What clients and replicas say to each other: a batch to order or to read, and one of four answers.

use quorumbench_protocols::{Head, NodeId, ReadMode, Slot};

/// A message between a client and a replica, as its head says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Client to replica: order this batch (the body).
    Submit,
    /// Replica to client: `batches` batches from `first` on are applied. The body holds the results
    /// if there are any; then `batches` is 1.
    Applied {
        /// The first batch's sequence.
        first: u64,
        /// How many in a row.
        batches: u64,
        /// The last slot that the state machine had been delivered: what the client reads from now on must not be older.
        slot: Slot,
    },
    /// Replica to client: I do not lead; perhaps `leader` does. One that names itself leads, and has a batch that goes
    /// after this one.
    Redirect {
        /// The batch that was not taken.
        sequence: u64,
        /// Where to go with it, if this replica knows.
        leader: Option<NodeId>,
    },
    /// Replica to client: more waits here than I keep; send this batch again later.
    Busy {
        /// The batch that was not taken.
        sequence: u64,
    },
    /// Client to replica: answer this batch of reads (the body), beside the log.
    Read {
        /// How old the answer may be.
        mode: ReadMode,
        /// Nor may it be older than this slot, the last that a client with stale reads was told of.
        least: Slot,
    },
    /// Replica to client: this batch of reads was answered; the body holds the results.
    Served {
        /// The batch's sequence.
        sequence: u64,
        /// The last slot that the state machine had been delivered.
        slot: Slot,
    },
}

impl Request {
    const SUBMIT: u8 = Head::FIRST_FOREIGN_KIND;
    const APPLIED: u8 = Self::SUBMIT + 1;
    const REDIRECT: u8 = Self::SUBMIT + 2;
    const BUSY: u8 = Self::SUBMIT + 3;
    const READ: u8 = Self::SUBMIT + 4;
    const SERVED: u8 = Self::SUBMIT + 5;
    const NOBODY: u64 = u64::MAX;

    /// The head that says it.
    pub fn head(self, from: NodeId) -> Head {
        let (kind, [a, b, c]) = match self {
            Self::Submit => (Self::SUBMIT, [0, 0, 0]),
            Self::Applied { first, batches, slot } => (Self::APPLIED, [first, batches, slot.0]),
            Self::Redirect { sequence, leader } => {
                (Self::REDIRECT, [sequence, leader.map_or(Self::NOBODY, |id| id.0.into()), 0])
            }
            Self::Busy { sequence } => (Self::BUSY, [sequence, 0, 0]),
            Self::Read { mode, least } => (Self::READ, [mode as u64, least.0, 0]),
            Self::Served { sequence, slot } => (Self::SERVED, [sequence, slot.0, 0]),
        };
        Head { kind, from, words: [a, b, c, 0, 0, 0], ..Head::default() }
    }

    /// Reads a head; `None` if it says none of these.
    pub fn read(head: &Head) -> Option<Self> {
        let [a, b, c, ..] = head.words;
        match head.kind {
            Self::SUBMIT => Some(Self::Submit),
            Self::APPLIED => Some(Self::Applied { first: a, batches: b, slot: Slot(c) }),
            Self::REDIRECT => Some(Self::Redirect { sequence: a, leader: u32::try_from(b).ok().map(NodeId) }),
            Self::BUSY => Some(Self::Busy { sequence: a }),
            Self::READ => {
                let modes = [ReadMode::Index, ReadMode::Lease, ReadMode::Stale];
                let mode = modes.into_iter().find(|&mode| mode as u64 == a)?;
                Some(Self::Read { mode, least: Slot(b) })
            }
            Self::SERVED => Some(Self::Served { sequence: a, slot: Slot(b) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_head() {
        for request in [
            Request::Submit,
            Request::Applied { first: 3, batches: 9, slot: Slot(11) },
            Request::Redirect { sequence: 3, leader: Some(NodeId(2)) },
            Request::Redirect { sequence: 3, leader: None },
            Request::Busy { sequence: 3 },
            Request::Read { mode: ReadMode::Index, least: Slot::ZERO },
            Request::Read { mode: ReadMode::Lease, least: Slot::ZERO },
            Request::Read { mode: ReadMode::Stale, least: Slot(u64::MAX) },
            Request::Served { sequence: 3, slot: Slot(8) },
        ] {
            assert_eq!(Request::read(&request.head(NodeId(4))), Some(request));
        }
        let index = Request::Read { mode: ReadMode::Index, least: Slot::ZERO };
        let unknown_mode = Head { words: [9; 6], ..index.head(NodeId(4)) };
        assert_eq!(Request::read(&unknown_mode), None);
        assert_eq!(Request::read(&Head { kind: 1, ..Head::default() }), None);
    }
}
