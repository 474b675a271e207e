//! Snapshots: in place of records and slots that are let go, and for a learner that lacks these.

use super::Site;
use super::ballot::Ballot;
use super::learner::Learner;
use super::message::{Chunk, Message, Proposal, SNAPSHOT};
use crate::io::{Outbox, Snapshot};
use crate::journal::Journal;
use crate::transfer::{Arriving, Part, Transfer};
use crate::wire::{Head, Lsn, NodeId, Payload, Recipients, Slot};

/// Heartbeats after which a node that says nothing of a snapshot is sent no more of it, and one that is sent no more
/// forgets what it has.
const MOST_SILENT: u32 = 16;

impl Learner {
    /// The driver's state machine as of `slot`, recorded together with the slots after it. Where that begins,
    /// and the snapshot, if it is of use.
    #[cold]
    pub(super) fn take_snapshot(
        &self,
        site: &Site,
        slot: Slot,
        body: &Payload,
        journal: &mut Journal,
        out: &mut Outbox,
    ) -> Option<(Lsn, Snapshot)> {
        let stamp = self.snapshots.stamp(&self.log, self.delivered, slot, body.len())?;
        let from = journal.record_other(record(site, slot, stamp, body), body.clone(), out);
        for slot in (slot.0 + 1..=self.log.last().0).map(Slot) {
            let Some(entry) = self.log.get(slot) else { continue };
            let Some(ballot) = Ballot::read(entry.stamp) else { continue };
            let head = site.head(Message::Learn(Proposal { slot, ballot }));
            journal.record_other(Head { body_len: entry.body.len() as u32, ..head }, entry.body.clone(), out);
        }
        Some((from, Snapshot { slot, stamp, body: body.clone() }))
    }

    /// A part of another node's snapshot. Whether everything up to its slot is decided with it.
    #[cold]
    pub(super) fn on_chunk(
        &mut self,
        site: &Site,
        from: NodeId,
        chunk: &Chunk,
        body: &Payload,
        journal: &mut Journal,
        out: &mut Outbox,
    ) -> bool {
        if chunk.slot <= self.log.last() {
            site.send(Recipients::One(from), self.standing(journal), Payload::EMPTY, out);
            return false;
        }
        let (have, whole) = self.arriving.add(&chunk.part(), body);
        if have > chunk.offset {
            self.stalled = 0;
        }
        self.received_due = Some((from, chunk.slot, have));
        let Some(snapshot) = whole else { return false };
        let (slot, stamp) = (snapshot.slot, snapshot.stamp);
        journal.record_slot(slot, record(site, slot, stamp, &snapshot.body), snapshot.body.clone(), out);
        self.log.reset(slot, stamp);
        self.snapshots.take(snapshot, journal.last(), journal.last());
        true
    }

    pub(super) fn on_received(&mut self, from: NodeId, slot: Slot, offset: u64) -> Result<(), &'static str> {
        let other = &mut self.others[from.0 as usize];
        let Some(transfer) = other.transfer.as_mut().filter(|transfer| transfer.snapshot.slot == slot) else {
            return Ok(());
        };
        transfer.on_received(offset)?;
        other.silent = 0;
        Ok(())
    }

    /// Whether another node waits for a snapshot that this one does not have.
    pub(super) fn wants_snapshot(&self) -> bool {
        !self.lacking.is_empty() && self.snapshots.takes(self.delivered)
    }

    /// A heartbeat passed for a snapshot that is arriving, and those that are on their way. One whose sender is
    /// gone must not keep out an older one, which somebody else can send.
    pub(super) fn on_silence(&mut self) {
        self.stalled += 1;
        if self.stalled > MOST_SILENT {
            (self.arriving, self.stalled) = (Arriving::default(), 0);
        }
        for id in self.sending.iter() {
            let other = &mut self.others[id.0 as usize];
            other.silent += 1;
            let expired = other.silent > MOST_SILENT;
            if other.transfer.take_if(|_| expired).is_some() {
                self.sending = self.sending.without(id);
            }
            if let Some(transfer) = &mut other.transfer {
                transfer.on_heartbeat();
            }
        }
    }

    /// Sends those that lack what was let go the last snapshot, a few parts at a time, and says how much of
    /// one is here.
    pub(super) fn send_snapshots(&mut self, site: &Site, out: &mut Outbox) {
        if let Some((to, slot, offset)) = self.received_due.take() {
            site.send(Recipients::One(to), Message::Received { slot, offset }, Payload::EMPTY, out);
        }
        if let Some(snapshot) = self.snapshots.reaches(self.log.trimmed()) {
            for id in std::mem::take(&mut self.lacking).iter() {
                self.others[id.0 as usize].transfer = Some(Transfer::new(snapshot.clone()));
                self.sending = self.sending.with(id);
            }
        }
        for id in self.sending.iter() {
            let Some(transfer) = &mut self.others[id.0 as usize].transfer else { continue };
            self.snapshots.want(transfer.snapshot.slot);
            while let Some((Part { slot, stamp, offset, total }, body)) = transfer.next(self.chunk) {
                let ballot = Ballot::read(stamp).unwrap_or(Ballot::ZERO);
                site.send(Recipients::One(id), Message::Chunk(Chunk { slot, ballot, offset, total }), body, out);
            }
        }
    }

    /// Takes a snapshot's record back. Whether everything up to its slot is decided with it; `None` if it is
    /// none, or comes too late.
    pub(super) fn replay_snapshot(&mut self, slot: Slot, stamp: u64, body: &Payload) -> Option<bool> {
        if slot < self.log.trimmed() || slot == Slot::ZERO || Ballot::read(stamp).is_none() {
            return None;
        }
        let news = slot > self.log.last();
        if news {
            self.log.reset(slot, stamp);
        } else {
            self.log.trim_to(slot);
        }
        self.snapshots.replay(Snapshot { slot, stamp, body: body.clone() });
        Some(news)
    }
}

fn record(site: &Site, slot: Slot, stamp: u64, body: &Payload) -> Head {
    let (words, body_len) = ([slot.0, stamp, 0, 0, 0, 0], body.len() as u32);
    Head { kind: SNAPSHOT, group: site.group, from: site.id, body_len, words, ..Head::default() }
}
