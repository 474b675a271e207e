//! What a client has asked and is not through with: its batches in flight, in order of sequence.

use std::collections::VecDeque;

use quorumbench_protocols::{Nanos, Payload};

/// Batches from the first unanswered one on.
#[derive(Debug, Default)]
pub(super) struct Flights {
    batches: VecDeque<Flight>,
    /// The sequence of the first of them.
    settled: u64,
    /// Intended times of the open loop's commands in `batches`, in order.
    intended: VecDeque<Nanos>,
    /// The number, counted from the first command ever, of the first of `intended`.
    intended_from: u64,
}

/// A batch in flight, or answered and waiting for the ones before it.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) body: Payload,
    pub(super) commands: u32,
    /// All of it is reads, to be answered beside the log.
    pub(super) reads: bool,
    pub(super) answered: bool,
    /// When it first went out.
    pub(super) sent: Nanos,
    /// When it goes out again.
    pub(super) retry_at: Nanos,
    pub(super) redirects: u8,
    /// Its last copy was refused, so that one does nothing.
    pub(super) refused: bool,
    pub(super) copies: Copies,
    /// The number of its first command.
    first_command: u64,
}

/// How often a batch went out, not counting redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    One,
    /// Again, as those before were refused.
    More,
    /// Again, as one before was neither answered nor refused in time: nobody knows what became of it.
    Unknown,
}

impl Flight {
    /// A batch that goes out now.
    pub(super) fn new(body: Payload, commands: u32, reads: bool, sent: Nanos, retry_at: Nanos) -> Self {
        Self {
            body,
            commands,
            reads,
            answered: false,
            sent,
            retry_at,
            redirects: 0,
            refused: false,
            copies: Copies::One,
            first_command: 0,
        }
    }
}

impl Flights {
    /// Takes the next batch; `intended` is when an open loop's commands in it were due.
    pub(super) fn push(&mut self, flight: Flight, intended: impl Iterator<Item = Nanos>) {
        let first_command = self.intended_from + self.intended.len() as u64;
        self.intended.extend(intended);
        self.batches.push_back(Flight { first_command, ..flight });
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Every batch below this sequence was answered.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// The sequence of the next batch.
    pub(super) fn next_sequence(&self) -> u64 {
        self.settled + self.batches.len() as u64
    }

    /// The batch of this sequence, unless it is settled or was never sent.
    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Flight> {
        self.batches.get_mut(sequence.checked_sub(self.settled)? as usize)
    }

    /// All of them, each with its sequence.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Flight)> {
        (self.settled..).zip(&self.batches)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flight> {
        self.batches.iter_mut()
    }

    /// Lets go of what is answered, up to the first batch that is not.
    pub(super) fn forget_settled(&mut self) {
        while self.batches.front().is_some_and(|flight| flight.answered) {
            self.batches.pop_front();
            self.settled += 1;
        }
        let first = self.batches.front().map_or(u64::MAX, |flight| flight.first_command);
        while self.intended_from < first && self.intended.pop_front().is_some() {
            self.intended_from += 1;
        }
    }

    /// Shows each of a batch's intended times with how many commands share it. In a closed loop a
    /// command is intended when it is sent.
    pub(super) fn each_intended(&self, sequence: u64, mut show: impl FnMut(Nanos, u64)) {
        let flight = &self.batches[(sequence - self.settled) as usize];
        let first = (flight.first_command - self.intended_from) as usize;
        let last = first + flight.commands as usize;
        if self.intended.len() < last {
            show(flight.sent, flight.commands.into());
        } else {
            self.intended.range(first..last).for_each(|&intended| show(intended, 1));
        }
    }
}
