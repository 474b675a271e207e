//! What a node has in every state: its history, its epochs, and whom it votes for.

use super::message::{EPOCHS, Message, NOBODY, Notification, Propose, Standing, Vote};
use super::zxid::Zxid;
use crate::io::{Config, DeliveryKind, Outbox};
use crate::journal::Journal;
use crate::log::{Entry, SlotLog};
use crate::mutant::{Mutant, Switch};
use crate::prng::Prng;
use crate::snapshots::Snapshots;
use crate::wire::{Head, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) id: NodeId,
    pub(super) group: u16,
    /// Who votes and is counted.
    pub(super) voters: PeerSet,
    /// Of equal votes, the one for this node is the greatest, and then the others in turn, down to the one after it.
    pub(super) first_leader: Option<NodeId>,
    /// Everyone else: voters and observers.
    pub(super) others: PeerSet,
    pub(super) window: usize,
    pub(super) chunk: usize,
    pub(super) heartbeat: u64,
    /// How long silence is borne.
    pub(super) patience: u64,
    /// The last epoch that it has accepted a proposal of: it follows no older one (`f.p` in the paper,
    /// acceptedEpoch in `ZooKeeper`).
    pub(super) accepted: u64,
    /// Whose. One leader's proposal of an epoch is accepted, so that one can be established.
    pub(super) accepted_of: Option<NodeId>,
    /// The last epoch whose history it has taken on (`f.a` in the paper, currentEpoch in `ZooKeeper`).
    pub(super) current: u64,
    /// The history: stamps are transactions.
    pub(super) log: SlotLog,
    pub(super) journal: Journal,
    pub(super) snapshots: Snapshots,
    pub(super) committed: Slot,
    pub(super) delivered: Slot,
    /// Every member holds everything up to here, durably and committed. A fact, so it outlives the
    /// leader that said so.
    trim: Slot,
    /// The number of its last election (the report's logical clock).
    pub(super) round: u64,
    /// Whom it votes for, or follows, or itself. An observer that looks has no vote.
    pub(super) vote: Option<Vote>,
    /// By node id: when it was last heard in an election.
    heard: Vec<Option<Nanos>>,
    /// Who said then that it hears this node.
    heard_by: PeerSet,
    /// Who is told of the vote in the next flush.
    pub(super) notify: PeerSet,
    prng: Prng,
    pub(super) mutant: Switch,
}

impl Replica {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        assert!(config.window > 0, "a window of zero lets nothing through");
        Self {
            id: config.id,
            group: config.group,
            voters: config.voters,
            first_leader: config.first_leader,
            others: (config.voters | config.observers).without(config.id),
            window: config.window,
            chunk: config.chunk.max(1),
            heartbeat: config.heartbeat.0.max(1),
            patience: config.election_timeout.0.max(1),
            accepted: 0,
            accepted_of: None,
            current: 0,
            log: SlotLog::default(),
            journal: Journal::new(config.mutant),
            snapshots: Snapshots::default(),
            committed: Slot::ZERO,
            delivered: Slot::ZERO,
            trim: Slot::ZERO,
            round: 0,
            vote: None,
            heard: vec![None; PeerSet::CAPACITY],
            heard_by: PeerSet::EMPTY,
            notify: PeerSet::EMPTY,
            prng: Prng::new(seed),
            mutant: config.mutant,
        }
    }

    /// Whether this node has a say.
    pub(super) fn votes(&self) -> bool {
        self.voters.contains(self.id)
    }

    /// The last transaction of the history.
    pub(super) fn last_zxid(&self) -> Zxid {
        Zxid(self.log.last_stamp())
    }

    /// What stands in a slot that is kept, or was the last one let go.
    pub(super) fn zxid(&self, slot: Slot) -> Option<Zxid> {
        self.log.stamp(slot).map(Zxid)
    }

    /// Whether it is known that something other than `zxid` stands in `slot`.
    pub(super) fn contradicts(&self, slot: Slot, zxid: Zxid) -> bool {
        self.zxid(slot).is_some_and(|stands| stands != zxid)
    }

    /// Accepts `leader`'s proposal of an epoch, and follows no older one from now on.
    pub(super) fn accept_epoch(&mut self, epoch: u64, leader: NodeId, out: &mut Outbox) {
        (self.accepted, self.accepted_of) = (epoch, Some(leader));
        self.record_epochs(out);
    }

    /// Takes on the accepted epoch's history. The record comes after those of the history that it
    /// vouches for, and records become durable in order (ZOOKEEPER-4643).
    pub(super) fn enter_epoch(&mut self, out: &mut Outbox) {
        self.current = self.accepted;
        self.record_epochs(out);
    }

    /// The epochs, as one record, with the end of the history: a TRUNC that nothing follows must not
    /// be forgotten.
    fn record_epochs(&mut self, out: &mut Outbox) {
        let words = [self.accepted, self.accepted_word(), self.current, self.log.last().0, 0, 0];
        let head = Head { kind: EPOCHS, group: self.group, from: self.id, words, ..Head::default() };
        self.journal.record_hard_state(head, out);
    }

    /// Of whom the epoch was accepted, as a record holds it.
    pub(super) fn accepted_word(&self) -> u64 {
        self.accepted_of.map_or(NOBODY, |id| u64::from(id.0))
    }

    /// Cuts what the leader's history does not have.
    pub(super) fn truncate_after(&mut self, slot: Slot, out: &mut Outbox) {
        self.log.truncate_after(slot);
        self.journal.truncate_after(slot);
        if !self.mutant.is(Mutant::Z6) {
            self.record_epochs(out);
        }
    }

    /// Appends a transaction and records it under the head that it has on the wire.
    pub(super) fn write(&mut self, zxid: Zxid, head: Head, body: &Payload, out: &mut Outbox) -> Slot {
        let slot = self.log.append(Entry { stamp: zxid.0, kind: DeliveryKind::Batch, body: body.clone() });
        self.journal.record_slot(slot, head, body.clone(), out);
        slot
    }

    /// The message that brings a slot to a follower; `None` if it was let go.
    pub(super) fn proposal(&self, slot: Slot) -> Option<(Head, Payload)> {
        let (entry, prev) = (self.log.get(slot)?, self.zxid(slot - 1)?);
        let propose = Propose { epoch: self.accepted, slot, zxid: Zxid(entry.stamp), prev };
        let head = Head { body_len: entry.body.len() as u32, ..self.head(Message::Propose(propose)) };
        Some((head, entry.body.clone()))
    }

    pub(super) fn head(&self, message: Message) -> Head {
        Head { group: self.group, from: self.id, ..message.head() }
    }

    pub(super) fn send(&self, to: Recipients, message: Message, out: &mut Outbox) {
        out.transmit(to, self.head(message), Payload::EMPTY);
    }

    /// A number for a connection: none has it twice, as good as, not even after a restart with the same seed.
    pub(super) fn draw_session(&mut self, now: Nanos) -> u64 {
        self.prng = self.prng.fork(now.0);
        1 + self.prng.below(1 << 61)
    }

    /// How long it leads before it has a quorum of followers. Drawn anew each time, as Raft's timeouts are (Raft paper,
    /// section 5.2): two who are elected in turn, by quorums that do not hear each other, would else give up in step, and
    /// never be there for the voters that both need.
    pub(super) fn draw_discovery_time(&mut self, now: Nanos) -> u64 {
        self.prng = self.prng.fork(now.0);
        2 * self.patience + self.prng.below(self.patience)
    }

    /// Notes that `from` was heard in an election, and whether it hears this node. Says whether that is news.
    pub(super) fn hear(&mut self, from: NodeId, now: Nanos, hears_this: bool) -> bool {
        let before = (self.hears(now).contains(from), self.heard_by.contains(from));
        self.heard[from.0 as usize] = Some(now);
        self.heard_by = if hears_this { self.heard_by.with(from) } else { self.heard_by.without(from) };
        before != (true, hears_this)
    }

    /// Whom it has heard of late.
    pub(super) fn hears(&self, now: Nanos) -> PeerSet {
        let late = |heard: &Nanos| now.saturating_since(*heard) < self.patience;
        self.others.iter().filter(|id| self.heard[id.0 as usize].as_ref().is_some_and(late)).collect()
    }

    /// Tells those that are due how this node stands.
    pub(super) fn send_notifications(&mut self, standing: Standing, now: Nanos, out: &mut Outbox) {
        if self.notify.is_empty() {
            return;
        }
        let to = std::mem::take(&mut self.notify);
        let hears = self.hears(now);
        let connected = hears.iter().filter(|&id| self.heard_by.contains(id)).collect();
        let notification = Notification { round: self.round, standing, vote: self.vote, hears, connected };
        self.send(Recipients::Peers(to), Message::Notification(notification), out);
    }

    /// Every member holds everything up to `slot`, durably and committed.
    pub(super) fn may_trim(&mut self, slot: Slot) {
        self.trim = self.trim.max(slot);
    }

    pub(super) fn trim(&self) -> Slot {
        self.trim
    }

    /// The end of every flush, whatever the state.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        let (snapshots, delivered) = (&self.snapshots, &mut self.delivered);
        if *delivered >= self.log.trimmed() || snapshots.deliver(&self.journal, 0, delivered, out) {
            self.log.deliver(delivered, self.committed, out);
        }
        self.trim_log(out);
    }
}
