//! Transaction identifiers.

use std::fmt;

/// A transaction's identifier: the epoch of the primary that broadcast it in the high half, that
/// primary's counter in the low half (DSN 2011, section III.B). They order all transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before all transactions: the history is empty.
    pub const ZERO: Self = Self(0);

    /// The `counter`th transaction of `epoch`, which is below 2^32.
    pub const fn new(epoch: u64, counter: u32) -> Self {
        Self(epoch << 32 | counter as u64)
    }

    /// Whose primary broadcast it.
    pub const fn epoch(self) -> u64 {
        self.0 >> 32
    }

    /// Which of that epoch's it is, from 1 on.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// How many more the primary of `epoch` may broadcast if this is the last that it has.
    pub const fn room(self, epoch: u64) -> u64 {
        if self.epoch() == epoch { (u32::MAX - self.counter()) as u64 } else { u32::MAX as u64 }
    }

    /// What the primary of `epoch` broadcasts next if this is the last that it has; `None` when its
    /// counter is full, and only a new epoch can go on.
    pub fn next(self, epoch: u64) -> Option<Self> {
        if self.epoch() == epoch {
            self.counter().checked_add(1).map(|counter| Self::new(epoch, counter))
        } else {
            Some(Self::new(epoch, 1))
        }
    }
}

/// Epoch and counter: `3.17`.
impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch(), self.counter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_counter_needs_a_new_epoch() {
        let last = Zxid::new(3, u32::MAX);
        assert_eq!((last.next(3), last.room(3)), (None, 0));
        assert_eq!(last.next(4), Some(Zxid::new(4, 1)));
        assert_eq!(Zxid::ZERO.next(1), Some(Zxid::new(1, 1)));
        assert!(last < Zxid::new(4, 1) && Zxid::new(3, 7) < last);
        assert_eq!(Zxid::new(3, 7).to_string(), "3.7");
    }
}
