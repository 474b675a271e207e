//! Everything that can happen to three nodes and a command or two, with a crash, a lost frame and the
//! few timeouts that elections take: every order of it, not a sample.
//!
//! A protocol joins by [`Checked`] and by a test that names its cases.

#![allow(unreachable_pub)]

mod print;
mod search;
#[path = "../support/mod.rs"]
mod support;
mod world;

use quorumbench_protocols::floors::Star;
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{Config, Delivery, Frame, Input, Malformed, Nanos, NodeId, Outbox, Protocol, Record, Slot};

use self::search::{Found, search};
use self::support::cluster::Subject;
use self::world::{Bounds, Case, Checked, Disks, Prelude};

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

#[test]
fn raft_elects() {
    let bounds = Bounds { commands: 1, timeouts: 2, ..Bounds::default() };
    check::<Raft>("raft, elections", Case::fresh(bounds));
}

/// A crash takes what is not durable yet.
fn slow_disks() -> Case {
    let bounds = Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() };
    Case { disks: Disks::Slow, ..Case::led(bounds) }
}

#[test]
fn raft_with_a_crash_and_slow_disks() {
    check::<Raft>("raft, a crash, slow disks", slow_disks());
}

/// All that is on its way is lost.
const NOBODY: Prelude = Prelude::Settle(&[]);

/// Nodes 0 and 2 campaign for the same term, and node 1 has yet to vote.
fn split_vote() -> Case {
    const SPLIT: &[Prelude] = &[
        Prelude::Timeout(0),
        Prelude::Carry(0, 1),
        Prelude::Carry(1, 0),
        Prelude::Timeout(2),
        Prelude::Carry(2, 1),
        Prelude::Carry(1, 2),
        NOBODY,
        Prelude::Sync(0),
        Prelude::Sync(2),
    ];
    let bounds = Bounds { timeouts: 1, crashes: 1, ..Bounds::default() };
    Case { disks: Disks::Slow, begin: SPLIT, ..Case::fresh(bounds) }
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn raft_with_a_split_vote_and_a_crash() {
    fine::<Raft>("raft, a split vote, a crash", split_vote());
}

/// Figure 8 (c) of the Raft paper with one node less: node 0 wrote a command in term 1, alone; then
/// node 1 a no-op in term 2, alone; now node 0 leads term 3.
fn figure_8() -> Case {
    const FIGURE_8: &[Prelude] = &[
        Prelude::Timeout(0),
        Prelude::Settle(&[0, 1, 2]),
        Prelude::Submit(0),
        NOBODY,
        Prelude::Timeout(1),
        Prelude::Carry(1, 2),
        Prelude::Carry(2, 1),
        Prelude::Carry(1, 2),
        Prelude::Carry(2, 1),
        NOBODY,
        // Node 0 learns from node 2 that its term is over, and campaigns.
        Prelude::Timeout(0),
        Prelude::Carry(0, 2),
        Prelude::Carry(2, 0),
        NOBODY,
        Prelude::Timeout(0),
        Prelude::Carry(0, 2),
        Prelude::Carry(2, 0),
        Prelude::Carry(0, 2),
        Prelude::Carry(2, 0),
    ];
    Case { begin: FIGURE_8, ..Case::fresh(Bounds { timeouts: 1, ..Bounds::default() }) }
}

#[test]
fn raft_in_figure_8() {
    fine::<Raft>("raft, figure 8", figure_8());
}

#[test]
fn raft_with_a_crash() {
    let bounds = Bounds { commands: 2, timeouts: 1, crashes: 1, ..Bounds::default() };
    check::<Raft>("raft, a crash", Case::led(bounds));
}

#[test]
fn raft_with_a_loss() {
    let bounds = Bounds { commands: 2, timeouts: 1, losses: 1, ..Bounds::default() };
    check::<Raft>("raft, a loss", Case::led(bounds));
}

#[test]
fn raft_with_a_loss_a_copy_and_a_late_frame() {
    let bounds = Bounds { commands: 1, timeouts: 1, losses: 1, duplicates: 1, overtakes: 1, ..Bounds::default() };
    check::<Raft>("raft, a loss, a copy, a late frame", Case::led(bounds));
}

#[test]
fn raft_with_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 1, timeouts: 1, crashes: 1, losses: 1, ..Bounds::default() };
    check::<Raft>("raft, a crash and a loss", Case::led(bounds));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn raft_with_two_commands_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 2, timeouts: 1, crashes: 1, losses: 1, ..Bounds::default() };
    check::<Raft>("raft, two commands, a crash and a loss", Case::led(bounds));
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

/// Bugs that real systems shipped.
#[cfg(feature = "mutants")]
mod mutants {
    use quorumbench_protocols::mutant::{Mutant, Switch};
    use quorumbench_protocols::raft::Raft;

    use super::world::{Bounds, Case};
    use super::{breaks, figure_8, slow_disks, split_vote};

    fn finds(mutant: Mutant, case: Case, property: &str) {
        let what = format!("{}: {}", mutant.name(), mutant.bug());
        breaks::<Raft>(&what, Case { mutant: Switch::on(mutant), ..case }, property);
    }

    #[test]
    fn commits_an_old_term_by_counting() {
        // Node 0 delivered it, and calls the leader that takes it back no correct one.
        finds(Mutant::R1, figure_8(), "correct nodes are well-formed");
    }

    #[test]
    fn forgets_whom_it_voted_for() {
        finds(Mutant::R3a, split_vote(), "election safety");
    }

    #[test]
    fn votes_before_it_is_durable() {
        finds(Mutant::R3b, split_vote(), "election safety");
    }

    #[test]
    fn acknowledges_before_it_is_durable() {
        finds(Mutant::R4a, slow_disks(), "state machine safety");
    }

    #[test]
    fn counts_itself_before_it_is_durable() {
        let bounds = Bounds { losses: 1, ..slow_disks().bounds };
        finds(Mutant::R4b, Case { bounds, ..slow_disks() }, "state machine safety");
    }
}
