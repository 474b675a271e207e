//! What a node has in every role: acceptor, learner and teacher, the decided log, and its clock's next alarm.

use super::acceptor::Acceptor;
use super::learner::Learner;
use super::message::Message;
use super::teacher::Teacher;
use crate::io::{Config, Outbox};
use crate::journal::Journal;
use crate::log::{Entry, SlotLog};
use crate::mutant::Switch;
use crate::paxos::{Accepted, Ballot};
use crate::quorum::Quorums;
use crate::snapshots::Snapshots;
use crate::timer::ElectionTimer;
use crate::wire::{Head, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) id: NodeId,
    pub(super) group: u16,
    pub(super) voters: PeerSet,
    /// Everyone but this node.
    pub(super) peers: PeerSet,
    pub(super) quorums: Quorums,
    pub(super) window: usize,
    pub(super) chunk: usize,
    pub(super) clock_drift: u32,
    pub(super) heartbeat: u64,
    /// Nothing below it is accepted.
    pub(super) promised: Ballot,
    /// The highest ballot that anyone spoke of. The next one is above it.
    pub(super) seen: Ballot,
    pub(super) acceptor: Acceptor,
    /// What is decided, without gaps.
    pub(super) log: SlotLog,
    /// Its slot: up to there it is durable that the log is decided.
    pub(super) journal: Journal,
    pub(super) snapshots: Snapshots,
    pub(super) learner: Learner,
    pub(super) teacher: Teacher,
    pub(super) delivered: Slot,
    /// Every node holds everything up to here, decided and durably. A fact, so it outlives the leader that said so.
    pub(super) trim: Slot,
    /// When a follower or candidate loses patience.
    pub(super) timer: ElectionTimer,
    /// Until then it promises nothing to a candidate but on its leader's own wish. Before a crash it may have granted a
    /// lease, by answering that leader.
    pub(super) quiet_until: Nanos,
    /// The ballot promised is owed its phase 1b, from this slot on.
    pub(super) promise_due: Option<Slot>,
    /// These speak under a ballot that is over, and are owed word of it.
    pub(super) preempt_due: PeerSet,
    pub(super) mutant: Switch,
}

impl Replica {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        assert!(config.window > 0, "a window of zero lets nothing through");
        Self {
            id: config.id,
            group: config.group,
            voters: config.voters,
            peers: config.peers(),
            quorums: quorums(config),
            window: config.window,
            chunk: config.chunk.max(1),
            clock_drift: config.clock_drift,
            heartbeat: config.heartbeat.0.max(1),
            promised: Ballot::ZERO,
            seen: Ballot::ZERO,
            acceptor: Acceptor::default(),
            log: SlotLog::default(),
            journal: Journal::new(config.mutant),
            snapshots: Snapshots::default(),
            learner: Learner::default(),
            teacher: Teacher::default(),
            delivered: Slot::ZERO,
            trim: Slot::ZERO,
            timer: ElectionTimer::new(config.election_timeout, seed).of_first_leader(config),
            quiet_until: Nanos::ZERO,
            promise_due: None,
            preempt_due: PeerSet::EMPTY,
            mutant: config.mutant,
        }
    }

    /// Waits for a leader from `now` on. Who is to lead first prepares after a heartbeat, if there was no ballot yet.
    pub(super) fn await_leader(&mut self, now: Nanos) {
        self.timer.await_leader(now, self.seen == Ballot::ZERO && self.promised == Ballot::ZERO);
    }

    /// How far beyond what is decided here a slot may be accepted: enough for any leader's window, and little enough
    /// to hold in memory whatever a peer says.
    pub(super) fn most_ahead(&self) -> u64 {
        (self.window * Config::MOST_WINDOWS_BEHIND) as u64
    }

    /// How far beyond that a new leader may propose again: what it adopts may be as far ahead of others as they are of it.
    pub(super) fn most_adopted(&self) -> u64 {
        2 * self.most_ahead()
    }

    /// Whether it has a say, and may lead.
    pub(super) fn votes(&self) -> bool {
        self.voters.contains(self.id)
    }

    /// The next slot is decided: what was accepted in it was chosen.
    pub(super) fn decide(&mut self) -> bool {
        let Some(Accepted { ballot, kind, body }) = self.acceptor.pop() else { return false };
        self.log.append(Entry { stamp: ballot.word(), kind, body });
        true
    }

    pub(super) fn head(&self, message: Message) -> Head {
        Head { group: self.group, from: self.id, ..message.head() }
    }

    pub(super) fn send(&self, to: Recipients, message: Message, out: &mut Outbox) {
        out.transmit(to, self.head(message), Payload::EMPTY);
    }

    /// Every node holds everything up to `slot`, decided and durably.
    pub(super) fn may_trim(&mut self, slot: Slot) {
        self.trim = self.trim.max(slot);
    }

    /// The end of every flush, whatever the role.
    pub(super) fn flush(&mut self, now: Nanos, led: bool, out: &mut Outbox) {
        if self.promise_due.is_some() {
            self.answer_prepare(out);
        }
        if !self.preempt_due.is_empty() {
            let to = Recipients::Peers(std::mem::take(&mut self.preempt_due));
            self.send(to, Message::Preempted { ballot: self.promised, led }, out);
        }
        self.deliver(out);
        self.teach(now, out);
        self.trim_log(out);
    }

    /// Slots are decided in any order and delivered in theirs.
    fn deliver(&mut self, out: &mut Outbox) {
        let (snapshots, delivered) = (&self.snapshots, &mut self.delivered);
        if *delivered >= self.log.trimmed() || snapshots.deliver(&self.journal, 0, delivered, out) {
            self.log.deliver(delivered, self.log.last(), out);
        }
    }
}

#[cfg(feature = "mutants")]
fn quorums(config: &Config) -> Quorums {
    if config.mutant.is(crate::mutant::Mutant::P8) {
        return Quorums::unchecked(
            config.quorums.phase1().min(config.voters.len() / 2).max(1),
            config.quorums.phase2(),
        );
    }
    config.quorums
}

#[cfg(not(feature = "mutants"))]
fn quorums(config: &Config) -> Quorums {
    config.quorums
}
