//! What a seed draws: a cluster, its clients, and its own subset and strength of faults.
//!
//! Each seed leaves most faults out (Groce et al., *Swarm Testing*, ISSTA 2012): with everything on at
//! once, faults hide each other's bugs. Everything is drawn from streams of its own, so that switching
//! one fault off changes no other draw.

use quorumbench_protocols::Prng;
use quorumbench_protocols::mutant::Switch;
use quorumbench_protocols::quorum::Quorums;

use super::client::ClientOptions;
use super::disk::DiskOptions;
use super::fault::{Fault, PerFault, Strength};
use super::link::LinkOptions;
use super::subject::Abilities;
use crate::spec::ReadsMode;

/// A seed's world, drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// All randomness follows from it.
    pub seed: u64,
    /// The cluster.
    pub cluster: Cluster,
    /// Nodes beyond its replicas, that are no members at the start.
    pub spares: usize,
    /// The clients.
    pub clients: ClientOptions,
    /// The links, until they are healed.
    pub links: LinkOptions,
    /// The disks, until they are healed.
    pub disk: DiskOptions,
    /// Slots between two snapshots.
    pub snapshot_slots: u64,
    /// Bytes of a snapshot in one frame.
    pub snapshot_chunk: usize,
    /// How strong each fault is: 0 for off, up to 3.
    pub strengths: PerFault<Strength>,
    /// How long anything may break.
    pub safety_ns: u64,
    /// The bug that is planted, if any.
    pub mutant: Switch,
}

/// A simulated cluster: what an experiment's config would fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many replicas.
    pub replicas: usize,
    /// How many of them, the last ones, receive everything and never vote.
    pub observers: usize,
    /// Slots in flight.
    pub window: usize,
    /// Most commands in a batch.
    pub commands: usize,
    /// Bytes of a value.
    pub payload: usize,
    /// The shortest election timeout. All other times are drawn in proportion.
    pub election_timeout_ns: u64,
    /// How often an idle leader says that it is there.
    pub heartbeat_ns: u64,
    /// How many each phase of Paxos takes. Other protocols go by majorities.
    pub quorums: Quorums,
}

/// What a caller fixes of the draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The cluster of an experiment.
    pub cluster: Option<Cluster>,
    /// Faults that are switched off.
    pub without: Vec<Fault>,
    /// Faults that are as strong as they can be, unless they are switched off.
    pub strong: Vec<Fault>,
    /// How long anything may break, in election timeouts.
    pub length: Option<u64>,
    /// How clients read.
    pub reads: Option<ReadsMode>,
    /// The bug to plant, if any. There is none without the feature `mutants`.
    pub mutant: Switch,
}

/// How long anything may break, in election timeouts, unless the caller wishes otherwise.
pub(super) const LENGTH: u64 = 100;

/// So many commands may be under way on one key, on average: with more of them it takes too long to search
/// for an order that explains what clients saw.
const MOST_AT_ONCE: u64 = 8;

/// Nobody joins beyond this.
const MOST_NODES: usize = 9;
/// The stream that the way to read is drawn from, and what it is drawn from.
const READS: u64 = 9;
const READS_DRAWN: &[ReadsMode] =
    &[ReadsMode::Log, ReadsMode::Log, ReadsMode::Index, ReadsMode::Lease, ReadsMode::Stale];

const MS: u64 = 1_000_000;

impl Cluster {
    /// How many vote: the first ones.
    pub(super) const fn voters(&self) -> usize {
        self.replicas - self.observers
    }
}

impl Scenario {
    /// What `seed` draws, within `wishes` and a protocol's `abilities`.
    pub fn draw(seed: u64, wishes: &Wishes, abilities: &Abilities) -> Self {
        let root = Prng::new(seed).fork(1);
        let mut strengths = strengths(&root, wishes);
        let reads = wishes.reads.unwrap_or_else(|| pick(&mut root.fork(READS), READS_DRAWN));
        let reads = if abilities.reads.contains(&reads) { reads } else { ReadsMode::Log };
        if !abilities.members {
            Fault::MEMBERSHIP.into_iter().for_each(|fault| strengths[fault] = 0);
        }
        if reads == ReadsMode::Lease {
            // A clock that leaps keeps no bound, and a lease promises nothing then. That a node pauses breaks
            // none: it does so between turns, and a turn reads its clock after it has taken what arrived, as
            // the real driver's does. So whoever reads had asked by the moment at which the lease is judged.
            strengths[Fault::EarlyTimeout] = 0;
        }
        if reads == ReadsMode::Log {
            // What such a leader appends is never committed: the other faults show that as well.
            strengths[Fault::Deposed] = 0;
        }
        let mut cluster = wishes.cluster.unwrap_or_else(|| cluster(&mut root.fork(2)));
        if abilities.quorums && wishes.cluster.is_none() {
            cluster.quorums = quorums(&mut root.fork(21), cluster.replicas);
        }
        if abilities.observers && wishes.cluster.is_none() {
            cluster.observers = observers(&mut root.fork(8), cluster.replicas);
        }
        if strengths[Fault::TinyWindow] > 0 {
            cluster.window = [2, 1, 1][strengths[Fault::TinyWindow] as usize - 1];
        }
        if strengths[Fault::SingleCommand] > 0 {
            cluster.commands = 1;
        }
        let timeout = cluster.election_timeout_ns;
        Self {
            seed,
            spares: spares(&mut root.fork(20), &cluster, &strengths),
            clients: clients(&mut root.fork(3), &cluster, &strengths, reads),
            links: links(&mut root.fork(4), timeout, &strengths),
            disk: disk(&mut root.fork(5), timeout, &strengths),
            snapshot_slots: [u64::MAX, 100, 20, 3][strengths[Fault::Snapshots] as usize],
            snapshot_chunk: [64 << 10, 1000, 300, 100][strengths[Fault::Snapshots] as usize],
            strengths,
            safety_ns: wishes.length.unwrap_or(LENGTH) * timeout,
            mutant: wishes.mutant,
            cluster,
        }
    }

    /// Everyone that is or may become a member.
    pub fn nodes(&self) -> usize {
        self.cluster.replicas + self.spares
    }

    /// How far any clock may run from true time, in parts per million: what a node is told it can rely on.
    pub(super) fn drift_ppm(&self) -> u64 {
        [0, 100, 5000, 50_000][self.strengths[Fault::Drift] as usize]
    }

    /// The mean time between two of a fault that is fired again and again.
    pub(super) fn interval(&self, fault: Fault) -> Option<u64> {
        let strength = self.strengths[fault] as usize;
        let timeouts = [15, 6, 2].get(strength.checked_sub(1)?)?;
        let often = if fault == Fault::Clog { 3 } else { 1 };
        Some(timeouts * self.cluster.election_timeout_ns / often)
    }
}

fn strengths(root: &Prng, wishes: &Wishes) -> PerFault<Strength> {
    let mut strengths = PerFault::default();
    let one_in = pick(&mut root.fork(6), &[2, 3, 5]);
    for (stream, &fault) in Fault::ALL.iter().enumerate() {
        let mut prng = root.fork(100 + stream as u64);
        if prng.below(one_in) == 0 {
            strengths[fault] = 1 + prng.below(3) as Strength;
        }
        if wishes.strong.contains(&fault) {
            strengths[fault] = 3;
        }
        if wishes.without.contains(&fault) {
            strengths[fault] = 0;
        }
    }
    strengths
}

fn cluster(prng: &mut Prng) -> Cluster {
    let election_timeout_ns = pick(prng, &[10 * MS, 50 * MS, 150 * MS, 300 * MS]);
    let replicas = pick(prng, &[1, 3, 3, 3, 5, 5, 5, 7]);
    Cluster {
        quorums: Quorums::majorities(replicas),
        observers: 0,
        replicas,
        window: pick(prng, &[4, 8, 32, 32]),
        commands: pick(prng, &[1, 4, 16]),
        payload: pick(prng, &[8, 8, 64, 1000]),
        election_timeout_ns,
        heartbeat_ns: election_timeout_ns / pick(prng, &[4, 5, 6]),
    }
}

/// Quorums that need not be majorities, in one world of three.
fn quorums(prng: &mut Prng, replicas: usize) -> Quorums {
    let phase2 = 1 + prng.below(replicas as u64) as usize;
    let flexible = Quorums::flexible(replicas, replicas + 1 - phase2, phase2).expect("they meet");
    if prng.below(3) == 0 { flexible } else { Quorums::majorities(replicas) }
}

/// Observers, in some of one world of three.
fn observers(prng: &mut Prng, replicas: usize) -> usize {
    let most = (replicas as u64 - 1) / 2;
    if prng.below(3) == 0 { prng.below(most + 1) as usize } else { 0 }
}

fn spares(prng: &mut Prng, cluster: &Cluster, strengths: &PerFault<Strength>) -> usize {
    let moves = Fault::MEMBERSHIP.iter().any(|&fault| strengths[fault] > 0);
    let spares = 1 + prng.below(2) as usize;
    if moves { spares.min(MOST_NODES.saturating_sub(cluster.replicas)) } else { 0 }
}

fn clients(prng: &mut Prng, cluster: &Cluster, strengths: &PerFault<Strength>, mode: ReadsMode) -> ClientOptions {
    let timeout = cluster.election_timeout_ns;
    let (count, keys) = (pick(prng, &[1, 2, 3, 5]), pick(prng, &[1, 3, 10]));
    let reads = pick(prng, &[10, 50]);
    let interval_ns = timeout / pick(prng, &[2, 5, 10]);
    // Commands of one batch come and go at once, and to the search they might be in any order.
    let at_once = count * cluster.commands.div_ceil(2);
    let most = (MOST_AT_ONCE * ClientOptions::MOST_KEYS) as usize / at_once;
    let in_flight = pick(prng, &[1, 4, 16]).min(most.max(1));
    let at_once = (at_once * in_flight) as u64;
    ClientOptions {
        count,
        commands: cluster.commands as u64,
        payload: cluster.payload,
        keys: keys.max(at_once / MOST_AT_ONCE).min(ClientOptions::MOST_KEYS),
        reads,
        mode,
        interval_ns,
        in_flight,
        resend_ns: timeout * pick(prng, &[1, 2, 4]) / 2,
        duplicates: [0, 5, 20, 60][strengths[Fault::ClientDuplicate] as usize],
    }
}

fn links(prng: &mut Prng, timeout: u64, strengths: &PerFault<Strength>) -> LinkOptions {
    let level = |fault| strengths[fault] as usize;
    let delay = timeout / pick(prng, &[40, 200, 2000]);
    LinkOptions {
        delay_min_ns: delay,
        delay_spread_ns: delay * pick(prng, &[0, 1, 1]) + 1,
        tail_chance: [0, 300, 2000, 8000][level(Fault::Delay)],
        tail_ns: timeout * pick(prng, &[1, 2]),
        loss: [0, 650, 3300, 13_000][level(Fault::Loss)],
        duplication: [0, 650, 3300, 13_000][level(Fault::Duplication)],
        reordering: [0, 1000, 5000, 20_000][level(Fault::Reordering)],
        ns_per_kib: [0, timeout / 2000, timeout / 500, timeout / 100][level(Fault::Bandwidth)],
        backlog_ns: timeout / 4,
    }
}

fn disk(prng: &mut Prng, timeout: u64, strengths: &PerFault<Strength>) -> DiskOptions {
    let level = |fault| strengths[fault] as usize;
    let sync = timeout / pick(prng, &[50, 300, 3000]);
    DiskOptions {
        sync_min_ns: sync,
        sync_spread_ns: sync,
        slow_chance: [0, 300, 2000, 8000][level(Fault::SlowDisk)],
        slow_ns: timeout * pick(prng, &[1, 3]),
        any_order: level(Fault::DiskOrder) > 0,
        failure: [0, 30, 100, 300][level(Fault::DiskFailure)],
        torn: level(Fault::TornTail) > 0,
    }
}

/// One of `choices`.
pub(super) fn pick<T: Copy>(prng: &mut Prng, choices: &[T]) -> T {
    choices[prng.below(choices.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Abilities = Abilities {
        members: true,
        quorums: false,
        observers: false,
        reads: &[ReadsMode::Index, ReadsMode::Lease, ReadsMode::Stale],
    };

    #[test]
    fn spares_are_there_for_those_who_move() {
        for seed in 1..200 {
            let scenario = Scenario::draw(seed, &Wishes::default(), &ALL);
            let moves = Fault::MEMBERSHIP.iter().any(|&fault| scenario.strengths[fault] > 0);
            assert!(moves == (scenario.spares > 0) && scenario.spares <= 2 && scenario.nodes() <= MOST_NODES);
        }
        let strong = Wishes { strong: vec![Fault::Loss, Fault::Rot], without: vec![Fault::Rot], ..Wishes::default() };
        let scenario = Scenario::draw(1, &strong, &ALL);
        assert_eq!((scenario.strengths[Fault::Loss], scenario.strengths[Fault::Rot]), (3, 0));
    }

    #[test]
    fn a_fault_less_changes_nothing_else() {
        for seed in 1..50 {
            let all = Scenario::draw(seed, &Wishes::default(), &ALL);
            let without = Wishes { without: vec![Fault::Loss], ..Wishes::default() };
            let mut fewer = Scenario::draw(seed, &without, &ALL);
            assert_eq!(fewer.strengths[Fault::Loss], 0);
            fewer.strengths[Fault::Loss] = all.strengths[Fault::Loss];
            fewer.links.loss = all.links.loss;
            assert_eq!(fewer, all);
        }
    }

    #[test]
    fn every_fault_is_drawn_and_left_out() {
        let drawn: Vec<_> = (1..100).map(|seed| Scenario::draw(seed, &Wishes::default(), &ALL).strengths).collect();
        for &fault in Fault::ALL {
            let on = drawn.iter().filter(|strengths| strengths[fault] > 0).count();
            assert!((10..70).contains(&on), "{fault}: {on}");
        }
    }

    #[test]
    fn clocks_that_leases_rely_on_do_not_leap() {
        let modes = |seed| Scenario::draw(seed, &Wishes::default(), &ALL).clients.mode;
        for &mode in ReadsMode::ALL {
            assert!((1..100).any(|seed| modes(seed) == mode), "nobody reads by {mode}");
            let wishes = Wishes { reads: Some(mode), ..Wishes::default() };
            let drawn = (1..100).map(|seed| Scenario::draw(seed, &wishes, &ALL));
            let leaps = drawn.filter(|drawn| drawn.strengths[Fault::EarlyTimeout] > 0).count();
            assert_eq!(leaps == 0, mode == ReadsMode::Lease, "{mode}: {leaps}");
        }
    }
}
