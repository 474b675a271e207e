//! One trial: updates, a partition, a newcomer, and after each of these what it takes to agree.

use quorumbench_protocols::reconcile::Replica;
use quorumbench_protocols::{NodeId, Prng};

use super::world::{Sent, World};
use crate::spec::Replication;

/// What a trial is of.
pub(super) struct Plan<'a, R: Replica> {
    pub(super) replication: &'a Replication,
    pub(super) nodes: usize,
    pub(super) links: Vec<(usize, usize)>,
    /// Whom somebody knows who joins.
    pub(super) newcomer: Vec<usize>,
    /// The round before the first.
    pub(super) begin: u64,
    /// A replica, with randomness of its own.
    pub(super) replica: &'a dyn Fn(NodeId, u64) -> R,
    /// A user's update.
    pub(super) draw: &'a dyn Fn(&mut Prng) -> R::Update,
    /// What is deleted in the middle.
    pub(super) deletions: Vec<R::Update>,
    /// What is left in the end.
    pub(super) remains: &'a dyn Fn(&[R]) -> Option<Remains>,
}

/// What came of a trial.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trial {
    /// Updates that changed anything.
    pub(super) updates: u64,
    /// What was sent until all agreed on them.
    pub(super) sent: Sent,
    /// Rounds from the last of them until then; `None` if that was not seen.
    pub(super) agreed: Option<u64>,
    /// After a partition; `None` if there was none, or no end of it.
    pub(super) caught_up: Option<Reached>,
    /// After somebody joined; the same.
    pub(super) joined: Option<Reached>,
    /// Whether all agreed in the end.
    pub(super) is_settled: bool,
    /// Turns that replicas had.
    pub(super) turns: u64,
    pub(super) remains: Option<Remains>,
}

/// What it took to agree again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) rounds: u64,
    pub(super) bytes: u64,
}

/// What is left of a database in the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Remains {
    /// Of the items that were deleted, the share that is there again; `None` if none was deleted.
    pub(super) resurrected: Option<f64>,
    /// Death certificates, by the number of replicas.
    pub(super) certificates: f64,
    /// Databases that were sent whole.
    pub(super) wholes: u64,
}

/// Rounds after which nobody waits any longer for all to agree.
const PATIENCE: u64 = 10_000;

/// One trial from beginning to end; `None` if `go_on`, asked in every round, is false.
pub(super) fn run<R: Replica>(plan: &Plan<'_, R>, prng: &Prng, go_on: &dyn Fn() -> bool) -> Option<Trial> {
    let seeds = prng.fork(0);
    let replica = |number: usize| (plan.replica)(NodeId(number as u32), seeds.fork(number as u64).next_u64());
    let replicas = (0..plan.nodes).map(replica).collect();
    let mut world = World::new(replicas, plan.replication, plan.begin, prng.fork(1));
    plan.links.iter().for_each(|&(one, other)| world.link(one, other));
    let mut course = Course { plan, world, users: prng.fork(2), due: 0.0, go_on };
    let mut trial = Trial::default();
    course.all(&mut trial, &replica).ok()?;
    let Course { world, .. } = course;
    trial.is_settled = world.agrees();
    trial.turns = (world.round - plan.begin) * plan.nodes as u64;
    trial.remains = (plan.remains)(&world.replicas);
    Some(trial)
}

/// It may not go on.
struct Stopped;

/// A trial under way.
struct Course<'a, R: Replica> {
    plan: &'a Plan<'a, R>,
    world: World<'a, R>,
    users: Prng,
    /// Updates that are due, and a part of the next.
    due: f64,
    go_on: &'a dyn Fn() -> bool,
}

impl<R: Replica> Course<'_, R> {
    /// All phases, one after the other for as long as all agree.
    fn all(&mut self, trial: &mut Trial, replica: &dyn Fn(usize) -> R) -> Result<(), Stopped> {
        let rules = self.plan.replication;
        let mut left = rules.updates as u64;
        loop {
            let count = self.due().min(left);
            trial.updates += self.update(count);
            left -= count;
            if left == 0 {
                break;
            }
            self.round()?;
        }
        trial.agreed = self.settle()?;
        trial.sent = self.world.sent;
        if trial.agreed.is_some() && (rules.partition > 0 || !self.plan.deletions.is_empty()) {
            trial.caught_up = self.part()?;
        }
        if self.world.agrees() && rules.newcomer {
            trial.joined = self.join(replica(self.plan.nodes))?;
        }
        Ok(())
    }

    fn round(&mut self) -> Result<(), Stopped> {
        self.world.round();
        (self.go_on)().then_some(()).ok_or(Stopped)
    }

    /// Until all agree: after how many rounds, if they ever did.
    fn settle(&mut self) -> Result<Option<u64>, Stopped> {
        for rounds in 0..PATIENCE {
            if self.world.agrees() {
                return Ok(Some(rounds));
            }
            self.round()?;
        }
        Ok(None)
    }

    /// How many updates are due in this round.
    fn due(&mut self) -> u64 {
        self.due += self.plan.replication.update_rate;
        let count = self.due as u64;
        self.due -= count as f64;
        count
    }

    /// So many updates. How many changed anything.
    fn update(&mut self, count: u64) -> u64 {
        let mut changes = 0;
        for _ in 0..count {
            let update = (self.plan.draw)(&mut self.users);
            changes += u64::from(self.ask_one_of(self.plan.nodes, &update));
        }
        changes
    }

    /// Asks one of the first so many.
    fn ask_one_of(&mut self, nodes: usize, update: &R::Update) -> bool {
        let at = self.users.below(nodes as u64) as usize;
        self.world.replicas[at].update(update)
    }

    /// Some are cut off, for as many rounds as there are to be, and are together again.
    fn part(&mut self) -> Result<Option<Reached>, Stopped> {
        let (rules, nodes) = (self.plan.replication, self.plan.nodes);
        let mut whole = nodes;
        if rules.partition > 0 {
            whole -= rules.cut_off_of(nodes);
            self.world.cut_behind(whole);
        }
        for deletion in &self.plan.deletions {
            self.ask_one_of(whole, deletion);
        }
        for _ in 0..rules.partition {
            let count = self.due();
            self.update(count);
            self.round()?;
        }
        self.world.heal();
        let before = self.world.sent.size.bytes();
        let rounds = self.settle()?;
        Ok(rounds.map(|rounds| Reached { rounds, bytes: self.world.sent.size.bytes() - before }))
    }

    /// Somebody joins who knows nothing.
    fn join(&mut self, newcomer: R) -> Result<Option<Reached>, Stopped> {
        let number = self.plan.nodes;
        self.world.replicas.push(newcomer);
        self.plan.newcomer.iter().for_each(|&other| self.world.link(number, other));
        self.world.watched = (number, 0);
        let rounds = self.settle()?;
        Ok(rounds.map(|rounds| Reached { rounds, bytes: self.world.watched.1 }))
    }
}
