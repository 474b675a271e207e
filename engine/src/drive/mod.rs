//! The driver: one point of an experiment, on real threads and a real transport, or in virtual time.
//!
//! A thread a replica and a thread a client, each with a loop of its own: wait for frames, take a
//! turn, send. They share one process, or have one each (`cluster.placement`); nothing else differs.
//! [`measure`] starts a fresh cluster, waits until it answers, loads it, and stops it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use quorumbench_protocols::{Nanos, NodeId};
use quorumbench_transports::{Clock, Counters};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::witness::Trace;
use crate::live::Live;
use crate::measure::{Recording, Window};
use crate::node::NodeStats;
use crate::remote;
use crate::spec::{Durability, Mover, Placement, Point, Run};
pub use crate::spec::{Fault, FaultKind, Target};

mod aftermath;
mod arrears;
mod body;
mod cluster;
mod control;
mod disk;
mod faults;
mod gossip;
mod groups;
mod ledger;
mod links;
mod log;
mod orders;
mod packets;
mod part;
mod processes;
mod replica;
mod seat;
mod threads;
mod virtual_time;
mod ward;

pub use aftermath::Aftermath;
use cluster::Threads;
pub use control::Phase;
use control::{Begun, Control};
use faults::FaultPlan;
pub use gossip::gossip;
use packets::Network;
pub use packets::{Effort, LinkCounts, LinkLine, PacketsReport, mover, probe_packets};
use part::{Cluster, Part};
use processes::Processes;
pub use processes::{ChildError, node, set_program};

/// Something that happened while a point was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds from the start of the measured window (before it: negative).
    pub at_ns: i64,
    /// What.
    pub kind: EventKind,
    /// Which replica.
    pub node: NodeId,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A replica began to lead; of several consensus groups, the first.
    Leader,
    /// A replica died.
    Killed,
    /// It is back.
    Restarted,
    /// A leader was asked to hand over.
    Transfer,
    /// A replica stands still.
    Paused,
    /// It goes on.
    Resumed,
    /// A replica is cut off.
    Isolated,
    /// It is not any more.
    Healed,
    /// A replica, its disk or its link got slow.
    Slowed,
    /// It is as fast as before.
    Recovered,
    /// A replica that was away has been delivered what others had been when it came back.
    CaughtUp {
        /// The last slot of that.
        slot: u64,
        /// What it received since it was back, heads included, whatever for.
        bytes: u64,
    },
}

impl EventKind {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Killed => "killed",
            Self::Restarted => "restarted",
            Self::Transfer => "transfer",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Isolated => "isolated",
            Self::Healed => "healed",
            Self::Slowed => "slowed",
            Self::Recovered => "recovered",
            Self::CaughtUp { .. } => "caught-up",
        }
    }
}

/// What one run of one point yielded.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the clients recorded, merged.
    pub recording: Recording,
    /// What the replicas used in the window, together.
    pub replicas: Usage,
    /// What the clients used in the window, together.
    pub clients: Usage,
    /// CPU time in the window of all processes that took part, whoever used it. Of a process that was killed,
    /// what it used in its last moments is not in it.
    pub process_cpu_ns: u64,
    /// How much memory they took.
    pub memory: Memory,
    /// What the replica that delivered most did in the window.
    pub busiest: NodeStats,
    /// What all replicas did in the window, added up.
    pub together: NodeStats,
    /// What each replica did from its start to the end of the point.
    pub totals: Vec<NodeStats>,
    /// How many consensus groups each replica led as the window opened, and as it closed; none if it was down.
    pub groups_led: Vec<[u32; 2]>,
    /// How long the writes of all logs on a disk took in the window; empty without any.
    pub log_writes: Histogram<u64>,
    /// How much later than they should have emulated links let go of what they held, in nanoseconds: each frame from the
    /// start to the end of the point, or each packet in the window. Empty without any.
    pub lateness: Histogram<u64>,
    /// What the links did, where they are emulated packet by packet.
    pub packets: Option<PacketsReport>,
    /// What happened.
    pub events: Vec<Event>,
    /// What came of each fault, in the order in which they were given.
    pub faults: Vec<Aftermath>,
    /// How many cores the threads had between them.
    pub cores: usize,
    /// How long the window was.
    pub window_ns: u64,
    /// When it closed; in virtual time, when it was computed.
    pub window_closed: SystemTime,
}

/// The most memory that processes had at once, in bytes, from their start to the end of the point. A
/// trace, where one is kept, is in it. `None` where one process holds everyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Resident set of the replica that had most.
    pub replica_rss_bytes: Option<u64>,
    /// Resident set of the client that had most.
    pub client_rss_bytes: Option<u64>,
}

/// What threads used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time: of their processes, where they have some of their own; else of the nodes' threads, and of those that
    /// write to files for them.
    pub cpu_ns: u64,
    /// The most CPU time that one node's own thread used.
    pub busiest_cpu_ns: u64,
    /// What their transports did.
    #[serde(with = "remote::counters")]
    pub counters: Counters,
}

/// Why a point could not be measured.
#[derive(Debug)]
pub enum DriveError {
    /// A node's transport or log could not be set up, or broke.
    Transport {
        /// Which node.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// No replica answered.
    NoAnswer {
        /// For how long.
        waited: Duration,
    },
    /// A thread panicked: our bug.
    Panicked {
        /// Which node.
        node: String,
    },
    /// A node's process ended, and nobody had asked it to.
    Died {
        /// Which node.
        node: String,
        /// Its process.
        process: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// A client did not end when its time was up: its process is stopped, or its machine does not get to it.
    Stuck {
        /// For how long it was waited for.
        waited: Duration,
    },
    /// There are no links to be had that lose packets.
    Links {
        /// What was to move packets.
        mover: Mover,
        /// Why.
        source: io::Error,
    },
    /// A replica was to come back with nothing of what it had promised.
    Blank,
    /// The user wants to stop.
    Interrupted,
}

impl std::fmt::Display for DriveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transport { node, source } => {
                let out_of_files = source.raw_os_error() == Some(Errno::MFILE.raw_os_error());
                let hint = if out_of_files { "; raise the limit of open files with `ulimit -n`" } else { "" };
                write!(f, "{node}: {source}{hint}")
            }
            Self::NoAnswer { waited } => write!(
                f,
                "no replica answered a client within {} s; perhaps `cluster.election_timeout` is too short for this \
                 machine, or the limit of open files (`ulimit -n`) too low",
                waited.as_secs()
            ),
            Self::Panicked { node } => write!(f, "{node} panicked: this is a bug, and its message stands above"),
            Self::Died { node, process, status } => {
                write!(f, "{node} (process {process}) ")?;
                match (status.signal(), status.code()) {
                    (Some(signal), _) => write!(f, "was killed by signal {signal}"),
                    (None, code) => write!(f, "ended with exit code {}", code.unwrap_or_default()),
                }
            }
            Self::Stuck { waited } => write!(
                f,
                "a client has not ended {} s after it should have; perhaps its process is stopped, or the machine too busy",
                waited.as_secs()
            ),
            Self::Links { mover, source } => packets::explain(*mover, source, f),
            Self::Blank => write!(
                f,
                "a replica's process that is killed comes back blank, and would break what it promised; it needs a log: \
                 set `storage.durability` to \"{}\"",
                Durability::Fsync
            ),
            Self::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for DriveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport { source, .. } | Self::Links { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What nodes keep on top of what every run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Keep {
    /// What was asked, told and applied.
    trace: bool,
    /// When commands completed, and where replicas stand.
    timeline: bool,
    /// What clients have seen so far.
    live: bool,
}

/// What is wanted of a point besides its figures.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Everything that was asked, told and applied, to be verified.
    pub traced: bool,
    /// Where clients count what they see while they run. In virtual time they do not.
    pub live: Option<Arc<Live>>,
}

/// How long a fresh cluster may take to answer its first request, and clients to end after their time.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between the first answer and the first command: long enough for every client to hear of it.
const LEAD_NS: u64 = control::LOOK_NS + 5_000_000;
/// How often the measuring thread looks up.
const TICK: Duration = Duration::from_millis(5);

/// Runs `point` once, on a fresh cluster, with all randomness from `seed`.
///
/// A point on the transport `sim` runs in virtual time, on this thread; so do its faults.
///
/// `interrupted` ends it early, with [`DriveError::Interrupted`]. `progress` is called every few
/// milliseconds, on the calling thread.
///
/// # Errors
/// [`DriveError`]; no thread, no process and no socket is left behind.
pub fn measure(
    point: &Point,
    run: Run,
    seed: u64,
    faults: &[Fault],
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(Phase),
) -> Result<Outcome, DriveError> {
    measure_with(point, run, seed, faults, Extras::default(), interrupted, progress).map(|(outcome, _)| outcome)
}

/// As [`measure`], and if `traced` with everything that was asked, told and applied, to be verified.
///
/// # Errors
/// As [`measure`].
pub fn measure_and_trace(
    point: &Point,
    run: Run,
    seed: u64,
    faults: &[Fault],
    traced: bool,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(Phase),
) -> Result<(Outcome, Trace), DriveError> {
    measure_with(point, run, seed, faults, Extras { traced, live: None }, interrupted, progress)
}

/// As [`measure`], with [`Extras`]. The trace is empty unless it was wanted.
///
/// # Errors
/// As [`measure`].
pub fn measure_with(
    point: &Point,
    run: Run,
    seed: u64,
    faults: &[Fault],
    Extras { traced, live }: Extras,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(Phase),
) -> Result<(Outcome, Trace), DriveError> {
    let keep = Keep { trace: traced, timeline: !faults.is_empty(), live: live.is_some() };
    if point.is_virtual() {
        return virtual_time::measure(point, run, seed, faults, keep, interrupted, progress);
    }
    let control = Control::new(Clock::start()).showing(live);
    if !point.remembers() && faults.iter().any(Fault::returns) {
        return Err(DriveError::Blank);
    }
    let parts = Part::all(point, seed, keep);
    let network = Network::of(point, seed, &control)?;
    let mut cluster: Box<dyn Cluster> = match point.cluster.placement {
        Placement::Threads => Box::new(Threads::start(point, &parts, &control, network)?),
        Placement::Processes => Box::new(Processes::start(point, &parts, &control, network)?),
    };
    let conducted = conduct(&mut *cluster, point, run, seed, faults, &control, interrupted, progress)?;
    let Conducted { own_cpu_ns, window_closed, plan } = conducted;
    let ended = cluster.end()?;
    let recording = ended.recording.ok_or(DriveError::Interrupted)?;
    let window = control.window().expect("a point that was conducted has a window");
    let events = control.events();
    let timeline = recording.timeline.as_deref();
    let outcome = Outcome {
        faults: timeline.map_or_else(Vec::new, |timeline| aftermath::of(plan, point, window, timeline, &events)),
        recording,
        replicas: ended.replicas,
        clients: ended.clients,
        process_cpu_ns: own_cpu_ns + ended.elsewhere_cpu_ns,
        memory: ended.memory,
        busiest: ended.busiest,
        together: ended.together,
        totals: ended.totals,
        groups_led: ended.groups_led,
        log_writes: ended.timings.log_writes,
        lateness: ended.timings.lateness,
        packets: ended.packets,
        events,
        cores: threads::cores().len(),
        window_ns: window.length_ns(),
        window_closed,
    };
    Ok((outcome, ended.trace))
}

/// What the conductor saw.
struct Conducted {
    /// CPU time that this process used in the window.
    own_cpu_ns: u64,
    window_closed: SystemTime,
    plan: FaultPlan,
}

/// Leads a started cluster through its phases.
#[expect(clippy::too_many_arguments, reason = "what a point is measured by")]
fn conduct(
    cluster: &mut dyn Cluster,
    point: &Point,
    run: Run,
    seed: u64,
    faults: &[Fault],
    control: &Control,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(Phase),
) -> Result<Conducted, DriveError> {
    let clock = control.clock();
    let mut wait = |cluster: &mut dyn Cluster, phase: Phase, until: &mut Until<'_>| {
        while let Some(again_at) = until(cluster)? {
            if interrupted.load(Ordering::Relaxed) {
                return Err(DriveError::Interrupted);
            }
            cluster.check()?;
            progress(phase);
            std::thread::sleep(TICK.min(Duration::from_nanos(again_at.saturating_since(clock.now()))));
        }
        Ok(())
    };

    wait(cluster, Phase::Starting, &mut |cluster| {
        if clock.now() > Nanos(PATIENCE.as_nanos() as u64) {
            return Err(DriveError::NoAnswer { waited: PATIENCE });
        }
        Ok((control.clients_ready() < cluster.clients()).then_some(Nanos::NEVER))
    })?;

    let load_from = clock.now() + LEAD_NS;
    let from = load_from + run.warmup.as_nanos() as u64;
    let window = Window { from, until: from + run.duration.as_nanos() as u64 };
    let give_up_at = window.until + drain_limit_ns(point);
    cluster.begin(Begun { load_from, window, give_up_at });
    wait(cluster, Phase::WarmingUp, &mut |_| Ok((clock.now() < window.from).then_some(window.from)))?;

    let cpu_before = control::process_cpu_ns();
    let mut plan = FaultPlan::new(faults, point, window, seed);
    wait(cluster, Phase::Measuring, &mut |cluster| {
        let now = clock.now();
        plan.turn(now, cluster)?;
        Ok((now < window.until).then_some(window.until.min(plan.next_at(now))))
    })?;
    let (own_cpu_ns, window_closed) = (control::process_cpu_ns() - cpu_before, SystemTime::now());

    wait(cluster, Phase::Draining, &mut |cluster| {
        let now = clock.now();
        plan.turn(now, cluster)?;
        if now > give_up_at + PATIENCE.as_nanos() as u64 {
            return Err(DriveError::Stuck { waited: PATIENCE });
        }
        Ok((control.clients_finished() < cluster.clients()).then_some(plan.next_at(now)))
    })?;
    Ok(Conducted { own_cpu_ns, window_closed, plan })
}

/// When to ask again at the latest whether a phase is over; `None` if it is. What is due at a moment must not
/// be done a tick later.
type Until<'a> = dyn FnMut(&mut dyn Cluster) -> Result<Option<Nanos>, DriveError> + 'a;

/// How long answers are awaited after the window: long enough for a resend to be answered.
fn drain_limit_ns(point: &Point) -> u64 {
    (2 * point.load.resend).max(Duration::from_secs(2)).as_nanos() as u64
}
