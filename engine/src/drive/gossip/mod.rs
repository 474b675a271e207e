//! Gossip on real transports: many nodes to a thread, a thread and an endpoint of the transport to a host.
//!
//! Node i lives on host i mod `cluster.hosts`. What it says to a node of another host goes over the transport, in the
//! host's name; what it says to one of its own host is handed over in memory, and counted apart. The conductor gives out
//! one trial after the other: new nodes with new randomness on each host, whose first cycle begins at one moment of the
//! clock that all share. Where links are shaped, they are those between nodes, wherever these live: a frame is held before
//! it goes either way. A trial is over at the end of the cycle in which nothing more can happen.

mod host;
mod links;
mod stage;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use quorumbench_protocols::Prng;
use quorumbench_transports::Clock;

use self::host::Host;
use self::links::Passed;
use self::stage::{Record, Stage};
use super::control::Control;
use super::packets::Network;
use super::seat::{self, Held, Seated};
use super::{DriveError, PATIENCE, threads};
use crate::measure::histogram;
use crate::population::{SoFar, Tally};
use crate::results::{Epidemic, NodeLinks, Percentiles, Real, Spread, Theory, encode_histogram};
use crate::spec::{Emulation, Point};

/// How often the conductor looks up.
const TICK: Duration = Duration::from_millis(2);

/// Runs the trials of a point that gossips on a real transport, with all randomness but time's from `seed`.
///
/// `progress` hears every few milliseconds how far they are, on the calling thread.
///
/// # Errors
/// [`DriveError`]; no thread and no socket is left behind.
pub fn gossip(
    point: &Point,
    seed: u64,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(SoFar),
) -> Result<(Epidemic, Real), DriveError> {
    let point = &as_cluster(point);
    let control = Control::new(Clock::start());
    let mut hosts = Hosts::start(point, seed, &control)?;
    let gossip = &point.gossip;
    let (seeds, mut tally, mut whole) = (Prng::new(seed), Tally::new(point.cluster.nodes, gossip), Vec::new());
    hosts.wait(interrupted, &mut |stage| stage.greeted() == point.cluster.replicas)?;
    for index in 0..gossip.trials {
        hosts.stage.begin(index as u64 + 1, seeds.fork(index as u64));
        let so_far = SoFar { finished: index, split: tally.split() };
        hosts.wait(interrupted, &mut |stage| {
            progress(so_far);
            stage.look();
            stage.recorded() == point.cluster.replicas
        })?;
        let record = hosts.stage.take();
        tally.add(index, &record.trial);
        whole.push(record);
    }
    let lateness = hosts.end()?;
    let real = real(point, &whole, &lateness);
    let epidemic = tally.epidemic();
    // Nobody has a theory of links that take their time.
    let theory = if real.link.is_some() { Theory::default() } else { epidemic.theory };
    Ok((Epidemic { last_ns: real.last_ns.mean, theory, ..epidemic }, real))
}

/// The same point as the rest of this module knows one: with a replica for each host, and no clients.
fn as_cluster(point: &Point) -> Point {
    let mut point = point.clone();
    let most = point.cluster.nodes.min(MOST_HOSTS);
    point.cluster.replicas = match point.cluster.hosts {
        0 => threads::cores().len().clamp(2, most),
        hosts => hosts,
    };
    point.load.clients = 0;
    // A digest has eight bytes a rumor.
    point.batch.bytes = point.gossip.payload.max(8 * point.gossip.rumors);
    point
}

/// Beyond that, threads wait for each other more than for messages.
const MOST_HOSTS: usize = 63;

fn real(point: &Point, records: &[Record], lateness: &Histogram<u64>) -> Real {
    let nodes = point.cluster.nodes as f64;
    let over = |of: &dyn Fn(&Record) -> f64| Spread::of(records.iter().map(of).collect()).expect("there is a trial");
    let sum = |of: &dyn Fn(&Record) -> u64| records.iter().map(of).sum::<u64>();
    let travelled = sum(&|record| record.counters.sent_frames + record.counters.dropped_frames);
    let passed = records.iter().map(|record| record.passed).fold(Passed::default(), Passed::plus);
    let handed_over = sum(&|record| record.handed_over);
    Real {
        hosts: point.cluster.replicas,
        last_ns: over(&|record| record.last_ns as f64),
        wire_bytes_per_node: over(&|record| record.counters.sent_bytes as f64 / nodes),
        travelled: travelled as f64 / (travelled + handed_over).max(1) as f64,
        turns: sum(&|record| record.turns),
        late_turns: sum(&|record| record.late_turns),
        stalls: sum(&|record| record.stalls),
        dropped_frames: sum(&|record| record.counters.dropped_frames + record.passed.full),
        strays: sum(&|record| record.strays),
        lost_connections: sum(&|record| record.counters.lost_connections),
        malformed: sum(&|record| record.malformed + record.counters.malformed),
        link: (point.network.emulation == Emulation::Shape).then(|| NodeLinks {
            shortest_ns: point.shortest_way().as_nanos() as u64,
            frames: passed.frames,
            lost_frames: passed.lost,
            late_ns: Percentiles::from(lateness),
            late_histogram: encode_histogram(lateness),
        }),
    }
}

/// The hosts' threads. When it is dropped, all of them end.
struct Hosts {
    stage: Arc<Stage>,
    control: Control,
    threads: Vec<JoinHandle<io::Result<Histogram<u64>>>>,
    _ports: Vec<Held>,
}

impl Hosts {
    fn start(point: &Point, seed: u64, control: &Control) -> Result<Self, DriveError> {
        let failed = |source| DriveError::Transport { node: point.cluster.transport.name().into(), source };
        let network = Network::of(point, 0, control)?;
        let (ports, seats) = seat::seats(point, seat::fresh_run(), control.clock(), &network).map_err(failed)?;
        let stage = Arc::new(Stage::new(point, control));
        let cores = threads::cores();
        let start = |(id, (seat, _)): (usize, Seated)| {
            let (stage, rules) = (stage.clone(), Arc::new(point.clone()));
            let body = move || Host::new(id, rules, stage, seed).run(&mut *seat.join()?);
            threads::spawn(format!("host {id}"), Some(cores[id % cores.len()]), body)
        };
        let threads = seats.into_iter().enumerate().map(start).collect();
        Ok(Self { stage, control: control.clone(), threads, _ports: ports })
    }

    /// Until it is `done`, which is asked every few milliseconds.
    fn wait(&mut self, interrupted: &AtomicBool, done: &mut dyn FnMut(&Stage) -> bool) -> Result<(), DriveError> {
        while !done(&self.stage) {
            if interrupted.load(Ordering::Relaxed) {
                return Err(DriveError::Interrupted);
            }
            if let Some(ended) = self.threads.iter().position(JoinHandle::is_finished) {
                threads::join(self.threads.swap_remove(ended))?;
            }
            if self.stage.greeted() < self.stage.hosts && self.control.clock().now().0 > PATIENCE.as_nanos() as u64 {
                return Err(DriveError::NoAnswer { waited: PATIENCE });
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// How much later than it should have each frame came out of a link.
    fn end(mut self) -> Result<Histogram<u64>, DriveError> {
        self.control.stop();
        let mut all = histogram();
        for thread in std::mem::take(&mut self.threads) {
            all.add(threads::join(thread)?).expect("all have the same bounds");
        }
        Ok(all)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.control.stop();
        // Whoever drops it has a failure already.
        self.threads.drain(..).for_each(|thread| drop(threads::join(thread)));
    }
}
