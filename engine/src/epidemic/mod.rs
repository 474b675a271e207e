//! Epidemics among nodes: gossip's state machines ([`quorumbench_protocols::gossip`]), each with its own state, that know
//! of each other only what they say.
//!
//! [`crate::population`] has the same rules over bitsets, for millions of nodes at once; what comes out is the same, and a
//! test holds the two to each other. Here the nodes run in virtual time, one event after the other.

mod trips;
mod updates;
mod virtual_time;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use quorumbench_protocols::gossip::{self, Config, Mongering};
use quorumbench_protocols::{Nanos, NodeId, Prng};

use crate::population::{SoFar, epidemic_of, places, stages};
use crate::results::Epidemic;
use crate::spec::{Acts, Exchange, Gossip, Interest, Judging, PartnerChoice, Pulls, Rounds, Stop, Style, Toss};

use trips::Trips;
pub(crate) use updates::{Updates, together};
pub use virtual_time::VirtualTime;
pub(crate) use virtual_time::refusal;

/// Runs `gossip.trials` epidemics in virtual time, as [`crate::population::epidemic`] does over a population.
pub fn epidemic(
    nodes: usize,
    gossip: &Gossip,
    seed: u64,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(SoFar),
) -> Option<Epidemic> {
    epidemic_of(nodes, gossip, seed, threads, interrupted, progress, &|| {
        let mut world = VirtualTime::new(nodes, gossip);
        move |prng, go_on: &dyn Fn() -> bool| world.trial(prng, go_on)
    })
}

/// What is the same in all trials: a node as they all are.
#[derive(Debug)]
pub(crate) struct Rules {
    config: Config,
    /// In asynchronous rounds each node's cycles have a phase of their own, and its turn is at their very beginning.
    own_clocks: bool,
}

impl Rules {
    pub(crate) fn new(nodes: usize, rules: &Gossip) -> Self {
        Self { config: config(nodes, rules), own_clocks: rules.rounds == Rounds::Asynchronous }
    }

    /// Every node of a trial as it is to be made, with its seed: cycles are so long, and the first begins at this time.
    pub(crate) fn members(
        &self,
        first_cycle: Nanos,
        interval: u64,
        prng: &mut Prng,
    ) -> impl Iterator<Item = (Config, u64)> {
        (0..self.config.nodes).map(move |id| {
            let seed = prng.next_u64();
            let phase = if self.own_clocks { prng.below(interval) } else { 0 };
            let turns = if self.own_clocks { 0 } else { interval / 2 };
            let (id, first_cycle, rules) = (NodeId(id), first_cycle + phase, self.config.clone());
            (Config { id, first_cycle, interval, turns, ..rules }, seed)
        })
    }
}

/// Any node of so many that goes by these rules.
fn config(nodes: usize, rules: &Gossip) -> Config {
    // What each has for a cycle is its own: another's start says nothing of what it knew.
    let at_start = rules.judging == Judging::Snapshot && rules.rounds == Rounds::Synchronous;
    Config {
        style: match rules.style {
            Style::DirectMail => gossip::Style::DirectMail,
            Style::AntiEntropy => gossip::Style::AntiEntropy,
            Style::Rumor => gossip::Style::Rumor(mongering(rules)),
            Style::MedianCounter => gossip::Style::MedianCounter(stages(nodes)),
            Style::Plumtree => gossip::Style::Plumtree { graft_timeout: rules.graft_timeout as u64 },
        },
        exchange: match rules.exchange {
            Exchange::Push => gossip::Exchange::Push,
            Exchange::Pull => gossip::Exchange::Pull,
            Exchange::PushPull => gossip::Exchange::PushPull,
        },
        fanout: rules.fanout,
        partners: match (rules.partners, places(nodes, rules)) {
            (_, Some(places)) => gossip::Partners::Near(Arc::new(places)),
            (PartnerChoice::NotSender, _) => gossip::Partners::NotSender,
            (PartnerChoice::NotSent, _) => gossip::Partners::NotSent,
            _ => gossip::Partners::Uniform,
        },
        connection_limit: rules.connection_limit,
        hunt_limit: rules.hunt_limit,
        judging: if at_start { gossip::Judging::Snapshot } else { gossip::Judging::Arrival },
        acts: match rules.acts {
            Acts::NextCycle => gossip::Acts::NextCycle,
            Acts::SameCycle => gossip::Acts::SameCycle,
        },
        ..Config::new(NodeId(0), nodes as u32)
    }
}

fn mongering(rules: &Gossip) -> Mongering {
    Mongering {
        interest: match rules.interest {
            Interest::Feedback => gossip::Interest::Feedback,
            Interest::Blind => gossip::Interest::Blind,
        },
        stop: match rules.stop {
            Stop::Counter => gossip::Stop::Counter,
            Stop::Coin => gossip::Stop::Coin,
        },
        k: rules.k as u64,
        reset: rules.reset,
        pulls: match rules.pulls {
            Pulls::Together => gossip::Pulls::Together,
            Pulls::Each => gossip::Pulls::Each,
        },
        toss: match rules.toss {
            Toss::After => gossip::Toss::After,
            Toss::Before => gossip::Toss::Before,
        },
        minimize: rules.minimize,
    }
}
