//! A network for letters: it loses, doubles, delays and reorders them, and tampers with them if asked to.

#![allow(dead_code)] // Each test uses what it needs.

use std::collections::{BTreeMap, BTreeSet};

use quorumbench_protocols::crdt::Size;
use quorumbench_protocols::reconcile::{Letter, Replica};
use quorumbench_protocols::{NodeId, Prng};

/// Of letters, the shares that are lost, doubled, and late by some rounds.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    loss: f64,
    duplication: f64,
    delay: f64,
}

impl Faults {
    pub(crate) const NONE: Self = Self { loss: 0.0, duplication: 0.0, delay: 0.0 };
    pub(crate) const FEW: Self = Self { loss: 0.02, duplication: 0.1, delay: 0.1 };
    pub(crate) const MANY: Self = Self { loss: 0.3, duplication: 0.3, delay: 0.3 };
}

pub(crate) struct Network<R> {
    pub(crate) replicas: Vec<R>,
    pub(crate) faults: Faults,
    /// Whether of two letters one is changed on its way.
    pub(crate) tampering: bool,
    /// Who hears nobody, and is heard by nobody.
    pub(crate) away: BTreeSet<usize>,
    pub(crate) round: u64,
    pub(crate) sent: Size,
    pub(crate) letters: u64,
    pub(crate) refused: u64,
    prng: Prng,
    late: BTreeMap<u64, Vec<(usize, Letter)>>,
}

impl<R: Replica> Network<R> {
    pub(crate) fn new(replicas: Vec<R>, faults: Faults, seed: u64) -> Self {
        Self {
            replicas,
            faults,
            tampering: false,
            away: BTreeSet::new(),
            round: 0,
            sent: Size::default(),
            letters: 0,
            refused: 0,
            prng: Prng::new(seed),
            late: BTreeMap::new(),
        }
    }

    pub(crate) fn link(&mut self, one: usize, other: usize) {
        self.replicas[one].connect(NodeId(other as u32));
        self.replicas[other].connect(NodeId(one as u32));
    }

    /// A circle in which each knows so many to each side.
    pub(crate) fn circle(mut self, reach: usize) -> Self {
        let nodes = self.replicas.len();
        (0..nodes).for_each(|node| (1..=reach).for_each(|far| self.link(node, (node + far) % nodes)));
        self
    }

    /// What is sent in a round arrives in it, and so do the answers, but for what is late.
    pub(crate) fn round(&mut self) {
        self.round += 1;
        let mut out = Vec::new();
        let mut under_way = self.late.remove(&self.round).unwrap_or_default();
        for from in 0..self.replicas.len() {
            self.replicas[from].tick(self.round, &mut out);
            self.count(&out);
            under_way.extend(out.drain(..).map(|letter| (from, letter)));
        }
        while !under_way.is_empty() {
            let next = self.prng.below(under_way.len() as u64) as usize;
            let (from, letter) = under_way.swap_remove(next);
            let Faults { loss, duplication, delay } = self.faults;
            if self.prng.unit() < duplication {
                self.late.entry(self.round + 1 + self.prng.below(4)).or_default().push((from, letter.clone()));
            }
            match self.prng.unit() {
                chance if chance < loss => {}
                chance if chance < loss + delay => {
                    self.late.entry(self.round + 1 + self.prng.below(4)).or_default().push((from, letter));
                }
                _ => {
                    let to = letter.to.0 as usize;
                    self.arrive(from, &letter, &mut out);
                    self.count(&out);
                    under_way.extend(out.drain(..).map(|letter| (to, letter)));
                }
            }
        }
    }

    fn arrive(&mut self, from: usize, letter: &Letter, out: &mut Vec<Letter>) {
        assert_eq!(letter.size.bytes(), letter.bytes.len() as u64);
        let to = letter.to.0 as usize;
        if self.away.contains(&from) || self.away.contains(&to) {
            return;
        }
        let replica = &mut self.replicas[to];
        if !self.tampering || self.prng.below(2) == 0 {
            replica.receive(NodeId(from as u32), &letter.bytes, out).expect("well-formed");
            return;
        }
        let mut bytes = Vec::from(letter.bytes.clone());
        bytes.truncate(1 + self.prng.below(bytes.len() as u64) as usize);
        if self.prng.below(2) == 0 {
            bytes.push(self.prng.next_u64() as u8);
        }
        self.refused += u64::from(replica.receive(NodeId(from as u32), &bytes, out).is_err());
    }

    fn count(&mut self, letters: &[Letter]) {
        self.letters += letters.len() as u64;
        letters.iter().for_each(|letter| self.sent += letter.size);
    }

    /// Until all agree. After how many rounds.
    pub(crate) fn settle(&mut self) -> u64 {
        let begin = self.round;
        while !self.replicas.windows(2).all(|two| two[0].agrees_with(&two[1])) {
            self.round();
            assert!(self.round < begin + 1000, "no end: {:?}", self.replicas[0]);
        }
        self.round - begin
    }
}
