//! Liveness: what a healed majority must have done within a bounded time.

use quorumbench_protocols::NodeId;

use super::checks::{Violation, property};
use super::replica::Replica;
use super::subject::Subject;
use super::world::World;

/// Election timeouts within which everything must be answered and delivered. A healthy cluster takes a
/// few for an election and a few for clients to find the leader; whoever is not done by then never is.
///
/// But for one thing: a node that was cut off for long, in a cluster with a window of one slot, gets one slot a
/// round trip. As long as such a node gains on the others, they are waited for, so many times over.
const BOUND: u64 = 200;
const EXTENSIONS: u64 = 10;

impl<P: Subject> World<P> {
    /// Waits until all that clients asked is answered, one of the healthy leads, if there are leaders, and has
    /// left any joint configuration, and all members among them have delivered the same.
    pub(super) fn await_progress(&mut self) -> Result<(), Violation> {
        let timeout = self.scenario.cluster.election_timeout_ns;
        let (mut gap, mut patience) = (self.gap(), BOUND);
        for waited in 0.. {
            let Some(lacking) = self.lacking() else { return Ok(()) };
            let now = self.gap();
            if now < gap {
                (gap, patience) = (now, (waited + BOUND).min(EXTENSIONS * BOUND));
            }
            if waited >= patience {
                let healthy: Vec<_> = self.healthy.iter().map(|id| format!("n{id}")).collect();
                let detail = format!("{waited} election timeouts after {} were healed, {lacking}", healthy.join(" "));
                return Err(Violation::new(property::LIVENESS, detail));
            }
            self.run_until(self.now + timeout)?;
        }
        unreachable!("patience is bounded")
    }

    /// How much the healthy nodes that have anything lack of what was chosen.
    fn gap(&self) -> usize {
        let lacks = |&at: &usize| self.checks.chosen() - self.checks.delivered(at).min(self.checks.chosen());
        self.healthy.iter().filter(|&&at| self.checks.delivered(at) > 0).map(lacks).sum()
    }

    /// What is still missing.
    fn lacking(&self) -> Option<String> {
        let waiting: usize = self.clients.iter().map(super::client::Client::in_flight).sum();
        if !self.clients.iter().all(super::client::Client::is_done) {
            return Some(format!("{waiting} batches are not answered"));
        }
        let healthy = self.healthy.iter().copied();
        let leaders: Vec<_> = healthy.filter(|&at| Replica::leads(&self.replicas[at])).collect();
        if leaders.len() != 1 && !P::LEADERLESS {
            return Some(format!("{} of them lead", leaders.len()));
        }
        let members = leaders.first().and_then(|&leader| self.replicas[leader].members());
        if members.is_some_and(|members| !members.outgoing.is_empty()) {
            return Some(format!("n{} has not left a joint configuration", leaders[0]));
        }
        // Who is no member is owed nothing, and owes nothing.
        let counts = |at: usize| members.is_none_or(|members| members.all().contains(NodeId(at as u32)));
        let chosen = self.checks.chosen();
        let behind = self.healthy.iter().find(|&&at| counts(at) && self.checks.delivered(at) < chosen)?;
        Some(format!("n{behind} has delivered {} of {chosen} slots", self.checks.delivered(*behind)))
    }
}
