//! Whether the finalists keep what they promise, in turn with the default, and whether that is better.

use quorumbench_protocols::Prng;
use serde::Serialize;

use super::halving::{epidemics, traffic};
use super::rates::{Ceiling, rounded};
use super::search::Search;
use super::slo::Verdict;
use super::{Bench, Goal, Load, Observation, Phase, Plan, Settings};
use crate::compare::statistics::median;
use crate::compare::{self, Design, Judged, Metric, judge};
use crate::run::shuffle;

/// Who is to be confirmed.
#[derive(Clone, Debug)]
pub(super) struct Finalist {
    pub(super) settings: Settings,
    pub(super) is_default: bool,
    /// Of commands.
    pub(super) ceiling: Option<Ceiling>,
}

/// A finalist, and what came of its confirming runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contender {
    /// What it sets.
    pub settings: Settings,
    /// Whether that is the default.
    pub is_default: bool,
    /// The highest rate that was found for it; null of gossip.
    pub ceiling: Option<Ceiling>,
    /// Its runs at that rate, and then at 95 % of it; of gossip, its runs; nothing if it held at no rate.
    pub levels: Vec<Level>,
    /// At which of these most runs held: where it is better than the default, or else where the most did.
    pub confirmed: Option<usize>,
    /// What it is there beside the default at the same level; null of the default, or where most of its runs did not hold.
    pub versus_default: Option<Versus>,
}

/// Runs under one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// Commands a second that were offered; null of gossip.
    pub rate: Option<f64>,
    /// What each run was good for: the commands a second that it answered, none if the SLO did not hold; of gossip, its
    /// traffic.
    pub values: Vec<f64>,
    /// In how many of them it held.
    pub held: usize,
    /// In how many of the others the generator was the limit.
    pub generator_limited: usize,
    /// In how many the generator was late, whether or not that was accepted.
    pub late_generator: usize,
    /// Of commands the median p99 in nanoseconds, of gossip the median of the mean rounds until the last arrival.
    pub delay: f64,
}

/// A comparison with the default: see [`compare`](crate::compare).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Versus {
    /// The median of its values over the default's; null if the default's is zero.
    pub ratio: Option<f64>,
    /// The 95 % interval of that; an end is null if it is infinite.
    pub interval: [Option<f64>; 2],
    /// The chance that there is no difference, corrected for all contenders.
    pub p: f64,
    /// Whether that is better.
    pub better: bool,
    /// In words.
    pub verdict: String,
}

impl Contender {
    /// A level, if most of its runs held.
    fn held(&self, level: usize) -> Option<&Level> {
        self.levels.get(level).filter(|level| level.held * 2 > level.values.len())
    }

    /// The level that was confirmed.
    pub fn level(&self) -> Option<&Level> {
        self.levels.get(self.confirmed?)
    }

    /// What it is good for, if that was confirmed.
    pub fn value(&self) -> Option<f64> {
        self.level().map(|level| median(&level.values))
    }
}

/// Runs all finalists at all of their levels in turn.
pub(super) fn confirm<B: Bench>(
    search: &mut Search<'_, B>,
    finalists: Vec<Finalist>,
) -> Result<Vec<Contender>, B::Error> {
    let plan = search.plan;
    let loads: Vec<Vec<Load>> = finalists.iter().map(|finalist| loads(plan, finalist)).collect();
    let mut turns: Vec<(usize, usize)> =
        loads.iter().enumerate().flat_map(|(index, loads)| (0..loads.len()).map(move |level| (index, level))).collect();
    let mut seen: Vec<Vec<Vec<(Observation, Verdict)>>> =
        loads.iter().map(|loads| vec![Vec::new(); loads.len()]).collect();
    let seconds = if plan.goal == Goal::MinTraffic { 0.0 } else { plan.full };
    let mut order = Prng::new(plan.seed).fork(u64::MAX);
    for repetition in 0..plan.repetitions {
        // There and back: what drifts drifts for all.
        if repetition % 2 == 0 {
            shuffle(&mut turns, &mut order);
        } else {
            turns.reverse();
        }
        for &(index, level) in &turns {
            let settings = &finalists[index].settings;
            seen[index][level].push(search.run(Phase::Confirming, settings, loads[index][level], seconds)?);
        }
    }
    let all = finalists.into_iter().zip(loads).zip(seen);
    let mut contenders: Vec<Contender> =
        all.map(|((finalist, loads), seen)| contender(plan.goal, finalist, &loads, &seen)).collect();
    against_the_default(plan, &mut contenders);
    Ok(contenders)
}

fn loads(plan: &Plan, finalist: &Finalist) -> Vec<Load> {
    match &finalist.ceiling {
        None => vec![epidemics(plan.full)],
        Some(ceiling) => {
            let rates = ceiling.rate.into_iter().flat_map(|rate| [rate, rounded(rate * LOWER)]);
            rates.map(|rate| Load::Open { rate }).collect()
        }
    }
}

/// The part of its highest rate that a finalist is confirmed at as well.
const LOWER: f64 = 0.95;

fn contender(goal: Goal, finalist: Finalist, loads: &[Load], seen: &[Vec<(Observation, Verdict)>]) -> Contender {
    let levels: Vec<Level> = loads.iter().zip(seen).map(|(load, seen)| level(goal, *load, seen)).collect();
    // Of two that held as often, the first: it is the higher one.
    let most = (0..levels.len()).rev().max_by_key(|&index| levels[index].held);
    let Finalist { settings, is_default, ceiling } = finalist;
    let contender = Contender { settings, is_default, ceiling, levels, confirmed: None, versus_default: None };
    Contender { confirmed: most.filter(|&level| contender.held(level).is_some()), ..contender }
}

fn level(goal: Goal, load: Load, seen: &[(Observation, Verdict)]) -> Level {
    let of = |value: fn(&Observation, bool) -> f64| -> Vec<f64> {
        seen.iter().map(|(seen, verdict)| value(seen, *verdict == Verdict::Held)).collect()
    };
    let (values, delays) = match goal {
        // What breaks the SLO is good for nothing.
        Goal::MaxThroughput => {
            (of(|seen, held| if held { seen.throughput } else { 0.0 }), of(|seen, _| seen.figure("p99")))
        }
        Goal::MinTraffic => (of(|seen, _| traffic(seen)), of(|seen, _| seen.figure("rounds_mean"))),
    };
    let count = |is: fn(&Verdict) -> bool| seen.iter().filter(|(_, verdict)| is(verdict)).count();
    Level {
        rate: if let Load::Open { rate } = load { Some(rate) } else { None },
        values,
        held: count(|verdict| *verdict == Verdict::Held),
        generator_limited: count(|verdict| matches!(verdict, Verdict::GeneratorLimited(_))),
        late_generator: seen.iter().filter(|(seen, _)| seen.generator.is_some()).count(),
        delay: median(&delays),
    }
}

/// Judges together all levels that most runs of a challenger and of the default held. The highest rates are noisy, so what
/// holds its own is not better than a default that only holds 95 % of its own: they meet at the same level or not at all.
fn against_the_default(plan: &Plan, contenders: &mut [Contender]) {
    let Some(default) = contenders.iter().find(|each| each.is_default).cloned() else { return };
    let metric = Metric::named(match plan.goal {
        Goal::MaxThroughput => "throughput",
        Goal::MinTraffic => "traffic",
    });
    let metric = metric.expect("compare has both");
    let challengers = contenders.iter().enumerate().filter(|(_, each)| !each.is_default);
    let levels = challengers.flat_map(|(index, each)| (0..each.levels.len()).map(move |level| (index, level)));
    let meets = |&(index, level): &(usize, usize)| Some((default.held(level)?, contenders[index].held(level)?));
    let met: Vec<(usize, usize)> = levels.filter(|place| meets(place).is_some()).collect();
    let sides = met.iter().filter_map(meets);
    let samples: Vec<_> = sides.map(|(base, new)| (metric, base.values.as_slice(), new.values.as_slice())).collect();
    let judged = judge(Design::Samples, &samples, plan.tolerance);
    for ((index, level), judged) in met.into_iter().zip(judged) {
        let versus = Versus::from(judged);
        let contender = &mut contenders[index];
        let settled = contender.versus_default.as_ref().is_some_and(|before| before.better || !versus.better);
        if !settled {
            contender.confirmed = Some(level);
            contender.versus_default = Some(versus);
        }
    }
}

impl From<Judged> for Versus {
    fn from(judged: Judged) -> Self {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        Self {
            ratio: finite(judged.ratio),
            interval: judged.interval.map(finite),
            p: judged.p,
            better: judged.verdict == compare::Verdict::Better,
            // A run that did not hold counts as nothing, and no number of others makes up for the ratio to that.
            verdict: if judged.interval.iter().all(|end| end.is_finite()) || judged.verdict == compare::Verdict::Better
            {
                judged.verdict.to_string()
            } else {
                "inconclusive: some runs did not hold".into()
            },
        }
    }
}
