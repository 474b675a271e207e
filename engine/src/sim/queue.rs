//! What is to happen, in order: by time, and at the same time in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use quorumbench_protocols::Nanos;

/// A queue of events. The heap holds one number an event (its time, its place in the order of
/// planning, and where the event lies), so that sifting moves 16 bytes and compares once.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<u128>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    planned: u64,
}

/// Bits of a key for where the event lies: so many can be planned at once.
const PLACE_BITS: u32 = 24;

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::with_capacity(1024), events: Vec::new(), free: Vec::new(), planned: 0 }
    }

    pub(crate) fn push(&mut self, at: Nanos, event: E) {
        let place = if let Some(place) = self.free.pop() {
            self.events[place as usize] = Some(event);
            place
        } else {
            self.events.push(Some(event));
            self.events.len() as u32 - 1
        };
        assert!(place < 1 << PLACE_BITS, "a world plans less than {} events ahead", 1 << PLACE_BITS);
        self.planned += 1;
        let key = u128::from(at.0) << 64 | u128::from(self.planned) << PLACE_BITS | u128::from(place);
        self.heap.push(Reverse(key));
    }

    /// When the next event is, if any is planned.
    pub(crate) fn next_at(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(key)| Nanos((key >> 64) as u64))
    }

    pub(crate) fn pop(&mut self) -> Option<(Nanos, E)> {
        let Reverse(key) = self.heap.pop()?;
        let place = key as u32 & ((1 << PLACE_BITS) - 1);
        self.free.push(place);
        let event = self.events[place as usize].take().expect("an event lies where its key says");
        Some((Nanos((key >> 64) as u64), event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_first_then_order() {
        let mut queue = Queue::new();
        for (at, event) in [(5, "c"), (3, "a"), (5, "d"), (4, "b")] {
            queue.push(Nanos(at), event);
        }
        assert_eq!(queue.next_at(), Some(Nanos(3)));
        assert_eq!(queue.pop(), Some((Nanos(3), "a")));
        queue.push(Nanos(5), "e");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(rest, ["b", "c", "d", "e"]);
    }
}
