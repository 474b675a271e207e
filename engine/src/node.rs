//! One replica: a protocol, what it is applied to, and one turn of its loop.
//!
//! [`Node::turn`] is the same in the real driver and in a simulator: time comes in, frames come in
//! and go out, and there is no socket, thread or clock in here.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::{
    Change, Delivery, DeliveryKind, Frame, Head, Input, LogSize, Lsn, Nanos, NodeId, Outbox, Payload, Protocol,
    Recipients, Record, Refusal, Slot, Transmit,
};
use serde::{Deserialize, Serialize};

use crate::batch::{BatchHead, Commands};
use crate::check::witness::{Applied, ReplicaTrace};
use crate::machine::Machine;
use crate::request::Request;
use crate::session::{Seen, Sessions};

mod admission;
mod reads;
mod snapshots;

use admission::Admission;
use reads::ReadQueue;
pub use snapshots::SnapshotPolicy;

/// A replica. Fill [`inbox`](Self::inbox), call [`turn`](Self::turn), send
/// [`transmits`](Self::transmits); come back at [`deadline`](Self::deadline) at the latest.
#[derive(Debug)]
pub struct Node<P, M> {
    /// What has arrived since the last turn. A turn empties it.
    pub inbox: Vec<Frame>,
    id: NodeId,
    /// The consensus group: it takes no other's frames, and says its own on each.
    group: u16,
    protocol: P,
    machine: M,
    sessions: Sessions,
    /// A leader's batches that wait or are under way; `None` on a node that does not lead: what was
    /// under way may be lost with the leadership.
    admission: Option<Admission>,
    outbox: Outbox,
    /// Batches taken from clients and waiting for room in the window.
    waiting: VecDeque<Frame>,
    reads: ReadQueue,
    /// Scratch: answers of this turn, joined where they are in a row.
    answers: Vec<Answer>,
    results: BytesMut,
    /// An operator's wish: to hand leadership over.
    transfer_to: Option<NodeId>,
    /// An operator's wish: other members.
    change: Option<Change>,
    storage: Storage,
    /// What the storage vouched for since the last turn.
    durable: Option<Lsn>,
    snapshots: SnapshotPolicy,
    /// A snapshot was asked for.
    wants_snapshot: bool,
    /// What was delivered since the last snapshot, and up to where.
    since: LogSize,
    delivered: Slot,
    /// What an earlier life was delivered, and this one is again from its log: that was counted.
    counted: Slot,
    stats: NodeStats,
    /// What it applies, if that is to be checked.
    trace: Option<ReplicaTrace>,
    /// The bug that is planted, if any.
    mutant: Switch,
}

/// When a node's records are durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// As soon as they are written: there is no disk, and memory plays its part.
    #[default]
    Immediate,
    /// When the driver says so: after each turn it takes [`Node::records`] away, and calls
    /// [`Node::durable`] once they are safe.
    Deferred,
}

/// "Applied" for one client, still growing.
#[derive(Debug)]
struct Answer {
    client: NodeId,
    first: u64,
    batches: u64,
    results: Bytes,
}

/// What a node has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStats {
    /// Turns taken.
    pub turns: u64,
    /// Slots delivered that carry a batch, but for those that an earlier life of the node was.
    pub slots: u64,
    /// Commands in them, the ones applied before included.
    pub commands: u64,
    /// Commands applied to the state machine: each at most once.
    pub applied: u64,
    /// Commands that were answered beside the log.
    pub reads: u64,
    /// Batches that were delivered a second time and not applied again.
    pub duplicates: u64,
    /// Frames that no correct peer sends.
    pub malformed: u64,
    /// Batches refused because too many wait.
    pub busy: u64,
    /// How often the node saw leadership move to another node.
    pub leader_changes: u64,
    /// Rounds of phase 1 that its protocol began for a slot.
    pub rounds: u64,
    /// Snapshots taken of the state machine.
    pub snapshots: u64,
    /// Snapshots that the state machine was replaced by.
    pub restored: u64,
    /// The protocol's frames to other replicas, heartbeats among them, once per recipient.
    pub messages: u64,
    /// Bytes of these, heads included.
    pub message_bytes: u64,
}

impl NodeStats {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.zip(earlier, |now, then| now - then)
    }

    /// The sum of what two nodes did.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            turns: f(self.turns, other.turns),
            slots: f(self.slots, other.slots),
            commands: f(self.commands, other.commands),
            applied: f(self.applied, other.applied),
            reads: f(self.reads, other.reads),
            duplicates: f(self.duplicates, other.duplicates),
            malformed: f(self.malformed, other.malformed),
            busy: f(self.busy, other.busy),
            leader_changes: f(self.leader_changes, other.leader_changes),
            rounds: f(self.rounds, other.rounds),
            snapshots: f(self.snapshots, other.snapshots),
            restored: f(self.restored, other.restored),
            messages: f(self.messages, other.messages),
            message_bytes: f(self.message_bytes, other.message_bytes),
        }
    }
}

/// Batches that may wait for the window before clients hear "busy". Clients bound what they have in
/// flight, so a correct one does not get there.
const MAX_WAITING: usize = 1 << 17;

impl<P: Protocol, M: Machine> Node<P, M> {
    /// A replica that runs `protocol`, has no disk, and takes a snapshot only if the protocol asks for one.
    pub fn new(id: NodeId, protocol: P) -> Self {
        Self::with_storage(id, protocol, Storage::Immediate)
    }

    /// A replica that runs `protocol`, new or recovered.
    pub fn with_storage(id: NodeId, protocol: P, storage: Storage) -> Self {
        Self {
            inbox: Vec::new(),
            id,
            group: 0,
            protocol,
            machine: M::default(),
            sessions: Sessions::default(),
            admission: None,
            outbox: Outbox::default(),
            waiting: VecDeque::new(),
            reads: ReadQueue::default(),
            answers: Vec::new(),
            results: BytesMut::new(),
            transfer_to: None,
            change: None,
            storage,
            durable: None,
            snapshots: SnapshotPolicy::NEVER,
            wants_snapshot: false,
            since: LogSize::default(),
            delivered: Slot::ZERO,
            counted: Slot::ZERO,
            stats: NodeStats::default(),
            trace: None,
            mutant: Switch::default(),
        }
    }

    /// The same replica, of this consensus group, which its protocol was told too. Call it before anything else.
    #[must_use]
    pub fn in_group(self, group: u16) -> Self {
        Self { group, ..self }
    }

    /// The same replica, with this policy.
    #[must_use]
    pub fn with_snapshots(self, snapshots: SnapshotPolicy) -> Self {
        Self { snapshots, ..self }
    }

    /// The same replica, with a bug planted in it.
    #[must_use]
    pub(crate) fn with_mutant(self, mutant: Switch) -> Self {
        Self { mutant, ..self }
    }

    /// Counts no slot up to this one, which an earlier life of it was delivered.
    pub(crate) fn count_from(&mut self, slot: Slot) {
        self.counted = slot;
    }

    /// Takes all that has arrived, flushes, delivers, answers.
    pub fn turn(&mut self, now: Nanos) {
        let led_by = self.protocol.leader();
        self.stats.turns += 1;
        self.step_inbox(now);
        if let Some(lsn) = self.durable.take() {
            self.step(now, Input::Durable(lsn));
        }
        if let Some(target) = self.transfer_to.take() {
            self.step(now, Input::Transfer(target));
        }
        if let Some(change) = self.change.take() {
            self.outbox.refused.clear();
            self.step(now, Input::Reconfigure(change));
        }
        if now >= self.protocol.deadline() {
            self.step(now, Input::Timeout);
        }
        self.ask_reads(now);
        // Goes round again only when a flush made room for a batch that waits, or wrote a record:
        // with no disk behind it, a record is durable as soon as it is written.
        loop {
            self.admit(now);
            self.make_durable(now);
            self.protocol.flush(now, &mut self.outbox);
            self.deliver();
            self.snapshot(now);
            let admissible = !self.waiting.is_empty() && self.protocol.room() > 0;
            let settled = self.outbox.records.is_empty() || self.storage == Storage::Deferred;
            if settled && !admissible {
                break;
            }
        }
        self.count_messages();
        self.redirect_waiting();
        self.answer();
        self.answer_reads();
        self.stats.rounds = self.protocol.rounds();
        self.stats.leader_changes += u64::from(led_by != self.protocol.leader() && self.protocol.leader().is_some());
    }

    /// When to take the next turn if nothing arrives.
    pub fn deadline(&self) -> Nanos {
        self.protocol.deadline()
    }

    /// What the last turn wants sent. The transport empties it.
    pub fn transmits(&mut self) -> &mut Vec<Transmit> {
        &mut self.outbox.transmits
    }

    /// What the last turn wants made durable, in order. Whoever defers storage takes it away after
    /// each turn; otherwise there is never anything.
    pub fn records(&mut self) -> &mut Vec<Record> {
        &mut self.outbox.records
    }

    /// Where its journal may begin since the last turn that said so: nothing before that is needed any more.
    pub fn take_release(&mut self) -> Option<Lsn> {
        // Where nothing is written there is nothing to let go of.
        self.outbox.release.take().filter(|_| self.storage == Storage::Deferred)
    }

    /// Tells the protocol, in the next turn, that everything up to and with `lsn` is durable.
    pub fn durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(Some(lsn));
    }

    /// Asks the protocol, in the next turn, to hand leadership to `target`.
    pub fn transfer(&mut self, target: NodeId) {
        self.transfer_to = Some(target);
    }

    /// Asks the protocol, in the next turn, for other members.
    pub fn reconfigure(&mut self, change: Change) {
        self.change = Some(change);
    }

    /// Whether the last change that was asked for was refused, and why.
    pub fn refused(&self) -> Option<&Refusal> {
        self.outbox.refused.first()
    }

    /// Asks the state machine, in the next turn, for a snapshot, whatever the policy says. Does nothing if nothing was
    /// delivered since the last one.
    pub fn want_snapshot(&mut self) {
        self.wants_snapshot = self.since.slots > 0;
    }

    /// Whether it leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.protocol.leader() == Some(self.id)
    }

    /// Keeps a trace of every batch that it applies from now on.
    pub fn keep_trace(&mut self) {
        self.trace = Some(ReplicaTrace { group: self.group, ..ReplicaTrace::default() });
    }

    /// The trace so far, if one was kept.
    pub fn take_trace(&mut self) -> Option<ReplicaTrace> {
        self.trace.take()
    }

    /// What it has done so far.
    pub fn stats(&self) -> NodeStats {
        self.stats
    }

    /// The last slot that it was delivered.
    pub fn delivered(&self) -> Slot {
        self.delivered
    }

    /// The protocol, to look at.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The state machine, to look at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The protocol, for a wrapper that notes what passes through it.
    pub(crate) fn protocol_mut(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// The state machine, for one that notes what it is given.
    pub(crate) fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Forgets whom it has answered what. A bug, planted where there is a clock to forget by.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions = Sessions::default();
    }

    fn step(&mut self, now: Nanos, input: Input<'_>) {
        if self.protocol.step(now, input, &mut self.outbox).is_err() {
            self.stats.malformed += 1;
        }
    }

    fn step_inbox(&mut self, now: Nanos) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for frame in inbox.drain(..) {
            if frame.head.group != self.group {
                self.stats.malformed += 1;
            } else if frame.head.kind < Head::FIRST_FOREIGN_KIND {
                self.step(now, Input::Frame(&frame));
            } else {
                self.on_request(frame);
            }
        }
        self.inbox = inbox;
    }

    /// A client's batch: answered if it was applied before, otherwise put in line for the window.
    fn on_request(&mut self, frame: Frame) {
        let request = Request::read(&frame.head);
        let batch = match request {
            Some(Request::Submit | Request::Read { .. }) => {
                BatchHead::read(&frame.body).filter(|head| head.client == frame.head.from.0)
            }
            _ => None,
        };
        let Some(head) = batch else {
            self.stats.malformed += 1;
            return;
        };
        // Without a leader there is no order to keep: replicas propose what they are brought, each for itself.
        let head = if P::LEADERLESS { BatchHead { after: 0, ..head } } else { head };
        let (client, sequence) = (frame.head.from, head.sequence);
        if let Some(Request::Read { mode, .. }) = request {
            self.on_read(mode, sequence, frame);
            return;
        }
        if !self.leads() {
            self.say(client, Request::Redirect { sequence, leader: self.protocol.leader() });
            return;
        }
        let admission = self.admission.get_or_insert_default();
        match self.sessions.seen(&head) {
            Seen::New if self.waiting.len() + admission.early() >= MAX_WAITING => {
                self.stats.busy += 1;
                self.say(client, Request::Busy { sequence });
            }
            // Sent again while the first copy is still under way: that one will be answered. Queued, a slow
            // window would fill with copies faster than it drains.
            Seen::New if admission.has(&head) => {}
            Seen::New => {
                if let Some(missing) = admission.take(head, frame, &self.sessions, &mut self.waiting) {
                    self.say(client, Request::Redirect { sequence: missing, leader: Some(self.id) });
                }
            }
            Seen::Applied(results) => self.push_answer(client, sequence, results),
            Seen::Settled => {}
        }
    }

    fn admit(&mut self, now: Nanos) {
        while !self.waiting.is_empty() && self.protocol.room() > 0 {
            let Some(frame) = self.waiting.pop_front() else { return };
            self.step(now, Input::Submit(&frame.body));
        }
    }

    /// Without a disk, whatever was written is durable, and nothing is kept that
    /// [`Outbox::release`] could let go: a journal would be a second copy of the log.
    fn make_durable(&mut self, now: Nanos) {
        if self.storage == Storage::Deferred {
            return;
        }
        while let Some(last) = self.outbox.records.last() {
            let lsn = last.lsn;
            self.outbox.records.clear();
            self.step(now, Input::Durable(lsn));
        }
    }

    /// What this turn says to other replicas. Clients' answers do not count.
    fn count_messages(&mut self) {
        let own = self.outbox.transmits.iter().filter(|transmit| transmit.head.kind < Head::FIRST_FOREIGN_KIND);
        for Transmit { to, body, .. } in own {
            let messages = to.iter().count() as u64;
            self.stats.messages += messages;
            self.stats.message_bytes += messages * (Head::BYTES + body.len()) as u64;
        }
    }

    fn deliver(&mut self) {
        let leads = self.leads();
        let mut deliveries = std::mem::take(&mut self.outbox.deliveries);
        for delivery in deliveries.drain(..) {
            let before = std::mem::replace(&mut self.delivered, delivery.slot);
            self.since.slots += 1;
            match delivery.kind {
                DeliveryKind::Batch => self.deliver_batch(&delivery, leads),
                DeliveryKind::Noop | DeliveryKind::Config => {}
                DeliveryKind::Snapshot => self.restore(before, &delivery.body),
            }
        }
        self.outbox.deliveries = deliveries;
    }

    fn deliver_batch(&mut self, delivery: &Delivery, leads: bool) {
        let Some(head) = BatchHead::read(&delivery.body) else { return };
        self.since.bytes += delivery.body.len() as u64;
        if delivery.slot > self.counted {
            self.stats.slots += 1;
            self.stats.commands += u64::from(head.commands);
        }
        let results = self.apply(delivery.slot, &head, &delivery.body);
        if let Some(admission) = &mut self.admission {
            admission.on_applied(&head, &mut self.waiting);
        }
        if let (true, Some(results)) = (leads && self.answers_for(&head), results) {
            self.push_answer(NodeId(head.client), head.sequence, results);
        }
    }

    /// A leader answers for all that it delivers. Without one, whoever was brought a batch answers for it.
    fn answers_for(&self, head: &BatchHead) -> bool {
        !P::LEADERLESS || self.admission.as_ref().is_some_and(|admission| admission.has(head))
    }

    /// Applies a batch, at most once. `None` if its client waits for no answer.
    fn apply(&mut self, slot: Slot, head: &BatchHead, body: &Payload) -> Option<Bytes> {
        let seen = if self.mutant.is(Mutant::R12a) { Seen::New } else { self.sessions.seen(head) };
        match seen {
            Seen::New => {
                self.stats.applied += u64::from(head.commands);
                if let Some(trace) = &mut self.trace {
                    let &BatchHead { client, sequence, commands, .. } = head;
                    trace.applied.push(Applied { slot: slot.0, sequence, client, commands });
                }
                self.machine.apply(head, Commands::new(head, body), &mut self.results);
                let results = self.results.split().freeze();
                self.sessions.apply(head, results.clone());
                Some(results)
            }
            Seen::Applied(results) => {
                self.stats.duplicates += 1;
                Some(results)
            }
            Seen::Settled => {
                self.stats.duplicates += 1;
                None
            }
        }
    }

    /// Notes an answer, joined with the one before it if nothing stands between.
    fn push_answer(&mut self, client: NodeId, sequence: u64, results: Bytes) {
        let joins = |answer: &&mut Answer| {
            answer.client == client && answer.first + answer.batches == sequence && answer.results.is_empty()
        };
        match self.answers.last_mut().filter(joins) {
            Some(answer) if results.is_empty() => answer.batches += 1,
            _ => self.answers.push(Answer { client, first: sequence, batches: 1, results }),
        }
    }

    fn answer(&mut self) {
        for Answer { client, first, batches, results } in self.answers.drain(..) {
            let head = Request::Applied { first, batches, slot: self.delivered }.head(self.id);
            let head = Head { group: self.group, ..head };
            self.outbox.transmit(Recipients::One(client), head, results.into());
        }
    }

    /// Whoever does not lead can order nothing: the clients of what waits must go elsewhere.
    fn redirect_waiting(&mut self) {
        if self.leads() {
            return;
        }
        let early = self.admission.take().into_iter().flat_map(Admission::into_early);
        for frame in std::mem::take(&mut self.waiting).into_iter().chain(early) {
            self.redirect(&frame);
        }
    }

    /// Sends a batch's client elsewhere.
    fn redirect(&mut self, frame: &Frame) {
        let Some(head) = BatchHead::read(&frame.body) else { return };
        self.say(frame.head.from, Request::Redirect { sequence: head.sequence, leader: self.protocol.leader() });
    }

    fn say(&mut self, client: NodeId, request: Request) {
        let head = Head { group: self.group, ..request.head(self.id) };
        self.outbox.transmit(Recipients::One(client), head, Payload::EMPTY);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "floors are the smallest protocols to test with")]
mod tests;
