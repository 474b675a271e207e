//! Phase 1, discovery (DSN 2011, section IV.A; report, section 3.2): a quorum accepts a new epoch, and
//! with it promises to follow no older one.
//!
//! The paper's leader then takes the latest history among the quorum's. As in `ZooKeeper` (report,
//! section 4.2), the election has already found the node that has it: the leader only makes sure, and
//! resigns if anyone of the quorum knows more.

use super::follower::{Follower, Stage};
use super::leader::{Channel, Flow, Leader, Phase};
use super::message::{AckEpoch, EPOCHS_END, Message};
use super::replica::Replica;
use crate::io::Outbox;
use crate::quorum;
use crate::wire::{Nanos, NodeId, Recipients};

impl Leader {
    /// FOLLOWERINFO: somebody connects, or connects anew.
    pub(super) fn on_follower_info(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        from: NodeId,
        accepted: u64,
        session: u64,
        out: &mut Outbox,
    ) {
        if self.epoch > 0 && accepted > self.epoch {
            // It can never follow in this epoch, which would be without it for ever. (`ZooKeeper`'s
            // leader goes on, and that follower keeps trying.)
            self.resigns = true;
            return;
        }
        if self.channel(from).session != session {
            *self.channel(from) = Channel::new(session, replica.window, now);
            self.asking = self.asking.without(from);
        }
        let channel = self.channel(from);
        (channel.info_due, channel.heard_at) = (true, now);
        self.syncing = self.syncing.with(from);
        if replica.voters.contains(from) {
            self.informed = self.informed.with(from);
            self.highest = self.highest.max(accepted);
            self.propose_epoch(replica, out);
        }
    }

    /// An epoch above all that a quorum has accepted. This node accepts it as any other does.
    pub(super) fn propose_epoch(&mut self, replica: &mut Replica, out: &mut Outbox) {
        if self.epoch > 0 || !quorum::is_majority(self.informed, replica.voters) {
            return;
        }
        if self.highest + 1 >= EPOCHS_END - 1 {
            self.resigns = true;
            return;
        }
        self.epoch = self.highest + 1;
        replica.accept_epoch(self.epoch, replica.id, out);
    }

    /// ACKEPOCH.
    pub(super) fn on_ack_epoch(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        from: NodeId,
        ack: &AckEpoch,
        out: &mut Outbox,
    ) {
        let votes = replica.voters.contains(from);
        if ack.epoch != self.epoch {
            return;
        }
        let Some(channel) = self.open(from, ack.epoch, ack.session) else {
            return self.compare_connections(replica, from, ack.session, out);
        };
        channel.heard_at = now;
        match &channel.flow {
            // It asks because it was not told yet. Parts of a snapshot are sent again as they must.
            Flow::Lacking | Flow::Snap(_) => {}
            // It was told since.
            Flow::Stream if channel.synchronized => return,
            _ => channel.flow = Flow::Accepted(ack.last),
        }
        self.syncing = self.syncing.with(from);
        if !votes || self.phase > Phase::Discovery {
            return;
        }
        if (ack.current, ack.last) > (replica.current, replica.last_zxid()) {
            self.resigns = true;
        } else if ack.promised {
            self.promised = self.promised.with(from);
        }
    }

    /// Frames that come late may open a connection again that is over: the follower then speaks on one, and this node
    /// on another. Only the follower knows which is the newer: it is told of this node's, and connects anew.
    ///
    /// A connection that was closed so, and opened again in its turn, has lost all that was sent on it. Its follower
    /// hears nothing more.
    pub(super) fn compare_connections(&mut self, replica: &Replica, id: NodeId, spoken: u64, out: &mut Outbox) {
        let (epoch, channel) = (self.epoch, self.channel(id));
        match (channel.session, &channel.flow) {
            (0, _) => {}
            (session, Flow::Closed) if session == spoken => self.close(id),
            (session, _) if session == spoken => {}
            (session, _) => replica.send(Recipients::One(id), Message::LeaderInfo { epoch, session }, out),
        }
    }

    /// Whether it has no epoch, or one that a crash would take from it. It would lead in one of the same number then, and
    /// whatever it had said in the first would be heard in the second.
    pub(super) fn may_forget_epoch(&self, replica: &Replica) -> bool {
        self.epoch == 0 || (self.phase == Phase::Discovery && !replica.journal.holds_hard_state())
    }

    /// Proposes the epoch to those that are there, once this node itself would not forget it; with a
    /// quorum's promises the phase is over.
    pub(super) fn flush_discovery(&mut self, replica: &mut Replica, out: &mut Outbox) {
        if self.may_forget_epoch(replica) {
            return;
        }
        for id in self.syncing.iter() {
            let (epoch, channel) = (self.epoch, self.channel(id));
            if std::mem::take(&mut channel.info_due) && matches!(channel.flow, Flow::Closed) {
                let session = channel.session;
                replica.send(Recipients::One(id), Message::LeaderInfo { epoch, session }, out);
            }
        }
        self.promised = self.promised.with(replica.id);
        if self.phase == Phase::Discovery && !self.resigns && quorum::is_majority(self.promised, replica.voters) {
            self.phase = Phase::Synchronization;
            replica.enter_epoch(out);
        }
    }
}

impl Follower {
    /// LEADERINFO: accepted if it is newer than all before, or is the same leader's again.
    pub(super) fn on_leader_info(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        from: NodeId,
        epoch: u64,
        session: u64,
        out: &mut Outbox,
    ) {
        if from == self.leader && session != self.session {
            // Said of a connection from before this one, it is old, or the leader is wrong about which is the newer.
            self.leaves |= self.stage != Stage::Connecting && epoch == replica.accepted;
            return;
        }
        if from != self.leader || self.stage == Stage::Streaming {
            return;
        }
        self.heard_at = now;
        if epoch < replica.accepted {
            self.leaves = true;
            return;
        }
        if epoch > replica.accepted {
            replica.accept_epoch(epoch, from, out);
        }
        (self.stage, self.ask_due) = (Stage::Accepted, true);
    }

    /// Connects, or says where it stands: not before its promise is durable.
    pub(super) fn flush_discovery(&mut self, replica: &Replica, out: &mut Outbox) {
        if !self.ask_due {
            return;
        }
        let (session, epoch) = (self.session, replica.accepted);
        match self.stage {
            Stage::Connecting => self.ask(replica, Message::FollowerInfo { accepted: epoch, session }, out),
            Stage::Accepted if replica.journal.holds_hard_state() => {
                let (current, last) = (replica.current, replica.last_zxid());
                let promised = replica.accepted_of == Some(self.leader);
                self.ask(replica, Message::AckEpoch(AckEpoch { epoch, session, current, last, promised }), out);
            }
            Stage::Accepted | Stage::Streaming => {}
        }
    }
}
