//! The cross product of all lists, and what no combination may be.

use quorumbench_protocols::Head;

use super::keys::{self, Applies, Draft, Key, TABLE};
use super::names::{MachineName, Placement, ProtocolName, ReadsMode, TransportName};
use super::parse;
use super::point::{Batch, Point};
use super::units::{duration_text, size_text};
use super::value::Value;
use crate::load::CommandStream;

/// Most points that an experiment may have: beyond it, a list is a slip.
pub(super) const MOST_POINTS: usize = 10_000;

/// More than [`MOST_POINTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// All combinations of the settings (parallel to the table), later keys varying fastest.
///
/// A key that does not apply to a combination makes no points of its own, so no point comes twice.
pub(super) fn expand(settings: &[Vec<Value>]) -> Result<Vec<Draft>, TooMany> {
    let mut drafts = vec![Draft::blank()];
    for (&key, values) in TABLE.iter().zip(settings) {
        let default = parse::default(key);
        let branches = drafts.into_iter().flat_map(|draft| branch(draft, key, values, default.as_ref()));
        drafts = branches.take(MOST_POINTS + 1).collect();
        if drafts.len() > MOST_POINTS {
            return Err(TooMany);
        }
    }
    Ok(drafts)
}

/// The draft with each value of the key, or with the default where the key does not apply.
fn branch<'a>(
    draft: Draft,
    key: &'static Key,
    values: &'a [Value],
    default: Option<&'a Value>,
) -> impl Iterator<Item = Draft> {
    let applies = key.applies.to(&draft.point);
    let values = if applies { values } else { default.map_or(values, std::slice::from_ref) };
    values.iter().map(move |value| {
        let mut draft = draft.clone();
        key.apply(&mut draft, value);
        if key.axis && applies {
            draft.point.add_coordinate(key, value.clone());
        }
        draft
    })
}

/// Two settings that exclude each other.
#[derive(Clone, Debug)]
pub(super) struct Conflict {
    /// The keys, the one to point at first.
    pub(super) keys: [&'static Key; 2],
    pub(super) message: String,
    pub(super) help: String,
}

/// What no point may be.
pub(super) fn conflict(point: &Point) -> Option<Conflict> {
    payload_fits(point)
        .or_else(|| heartbeat_in_time(point))
        .or_else(|| ports_exist(point))
        .or_else(|| reads_have_a_log(point))
        .or_else(|| reads_have_a_leader(point))
        .or_else(|| proposers_exist(point))
        .or_else(|| quorums_meet(point))
        .or_else(|| leases_exist(point))
        .or_else(|| somebody_votes(point))
        .or_else(|| time_passes(point))
}

fn payload_fits(point: &Point) -> Option<Conflict> {
    let (payload, bytes) = (point.load.payload, point.batch.bytes);
    let (key, what) = match point.cluster.machine {
        MachineName::Null => (0, "length"),
        MachineName::Kv => (CommandStream::KV_OVERHEAD, "length and key"),
    };
    let before = Batch::PREFIX_BYTES + key;
    let needed = Batch::HEADER_BYTES + before + payload;
    (needed > bytes).then(|| Conflict {
        keys: [&keys::PAYLOAD, &keys::BYTES],
        message: format!(
            "{} {} does not fit into {} {}: a batch of one has {} bytes of header and {before} of {what} besides",
            keys::PAYLOAD,
            size_text(payload as u64),
            keys::BYTES,
            size_text(bytes as u64),
            Batch::HEADER_BYTES,
        ),
        help: format!("it needs {} of at least \"{}\"", keys::BYTES, size_text(needed as u64)),
    })
}

fn heartbeat_in_time(point: &Point) -> Option<Conflict> {
    let (heartbeat, timeout) = (point.cluster.heartbeat, point.cluster.election_timeout);
    (heartbeat * 2 >= timeout).then(|| Conflict {
        keys: [&keys::HEARTBEAT, &keys::ELECTION_TIMEOUT],
        message: format!(
            "{} {} is not below half of {} {}",
            keys::HEARTBEAT,
            duration_text(heartbeat),
            keys::ELECTION_TIMEOUT,
            duration_text(timeout)
        ),
        help: "else one late heartbeat deposes a healthy leader".into(),
    })
}

fn ports_exist(point: &Point) -> Option<Conflict> {
    let (base, replicas) = (usize::from(point.cluster.base_port), point.cluster.replicas);
    (base > 0 && base + replicas > MOST_PORTS).then(|| Conflict {
        keys: [&keys::BASE_PORT, &keys::REPLICAS],
        message: format!(
            "{} {base} and {} {replicas} add up to {}, beyond the last port, {MOST_PORTS}",
            keys::BASE_PORT,
            keys::REPLICAS,
            base + replicas,
        ),
        help: format!("{} can be at most {}", keys::BASE_PORT, MOST_PORTS - replicas),
    })
}

/// A floor elects nobody and loses no leader, so it has nothing to make sure of before it reads: no reads beside its log.
fn reads_have_a_log(point: &Point) -> Option<Conflict> {
    let (mode, protocol) = (point.reads.mode, point.cluster.protocol);
    (mode != ReadsMode::Log && protocol.is_floor()).then(|| Conflict {
        keys: [&keys::MODE, &keys::PROTOCOL],
        message: format!(
            "{} \"{mode}\" with {} \"{protocol}\", a floor, which reads through its log only",
            keys::MODE,
            keys::PROTOCOL
        ),
        help: format!("leave {} at \"{}\", or the floors out", keys::MODE, ReadsMode::Log),
    })
}

/// A lease is a promise of each follower to elect nobody else, which not every protocol has.
fn leases_exist(point: &Point) -> Option<Conflict> {
    let (mode, protocol) = (point.reads.mode, point.cluster.protocol);
    (mode == ReadsMode::Lease && !protocol.is_floor() && !protocol.has_leases()).then(|| Conflict {
        keys: [&keys::MODE, &keys::PROTOCOL],
        message: format!("{} \"{mode}\" with {} \"{protocol}\", which has no leases", keys::MODE, keys::PROTOCOL),
        help: format!("it can be \"{}\", \"{}\" or \"{}\"", ReadsMode::Log, ReadsMode::Index, ReadsMode::Stale),
    })
}

fn somebody_votes(point: &Point) -> Option<Conflict> {
    let (observers, replicas) = (point.cluster.observers, point.cluster.replicas);
    (observers >= replicas).then(|| Conflict {
        keys: [&keys::OBSERVERS, &keys::REPLICAS],
        message: format!("{} {observers} of {} {replicas} leave nobody who votes", keys::OBSERVERS, keys::REPLICAS),
        help: format!("it can be at most {}", replicas - 1),
    })
}

/// A closed loop asks again as soon as it is answered. If its round takes no virtual time, the clock stands still for ever.
fn time_passes(point: &Point) -> Option<Conflict> {
    (point.is_virtual() && !point.load.arrival.is_open() && round_is_free(point)).then(|| Conflict {
        keys: [&keys::CLIENT_DELAY, &keys::ARRIVAL],
        message: format!(
            "{} \"{}\" in virtual time, with {} {} and a round that takes no time otherwise: it would go round for ever \
             at one moment",
            keys::ARRIVAL,
            point.load.arrival.name(),
            keys::CLIENT_DELAY,
            duration_text(point.network.client_delay),
        ),
        help: format!("set {} or {} to at least \"1us\"", keys::CLIENT_DELAY, keys::TURN),
    })
}

/// Whether a client may have its answer at the moment at which it asks. Jitter may be nothing for a while, and is not
/// for ever.
fn round_is_free(point: &Point) -> bool {
    let (Point { cluster, network, cost, .. }, head) = (point, Head::BYTES as u128);
    let alone = cluster.replicas - cluster.observers.min(cluster.replicas - 1) == 1
        || point.quorum.of(cluster.replicas).is_some_and(|quorums| quorums.phase2() == 1);
    let beside = cluster.machine == MachineName::Kv
        && point.load.reads >= 1.0
        && matches!(point.reads.mode, ReadsMode::Lease | ReadsMode::Stale);
    let together = network.delay.is_zero() && network.round_trips.is_none();
    let bytes_at = |bandwidth: Option<usize>| bandwidth.map_or(0, |bandwidth| head * 1_000_000_000 / bandwidth as u128);
    let disk = cost.sync.as_nanos() + bytes_at(cost.disk_bandwidth);
    let ordered = cluster.protocol == ProtocolName::Echo || (alone || together) && disk == 0;
    let work = (cost.turn + cost.frame).as_nanos() + cost.kib.as_nanos() * head / 1024;
    let elsewhere = network.client_delay + network.jitter;
    (ordered || beside) && elsewhere.is_zero() && bytes_at(network.bandwidth) + work == 0
}

/// Two leaders could decide different things behind each other's back.
fn quorums_meet(point: &Point) -> Option<Conflict> {
    let (quorum, replicas) = (point.quorum, point.cluster.replicas);
    let text = |phase: Option<usize>| phase.map_or_else(|| "majority".into(), |phase| phase.to_string());
    quorum.of(replicas).is_none().then(|| Conflict {
        keys: [&keys::PHASE1, &keys::PHASE2],
        message: format!(
            "{} {} and {} {} of {} {replicas}: there must be that many, and any two of them must share a replica",
            keys::PHASE1,
            text(quorum.phase1),
            keys::PHASE2,
            text(quorum.phase2),
            keys::REPLICAS,
        ),
        help: format!("each is at most {replicas}, and together they are at least {}", replicas + 1),
    })
}

/// Without a leader there is nobody who could know what was written last, but by a slot of its own.
fn reads_have_a_leader(point: &Point) -> Option<Conflict> {
    let (mode, protocol) = (point.reads.mode, point.cluster.protocol);
    let asks_leader = matches!(mode, ReadsMode::Index | ReadsMode::Lease);
    (asks_leader && protocol.is_leaderless()).then(|| Conflict {
        keys: [&keys::MODE, &keys::PROTOCOL],
        message: format!("{} \"{mode}\" with {} \"{protocol}\", which has no leader", keys::MODE, keys::PROTOCOL),
        help: format!("it can be \"{}\" or \"{}\"", ReadsMode::Log, ReadsMode::Stale),
    })
}

fn proposers_exist(point: &Point) -> Option<Conflict> {
    let (proposers, replicas, clients) = (point.cluster.proposers, point.cluster.replicas, point.load.clients);
    let (key, most) = if proposers > replicas { (&keys::REPLICAS, replicas) } else { (&keys::CLIENTS, clients) };
    (proposers > most).then(|| Conflict {
        keys: [&keys::PROPOSERS, key],
        message: format!("{} {proposers} is more than {key} {most}", keys::PROPOSERS),
        help: format!("it can be at most {}", replicas.min(clients)),
    })
}

/// What no experiment may be, as no single point shows it: what is asked for and found in no point.
pub(super) fn idle(settings: &[Vec<Value>]) -> Option<Conflict> {
    idle_reads(settings)
        .or_else(|| idle_proposers(settings))
        .or_else(|| idle_quorums(settings))
        .or_else(|| idle_observers(settings))
        .or_else(|| idle_processes(settings))
}

/// Quorums of a protocol that has no such thing.
fn idle_quorums(settings: &[Vec<Value>]) -> Option<Conflict> {
    let of = |key: &Key| &settings[keys::position(key)];
    let set =
        [&keys::PHASE1, &keys::PHASE2].into_iter().find(|key| of(key).iter().any(|size| *size != Value::Majority))?;
    let named = |value: &Value| ProtocolName::named(&value.to_string());
    let other = of(&keys::PROTOCOL).iter().filter_map(named).find(|protocol| !protocol.has_quorums())?;
    let with: Vec<_> = ProtocolName::ALL.iter().filter(|each| each.has_quorums()).map(|each| each.name()).collect();
    Some(Conflict {
        keys: [set, &keys::PROTOCOL],
        message: format!("{set} with {} \"{other}\", which goes by majorities or by none", keys::PROTOCOL),
        help: format!("leave it out, or set {} to \"{}\" alone", keys::PROTOCOL, with.join("\" or \"")),
    })
}

/// Processes that have no way to each other. Where threads are asked for too, those points are threads.
fn idle_processes(settings: &[Vec<Value>]) -> Option<Conflict> {
    let of = |key: &Key| &settings[keys::position(key)];
    debug_assert_eq!(keys::PLACEMENT.applies, Applies::Sockets);
    let [threads, processes] = [Placement::Threads, Placement::Processes]
        .map(|placement| of(&keys::PLACEMENT).contains(&Value::Choice(placement.name())));
    let named = |value: &Value| TransportName::named(&value.to_string());
    let (on_sockets, others): (Vec<_>, Vec<_>) =
        of(&keys::TRANSPORT).iter().filter_map(named).partition(|transport| transport.has_sockets());
    let transport = others.first().filter(|_| processes && (on_sockets.is_empty() || !threads))?;
    let with: Vec<_> = TransportName::ALL.iter().filter(|each| each.has_sockets()).map(|each| each.name()).collect();
    Some(Conflict {
        keys: [&keys::PLACEMENT, &keys::TRANSPORT],
        message: format!(
            "{} \"{}\" with {} \"{transport}\", which stays within one process",
            keys::PLACEMENT,
            Placement::Processes,
            keys::TRANSPORT
        ),
        help: format!("set {} to \"{}\"", keys::TRANSPORT, with.join("\" or \"")),
    })
}

/// Observers that no point has.
fn idle_observers(settings: &[Vec<Value>]) -> Option<Conflict> {
    let of = |key: &Key| &settings[keys::position(key)];
    debug_assert_eq!(keys::OBSERVERS.applies, Applies::Observers);
    let protocols = of(&keys::PROTOCOL);
    let with = |protocol: &&ProtocolName| protocol.has_observers();
    let none = !ProtocolName::ALL.iter().filter(with).any(|name| protocols.contains(&Value::Choice(name.name())));
    (none && of(&keys::OBSERVERS).iter().any(|observers| observers.count() > 0)).then(|| Conflict {
        keys: [&keys::OBSERVERS, &keys::PROTOCOL],
        message: format!("{} with {} {}, all of whose replicas vote", keys::OBSERVERS, keys::PROTOCOL, protocols[0]),
        help: format!("set {} to \"{}\"", keys::PROTOCOL, ProtocolName::Zab),
    })
}

/// Proposers that compete, of protocols with a leader.
fn idle_proposers(settings: &[Vec<Value>]) -> Option<Conflict> {
    let of = |key: &Key| &settings[keys::position(key)];
    debug_assert_eq!(keys::PROPOSERS.applies, Applies::Leaderless);
    let protocols = of(&keys::PROTOCOL);
    let leaderless =
        |protocol: &&ProtocolName| protocols.contains(&Value::Choice(protocol.name())) && protocol.is_leaderless();
    let compete = of(&keys::PROPOSERS).iter().any(|proposers| proposers.count() > 1);
    (compete && ProtocolName::ALL.iter().find(leaderless).is_none()).then(|| Conflict {
        keys: [&keys::PROPOSERS, &keys::PROTOCOL],
        message: format!("{} above 1 with {} {}, which has a leader", keys::PROPOSERS, keys::PROTOCOL, protocols[0]),
        help: format!("set {} to \"{}\"", keys::PROTOCOL, ProtocolName::Paxos),
    })
}

/// Reads that no point makes.
fn idle_reads(settings: &[Vec<Value>]) -> Option<Conflict> {
    let of = |key: &Key| &settings[keys::position(key)];
    debug_assert_eq!(keys::READS.applies, Applies::Kv);
    let machines = of(&keys::MACHINE);
    let kv = MachineName::Kv.name();
    let idle = of(&keys::READS).iter().any(|reads| reads.number() > 0.0) && !machines.contains(&Value::Choice(kv));
    idle.then(|| Conflict {
        keys: [&keys::READS, &keys::MACHINE],
        message: format!("{} above 0 with {} {}, which has nothing to read", keys::READS, keys::MACHINE, machines[0]),
        help: format!("set {} to \"{kv}\"", keys::MACHINE),
    })
}

/// The highest port.
const MOST_PORTS: usize = 65535;
