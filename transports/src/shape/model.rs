//! What a link does to what passes over it, as arithmetic: no clock, no thread, and the same on every machine.

use std::time::Duration;

use quorumbench_protocols::{Nanos, Prng};

use super::jitter::Distribution;

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkModel {
    /// From the moment at which the last byte has left.
    pub delay: Duration,
    /// The mean of what comes on top.
    pub jitter: Duration,
    /// How that is distributed. Whatever it is, what is sent later does not arrive earlier for it.
    pub distribution: Distribution,
    /// Bytes a second; `None` for no bound.
    pub rate: Option<u64>,
    /// Bytes that may wait for their turn where there is a rate. What comes then is dropped from the tail. `None` for
    /// no bound.
    pub queue: Option<u64>,
    /// The share that is lost on the way, 0 to 1.
    pub loss: f64,
    /// How many times longer the runs of losses are than if each were alone, 1 or more: that is their mean length
    /// where loss is rare. The model is Gilbert's (*Capacity of a Burst-Noise Channel*, BSTJ 1960), with everything
    /// lost in its bad state and nothing in its good one.
    pub loss_burst: f64,
    /// The share that is held back, 0 to 1: it arrives [`reorder_delay`](Self::reorder_delay) later, past what is sent
    /// meanwhile, which does not wait for it.
    pub reorder: f64,
    /// For how long.
    pub reorder_delay: Duration,
}

impl LinkModel {
    /// A link that delays and does nothing else.
    pub const fn late(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            distribution: Distribution::Exponential,
            rate: None,
            queue: None,
            loss: 0.0,
            loss_burst: 1.0,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
        }
    }

    /// Whether it does nothing at all.
    pub fn is_idle(&self) -> bool {
        let late = [self.delay, self.jitter].iter().any(|time| !time.is_zero());
        !late && self.rate.is_none() && self.loss <= 0.0 && self.reorder <= 0.0
    }
}

/// What becomes of a frame or a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then: after all that did before it, unless that was held back.
    Arrives(Nanos),
    /// It arrives then: after all that was held back before it, and what is sent later may arrive earlier.
    HeldBack(Nanos),
    /// It is lost on its way.
    Lost,
    /// It is dropped: too much waits for its turn.
    Full,
}

/// A link at work: its model, its dice, and when it is free.
#[derive(Clone, Debug)]
pub struct LinkState {
    delay_ns: u64,
    jitter_ns: u64,
    distribution: Distribution,
    line: Option<Line>,
    /// By whether the last one was lost: the chance that the next one is, in parts of 2^64.
    loss: [u64; 2],
    lost: bool,
    reorder: u64,
    reorder_ns: u64,
    /// When the latest that keeps its order arrives.
    last: Nanos,
    /// When the latest that is held back does.
    last_held_back: Nanos,
    /// One each, so that what is lost does not depend on how jittery the link is.
    loss_dice: Prng,
    jitter_dice: Prng,
    reorder_dice: Prng,
}

impl LinkState {
    /// A link on which nothing was sent yet.
    ///
    /// # Panics
    /// If a share is none, or a rate is zero.
    pub fn new(model: &LinkModel, seed: u64) -> Self {
        let LinkModel { loss, loss_burst, reorder, .. } = *model;
        assert!((0.0..=1.0).contains(&loss) && (0.0..=1.0).contains(&reorder) && loss_burst >= 1.0, "{model:?}");
        let dice = Prng::new(seed);
        Self {
            delay_ns: nanos(model.delay),
            jitter_ns: nanos(model.jitter),
            distribution: model.distribution,
            line: model.rate.map(|rate| Line::new(rate, model.queue)),
            // The good state is left as often as it takes for the share of the bad one to be `loss`.
            loss: [chance(loss / loss_burst), chance(1.0 - (1.0 - loss) / loss_burst)],
            lost: false,
            reorder: chance(reorder),
            reorder_ns: nanos(model.reorder_delay),
            last: Nanos::ZERO,
            last_held_back: Nanos::ZERO,
            loss_dice: dice.fork(0),
            jitter_dice: dice.fork(1),
            reorder_dice: dice.fork(2),
        }
    }

    /// What becomes of `bytes` that are sent now.
    pub fn pass(&mut self, now: Nanos, bytes: usize) -> Fate {
        let left = match &mut self.line {
            None => now,
            Some(line) => match line.pass(now, bytes) {
                Some(left) => left,
                None => return Fate::Full,
            },
        };
        if self.loses() {
            return Fate::Lost;
        }
        let jitter_ns = match self.jitter_ns {
            0 => 0,
            mean_ns => self.distribution.draw(mean_ns, &mut self.jitter_dice),
        };
        let at = self.last.max(left.later(self.delay_ns).later(jitter_ns));
        if self.reorder > 0 && self.reorder_dice.next_u64() < self.reorder {
            self.last_held_back = self.last_held_back.max(at.later(self.reorder_ns));
            return Fate::HeldBack(self.last_held_back);
        }
        self.last = at;
        Fate::Arrives(at)
    }

    /// Whether all that has passed has arrived by now. What comes next passes as over a link that is new, but for how long
    /// runs of losses are.
    pub fn is_at_rest(&self, now: Nanos) -> bool {
        let is_free = self.line.as_ref().is_none_or(|line| line.free_at <= now);
        is_free && self.last.max(self.last_held_back) <= now
    }

    fn loses(&mut self) -> bool {
        if self.loss[0] > 0 {
            self.lost = self.loss_dice.next_u64() < self.loss[usize::from(self.lost)];
        }
        self.lost
    }
}

/// One byte after the other.
#[derive(Clone, Debug)]
struct Line {
    rate: u64,
    /// How long may be waited for one's turn.
    patience_ns: u64,
    /// When the last byte so far has left.
    free_at: Nanos,
    /// What is left of a nanosecond, in parts of one by `rate`: many small frames take as long as one big one.
    rest: u64,
}

impl Line {
    fn new(rate: u64, queue: Option<u64>) -> Self {
        assert!(rate > 0, "a line moves");
        let patience = |queue: u64| u128::from(queue) * NANOS_PER_SECOND / u128::from(rate);
        let patience_ns = queue.map_or(u64::MAX, |queue| patience(queue).min(u128::from(u64::MAX)) as u64);
        Self { rate, patience_ns, free_at: Nanos::ZERO, rest: 0 }
    }

    /// When the last of `bytes` has left; `None` if they are not taken.
    fn pass(&mut self, now: Nanos, bytes: usize) -> Option<Nanos> {
        if self.free_at <= now {
            (self.free_at, self.rest) = (now, 0);
        } else if self.free_at.0 - now.0 > self.patience_ns {
            return None;
        }
        let parts = bytes as u128 * NANOS_PER_SECOND + u128::from(self.rest);
        let rate = u128::from(self.rate);
        (self.free_at, self.rest) = (self.free_at.later((parts / rate) as u64), (parts % rate) as u64);
        Some(self.free_at)
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

fn nanos(time: Duration) -> u64 {
    time.as_nanos().min(u128::from(u64::MAX)) as u64
}

/// In parts of 2^64. A certainty is off by one of them.
fn chance(share: f64) -> u64 {
    (share * 2_f64.powi(64)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn late() -> LinkModel {
        LinkModel::late(MS)
    }

    /// The fates of a hundred thousand frames of 1000 bytes, one every microsecond.
    fn fates(model: &LinkModel) -> Vec<Fate> {
        let mut link = LinkState::new(model, 7);
        (0..100_000).map(|number| link.pass(sent(number), 1000)).collect()
    }

    fn sent(number: usize) -> Nanos {
        Nanos(number as u64 * 1000)
    }

    /// How long each was under way that was not lost.
    fn ways(fates: &[Fate]) -> Vec<u64> {
        let way = |(number, fate): (usize, &Fate)| match *fate {
            Fate::Arrives(at) | Fate::HeldBack(at) => Some(at.0 - sent(number).0),
            Fate::Lost | Fate::Full => None,
        };
        fates.iter().enumerate().filter_map(way).collect()
    }

    fn is_about(measured: f64, expected: f64, tolerance: f64) {
        assert!((measured / expected - 1.0).abs() < tolerance, "{measured} is not about {expected}");
    }

    #[test]
    fn a_delay_is_exact_and_a_seed_is_a_fate() {
        assert!(ways(&fates(&late())).iter().all(|&way| way == 1_000_000));
        assert!(LinkModel::late(Duration::ZERO).is_idle() && !late().is_idle());
        let model = LinkModel { jitter: MS, loss: 0.1, reorder: 0.1, reorder_delay: MS, ..late() };
        assert_eq!(fates(&model), fates(&model));
        let mut other = LinkState::new(&model, 8);
        assert_ne!(fates(&model)[..100], (0..100).map(|at| other.pass(sent(at), 1000)).collect::<Vec<_>>()[..]);
    }

    #[test]
    fn jitter_has_its_mean_and_keeps_the_order() {
        use Distribution::{Exponential, Normal, Pareto, Uniform};
        for distribution in [Uniform, Normal, Exponential, Pareto] {
            let model = LinkModel { jitter: MS / 10, distribution, ..late() };
            let mut link = LinkState::new(&model, 7);
            // So far apart that none waits for the one before it.
            let seconds = |number: u64| Nanos(number * 1_000_000_000);
            let ways = (0..100_000).map(|number| match link.pass(seconds(number), 1) {
                Fate::Arrives(at) => at.0 - seconds(number).0,
                fate => panic!("{fate:?}"),
            });
            let (mut sum, mut least) = (0, u64::MAX);
            ways.for_each(|way| (sum, least) = (sum + way, least.min(way)));
            is_about(sum as f64 / 100_000.0 - 1e6, 1e5, 0.02);
            assert!(least >= 1_000_000);
            let arrivals = fates(&model);
            assert!(arrivals.windows(2).all(|pair| matches!((pair[0], pair[1]),
                (Fate::Arrives(one), Fate::Arrives(next)) if one <= next)));
        }
    }

    #[test]
    fn loss_is_the_share_that_was_asked_for_however_it_comes() {
        for loss_burst in [1.0, 2.5, 20.0] {
            let loss = 0.05;
            let fates = fates(&LinkModel { loss, loss_burst, ..late() });
            let lost = fates.iter().filter(|&&fate| fate == Fate::Lost).count() as f64;
            // Runs make the share of a sample less certain.
            is_about(lost / 1e5, loss, 0.03 * loss_burst.max(1.0).sqrt());
            let runs = fates.windows(2).filter(|pair| pair[0] != Fate::Lost && pair[1] == Fate::Lost).count() as f64;
            is_about(lost / runs, loss_burst / (1.0 - loss), 0.05 * loss_burst.max(1.0).sqrt());
        }
        let all = fates(&LinkModel { loss: 1.0, ..late() });
        assert!(all.iter().all(|&fate| fate == Fate::Lost));
    }

    #[test]
    fn loss_does_not_depend_on_what_else_the_link_does() {
        let lossy = LinkModel { loss: 0.1, ..late() };
        let lost = |model| fates(&model).iter().map(|&fate| fate == Fate::Lost).collect::<Vec<_>>();
        assert_eq!(lost(lossy), lost(LinkModel { jitter: MS, reorder: 0.1, rate: Some(1 << 20), ..lossy }));
    }

    #[test]
    fn what_is_held_back_is_overtaken() {
        let fates = fates(&LinkModel { reorder: 0.02, reorder_delay: 5 * MS, ..late() });
        let held = fates.iter().filter(|fate| matches!(fate, Fate::HeldBack(_))).count() as f64;
        is_about(held / 1e5, 0.02, 0.1);
        for (number, &fate) in fates.iter().enumerate() {
            let expected = if matches!(fate, Fate::HeldBack(_)) { 6_000_000 } else { 1_000_000 };
            let (Fate::Arrives(at) | Fate::HeldBack(at)) = fate else { panic!("{fate:?}") };
            assert_eq!(at.0 - sent(number).0, expected);
        }
    }

    #[test]
    fn a_rate_is_kept_to_the_byte() {
        // 1000 bytes a microsecond are offered, and three quarters of that is carried.
        let fates = fates(&LinkModel { rate: Some(750_000_000), ..late() });
        let Some(Fate::Arrives(last)) = fates.last() else { panic!("nothing is lost") };
        assert_eq!(last.0, 100_000 * 4_000 / 3 + 1_000_000);
        // Over a link that is fast enough each takes its own time, and none waits.
        let ways = ways(&self::fates(&LinkModel { rate: Some(2_000_000_000), ..late() }));
        assert!(ways.iter().all(|&way| way == 1_000_500));
    }

    #[test]
    fn a_link_is_at_rest_when_the_last_has_arrived() {
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let rests = |model: LinkModel| {
            let mut link = LinkState::new(&model, 7);
            assert!(link.is_at_rest(at(0)));
            link.pass(at(0), 1000);
            (0..100).find(|&ms| link.is_at_rest(at(ms))).expect("at some time")
        };
        let rate = Some(100_000);
        assert_eq!([rests(late()), rests(LinkModel { rate, ..late() })], [1, 11]);
        assert_eq!(rests(LinkModel { rate, loss: 1.0, ..late() }), 10, "what is lost takes its time on the line");
        assert_eq!(rests(LinkModel { reorder: 1.0, reorder_delay: 5 * MS, ..late() }), 6);
    }

    #[test]
    fn a_queue_has_an_end() {
        let (rate, queue) = (500_000_000, 100_000);
        let fates = fates(&LinkModel { rate: Some(rate), queue: Some(queue), ..late() });
        let dropped = fates.iter().filter(|&&fate| fate == Fate::Full).count() as f64;
        is_about(dropped / 1e5, 0.5, 0.01);
        let longest = ways(&fates).into_iter().max().expect("some arrive");
        // All that may wait, itself, and the delay.
        is_about(longest as f64, (queue + 1000) as f64 * 2.0 + 1e6, 0.001);
    }
}
