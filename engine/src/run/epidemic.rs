//! A point of gossip, run.

use std::sync::atomic::AtomicBool;

use super::{Experiment, Missed, Observer, Shot};
use crate::drive::DriveError;
use crate::epidemic;
use crate::host;
use crate::population;
use crate::results::{EPIDEMIC_SCHEMA, Epidemic, EpidemicResult};
use crate::spec::{Gossip, Point, TransportName};

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
    let (world, run) = match point.cluster.transport {
        TransportName::Sim => ("virtual", epidemic::epidemic as Run),
        _ => ("population", population::epidemic as Run),
    };
    let epidemic = run(nodes, gossip, shot.seed, host::cores(), interrupted, progress);
    Ok(EpidemicResult {
        schema: EPIDEMIC_SCHEMA.into(),
        name: experiment.spec.name().into(),
        repetition: shot.repetition,
        world: world.into(),
        seed: shot.seed,
        axes: point.axes(),
        epidemic: epidemic.ok_or(Missed::Drive(DriveError::Interrupted))?,
    })
}

/// One way to run the trials of a point.
type Run = fn(usize, &Gossip, u64, usize, &AtomicBool, &mut dyn FnMut(usize)) -> Option<Epidemic>;
