//! Two databases, and how they find out in what they differ: `ResolveDifference` of Demers et al. 1987, section 1.3.
//!
//! Each letter holds all that is needed to answer it. A contact that loses one is over, and another will come.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::entry::{Age, Entry};
use super::{Database, Digest, TICKS};
use crate::crdt::{Encoded, Part, Reader, Writer, ascending};
use crate::reconcile::{Kind, Letter, Merged, open};
use crate::wire::{Malformed, NodeId, reject};

type Entries = BTreeMap<Bytes, Entry>;

/// What a letter says.
#[derive(Clone, Debug)]
enum Content {
    /// I would like to compare: say what you have. Whatever I said of mine could be old when it arrives.
    Hello,
    /// All that I have: answer with what is newer.
    Whole(Entries),
    /// What you lack.
    News(Entries),
    /// My checksum: if yours is another, send all.
    Checksum(u64),
    /// What is recent here: answer with what is there, and a checksum.
    Recent(Entries),
    /// What is recent here and was not there, and my checksum with both: if yours is another, send all.
    RecentToo(Entries, u64),
    /// All that I have from `low` to `settled` that you did not send, and my checksum: if yours is another, answer with
    /// what you have there, and go on below.
    Peel { checksum: u64, settled: Age, low: Age, entries: Entries },
}

impl Database {
    /// The first letter of a contact.
    pub(super) fn begin(&mut self, partner: NodeId, out: &mut Vec<Letter>) {
        let checksum = self.checksum;
        let letter = match self.options.digest {
            Digest::Whole => self.whole(),
            Digest::Checksum | Digest::Recent { .. } => Content::Hello,
            Digest::PeelBack { .. } => {
                Content::Peel { checksum, settled: Age::LAST, low: Age::LAST, entries: Entries::new() }
            }
        };
        out.push(letter.to(partner));
    }

    pub(super) fn resolve(&mut self, from: NodeId, letter: &[u8], out: &mut Vec<Letter>) -> Result<Merged, Malformed> {
        let content = open(letter, Content::read)?;
        let merged = self.merge(content.entries());
        let answer = match content {
            Content::Hello => Some(match self.options.digest {
                Digest::Recent { window } => Content::Recent(self.recent(window)),
                _ => Content::Checksum(self.checksum),
            }),
            Content::Whole(theirs) => {
                let news = beside(&theirs, self.entries.iter());
                (!news.is_empty()).then_some(Content::News(news))
            }
            Content::News(_) => None,
            Content::Checksum(theirs) | Content::RecentToo(_, theirs) => {
                (theirs != self.checksum).then(|| self.whole())
            }
            Content::Recent(theirs) => {
                let Digest::Recent { window } = self.options.digest else { return Ok(merged) };
                let own = self.recent(window);
                Some(Content::RecentToo(beside(&theirs, own.iter()), self.checksum))
            }
            Content::Peel { checksum, settled, low, entries } => {
                let goes_on = checksum != self.checksum && settled > Age::FIRST;
                goes_on.then(|| self.peel(settled, low, &entries))
            }
        };
        out.extend(answer.map(|answer| answer.to(from)));
        Ok(merged)
    }

    fn merge(&mut self, entries: Option<&Entries>) -> Merged {
        let mut merged = Merged::default();
        for (key, entry) in entries.into_iter().flatten() {
            merged.elements += 1;
            merged.news += u64::from(self.offer(key.clone(), entry.clone()));
        }
        merged
    }

    fn whole(&mut self) -> Content {
        self.wholes += 1;
        Content::Whole(self.entries.clone())
    }

    /// What began to spread in the last so many rounds.
    fn recent(&self, window: u64) -> Entries {
        let time = self.round.saturating_sub(window) * TICKS;
        self.aged(Age { time, ..Age::FIRST }, Age::LAST)
    }

    /// Entries from one age to another.
    fn aged(&self, low: Age, high: Age) -> Entries {
        let bound = |age| (age, Bytes::new());
        let range = (low < high).then(|| self.by_age.range(bound(low)..bound(high)));
        range.into_iter().flatten().map(|(_, key)| (key.clone(), self.entries[key].clone())).collect()
    }

    /// What they did not send down to `low`, and the next entries below it.
    fn peel(&self, settled: Age, low: Age, theirs: &Entries) -> Content {
        let Digest::PeelBack { batch } = self.options.digest else { return Content::Checksum(self.checksum) };
        let mut below = self.by_age.range(..(low, Bytes::new())).rev().map(|(age, _)| *age);
        let lowest = below.nth(batch.max(1) - 1).unwrap_or(Age::FIRST);
        let ours = self.aged(lowest, settled);
        let entries = beside(theirs, ours.iter());
        Content::Peel { checksum: self.checksum, settled: low, low: lowest, entries }
    }
}

/// Those of our entries that are not among theirs just so.
fn beside<'a>(theirs: &Entries, ours: impl Iterator<Item = (&'a Bytes, &'a Entry)>) -> Entries {
    let is_theirs =
        |(key, entry): &(&Bytes, &Entry)| theirs.get(*key).is_some_and(|their| their.version() == entry.version());
    ours.filter(|ours| !is_theirs(ours)).map(|(key, entry)| (key.clone(), entry.clone())).collect()
}

impl Content {
    const fn entries(&self) -> Option<&Entries> {
        match self {
            Self::Hello | Self::Checksum(_) => None,
            Self::Whole(entries)
            | Self::News(entries)
            | Self::Recent(entries)
            | Self::RecentToo(entries, _)
            | Self::Peel { entries, .. } => Some(entries),
        }
    }

    fn to(&self, partner: NodeId) -> Letter {
        let kind = match self {
            Self::Hello => Kind::Hello,
            Self::Whole(_) => Kind::Whole,
            Self::News(_) => Kind::News,
            Self::Checksum(_) => Kind::Checksum,
            Self::Recent(_) => Kind::Recent,
            Self::RecentToo(..) => Kind::RecentToo,
            Self::Peel { .. } => Kind::Peel,
        };
        let elements = self.entries().map_or(0, BTreeMap::len) as u64;
        Letter::new(partner, kind, elements, |to| self.write(to))
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::Checksum(checksum) | Self::RecentToo(_, checksum) => to.word(Part::Digest, *checksum),
            Self::Peel { checksum, settled, low, .. } => {
                to.word(Part::Digest, *checksum);
                settled.write(to);
                low.write(to);
            }
            Self::Hello | Self::Whole(_) | Self::News(_) | Self::Recent(_) => {}
        }
        if let Some(entries) = self.entries() {
            to.count_of(Part::Metadata, entries.len());
            for (key, entry) in entries {
                to.bytes(Part::Payload, key);
                entry.write(to);
            }
        }
    }

    fn read(kind: Kind, from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(match kind {
            Kind::Hello => Self::Hello,
            Kind::Whole => Self::Whole(read_entries(from)?),
            Kind::News => Self::News(read_entries(from)?),
            Kind::Checksum => Self::Checksum(from.word()?),
            Kind::Recent => Self::Recent(read_entries(from)?),
            Kind::RecentToo => {
                let checksum = from.word()?;
                Self::RecentToo(read_entries(from)?, checksum)
            }
            Kind::Peel => {
                let (checksum, settled, low) = (from.word()?, Age::read(from)?, Age::read(from)?);
                reject(low > settled, "peeled in the wrong direction")?;
                Self::Peel { checksum, settled, low, entries: read_entries(from)? }
            }
            _ => return Err("no letter of a database"),
        })
    }
}

fn read_entries(from: &mut Reader<'_>) -> Result<Entries, &'static str> {
    let mut entries = Entries::new();
    for _ in 0..from.count()? {
        let key = from.bytes()?;
        ascending(entries.last_key_value().map(|(last, _)| last), &key)?;
        let entry = Entry::read(from)?;
        entries.insert(key, entry);
    }
    Ok(entries)
}
