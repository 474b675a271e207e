//! The other side of catch-up (*Paxos Made Live*, section 5.1): any node teaches what it knows to be decided, and gives
//! its snapshot to those that lack what it has let go.

use super::message::{Chunk, Learned, Message};
use super::replica::Replica;
use crate::io::Outbox;
use crate::log::Entry;
use crate::paxos::Ballot;
use crate::transfer::{Part, Transfer};
use crate::wire::{Head, Nanos, NodeId, PeerSet, Recipients, Slot};

#[derive(Clone, Debug, Default)]
pub(super) struct Teacher {
    /// Snapshots on their way. It is the receiver that asks again, so nothing is sent to one that is gone.
    lessons: Vec<Lesson>,
    /// Who lacks what was let go, and waits for a snapshot that is recent enough.
    lacking: PeerSet,
}

#[derive(Clone, Debug)]
struct Lesson {
    to: NodeId,
    transfer: Transfer,
    heard_at: Nanos,
}

impl Replica {
    /// A window of decided slots, or of what stands for them.
    pub(super) fn on_learn(&mut self, now: Nanos, from: NodeId, first: Slot, out: &mut Outbox) {
        if first <= self.log.trimmed() {
            let lessons = &mut self.teacher.lessons;
            if let Some(lesson) = lessons.iter_mut().find(|lesson| lesson.to == from) {
                lesson.heard_at = now;
                lesson.transfer.on_heartbeat();
            } else {
                self.teacher.lacking = self.teacher.lacking.with(from);
            }
            return;
        }
        self.teacher.lacking = self.teacher.lacking.without(from);
        self.teacher.lessons.retain(|lesson| lesson.to != from);
        for slot in (first.0..=self.log.last().0).take(self.window).map(Slot) {
            let Some(entry) = self.log.get(slot) else { return };
            out.transmit(Recipients::One(from), self.learned_head(slot, entry), entry.body.clone());
        }
    }

    /// What tells of a decided slot, to another node or to this node's own journal.
    pub(super) fn learned_head(&self, slot: Slot, entry: &Entry) -> Head {
        let learned = Learned { slot, stamp: stamp(entry.stamp), decided: self.log.last(), kind: entry.kind };
        Head { body_len: entry.body.len() as u32, ..self.head(Message::Learned(learned)) }
    }

    pub(super) fn on_received(
        &mut self,
        now: Nanos,
        from: NodeId,
        slot: Slot,
        offset: u64,
    ) -> Result<(), &'static str> {
        let of = |lesson: &Lesson| lesson.to == from && lesson.transfer.snapshot.slot == slot;
        let Some(at) = self.teacher.lessons.iter().position(of) else { return Ok(()) };
        let lesson = &mut self.teacher.lessons[at];
        let is_whole = lesson.transfer.on_received(offset)?;
        lesson.heard_at = now;
        if is_whole {
            self.teacher.lessons.remove(at);
        }
        Ok(())
    }

    /// Whether a node waits for a snapshot that this one does not have.
    pub(super) fn wants_snapshot(&self) -> bool {
        !self.teacher.lacking.is_empty() && self.snapshots.takes(self.delivered)
    }

    /// Sends snapshots a few parts at a time. What follows them is kept for as long as they are asked for.
    pub(super) fn teach(&mut self, now: Nanos, out: &mut Outbox) {
        self.snapshots.want_none();
        if self.teacher.lacking.is_empty() && self.teacher.lessons.is_empty() {
            return;
        }
        if let Some(snapshot) = self.snapshots.reaches(self.log.trimmed()) {
            let lesson = |to| Lesson { to, transfer: Transfer::new(snapshot.clone()), heard_at: now };
            self.teacher.lessons.extend(std::mem::take(&mut self.teacher.lacking).iter().map(lesson));
        }
        let patience = self.timer.shortest();
        self.teacher.lessons.retain(|lesson| now.saturating_since(lesson.heard_at) <= patience);
        let mut lessons = std::mem::take(&mut self.teacher.lessons);
        for Lesson { to, transfer, .. } in &mut lessons {
            self.snapshots.want(transfer.snapshot.slot);
            while let Some((Part { slot, stamp: word, offset, total }, body)) = transfer.next(self.chunk) {
                let chunk = Chunk { slot, stamp: stamp(word), offset, total };
                out.transmit(Recipients::One(*to), self.head(Message::Chunk(chunk)), body);
            }
        }
        self.teacher.lessons = lessons;
    }
}

/// A stamp of the log as the ballot that it is.
pub(super) fn stamp(word: u64) -> Ballot {
    Ballot::read(word).expect("stamps are words of ballots")
}
