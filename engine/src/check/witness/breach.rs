//! What a trace that does not hold is said to have broken.

use std::fmt;

use super::{Applied, Asked};

/// A property that does not hold, and the first batches that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// Two replicas applied different batches at the same place.
    Diverged {
        /// Which replicas.
        replicas: [u32; 2],
        /// What each applied there.
        applied: [Applied; 2],
    },
    /// A slot was delivered after a later one, or twice.
    SlotsOutOfOrder {
        /// What was applied first.
        earlier: Applied,
        /// What was applied next.
        later: Applied,
    },
    /// A batch was applied that no client sent, or not with so many commands.
    Invented(Applied),
    /// A batch was applied twice.
    Twice {
        /// The first time.
        first: Applied,
        /// The second time.
        second: Applied,
    },
    /// A batch was answered and never applied.
    Lost {
        /// Whose it is.
        client: u32,
        /// Which of its batches.
        sequence: u64,
        /// What the client saw.
        asked: Asked,
    },
    /// A batch stands behind one that was only sent after it had been answered.
    OutOfTime {
        /// What stands in front, and was sent too late for that.
        earlier: (Applied, Asked),
        /// What was answered by then.
        later: (Applied, Asked),
    },
    /// A batch stands behind one that the same client only sent once it had the answer: its reads went back, or missed
    /// what it wrote.
    OutOfProgramOrder {
        /// What stands in front, and was sent knowing the answer to the other.
        earlier: Applied,
        /// What was answered by then.
        later: Applied,
    },
    /// A client was told something else than what the order gives.
    ToldOtherwise {
        /// Which batch.
        batch: Applied,
        /// What its client saw.
        asked: Asked,
        /// The digest of what replaying gives.
        replayed: u64,
    },
    /// One of these, in one consensus group of several.
    InGroup {
        /// Which group.
        group: u16,
        /// Which breach.
        breach: Box<Breach>,
    },
}

impl Breach {
    /// The property that does not hold.
    pub fn property(&self) -> &'static str {
        match self {
            Self::Diverged { .. } => "state machine safety",
            Self::SlotsOutOfOrder { .. } => "slot order",
            Self::Invented(_) => "no invention",
            Self::Twice { .. } => "at most once",
            Self::Lost { .. } => "nothing acknowledged is lost",
            Self::OutOfTime { .. } => "real-time order",
            Self::OutOfProgramOrder { .. } => "sequential consistency",
            Self::ToldOtherwise { .. } => "results",
            Self::InGroup { breach, .. } => breach.property(),
        }
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, sequence, client, commands } = self;
        write!(f, "batch {sequence} of client {client} ({commands} commands, slot {slot})")
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is violated: ", self.property())?;
        self.details(f)
    }
}

impl Breach {
    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InGroup { group, breach } => {
                write!(f, "in group {group}, ")?;
                breach.details(f)
            }
            Self::Diverged { replicas: [one, other], applied: [first, second] } => {
                write!(f, "replica {one} applied {first} where replica {other} applied {second}")
            }
            Self::SlotsOutOfOrder { earlier, later } => write!(f, "{later} was applied after {earlier}"),
            Self::Invented(batch) => write!(f, "{batch} was applied, and its client sent no such batch"),
            Self::Twice { first, second } => {
                write!(f, "{first} was applied again in slot {}", second.slot)
            }
            Self::Lost { client, sequence, asked } => write!(
                f,
                "batch {sequence} of client {client} ({} commands) was answered at {} ns and applied nowhere",
                asked.commands, asked.answered_ns
            ),
            Self::OutOfTime { earlier, later } => write!(
                f,
                "{} was answered at {} ns, and yet comes after {}, which was first sent at {} ns",
                later.0, later.1.answered_ns, earlier.0, earlier.1.sent_ns
            ),
            Self::OutOfProgramOrder { earlier, later } => {
                write!(f, "{later} was answered before its client sent {earlier}, and yet comes after it")
            }
            Self::ToldOtherwise { batch, asked, replayed } => write!(
                f,
                "the client of {batch} was told results with digest {:016x}; replaying the slots in order gives {replayed:016x}",
                asked.told
            ),
        }
    }
}

impl std::error::Error for Breach {}
