//! Asynchronous rounds: every node has its turns by a clock of its own.
//!
//! A turn is an event on a timing wheel. A round is [`TICKS`] of its ticks, in which each node has one turn: at a phase
//! that is its own, and as clocks are, now a little early, now a little late. What a node met with since its last turn
//! has its effect in its next one, which is where a synchronous cycle would end for it.
//!
//! A contact is over at once, unless messages take their [time](super::trips).

use quorumbench_protocols::gossip::other;

use super::Trial;
use super::spread::Spread;
use super::trips::Trips;
use super::wheel::{TICKS, Wheel};
use crate::spec::Exchange;

/// How early or late a turn is at most, beside when it is due.
const JITTER: usize = 16;
/// Into how many parts of a round arrivals are counted.
pub(crate) const PARTS: usize = 64;

/// The epidemics of one trial.
pub(super) fn trial(spread: &mut Spread<'_>, go_on: &dyn Fn() -> bool) -> Option<Trial> {
    match (spread.updates[0].interests.is_some(), spread.gossip.exchange) {
        (false, Exchange::Push) => rounds::<false, true, false>(spread, go_on),
        (false, Exchange::Pull) => rounds::<false, false, true>(spread, go_on),
        (false, Exchange::PushPull) => rounds::<false, true, true>(spread, go_on),
        (true, Exchange::Push) => rounds::<true, true, false>(spread, go_on),
        (true, Exchange::Pull) => rounds::<true, false, true>(spread, go_on),
        (true, Exchange::PushPull) => rounds::<true, true, true>(spread, go_on),
    }
}

fn rounds<const RUMOR: bool, const PUSH: bool, const PULL: bool>(
    spread: &mut Spread<'_>,
    go_on: &dyn Fn() -> bool,
) -> Option<Trial> {
    let mut trips = (!spread.gossip.latency.is_zero()).then(|| Trips::new(spread));
    let mut trials = vec![Trial { parts: PARTS as u64, ..Trial::default() }; spread.updates.len()];
    let mut turns = Turns::new(spread);
    let is_plain = spread.is_plain();
    let mut rounds = 0;
    while !spread.is_over(rounds, trips.as_ref().is_some_and(Trips::carry_updates)) {
        if !go_on() {
            return None;
        }
        spread.lose_and_win(&mut trials);
        for _ in 0..PARTS {
            for _ in 0..TICKS / PARTS {
                if let Some(trips) = &mut trips {
                    turns.tick(spread, |spread, node| {
                        if begins_turn::<RUMOR, PUSH, PULL>(spread, node) {
                            trips.turn::<RUMOR, PUSH, PULL>(spread, node);
                        }
                    });
                    trips.tick::<RUMOR, PUSH, PULL>(spread);
                } else {
                    turns.tick(spread, |spread, node| {
                        if begins_turn::<RUMOR, PUSH, PULL>(spread, node) {
                            contact::<RUMOR, PUSH, PULL>(spread, node, is_plain);
                        }
                    });
                }
            }
            for (trial, update) in trials.iter_mut().zip(&mut spread.updates) {
                trial.arrivals.push(update.take_arrived());
            }
        }
        rounds += 1;
    }
    spread.finished(trials)
}

/// A node's cycle ends, and its next begins. Whether it chooses partners in it.
#[inline]
fn begins_turn<const RUMOR: bool, const PUSH: bool, const PULL: bool>(spread: &mut Spread<'_>, node: u32) -> bool {
    let mut chooses = RUMOR && PULL;
    if !spread.partners.members.is_up(node) {
        return false;
    }
    for update in &mut spread.updates {
        update.end_turn(node, spread.gossip, &mut spread.prng);
        chooses |= match (RUMOR, PUSH, PULL) {
            (false, false, true) => !update.known.has(node),
            (_, _, false) => update.spreaders().has(node),
            _ => true,
        };
    }
    chooses
}

/// What a node does in its turn is over at once.
#[inline]
fn contact<const RUMOR: bool, const PUSH: bool, const PULL: bool>(spread: &mut Spread<'_>, node: u32, is_plain: bool) {
    if !is_plain {
        return spread.turn::<RUMOR, PUSH, PULL>(node);
    }
    let (update, prng) = (&mut spread.updates[0], &mut spread.prng);
    spread.contacts += 1;
    let (partner, knows) = (other(node, spread.nodes as u32, prng), update.known.has(node));
    update.meet::<RUMOR, PUSH, PULL, true>(spread.gossip, prng, node, knows, partner);
}

/// Whose turn it is at which tick.
#[derive(Debug)]
struct Turns {
    wheel: Wheel<u32>,
    /// Random bits that are left of the last draw.
    bits: u64,
}

impl Turns {
    /// Each node has its first turn at a random time in the first round.
    fn new(spread: &mut Spread<'_>) -> Self {
        let mut wheel = Wheel::new(TICKS + JITTER);
        for node in 0..spread.nodes as u32 {
            wheel.plan(spread.prng.below(TICKS as u64) as usize, node);
        }
        Self { wheel, bits: 1 }
    }

    /// All turns of one tick.
    #[inline]
    fn tick<'a>(&mut self, spread: &mut Spread<'a>, mut turn: impl FnMut(&mut Spread<'a>, u32)) {
        let due = self.wheel.due();
        for &node in &due {
            turn(spread, node);
            let late = self.lateness(spread);
            self.wheel.plan(TICKS - JITTER + late, node);
        }
        self.wheel.pass(due);
    }

    /// Uniform in `0..2 * JITTER`.
    #[inline]
    fn lateness(&mut self, spread: &mut Spread<'_>) -> usize {
        const BITS: u32 = (2 * JITTER).trailing_zeros();
        // The highest bit that is set says how many are left.
        if self.bits >> BITS == 0 {
            self.bits = spread.prng.next_u64() | 1 << 63;
        }
        let late = self.bits as usize % (2 * JITTER);
        self.bits >>= BITS;
        late
    }
}
