//! The slot log: what a node has written down, in order, from the first slot that it still keeps.

use std::collections::VecDeque;

use crate::io::{Delivery, DeliveryKind, Outbox};
use crate::wire::{Payload, Slot};

/// A dense run of slots. Everything up to [`trimmed`](Self::trimmed) was let go, because nobody
/// will ask for it again; its last stamp is kept, so that the slot after it can still be matched.
#[derive(Debug)]
pub struct SlotLog {
    entries: VecDeque<Entry>,
    /// The last slot let go; 0 at first, which every log shares.
    trimmed: Slot,
    trimmed_stamp: u64,
    /// Payload bytes held.
    bytes: usize,
}

/// What stands in a slot.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The term, ballot or epoch in which it was written.
    pub stamp: u64,
    /// What its delivery will be: a client's batch, or what the protocol put there itself. A log
    /// holds no [`DeliveryKind::Snapshot`].
    pub kind: DeliveryKind,
    /// The client's batch; empty in a no-op.
    pub body: Payload,
}

impl Default for SlotLog {
    fn default() -> Self {
        Self { entries: VecDeque::new(), trimmed: Slot::ZERO, trimmed_stamp: 0, bytes: 0 }
    }
}

impl SlotLog {
    /// Writes the next slot and says which it is.
    pub fn append(&mut self, entry: Entry) -> Slot {
        self.bytes += entry.body.len();
        self.entries.push_back(entry);
        self.last()
    }

    /// Forgets everything after `slot`: a newer leader wrote something else there.
    ///
    /// # Panics
    /// If `slot` was itself let go.
    pub fn truncate_after(&mut self, slot: Slot) {
        assert!(slot >= self.trimmed, "what was trimmed was agreed on; it cannot be overwritten");
        let keep = slot.saturating_since(self.trimmed) as usize;
        while self.entries.len() > keep {
            self.bytes -= self.entries.pop_back().map_or(0, |entry| entry.body.len());
        }
    }

    /// Lets go of everything up to and with `slot`, or of all there is.
    pub fn trim_to(&mut self, slot: Slot) {
        while self.trimmed < slot
            && let Some(entry) = self.entries.pop_front()
        {
            self.trimmed += 1;
            self.trimmed_stamp = entry.stamp;
            self.bytes -= entry.body.len();
        }
    }

    /// Forgets everything: the log now begins after `slot`, which a snapshot covers.
    pub fn reset(&mut self, slot: Slot, stamp: u64) {
        *self = Self { entries: VecDeque::new(), trimmed: slot, trimmed_stamp: stamp, bytes: 0 };
    }

    /// Hands out what follows `delivered`, up to and with `upto` or as far as the log is kept.
    pub(crate) fn deliver(&self, delivered: &mut Slot, upto: Slot, out: &mut Outbox) {
        while *delivered < upto {
            let slot = *delivered + 1;
            let Some(entry) = self.get(slot) else { return };
            out.deliveries.push(Delivery { slot, kind: entry.kind, body: entry.body.clone() });
            *delivered = slot;
        }
    }

    /// What stands in `slot`, if it is kept.
    pub fn get(&self, slot: Slot) -> Option<&Entry> {
        let index = slot.0.checked_sub(self.trimmed.0 + 1)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// The stamp of `slot`, if it is kept or the last one let go.
    pub fn stamp(&self, slot: Slot) -> Option<u64> {
        if slot == self.trimmed { Some(self.trimmed_stamp) } else { self.get(slot).map(|entry| entry.stamp) }
    }

    /// The last slot up to `slot` whose stamp is at most `stamp`, or [`trimmed`](Self::trimmed) if
    /// all that is kept is newer. Stamps never fall along a log, so this is a binary search.
    pub fn last_at_most(&self, slot: Slot, stamp: u64) -> Slot {
        let upto = slot.saturating_since(self.trimmed) as usize;
        self.trimmed + self.entries.partition_point(|entry| entry.stamp <= stamp).min(upto) as u64
    }

    /// The last slot written.
    pub fn last(&self) -> Slot {
        self.trimmed + self.entries.len() as u64
    }

    /// The stamp of the last slot written.
    pub fn last_stamp(&self) -> u64 {
        self.entries.back().map_or(self.trimmed_stamp, |entry| entry.stamp)
    }

    /// The last slot let go.
    pub fn trimmed(&self) -> Slot {
        self.trimmed
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn log(stamps: &[u64]) -> SlotLog {
        let mut log = SlotLog::default();
        for &stamp in stamps {
            log.append(Entry { stamp, kind: DeliveryKind::Batch, body: Bytes::from_static(b"four").into() });
        }
        log
    }

    #[test]
    fn slots_count_from_one() {
        let log = log(&[1, 1, 3]);
        assert_eq!((log.last(), log.last_stamp(), log.bytes()), (Slot(3), 3, 12));
        assert_eq!((log.stamp(Slot(0)), log.stamp(Slot(2)), log.stamp(Slot(4))), (Some(0), Some(1), None));
    }

    #[test]
    fn truncation_and_trimming_meet_in_the_middle() {
        let mut log = log(&[1, 1, 2, 2, 3]);
        log.truncate_after(Slot(4));
        log.trim_to(Slot(2));
        assert_eq!((log.trimmed(), log.last(), log.bytes()), (Slot(2), Slot(4), 8));
        assert_eq!((log.stamp(Slot(1)), log.stamp(Slot(2)), log.stamp(Slot(3))), (None, Some(1), Some(2)));
        log.trim_to(Slot(99));
        assert_eq!((log.last(), log.last_stamp(), log.bytes()), (Slot(4), 2, 0));
        assert_eq!(log.append(Entry { stamp: 5, kind: DeliveryKind::Noop, body: Payload::EMPTY }), Slot(5));
    }

    #[test]
    fn finds_the_end_of_a_stamp() {
        let mut log = log(&[1, 1, 3, 3, 4]);
        assert_eq!(log.last_at_most(Slot(9), 3), Slot(4));
        assert_eq!(log.last_at_most(Slot(3), 3), Slot(3));
        assert_eq!(log.last_at_most(Slot(5), 2), Slot(2));
        assert_eq!(log.last_at_most(Slot(5), 0), Slot(0));
        log.trim_to(Slot(3));
        assert_eq!(log.last_at_most(Slot(5), 1), Slot(3), "what was let go is common to all");
        assert_eq!(log.last_at_most(Slot(1), 4), Slot(3));
    }

    #[test]
    #[should_panic(expected = "agreed")]
    fn what_was_trimmed_cannot_be_overwritten() {
        let mut log = log(&[1, 1]);
        log.trim_to(Slot(2));
        log.truncate_after(Slot(1));
    }
}
