//! ZAB.

use quorumbench_protocols::zab::Zab;

use crate::world::{Bounds, Case, Checked, Disks, Prelude};
use crate::{check, fine};

impl Checked for Zab {
    fn leads(&self) -> Option<u64> {
        self.is_established().then(|| self.accepted_epoch())
    }
}

const ALL: Prelude = Prelude::Settle(&[0, 1, 2]);

/// Node 2 leads, and the others follow it.
const LED: &[Prelude] = &[ALL, Prelude::Timeout(2), Prelude::Timeout(0), Prelude::Timeout(1), ALL];

fn led(bounds: Bounds) -> Case {
    Case { begin: LED, ..Case::fresh(bounds) }
}

/// Two of three have ended the election; the third may, or a heartbeat passes.
#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn elects() {
    const LATE: &[Prelude] = &[ALL, Prelude::Timeout(2), Prelude::Timeout(0)];
    let bounds = Bounds { timeouts: 1, ..Bounds::default() };
    fine::<Zab>("zab, elections", Case { begin: LATE, ..Case::fresh(bounds) });
}

#[test]
fn a_crash_and_slow_disks() {
    let bounds = Bounds { commands: 1, crashes: 1, ..Bounds::default() };
    check::<Zab>("zab, a crash, slow disks", Case { disks: Disks::Slow, ..led(bounds) });
}

#[test]
fn two_commands_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 2, crashes: 1, losses: 1, ..Bounds::default() };
    check::<Zab>("zab, two commands, a crash and a loss", led(bounds));
}

#[test]
fn three_commands_and_a_crash() {
    let bounds = Bounds { commands: 3, crashes: 1, ..Bounds::default() };
    check::<Zab>("zab, three commands, a crash", led(bounds));
}

#[test]
fn three_commands_and_a_loss() {
    let bounds = Bounds { commands: 3, losses: 1, ..Bounds::default() };
    check::<Zab>("zab, three commands, a loss", led(bounds));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn three_commands_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 3, crashes: 1, losses: 1, ..Bounds::default() };
    check::<Zab>("zab, three commands, a crash and a loss", led(bounds));
}

#[test]
fn a_loss() {
    let bounds = Bounds { commands: 1, timeouts: 1, losses: 1, ..Bounds::default() };
    check::<Zab>("zab, a loss", led(bounds));
}

const SYNCHRONIZING: &[Prelude] = &[ALL, Prelude::Timeout(2), Prelude::Timeout(0), Prelude::Timeout(1)];

/// Node 2 is elected, and nobody has synchronized with it.
fn synchronizing(bounds: Bounds) -> Case {
    Case { begin: SYNCHRONIZING, ..Case::fresh(bounds) }
}

#[test]
fn synchronizes() {
    let bounds = Bounds { commands: 1, ..Bounds::default() };
    check::<Zab>("zab, synchronization", synchronizing(bounds));
}

#[test]
fn synchronizes_with_a_crash() {
    fine::<Zab>("zab, synchronization, a crash", synchronizing(Bounds { crashes: 1, ..Bounds::default() }));
}

/// Node 2 led and wrote a command, alone. Nodes 0 and 1 crashed, elected the latter, and
/// committed another. Node 2 comes back, with a transaction that is to be cut.
fn parted(bounds: Bounds) -> Case {
    const PARTED: &[Prelude] = &[
        ALL,
        Prelude::Timeout(2),
        Prelude::Timeout(0),
        Prelude::Timeout(1),
        ALL,
        Prelude::Submit(2),
        Prelude::LOSE,
        Prelude::Crash(0),
        Prelude::Crash(1),
        Prelude::Settle(&[0, 1]),
        Prelude::Timeout(1),
        Prelude::Timeout(0),
        Prelude::Settle(&[0, 1]),
        Prelude::Submit(1),
        Prelude::Settle(&[0, 1]),
        Prelude::Crash(2),
    ];
    Case { begin: PARTED, ..Case::fresh(bounds) }
}

#[test]
fn truncates() {
    fine::<Zab>("zab, truncation", parted(Bounds { crashes: 1, ..Bounds::default() }));
}

/// Bugs that real systems shipped.
#[cfg(feature = "mutants")]
mod mutants {
    use quorumbench_protocols::mutant::Mutant;
    use quorumbench_protocols::zab::Zab;

    use super::{led, parted};
    use crate::finds;
    use crate::world::Bounds;

    #[test]
    fn keeps_in_memory_what_is_cut() {
        finds::<Zab>(Mutant::Z1, parted(Bounds::default()), "correct nodes are well-formed");
    }

    #[test]
    fn does_not_bear_a_copy() {
        let bounds = Bounds { commands: 1, duplicates: 1, ..Bounds::default() };
        finds::<Zab>(Mutant::Z8b, led(bounds), "correct nodes are well-formed");
    }
}
