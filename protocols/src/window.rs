//! The in-flight window: how far a sender may run ahead of acknowledgements.

use crate::wire::Slot;

/// Slots sent and not yet acknowledged, at most `depth` of them.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    depth: u64,
    acknowledged: Slot,
    next: Slot,
}

impl Window {
    /// Nothing in flight; everything up to `acknowledged` is settled.
    pub fn new(depth: usize, acknowledged: Slot) -> Self {
        Self { depth: depth as u64, acknowledged, next: acknowledged + 1 }
    }

    /// Everything up to `acknowledged` is settled, and what stands between that and `next` is in
    /// flight already, even if that is more than `depth`.
    pub fn resume(depth: usize, acknowledged: Slot, next: Slot) -> Self {
        Self { depth: depth as u64, acknowledged, next: next.max(acknowledged + 1) }
    }

    /// Puts the next slot in flight and says which it is; `None` when the window is full.
    pub fn send(&mut self) -> Option<Slot> {
        (self.room() > 0).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Everything up to `slot` is settled. Older news changes nothing, and an acknowledgement of
    /// what was never sent moves the window there.
    pub fn acknowledge(&mut self, slot: Slot) {
        self.acknowledged = self.acknowledged.max(slot);
        self.next = self.next.max(self.acknowledged + 1);
    }

    /// How many more may be sent now.
    pub fn room(&self) -> usize {
        (self.depth - self.in_flight().min(self.depth)) as usize
    }

    /// Slots sent and not acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.next.0 - 1 - self.acknowledged.0
    }

    /// The slot that goes next.
    pub fn next(&self) -> Slot {
        self.next
    }

    /// The last settled slot.
    pub fn acknowledged(&self) -> Slot {
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_and_drains() {
        let mut window = Window::new(2, Slot(10));
        assert_eq!((window.send(), window.send(), window.send()), (Some(Slot(11)), Some(Slot(12)), None));
        window.acknowledge(Slot(11));
        assert_eq!((window.room(), window.in_flight()), (1, 1));
        window.acknowledge(Slot(5));
        assert_eq!(window.acknowledged(), Slot(11), "an old acknowledgement does not go back");
        assert_eq!(window.send(), Some(Slot(13)));
        window.acknowledge(Slot(20));
        assert_eq!((window.next(), window.in_flight()), (Slot(21), 0));
    }

    #[test]
    fn resumes_with_more_in_flight_than_it_would_send() {
        let mut window = Window::resume(2, Slot(10), Slot(14));
        assert_eq!((window.in_flight(), window.send()), (3, None));
        window.acknowledge(Slot(12));
        assert_eq!(window.send(), Some(Slot(14)));
    }
}
