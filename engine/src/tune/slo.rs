//! What has to hold: `p99<5ms`, or `rounds_p99<12,residue<1e-4`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Goal, Observation};
use crate::spec::{duration_ns, nearest};

/// Conditions that hold all at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    conditions: Vec<Condition>,
    text: String,
    accepts_send_lag: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Condition {
    metric: &'static Metric,
    /// Whether the limit itself will do.
    inclusive: bool,
    /// In nanoseconds where it is a time.
    limit: f64,
}

/// What a condition can be about.
#[derive(Debug, PartialEq)]
struct Metric {
    name: &'static str,
    goal: Goal,
    is_time: bool,
    /// Whether more of it is better.
    more: bool,
    /// The best that it can be.
    best: f64,
}

const fn time(name: &'static str) -> Metric {
    Metric { name, goal: Goal::MaxThroughput, is_time: true, more: false, best: 0.0 }
}

const fn gossip(name: &'static str) -> Metric {
    Metric { name, goal: Goal::MinTraffic, is_time: false, more: false, best: 0.0 }
}

/// Times are response times, from the intended send. Rounds are those until the last arrival, over all epidemics.
static METRICS: [Metric; 13] = [
    time("p50"),
    time("p90"),
    time("p99"),
    time("p99.9"),
    time("mean"),
    Metric { is_time: false, ..time(ERRORS) },
    gossip("rounds_mean"),
    gossip("rounds_p99"),
    gossip("rounds_max"),
    gossip("residue"),
    gossip("residue_max"),
    gossip("traffic"),
    Metric { more: true, best: 1.0, ..gossip("coverage") },
];

/// Commands that were never answered.
const ERRORS: &str = "errors";

/// A text that is no SLO: what is wrong with it, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloError(String);

impl fmt::Display for SloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SloError {}

/// What a run says of an SLO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Held,
    /// It does not, or the load was not carried: why.
    Missed(String),
    /// The generator was the limit, so nobody can tell: why it was.
    GeneratorLimited(String),
}

impl Slo {
    /// Reads comma-separated conditions, each a metric, `<` or `<=` (of coverage `>` or `>=`), and a number, with a unit if
    /// it is a time.
    ///
    /// # Errors
    /// [`SloError`] if it is none, none for this goal, or none that anything could hold: `p99<0ms`, `coverage>1`.
    pub fn parse(text: &str, goal: Goal) -> Result<Self, SloError> {
        let conditions = text.split(',').map(|part| condition(part.trim(), goal)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { conditions, text: text.to_owned(), accepts_send_lag: false })
    }

    /// The same, but that a generator which was late is no reason to doubt a run that holds. Response times run from the
    /// intended send, so what it delays counts against the SLO and never for it.
    #[must_use]
    pub fn accepting_send_lag(self, accepts: bool) -> Self {
        Self { accepts_send_lag: accepts, ..self }
    }

    /// Whether it does.
    pub fn accepts_send_lag(&self) -> bool {
        self.accepts_send_lag
    }

    /// Whether a run was sustainable: nothing lost but errors that a condition is about, all that was offered carried, each
    /// condition met, and the generator not what was measured.
    pub fn verdict(&self, seen: &Observation) -> Verdict {
        let lost = seen.lost.saturating_sub(self.judged_errors(seen));
        if lost > 0 {
            return Verdict::Missed(format!("{lost} commands were lost"));
        }
        let missed = self.conditions.iter().find(|condition| !condition.holds(seen));
        let missed = if seen.overloaded { Some("overloaded".into()) } else { missed.map(|each| each.found(seen)) };
        match (&seen.generator, missed) {
            (Some(_), None) if self.accepts_send_lag => Verdict::Held,
            (Some(why), _) => Verdict::GeneratorLimited(why.clone()),
            (None, missed) => missed.map_or(Verdict::Held, Verdict::Missed),
        }
    }

    /// The lost commands that a condition decides on.
    fn judged_errors(&self, seen: &Observation) -> u64 {
        let judges = self.conditions.iter().any(|condition| condition.metric.name == ERRORS);
        seen.figures.get(ERRORS).filter(|_| judges).map_or(0, |&errors| errors as u64)
    }

    /// How far the worst condition is missed: 2 if it is twice its limit; below 1, or 1, if all hold.
    pub(super) fn excess(&self, seen: &Observation) -> f64 {
        self.conditions.iter().map(|condition| condition.excess(seen)).fold(0.0, f64::max)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    fn holds(&self, seen: &Observation) -> bool {
        seen.figures.get(self.metric.name).is_some_and(|&value| self.admits(value))
    }

    fn admits(&self, value: f64) -> bool {
        match (self.metric.more, self.inclusive) {
            (false, false) => value < self.limit,
            (false, true) => value <= self.limit,
            (true, false) => value > self.limit,
            (true, true) => value >= self.limit,
        }
    }

    fn excess(&self, seen: &Observation) -> f64 {
        let value = seen.figure(self.metric.name);
        // Nothing is a good value, but for coverage.
        if self.metric.more {
            self.limit / value.max(f64::MIN_POSITIVE)
        } else {
            value / self.limit.max(f64::MIN_POSITIVE)
        }
    }

    /// What was seen instead.
    fn found(&self, seen: &Observation) -> String {
        match seen.figures.get(self.metric.name) {
            Some(&value) => format!("{} {}", self.metric.name, self.metric.text(value)),
            None => format!("no {}", self.metric.name),
        }
    }
}

impl Metric {
    fn text(&self, value: f64) -> String {
        let number = if value.fract() == 0.0 { format!("{value:.0}") } else { crate::summary::digits(value) };
        if self.is_time { crate::summary::time_text(value) } else { number }
    }
}

fn condition(text: &str, goal: Goal) -> Result<Condition, SloError> {
    let example = match goal {
        Goal::MaxThroughput => "p99<5ms",
        Goal::MinTraffic => "rounds_p99<12,residue<1e-4",
    };
    let Some(at) = text.find(['<', '>']) else {
        return Err(SloError(format!("`{text}` is no condition: write one such as `{example}`")));
    };
    let metric = metric(text[..at].trim(), goal)?;
    let (sign, rest) = text[at..].split_at(1);
    let (equal, number) = rest.strip_prefix('=').map_or(("", rest), |number| ("=", number));
    let number = number.trim();
    let wanted = if metric.more { ">" } else { "<" };
    if sign != wanted {
        return Err(SloError(format!(
            "`{text}` is the wrong way round: write `{}{wanted}{equal}{number}`",
            metric.name
        )));
    }
    let limit = if metric.is_time { duration_ns(number).map(|ns| ns as f64) } else { plain(number) };
    let limit = limit.map_err(|why| SloError(format!("`{text}`: {why}")))?;
    let condition = Condition { metric, inclusive: !equal.is_empty(), limit };
    if !condition.admits(metric.best) {
        let best = metric.text(metric.best);
        return Err(SloError(format!("nothing can hold `{text}`: {} is {best} at best", metric.name)));
    }
    Ok(condition)
}

fn metric(name: &str, goal: Goal) -> Result<&'static Metric, SloError> {
    let ours = || METRICS.iter().filter(|metric| metric.goal == goal).map(|metric| metric.name);
    if let Some(metric) = METRICS.iter().find(|metric| metric.name == name) {
        if metric.goal == goal {
            return Ok(metric);
        }
        let known = ours().collect::<Vec<_>>().join(", ");
        return Err(SloError(format!("`{name}` goes with the goal {}; {goal} has {known}", metric.goal)));
    }
    let help = match nearest(name, ours()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", ours().collect::<Vec<_>>().join(", ")),
    };
    Err(SloError(format!("unknown metric `{name}`; {help}")))
}

fn plain(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("`{text}` is no number, or below zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(figures: &[(&str, f64)]) -> Observation {
        let figures = figures.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Observation { figures, ..Observation::default() }
    }

    fn refused(text: &str, goal: Goal, says: &str) {
        let error = Slo::parse(text, goal).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }

    #[test]
    fn conditions_are_read_with_their_units() {
        let slo = Slo::parse("p99<5ms, mean<=1.5us,errors<=0", Goal::MaxThroughput).expect("an SLO");
        let held = |p99, mean, errors| {
            slo.verdict(&seen(&[("p99", p99), ("mean", mean), ("errors", errors)])) == Verdict::Held
        };
        assert!(held(4_999_999.0, 1500.0, 0.0));
        assert!(!held(5e6, 1500.0, 0.0) && !held(1.0, 1500.1, 0.0) && !held(1.0, 1.0, 1.0));
        let slo = Slo::parse("rounds_p99<12,residue<1e-4,coverage>=0.5", Goal::MinTraffic).expect("an SLO");
        let held = |rounds, residue, coverage| {
            let seen = seen(&[("rounds_p99", rounds), ("residue", residue), ("coverage", coverage)]);
            slo.verdict(&seen) == Verdict::Held
        };
        assert!(held(11.0, 9e-5, 0.5) && !held(12.0, 0.0, 1.0) && !held(1.0, 1e-4, 1.0) && !held(1.0, 0.0, 0.49));
    }

    #[test]
    fn what_is_no_slo_says_what_would_be_one() {
        refused("p99", Goal::MaxThroughput, "write one such as `p99<5ms`");
        refused("", Goal::MinTraffic, "rounds_p99<12");
        refused("p99<5", Goal::MaxThroughput, "a time needs a unit, as in 5ms");
        refused("p99<5h", Goal::MaxThroughput, "units are ns, us, ms, s, m");
        refused("p9.99<5ms", Goal::MaxThroughput, "did you mean `p99.9`?");
        refused("residu<1", Goal::MinTraffic, "did you mean `residue`?");
        refused("latency<5ms", Goal::MaxThroughput, "there are p50, p90");
        refused("p99<5ms", Goal::MinTraffic, "goes with the goal max-throughput");
        refused("p99>5ms", Goal::MaxThroughput, "write `p99<5ms`");
        refused("coverage<0.9", Goal::MinTraffic, "write `coverage>0.9`");
        refused("residue<-1", Goal::MinTraffic, "no number");
        refused("residue<NaN", Goal::MinTraffic, "no number");
        refused("p99>=5ms", Goal::MaxThroughput, "write `p99<=5ms`");
        refused("p99<===5ms", Goal::MaxThroughput, "`p99<===5ms`: ");
        refused("errors<==5", Goal::MaxThroughput, "no number");
    }

    #[test]
    fn what_nothing_can_hold_is_no_slo() {
        refused("p99<0ms", Goal::MaxThroughput, "nothing can hold `p99<0ms`: p99 is 0 ns at best");
        refused("p99<5ms,errors<0", Goal::MaxThroughput, "nothing can hold `errors<0`: errors is 0 at best");
        refused("residue<0", Goal::MinTraffic, "residue is 0 at best");
        refused("coverage>1", Goal::MinTraffic, "coverage is 1 at best");
        refused("coverage>=1.01", Goal::MinTraffic, "coverage is 1 at best");
        for held in ["residue<=0", "coverage>=1", "coverage>0.99"] {
            assert!(Slo::parse(held, Goal::MinTraffic).is_ok(), "{held}");
        }
    }

    #[test]
    fn errors_are_a_miss_unless_a_condition_allows_them() {
        let verdict = |text: &str, errors: u32, shed: u64| {
            let slo = Slo::parse(text, Goal::MaxThroughput).expect("an SLO");
            let seen = seen(&[("p99", 1e6), (ERRORS, f64::from(errors))]);
            slo.verdict(&Observation { lost: u64::from(errors) + shed, ..seen })
        };
        let missed = |why: &str| Verdict::Missed(why.into());
        assert_eq!(verdict("p99<5ms", 2, 0), missed("2 commands were lost"));
        assert_eq!(verdict("p99<5ms,errors<3", 2, 0), Verdict::Held);
        assert_eq!(verdict("errors<3", 3, 0), missed("errors 3"));
        assert_eq!(verdict("errors<3", 2, 1), missed("1 commands were lost"), "what was not sent is no error");
    }

    #[test]
    fn a_run_that_carried_less_or_says_nothing_of_it_does_not_hold() {
        let slo = Slo::parse("p99<5ms", Goal::MaxThroughput).expect("an SLO");
        let fine = Observation::of_commands(10.0, 1.0, false);
        assert_eq!(slo.verdict(&fine), Verdict::Held);
        assert!(matches!(slo.verdict(&Observation { overloaded: true, ..fine.clone() }), Verdict::Missed(_)));
        assert!(matches!(slo.verdict(&Observation { lost: 1, ..fine.clone() }), Verdict::Missed(_)));
        assert_eq!(slo.verdict(&seen(&[])), Verdict::Missed("no p99".into()));
        let late = Observation { generator: Some("late".into()), ..fine };
        let limited = Verdict::GeneratorLimited("late".into());
        assert_eq!(slo.verdict(&late), limited);
        let lenient = slo.accepting_send_lag(true);
        assert_eq!(lenient.verdict(&late), Verdict::Held);
        assert_eq!(lenient.verdict(&Observation { overloaded: true, ..late.clone() }), limited);
        assert!(matches!(lenient.verdict(&Observation { lost: 1, ..late }), Verdict::Missed(_)));
    }
}
