//! What a seed draws: a cluster, its clients, and its own subset and strength of faults.
//!
//! Each seed leaves most faults out (Groce et al., *Swarm Testing*, ISSTA 2012): with everything on at
//! once, faults hide each other's bugs. Everything is drawn from streams of its own, so that switching
//! one fault off changes no other draw.

use quorumbench_protocols::Prng;
use quorumbench_protocols::mutant::Switch;

use super::client::ClientOptions;
use super::disk::DiskOptions;
use super::fault::{Fault, PerFault, Strength};
use super::link::LinkOptions;

/// A seed's world, drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// All randomness follows from it.
    pub seed: u64,
    /// The cluster.
    pub cluster: Cluster,
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
}

/// What a caller fixes of the draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The cluster of an experiment.
    pub cluster: Option<Cluster>,
    /// Faults that are switched off.
    pub without: Vec<Fault>,
    /// How long anything may break, in election timeouts.
    pub length: Option<u64>,
    /// The bug to plant, if any. There is none without the feature `mutants`.
    pub mutant: Switch,
}

/// How long anything may break, in election timeouts, unless the caller wishes otherwise.
pub(super) const LENGTH: u64 = 100;

/// So many commands may be under way on one key, on average: with more of them it takes too long to search
/// for an order that explains what clients saw.
const MOST_AT_ONCE: u64 = 8;

const MS: u64 = 1_000_000;

impl Cluster {
    /// How many vote: the first ones.
    pub(super) const fn voters(&self) -> usize {
        self.replicas - self.observers
    }
}

impl Scenario {
    /// What `seed` draws, within `wishes`.
    pub fn draw(seed: u64, wishes: &Wishes) -> Self {
        let root = Prng::new(seed).fork(1);
        let strengths = strengths(&root, &wishes.without);
        let mut cluster = wishes.cluster.unwrap_or_else(|| cluster(&mut root.fork(2)));
        if strengths[Fault::TinyWindow] > 0 {
            cluster.window = [2, 1, 1][strengths[Fault::TinyWindow] as usize - 1];
        }
        if strengths[Fault::SingleCommand] > 0 {
            cluster.commands = 1;
        }
        let timeout = cluster.election_timeout_ns;
        Self {
            seed,
            clients: clients(&mut root.fork(3), &cluster, &strengths),
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

    /// Makes observers of some replicas, of a protocol that has such.
    pub(super) fn draw_observers(&mut self) {
        let mut prng = Prng::new(self.seed).fork(1).fork(8);
        let most = (self.cluster.replicas as u64 - 1) / 2;
        if prng.below(3) == 0 {
            self.cluster.observers = prng.below(most + 1) as usize;
        }
    }

    /// The mean time between two of a fault that is fired again and again.
    pub(super) fn interval(&self, fault: Fault) -> Option<u64> {
        let strength = self.strengths[fault] as usize;
        let timeouts = [15, 6, 2].get(strength.checked_sub(1)?)?;
        let often = if fault == Fault::Clog { 3 } else { 1 };
        Some(timeouts * self.cluster.election_timeout_ns / often)
    }
}

fn strengths(root: &Prng, without: &[Fault]) -> PerFault<Strength> {
    let mut strengths = PerFault::default();
    let one_in = pick(&mut root.fork(6), &[2, 3, 5]);
    for (stream, &fault) in Fault::ALL.iter().enumerate() {
        let mut prng = root.fork(100 + stream as u64);
        if prng.below(one_in) == 0 && !without.contains(&fault) {
            strengths[fault] = 1 + prng.below(3) as Strength;
        }
    }
    strengths
}

fn cluster(prng: &mut Prng) -> Cluster {
    let election_timeout_ns = pick(prng, &[10 * MS, 50 * MS, 150 * MS, 300 * MS]);
    Cluster {
        replicas: pick(prng, &[1, 3, 3, 3, 5, 5, 5, 7]),
        observers: 0,
        window: pick(prng, &[4, 8, 32, 32]),
        commands: pick(prng, &[1, 4, 16]),
        payload: pick(prng, &[8, 8, 64, 1000]),
        election_timeout_ns,
        heartbeat_ns: election_timeout_ns / pick(prng, &[4, 5, 6]),
    }
}

fn clients(prng: &mut Prng, cluster: &Cluster, strengths: &PerFault<Strength>) -> ClientOptions {
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

    #[test]
    fn a_fault_less_changes_nothing_else() {
        for seed in 1..50 {
            let all = Scenario::draw(seed, &Wishes::default());
            let without = Wishes { without: vec![Fault::Loss], ..Wishes::default() };
            let mut fewer = Scenario::draw(seed, &without);
            assert_eq!(fewer.strengths[Fault::Loss], 0);
            fewer.strengths[Fault::Loss] = all.strengths[Fault::Loss];
            fewer.links.loss = all.links.loss;
            assert_eq!(fewer, all);
        }
    }

    #[test]
    fn every_fault_is_drawn_and_left_out() {
        let drawn: Vec<_> = (1..100).map(|seed| Scenario::draw(seed, &Wishes::default()).strengths).collect();
        for &fault in Fault::ALL {
            let on = drawn.iter().filter(|strengths| strengths[fault] > 0).count();
            assert!((10..70).contains(&on), "{fault}: {on}");
        }
    }
}
