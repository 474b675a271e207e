//! Who may be who on a connection, and over which connection each node is reached. Knows no socket.

use quorumbench_protocols::{Frame, Head, NodeId};

use crate::hello::{self, Hello};
use crate::{Counters, Mesh};

/// The nodes that have said hello, by the number that the transport gave their connection.
#[derive(Debug)]
pub struct Peers {
    run: u64,
    own: NodeId,
    dialled: Vec<NodeId>,
    /// Sorted by node. An id on the wire is any `u32`, so it must not index anything.
    reached: Vec<(NodeId, usize)>,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node dialled that one.
    Dialled(NodeId),
    /// Somebody dialled this node.
    Accepted,
}

/// How long a connection may take until its hello is there. Then it is closed, and dialled again if
/// this node had dialled it.
pub const HELLO_PATIENCE_NS: u64 = 2_000_000_000;

/// How many accepted connections may be silent at a time. One more, and the longest silent is turned
/// away: a peer says hello in the moment it connects, so those who lose are not peers.
pub const MOST_SILENT: usize = 64;

impl Peers {
    /// Nobody yet.
    pub fn new(mesh: &Mesh) -> Self {
        let dialled = mesh.dial.iter().map(|(peer, _)| *peer).collect();
        Self { run: mesh.run, own: mesh.id, dialled, reached: Vec::new() }
    }

    /// Who says hello with `first`, the first head on a connection; `None` for a stranger: no hello,
    /// one of another run, or one in a name that this connection's end cannot have.
    pub fn identify(&self, first: &Head, origin: Origin) -> Option<Hello> {
        let hello = Hello::read(first, self.run)?;
        let plausible = match origin {
            Origin::Dialled(peer) => hello.id == peer,
            // One connection joins two nodes: whom this node dials does not dial it.
            Origin::Accepted => hello.id != self.own && !self.dialled.contains(&hello.id),
        };
        plausible.then_some(hello)
    }

    /// `peer` is reached over `connection` from now on. Says which older connection that replaces:
    /// the peer knows better than this node that the older one is dead.
    pub fn connect(&mut self, peer: NodeId, connection: usize) -> Option<usize> {
        match self.place(peer) {
            Ok(at) => Some(std::mem::replace(&mut self.reached[at].1, connection)),
            Err(at) => {
                self.reached.insert(at, (peer, connection));
                None
            }
        }
    }

    /// `connection` is gone; if it was replaced before, that changes nothing.
    pub fn disconnect(&mut self, peer: NodeId, connection: usize) {
        if let Ok(at) = self.place(peer)
            && self.reached[at].1 == connection
        {
            self.reached.remove(at);
        }
    }

    /// The connection that `peer` is reached over.
    pub fn reach(&self, peer: NodeId) -> Option<usize> {
        self.place(peer).ok().map(|at| self.reached[at].1)
    }

    fn place(&self, peer: NodeId) -> Result<usize, usize> {
        self.reached.binary_search_by_key(&peer, |(id, _)| *id)
    }
}

/// Counts what `peer` sent, `inbox[first..]`, up to the first frame that is in another's name or says
/// hello again. Drops what comes from there on, and says whether all was good.
pub fn admit(peer: NodeId, inbox: &mut Vec<Frame>, first: usize, counters: &mut Counters) -> bool {
    let good = |frame: &Frame| frame.head.from == peer && frame.head.kind != hello::KIND;
    let end = inbox[first..].iter().position(|frame| !good(frame)).map_or(inbox.len(), |at| first + at);
    let all = end == inbox.len();
    inbox.truncate(end);
    counters.received_frames += (end - first) as u64;
    counters.received_bytes +=
        inbox[first..].iter().map(|frame| (Head::BYTES + frame.head.body_len as usize) as u64).sum::<u64>();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Options, Role};
    use quorumbench_protocols::Payload;

    fn mesh(id: u32, run: u64) -> Mesh {
        let dial = (0..id).map(|lower| (NodeId(lower), ([127, 0, 0, 1], 1).into())).collect();
        let (clock, options) = (Clock::start(), Options::default());
        Mesh { run, id: NodeId(id), role: Role::Replica, listener: None, dial, clock, options }
    }

    #[test]
    fn a_hello_counts_from_whom_it_can_come_from() {
        let peers = Peers::new(&mesh(2, 5));
        let knows = |head: &Head, origin| peers.identify(head, origin).is_some();
        let hello = |id| Hello::head(&mesh(id, 5));
        assert!(knows(&hello(0), Origin::Dialled(NodeId(0))));
        assert!(!knows(&hello(1), Origin::Dialled(NodeId(0))), "another answers");
        assert!(knows(&hello(3), Origin::Accepted));
        assert!(!knows(&hello(2), Origin::Accepted), "this node's own id");
        assert!(!knows(&hello(1), Origin::Accepted), "dialled by this node, not the other way");
        assert!(!knows(&Hello::head(&mesh(3, 6)), Origin::Accepted), "another run");
        let mut old = hello(3);
        old.words[1] += 1;
        assert!(!knows(&old, Origin::Accepted), "another version");
        assert!(!knows(&Head { from: NodeId(3), ..Head::default() }, Origin::Accepted), "no hello");
    }

    #[test]
    fn the_newer_connection_replaces_the_older() {
        let mut peers = Peers::new(&mesh(0, 5));
        assert_eq!((peers.connect(NodeId(9), 0), peers.connect(NodeId(4), 1)), (None, None));
        assert_eq!(peers.connect(NodeId(9), 2), Some(0));
        peers.disconnect(NodeId(9), 0);
        assert_eq!(peers.reach(NodeId(9)), Some(2), "the end of the older one changes nothing");
        peers.disconnect(NodeId(9), 2);
        assert_eq!((peers.reach(NodeId(9)), peers.reach(NodeId(4))), (None, Some(1)));
    }

    #[test]
    fn frames_in_another_s_name_are_dropped_with_what_follows() {
        let frame =
            |from, kind| Frame { head: Head { from: NodeId(from), kind, ..Head::default() }, body: Payload::EMPTY };
        for bad in [frame(2, 0), frame(1, hello::KIND)] {
            let mut counters = Counters::default();
            let mut inbox = vec![frame(7, 0), frame(1, 0), bad, frame(1, 0)];
            assert!(!admit(NodeId(1), &mut inbox, 1, &mut counters));
            assert_eq!((inbox.len(), counters.received_frames, counters.received_bytes), (2, 1, 64));
        }
    }
}
