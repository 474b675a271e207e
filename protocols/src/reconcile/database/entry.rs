//! What a database holds of a key.

use bytes::Bytes;

use crate::crdt::{Encoded, Part, Reader, Stamp, Writer, ascending};
use crate::prng::Prng;
use crate::wire::{LIMIT, NodeId, reject};

/// An item, or the certificate of its death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was written: of two, the later counts.
    pub(super) stamp: Stamp,
    /// When it began to spread: as it was written, or when a certificate was last woken up.
    pub(super) activated: u64,
    /// `None` for a certificate.
    pub(super) value: Option<Bytes>,
    /// Who keeps the certificate when it is dormant, in ascending order.
    pub(super) sites: Vec<NodeId>,
}

/// What entries are sorted by: when they began to spread, and which write it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age {
    pub(super) time: u64,
    pub(super) stamp: Stamp,
}

impl Age {
    /// Before all entries.
    pub(super) const FIRST: Self = Self { time: 0, stamp: Stamp { time: 0, node: NodeId(0) } };
    /// After all entries.
    pub(super) const LAST: Self = Self { time: LIMIT - 1, stamp: Stamp { time: LIMIT - 1, node: NodeId(u32::MAX) } };

    pub(super) fn write(self, to: &mut Writer) {
        to.number(Part::Digest, self.time);
        to.number(Part::Digest, self.stamp.time);
        to.node(Part::Digest, self.stamp.node);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { time: from.number()?, stamp: Stamp { time: from.number()?, node: from.node()? } })
    }
}

impl Entry {
    /// An item that was written just so.
    pub(super) const fn item(stamp: Stamp, value: Bytes) -> Self {
        Self { stamp, activated: stamp.time, value: Some(value), sites: Vec::new() }
    }

    pub(super) const fn age(&self) -> Age {
        Age { time: self.activated, stamp: self.stamp }
    }

    /// Of two of a key, the greater counts.
    pub(super) const fn version(&self) -> (Stamp, u64) {
        (self.stamp, self.activated)
    }

    /// 64 bits of it: databases are equal if the sums of these are. What was written, a stamp names.
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        // FNV-1a, and then SplitMix64's finalizer over all words: sums of these do not cancel out.
        let start = 0xcbf2_9ce4_8422_2325_u64;
        let mixed = key.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let words = [self.stamp.time, u64::from(self.stamp.node.0), self.activated, u64::from(self.value.is_none())];
        words.iter().fold(mixed, |hash, &word| Prng::new(hash ^ word).next_u64())
    }
}

impl Encoded for Entry {
    fn write(&self, to: &mut Writer) {
        self.stamp.write(to);
        to.number(Part::Metadata, u64::from(self.value.is_none()));
        if let Some(value) = &self.value {
            to.bytes(Part::Payload, value);
        } else {
            to.number(Part::Metadata, self.activated - self.stamp.time);
            to.count_of(Part::Metadata, self.sites.len());
            self.sites.iter().for_each(|&site| to.node(Part::Metadata, site));
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let stamp = Stamp::read(from)?;
        if !from.flag()? {
            return Ok(Self::item(stamp, from.bytes()?));
        }
        let activated = stamp.time + from.number()?;
        reject(activated >= LIMIT, "a time beyond reach")?;
        let mut sites = Vec::new();
        for _ in 0..from.count()? {
            let site = from.node()?;
            ascending(sites.last(), &site)?;
            sites.push(site);
        }
        Ok(Self { stamp, activated, value: None, sites })
    }
}
