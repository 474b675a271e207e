//! When a node that is to be reached is dialled, and when again. Knows no socket.

use std::net::SocketAddr;

use quorumbench_protocols::{Nanos, NodeId};

/// One node to reach: due at once, and after each failure a little later.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Who is expected to answer.
    pub peer: NodeId,
    /// Where.
    pub address: SocketAddr,
    due: Nanos,
    /// How long the next failure makes it wait.
    back_off_ns: u64,
}

/// The wait after the first failure. It doubles with each further one.
pub const SHORTEST_BACK_OFF_NS: u64 = 1_000_000;
/// The longest wait between two attempts.
pub const LONGEST_BACK_OFF_NS: u64 = 100_000_000;

impl Dial {
    /// A node that was not dialled yet.
    pub fn new(peer: NodeId, address: SocketAddr) -> Self {
        Self { peer, address, due: Nanos::ZERO, back_off_ns: SHORTEST_BACK_OFF_NS }
    }

    /// When to dial; [`Nanos::NEVER`] while an attempt is under way or a connection stands.
    pub fn due(&self) -> Nanos {
        self.due
    }

    /// An attempt is under way.
    pub fn started(&mut self) {
        self.due = Nanos::NEVER;
    }

    /// The right node has said hello: its next loss is a first failure again.
    pub fn answered(&mut self) {
        self.back_off_ns = SHORTEST_BACK_OFF_NS;
    }

    /// The attempt failed, or the connection was lost.
    pub fn failed(&mut self, now: Nanos) {
        self.due = now + self.back_off_ns;
        self.back_off_ns = (self.back_off_ns * 2).min(LONGEST_BACK_OFF_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_until_the_node_answers() {
        let mut dial = Dial::new(NodeId(0), ([127, 0, 0, 1], 1).into());
        assert_eq!(dial.due(), Nanos::ZERO);
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                dial.started();
                assert_eq!(dial.due(), Nanos::NEVER);
                dial.failed(Nanos(7));
                (dial.due() - 7).0 / 1_000_000
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        dial.answered();
        dial.failed(Nanos(0));
        assert_eq!(dial.due(), Nanos(SHORTEST_BACK_OFF_NS));
    }
}
