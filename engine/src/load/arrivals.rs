//! When commands are due.

use quorumbench_protocols::{Nanos, Prng};

/// How an open loop's commands are spread over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Independent users: exponential gaps.
    Poisson,
    /// A metronome.
    Constant,
}

/// An open loop's intended send times: an absolute schedule, which never waits for an answer.
///
/// The sum of gaps is kept in floating point and rounded only when a time is read, so a rate that
/// does not divide a nanosecond does not drift.
#[derive(Clone, Debug)]
pub struct Arrivals {
    schedule: Schedule,
    mean_gap_ns: f64,
    begin: Nanos,
    /// When the next command is due, in nanoseconds after `begin`.
    next_ns: f64,
    prng: Prng,
}

impl Arrivals {
    /// `rate` commands a second from `begin` on.
    ///
    /// # Panics
    /// If `rate` is not a positive number.
    pub fn new(schedule: Schedule, rate: f64, begin: Nanos, seed: u64) -> Self {
        assert!(rate > 0.0 && rate.is_finite(), "a rate is a positive number");
        let mut arrivals = Self { schedule, mean_gap_ns: 1e9 / rate, begin, next_ns: 0.0, prng: Prng::new(seed) };
        arrivals.next_ns = arrivals.gap();
        arrivals
    }

    /// When the next command is due.
    pub fn next(&self) -> Nanos {
        self.begin + self.next_ns as u64
    }

    /// The next command, if it is due by `now`: its intended time.
    pub fn take_due(&mut self, now: Nanos) -> Option<Nanos> {
        let due = self.next();
        (due <= now).then(|| {
            self.next_ns += self.gap();
            due
        })
    }

    fn gap(&mut self) -> f64 {
        match self.schedule {
            Schedule::Constant => self.mean_gap_ns,
            // The inverse of the exponential's distribution function; `1 - unit` is never zero.
            Schedule::Poisson => -(1.0 - self.prng.unit()).ln() * self.mean_gap_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_absolute() {
        for schedule in [Schedule::Poisson, Schedule::Constant] {
            let collect = |step: u64| {
                let mut arrivals = Arrivals::new(schedule, 300_000.0, Nanos(1000), 4);
                let due = (1..=1_000_000 / step).flat_map(|turn| {
                    let now = Nanos(1000 + turn * step);
                    std::iter::from_fn(|| arrivals.take_due(now)).collect::<Vec<_>>()
                });
                due.collect::<Vec<_>>()
            };
            assert_eq!(collect(100), collect(50_000), "however rarely it is looked at");
        }
    }

    #[test]
    fn poisson_gaps_have_the_exponentials_mean_and_deviation() {
        let mut arrivals = Arrivals::new(Schedule::Poisson, 1e6, Nanos(0), 9);
        let times: Vec<_> = std::iter::from_fn(|| arrivals.take_due(Nanos::NEVER)).take(200_000).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean / 1000.0 - 1.0).abs() < 0.01, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.02, "{deviation}");
    }
}
