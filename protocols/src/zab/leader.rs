//! A leader's side: the epoch that it leads, and a channel to each follower and observer.

use super::reads::SyncPoint;
use super::replica::Replica;
use super::zxid::Zxid;
use crate::io::Outbox;
use crate::quorum;
use crate::reads::Reads;
use crate::transfer::Transfer;
use crate::window::Window;
use crate::wire::{Nanos, NodeId, PeerSet, Slot};

#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// The epoch that it proposes; 0 until a quorum has said what was proposed before.
    pub(super) epoch: u64,
    pub(super) phase: Phase,
    /// By node id; this node's own is not used.
    pub(super) channels: Vec<Channel>,
    /// Voters that have said which epoch they had accepted, and the highest of these.
    pub(super) informed: PeerSet,
    pub(super) highest: u64,
    /// Voters that have accepted the epoch of this leader, durably.
    pub(super) promised: PeerSet,
    /// Where its history ended when it was elected: what the epoch begins with.
    pub(super) initial: Slot,
    /// It cannot lead: somebody knows more, or nobody is there.
    pub(super) resigns: bool,
    /// Until when an epoch must have been accepted by a quorum.
    pub(super) give_up_at: Nanos,
    pub(super) heartbeat_at: Nanos,
    /// Everyone is pinged in the next flush.
    pub(super) ping_due: bool,
    /// Counts the flushes that sent pings.
    pub(super) round: u64,
    /// Who is being synchronized, and needs more than transactions.
    pub(super) syncing: PeerSet,
    /// Who is owed an answer to a SYNC.
    pub(super) asking: PeerSet,
    /// An acknowledgement or the own journal moved since the commit was last counted.
    pub(super) moved: bool,
    pub(super) counted: Slot,
    /// Scratch for the majority's sort.
    pub(super) sorted: Vec<u64>,
}

/// The protocol's phases (DSN 2011, section IV; report, chapter 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Phase 1: finds an epoch that a quorum accepts.
    Discovery,
    /// Phase 2: a quorum takes on this leader's history.
    Synchronization,
    /// Phase 3: the leader is established, and broadcasts.
    Broadcast,
}

/// What the leader knows of a follower or observer.
#[expect(clippy::struct_excessive_bools, reason = "each was sent, or is owed, for itself")]
#[derive(Clone, Debug)]
pub(super) struct Channel {
    /// The follower's connection; 0 for none.
    pub(super) session: u64,
    pub(super) heard_at: Nanos,
    /// LEADERINFO is owed.
    pub(super) info_due: bool,
    pub(super) flow: Flow,
    /// What is under way, and what comes next.
    pub(super) window: Window,
    /// The last slot that it holds durably.
    pub(super) acknowledged: Slot,
    /// NEWLEADER goes behind this slot; what comes later queues behind it.
    pub(super) sync_point: Slot,
    pub(super) new_leader_sent: bool,
    /// It has acknowledged NEWLEADER: history and epoch are durable there.
    pub(super) synchronized: bool,
    pub(super) up_to_date_sent: bool,
    /// The last commit that it was told of.
    pub(super) told: Slot,
    /// The last round of pings that it answered.
    pub(super) round: u64,
    /// Its last SYNC.
    pub(super) sync: SyncPoint,
}

/// What a follower is sent.
#[derive(Clone, Debug)]
pub(super) enum Flow {
    /// Nothing: it has not accepted the epoch.
    Closed,
    /// It has; its history ends with this transaction.
    Accepted(Zxid),
    /// It lacks what was let go, and waits for a snapshot that is recent enough.
    Lacking,
    /// A snapshot.
    Snap(Transfer),
    /// Transactions.
    Stream,
}

impl Channel {
    pub(super) fn new(session: u64, depth: usize, now: Nanos) -> Self {
        Self {
            session,
            heard_at: now,
            info_due: false,
            flow: Flow::Closed,
            window: Window::new(depth, Slot::ZERO),
            acknowledged: Slot::ZERO,
            sync_point: Slot::ZERO,
            new_leader_sent: false,
            synchronized: false,
            up_to_date_sent: false,
            told: Slot::ZERO,
            round: 0,
            sync: SyncPoint::default(),
        }
    }

    /// The last slot sent.
    pub(super) fn sent(&self) -> Slot {
        self.window.next() - 1
    }

    pub(super) fn streams(&self) -> bool {
        matches!(self.flow, Flow::Stream)
    }
}

impl Leader {
    pub(super) fn new(replica: &mut Replica, now: Nanos, out: &mut Outbox) -> Self {
        let mut leader = Self {
            epoch: 0,
            phase: Phase::Discovery,
            channels: (0..PeerSet::CAPACITY).map(|_| Channel::new(0, replica.window, now)).collect(),
            informed: PeerSet::EMPTY.with(replica.id),
            highest: replica.accepted,
            promised: PeerSet::EMPTY,
            initial: replica.log.last(),
            resigns: false,
            give_up_at: now.later(replica.draw_discovery_time(now)),
            heartbeat_at: now.later(replica.heartbeat),
            ping_due: false,
            round: 0,
            syncing: PeerSet::EMPTY,
            asking: PeerSet::EMPTY,
            moved: true,
            counted: Slot::ZERO,
            sorted: Vec::with_capacity(PeerSet::CAPACITY),
        };
        leader.propose_epoch(replica, out);
        leader
    }

    /// Established: a quorum has taken on its history (DSN 2011, definition IV.4).
    pub(super) fn is_established(&self) -> bool {
        self.phase == Phase::Broadcast
    }

    pub(super) fn channel(&mut self, id: NodeId) -> &mut Channel {
        &mut self.channels[id.0 as usize]
    }

    /// The channel of a frame of this epoch, if it is open and the frame is of this connection.
    pub(super) fn open(&mut self, from: NodeId, epoch: u64, session: u64) -> Option<&mut Channel> {
        let ours = epoch == self.epoch;
        self.channels.get_mut(from.0 as usize).filter(|channel| ours && channel.session == session)
    }

    pub(super) fn deadline(&self) -> Nanos {
        if self.phase == Phase::Discovery { self.heartbeat_at.min(self.give_up_at) } else { self.heartbeat_at }
    }

    pub(super) fn on_timeout(&mut self, replica: &Replica, now: Nanos) {
        if self.phase == Phase::Discovery && now >= self.give_up_at {
            self.resigns = true;
        }
        if now < self.heartbeat_at {
            return;
        }
        self.heartbeat_at = now.later(replica.heartbeat);
        self.ping_due = true;
        self.nurse(replica, now);
        if self.phase > Phase::Discovery && !self.hears_quorum(replica, now) {
            self.resigns = true;
        }
    }

    /// A leader without a quorum of followers leads nobody (DSN 2011, section IV.C: it goes back to phase 0).
    fn hears_quorum(&self, replica: &Replica, now: Nanos) -> bool {
        let heard = |id: &NodeId| {
            let channel = &self.channels[id.0 as usize];
            *id == replica.id || (channel.session != 0 && now.saturating_since(channel.heard_at) <= replica.patience)
        };
        quorum::is_majority(replica.voters.iter().filter(heard).collect(), replica.voters)
    }

    pub(super) fn flush(&mut self, replica: &mut Replica, reads: &mut Reads, out: &mut Outbox) {
        if self.phase < Phase::Broadcast {
            self.flush_discovery(replica, out);
            self.establish(replica);
        } else if !self.syncing.is_empty() {
            self.flush_discovery(replica, out);
        }
        self.advance_commit(replica);
        if !reads.is_empty() {
            self.serve(replica, reads, out);
        }
        self.stream(replica, out);
        self.announce_commit(replica, out);
        if !self.asking.is_empty() {
            self.answer_syncs(replica, out);
        }
        self.ping(replica, out);
    }
}
