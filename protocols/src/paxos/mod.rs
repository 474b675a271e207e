//! Basic Paxos (Lamport, *Paxos Made Simple*, SIGACT News 2001), slot after slot.
//!
//! An endless row of independent instances of the protocol ("slots"), each decided from scratch by both
//! phases, one at a time: *prepare* and its promises, *accept* and its acceptances, then the others
//! learn. There is no leader. Every node proposes what clients bring to it, in its first undecided slot;
//! where another value is chosen it tries the next. It is here to measure what one decision costs, and what
//! competing proposers cost each other; section 3 of the paper then saves the first phase.
//!
//! The roles have the paper's names, and a file each: proposer, acceptor, learner. A node plays all
//! three. Because a learner remembers what is decided, an acceptor need remember one slot only; to a
//! request for an older one the answer is what was chosen, and one for a later one says that this node
//! is behind. Two rules hold everything together. *Nothing is promised or accepted before it is durable.*
//! *A ballot is durable before it is used*: a proposer's own acceptor hears of it first.
//!
//! What of a value that was accepted somewhere when its proposer died? Nobody can know whether it is chosen, so
//! whoever has accepted it and hears no more for a while proposes it again.

mod acceptor;
mod ballot;
mod learner;
pub mod message;
mod proposer;
mod snapshot;

use self::acceptor::{Acceptor, Answer};
pub use self::ballot::{Accepted, Ballot};
use self::learner::Learner;
use self::message::{Chosen, Message, PROMISED, Promise, Proposal, Refuse, SNAPSHOT};
use self::proposer::Proposer;
use crate::io::{Config, DeliveryKind, Input, Outbox, Protocol, ReadMode, Record, Refusal, Snapshot};
use crate::journal::Journal;
use crate::log::{LogSize, SlotLog};
use crate::mutant::{Mutant, Switch};
use crate::reads;
use crate::timer::ElectionTimer;
use crate::wire::{Frame, Head, Malformed, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

/// A node that runs basic Paxos, slot after slot.
///
/// Drive it as [`Protocol`] says. Any node takes batches, one at a time. The other getters are for tests,
/// checkers and metrics: they change nothing.
#[derive(Clone, Debug)]
pub struct Paxos {
    site: Site,
    proposer: Proposer,
    acceptor: Acceptor,
    learner: Learner,
    journal: Journal,
    /// When it loses patience with answers that do not come, or with somebody else's proposal.
    timer: ElectionTimer,
    /// It did, with that proposal.
    finishes: bool,
    heartbeat: u64,
    heartbeat_at: Nanos,
}

/// Who this node is, and who the others are.
#[derive(Clone, Debug)]
struct Site {
    id: NodeId,
    group: u16,
    voters: PeerSet,
    peers: PeerSet,
    mutant: Switch,
}

impl Site {
    fn head(&self, message: Message) -> Head {
        Head { group: self.group, from: self.id, ..message.head() }
    }

    fn send(&self, to: Recipients, message: Message, body: Payload, out: &mut Outbox) {
        if to != Recipients::Peers(PeerSet::EMPTY) {
            out.transmit(to, self.head(message), body);
        }
    }
}

impl Paxos {
    /// The slot that it takes part in: the first that it does not know to be decided.
    pub fn slot(&self) -> Slot {
        self.learner.next()
    }

    /// What its acceptor has promised in that slot; [`Ballot::ZERO`] for nothing.
    pub fn promised(&self) -> Ballot {
        self.acceptor.promised()
    }

    /// What its acceptor has accepted in that slot.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.acceptor.accepted()
    }

    /// The ballot that its proposer tries, if it tries one.
    pub fn proposes(&self) -> Option<Ballot> {
        self.proposer.ballot()
    }

    /// What it knows to be chosen and has not let go. An entry's stamp is the word of a ballot under which its
    /// value was chosen; the same value may be chosen under several, and nodes need not agree on which.
    pub fn log(&self) -> &SlotLog {
        &self.learner.log
    }

    /// It knows what is chosen up to here, durably.
    pub fn durable(&self) -> Slot {
        self.journal.slot()
    }

    /// The last snapshot that it took or was given.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.learner.snapshots.last()
    }

    fn on_frame(&mut self, now: Nanos, frame: &Frame, out: &mut Outbox) -> Result<(), Malformed> {
        let from = frame.head.from;
        let malformed = |what| Malformed { kind: frame.head.kind, what };
        if frame.head.group != self.site.group {
            return Err(malformed("another group's"));
        }
        if !self.site.peers.contains(from) {
            return Err(malformed("not from another node"));
        }
        let message = Message::read(frame)?;
        if message.answers().is_some_and(|id| id != self.site.id) {
            return Err(malformed("an answer to another node's ballot"));
        }
        match message {
            Message::Prepare(proposal) => {
                if self.is_at(from, proposal.slot, out) {
                    self.acceptor.on_prepare(&self.site, proposal, &mut self.journal, out);
                    self.give_way(now);
                }
            }
            Message::Accept(proposal) => {
                if self.is_at(from, proposal.slot, out) {
                    self.acceptor.on_accept(&self.site, proposal, &frame.body, &mut self.journal, out);
                    self.give_way(now);
                    self.timer.rearm(now);
                }
            }
            Message::Promise(promise) => self.on_promise(now, from, &promise, &frame.body, out),
            Message::Accepted(proposal) => self.on_accepted(from, proposal, out),
            Message::Refuse(Refuse { slot, ballot, promised }) => {
                if slot == self.slot() {
                    self.proposer.on_overtaken(now, ballot, promised);
                }
            }
            Message::Chosen(chosen) => self.on_chosen(from, &chosen, out),
            Message::Ask(slot) => self.learner.on_ask(&self.site, from, slot, out),
            Message::Learn(Proposal { slot, ballot }) => {
                if slot == self.slot() {
                    self.learn(ballot, &frame.body, out);
                }
            }
            Message::Chunk(chunk) => {
                if self.learner.on_chunk(&self.site, from, &chunk, &frame.body, &mut self.journal, out) {
                    self.next_slot(None);
                }
            }
            Message::Received { slot, offset } => {
                self.learner.on_received(from, slot, offset).map_err(malformed)?;
            }
        }
        Ok(())
    }

    /// Whether `slot` is the one that this node takes part in. Otherwise it, or who asks, has missed something.
    fn is_at(&mut self, from: NodeId, slot: Slot, out: &mut Outbox) -> bool {
        if slot < self.slot() {
            self.site.send(Recipients::One(from), self.learner.standing(&self.journal), Payload::EMPTY, out);
        } else if slot > self.slot() {
            self.learner.hear(from, slot - 1);
        }
        slot == self.slot()
    }

    /// This node's acceptor may have promised more than its proposer asks for.
    fn give_way(&mut self, now: Nanos) {
        let promised = self.acceptor.promised();
        if let Some(ballot) = self.proposer.ballot().filter(|&ballot| ballot < promised) {
            self.proposer.on_overtaken(now, ballot, promised);
        }
    }

    fn on_promise(&mut self, now: Nanos, from: NodeId, promise: &Promise, body: &Payload, out: &mut Outbox) {
        let &Promise { slot, ballot, accepted } = promise;
        if slot != self.slot() {
            return;
        }
        let accepted = accepted.map(|ballot| Accepted { ballot, kind: DeliveryKind::Batch, body: body.clone() });
        if let Some((ballot, value)) = self.proposer.on_promise(from, ballot, accepted, self.site.voters) {
            let proposal = Proposal { slot, ballot };
            self.site.send(Recipients::Peers(self.site.peers), Message::Accept(proposal), value.clone(), out);
            self.acceptor.on_accept(&self.site, proposal, &value, &mut self.journal, out);
            self.timer.rearm(now);
        }
    }

    fn on_accepted(&mut self, from: NodeId, Proposal { slot, ballot }: Proposal, out: &mut Outbox) {
        if slot != self.slot() {
            return;
        }
        if let Some(value) = self.proposer.on_accepted(from, ballot, self.site.voters) {
            self.learn(ballot, &value, out);
            let standing = self.learner.standing(&self.journal);
            self.site.send(Recipients::Peers(self.site.peers), standing, Payload::EMPTY, out);
        }
    }

    fn on_chosen(&mut self, from: NodeId, chosen: &Chosen, out: &mut Outbox) {
        let accepted = self.acceptor.accepted().filter(|accepted| accepted.ballot == chosen.ballot);
        if chosen.slot == self.slot()
            && let Some(body) = accepted.map(|accepted| accepted.body.clone())
        {
            self.learn(chosen.ballot, &body, out);
        }
        self.learner.on_standing(from, chosen);
        if chosen.slot < self.learner.log.last() {
            self.learner.answer(&self.site, &self.journal, from, out);
        }
    }

    fn learn(&mut self, ballot: Ballot, body: &Payload, out: &mut Outbox) {
        self.learner.learn(&self.site, ballot, body, self.acceptor.accepted(), &mut self.journal, out);
        self.next_slot(Some(body));
    }

    fn next_slot(&mut self, decided: Option<&Payload>) {
        self.acceptor.on_decided();
        self.proposer.on_decided(decided);
        self.finishes = false;
    }

    fn on_timeout(&mut self, now: Nanos, out: &mut Outbox) {
        if now >= self.heartbeat_at {
            // The first timeout only says what time it is.
            if std::mem::replace(&mut self.heartbeat_at, now.later(self.heartbeat)) > Nanos::ZERO {
                self.learner.on_heartbeat(&self.site, &self.journal, out);
            }
        }
        if self.is_waiting() && now >= self.timer.at() {
            if self.timer.is_armed() {
                self.proposer.give_up();
                self.finishes = self.acceptor.accepted().is_some();
            }
            self.timer.rearm(now);
        }
    }

    /// Whether something has begun in this slot that must come to an end.
    fn is_waiting(&self) -> bool {
        self.proposer.is_busy() || self.acceptor.accepted().is_some()
    }

    fn begin(&mut self, now: Nanos, out: &mut Outbox) {
        if self.proposer.is_busy() || !(self.finishes || now >= self.proposer.begins_at()) {
            return;
        }
        self.finishes = false;
        self.timer.rearm(now);
        let ballot = self.proposer.begin(self.site.id, self.acceptor.promised());
        let proposal = Proposal { slot: self.slot(), ballot };
        self.acceptor.on_prepare(&self.site, proposal, &mut self.journal, out);
        if self.site.mutant.is(Mutant::P3) {
            self.answer_all(now, out);
        }
    }

    fn answer_all(&mut self, now: Nanos, out: &mut Outbox) {
        while let Some(answer) = self.acceptor.next_answer(&self.site, &self.journal) {
            self.answer(now, answer, out);
        }
    }

    /// An acceptor's answer is durable: it goes out, or to this node's own proposer, which may now use its ballot.
    fn answer(&mut self, now: Nanos, answer: Answer, out: &mut Outbox) {
        let Answer { to, message, body, .. } = answer;
        if to != self.site.id {
            self.site.send(Recipients::One(to), message, body, out);
            return;
        }
        match message {
            Message::Promise(promise) if self.proposer.ballot() == Some(promise.ballot) => {
                let prepare = Message::Prepare(Proposal { slot: promise.slot, ballot: promise.ballot });
                self.site.send(Recipients::Peers(self.site.peers), prepare, Payload::EMPTY, out);
                self.on_promise(now, to, &promise, &body, out);
            }
            Message::Accepted(proposal) => self.on_accepted(to, proposal, out),
            _ => {}
        }
    }

    #[cold]
    fn take_snapshot(&mut self, slot: Slot, body: &Payload, out: &mut Outbox) {
        let taken = self.learner.take_snapshot(&self.site, slot, body, &mut self.journal, out);
        if let Some((from, snapshot)) = taken {
            self.acceptor.record_again(&self.site, self.slot(), &mut self.journal, out);
            self.learner.snapshots.take(snapshot, from, self.journal.last());
        }
    }

    /// Takes a record of this node's own journal back, after those before it. What was recorded again behind
    /// a snapshot changes nothing.
    fn replay(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Malformed { kind: record.head.kind, what };
        self.journal.continues(record, SNAPSHOT)?;
        let [slot, ballot, ..] = record.head.words;
        match record.head.kind {
            SNAPSHOT => {
                let news = self.learner.replay_snapshot(Slot(slot), ballot, &record.body);
                if news.ok_or(malformed("no snapshot"))? {
                    self.next_slot(None);
                }
            }
            PROMISED if Slot(slot) == self.slot() => {
                self.acceptor.replay_promise(Ballot::read(ballot).ok_or(malformed("no promise"))?);
            }
            PROMISED => return Err(malformed("a slot out of order")),
            _ => self.replay_message(record)?,
        }
        self.journal.replay(record.lsn, self.learner.log.last());
        Ok(())
    }

    fn replay_message(&mut self, record: &Record) -> Result<(), Malformed> {
        let malformed = |what| Malformed { kind: record.head.kind, what };
        let frame = Frame { head: record.head, body: record.body.clone() };
        let next = self.slot();
        let (ballot, body) = match Message::read(&frame)? {
            Message::Accept(Proposal { slot, ballot }) if slot == next => {
                self.acceptor.replay_accepted(ballot, &frame.body);
                return Ok(());
            }
            Message::Learn(Proposal { slot, ballot }) if slot == next => (ballot, frame.body),
            Message::Learn(Proposal { slot, .. }) if slot < next && slot > self.learner.log.trimmed() => return Ok(()),
            Message::Chosen(Chosen { slot, ballot, .. }) if slot == next => {
                let accepted = self.acceptor.accepted().filter(|accepted| accepted.ballot == ballot);
                (ballot, accepted.ok_or(malformed("chosen, and never accepted"))?.body.clone())
            }
            Message::Accept(_) | Message::Learn(_) | Message::Chosen(_) => {
                return Err(malformed("a slot out of order"));
            }
            _ => return Err(malformed("no record of Paxos")),
        };
        self.learner.append(ballot, &body);
        self.next_slot(Some(&body));
        Ok(())
    }
}

impl Protocol for Paxos {
    const LEADERLESS: bool = true;
    const SNAPSHOT_RECORD: Option<u8> = Some(SNAPSHOT);

    fn new(config: &Config, seed: u64) -> Self {
        Self {
            site: Site {
                id: config.id,
                group: config.group,
                voters: config.voters,
                peers: config.peers(),
                mutant: config.mutant,
            },
            proposer: Proposer::new(config, seed),
            acceptor: Acceptor::default(),
            learner: Learner::new(config),
            journal: Journal::new(config.mutant),
            timer: ElectionTimer::new(config.election_timeout, seed),
            finishes: false,
            heartbeat: config.heartbeat.0.max(1),
            heartbeat_at: Nanos::ZERO,
        }
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        let mut paxos = Self::new(config, seed);
        records.iter().try_for_each(|record| paxos.replay(record))?;
        paxos.acceptor.forget(config.mutant);
        Ok(paxos)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        match input {
            Input::Frame(frame) => return self.on_frame(now, frame, out),
            Input::Submit(value) => self.proposer.submit(value),
            Input::Durable(lsn) => self.journal.on_durable(lsn),
            Input::Timeout => self.on_timeout(now, out),
            Input::Snapshot { slot, body } => self.take_snapshot(slot, body, out),
            // Without a leader only a slot of its own tells what was chosen before a read.
            Input::Read { id, mode: ReadMode::Stale } => reads::serve(id, self.learner.delivered, out),
            Input::Read { id, .. } => reads::refuse(id, out),
            Input::Reconfigure(change) => out.refused.push(Refusal { change, why: "the members are fixed" }),
            Input::Transfer(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        self.answer_all(now, out);
        self.begin(now, out);
        self.learner.flush(&self.site, now, &self.journal, out);
    }

    fn deadline(&self) -> Nanos {
        let patience = if self.is_waiting() { self.timer.at() } else { Nanos::NEVER };
        self.heartbeat_at.min(self.proposer.begins_at()).min(patience)
    }

    fn room(&self) -> usize {
        usize::from(self.proposer.has_room())
    }

    /// This node: any proposes.
    fn leader(&self) -> Option<NodeId> {
        Some(self.site.id)
    }

    fn wants_snapshot(&self) -> bool {
        self.learner.wants_snapshot()
    }

    fn kept(&self) -> LogSize {
        self.learner.log.size()
    }

    fn rounds(&self) -> u64 {
        self.proposer.rounds()
    }
}
