//! What a replica has used and done so far, said again and again while it lives: who is killed gives no account.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::part::Account;

/// What a replica says of itself where it may die.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SoFar {
    /// Of all of its life.
    pub(super) account: Account,
    /// How long each write of its log took since it last said so, in nanoseconds.
    pub(super) log_writes: Vec<u64>,
}

/// Where a replica's thread leaves that, for another one to hand on.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Option<SoFar>>);

impl Ledger {
    /// The account as it is now, and what was written since the last one.
    pub(super) fn write(&self, account: &Account, log_writes: &[u64]) {
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = page.get_or_insert_default();
        so_far.account = *account;
        so_far.log_writes.extend_from_slice(log_writes);
    }

    /// What is new since this was last asked, if anything is.
    pub(super) fn take(&self) -> Option<SoFar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
