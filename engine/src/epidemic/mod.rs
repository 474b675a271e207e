//! Epidemics among nodes: gossip's state machines ([`quorumbench_protocols::gossip`]), each with its own state, that know
//! of each other only what they say.
//!
//! [`crate::population`] has the same rules over bitsets, for millions of nodes at once; what comes out is the same, and a
//! test holds the two to each other. Here the nodes run in virtual time, one event after the other.

mod virtual_time;

use std::sync::atomic::AtomicBool;

use quorumbench_protocols::NodeId;
use quorumbench_protocols::gossip::{self, Config, Mongering};

use crate::population::epidemic_of;
use crate::results::Epidemic;
use crate::spec::{Exchange, Gossip, Interest, Judging, Stop, Style};

pub use virtual_time::VirtualTime;

/// Runs `gossip.trials` epidemics in virtual time, as [`crate::population::epidemic`] does over a population.
pub fn epidemic(
    nodes: usize,
    gossip: &Gossip,
    seed: u64,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Option<Epidemic> {
    epidemic_of(nodes, gossip, seed, threads, interrupted, progress, &|| {
        let mut world = VirtualTime::new(nodes, gossip);
        move |prng, go_on: &dyn Fn() -> bool| world.trial(prng, go_on)
    })
}

/// A node of so many that goes by these rules.
pub(crate) fn config(id: NodeId, nodes: usize, rules: &Gossip) -> Config {
    Config {
        style: match rules.style {
            Style::DirectMail => gossip::Style::DirectMail,
            Style::AntiEntropy => gossip::Style::AntiEntropy,
            Style::Rumor => gossip::Style::Rumor(mongering(rules)),
        },
        exchange: match rules.exchange {
            Exchange::Push => gossip::Exchange::Push,
            Exchange::Pull => gossip::Exchange::Pull,
            Exchange::PushPull => gossip::Exchange::PushPull,
        },
        fanout: rules.fanout,
        connection_limit: rules.connection_limit,
        hunt_limit: rules.hunt_limit,
        judging: match rules.judging {
            Judging::Snapshot => gossip::Judging::Snapshot,
            Judging::Arrival => gossip::Judging::Arrival,
        },
        ..Config::new(id, nodes as u32)
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
        minimize: rules.minimize,
    }
}
