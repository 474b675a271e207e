//! Partial views: Leitão, Pereira, Rodrigues, *`HyParView`: A Membership Protocol for Reliable Gossip-Based Broadcast*
//! (DSN 2007; sections below are that paper's).
//!
//! Each node has a small **active view**, the nodes that it talks to, which is symmetric, and a larger **passive view**,
//! from which active ones that are gone are replaced.

use quorumbench_protocols::Prng;

use super::bits::Bits;

/// After so many nodes it is asked whether to go on.
const LOOK: u32 = 1 << 14;

/// Hops of a join through active views (4.2: active random walk length).
const WALK: usize = 6;
/// Hops before its end at which a join leaves the new node in a passive view (passive random walk length).
const PASSIVE_AT: usize = 3;
/// Of its active and of its passive view, what a node shuffles (4.4).
const SHUFFLED: [usize; 2] = [3, 4];
/// Cycles of repairs and shuffles after all have joined, before anything is spread.
const SETTLING: usize = 5;

/// Everyone's views.
#[derive(Clone, Debug)]
pub(super) struct Views {
    active: Slots,
    passive: Slots,
    /// Of each active link, at this end: whether updates are only announced over it (Plumtree).
    lazy: Vec<bool>,
    /// Those that were dropped, and look for somebody else.
    dropped: Vec<u32>,
    /// What one shuffle offers, and what it gets.
    offered: Vec<u32>,
    returned: Vec<u32>,
}

impl Views {
    /// Of nodes that have not joined.
    pub(super) fn new(nodes: usize, active: usize, passive: usize) -> Self {
        Self {
            active: Slots::new(nodes, active),
            passive: Slots::new(nodes, passive),
            lazy: vec![false; nodes * active],
            dropped: Vec::new(),
            offered: Vec::new(),
            returned: Vec::new(),
        }
    }

    /// All join, one after the other, and then have some cycles to settle.
    pub(super) fn build(&mut self, prng: &mut Prng, go_on: &dyn Fn() -> bool) -> bool {
        self.active.clear();
        self.passive.clear();
        let nodes = self.active.len.len() as u32;
        for node in 1..nodes {
            if node.is_multiple_of(LOOK) && !go_on() {
                return false;
            }
            self.join(node, prng.below(u64::from(node)) as u32, &|_| true, prng);
        }
        (0..SETTLING).all(|_| self.cycle(None, prng, go_on))
    }

    /// Whom a node talks to.
    #[inline]
    pub(super) fn active(&self, node: u32) -> &[u32] {
        self.active.of(node)
    }

    /// The same, each with whether the link to it is lazy at this end.
    pub(super) fn links(&self, node: u32) -> impl Iterator<Item = (u32, bool)> {
        let first = self.active.first(node);
        self.active(node).iter().copied().zip(self.lazy[first..].iter().copied())
    }

    /// Makes a link lazy, or eager, at `node`'s end, if it is there.
    pub(super) fn make_lazy(&mut self, node: u32, peer: u32, is_lazy: bool) {
        if let Some(place) = self.active.place(node, peer) {
            self.lazy[self.active.first(node) + place] = is_lazy;
        }
    }

    /// A cycle: whom a node has lost it replaces, and then each node shuffles its passive view. Without `up`, nobody is
    /// down.
    #[must_use]
    pub(super) fn cycle(&mut self, up: Option<&Bits>, prng: &mut Prng, go_on: &dyn Fn() -> bool) -> bool {
        let is_up = |node: u32| up.is_none_or(|up| up.has(node));
        for node in (0..self.active.len.len() as u32).filter(|&node| is_up(node)) {
            if node.is_multiple_of(LOOK) && !go_on() {
                return false;
            }
            self.repair(node, &is_up, prng);
        }
        self.dropped.clear();
        for node in (0..self.active.len.len() as u32).filter(|&node| is_up(node)) {
            if node.is_multiple_of(LOOK) && !go_on() {
                return false;
            }
            self.shuffle(node, prng);
        }
        true
    }

    /// `node` joins through `contact`, which is a member (4.2).
    pub(super) fn join(&mut self, node: u32, contact: u32, is_up: &impl Fn(u32) -> bool, prng: &mut Prng) {
        self.connect(contact, node, prng);
        let walks: Vec<u32> = self.active(contact).iter().copied().filter(|&peer| peer != node).collect();
        walks.into_iter().for_each(|first| self.walk(node, contact, first, prng));
        while let Some(dropped) = self.dropped.pop() {
            self.repair(dropped, is_up, prng);
        }
    }

    /// A node is down, and knows nobody when it comes back. Its peers find out when they next talk to it.
    pub(super) fn forget(&mut self, node: u32) {
        self.active.len[node as usize] = 0;
        self.passive.len[node as usize] = 0;
    }

    /// Whether those that are up fall into parts that never talk to each other.
    pub(super) fn is_split(&self, up: Option<&Bits>) -> bool {
        let nodes = self.active.len.len();
        let is_up = |node: u32| up.is_none_or(|up| up.has(node));
        let Some(first) = (0..nodes as u32).find(|&node| is_up(node)) else { return false };
        let mut seen = Bits::new(nodes);
        seen.add(first);
        let mut queue = vec![first];
        while let Some(node) = queue.pop() {
            for &peer in self.active(node).iter().filter(|&&peer| is_up(peer)) {
                if !seen.has(peer) {
                    seen.add(peer);
                    queue.push(peer);
                }
            }
        }
        seen.count() < up.map_or(nodes as u64, Bits::count)
    }

    /// A forwarded join: it ends in the active view of the node that it is at after so many hops, or of one that knows
    /// no other way.
    fn walk(&mut self, new: u32, mut from: u32, mut at: u32, prng: &mut Prng) {
        for hops_left in (0..WALK).rev() {
            if hops_left == 0 || self.active(at).len() <= 1 || at == new {
                break;
            }
            if hops_left == PASSIVE_AT {
                self.remember(at, new, prng);
            }
            let others = self.active(at).len() - usize::from(self.active.place(at, from).is_some());
            if others == 0 {
                break;
            }
            let next = loop {
                let next = self.active(at)[prng.below(self.active(at).len() as u64) as usize];
                if next != from {
                    break next;
                }
            };
            (from, at) = (at, next);
        }
        if at != new {
            self.connect(at, new, prng);
        }
    }

    /// Both get each other into their active views, and drop somebody if these are full.
    fn connect(&mut self, one: u32, other: u32, prng: &mut Prng) {
        if self.active.place(one, other).is_some() {
            return;
        }
        for (node, peer) in [(one, other), (other, one)] {
            if self.active.is_full(node) {
                let dropped = self.active(node)[prng.below(self.active.most as u64) as usize];
                self.disconnect(node, dropped);
                self.remember(node, dropped, prng);
                self.remember(dropped, node, prng);
                self.dropped.push(dropped);
            }
            // What the other remembers of it is of no use any more.
            self.passive.remove(node, peer);
        }
        for (node, peer) in [(one, other), (other, one)] {
            let place = self.active.first(node) + self.active.len[node as usize] as usize;
            self.lazy[place] = false;
            self.active.push(node, peer);
        }
    }

    fn disconnect(&mut self, one: u32, other: u32) {
        for (node, peer) in [(one, other), (other, one)] {
            if let Some(place) = self.active.place(node, peer) {
                let first = self.active.first(node);
                self.active.remove(node, peer);
                self.lazy[first + place] = self.lazy[first + self.active.len[node as usize] as usize];
            }
        }
    }

    /// `peer` comes into the passive view, in the place of a random one if need be.
    fn remember(&mut self, node: u32, peer: u32, prng: &mut Prng) {
        if peer == node || self.active.place(node, peer).is_some() || self.passive.place(node, peer).is_some() {
            return;
        }
        if self.passive.is_full(node) {
            let dropped = self.passive.of(node)[prng.below(self.passive.most as u64) as usize];
            self.passive.remove(node, dropped);
        }
        self.passive.push(node, peer);
    }

    /// Who is gone leaves the active view, and others take their places (4.3): a node asks those in its passive view,
    /// in random order, and whoever is down is forgotten. One that has no active peer is never refused.
    fn repair(&mut self, node: u32, is_up: &impl Fn(u32) -> bool, prng: &mut Prng) {
        while let Some(gone) = self.active(node).iter().copied().find(|&peer| !self.knows(peer, node) || !is_up(peer)) {
            self.disconnect(node, gone);
        }
        if self.active.is_full(node) || self.passive.of(node).is_empty() {
            return;
        }
        let mut asked = self.passive.of(node).to_vec();
        while !self.active.is_full(node) && !asked.is_empty() {
            let peer = asked.swap_remove(prng.below(asked.len() as u64) as usize);
            if !is_up(peer) {
                self.passive.remove(node, peer);
            } else if !self.active.is_full(peer) || self.active(node).is_empty() {
                self.connect(node, peer, prng);
            }
        }
    }

    /// Whether the link is there at that end: one that was down, and came back, has forgotten it.
    fn knows(&self, node: u32, peer: u32) -> bool {
        self.active.place(node, peer).is_some()
    }

    /// A sample of what it knows goes on a walk, and is exchanged for one of what the node at the end knows (4.4).
    fn shuffle(&mut self, node: u32, prng: &mut Prng) {
        let (mut from, mut at) = (node, node);
        for _ in 0..WALK {
            let peers = self.active(at);
            let Some(&next) = peers.get(prng.below(peers.len().max(1) as u64) as usize) else { break };
            // Not back, unless there is no other way.
            if next == from && peers.len() > 1 {
                continue;
            }
            (from, at) = (at, next);
        }
        if at == node {
            return;
        }
        let [mut offered, mut returned] = [std::mem::take(&mut self.offered), std::mem::take(&mut self.returned)];
        offered.clear();
        returned.clear();
        offered.push(node);
        sample(self.active.of(node), SHUFFLED[0], &mut offered, prng);
        sample(self.passive.of(node), SHUFFLED[1], &mut offered, prng);
        sample(self.passive.of(at), offered.len(), &mut returned, prng);
        for (to, news, given) in [(at, &offered, &returned), (node, &returned, &offered)] {
            for &peer in news {
                // What was given away makes room first.
                let is_known = peer == to || self.knows(to, peer) || self.passive.place(to, peer).is_some();
                if !is_known && self.passive.is_full(to) {
                    let sent = given.iter().find(|&&sent| self.passive.place(to, sent).is_some());
                    if let Some(&sent) = sent {
                        self.passive.remove(to, sent);
                    }
                }
                self.remember(to, peer, prng);
            }
        }
        (self.offered, self.returned) = (offered, returned);
    }
}

/// Up to `count` of them, from a random one on: views are in no order.
fn sample(of: &[u32], count: usize, into: &mut Vec<u32>, prng: &mut Prng) {
    if !of.is_empty() {
        let first = prng.below(of.len() as u64) as usize;
        into.extend(of.iter().cycle().skip(first).take(count.min(of.len())));
    }
}

/// For each node a few others, in no order.
#[derive(Clone, Debug)]
struct Slots {
    /// How many of them each may have.
    most: usize,
    len: Vec<u16>,
    nodes: Vec<u32>,
}

impl Slots {
    fn new(nodes: usize, most: usize) -> Self {
        Self { most, len: vec![0; nodes], nodes: vec![0; nodes * most] }
    }

    fn clear(&mut self) {
        self.len.fill(0);
    }

    fn first(&self, node: u32) -> usize {
        node as usize * self.most
    }

    #[inline]
    fn of(&self, node: u32) -> &[u32] {
        let first = self.first(node);
        &self.nodes[first..first + self.len[node as usize] as usize]
    }

    fn place(&self, node: u32, other: u32) -> Option<usize> {
        self.of(node).iter().position(|&each| each == other)
    }

    fn is_full(&self, node: u32) -> bool {
        self.len[node as usize] as usize == self.most
    }

    fn push(&mut self, node: u32, other: u32) {
        let place = self.first(node) + self.len[node as usize] as usize;
        self.nodes[place] = other;
        self.len[node as usize] += 1;
    }

    fn remove(&mut self, node: u32, other: u32) {
        if let Some(place) = self.place(node, other) {
            let first = self.first(node);
            self.len[node as usize] -= 1;
            self.nodes[first + place] = self.nodes[first + self.len[node as usize] as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(nodes: usize, seed: u64) -> Views {
        let mut views = Views::new(nodes, 5, 30);
        assert!(views.build(&mut Prng::new(seed), &|| true));
        views
    }

    fn is_sound(views: &Views, up: Option<&Bits>) {
        for node in 0..views.active.len.len() as u32 {
            for (index, &peer) in views.active(node).iter().enumerate() {
                assert!(peer != node && !views.active(node)[..index].contains(&peer), "each once, and others");
                let is_up = up.is_none_or(|up| up.has(node) && up.has(peer));
                assert!(!is_up || views.knows(peer, node), "active views are symmetric");
            }
            for (index, &peer) in views.passive.of(node).iter().enumerate() {
                assert!(peer != node && !views.passive.of(node)[..index].contains(&peer) && !views.knows(node, peer));
            }
        }
    }

    #[test]
    fn all_are_members_of_one_overlay() {
        for (nodes, seed) in [(7, 1), (50, 2), (1000, 3)] {
            let views = settled(nodes, seed);
            is_sound(&views, None);
            assert!(!views.is_split(None), "{nodes}");
            let links: usize = (0..nodes as u32).map(|node| views.active(node).len()).sum();
            assert!(links as f64 > 0.9 * (5.min(nodes - 1) * nodes) as f64, "{links} links of {nodes} nodes");
        }
    }

    /// Section 5.3: with 80 % of all nodes gone at once, those that are left stay in one piece, nearly always.
    #[test]
    fn what_is_left_stays_together() {
        let nodes = 1000;
        for share in [2, 5] {
            let (mut views, mut prng) = (settled(nodes, 4), Prng::new(5));
            let mut up = Bits::all(nodes);
            for node in (0..nodes as u32).filter(|node| node % share != 0) {
                up.drop(node);
                views.forget(node);
            }
            assert!((0..5).all(|_| views.cycle(Some(&up), &mut prng, &|| true)));
            is_sound(&views, Some(&up));
            assert!(!views.is_split(Some(&up)), "one of {share} is left");
        }
    }

    #[test]
    fn a_split_is_seen() {
        let mut views = Views::new(6, 5, 30);
        let mut prng = Prng::new(1);
        for [one, other] in [[0, 1], [1, 2], [3, 4], [4, 5]] {
            views.connect(one, other, &mut prng);
        }
        assert!(views.is_split(None));
        let mut up = Bits::all(6);
        (3..6).for_each(|node| up.drop(node));
        assert!(!views.is_split(Some(&up)), "who is down does not count");
        views.connect(2, 3, &mut prng);
        assert!(!views.is_split(None));
    }
}
