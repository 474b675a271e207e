//! ZAB (Junqueira, Reed & Serafini, *Zab: High-performance broadcast for primary-backup systems*, DSN
//! 2011: "DSN 2011" or "paper" here; Medeiros, *`ZooKeeper`'s atomic broadcast protocol: theory and
//! practice*, Aalto 2012: "report").
//!
//! A primary broadcasts transactions to its backups, which deliver them in the order in which they were
//! broadcast, whatever primaries come and go. An epoch has one primary at most; a [`Zxid`] is an epoch
//! and a counter. A slot is a batch, and a batch a transaction.
//!
//! The phases are the paper's, each in a file: `election` (phase 0), `discovery` (1), `synchronization`
//! (2) and `broadcast` (3), with both sides of each. `leader` and `follower` are the two ends of a
//! channel, `reads` is `ZooKeeper`'s `sync`, `replica` what a node has in every state, `recovery` how that survives.
//!
//! Two rules hold everything together. *Nothing is promised before it is durable*: an epoch is
//! accepted, a transaction acknowledged, NEWLEADER acknowledged, only then. *A channel keeps order or is
//! broken*: a follower that misses something leaves, and synchronizes anew.
//!
//! Members are fixed: `ZooKeeper`'s reconfiguration is a protocol of its own (Shraer et al., *Dynamic
//! Reconfiguration of Primary/Backup Clusters*, ATC 2012), and neither paper has one.

mod broadcast;
mod discovery;
mod election;
mod follower;
mod leader;
pub mod message;
mod reads;
mod recovery;
mod replica;
mod synchronization;
mod zxid;

use self::election::Election;
use self::follower::Follower;
use self::leader::Leader;
use self::message::Message;
pub use self::message::Standing;
use self::replica::Replica;
pub use self::zxid::Zxid;
use crate::io::{Config, Input, Outbox, Protocol, ReadAnswer, ReadMode, ReadOutcome, Record, Refusal, Snapshot};
use crate::log::{LogSize, SlotLog};
use crate::mutant::Mutant;
use crate::reads::Reads;
use crate::wire::{Frame, Malformed, Nanos, NodeId, Slot};

/// A node of a ZAB cluster.
///
/// Drive it as [`Protocol`] says. Submit to the node whose [`room`](Protocol::room) is above zero;
/// [`leader`](Protocol::leader) is a hint where that is. The other getters are for tests, checkers
/// and metrics: they change nothing, and nothing in the protocol's world reads them.
#[derive(Clone, Debug)]
pub struct Zab {
    replica: Replica,
    state: State,
    reads: Reads,
}

#[derive(Clone, Debug)]
enum State {
    Looking(Election),
    /// Or observing: an observer is a follower that nobody counts.
    Following(Follower),
    Leading(Leader),
}

impl Zab {
    /// The last epoch that this node has accepted: it follows no older one.
    pub fn accepted_epoch(&self) -> u64 {
        self.replica.accepted
    }

    /// Whose proposal of that epoch it was.
    pub fn accepted_of(&self) -> Option<NodeId> {
        self.replica.accepted_of
    }

    /// The last epoch whose history it has taken on.
    pub fn current_epoch(&self) -> u64 {
        self.replica.current
    }

    /// What it does at the moment.
    pub fn standing(&self) -> Standing {
        match &self.state {
            State::Looking(_) => Standing::Looking,
            State::Following(_) if !self.replica.votes() => Standing::Observing,
            State::Following(_) => Standing::Following,
            State::Leading(_) => Standing::Leading,
        }
    }

    /// Whether it leads, and a quorum has taken on its epoch and its history.
    pub fn is_established(&self) -> bool {
        matches!(&self.state, State::Leading(leader) if leader.is_established())
    }

    /// Everything up to here is known to be committed.
    pub fn committed(&self) -> Slot {
        self.replica.committed
    }

    /// Everything up to here is durable on this node.
    pub fn durable(&self) -> Slot {
        self.replica.journal.slot()
    }

    /// Its history, as far as it has not let go: stamps are [`Zxid`]s.
    pub fn log(&self) -> &SlotLog {
        &self.replica.log
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
        if !self.replica.others.contains(from) {
            return Err(malformed("not from another member"));
        }
        let message = Message::read(frame)?;
        if let Message::Notification(notification) = &message {
            self.on_notification(now, from, notification);
            return Ok(());
        }
        match &mut self.state {
            State::Looking(_) => Ok(()),
            State::Following(follower) => follower.on_message(&mut self.replica, now, &message, frame, out),
            State::Leading(leader) => leader.on_message(&mut self.replica, now, from, &message, out),
        }
        .map_err(malformed)
    }

    fn on_read(&mut self, id: u64, mode: ReadMode, out: &mut Outbox) {
        match (mode, &self.state) {
            (ReadMode::Stale, _) => {
                out.reads.push(ReadAnswer { id, outcome: ReadOutcome::At(self.replica.delivered) });
            }
            (ReadMode::Index, State::Leading(leader)) if leader.is_established() => {
                self.reads.ask(leader.epoch, id, mode, out);
            }
            (ReadMode::Index, State::Following(follower)) if follower.up_to_date => {
                if self.replica.mutant.is(Mutant::ZS) {
                    out.reads.push(ReadAnswer { id, outcome: ReadOutcome::At(self.replica.delivered) });
                } else {
                    self.reads.ask(follower.session, id, mode, out);
                }
            }
            // ZAB has no leases; and a node without an established leader cannot say what is committed.
            _ => out.reads.push(ReadAnswer { id, outcome: ReadOutcome::Refused }),
        }
    }

    fn on_timeout(&mut self, now: Nanos, out: &mut Outbox) {
        match &mut self.state {
            State::Looking(_) => self.on_election_timeout(now, out),
            State::Following(follower) => follower.on_timeout(&self.replica, now),
            State::Leading(leader) => leader.on_timeout(&self.replica, now),
        }
    }

    /// A follower whose channel is broken, and a leader that cannot lead, go back to phase 0.
    fn leave(&mut self, now: Nanos) {
        let leaves = match &self.state {
            State::Looking(_) => false,
            State::Following(follower) => follower.leaves,
            State::Leading(leader) => leader.resigns,
        };
        if leaves {
            self.look(now);
        }
    }
}

impl Follower {
    /// Whatever its leader says; anything else is of another time.
    fn on_message(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        message: &Message,
        frame: &Frame,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let (from, epoch) = (frame.head.from, frame.head.words[0]);
        if let Message::LeaderInfo { epoch, session } = *message {
            self.on_leader_info(replica, now, from, epoch, session, out);
            return Ok(());
        }
        // What a follower says is no sign of life of a leader: two nodes could follow each other for ever.
        if message.is_followers() || !self.is_led_by(replica, from, epoch) {
            return Ok(());
        }
        if self.heeds(replica, epoch) {
            self.on_leaders_message(replica, now, message, frame, out)?;
        }
        self.heard_at = now;
        Ok(())
    }

    fn on_leaders_message(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        message: &Message,
        frame: &Frame,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        match message {
            Message::Propose(propose) => self.on_propose(replica, propose, frame, out),
            Message::Commit { slot, zxid, trim, .. } => self.on_commit(replica, *slot, *zxid, *trim),
            Message::Ping(ping) => self.on_ping(replica, ping),
            Message::Sync(sync) => self.on_sync(replica, sync, out),
            Message::Chunk(chunk) => self.on_chunk(replica, now, chunk, frame, out),
            Message::NewLeader(point) => self.on_new_leader(replica, point, out),
            Message::UpToDate(point) => self.on_up_to_date(replica, point),
            Message::Synced { session, number, slot, .. } => self.on_synced(*session, *number, *slot),
            _ => Ok(()),
        }
    }
}

impl Leader {
    fn on_message(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        from: NodeId,
        message: &Message,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        match message {
            Message::FollowerInfo { accepted, session } => {
                self.on_follower_info(replica, now, from, *accepted, *session, out);
            }
            Message::AckEpoch(ack) => self.on_ack_epoch(replica, now, from, ack, out),
            Message::AckNewLeader(point) => self.on_ack_new_leader(replica, now, from, point),
            Message::Ack(ack) => return self.on_ack(replica, now, from, ack, out),
            Message::Received { epoch, session, slot, offset } => {
                return self.on_received(replica, now, from, (*epoch, *session, *slot, *offset));
            }
            Message::SyncRequest { epoch, session, number } => {
                self.on_sync_request(replica, now, from, (*epoch, *session, *number));
            }
            // What leaders say, of a time when this node followed.
            _ => {}
        }
        Ok(())
    }
}

impl Protocol for Zab {
    const SNAPSHOT_RECORD: Option<u8> = Some(message::SNAPSHOT);

    fn new(config: &Config, seed: u64) -> Self {
        Self { replica: Replica::new(config, seed), state: State::Looking(Election::new()), reads: Reads::default() }
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        let mut zab = Self::new(config, seed);
        records.iter().try_for_each(|record| zab.replica.replay(record))?;
        Ok(zab)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        match (input, &mut self.state) {
            (Input::Frame(frame), _) => return self.on_frame(now, frame, out),
            (Input::Submit(body), State::Leading(leader)) => leader.on_submit(&mut self.replica, body, out),
            (Input::Durable(lsn), _) => self.replica.journal.on_durable(lsn),
            (Input::Timeout, _) => self.on_timeout(now, out),
            (Input::Read { id, mode }, _) => self.on_read(id, mode, out),
            (Input::Snapshot { slot, body }, _) => self.replica.take_snapshot(slot, body, out),
            (Input::Reconfigure(change), _) => out.refused.push(Refusal { change, why: "ZAB's members are fixed" }),
            // Nothing in ZAB hands leadership over: the best placed voter wins the next election.
            (Input::Submit(_) | Input::Transfer(_), _) => {}
        }
        Ok(())
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        self.replica.snapshots.want_none();
        self.leave(now);
        match &mut self.state {
            State::Looking(_) => {}
            State::Following(follower) => follower.flush(&self.replica, &mut self.reads, now, out),
            State::Leading(leader) => leader.flush(&mut self.replica, &mut self.reads, out),
        }
        self.leave(now);
        if !self.reads.is_empty() && self.leader().is_none() {
            self.reads.refuse_all(out);
        }
        self.replica.send_notifications(self.standing(), now, out);
        self.replica.flush(out);
    }

    fn deadline(&self) -> Nanos {
        match &self.state {
            State::Looking(election) => election.deadline(&self.replica),
            State::Following(follower) => follower.deadline(&self.replica),
            State::Leading(leader) => leader.deadline(),
        }
    }

    fn room(&self) -> usize {
        if let State::Leading(leader) = &self.state { leader.room(&self.replica) } else { 0 }
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Following(follower) if follower.up_to_date => Some(follower.leader),
            State::Leading(leader) if leader.is_established() => Some(self.replica.id),
            _ => None,
        }
    }

    fn wants_snapshot(&self) -> bool {
        matches!(&self.state, State::Leading(leader) if leader.wants_snapshot(&self.replica))
    }

    fn kept(&self) -> LogSize {
        self.replica.log.size()
    }
}
