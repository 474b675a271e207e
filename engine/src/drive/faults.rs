//! What is done to a cluster while it is measured, and when.

use quorumbench_protocols::Nanos;

use super::orders::Order;
use super::{DriveError, Fault, FaultKind};
use crate::measure::Window;

/// A cluster that faults are done to, whatever it runs on. Replicas go by their ids.
pub(super) trait Subject {
    /// How many replicas there are.
    fn replicas(&self) -> usize;

    /// Who led last, dead or alive.
    fn leader(&self) -> Option<usize>;

    /// Ends a replica and waits until it has ended; its connections are lost.
    ///
    /// # Errors
    /// What it failed of before.
    fn kill(&mut self, index: usize) -> Result<(), DriveError>;

    /// Lets a killed replica come back. Does nothing if it is there.
    ///
    /// # Errors
    /// That its port is taken, and the like.
    fn restart(&mut self, index: usize) -> Result<(), DriveError>;

    /// Tells a replica something, which it does in its next turn. [`Order::Die`] is [`kill`](Self::kill)'s.
    fn order(&mut self, index: usize, order: Order);
}

/// The faults of a point, as their time comes.
pub(super) struct FaultPlan {
    /// What is still to come, the next one last.
    ahead: Vec<(Nanos, Step)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(FaultKind),
    Restart(usize),
}

impl FaultPlan {
    pub(super) fn new(faults: &[Fault], window: Window) -> Self {
        let at = |fault: &Fault| window.from + fault.at.as_nanos() as u64;
        let mut plan = Self { ahead: faults.iter().map(|fault| (at(fault), Step::Begin(fault.kind))).collect() };
        plan.sort();
        plan
    }

    /// Does what is due. A fault that finds no leader waits for one.
    pub(super) fn turn(&mut self, now: Nanos, subject: &mut (impl Subject + ?Sized)) -> Result<(), DriveError> {
        while let Some((at, step)) = self.ahead.pop() {
            if at > now || (subject.leader().is_none() && matches!(step, Step::Begin(_))) {
                self.ahead.push((at, step));
                break;
            }
            match (step, subject.leader().unwrap_or_default()) {
                (Step::Restart(index), _) => subject.restart(index)?,
                (Step::Begin(FaultKind::TransferLeader), leader) => {
                    let to = ((leader + 1) % subject.replicas()) as u32;
                    subject.order(leader, Order::Transfer { to });
                }
                (Step::Begin(FaultKind::KillLeader), leader) => subject.kill(leader)?,
                (Step::Begin(FaultKind::RestartLeader { down_for }), leader) => {
                    subject.kill(leader)?;
                    self.ahead.push((now + down_for.as_nanos() as u64, Step::Restart(leader)));
                    self.sort();
                }
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.ahead.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
    }
}
