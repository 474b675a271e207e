//! A follower's or observer's side of its connection to a leader.
//!
//! The paper's channels lose nothing and keep order (DSN 2011, section III.A). Ours may do neither, so
//! a follower looks at what comes: a transaction that is not the next, a COMMIT of one that it does not
//! have, a ping that says that more was sent. Then the channel is broken, and it leaves, as it would if
//! a connection were closed: it looks for a leader, and synchronizes anew. What comes twice is borne.

use super::message::{Message, Point};
use super::replica::Replica;
use crate::io::Outbox;
use crate::reads::Reads;
use crate::transfer::Arriving;
use crate::wire::{Nanos, NodeId, Recipients, Slot};

#[expect(clippy::struct_excessive_bools, reason = "each is owed, or was seen, for itself")]
#[derive(Clone, Debug)]
pub(super) struct Follower {
    pub(super) leader: NodeId,
    /// This connection, among all that there were.
    pub(super) session: u64,
    pub(super) stage: Stage,
    /// The channel is broken.
    pub(super) leaves: bool,
    /// When the leader was last heard of.
    pub(super) heard_at: Nanos,
    /// When it asks again, as long as it is not told from where on transactions follow; or, later, up to where its
    /// reads must have come.
    pub(super) ask_at: Nanos,
    /// It asks, or answers, in the next flush.
    pub(super) ask_due: bool,
    /// A snapshot that is arriving, and how much its sender is to be told of.
    pub(super) arriving: Arriving,
    pub(super) received_due: Option<(Slot, u64)>,
    /// NEWLEADER, once it came: the history up to there.
    pub(super) new_leader: Option<Point>,
    /// The acknowledgement of NEWLEADER is owed.
    pub(super) ack_new_leader_due: bool,
    /// UPTODATE came.
    pub(super) up_to_date: bool,
    /// Committed, and said before UPTODATE.
    pub(super) early_commit: Slot,
    /// The last slot acknowledged on this connection.
    pub(super) told: Slot,
    /// The leader's last round of pings.
    pub(super) round: u64,
    /// It is owed an acknowledgement, even if there is nothing new to say.
    pub(super) ack_due: bool,
    /// The last SYNC, whether its answer is still awaited, and the answer.
    pub(super) sync: u64,
    pub(super) syncing: bool,
    pub(super) synced: Option<Slot>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connects, and waits for an epoch.
    Connecting,
    /// Has accepted the leader's epoch, and waits to be told where the histories part.
    Accepted,
    /// Its history is the beginning of the leader's, and grows.
    Streaming,
}

impl Follower {
    pub(super) fn new(replica: &mut Replica, leader: NodeId, now: Nanos) -> Self {
        Self {
            leader,
            session: replica.draw_session(now),
            stage: Stage::Connecting,
            leaves: false,
            heard_at: now,
            ask_at: now.later(replica.heartbeat),
            ask_due: true,
            arriving: Arriving::default(),
            received_due: None,
            new_leader: None,
            ack_new_leader_due: false,
            up_to_date: false,
            early_commit: Slot::ZERO,
            told: Slot::ZERO,
            round: 0,
            ack_due: false,
            sync: 0,
            syncing: false,
            synced: None,
        }
    }

    pub(super) fn deadline(&self, replica: &Replica) -> Nanos {
        let patience = self.heard_at.later(replica.patience);
        if self.asks() { patience.min(self.ask_at) } else { patience }
    }

    /// Whether it waits for an answer, and asks again if there is none.
    fn asks(&self) -> bool {
        self.stage != Stage::Streaming || self.syncing
    }

    /// Asks again, or loses patience.
    pub(super) fn on_timeout(&mut self, replica: &Replica, now: Nanos) {
        if now >= self.heard_at.later(replica.patience) {
            self.leaves = true;
        } else if self.asks() && now >= self.ask_at {
            self.ask_at = now.later(replica.heartbeat);
            self.ask_due = true;
        }
    }

    /// Whether a frame of this epoch is its leader's, and not of an older epoch, which it does not follow any more.
    pub(super) fn is_led_by(&self, replica: &Replica, from: NodeId, epoch: u64) -> bool {
        from == self.leader && epoch >= replica.accepted
    }

    /// Whether it is of the epoch that it has accepted. A newer one says that the leader was elected anew,
    /// and that this connection is of the reign before.
    pub(super) fn heeds(&mut self, replica: &Replica, epoch: u64) -> bool {
        let connected = self.stage != Stage::Connecting;
        self.leaves |= connected && epoch > replica.accepted;
        connected && epoch == replica.accepted
    }

    pub(super) fn flush(&mut self, replica: &Replica, reads: &mut Reads, now: Nanos, out: &mut Outbox) {
        let to = Recipients::One(self.leader);
        self.flush_discovery(replica, out);
        self.flush_synchronization(replica, to, out);
        self.flush_acknowledgement(replica, to, out);
        if !reads.is_empty() {
            self.flush_sync(replica, reads, now, out);
        }
    }

    /// The answer to whatever this connection asks first.
    pub(super) fn ask(&mut self, replica: &Replica, message: Message, out: &mut Outbox) {
        self.ask_due = false;
        replica.send(Recipients::One(self.leader), message, out);
    }
}
