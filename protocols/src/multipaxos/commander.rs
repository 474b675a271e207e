//! The commanders (PMMC, figure 6a): who has accepted each slot that is proposed and not known to be decided.

use std::collections::VecDeque;

use crate::wire::{NodeId, PeerSet, Slot};

/// One commander a slot, in a row. Slots are decided in any order; the first ones leave together.
#[derive(Clone, Debug)]
pub(super) struct Commanders {
    slots: VecDeque<Commander>,
    /// The slot before the first of them.
    before: Slot,
}

#[derive(Clone, Copy, Debug, Default)]
struct Commander {
    accepted: PeerSet,
    decided: bool,
}

impl Commanders {
    /// Everything up to `decided` is.
    pub(super) fn new(decided: Slot) -> Self {
        Self { slots: VecDeque::new(), before: decided }
    }

    /// The slot to propose next.
    pub(super) fn next(&self) -> Slot {
        self.before + self.slots.len() as u64 + 1
    }

    /// That slot is proposed.
    pub(super) fn propose(&mut self) -> Slot {
        self.slots.push_back(Commander::default());
        self.next() - 1
    }

    /// `from` has accepted these, durably. A slot is decided once `quorum` have; more are not news.
    pub(super) fn on_accepted(&mut self, from: NodeId, first: Slot, last: Slot, quorum: usize) {
        let start = first.saturating_since(self.before + 1) as usize;
        let end = (last.saturating_since(self.before) as usize).min(self.slots.len());
        for commander in self.slots.range_mut(start.min(end)..end) {
            commander.accepted = commander.accepted.with(from);
            commander.decided |= commander.accepted.len() >= quorum;
        }
    }

    /// Whether the first of them is decided, and so leaves.
    pub(super) fn pop_decided(&mut self) -> bool {
        let decided = self.slots.front().is_some_and(|commander| commander.decided);
        if decided {
            self.slots.pop_front();
            self.before += 1;
        }
        decided
    }

    /// How many are proposed and not decided, or wait for one that is not.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Who has accepted `slot`, if it is not decided.
    pub(super) fn undecided(&self, slot: Slot) -> Option<PeerSet> {
        let at = slot.0.checked_sub(self.before.0 + 1)?;
        let commander = self.slots.get(usize::try_from(at).ok()?)?;
        (!commander.decided).then_some(commander.accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_decided_in_any_order_and_leave_in_theirs() {
        let mut commanders = Commanders::new(Slot(4));
        let slots: Vec<_> = (0..3).map(|_| commanders.propose().0).collect();
        assert_eq!((slots.as_slice(), commanders.next()), ([5, 6, 7].as_slice(), Slot(8)));
        let mut accept = |from, first, last| commanders.on_accepted(NodeId(from), Slot(first), Slot(last), 2);
        accept(0, 5, 7);
        accept(0, 5, 7);
        accept(1, 6, 6);
        assert_eq!(commanders.undecided(Slot(6)), None, "two have accepted it");
        assert_eq!(commanders.undecided(Slot(7)), Some(PeerSet::first(1)), "twice the same is once");
        assert!(!commanders.pop_decided(), "slot 5 is not");
        commanders.on_accepted(NodeId(2), Slot(1), Slot(5), 2);
        assert!(commanders.pop_decided() && commanders.pop_decided() && !commanders.pop_decided());
        commanders.on_accepted(NodeId(2), Slot(1), Slot(6), 2);
        assert_eq!((commanders.len(), commanders.undecided(Slot(7))), (1, Some(PeerSet::first(1))));
    }
}
