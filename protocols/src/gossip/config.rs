//! What a node that gossips is told when it is made: who it is, and the rules that all go by.

use std::sync::Arc;

use super::median::Stages;
use super::places::Places;
use crate::wire::{Nanos, NodeId};

/// A node, and the rules. All nodes of a cluster have the same ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// How many there are, with ids from 0.
    pub nodes: u32,
    /// What its heads carry, so that several clusters can share connections.
    pub group: u16,
    /// How a rumor spreads.
    pub style: Style,
    /// Which way it goes in a contact.
    pub exchange: Exchange,
    /// Partners that it chooses in a cycle, all of them different. It finds as many as there are.
    pub fanout: usize,
    /// Which of the nodes that it may talk to they are.
    pub partners: Partners,
    /// Contacts that it accepts in a cycle; `None` for all.
    pub connection_limit: Option<usize>,
    /// Others that it tries when a partner does not accept; `None` for as many as there are.
    pub hunt_limit: Option<usize>,
    /// When it is judged whether a node knew a rumor.
    pub judging: Judging,
    /// When it acts on a rumor that it has got.
    pub acts: Acts,
    /// When its first cycle begins. Where rounds are synchronous, it is the same moment for all.
    pub first_cycle: Nanos,
    /// How long a cycle is, in nanoseconds; at least 1.
    pub interval: u64,
    /// Its turn is at a random moment of this first part of a cycle, in nanoseconds, so that nobody is always the
    /// first, and not all talk at once. The rest of the cycle is for the answers. 0 for a cycle's very beginning.
    pub turns: u64,
}

impl Config {
    /// Push anti-entropy among so many, with cycles of a second that begin at time zero.
    pub fn new(id: NodeId, nodes: u32) -> Self {
        Self {
            id,
            nodes,
            group: 0,
            style: Style::AntiEntropy,
            exchange: Exchange::Push,
            fanout: 1,
            partners: Partners::Uniform,
            connection_limit: None,
            hunt_limit: Some(0),
            judging: Judging::Snapshot,
            acts: Acts::NextCycle,
            first_cycle: Nanos::ZERO,
            interval: 1_000_000_000,
            turns: 500_000_000,
        }
    }

    pub(super) fn mongering(&self) -> Option<&Mongering> {
        if let Style::Rumor(mongering) = &self.style { Some(mongering) } else { None }
    }
}

/// Which nodes a node chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partners {
    /// Any, with the same probability.
    Uniform,
    /// Any but one that it has all it knows from, while there are others.
    NotSender,
    /// Any but those that it has sent all it knows to, while there are others.
    NotSent,
    /// Those that are near rather than others.
    Near(Arc<Places>),
}

/// How a rumor spreads (Demers et al. 1987; Karp et al. 2000; Leitão et al. 2007).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Its origin posts it to all others, once (section 1.2).
    DirectMail,
    /// Each node compares what it knows with its partners, in every cycle, for ever (section 1.3).
    AntiEntropy,
    /// Each node that knows it spreads it, until it loses interest (section 1.4).
    Rumor(Mongering),
    /// Each node calls others, and sends what it knows both ways, until whom it meets says that it is old.
    MedianCounter(Stages),
    /// A tree among peers carries it, their other links announce it, and what a branch loses is asked for there. The
    /// peers are those that the node was told of.
    Plumtree {
        /// Cycles until a node asks for what was announced.
        graft_timeout: u64,
    },
}

/// Which way a rumor goes in a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// From the node that chose its partner.
    Push,
    /// To the node that chose its partner.
    Pull,
    /// Both ways.
    PushPull,
}

impl Exchange {
    /// Whether it goes to the partner.
    pub const fn pushes(self) -> bool {
        !matches!(self, Self::Pull)
    }

    /// Whether it comes from the partner.
    pub const fn pulls(self) -> bool {
        !matches!(self, Self::Push)
    }
}

/// How a node loses interest in a rumor (section 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mongering {
    /// What makes it lose interest.
    pub interest: Interest,
    /// How it does.
    pub stop: Stop,
    /// After how many, or with what probability after each: 1/k. At least 1.
    pub k: u64,
    /// Whether a useful contact sets the counter back to zero.
    pub reset: bool,
    /// How those count who pull it from one node in a cycle and knew. For feedback.
    pub pulls: Pulls,
    /// When a coin is tossed that does not depend on contacts.
    pub toss: Toss,
    /// Whether of two who both spread it only the one with the smaller counter takes the other for useless, or both if
    /// they are equal. For both ways at once.
    pub minimize: bool,
}

impl Mongering {
    /// Whether a node tosses before it has sent anything, too.
    pub(super) const fn tosses_first(&self) -> bool {
        matches!((self.interest, self.stop, self.toss), (Interest::Blind, Stop::Coin, Toss::Before))
    }
}

/// What makes a node lose interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Contacts who knew the rumor: they say so.
    Feedback,
    /// Cycles, whatever the contacts knew.
    Blind,
}

/// When a node acts on a rumor that it has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// From the cycle after: it has its effect then.
    NextCycle,
    /// At once: it answers with it, and tells it in the same cycle if its turn has not been yet.
    SameCycle,
}

/// How a node loses interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After `k` of them.
    Counter,
    /// With probability 1/`k` after each.
    Coin,
}

/// How those count who pull a rumor from one node in a cycle and knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulls {
    /// Once, and not at all if the node was of use to anyone.
    Together,
    /// Each by itself.
    Each,
}

/// When a blind node tosses its coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toss {
    /// After each cycle in which it spread the rumor.
    After,
    /// Before each cycle in which it would.
    Before,
}

/// When it is judged whether a node knew a rumor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    /// At the start of its cycle: of two who tell it in one cycle, both were useful.
    Snapshot,
    /// When it is told: the first was useful.
    Arrival,
}
