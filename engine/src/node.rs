//! One replica: a protocol, what it is applied to, and one turn of its loop.
//!
//! [`Node::turn`] is the same in the real driver and in a simulator: time comes in, frames come in
//! and go out, and there is no socket, thread or clock in here.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::{
    Delivery, DeliveryKind, Frame, Head, Input, Lsn, Nanos, NodeId, Outbox, Payload, Protocol, Recipients, Record,
    Slot, Transmit,
};

use crate::batch::{BatchHead, Commands};
use crate::check::witness::Applied;
use crate::machine::Machine;
use crate::request::Request;
use crate::session::{Seen, Sessions};

/// A replica. Fill [`inbox`](Self::inbox), call [`turn`](Self::turn), send
/// [`transmits`](Self::transmits); come back at [`deadline`](Self::deadline) at the latest.
#[derive(Debug)]
pub struct Node<P, M> {
    /// What has arrived since the last turn. A turn empties it.
    pub inbox: Vec<Frame>,
    id: NodeId,
    protocol: P,
    machine: M,
    sessions: Sessions,
    outbox: Outbox,
    /// Batches taken from clients and waiting for room in the window.
    waiting: VecDeque<Frame>,
    /// Scratch: answers of this turn, joined where they are in a row.
    answers: Vec<Answer>,
    results: BytesMut,
    /// A batch of operator's wishes: to hand leadership over.
    transfer_to: Option<NodeId>,
    storage: Storage,
    /// What the storage vouched for since the last turn.
    durable: Option<Lsn>,
    snapshots: SnapshotPolicy,
    /// What was delivered since the last snapshot, and up to where.
    since: SnapshotPolicy,
    delivered: Slot,
    stats: NodeStats,
    /// What it applies, if that is to be checked.
    trace: Option<Vec<Applied>>,
    /// The bug that is planted, if any.
    mutant: Switch,
}

/// How much is delivered between two snapshots: whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Slots.
    pub slots: u64,
    /// Bytes of batches.
    pub bytes: u64,
}

impl SnapshotPolicy {
    /// None but those that the protocol asks for.
    pub const NEVER: Self = Self { slots: u64::MAX, bytes: u64::MAX };
    const NOTHING: Self = Self { slots: 0, bytes: 0 };

    fn is_due(self, since: Self) -> bool {
        since.slots >= self.slots || since.bytes >= self.bytes
    }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Turns taken.
    pub turns: u64,
    /// Slots delivered that carry a batch.
    pub slots: u64,
    /// Commands in them, the ones applied before included.
    pub commands: u64,
    /// Commands applied to the state machine: each at most once.
    pub applied: u64,
    /// Batches that were delivered a second time and not applied again.
    pub duplicates: u64,
    /// Frames that no correct peer sends.
    pub malformed: u64,
    /// Batches refused because too many wait.
    pub busy: u64,
    /// How often the node saw leadership move to another node.
    pub leader_changes: u64,
    /// Snapshots taken of the state machine.
    pub snapshots: u64,
    /// Snapshots that the state machine was replaced by.
    pub restored: u64,
}

impl NodeStats {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            turns: self.turns - earlier.turns,
            slots: self.slots - earlier.slots,
            commands: self.commands - earlier.commands,
            applied: self.applied - earlier.applied,
            duplicates: self.duplicates - earlier.duplicates,
            malformed: self.malformed - earlier.malformed,
            busy: self.busy - earlier.busy,
            leader_changes: self.leader_changes - earlier.leader_changes,
            snapshots: self.snapshots - earlier.snapshots,
            restored: self.restored - earlier.restored,
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
            protocol,
            machine: M::default(),
            sessions: Sessions::default(),
            outbox: Outbox::default(),
            waiting: VecDeque::new(),
            answers: Vec::new(),
            results: BytesMut::new(),
            transfer_to: None,
            storage,
            durable: None,
            snapshots: SnapshotPolicy::NEVER,
            since: SnapshotPolicy::NOTHING,
            delivered: Slot::ZERO,
            stats: NodeStats::default(),
            trace: None,
            mutant: Switch::default(),
        }
    }

    /// A replica that was rebuilt from its records. Its state machine and sessions are empty: they
    /// are delivered anew, from the last snapshot on.
    pub fn recover(id: NodeId, protocol: P) -> Self {
        Self::new(id, protocol)
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
        if now >= self.protocol.deadline() {
            self.step(now, Input::Timeout);
        }
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
        self.redirect_waiting();
        self.answer();
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

    /// Tells the protocol, in the next turn, that everything up to and with `lsn` is durable.
    pub fn durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(Some(lsn));
    }

    /// Asks the protocol, in the next turn, to hand leadership to `target`.
    pub fn transfer(&mut self, target: NodeId) {
        self.transfer_to = Some(target);
    }

    /// Keeps a trace of every batch that it applies from now on.
    pub fn keep_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// The trace so far, if one was kept.
    pub fn take_trace(&mut self) -> Option<Vec<Applied>> {
        self.trace.take()
    }

    /// What it has done so far.
    pub fn stats(&self) -> NodeStats {
        self.stats
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

    fn leads(&self) -> bool {
        self.protocol.leader() == Some(self.id)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>) {
        if self.protocol.step(now, input, &mut self.outbox).is_err() {
            self.stats.malformed += 1;
        }
    }

    fn step_inbox(&mut self, now: Nanos) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for frame in inbox.drain(..) {
            if frame.head.kind < Head::FIRST_FOREIGN_KIND {
                self.step(now, Input::Frame(&frame));
            } else {
                self.on_request(frame);
            }
        }
        self.inbox = inbox;
    }

    /// A client's batch: answered if it was applied before, otherwise put in line for the window.
    fn on_request(&mut self, frame: Frame) {
        let batch = match Request::read(&frame.head) {
            Some(Request::Submit) => BatchHead::read(&frame.body).filter(|head| head.client == frame.head.from.0),
            _ => None,
        };
        let Some(head) = batch else {
            self.stats.malformed += 1;
            return;
        };
        let (client, sequence) = (frame.head.from, head.sequence);
        if !self.leads() {
            self.say(client, Request::Redirect { sequence, leader: self.protocol.leader() });
            return;
        }
        match self.sessions.seen(&head) {
            Seen::New if self.waiting.len() >= MAX_WAITING => {
                self.stats.busy += 1;
                self.say(client, Request::Busy { sequence });
            }
            Seen::New => self.waiting.push_back(frame),
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

    fn deliver(&mut self) {
        let leads = self.leads();
        let mut deliveries = std::mem::take(&mut self.outbox.deliveries);
        for delivery in deliveries.drain(..) {
            self.delivered = delivery.slot;
            self.since.slots += 1;
            match delivery.kind {
                DeliveryKind::Batch => self.deliver_batch(&delivery, leads),
                DeliveryKind::Noop | DeliveryKind::Config => {}
                DeliveryKind::Snapshot => self.restore(&delivery.body),
            }
        }
        self.outbox.deliveries = deliveries;
    }

    fn deliver_batch(&mut self, delivery: &Delivery, leads: bool) {
        let Some(head) = BatchHead::read(&delivery.body) else { return };
        self.since.bytes += delivery.body.len() as u64;
        self.stats.slots += 1;
        self.stats.commands += u64::from(head.commands);
        let results = self.apply(delivery.slot, &head, &delivery.body);
        if let (true, Some(results)) = (leads, results) {
            self.push_answer(NodeId(head.client), head.sequence, results);
        }
    }

    /// A snapshot of sessions and state machine, if the policy or the protocol wants one.
    fn snapshot(&mut self, now: Nanos) {
        if !self.snapshots.is_due(self.since) && !self.protocol.wants_snapshot() {
            return;
        }
        // Its size is what the last one's was, more or less; it is the driver's memory, not a pool's.
        let mut bytes = BytesMut::new();
        let lost = Sessions::default();
        let sessions = if self.mutant.is(Mutant::R12b) { &lost } else { &self.sessions };
        sessions.encode(&mut bytes);
        self.machine.snapshot(&mut bytes);
        self.since = SnapshotPolicy::NOTHING;
        self.stats.snapshots += 1;
        let body = Payload::from(bytes.freeze());
        self.step(now, Input::Snapshot { slot: self.delivered, body: &body });
    }

    /// Becomes what a snapshot holds.
    ///
    /// # Panics
    /// If it holds nothing that can be read. A replica that went on would answer from a state that
    /// none of the others has.
    fn restore(&mut self, body: &Payload) {
        let bytes = body.pieces().concat();
        let mut rest = &bytes[..];
        let sessions = Sessions::decode(&mut rest);
        assert!(sessions.is_some() && self.machine.restore(rest), "{}: a snapshot that cannot be read", self.id);
        self.sessions = sessions.unwrap_or_default();
        self.since = SnapshotPolicy::NOTHING;
        self.stats.restored += 1;
    }

    /// Applies a batch, at most once. `None` if its client waits for no answer.
    fn apply(&mut self, slot: Slot, head: &BatchHead, body: &Payload) -> Option<Bytes> {
        let seen = if self.mutant.is(Mutant::R12a) { Seen::New } else { self.sessions.seen(head) };
        match seen {
            Seen::New => {
                self.stats.applied += u64::from(head.commands);
                if let Some(trace) = &mut self.trace {
                    let &BatchHead { client, sequence, commands, .. } = head;
                    trace.push(Applied { slot: slot.0, sequence, client, commands });
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
            let head = Request::Applied { first, batches }.head(self.id);
            self.outbox.transmit(Recipients::One(client), head, results.into());
        }
    }

    /// Whoever does not lead can order nothing: the clients of what waits must go elsewhere.
    fn redirect_waiting(&mut self) {
        if self.leads() {
            return;
        }
        while let Some(frame) = self.waiting.pop_front() {
            if let Some(head) = BatchHead::read(&frame.body) {
                let redirect = Request::Redirect { sequence: head.sequence, leader: self.protocol.leader() };
                self.say(frame.head.from, redirect);
            }
        }
    }

    fn say(&mut self, client: NodeId, request: Request) {
        self.outbox.transmit(Recipients::One(client), request.head(self.id), Payload::EMPTY);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "floors are the smallest protocols to test with")]
mod tests {
    use super::*;
    use crate::batch::Writer;
    use crate::machine::Null;
    use quorumbench_protocols::Config;
    use quorumbench_protocols::floors::{Echo, Star};
    use quorumbench_protocols::raft::Raft;
    use quorumbench_protocols::raft::membership::Members;

    fn submit(client: u32, sequence: u64) -> Frame {
        let mut chunk = BytesMut::new();
        let mut writer = Writer::new(&mut chunk, BatchHead { client, sequence, ..BatchHead::default() });
        writer.command(|_| ());
        writer.command(|_| ());
        let body = Payload::from(writer.finish());
        let head = Head { body_len: body.len() as u32, ..Request::Submit.head(NodeId(client)) };
        Frame { head, body }
    }

    fn node<P: Protocol>(id: u32, window: usize) -> Node<P, Null> {
        let config = Config { window, ..Config::new(NodeId(id), 3) };
        Node::new(NodeId(id), P::new(&config, 1))
    }

    fn said(node: &mut Node<impl Protocol, Null>) -> Vec<(Recipients, Option<Request>)> {
        node.transmits().drain(..).map(|transmit| (transmit.to, Request::read(&transmit.head))).collect()
    }

    #[test]
    fn answers_in_a_row_are_one_answer_and_a_resent_batch_is_applied_once() {
        let mut node = node::<Echo>(0, 8);
        node.inbox = vec![submit(3, 0), submit(3, 1), submit(3, 1), submit(4, 0)];
        node.turn(Nanos(1));
        let applied =
            |client, first, batches| (Recipients::One(NodeId(client)), Some(Request::Applied { first, batches }));
        assert_eq!(said(&mut node), [applied(3, 0, 2), applied(3, 1, 1), applied(4, 0, 1)]);
        assert_eq!((node.machine().applied(), node.stats().duplicates), (6, 1));
        node.inbox = vec![submit(3, 0)];
        node.turn(Nanos(2));
        assert_eq!(said(&mut node), [applied(3, 0, 1)], "told again");
        assert_eq!(node.machine().applied(), 6);
    }

    #[test]
    fn what_the_window_has_no_room_for_waits() {
        let mut leader = node::<Star>(0, 2);
        for id in [1, 2] {
            let mut follower = node::<Star>(id, 2);
            follower.turn(Nanos(1));
            let greeting = follower.transmits().drain(..).map(|each| Frame { head: each.head, body: each.body });
            leader.inbox.extend(greeting);
        }
        leader.inbox.extend((0..5).map(|sequence| submit(3, sequence)));
        leader.turn(Nanos(1));
        assert_eq!((leader.transmits().len(), leader.waiting.len()), (2, 3));
    }

    #[test]
    fn a_replica_that_does_not_lead_says_who_does() {
        let mut follower = node::<Star>(1, 2);
        follower.inbox = vec![submit(3, 7)];
        follower.turn(Nanos(1));
        let redirect = Request::Redirect { sequence: 7, leader: Some(NodeId(0)) };
        assert!(said(&mut follower).contains(&(Recipients::One(NodeId(3)), Some(redirect))));
    }

    #[test]
    fn a_batch_in_another_clients_name_is_refused() {
        let mut node = node::<Echo>(0, 8);
        let mut forged = submit(3, 0);
        forged.head.from = NodeId(4);
        node.inbox = vec![forged];
        node.turn(Nanos(1));
        assert_eq!((node.transmits().len(), node.stats().malformed), (0, 1));
    }

    /// A cluster of one that leads.
    fn alone(policy: SnapshotPolicy) -> Node<Raft, Null> {
        let protocol = Raft::new(&Config { window: 8, ..Config::new(NodeId(0), 1) }, 1);
        let mut node = Node::new(NodeId(0), protocol).with_snapshots(policy);
        while node.protocol.room() == 0 {
            node.turn(node.deadline());
        }
        node
    }

    #[test]
    fn an_endless_run_keeps_little() {
        let mut node = alone(SnapshotPolicy { slots: 10, ..SnapshotPolicy::NEVER });
        for sequence in 0..1000 {
            node.inbox = vec![submit(3, sequence)];
            node.turn(node.deadline());
            let log = node.protocol.log();
            assert!(log.last().saturating_since(log.trimmed()) <= 10 + 8);
        }
        assert!(node.stats().snapshots >= 99, "{:?}", node.stats());
        assert_eq!(alone(SnapshotPolicy::NEVER).stats().snapshots, 0);
    }

    /// R12: sessions are part of the snapshot.
    #[test]
    fn what_was_applied_before_a_snapshot_is_not_applied_after_it() {
        let mut node = alone(SnapshotPolicy { slots: 1, ..SnapshotPolicy::NEVER });
        node.inbox = vec![submit(3, 0)];
        node.turn(node.deadline());
        let snapshot = node.protocol.snapshot().expect("one a slot").body.clone();
        let members = Members::BYTES;
        let mut other = alone(SnapshotPolicy::NEVER);
        other.restore(&snapshot.slice(members, snapshot.len() - members));
        assert_eq!((other.machine().applied(), other.stats().restored), (2, 1));
        other.inbox = vec![submit(3, 0), submit(3, 1)];
        other.turn(other.deadline());
        assert_eq!(other.machine().applied(), 4, "the second only");
    }

    #[test]
    #[should_panic(expected = "cannot be read")]
    fn a_broken_snapshot_stops_the_node() {
        alone(SnapshotPolicy::NEVER).restore(&Bytes::from_static(b"nothing of ours").into());
    }
}
