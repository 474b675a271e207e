//! Everything that can happen to three nodes and a command or two, with a crash, a lost frame and the
//! few timeouts that elections take: every order of it, not a sample.
//!
//! A protocol joins by [`Checked`] and by a test that names its cases.

#![allow(unreachable_pub)]

mod multipaxos;
mod paxos;
mod print;
mod raft;
mod search;
#[path = "../support/mod.rs"]
mod support;
mod world;
mod zab;

use quorumbench_protocols::floors::Star;
#[cfg(feature = "mutants")]
use quorumbench_protocols::mutant::{Mutant, Switch};

use self::search::{Found, search};
use self::world::{Bounds, Case, Checked};

impl Checked for Star {
    fn leads(&self) -> Option<u64> {
        None
    }
}

/// Searches it all, and says how much that was.
fn look<P: Checked>(what: &str, case: Case) -> Found {
    let found = search::<P>(case);
    let Found { states, depth, complete, .. } = found;
    println!("{what}: {states} states, {depth} steps deep, {}", if complete { "complete" } else { "not complete" });
    found
}

/// No state violates anything.
fn fine<P: Checked>(what: &str, case: Case) -> Found {
    let found = look::<P>(what, case);
    if let Some((property, trace)) = found.violations.first_key_value() {
        panic!("{what}: {property}\n{trace}");
    }
    assert!(found.complete, "{what}: more than can be searched");
    found
}

/// No state violates anything, and in some all commands are delivered everywhere.
fn check<P: Checked>(what: &str, case: Case) {
    assert!(fine::<P>(what, case).completes, "{what}: nothing is ever done");
}

/// Some state violates this property.
fn breaks<P: Checked>(what: &str, case: Case, property: &str) {
    let found = look::<P>(what, case);
    assert!(found.violations.contains_key(property), "{what}: {found:?}");
}

/// Some state violates this property, with a bug planted that real systems shipped.
#[cfg(feature = "mutants")]
fn finds<P: Checked>(mutant: Mutant, case: Case, property: &str) {
    let what = format!("{}: {}", mutant.name(), mutant.bug());
    breaks::<P>(&what, Case { mutant: Switch::on(mutant), ..case }, property);
}

#[test]
fn star_in_order_with_a_loss() {
    let bounds = Bounds { commands: 3, timeouts: 2, losses: 1, ..Bounds::default() };
    check::<Star>("star, in order, a loss", Case::fresh(bounds));
}

/// A frame that never arrives is lost too.
#[test]
fn star_in_any_order() {
    let bounds = Bounds { commands: 2, timeouts: 3, overtakes: Bounds::ANY, ..Bounds::default() };
    check::<Star>("star, in any order", Case::fresh(bounds));
}
