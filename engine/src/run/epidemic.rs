//! A point of gossip, run.

use std::sync::atomic::AtomicBool;

use super::{Experiment, Missed, Observer, Shot};
use crate::drive::DriveError;
use crate::host;
use crate::population;
use crate::results::{EPIDEMIC_SCHEMA, Epidemic, EpidemicResult};
use crate::spec::Point;

/// Its trials, on as many threads as there are cores.
pub(super) fn shoot(
    experiment: &Experiment<'_>,
    point: &Point,
    shot: Shot,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<EpidemicResult, Missed> {
    let (nodes, gossip) = (point.cluster.nodes, &point.gossip);
    let progress = &mut |finished| observer.trials(finished, gossip.trials);
    let epidemic = population::epidemic(nodes, gossip, shot.seed, host::cores(), interrupted, progress);
    let epidemic = epidemic.ok_or(Missed::Drive(DriveError::Interrupted))?;
    Ok(EpidemicResult {
        schema: EPIDEMIC_SCHEMA.into(),
        name: experiment.spec.name().into(),
        repetition: shot.repetition,
        world: "population".into(),
        seed: shot.seed,
        axes: point.axes(),
        warnings: warnings(&epidemic),
        epidemic,
    })
}

/// What makes its figures doubtful.
fn warnings(epidemic: &Epidemic) -> Vec<String> {
    let split = epidemic.split.filter(|&split| split > 0).map(|split| {
        format!(
            "split_view: in {split} of {} trials the graph of who may talk to whom was not connected: some could not be \
             reached by any means",
            epidemic.trials
        )
    });
    split.into_iter().collect()
}
