//! The contract between a protocol and whoever drives it.

use crate::log::LogSize;
use crate::mutant::Switch;
use crate::quorum::Quorums;
use crate::wire::{Frame, Head, Lsn, Malformed, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

/// A distributed protocol as a state machine of one node.
///
/// The driver calls, in this order, once a turn: [`step`](Self::step) for everything that has
/// arrived, then [`flush`](Self::flush) once. It sends `out.transmits`, makes `out.records` durable
/// (and answers with [`Input::Durable`]), and hands `out.deliveries` to the state machine.
///
/// Two kinds of methods: `step` and `flush` change the state and fill the outbox; the getters say
/// when to call again ([`deadline`](Self::deadline)), how much more the node can take
/// ([`room`](Self::room)) and where clients should go ([`leader`](Self::leader)).
pub trait Protocol: Sized {
    /// Whether every node takes clients' batches at any time, for want of a leader. Each then answers for what it
    /// was brought itself.
    const LEADERLESS: bool = false;

    /// The kind of the record that holds a snapshot: a journal that was cut begins with one. `None` for a protocol that
    /// records none, and never releases anything.
    const SNAPSHOT_RECORD: Option<u8>;

    /// A node with an empty log. `seed` is all the randomness that it will ever have.
    fn new(config: &Config, seed: u64) -> Self;

    /// A node rebuilt from what was durable when it stopped: the same code after a crash on a real
    /// disk and in a simulator. It has delivered nothing yet; its state machine starts empty too,
    /// and gets every slot again once it is known to be committed, or first a snapshot if one was
    /// recorded, and the slots after it.
    ///
    /// The records are all that were durable, without a gap, from the first one or from the last
    /// [`Outbox::release`] on.
    ///
    /// # Errors
    /// [`Malformed`] for a record that this protocol never wrote. The node must not take part.
    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed>;

    /// Takes one input. Work that many inputs share is left for [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Malformed`] for a frame that no correct peer sends; the state is as it was.
    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed>;

    /// Emits what the steps since the last flush add up to: appends, one acknowledgement, one
    /// commit, deliveries.
    fn flush(&mut self, now: Nanos, out: &mut Outbox);

    /// When to step [`Input::Timeout`] if nothing else comes: a getter, so there is nothing to
    /// cancel. A new node's deadline has always passed. [`Nanos::NEVER`] for none.
    fn deadline(&self) -> Nanos;

    /// How many batches [`Input::Submit`] may bring now. Zero on a node that does not lead, and
    /// when the window is full: that is the back-pressure on clients.
    fn room(&self) -> usize;

    /// Where clients should submit, as far as this node knows.
    fn leader(&self) -> Option<NodeId>;

    /// How many times this node has begun a round of phase 1 for a slot, if its protocol does that slot by slot.
    fn rounds(&self) -> u64 {
        0
    }

    /// Whether a peer needs what this node has let go, and no snapshot of it is recent enough: the
    /// driver should step an [`Input::Snapshot`] of what was delivered, whatever its policy.
    fn wants_snapshot(&self) -> bool {
        false
    }

    /// How much of its log this node keeps in memory. A driver that finds it too much steps an
    /// [`Input::Snapshot`]. Nothing for a node that keeps none.
    fn kept(&self) -> LogSize {
        LogSize::default()
    }
}

/// What a node is told when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// All that vote at the start: this node among them, unless it is one that joins later. What the
    /// log or a snapshot says of members overrules this.
    pub voters: PeerSet,
    /// Who receives everything and never votes, where the protocol has such members from the start:
    /// nobody else's business.
    pub observers: PeerSet,
    /// The consensus group that its heads carry.
    pub group: u16,
    /// Who had better lead where nobody ever has: so that many groups over the same nodes do not all have one leader.
    /// All members of a group are told the same voter. It is a wish: it moves a first election's timing, or breaks a
    /// tie, and decides nothing that the protocol's safety rests on. `None` leaves it to chance.
    pub first_leader: Option<NodeId>,
    /// Slots in flight: proposed and not yet committed, and per follower sent and not yet acknowledged.
    pub window: usize,
    /// The shortest election timeout. Each is drawn anew from `[election_timeout, 2 * election_timeout)`.
    pub election_timeout: Nanos,
    /// How often an idle leader says that it is there. Well below `election_timeout`.
    pub heartbeat: Nanos,
    /// How long a proposer that was overtaken by another one stands back, on average, the first time; each further
    /// time twice as long, within limits. Zero for not at all: two of them may then go on for ever.
    pub backoff: Nanos,
    /// Bytes of a snapshot that travel in one frame.
    pub chunk: usize,
    /// How far a node's clock may run from true time, in parts per thousand: leases are shorter by
    /// that much on either side.
    pub clock_drift: u32,
    /// How many acceptors each phase of Paxos takes. Other protocols go by majorities of their members.
    pub quorums: Quorums,
    /// The bug to plant, if any. There is none without the feature `mutants`.
    pub mutant: Switch,
}

impl Config {
    /// No node has more than so many windows of slots on their way to another. What carries them must
    /// have room for that many: not every protocol sends again what was dropped.
    pub const MOST_WINDOWS_BEHIND: usize = 16;

    /// A node of a cluster of ids `0..replicas`, with timeouts fit for one machine.
    pub fn new(id: NodeId, replicas: usize) -> Self {
        Self {
            id,
            voters: PeerSet::first(replicas),
            observers: PeerSet::EMPTY,
            group: 0,
            first_leader: None,
            window: 32,
            election_timeout: Nanos(300_000_000),
            heartbeat: Nanos(50_000_000),
            backoff: Nanos(1_000_000),
            chunk: 64 << 10,
            clock_drift: 10,
            quorums: Quorums::majorities(replicas),
            mutant: Switch::default(),
        }
    }

    /// Everyone that votes but this node.
    pub fn peers(&self) -> PeerSet {
        self.voters.without(self.id)
    }
}

/// Something that happens to a node.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A peer's frame arrived.
    Frame(&'a Frame),
    /// A client's batch to order. Only while [`Protocol::room`] is above zero; without room it is dropped.
    Submit(&'a Payload),
    /// Every record up to and with this one is durable.
    Durable(Lsn),
    /// The deadline has passed.
    Timeout,
    /// The driver's state machine as it was after it was delivered `slot`: the log up to there may
    /// go. One that brings nothing new is ignored, and so is one that comes before the last is durable.
    Snapshot {
        /// The last slot in it.
        slot: Slot,
        /// The state machine.
        body: &'a Payload,
    },
    /// A client wants to read what is not older than now. Answered in [`Outbox::reads`].
    Read {
        /// The driver's name for it.
        id: u64,
        /// What it costs, and what it relies on.
        mode: ReadMode,
    },
    /// An operator's wish: hand leadership to this node. A node that does not lead ignores it.
    Transfer(NodeId),
    /// An operator's wish: other members. It counts as soon as it is in the log, and is done when its
    /// slot is delivered ([`DeliveryKind::Config`]); or it is in [`Outbox::refused`].
    Reconfigure(Change),
}

/// A change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new node receives everything from now on, and has no say.
    AddLearner(NodeId),
    /// A learner that has caught up votes from now on.
    Promote(NodeId),
    /// A voter or learner leaves.
    Remove(NodeId),
    /// These vote, whoever did before: voters and learners that have caught up.
    Replace {
        /// The new voters.
        voters: PeerSet,
    },
}

/// A change of membership that does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub change: Change,
    /// Why not.
    pub why: &'static str,
}

/// How a read that does not go through the log learns how much of the log it must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Linearizable: the leader makes sure that it still leads, a round trip for any number of reads. Another node
    /// asks the leader, if its protocol has that; otherwise it refuses.
    Index,
    /// Linearizable while clocks keep their bound ([`Config::clock_drift`]): the leader relies on
    /// nobody else having been elected yet. Without a lease it is as [`Index`](Self::Index).
    Lease,
    /// Whatever this node has: any replica answers, and may be behind.
    Stale,
}

/// The answer to an [`Input::Read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAnswer {
    /// Which read.
    pub id: u64,
    /// What came of it.
    pub outcome: ReadOutcome,
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It may be served from the state machine once this slot was delivered here.
    At(Slot),
    /// This node does not lead, or no longer: ask another.
    Refused,
}

/// What a node wants done. The driver empties it between turns and keeps its capacity.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To send, in order.
    pub transmits: Vec<Transmit>,
    /// To make durable, in order, each vouched for by [`Input::Durable`].
    pub records: Vec<Record>,
    /// For the state machine, in order.
    pub deliveries: Vec<Delivery>,
    /// Reads that are answered, each once.
    pub reads: Vec<ReadAnswer>,
    /// Changes of membership that do not happen.
    pub refused: Vec<Refusal>,
    /// Records before this one are no longer needed by [`Protocol::recover`]: the journal may be cut
    /// there, at the driver's leisure. It then begins with the record of a snapshot.
    pub release: Option<Lsn>,
}

impl Outbox {
    /// Queues `head` and `body` for `to`, once for any number of recipients.
    pub fn transmit(&mut self, to: Recipients, head: Head, body: Payload) {
        self.transmits.push(Transmit { to, head: Head { body_len: body.len() as u32, ..head }, body });
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.transmits.clear();
        self.records.clear();
        self.deliveries.clear();
        self.reads.clear();
        self.refused.clear();
        self.release = None;
    }
}

/// A frame to send.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Who gets it.
    pub to: Recipients,
    /// Its head.
    pub head: Head,
    /// Its payload: the same handle for every recipient.
    pub body: Payload,
}

/// A frame to make durable, as it stands on the wire.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place in this node's journal: one more than the record before.
    pub lsn: Lsn,
    /// Its head.
    pub head: Head,
    /// Its payload.
    pub body: Payload,
}

/// A slot in its final place. Ordered protocols deliver every slot once, in order, without gaps,
/// but for a snapshot, which stands for all slots up to its own.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which slot.
    pub slot: Slot,
    /// What is in it.
    pub kind: DeliveryKind,
    /// The client's batch, verbatim; or the state machine of a snapshot.
    pub body: Payload,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// A client's batch.
    Batch,
    /// Nothing: the protocol filled the slot itself.
    Noop,
    /// A change of membership: nothing for the state machine.
    Config,
    /// The state machine as of this slot, in place of the one that is there. What was delivered
    /// before is in it; the slots after it follow.
    Snapshot,
}

/// The state machine after it was delivered a slot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last slot in it.
    pub slot: Slot,
    /// The term, ballot or epoch in which that slot was written.
    pub stamp: u64,
    /// What the protocol itself needs of that moment, and the state machine's bytes.
    pub body: Payload,
}
