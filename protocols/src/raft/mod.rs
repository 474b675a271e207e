//! Raft (Ongaro & Ousterhout, *In Search of an Understandable Consensus Algorithm*, USENIX ATC 2014;
//! "paper" here; Ongaro, *Consensus: Bridging Theory and Practice*, Stanford 2014: "thesis").
//!
//! Elections with pre-vote and check-quorum, replication in a window, repair with hints, leadership
//! transfer; changes of membership, one node at a time or by way of a joint configuration; snapshots,
//! which let go of the log's beginning and bring up a follower that needs it; reads by index and by
//! lease; recovery from the records. A slot is a batch, so an append carries exactly one entry.
//!
//! Two rules hold everything together. *Nothing is promised before it is durable*: a vote and an
//! acknowledgement wait for [`Input::Durable`], and a leader counts itself no sooner than others.
//! *Nothing is assumed of a log's end*: a follower acknowledges and commits only what it saw match
//! its leader's log in this very term.
//!
//! The roles are in `leader` (and `reconfigure`), `follower` and `election`; what a node has in every
//! role in `replica`, what a leader knows of each follower in `progress`; and `snapshot` and
//! [`membership`] are what their names say.

mod election;
mod follower;
mod leader;
pub mod membership;
pub mod message;
mod progress;
mod reconfigure;
mod replica;
mod snapshot;

use self::election::{Campaign, Stage};
use self::follower::{Follower, contradicts};
use self::leader::Leader;
use self::membership::Members;
use self::message::{Append, Chunk, Message, Probe};
use self::replica::Replica;
use crate::io::{Config, Input, Outbox, Protocol, Record, Refusal, Snapshot};
use crate::log::{LogSize, SlotLog};
use crate::mutant::Mutant;
use crate::reads::Reads;
use crate::wire::{Frame, Malformed, Nanos, NodeId, PeerSet, Recipients, Slot};

/// A node of a Raft cluster.
///
/// Drive it as [`Protocol`] says. Submit to the node whose [`room`](Protocol::room) is above zero;
/// [`leader`](Protocol::leader) is a hint where that is. The other getters are for tests, checkers
/// and metrics: they change nothing, and nothing in the protocol's world reads them.
#[derive(Clone, Debug)]
pub struct Raft {
    replica: Replica,
    state: State,
    reads: Reads,
    /// It was rebuilt and has not been stepped since: it does not know what time it is.
    recovered: bool,
}

#[derive(Clone, Debug)]
enum State {
    Follower(Follower),
    Campaign(Campaign),
    Leader(Leader),
}

/// What a node does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether a campaign could succeed.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

impl Raft {
    /// The latest term that this node knows of.
    pub fn term(&self) -> u64 {
        self.replica.term
    }

    /// The candidate that has this node's vote in this term.
    pub fn voted_for(&self) -> Option<NodeId> {
        self.replica.voted_for
    }

    /// What it does at the moment.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Follower(_) => Role::Follower,
            State::Campaign(campaign) if campaign.stage == Stage::PreVote => Role::PreCandidate,
            State::Campaign(_) => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// Everything up to here is known to be committed.
    pub fn committed(&self) -> Slot {
        self.replica.committed
    }

    /// Everything up to here is durable on this node.
    pub fn durable(&self) -> Slot {
        self.replica.journal.slot()
    }

    /// What it has written down and not let go.
    pub fn log(&self) -> &SlotLog {
        &self.replica.log
    }

    /// The membership that it goes by: the last one in its log, committed or not.
    pub fn members(&self) -> Members {
        self.replica.members
    }

    /// The slot that this membership stands in, or that a snapshot reaches to which told of it; zero for the one that
    /// the node was made with.
    pub fn members_slot(&self) -> Slot {
        self.replica.memberships.slot()
    }

    /// The last snapshot that it took or was given; its body begins with the membership.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.replica.snapshots.last()
    }

    fn on_frame(&mut self, now: Nanos, frame: &Frame, out: &mut Outbox) -> Result<(), Malformed> {
        let from = frame.head.from;
        let malformed = |what| Malformed { kind: frame.head.kind, what };
        if frame.head.group != self.replica.group {
            return Err(malformed("another group's"));
        }
        // Who is no member as far as this node knows may be one by now, and even lead (thesis, section 4.1).
        if from == self.replica.id || from.0 as usize >= PeerSet::CAPACITY {
            return Err(malformed("not from another node"));
        }
        let message = Message::read(frame)?;
        let ours = message.term() == self.replica.term && self.replica.peers.contains(from);
        if message.is_request() && message.term() < self.replica.term {
            self.answer_stale(from, out);
            return Ok(());
        }
        match message {
            Message::Append(append) => self.on_append(now, &append, frame, out).map_err(malformed)?,
            Message::Probe(probe) => self.on_probe(now, from, &probe, out).map_err(malformed)?,
            Message::Accept(accept) => {
                if let Some(leader) = self.state.leads(ours) {
                    leader.on_accept(&self.replica, now, from, &accept).map_err(malformed)?;
                }
            }
            Message::Reject(reject) => {
                if let Some(leader) = self.state.leads(ours) {
                    leader.on_reject(&self.replica, now, from, &reject).map_err(malformed)?;
                }
            }
            Message::Chunk(chunk) => self.on_chunk(now, &chunk, frame, out).map_err(malformed)?,
            Message::Received(received) => {
                if let Some(leader) = self.state.leads(ours) {
                    leader.on_received(now, from, &received).map_err(malformed)?;
                }
            }
            Message::PreVote(candidacy) => self.on_pre_vote(now, from, &candidacy, out),
            Message::Vote(candidacy) => self.on_vote(now, from, &candidacy, out),
            Message::PreGrant { term } => self.on_pre_grant(now, from, term, out),
            Message::Grant { term } => self.on_grant(now, from, term, out),
            Message::TimeoutNow { term } => self.on_timeout_now(now, from, term, out),
            Message::Stale { term } => self.on_stale(now, term, out),
        }
        Ok(())
    }

    fn on_append(&mut self, now: Nanos, append: &Append, frame: &Frame, out: &mut Outbox) -> Result<(), &'static str> {
        let settled = self.may_follow(append.term, frame.head.from)?;
        if contradicts(&self.replica, settled, append.slot, append.entry_term)
            || contradicts(&self.replica, settled, append.slot - 1, append.prev_term)
        {
            return Err("overwrites a settled slot");
        }
        let (follower, replica) = self.follow(now, append.term, frame.head.from, out);
        follower.on_append(replica, append, frame, out);
        Ok(())
    }

    fn on_probe(&mut self, now: Nanos, from: NodeId, probe: &Probe, out: &mut Outbox) -> Result<(), &'static str> {
        let settled = self.may_follow(probe.term, from)?;
        if contradicts(&self.replica, settled, probe.prev, probe.prev_term) {
            return Err("contradicts a settled slot");
        }
        let (follower, replica) = self.follow(now, probe.term, from, out);
        follower.on_probe(replica, probe);
        Ok(())
    }

    #[cold]
    fn on_chunk(&mut self, now: Nanos, chunk: &Chunk, frame: &Frame, out: &mut Outbox) -> Result<(), &'static str> {
        let settled = self.may_follow(chunk.term, frame.head.from)?;
        if contradicts(&self.replica, settled, chunk.slot, chunk.stamp) {
            return Err("contradicts a settled slot");
        }
        let (follower, replica) = self.follow(now, chunk.term, frame.head.from, out);
        follower.on_chunk(replica, chunk, frame, out);
        Ok(())
    }

    /// Whether `from` can be the leader of `term` at all, and up to which slot its log is then known
    /// to be this node's.
    fn may_follow(&self, term: u64, from: NodeId) -> Result<Slot, &'static str> {
        if term > self.replica.term {
            return Ok(self.replica.committed);
        }
        match &self.state {
            State::Leader(_) => Err("a second leader in this node's term"),
            State::Follower(follower) if follower.leader.is_some_and(|leader| leader != from) => {
                Err("a second leader in its term")
            }
            State::Follower(follower) => Ok(follower.matched()),
            State::Campaign(_) => Ok(self.replica.committed),
        }
    }

    /// Follows `from`, which leads `term`, and is heard from now.
    fn follow(&mut self, now: Nanos, term: u64, from: NodeId, out: &mut Outbox) -> (&mut Follower, &mut Replica) {
        let known = term == self.replica.term && matches!(&self.state, State::Follower(f) if f.leader.is_some());
        if term > self.replica.term {
            self.replica.enter_term(term, None, out);
        }
        if !known {
            self.state = State::Follower(Follower::new(Some(from), now, self.replica.committed));
        }
        self.replica.timer.rearm(now);
        let State::Follower(follower) = &mut self.state else { unreachable!("it was made one just now") };
        follower.heard_at = now;
        (follower, &mut self.replica)
    }

    /// Follows nobody, in the term that was just entered. A follower's patience goes on where it
    /// was: only a leader's word or a vote given restores it (paper, section 5.2).
    fn become_follower(&mut self, now: Nanos) {
        if self.role() == Role::Leader {
            self.replica.timer.rearm(now);
        }
        self.state = State::Follower(Follower::new(None, now, self.replica.committed));
    }

    /// A node of an older term asks for something. The answer is the term, so that it steps down or
    /// catches up: ignored, a node with the newer log could wait for ever. It leaves even before the
    /// term is durable here, because it only informs: votes and acknowledgements are what promises.
    fn answer_stale(&self, to: NodeId, out: &mut Outbox) {
        if self.replica.mutant.is(Mutant::R14a) {
            return;
        }
        self.replica.send(Recipients::One(to), Message::Stale { term: self.replica.term }, out);
    }

    fn on_stale(&mut self, now: Nanos, term: u64, out: &mut Outbox) {
        if term > self.replica.term {
            if let State::Follower(follower) = &self.state
                && follower.hears_leader(now, &self.replica)
            {
                // It is not forgotten with its term: it may hold a lease, and know nothing of this.
                self.replica.quiet_until = follower.heard_at.later(self.replica.timer.shortest());
            }
            self.replica.enter_term(term, None, out);
            self.become_follower(now);
        }
    }

    fn on_timeout(&mut self, now: Nanos) {
        match &mut self.state {
            State::Leader(leader) => {
                if !leader.on_timeout(&self.replica, now) {
                    self.become_follower(now);
                }
            }
            State::Follower(_) | State::Campaign(_) if now < self.replica.timer.at() => {}
            State::Follower(_) if !self.replica.timer.is_armed() => self.replica.await_leader(now),
            // It has no say in who comes next, but it assumes too that there is no leader any more (paper, section
            // 5.2): a node that was removed would send clients to its last one for ever.
            _ if !self.replica.may_campaign() => {
                self.replica.timer.rearm(now);
                self.become_follower(now);
            }
            State::Follower(_) | State::Campaign(_) => self.pre_campaign(now),
        }
    }
}

impl State {
    /// The leader in it, if `still`.
    fn leads(&mut self, still: bool) -> Option<&mut Leader> {
        if let Self::Leader(leader) = self { still.then_some(leader) } else { None }
    }
}

impl Protocol for Raft {
    const SNAPSHOT_RECORD: Option<u8> = Some(message::SNAPSHOT);

    fn new(config: &Config, seed: u64) -> Self {
        Self {
            replica: Replica::new(config, seed),
            state: State::Follower(Follower::new(None, Nanos::ZERO, Slot::ZERO)),
            reads: Reads::default(),
            recovered: false,
        }
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        let mut raft = Self::new(config, seed);
        records.iter().try_for_each(|record| raft.replica.replay(record))?;
        if config.mutant.is(Mutant::Q4) {
            raft.replica.committed = raft.replica.log.last();
        }
        raft.state = State::Follower(Follower::new(None, Nanos::ZERO, raft.replica.committed));
        raft.recovered = true;
        raft.replica.timer.forget_first();
        Ok(raft)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        if std::mem::take(&mut self.recovered) {
            self.replica.quiet_until = now.later(self.replica.timer.shortest());
        }
        match (input, &mut self.state) {
            (Input::Frame(frame), _) => return self.on_frame(now, frame, out),
            (Input::Submit(body), State::Leader(leader)) => leader.on_submit(&mut self.replica, body, out),
            (Input::Durable(lsn), _) => self.replica.on_durable(lsn, out),
            (Input::Timeout, _) => self.on_timeout(now),
            (Input::Read { id, mode }, state) => {
                let leads = matches!(state, State::Leader(_)).then_some(self.replica.term);
                self.reads.take(id, mode, self.replica.delivered, leads, out);
            }
            (Input::Snapshot { slot, body }, _) => self.replica.take_snapshot(slot, body, out),
            (Input::Reconfigure(change), state) => {
                let done = match state {
                    State::Leader(leader) => leader.on_reconfigure(&mut self.replica, now, change, out),
                    _ => Err("this node does not lead"),
                };
                out.refused.extend(done.err().map(|why| Refusal { change, why }));
            }
            (Input::Transfer(target), State::Leader(leader)) => leader.on_transfer(&self.replica, now, target),
            (Input::Submit(_) | Input::Transfer(_), _) => {}
        }
        Ok(())
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        self.flush_campaign(now, out);
        self.replica.snapshots.want_none();
        let leads = match &mut self.state {
            State::Leader(leader) => leader.flush(&mut self.replica, &mut self.reads, now, out),
            State::Follower(follower) => {
                follower.flush(&self.replica, out);
                false
            }
            State::Campaign(_) => false,
        };
        if !leads {
            if !self.reads.is_empty() {
                self.reads.refuse_all(out);
            }
            if matches!(self.state, State::Leader(_)) {
                self.become_follower(now);
            }
        }
        self.replica.flush(out);
    }

    fn deadline(&self) -> Nanos {
        if let State::Leader(leader) = &self.state { leader.deadline() } else { self.replica.timer.at() }
    }

    fn room(&self) -> usize {
        if let State::Leader(leader) = &self.state { leader.room(&self.replica) } else { 0 }
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Follower(follower) => follower.leader,
            State::Campaign(_) => None,
            State::Leader(_) => Some(self.replica.id),
        }
    }

    fn wants_snapshot(&self) -> bool {
        matches!(&self.state, State::Leader(leader) if leader.wants_snapshot(&self.replica))
    }

    fn kept(&self) -> LogSize {
        self.replica.log.size()
    }
}
