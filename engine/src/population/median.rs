//! The median-counter algorithm: Karp, Schindelhauer, Shenker, Vöcking, *Randomized Rumor Spreading* (FOCS 2000),
//! section 3.

use quorumbench_protocols::Prng;
use quorumbench_protocols::gossip::Stages;

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

/// M is O(log log n): here as many cycles as the last half takes by pull, which squares the share of those who do not know.
pub(crate) fn stages(nodes: usize) -> Stages {
    Stages::new((nodes as f64).ln().log2().ceil().max(1.0) as u8)
}

impl<'a> Median<'a> {
    pub(super) fn new(nodes: usize, gossip: &'a Gossip) -> Self {
        Self {
            gossip,
            nodes,
            stages: stages(nodes),
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
        if !self.partners.members.begin(&mut self.prng, go_on) {
            return None;
        }
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
    fn there_are_as_many_states_as_the_last_half_takes() {
        assert_eq!([1, 2, 1000, 1_000_000, 100_000_000].map(|nodes| stages(nodes).most()), [1, 1, 3, 4, 5]);
    }
}
