//! The cross product of all lists, and what no combination may be.

use std::net::Ipv4Addr;

use quorumbench_protocols::Head;
use quorumbench_protocols::quorum::{Quorums, majority};

use super::applies::{Rule, listed};
use super::gossip;
use super::keys::{self, Draft, Key, TABLE};
use super::names::{Durability, Emulation, MachineName, Placement, ProtocolName, ReadsMode, TransportName};
use super::netem;
use super::parse;
use super::point::{Batch, Point};
use super::replication;
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
        .or_else(|| replication::conflict(point))
        .or_else(|| payload_fits(point))
        .or_else(|| heartbeat_in_time(point))
        .or_else(|| ports_exist(point))
        .or_else(|| reads_have_a_log(point))
        .or_else(|| reads_have_a_leader(point))
        .or_else(|| proposers_exist(point))
        .or_else(|| quorums_meet(point))
        .or_else(|| leases_exist(point))
        .or_else(|| somebody_votes(point))
        .or_else(|| groups_have_keys(point))
        .or_else(|| time_passes(point))
        .or_else(|| disks_are_real(point))
        .or_else(|| shape_keeps_streams(point))
        .or_else(|| packets_have_sockets(point))
        .or_else(|| packets_have_addresses(point))
        .or_else(|| netem::conflict(point))
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

/// Key `k` is of group `k % groups`.
fn groups_have_keys(point: &Point) -> Option<Conflict> {
    let (keys, groups) = (point.load.keys.count(), point.cluster.groups);
    (point.cluster.machine == MachineName::Kv && keys < u64::from(groups)).then(|| Conflict {
        keys: [&keys::GROUPS, &keys::KEYS],
        message: format!("{} {groups} with {} of {keys}: some groups have none", keys::GROUPS, keys::KEYS),
        help: "there must be as many keys as groups".into(),
    })
}

/// A closed loop asks again as soon as it is answered. If its round takes no virtual time, the clock stands still for ever.
fn time_passes(point: &Point) -> Option<Conflict> {
    let (delay, of_its_own) = (point.network.client_delay, !point.network.links.is_empty());
    let way = if of_its_own { "such links".into() } else { format!("{} {}", keys::CLIENT_DELAY, duration_text(delay)) };
    let longer = if of_its_own { "the delay of a link".into() } else { keys::CLIENT_DELAY.to_string() };
    (point.is_virtual() && !point.load.arrival.is_open() && round_is_free(point)).then(|| Conflict {
        keys: [&keys::CLIENT_DELAY, &keys::ARRIVAL],
        message: format!(
            "{} \"{}\" in virtual time, with {way} and a round that takes no time otherwise: it would go round for ever \
             at one moment",
            keys::ARRIVAL,
            point.load.arrival.name(),
        ),
        help: format!("set {longer} or {} to at least \"1us\"", keys::TURN),
    })
}

/// Whether a client may have its answer at the moment at which it asks. Jitter may be nothing for a while, and is not
/// for ever.
fn round_is_free(point: &Point) -> bool {
    let (Point { cluster, cost, .. }, head) = (point, Head::BYTES as u128);
    let beside = cluster.machine == MachineName::Kv
        && point.load.reads >= 1.0
        && matches!(point.reads.mode, ReadsMode::Lease | ReadsMode::Stale);
    let bytes_at = |bandwidth: Option<usize>| bandwidth.map_or(0, |bandwidth| head * 1_000_000_000 / bandwidth as u128);
    let at_once = |from: usize, to: usize| {
        let way = point.way(from, to);
        (way.delay + way.jitter).is_zero() && bytes_at(way.bandwidth) == 0
    };
    let (replicas, voters) = (cluster.replicas, cluster.replicas - cluster.observers.min(cluster.replicas - 1));
    let quorum = point.quorum.of(voters).map_or(majority(voters), Quorums::phase2);
    let there_and_back = |a: usize, b: usize| at_once(a, b) && at_once(b, a);
    let decides =
        |leader: usize| (0..voters).filter(|&each| each == leader || there_and_back(leader, each)).count() >= quorum;
    let no_disk = cost.sync.as_nanos() + bytes_at(cost.disk_bandwidth) == 0;
    let ordered = |leader| cluster.protocol == ProtocolName::Echo || no_disk && decides(leader);
    let work = (cost.turn + cost.frame).as_nanos() + cost.kib.as_nanos() * head / 1024;
    // A floor's leader is the first; any other may be elected.
    let leaders = if cluster.protocol.is_floor() { 1 } else { voters };
    let here = |replica: usize| there_and_back(replicas, replica);
    let free = (0..leaders).any(|leader| here(leader) && ordered(leader)) || beside && (0..replicas).any(here);
    free && work == 0
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

/// What a stream lost would never come: it must be lost where the stream sends it again. Gossip makes up for what it loses.
fn shape_keeps_streams(point: &Point) -> Option<Conflict> {
    lost_from_streams(point, point.network.usual.loss, point.network.usual.reorder, [&keys::LOSS, &keys::REORDER])
}

/// The same of some links, with these shares, whose keys are given.
pub(super) fn lost_from_streams(point: &Point, loss: f64, reorder: f64, of: [&'static Key; 2]) -> Option<Conflict> {
    let (key, share) = if loss > 0.0 { (of[0], loss) } else { (of[1], reorder) };
    let is_shaped = point.network.emulation == Emulation::Shape;
    (point.cluster.protocol.orders() && is_shaped && share > 0.0).then(|| Conflict {
        keys: [key, &keys::EMULATION],
        message: format!(
            "{key} {share} with {} \"{}\", which cannot touch a TCP segment, nor one of QUIC's packets, beneath the \
             transport",
            keys::EMULATION,
            Emulation::Shape,
        ),
        help: format!("use {} = \"{}\"", keys::EMULATION, Emulation::Packets),
    })
}

/// Its own, which nobody has chosen.
fn packets_have_addresses(point: &Point) -> Option<Conflict> {
    let (emulation, bind) = (point.network.emulation, point.cluster.bind);
    (emulation == Emulation::Packets && bind != Ipv4Addr::LOCALHOST).then(|| Conflict {
        keys: [&keys::BIND, &keys::EMULATION],
        message: format!(
            "{} \"{bind}\" with {} \"{emulation}\", where each node has a network and an address of its own",
            keys::BIND,
            keys::EMULATION
        ),
        help: "leave it out".into(),
    })
}

/// Between threads go no packets.
fn packets_have_sockets(point: &Point) -> Option<Conflict> {
    let (emulation, transport) = (point.network.emulation, point.cluster.transport);
    (emulation == Emulation::Packets && !transport.has_sockets()).then(|| Conflict {
        keys: [&keys::EMULATION, &keys::TRANSPORT],
        message: format!(
            "{} \"{emulation}\" with {} \"{transport}\", which sends none",
            keys::EMULATION,
            keys::TRANSPORT
        ),
        help: format!("use {} = \"{}\"", keys::EMULATION, Emulation::Shape),
    })
}

/// What no experiment may be, as no single point shows it: a key that is set, and does nothing at any of them. Unless it
/// is in the file and did something there: an override may well pass it over.
pub(super) fn idle(settings: &[Vec<Value>], is_overridden: impl Fn(&Key) -> bool) -> Option<Conflict> {
    TABLE.iter().zip(settings).find_map(|(&key, values)| {
        let rules = hindrance(key, settings)?;
        let decides = rules.last()?.key;
        let unset = parse::default(key).is_some_and(|default| *values == [default]);
        let passed_over = !is_overridden(key) && rules.iter().any(|rule| is_overridden(rule.key));
        (!passed_over && !unset).then(|| {
            let with = rules.iter().map(|rule| format!("{} {}", rule.key, listed(chosen(rule, settings))));
            let set = rules.iter().map(|rule| format!("{} to {}", rule.key, rule.allowed()));
            let [with, set] = [with.collect::<Vec<_>>().join(" and "), set.collect::<Vec<_>>().join(", or ")];
            // An override that names no table means the first that has such a key.
            let namesake = TABLE.iter().find(|other| other.name == key.name && hindrance(other, settings).is_none());
            let meant = namesake.map_or_else(String::new, |other| format!("set {other} if you mean that, or "));
            Conflict {
                keys: [key, decides],
                message: format!("{key} does nothing with {with}"),
                help: format!("{meant}leave it out, or set {set}"),
            }
        })
    })
}

/// Processes have no memory in common. Where an override leaves no other transport, a config's processes are not passed over
/// like its other keys: its crashes would no more be what it asks for.
pub(super) fn shared(settings: &[Vec<Value>], drafts: &[Draft]) -> Option<Conflict> {
    let asked = settings[keys::position(&keys::PLACEMENT)] == [Value::Choice(Placement::Processes.name())];
    (asked && drafts.iter().all(|draft| draft.point.shares_memory())).then(|| {
        let [memory, processes, threads] =
            [TransportName::Mem.name(), Placement::Processes.name(), Placement::Threads.name()];
        Conflict {
            keys: [&keys::PLACEMENT, &keys::TRANSPORT],
            message: format!(
                "{} \"{memory}\" with {} \"{processes}\", which have no memory in common",
                keys::TRANSPORT,
                keys::PLACEMENT
            ),
            help: format!("use a transport on sockets, or set {} to \"{threads}\"", keys::PLACEMENT),
        }
    })
}

/// Why a key does nothing whatever it is set to: rules of which none holds, its own, or those of the key that decides, if
/// that does nothing itself.
fn hindrance(key: &Key, settings: &[Vec<Value>]) -> Option<Vec<Rule>> {
    key.clauses().find_map(|rules| {
        let allows = |rule: &&Rule| chosen(rule, settings).iter().any(|value| rule.allows(value));
        let mut why = None;
        for rule in rules.iter().filter(allows) {
            why = Some(hindrance(rule.key, settings)?);
        }
        why.or(Some(rules))
    })
}

/// What a rule's key is set to.
fn chosen<'a>(rule: &Rule, settings: &'a [Vec<Value>]) -> &'a [Value] {
    &settings[keys::position(rule.key)]
}

/// The highest port.
const MOST_PORTS: usize = 65535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use crate::spec::value::Kind;

    fn choices(key: &Key) -> Vec<&'static str> {
        match key.kind {
            Kind::Choice(choices) => choices.iter().map(|choice| choice.name).collect(),
            _ => Vec::new(),
        }
    }

    /// What is left out may conflict, too, and that is an error like others: every choice, with every protocol and
    /// transport.
    #[test]
    fn defaults_that_conflict_are_an_error() {
        let transports = choices(&keys::TRANSPORT).into_iter().map(|transport| Some(format!("transport={transport}")));
        let transports: Vec<_> = transports.chain([None]).collect();
        for protocol in choices(&keys::PROTOCOL) {
            for transport in &transports {
                for (key, choice) in
                    TABLE.iter().flat_map(|key| choices(key).into_iter().map(move |choice| (key, choice)))
                {
                    let set = [format!("protocol={protocol}"), format!("{}={choice}", key.full())];
                    let overrides = [&set[..], transport.as_slice()].concat();
                    let error = Spec::parse("name = 'x'", "x.toml", &overrides).err().map(|error| error.to_string());
                    assert!(error.is_none_or(|error| error.contains(":1:")), "{overrides:?}: without a place");
                }
            }
        }
    }
}
