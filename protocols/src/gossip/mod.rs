//! Gossip (Demers et al., *Epidemic Algorithms for Replicated Database Maintenance*, PODC 1987): direct mail, anti-entropy
//! and rumor mongering; the median-counter algorithm of Karp et al. (FOCS 2000); and
//! Plumtree, of Leitão et al. (SRDS 2007), as the state machine of one node.
//!
//! A rumor is an update on its way; it begins at the node that is stepped [`Input::Submit`], and every node, that one too,
//! delivers it once, under its number. Time passes in **cycles** of [`Config::interval`]. What a node hears in a cycle has
//! its effect at the cycle's end: that is when it gets tired of a rumor, and begins to spread one that it has got. Once in
//! a cycle, at a random moment of its first part, comes its **turn**: it chooses partners and talks to them. A contact is a
//! few messages, so the rest of the cycle must be longer than a few one-way trips.
//!
//! | | says | is answered |
//! |---|---|---|
//! | rumor, push | the rumor | with feedback: useful, or not |
//! | rumor, pull | "what do you spread?" | the rumors that the other spreads; with feedback, that is answered in turn |
//! | anti-entropy | a digest of what it knows | what it lacks (pull), what the other would have (push), which it sends |
//! | median-counter | a call, that lists what it knows, and what it spreads | the same from the other side |
//! | Plumtree | to peers of the tree the rumor, to others that it has it | "only announce", or "send it" |
//! | where contacts are limited, first | "may I have one?" | yes; or no, and another is hunted for |
//!
//! Nothing is sent twice, and nothing is missed when it does not come: what is lost is what gossip is to make up for.
//!
//! # Not a `Protocol`
//!
//! [`Protocol`](crate::Protocol) is about one log: its [`Config`](crate::Config) names voters among 64 ids, a node has
//! room for so many batches, knows a leader, is rebuilt from its records. Thousands of nodes that gossip have none of
//! that. What they share with it is how they are driven: [`step`](Gossip::step), [`flush`](Gossip::flush) and
//! [`deadline`](Gossip::deadline), with the same [`Input`] and [`Outbox`], and frames of the same shape.
//!
//! # Driving one by hand
//!
//! ```
//! use bytes::Bytes;
//! use quorumbench_protocols::gossip::{Config, Gossip};
//! use quorumbench_protocols::{Frame, Input, Nanos, NodeId, Outbox};
//!
//! # fn main() -> Result<(), quorumbench_protocols::Malformed> {
//! let mut nodes = [0, 1].map(|id| {
//!     let config = Config { first_cycle: Nanos(1), ..Config::new(NodeId(id), 2) };
//!     Gossip::new(config, id.into())
//! });
//! let mut out = Outbox::default();
//!
//! // An update is brought to the first, which has it at once, and speaks of it from its next cycle on.
//! nodes[0].step(Nanos::ZERO, Input::Submit(&Bytes::from_static(b"news").into()), &mut out)?;
//! assert_eq!(out.deliveries.len(), 1);
//! out.clear();
//!
//! // Its turn comes: the two compare, and the update follows.
//! let turn = nodes[0].deadline();
//! nodes[0].step(turn, Input::Timeout, &mut out)?;
//! for to in [1, 0, 1] {
//!     let said = out.transmits.remove(0);
//!     nodes[to].step(turn, Input::Frame(&Frame { head: said.head, body: said.body }), &mut out)?;
//! }
//! assert_eq!(out.deliveries[0].body.pieces()[0], "news");
//! # Ok(())
//! # }
//! ```

mod antientropy;
mod choice;
mod config;
mod interest;
mod median;
pub mod message;
mod partners;
mod places;
mod plumtree;
mod rumor;

use std::collections::BTreeMap;

use self::message::Message;
use self::partners::Turn;
use self::plumtree::Tree;
use self::rumor::Rumor;
use crate::io::{Input, Outbox};
use crate::prng::Prng;
use crate::wire::{Frame, Head, Malformed, Nanos, NodeId, Payload, Recipients, Slot, reject};

pub use self::choice::{Choice, other};
pub use self::config::{Acts, Config, Exchange, Interest, Judging, Mongering, Partners, Pulls, Stop, Style, Toss};
pub use self::median::Stages;
pub use self::places::Places;

/// A node that gossips.
///
/// Steps and flushes are as [`Protocol`](crate::Protocol) has them, and so are errors.
#[derive(Clone, Debug)]
pub struct Gossip {
    config: Config,
    prng: Prng,
    /// The cycle that it is in, counted from 1; 0 before the first. What the one before taught has had its effect.
    cycle: u64,
    /// Its next turn.
    turn_at: Nanos,
    turn: Turn,
    /// The cycle of its last turn.
    turned: u64,
    /// Whom it may talk to; `None` for everyone.
    peers: Option<Vec<u32>>,
    tree: Tree,
    /// Contacts that it accepted in this cycle.
    accepted: usize,
    rumors: BTreeMap<Slot, Rumor>,
    /// How many of them it spreads, or will from its next cycle.
    spreading: usize,
    /// How many rumors began here.
    begun: u64,
    /// Contacts that it gave a name to.
    named: u64,
    contacts: u64,
}

impl Gossip {
    /// A node that knows nothing. `seed` is all the randomness that it will ever have.
    ///
    /// # Panics
    /// If `config` has fewer than two nodes, or not this one, or a cycle that takes no time, or turns that take longer
    /// than a cycle.
    pub fn new(config: Config, seed: u64) -> Self {
        assert!(config.nodes > 1 && config.id.0 < config.nodes, "a node among others");
        assert!(config.interval > 0 && config.turns <= config.interval, "cycles of some time, and turns within them");
        let mut node = Self {
            config,
            prng: Prng::new(seed),
            cycle: 0,
            turn_at: Nanos::NEVER,
            turn: Turn::default(),
            turned: 0,
            peers: None,
            tree: Tree::default(),
            accepted: 0,
            rumors: BTreeMap::new(),
            spreading: 0,
            begun: 0,
            named: 0,
            contacts: 0,
        };
        node.plan_turn(Nanos::ZERO);
        node
    }

    /// Takes one input: a frame, an update that begins here, or its turn. Others mean nothing to it.
    ///
    /// # Errors
    /// [`Malformed`] for a frame that no correct peer sends; the state is as it was.
    pub fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        let said = out.transmits.len();
        match input {
            Input::Frame(frame) => self.on_frame(now, frame, out)?,
            Input::Submit(body) => {
                self.advance(now);
                self.begun += 1;
                let number = Self::number(self.config.id, self.config.nodes, self.begun);
                if self.is_tree() {
                    self.tree.begin(number);
                }
                let spreads = !self.is_tree() && self.config.style != Style::AntiEntropy;
                self.learn(number, body, spreads, None, out);
            }
            Input::Timeout if now >= self.turn_at => {
                self.advance(now);
                (self.turn_at, self.turned) = (Nanos::NEVER, self.cycle);
                self.begin_turn(out);
            }
            _ => {}
        }
        self.remember(&out.transmits[said..]);
        self.plan_turn(now);
        Ok(())
    }

    /// Nothing is left for it: gossip has no acknowledgement that many inputs could share.
    pub fn flush(&mut self, _now: Nanos, _out: &mut Outbox) {}

    /// Its next turn: when to step [`Input::Timeout`]. [`Nanos::NEVER`] while it has nothing to say of its own accord.
    pub fn deadline(&self) -> Nanos {
        self.turn_at
    }

    /// The cycle before is over, if it is by `now`: what its contacts said has its effect. Without it, that waits for the
    /// next input.
    pub fn settle(&mut self, now: Nanos) {
        self.advance(now);
    }

    /// Whether it spreads a rumor, or will from its next cycle, as far as it knows: it notices with its next input, or
    /// when it [settles](Self::settle), that it has lost interest. With Plumtree, whether it has anything to say, or waits
    /// for something.
    pub fn spreads(&self) -> bool {
        self.spreading > 0 || self.tree.is_busy()
    }

    /// It may talk to these alone: its active view, as whoever keeps that has it now. Without it, to everyone; with
    /// Plumtree, to nobody.
    pub fn set_peers(&mut self, peers: &[u32]) {
        let known = self.peers.get_or_insert_default();
        known.clear();
        known.extend(peers.iter().copied());
        self.tree.set_peers(peers);
    }

    /// It crashed, and comes back with its next cycle, with nothing in its memory but its rules: it knows nothing, and of
    /// others only what it is told, if it did not know them all.
    pub fn restart(&mut self, now: Nanos, seed: u64) {
        let passed = now.saturating_since(self.config.first_cycle).div_ceil(self.config.interval);
        let first_cycle = self.config.first_cycle.later(passed.saturating_mul(self.config.interval));
        let (config, peers) = (self.config.clone(), self.peers.take());
        let fresh = Self::new(Config { first_cycle, ..config }, seed);
        *self = Self { contacts: self.contacts, peers: peers.map(|_| Vec::new()), ..fresh };
    }

    /// Whether it knows a rumor.
    pub fn knows(&self, number: Slot) -> bool {
        self.rumors.contains_key(&number)
    }

    /// The number of the rumor that begins as its `count`th at this one of so many nodes: no other has it.
    pub fn number(id: NodeId, nodes: u32, count: u64) -> Slot {
        Slot((count - 1) * u64::from(nodes) + u64::from(id.0) + 1)
    }

    /// Contacts that it began.
    pub fn contacts(&self) -> u64 {
        self.contacts
    }

    fn on_frame(&mut self, now: Nanos, frame: &Frame, out: &mut Outbox) -> Result<(), Malformed> {
        let from = Message::sender(&frame.head);
        let malformed = |what| Malformed { kind: frame.head.kind, what };
        if frame.head.group != self.config.group {
            return Err(malformed("another group's"));
        }
        let message = Message::read(frame)?;
        if Message::recipient(&frame.head) != self.config.id {
            return Err(malformed("for another node"));
        }
        if from == self.config.id || from.0 >= self.config.nodes {
            return Err(malformed("not from another node"));
        }
        self.check(message).map_err(malformed)?;
        self.advance(now);
        match message {
            Message::Rumor { number, is_answer } => self.on_rumor(from, number, is_answer, &frame.body, out),
            Message::Feedback { number, was_answer, was_useful, counter } => {
                self.on_feedback(number, was_answer, was_useful, counter);
            }
            Message::IHave { number } => self.on_announcement(from, number),
            Message::Graft { number } => self.on_graft(from, number),
            Message::Prune => self.on_prune(from),
            Message::Call { is_answer } => self.on_call(from, is_answer, &frame.body, out),
            Message::Counted { number, state } => self.on_counted(from, number, state, &frame.body, out),
            Message::Ask => self.on_ask(from, out),
            Message::Digest { contact } => self.on_digest(from, contact, &frame.body, out),
            Message::Want { contact } => self.on_want(from, contact, &frame.body, out),
            Message::Connect { contact } => self.on_connect(from, contact, out),
            Message::Accept { contact } => self.on_accept(from, contact, out),
            Message::Refuse { contact } => self.on_refuse(from, contact, out),
        }
        Ok(())
    }

    /// Whether nodes of this style say that.
    fn check(&self, message: Message) -> Result<(), &'static str> {
        let is_counted = matches!(message, Message::Call { .. } | Message::Counted { .. });
        let is_control = matches!(message, Message::IHave { .. } | Message::Graft { .. } | Message::Prune);
        let is_asked = matches!(message, Message::Connect { .. } | Message::Accept { .. } | Message::Refuse { .. });
        let fits = match self.config.style {
            Style::MedianCounter(_) => is_counted || is_asked,
            Style::Plumtree { .. } => is_control || matches!(message, Message::Rumor { .. }),
            _ => !is_counted && !is_control,
        };
        reject(!fits, "of another style")?;
        let sends = |state| self.stages().is_some_and(|stages| stages.sends(state));
        reject(matches!(message, Message::Counted { state, .. } if !sends(state)), "a state that sends nothing")
    }

    /// Another cycle has begun, if it has. Those that passed without a turn of this node, which was late then, have no
    /// effect of their own.
    fn advance(&mut self, now: Nanos) {
        let cycle = self.cycle_at(now);
        if cycle > self.cycle {
            self.end_cycle();
            self.turn.give_up();
            (self.cycle, self.accepted) = (cycle, 0);
        }
    }

    fn cycle_at(&self, now: Nanos) -> u64 {
        now.0.checked_sub(self.config.first_cycle.0).map_or(0, |since| since / self.config.interval + 1)
    }

    /// In the next cycle, if there will be anything to do in it and no turn is planned yet. Who acts at once has one in
    /// this cycle, unless it had: at a moment as random as if it had been drawn when the cycle began, if that is still
    /// to come.
    fn plan_turn(&mut self, now: Nanos) {
        let always = match self.config.style {
            Style::DirectMail | Style::Plumtree { .. } => false,
            Style::AntiEntropy | Style::MedianCounter(_) => true,
            Style::Rumor(_) => self.config.exchange.pulls(),
        };
        if self.turn_at == Nanos::NEVER && (always || self.spreads()) {
            let Config { first_cycle, interval, turns, acts, .. } = self.config;
            let mut drawn =
                |cycle: u64| first_cycle.later(cycle.saturating_mul(interval)).later(self.prng.below(turns.max(1)));
            let had_none = acts == Acts::SameCycle && self.turned < self.cycle;
            let at_once = had_none.then(|| drawn(self.cycle - 1)).filter(|&at| at > now);
            self.turn_at = at_once.unwrap_or_else(|| drawn(self.cycle));
        }
    }

    fn say(&self, message: Message, to: NodeId, body: Payload, out: &mut Outbox) {
        let head = Head { group: self.config.group, ..message.head(self.config.id, to) };
        out.transmit(Recipients::One(to), head, body);
    }
}
