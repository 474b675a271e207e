//! A database with timestamps, in which differences are resolved by anti-entropy.
//!
//! In each round a replica picks a partner, and the two make their databases equal, both ways (push-pull). The
//! [`Digest`] is how they find out what differs (Demers et al., *Epidemic Algorithms for Replicated Database
//! Maintenance*, PODC 1987, section 1.3), and [`Deletion`] what keeps items from coming back that were deleted (section
//! 2). Clocks are those of the rounds, which all replicas have in common, as the paper assumes.

mod contact;
mod entry;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Letter, Merged, Replica};
use crate::crdt::{MapUpdate, Stamp};
use crate::prng::Prng;
use crate::wire::{Malformed, NodeId};
use entry::{Age, Entry};

/// One replica of the database.
#[derive(Clone, Debug)]
pub struct Database {
    id: NodeId,
    options: DatabaseOptions,
    peers: Vec<NodeId>,
    prng: Prng,
    /// The round that it is.
    round: u64,
    /// The time of the last write here.
    written: u64,
    /// Items, and death certificates that are not dormant.
    entries: BTreeMap<Bytes, Entry>,
    /// The same by age.
    by_age: BTreeSet<(Age, Bytes)>,
    /// Of these, the certificates.
    certificates: BTreeSet<(Age, Bytes)>,
    /// The sum of the entries' hashes.
    checksum: u64,
    /// Certificates of which this is a retention site, and that nobody is told of until an old item turns up.
    dormant: BTreeMap<Bytes, Entry>,
    /// Databases that were sent whole.
    wholes: u64,
}

/// How differences are found, and deletions kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// How two find out in what they differ.
    pub digest: Digest,
    /// What is left of an item that is deleted.
    pub deletion: Deletion,
}

/// How two databases find out in what they differ (Demers et al. 1987, section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// All is sent, and what differs comes back.
    Whole,
    /// Checksums first: all is sent if they disagree.
    Checksum,
    /// What was written in the last so many rounds is exchanged, and then checksums, and then all.
    Recent {
        /// Rounds.
        window: u64,
    },
    /// What was written is exchanged, the latest first, until checksums agree.
    PeelBack {
        /// Entries in each letter beside its checksum; at least one.
        batch: usize,
    },
}

/// What is left of an item that is deleted (Demers et al. 1987, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Nothing. Whoever has an older copy brings it back.
    None,
    /// A death certificate, which spreads like an item, and is dropped by all after so many rounds (section 2.1).
    Certificates {
        /// Rounds.
        retention: u64,
    },
    /// The same; but some sites then keep it for longer, and wake it up if an old copy comes (section 2.2).
    Dormant {
        /// Rounds after which it is dormant.
        retention: u64,
        /// Rounds after these for which its sites keep it.
        dormant: u64,
        /// How many sites.
        sites: usize,
    },
}

impl Deletion {
    /// Rounds for which everybody keeps a certificate.
    const fn retention(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Certificates { retention } | Self::Dormant { retention, .. } => retention,
        }
    }
}

/// Ticks of the clock in a round: more than there are writes in one.
const TICKS: u64 = 1 << 20;

impl Database {
    /// An empty database that knows nobody. Its partners follow from `seed`.
    pub fn new(id: NodeId, options: DatabaseOptions, seed: u64) -> Self {
        Self {
            id,
            options,
            peers: Vec::new(),
            prng: Prng::new(seed),
            round: 0,
            written: 0,
            entries: BTreeMap::new(),
            by_age: BTreeSet::new(),
            certificates: BTreeSet::new(),
            checksum: 0,
            dormant: BTreeMap::new(),
            wholes: 0,
        }
    }

    /// Items that all replicas have from the beginning, written before the first round.
    ///
    /// # Panics
    /// If there are more than ticks in a round: 2^20 - 1.
    pub fn load(&mut self, items: impl IntoIterator<Item = (Bytes, Bytes)>) {
        for (time, (key, value)) in (1..).zip(items) {
            assert!(time < TICKS, "written before the first round");
            self.put(key, Entry::item(Stamp { time, node: NodeId(0) }, value));
        }
    }

    /// Whether a key has a value.
    pub fn has(&self, key: &[u8]) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.value.is_some())
    }

    /// Death certificates that are kept here, dormant ones among them.
    pub fn certificates(&self) -> usize {
        self.certificates.len() + self.dormant.len()
    }

    /// How often it has sent everything.
    pub const fn wholes(&self) -> u64 {
        self.wholes
    }

    /// The time of a write now: later than all here, and than what is there already.
    fn stamp(&mut self, key: &[u8]) -> Stamp {
        let there = self.entries.get(key).map_or(0, |entry| entry.stamp.time);
        self.written = (self.round * TICKS).max(self.written.max(there) + 1);
        Stamp { time: self.written, node: self.id }
    }

    /// Puts an entry in the place of the one that is there.
    fn put(&mut self, key: Bytes, entry: Entry) {
        self.take(&key);
        self.checksum = self.checksum.wrapping_add(entry.hash(&key));
        self.by_age.insert((entry.age(), key.clone()));
        if entry.value.is_none() {
            self.certificates.insert((entry.age(), key.clone()));
        }
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: &Bytes) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.checksum = self.checksum.wrapping_sub(entry.hash(key));
        let place = (entry.age(), key.clone());
        self.by_age.remove(&place);
        self.certificates.remove(&place);
        Some(entry)
    }

    /// What a partner sent of a key: kept if it is later than what is here. Whether it was.
    fn offer(&mut self, key: Bytes, entry: Entry) -> bool {
        if self.dormant.get(&key).is_some_and(|certificate| entry.stamp < certificate.stamp) {
            // It wakes up, with its old timestamp, so that it cancels no later item, and a new activation timestamp, so
            // that it spreads (section 2.2).
            let certificate = self.dormant.remove(&key).expect("it was found there");
            let activated = self.round * TICKS;
            self.put(key, Entry { activated, ..certificate });
            return false;
        }
        let is_later = self.entries.get(&key).is_none_or(|own| own.version() < entry.version());
        let is_news = is_later && (entry.value.is_some() || !self.is_over(entry.activated));
        if is_news {
            self.dormant.remove(&key);
            self.put(key, entry);
        }
        is_news
    }

    /// Whether a certificate that was activated then is no longer everybody's.
    fn is_over(&self, activated: u64) -> bool {
        activated / TICKS + self.options.deletion.retention() < self.round
    }

    /// Certificates grow old: they are dropped, but by their retention sites, which drop them later.
    fn retire(&mut self) {
        while let Some((age, key)) = self.certificates.first().cloned() {
            if !self.is_over(age.time) {
                break;
            }
            let certificate = self.take(&key).expect("it is listed");
            if certificate.sites.contains(&self.id) {
                self.dormant.insert(key, certificate);
            }
        }
        if let Deletion::Dormant { retention, dormant, .. } = self.options.deletion {
            let round = self.round;
            self.dormant.retain(|_, entry| entry.activated / TICKS + retention + dormant >= round);
        }
    }

    /// Retention sites of a new certificate, at random: any of all replicas.
    fn sites(&mut self) -> Vec<NodeId> {
        let Deletion::Dormant { sites, .. } = self.options.deletion else { return Vec::new() };
        let mut all = self.peers.clone();
        all.push(self.id);
        let count = sites.min(all.len());
        for index in 0..count {
            let other = index as u64 + self.prng.below((all.len() - index) as u64);
            all.swap(index, other as usize);
        }
        all.truncate(count);
        all.sort_unstable();
        all
    }
}

impl Replica for Database {
    type Update = MapUpdate;
    type Value = BTreeMap<Bytes, Bytes>;

    fn connect(&mut self, neighbour: NodeId) {
        self.peers.push(neighbour);
    }

    fn update(&mut self, update: &MapUpdate) -> bool {
        match update {
            MapUpdate::Put(key, value) => {
                let entry = Entry::item(self.stamp(key), value.clone());
                self.put(key.clone(), entry);
                true
            }
            MapUpdate::Remove(key) if !self.has(key) => false,
            MapUpdate::Remove(key) if self.options.deletion == Deletion::None => self.take(key).is_some(),
            MapUpdate::Remove(key) => {
                let (stamp, sites) = (self.stamp(key), self.sites());
                self.put(key.clone(), Entry { stamp, activated: stamp.time, value: None, sites });
                true
            }
        }
    }

    fn tick(&mut self, round: u64, out: &mut Vec<Letter>) {
        self.round = round;
        self.retire();
        if !self.peers.is_empty() {
            let partner = self.peers[self.prng.below(self.peers.len() as u64) as usize];
            self.begin(partner, out);
        }
    }

    fn receive(&mut self, from: NodeId, letter: &[u8], out: &mut Vec<Letter>) -> Result<Merged, Malformed> {
        self.resolve(from, letter, out)
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.checksum == other.checksum && self.entries == other.entries
    }

    fn value(&self) -> BTreeMap<Bytes, Bytes> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, entry)| Some((key.clone(), entry.value.clone()?))).collect()
    }
}
