//! Messages that take their time, in asynchronous rounds.
//!
//! Each is under way for a random time, uniform between nothing and twice the mean, and then an event on a timing wheel.
//! A contact is what the state machines say to each other (`protocols/src/gossip`): a rumor, a question, or a digest; what
//! that is answered with; and what the answer was good for. By then either may know more, or have lost interest: what
//! counts is what a node knows when a message arrives, and what it knew when it spoke.

use quorumbench_protocols::Prng;
use quorumbench_protocols::gossip::other;

use super::spread::Spread;
use super::wheel::{TICKS, Wheel};
use crate::spec::Interest;

/// All messages that are under way.
///
/// What begins a contact has a wheel of its own, and what follows from it another: so a processor need not guess at each
/// event what comes next.
#[derive(Debug)]
pub(super) struct Trips {
    first: Wheel<Message>,
    later: Wheel<Message>,
    /// The mean, in ticks.
    mean: u64,
    /// Whether partners are any other nodes, and always there.
    is_plain: bool,
    /// Updates that are under way.
    updates: u64,
}

/// What one node says to another: in eight bytes, as a million of them are under way.
#[derive(Clone, Copy, Debug)]
struct Message {
    from: u32,
    /// The other node, and from [`NODE_BITS`] on what it is told.
    to_what: u32,
}

/// Bits that name a node: more than a population has.
const NODE_BITS: u32 = 28;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// A question; to anti-entropy, "I lack it".
    Nothing,
    /// The update, and a question if updates are pulled; to anti-entropy, "I have it".
    Something,
    /// The update, that was asked for, or wanted.
    Answer,
    /// Anti-entropy: "send it".
    Want,
    /// What an update was good for, that came as an answer or unasked.
    Feedback { was_answer: bool, was_useful: bool },
}

impl Message {
    fn new(from: u32, to: u32, says: Says) -> Self {
        let what = match says {
            Says::Nothing => 0,
            Says::Something => 1,
            Says::Answer => 2,
            Says::Want => 3,
            Says::Feedback { was_answer, was_useful } => 4 + u32::from(was_answer) * 2 + u32::from(was_useful),
        };
        Self { from, to_what: to | what << NODE_BITS }
    }

    fn to(self) -> u32 {
        self.to_what % (1 << NODE_BITS)
    }

    fn says(self) -> Says {
        match self.to_what >> NODE_BITS {
            0 => Says::Nothing,
            1 => Says::Something,
            2 => Says::Answer,
            3 => Says::Want,
            what => Says::Feedback { was_answer: what & 2 != 0, was_useful: what & 1 != 0 },
        }
    }
}

impl Trips {
    pub(super) fn new(spread: &Spread<'_>) -> Self {
        let mean = spread.gossip.mean_trip(TICKS as u64);
        // As long as the longest trip.
        let ahead = 2 * mean as usize - 1;
        let is_plain = spread.is_plain();
        Self { first: Wheel::new(ahead), later: Wheel::new(ahead), mean, is_plain, updates: 0 }
    }

    /// Whether anyone may yet get an update by what is under way.
    pub(super) fn carry_updates(&self) -> bool {
        self.updates > 0
    }

    /// A node's turn: it begins its contacts.
    #[inline]
    pub(super) fn turn<const RUMOR: bool, const PUSH: bool, const PULL: bool>(
        &mut self,
        spread: &mut Spread<'_>,
        node: u32,
    ) {
        let says = if !PULL || spread.updates[0].spreaders().has(node) { Says::Something } else { Says::Nothing };
        if self.is_plain {
            let partner = other(node, spread.nodes as u32, &mut spread.prng);
            return self.begin::<RUMOR, PUSH, PULL>(spread, node, partner, says);
        }
        spread.partners.begin_turn();
        for _ in 0..spread.gossip.fanout {
            if let Some(partner) = spread.partners.next(node, &spread.updates[0].history, &mut spread.prng) {
                self.begin::<RUMOR, PUSH, PULL>(spread, node, partner, says);
            }
        }
    }

    /// A contact begins.
    #[inline]
    fn begin<const RUMOR: bool, const PUSH: bool, const PULL: bool>(
        &mut self,
        spread: &mut Spread<'_>,
        from: u32,
        to: u32,
        mut says: Says,
    ) {
        spread.contacts += 1;
        if RUMOR && says == Says::Something && !(PUSH && self.posts(spread, from, to)) {
            // What is lost is lost, but a question that came with it is not.
            if !PULL {
                return;
            }
            says = Says::Nothing;
        }
        let ticks = self.time(&mut spread.prng);
        self.first.plan(ticks, Message::new(from, to, says));
    }

    /// All that arrives in one tick.
    #[inline]
    pub(super) fn tick<const RUMOR: bool, const PUSH: bool, const PULL: bool>(&mut self, spread: &mut Spread<'_>) {
        let due = self.first.due();
        for &message in &due {
            self.updates -= u64::from(RUMOR && message.says() == Says::Something);
            if spread.partners.members.is_up(message.to()) {
                self.on_contact::<RUMOR, PUSH, PULL>(spread, message);
            }
        }
        self.first.pass(due);
        let due = self.later.due();
        for &message in &due {
            self.updates -= u64::from(message.says() == Says::Answer);
            if spread.partners.members.is_up(message.to()) {
                self.on_later(spread, message);
            }
        }
        self.later.pass(due);
    }

    /// Rumors: it is taken, and whoever spreads one answers a question with it, as of before. Anti-entropy: who has it
    /// sends it to whom had not when it asked; who lacks what the other has wants it.
    #[inline]
    fn on_contact<const RUMOR: bool, const PUSH: bool, const PULL: bool>(
        &mut self,
        spread: &mut Spread<'_>,
        message: Message,
    ) {
        let (from, to, tells) = (message.from, message.to(), message.says() == Says::Something);
        let answers = PULL && (RUMOR || !tells) && spread.updates[0].spreaders().has(to);
        if RUMOR && PUSH && tells {
            self.take(spread, from, to, false);
        } else if PUSH && tells && !spread.updates[0].holds(to) {
            self.go_on(spread, Message::new(to, from, Says::Want));
        }
        if answers && self.posts(spread, to, from) {
            self.go_on(spread, Message::new(to, from, Says::Answer));
        }
    }

    #[inline]
    fn on_later(&mut self, spread: &mut Spread<'_>, message: Message) {
        let (from, to) = (message.from, message.to());
        match message.says() {
            Says::Nothing | Says::Something => {}
            Says::Answer => self.take(spread, from, to, true),
            Says::Want => {
                if spread.updates[0].holds(to) && self.posts(spread, to, from) {
                    self.go_on(spread, Message::new(to, from, Says::Answer));
                }
            }
            Says::Feedback { was_answer, was_useful } => {
                spread.updates[0].hear(spread.gossip, to, was_answer, was_useful);
            }
        }
    }

    /// The update arrives, and with feedback its sender is to hear what that was good for.
    #[inline]
    fn take(&mut self, spread: &mut Spread<'_>, from: u32, to: u32, was_answer: bool) {
        let update = &mut spread.updates[0];
        let was_useful = update.take(from, to);
        if update.interests.is_some() && spread.gossip.interest == Interest::Feedback {
            self.go_on(spread, Message::new(to, from, Says::Feedback { was_answer, was_useful }));
        }
    }

    /// The update is sent, unless the other is down by now. Whether it will arrive.
    #[inline]
    fn posts(&mut self, spread: &mut Spread<'_>, from: u32, to: u32) -> bool {
        let is_sent = spread.partners.members.is_up(to);
        let arrives = is_sent && spread.updates[0].post(spread.gossip, &mut spread.prng, from, to);
        self.updates += u64::from(arrives);
        arrives
    }

    #[inline]
    fn go_on(&mut self, spread: &mut Spread<'_>, message: Message) {
        let ticks = self.time(&mut spread.prng);
        self.later.plan(ticks, message);
    }

    /// How long a message is under way.
    #[inline]
    fn time(&self, prng: &mut Prng) -> usize {
        1 + prng.below(2 * self.mean - 1) as usize
    }
}
