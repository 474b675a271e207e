//! What the conductor asks of a replica while it runs, and how that gets there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quorumbench_protocols::LogSize;
use serde::{Deserialize, Serialize};

use crate::check::witness::ReplicaTrace;

use crate::remote::LogSizeDef;

/// What the conductor asks of one replica's thread while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// End, and lose every connection.
    Die,
    /// Hand leadership to another.
    Transfer {
        /// The node's id.
        to: u32,
    },
    /// Take no turns, with every connection open, until told otherwise.
    Pause {
        /// Whether to.
        on: bool,
    },
    /// Lose every frame, sent or received.
    Isolate {
        /// Whether to.
        on: bool,
    },
    /// Send everything so much later; zero for as before.
    SlowLink {
        /// By how much.
        extra: Duration,
    },
    /// Let each sync of the disk take so much longer; zero for as before.
    SlowDisk {
        /// By how much.
        extra: Duration,
    },
    /// Work at a fraction of the speed.
    Slow {
        /// Its inverse; 1 for as before.
        factor: u32,
    },
    /// Say when this slot is delivered: what others had when it came back.
    CatchUp {
        /// The slot.
        slot: u64,
    },
}

/// One replica's mailbox. The conductor puts in, the replica's thread looks in each turn.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Whether there is anything: all that a look costs where there is not.
    waiting: AtomicBool,
    queue: Mutex<VecDeque<Order>>,
}

impl Orders {
    /// Puts one in, behind the others.
    pub(super) fn send(&self, order: Order) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(order);
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Takes the first one out.
    pub(super) fn take(&self) -> Option<Order> {
        if !self.waiting.load(Ordering::Relaxed) {
            return None;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let order = queue.pop_front();
        self.waiting.store(!queue.is_empty(), Ordering::Relaxed);
        order
    }
}

/// Where a replica stands, as it says itself; of several groups, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The last slot that it was delivered, which is how many it was.
    pub(super) delivered: u64,
    /// What it keeps of its log in memory.
    #[serde(with = "LogSizeDef")]
    pub(super) kept: LogSize,
}

impl Standing {
    /// Of two groups together.
    pub(super) fn plus(self, other: Self) -> Self {
        let kept = LogSize { slots: self.kept.slots + other.kept.slots, bytes: self.kept.bytes + other.kept.bytes };
        Self { delivered: self.delivered + other.delivered, kept }
    }
}

/// One replica's [`Standing`], written by its thread each turn and read by the conductor, field by field.
#[derive(Debug, Default)]
pub(super) struct Board {
    delivered: AtomicU64,
    kept_slots: AtomicU64,
    kept_bytes: AtomicU64,
}

impl Board {
    pub(super) fn write(&self, standing: Standing) {
        self.delivered.store(standing.delivered, Ordering::Relaxed);
        self.kept_slots.store(standing.kept.slots, Ordering::Relaxed);
        self.kept_bytes.store(standing.kept.bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Standing {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let kept = LogSize { slots: read(&self.kept_slots), bytes: read(&self.kept_bytes) };
        Standing { delivered: read(&self.delivered), kept }
    }
}

/// What one replica applied and nobody has taken yet: emptied all the time where the replica may die and take its
/// own with it.
#[derive(Debug, Default)]
pub(super) struct Diary(Mutex<Vec<ReplicaTrace>>);

impl Diary {
    /// Adds the latest.
    pub(super) fn write(&self, latest: impl IntoIterator<Item = ReplicaTrace>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = latest.into_iter().filter(|latest| !latest.is_empty());
        latest.for_each(|latest| ReplicaTrace::of_group(&mut entries, latest.group).extend(latest));
    }

    /// Hands on what is there. Nobody else does meanwhile, so that all of it stays in order.
    pub(super) fn hand_on<T>(&self, to: impl FnOnce(Vec<ReplicaTrace>) -> T) -> T {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        to(std::mem::take(&mut *entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_out_as_they_went_in() {
        let orders = Orders::default();
        assert_eq!(orders.take(), None);
        let sent = [Order::Pause { on: true }, Order::Slow { factor: 10 }, Order::Die];
        sent.into_iter().for_each(|order| orders.send(order));
        assert_eq!(std::iter::from_fn(|| orders.take()).collect::<Vec<_>>(), sent);
        assert_eq!(orders.take(), None);
    }
}
