//! What a search comes to, said honestly.

use std::collections::BTreeMap;

use serde::Serialize;

use super::confirm::Contender;
use super::rates::rounded;
use super::search::Whole;
use super::slo::Verdict;
use super::{Goal, Load, Plan, Settings};
use crate::compare::statistics::median;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// In a word.
    pub finding: Finding,
    /// Who was confirmed, or was to be: the default among them.
    pub contenders: Vec<Contender>,
    /// Of what most runs held at full length, what nothing else beats in both at once: throughput against p99, or traffic
    /// against rounds.
    pub front: Vec<Tradeoff>,
    /// What a reader should know before believing it.
    pub notes: Vec<String>,
}

/// What it comes to, in a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// These are better than the default.
    Found {
        /// Which.
        settings: Settings,
    },
    /// None was shown to be better than the default, which holds the SLO.
    NoBetter,
    /// Nothing holds the SLO, whatever was tried.
    NotFound {
        /// What stood in the way of the one that came nearest, or of one of them.
        why: String,
    },
    /// The generator could not do more, so nobody can tell.
    GeneratorLimited {
        /// In what way.
        why: String,
    },
}

/// One that no other beats in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tradeoff {
    /// What was set.
    pub settings: Settings,
    /// Commands a second that were answered, or traffic: the median of all its runs at full length.
    pub value: f64,
    /// p99 in nanoseconds, or the mean rounds until the last arrival: the median of the same.
    pub delay: f64,
    /// How many runs these are.
    pub runs: usize,
    /// In how many of them the SLO held: in most.
    pub held: usize,
}

impl Outcome {
    pub(super) fn new(plan: &Plan, contenders: Vec<Contender>, whole: &[Whole]) -> Self {
        let finding = finding(plan, &contenders, whole);
        let notes = notes(&finding, &contenders);
        Self { finding, contenders, front: front(plan.goal, whole), notes }
    }

    /// The contender that is recommended, or the default if none is.
    pub fn recommended(&self) -> Option<&Contender> {
        match &self.finding {
            Finding::Found { settings } => self.contenders.iter().find(|each| each.settings == *settings),
            _ => None,
        }
    }
}

fn finding(plan: &Plan, contenders: &[Contender], whole: &[Whole]) -> Finding {
    let default_holds = contenders.iter().any(|each| each.is_default && each.confirmed.is_some());
    // A default that the generator kept from holding may do anything.
    let default_fails = contenders.iter().any(|each| each.is_default && generators_reason(each).is_none());
    let is_better = |each: &&Contender| match &each.versus_default {
        Some(versus) => versus.better,
        None => !default_holds && default_fails,
    };
    let confirmed = contenders.iter().filter(|each| !each.is_default && each.confirmed.is_some());
    let worth = |each: &Contender| {
        let value = each.value().unwrap_or_default();
        if plan.goal == Goal::MaxThroughput { value } else { -value }
    };
    let best = confirmed.filter(is_better).max_by(|a, b| worth(a).total_cmp(&worth(b)));
    if let Some(best) = best {
        return Finding::Found { settings: best.settings.clone() };
    }
    if let Some(why) = contenders.iter().find_map(generators_reason) {
        return Finding::GeneratorLimited { why };
    }
    if default_holds {
        return Finding::NoBetter;
    }
    let missed = contenders.iter().find_map(|each| match each.ceiling.as_ref()?.verdict.as_ref()? {
        Verdict::Missed(why) => Some(why.clone()),
        _ => None,
    });
    let missed = missed.or_else(|| nearest_miss(plan, whole));
    Finding::NotFound { why: missed.unwrap_or_else(|| "the SLO did not hold in most of the confirming runs".into()) }
}

/// What the run that came nearest to holding the SLO missed.
fn nearest_miss(plan: &Plan, whole: &[Whole]) -> Option<String> {
    let missed = whole.iter().filter_map(|run| match &run.verdict {
        Verdict::Missed(why) => Some((plan.slo.excess(&run.seen), why)),
        _ => None,
    });
    missed.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, why)| why.clone())
}

/// How the generator kept a contender from showing what it can do.
fn generators_reason(contender: &Contender) -> Option<String> {
    if let Some(Verdict::GeneratorLimited(why)) = contender.ceiling.as_ref().and_then(|each| each.verdict.as_ref()) {
        return Some(why.clone());
    }
    let unclear = contender.confirmed.is_none() && contender.levels.iter().any(|level| level.generator_limited > 0);
    unclear.then(|| "the generator was the limit in confirming runs".into())
}

fn notes(finding: &Finding, contenders: &[Contender]) -> Vec<String> {
    let mut notes = Vec::new();
    let Finding::Found { settings } = finding else { return notes };
    for each in contenders.iter().filter(|each| each.settings == *settings || each.is_default) {
        let who = if each.is_default { "the default" } else { "what is recommended" };
        if each.ceiling.as_ref().is_some_and(super::Ceiling::is_generators) {
            notes.push(format!("beyond its rate, the generator was the limit: {who} may carry more"));
        }
        if let Some(level) = each.level().filter(|level| level.late_generator > 0) {
            let (late, all) = (level.late_generator, level.values.len());
            notes.push(format!("the generator was late in {late} of {all} runs of {who}; their times include that"));
        }
        if each.confirmed == Some(1) {
            notes
                .push(format!("{who} held 95 % of the highest rate that was found for it more often than that itself"));
        }
        if each.confirmed.is_none() {
            notes.push(format!("{who} does not hold the SLO"));
        }
    }
    notes
}

/// What most runs held at full length, by what was set and offered, without what something else beats in both.
fn front(goal: Goal, whole: &[Whole]) -> Vec<Tradeoff> {
    let mut groups: BTreeMap<(&Settings, u64), Vec<&Whole>> = BTreeMap::new();
    for run in whole {
        // Positive floats are ordered as their bits are.
        let rate = if let Load::Open { rate } = run.trial.load { rounded(rate).to_bits() } else { 0 };
        groups.entry((&run.trial.settings, rate)).or_default().push(run);
    }
    let tradeoff = |((settings, _), runs): (&(&Settings, u64), &Vec<&Whole>)| {
        let held = runs.iter().filter(|run| run.verdict == Verdict::Held).count();
        // What missed counts as well: or else a rate is as good as its luckiest run.
        let middle = |of: &dyn Fn(&Whole) -> f64| median(&runs.iter().map(|run| of(run)).collect::<Vec<_>>());
        let figure = |metric: &str| middle(&|run| run.seen.figure(metric));
        let (value, delay) = match goal {
            Goal::MaxThroughput => (middle(&|run| run.seen.throughput), figure("p99")),
            Goal::MinTraffic => (figure("traffic"), figure("rounds_mean")),
        };
        (held * 2 > runs.len()).then(|| Tradeoff {
            settings: (*settings).clone(),
            value,
            delay,
            runs: runs.len(),
            held,
        })
    };
    let all: Vec<Tradeoff> = groups.iter().filter_map(tradeoff).collect();
    let worth = |each: &Tradeoff| if goal == Goal::MaxThroughput { each.value } else { -each.value };
    let beats = |a: &Tradeoff, b: &Tradeoff| {
        worth(a) >= worth(b) && a.delay <= b.delay && (worth(a) > worth(b) || a.delay < b.delay)
    };
    let unbeaten = |each: &&Tradeoff| !all.iter().any(|other| beats(other, each));
    let mut front: Vec<Tradeoff> = all.iter().filter(unbeaten).cloned().collect();
    front.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then_with(|| a.settings.cmp(&b.settings)));
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::{Observation, Phase, Slo, Trial};

    /// Runs of one setting at one rate, by their p99 in milliseconds.
    fn runs(batch: u32, rate: f64, p99_ms: &[f64]) -> Vec<Whole> {
        let slo = Slo::parse("p99<5ms", Goal::MaxThroughput).expect("an SLO");
        let settings = Settings::from([("batch", batch.to_string())]);
        let run = |&ms: &f64| {
            let seen = Observation::of_commands(rate, ms * 1e6, false);
            let settings = settings.clone();
            let trial = Trial { phase: Phase::Searching, settings, load: Load::Open { rate }, seconds: 1.0, seed: 1 };
            Whole { trial, verdict: slo.verdict(&seen), seen }
        };
        p99_ms.iter().map(run).collect()
    }

    #[test]
    fn a_lucky_run_puts_nothing_on_the_front() {
        let lucky = [runs(1, 9000.0, &[24.6, 1.91, 16.1]), runs(2, 8000.0, &[7.0, 4.0])].concat();
        assert_eq!(front(Goal::MaxThroughput, &lucky), []);
        let all = [lucky, runs(3, 7000.0, &[3.0, 9.0, 4.0]), runs(4, 6000.0, &[3.5]), runs(5, 5000.0, &[4.5])].concat();
        let of = |batch: u32, value: f64, delay: f64, runs: usize, held: usize| Tradeoff {
            settings: Settings::from([("batch", batch.to_string())]),
            value,
            delay,
            runs,
            held,
        };
        assert_eq!(
            front(Goal::MaxThroughput, &all),
            [of(3, 7000.0, 4e6, 3, 2), of(4, 6000.0, 3.5e6, 1, 1)],
            "the median of what held and what did not"
        );
    }
}
