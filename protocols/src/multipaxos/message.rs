//! What the nodes of Multi-Paxos say to each other, and how it lies in a head's six words.

use crate::io::DeliveryKind;
use crate::paxos::Ballot;
use crate::transfer::Part;
use crate::wire::{Frame, Head, Malformed, NodeId, Slot, reject, within_reach};

mod text;

/// A message of Multi-Paxos, read from a frame. A value stays in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Phase 1a, for all slots at once.
    Prepare(Prepare),
    /// A part of phase 1b: what the acceptor has accepted in one slot. The value is the frame's body.
    Report(Report),
    /// The end of phase 1b.
    Promise(Promise),
    /// Phase 2a: a slot, which is a batch.
    Accept(Accept),
    /// Phase 2b: the one acknowledgement of a flush, for a range of slots.
    Accepted(Votes),
    /// What is decided: the leader's heartbeat, and its word when there is no accept to take it along.
    Decided(Decided),
    /// Something of a lower ballot came: that one is over (PMMC, figure 7, "preempted").
    Preempted {
        /// What this node has promised.
        ballot: Ballot,
        /// It hears a leader of that ballot.
        led: bool,
    },
    /// Tell me what was decided from this slot on.
    Learn {
        /// The first slot that the asking node lacks.
        from: Slot,
    },
    /// A decided slot, for a node that asked. The value is the frame's body.
    Learned(Learned),
    /// A part of a snapshot, for a node that asked for what was let go. The bytes are the frame's body.
    Chunk(Chunk),
    /// How much of a snapshot has arrived.
    Received {
        /// The snapshot's last slot.
        slot: Slot,
        /// Its bytes up to here have arrived.
        offset: u64,
    },
    /// Leadership is handed to you: prepare at once.
    Yield {
        /// The ballot that resigns.
        ballot: Ballot,
    },
}

/// Phase 1a: promise me all slots from here on, and tell me what you have accepted in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The ballot that the sender wants to lead.
    pub ballot: Ballot,
    /// Its first undecided slot.
    pub from: Slot,
    /// The leader itself asked for it, so that nobody need protect it.
    pub transfer: bool,
}

/// Phase 1b, one of [`Promise::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The ballot that it answers.
    pub ballot: Ballot,
    /// Which slot.
    pub slot: Slot,
    /// The ballot under which the value was accepted.
    pub accepted: Ballot,
    /// What is in the slot.
    pub kind: DeliveryKind,
}

/// Phase 1b, its end: nothing below this ballot will be accepted, in any slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The ballot promised.
    pub ballot: Ballot,
    /// Everything up to here is decided, and is not reported: it can be learned.
    pub decided: Slot,
    /// The first slot that was asked about. Another question has another answer, and other reports.
    pub from: Slot,
    /// So many reports went before this.
    pub count: u64,
}

/// Phase 2a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The slot to accept.
    pub slot: Slot,
    /// Everything up to here is decided. In a node's own record: by what it knew itself.
    pub decided: Slot,
    /// Every node has everything up to here, decided and durably.
    pub trim: Slot,
    /// What is in the slot.
    pub kind: DeliveryKind,
}

/// Phase 2b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Votes {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The first slot accepted durably; zero for none.
    pub first: Slot,
    /// The last of them, all between being among them.
    pub last: Slot,
    /// The latest of the leader's rounds that was heard.
    pub round: u64,
    /// Everything up to here is known to be decided.
    pub decided: Slot,
    /// That is durable, too.
    pub durable: Slot,
}

/// The leader is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// Everything up to here is decided.
    pub decided: Slot,
    /// Every node has everything up to here, decided and durably.
    pub trim: Slot,
    /// Counts the leader's rounds, so that an answer names its question; zero if none is wanted.
    pub round: u64,
}

/// A decided slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Which.
    pub slot: Slot,
    /// The ballot under which the sender accepted it, or learned that it was.
    pub stamp: Ballot,
    /// Everything up to here is decided, as far as the sender knows.
    pub decided: Slot,
    /// What is in the slot.
    pub kind: DeliveryKind,
}

/// A part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The last slot in the snapshot.
    pub slot: Slot,
    /// The ballot of that slot, as the sender has it.
    pub stamp: Ballot,
    /// Where in the snapshot the frame's bytes belong.
    pub offset: u64,
    /// The snapshot's bytes.
    pub total: u64,
}

/// The kind of a record of a promise. `words`: the ballot.
pub const PROMISED: u8 = 13;
/// The kind of a record of a snapshot. `words`: its slot, that slot's stamp, and, so that the records before it may
/// go, the ballot promised. The body: the state machine.
pub const SNAPSHOT: u8 = 14;

const PREPARE: u8 = 1;
const REPORT: u8 = 2;
const PROMISE: u8 = 3;
const ACCEPT: u8 = 4;
const ACCEPTED: u8 = 5;
const DECIDED: u8 = 6;
const PREEMPTED: u8 = 7;
const LEARN: u8 = 8;
const LEARNED: u8 = 9;
const CHUNK: u8 = 10;
const RECEIVED: u8 = 11;
const YIELD: u8 = 12;

/// The one flag of a kind: a no-op in the slot; a prepare that the leader asked for; a preemption by a leader.
const FLAG: u8 = 1;

impl Chunk {
    pub(super) fn part(&self) -> Part {
        Part { slot: self.slot, stamp: self.stamp.word(), offset: self.offset, total: self.total }
    }
}

impl Message {
    /// Reads a frame, and checks all that can be checked without knowing the receiver's state.
    ///
    /// # Errors
    /// If no correct node in any state sends such a frame.
    pub fn read(frame: &Frame) -> Result<Self, Malformed> {
        let head = &frame.head;
        let malformed = |what| Malformed { kind: head.kind, what };
        within_reach(&head.words).map_err(malformed)?;
        let message = Self::of_words(head).ok_or(malformed("not a message of Multi-Paxos"))?;
        message.check(frame).map_err(malformed)?;
        Ok(message)
    }

    /// What a head says, checked or not; for traces. `None` for no message of Multi-Paxos.
    pub fn of_words(head: &Head) -> Option<Self> {
        let words = head.words;
        let (flag, slot) = (head.flags & FLAG != 0, |at: usize| Slot(words[at]));
        let ballot = |at: usize| Ballot::read(words[at]);
        let kind = if flag { DeliveryKind::Noop } else { DeliveryKind::Batch };
        Some(match head.kind {
            ACCEPT => Self::Accept(Accept { ballot: ballot(0)?, slot: slot(1), decided: slot(2), trim: slot(3), kind }),
            ACCEPTED => Self::Accepted(Votes {
                ballot: ballot(0)?,
                first: slot(1),
                last: slot(2),
                round: words[3],
                decided: slot(4),
                durable: slot(5),
            }),
            DECIDED => Self::Decided(Decided { ballot: ballot(0)?, decided: slot(1), trim: slot(2), round: words[3] }),
            PREPARE => Self::Prepare(Prepare { ballot: ballot(0)?, from: slot(1), transfer: flag }),
            REPORT => Self::Report(Report { ballot: ballot(0)?, slot: slot(1), accepted: ballot(2)?, kind }),
            PROMISE => Self::Promise(Promise { ballot: ballot(0)?, decided: slot(1), count: words[2], from: slot(3) }),
            PREEMPTED => Self::Preempted { ballot: ballot(0)?, led: flag },
            LEARN => Self::Learn { from: slot(0) },
            LEARNED => Self::Learned(Learned { slot: slot(0), stamp: ballot(1)?, decided: slot(2), kind }),
            CHUNK => Self::Chunk(Chunk { slot: slot(0), stamp: ballot(1)?, offset: words[2], total: words[3] }),
            RECEIVED => Self::Received { slot: slot(0), offset: words[1] },
            YIELD => Self::Yield { ballot: ballot(0)? },
            _ => return None,
        })
    }

    fn check(&self, frame: &Frame) -> Result<(), &'static str> {
        let (head, from) = (&frame.head, frame.head.from);
        let takes_flag = matches!(head.kind, ACCEPT | REPORT | LEARNED | PREPARE | PREEMPTED);
        let has_value = matches!(head.kind, ACCEPT | REPORT | LEARNED);
        frame.check(u8::from(takes_flag) * FLAG, has_value || head.kind == CHUNK)?;
        reject(has_value && head.flags & FLAG != 0 && head.body_len > 0, "a no-op with a body")?;
        match *self {
            Self::Accept(accept) => {
                leads(accept.ballot, from)?;
                reject(accept.decided >= accept.slot, "proposes what is decided")?;
                reject(accept.trim > accept.decided, "lets go of what is not decided")
            }
            Self::Accepted(votes) => {
                used(votes.ballot)?;
                reject((votes.first == Slot::ZERO) != (votes.last == Slot::ZERO), "half a range")?;
                reject(votes.first > votes.last, "a range that ends before it begins")?;
                reject(votes.durable > votes.decided, "durable before it was decided")
            }
            Self::Decided(decided) => {
                leads(decided.ballot, from)?;
                reject(decided.trim > decided.decided, "lets go of what is not decided")
            }
            Self::Prepare(prepare) => {
                leads(prepare.ballot, from)?;
                reject(prepare.from == Slot::ZERO, "slot zero is decided")
            }
            Self::Report(report) => {
                used(report.accepted)?;
                reject(report.slot == Slot::ZERO, "slot zero is decided")?;
                // Under the same one, if the prepare came late: the sender leads by then.
                reject(report.accepted > report.ballot, "accepted under a ballot above the one promised")
            }
            Self::Promise(Promise { ballot, .. }) | Self::Preempted { ballot, .. } => used(ballot),
            Self::Learn { from } => reject(from == Slot::ZERO, "slot zero is decided"),
            Self::Learned(learned) => {
                used(learned.stamp)?;
                reject(learned.slot == Slot::ZERO, "slot zero is empty")?;
                reject(learned.slot > learned.decided, "teaches what is not decided")
            }
            Self::Chunk(chunk) => {
                used(chunk.stamp)?;
                chunk.part().check(head.body_len.into())
            }
            Self::Received { slot, .. } => reject(slot == Slot::ZERO, "a snapshot of nothing"),
            Self::Yield { ballot } => leads(ballot, from),
        }
    }

    /// The head that says it; group, sender and body's length are the caller's to fill in.
    pub fn head(&self) -> Head {
        let noop = |kind| u8::from(kind == DeliveryKind::Noop) * FLAG;
        let flag = |flag| u8::from(flag) * FLAG;
        let (kind, flags, words) = match *self {
            Self::Accept(a) => (ACCEPT, noop(a.kind), [a.ballot.word(), a.slot.0, a.decided.0, a.trim.0, 0, 0]),
            Self::Accepted(v) => {
                (ACCEPTED, 0, [v.ballot.word(), v.first.0, v.last.0, v.round, v.decided.0, v.durable.0])
            }
            Self::Decided(d) => (DECIDED, 0, [d.ballot.word(), d.decided.0, d.trim.0, d.round, 0, 0]),
            Self::Prepare(p) => (PREPARE, flag(p.transfer), [p.ballot.word(), p.from.0, 0, 0, 0, 0]),
            Self::Report(r) => (REPORT, noop(r.kind), [r.ballot.word(), r.slot.0, r.accepted.word(), 0, 0, 0]),
            Self::Promise(p) => (PROMISE, 0, [p.ballot.word(), p.decided.0, p.count, p.from.0, 0, 0]),
            Self::Preempted { ballot, led } => (PREEMPTED, flag(led), [ballot.word(), 0, 0, 0, 0, 0]),
            Self::Learn { from } => (LEARN, 0, [from.0, 0, 0, 0, 0, 0]),
            Self::Learned(l) => (LEARNED, noop(l.kind), [l.slot.0, l.stamp.word(), l.decided.0, 0, 0, 0]),
            Self::Chunk(c) => (CHUNK, 0, [c.slot.0, c.stamp.word(), c.offset, c.total, 0, 0]),
            Self::Received { slot, offset } => (RECEIVED, 0, [slot.0, offset, 0, 0, 0, 0]),
            Self::Yield { ballot } => (YIELD, 0, [ballot.word(), 0, 0, 0, 0, 0]),
        };
        Head { kind, flags, words, ..Head::default() }
    }
}

/// Ballots are their node's alone.
fn leads(ballot: Ballot, from: NodeId) -> Result<(), &'static str> {
    used(ballot)?;
    reject(ballot.node != from, "under another node's ballot")
}

fn used(ballot: Ballot) -> Result<(), &'static str> {
    reject(ballot == Ballot::ZERO, "ballot zero is nobody's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Payload;

    fn read(head: Head) -> Result<Message, Malformed> {
        Message::read(&Frame { head: Head { from: NodeId(2), ..head }, body: Payload::EMPTY })
    }

    #[test]
    fn what_is_written_is_read() {
        let (ballot, slot) = (Ballot { round: 7, node: NodeId(2) }, Slot(5));
        let (accepted, kind) = (Ballot { round: 6, node: NodeId(9) }, DeliveryKind::Noop);
        for message in [
            Message::Prepare(Prepare { ballot, from: slot, transfer: true }),
            Message::Report(Report { ballot, slot, accepted, kind }),
            Message::Promise(Promise { ballot, decided: slot, from: slot, count: 3 }),
            Message::Accept(Accept { ballot, slot, decided: Slot(4), trim: Slot(3), kind }),
            Message::Accepted(Votes {
                ballot,
                first: slot,
                last: Slot(6),
                round: 8,
                decided: Slot(4),
                durable: Slot(3),
            }),
            Message::Decided(Decided { ballot, decided: slot, trim: Slot(4), round: 9 }),
            Message::Preempted { ballot, led: true },
            Message::Learn { from: slot },
            Message::Learned(Learned { slot, stamp: accepted, decided: Slot(9), kind }),
            Message::Received { slot, offset: 3 },
            Message::Yield { ballot },
        ] {
            assert_eq!(read(message.head()), Ok(message));
        }
    }

    #[test]
    fn a_record_is_not_a_message() {
        for kind in [PROMISED, SNAPSHOT] {
            assert!(read(Head { kind, words: [1 << 8 | 2; 6], ..Head::default() }).is_err());
        }
    }

    #[test]
    fn no_number_overflows() {
        for at in 0..6 {
            let mut head = Message::Learn { from: Slot(1) }.head();
            head.words[at] = u64::MAX;
            assert_eq!(read(head).unwrap_err().what, "a number beyond reach");
        }
    }

    #[test]
    fn nobody_leads_under_the_ballot_of_another() {
        let ballot = Ballot { round: 7, node: NodeId(1) };
        for message in [Message::Yield { ballot }, Message::Prepare(Prepare { ballot, from: Slot(1), transfer: false })]
        {
            assert_eq!(read(message.head()).unwrap_err().what, "under another node's ballot");
        }
    }
}
