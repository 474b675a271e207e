//! The cross product of all lists, and what no combination may be.

use quorumbench_protocols::Head;

use super::gossip;
use super::keys::{self, Draft, Key, TABLE};
use super::names::{Durability, MachineName, ProtocolName, ReadsMode};
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
    let applies = key.applies_to(&draft.point);
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
    gossip::conflict(point)
        .or_else(|| payload_fits(point))
        .or_else(|| heartbeat_in_time(point))
        .or_else(|| ports_exist(point))
        .or_else(|| reads_have_a_log(point))
        .or_else(|| reads_have_a_leader(point))
        .or_else(|| proposers_exist(point))
        .or_else(|| quorums_meet(point))
        .or_else(|| leases_exist(point))
        .or_else(|| somebody_votes(point))
        .or_else(|| time_passes(point))
        .or_else(|| disks_are_real(point))
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

/// A disk takes real time.
fn disks_are_real(point: &Point) -> Option<Conflict> {
    let durability = point.storage.durability;
    (durability != Durability::None && point.is_virtual()).then(|| Conflict {
        keys: [&keys::DURABILITY, &keys::TRANSPORT],
        message: format!("{} \"{durability}\" in virtual time, which no disk keeps", keys::DURABILITY),
        help: format!("{} gives virtual disks a time", keys::SYNC),
    })
}

/// What no experiment may be, as no single point shows it: a key that is set, and does nothing at any of them. Unless it
/// is in the file and did something there: an override may well pass it over.
pub(super) fn idle(settings: &[Vec<Value>], is_overridden: impl Fn(&Key) -> bool) -> Option<Conflict> {
    let rules = TABLE.iter().zip(settings).flat_map(|(&key, values)| key.rules().map(move |rule| (key, values, rule)));
    rules.into_iter().find_map(|(key, values, rule)| {
        let chosen = &settings[keys::position(rule.key)];
        let unset = || parse::default(key).is_some_and(|default| *values == [default]);
        let passed_over = is_overridden(rule.key) && !is_overridden(key);
        let idle = !chosen.iter().any(|value| rule.allows(value)) && !passed_over && !unset();
        idle.then(|| Conflict {
            keys: [key, rule.key],
            message: format!("{key} does nothing with {} {}", rule.key, listed(chosen)),
            help: format!("leave it out, or set {} to {}", rule.key, listed(&rule.choices())),
        })
    })
}

/// As it would be written: one, or one of several.
fn listed(values: &[Value]) -> String {
    values.iter().map(Value::to_toml).collect::<Vec<_>>().join(" or ")
}

/// The highest port.
const MOST_PORTS: usize = 65535;
