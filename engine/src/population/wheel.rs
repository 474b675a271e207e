//! A timing wheel (Varghese, Lauck, *Hashed and Hierarchical Timing Wheels*, SOSP 1987): what is due at which tick.

use std::mem;

/// Ticks of a round.
pub(super) const TICKS: usize = 1024;

/// Events by the tick that they are due at. Those of one tick are due at once, in the order in which they were planned.
#[derive(Debug)]
pub(super) struct Wheel<E> {
    slots: Vec<Vec<E>>,
    now: usize,
}

impl<E> Wheel<E> {
    /// Nothing is planned. Events are planned at most so many ticks ahead.
    pub(super) fn new(ahead: usize) -> Self {
        let slots = (ahead + 1).next_power_of_two();
        Self { slots: (0..slots).map(|_| Vec::new()).collect(), now: 0 }
    }

    /// Plans an event, so many ticks from now: 1 at the least, once the first tick has passed.
    #[inline]
    pub(super) fn plan(&mut self, ticks: usize, event: E) {
        let mask = self.slots.len() - 1;
        self.slots[(self.now + ticks) & mask].push(event);
    }

    /// Takes what is due now, to be given back when this tick is [over](Self::pass).
    #[inline]
    pub(super) fn due(&mut self) -> Vec<E> {
        let mask = self.slots.len() - 1;
        mem::take(&mut self.slots[self.now & mask])
    }

    /// The tick is over, with all that was due: its memory is for the next turn of the wheel.
    #[inline]
    pub(super) fn pass(&mut self, mut due: Vec<E>) {
        due.clear();
        let mask = self.slots.len() - 1;
        self.slots[self.now & mask] = due;
        self.now += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_due_when_it_was_planned_for() {
        let mut wheel = Wheel::new(5);
        let mut seen = Vec::new();
        (0..6).for_each(|ticks| wheel.plan(ticks, ticks));
        for now in 0..20 {
            let due = wheel.due();
            for &event in &due {
                seen.push((now, event));
                wheel.plan(5, event);
            }
            wheel.pass(due);
        }
        let expected = (0..20).filter(|now| now % 5 < 6).flat_map(|now| {
            let again = (0..6).filter(move |first| *first <= now && (now - first) % 5 == 0);
            again.map(move |first| (now, first))
        });
        let mut expected: Vec<(usize, usize)> = expected.collect();
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }
}
