//! What a run leaves behind: one line a point and repetition, and the files they go into.
//!
//! Everything that a reader could want to compute is stored, not only what is shown: full
//! histograms next to percentiles, counts next to rates, the host next to both.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::drive::{LinkCounts, LinkLine, Memory};
use crate::spec::Mover;

mod convergence;
mod encode;
mod epidemic;
mod store;
mod stored;

pub use convergence::{CONVERGENCE_SCHEMA, Convergence, ConvergenceResult, Parts, Remainder, Restored};
pub use encode::{decode_histogram, encode_histogram};
pub(crate) use encode::{log_head, log_line};
pub use epidemic::{EPIDEMIC_SCHEMA, Epidemic, EpidemicResult, NodeLinks, Real, Spread, Theory};
pub use store::{Ending, RunDir, StoreError};
pub(crate) use store::{replace, stamped_folder};
pub use stored::{Coordinates, ReadError, StoredRun};
pub(crate) use stored::{WORLD, fingerprint_hash, fingerprint_of};

/// The version of a line of `points.jsonl`.
pub const POINT_SCHEMA: &str = "quorumbench.point/1";
/// The version of `run --json`.
pub const RUN_SCHEMA: &str = "quorumbench.run/1";

/// One line of `points.jsonl`: one run of one point. Points of gossip have [`EpidemicResult`]s instead.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PointResult {
    /// [`POINT_SCHEMA`].
    pub schema: String,
    /// The experiment's name.
    pub name: String,
    /// Which repetition, from 0.
    pub repetition: usize,
    /// `"real"`: measured on a wall clock. Simulated time would say `"virtual"`; the two never compare.
    pub world: String,
    /// The seed of this very run.
    pub seed: u64,
    /// The point's full coordinates, varied or not.
    pub axes: Map<String, Json>,
    /// Commands a second that the open loop was to send; null in a closed loop, which offers nothing.
    pub offered_per_s: Option<f64>,
    /// Commands a second that were answered inside the window.
    pub completed_per_s: f64,
    /// Commands intended inside the window: what the histograms hold.
    pub commands: u64,
    /// Of these, the ones that were never answered. Their time until they were given up is in the histograms.
    pub errors: u64,
    /// Commands that were dropped by the generator. It drops none: what cannot be sent in time is late.
    pub shed: u64,
    /// Commands that were due while too many were in flight, and went out later.
    pub late: u64,
    /// Batches sent again.
    pub resent: u64,
    /// Whether it was verified that what was measured was linearizable: all of it, with slot order as the witness.
    /// A run that is found not to have been is not stored.
    #[serde(default)]
    pub checked: bool,
    /// The measured window's length.
    pub window_ns: u64,
    /// From the intended send to the answer.
    pub response_ns: Percentiles,
    /// From the actual send to the answer.
    pub service_ns: Percentiles,
    /// From the intended to the actual send: the generator's own delay.
    pub send_lag_ns: Percentiles,
    /// What a command cost.
    pub cost: Cost,
    /// What its logs cost; null without logs on a disk.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// What its emulated links did; null without emulation.
    #[serde(default)]
    pub link: Option<Link>,
    /// How much memory its processes had.
    #[serde(default)]
    pub memory: Memory,
    /// This point over its floors in the same run and repetition; null where the run has none.
    pub floor: Option<Floor>,
    /// How many consensus groups each replica led; null in results from before there were several.
    #[serde(default)]
    pub leaders: Option<Leaders>,
    /// Reasons to doubt the numbers, each `code: explanation`.
    pub warnings: Vec<String>,
    /// Elections and faults.
    pub events: Vec<EventLine>,
    /// What came of each fault, in the order of the config, each as often as it was to happen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultLine>,
    /// Round trip of a cache line between two cores, before and after: a virtual machine's cores move.
    pub core_round_trip_ns: [f64; 2],
    /// The full histograms.
    pub histograms: Histograms,
}

/// A distribution in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Percentiles {
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
    /// How many were counted: commands, where they are what is timed.
    pub count: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            mean: histogram.mean(),
            p50: at(0.50),
            p90: at(0.90),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
            count: histogram.len(),
        }
    }
}

/// What a command cost, over all threads, replicas and clients together. Each figure is divided by
/// the commands answered in the window, unless its name says what else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// CPU time of the whole run: of its process, or of all of them.
    pub cpu_ns_per_command: f64,
    /// CPU time of the replicas: of their processes, or of their threads and those that write their logs.
    pub replica_cpu_ns_per_command: f64,
    /// CPU time of the clients, the generator's own: of their processes, or of their threads.
    pub client_cpu_ns_per_command: f64,
    /// System calls. Each look of a node that waits by `yield` is one, whether it finds anything or not.
    pub syscalls_per_command: f64,
    /// Payload bytes copied in user space.
    pub copied_bytes_per_command: f64,
    /// Bytes handed to the network, heads included.
    pub wire_bytes_per_command: f64,
    /// Commands in a slot, as the replicas delivered them.
    pub commands_per_slot: f64,
    /// The protocol's frames from replica to replica, once per recipient, heartbeats among them, over the slots that
    /// the replica which delivered most delivered in the window; null where that is none.
    #[serde(default)]
    pub messages_per_slot: Option<f64>,
    /// Bytes of these frames, heads included, over the same slots.
    #[serde(default)]
    pub bytes_per_slot: Option<f64>,
    /// Rounds of phase 1 that were begun, over the same slots: zero for a protocol that does not go through it slot by
    /// slot.
    #[serde(default)]
    pub rounds_per_slot: Option<f64>,
}

/// What the replicas' logs on a disk did, and what the disk does alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    /// The file system that they were on.
    pub file_system: String,
    /// Syncs a second in the window, of all logs together; 0 where nothing is synced.
    pub syncs_per_s: f64,
    /// Commands answered in the window, by the syncs of one log, on average over the logs; null where nothing is synced.
    pub commands_per_sync: Option<f64>,
    /// Writes a second in the window, of all logs together.
    pub writes_per_s: f64,
    /// Bytes a second that these wrote, padding included.
    pub written_bytes_per_s: f64,
    /// From a log's write to the end of its sync, as the replicas saw it in the measured window; without syncs, to the
    /// end of the write.
    pub write_ns: Percentiles,
    /// One write of 4 KiB and its sync at a time, with nothing else going on: the disk's own, before the run.
    pub alone_ns: Percentiles,
    /// The same where as many files as there are logs are written and synced at the same moment, in nanoseconds: a disk
    /// that they share does not answer them all at once.
    pub together_ns: Percentiles,
    /// The full histogram of `write_ns`, in base64 of its V2-deflate form.
    pub write_histogram: String,
    /// The same of `alone_ns`.
    pub alone_histogram: String,
}

/// What emulated links did, beside what they were asked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// The shortest way between two nodes that was asked for, and takes time at all; zero if none does.
    pub shortest_ns: u64,
    /// How much later than it should have each frame left that was held, from the start to the end of the point; or each
    /// packet, in the window. Null where the kernel moves packets, and does not say.
    pub late_ns: Option<Percentiles>,
    /// The full histogram, in base64 of its V2-deflate form.
    pub late_histogram: Option<String>,
    /// What became of packets; null where the links know none.
    #[serde(default)]
    pub packets: Option<Packets>,
}

/// What became of packets in the window, over all links unless it says otherwise. What `netem` counted is of the whole
/// point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Packets {
    /// What moved them: `tun`, a process of ours, or `netem`, the kernel.
    #[serde(default = "tun")]
    pub mover: String,
    /// The share that was to be lost; where links differ, of as many packets as went over each.
    pub loss_asked: f64,
    /// The share that was.
    pub loss: f64,
    /// What became of them.
    #[serde(flatten)]
    pub all: LinkCounts,
    /// How many the kernel dropped because the mover did not take them fast enough, in the whole point. Null
    /// where the kernel is the mover.
    pub overrun: Option<u64>,
    /// The share of the window that the mover worked. Null where the kernel is the mover.
    pub mover_busy: Option<f64>,
    /// The same by link.
    pub links: Vec<LinkLine>,
}

/// The only one that there was before there was a choice.
fn tun() -> String {
    Mover::Tun.name().into()
}

/// A point beside its floors. Below 1 is less throughput, or, for the times, faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Floor {
    pub echo_throughput_ratio: Option<f64>,
    pub echo_p50_ratio: Option<f64>,
    pub echo_p99_ratio: Option<f64>,
    pub star_throughput_ratio: Option<f64>,
    pub star_p50_ratio: Option<f64>,
    pub star_p99_ratio: Option<f64>,
    /// The floor was itself late, overloaded or limited by the generator: its ratios say little.
    pub echo_doubtful: bool,
    pub star_doubtful: bool,
}

/// How leaders were spread: by replica, how many consensus groups it led. None of a replica that was down, or whose process
/// was killed and does not remember. Where there is no leader, every replica leads every group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leaders {
    /// As the window opened.
    pub start: Vec<u32>,
    /// As it closed.
    pub end: Vec<u32>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// Nanoseconds from the start of the window; negative before it.
    pub at_ns: i64,
    /// `leader` (of several consensus groups, the first), `killed`, `restarted`, `transfer`, `paused`, `resumed`,
    /// `isolated`, `healed`, `slowed`, `recovered`, `caught-up`.
    pub kind: String,
    /// The replica's id.
    pub node: u32,
}

/// What came of one fault. `docs/faults.md` defines each figure. Null is what does not apply, or did not happen
/// within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultLine {
    /// What was done, as the config has it.
    pub kind: String,
    /// To which replica; null if it never was.
    pub target: Option<u32>,
    /// When it really was, in nanoseconds from the start of the window.
    pub at_ns: Option<i64>,
    /// When it really was undone.
    pub until_ns: Option<i64>,
    /// The longest time without a completed command.
    pub gap_ns: Option<u64>,
    /// Until a replica began to lead.
    pub leader_ns: Option<u64>,
    /// Until throughput was back within a tenth of what it had been; zero if it never left.
    pub throughput_back_ns: Option<u64>,
    /// Until p99 was back within twice what it had been; zero if it never left.
    pub p99_back_ns: Option<u64>,
    /// From its end until the replica had what others had had then.
    pub catch_up_ns: Option<u64>,
    /// What it received in that time, whatever for.
    pub catch_up_bytes: Option<u64>,
    /// The most slots that it lagged behind.
    pub lag_slots: Option<u64>,
    /// Of a replica that was made slow and works on: whether the lag still grew at the end.
    pub lag_grows: Option<bool>,
    /// The most bytes of its log that it kept in memory.
    pub kept_bytes: Option<u64>,
    /// The most that another replica did.
    pub others_kept_bytes: Option<u64>,
    /// Commands whose outcome no client could know when its patience ended.
    pub unknown: u64,
    /// Commands that were sent again.
    pub resent: u64,
    /// Commands that were acknowledged and are not in the log, which only a run that is checked can say: it is not
    /// stored if there are any.
    pub lost: Option<u64>,
}

/// HDR histograms in base64 of their V2-deflate form.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Histograms {
    pub response: String,
    pub service: String,
    pub send_lag: String,
}

impl PointResult {
    /// Whether it was computed in virtual time. Such a result never compares with a real one.
    pub fn is_virtual(&self) -> bool {
        self.world == "virtual"
    }

    /// Whether it is no measure for others: it was late, overloaded or limited by the generator.
    pub fn is_doubtful(&self) -> bool {
        self.warnings.iter().any(|warning| voids(warning))
    }

    /// A coordinate as text, as the config would have it; empty where the axis does not apply.
    pub fn axis(&self, name: &str) -> String {
        axis_text(&self.axes, name)
    }

    /// `protocol=raft/rate=20000`: the coordinates in `axes`, for people and for tags.
    pub fn label(&self, axes: &[&str]) -> String {
        let named = |axis: &&str| Some(format!("{axis}={}", self.axis(axis))).filter(|_| self.axes.contains_key(*axis));
        axes.iter().filter_map(named).collect::<Vec<_>>().join("/")
    }
}

/// Whether a warning says that a point is no measure for others.
pub(crate) fn voids(warning: &str) -> bool {
    ["late:", "overloaded:", "generator_limited:", "unanswered:"].iter().any(|code| warning.starts_with(code))
}

fn axis_text(axes: &Map<String, Json>, name: &str) -> String {
    match axes.get(name) {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
