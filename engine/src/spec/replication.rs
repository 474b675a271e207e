//! `[crdt]`, `[database]` and `[replication]`: what is replicated, how, and what happens to it meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expand::Conflict;
use super::keys;
use super::names::{CrdtType, DeletionName, DigestName, ProtocolName, SyncName, Topology, TransportName};
use super::point::Point;
use super::units::duration_text;

/// A replicated data type, and how its replicas come to agree. `docs/crdt.md` has the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crdt {
    /// What is replicated.
    pub data: CrdtType,
    /// What replicas send each other.
    pub sync: SyncName,
    /// Whether deltas are not sent back to whom they came from.
    pub avoid_back_propagation: bool,
    /// Whether of a delta only what was news is sent on.
    pub remove_redundant: bool,
    /// Deltas kept for those who have not acknowledged them; `None` for all.
    pub buffer: Option<usize>,
    /// Who is whose neighbour.
    pub topology: Topology,
    /// How many neighbours each has.
    pub degree: usize,
}

/// A database, and how differences between its replicas are resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// How two find out in what they differ.
    pub digest: DigestName,
    /// Rounds for which an update is recent.
    pub window: usize,
    /// Entries in each letter of those that peel back.
    pub peel: usize,
    /// What is left of an item that is deleted.
    pub deletion: DeletionName,
    /// Items that are deleted.
    pub deletions: usize,
    /// Rounds for which everybody keeps a death certificate.
    pub retention: usize,
    /// Rounds after these for which its sites do.
    pub dormant: usize,
    /// How many sites.
    pub sites: usize,
}

/// What happens to either: updates, faults, a partition, a newcomer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replication {
    /// Updates, over all replicas.
    pub updates: usize,
    /// Of these, how many in a round.
    pub update_rate: f64,
    /// Elements or keys that there are to choose from.
    pub elements: usize,
    /// Bytes of an element or a value.
    pub payload: usize,
    /// The share of updates that take away.
    pub removals: f64,
    /// The share of letters that are lost.
    pub loss: f64,
    /// The share of letters that arrive a second time.
    pub duplication: f64,
    /// The share of letters that are late by some rounds.
    pub reorder: f64,
    /// Rounds for which some replicas are cut off.
    pub partition: usize,
    /// The share of replicas that are.
    pub cut_off: f64,
    /// Whether a replica joins in the end.
    pub newcomer: bool,
    /// Trials of each point.
    pub trials: usize,
}

impl Crdt {
    pub(super) const fn blank() -> Self {
        Self {
            data: CrdtType::ALL[0],
            sync: SyncName::ALL[0],
            avoid_back_propagation: false,
            remove_redundant: false,
            buffer: None,
            topology: Topology::ALL[0],
            degree: 0,
        }
    }

    /// About how many neighbours a replica of so many has.
    fn neighbours(&self, nodes: usize) -> usize {
        match self.topology {
            Topology::Ring | Topology::Tree => 2,
            Topology::Mesh | Topology::Random => self.degree,
            Topology::Full => nodes - 1,
        }
    }
}

impl Database {
    pub(super) const fn blank() -> Self {
        Self {
            digest: DigestName::ALL[0],
            window: 0,
            peel: 0,
            deletion: DeletionName::ALL[0],
            deletions: 0,
            retention: 0,
            dormant: 0,
            sites: 0,
        }
    }
}

impl Replication {
    pub(super) const fn blank() -> Self {
        Self {
            updates: 0,
            update_rate: 0.0,
            elements: 0,
            payload: 0,
            removals: 0.0,
            loss: 0.0,
            duplication: 0.0,
            reorder: 0.0,
            partition: 0,
            cut_off: 0.0,
            newcomer: false,
            trials: 0,
        }
    }

    /// How many of so many replicas are cut off.
    pub fn cut_off_of(&self, nodes: usize) -> usize {
        ((nodes as f64 * self.cut_off) as usize).clamp(1, nodes - 1)
    }
}

/// About how long all trials of a point take on one core: to be read as minutes or days, not more exactly.
pub(super) fn estimate(point: &Point) -> Duration {
    let Point { crdt, database, replication, .. } = point;
    let nodes = point.cluster.nodes;
    let is_crdt = point.cluster.protocol == ProtocolName::Crdt;
    let letters = nodes * if is_crdt { crdt.neighbours(nodes) } else { 2 };
    let rounds = replication.updates as f64 / replication.update_rate + 20.0 + replication.partition as f64;
    let all = match crdt.data {
        CrdtType::GCounter | CrdtType::PnCounter if is_crdt => nodes,
        _ => replication.elements.min(if is_crdt { replication.updates } else { usize::MAX }),
    };
    let naive = crdt.sync == SyncName::Delta && !crdt.remove_redundant;
    let in_a_letter = match (is_crdt, database.digest) {
        (true, _) if crdt.sync == SyncName::State || naive => all,
        (false, DigestName::Whole | DigestName::Checksum) => all,
        (false, DigestName::Recent) => (replication.update_rate * database.window as f64) as usize,
        _ => replication.update_rate as usize,
    };
    let letter_ns = 2000.0 + 1000.0 * in_a_letter.min(all) as f64 / 2.0;
    Duration::from_secs_f64(rounds * letters as f64 * letter_ns * replication.trials as f64 / 1e9)
}

/// What nothing that is replicated so may be.
pub(super) fn conflict(point: &Point) -> Option<Conflict> {
    let protocol = point.cluster.protocol;
    let checks: &[fn(&Point) -> Option<Conflict>] = match protocol {
        ProtocolName::Crdt => &[runs_there, replicas_fit, neighbours_exist, ends_in_time],
        ProtocolName::Database => &[runs_there, replicas_fit, sites_exist, ends_in_time],
        _ => &[],
    };
    checks.iter().find_map(|check| check(point))
}

fn runs_there(point: &Point) -> Option<Conflict> {
    let (protocol, transport) = (point.cluster.protocol, point.cluster.transport);
    (transport != TransportName::Sim).then(|| Conflict {
        keys: [&keys::TRANSPORT, &keys::PROTOCOL],
        message: format!(
            "{} \"{transport}\" with {} \"{protocol}\", whose replicas meet in virtual rounds only",
            keys::TRANSPORT,
            keys::PROTOCOL
        ),
        help: format!("set {} to \"{}\"", keys::TRANSPORT, TransportName::Sim),
    })
}

/// Most replicas: each is a state machine of its own.
const MOST_REPLICAS: usize = 2000;

/// Most elements over all replicas: a few hundred bytes each, for each core.
const MOST_ELEMENTS: usize = 1 << 21;

fn replicas_fit(point: &Point) -> Option<Conflict> {
    let (nodes, elements) = (point.cluster.nodes, point.replication.elements + point.database.deletions);
    let is_keyed = point.coordinate(&keys::ELEMENTS).is_some();
    if nodes > MOST_REPLICAS {
        return Some(Conflict {
            keys: [&keys::NODES, &keys::PROTOCOL],
            message: format!(
                "{} {nodes} with {} \"{}\", each a state machine of its own",
                keys::NODES,
                keys::PROTOCOL,
                point.cluster.protocol
            ),
            help: format!("it can be at most {MOST_REPLICAS}"),
        });
    }
    (is_keyed && nodes * elements > MOST_ELEMENTS).then(|| Conflict {
        keys: [&keys::ELEMENTS, &keys::NODES],
        message: format!("{elements} elements at each of {} {nodes}: they would hardly fit into memory", keys::NODES),
        help: format!("{} can be about {}", keys::ELEMENTS, MOST_ELEMENTS / nodes),
    })
}

fn neighbours_exist(point: &Point) -> Option<Conflict> {
    let (crdt, nodes) = (&point.crdt, point.cluster.nodes);
    let wrong = if !crdt.topology.has_degree() {
        return None;
    } else if crdt.degree >= nodes {
        format!("{} {} of {} {nodes}: a replica has only {} others", keys::DEGREE, crdt.degree, keys::NODES, nodes - 1)
    } else if !crdt.degree.is_multiple_of(2) {
        format!("{} {}: half of them are to each side, or chosen by a replica itself", keys::DEGREE, crdt.degree)
    } else {
        return None;
    };
    Some(Conflict {
        keys: [&keys::DEGREE, &keys::NODES],
        message: wrong,
        help: match (nodes - 1) / 2 * 2 {
            0 => format!("set {} to \"{}\"", keys::TOPOLOGY, Topology::Full),
            most => format!("it can be an even number up to {most}, or {} \"{}\"", keys::TOPOLOGY, Topology::Full),
        },
    })
}

fn sites_exist(point: &Point) -> Option<Conflict> {
    let (database, nodes) = (&point.database, point.cluster.nodes);
    (database.deletion == DeletionName::Dormant && database.sites > nodes).then(|| Conflict {
        keys: [&keys::SITES, &keys::NODES],
        message: format!("{} {} of {} {nodes}", keys::SITES, database.sites, keys::NODES),
        help: format!("it can be at most {nodes}"),
    })
}

/// Longer than this for one point is a slip.
const LONGEST: Duration = Duration::from_secs(60 * 60);

fn ends_in_time(point: &Point) -> Option<Conflict> {
    let (takes, trials) = (estimate(point), point.replication.trials);
    (takes > LONGEST).then(|| Conflict {
        keys: [&keys::UPDATES, &keys::NODES],
        message: format!(
            "{} {} over {} {}, {trials} times, would take a core about {:.0} hours",
            keys::UPDATES,
            point.replication.updates,
            keys::NODES,
            point.cluster.nodes,
            takes.as_secs_f64() / 3600.0
        ),
        help: format!(
            "a point may take {}: lower one of these, {}, or {}",
            duration_text(LONGEST),
            keys::ELEMENTS,
            keys::REPLICATION_TRIALS
        ),
    })
}
