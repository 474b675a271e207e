//! A point of replicas that reconcile, run.

use std::sync::atomic::AtomicBool;

use super::{Experiment, Missed, Observer, Shot};
use crate::convergence::converge;
use crate::drive::DriveError;
use crate::host;
use crate::results::{CONVERGENCE_SCHEMA, ConvergenceResult};
use crate::spec::Point;

/// Its trials, on as many threads as there are cores.
pub(super) fn shoot(
    experiment: &Experiment<'_>,
    point: &Point,
    shot: Shot,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<ConvergenceResult, Missed> {
    let progress = &mut |finished| observer.trials(finished, point.replication.trials);
    let convergence = converge(point, shot.seed, host::cores(), interrupted, progress);
    Ok(ConvergenceResult {
        schema: CONVERGENCE_SCHEMA.into(),
        name: experiment.spec.name().into(),
        repetition: shot.repetition,
        world: "virtual".into(),
        seed: shot.seed,
        axes: point.axes(),
        convergence: convergence.ok_or(Missed::Drive(DriveError::Interrupted))?,
    })
}
