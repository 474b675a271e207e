//! One node of a point: what it takes to make it, in whichever thread or process, and what it leaves behind.

use hdrhistogram::Histogram;
use quorumbench_protocols::{Nanos, NodeId, Prng};
use serde::{Deserialize, Serialize};

use super::control::Begun;
use super::faults::Subject;
use super::packets::PacketsReport;
use super::{DriveError, Keep, Memory, Usage, threads};
use crate::check::witness::{ClientTrace, ReplicaTrace, Trace};
use crate::client::{Client, ClientOptions, Pace};
use crate::load::{Arrivals, CommandStream, Mix, Schedule};
use crate::measure::{Recording, histogram};
use crate::node::NodeStats;
use crate::remote;
use crate::spec::{Arrival, MachineName, Pin, Point};

/// A running cluster and its clients, whatever they run on. When it is dropped, all of it ends.
pub(super) trait Cluster: Subject {
    /// How many clients there are.
    fn clients(&self) -> usize;

    /// Tells everyone when it is to be measured.
    fn begin(&mut self, begun: Begun);

    /// Looks after what is running. Call it every few milliseconds.
    ///
    /// # Errors
    /// A node has failed.
    fn check(&mut self) -> Result<(), DriveError>;

    /// Ends everything, and gathers what it leaves.
    ///
    /// # Errors
    /// A node has failed.
    fn end(self: Box<Self>) -> Result<Ended, DriveError>;
}

/// A node that is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    id: u32,
    /// Of the replica, or of the client's commands.
    pub(super) seed: u64,
    /// Of the client's arrivals.
    pace_seed: u64,
    /// Where its thread runs, if anywhere in particular.
    pub(super) core: Option<usize>,
    pub(super) keep: Keep,
}

impl Part {
    /// All nodes of `point`, replicas first.
    pub(super) fn all(point: &Point, seed: u64, keep: Keep) -> Vec<Self> {
        let (cores, mut prng) = (threads::cores(), Prng::new(seed));
        let part = |index: usize| {
            let core = (point.cluster.pin == Pin::Spread).then(|| cores[index % cores.len()]);
            let seed = prng.next_u64();
            let pace_seed = if index < point.cluster.replicas { 0 } else { prng.next_u64() };
            Self { id: index as u32, seed, pace_seed, core, keep }
        };
        (0..point.nodes()).map(part).collect()
    }

    pub(super) fn id(&self) -> NodeId {
        NodeId(self.id)
    }

    pub(super) fn is_replica(&self, point: &Point) -> bool {
        self.client_index(point).is_none()
    }

    /// Its number among the clients.
    fn client_index(&self, point: &Point) -> Option<usize> {
        (self.id as usize).checked_sub(point.cluster.replicas)
    }

    /// `replica 2`, `client 0`.
    pub(super) fn name(&self, point: &Point) -> String {
        self.client_index(point).map_or_else(|| format!("replica {}", self.id), |index| format!("client {index}"))
    }

    pub(super) fn client(&self, point: &Point) -> Client {
        let mut client = client(point, self.id(), self.seed);
        if self.keep.trace {
            client.keep_trace();
        }
        if self.keep.timeline {
            client.keep_timeline();
        }
        client
    }

    pub(super) fn pace(&self, point: &Point) -> impl FnOnce(Nanos) -> Pace + Send + 'static {
        pace(point, self.client_index(point).expect("only clients have a pace"), self.pace_seed)
    }
}

/// What a node used and did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Account {
    /// What it used in the window, its own threads counted and nothing else of its process.
    pub(super) usage: Usage,
    /// CPU time of its process in the window, which other nodes may share.
    pub(super) process_cpu_ns: u64,
    /// What it did in the window.
    pub(super) stats: NodeStats,
    /// What it did from its start to its end.
    pub(super) total: NodeStats,
    /// How many consensus groups it led as the window opened, and as it closed; none if it was not there.
    pub(super) groups_led: [u32; 2],
}

/// What a node timed besides commands: nothing, where there was nothing to time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timings {
    /// How long the writes of its log took in the window.
    #[serde(with = "remote::histogram")]
    pub(super) log_writes: Histogram<u64>,
    /// How much later than they should have the links that it shapes let go of each frame.
    #[serde(with = "remote::histogram")]
    pub(super) lateness: Histogram<u64>,
}

impl Account {
    /// Of two lives of one node, of which this was the first.
    #[must_use]
    pub(super) fn followed_by(self, later: Self) -> Self {
        let busiest_cpu_ns = self.usage.busiest_cpu_ns + later.usage.busiest_cpu_ns;
        Self {
            usage: Usage { busiest_cpu_ns, ..self.usage.plus(later.usage) },
            process_cpu_ns: self.process_cpu_ns + later.process_cpu_ns,
            stats: self.stats.plus(later.stats),
            total: self.total.plus(later.total),
            groups_led: [self.groups_led[0], later.groups_led[1]],
        }
    }
}

impl Timings {
    /// So long took writes of a log.
    pub(super) fn wrote(&mut self, took_ns: &[u64]) {
        took_ns.iter().for_each(|&took_ns| self.log_writes.saturating_record(took_ns));
    }

    pub(super) fn add(&mut self, more: &Self) {
        for (sum, more) in [(&mut self.log_writes, &more.log_writes), (&mut self.lateness, &more.lateness)] {
            sum.add(more).expect("all have the same bounds");
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self { log_writes: histogram(), lateness: histogram() }
    }
}

/// What a cluster leaves behind.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What clients recorded, merged; absent if none began.
    pub(super) recording: Option<Recording>,
    pub(super) replicas: Usage,
    pub(super) clients: Usage,
    pub(super) busiest: NodeStats,
    pub(super) together: NodeStats,
    pub(super) totals: Vec<NodeStats>,
    /// By replica.
    pub(super) groups_led: Vec<[u32; 2]>,
    /// Of all nodes.
    pub(super) timings: Timings,
    /// CPU time in the window of the processes that are not this one.
    pub(super) elsewhere_cpu_ns: u64,
    pub(super) memory: Memory,
    /// What the links did, where they are emulated packet by packet.
    pub(super) packets: Option<PacketsReport>,
    /// Empty, unless traces were kept.
    pub(super) trace: Trace,
}

impl Ended {
    pub(super) fn add_replica(&mut self, account: &Account, timings: &Timings, traces: Vec<ReplicaTrace>) {
        self.timings.add(timings);
        self.replicas = self.replicas.plus(account.usage);
        self.busiest = std::cmp::max_by_key(self.busiest, account.stats, |stats| stats.commands);
        self.together = self.together.plus(account.stats);
        self.totals.push(account.total);
        self.groups_led.push(account.groups_led);
        self.trace.replicas.extend(traces);
    }

    pub(super) fn add_client(
        &mut self,
        account: &Account,
        timings: &Timings,
        recording: Option<Recording>,
        traces: Vec<ClientTrace>,
    ) {
        self.timings.add(timings);
        self.clients = self.clients.plus(account.usage);
        self.trace.clients.extend(traces);
        match (&mut self.recording, recording) {
            (Some(sum), Some(more)) => sum.merge(&more),
            (none, first) => *none = none.take().or(first),
        }
    }
}

pub(super) fn client(point: &Point, id: NodeId, seed: u64) -> Client {
    let (load, batch) = (&point.load, &point.batch);
    let options = ClientOptions {
        id,
        replicas: point.cluster.replicas,
        groups: point.cluster.groups,
        batch_commands: batch.commands,
        batch_bytes: batch.bytes,
        linger: batch.linger,
        resend: load.resend,
        in_flight_limit: load.in_flight_limit.div_ceil(load.clients),
        reads: point.reads.mode.beside_the_log(),
        anywhere: point.reads.mode.is_anywhere(point.cluster.protocol),
    };
    let mix = match point.cluster.machine {
        MachineName::Null => Mix::Opaque { payload: load.payload },
        MachineName::Kv => Mix::Kv { payload: load.payload, reads: load.reads, keys: load.keys },
    };
    let client = Client::new(options, CommandStream::new(mix, seed));
    if !point.cluster.protocol.is_leaderless() {
        return client;
    }
    let home = (id.0 as usize - point.cluster.replicas) % point.cluster.proposers;
    client.at_home_at(NodeId(home as u32))
}

/// Client `index`'s share of the load. Rates are divided evenly; commands outstanding too, the first
/// clients taking the remainder.
pub(super) fn pace(point: &Point, index: usize, seed: u64) -> impl FnOnce(Nanos) -> Pace + Send + 'static {
    let (arrival, clients) = (point.load.arrival, point.load.clients);
    move |begin| {
        let open = |schedule, rate: f64| Pace::Open(Arrivals::new(schedule, rate / clients as f64, begin, seed));
        match arrival {
            Arrival::Poisson { rate } => open(Schedule::Poisson, rate),
            Arrival::Constant { rate } => open(Schedule::Constant, rate),
            Arrival::Closed { outstanding } => {
                Pace::Closed { outstanding: outstanding / clients + usize::from(index < outstanding % clients) }
            }
        }
    }
}
