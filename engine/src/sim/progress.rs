//! Liveness: what a healed majority must have done within a bounded time.

use super::checks::{Violation, property};
use super::replica::Replica;
use super::subject::Subject;
use super::world::World;

/// Election timeouts within which everything must be answered and delivered. A healthy cluster takes a
/// few for an election and a few for clients to find the leader; a slow one with a window of one slot takes
/// some hundreds to work off what impatient clients have sent it again and again.
const BOUND: u64 = 1000;

impl<P: Subject> World<P> {
    /// Waits until all that clients asked is answered, one of the healthy leads if there are leaders, and all of them have
    /// delivered the same.
    pub(super) fn await_progress(&mut self) -> Result<(), Violation> {
        let timeout = self.scenario.cluster.election_timeout_ns;
        for _ in 0..2 * BOUND {
            if self.lacking().is_none() {
                return Ok(());
            }
            self.run_until(self.now + timeout / 2)?;
        }
        match self.lacking() {
            None => Ok(()),
            Some(what) => {
                let healthy: Vec<_> = self.healthy.iter().map(|id| format!("n{id}")).collect();
                let detail = format!("{BOUND} election timeouts after {} were healed, {what}", healthy.join(" "));
                Err(Violation::new(property::LIVENESS, detail))
            }
        }
    }

    /// What is still missing.
    fn lacking(&self) -> Option<String> {
        let waiting: usize = self.clients.iter().map(super::client::Client::in_flight).sum();
        if !self.clients.iter().all(super::client::Client::is_done) {
            return Some(format!("{waiting} batches are not answered"));
        }
        let leaders = self.healthy.iter().filter(|&&at| Replica::leads(&self.replicas[at])).count();
        if leaders != 1 && !P::LEADERLESS {
            return Some(format!("{leaders} of them lead"));
        }
        let chosen = self.checks.chosen();
        let behind = self.healthy.iter().find(|&&at| self.checks.delivered(at) < chosen)?;
        Some(format!("n{behind} has delivered {} of {chosen} slots", self.checks.delivered(*behind)))
    }
}
