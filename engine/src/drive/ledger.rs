//! What a replica has used and done so far, said again and again while it lives: who is killed gives no account.

use std::sync::{Mutex, PoisonError};

use quorumbench_protocols::Slot;
use serde::{Deserialize, Serialize};

use super::part::Account;

/// What a replica says of itself where it may die.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SoFar {
    /// Of all of its life.
    pub(super) account: Account,
    /// How far it was delivered by then.
    pub(super) reach: Reach,
    /// How long each write of its log took since it last said so, in nanoseconds.
    pub(super) log_writes: Vec<u64>,
}

/// How far a replica was delivered, by consensus group. In its next life it is delivered that again from its log, and what
/// each slot cost is divided by slots that were decided once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reach(Vec<u64>);

impl Reach {
    /// In which slot of a group that is.
    pub(super) fn at(&self, group: usize) -> Slot {
        self.0.get(group).copied().map_or(Slot::ZERO, Slot)
    }

    /// Another life came so far: perhaps not as far as those before it.
    pub(super) fn add(&mut self, life: &Self) {
        self.0.resize(self.0.len().max(life.0.len()), 0);
        self.0.iter_mut().zip(&life.0).for_each(|(most, &slot)| *most = slot.max(*most));
    }
}

impl FromIterator<Slot> for Reach {
    fn from_iter<T: IntoIterator<Item = Slot>>(groups: T) -> Self {
        Self(groups.into_iter().map(|slot| slot.0).collect())
    }
}

/// Where a replica's thread leaves that, for another one to hand on.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Option<SoFar>>);

impl Ledger {
    /// The account as it is now, how far the replica was delivered, and what was written since the last one.
    pub(super) fn write(&self, account: &Account, reach: Reach, log_writes: &[u64]) {
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = page.get_or_insert_default();
        (so_far.account, so_far.reach) = (*account, reach);
        so_far.log_writes.extend_from_slice(log_writes);
    }

    /// What is new since this was last asked, if anything is.
    pub(super) fn take(&self) -> Option<SoFar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_reach_as_far_as_the_furthest() {
        let reach = |slots: &[u64]| slots.iter().copied().map(Slot).collect::<Reach>();
        let mut all = Reach::default();
        [reach(&[7, 3]), Reach::default(), reach(&[2, 5])].iter().for_each(|life| all.add(life));
        assert_eq!((all.at(0), all.at(1), all.at(2)), (Slot(7), Slot(5), Slot::ZERO));
    }
}
