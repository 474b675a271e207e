//! What a search comes to, said honestly.

use std::collections::BTreeMap;

use serde::Serialize;

use super::confirm::Contender;
use super::rates::rounded;
use super::slo::Verdict;
use super::{Goal, Load, Observation, Plan, Settings, Trial};
use crate::compare::statistics::median;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// In a word.
    pub finding: Finding,
    /// Who was confirmed, or was to be: the default among them.
    pub contenders: Vec<Contender>,
    /// What nothing else beats in both at once: throughput against p99, or traffic against rounds.
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
    /// Commands a second that were answered, or traffic: the median of its runs at full length that held the SLO.
    pub value: f64,
    /// p99 in nanoseconds, or the mean rounds until the last arrival: the median of the same.
    pub delay: f64,
    /// How many runs these are.
    pub runs: usize,
}

impl Outcome {
    pub(super) fn new(plan: &Plan, contenders: Vec<Contender>, held: &[(Trial, Observation)]) -> Self {
        let finding = finding(plan.goal, &contenders);
        let notes = notes(&finding, &contenders);
        Self { finding, contenders, front: front(plan.goal, held), notes }
    }

    /// The contender that is recommended, or the default if none is.
    pub fn recommended(&self) -> Option<&Contender> {
        match &self.finding {
            Finding::Found { settings } => self.contenders.iter().find(|each| each.settings == *settings),
            _ => None,
        }
    }
}

fn finding(goal: Goal, contenders: &[Contender]) -> Finding {
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
        if goal == Goal::MaxThroughput { value } else { -value }
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
    Finding::NotFound { why: missed.unwrap_or_else(|| "the SLO did not hold in most of the confirming runs".into()) }
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

/// All that held at full length, by what was set and offered, without what something else beats in both.
fn front(goal: Goal, held: &[(Trial, Observation)]) -> Vec<Tradeoff> {
    let mut groups: BTreeMap<(&Settings, u64), Vec<&Observation>> = BTreeMap::new();
    for (trial, seen) in held {
        // Positive floats are ordered as their bits are.
        let rate = if let Load::Open { rate } = trial.load { rounded(rate).to_bits() } else { 0 };
        groups.entry((&trial.settings, rate)).or_default().push(seen);
    }
    let middle = |seen: &[&Observation], of: fn(&Observation) -> f64| {
        median(&seen.iter().map(|seen| of(seen)).collect::<Vec<_>>())
    };
    let tradeoff = |((settings, _), seen): (&(&Settings, u64), &Vec<&Observation>)| {
        let (value, delay) = match goal {
            Goal::MaxThroughput => (middle(seen, |seen| seen.throughput), middle(seen, |seen| seen.figure("p99"))),
            Goal::MinTraffic => {
                (middle(seen, |seen| seen.figure("traffic")), middle(seen, |seen| seen.figure("rounds_mean")))
            }
        };
        Tradeoff { settings: (*settings).clone(), value, delay, runs: seen.len() }
    };
    let all: Vec<Tradeoff> = groups.iter().map(tradeoff).collect();
    let worth = |each: &Tradeoff| if goal == Goal::MaxThroughput { each.value } else { -each.value };
    let beats = |a: &Tradeoff, b: &Tradeoff| {
        worth(a) >= worth(b) && a.delay <= b.delay && (worth(a) > worth(b) || a.delay < b.delay)
    };
    let unbeaten = |each: &&Tradeoff| !all.iter().any(|other| beats(other, each));
    let mut front: Vec<Tradeoff> = all.iter().filter(unbeaten).cloned().collect();
    front.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then_with(|| a.settings.cmp(&b.settings)));
    front
}
