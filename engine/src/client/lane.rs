//! What a client has with one consensus group: whom it takes for the leader, and what is under way there.

use std::collections::vec_deque::Drain;

use bytes::BytesMut;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, ReadMode, Recipients, Slot, Transmit};

use super::flights::{Copies, Flight, Flights};
use super::{ClientOptions, MAX_REDIRECTS, SEARCH_PAUSE_NS, Shared, Stage};
use crate::batch::{BatchHead, Writer};
use crate::check::witness::{Asked, ClientTrace, Served, digest};
use crate::load::CommandStream;
use crate::request::Request;

/// One group's part of a client: a session of its own, whose batches count from 0.
#[derive(Debug)]
pub(super) struct Lane {
    group: u16,
    commands: CommandStream,
    /// Whom it takes for the leader.
    target: NodeId,
    /// Where its load begins, wherever its search led.
    home: Option<NodeId>,
    /// Whom it asked last for a read that any replica may answer.
    asked_last: NodeId,
    /// The group has answered the search.
    answered: bool,
    pub(super) flights: Flights,
    /// The last batch that goes through the log.
    ordered: Option<u64>,
    /// The last slot that it was told of. No stale read that it sends from now on may be older: its reads do not go back,
    /// and see what it wrote, whoever answers (monotonic reads, read your writes: Terry et al., *Session Guarantees for
    /// Weakly Consistent Replicated Data*, PDIS 1994, section 3).
    seen: Slot,
    /// Who told it last of so late a slot, and can answer what others are behind for.
    seen_at: NodeId,
    /// What it asks and is told, if that is to be checked.
    trace: Option<Box<ClientTrace>>,
}

impl Lane {
    /// To a group that it has not asked yet. Groups' first leaders are spread in turn, so that is where it looks first.
    pub(super) fn new(group: u16, options: &ClientOptions, commands: &CommandStream) -> Self {
        Self {
            group,
            commands: commands.of_group(group, options.groups),
            target: NodeId(u32::from(group) % options.replicas as u32),
            home: None,
            asked_last: options.id,
            answered: false,
            flights: Flights::default(),
            ordered: None,
            seen: Slot::ZERO,
            seen_at: NodeId(0),
            trace: None,
        }
    }

    /// Its load goes to `home`, or, of another group than the first, to the one so many further on.
    pub(super) fn settle_at(&mut self, home: NodeId, options: &ClientOptions) {
        self.target = NodeId((home.0 + u32::from(self.group)) % options.replicas as u32);
        self.home = Some(self.target);
    }

    pub(super) fn go_home(&mut self) {
        self.target = self.home.unwrap_or(self.target);
    }

    pub(super) fn keep_trace(&mut self, options: &ClientOptions) {
        debug_assert!(self.flights.next_sequence() == 0, "batches count from the first one");
        let trace = ClientTrace {
            group: self.group,
            client: options.id.0,
            commands: self.commands.clone(),
            asked: Vec::new(),
            served: Vec::new(),
            stale: options.reads == Some(ReadMode::Stale),
        };
        self.trace = Some(Box::new(trace));
    }

    pub(super) fn take_trace(&mut self) -> Option<ClientTrace> {
        self.trace.take().map(|trace| *trace)
    }

    /// Whether the group has answered.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Whether the group is still to be asked.
    pub(super) fn is_to_search(&self) -> bool {
        !self.answered && self.flights.is_empty()
    }

    pub(super) fn forget_settled(&mut self) {
        self.flights.forget_settled();
    }

    /// Builds a batch of at most `most` commands: it, how many it has, and whether they are reads to be answered beside
    /// the log.
    pub(super) fn build(&mut self, chunk: &mut BytesMut, most: usize, options: &ClientOptions) -> (Payload, u32, bool) {
        let (sequence, settled) = (self.flights.next_sequence(), self.flights.settled());
        let most_bytes = options.batch_bytes - BatchHead::PREFIX - self.commands.max_bytes();
        let reads = most > 0 && self.commands.begin_batch();
        let head = BatchHead::next(options.id.0, sequence, settled, self.ordered);
        if !reads {
            self.ordered = Some(sequence);
        }
        let mut writer = Writer::new(chunk, head);
        while (writer.commands() as usize) < most && writer.bytes() <= most_bytes {
            writer.command(|chunk| self.commands.write(chunk));
        }
        let commands = writer.commands();
        (writer.finish().into(), commands, reads)
    }

    /// Sends what was built; `intended` is when an open loop's commands in it were due.
    pub(super) fn send(
        &mut self,
        now: Nanos,
        (body, commands, reads): (Payload, u32, bool),
        intended: Drain<'_, Nanos>,
        shared: &mut Shared,
    ) {
        shared.in_flight += commands as usize;
        let retry_at = now + shared.patience_ns();
        shared.retry_by(retry_at);
        if let Some(trace) = &mut self.trace {
            let (answered_ns, told, overlapping) = (Asked::UNANSWERED, 0, 0);
            trace.asked.push(Asked { sent_ns: now.0, answered_ns, told, commands, overlapping });
        }
        self.transmit(body.clone(), reads, shared);
        self.flights.push(Flight::new(body, commands, reads, now, retry_at), intended);
    }

    /// Sends a batch to the leader, or to each replica in turn what any may answer.
    fn transmit(&mut self, body: Payload, reads: bool, shared: &mut Shared) {
        let to = if reads && shared.options.anywhere {
            self.asked_last = shared.options.next_replica(self.asked_last);
            self.asked_last
        } else {
            self.target
        };
        self.transmit_to(to, body, reads, shared);
    }

    fn transmit_to(&mut self, to: NodeId, body: Payload, reads: bool, shared: &mut Shared) {
        let mode = shared.options.reads.filter(|_| reads);
        // Other reads learn from the protocol what they must see.
        let least = if mode == Some(ReadMode::Stale) { self.seen } else { Slot::ZERO };
        let request = mode.map_or(Request::Submit, |mode| Request::Read { mode, least });
        let head = Head { body_len: body.len() as u32, group: self.group, ..request.head(shared.options.id) };
        shared.transmits.push(Transmit { to: Recipients::One(to), head, body });
    }

    /// A frame of this group arrived.
    pub(super) fn on_frame(&mut self, now: Nanos, frame: &Frame, shared: &mut Shared) {
        match Request::read(&frame.head) {
            Some(Request::Applied { first, batches, slot }) => {
                let told = self.told(frame);
                self.on_slot(frame.head.from, slot);
                let to = first.saturating_add(batches).min(self.flights.next_sequence());
                (first.max(self.flights.settled())..to).for_each(|sequence| {
                    self.on_answer(now, sequence, told, None, shared);
                });
            }
            Some(Request::Served { sequence, slot }) => {
                let told = self.told(frame);
                self.on_slot(frame.head.from, slot);
                self.on_answer(now, sequence, told, Some(slot), shared);
            }
            Some(Request::Redirect { sequence, leader }) => {
                self.on_redirect(now, frame.head.from, sequence, leader, shared);
            }
            Some(Request::Busy { sequence }) => self.postpone(now, sequence, shared),
            Some(Request::Submit | Request::Read { .. }) | None => {}
        }
    }

    /// A replica says how far it has come.
    fn on_slot(&mut self, from: NodeId, slot: Slot) {
        if slot >= self.seen {
            (self.seen, self.seen_at) = (slot, from);
        }
    }

    /// What an answer says, if that is to be checked.
    fn told(&self, frame: &Frame) -> u64 {
        if self.trace.is_some() { digest(&frame.body) } else { 0 }
    }

    /// A batch was answered; if beside the log, by a replica that had been delivered `slot`. An answer
    /// of the other kind is none.
    fn on_answer(&mut self, now: Nanos, sequence: u64, told: u64, slot: Option<Slot>, shared: &mut Shared) {
        let next = self.flights.next_sequence();
        let Some(flight) = self.flights.get_mut(sequence) else { return };
        if flight.reads != slot.is_some() || std::mem::replace(&mut flight.answered, true) {
            return;
        }
        shared.in_flight -= flight.commands as usize;
        if let Some(trace) = &mut self.trace {
            let asked = &mut trace.asked[sequence as usize];
            (asked.answered_ns, asked.told, asked.overlapping) = (now.0, told, (next - sequence) as u32);
            trace.served.extend(slot.map(|slot| Served { sequence, slot: slot.0 }));
        }
        match &mut shared.stage {
            Stage::Searching => self.answered = true,
            // Empty batches, with which it searched, were sent before there was a recorder.
            Stage::Loading { .. } if flight.commands == 0 => {}
            Stage::Loading { recorder, .. } => {
                recorder.answered(now, flight.sent, flight.commands.into());
                let sent = flight.sent;
                self.flights.each_intended(sequence, |intended, commands| {
                    recorder.took(now, intended, sent, commands);
                });
            }
        }
    }

    /// The replica does not lead, or leads and misses this batch. If it knows who leads, off the batch goes; otherwise
    /// after a pause, to the next.
    fn on_redirect(&mut self, now: Nanos, from: NodeId, sequence: u64, leader: Option<NodeId>, shared: &mut Shared) {
        let options = &shared.options;
        let known = leader.filter(|&leader| (leader.0 as usize) < options.replicas);
        // A replica that cannot answer a read which another may answer says nothing against the leader.
        let is_read = self.flights.get_mut(sequence).is_some_and(|flight| flight.reads);
        let is_stale = is_read && options.reads == Some(ReadMode::Stale);
        let may_stay = options.anywhere && is_read;
        // Nor does one that is behind know who leads by now.
        if !is_stale && (known.is_some() || !may_stay) {
            self.target = known.unwrap_or(options.next_replica(from));
        }
        let Some(flight) = self.flights.get_mut(sequence).filter(|flight| !flight.answered) else { return };
        flight.redirects = flight.redirects.saturating_add(1);
        flight.refused = true;
        if (known.is_some() || is_stale) && flight.redirects <= MAX_REDIRECTS {
            flight.refused = false;
            let (body, reads) = (flight.body.clone(), flight.reads);
            if is_stale && self.seen_at != from {
                self.transmit_to(self.seen_at, body, reads, shared);
            } else {
                self.transmit(body, reads, shared);
            }
        } else {
            self.postpone(now, sequence, shared);
        }
    }

    fn postpone(&mut self, now: Nanos, sequence: u64, shared: &mut Shared) {
        if let Some(flight) = self.flights.get_mut(sequence) {
            flight.redirects = 0;
            flight.refused = true;
            flight.retry_at = now + SEARCH_PAUSE_NS;
            shared.retry_by(flight.retry_at);
        }
    }

    /// Sends again what was not answered in time, to the next replica if a whole time-out has passed.
    pub(super) fn resend(&mut self, now: Nanos, shared: &mut Shared) {
        let pause = shared.patience_ns();
        let timed_out = |flight: &&Flight| !flight.answered && now >= flight.retry_at;
        // Who was asked for a read that any replica may answer need not lead.
        let anywhere = shared.options.anywhere;
        let silent = |flight: &Flight| timed_out(&flight) && now >= flight.sent + pause && !(anywhere && flight.reads);
        if self.flights.iter().any(|(_, flight)| silent(flight)) {
            self.target = shared.options.next_replica(self.target);
        }
        let mut again = Vec::new();
        for flight in self.flights.iter_mut() {
            if timed_out(&&*flight) {
                flight.retry_at = now + pause;
                let before = flight.copies;
                let refused = std::mem::take(&mut flight.refused);
                flight.copies = if refused && before != Copies::Unknown { Copies::More } else { Copies::Unknown };
                let commands = |is: bool| is.then_some(flight.commands);
                let first = commands(before == Copies::One);
                let unknown = commands(before != flight.copies && flight.copies == Copies::Unknown);
                again.push((flight.body.clone(), flight.reads, first, unknown));
            }
            if !flight.answered {
                shared.retry_by(flight.retry_at);
            }
        }
        for (body, reads, first, unknown) in again {
            self.transmit(body, reads, shared);
            if let Stage::Loading { recorder, .. } = &mut shared.stage {
                recorder.resent(now, first);
                if let Some(commands) = unknown {
                    recorder.unknown(now, commands);
                }
            }
        }
    }
}
