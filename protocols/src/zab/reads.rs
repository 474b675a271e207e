//! Linearizable reads, at any node: the leader's own, and the others' by `ZooKeeper`'s `sync`.
//!
//! A node that does not lead asks up to where its reads must have come, with a SYNC on the channel from which
//! it gets its transactions, and serves them when it has come so far. `ZooKeeper`'s leader answers behind
//! what is proposed by then and does not make sure that it still leads (`Leader.processSync`; ZOOKEEPER-1675,
//! "Make sync a quorum operation"): one that is no more, and does not know, lets its followers read what is
//! old, so that `sync` is not strictly linearizable. Ours asks a quorum, with the round of pings that its own
//! reads share. And it answers behind what is *committed*: nobody was told yet of more.

use super::follower::Follower;
use super::leader::Leader;
use super::message::Message;
use super::replica::Replica;
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::reads::Reads;
use crate::wire::{Nanos, NodeId, Recipients, Slot};

/// A follower's SYNC.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncPoint {
    number: u64,
    /// What was committed when it came.
    slot: Slot,
    /// The first round of pings that was sent after it came.
    round: u64,
}

impl Leader {
    /// Reads that came since the last flush share a round of pings, sent in this flush; those whose round
    /// a quorum has answered are served.
    pub(super) fn serve(&mut self, replica: &Replica, reads: &mut Reads, out: &mut Outbox) {
        reads.enter(self.epoch, out);
        if !self.is_established() {
            return;
        }
        self.ping_due |= reads.index(replica.committed, self.round + 1, false, out);
        reads.confirm(self.confirmed(replica), out);
    }

    /// The last round of pings that a quorum has answered: this node led when it was sent.
    fn confirmed(&mut self, replica: &Replica) -> u64 {
        let round = |leader: &Self, id: NodeId| {
            if id == replica.id || replica.mutant.is(Mutant::ZQ) {
                u64::MAX
            } else {
                leader.channels[id.0 as usize].round
            }
        };
        self.by_majority(replica, round)
    }

    /// SYNC. One that comes again is of reads that have waited since it came first: what was true for them
    /// then is told them again.
    pub(super) fn on_sync_request(&mut self, replica: &Replica, now: Nanos, from: NodeId, sync: (u64, u64, u64)) {
        let (epoch, session, number) = sync;
        let (established, round) = (self.is_established(), self.round + 1);
        let Some(channel) = self.open(from, epoch, session).filter(|channel| established && channel.streams()) else {
            return;
        };
        channel.heard_at = now;
        let last = channel.sync.number;
        if number > last {
            channel.sync = SyncPoint { number, slot: replica.committed, round };
            self.ping_due = true;
        }
        if number >= last {
            self.asking = self.asking.with(from);
        }
    }

    /// Answers each SYNC whose round a quorum has answered, behind the COMMITs of this flush.
    pub(super) fn answer_syncs(&mut self, replica: &Replica, out: &mut Outbox) {
        let (epoch, confirmed) = (self.epoch, self.confirmed(replica));
        for id in self.asking.iter() {
            let channel = self.channel(id);
            let (session, SyncPoint { number, slot, round }) = (channel.session, channel.sync);
            if round <= confirmed {
                self.asking = self.asking.without(id);
                replica.send(Recipients::One(id), Message::Synced { epoch, session, number, slot }, out);
            }
        }
    }
}

impl Follower {
    /// The answer to a SYNC.
    pub(super) fn on_synced(&mut self, session: u64, number: u64, slot: Slot) -> Result<(), &'static str> {
        if session != self.session {
            return Ok(());
        }
        if number > self.sync {
            return Err("answers a SYNC never sent");
        }
        if self.syncing && number == self.sync {
            self.synced = Some(slot);
        }
        Ok(())
    }

    /// One SYNC at a time, for all reads that came since the one before. It is sent again until it is
    /// answered; what waits is refused when the connection is over.
    pub(super) fn flush_sync(&mut self, replica: &Replica, reads: &mut Reads, now: Nanos, out: &mut Outbox) {
        reads.enter(self.session, out);
        if let Some(slot) = self.synced.take() {
            self.syncing = false;
            reads.confirm_at(self.sync, slot, out);
        }
        if !self.syncing && reads.index(Slot::ZERO, self.sync + 1, false, out) {
            (self.sync, self.syncing) = (self.sync + 1, true);
            (self.ask_due, self.ask_at) = (true, now.later(replica.heartbeat));
        }
        if self.syncing && self.ask_due {
            let (epoch, session, number) = (replica.accepted, self.session, self.sync);
            self.ask(replica, Message::SyncRequest { epoch, session, number }, out);
        }
    }
}
