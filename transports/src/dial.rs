//! When the nodes that are to be reached are dialled, and when again. Knows no socket.

use std::net::SocketAddr;

use quorumbench_protocols::{Nanos, NodeId};

use crate::Mesh;

/// Whom a node dials: each at once, and after each failure a little later.
#[derive(Debug)]
pub struct Dials(Vec<Dial>);

/// One node to reach.
#[derive(Debug)]
struct Dial {
    /// Who is expected to answer.
    peer: NodeId,
    address: SocketAddr,
    /// [`Nanos::NEVER`] while an attempt is under way or a connection stands.
    due: Nanos,
    /// How long the next failure makes it wait.
    back_off_ns: u64,
}

/// The wait after the first failure. It doubles with each further one.
pub const SHORTEST_BACK_OFF_NS: u64 = 1_000_000;
/// The longest wait between two attempts.
pub const LONGEST_BACK_OFF_NS: u64 = 100_000_000;

impl Dials {
    /// Nobody was dialled yet.
    pub fn new(mesh: &Mesh) -> Self {
        let dial = |&(peer, address)| Dial { peer, address, due: Nanos::ZERO, back_off_ns: SHORTEST_BACK_OFF_NS };
        Self(mesh.dial.iter().map(dial).collect())
    }

    /// When to dial the next one.
    pub fn due(&self) -> Nanos {
        self.0.iter().map(|dial| dial.due).min().unwrap_or(Nanos::NEVER)
    }

    /// Somebody who is due, and where. An attempt is under way from now on until
    /// [`failed`](Self::failed) says otherwise.
    pub fn next(&mut self, now: Nanos) -> Option<(NodeId, SocketAddr)> {
        let dial = self.0.iter_mut().find(|dial| dial.due <= now)?;
        dial.due = Nanos::NEVER;
        Some((dial.peer, dial.address))
    }

    /// `peer` has said hello: its next loss is a first failure again.
    pub fn answered(&mut self, peer: NodeId) {
        self.of(peer).for_each(|dial| dial.back_off_ns = SHORTEST_BACK_OFF_NS);
    }

    /// The attempt to reach `peer` failed, or the connection was lost.
    pub fn failed(&mut self, peer: NodeId, now: Nanos) {
        self.of(peer).for_each(|dial| {
            dial.due = now + dial.back_off_ns;
            dial.back_off_ns = (dial.back_off_ns * 2).min(LONGEST_BACK_OFF_NS);
        });
    }

    fn of(&mut self, peer: NodeId) -> impl Iterator<Item = &mut Dial> {
        self.0.iter_mut().filter(move |dial| dial.peer == peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Options, Role};

    #[test]
    fn each_failure_doubles_the_wait_until_the_node_answers() {
        let [zero, one] = [0, 1].map(|id| (NodeId(id), SocketAddr::from(([127, 0, 0, 1], 1))));
        let (clock, options, dial) = (Clock::start(), Options::default(), vec![zero, one]);
        let mesh = Mesh {
            run: 1,
            id: NodeId(2),
            role: Role::Replica,
            listener: None,
            dial,
            credentials: None,
            clock,
            options,
        };
        let mut dials = Dials::new(&mesh);
        assert_eq!(dials.due(), Nanos::ZERO);
        assert_eq!((dials.next(Nanos(7)), dials.next(Nanos(7)), dials.next(Nanos(7))), (Some(zero), Some(one), None));
        assert_eq!(dials.due(), Nanos::NEVER);
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                dials.failed(one.0, Nanos(7));
                let due = dials.due();
                assert_eq!((dials.next(due - 1), dials.next(due)), (None, Some(one)));
                (due - 7).0 / 1_000_000
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        dials.answered(one.0);
        dials.failed(one.0, Nanos(0));
        assert_eq!(dials.due(), Nanos(SHORTEST_BACK_OFF_NS));
    }
}
