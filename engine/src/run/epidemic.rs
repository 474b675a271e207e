//! A point of gossip, run.

use std::sync::atomic::AtomicBool;

use super::{Experiment, Missed, Observer, Shot};
use crate::drive::{self, DriveError};
use crate::epidemic;
use crate::host;
use crate::population::{self, SoFar};
use crate::results::{EPIDEMIC_SCHEMA, Epidemic, EpidemicResult, Real};
use crate::spec::{Point, TransportName};
use crate::warnings::of_epidemic;

/// Its trials: where it is computed, on as many threads as there are cores.
pub(super) fn shoot(
    experiment: &Experiment<'_>,
    point: &Point,
    shot: Shot,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<EpidemicResult, Missed> {
    let mut is_told = false;
    let progress = &mut |so_far: SoFar| {
        observer.trials(so_far.finished, point.gossip.trials);
        if so_far.split > 0 && !std::mem::replace(&mut is_told, true) {
            observer.warn(&split_view(so_far.split, so_far.finished));
        }
    };
    let (world, (epidemic, real)) = run(point, shot.seed, interrupted, progress).map_err(Missed::Drive)?;
    Ok(EpidemicResult {
        schema: EPIDEMIC_SCHEMA.into(),
        name: experiment.spec.name().into(),
        repetition: shot.repetition,
        world: world.into(),
        seed: shot.seed,
        axes: point.axes(),
        warnings: warnings(&epidemic, real.as_ref()),
        epidemic,
        real,
    })
}

/// In its world.
fn run(
    point: &Point,
    seed: u64,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(SoFar),
) -> Result<(&'static str, (Epidemic, Option<Real>)), DriveError> {
    let (nodes, gossip, cores) = (point.cluster.nodes, &point.gossip, host::cores());
    let (world, computed) = match point.cluster.transport {
        TransportName::Population => {
            ("population", population::epidemic(nodes, gossip, seed, cores, interrupted, progress))
        }
        TransportName::Sim => ("virtual", epidemic::epidemic(nodes, gossip, seed, cores, interrupted, progress)),
        _ => {
            let (epidemic, real) = drive::gossip(point, seed, interrupted, progress)?;
            return Ok(("real", (epidemic, Some(real))));
        }
    };
    Ok((world, (computed.ok_or(DriveError::Interrupted)?, None)))
}

/// What makes its figures doubtful.
fn warnings(epidemic: &Epidemic, real: Option<&Real>) -> Vec<String> {
    let split = epidemic.split.filter(|&split| split > 0);
    let split = split.map(|split| split_view(split, epidemic.trials));
    split.into_iter().chain(of_epidemic(real).iter().map(ToString::to_string)).collect()
}

fn split_view(split: usize, trials: usize) -> String {
    format!(
        "split_view: in {split} of {trials} trials the graph of who may talk to whom was not connected: some could not be \
         reached by any means"
    )
}
