//! What the simulator sees of a protocol: a view that checkers read, and a tap on what it hands out.

use quorumbench_protocols::{
    Config, Delivery, DeliveryKind, Frame, Head, Input, LogSize, Malformed, Nanos, NodeId, Outbox, Payload, PeerSet,
    Protocol, Record, Slot,
};

use crate::spec::ReadsMode;

/// A protocol that can be checked: what it shows of itself, in words that all ordered protocols share.
///
/// These are getters. A checker believes nothing but what they say of *state* (a log, a commit, a
/// role); whether that state is allowed is judged by code that the protocol has no part in.
pub trait Subject: Protocol + Send + 'static {
    /// Whose own properties it must have, besides those of any ordered protocol.
    const PAPER: Paper;
    /// What it can be asked for.
    const ABILITIES: Abilities;

    /// Where it stands.
    fn view(&self) -> View;

    /// The term, ballot or epoch in which `slot` was written, if it is kept or the last one let go.
    fn stamp(&self, slot: Slot) -> Option<u64>;

    /// What stands in `slot`, if it is kept.
    fn entry(&self, slot: Slot) -> Option<(DeliveryKind, &Payload)>;

    /// The membership that it goes by; `None` for a protocol whose members never change.
    fn members(&self) -> Option<Membership> {
        None
    }

    /// What its acceptor has promised, if it has one.
    fn promised(&self) -> Promised {
        Promised::default()
    }

    /// The ballot under which its acceptor has accepted something in `slot`, and what, if it has and the slot is
    /// not settled.
    fn accepted(&self, slot: Slot) -> Option<(u64, &Payload)> {
        let _ = slot;
        None
    }

    /// The acceptance that a record of this protocol stands for, if it does for one.
    fn vote(record: &Record) -> Option<Vote<'_>> {
        let _ = record;
        None
    }

    /// What a frame does to a channel on which a leader's transactions go, where they go without gaps.
    fn carried(frame: &Frame) -> Option<Carried> {
        let _ = frame;
        None
    }

    /// A frame of this protocol, in a few words.
    fn describe(head: &Head) -> String;
}

/// Whose properties are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paper {
    /// Ongaro & Ousterhout: election safety, leader completeness, leader append-only, log matching.
    Raft,
    /// Lamport, and what builds on it: what acceptors promise and accept, and what is chosen by that. Nodes may
    /// know a slot's value under different ballots.
    Paxos,
    /// Junqueira, Reed & Serafini: the order of primaries, besides what holds of Raft's logs. Stamps are an epoch in the
    /// high half and its primary's counter in the low half.
    Zab,
}

/// An acceptor's promise: nothing is accepted below `ballot`. Later slots' are above any of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promised {
    /// In this slot only; in all of them, if it is zero.
    pub slot: Slot,
    /// A ballot as one number, in the order of ballots.
    pub ballot: u64,
}

impl Promised {
    /// Whether it is about this slot.
    pub(super) fn covers(self, slot: Slot) -> bool {
        self.slot == Slot::ZERO || self.slot == slot
    }
}

/// An acceptance.
#[derive(Clone, Copy, Debug)]
pub struct Vote<'a> {
    /// Where.
    pub slot: Slot,
    /// Under which ballot, as one number, in the order of ballots.
    pub ballot: u64,
    /// Of what: a client's batch, or nothing in a no-op.
    pub body: &'a Payload,
}

/// What a frame says of the channel from a leader to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// To the follower: what follows in this epoch begins after this slot.
    Begin(u64, Slot),
    /// To the follower: the transaction of this slot.
    Transaction(Slot),
    /// To the leader of this epoch: the follower has everything up to here.
    Held(u64, Slot),
}

/// What a protocol can be asked for. A seed draws the same for all, and what a protocol cannot do is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Members come and go.
    pub members: bool,
    /// Quorums need not be majorities.
    pub quorums: bool,
    /// Some replicas may observe, and never vote.
    pub observers: bool,
    /// How clients may read, beside through the log.
    pub reads: &'static [ReadsMode],
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The term, ballot or epoch that it is in.
    pub term: u64,
    /// One letter for what it does, for traces.
    pub role: char,
    /// Whether it leads in that term.
    pub leads: bool,
    /// Who has its vote in that term.
    pub voted_for: Option<NodeId>,
    /// Everything up to here it takes for committed.
    pub committed: Slot,
    /// Everything up to here it has let go.
    pub trimmed: Slot,
    /// The last slot of its log.
    pub last: Slot,
}

/// Who counts, as far as one node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Where it was written. Zero for the one that the cluster began with.
    pub slot: Slot,
    /// Who votes.
    pub voters: PeerSet,
    /// While voters are being replaced: who voted before, and still has a say. Otherwise nobody.
    pub outgoing: PeerSet,
    /// Who receives everything and has no say.
    pub learners: PeerSet,
}

impl Membership {
    /// Everyone.
    pub fn all(&self) -> PeerSet {
        self.voters | self.outgoing | self.learners
    }
}

/// A protocol with a tap: notes what is delivered and what is refused as malformed, and changes nothing.
#[derive(Debug)]
pub(super) struct Tap<P> {
    pub(super) protocol: P,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) malformed: Option<Malformed>,
}

impl<P> Tap<P> {
    fn on(protocol: P) -> Self {
        Self { protocol, deliveries: Vec::new(), malformed: None }
    }
}

impl<P: Protocol> Protocol for Tap<P> {
    const LEADERLESS: bool = P::LEADERLESS;
    const SNAPSHOT_RECORD: Option<u8> = P::SNAPSHOT_RECORD;

    fn new(config: &Config, seed: u64) -> Self {
        Self::on(P::new(config, seed))
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        P::recover(config, seed, records).map(Self::on)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        let stepped = self.protocol.step(now, input, out);
        if let Err(malformed) = stepped {
            self.malformed = Some(malformed);
        }
        stepped
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        let before = out.deliveries.len();
        self.protocol.flush(now, out);
        self.deliveries.extend_from_slice(&out.deliveries[before..]);
    }

    fn deadline(&self) -> Nanos {
        self.protocol.deadline()
    }

    fn room(&self) -> usize {
        self.protocol.room()
    }

    fn rounds(&self) -> u64 {
        self.protocol.rounds()
    }

    fn wants_snapshot(&self) -> bool {
        self.protocol.wants_snapshot()
    }

    fn kept(&self) -> LogSize {
        self.protocol.kept()
    }

    fn leader(&self) -> Option<NodeId> {
        self.protocol.leader()
    }
}
