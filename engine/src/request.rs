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
    Read(ReadMode),
    /// Replica to client: this batch of reads was answered; the body holds the results.
    Served {
        /// The batch's sequence.
        sequence: u64,
        /// The last slot that the state machine had been delivered: for whoever checks.
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
        let (kind, [a, b]) = match self {
            Self::Submit => (Self::SUBMIT, [0, 0]),
            Self::Applied { first, batches } => (Self::APPLIED, [first, batches]),
            Self::Redirect { sequence, leader } => {
                (Self::REDIRECT, [sequence, leader.map_or(Self::NOBODY, |id| id.0.into())])
            }
            Self::Busy { sequence } => (Self::BUSY, [sequence, 0]),
            Self::Read(mode) => (Self::READ, [mode as u64, 0]),
            Self::Served { sequence, slot } => (Self::SERVED, [sequence, slot.0]),
        };
        Head { kind, from, words: [a, b, 0, 0, 0, 0], ..Head::default() }
    }

    /// Reads a head; `None` if it says none of these.
    pub fn read(head: &Head) -> Option<Self> {
        let [a, b, ..] = head.words;
        match head.kind {
            Self::SUBMIT => Some(Self::Submit),
            Self::APPLIED => Some(Self::Applied { first: a, batches: b }),
            Self::REDIRECT => Some(Self::Redirect { sequence: a, leader: u32::try_from(b).ok().map(NodeId) }),
            Self::BUSY => Some(Self::Busy { sequence: a }),
            Self::READ => {
                let modes = [ReadMode::Index, ReadMode::Lease, ReadMode::Stale];
                modes.into_iter().find(|&mode| mode as u64 == a).map(Self::Read)
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
            Request::Applied { first: 3, batches: 9 },
            Request::Redirect { sequence: 3, leader: Some(NodeId(2)) },
            Request::Redirect { sequence: 3, leader: None },
            Request::Busy { sequence: 3 },
            Request::Read(ReadMode::Index),
            Request::Read(ReadMode::Lease),
            Request::Read(ReadMode::Stale),
            Request::Served { sequence: 3, slot: Slot(8) },
        ] {
            assert_eq!(Request::read(&request.head(NodeId(4))), Some(request));
        }
        let unknown_mode = Head { words: [9; 6], ..Request::Read(ReadMode::Index).head(NodeId(4)) };
        assert_eq!(Request::read(&unknown_mode), None);
        assert_eq!(Request::read(&Head { kind: 1, ..Head::default() }), None);
    }
}
