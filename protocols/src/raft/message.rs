//! What Raft's nodes say to each other, and how it lies in a head's six words.

use super::membership::Members;
use crate::io::DeliveryKind;
use crate::transfer::Part;
use crate::wire::{Frame, Head, Malformed, Slot, reject, within_reach};

mod text;

/// A message of Raft, read from a frame. The batch of an [`Append`] stays in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// `AppendEntries` with its one entry: a slot, which is a batch.
    Append(Append),
    /// `AppendEntries` without entries: a heartbeat, and the question whether the logs match.
    Probe(Probe),
    /// A follower's logs match, up to somewhere.
    Accept(Accept),
    /// A follower's log does not match where the leader thought that it would.
    Reject(Reject),
    /// `InstallSnapshot`: bytes of a snapshot, in the frame.
    Chunk(Chunk),
    /// How much of a snapshot has arrived.
    Received(Received),
    /// Would you vote for me? Asked without raising any term.
    PreVote(Candidacy),
    /// Vote for me.
    Vote(Candidacy),
    /// I would vote for you in this term.
    PreGrant {
        /// The term that the candidate proposed.
        term: u64,
    },
    /// You have my vote in this term.
    Grant {
        /// The term of the vote.
        term: u64,
    },
    /// Leadership is handed to you: campaign at once.
    TimeoutNow {
        /// The term of the leader that resigns.
        term: u64,
    },
    /// Your request is of a term that is over.
    Stale {
        /// The term that goes on.
        term: u64,
    },
}

/// One slot from the leader. The slot before it is `slot - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append {
    /// The leader's term.
    pub term: u64,
    /// The slot to write.
    pub slot: Slot,
    /// The term in which the slot was first written.
    pub entry_term: u64,
    /// The term of the slot before it.
    pub prev_term: u64,
    /// The leader's commit.
    pub commit: Slot,
    /// Every voter holds everything up to here, durably and committed.
    pub trim: Slot,
    /// What is in the slot.
    pub kind: DeliveryKind,
}

/// The leader is there, and asks whether the follower's log reaches `prev` and matches there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The leader's term.
    pub term: u64,
    /// The last slot sent to this follower.
    pub prev: Slot,
    /// The term of that slot.
    pub prev_term: u64,
    /// The leader's commit.
    pub commit: Slot,
    /// Every voter holds everything up to here, durably and committed.
    pub trim: Slot,
    /// Counts the leader's rounds of probes, so that an answer names its question.
    pub round: u64,
}

/// The one acknowledgement of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The leader's term.
    pub term: u64,
    /// Matches the leader's log up to here, and is durable.
    pub durable: Slot,
    /// Matches the leader's log up to here.
    pub received: Slot,
    /// The latest round of probes that matched.
    pub round: u64,
}

/// The logs do not match at `prev`; they may at `hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The leader's term.
    pub term: u64,
    /// The slot that did not match.
    pub prev: Slot,
    /// The last slot of the follower that may match.
    pub hint: Slot,
    /// The term of `hint` in the follower's log.
    pub hint_term: u64,
    /// The first slot of that term in the follower's log.
    pub hint_first: Slot,
    /// The round of the probe, or 0 for an append.
    pub round: u64,
}

/// A part of the leader's snapshot, for a follower that lacks what the leader has let go (thesis,
/// chapter 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The leader's term.
    pub term: u64,
    /// The last slot in the snapshot.
    pub slot: Slot,
    /// The term of that slot.
    pub stamp: u64,
    /// Where in the snapshot the frame's bytes belong.
    pub offset: u64,
    /// The snapshot's bytes.
    pub total: u64,
}

/// The follower has this much of a snapshot, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The leader's term.
    pub term: u64,
    /// The snapshot's last slot.
    pub slot: Slot,
    /// Its bytes up to here have arrived.
    pub offset: u64,
}

/// Why a candidate should win: the end of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// The term that the candidate wants to lead.
    pub term: u64,
    /// The last slot of its log.
    pub last: Slot,
    /// The term of that slot.
    pub last_term: u64,
    /// Whether the leader itself asked for this election, so that nobody need protect it.
    pub transfer: bool,
}

/// The kind of a record of term and vote. `words`: the term; the node voted for, or [`NO_VOTE`].
pub const HARD_STATE: u8 = 11;
/// The kind of a record of a snapshot. `words`: its slot, that slot's term, and, so that the records
/// before it may go, the current term and vote. The body: the membership, and the state machine.
pub const SNAPSHOT: u8 = 12;
/// In a record of term and vote: no vote was given in that term.
pub const NO_VOTE: u64 = u64::MAX;

const APPEND: u8 = 1;
const PROBE: u8 = 2;
const ACCEPT: u8 = 3;
const REJECT: u8 = 4;
const PRE_VOTE: u8 = 5;
const PRE_GRANT: u8 = 6;
const VOTE: u8 = 7;
const GRANT: u8 = 8;
const TIMEOUT_NOW: u8 = 9;
const STALE: u8 = 10;
const CHUNK: u8 = 13;
const RECEIVED: u8 = 14;

/// On an append: the slot is a no-op.
const NOOP: u8 = 1;
/// On an append: the slot is a membership.
const CONFIG: u8 = 2;
/// On a vote: the leader asked for it.
const TRANSFER: u8 = 1;

impl Chunk {
    pub(super) fn part(&self) -> Part {
        Part { slot: self.slot, stamp: self.stamp, offset: self.offset, total: self.total }
    }

    /// Out of the way of what comes with every slot.
    #[cold]
    fn check(&self, frame: &Frame) -> Result<(), &'static str> {
        let members = || frame.body.slice(0, frame.body.len().min(Members::BYTES));
        reject(self.stamp > self.term, "a slot of a later term than its leader's")?;
        self.part().check(frame.head.body_len.into())?;
        reject(self.offset == 0 && Members::read(&members()).is_none(), "no membership")
    }
}

impl Append {
    fn flags(&self) -> u8 {
        match self.kind {
            DeliveryKind::Noop => NOOP,
            DeliveryKind::Config => CONFIG,
            DeliveryKind::Batch | DeliveryKind::Snapshot => 0,
        }
    }
}

impl Message {
    /// Reads a frame, and checks all that can be checked without knowing the receiver's state.
    ///
    /// # Errors
    /// If no correct node in any state sends such a frame.
    pub fn read(frame: &Frame) -> Result<Self, Malformed> {
        let head = &frame.head;
        let message = Self::of_words(head).ok_or(Malformed { kind: head.kind, what: "not a message of Raft" })?;
        message.check(frame).map_err(|what| Malformed { kind: head.kind, what })?;
        Ok(message)
    }

    fn of_words(head: &Head) -> Option<Self> {
        let words = head.words;
        let (term, flag, slot) = (words[0], head.flags & 1 != 0, |at: usize| Slot(words[at]));
        let candidacy = Candidacy { term, last: slot(1), last_term: words[2], transfer: flag };
        Some(match head.kind {
            APPEND => Self::Append(Append {
                term,
                slot: slot(1),
                entry_term: words[2],
                prev_term: words[3],
                commit: slot(4),
                trim: slot(5),
                kind: match head.flags {
                    0 => DeliveryKind::Batch,
                    NOOP => DeliveryKind::Noop,
                    _ => DeliveryKind::Config,
                },
            }),
            PROBE => Self::Probe(Probe {
                term,
                prev: slot(1),
                prev_term: words[2],
                commit: slot(3),
                trim: slot(4),
                round: words[5],
            }),
            ACCEPT => Self::Accept(Accept { term, durable: slot(1), received: slot(2), round: words[3] }),
            REJECT => Self::Reject(Reject {
                term,
                prev: slot(1),
                hint: slot(2),
                hint_term: words[3],
                hint_first: slot(4),
                round: words[5],
            }),
            CHUNK => Self::Chunk(Chunk { term, slot: slot(1), stamp: words[2], offset: words[3], total: words[4] }),
            RECEIVED => Self::Received(Received { term, slot: slot(1), offset: words[2] }),
            PRE_VOTE => Self::PreVote(candidacy),
            PRE_GRANT => Self::PreGrant { term },
            VOTE => Self::Vote(candidacy),
            GRANT => Self::Grant { term },
            TIMEOUT_NOW => Self::TimeoutNow { term },
            STALE => Self::Stale { term },
            _ => return None,
        })
    }

    fn check(&self, frame: &Frame) -> Result<(), &'static str> {
        let head = &frame.head;
        let flags = match head.kind {
            APPEND => NOOP.max(CONFIG),
            VOTE => TRANSFER,
            _ => 0,
        };
        within_reach(&head.words)?;
        reject(head.words[0] == 0, "no term is zero")?;
        frame.check(flags, matches!(head.kind, APPEND | CHUNK))?;
        match *self {
            Self::Append(append) => {
                reject(append.slot == Slot::ZERO, "slot zero cannot be written")?;
                reject(append.entry_term == 0, "only slot zero is of term zero")?;
                reject(append.kind == DeliveryKind::Noop && head.body_len > 0, "a no-op with a body")?;
                reject(append.kind == DeliveryKind::Config && Members::read(&frame.body).is_none(), "no membership")?;
                reject(append.entry_term > append.term, "a slot of a later term than its leader's")?;
                reject(append.prev_term > append.entry_term, "terms fall along the log")?;
                reject((append.slot == Slot(1)) != (append.prev_term == 0), "only slot zero is of term zero")
            }
            Self::Probe(probe) => {
                reject(probe.prev_term > probe.term, "a slot of a later term than its leader's")?;
                reject((probe.prev == Slot::ZERO) != (probe.prev_term == 0), "only slot zero is of term zero")
            }
            Self::Accept(accept) => reject(accept.durable > accept.received, "durable before it was received"),
            Self::Reject(refusal) => {
                reject(refusal.hint >= refusal.prev, "a hint past what was refused")?;
                reject(refusal.hint_first > refusal.hint, "a term that starts after its slot")
            }
            Self::Chunk(chunk) => chunk.check(frame),
            Self::PreVote(candidacy) | Self::Vote(candidacy) => {
                reject(candidacy.last_term >= candidacy.term, "a log of the term it campaigns for")
            }
            _ => Ok(()),
        }
    }

    /// The head that says it; group, sender and body's length are the caller's to fill in.
    pub fn head(&self) -> Head {
        let (kind, flags, words) = match *self {
            Self::Append(a) => (APPEND, a.flags(), [a.term, a.slot.0, a.entry_term, a.prev_term, a.commit.0, a.trim.0]),
            Self::Probe(p) => (PROBE, 0, [p.term, p.prev.0, p.prev_term, p.commit.0, p.trim.0, p.round]),
            Self::Accept(a) => (ACCEPT, 0, [a.term, a.durable.0, a.received.0, a.round, 0, 0]),
            Self::Reject(r) => (REJECT, 0, [r.term, r.prev.0, r.hint.0, r.hint_term, r.hint_first.0, r.round]),
            Self::Chunk(c) => (CHUNK, 0, [c.term, c.slot.0, c.stamp, c.offset, c.total, 0]),
            Self::Received(r) => (RECEIVED, 0, [r.term, r.slot.0, r.offset, 0, 0, 0]),
            Self::PreVote(c) => (PRE_VOTE, 0, [c.term, c.last.0, c.last_term, 0, 0, 0]),
            Self::PreGrant { term } => (PRE_GRANT, 0, [term, 0, 0, 0, 0, 0]),
            Self::Vote(c) => (VOTE, u8::from(c.transfer) * TRANSFER, [c.term, c.last.0, c.last_term, 0, 0, 0]),
            Self::Grant { term } => (GRANT, 0, [term, 0, 0, 0, 0, 0]),
            Self::TimeoutNow { term } => (TIMEOUT_NOW, 0, [term, 0, 0, 0, 0, 0]),
            Self::Stale { term } => (STALE, 0, [term, 0, 0, 0, 0, 0]),
        };
        Head { kind, flags, words, ..Head::default() }
    }

    /// The term that it speaks of.
    pub fn term(&self) -> u64 {
        match *self {
            Self::Append(Append { term, .. })
            | Self::Probe(Probe { term, .. })
            | Self::Accept(Accept { term, .. })
            | Self::Reject(Reject { term, .. })
            | Self::Chunk(Chunk { term, .. })
            | Self::Received(Received { term, .. })
            | Self::PreVote(Candidacy { term, .. })
            | Self::Vote(Candidacy { term, .. })
            | Self::PreGrant { term }
            | Self::Grant { term }
            | Self::TimeoutNow { term }
            | Self::Stale { term } => term,
        }
    }

    /// Whether it is a request, which a node in a later term answers with that term.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Probe(_) | Self::Chunk(_) | Self::PreVote(_) | Self::Vote(_))
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
        let (term, slot) = (7, Slot(5));
        let candidacy = Candidacy { term, last: slot, last_term: 6, transfer: false };
        for message in [
            Message::Append(Append {
                term,
                slot,
                entry_term: 6,
                prev_term: 4,
                commit: Slot(3),
                trim: Slot(2),
                kind: DeliveryKind::Noop,
            }),
            Message::Probe(Probe { term, prev: slot, prev_term: 6, commit: Slot(4), trim: Slot(3), round: 9 }),
            Message::Accept(Accept { term, durable: Slot(4), received: slot, round: 8 }),
            Message::Reject(Reject { term, prev: slot, hint: Slot(4), hint_term: 3, hint_first: Slot(2), round: 1 }),
            Message::Received(Received { term, slot, offset: 3 }),
            Message::PreVote(candidacy),
            Message::Vote(Candidacy { transfer: true, ..candidacy }),
            Message::PreGrant { term },
            Message::Grant { term },
            Message::TimeoutNow { term },
            Message::Stale { term },
        ] {
            assert_eq!(read(message.head()), Ok(message));
            assert_eq!(message.term(), 7);
        }
    }

    #[test]
    fn a_record_is_not_a_message() {
        assert!(read(Head { kind: HARD_STATE, words: [1; 6], ..Head::default() }).is_err());
    }

    #[test]
    fn no_number_overflows() {
        for at in 0..6 {
            let mut head = Message::Stale { term: 1 }.head();
            head.words[at] = u64::MAX;
            assert_eq!(read(head).unwrap_err().what, "a number beyond reach");
        }
    }
}
