//! Reads beside the log: batches of reads wait here until the protocol has said how much of the log
//! they must see, and until that much is delivered.
//!
//! A stale read must see what its client was told of before it, by whichever replica. One that is not there
//! yet sends it away, as `ZooKeeper`'s servers take no client that has seen more than they have: followers may
//! hear of a commit as late as with the next heartbeat, and whoever told the client has it already.

use std::collections::VecDeque;

use quorumbench_protocols::{Frame, Head, Input, Nanos, Protocol, ReadAnswer, ReadMode, ReadOutcome, Recipients, Slot};

use super::Node;
use crate::batch::{BatchHead, Commands};
use crate::machine::Machine;
use crate::request::Request;

/// Rounds of reads, oldest first. What arrives in one turn, of one mode, is one round, and one
/// question to the protocol.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    rounds: VecDeque<Round>,
    /// Batches in all rounds.
    waiting: usize,
    /// Rounds that the protocol has answered.
    answered: usize,
    /// The last round's. None is ever used again: an answer to an old question must not pass for one
    /// to a new question.
    last_id: u64,
    /// An empty list, with the capacity that it had.
    spare: Vec<Frame>,
}

#[derive(Debug)]
struct Round {
    id: u64,
    mode: ReadMode,
    asked: bool,
    outcome: Option<ReadOutcome>,
    frames: Vec<Frame>,
}

/// Batches of reads that may wait before clients hear "busy".
const MAX_WAITING: usize = 1 << 17;

impl ReadQueue {
    /// Takes a batch, unless too many wait.
    fn push(&mut self, mode: ReadMode, frame: Frame) -> bool {
        if self.waiting >= MAX_WAITING {
            return false;
        }
        self.waiting += 1;
        let open = self.rounds.iter_mut().rev().take_while(|round| !round.asked).find(|round| round.mode == mode);
        if let Some(round) = open {
            round.frames.push(frame);
        } else {
            self.last_id += 1;
            let mut frames = std::mem::take(&mut self.spare);
            frames.push(frame);
            self.rounds.push_back(Round { id: self.last_id, mode, asked: false, outcome: None, frames });
        }
        true
    }

    /// A round that the protocol has not been asked about; from now on it has.
    fn next_question(&mut self) -> Option<(u64, ReadMode)> {
        let round = self.rounds.iter_mut().rev().take_while(|round| !round.asked).last()?;
        round.asked = true;
        Some((round.id, round.mode))
    }

    /// The protocol's answer. One to a round that is not here is ignored.
    fn answer(&mut self, answer: ReadAnswer) {
        if let Ok(index) = self.rounds.binary_search_by_key(&answer.id, |round| round.id) {
            self.answered += usize::from(self.rounds[index].outcome.replace(answer.outcome).is_none());
        }
    }

    /// The first round whose wait is over now that `delivered` is delivered, and what came of it.
    fn take_settled(&mut self, delivered: Slot) -> Option<(ReadOutcome, Vec<Frame>)> {
        let settled = |round: &Round| match round.outcome {
            Some(ReadOutcome::At(slot)) => slot <= delivered,
            Some(ReadOutcome::Refused) => true,
            None => false,
        };
        // Far away, thousands of rounds wait for a majority: none of them is looked at for nothing.
        let index = if self.answered > 0 { self.rounds.iter().position(settled)? } else { return None };
        let round = self.rounds.remove(index)?;
        self.answered -= 1;
        self.waiting -= round.frames.len();
        Some((round.outcome?, round.frames))
    }
}

impl<P: Protocol, M: Machine> Node<P, M> {
    /// A batch of reads arrived.
    pub(super) fn on_read(&mut self, mode: ReadMode, sequence: u64, frame: Frame) {
        let client = frame.head.from;
        if !self.reads.push(mode, frame) {
            self.stats.busy += 1;
            self.say(client, Request::Busy { sequence });
        }
    }

    /// Asks about all batches that arrived since it last asked, at once.
    pub(super) fn ask_reads(&mut self, now: Nanos) {
        while let Some((id, mode)) = self.reads.next_question() {
            self.step(now, Input::Read { id, mode });
        }
    }

    /// Serves what may be served by now, and sends elsewhere what was refused.
    pub(super) fn answer_reads(&mut self) {
        for answer in self.outbox.reads.drain(..) {
            self.reads.answer(answer);
        }
        while let Some((outcome, mut frames)) = self.reads.take_settled(self.delivered) {
            for frame in frames.drain(..) {
                self.answer_read(outcome, &frame);
            }
            self.reads.spare = frames;
        }
    }

    fn answer_read(&mut self, outcome: ReadOutcome, frame: &Frame) {
        let seen_less = |request| matches!(request, Request::Read { least, .. } if least <= self.delivered);
        match outcome {
            ReadOutcome::At(_) if Request::read(&frame.head).is_some_and(seen_less) => self.serve(frame),
            ReadOutcome::At(_) | ReadOutcome::Refused => self.redirect(frame),
        }
    }

    fn serve(&mut self, frame: &Frame) {
        let Some(head) = BatchHead::read(&frame.body) else { return };
        self.machine.read(&head, Commands::new(&head, &frame.body), &mut self.results);
        let served = Request::Served { sequence: head.sequence, slot: self.delivered }.head(self.id);
        let served = Head { group: self.group, ..served };
        self.outbox.transmit(Recipients::One(frame.head.from), served, self.results.split().freeze().into());
        self.stats.reads += u64::from(head.commands);
    }
}

#[cfg(test)]
mod tests;
