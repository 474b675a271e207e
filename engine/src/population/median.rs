//! The median-counter algorithm: Karp, Schindelhauer, Shenker, Vöcking, *Randomized Rumor Spreading* (FOCS 2000),
//! section 3.

use quorumbench_protocols::Prng;

use super::Trial;
use super::bits::Bits;
use super::history::History;
use super::partners::Partners;
use super::spread::ORIGIN;
use crate::spec::Gossip;

/// Nodes among which one update spreads.
#[derive(Clone, Debug)]
pub(super) struct Median<'a> {
    gossip: &'a Gossip,
    nodes: usize,
    stages: Stages,
    /// Each node's state, as of the start of the cycle: A is 0, B-m is m, and then come the cycles in C, and D.
    states: Vec<u8>,
    /// Of each node's contacts in this cycle, how many more were newer than itself, or as new, than were not.
    newer: Vec<i16>,
    /// Who got the update from a node in B, and who from one in C.
    from_b: Bits,
    from_c: Bits,
    history: History,
    partners: Partners,
    prng: Prng,
}

/// Which states are which.
#[derive(Clone, Copy, Debug)]
struct Stages {
    /// M: how many of B there are, and cycles in C.
    most: u8,
}

impl Stages {
    /// M is O(log log n): here as many cycles as the last half takes by pull, which squares the share of those who do not
    /// know.
    fn new(nodes: usize) -> Self {
        Self { most: (nodes as f64).ln().log2().ceil().max(1.0) as u8 }
    }

    fn sends(self, state: u8) -> bool {
        state > 0 && state <= 2 * self.most
    }

    fn is_b(self, state: u8) -> bool {
        state > 0 && state <= self.most
    }

    /// The state after a cycle.
    fn next(self, state: u8, newer: i16, from_b: bool, from_c: bool) -> u8 {
        let first_c = self.most + 1;
        match state {
            0 if from_c => first_c,
            0 => u8::from(from_b),
            _ if self.is_b(state) && from_c => first_c,
            _ if self.is_b(state) => state + u8::from(newer > 0),
            _ => state + u8::from(self.sends(state)),
        }
    }
}

impl<'a> Median<'a> {
    pub(super) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            gossip,
            nodes,
            stages: Stages::new(nodes),
            states: vec![0; nodes],
            newer: vec![0; nodes],
            from_b: Bits::new(nodes),
            from_c: Bits::new(nodes),
            history: History::new(nodes, gossip.partners),
            partners: Partners::new(nodes, gossip),
            prng: Prng::new(0),
        }
    }

    /// One epidemic, until nobody sends any more; `None` if `go_on` is false.
    pub(super) fn trial(&mut self, prng: Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
        self.prng = prng;
        self.states.fill(0);
        self.states[ORIGIN as usize] = 1;
        self.history.clear();
        self.partners.members.begin(&mut self.prng);
        let mut trial = Trial::default();
        let mut cycles = 0;
        while cycles < self.partners.members.last_cycle() && self.states.iter().any(|&state| self.stages.sends(state)) {
            if !go_on() {
                return None;
            }
            self.lose_and_win(&mut trial);
            (0..self.nodes as u32).for_each(|node| self.turn(node, &mut trial));
            trial.arrivals.push(self.end_cycle());
            cycles += 1;
        }
        trial.down = self.nodes as u64 - self.partners.members.alive();
        trial.is_split = self.partners.members.is_split();
        Some(trial)
    }

    fn lose_and_win(&mut self, trial: &mut Trial) {
        if !self.partners.members.has_churn() {
            return;
        }
        self.partners.members.cycle(&mut self.prng);
        let gone = &self.partners.members.gone;
        let knew = gone.iter().filter(|&&node| std::mem::take(&mut self.states[node as usize]) > 0).count();
        gone.iter().for_each(|&node| self.history.forget(node));
        trial.departures.push(knew as u64);
    }

    /// A node calls its partners.
    fn turn(&mut self, node: u32, trial: &mut Trial) {
        if !self.partners.members.is_up(node) {
            return;
        }
        self.partners.begin_turn();
        for _ in 0..self.gossip.fanout {
            if let Some(partner) = self.partners.next(node, &self.history, &mut self.prng) {
                trial.contacts += 1;
                self.tell(node, partner, trial);
                self.tell(partner, node, trial);
            }
        }
    }

    /// One of the two says its state to the other, and sends the update with it if it is in a state to.
    fn tell(&mut self, from: u32, to: u32, trial: &mut Trial) {
        let [state, other] = [from, to].map(|node| self.states[node as usize]);
        if self.stages.sends(state) {
            trial.sent += 1;
            let is_lost = self.gossip.loss > 0.0 && self.prng.unit() < self.gossip.loss;
            let is_new = other == 0 && !is_lost && !self.from_b.has(to) && !self.from_c.has(to);
            self.history.note(from, to, is_new);
            if is_lost {
                return;
            }
            let came_from = if self.stages.is_b(state) { &mut self.from_b } else { &mut self.from_c };
            came_from.add(to);
        }
        let newer = &mut self.newer[to as usize];
        *newer = newer.saturating_add(if state >= other { 1 } else { -1 });
    }

    /// Who got the update, and what all made of whom they met.
    fn end_cycle(&mut self) -> u64 {
        let mut arrived = 0;
        for (node, (state, newer)) in (0..).zip(self.states.iter_mut().zip(&mut self.newer)) {
            let next = self.stages.next(*state, std::mem::take(newer), self.from_b.has(node), self.from_c.has(node));
            arrived += u64::from(*state == 0 && next > 0);
            *state = next;
        }
        self.from_b.clear();
        self.from_c.clear();
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_each_other_as_published() {
        let stages = Stages::new(1000);
        assert_eq!(stages.most, 3, "log2 ln 1000 = 2.8");
        let [a, b1, b3, c1, c3, d] = [0, 1, 3, 4, 6, 7];
        let next = |state, newer, from: &str| stages.next(state, newer, from.contains('B'), from.contains('C'));
        assert_eq!([next(a, 0, ""), next(a, 2, "B"), next(a, 1, "C"), next(a, 2, "BC")], [a, b1, c1, c1]);
        assert_eq!([next(b1, 1, "B"), next(b1, 0, "B"), next(b1, -1, ""), next(b1, -1, "C")], [2, b1, b1, c1]);
        assert_eq!([next(b3, 1, "B"), next(c1, -5, "B"), next(c3, 0, ""), next(d, 3, "BC")], [c1, 5, d, d]);
        assert_eq!([a, b1, b3, c1, c3, d].map(|state| stages.sends(state)), [false, true, true, true, true, false]);
        assert_eq!([1, 2, 1_000_000, 100_000_000].map(|nodes| Stages::new(nodes).most), [1, 1, 4, 5]);
    }
}
