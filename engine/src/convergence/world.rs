//! Replicas, and the letters between them, round by round.

use std::collections::BTreeMap;

use quorumbench_protocols::crdt::Size;
use quorumbench_protocols::reconcile::{Letter, Replica};
use quorumbench_protocols::{NodeId, Prng};

use crate::spec::Replication;

/// Replicas that meet in synchronous rounds.
///
/// What is sent in a round arrives in it, in any order; what it is answered with arrives before anything else does, and
/// what that is answered with: a contact is one conversation. But for what is lost or late, or crosses a partition.
#[derive(Debug)]
pub(super) struct World<'a, R> {
    pub(super) replicas: Vec<R>,
    rules: &'a Replication,
    /// The round that was last.
    pub(super) round: u64,
    /// How many there are before those that are cut off.
    whole: usize,
    /// Letters for later rounds, each with its sender.
    late: BTreeMap<u64, Vec<(usize, Letter)>>,
    prng: Prng,
    pub(super) sent: Sent,
    /// Bytes to and from the replica of this number.
    pub(super) watched: (usize, u64),
}

/// What letters were sent, and what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// How large they were.
    pub(super) size: Size,
    /// How many, lost ones among them, and those that came twice once.
    pub(super) letters: u64,
    /// Entries or operations that arrived, and were joined or applied.
    pub(super) merged: u64,
    /// Of these, the ones that were not known.
    pub(super) news: u64,
}

/// Most rounds by which a letter is late.
const LATEST: u64 = 4;

/// Nobody is watched.
const NOBODY: usize = usize::MAX;

impl<'a, R: Replica> World<'a, R> {
    pub(super) fn new(replicas: Vec<R>, rules: &'a Replication, round: u64, prng: Prng) -> Self {
        let (late, sent, watched) = (BTreeMap::new(), Sent::default(), (NOBODY, 0));
        Self { replicas, rules, round, whole: usize::MAX, late, prng, sent, watched }
    }

    /// Two will reconcile with each other.
    pub(super) fn link(&mut self, one: usize, other: usize) {
        self.replicas[one].connect(NodeId(other as u32));
        self.replicas[other].connect(NodeId(one as u32));
    }

    /// Nothing gets from the first so many to the others.
    pub(super) fn cut_behind(&mut self, whole: usize) {
        self.whole = whole;
    }

    /// All are together again.
    pub(super) fn heal(&mut self) {
        self.whole = usize::MAX;
    }

    /// Whether all know the same.
    pub(super) fn agrees(&self) -> bool {
        self.replicas.windows(2).all(|two| two[0].agrees_with(&two[1]))
    }

    pub(super) fn round(&mut self) {
        self.round += 1;
        let mut out = Vec::new();
        let mut under_way = Vec::new();
        for from in 0..self.replicas.len() {
            self.replicas[from].tick(self.round, &mut out);
            self.send(from, &mut out, &mut under_way);
        }
        under_way.extend(self.late.remove(&self.round).unwrap_or_default());
        while !under_way.is_empty() {
            let next = self.prng.below(under_way.len() as u64) as usize;
            self.converse(under_way.swap_remove(next));
        }
    }

    /// A letter arrives, and whatever it is answered with.
    fn converse(&mut self, letter: (usize, Letter)) {
        let mut out = Vec::new();
        let mut under_way = vec![letter];
        while let Some((from, letter)) = under_way.pop() {
            let to = letter.to.0 as usize;
            if (from < self.whole) == (to < self.whole) {
                let merged = self.replicas[to].receive(NodeId(from as u32), &letter.bytes, &mut out);
                let merged = merged.expect("replicas write what they can read");
                self.sent.merged += merged.elements;
                self.sent.news += merged.news;
                self.send(to, &mut out, &mut under_way);
            }
        }
    }

    /// Letters are on their way, lost, or late.
    fn send(&mut self, from: usize, letters: &mut Vec<Letter>, under_way: &mut Vec<(usize, Letter)>) {
        for letter in letters.drain(..) {
            self.sent.letters += 1;
            self.sent.size += letter.size;
            if [from, letter.to.0 as usize].contains(&self.watched.0) {
                self.watched.1 += letter.size.bytes();
            }
            let Replication { loss, duplication, reorder, .. } = *self.rules;
            if self.happens(duplication) {
                self.put_off(from, letter.clone());
            }
            if self.happens(loss) {
                continue;
            }
            if self.happens(reorder) {
                self.put_off(from, letter);
            } else {
                under_way.push((from, letter));
            }
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.prng.unit() < share
    }

    fn put_off(&mut self, from: usize, letter: Letter) {
        let round = self.round + 1 + self.prng.below(LATEST);
        self.late.entry(round).or_default().push((from, letter));
    }
}
