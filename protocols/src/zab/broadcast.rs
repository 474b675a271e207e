//! Phase 3, broadcast (DSN 2011, section IV.C; report, section 3.4): a two-phase commit in which nobody
//! says no. The leader proposes each transaction to all, a follower acknowledges what is durable, and
//! what a quorum has acknowledged is committed by a message of its own.
//!
//! Proposals go out one by one, as they come. An acknowledgement and a COMMIT are cumulative, since
//! channels keep order: there is at most one of each in a flush.

use super::follower::{Follower, Stage};
use super::leader::{Channel, Leader};
use super::message::{Ack, Message, Ping, Propose};
use super::replica::Replica;
use super::zxid::Zxid;
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::quorum;
use crate::wire::{Frame, Head, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

impl Leader {
    /// How many batches may come: what the window leaves, and the epoch's counter. When that is full,
    /// nothing more comes before the next epoch.
    pub(super) fn room(&self, replica: &Replica) -> usize {
        if !self.is_established() || self.resigns {
            return 0;
        }
        let in_flight = replica.log.last().saturating_since(replica.committed);
        (replica.window as u64).saturating_sub(in_flight).min(replica.last_zxid().room(self.epoch)) as usize
    }

    /// A client's batch becomes a transaction. Its record goes out now and the proposal in the same
    /// turn's flush: the leader's disk works while its followers' do.
    pub(super) fn on_submit(&self, replica: &mut Replica, body: &Payload, out: &mut Outbox) {
        let (slot, prev) = (replica.log.last() + 1, replica.last_zxid());
        if self.room(replica) == 0 {
            return;
        }
        let Some(zxid) = prev.next(self.epoch) else { return };
        let propose = Propose { epoch: self.epoch, slot, zxid, prev };
        let head = Head { body_len: body.len() as u32, ..replica.head(Message::Propose(propose)) };
        replica.write(zxid, head, body, out);
    }

    pub(super) fn on_ack(
        &mut self,
        replica: &Replica,
        now: Nanos,
        from: NodeId,
        ack: &Ack,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if ack.epoch != self.epoch {
            return Ok(());
        }
        if ack.received > replica.log.last() || replica.contradicts(ack.durable, ack.zxid) {
            return Err("acknowledges what was never sent");
        }
        if ack.round > self.round {
            return Err("answers a ping never sent");
        }
        // In an epoch a follower's history only grows, so this is true whichever connection it was said on.
        let channel = self.channel(from);
        if channel.streams() {
            channel.heard_at = now;
            channel.acknowledged = channel.acknowledged.max(ack.durable);
            channel.round = channel.round.max(ack.round);
            channel.window.acknowledge(channel.acknowledged);
            self.moved = true;
        }
        self.compare_connections(replica, from, ack.session, out);
        Ok(())
    }

    /// Commits what a quorum holds durably, this node among the others only as far as its own journal
    /// is durable. Observers are not asked, nor is a follower that has not taken on the epoch.
    pub(super) fn advance_commit(&mut self, replica: &mut Replica) {
        let own = replica.journal.slot();
        if !self.is_established() || (!self.moved && own == self.counted) {
            return;
        }
        (self.moved, self.counted) = (false, own);
        let reached = self.by_majority(replica, |leader, id| {
            let channel = &leader.channels[id.0 as usize];
            if id == replica.id {
                own.0
            } else if channel.synchronized {
                channel.acknowledged.0
            } else {
                0
            }
        });
        replica.committed = replica.committed.max(Slot(reached));
        let acknowledged = replica.others.iter().map(|id| self.channels[id.0 as usize].acknowledged).min();
        let slowest = acknowledged.unwrap_or(own).min(own).min(replica.committed);
        replica.may_trim(slowest);
        if replica.last_zxid().room(self.epoch) == 0 && replica.committed == replica.log.last() {
            // The counter is full: only a new epoch can go on.
            self.resigns = true;
        }
    }

    /// What a quorum of the voters has reached.
    pub(super) fn by_majority(&mut self, replica: &Replica, value: impl Fn(&Self, NodeId) -> u64) -> u64 {
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.clear();
        let all = if replica.mutant.is(Mutant::ZO) { replica.others.with(replica.id) } else { replica.voters };
        sorted.extend(all.iter().map(|id| value(self, id)));
        let reached = quorum::reached_by_majority(&mut sorted);
        self.sorted = sorted;
        reached
    }

    /// Sends each follower what it lacks of the history.
    pub(super) fn stream(&mut self, replica: &mut Replica, out: &mut Outbox) {
        if self.syncing.is_empty() {
            return self.propose(replica, out);
        }
        self.synchronize(replica, out);
        self.propose(replica, out);
        // NEWLEADER goes out behind the history, and what was proposed meanwhile behind it.
        self.synchronize(replica, out);
        self.propose(replica, out);
    }

    /// One transmit for all that lack the same next.
    fn propose(&mut self, replica: &Replica, out: &mut Outbox) {
        let last = replica.log.last();
        while let Some(first) = replica.others.iter().filter_map(|id| self.next(id, last)).min() {
            let (to, upto) = self.alike(replica, first, last);
            for slot in (first.0..=upto.0).map(Slot) {
                let Some((head, body)) = replica.proposal(slot) else {
                    // As in a ping.
                    to.iter().for_each(|id| self.close(id));
                    break;
                };
                to.iter().for_each(|id| {
                    self.channel(id).window.send();
                });
                out.transmit(Recipients::Peers(to), head, body);
            }
        }
    }

    /// Who lacks `first` next, and how far all of these go on together, and nobody else with them.
    fn alike(&self, replica: &Replica, first: Slot, last: Slot) -> (PeerSet, Slot) {
        let (mut to, mut upto) = (PeerSet::EMPTY, last);
        for id in replica.others.iter() {
            match self.next(id, last) {
                Some(next) if next == first => {
                    to = to.with(id);
                    upto = upto.min(self.furthest(id, last));
                }
                Some(next) => upto = upto.min(next - 1),
                None => {}
            }
        }
        (to, upto)
    }

    /// The slot to send next to a follower, if one may go.
    fn next(&self, id: NodeId, last: Slot) -> Option<Slot> {
        let channel = &self.channels[id.0 as usize];
        let next = channel.window.next();
        (channel.streams() && next <= self.furthest(id, last)).then_some(next)
    }

    /// How far a follower may be sent now. NEWLEADER stands between the history and what follows.
    fn furthest(&self, id: NodeId, last: Slot) -> Slot {
        let Channel { new_leader_sent, sync_point, window, .. } = &self.channels[id.0 as usize];
        let last = if *new_leader_sent { last } else { *sync_point };
        last.min(window.next() - 1 + window.room() as u64)
    }

    /// COMMIT, one transmit for all that are told the same: nobody is told of what it was not sent.
    pub(super) fn announce_commit(&mut self, replica: &Replica, out: &mut Outbox) {
        if !self.is_established() {
            return;
        }
        let mut due = replica.others;
        while let Some(first) = due.iter().next() {
            let due_to = |leader: &Self, id: NodeId| {
                let channel = &leader.channels[id.0 as usize];
                let slot = replica.committed.min(channel.sent());
                (channel.up_to_date_sent && channel.streams() && slot > channel.told).then_some(slot)
            };
            let slot = due_to(self, first);
            let to: PeerSet = due.iter().filter(|&id| due_to(self, id) == slot).collect();
            due = to.iter().fold(due, PeerSet::without);
            let Some(slot) = slot else { continue };
            to.iter().for_each(|id| self.channel(id).told = slot);
            let Some(zxid) = replica.zxid(slot) else { continue };
            let commit = Message::Commit { epoch: self.epoch, slot, zxid, trim: replica.trim() };
            replica.send(Recipients::Peers(to), commit, out);
        }
    }

    /// Says how far each channel's stream goes, one transmit for all whose goes as far.
    pub(super) fn ping(&mut self, replica: &Replica, out: &mut Outbox) {
        if !std::mem::take(&mut self.ping_due) || self.may_forget_epoch(replica) {
            return;
        }
        for id in replica.others.iter() {
            if self.channels[id.0 as usize].streams() && self.channels[id.0 as usize].sent() < replica.log.trimmed() {
                // What may have got lost has been let go: whoever lags so far needs a snapshot.
                self.close(id);
            }
        }
        self.round += 1;
        let mut due: PeerSet = replica.others.iter().filter(|id| self.channels[id.0 as usize].session != 0).collect();
        while let Some(first) = due.iter().next() {
            let ping = self.ping_of(replica, first);
            let to: PeerSet = due.iter().filter(|&id| self.ping_of(replica, id) == ping).collect();
            due = to.iter().fold(due, PeerSet::without);
            replica.send(Recipients::Peers(to), Message::Ping(ping), out);
        }
    }

    fn ping_of(&self, replica: &Replica, id: NodeId) -> Ping {
        let channel = &self.channels[id.0 as usize];
        let (epoch, trim, round) = (self.epoch, replica.trim(), self.round);
        let sent = Some(channel.sent()).filter(|_| channel.streams());
        let (last, zxid) = sent.and_then(|slot| Some((slot, replica.zxid(slot)?))).unwrap_or_default();
        let commit = if channel.up_to_date_sent { channel.told.min(last) } else { Slot::ZERO };
        let (new_leader, up_to_date) = (channel.new_leader_sent, channel.up_to_date_sent);
        Ping { epoch, last, zxid, commit, trim, round, new_leader, up_to_date }
    }
}

impl Follower {
    /// A transaction: the next, or one that came before.
    pub(super) fn on_propose(
        &mut self,
        replica: &mut Replica,
        propose: &Propose,
        frame: &Frame,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let Propose { slot, zxid, prev, .. } = *propose;
        if self.stage != Stage::Streaming {
            return Ok(());
        }
        if replica.contradicts(slot, zxid) || replica.contradicts(slot - 1, prev) {
            return Err("another history than its own");
        }
        match replica.log.last() + 1 {
            next if slot > next && replica.mutant.is(Mutant::Z4) && !self.up_to_date => {
                replica.write(zxid, frame.head, &frame.body, out);
            }
            next if slot > next => self.leaves = true,
            next if slot == next => {
                replica.write(zxid, frame.head, &frame.body, out);
            }
            _ if replica.mutant.is(Mutant::Z8b) => return Err("came before"),
            _ => self.ack_due = true,
        }
        Ok(())
    }

    /// COMMIT. Before UPTODATE it is remembered: what it commits may not have been said to be (ZOOKEEPER-4394).
    pub(super) fn on_commit(
        &mut self,
        replica: &mut Replica,
        slot: Slot,
        zxid: Zxid,
        trim: Slot,
    ) -> Result<(), &'static str> {
        if self.stage != Stage::Streaming {
            return Ok(());
        }
        if replica.contradicts(slot, zxid) {
            return Err("another history than its own");
        }
        if slot > replica.log.last() {
            self.leaves = true;
            return Ok(());
        }
        self.learn(replica, slot, trim);
        Ok(())
    }

    fn learn(&mut self, replica: &mut Replica, commit: Slot, trim: Slot) {
        if self.up_to_date {
            replica.committed = replica.committed.max(commit);
        } else if replica.mutant.is(Mutant::Z5) && commit > replica.committed {
            (replica.committed, replica.delivered) = (commit, commit - 1);
        } else {
            self.early_commit = self.early_commit.max(commit);
        }
        replica.may_trim(trim.min(replica.committed));
    }

    /// A ping: whatever it says was sent before it has come, or never will.
    pub(super) fn on_ping(&mut self, replica: &mut Replica, ping: &Ping) -> Result<(), &'static str> {
        if self.stage != Stage::Streaming {
            return Ok(());
        }
        if replica.contradicts(ping.last, ping.zxid) {
            return Err("another history than its own");
        }
        let lacks = ping.last > replica.log.last()
            || (ping.new_leader && self.new_leader.is_none())
            || (ping.up_to_date && !self.up_to_date);
        if lacks {
            self.leaves = true;
            return Ok(());
        }
        // Nobody minds a COMMIT that was lost: the next says more, and so does this.
        self.learn(replica, ping.commit, ping.trim);
        self.round = self.round.max(ping.round);
        self.ack_due = true;
        // Without UPTODATE nobody knows that NEWLEADER was acknowledged.
        self.ack_new_leader_due |= self.new_leader.is_some() && !self.up_to_date;
        Ok(())
    }

    /// One acknowledgement, however many transactions came. It waits for the epoch to be durable: a node
    /// must not follow in an epoch that it could forget.
    pub(super) fn flush_acknowledgement(&mut self, replica: &Replica, to: Recipients, out: &mut Outbox) {
        let durable = replica.log.last().min(replica.journal.slot());
        if self.stage != Stage::Streaming
            || !replica.journal.holds_hard_state()
            || (durable <= self.told && !self.ack_due)
        {
            return;
        }
        let Some(zxid) = replica.zxid(durable) else { return };
        (self.told, self.ack_due) = (durable, false);
        let (epoch, received, round) = (replica.accepted, replica.log.last(), self.round);
        replica.send(to, Message::Ack(Ack { epoch, durable, zxid, received, round, session: self.session }), out);
    }
}
