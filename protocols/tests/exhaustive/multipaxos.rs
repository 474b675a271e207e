//! Multi-Paxos.

use quorumbench_protocols::multipaxos::{MultiPaxos, Role};

use crate::world::{Bounds, Case, Checked, Disks, Prelude};
use crate::{check, fine};

impl Checked for MultiPaxos {
    fn leads(&self) -> Option<u64> {
        (self.role() == Role::Leader).then(|| self.promised().word())
    }
}

#[test]
fn elects() {
    let bounds = Bounds { commands: 1, timeouts: 1, ..Bounds::default() };
    check::<MultiPaxos>("multipaxos, elections", Case::fresh(bounds));
}

#[test]
fn a_crash_and_slow_disks() {
    let bounds = Bounds { commands: 1, crashes: 1, ..Bounds::default() };
    check::<MultiPaxos>("multipaxos, a crash, slow disks", Case { disks: Disks::Slow, ..Case::led(bounds) });
}

#[test]
fn two_commands_and_a_late_frame() {
    let bounds = Bounds { commands: 2, overtakes: 1, ..Bounds::default() };
    check::<MultiPaxos>("multipaxos, two commands, a late frame", Case::led(bounds));
}

#[test]
fn two_commands_and_a_loss() {
    let bounds = Bounds { commands: 2, losses: 1, duplicates: 1, ..Bounds::default() };
    check::<MultiPaxos>("multipaxos, two commands, a loss, a copy", Case::led(bounds));
}

#[test]
fn three_commands_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 3, crashes: 1, losses: 1, ..Bounds::default() };
    check::<MultiPaxos>("multipaxos, three commands, a crash and a loss", Case::led(bounds));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn a_loss() {
    let bounds = Bounds { commands: 1, timeouts: 1, losses: 1, ..Bounds::default() };
    check::<MultiPaxos>("multipaxos, a loss", Case::led(bounds));
}

/// Nodes 0 and 1 decided on a command, and nobody else knows of it.
fn decided(bounds: Bounds) -> Case {
    const DECIDED: &[Prelude] =
        &[Prelude::Timeout(0), Prelude::Settle(&[0, 1, 2]), Prelude::Submit(0), Prelude::Ask(0, 1), Prelude::LOSE];
    Case { begin: DECIDED, ..Case::fresh(bounds) }
}

#[test]
fn a_crash_a_loss_and_a_new_leader_after_a_decision() {
    let bounds = Bounds { timeouts: 1, crashes: 1, losses: 1, ..Bounds::default() };
    fine::<MultiPaxos>("multipaxos, a crash, a loss and a new leader", decided(bounds));
}

/// Node 0 led and wrote a command, alone; node 1 leads now, was promised by node 2, and they have
/// decided on another. Each of the three may prepare next.
fn parted() -> Case {
    const PARTED: &[Prelude] = &[
        Prelude::Timeout(0),
        Prelude::Settle(&[0, 1, 2]),
        Prelude::Submit(0),
        Prelude::LOSE,
        Prelude::Timeout(1),
        Prelude::Ask(1, 2),
        Prelude::LOSE,
        Prelude::Submit(1),
        Prelude::Ask(1, 2),
        Prelude::LOSE,
    ];
    Case { begin: PARTED, ..Case::fresh(Bounds { timeouts: 1, ..Bounds::default() }) }
}

#[test]
fn two_values_in_a_slot() {
    fine::<MultiPaxos>("multipaxos, two values in a slot", parted());
}

/// Bugs that real systems shipped.
#[cfg(feature = "mutants")]
mod mutants {
    use quorumbench_protocols::multipaxos::MultiPaxos;
    use quorumbench_protocols::mutant::Mutant;

    use super::{decided, parted};
    use crate::finds;
    use crate::world::Bounds;

    #[test]
    fn forgets_what_it_accepted() {
        let bounds = Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() };
        finds::<MultiPaxos>(Mutant::MP1b, decided(bounds), "state machine safety");
    }

    #[test]
    fn takes_any_value() {
        finds::<MultiPaxos>(Mutant::P5a, parted(), "state machine safety");
    }
}
