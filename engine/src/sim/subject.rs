//! What the simulator sees of a protocol: a view that checkers read, and a tap on what it hands out.

use quorumbench_protocols::{
    Config, Delivery, Head, Input, Malformed, Nanos, NodeId, Outbox, Payload, Protocol, Record, Slot,
};

/// A protocol that can be checked: what it shows of itself, in words that all ordered protocols share.
///
/// These are getters. A checker believes nothing but what they say of *state* (a log, a commit, a
/// role); whether that state is allowed is judged by code that the protocol has no part in.
pub trait Subject: Protocol + Send + 'static {
    /// Whether some members may observe, and never vote.
    const OBSERVES: bool = false;

    /// Whether stamps are an epoch in the high half and its primary's counter in the low half.
    const HAS_PRIMARIES: bool = false;

    /// Where it stands.
    fn view(&self) -> View;

    /// The term, ballot or epoch in which `slot` was written, if it is kept or the last one let go.
    fn stamp(&self, slot: Slot) -> Option<u64>;

    /// What stands in `slot`, if it is kept.
    fn body(&self, slot: Slot) -> Option<&Payload>;

    /// A frame of this protocol, in a few words.
    fn describe(head: &Head) -> String;
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

    fn wants_snapshot(&self) -> bool {
        self.protocol.wants_snapshot()
    }

    fn leader(&self) -> Option<NodeId> {
        self.protocol.leader()
    }
}
