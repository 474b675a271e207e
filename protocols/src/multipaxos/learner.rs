//! The learner: takes for decided what it was told and has, and asks for what it has not (*Paxos Made Simple*,
//! section 2.3; *Paxos Made Live*, section 5.1, "catch-up").

use super::message::{Chunk, Learned, Message};
use super::replica::Replica;
use crate::io::Outbox;
use crate::log::Entry;
use crate::paxos::Ballot;
use crate::transfer::Arriving;
use crate::wire::{Frame, NodeId, Payload, Recipients, Slot};

#[derive(Clone, Debug, Default)]
pub(super) struct Learner {
    /// Somebody said that everything up to here is decided.
    heard: Slot,
    /// What the leader of the ballot promised said of that.
    watermark: (Ballot, Slot),
    /// It has asked for the slots up to here.
    asked: Slot,
    /// What it had at the last heartbeat. With nothing more at the next one, it asks again.
    had: Slot,
    /// A snapshot that is arriving, from whom, and of which slot.
    arriving: Arriving,
    lesson: Option<(NodeId, Slot)>,
    /// Its sender is owed an answer: this much of this snapshot is here.
    received_due: Option<(NodeId, Slot, u64)>,
}

impl Replica {
    /// The leader of the ballot promised says that everything up to `decided` is decided, and durable everywhere up
    /// to `trim`.
    pub(super) fn hear(&mut self, decided: Slot, trim: Slot) {
        let learner = &mut self.learner;
        learner.heard = learner.heard.max(decided);
        if learner.watermark.0 == self.promised {
            learner.watermark.1 = learner.watermark.1.max(decided);
        } else {
            learner.watermark = (self.promised, decided);
        }
        self.may_trim(trim);
    }

    /// What was accepted under the ballot of the leader that says so is what it decided: no ballot proposes two values
    /// in a slot. What was accepted under an older ballot may be another value, and is asked for.
    pub(super) fn learn_accepted(&mut self) {
        let (ballot, upto) = self.learner.watermark;
        while self.log.last() < upto && self.acceptor.get(self.log.last() + 1).is_some_and(|held| held.ballot == ballot)
        {
            self.decide();
        }
    }

    /// Somebody that can tell says that everything up to `decided` is decided.
    pub(super) fn hear_of(&mut self, decided: Slot) {
        self.learner.heard = self.learner.heard.max(decided);
    }

    /// The last slot that it was told is decided.
    pub(super) fn heard(&self) -> Slot {
        self.learner.heard
    }

    /// A heartbeat. Without progress since the last one it asks again: frames get lost.
    pub(super) fn lose_patience(&mut self) {
        let last = self.log.last();
        if std::mem::replace(&mut self.learner.had, last) == last {
            self.learner.asked = Slot::ZERO;
        }
    }

    /// The ballot is another one, and whoever was asked may be gone.
    pub(super) fn ask_anew(&mut self) {
        self.learner.asked = Slot::ZERO;
    }

    /// Asks `of` for what it lacks, a window of slots at a time.
    pub(super) fn ask(&mut self, of: NodeId, out: &mut Outbox) {
        let last = self.log.last();
        if last < self.learner.heard && self.learner.asked <= last {
            self.learner.asked = last + self.window as u64;
            self.send(Recipients::One(of), Message::Learn { from: last + 1 }, out);
        }
    }

    /// A decided slot. Only the next one is taken: the others that were asked for follow it.
    pub(super) fn on_learned(&mut self, learned: &Learned, body: &Payload, out: &mut Outbox) {
        self.hear_of(learned.decided);
        if learned.slot != self.log.last() + 1 {
            return;
        }
        if learned.slot == learned.decided {
            // That was all there is. What is decided from now on may be asked for at once.
            self.learner.asked = learned.slot;
        }
        let entry = Entry { stamp: learned.stamp.word(), kind: learned.kind, body: body.clone() };
        self.acceptor.pop();
        self.log.append(entry.clone());
        let head = self.learned_head(learned.slot, &entry);
        self.journal.record_slot(learned.slot, head, entry.body, out);
    }

    /// A part of a snapshot. What is decided here already is not replaced.
    #[cold]
    pub(super) fn on_chunk(&mut self, from: NodeId, chunk: &Chunk, frame: &Frame, out: &mut Outbox) {
        if chunk.slot <= self.log.last() {
            self.learner.received_due = Some((from, chunk.slot, chunk.total));
            return;
        }
        // Two nodes' snapshots of one slot are the same state, but need not be the same bytes; and one that crashed may
        // come back with an older one. Whoever begins anew is believed.
        let (learner, lesson) = (&mut self.learner, Some((from, chunk.slot)));
        if learner.lesson != lesson && chunk.offset == 0 {
            (learner.lesson, learner.arriving) = (lesson, Arriving::default());
        }
        let ours = learner.lesson == lesson;
        let (have, whole) = if ours { learner.arriving.add(&chunk.part(), &frame.body) } else { (0, None) };
        learner.received_due = Some((from, chunk.slot, have));
        if let Some(snapshot) = whole {
            self.install(snapshot, out);
        }
    }

    pub(super) fn answer_chunks(&mut self, out: &mut Outbox) {
        if let Some((to, slot, offset)) = self.learner.received_due.take() {
            self.send(Recipients::One(to), Message::Received { slot, offset }, out);
        }
    }
}
