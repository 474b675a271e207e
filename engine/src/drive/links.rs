//! How far a point's nodes are from each other: the model of each link.

use std::time::Duration;

use quorumbench_protocols::Prng;
use quorumbench_transports::shape::{Distribution, LinkModel, LinkState};

use crate::spec::{Emulation, JitterDistribution, Point};

/// The link from one node to another, replicas first, in a run of this seed.
pub(super) fn state(point: &Point, from: usize, to: usize, seed: u64) -> LinkState {
    let dice = Prng::new(seed).fork(from as u64).fork(to as u64).next_u64();
    LinkState::new(&model(point, from, to), dice)
}

/// What that link does.
pub(super) fn model(point: &Point, from: usize, to: usize) -> LinkModel {
    let network = &point.network;
    LinkModel {
        jitter: network.jitter,
        distribution: match network.jitter_distribution {
            JitterDistribution::Exponential => Distribution::Exponential,
            JitterDistribution::Uniform => Distribution::Uniform,
            JitterDistribution::Normal => Distribution::Normal,
            JitterDistribution::Pareto => Distribution::Pareto,
        },
        rate: network.bandwidth.map(|bytes| bytes as u64),
        queue: network.bandwidth.filter(|_| network.emulation == Emulation::Packets).map(queue),
        loss: network.loss,
        loss_burst: network.loss_burst,
        reorder: network.reorder,
        reorder_delay: network.reorder_delay,
        ..LinkModel::late(delay(point, from, to))
    }
}

/// Bytes that wait at the beginning of a link with so many bytes a second, before more are dropped: as many as it takes in
/// a tenth of a second, as routers have it, and some packets at least.
fn queue(bandwidth: usize) -> u64 {
    (bandwidth as u64 / 10).max(LEAST_QUEUE)
}

/// Room for a burst of ten segments of a connection that begins (RFC 6928), some times over.
const LEAST_QUEUE: u64 = 64 << 10;

/// One way: half of the round trip between two regions, or what there is within one. Replicas are placed in the regions
/// in turn, and clients in the first.
fn delay(point: &Point, from: usize, to: usize) -> Duration {
    let (network, replicas) = (&point.network, point.cluster.replicas);
    let within = if from.max(to) >= replicas { network.client_delay } else { network.delay };
    let across = network.round_trips.as_ref().map(|regions| {
        let region = |node: usize| if node < replicas { node % regions.count() } else { 0 };
        regions.round_trip(region(from), region(to)) / 2
    });
    across.filter(|across| !across.is_zero()).unwrap_or(within)
}
