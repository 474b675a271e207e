//! A leader's line: each client's batches are taken in the order in which the client sent them.
//!
//! A connection keeps that order by itself. It is lost where one breaks, where a batch is sent again, and
//! where a client learns of a new leader while it has several batches under way: then a batch may come
//! before the one that its client sent before it, and is kept until that one is taken, or applied.
//!
//! So a leader submits a client's batches in order, and where a log is one leader's after another, each
//! after all that is committed of those before it, they are chosen in order too (what the Zab paper calls
//! primary order, DSN 2011, section II.B). Where slots are decided one by one (*Paxos Made Simple*,
//! section 3) they need not be: a new leader may find a client's second batch and not its first one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorumbench_protocols::Frame;

use crate::batch::BatchHead;
use crate::session::{Seen, Sessions};

/// What a node that leads has taken from clients, and what came too early.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// It waits for room in the window, or is under way.
    taken: Sessions,
    /// By client and the batch that goes before.
    early: BTreeMap<(u32, u64), (BatchHead, Frame)>,
}

impl Admission {
    /// Whether the batch was taken, or its client is through with it.
    pub(super) fn has(&self, head: &BatchHead) -> bool {
        self.taken.seen(head) != Seen::New
    }

    /// Batches that came too early.
    pub(super) fn early(&self) -> usize {
        self.early.len()
    }

    /// Puts a batch in `line`, with those that were kept because they come after it. Kept itself, if the one before it
    /// was neither taken nor, as `applied` has it, applied; that one is returned, for its client to bring it, unless it
    /// is kept as well.
    pub(super) fn take(
        &mut self,
        head: BatchHead,
        frame: Frame,
        applied: &Sessions,
        line: &mut VecDeque<Frame>,
    ) -> Option<u64> {
        let missing = head.predecessor().filter(|&before| {
            [&self.taken, applied].iter().all(|known| known.seen_of(head.client, before) == Seen::New)
        });
        if let Some(before) = missing {
            self.early.insert((head.client, before), (head, frame));
            return Some(before).filter(|&before| !self.is_early(head.client, before));
        }
        self.enter(head, frame, line);
        None
    }

    /// Of what was kept for a client, only the batch in question comes after one just before it.
    fn is_early(&self, client: u32, sequence: u64) -> bool {
        let last = self.early.range((client, 0)..(client, sequence)).next_back();
        last.is_some_and(|(_, (head, _))| head.sequence == sequence)
    }

    /// Puts in `line` what was kept until this batch is applied.
    pub(super) fn on_applied(&mut self, head: &BatchHead, line: &mut VecDeque<Frame>) {
        if let Some((next, frame)) = self.early.remove(&(head.client, head.sequence)) {
            self.enter(next, frame, line);
        }
    }

    fn enter(&mut self, head: BatchHead, frame: Frame, line: &mut VecDeque<Frame>) {
        let mut next = Some((head, frame));
        while let Some((head, frame)) = next {
            self.taken.apply(&head, Bytes::new());
            line.push_back(frame);
            next = self.early.remove(&(head.client, head.sequence));
        }
    }

    /// What came too early, for whoever gives up the lead.
    pub(super) fn into_early(self) -> impl Iterator<Item = Frame> {
        self.early.into_values().map(|(_, frame)| frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::{Head, Payload};

    fn take(admission: &mut Admission, applied: &Sessions, line: &mut VecDeque<Frame>, sequence: u64) -> Option<u64> {
        let head = BatchHead::next(7, sequence, 0, sequence.checked_sub(1));
        let frame = Frame { head: Head { words: [sequence, 0, 0, 0, 0, 0], ..Head::default() }, body: Payload::EMPTY };
        admission.take(head, frame, applied, line)
    }

    fn sequences(line: &VecDeque<Frame>) -> Vec<u64> {
        line.iter().map(|frame| frame.head.words[0]).collect()
    }

    #[test]
    fn what_comes_early_waits_for_what_was_sent_before_it() {
        let (mut admission, applied, mut line) = (Admission::default(), Sessions::default(), VecDeque::new());
        for (sequence, asked_for) in [(2, Some(1)), (0, None), (3, None), (2, Some(1)), (5, Some(4))] {
            assert_eq!(take(&mut admission, &applied, &mut line, sequence), asked_for);
        }
        assert_eq!((sequences(&line), admission.early()), (vec![0], 3));
        take(&mut admission, &applied, &mut line, 1);
        assert_eq!((sequences(&line), admission.early()), (vec![0, 1, 2, 3], 1));
        assert_eq!(admission.into_early().map(|frame| frame.head.words[0]).collect::<Vec<_>>(), [5]);
    }

    /// Batch 0 is in the log that a new leader inherited.
    #[test]
    fn what_an_earlier_leader_took_counts_once_it_is_applied() {
        let (mut admission, mut applied, mut line) = (Admission::default(), Sessions::default(), VecDeque::new());
        let first = BatchHead::next(7, 0, 0, None);
        take(&mut admission, &applied, &mut line, 1);
        assert_eq!(sequences(&line), [0; 0]);
        applied.apply(&first, Bytes::new());
        admission.on_applied(&first, &mut line);
        assert_eq!(sequences(&line), [1]);
        let mut later = Admission::default();
        take(&mut later, &applied, &mut line, 1);
        assert_eq!(sequences(&line), [1, 1], "applied before it led");
    }
}
