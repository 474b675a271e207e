//! A leader: takes batches, streams them to its followers, commits what a majority holds.

use super::membership::Members;
use super::message::{Accept, Append, Chunk, Message, Probe, Received, Reject};
use super::progress::{Progress, Then};
use super::replica::Replica;
use crate::handover::Handover;
use crate::io::{DeliveryKind, Outbox};
use crate::log::Entry;
use crate::mutant::Mutant;
use crate::quorum;
use crate::reads::{Lease, Reads};
use crate::transfer::Part;
use crate::wire::{Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// By node id; this node's own is not used.
    pub(super) progress: Vec<Progress>,
    /// Who is sent a probe in the next flush.
    due: PeerSet,
    /// Who lacks what was let go, and waits for a snapshot that is recent enough.
    lacking: PeerSet,
    /// Who is being sent one.
    installing: PeerSet,
    /// Counts the flushes that sent probes. An answer names its round, which is what a linearizable
    /// read waits for.
    round: u64,
    lease: Lease,
    /// A match or the own journal moved since the commit was last counted.
    moved: bool,
    /// What the own journal had reached then.
    counted: Slot,
    heartbeat_at: Nanos,
    handover: Handover,
    /// Scratch for the majority's sort.
    sorted: Vec<u64>,
}

impl Leader {
    /// Opens the term with a no-op: nothing older can be committed before a slot of this term is
    /// (paper, sections 5.4.2 and 8).
    pub(super) fn new(replica: &mut Replica, now: Nanos, out: &mut Outbox) -> Self {
        let last = replica.log.last();
        let slots = replica.members.all().iter().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        let leader = Self {
            progress: (0..slots).map(|_| Progress::new(replica.window, last, now)).collect(),
            due: PeerSet::EMPTY,
            lacking: PeerSet::EMPTY,
            installing: PeerSet::EMPTY,
            round: 0,
            lease: Lease::new(replica.timer.shortest(), replica.clock_drift),
            moved: true,
            counted: Slot::ZERO,
            heartbeat_at: now.later(replica.heartbeat),
            handover: Handover::default(),
            sorted: Vec::with_capacity(slots),
        };
        if !replica.mutant.is(Mutant::Q5) {
            write(replica, DeliveryKind::Noop, &Payload::EMPTY, out);
        }
        leader
    }

    pub(super) fn on_submit(&self, replica: &mut Replica, body: &Payload, out: &mut Outbox) {
        if self.room(replica) > 0 {
            write(replica, DeliveryKind::Batch, body, out);
        }
    }

    /// How many batches may come: what the window leaves. None while leadership is handed over,
    /// or the target would never catch up (thesis, section 3.10).
    pub(super) fn room(&self, replica: &Replica) -> usize {
        let in_flight = replica.log.last().saturating_since(replica.committed);
        if self.handover.is_under_way() { 0 } else { (replica.window as u64).saturating_sub(in_flight) as usize }
    }

    pub(super) fn on_accept(
        &mut self,
        replica: &Replica,
        now: Nanos,
        from: NodeId,
        accept: &Accept,
    ) -> Result<(), &'static str> {
        if accept.received > replica.log.last() {
            return Err("acknowledges a slot never sent");
        }
        if accept.round > self.round {
            return Err("answers a probe never sent");
        }
        let progress = &mut self.progress[from.0 as usize];
        progress.heard_at = now;
        progress.on_accept(accept, replica.window);
        self.moved = true;
        Ok(())
    }

    pub(super) fn on_reject(
        &mut self,
        replica: &Replica,
        now: Nanos,
        from: NodeId,
        reject: &Reject,
    ) -> Result<(), &'static str> {
        if reject.prev > replica.log.last() {
            return Err("refuses a slot never sent");
        }
        if reject.round > self.round {
            return Err("answers a probe never sent");
        }
        let progress = &mut self.progress[from.0 as usize];
        progress.heard_at = now;
        match progress.on_reject(reject, &replica.log, self.round, replica.mutant) {
            Then::Wait => {}
            Then::Probe => self.due = self.due.with(from),
            Then::Install => self.lacking = self.lacking.with(from),
        }
        Ok(())
    }

    pub(super) fn on_received(&mut self, now: Nanos, from: NodeId, received: &Received) -> Result<(), &'static str> {
        let progress = &mut self.progress[from.0 as usize];
        progress.on_received(received)?;
        progress.heard_at = now;
        Ok(())
    }

    /// Whether a follower waits for a snapshot that this node does not have.
    pub(super) fn wants_snapshot(&self, replica: &Replica) -> bool {
        !self.lacking.is_empty() && replica.snapshots.takes(replica.delivered)
    }

    /// Hands leadership over (thesis, section 3.10). Asking for the same again changes nothing.
    pub(super) fn on_transfer(&mut self, replica: &Replica, now: Nanos, target: NodeId) {
        let flag_stays = replica.mutant.is(Mutant::R18);
        let until = if flag_stays { Nanos::NEVER } else { now.later(replica.timer.shortest()) };
        if replica.members.voters.without(replica.id).contains(target)
            && self.handover.begin(target, until)
            && !replica.mutant.is(Mutant::R13d)
        {
            self.lease.end();
        }
    }

    /// The heartbeat, and what is checked with it. Says whether the node still leads.
    #[must_use]
    pub(super) fn on_timeout(&mut self, replica: &Replica, now: Nanos) -> bool {
        self.handover.expire(now);
        if now < self.heartbeat_at {
            return true;
        }
        self.heartbeat_at = now.later(replica.heartbeat);
        self.due = replica.peers;
        self.handover.on_heartbeat();
        self.nurse(replica, now);
        self.hears_majority(replica, now)
    }

    /// Snapshots on their way are resumed. A follower that is gone gets none, and the log need not
    /// wait for it.
    fn nurse(&mut self, replica: &Replica, now: Nanos) {
        for id in (self.lacking | self.installing).iter() {
            let progress = &mut self.progress[id.0 as usize];
            if !replica.peers.contains(id) || now.saturating_since(progress.heard_at) > replica.timer.shortest() {
                self.lacking = self.lacking.without(id);
                if progress.transfer().is_some() {
                    progress.fall_behind(replica.log.trimmed(), self.round + 1);
                }
            } else if let Some(transfer) = progress.transfer() {
                transfer.on_heartbeat();
            }
        }
    }

    /// A leader that hears no majority leads nobody: clients should look elsewhere (thesis, section
    /// 6.2), and followers that hear it, but not each other, must not be held back by it.
    fn hears_majority(&self, replica: &Replica, now: Nanos) -> bool {
        let heard = |id: &NodeId| {
            *id == replica.id || now.saturating_since(self.progress[id.0 as usize].heard_at) <= replica.timer.shortest()
        };
        let members = replica.electorate();
        let heard: PeerSet = (members.voters | members.outgoing).iter().filter(heard).collect();
        let is_content = replica.mutant.is(Mutant::R14c) && heard.len() > 1;
        is_content || replica.mutant.is(Mutant::R14b) || members.is_majority(heard)
    }

    pub(super) fn deadline(&self) -> Nanos {
        self.heartbeat_at.min(self.handover.until())
    }

    /// Says whether the node still leads.
    #[must_use]
    pub(super) fn flush(&mut self, replica: &mut Replica, reads: &mut Reads, now: Nanos, out: &mut Outbox) -> bool {
        self.advance_commit(replica);
        let leads = self.conclude(replica, now, out);
        if !reads.is_empty() {
            self.serve(replica, reads, now, out);
        }
        self.replicate(replica, out);
        self.send_snapshots(replica, out);
        self.probe(replica, now, out);
        self.hand_over(replica, out);
        leads
    }

    pub(super) fn hands_over(&self) -> bool {
        self.handover.is_under_way()
    }

    /// The membership changed: these are the others now, and majorities are counted anew.
    pub(super) fn forget_others(&mut self, peers: PeerSet) {
        self.moved = true;
        for set in [&mut self.due, &mut self.lacking, &mut self.installing] {
            *set = set.iter().filter(|&id| peers.contains(id)).collect();
        }
        self.handover.retain(|target| peers.contains(target));
    }

    /// Commits what a majority holds durably, this node among the others only as far as its own
    /// journal is durable. Only a slot of this term is committed by counting; those before it come
    /// along (paper, section 5.4.2, figure 8).
    fn advance_commit(&mut self, replica: &mut Replica) {
        let own = self.matched(replica, replica.id);
        if !self.moved && own == self.counted {
            return;
        }
        (self.moved, self.counted) = (false, own);
        let reached = Slot(self.by_majority(replica, |leader, id| leader.matched(replica, id).0));
        let of_this_term = replica.log.stamp(reached) == Some(replica.term) || replica.mutant.is(Mutant::R1);
        if reached > replica.committed && of_this_term {
            replica.committed = reached;
        }
        let Members { outgoing, learners, .. } = replica.members;
        let slowest = if outgoing.is_empty() && learners.is_empty() {
            Slot(self.sorted[0])
        } else {
            replica.members.all().iter().map(|id| self.matched(replica, id)).min().unwrap_or(Slot::ZERO)
        };
        replica.may_trim(slowest.min(replica.committed));
    }

    /// Reads that came since the last flush share one round of probes, sent in this flush; those whose
    /// round is answered are served (thesis, section 6.4). Before the no-op is committed all wait.
    fn serve(&mut self, replica: &Replica, reads: &mut Reads, now: Nanos, out: &mut Outbox) {
        reads.enter(replica.term, out);
        if !replica.has_committed_in_term() && !replica.mutant.is(Mutant::R13b) {
            return;
        }
        let confirmed = self.confirmed(replica);
        let leased = reads.wants_lease() && self.leased(replica, now, confirmed);
        let any_answer = replica.mutant.is(Mutant::R13c);
        let round = if any_answer { confirmed.saturating_add(1).min(self.round + 1) } else { self.round + 1 };
        if reads.index(replica.committed, round, leased, out) {
            self.due = self.due | (replica.members.voters | replica.members.outgoing).without(replica.id);
        }
        reads.confirm(if replica.mutant.is(Mutant::R13a) { u64::MAX } else { confirmed }, out);
    }

    /// Whether the lease holds, now that a majority has answered the round `confirmed`.
    fn leased(&mut self, replica: &Replica, now: Nanos, confirmed: u64) -> bool {
        if replica.mutant.is(Mutant::R13e) {
            let heard_at = |leader: &Self, id: NodeId| {
                if id == replica.id { now.0 } else { leader.progress[id.0 as usize].heard_at.0 }
            };
            let heard_at = Nanos(self.by_majority(replica, heard_at));
            return self.lease.lasts(now, heard_at);
        }
        self.lease.holds(now, confirmed)
    }

    /// The latest round of probes that a majority has answered. This node's own answer is not waited for.
    fn confirmed(&mut self, replica: &Replica) -> u64 {
        let round = |leader: &Self, id: NodeId| {
            if id == replica.id { u64::MAX } else { leader.progress[id.0 as usize].round() }
        };
        self.by_majority(replica, round)
    }

    /// What a majority has reached, and in a joint configuration a majority of either side.
    fn by_majority(&mut self, replica: &Replica, value: impl Fn(&Self, NodeId) -> u64) -> u64 {
        let mut sorted = std::mem::take(&mut self.sorted);
        let mut reached = |voters: PeerSet| {
            sorted.clear();
            sorted.extend(voters.iter().map(|id| value(self, id)));
            quorum::reached_by_majority(&mut sorted)
        };
        let Members { voters, outgoing, .. } = replica.electorate();
        let mut least = reached(voters);
        if !outgoing.is_empty() {
            least = least.min(reached(outgoing));
        }
        self.sorted = sorted;
        least
    }

    /// What a member holds durably, this node among them.
    pub(super) fn matched(&self, replica: &Replica, id: NodeId) -> Slot {
        if id != replica.id {
            self.progress[id.0 as usize].matched()
        } else if replica.mutant.is(Mutant::R4b) {
            replica.log.last()
        } else {
            replica.journal.slot()
        }
    }

    /// Sends each follower what it lacks, one transmit for all that lack the same next.
    fn replicate(&mut self, replica: &Replica, out: &mut Outbox) {
        let last = replica.log.last();
        while let Some(slot) = replica.peers.iter().filter_map(|id| self.progress[id.0 as usize].next(last)).min() {
            let (Some(entry), Some(prev_term)) = (replica.log.get(slot), replica.log.stamp(slot - 1)) else {
                self.fall_behind(replica, slot);
                continue;
            };
            let mut to = PeerSet::EMPTY;
            for id in replica.peers.iter() {
                let progress = &mut self.progress[id.0 as usize];
                if progress.next(last) == Some(slot) {
                    progress.sent();
                    to = to.with(id);
                }
            }
            let append = Append {
                term: replica.term,
                slot,
                entry_term: entry.stamp,
                prev_term,
                commit: replica.committed,
                trim: replica.trim(),
                kind: entry.kind,
            };
            out.transmit(Recipients::Peers(to), replica.head(Message::Append(append)), entry.body.clone());
        }
    }

    /// `slot` comes next for some, and was let go.
    fn fall_behind(&mut self, replica: &Replica, slot: Slot) {
        for id in replica.peers.iter() {
            let progress = &mut self.progress[id.0 as usize];
            if progress.next(replica.log.last()) == Some(slot) {
                progress.fall_behind(replica.log.trimmed(), self.round + 1);
                self.due = self.due.with(id);
            }
        }
    }

    /// Sends those that lack what was let go the last snapshot, if it reaches to the log, a few parts
    /// at a time. What follows it is kept for as long as they answer.
    fn send_snapshots(&mut self, replica: &mut Replica, out: &mut Outbox) {
        if (self.lacking | self.installing).is_empty() {
            return;
        }
        if let Some(snapshot) = replica.snapshots.reaches(replica.log.trimmed()) {
            for id in std::mem::take(&mut self.lacking).iter() {
                self.progress[id.0 as usize].install(snapshot.clone());
                self.installing = self.installing.with(id);
            }
        }
        for id in self.installing.iter() {
            let Some(transfer) = self.progress[id.0 as usize].transfer() else {
                self.installing = self.installing.without(id);
                continue;
            };
            replica.snapshots.want(transfer.snapshot.slot);
            while let Some((Part { slot, stamp, offset, total }, body)) = transfer.next(replica.chunk) {
                let chunk = Chunk { term: replica.term, slot, stamp, offset, total };
                out.transmit(Recipients::One(id), replica.head(Message::Chunk(chunk)), body);
            }
        }
    }

    /// Asks those that are due where they stand, one transmit for all that are asked the same.
    fn probe(&mut self, replica: &Replica, now: Nanos, out: &mut Outbox) {
        if self.due.is_empty() {
            return;
        }
        self.round += 1;
        self.lease.on_round(self.round, now);
        while let Some(first) = self.due.iter().next() {
            let (trimmed, round) = (replica.log.trimmed(), self.round);
            let prev = self.progress[first.0 as usize].probe_at(trimmed, round);
            let same = |id: &NodeId| self.progress[id.0 as usize].probe_at(trimmed, round) == prev;
            let to: PeerSet = self.due.iter().filter(same).collect();
            self.due = to.iter().fold(self.due, PeerSet::without);
            let Some(prev_term) = replica.log.stamp(prev) else { continue };
            let probe = Probe {
                term: replica.term,
                prev,
                prev_term,
                commit: replica.committed,
                trim: replica.trim(),
                round: self.round,
            };
            replica.send(Recipients::Peers(to), Message::Probe(probe), out);
        }
    }

    /// Tells the target to campaign once it has everything, and again with each heartbeat.
    fn hand_over(&mut self, replica: &Replica, out: &mut Outbox) {
        let has_all = |target: NodeId| self.progress[target.0 as usize].matched() == replica.log.last();
        if let Some(target) = self.handover.tell(has_all) {
            replica.send(Recipients::One(target), Message::TimeoutNow { term: replica.term }, out);
        }
    }
}

/// The record goes out now and the append in the same turn's flush: the leader's disk works
/// while its followers' do (thesis, section 10.2.1).
pub(super) fn write(replica: &mut Replica, kind: DeliveryKind, body: &Payload, out: &mut Outbox) {
    let append = Append {
        term: replica.term,
        slot: replica.log.last() + 1,
        entry_term: replica.term,
        prev_term: replica.log.last_stamp(),
        commit: replica.committed,
        trim: replica.trim(),
        kind,
    };
    let mut head = replica.head(Message::Append(append));
    head.body_len = body.len() as u32;
    replica.write(Entry { stamp: replica.term, kind, body: body.clone() }, head, out);
}
