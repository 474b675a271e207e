//! Basic Paxos.

use quorumbench_protocols::paxos::Paxos;

use crate::world::{Bounds, Case, Checked, Disks, Prelude};
use crate::{check, fine};

impl Checked for Paxos {
    /// Nobody does, and a ballot says whose it is.
    fn leads(&self) -> Option<u64> {
        None
    }
}

/// Whoever loses a round may try it once more.
fn twice(bounds: Bounds) -> Case {
    Case { rounds: 2, ..Case::fresh(bounds) }
}

/// Nodes 0 and 1 each have a command, and node 0 has been promised the first ballot of all.
fn competing(bounds: Bounds) -> Case {
    const COMPETING: &[Prelude] =
        &[Prelude::Submit(0), Prelude::Carry(0, 1), Prelude::Carry(0, 2), Prelude::Carry(1, 0), Prelude::Submit(1)];
    Case { begin: COMPETING, ..twice(bounds) }
}

#[test]
fn in_competition() {
    fine::<Paxos>("paxos, competition", competing(Bounds::default()));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn in_competition_with_a_crash() {
    fine::<Paxos>("paxos, competition, a crash", competing(Bounds { crashes: 1, ..Bounds::default() }));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn in_competition_with_a_loss() {
    fine::<Paxos>("paxos, competition, a loss", competing(Bounds { losses: 1, ..Bounds::default() }));
}

#[test]
fn with_a_loss() {
    check::<Paxos>("paxos, a loss", twice(Bounds { commands: 1, timeouts: 1, losses: 1, ..Bounds::default() }));
}

#[test]
fn with_a_crash() {
    check::<Paxos>("paxos, a crash", twice(Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() }));
}

/// Node 0 decided on a command with node 1, and nobody else knows of it.
fn decided(bounds: Bounds) -> Case {
    const DECIDED: &[Prelude] = &[Prelude::Submit(0), Prelude::Ask(0, 1), Prelude::Ask(0, 1), Prelude::LOSE];
    Case { begin: DECIDED, ..twice(bounds) }
}

#[test]
fn a_second_command_with_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 1, crashes: 1, losses: 1, ..Bounds::default() };
    fine::<Paxos>("paxos, a second command, a crash and a loss", decided(bounds));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn a_second_and_a_third_command() {
    fine::<Paxos>("paxos, a second and a third command", decided(Bounds { commands: 2, ..Bounds::default() }));
}

#[test]
fn with_a_crash_and_slow_disks() {
    let bounds = Bounds { commands: 1, crashes: 1, ..Bounds::default() };
    check::<Paxos>("paxos, a crash, slow disks", Case { disks: Disks::Slow, ..twice(bounds) });
}

/// Node 0 was promised its first ballot by node 1, and proposed; its disk has none of that yet.
fn hurried() -> Case {
    const HURRIED: &[Prelude] = &[Prelude::Submit(0)];
    let bounds = Bounds { commands: 1, crashes: 1, ..Bounds::default() };
    Case { disks: Disks::Slow, begin: HURRIED, rounds: 1, ..Case::fresh(bounds) }
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn with_a_crash_in_the_first_round() {
    fine::<Paxos>("paxos, a crash in the first round", hurried());
}

/// Bugs that real systems shipped.
#[cfg(feature = "mutants")]
mod mutants {
    use quorumbench_protocols::mutant::Mutant;
    use quorumbench_protocols::paxos::Paxos;

    use super::{competing, hurried};
    use crate::finds;
    use crate::world::Bounds;

    const CRASH: Bounds = Bounds { commands: 0, timeouts: 0, crashes: 1, losses: 0, duplicates: 0, overtakes: 0 };

    #[test]
    fn forgets_a_promise() {
        finds::<Paxos>(Mutant::P1a, competing(CRASH), "state machine safety");
    }

    #[test]
    fn forgets_what_it_accepted() {
        finds::<Paxos>(Mutant::P1b, competing(CRASH), "state machine safety");
    }

    #[test]
    fn uses_a_ballot_twice() {
        finds::<Paxos>(Mutant::P3, hurried(), "state machine safety");
    }

    #[test]
    fn counts_an_older_promise() {
        finds::<Paxos>(Mutant::P4, competing(Bounds::default()), "state machine safety");
    }
}
