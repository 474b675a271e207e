//! Who may be who on a connection, and over which connection each node is reached. Knows no socket.

use quorumbench_protocols::{Frame, Head, Nanos, NodeId};

use crate::framing::TooLong;
use crate::hello::{self, Hello};
use crate::{Counters, Mesh};

/// The nodes that have said hello, and the number that the transport gave the connection of each.
#[derive(Debug)]
pub struct Peers {
    run: u64,
    /// What this node says first on each connection.
    hello: Head,
    dialled: Vec<NodeId>,
    /// By id.
    reached: Vec<Option<u32>>,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node dialled that one.
    Dialled(NodeId),
    /// Somebody dialled this node.
    Accepted,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other end closed it, or the network broke it, or a newer one is there.
    Lost,
    /// The other end sent what is no frame of a peer.
    Malformed,
}

/// Node ids stay below this: any `u32` can stand on the wire, and the table of peers is indexed by them.
pub const MOST_NODES: u32 = 1 << 20;

/// How long a connection may take until its hello is there. Then it is closed, and dialled again if
/// this node had dialled it.
pub const HELLO_PATIENCE_NS: u64 = 2_000_000_000;

/// How many accepted connections may be silent at a time. One more, and the longest silent is turned
/// away: a peer says hello in the moment it connects, so those who lose are not peers.
pub const MOST_SILENT: usize = 64;

/// How long nothing is accepted after accepting failed (too many open files, for one).
pub const ACCEPT_PAUSE_NS: u64 = 10_000_000;

impl Peers {
    /// Nobody yet.
    pub fn new(mesh: &Mesh) -> Self {
        let dialled = mesh.dial.iter().map(|(peer, _)| *peer).collect();
        Self { run: mesh.run, hello: Hello::head(mesh), dialled, reached: Vec::new() }
    }

    /// What this node says first on each connection: at once if it has dialled, and otherwise when the
    /// other end has proven to be a peer. A stranger that connects learns nothing.
    pub fn hello(&self) -> &Head {
        &self.hello
    }

    /// Who says hello with `first`, the first head on a connection; `None` for a stranger: no hello,
    /// one of another run, or one in a name that this connection's end cannot have.
    pub fn identify(&self, first: &Head, origin: Origin) -> Option<Hello> {
        let hello = Hello::read(first, self.run)?;
        let plausible = match origin {
            Origin::Dialled(peer) => hello.id == peer,
            // One connection joins two nodes: whom this node dials does not dial it.
            Origin::Accepted => hello.id != self.hello.from && !self.dialled.contains(&hello.id),
        };
        (plausible && hello.id.0 < MOST_NODES).then_some(hello)
    }

    /// `peer` is reached over `connection` from now on. Says which older connection that replaces:
    /// the peer knows better than this node that the older one is dead.
    pub fn connect(&mut self, peer: NodeId, connection: usize) -> Option<usize> {
        let index = peer.0 as usize;
        if self.reached.len() <= index {
            self.reached.resize(index + 1, None);
        }
        self.reached[index].replace(connection as u32).map(|older| older as usize)
    }

    /// `connection` is gone; if it was replaced before, that changes nothing.
    pub fn disconnect(&mut self, peer: NodeId, connection: usize) {
        if let Some(reached) = self.reached.get_mut(peer.0 as usize) {
            *reached = reached.filter(|&current| current as usize != connection);
        }
    }

    /// The connection that `peer` is reached over.
    #[inline]
    pub fn reach(&self, peer: NodeId) -> Option<usize> {
        self.reached.get(peer.0 as usize).copied().flatten().map(|connection| connection as usize)
    }
}

/// Counts the frames that `peer` sent, `inbox[first..]`, up to the first that is in another's name or
/// says hello again, and drops what comes from there on.
///
/// # Errors
/// [`End::Malformed`] if there was such a one.
pub fn admit(peer: NodeId, inbox: &mut Vec<Frame>, first: usize, counters: &mut Counters) -> Result<(), End> {
    let good = |frame: &Frame| frame.head.from == peer && frame.head.kind != hello::KIND;
    let bad = inbox[first..].iter().position(|frame| !good(frame));
    inbox.truncate(bad.map_or(usize::MAX, |at| first + at));
    counters.received_frames += (inbox.len() - first) as u64;
    bad.map_or(Ok(()), |_| Err(End::Malformed))
}

/// Who of the `silent`, given with when their time is up, makes room for one more: nobody as long as
/// they are fewer than [`MOST_SILENT`], then the one that has been silent for longest.
pub fn makes_room<T>(silent: impl Iterator<Item = (Nanos, T)>) -> Option<T> {
    let mut count = 0;
    let oldest = silent.inspect(|_| count += 1).min_by_key(|(until, _)| *until);
    oldest.filter(|_| count >= MOST_SILENT).map(|(_, oldest)| oldest)
}

impl From<TooLong> for End {
    fn from(_: TooLong) -> Self {
        Self::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Options, Role};
    use quorumbench_protocols::Payload;

    fn mesh(id: u32, run: u64) -> Mesh {
        let dial = (0..id.min(8)).map(|lower| (NodeId(lower), ([127, 0, 0, 1], 1).into())).collect();
        let (clock, options) = (Clock::start(), Options::default());
        Mesh { run, id: NodeId(id), role: Role::Replica, listener: None, dial, credentials: None, clock, options }
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
        assert!(knows(&hello(MOST_NODES - 1), Origin::Accepted));
        assert!(!knows(&hello(MOST_NODES), Origin::Accepted), "beyond any table");
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
        assert_eq!((peers.reach(NodeId(3)), peers.reach(NodeId(u32::MAX))), (None, None), "never there");
    }

    #[test]
    fn frames_in_another_s_name_are_dropped_with_what_follows() {
        let frame =
            |from, kind| Frame { head: Head { from: NodeId(from), kind, ..Head::default() }, body: Payload::EMPTY };
        for bad in [frame(2, 0), frame(1, hello::KIND)] {
            let mut counters = Counters::default();
            let mut inbox = vec![frame(7, 0), frame(1, 0), bad, frame(1, 0)];
            assert_eq!(admit(NodeId(1), &mut inbox, 1, &mut counters), Err(End::Malformed));
            assert_eq!((inbox.len(), counters.received_frames), (2, 1));
        }
    }

    #[test]
    fn the_longest_silent_makes_room() {
        let silent = |count: u64| (0..count).map(|at| (Nanos(100 - at), at));
        assert_eq!(makes_room(silent(MOST_SILENT as u64 - 1)), None);
        assert_eq!(makes_room(silent(MOST_SILENT as u64)), Some(MOST_SILENT as u64 - 1));
    }
}
