//! Phase 2, synchronization (DSN 2011, section IV.B; report, section 3.3): followers take on the
//! leader's history, and with it the epoch; a quorum of them makes it established.
//!
//! What a follower needs depends on its history (report, section 4.2): DIFF, the transactions that it
//! lacks; TRUNC, first to cut those that the leader does not have; SNAP, if the leader has let go of
//! what it lacks. Histories part after the leader's last transaction up to the follower's last: if that one is of
//! an epoch whose primary was established, both have what that primary began with, and the leader what a
//! quorum took of it; whatever the leader has from there on is the follower's, or later.
//!
//! Transactions that are proposed meanwhile queue behind those, in the order of the history, whose
//! slots number the stream: there is no moment at which one could be missed (notes of the TLA+
//! specification: the leader proposes to all that have acknowledged the *epoch*).

use super::follower::{Follower, Stage};
use super::leader::{Flow, Leader, Phase};
use super::message::{Chunk, Message, Point, Sync};
use super::replica::Replica;
use super::zxid::Zxid;
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::quorum;
use crate::transfer::{Part, Transfer};
use crate::window::Window;
use crate::wire::{Frame, Nanos, NodeId, Recipients, Slot};

impl Leader {
    /// What those need that are not streaming yet, or have not acknowledged NEWLEADER.
    pub(super) fn synchronize(&mut self, replica: &mut Replica, out: &mut Outbox) {
        if self.phase == Phase::Discovery {
            return;
        }
        for id in self.syncing.iter() {
            if let Flow::Accepted(last) = self.channel(id).flow {
                self.begin(replica, id, last, out);
            }
            self.send_snapshot(replica, id, out);
            self.send_new_leader(replica, id, out);
            self.send_up_to_date(replica, id, out);
        }
    }

    /// Tells a follower from where on transactions follow, if they are still there.
    fn begin(&mut self, replica: &Replica, id: NodeId, last: Zxid, out: &mut Outbox) {
        let mut slot = replica.log.last_at_most(replica.log.last(), last.0);
        if replica.mutant.is(Mutant::ZT) && slot > replica.log.trimmed() {
            slot = slot - 1;
        }
        let Some(zxid) = replica.zxid(slot).filter(|&zxid| zxid <= last) else {
            self.channel(id).flow = Flow::Lacking;
            return;
        };
        self.begin_stream(replica, id, slot);
        let (epoch, session) = (self.epoch, self.channel(id).session);
        let sync = Sync { epoch, session, slot, zxid, truncate: zxid != last };
        replica.send(Recipients::One(id), Message::Sync(sync), out);
    }

    fn begin_stream(&mut self, replica: &Replica, id: NodeId, after: Slot) {
        let channel = self.channel(id);
        channel.flow = Flow::Stream;
        channel.window = Window::new(replica.window, after);
        channel.sync_point = replica.log.last();
        (channel.new_leader_sent, channel.up_to_date_sent, channel.told) = (false, false, Slot::ZERO);
    }

    /// The last snapshot, if it reaches to the log, a few parts at a time. What follows it is kept.
    fn send_snapshot(&mut self, replica: &mut Replica, id: NodeId, out: &mut Outbox) {
        let (epoch, channel) = (self.epoch, self.channel(id));
        if let (Flow::Lacking, Some(snapshot)) = (&channel.flow, replica.snapshots.reaches(replica.log.trimmed())) {
            channel.flow = Flow::Snap(Transfer::new(snapshot.clone()));
        }
        let Flow::Snap(transfer) = &mut channel.flow else { return };
        replica.snapshots.want(transfer.snapshot.slot);
        while let Some((Part { slot, stamp, offset, total }, body)) = transfer.next(replica.chunk) {
            let chunk = Chunk { epoch, session: channel.session, slot, zxid: Zxid(stamp), offset, total };
            out.transmit(Recipients::One(id), replica.head(Message::Chunk(chunk)), body);
        }
    }

    pub(super) fn on_received(
        &mut self,
        replica: &Replica,
        now: Nanos,
        from: NodeId,
        message: (u64, u64, Slot, u64),
    ) -> Result<(), &'static str> {
        let (epoch, session, slot, offset) = message;
        let Some(channel) = self.open(from, epoch, session) else { return Ok(()) };
        let Flow::Snap(transfer) = &mut channel.flow else { return Ok(()) };
        if transfer.snapshot.slot != slot {
            return Ok(());
        }
        let is_whole = transfer.on_received(offset)?;
        channel.heard_at = now;
        if is_whole {
            self.begin_stream(replica, from, slot);
        }
        Ok(())
    }

    /// Snapshots on their way are resumed; a connection that is silent for long is closed, and nobody
    /// keeps anything for it.
    pub(super) fn nurse(&mut self, replica: &Replica, now: Nanos) {
        for id in self.syncing.iter() {
            let channel = self.channel(id);
            if now.saturating_since(channel.heard_at) > 2 * replica.patience {
                self.close(id);
            } else if let Flow::Snap(transfer) = &mut channel.flow {
                transfer.on_heartbeat();
            }
        }
    }

    /// The connection is over: the follower will hear nothing more on it, and connect anew.
    pub(super) fn close(&mut self, id: NodeId) {
        let channel = self.channel(id);
        (channel.session, channel.flow, channel.synchronized) = (0, Flow::Closed, false);
        (self.syncing, self.asking) = (self.syncing.without(id), self.asking.without(id));
    }

    /// Whether a follower waits for a snapshot that this node does not have.
    pub(super) fn wants_snapshot(&self, replica: &Replica) -> bool {
        !self.syncing.is_empty()
            && self.syncing.iter().any(|id| matches!(self.channels[id.0 as usize].flow, Flow::Lacking))
            && replica.delivered > Slot::ZERO
            && replica.snapshots.takes(replica.delivered)
    }

    /// NEWLEADER, behind the history that was there when the follower was told where it begins.
    fn send_new_leader(&mut self, replica: &Replica, id: NodeId, out: &mut Outbox) {
        let (epoch, channel) = (self.epoch, self.channel(id));
        if !channel.streams() || channel.new_leader_sent || channel.sent() < channel.sync_point {
            return;
        }
        channel.new_leader_sent = true;
        let (session, slot) = (channel.session, channel.sync_point);
        // Acknowledged or not, it is the last one sent, and kept.
        let Some(zxid) = replica.zxid(slot) else { return self.close(id) };
        replica.send(Recipients::One(id), Message::NewLeader(Point { epoch, session, slot, zxid }), out);
    }

    pub(super) fn on_ack_new_leader(&mut self, replica: &Replica, now: Nanos, from: NodeId, point: &Point) {
        let initial = self.initial;
        let Some(channel) = self.open(from, point.epoch, point.session) else { return };
        channel.heard_at = now;
        // One that asked twice may have been told twice, the second time with a later point that did not arrive. What it
        // acknowledges is the epoch's initial history either way.
        if channel.new_leader_sent && (initial..=channel.sync_point).contains(&point.slot) {
            if replica.mutant.is(Mutant::Z8a) && !channel.synchronized {
                channel.window = Window::new(replica.window, replica.log.last());
            }
            channel.synchronized = true;
            channel.acknowledged = channel.acknowledged.max(point.slot);
            self.moved = true;
        }
    }

    /// A quorum has this history and this epoch, durably, this node among the others: its NEWLEADER is
    /// committed, and with it the history.
    pub(super) fn establish(&mut self, replica: &mut Replica) {
        if self.phase != Phase::Synchronization {
            return;
        }
        let own = replica.journal.holds_hard_state() && replica.journal.slot() >= self.initial;
        let has = |id: &NodeId| if *id == replica.id { own } else { self.channels[id.0 as usize].synchronized };
        let hasty = replica.mutant.is(Mutant::ZB);
        if hasty || quorum::is_majority(replica.voters.iter().filter(has).collect(), replica.voters) {
            self.phase = Phase::Broadcast;
            replica.committed = replica.committed.max(self.initial);
        }
    }

    /// UPTODATE says what is *committed*, which need not be all that was synchronized (notes of the TLA+
    /// specification). From now on the follower is told of commits as the others are.
    fn send_up_to_date(&mut self, replica: &Replica, id: NodeId, out: &mut Outbox) {
        let established = self.is_established();
        let (epoch, channel) = (self.epoch, self.channel(id));
        let behind_new_leader = channel.streams() && channel.new_leader_sent && channel.synchronized;
        if !established || !behind_new_leader || channel.up_to_date_sent {
            return;
        }
        channel.up_to_date_sent = true;
        let committed = if replica.mutant.is(Mutant::Z8c) { channel.sync_point } else { replica.committed };
        let (session, slot) = (channel.session, committed.min(channel.sent()));
        channel.told = slot;
        let Some(zxid) = replica.zxid(slot) else { return self.close(id) };
        self.syncing = self.syncing.without(id);
        replica.send(Recipients::One(id), Message::UpToDate(Point { epoch, session, slot, zxid }), out);
    }
}

impl Follower {
    /// DIFF or TRUNC.
    pub(super) fn on_sync(&mut self, replica: &mut Replica, sync: &Sync, out: &mut Outbox) -> Result<(), &'static str> {
        if self.stage != Stage::Accepted || sync.session != self.session {
            return Ok(());
        }
        let here = replica.log.last_at_most(replica.log.last(), sync.zxid.0);
        let zxid = replica.zxid(here).unwrap_or_default();
        if zxid != sync.zxid || here != sync.slot {
            return Err("another history than its own");
        }
        if here < replica.committed && !replica.mutant.is(Mutant::ZT) {
            return Err("cuts what is committed");
        }
        if here < replica.log.last() && !replica.mutant.is(Mutant::Z1) {
            replica.truncate_after(here, out);
        }
        if replica.mutant.is(Mutant::Z3) {
            replica.enter_epoch(out);
        }
        self.begin_stream();
        Ok(())
    }

    fn begin_stream(&mut self) {
        (self.stage, self.ask_due, self.ack_due) = (Stage::Streaming, false, true);
    }

    /// SNAP. One that is here already is acknowledged again.
    pub(super) fn on_chunk(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        chunk: &Chunk,
        frame: &Frame,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if chunk.session != self.session {
            return Ok(());
        }
        if replica.contradicts(chunk.slot, chunk.zxid) && chunk.slot <= replica.committed {
            return Err("contradicts what is committed");
        }
        if self.stage == Stage::Streaming {
            self.received_due = Some((chunk.slot, chunk.total));
            return Ok(());
        }
        if chunk.slot <= replica.committed {
            return Err("a snapshot of what this node has");
        }
        // It is on its way: there is nothing to ask for.
        self.ask_at = now.later(replica.patience);
        let (have, whole) = self.arriving.add(&chunk.part(), &frame.body);
        self.received_due = Some((chunk.slot, have));
        if let Some(snapshot) = whole {
            replica.install(snapshot, out);
            self.begin_stream();
        }
        Ok(())
    }

    /// NEWLEADER: the history is complete, and the epoch is taken on. The record of the epoch follows
    /// those of the history, and the acknowledgement waits for both (ZOOKEEPER-3911, -4643, -4646).
    pub(super) fn on_new_leader(
        &mut self,
        replica: &mut Replica,
        point: &Point,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if !self.reaches(replica, point)? {
            return Ok(());
        }
        if replica.current < replica.accepted {
            replica.enter_epoch(out);
        }
        (self.new_leader, self.ack_new_leader_due) = (Some(*point), true);
        Ok(())
    }

    /// UPTODATE: what is committed may be delivered.
    pub(super) fn on_up_to_date(&mut self, replica: &mut Replica, point: &Point) -> Result<(), &'static str> {
        if !self.reaches(replica, point)? {
            return Ok(());
        }
        if self.new_leader.is_none() {
            self.leaves = true;
            return Ok(());
        }
        self.up_to_date = true;
        replica.committed = replica.committed.max(point.slot).max(self.early_commit);
        Ok(())
    }

    /// Whether what is said is of this connection, and everything before it has come; otherwise the
    /// channel is broken.
    fn reaches(&mut self, replica: &Replica, point: &Point) -> Result<bool, &'static str> {
        if point.session != self.session || self.stage != Stage::Streaming {
            return Ok(false);
        }
        if replica.contradicts(point.slot, point.zxid) {
            return Err("another history than its own");
        }
        self.leaves |= point.slot > replica.log.last();
        Ok(point.slot <= replica.log.last())
    }

    pub(super) fn flush_synchronization(&mut self, replica: &Replica, to: Recipients, out: &mut Outbox) {
        let (epoch, session) = (replica.accepted, self.session);
        if let Some((slot, offset)) = self.received_due.take() {
            replica.send(to, Message::Received { epoch, session, slot, offset }, out);
        }
        if let Some(point) = self.new_leader.filter(|_| self.ack_new_leader_due)
            && ((replica.journal.holds_hard_state() && replica.journal.slot() >= point.slot)
                || replica.mutant.is(Mutant::Z2))
        {
            self.ack_new_leader_due = false;
            replica.send(to, Message::AckNewLeader(point), out);
        }
    }
}
