//! Multi-Paxos (Lamport, *Paxos Made Simple*, 2001, section 3; Chandra, Griesemer & Redstone, *Paxos Made Live*, PODC
//! 2007; Van Renesse & Altinbuken, *Paxos Made Moderately Complex*, ACM Computing Surveys 2015: "PMMC").
//!
//! An instance of Paxos for each slot, and one leader for all of them. It goes through phase 1 once, for every slot that
//! will ever be, and then through phase 2 for as many slots at once as the window allows. **Slots are decided in
//! any order and delivered in theirs**: an acceptor accepts what comes, whether or not it has what goes before.
//! A new leader asks a quorum what it has accepted, proposes that again under its own ballot, for each slot
//! the value of the highest ballot, and fills the holes with no-ops. Quorums need not be majorities
//! (Howard, Malkhi & Spiegelman, *Flexible Paxos*, OPODIS 2016).
//!
//! Three rules hold everything together. *Nothing is promised or accepted before it is durable*: phase 1b and 2b wait
//! for [`Input::Durable`], and a leader counts itself no sooner than others. *An acceptance counts for its ballot
//! alone.* *A node believes that a slot is decided, and with what, only from a leader under whose ballot it
//! accepted, or from a node that gives it the value.*
//!
//! The roles are in `scout` (phase 1), `leader` and `commander` (phase 2), `acceptor`, `learner` and `teacher` (who
//! missed something), and `election` (who may, and when); what a node has in every role in `replica`, and
//! what it has after a crash in `recovery`.

mod acceptor;
mod commander;
mod election;
mod leader;
mod learner;
pub mod message;
mod recovery;
mod replica;
mod scout;
mod teacher;

use self::leader::Leader;
use self::message::{Accept, Decided, Message};
use self::replica::Replica;
use self::scout::Scout;
use crate::io::{Config, Input, Outbox, Protocol, Record, Refusal, Snapshot};
use crate::log::{LogSize, SlotLog};
use crate::paxos::{Accepted, Ballot};
use crate::reads::Reads;
use crate::wire::{Frame, Malformed, Nanos, NodeId, Recipients, Slot};

/// A node of a Multi-Paxos cluster.
///
/// Drive it as [`Protocol`] says. Submit to the node whose [`room`](Protocol::room) is above zero;
/// [`leader`](Protocol::leader) is a hint where that is. The other getters are for tests, checkers and metrics: they
/// change nothing, and nothing in the protocol's world reads them.
#[derive(Clone, Debug)]
pub struct MultiPaxos {
    replica: Replica,
    state: State,
    reads: Reads,
    /// It was rebuilt and has not been stepped since: it does not know what time it is.
    recovered: bool,
}

#[derive(Clone, Debug)]
enum State {
    Follower(Follower),
    Scout(Box<Scout>),
    Leader(Box<Leader>),
}

/// Accepts and learns, and does nothing on its own behalf.
#[derive(Clone, Debug)]
struct Follower {
    /// The leader of the ballot promised, once it is heard.
    leader: Option<NodeId>,
    /// When it was last heard from.
    heard_at: Nanos,
    /// The latest of its questions.
    round: u64,
    /// It is owed an answer, even if there is nothing new to say.
    answer_due: bool,
}

impl Follower {
    fn new(leader: Option<NodeId>, now: Nanos) -> Self {
        Self { leader, heard_at: now, round: 0, answer_due: false }
    }

    /// Whether an election would disturb a leader that is alive: it was heard from within the shortest time after
    /// which anyone may prepare.
    fn hears_leader(&self, now: Nanos, replica: &Replica) -> bool {
        self.leader.is_some() && now.saturating_since(self.heard_at) < replica.timer.shortest()
    }

    /// One acknowledgement, however many slots came: one for each run of slots, which is one unless frames were lost. It
    /// waits for the ballot to be durable: a node must not follow a leader whom it could forget.
    fn flush(&mut self, replica: &mut Replica, out: &mut Outbox) {
        replica.learn_accepted();
        let Some(leader) = self.leader else { return };
        let (round, to) = (self.round, Recipients::One(leader));
        let mut answered = false;
        replica.acknowledge(|replica, first, last| {
            answered = true;
            replica.send(to, replica.vote(first, last, round), out);
        });
        if answered {
            self.answer_due = false;
        } else if self.answer_due && replica.journal.holds_hard_state() {
            self.answer_due = false;
            replica.send(to, replica.vote(Slot::ZERO, Slot::ZERO, round), out);
        }
        if replica.log.last() < replica.heard() {
            replica.ask(leader, out);
        }
    }
}

/// What a node does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Is in phase 1.
    Candidate,
    /// Leads.
    Leader,
}

impl MultiPaxos {
    /// The highest ballot that this node has promised.
    pub fn promised(&self) -> Ballot {
        self.replica.promised
    }

    /// What it does at the moment.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Follower(_) => Role::Follower,
            State::Scout(_) => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// What it knows to be decided, without gaps, and has not let go.
    pub fn log(&self) -> &SlotLog {
        &self.replica.log
    }

    /// What it has accepted beyond that, in ascending slots.
    pub fn accepted(&self) -> impl Iterator<Item = (Slot, &Accepted)> {
        self.replica.acceptor.iter()
    }

    /// Everything up to here is decided, and would be known to be after a crash.
    pub fn durable(&self) -> Slot {
        self.replica.journal.slot()
    }

    /// The last snapshot that it took or was given.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.replica.snapshots.last()
    }

    fn on_frame(&mut self, now: Nanos, frame: &Frame, out: &mut Outbox) -> Result<(), Malformed> {
        let from = frame.head.from;
        let malformed = |what| Malformed { kind: frame.head.kind, what };
        if frame.head.group != self.replica.group {
            return Err(malformed("another group's"));
        }
        if !self.replica.peers.contains(from) {
            return Err(malformed("not from another node"));
        }
        match Message::read(frame)? {
            Message::Accept(accept) => self.on_accept(now, &accept, frame, out),
            Message::Accepted(votes) => {
                if let State::Leader(leader) = &mut self.state {
                    leader.on_votes(&self.replica, now, from, &votes).map_err(malformed)?;
                }
            }
            Message::Decided(decided) => self.on_decided(now, &decided, out),
            Message::Prepare(prepare) => self.on_prepare(now, &prepare, out),
            Message::Report(report) => {
                if let State::Scout(scout) = &mut self.state {
                    scout.on_report(&self.replica, from, &report, &frame.body);
                }
            }
            Message::Promise(promise) => {
                if let State::Scout(scout) = &mut self.state {
                    scout.on_promise(&mut self.replica, from, &promise);
                }
            }
            Message::Preempted { ballot, led } => {
                self.replica.seen = self.replica.seen.max(ballot);
                self.on_preempted(now, ballot, led, out);
            }
            Message::Learn { from: first } => self.replica.on_learn(now, from, first, out),
            // A leader has what is decided, and proposes the rest itself.
            Message::Learned(learned) => {
                if self.role() != Role::Leader {
                    self.replica.on_learned(&learned, &frame.body, out);
                }
            }
            Message::Chunk(chunk) => {
                if self.role() != Role::Leader {
                    self.replica.on_chunk(from, &chunk, frame, out);
                }
            }
            Message::Received { slot, offset } => {
                self.replica.on_received(now, from, slot, offset).map_err(malformed)?;
            }
            Message::Yield { ballot } => self.on_yield(now, ballot, out),
        }
        Ok(())
    }

    fn on_accept(&mut self, now: Nanos, accept: &Accept, frame: &Frame, out: &mut Outbox) {
        if self.follow(now, accept.ballot, out).is_some() {
            self.replica.on_accept(accept, &frame.body, out);
            self.replica.hear(accept.decided, accept.trim);
        }
    }

    fn on_decided(&mut self, now: Nanos, decided: &Decided, out: &mut Outbox) {
        let Some(follower) = self.follow(now, decided.ballot, out) else { return };
        if decided.round > 0 {
            follower.round = follower.round.max(decided.round);
            follower.answer_due = true;
            self.replica.lose_patience();
        }
        self.replica.hear(decided.decided, decided.trim);
    }

    /// Follows the leader of `ballot`, which is heard from now; `None` if that ballot is over. Accepting raises what is
    /// promised (*Paxos Made Simple*, section 2.2: P1a holds for every ballot that this node took part in).
    fn follow(&mut self, now: Nanos, ballot: Ballot, out: &mut Outbox) -> Option<&mut Follower> {
        if ballot < self.replica.promised {
            self.replica.preempt_due = self.replica.preempt_due.with(ballot.node);
            return None;
        }
        let known = matches!(&self.state, State::Follower(follower) if follower.leader == Some(ballot.node));
        if ballot > self.replica.promised {
            self.replica.promise(ballot, out);
            self.replica.seen = self.replica.seen.max(ballot);
            self.state = State::Follower(Follower::new(Some(ballot.node), now));
        } else if !known {
            self.replica.promise_due = None;
            self.state = State::Follower(Follower::new(Some(ballot.node), now));
        }
        self.replica.timer.rearm(now);
        let State::Follower(follower) = &mut self.state else { unreachable!("it is one, or was made one just now") };
        follower.heard_at = now;
        Some(follower)
    }

    /// Follows nobody, with new patience.
    fn become_follower(&mut self, now: Nanos) {
        self.replica.timer.rearm(now);
        self.state = State::Follower(Follower::new(None, now));
    }

    fn on_timeout(&mut self, now: Nanos, out: &mut Outbox) {
        match &mut self.state {
            State::Leader(leader) => {
                if !leader.on_timeout(&self.replica, now) {
                    self.become_follower(now);
                }
            }
            State::Scout(scout) => scout.on_timeout(&mut self.replica, now),
            State::Follower(_) if now < self.replica.timer.at() => {}
            State::Follower(_) if !self.replica.timer.is_armed() || !self.replica.votes() => {
                self.replica.await_leader(now);
            }
            State::Follower(_) => self.campaign(now, false, out),
        }
    }
}

impl Protocol for MultiPaxos {
    const SNAPSHOT_RECORD: Option<u8> = Some(message::SNAPSHOT);

    fn new(config: &Config, seed: u64) -> Self {
        Self {
            replica: Replica::new(config, seed),
            state: State::Follower(Follower::new(None, Nanos::ZERO)),
            reads: Reads::default(),
            recovered: false,
        }
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        let mut paxos = Self::new(config, seed);
        records.iter().try_for_each(|record| paxos.replica.replay(record))?;
        paxos.recovered = true;
        paxos.replica.timer.forget_first();
        Ok(paxos)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        if std::mem::take(&mut self.recovered) {
            self.replica.quiet_until = now.later(self.replica.timer.shortest());
        }
        match (input, &mut self.state) {
            (Input::Frame(frame), _) => return self.on_frame(now, frame, out),
            (Input::Submit(body), State::Leader(leader)) => leader.on_submit(&mut self.replica, body, out),
            (Input::Durable(lsn), _) => self.replica.journal.on_durable(lsn),
            (Input::Timeout, _) => self.on_timeout(now, out),
            (Input::Read { id, mode }, state) => {
                let leads = matches!(state, State::Leader(_)).then_some(self.replica.promised.word());
                self.reads.take(id, mode, self.replica.delivered, leads, out);
            }
            (Input::Snapshot { slot, body }, _) => self.replica.take_snapshot(slot, body, out),
            (Input::Reconfigure(change), _) => {
                out.refused.push(Refusal { change, why: "the members of Multi-Paxos are fixed" });
            }
            (Input::Transfer(target), State::Leader(leader)) => leader.on_transfer(&self.replica, now, target),
            (Input::Submit(_) | Input::Transfer(_), _) => {}
        }
        Ok(())
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        self.flush_scout(now, out);
        if let State::Leader(leader) = &mut self.state {
            leader.flush(&mut self.replica, &mut self.reads, now, out);
        } else {
            if !self.reads.is_empty() {
                self.reads.refuse_all(out);
            }
            if let State::Follower(follower) = &mut self.state {
                follower.flush(&mut self.replica, out);
            }
        }
        self.replica.answer_chunks(out);
        let led = !self.replica.preempt_due.is_empty() && self.is_led(now);
        self.replica.flush(now, led, out);
    }

    fn deadline(&self) -> Nanos {
        match &self.state {
            State::Follower(_) => self.replica.timer.at(),
            State::Scout(scout) => scout.retry_at(),
            State::Leader(leader) => leader.deadline(),
        }
    }

    fn room(&self) -> usize {
        if let State::Leader(leader) = &self.state { leader.room(&self.replica) } else { 0 }
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Follower(follower) => follower.leader,
            State::Scout(_) => None,
            State::Leader(_) => Some(self.replica.id),
        }
    }

    fn wants_snapshot(&self) -> bool {
        self.replica.wants_snapshot()
    }

    fn kept(&self) -> LogSize {
        self.replica.log.size()
    }
}
