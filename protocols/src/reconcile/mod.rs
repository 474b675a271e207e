//! How replicas of a [data type](crate::crdt), or of a database, come to agree on what they know.
//!
//! A replica is a state machine in rounds: [`tick`](Replica::tick) begins one, and [`Letter`]s come out; what arrives is
//! [`received`](Replica::receive), and may be answered. Letters may be lost, doubled, late and out of order: all that
//! happens is that it takes longer. There is no clock but the rounds, which need not be anybody else's.
//!
//! | | what is sent | source |
//! |---|---|---|
//! | [`ByState`] | all that is known, to each neighbour in each round | Shapiro et al. 2011 |
//! | [`ByDelta`] | what is new since a neighbour's last acknowledgement | Almeida et al. 2018; Enes et al. 2019 |
//! | [`ByOperation`] | operations, delivered once each, after their causes | Shapiro et al. 2011, section 2.2 |
//! | [`Database`] | entries with timestamps, compared by digests | Demers et al. 1987, sections 1.3 and 2 |

mod by_delta;
mod by_operation;
mod by_state;
mod database;

use std::fmt::Debug;

use bytes::Bytes;

use crate::crdt::{Part, Reader, Size, Writer};
use crate::wire::{Malformed, NodeId};

pub use by_delta::{ByDelta, DeltaOptions};
pub use by_operation::ByOperation;
pub use by_state::ByState;
pub use database::{Database, DatabaseOptions, Deletion, Digest};

/// One of several that are to agree.
pub trait Replica: Debug {
    /// What a user may ask for.
    type Update;
    /// What a user sees.
    type Value;

    /// Somebody to reconcile with, from now on. Both must be told.
    fn connect(&mut self, neighbour: NodeId);

    /// A user's update. Whether it changed anything.
    fn update(&mut self, update: &Self::Update) -> bool;

    /// A round begins, of this number: what is to be sent in it.
    fn tick(&mut self, round: u64, out: &mut Vec<Letter>);

    /// A letter of a neighbour arrives, and may be answered.
    ///
    /// # Errors
    /// [`Malformed`] for what no neighbour sends. Nothing has changed then.
    fn receive(&mut self, from: NodeId, letter: &[u8], out: &mut Vec<Letter>) -> Result<Merged, Malformed>;

    /// Whether the two know the same.
    fn agrees_with(&self, other: &Self) -> bool;

    /// What is known.
    fn value(&self) -> Self::Value;
}

/// Bytes to a neighbour.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who is to have them.
    pub to: NodeId,
    /// What is sent.
    pub bytes: Bytes,
    /// What they are for.
    pub size: Size,
}

impl Letter {
    /// A letter of a kind, with so many entries or operations in it. The kind is metadata, or as the rest if that is a
    /// digest.
    pub(crate) fn new(to: NodeId, kind: Kind, elements: u64, write: impl FnOnce(&mut Writer)) -> Self {
        let mut writer = Writer::default();
        writer.number(if kind.is_digest() { Part::Digest } else { Part::Metadata }, u64::from(kind as u8));
        write(&mut writer);
        let Writer { bytes, size } = writer;
        Self { to, bytes: bytes.into(), size: Size { elements, ..size } }
    }
}

/// What a letter brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Entries or operations in it.
    pub elements: u64,
    /// Of these, the ones that were not known.
    pub news: u64,
}

/// What a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    State = 1,
    Delta,
    DeltaHeard,
    Operations,
    OperationsHeard,
    Snapshot,
    Hello,
    Whole,
    News,
    Checksum,
    Recent,
    RecentToo,
    Peel,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::State,
        Self::Delta,
        Self::DeltaHeard,
        Self::Operations,
        Self::OperationsHeard,
        Self::Snapshot,
        Self::Hello,
        Self::Whole,
        Self::News,
        Self::Checksum,
        Self::Recent,
        Self::RecentToo,
        Self::Peel,
    ];

    const fn is_digest(self) -> bool {
        matches!(self, Self::DeltaHeard | Self::OperationsHeard | Self::Hello | Self::Checksum)
    }
}

/// Reads all of a letter: `read` gets its kind and what follows.
pub(crate) fn open<T>(
    letter: &[u8],
    read: impl FnOnce(Kind, &mut Reader<'_>) -> Result<T, &'static str>,
) -> Result<T, Malformed> {
    let mut from = Reader::new(letter);
    let number = from.number().unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| *kind as u64 == number);
    let all = kind.ok_or("no kind of letter").and_then(|kind| {
        let content = read(kind, &mut from)?;
        from.end().map(|()| content)
    });
    all.map_err(|what| Malformed { kind: number as u8, what })
}
