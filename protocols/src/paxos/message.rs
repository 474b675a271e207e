//! What proposers, acceptors and learners say to each other, and how it lies in a head's six words.

use std::fmt;

use super::ballot::Ballot;
use crate::transfer::Part;
use crate::wire::{Frame, Head, Malformed, NodeId, Slot, reject, within_reach};

/// A message of basic Paxos, read from a frame. Values and parts of snapshots stay in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Phase 1a: promise to accept nothing below this ballot.
    Prepare(Proposal),
    /// Phase 1b, the answer that a proposer wants.
    Promise(Promise),
    /// The other answer, to a prepare or an accept: a higher ballot was promised.
    Refuse(Refuse),
    /// Phase 2a: accept the value in the frame.
    Accept(Proposal),
    /// Phase 2b: it is accepted, durably.
    Accepted(Proposal),
    /// What is chosen: said by whoever finds out, and now and then to one other node.
    Chosen(Chosen),
    /// Teach me this slot and what follows.
    Ask(Slot),
    /// The value in the frame was chosen in this slot, under this ballot.
    Learn(Proposal),
    /// Bytes of a snapshot, for a learner that lacks what was let go.
    Chunk(Chunk),
    /// How much of a snapshot has arrived.
    Received {
        /// The snapshot's last slot.
        slot: Slot,
        /// Its bytes up to here are there.
        offset: u64,
    },
}

/// A slot and a ballot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The instance of the protocol.
    pub slot: Slot,
    /// The proposal number.
    pub ballot: Ballot,
}

/// Nothing below `ballot` will be accepted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The slot.
    pub slot: Slot,
    /// The ballot that was to be prepared.
    pub ballot: Ballot,
    /// The highest ballot under which something was accepted there before; its value is in the frame.
    pub accepted: Option<Ballot>,
}

/// `ballot` comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// The slot.
    pub slot: Slot,
    /// The ballot of the request.
    pub ballot: Ballot,
    /// What the acceptor has promised.
    pub promised: Ballot,
}

/// Where a learner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Something is chosen in every slot up to this one.
    pub slot: Slot,
    /// The ballot under which it is in this one; [`Ballot::ZERO`] before the first.
    pub ballot: Ballot,
    /// The sender knows what, durably, up to here.
    pub durable: Slot,
}

/// A part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The last slot in the snapshot.
    pub slot: Slot,
    /// The ballot under which that slot was chosen.
    pub ballot: Ballot,
    /// Where in the snapshot the frame's bytes belong.
    pub offset: u64,
    /// The snapshot's bytes.
    pub total: u64,
}

impl Chunk {
    pub(super) fn part(&self) -> Part {
        Part { slot: self.slot, stamp: self.ballot.word(), offset: self.offset, total: self.total }
    }
}

/// The kind of a record of a promise. `words`: the slot; the ballot.
pub const PROMISED: u8 = 11;
/// The kind of a record of a snapshot. `words`: its slot; the ballot under which that was chosen. The
/// body: the state machine.
pub const SNAPSHOT: u8 = 12;

const PREPARE: u8 = 1;
const PROMISE: u8 = 2;
const REFUSE: u8 = 3;
const ACCEPT: u8 = 4;
const ACCEPTED: u8 = 5;
const CHOSEN: u8 = 6;
const ASK: u8 = 7;
const LEARN: u8 = 8;
const CHUNK: u8 = 9;
const RECEIVED: u8 = 10;

impl Message {
    /// Reads a frame, and checks all that can be checked without knowing the receiver's state.
    ///
    /// # Errors
    /// If no correct node in any state sends such a frame.
    pub fn read(frame: &Frame) -> Result<Self, Malformed> {
        let head = &frame.head;
        let malformed = |what| Malformed { kind: head.kind, what };
        let message = Self::of_words(head).ok_or(malformed("not a message of Paxos"))?;
        message.check(frame).map_err(malformed)?;
        Ok(message)
    }

    fn of_words(head: &Head) -> Option<Self> {
        let [first, second, third, fourth, ..] = head.words;
        let slot = Slot(first);
        let proposal = || Some(Proposal { slot, ballot: Ballot::read(second)? });
        Some(match head.kind {
            PREPARE => Self::Prepare(proposal()?),
            PROMISE => {
                let accepted = Ballot::read(third)?;
                let accepted = (accepted > Ballot::ZERO).then_some(accepted);
                Self::Promise(Promise { slot, ballot: Ballot::read(second)?, accepted })
            }
            REFUSE => Self::Refuse(Refuse { slot, ballot: Ballot::read(second)?, promised: Ballot::read(third)? }),
            ACCEPT => Self::Accept(proposal()?),
            ACCEPTED => Self::Accepted(proposal()?),
            CHOSEN => Self::Chosen(Chosen { slot, ballot: Ballot::read(second)?, durable: Slot(third) }),
            ASK => Self::Ask(slot),
            LEARN => Self::Learn(proposal()?),
            CHUNK => Self::Chunk(Chunk { slot, ballot: Ballot::read(second)?, offset: third, total: fourth }),
            RECEIVED => Self::Received { slot, offset: second },
            _ => return None,
        })
    }

    fn check(&self, frame: &Frame) -> Result<(), &'static str> {
        let head = &frame.head;
        within_reach(&head.words)?;
        reject(self.head().words != head.words, "words that mean nothing")?;
        let adopted = matches!(self, Self::Promise(Promise { accepted: Some(_), .. }));
        frame.check(0, adopted || matches!(self, Self::Accept(_) | Self::Learn(_) | Self::Chunk(_)))?;
        if let Self::Chosen(Chosen { slot, ballot, durable }) = *self {
            reject((slot == Slot::ZERO) != (ballot == Ballot::ZERO), "only slot zero is of no ballot")?;
            return reject(durable > slot, "durable before it was chosen");
        }
        reject(head.words[0] == 0, "nothing is decided in slot zero")?;
        match *self {
            Self::Prepare(Proposal { ballot, .. }) | Self::Accept(Proposal { ballot, .. }) => {
                reject(ballot == Ballot::ZERO || ballot.node != head.from, "a ballot that is not its sender's")
            }
            Self::Promise(Promise { ballot, accepted, .. }) => {
                reject(ballot == Ballot::ZERO, "no ballot is zero")?;
                reject(accepted >= Some(ballot), "accepted under a ballot that it only promises")
            }
            Self::Refuse(Refuse { ballot, promised, .. }) => {
                reject(ballot == Ballot::ZERO, "no ballot is zero")?;
                reject(promised <= ballot, "refused for a lower ballot")
            }
            Self::Accepted(Proposal { ballot, .. }) | Self::Learn(Proposal { ballot, .. }) => {
                reject(ballot == Ballot::ZERO, "no ballot is zero")
            }
            Self::Chunk(chunk) => chunk.part().check(head.body_len.into()),
            Self::Chosen(_) | Self::Ask(_) | Self::Received { .. } => Ok(()),
        }
    }

    /// The head that says it; group, sender and body's length are the caller's to fill in.
    pub fn head(&self) -> Head {
        let of = |Proposal { slot, ballot }: Proposal| [slot.0, ballot.word(), 0, 0, 0, 0];
        let (kind, words) = match *self {
            Self::Prepare(proposal) => (PREPARE, of(proposal)),
            Self::Promise(p) => {
                let accepted = p.accepted.unwrap_or(Ballot::ZERO);
                (PROMISE, [p.slot.0, p.ballot.word(), accepted.word(), 0, 0, 0])
            }
            Self::Refuse(r) => (REFUSE, [r.slot.0, r.ballot.word(), r.promised.word(), 0, 0, 0]),
            Self::Accept(proposal) => (ACCEPT, of(proposal)),
            Self::Accepted(proposal) => (ACCEPTED, of(proposal)),
            Self::Chosen(c) => (CHOSEN, [c.slot.0, c.ballot.word(), c.durable.0, 0, 0, 0]),
            Self::Ask(slot) => (ASK, [slot.0, 0, 0, 0, 0, 0]),
            Self::Learn(proposal) => (LEARN, of(proposal)),
            Self::Chunk(c) => (CHUNK, [c.slot.0, c.ballot.word(), c.offset, c.total, 0, 0]),
            Self::Received { slot, offset } => (RECEIVED, [slot.0, offset, 0, 0, 0, 0]),
        };
        Head { kind, words, ..Head::default() }
    }

    /// The node whose ballot this answers, if it is an answer.
    pub fn answers(&self) -> Option<NodeId> {
        match *self {
            Self::Promise(Promise { ballot, .. })
            | Self::Refuse(Refuse { ballot, .. })
            | Self::Accepted(Proposal { ballot, .. }) => Some(ballot.node),
            _ => None,
        }
    }
}

/// `3@2.n1`: slot 3, ballot 2 of n1.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.slot, self.ballot)
    }
}

/// One line, for traces and scripts.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Prepare(proposal) => write!(f, "Prepare {proposal}"),
            Self::Promise(Promise { slot, ballot, accepted: None }) => write!(f, "Promise {slot}@{ballot}"),
            Self::Promise(Promise { slot, ballot, accepted: Some(accepted) }) => {
                write!(f, "Promise {slot}@{ballot} accepted={accepted}")
            }
            Self::Refuse(Refuse { slot, ballot, promised }) => write!(f, "Refuse {slot}@{ballot} promised={promised}"),
            Self::Accept(proposal) => write!(f, "Accept {proposal}"),
            Self::Accepted(proposal) => write!(f, "Accepted {proposal}"),
            Self::Chosen(Chosen { slot, durable, .. }) if slot == Slot::ZERO => {
                write!(f, "Chosen {slot} durable={durable}")
            }
            Self::Chosen(Chosen { slot, ballot, durable }) => write!(f, "Chosen {slot}@{ballot} durable={durable}"),
            Self::Ask(slot) => write!(f, "Ask {slot}"),
            Self::Learn(proposal) => write!(f, "Learn {proposal}"),
            Self::Chunk(Chunk { slot, ballot, offset, total }) => {
                write!(f, "Chunk snapshot={slot}@{ballot} offset={offset} total={total}")
            }
            Self::Received { slot, offset } => write!(f, "Received snapshot={slot} offset={offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Payload;

    fn read(head: Head) -> Result<Message, Malformed> {
        Message::read(&Frame { head, body: Payload::EMPTY })
    }

    #[test]
    fn what_is_written_is_read() {
        let (slot, ballot) = (Slot(5), Ballot { round: 3, node: NodeId(1) });
        let lower = Ballot { round: 2, node: NodeId(4) };
        let proposal = Proposal { slot, ballot };
        for message in [
            Message::Prepare(proposal),
            Message::Promise(Promise { slot, ballot, accepted: None }),
            Message::Promise(Promise { slot, ballot, accepted: Some(lower) }),
            Message::Refuse(Refuse { slot, ballot: lower, promised: ballot }),
            Message::Accept(proposal),
            Message::Accepted(proposal),
            Message::Chosen(Chosen { slot, ballot, durable: Slot(4) }),
            Message::Chosen(Chosen { slot: Slot::ZERO, ballot: Ballot::ZERO, durable: Slot::ZERO }),
            Message::Ask(slot),
            Message::Learn(proposal),
            Message::Received { slot, offset: 0 },
        ] {
            assert_eq!(read(Head { from: NodeId(1), ..message.head() }), Ok(message));
        }
    }

    #[test]
    fn a_record_is_not_a_message() {
        for kind in [PROMISED, SNAPSHOT] {
            assert!(read(Head { kind, words: [1, 1 << 8, 0, 0, 0, 0], ..Head::default() }).is_err());
        }
    }

    #[test]
    fn no_number_overflows_and_none_is_without_meaning() {
        for at in 0..6 {
            let mut head = Message::Ask(Slot(1)).head();
            head.words[at] = 1 << 62;
            assert_eq!(read(head).unwrap_err().what, "a number beyond reach");
            head.words[at] = 7;
            assert_eq!(read(head).is_ok(), at == 0);
        }
    }
}
