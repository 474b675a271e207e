//! What a protocol's hot path takes in instructions, which no neighbour and no clock changes: callgrind counts them.
//!
//! `scripts/instructions.sh` runs it. The table below is the baseline: a count that is a hundredth above its own fails, with
//! exit code 3. One that has become less is to be written down here. Compilers differ: the counts are of the release
//! profile, by the version that is named beside them.
#![allow(missing_docs, clippy::disallowed_types, clippy::disallowed_methods, reason = "what its macros expand to")]

mod played;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use played::{Node, Subject, batch, follow, lead};
use quorumbench_protocols::Payload;
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;

/// Instructions of 64 slots in turns of 16, by rustc 1.95.0.
mod baseline {
    pub(super) const RAFT_LEADER: u64 = 56_913;
    pub(super) const RAFT_FOLLOWER: u64 = 68_045;
    pub(super) const MULTIPAXOS_LEADER: u64 = 70_429;
    pub(super) const MULTIPAXOS_FOLLOWER: u64 = 78_235;
    pub(super) const ZAB_LEADER: u64 = 61_816;
    pub(super) const ZAB_FOLLOWER: u64 = 61_011;
}

const TURN: u64 = 16;
const TURNS: u64 = 4;
/// So many before the first that is counted: buffers have their sizes then.
const BEFORE: u64 = 16;

/// A node in the middle of its work, the slot that comes next, and what stands in it.
type Busy<P> = (Node<P>, u64, Payload);

fn leader<P: Subject>() -> Busy<P> {
    let ((mut node, mut next), body) = (P::leading(), batch(16));
    (0..BEFORE).for_each(|_| lead(&mut node, &mut next, TURN, &body));
    (node, next, body)
}

fn follower<P: Subject>() -> Busy<P> {
    let ((mut node, mut next), body) = (P::following(), batch(16));
    (0..BEFORE).for_each(|_| follow(&mut node, &mut next, TURN, &body));
    (node, next, body)
}

/// The node comes back, so that what it costs to drop it is not counted.
fn leads<P: Subject>((mut node, mut next, body): Busy<P>) -> Busy<P> {
    (0..TURNS).for_each(|_| lead(&mut node, &mut next, TURN, &body));
    (node, next, body)
}

fn follows<P: Subject>((mut node, mut next, body): Busy<P>) -> Busy<P> {
    (0..TURNS).for_each(|_| follow(&mut node, &mut next, TURN, &body));
    (node, next, body)
}

/// At most a hundredth more than it was.
fn at_most(baseline: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, baseline + baseline / 100)]));
    config
}

#[library_benchmark(config = at_most(baseline::RAFT_LEADER))]
#[bench::slots(leader::<Raft>())]
fn raft_leader(busy: Busy<Raft>) -> Busy<Raft> {
    leads(busy)
}

#[library_benchmark(config = at_most(baseline::RAFT_FOLLOWER))]
#[bench::slots(follower::<Raft>())]
fn raft_follower(busy: Busy<Raft>) -> Busy<Raft> {
    follows(busy)
}

#[library_benchmark(config = at_most(baseline::MULTIPAXOS_LEADER))]
#[bench::slots(leader::<MultiPaxos>())]
fn multipaxos_leader(busy: Busy<MultiPaxos>) -> Busy<MultiPaxos> {
    leads(busy)
}

#[library_benchmark(config = at_most(baseline::MULTIPAXOS_FOLLOWER))]
#[bench::slots(follower::<MultiPaxos>())]
fn multipaxos_follower(busy: Busy<MultiPaxos>) -> Busy<MultiPaxos> {
    follows(busy)
}

#[library_benchmark(config = at_most(baseline::ZAB_LEADER))]
#[bench::slots(leader::<Zab>())]
fn zab_leader(busy: Busy<Zab>) -> Busy<Zab> {
    leads(busy)
}

#[library_benchmark(config = at_most(baseline::ZAB_FOLLOWER))]
#[bench::slots(follower::<Zab>())]
fn zab_follower(busy: Busy<Zab>) -> Busy<Zab> {
    follows(busy)
}

library_benchmark_group!(
    name = slots,
    benchmarks = [raft_leader, raft_follower, multipaxos_leader, multipaxos_follower, zab_leader, zab_follower]
);
main!(library_benchmark_groups = slots);
