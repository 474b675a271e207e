//! A leader: phase 2 for as many slots at once as the window allows (*Paxos Made Simple*, section 3; PMMC, figure 7).

use std::collections::BTreeMap;

use super::commander::Commanders;
use super::message::{Accept, Decided, Message, Votes};
use super::replica::Replica;
use crate::handover::Handover;
use crate::io::{DeliveryKind, Outbox, Transmit};
use crate::mutant::Mutant;
use crate::paxos::{Accepted, Ballot};
use crate::quorum;
use crate::reads::{Lease, Reads};
use crate::wire::{Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Clone, Debug)]
pub(super) struct Leader {
    ballot: Ballot,
    commanders: Commanders,
    /// By node id; this node's own is not used.
    peers: Vec<Peer>,
    /// The last slot that it proposed again on behalf of others. Whatever was answered to anyone before it led is among
    /// these and those before, so nothing is read until they are decided.
    opened: Slot,
    /// The last slot that was sent to the others.
    sent: Slot,
    /// What the others were told is decided, by whatever message.
    told: Slot,
    /// The next slot as of the last heartbeat: what was proposed before it and is not decided is sent again.
    stale: Slot,
    /// Up to there it is, in the next flush.
    again: Slot,
    /// The others are told in the next flush that it is there, and what is decided, and asked whether they hear it.
    due: bool,
    /// Counts those questions. An answer names its own, which is what a linearizable read waits for.
    round: u64,
    lease: Lease,
    /// What is durable elsewhere has moved since the slowest was looked for.
    moved: bool,
    /// What was durable here by then.
    counted: Slot,
    heartbeat_at: Nanos,
    handover: Handover,
    /// Scratch for sorting.
    sorted: Vec<u64>,
}

/// What the leader knows of another node.
#[derive(Clone, Copy, Debug)]
struct Peer {
    /// The last slot that it is known to have, if perhaps not all before it.
    reached: Slot,
    /// Everything up to here is decided there, durably.
    durable: Slot,
    /// The latest question that it answered.
    round: u64,
    /// When it last answered this ballot.
    heard_at: Nanos,
}

/// Windows that a node may be behind before it is sent no more: it is told what is decided, and asks.
const MOST_WINDOWS_SENT: usize = 8;

impl Leader {
    /// Phase 1 is over: what it found is proposed under this ballot, and the holes are filled.
    pub(super) fn new(
        replica: &mut Replica,
        mut adopted: BTreeMap<Slot, Accepted>,
        now: Nanos,
        out: &mut Outbox,
    ) -> Self {
        let decided = replica.log.last();
        let ids = replica.voters.iter().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        let peer = Peer { reached: decided, durable: Slot::ZERO, round: 0, heard_at: now };
        let mut leader = Self {
            ballot: replica.promised,
            commanders: Commanders::new(decided),
            peers: vec![peer; ids],
            opened: adopted.keys().next_back().map_or(decided, |&last| last.max(decided)),
            sent: decided,
            told: Slot::ZERO,
            stale: decided,
            again: Slot::ZERO,
            due: true,
            round: 0,
            lease: Lease::new(replica.timer.shortest(), replica.clock_drift),
            moved: true,
            counted: Slot::ZERO,
            heartbeat_at: now.later(replica.heartbeat),
            handover: Handover::default(),
            sorted: Vec::with_capacity(ids),
        };
        for slot in (decided.0 + 1..=leader.opened.0).map(Slot) {
            let found = adopted.remove(&slot).map(|accepted| (accepted.kind, accepted.body));
            if found.is_none() && replica.mutant.is(Mutant::P5b) {
                leader.commanders.propose();
                continue;
            }
            let (kind, body) = found.unwrap_or((DeliveryKind::Noop, Payload::EMPTY));
            leader.propose(replica, kind, body, out);
        }
        leader
    }

    /// The leader accepts its own proposal like any other acceptor, and counts it when it is durable. The accept for
    /// the others goes out in the same turn's flush: its disk works while theirs do.
    fn propose(&mut self, replica: &mut Replica, kind: DeliveryKind, body: Payload, out: &mut Outbox) {
        let slot = self.commanders.propose();
        replica.accept(slot, Accepted { ballot: self.ballot, kind, body }, out);
    }

    pub(super) fn on_submit(&mut self, replica: &mut Replica, body: &Payload, out: &mut Outbox) {
        if self.room(replica) > 0 {
            self.propose(replica, DeliveryKind::Batch, body.clone(), out);
        }
    }

    /// How many batches may come: what the window leaves (*Paxos Made Simple*, section 3: a leader "can propose commands
    /// i+1 through i+alpha after commands 1 through i are chosen"). None while leadership is handed over.
    pub(super) fn room(&self, replica: &Replica) -> usize {
        if self.handover.is_under_way() { 0 } else { replica.window.saturating_sub(self.commanders.len()) }
    }

    /// Phase 2b. Of another ballot it says nothing about this one: there the slot may have had another value.
    pub(super) fn on_votes(
        &mut self,
        replica: &Replica,
        now: Nanos,
        from: NodeId,
        votes: &Votes,
    ) -> Result<(), &'static str> {
        let ours = votes.ballot == self.ballot;
        if !ours && !replica.mutant.is(Mutant::P6) {
            return Ok(());
        }
        if votes.last >= self.commanders.next() && ours {
            return Err("acknowledges a slot never sent");
        }
        if votes.round > self.round && ours {
            return Err("answers a question never asked");
        }
        let last = self.commanders.next() - 1;
        let peer = &mut self.peers[from.0 as usize];
        peer.heard_at = now;
        peer.round = peer.round.max(votes.round);
        peer.reached = peer.reached.max(votes.last).max(votes.decided.min(last));
        self.moved |= votes.durable > peer.durable;
        peer.durable = peer.durable.max(votes.durable);
        if votes.first > Slot::ZERO {
            self.commanders.on_accepted(from, votes.first, votes.last, replica.quorums.phase2());
        }
        Ok(())
    }

    /// Hands leadership over: the other prepares, and finds out all that it lacks. Asking for the same again changes
    /// nothing.
    pub(super) fn on_transfer(&mut self, replica: &Replica, now: Nanos, target: NodeId) {
        if replica.peers.contains(target) && self.handover.begin(target, now.later(replica.timer.shortest())) {
            self.lease.end();
        }
    }

    pub(super) fn hands_over(&self) -> bool {
        self.handover.is_under_way()
    }

    /// The heartbeat, and what is checked with it. Says whether the node still leads.
    #[must_use]
    pub(super) fn on_timeout(&mut self, replica: &Replica, now: Nanos) -> bool {
        self.handover.expire(now);
        if now < self.heartbeat_at {
            return true;
        }
        self.heartbeat_at = now.later(replica.heartbeat);
        self.due = true;
        self.again = std::mem::replace(&mut self.stale, self.commanders.next() - 1);
        self.handover.on_heartbeat();
        self.hears_quorum(replica, now)
    }

    /// A leader that no quorum of phase 2 answers decides nothing: clients should look elsewhere, and nodes that hear it,
    /// but not each other, must not be held back by it.
    pub(super) fn hears_quorum(&self, replica: &Replica, now: Nanos) -> bool {
        let heard = |id: &NodeId| now.saturating_since(self.peers[id.0 as usize].heard_at) <= replica.timer.shortest();
        1 + replica.peers.iter().filter(heard).count() >= replica.quorums.phase2()
    }

    /// Whether a quorum has answered this very ballot, and lately. Before that a leader must not outbid others: where
    /// few promises make one, two would outbid each other for ever.
    pub(super) fn is_heard(&self, replica: &Replica, now: Nanos) -> bool {
        let answered = replica.peers.iter().filter(|id| self.peers[id.0 as usize].round > 0).count();
        1 + answered >= replica.quorums.phase2() && self.hears_quorum(replica, now)
    }

    pub(super) fn deadline(&self) -> Nanos {
        self.heartbeat_at.min(self.handover.until())
    }

    pub(super) fn flush(&mut self, replica: &mut Replica, reads: &mut Reads, now: Nanos, out: &mut Outbox) {
        let (id, quorum) = (replica.id, replica.quorums.phase2());
        replica.acknowledge(|_, first, last| self.commanders.on_accepted(id, first, last, quorum));
        while self.commanders.pop_decided() {
            if !replica.decide() {
                break;
            }
        }
        let own = replica.journal.slot();
        if self.moved || own != self.counted {
            (self.moved, self.counted) = (false, own);
            let slowest = replica.peers.iter().map(|id| self.peers[id.0 as usize].durable).min();
            replica.may_trim(slowest.map_or(own, |slowest| slowest.min(own)));
        }
        if !reads.is_empty() {
            self.serve(replica, reads, now, out);
        }
        self.replicate(replica, out);
        self.announce(replica, now, out);
        self.hand_over(replica, out);
    }

    /// Reads that came since the last flush share one round of questions, sent in this flush; those whose round is
    /// answered are served. A quorum of phase 2 shares a node with every quorum of phase 1, so none that
    /// answered had promised a higher ballot to anyone that could have decided something. Before what was
    /// found in phase 1 is decided all wait: an earlier leader may have answered for it.
    fn serve(&mut self, replica: &Replica, reads: &mut Reads, now: Nanos, out: &mut Outbox) {
        reads.enter(self.ballot.word(), out);
        if replica.log.last() < self.opened {
            return;
        }
        let confirmed = self.confirmed(replica);
        let leased = reads.wants_lease() && self.lease.holds(now, confirmed);
        self.due |= reads.index(replica.log.last(), self.round + 1, leased, out);
        reads.confirm(confirmed, out);
    }

    /// The latest round that a quorum has answered. This node's own answer is not waited for.
    fn confirmed(&mut self, replica: &Replica) -> u64 {
        let round = |id: NodeId| if id == replica.id { u64::MAX } else { self.peers[id.0 as usize].round };
        self.sorted.clear();
        self.sorted.extend(replica.voters.iter().map(round));
        quorum::reached_by(replica.quorums.phase2(), &mut self.sorted)
    }

    /// Sends every new slot to all at once, and again what was not accepted within a heartbeat.
    fn replicate(&mut self, replica: &Replica, out: &mut Outbox) {
        if replica.peers.is_empty() {
            return;
        }
        let near = |slot: Slot, id: &NodeId| {
            let reached = self.peers[id.0 as usize].reached;
            slot.saturating_since(reached) <= (MOST_WINDOWS_SENT * replica.window) as u64
        };
        for slot in (replica.log.last().0 + 1..=std::mem::take(&mut self.again).0.min(self.sent.0)).map(Slot) {
            let Some(accepted) = self.commanders.undecided(slot) else { continue };
            let to = replica.peers.iter().filter(|&id| !accepted.contains(id) && near(slot, &id)).collect();
            self.send(replica, slot, to, out);
        }
        let last = self.commanders.next() - 1;
        if self.sent == last {
            return;
        }
        let to: PeerSet = replica.peers.iter().filter(|id| near(last, id)).collect();
        if to == replica.peers {
            withdraw_decided(out);
        }
        for slot in (self.sent.0 + 1..=last.0).map(Slot) {
            self.send(replica, slot, to, out);
        }
        self.sent = last;
        self.told = replica.log.last().min(last - 1);
    }

    /// Phase 2a. The slot may be decided by now, if this node's own disk is all that it takes.
    fn send(&self, replica: &Replica, slot: Slot, to: PeerSet, out: &mut Outbox) {
        let (kind, body) = match replica.acceptor.get(slot) {
            Some(accepted) => (accepted.kind, &accepted.body),
            None => match replica.log.get(slot) {
                Some(entry) => (entry.kind, &entry.body),
                None => return,
            },
        };
        if to.is_empty() {
            return;
        }
        let decided = replica.log.last().min(slot - 1);
        let accept = Accept { ballot: self.ballot, slot, decided, trim: replica.trim.min(decided), kind };
        out.transmit(Recipients::Peers(to), replica.head(Message::Accept(accept)), body.clone());
    }

    /// Says that it is there, if that is due; and what is decided, if nothing that is under way will say so.
    fn announce(&mut self, replica: &Replica, now: Nanos, out: &mut Outbox) {
        let decided = replica.log.last();
        let idle = decided > self.told && self.commanders.len() == 0;
        if !self.due && !idle {
            return;
        }
        self.round += u64::from(self.due);
        let round = if self.due { self.round } else { 0 };
        if self.due {
            self.lease.on_round(self.round, now);
        }
        (self.due, self.told) = (false, decided);
        if !replica.peers.is_empty() {
            let message = Decided { ballot: self.ballot, decided, trim: replica.trim.min(decided), round };
            replica.send(Recipients::Peers(replica.peers), Message::Decided(message), out);
        }
    }

    /// Tells the target to prepare, and again with each heartbeat.
    fn hand_over(&mut self, replica: &Replica, out: &mut Outbox) {
        if let Some(target) = self.handover.tell(|_| true) {
            replica.send(Recipients::One(target), Message::Yield { ballot: self.ballot }, out);
        }
    }
}

/// What a flush before this one said is decided, because nothing was under way, and the turn did not send yet: its
/// deliveries made room for batches that waited, and their accepts say so, too. No answer was asked for.
fn withdraw_decided(out: &mut Outbox) {
    let said = |transmit: &mut Transmit| {
        matches!(Message::of_words(&transmit.head), Some(Message::Decided(Decided { round: 0, .. })))
    };
    out.transmits.pop_if(said);
}
