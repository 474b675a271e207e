//! Successive halving: short runs of many, longer ones of the better half, until few are left.

use super::rates::How;
use super::search::{FINALISTS, Search};
use super::slo::Verdict;
use super::{Bench, Goal, Load, Observation, Phase, Plan, Settings};

/// How long the first runs are, in seconds or epidemics.
pub(super) fn first(plan: &Plan) -> f64 {
    let shortest = match plan.goal {
        Goal::MaxThroughput => 0.1,
        Goal::MinTraffic => 10.0,
    };
    (plan.full / 2_f64.powi(rungs(plan.candidates.len()))).max(shortest).min(plan.full)
}

/// How often so many are halved.
fn rungs(candidates: usize) -> i32 {
    let mut left = candidates;
    let mut rungs = 0;
    while left > FINALISTS {
        left = half(left);
        rungs += 1;
    }
    rungs
}

fn half(candidates: usize) -> usize {
    candidates.div_ceil(2).max(FINALISTS)
}

/// The settings with the highest rates, and the default; each with about its highest, and by what share that may be off.
pub(super) fn by_rate<B: Bench>(
    search: &mut Search<'_, B>,
    guesses: Vec<(Settings, f64)>,
) -> Result<Vec<(Settings, f64, f64)>, B::Error> {
    let plan = search.plan;
    // The first guess is of another kind of load, so it may be off by anything: the ramp begins with a factor of two.
    let mut left: Vec<_> = guesses.into_iter().map(|(settings, guess)| (settings, guess, 1.0)).collect();
    let mut default = left.iter().find(|(settings, ..)| *settings == plan.default).cloned();
    let (mut seconds, mut tolerance) = (first(plan), COARSE.max(plan.tolerance));
    while left.len() > FINALISTS {
        let mut ranked = Vec::new();
        for (settings, guess, off) in left {
            let how = How { phase: Phase::Halving, seconds, tolerance, votes: 1, stride: 1.0 + off };
            let rate = search.ceiling(&settings, guess, how)?.rate;
            // What holds nothing in a short run may yet in a longer one.
            let known = (settings, rate.unwrap_or(guess), if rate.is_some() { tolerance } else { 1.0 });
            if known.0 == plan.default {
                default = Some(known.clone());
            }
            ranked.push((rate.unwrap_or(0.0), known));
        }
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        ranked.truncate(half(ranked.len()));
        left = ranked.into_iter().map(|(_, known)| known).collect();
        seconds = (2.0 * seconds).min(plan.full);
        tolerance = (tolerance / 2.0).max(plan.tolerance);
    }
    left.extend(default.filter(|(default, ..)| left.iter().all(|(settings, ..)| settings != default)));
    Ok(left)
}

/// How exactly rates are looked for at first.
const COARSE: f64 = 0.25;

/// The settings that hold the SLO with the least traffic, and the default.
pub(super) fn by_traffic<B: Bench>(search: &mut Search<'_, B>) -> Result<Vec<Settings>, B::Error> {
    let plan = search.plan;
    let mut trials = first(plan);
    let mut left = plan.candidates.clone();
    // Those that fell out, the last first: a candidate that seemed cheap may miss the SLO after all.
    let mut fallen = Vec::new();
    while left.len() > FINALISTS {
        let mut ranked = rank(search, &left, trials)?;
        let out = ranked.split_off(half(ranked.len()));
        fallen.splice(0..0, out);
        left = ranked;
        trials = (2.0 * trials).min(plan.full);
    }
    let mut finalists = Vec::new();
    for settings in left.into_iter().chain(fallen) {
        let (_, verdict) = search.run(Phase::Searching, &settings, epidemics(plan.full), 0.0)?;
        if verdict == Verdict::Held {
            finalists.push(settings);
        }
        if finalists.len() == FINALISTS {
            break;
        }
    }
    if !finalists.contains(&plan.default) {
        finalists.push(plan.default.clone());
    }
    Ok(finalists)
}

/// By what a short run says: those that hold the SLO by their traffic, then the others by how far they miss it.
fn rank<B: Bench>(search: &mut Search<'_, B>, candidates: &[Settings], trials: f64) -> Result<Vec<Settings>, B::Error> {
    let slo = search.plan.slo.clone();
    let mut ranked = Vec::new();
    for settings in candidates {
        let (seen, verdict) = search.run(Phase::Halving, settings, epidemics(trials), 0.0)?;
        let excess = if verdict == Verdict::Held { 0.0 } else { slo.excess(&seen).max(f64::MIN_POSITIVE) };
        ranked.push(((excess, traffic(&seen)), settings.clone()));
    }
    ranked
        .sort_by(|((excess, traffic), _), ((more, others), _)| excess.total_cmp(more).then(traffic.total_cmp(others)));
    Ok(ranked.into_iter().map(|(_, settings)| settings).collect())
}

pub(super) fn traffic(seen: &Observation) -> f64 {
    seen.figure("traffic")
}

pub(super) fn epidemics(trials: f64) -> Load {
    Load::Epidemics { trials: (trials as usize).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_in_the_end_as_they_should_be() {
        let plan = |candidates: usize| Plan {
            goal: Goal::MaxThroughput,
            slo: super::super::Slo::parse("p99<5ms", Goal::MaxThroughput).expect("an SLO"),
            tolerance: 0.05,
            default: Settings::default(),
            candidates: vec![Settings::default(); candidates],
            full: 8.0,
            repetitions: 5,
            seed: 1,
        };
        // 64, 32, 16, 8, 4, 3.
        assert_eq!([1, 3, 4, 8, 64].map(rungs), [0, 0, 1, 2, 5]);
        let ms = |count| (first(&plan(count)) * 1e3).round() as u64;
        assert_eq!([1, 3, 4, 8, 64].map(ms), [8000, 8000, 4000, 2000, 250]);
        assert!((first(&Plan { full: 0.5, ..plan(64) }) - 0.1).abs() < 1e-12, "but not too short to say anything");
    }
}
