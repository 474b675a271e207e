//! Many trials, and what they have in common.

use super::trial::{Reached, Remains, Trial};
use crate::results::{Convergence, Parts, Remainder, Restored, Spread};

/// Of trials over so many replicas.
pub(super) fn convergence(nodes: usize, trials: &[Trial]) -> Convergence {
    let over = |of: fn(&Trial) -> f64| spread(trials.iter().map(of).collect());
    let some = |of: fn(&Trial) -> Option<f64>| Spread::of(trials.iter().filter_map(of).collect());
    let restored = |of: fn(&Trial) -> Option<Reached>| {
        let over = |figure: fn(Reached) -> u64| {
            Spread::of(trials.iter().filter_map(of).map(|reached| figure(reached) as f64).collect())
        };
        Some(Restored { rounds: over(|reached| reached.rounds)?, bytes: over(|reached| reached.bytes)? })
    };
    let remains = trials.first().and_then(|trial| trial.remains);
    Convergence {
        nodes,
        trials: trials.len(),
        settled: trials.iter().filter(|trial| trial.is_settled).count(),
        updates: over(|trial| trial.updates as f64),
        rounds: some(|trial| trial.agreed.map(|rounds| rounds as f64)),
        bytes: Parts {
            all: over(|trial| by_update(trial, trial.sent.size.bytes())),
            payload: over(|trial| by_update(trial, trial.sent.size.payload)),
            metadata: over(|trial| by_update(trial, trial.sent.size.metadata)),
            digest: over(|trial| by_update(trial, trial.sent.size.digest)),
        },
        elements: over(|trial| by_update(trial, trial.sent.size.elements)),
        letters: over(|trial| by_update(trial, trial.sent.letters)),
        merged: over(|trial| by_update(trial, trial.sent.merged)),
        redundancy: over(|trial| (trial.sent.merged - trial.sent.news) as f64 / trial.sent.news.max(1) as f64),
        catch_up: restored(|trial| trial.caught_up),
        join: restored(|trial| trial.joined),
        database: remains.map(|_| {
            let over = |of: fn(&Trial, Remains) -> Option<f64>| {
                Spread::of(trials.iter().filter_map(|trial| of(trial, trial.remains?)).collect())
            };
            Remainder {
                whole: over(|trial, remains| Some(remains.wholes as f64 / trial.turns.max(1) as f64)),
                certificates: over(|_, remains| Some(remains.certificates)),
                resurrected: over(|_, remains| remains.resurrected),
            }
        }),
    }
}

fn by_update(trial: &Trial, figure: u64) -> f64 {
    figure as f64 / trial.updates.max(1) as f64
}

fn spread(values: Vec<f64>) -> Spread {
    Spread::of(values).expect("there is a trial")
}
