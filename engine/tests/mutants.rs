//! Bugs that real systems shipped, planted one at a time: the simulator finds each, by the right name.
//!
//! Needs the feature: `cargo test -p quorumbench --features mutants --test mutants -- --nocapture`.
#![expect(clippy::disallowed_types, reason = "a protocol to break")]

use std::sync::Mutex;

use quorumbench::sim::runner::{run, run_many};
use quorumbench::sim::{Outcome, Wishes, report};
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::raft::Raft;

/// Seeds within which each must be found.
const SEEDS: u64 = 3000;
/// Seeds that are clean without a bug.
const CLEAN: u64 = 200;

/// The first seed that fails with this bug planted.
fn found(mutant: Mutant) -> Option<Outcome> {
    let wishes = Wishes { mutant: Switch::on(mutant), ..Wishes::default() };
    let failed = Mutex::new(None);
    run_many(1, SEEDS, 2, |seed| run::<Raft>(seed, &wishes, None), &mut |outcome| {
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
            wrong.push(name);
            continue;
        };
        let violation = outcome.failure.expect("it failed").violation;
        println!("| {name} | {bug} | {seen} | {} | {} |", outcome.scenario.seed, violation.property);
        if !mutant.breaks().contains(&violation.property) {
            println!("  {violation}");
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not found, or by another name: {}", wrong.join(" "));
}

#[test]
fn without_a_bug_the_same_seeds_are_clean() {
    run_many(1, CLEAN, 2, |seed| run::<Raft>(seed, &Wishes::default(), None), &mut |outcome| {
        if let Some(failure) = &outcome.failure {
            panic!("{}", report::failure(&outcome, failure, ""));
        }
    });
}
