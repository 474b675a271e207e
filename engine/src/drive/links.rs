//! How far a point's nodes are from each other: the model of each link, and a node's links where it shapes them itself.

use std::io;

use hdrhistogram::Histogram;
use quorumbench_protocols::Prng;
use quorumbench_transports::shape::{Distribution, LinkModel, LinkState, Shape};
use quorumbench_transports::{Clock, Counters, Transport};

use super::part::Part;
use super::seat;
use crate::measure::histogram;
use crate::spec::{Emulation, JitterDistribution, Point};

/// The links from one node to all, where it holds back itself what it sends.
#[derive(Clone, Debug)]
pub(super) struct Shaped {
    links: Vec<LinkState>,
    link_bytes: usize,
    clock: Clock,
}

impl Shaped {
    /// Those of `part`; `None` where links are what they are.
    pub(super) fn of(point: &Point, part: Part, clock: Clock) -> Option<Self> {
        let link = |to: usize| state(point, part.id().0 as usize, to, part.seed);
        (point.network.emulation == Emulation::Shape).then(|| Self {
            links: (0..point.nodes()).map(link).collect(),
            link_bytes: seat::options(point).link_bytes,
            clock,
        })
    }
}

/// What came of shaping links.
#[derive(Debug)]
pub(super) struct Shaping {
    /// How much later than they should have they let go of each frame.
    pub(super) lateness: Histogram<u64>,
    /// What they add to the transport's.
    pub(super) counters: Counters,
}

impl Default for Shaping {
    fn default() -> Self {
        Self { lateness: histogram(), counters: Counters::default() }
    }
}

/// What `body` does on this transport, or on these links over it.
pub(super) fn over<R>(
    shaped: Option<&Shaped>,
    transport: &mut dyn Transport,
    body: impl FnOnce(&mut dyn Transport) -> io::Result<R>,
) -> io::Result<(R, Shaping)> {
    let Some(Shaped { links, link_bytes, clock }) = shaped else { return Ok((body(transport)?, Shaping::default())) };
    let mut shape = Shape::new(transport, *clock, links.iter().cloned(), *link_bytes);
    let done = body(&mut shape)?;
    let counters = Counters { dropped_frames: shape.dropped_frames(), ..Counters::default() };
    Ok((done, Shaping { lateness: shape.lateness().clone(), counters }))
}

/// The link from one node to another, replicas first, in a run of this seed.
fn state(point: &Point, from: usize, to: usize, seed: u64) -> LinkState {
    let dice = Prng::new(seed).fork(from as u64).fork(to as u64).next_u64();
    LinkState::new(&model(point, from, to), dice)
}

/// All of them, from each node to each, in order.
pub(super) fn states(point: &Point, seed: u64) -> Vec<LinkState> {
    let nodes = point.nodes();
    (0..nodes * nodes).map(|link| state(point, link / nodes, link % nodes, seed)).collect()
}

/// What that link does.
pub(super) fn model(point: &Point, from: usize, to: usize) -> LinkModel {
    let way = point.way(from, to);
    LinkModel {
        jitter: way.jitter,
        distribution: match way.jitter_distribution {
            JitterDistribution::Exponential => Distribution::Exponential,
            JitterDistribution::Uniform => Distribution::Uniform,
            JitterDistribution::Normal => Distribution::Normal,
            JitterDistribution::Pareto => Distribution::Pareto,
        },
        rate: way.bandwidth.map(|bytes| bytes as u64),
        queue: way.bandwidth.filter(|_| point.network.emulation == Emulation::Packets).map(queue),
        loss: way.loss,
        loss_burst: way.loss_burst,
        reorder: way.reorder,
        reorder_delay: way.reorder_delay,
        ..LinkModel::late(way.delay)
    }
}

/// Bytes that wait at the beginning of a link with so many bytes a second, before more are dropped: as many as it takes in
/// a tenth of a second, as routers have it, and some packets at least.
fn queue(bandwidth: usize) -> u64 {
    (bandwidth as u64 / 10).max(LEAST_QUEUE)
}

/// Room for a burst of ten segments of a connection that begins (RFC 6928), some times over.
const LEAST_QUEUE: u64 = 64 << 10;
