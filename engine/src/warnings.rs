//! Reasons to doubt a number, said next to it.

use hdrhistogram::Histogram;

use crate::disk::Disk;
use crate::drive::{Aftermath, Outcome};
use crate::measure::INTERVAL_NS;
use crate::results::{Percentiles, Real};
use crate::spec::{Point, Wait, size_text};

/// One reason. Its `Display` is what results carry: a code, a colon, and words.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// The system did not keep up: percentiles are a property of the run's length.
    Overloaded {
        /// Answered over offered.
        share: f64,
    },
    /// The generator was the limit.
    GeneratorLimited {
        /// Why.
        reason: String,
    },
    /// Throughput times latency is not what was in flight: the bookkeeping or the window is off.
    LittlesLaw {
        /// Throughput x mean service time, over the mean in flight.
        ratio: f64,
    },
    /// Throughput never settled.
    NoSteadyState,
    /// Percentiles that have too few samples behind them.
    TooFewSamples {
        /// Which.
        percentiles: Vec<&'static str>,
        /// How many samples there are.
        count: u64,
    },
    /// Commands were never answered.
    Unanswered {
        /// How many.
        commands: u64,
    },
    /// Commands had to wait for others to be answered before they could be sent.
    Late {
        /// How many.
        commands: u64,
    },
    /// Frames were dropped by a full or absent link.
    DroppedFrames {
        /// How many.
        frames: u64,
    },
    /// What moves packets had no time left, or lost some that nobody asked it to.
    LinkLimited {
        /// The share of the window that it worked.
        busy: f64,
        /// Packets that it did not take fast enough.
        overrun: u64,
    },
    /// Connections were lost, turned away, or dropped for what came over them.
    Disturbed {
        /// Established connections that were lost.
        lost: u64,
        /// Strangers that were turned away.
        strangers: u64,
        /// Frames, and connections, that no correct peer sends.
        malformed: u64,
    },
    /// Leadership moved inside the window.
    LeaderChanged,
    /// A replica that a fault was done to fell further and further behind.
    LagGrows {
        /// Which.
        replica: u32,
        /// How far, in slots.
        slots: u64,
        /// The most bytes of its log that another replica kept meanwhile.
        kept_bytes: u64,
    },
    /// Frames left so much later than they should have that the shortest link was longer than it was to be.
    CoarseLink {
        /// How much later at p99, in nanoseconds.
        late_ns: u64,
        /// How long it was to be, one way.
        way_ns: u64,
    },
    /// Several threads shared a core, so each also waited for the others.
    SharedCores {
        /// How many threads.
        threads: usize,
        /// How many cores.
        cores: usize,
        /// Whether each used up its time before another had its turn.
        spins: bool,
    },
    /// The distance between cores changed: the host moved them.
    CoresMoved {
        /// Before and after, in nanoseconds.
        round_trip_ns: [f64; 2],
    },
    /// Logs were on what is no disk.
    MemoryDisk {
        /// What it is.
        file_system: String,
    },
    /// The disk says that it has synced sooner than any can.
    FastSync {
        /// The median of its syncs alone.
        p50_ns: u64,
    },
    /// Nodes that gossip had no turn late, and yet their host was away.
    StalledHosts {
        /// How often.
        stalls: u64,
    },
    /// Nodes that gossip had their turns so late that others were in their next cycle already, or nearly.
    LateRounds {
        /// The share of all turns.
        share: f64,
    },
    /// This program was built without optimisation.
    DebugBuild,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Overloaded { share } => write!(
                f,
                "overloaded: {:.1} % of what was offered was answered; the percentiles tell how long the run was, not how fast the system is",
                share * 100.0
            ),
            Self::GeneratorLimited { reason } => write!(f, "generator_limited: {reason}"),
            Self::LittlesLaw { ratio } => write!(
                f,
                "littles_law: throughput x mean service time is {ratio:.2} times what was in flight; load or latency was not steady"
            ),
            Self::NoSteadyState => write!(f, "no_steady_state: throughput never stayed flat for half of the window"),
            Self::TooFewSamples { percentiles, count } => {
                write!(f, "too_few_samples: {} from {count} commands", percentiles.join(", "))
            }
            Self::Unanswered { commands } => {
                write!(f, "unanswered: {commands} commands were given up; their time so far is counted")
            }
            Self::Late { commands } => {
                write!(
                    f,
                    "late: {commands} commands waited because load.in_flight_limit was reached; their wait is counted"
                )
            }
            Self::DroppedFrames { frames } => {
                write!(f, "dropped_frames: a full or absent link dropped {frames} frames")
            }
            Self::LinkLimited { busy, overrun } => write!(
                f,
                "link_limited: the mover of packets was {:.0} % busy, and the kernel dropped {overrun} that it did not take",
                busy * 100.0
            ),
            Self::Disturbed { lost, strangers, malformed } => write!(
                f,
                "disturbed: {lost} connections lost, {strangers} strangers turned away, {malformed} malformed frames"
            ),
            Self::LeaderChanged => write!(f, "leader_changed: leadership moved inside the window"),
            Self::LagGrows { replica, slots, kept_bytes } => write!(
                f,
                "lag_grows: replica {replica} was {slots} slots behind and still fell back; others kept {} of log in memory by then",
                size_text(*kept_bytes)
            ),
            Self::CoarseLink { late_ns, way_ns } => write!(
                f,
                "coarse_link: one frame in a hundred left {:.0} us late or more, over links of {:.0} us; poll (`cluster.wait`) where nodes can, or make them longer",
                *late_ns as f64 / 1e3,
                *way_ns as f64 / 1e3
            ),
            Self::SharedCores { threads, cores, spins } => {
                write!(f, "shared_cores: {threads} threads on {cores} cores; latencies include waiting for a core")?;
                if *spins {
                    write!(f, ", of a time slice each: try `cluster.wait` \"{}\"", Wait::Yield)?;
                }
                Ok(())
            }
            Self::CoresMoved { round_trip_ns: [before, after] } => write!(
                f,
                "cores_moved: a cache line's round trip between cores went from {before:.0} to {after:.0} ns; the host moved them"
            ),
            Self::MemoryDisk { file_system } => {
                write!(f, "memory_disk: the logs were on {file_system}, which is memory: set storage.path to a disk")
            }
            Self::FastSync { p50_ns } => write!(
                f,
                "fast_sync: a sync alone took {:.1} us, quicker than any device: something on the way does not wait for it",
                *p50_ns as f64 / 1e3
            ),
            Self::StalledHosts { stalls } => write!(
                f,
                "stalled_hosts: {stalls} times a host stood still for more than half a cycle, and saw late what came \
                 meanwhile; use a longer gossip.interval, or a machine that does nothing else"
            ),
            Self::LateRounds { share } => write!(
                f,
                "late_rounds: {:.2} % of turns began more than half a cycle late; this machine needs a longer gossip.interval",
                share * 100.0
            ),
            Self::DebugBuild => write!(f, "debug_build: built without optimisation; use cargo run --release"),
        }
    }
}

/// All that is to be said of a point.
pub fn warnings(point: &Point, outcome: &Outcome, disk: Option<&Disk>, core_round_trip_ns: [f64; 2]) -> Vec<Warning> {
    let (recording, tally) = (&outcome.recording, &outcome.recording.tally);
    let threads = point.nodes() + usize::from(outcome.packets.as_ref().is_some_and(|packets| packets.effort.is_some()));
    let cores = outcome.cores;
    let moved = outcome.events.iter().any(|event| event.at_ns >= 0 && event.kind == crate::drive::EventKind::Leader)
        || outcome.groups_led.iter().any(|[start, end]| start != end);
    let dropped = outcome.replicas.counters.dropped_frames + outcome.clients.counters.dropped_frames;
    let some = |condition: bool, warning: Warning| condition.then_some(warning);
    [
        some(cfg!(debug_assertions), Warning::DebugBuild),
        overloaded(point, outcome),
        generator_limited(point, outcome),
        littles_law(outcome),
        some(!has_flat_stretch(&completions(outcome)), Warning::NoSteadyState),
        some(tally.unanswered > 0, Warning::Unanswered { commands: tally.unanswered }),
        some(tally.late > 0, Warning::Late { commands: tally.late }),
        some(dropped > 0, Warning::DroppedFrames { frames: dropped }),
        link_limited(point, outcome),
        disturbed(outcome),
        disk.filter(|disk| disk.is_memory()).map(|disk| Warning::MemoryDisk { file_system: disk.file_system.clone() }),
        disk.filter(|disk| !disk.is_memory() && disk.is_too_fast())
            .map(|disk| Warning::FastSync { p50_ns: disk.syncs.value_at_quantile(0.5) }),
        some(moved, Warning::LeaderChanged),
        coarse_link(point.shortest_way().as_nanos() as u64, outcome.lateness.value_at_quantile(0.99)),
        cores_moved(core_round_trip_ns),
        too_few_samples(&recording.response),
        some(threads > cores, Warning::SharedCores { threads, cores, spins: point.cluster.wait == Wait::Spin }),
    ]
    .into_iter()
    .flatten()
    .chain(outcome.faults.iter().filter_map(lag_grows))
    .collect()
}

/// The same of epidemics.
pub fn of_epidemic(real: Option<&Real>) -> Vec<Warning> {
    let Some(real) = real else { return Vec::new() };
    let late = real.late_turns as f64 / real.turns.max(1) as f64;
    let Real { dropped_frames, lost_connections, malformed, .. } = *real;
    [
        cfg!(debug_assertions).then_some(Warning::DebugBuild),
        (late > 0.0).then_some(Warning::LateRounds { share: late }),
        (late == 0.0 && real.stalls > 0).then_some(Warning::StalledHosts { stalls: real.stalls }),
        (dropped_frames > 0).then_some(Warning::DroppedFrames { frames: dropped_frames }),
        real.link.as_ref().and_then(|link| coarse_link(link.shortest_ns, link.late_ns.p99)),
        (lost_connections + malformed > 0).then_some(Warning::Disturbed {
            lost: lost_connections,
            strangers: 0,
            malformed,
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lag_grows(fault: &Aftermath) -> Option<Warning> {
    fault.lag_grows.filter(|&grows| grows)?;
    Some(Warning::LagGrows { replica: fault.node?.0, slots: fault.lag_slots?, kept_bytes: fault.others_kept_bytes? })
}

/// How many samples a percentile needs for a margin of a twentieth of what lies beyond it, at 99 %
/// confidence (`MLPerf` inference rules, "number of queries"): 263 k for p99.
pub fn samples_needed(quantile: f64) -> u64 {
    const Z: f64 = 2.575_829;
    let margin = (1.0 - quantile) / 20.0;
    (Z * Z * quantile * (1.0 - quantile) / (margin * margin)).ceil() as u64
}

/// The percentiles that results carry, with their names.
pub const PERCENTILES: [(&str, f64); 4] = [("p90", 0.90), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

fn too_few_samples(response: &Histogram<u64>) -> Option<Warning> {
    let lacking = |&(_, quantile): &(&str, f64)| response.len() < samples_needed(quantile);
    let percentiles: Vec<_> = PERCENTILES.into_iter().filter(lacking).map(|(name, _)| name).collect();
    (!percentiles.is_empty()).then(|| Warning::TooFewSamples { percentiles, count: response.len() })
}

fn overloaded(point: &Point, outcome: &Outcome) -> Option<Warning> {
    let offered = point.load.arrival.rate()? * outcome.window_ns as f64 / 1e9;
    // Arrivals at random are not exactly as many as offered: allow three standard deviations.
    let intended = (outcome.recording.tally.intended as f64).max(offered - 3.0 * offered.sqrt()).min(offered);
    let share = outcome.recording.tally.completed as f64 / intended;
    (share < 0.99 && intended - outcome.recording.tally.completed as f64 > 3.0 * offered.sqrt())
        .then_some(Warning::Overloaded { share })
}

/// A generator that sends late, or has no CPU time left, measures itself.
fn generator_limited(point: &Point, outcome: &Outcome) -> Option<Warning> {
    let busy = outcome.clients.busiest_cpu_ns as f64 / outcome.window_ns as f64;
    let starved =
        (busy > 0.9 && !point.cluster.wait.polls()).then(|| format!("a client thread was {:.0} % busy", busy * 100.0));
    let lagging = point.load.arrival.is_open().then(|| {
        let lag = Percentiles::from(&outcome.recording.send_lag).p99;
        // What lingers for company is sent late as it was told to.
        let linger = point.batch.linger.as_nanos() as u64;
        let limit = (Percentiles::from(&outcome.recording.response).p50 / 10).max(50_000) + linger;
        (lag > limit).then(|| format!("p99 send lag of {} us, above {} us", lag / 1000, limit / 1000))
    });
    Some(Warning::GeneratorLimited { reason: lagging.flatten().or(starved)? })
}

/// A mover that has no time left is what was measured.
fn link_limited(point: &Point, outcome: &Outcome) -> Option<Warning> {
    let effort = outcome.packets.as_ref()?.effort?;
    let (busy, overrun) = (effort.busy(outcome.window_ns), effort.overrun);
    (busy > 0.9 && !point.cluster.wait.polls() || overrun > 0).then_some(Warning::LinkLimited { busy, overrun })
}

/// What came over the network that should not have, or stopped coming.
fn disturbed(outcome: &Outcome) -> Option<Warning> {
    let counters = outcome.replicas.counters.plus(outcome.clients.counters);
    let frames: u64 = outcome.totals.iter().map(|stats| stats.malformed).sum();
    let (lost, strangers, malformed) = (counters.lost_connections, counters.strangers, counters.malformed + frames);
    (lost + strangers + malformed > 0).then_some(Warning::Disturbed { lost, strangers, malformed })
}

/// Little's law: what is in flight equals throughput times the time that each takes.
fn littles_law(outcome: &Outcome) -> Option<Warning> {
    let tally = &outcome.recording.tally;
    if tally.completed == 0 {
        return None;
    }
    let ratio = tally.service_sum_ns as f64 / tally.in_flight_ns as f64;
    (!(0.95..=1.05).contains(&ratio)).then_some(Warning::LittlesLaw { ratio })
}

/// Commands answered in each whole second; a last, shorter interval would look like a drop.
fn completions(outcome: &Outcome) -> Vec<u64> {
    let whole = (outcome.window_ns / INTERVAL_NS) as usize;
    outcome.recording.intervals.iter().take(whole).map(|interval| interval.completed).collect()
}

/// Whether half of the windows, in a row, lie within a tenth of their median. Fewer than four tell nothing.
fn has_flat_stretch(completed: &[u64]) -> bool {
    let flat = |stretch: &[u64]| {
        let mut sorted = stretch.to_vec();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2] as f64;
        // Chance alone moves a count by its square root.
        let tolerance = (median / 10.0).max(4.0 * median.sqrt());
        stretch.iter().all(|&count| (count as f64 - median).abs() <= tolerance)
    };
    completed.len() < 4 || completed.windows(completed.len().div_ceil(2)).any(flat)
}

/// Late by more than a tenth of the shortest way.
fn coarse_link(way_ns: u64, late_ns: u64) -> Option<Warning> {
    (way_ns > 0 && late_ns > way_ns / 10).then_some(Warning::CoarseLink { late_ns, way_ns })
}

fn cores_moved(round_trip_ns: [f64; 2]) -> Option<Warning> {
    let [before, after] = round_trip_ns;
    (before.min(after) > 0.0 && before.max(after) > 1.8 * before.min(after))
        .then_some(Warning::CoresMoved { round_trip_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_needed_are_mlperfs() {
        let needed: Vec<_> = PERCENTILES.iter().map(|&(_, quantile)| samples_needed(quantile)).collect();
        for (needed, published) in needed.iter().zip([23_886, 262_742, 2_651_000, 26_540_000]) {
            assert!((*needed as f64 / f64::from(published) - 1.0).abs() < 0.002, "{needed} {published}");
        }
    }

    #[test]
    fn a_flat_stretch_is_half_of_the_window() {
        let per_mille = |counts: &[u64]| counts.iter().map(|count| count * 1000).collect::<Vec<_>>();
        assert!(has_flat_stretch(&per_mille(&[10, 10, 10, 10])));
        assert!(has_flat_stretch(&per_mille(&[2, 5, 10, 10, 10, 10])), "it may settle late");
        assert!(!has_flat_stretch(&per_mille(&[10, 20, 40, 80, 160, 320])), "it never settles");
        assert!(!has_flat_stretch(&per_mille(&[10, 30, 10, 30, 10, 30])));
        assert!(has_flat_stretch(&[1, 90]), "too short to tell");
    }

    #[test]
    fn cores_that_moved_are_noticed() {
        assert_eq!(cores_moved([64.0, 70.0]), None);
        assert!(cores_moved([64.0, 300.0]).is_some());
    }
}
