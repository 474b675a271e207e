//! What is done to a cluster while it is measured, and when.

use std::cmp::Reverse;
use std::mem::discriminant;
use std::time::Duration;

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
    /// What each had been delivered when it last died: it comes back and is delivered that again, from its log, as if
    /// it had lacked it.
    had: Vec<u64>,
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
    /// The last slot that any other had been delivered then.
    pub(super) behind: Option<u64>,
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
            had: vec![0; point.cluster.replicas],
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

    /// Does what is due. A fault that finds nobody to be done to waits, and those that begin after it with it. So does one of
    /// a kind that is being done to its target: each has a beginning and an end of its own.
    pub(super) fn turn(&mut self, now: Nanos, subject: &mut (impl Subject + ?Sized)) -> Result<(), DriveError> {
        self.sample(now, subject);
        while let Some((_, index)) = self.ends.pop_if(|(at, _)| *at <= now) {
            self.end(now, index, subject)?;
        }
        while let Some(&(_, index)) = self.begins.last().filter(|(at, _)| *at <= now) {
            let Some(node) = self.target(self.faults[index].target, subject) else { break };
            if self.will_end(node, self.faults[index].kind) {
                break;
            }
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
                self.kill(node, subject)?;
                self.down[node] = true;
            }
            FaultKind::Restart => {
                self.kill(node, subject)?;
                return self.end(now, index, subject);
            }
            FaultKind::Transfer => {
                let next = (1..self.voters).map(|ahead| (node + ahead) % self.voters).find(|&next| !self.down[next]);
                if let Some(to) = next {
                    subject.order(node, Order::Transfer { to: to as u32 });
                }
            }
            kind => tell(node, kind, true, subject),
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
        let slot = others.filter_map(|other| self.standing(other, subject)).map(|standing| standing.delivered).max();
        match self.faults[index].kind {
            FaultKind::Kill | FaultKind::Restart => {
                subject.restart(node)?;
                self.down[node] = false;
                // What else is done to it goes on. Of two of a kind it does what it was told last, so in the same order.
                let mut others: Vec<_> = self.going_on(node).collect();
                others.sort_by_key(|(_, done)| done.began);
                others.into_iter().for_each(|(other, _)| tell(node, other.kind, true, subject));
            }
            // It comes back without it.
            _ if self.down[node] => return Ok(()),
            kind => tell(node, kind, false, subject),
        }
        self.done[index].behind = slot;
        if let Some(slot) = slot {
            subject.order(node, Order::CatchUp { slot });
        }
        Ok(())
    }

    /// What is being done to a replica.
    fn going_on(&self, node: usize) -> impl Iterator<Item = (&Fault, &Done)> {
        let goes_on = move |done: &Done| done.node == Some(node) && done.ended.is_none();
        self.faults.iter().zip(&self.done).filter(move |(_, done)| goes_on(done))
    }

    /// Whether any of this kind is among that, and not for ever.
    fn will_end(&self, node: usize, kind: FaultKind) -> bool {
        let is_kind = |fault: &Fault| discriminant(&fault.kind) == discriminant(&kind);
        self.going_on(node).any(|(fault, _)| fault.lasts.is_some() && is_kind(fault))
    }

    /// Kills a replica, and remembers how far it had come.
    fn kill(&mut self, node: usize, subject: &mut (impl Subject + ?Sized)) -> Result<(), DriveError> {
        subject.kill(node)?;
        self.had[node] = self.standing(node, subject).map_or(0, |standing| standing.delivered);
        Ok(())
    }

    /// Where a replica stands, with what it had been delivered in earlier lives.
    fn standing(&self, node: usize, subject: &(impl Subject + ?Sized)) -> Option<Standing> {
        let now = subject.standing(node)?;
        Some(Standing { delivered: now.delivered.max(self.had[node]), ..now })
    }

    /// Notes how the node of the last fault stands.
    fn sample(&mut self, now: Nanos, subject: &(impl Subject + ?Sized)) {
        if now < self.sampled_at + SAMPLE_NS {
            return;
        }
        self.sampled_at = now;
        let begun = (0..self.done.len()).filter(|&index| self.done[index].began.is_some());
        let Some(last) = begun.max_by_key(|&index| self.done[index].began) else { return };
        let Some(node) = self.done[last].node else { return };
        let others = (0..subject.replicas()).filter(|&other| other != node);
        let others: Vec<Standing> = others.filter_map(|other| self.standing(other, subject)).collect();
        if let Some(standing) = self.standing(node, subject) {
            let ahead = others.iter().map(|other| other.delivered).max().unwrap_or_default();
            self.done[last].samples.push(Sample {
                at: now,
                lag: ahead.saturating_sub(standing.delivered),
                kept_bytes: standing.kept.bytes,
                others_kept_bytes: others.iter().map(|other| other.kept.bytes).max().unwrap_or_default(),
            });
        }
    }
}

/// Tells a replica that this is done to it from now on, or no more. Its death is nothing that it could be told.
fn tell(node: usize, kind: FaultKind, on: bool, subject: &mut (impl Subject + ?Sized)) {
    let so_much = |extra: Duration| if on { extra } else { Duration::ZERO };
    let order = match kind {
        FaultKind::Pause => Order::Pause { on },
        FaultKind::Partition => Order::Isolate { on },
        FaultKind::SlowDisk { extra } => Order::SlowDisk { extra: so_much(extra) },
        FaultKind::SlowLink { extra } => Order::SlowLink { extra: so_much(extra) },
        FaultKind::Slow { factor } => Order::Slow { factor: if on { factor } else { 1 } },
        FaultKind::Kill | FaultKind::Restart | FaultKind::Transfer => return,
    };
    subject.order(node, order);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    /// Three replicas that do as they are told, and remember it. The first one leads.
    #[derive(Default)]
    struct Told {
        delivered: [u64; 3],
        orders: Vec<(usize, Order)>,
    }

    impl Subject for Told {
        fn replicas(&self) -> usize {
            self.delivered.len()
        }

        fn leader(&self) -> Option<usize> {
            Some(0)
        }

        fn standing(&self, index: usize) -> Option<Standing> {
            Some(Standing { delivered: self.delivered[index], ..Standing::default() })
        }

        fn kill(&mut self, _: usize) -> Result<(), DriveError> {
            Ok(())
        }

        /// With a log to read, and nothing else.
        fn restart(&mut self, index: usize) -> Result<(), DriveError> {
            self.delivered[index] = 0;
            Ok(())
        }

        fn order(&mut self, index: usize, order: Order) {
            self.orders.push((index, order));
        }
    }

    const MS: u64 = 1_000_000;

    /// `kind`, done to replica 1 at so many milliseconds.
    fn fault(at: u64, kind: FaultKind, lasts: u64) -> Fault {
        Fault::new(Duration::from_millis(at), kind).on(Target::Id(1)).lasting(Duration::from_millis(lasts))
    }

    fn plan(faults: &[Fault]) -> FaultPlan {
        let spec = Spec::parse("name = 'plan'", "plan.toml", &[]).expect("a valid config");
        FaultPlan::new(faults, &spec.points()[0], Window { from: Nanos(0), until: Nanos(10_000 * MS) }, 1)
    }

    #[test]
    fn who_is_back_lacks_what_it_had_not_and_not_what_its_log_holds() {
        let mut plan = plan(&[fault(100, FaultKind::Kill, 50)]);
        let mut told = Told { delivered: [1000; 3], ..Told::default() };
        for (at, delivered) in [(100, [1000, 1000, 990]), (150, [1040, 1000, 1030])] {
            told.delivered = delivered;
            plan.turn(Nanos(at * MS), &mut told).expect("nothing fails");
        }
        for (at, delivered) in [(160, [1050, 0, 1040]), (170, [1060, 700, 1050]), (180, [1070, 1065, 1070])] {
            told.delivered = delivered;
            plan.turn(Nanos(at * MS), &mut told).expect("nothing fails");
        }
        let (_, done) = plan.into_done().remove(0);
        let lags: Vec<_> = done.samples.iter().map(|sample| sample.lag).collect();
        assert_eq!(lags, [40, 50, 60, 5]);
    }

    #[test]
    fn what_else_is_done_to_a_replica_goes_on_when_it_is_back() {
        let faults = [
            fault(100, FaultKind::Partition, 300),
            fault(110, FaultKind::Slow { factor: 7 }, 20),
            fault(150, FaultKind::Kill, 50),
        ];
        let (mut plan, mut told) = (plan(&faults), Told::default());
        let mut told_at = |at: u64| {
            plan.turn(Nanos(at * MS), &mut told).expect("nothing fails");
            let orders = std::mem::take(&mut told.orders).into_iter();
            orders.filter(|(_, order)| !matches!(order, Order::CatchUp { .. })).collect::<Vec<_>>()
        };
        assert_eq!(told_at(100), [(1, Order::Isolate { on: true })]);
        assert_eq!(told_at(110), [(1, Order::Slow { factor: 7 })]);
        assert_eq!(told_at(130), [(1, Order::Slow { factor: 1 })]);
        assert_eq!(told_at(150), []);
        assert_eq!(told_at(200), [(1, Order::Isolate { on: true })], "it is as cut off as before");
        assert_eq!(told_at(400), [(1, Order::Isolate { on: false })]);
    }

    /// The config lists the later one first.
    #[test]
    fn two_of_a_kind_go_on_in_the_order_in_which_they_began() {
        let slow = |at, factor| Fault { lasts: None, ..fault(at, FaultKind::Slow { factor }, 0) };
        let (mut plan, mut told) =
            (plan(&[slow(120, 7), slow(100, 3), fault(150, FaultKind::Kill, 50)]), Told::default());
        for at in [100, 120, 150] {
            plan.turn(Nanos(at * MS), &mut told).expect("nothing fails");
        }
        let as_told = std::mem::take(&mut told.orders);
        assert_eq!(as_told, [(1, Order::Slow { factor: 3 }), (1, Order::Slow { factor: 7 })]);
        plan.turn(Nanos(200 * MS), &mut told).expect("nothing fails");
        told.orders.retain(|(_, order)| !matches!(order, Order::CatchUp { .. }));
        assert_eq!(told.orders, as_told);
    }

    #[test]
    fn a_fault_waits_until_another_of_its_kind_is_over() {
        let faults = [fault(100, FaultKind::Pause, 200), fault(200, FaultKind::Pause, 200)];
        let (mut plan, mut told) = (plan(&faults), Told::default());
        let mut told_at = |at: u64| {
            plan.turn(Nanos(at * MS), &mut told).expect("nothing fails");
            let orders = std::mem::take(&mut told.orders).into_iter().map(|(_, order)| order);
            orders.filter(|order| !matches!(order, Order::CatchUp { .. })).collect::<Vec<_>>()
        };
        let [on, off] = [true, false].map(|on| Order::Pause { on });
        let orders = [100, 200, 300, 400, 500].map(&mut told_at);
        assert_eq!(orders, [vec![on], vec![], vec![off, on], vec![], vec![off]]);
    }

    #[test]
    fn what_ends_while_a_replica_is_dead_is_not_told_to_it() {
        let faults = [fault(100, FaultKind::Partition, 50), fault(110, FaultKind::Kill, 100)];
        let (mut plan, mut told) = (plan(&faults), Told::default());
        for at in [100, 110, 150, 210, 300] {
            plan.turn(Nanos(at * MS), &mut told).expect("nothing fails");
        }
        let catches_up = |order: &Order| matches!(order, Order::CatchUp { .. });
        let orders: Vec<_> = told.orders.into_iter().map(|(_, order)| order).collect();
        assert_eq!(orders[0], Order::Isolate { on: true });
        assert!(orders[1..].iter().all(catches_up) && orders.len() <= 2, "{orders:?}");
    }
}
