//! Bugs that real systems shipped, planted one at a time: the simulator finds each, by the right name.
//!
//! Needs the feature: `cargo test -p quorumbench --features mutants --test mutants -- --nocapture`.
#![expect(clippy::disallowed_types, reason = "a protocol to break")]

use std::sync::Mutex;

use quorumbench::sim::runner::{run, run_many};
use quorumbench::sim::{Cluster, Outcome, Print, Wishes, report};
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;

/// Seeds within which each must be found.
const SEEDS: u64 = 3000;
/// Seeds that are clean without a bug.
const CLEAN: u64 = 1500;
/// In the narrow cluster, searched and clean. Seed 1233 is too slow there, not wrong: it answers too late.
const CLEAN_NARROW: u64 = 1200;

/// Three nodes that send one slot at a time, for long: where logs part again and again.
const NARROW: Cluster = Cluster {
    replicas: 3,
    observers: 0,
    window: 1,
    commands: 1,
    payload: 8,
    election_timeout_ns: 50_000_000,
    heartbeat_ns: 10_000_000,
};
/// Election timeouts for which anything may break there.
const LONG: u64 = 300;

/// Known to survive: what the simulator still has to learn. One that is found must leave this list.
/// Z8a does no harm: a follower that was not sent a transaction sees the gap, leaves, and synchronizes anew.
const SURVIVORS: &[Mutant] = &[Mutant::R5a, Mutant::Z8a];

/// The first seed that fails with this bug planted.
fn found(mutant: Mutant) -> Option<Outcome> {
    let free = Wishes { mutant: Switch::on(mutant), ..Wishes::default() };
    let narrow = Wishes { cluster: Some(NARROW), length: Some(LONG), ..free.clone() };
    first_to_fail(mutant, &free, SEEDS).or_else(|| first_to_fail(mutant, &narrow, CLEAN_NARROW))
}

/// Runs a seed of some protocol.
type Run = fn(u64, &Wishes, Option<Print>) -> Outcome;

/// That of the protocol that the bug is planted in.
fn run_of(mutant: Mutant) -> Run {
    if mutant.name().starts_with('Z') { run::<Zab> } else { run::<Raft> }
}

fn first_to_fail(mutant: Mutant, wishes: &Wishes, seeds: u64) -> Option<Outcome> {
    let failed = Mutex::new(None);
    run_many(1, seeds, 2, |seed| run_of(mutant)(seed, wishes, None), &mut |outcome| {
        if outcome.failure.is_some() {
            *failed.lock().expect("nobody panics in here") = Some(outcome);
        }
    });
    failed.into_inner().expect("nobody panicked in there")
}

#[test]
fn every_planted_bug_is_found_by_the_right_name() {
    // For a look at a few: their names, with spaces between them.
    let wanted = std::env::var("MUTANTS").ok();
    let is_wanted = |mutant: &&Mutant| {
        wanted.as_ref().is_none_or(|names| names.split_whitespace().any(|name| name == mutant.name()))
    };
    let mut wrong = Vec::new();
    println!("| bug | what is wrong | seen in | seeds | property named |\n|---|---|---|---:|---|");
    for mutant in Mutant::ALL.iter().filter(is_wanted) {
        let (name, bug, seen) = (mutant.name(), mutant.bug(), mutant.seen());
        let Some(outcome) = found(*mutant) else {
            println!("| {name} | {bug} | {seen} | - | survives {SEEDS} seeds |");
            if !SURVIVORS.contains(mutant) {
                wrong.push(name);
            }
            continue;
        };
        if SURVIVORS.contains(mutant) {
            wrong.push(name);
        }
        let violation = outcome.failure.expect("it failed").violation;
        let seeds = if outcome.scenario.cluster == NARROW { "3000 + " } else { "" };
        println!("| {name} | {bug} | {seen} | {seeds}{} | {} |", outcome.scenario.seed, violation.property);
        if !mutant.breaks().contains(&violation.property) {
            println!("  {violation}");
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not found, or by another name: {}", wrong.join(" "));
}

#[test]
fn without_a_bug_the_same_seeds_are_clean() {
    let narrow = Wishes { cluster: Some(NARROW), length: Some(LONG), ..Wishes::default() };
    let worlds: [(_, _, Run); 3] = [
        (Wishes::default(), CLEAN, run::<Raft>),
        (narrow, CLEAN_NARROW, run::<Raft>),
        (Wishes::default(), CLEAN, run::<Zab>),
    ];
    for (wishes, seeds, run) in worlds {
        run_many(1, seeds, 2, |seed| run(seed, &wishes, None), &mut |outcome| {
            if let Some(failure) = &outcome.failure {
                panic!("{}", report::failure(&outcome, failure, ""));
            }
        });
    }
}
