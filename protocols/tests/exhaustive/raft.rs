//! Raft.

use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{Config, Delivery, Frame, Input, Malformed, Nanos, NodeId, Outbox, Protocol, Record, Slot};

use crate::support::cluster::Subject;
use crate::world::{Bounds, Case, Checked, Disks, Prelude};
use crate::{breaks, check, fine};

impl Checked for Raft {
    fn leads(&self) -> Option<u64> {
        (self.role() == Role::Leader).then(|| self.term())
    }
}

#[test]
fn elects() {
    let bounds = Bounds { commands: 1, timeouts: 2, ..Bounds::default() };
    check::<Raft>("raft, elections", Case::fresh(bounds));
}

/// A crash takes what is not durable yet.
fn slow_disks() -> Case {
    let bounds = Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() };
    Case { disks: Disks::Slow, ..Case::led(bounds) }
}

#[test]
fn with_a_crash_and_slow_disks() {
    check::<Raft>("raft, a crash, slow disks", slow_disks());
}

/// Nodes 0 and 2 campaign for the same term, and node 1 has yet to vote.
fn split_vote() -> Case {
    const SPLIT: &[Prelude] = &[
        Prelude::Timeout(0),
        Prelude::Ask(0, 1),
        Prelude::Timeout(2),
        Prelude::Ask(2, 1),
        Prelude::LOSE,
        Prelude::Sync(0),
        Prelude::Sync(2),
    ];
    let bounds = Bounds { timeouts: 1, crashes: 1, ..Bounds::default() };
    Case { disks: Disks::Slow, begin: SPLIT, ..Case::fresh(bounds) }
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn with_a_split_vote_and_a_crash() {
    fine::<Raft>("raft, a split vote, a crash", split_vote());
}

/// Figure 8 (c) of the Raft paper with one node less: node 0 wrote a command in term 1, alone; then
/// node 1 a no-op in term 2, alone; now node 0 leads term 3.
fn figure_8() -> Case {
    const FIGURE_8: &[Prelude] = &[
        Prelude::Timeout(0),
        Prelude::Settle(&[0, 1, 2]),
        Prelude::Submit(0),
        Prelude::LOSE,
        Prelude::Timeout(1),
        Prelude::Ask(1, 2),
        Prelude::Ask(1, 2),
        Prelude::LOSE,
        // Node 0 learns from node 2 that its term is over, and campaigns.
        Prelude::Timeout(0),
        Prelude::Ask(0, 2),
        Prelude::LOSE,
        Prelude::Timeout(0),
        Prelude::Ask(0, 2),
        Prelude::Ask(0, 2),
    ];
    Case { begin: FIGURE_8, ..Case::fresh(Bounds { timeouts: 1, ..Bounds::default() }) }
}

#[test]
fn in_figure_8() {
    fine::<Raft>("raft, figure 8", figure_8());
}

#[test]
fn with_a_crash() {
    let bounds = Bounds { commands: 2, timeouts: 1, crashes: 1, ..Bounds::default() };
    check::<Raft>("raft, a crash", Case::led(bounds));
}

#[test]
fn with_a_loss() {
    let bounds = Bounds { commands: 2, timeouts: 1, losses: 1, ..Bounds::default() };
    check::<Raft>("raft, a loss", Case::led(bounds));
}

#[test]
fn with_a_loss_a_copy_and_a_late_frame() {
    let bounds = Bounds { commands: 1, timeouts: 1, losses: 1, duplicates: 1, overtakes: 1, ..Bounds::default() };
    check::<Raft>("raft, a loss, a copy, a late frame", Case::led(bounds));
}

#[test]
fn with_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 1, timeouts: 1, crashes: 1, losses: 1, ..Bounds::default() };
    check::<Raft>("raft, a crash and a loss", Case::led(bounds));
}

/// Without a timeout: followers would hear with the next heartbeat what was committed last.
#[test]
fn with_three_commands_a_crash_and_a_loss() {
    let bounds = Bounds { commands: 3, crashes: 1, losses: 1, ..Bounds::default() };
    fine::<Raft>("raft, three commands, a crash and a loss", Case::led(bounds));
}

#[test]
#[ignore = "millions of states: with --release and --include-ignored"]
fn with_two_commands_a_crash_and_a_loss() {
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
    const SNAPSHOT_RECORD: Option<u8> = Raft::SNAPSHOT_RECORD;

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
    use quorumbench_protocols::mutant::Mutant;
    use quorumbench_protocols::raft::Raft;

    use super::{figure_8, slow_disks, split_vote};
    use crate::finds;
    use crate::world::{Bounds, Case};

    #[test]
    fn commits_an_old_term_by_counting() {
        // Node 0 delivered it, and calls the leader that takes it back no correct one.
        finds::<Raft>(Mutant::R1, figure_8(), "correct nodes are well-formed");
    }

    #[test]
    fn forgets_whom_it_voted_for() {
        finds::<Raft>(Mutant::R3a, split_vote(), "election safety");
    }

    #[test]
    fn votes_before_it_is_durable() {
        finds::<Raft>(Mutant::R3b, split_vote(), "election safety");
    }

    #[test]
    fn acknowledges_before_it_is_durable() {
        finds::<Raft>(Mutant::R4a, slow_disks(), "state machine safety");
    }

    #[test]
    fn counts_itself_before_it_is_durable() {
        let bounds = Bounds { losses: 1, ..slow_disks().bounds };
        finds::<Raft>(Mutant::R4b, Case { bounds, ..slow_disks() }, "state machine safety");
    }
}
