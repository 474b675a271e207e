//! What is printed: a summary of many seeds, or all that is known of a failing one.

use std::fmt::{self, Write as _};

use quorumbench_protocols::quorum::Quorums;

use super::fault::{Fault, Injected};
use super::runner::{Failure, Outcome};
use super::swarm::Scenario;
use super::trace::LEGEND;
use super::world::{PerMode, Stats};
use crate::host;
use crate::spec::ReadsMode;
use crate::summary::thousands;

/// Sums over seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub seeds: u64,
    /// What happened in them, added up.
    pub stats: Stats,
}

impl Totals {
    /// Adds a seed.
    pub fn add(&mut self, outcome: &Outcome) {
        let (sum, stats) = (&mut self.stats, &outcome.stats);
        self.seeds += 1;
        sum.events += stats.events;
        sum.leaders += stats.leaders;
        sum.commands += stats.commands;
        sum.reads.iter_mut().zip(stats.reads).for_each(|(sum, reads)| *sum += reads);
        sum.slots += stats.slots;
        sum.changes += stats.changes;
        sum.virtual_ns += stats.virtual_ns;
        for &fault in Fault::ALL {
            sum.injected[fault] += stats.injected[fault];
        }
    }

    /// A few lines for people. The same seeds give the same bytes: there is no real time in them.
    pub fn text(&self) -> String {
        let stats = &self.stats;
        let number = |number: u64| thousands(number as f64);
        let mut text = String::new();
        for (name, value) in [
            ("seeds", number(self.seeds)),
            ("events", number(stats.events)),
            ("virtual time", format!("{} s", number(stats.virtual_ns / 1_000_000_000))),
            ("leader changes", number(stats.leaders.saturating_sub(self.seeds))),
            ("commands", number(stats.commands)),
            ("reads", reads(&stats.reads)),
            ("slots", number(stats.slots)),
            ("member changes", number(stats.changes)),
            ("faults", faults(&stats.injected)),
        ] {
            let _ = writeln!(text, "{name:<15} {value}");
        }
        text
    }
}

fn reads(reads: &PerMode) -> String {
    counts(ReadsMode::ALL.iter().zip(reads.iter().copied()))
}

fn faults(injected: &Injected) -> String {
    counts(Fault::ALL.iter().map(|fault| (fault, injected[*fault])))
}

fn counts<T: fmt::Display>(of: impl Iterator<Item = (T, u64)>) -> String {
    let counted = of.filter(|&(_, count)| count > 0);
    let counts: Vec<_> = counted.map(|(what, count)| format!("{what} {}", thousands(count as f64))).collect();
    if counts.is_empty() { "none".into() } else { counts.join(", ") }
}

/// All that is known of a failing seed, and how to see it again.
pub fn failure(outcome: &Outcome, failure: &Failure, replay: &str) -> String {
    let Scenario { seed, cluster, spares, clients, strengths, .. } = &outcome.scenario;
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    line(format_args!("VIOLATED  {}", failure.violation.property));
    line(format_args!("          {}", failure.violation.detail));
    line(format_args!("seed      {seed}"));
    line(format_args!("commit    {}", if host::COMMIT.is_empty() { "unknown" } else { host::COMMIT }));
    line(format_args!(
        "cluster   {} replicas, {} spares, {} clients (reads: {}), window {}, batches of {} commands, values of {} B, election timeout {} ms",
        cluster.replicas,
        spares,
        clients.count,
        clients.mode,
        cluster.window,
        cluster.commands,
        cluster.payload,
        cluster.election_timeout_ns / 1_000_000
    ));
    let quorums = cluster.quorums;
    if quorums != Quorums::majorities(cluster.replicas) {
        line(format_args!("quorums   {} promise, {} accept", quorums.phase1(), quorums.phase2()));
    }
    let drawn: Vec<_> = Fault::ALL.iter().filter(|fault| strengths[**fault] > 0).map(|fault| fault.name()).collect();
    line(format_args!("drawn     {}", if drawn.is_empty() { "no faults".into() } else { drawn.join(" ") }));
    line(format_args!("injected  {}", faults(&outcome.stats.injected)));
    line(format_args!("\n{LEGEND}\n\nthe nodes after event {}:", outcome.stats.events));
    failure.states.iter().for_each(|state| line(format_args!("  {state}")));
    line(format_args!("\nthe last events:"));
    failure.last_events.iter().for_each(|event| line(format_args!("  {event}")));
    line(format_args!("\nreplay    {replay}   (--trace shows every event)"));
    text
}
