//! Everything that can happen to three nodes and a command or two, with a crash, a lost frame and the
//! few timeouts that elections take: every order of it, not a sample.
//!
//! A protocol joins by [`Checked`] and by a test that names its cases.

#![allow(unreachable_pub)]

mod search;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::time::Instant;

use quorumbench_protocols::floors::Star;
#[cfg(feature = "mutants")]
use quorumbench_protocols::mutant::Switch;
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{
    Config, Delivery, Frame, Input, Malformed, Nanos, NodeId, Outbox, Protocol, Record, Slot,
};

use self::search::{Found, search};
use self::support::cluster::Subject;
use self::world::{Bounds, Case, Checked, Disks};

impl Checked for Raft {
    fn leads(&self) -> Option<u64> {
        (self.role() == Role::Leader).then(|| self.term())
    }
}

impl Checked for Star {
    fn leads(&self) -> Option<u64> {
        None
    }
}

/// Searches it all, and says how much that was.
fn look<P: Checked>(what: &str, case: Case) -> Found {
    let started = Instant::now();
    let found = search::<P>(case);
    let Found { states, depth, complete, .. } = found;
    let seconds = started.elapsed().as_secs_f64();
    let how_far = if complete { "complete" } else { "not complete" };
    println!("{what}: {states} states, {depth} steps deep, {how_far}, {seconds:.1} s");
    found
}

/// No state violates anything, and in some all commands are delivered everywhere.
fn check<P: Checked>(what: &str, case: Case) {
    let Found { violation, complete, completes, .. } = look::<P>(what, case);
    if let Some((property, trace)) = violation {
        panic!("{what}: {property}\n{trace}");
    }
    assert!(complete, "{what}: more than can be searched");
    assert!(completes, "{what}: nothing is ever done");
}

/// Some state violates this property.
fn breaks<P: Checked>(what: &str, case: Case, property: &str) {
    let (found, trace) = look::<P>(what, case).violation.unwrap_or_else(|| panic!("{what}: nothing is found"));
    assert_eq!(found, property, "{what}\n{trace}");
}

#[test]
fn star() {
    let bounds = Bounds { commands: 3, timeouts: 2, losses: 1, overtakes: Bounds::ANY, ..Bounds::default() };
    check::<Star>("star, any order, a loss", Case::fresh(bounds));
}

#[test]
fn raft_elects() {
    let bounds = Bounds { commands: 1, timeouts: 2, ..Bounds::default() };
    check::<Raft>("raft, elections", Case::fresh(bounds));
}

#[test]
fn raft_with_a_crash_and_slow_disks() {
    let bounds = Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() };
    check::<Raft>("raft, a crash, slow disks", Case { disks: Disks::Slow, ..Case::led(bounds) });
}

#[test]
fn raft_with_a_crash() {
    let bounds = Bounds { commands: 2, timeouts: 1, crashes: 1, ..Bounds::default() };
    check::<Raft>("raft, a crash", Case::led(bounds));
}

#[test]
fn raft_with_a_loss() {
    let bounds = Bounds { commands: 2, timeouts: 1, losses: 1, duplicates: 1, ..Bounds::default() };
    check::<Raft>("raft, a loss", Case::led(bounds));
}

#[test]
fn raft_any() {
    let env = |name: &str| -> u8 { std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(0) };
    let bounds = Bounds { commands: env("C"), timeouts: env("T"), crashes: env("X"), losses: env("L"), duplicates: env("D"), overtakes: env("O") };
    let case = if env("LED") > 0 { Case::led(bounds) } else { Case::fresh(bounds) };
    let case = if env("SLOW") > 0 { Case { disks: Disks::Slow, ..case } } else { case };
    if std::env::var("C").is_ok() { check::<Raft>("any", case) }
}

/// Raft whose nodes deliver whatever they have written.
#[derive(Clone, Debug)]
struct Hasty {
    raft: Raft,
    delivered: Slot,
}

impl Protocol for Hasty {
    fn new(config: &Config, seed: u64) -> Self {
        Self { raft: Raft::new(config, seed), delivered: Slot::ZERO }
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        Ok(Self { raft: Raft::recover(config, seed, records)?, delivered: Slot::ZERO })
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        self.raft.step(now, input, out)
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        let before = out.deliveries.len();
        self.raft.flush(now, out);
        out.deliveries.truncate(before);
        while let Some(entry) = self.raft.log().get(self.delivered + 1) {
            self.delivered += 1;
            out.deliveries.push(Delivery { slot: self.delivered, kind: entry.kind, body: entry.body.clone() });
        }
    }

    fn deadline(&self) -> Nanos {
        self.raft.deadline()
    }

    fn room(&self) -> usize {
        self.raft.room()
    }

    fn leader(&self) -> Option<NodeId> {
        self.raft.leader()
    }
}

impl Subject for Hasty {
    fn describe(frame: &Frame) -> String {
        Raft::describe(frame)
    }

    fn standing(&self) -> String {
        self.raft.standing()
    }

    fn summary(&self) -> String {
        self.raft.summary()
    }
}

impl Checked for Hasty {
    fn leads(&self) -> Option<u64> {
        self.raft.leads()
    }
}

#[test]
fn what_delivers_too_early_is_found() {
    let bounds = Bounds { commands: 1, timeouts: 1, ..Bounds::default() };
    breaks::<Hasty>("raft that delivers what it has written", Case::led(bounds), "state machine safety");
}

#[cfg(feature = "mutants")]
#[test]
fn survey() {
    use quorumbench_protocols::mutant::Mutant;
    for mutant in Mutant::ALL {
        let slow = Case { disks: Disks::Slow, ..Case::led(Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() }) };
        let two = Case::led(Bounds { commands: 2, timeouts: 1, crashes: 1, ..Bounds::default() });
        let loss = Case::led(Bounds { commands: 2, timeouts: 1, losses: 1, duplicates: 1, ..Bounds::default() });
        let elect = Case::fresh(Bounds { commands: 1, timeouts: 2, ..Bounds::default() });
        for (what, case) in [("slow", slow), ("two", two), ("loss", loss), ("elect", elect)] {
            let found = look::<Raft>(&format!("{} {what}", mutant.name()), Case { mutant: Switch::on(*mutant), ..case });
            if let Some((name, trace)) = found.violation { println!("  FOUND {name} in {} lines", trace.lines().count()); break; }
        }
    }
}
