//! Who is there, and who may talk to whom.

use quorumbench_protocols::Prng;

use super::bits::{Bits, for_each_of};
use super::views::Views;
use crate::spec::{Gossip, Style, View};

/// The nodes: which of them are up, and what they know of each other.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    nodes: usize,
    crash: f64,
    join: f64,
    /// `None` where nobody crashes.
    up: Option<Bits>,
    alive: u64,
    /// `None` where everyone may talk to everyone.
    views: Option<Views>,
    /// Whether those who were up fell into parts, at the start.
    was_split: bool,
    /// Whether nobody crashes or joins for now.
    is_held: bool,
    /// Those that crashed in this cycle, and those that came.
    pub(crate) gone: Vec<u32>,
    pub(crate) joined: Vec<u32>,
}

impl Members {
    pub(crate) fn new(nodes: usize, gossip: &Gossip) -> Self {
        let is_partial = gossip.view == View::Partial || gossip.style == Style::Plumtree;
        Self {
            nodes,
            crash: gossip.crash,
            join: gossip.join,
            up: (gossip.crash > 0.0).then(|| Bits::all(nodes)),
            alive: nodes as u64,
            views: is_partial.then(|| Views::new(nodes, gossip.view_size, gossip.passive_size)),
            was_split: false,
            is_held: false,
            gone: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// Everyone is up, and has a view. Views of millions take their time: not if `go_on`, asked now and then, is false.
    #[must_use]
    pub(crate) fn begin(&mut self, prng: &mut Prng, go_on: &dyn Fn() -> bool) -> bool {
        self.alive = self.nodes as u64;
        self.gone.clear();
        if let Some(up) = &mut self.up {
            *up = Bits::all(self.nodes);
        }
        if let Some(views) = &mut self.views {
            if !views.build(prng, go_on) {
                return false;
            }
            self.was_split = views.is_split(None);
        }
        true
    }

    /// Nobody crashes or joins from now on, or whoever would does.
    pub(crate) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// A cycle begins: some crash, some join, and views are kept. Without churn there is nothing to keep.
    pub(crate) fn cycle(&mut self, prng: &mut Prng) {
        self.gone.clear();
        self.joined.clear();
        let Some(up) = self.up.as_mut().filter(|_| !self.is_held) else { return };
        let down = self.nodes as u64 - self.alive;
        let comes = if down > 0 { self.join * self.nodes as f64 / down as f64 } else { 0.0 };
        for index in 0..up.len() {
            let (were_up, all) = (up.word(index), up.everyone(index));
            for_each_of(index, were_up & all, |node| {
                if prng.unit() < self.crash {
                    up.drop(node);
                    self.gone.push(node);
                }
            });
            for_each_of(index, !were_up & all, |node| {
                if prng.unit() < comes {
                    up.add(node);
                    self.joined.push(node);
                }
            });
        }
        self.alive = self.alive - self.gone.len() as u64 + self.joined.len() as u64;
        if let Some(views) = &mut self.views {
            self.gone.iter().for_each(|&node| views.forget(node));
            let _ = views.cycle(Some(up), prng, &|| true);
            // Those that came know nobody, as do those that lost everyone.
            self.joined.iter().for_each(|&node| views.forget(node));
            for node in 0..self.nodes as u32 {
                let is_alone = up.has(node) && views.active(node).is_empty();
                if let Some(contact) = is_alone.then(|| any_up(up, node, prng)).flatten() {
                    views.join(node, contact, &|node| up.has(node), prng);
                }
            }
        }
    }

    /// How many are up.
    pub(crate) fn alive(&self) -> u64 {
        self.alive
    }

    #[inline]
    pub(crate) fn is_up(&self, node: u32) -> bool {
        self.up.as_ref().is_none_or(|up| up.has(node))
    }

    /// Which of 64 are up.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> u64 {
        self.up.as_ref().map_or(u64::MAX, |up| up.word(index))
    }

    /// True if some may crash, or join, at the next cycle's begin.
    pub(crate) fn changes(&self) -> bool {
        self.has_churn() && !self.is_held
    }

    /// True where the members change.
    pub(crate) fn has_churn(&self) -> bool {
        self.up.is_some()
    }

    /// Whom alone a node may talk to; `None` where it is everyone.
    pub(crate) fn view(&self, node: u32) -> Option<&[u32]> {
        self.views.as_ref().map(|views| views.active(node))
    }

    pub(super) fn views(&self) -> Option<&Views> {
        self.views.as_ref()
    }

    pub(super) fn views_mut(&mut self) -> Option<&mut Views> {
        self.views.as_mut()
    }

    /// Whether those who were up fell into parts that never talk to each other, at the start or now; `None` where
    /// everyone may talk to everyone.
    pub(crate) fn is_split(&self) -> Option<bool> {
        self.views.as_ref().map(|views| self.was_split || views.is_split(self.up.as_ref()))
    }

    /// The cycle in which an epidemic ends at the latest: with churn it might go on for ever, as it does where some cannot
    /// be reached.
    pub(crate) fn last_cycle(&self) -> u64 {
        if self.has_churn() || self.was_split { Gossip::last_cycle(self.nodes) } else { u64::MAX }
    }
}

/// Someone who is up, but not this node.
fn any_up(up: &Bits, but: u32, prng: &mut Prng) -> Option<u32> {
    let nodes = up.count();
    if nodes < 1 + u64::from(up.has(but)) {
        return None;
    }
    loop {
        let drawn = prng.below(up.nodes() as u64) as u32;
        if drawn != but && up.has(drawn) {
            return Some(drawn);
        }
    }
}
