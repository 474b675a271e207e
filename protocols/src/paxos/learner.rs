//! The learner: what is chosen, slot by slot, and how it finds out what it missed (*Paxos Made Simple*,
//! section 2.3).
//!
//! Whoever counts a majority tells the others: each proposer is the distinguished learner of what it
//! proposed. "Because of message loss, a value could be chosen with no learner ever finding out", so
//! each node says now and then to one other where it stands, and one that is behind asks.

use super::Site;
use super::ballot::{Accepted, Ballot};
use super::message::{Chosen, Message, Proposal};
use crate::io::{Config, DeliveryKind, Outbox};
use crate::journal::Journal;
use crate::log::{Entry, SlotLog};
use crate::snapshots::Snapshots;
use crate::transfer::{Arriving, Transfer};
use crate::wire::{Head, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

#[derive(Clone, Debug)]
pub(super) struct Learner {
    pub(super) log: SlotLog,
    pub(super) delivered: Slot,
    pub(super) snapshots: Snapshots,
    pub(super) arriving: Arriving,
    /// Heartbeats since there was more of it.
    pub(super) stalled: u32,
    /// The sender of a snapshot is owed an answer: this much of it is here.
    pub(super) received_due: Option<(NodeId, Slot, u64)>,
    /// What is known of the other learners, by node id.
    pub(super) others: Vec<Other>,
    /// These need what was let go, and wait for a snapshot.
    pub(super) lacking: PeerSet,
    /// These are being sent one.
    pub(super) sending: PeerSet,
    /// More is chosen than this node knows, and who said so.
    ahead: Option<(Slot, NodeId)>,
    asked: Asked,
    /// Whom it told last where it stands.
    told: NodeId,
    heartbeat: u64,
    pub(super) window: usize,
    pub(super) chunk: usize,
}

/// What it asked for last: everything up to a slot.
#[derive(Clone, Debug)]
struct Asked {
    whom: NodeId,
    upto: Slot,
    /// If it does not come.
    again_at: Nanos,
}

/// Another learner.
#[derive(Clone, Debug, Default)]
pub(super) struct Other {
    /// It knows what is chosen up to here, durably.
    durable: Slot,
    /// It was answered that this node knows what is chosen up to here, since the last heartbeat.
    answered: Slot,
    /// A snapshot on its way there.
    pub(super) transfer: Option<Transfer>,
    /// Heartbeats since it said anything of it.
    pub(super) silent: u32,
}

impl Learner {
    pub(super) fn new(config: &Config) -> Self {
        assert!(config.window > 0, "a window of zero lets nothing through");
        Self {
            log: SlotLog::default(),
            delivered: Slot::ZERO,
            snapshots: Snapshots::default(),
            arriving: Arriving::default(),
            stalled: 0,
            received_due: None,
            others: (0..PeerSet::CAPACITY - config.voters.bits().leading_zeros() as usize)
                .map(|_| Other::default())
                .collect(),
            lacking: PeerSet::EMPTY,
            sending: PeerSet::EMPTY,
            ahead: None,
            asked: Asked { whom: config.id, upto: Slot::ZERO, again_at: Nanos::ZERO },
            told: config.id,
            heartbeat: config.heartbeat.0.max(1),
            window: config.window,
            chunk: config.chunk.max(1),
        }
    }

    /// The first slot that is not known to be decided.
    pub(super) fn next(&self) -> Slot {
        self.log.last() + 1
    }

    /// Where it stands.
    pub(super) fn standing(&self, journal: &Journal) -> Message {
        let ballot = Ballot::read(self.log.last_stamp()).unwrap_or(Ballot::ZERO);
        Message::Chosen(Chosen { slot: self.log.last(), ballot, durable: journal.slot() })
    }

    /// Answers another's word that it stands further back, once for each news of that, or again after a
    /// heartbeat. The other is ahead by then, perhaps, and answers in turn: two who answered everything would
    /// never end, and on a network that duplicates they would say more and more. A request is answered always.
    pub(super) fn answer(&mut self, site: &Site, journal: &Journal, to: NodeId, out: &mut Outbox) {
        let last = self.log.last();
        if std::mem::replace(&mut self.others[to.0 as usize].answered, last) < last {
            site.send(Recipients::One(to), self.standing(journal), Payload::EMPTY, out);
        }
    }

    /// The next slot is decided. If this node's acceptor has `accepted` that very proposal, its record holds
    /// the value already.
    pub(super) fn learn(
        &mut self,
        site: &Site,
        ballot: Ballot,
        body: &Payload,
        accepted: Option<&Accepted>,
        journal: &mut Journal,
        out: &mut Outbox,
    ) {
        let slot = self.next();
        let known = accepted.is_some_and(|accepted| accepted.ballot == ballot);
        let (message, value) = if known {
            (Message::Chosen(Chosen { slot, ballot, durable: Slot::ZERO }), Payload::EMPTY)
        } else {
            (Message::Learn(Proposal { slot, ballot }), body.clone())
        };
        journal.record_slot(slot, Head { body_len: value.len() as u32, ..site.head(message) }, value, out);
        self.append(ballot, body);
    }

    /// As [`learn`](Self::learn), of what is recorded.
    pub(super) fn append(&mut self, ballot: Ballot, body: &Payload) {
        self.log.append(Entry { stamp: ballot.word(), kind: DeliveryKind::Batch, body: body.clone() });
    }

    /// Something is chosen in all slots up to `slot`, says `from`. It is the one to ask next, unless it was asked
    /// last and says nothing new: it may speak, and not hear.
    pub(super) fn hear(&mut self, from: NodeId, slot: Slot) {
        let news = |(known, _)| slot > known || from != self.asked.whom;
        if slot > self.log.last() && self.ahead.is_none_or(news) {
            self.ahead = Some((slot, from));
        }
    }

    pub(super) fn on_standing(&mut self, from: NodeId, chosen: &Chosen) {
        let other = &mut self.others[from.0 as usize];
        other.durable = other.durable.max(chosen.durable);
        if other.transfer.take_if(|transfer| transfer.snapshot.slot <= chosen.slot).is_some() {
            self.sending = self.sending.without(from);
        }
        self.hear(from, chosen.slot);
    }

    /// Teaches a window of slots, by value: whoever is asked again was understood so far.
    pub(super) fn on_ask(&mut self, site: &Site, from: NodeId, slot: Slot, out: &mut Outbox) {
        let other = &mut self.others[from.0 as usize];
        other.silent = 0;
        if slot <= self.log.trimmed() {
            // What it holds durably it asked for long ago.
            if slot > other.durable && other.transfer.is_none() {
                self.lacking = self.lacking.with(from);
            }
            return;
        }
        other.transfer = None;
        (self.sending, self.lacking) = (self.sending.without(from), self.lacking.without(from));
        let last = self.log.last().0.min(slot.0 + self.window as u64 - 1);
        for slot in (slot.0..=last).map(Slot) {
            let Some(entry) = self.log.get(slot) else { return };
            let Some(ballot) = Ballot::read(entry.stamp) else { return };
            site.send(Recipients::One(from), Message::Learn(Proposal { slot, ballot }), entry.body.clone(), out);
        }
    }

    /// Says to the next of the others where it stands, so that nobody stays behind for long.
    pub(super) fn on_heartbeat(&mut self, site: &Site, journal: &Journal, out: &mut Outbox) {
        self.on_silence();
        self.others.iter_mut().for_each(|other| other.answered = Slot::ZERO);
        let next = site.peers.iter().find(|&id| id > self.told).or_else(|| site.peers.iter().next());
        if let Some(next) = next {
            self.told = next;
            site.send(Recipients::One(next), self.standing(journal), Payload::EMPTY, out);
        }
    }

    /// Asks, delivers, and lets go of what nobody needs.
    pub(super) fn flush(&mut self, site: &Site, now: Nanos, journal: &Journal, out: &mut Outbox) {
        self.ask(site, now, out);
        self.snapshots.want_none();
        self.send_snapshots(site, out);
        self.deliver(journal, out);
        self.trim(site, journal, out);
    }

    fn ask(&mut self, site: &Site, now: Nanos, out: &mut Outbox) {
        let last = self.log.last();
        let Some((slot, whom)) = self.ahead.filter(|&(slot, _)| slot > last) else {
            self.ahead = None;
            return;
        };
        if last >= self.asked.upto || now >= self.asked.again_at {
            let upto = slot.min(last + self.window as u64);
            self.asked = Asked { whom, upto, again_at: now.later(self.heartbeat) };
            site.send(Recipients::One(whom), Message::Ask(last + 1), Payload::EMPTY, out);
        }
    }

    fn deliver(&mut self, journal: &Journal, out: &mut Outbox) {
        if self.delivered >= self.log.trimmed() || self.snapshots.deliver(journal, 0, &mut self.delivered, out) {
            self.log.deliver(&mut self.delivered, self.log.last(), out);
        }
    }

    /// What all know durably nobody will ask for; the rest of what goes is in a snapshot.
    fn trim(&mut self, site: &Site, journal: &Journal, out: &mut Outbox) {
        let others = site.peers.iter().map(|id| self.others[id.0 as usize].durable).min();
        let agreed = others.map_or(self.delivered, |others| others.min(self.delivered));
        let upto = self.snapshots.release(journal, agreed, self.window, out);
        self.log.trim_to(upto);
    }
}
