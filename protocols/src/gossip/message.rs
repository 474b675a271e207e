//! What nodes that gossip say to each other, and how it lies in a head's six words.

use std::fmt;

use bytes::Bytes;

use crate::wire::{Frame, Head, LIMIT, Malformed, NodeId, Payload, Slot, reject, within_reach};

/// A message, read from a frame. Updates and lists stay in the frame's body.
///
/// Many nodes share an endpoint of a transport, whose id may be what [`Head::from`] has to say: so the first two words of
/// every head are who it is for, and who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A rumor: the update is in the frame.
    Rumor {
        /// Its number.
        number: Slot,
        /// Whether the receiver had asked.
        is_answer: bool,
    },
    /// What a rumor was worth.
    Feedback {
        /// Its number.
        number: Slot,
        /// Whether it came as an answer.
        was_answer: bool,
        /// Whether it was judged to be news.
        was_useful: bool,
        /// With minimization: the counter of a sender who spreads it too, and did at the start of its cycle.
        counter: Option<u64>,
    },
    /// Median-counter, a call or its answer: what the sender knows is listed in the frame, one [`Known`] after the other.
    /// What is fresh follows by itself.
    Call {
        /// Whether the receiver had called.
        is_answer: bool,
    },
    /// Median-counter, a rumor with its sender's state: the update is in the frame.
    Counted {
        /// Its number.
        number: Slot,
        /// The state.
        state: u8,
    },
    /// Plumtree: I know a rumor, which this link does not carry.
    IHave {
        /// Its number.
        number: Slot,
    },
    /// Plumtree: send me this rumor, and others.
    Graft {
        /// Its number.
        number: Slot,
    },
    /// Plumtree: only announce rumors to me.
    Prune,
    /// What do you spread?
    Ask,
    /// Anti-entropy: what the sender knows is listed in the frame, one [`Known`] after the other.
    Digest {
        /// The sender's name for this contact.
        contact: u64,
    },
    /// The answer to a digest, after whatever the sender of that lacked: the numbers of the rumors that are wanted in
    /// turn, in the frame.
    Want {
        /// Which contact.
        contact: u64,
    },
    /// Where contacts are limited: may I have one?
    Connect {
        /// The sender's name for it.
        contact: u64,
    },
    /// You may.
    Accept {
        /// Which contact.
        contact: u64,
    },
    /// Not with me, in this cycle.
    Refuse {
        /// Which contact.
        contact: u64,
    },
}

/// A line of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The rumor's number.
    pub number: Slot,
    /// In a digest, whether it came in this very cycle: it is not offered yet, nor is it missing where that is judged on
    /// arrival. In a call, whether it is sent.
    pub is_fresh: bool,
}

const RUMOR: u8 = 1;
const FEEDBACK: u8 = 2;
const ASK: u8 = 3;
const DIGEST: u8 = 4;
const WANT: u8 = 5;
const CONNECT: u8 = 6;
const ACCEPT: u8 = 7;
const REFUSE: u8 = 8;
const CALL: u8 = 9;
const COUNTED: u8 = 10;
const I_HAVE: u8 = 11;
const GRAFT: u8 = 12;
const PRUNE: u8 = 13;

/// On a rumor: it is an answer. On feedback: it was.
const ANSWER: u8 = 1;
/// On feedback: it was useful.
const USEFUL: u8 = 2;

impl Message {
    /// The number of the rumor whose update a frame carries, if it does: what traffic is counted in.
    pub fn update(head: &Head) -> Option<Slot> {
        matches!(head.kind, RUMOR | COUNTED).then_some(Slot(head.words[2]))
    }

    /// Whether a frame says where updates are, or should go: it is of a tree, and carries none.
    pub const fn is_control(head: &Head) -> bool {
        matches!(head.kind, I_HAVE | GRAFT | PRUNE)
    }

    /// Who a frame is for: who shares its endpoint with others looks here.
    pub const fn recipient(head: &Head) -> NodeId {
        NodeId(head.words[0] as u32)
    }

    /// Who says it.
    pub const fn sender(head: &Head) -> NodeId {
        NodeId(head.words[1] as u32)
    }

    /// Reads a frame, and checks all that can be checked without knowing the receiver.
    ///
    /// # Errors
    /// If no correct node in any state sends such a frame.
    pub fn read(frame: &Frame) -> Result<Self, Malformed> {
        let head = &frame.head;
        let malformed = |what| Malformed { kind: head.kind, what };
        let message = Self::of_words(head).ok_or(malformed("not a message of gossip"))?;
        message.check(frame).map_err(malformed)?;
        Ok(message)
    }

    fn of_words(head: &Head) -> Option<Self> {
        let [.., first, second, _, _] = head.words;
        let (number, contact) = (Slot(first), first);
        let (is_answer, was_useful) = (head.flags & ANSWER != 0, head.flags & USEFUL != 0);
        Some(match head.kind {
            RUMOR => Self::Rumor { number, is_answer },
            FEEDBACK => Self::Feedback { number, was_answer: is_answer, was_useful, counter: second.checked_sub(1) },
            ASK => Self::Ask,
            DIGEST => Self::Digest { contact },
            WANT => Self::Want { contact },
            CONNECT => Self::Connect { contact },
            ACCEPT => Self::Accept { contact },
            REFUSE => Self::Refuse { contact },
            CALL => Self::Call { is_answer },
            I_HAVE => Self::IHave { number },
            GRAFT => Self::Graft { number },
            PRUNE => Self::Prune,
            COUNTED => Self::Counted { number, state: u8::try_from(second).ok()? },
            _ => return None,
        })
    }

    fn check(self, frame: &Frame) -> Result<(), &'static str> {
        let head = &frame.head;
        within_reach(&head.words)?;
        let said = self.head(Self::sender(head), Self::recipient(head));
        reject(said.words != head.words, "words that mean nothing")?;
        let lists = matches!(self, Self::Digest { .. } | Self::Want { .. } | Self::Call { .. });
        frame.check(ANSWER | USEFUL, lists || Self::update(head).is_some())?;
        reject(said.flags != head.flags, "flags that mean nothing")?;
        match self {
            Self::Rumor { number, .. }
            | Self::Feedback { number, .. }
            | Self::Counted { number, .. }
            | Self::IHave { number }
            | Self::Graft { number }
                if number == Slot::ZERO =>
            {
                Err("no rumor has number zero")
            }
            Self::Feedback { was_useful: true, counter: Some(_), .. } => Err("news to someone who spreads it"),
            Self::Digest { .. } | Self::Call { .. } => check_list(&frame.body, |word| word >> 1),
            Self::Want { .. } => check_list(&frame.body, |word| word),
            _ => Ok(()),
        }
    }

    /// The head with which `from` says it to `to`; group and body's length are the caller's to fill in.
    pub fn head(self, from: NodeId, to: NodeId) -> Head {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let (kind, flags, first, second) = match self {
            Self::Rumor { number, is_answer } => (RUMOR, flag(is_answer, ANSWER), number.0, 0),
            Self::Feedback { number, was_answer, was_useful, counter } => {
                let flags = flag(was_answer, ANSWER) | flag(was_useful, USEFUL);
                (FEEDBACK, flags, number.0, counter.map_or(0, |counter| counter + 1))
            }
            Self::Ask => (ASK, 0, 0, 0),
            Self::Digest { contact } => (DIGEST, 0, contact, 0),
            Self::Want { contact } => (WANT, 0, contact, 0),
            Self::Connect { contact } => (CONNECT, 0, contact, 0),
            Self::Accept { contact } => (ACCEPT, 0, contact, 0),
            Self::Refuse { contact } => (REFUSE, 0, contact, 0),
            Self::IHave { number } => (I_HAVE, 0, number.0, 0),
            Self::Graft { number } => (GRAFT, 0, number.0, 0),
            Self::Prune => (PRUNE, 0, 0, 0),
            Self::Call { is_answer } => (CALL, flag(is_answer, ANSWER), 0, 0),
            Self::Counted { number, state } => (COUNTED, 0, number.0, state.into()),
        };
        let words = [to.0.into(), from.0.into(), first, second, 0, 0];
        Head { kind, flags, from, words, ..Head::default() }
    }
}

/// A digest's body: ascending numbers, eight bytes each.
pub(super) fn digest(known: impl Iterator<Item = Known>) -> Payload {
    list(known.map(|each| each.number.0 << 1 | u64::from(each.is_fresh)))
}

/// What a checked digest lists.
pub(super) fn read_digest(body: &Payload) -> impl Iterator<Item = Known> {
    words(body).map(|word| Known { number: Slot(word >> 1), is_fresh: word & 1 == 1 })
}

/// The body of a want: ascending numbers, eight bytes each.
pub(super) fn wants(numbers: impl Iterator<Item = Slot>) -> Payload {
    list(numbers.map(|number| number.0))
}

/// What a checked want lists.
pub(super) fn read_wants(body: &Payload) -> impl Iterator<Item = Slot> {
    words(body).map(Slot)
}

fn list(words: impl Iterator<Item = u64>) -> Payload {
    Bytes::from(words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()).into()
}

/// However the body is cut.
fn words(body: &Payload) -> impl Iterator<Item = u64> {
    let mut bytes = body.pieces().iter().flatten().copied();
    std::iter::from_fn(move || {
        let mut word = [bytes.next()?; 8];
        for byte in &mut word[1..] {
            *byte = bytes.next()?;
        }
        Some(u64::from_le_bytes(word))
    })
}

fn check_list(body: &Payload, number: impl Fn(u64) -> u64) -> Result<(), &'static str> {
    reject(!body.len().is_multiple_of(8), "a list that ends within a number")?;
    let mut last = 0;
    for word in words(body) {
        let number = number(word);
        reject(number <= last, "a list that does not ascend")?;
        reject(number >= LIMIT, "a number beyond reach")?;
        last = number;
    }
    Ok(())
}

/// One line, for traces and scripts.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = |is_answer: bool| if is_answer { " answer" } else { "" };
        match *self {
            Self::Rumor { number, is_answer } => write!(f, "Rumor {number}{}", answer(is_answer)),
            Self::Feedback { number, was_answer, was_useful, counter } => {
                let worth = if was_useful { "useful" } else { "useless" };
                write!(f, "Feedback {number}{} {worth}", answer(was_answer))?;
                counter.map_or(Ok(()), |counter| write!(f, " counter={counter}"))
            }
            Self::Ask => write!(f, "Ask"),
            Self::Digest { contact } => write!(f, "Digest contact={contact}"),
            Self::Want { contact } => write!(f, "Want contact={contact}"),
            Self::Connect { contact } => write!(f, "Connect contact={contact}"),
            Self::Accept { contact } => write!(f, "Accept contact={contact}"),
            Self::Refuse { contact } => write!(f, "Refuse contact={contact}"),
            Self::IHave { number } => write!(f, "IHave {number}"),
            Self::Graft { number } => write!(f, "Graft {number}"),
            Self::Prune => write!(f, "Prune"),
            Self::Call { is_answer } => write!(f, "Call{}", answer(is_answer)),
            Self::Counted { number, state } => write!(f, "Counted {number} state={state}"),
        }
    }
}
