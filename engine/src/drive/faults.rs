//! What is done to a cluster while it is measured, and when.

use std::cmp::Reverse;

use quorumbench_protocols::{Nanos, Prng};

use super::DriveError;
use super::orders::{Order, Standing};
use crate::measure::Window;
use crate::spec::{Fault, FaultKind, Point, Target};

/// A cluster that faults are done to, whatever it runs on. Replicas go by their ids.
pub(super) trait Subject {
    /// How many replicas there are.
    fn replicas(&self) -> usize;

    /// Who led last, dead or alive.
    fn leader(&self) -> Option<usize>;

    /// Where a replica stands, or stood when it died; `None` where that is not known.
    fn standing(&self, index: usize) -> Option<Standing>;

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

    /// Tells a replica something, which it does in its next turn, and notes as an event. What is told to
    /// one that is down waits for it. [`Order::Die`] is [`kill`](Self::kill)'s.
    fn order(&mut self, index: usize, order: Order);
}

/// The faults of a point, as their time comes.
#[derive(Debug)]
pub(super) struct FaultPlan {
    faults: Vec<Fault>,
    /// When faults are still to begin, and which, the next one last.
    begins: Vec<(Nanos, usize)>,
    /// When those that have begun are to end, the next one last.
    ends: Vec<(Nanos, usize)>,
    /// What came of each fault.
    done: Vec<Done>,
    /// Who is dead.
    down: Vec<bool>,
    voters: usize,
    sampled_at: Nanos,
    prng: Prng,
}

/// What the plan did about one fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// To whom it happened; `None` until it has.
    pub(super) node: Option<usize>,
    /// When it was ordered.
    pub(super) began: Option<Nanos>,
    /// When its end was.
    pub(super) ended: Option<Nanos>,
    /// How the node stood, again and again from then on, until the next fault.
    pub(super) samples: Vec<Sample>,
}

/// How the node that a fault was done to stood next to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Nanos,
    /// Slots that it had not been delivered and another had.
    pub(super) lag: u64,
    /// Bytes of log that it kept.
    pub(super) kept_bytes: u64,
    /// The most that any other kept.
    pub(super) others_kept_bytes: u64,
}

/// How often standings are looked at.
const SAMPLE_NS: u64 = 5_000_000;
/// A fault that finds nobody to be done to looks again after this long.
const LOOK_AGAIN_NS: u64 = 1_000_000;

impl FaultPlan {
    pub(super) fn new(faults: &[Fault], point: &Point, window: Window, seed: u64) -> Self {
        let begin = |(index, fault): (usize, &Fault)| (window.from + fault.at.as_nanos() as u64, index);
        let mut begins: Vec<_> = faults.iter().enumerate().map(begin).collect();
        begins.sort_by_key(|&begin| Reverse(begin));
        Self {
            faults: faults.to_vec(),
            begins,
            ends: Vec::new(),
            done: vec![Done::default(); faults.len()],
            down: vec![false; point.cluster.replicas],
            voters: point.cluster.replicas - point.cluster.observers,
            sampled_at: Nanos::ZERO,
            prng: Prng::new(seed),
        }
    }

    /// When to take the next turn, at the latest; never if there is nothing to do.
    pub(super) fn next_at(&self, now: Nanos) -> Nanos {
        let at = |steps: &[(Nanos, usize)]| steps.last().map_or(Nanos::NEVER, |&(at, _)| at);
        let begin = at(&self.begins);
        // One that is due and still there found nobody to be done to.
        let begin = if begin > now { begin } else { now + LOOK_AGAIN_NS };
        let sample = if self.faults.is_empty() { Nanos::NEVER } else { self.sampled_at + SAMPLE_NS };
        begin.min(at(&self.ends)).min(sample.max(now + 1))
    }

    /// Does what is due. A fault that finds nobody to be done to waits, and those that begin after it with it.
    pub(super) fn turn(&mut self, now: Nanos, subject: &mut (impl Subject + ?Sized)) -> Result<(), DriveError> {
        self.sample(now, subject);
        while let Some((_, index)) = self.ends.pop_if(|(at, _)| *at <= now) {
            self.end(now, index, subject)?;
        }
        while let Some(&(_, index)) = self.begins.last().filter(|(at, _)| *at <= now) {
            let Some(node) = self.target(self.faults[index].target, subject) else { break };
            self.begins.pop();
            self.begin(now, index, node, subject)?;
        }
        Ok(())
    }

    /// Each fault, and what became of it.
    pub(super) fn into_done(self) -> Vec<(Fault, Done)> {
        self.faults.into_iter().zip(self.done).collect()
    }

    fn target(&mut self, target: Target, subject: &(impl Subject + ?Sized)) -> Option<usize> {
        let up = |index: &usize| !self.down[*index];
        match target {
            Target::Leader => subject.leader().filter(up),
            Target::Follower => {
                let leader = subject.leader().filter(up)?;
                (1..self.voters).map(|ahead| (leader + ahead) % self.voters).find(up)
            }
            Target::Any => {
                let living: Vec<usize> = (0..self.down.len()).filter(up).collect();
                (!living.is_empty()).then(|| living[self.prng.below(living.len() as u64) as usize])
            }
            Target::Id(id) => Some(id as usize).filter(up),
        }
    }

    fn begin(
        &mut self,
        now: Nanos,
        index: usize,
        node: usize,
        subject: &mut (impl Subject + ?Sized),
    ) -> Result<(), DriveError> {
        let fault = self.faults[index];
        let done = &mut self.done[index];
        (done.node, done.began) = (Some(node), Some(now));
        match fault.kind {
            FaultKind::Kill => {
                subject.kill(node)?;
                self.down[node] = true;
            }
            FaultKind::Restart => {
                subject.kill(node)?;
                return self.end(now, index, subject);
            }
            FaultKind::Pause => subject.order(node, Order::Pause { on: true }),
            FaultKind::Partition => subject.order(node, Order::Isolate { on: true }),
            FaultKind::SlowDisk { extra } => subject.order(node, Order::SlowDisk { extra }),
            FaultKind::SlowLink { extra } => subject.order(node, Order::SlowLink { extra }),
            FaultKind::Slow { factor } => subject.order(node, Order::Slow { factor }),
            FaultKind::Transfer => {
                let next = (1..self.voters).map(|ahead| (node + ahead) % self.voters).find(|&next| !self.down[next]);
                if let Some(to) = next {
                    subject.order(node, Order::Transfer { to: to as u32 });
                }
            }
        }
        if let Some(lasts) = fault.lasts {
            self.ends.push((now + lasts.as_nanos() as u64, index));
            self.ends.sort_by_key(|&end| Reverse(end));
        }
        Ok(())
    }

    fn end(&mut self, now: Nanos, index: usize, subject: &mut (impl Subject + ?Sized)) -> Result<(), DriveError> {
        let Some(node) = self.done[index].node else { return Ok(()) };
        self.done[index].ended = Some(now);
        let others = (0..subject.replicas()).filter(|&other| other != node);
        let slot = others.filter_map(|other| subject.standing(other)).map(|standing| standing.delivered).max();
        let as_before = std::time::Duration::ZERO;
        match self.faults[index].kind {
            FaultKind::Kill | FaultKind::Restart => {
                subject.restart(node)?;
                self.down[node] = false;
            }
            FaultKind::Pause => subject.order(node, Order::Pause { on: false }),
            FaultKind::Partition => subject.order(node, Order::Isolate { on: false }),
            FaultKind::SlowDisk { .. } => subject.order(node, Order::SlowDisk { extra: as_before }),
            FaultKind::SlowLink { .. } => subject.order(node, Order::SlowLink { extra: as_before }),
            FaultKind::Slow { .. } => subject.order(node, Order::Slow { factor: 1 }),
            FaultKind::Transfer => {}
        }
        if let Some(slot) = slot {
            subject.order(node, Order::CatchUp { slot });
        }
        Ok(())
    }

    /// Notes how the node of the last fault stands.
    fn sample(&mut self, now: Nanos, subject: &(impl Subject + ?Sized)) {
        if now < self.sampled_at + SAMPLE_NS {
            return;
        }
        self.sampled_at = now;
        let last = self.done.iter_mut().filter(|done| done.began.is_some()).max_by_key(|done| done.began);
        let Some(done) = last else { return };
        let Some(node) = done.node else { return };
        let others = (0..subject.replicas()).filter(|&other| other != node);
        let others: Vec<Standing> = others.filter_map(|other| subject.standing(other)).collect();
        if let Some(standing) = subject.standing(node) {
            let ahead = others.iter().map(|other| other.delivered).max().unwrap_or_default();
            done.samples.push(Sample {
                at: now,
                lag: ahead.saturating_sub(standing.delivered),
                kept_bytes: standing.kept.bytes,
                others_kept_bytes: others.iter().map(|other| other.kept.bytes).max().unwrap_or_default(),
            });
        }
    }
}
