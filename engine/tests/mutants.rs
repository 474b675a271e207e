//! Bugs that real systems shipped, planted one at a time: the simulator finds each, by the right name.
//!
//! Needs the feature: `cargo test -p quorumbench --features mutants --test mutants -- --nocapture`.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use quorumbench::sim::runner::run_many;
use quorumbench::sim::{Cluster, Fault, Outcome, Wishes, protocols, report};
use quorumbench::spec::{ProtocolName, ReadsMode};
use quorumbench_protocols::mutant::{Mutant, Switch};
use quorumbench_protocols::quorum::Quorums;

/// Where bugs are looked for: what of the draw is fixed, and how many seeds are searched: all of them are
/// clean without a bug.
struct Ground {
    /// Before the seed's number in the table.
    name: &'static str,
    /// All of them if there are none.
    protocols: &'static [ProtocolName],
    cluster: Option<Cluster>,
    strong: &'static [Fault],
    length: Option<u64>,
    reads: Option<ReadsMode>,
    seeds: u64,
}

/// In this order.
const GROUNDS: [Ground; 4] = [
    Ground { name: "", protocols: &[], cluster: None, strong: &[], length: None, reads: None, seeds: 3000 },
    // Four nodes that lose members: two majorities of three out of four need not meet.
    Ground {
        name: "leaving ",
        protocols: &[ProtocolName::Raft],
        cluster: Some(EVEN),
        strong: &LEAVING,
        length: Some(40),
        reads: Some(ReadsMode::Log),
        seeds: 2000,
    },
    // Three nodes that send one slot at a time, for long: where logs part again and again. Clients read
    // through the log, so that it is long.
    Ground {
        name: "narrow ",
        protocols: &[],
        cluster: Some(NARROW),
        strong: &[],
        length: Some(300),
        reads: Some(ReadsMode::Log),
        seeds: 3000,
    },
    Ground {
        name: "leases ",
        protocols: &[ProtocolName::Raft, ProtocolName::MultiPaxos],
        cluster: Some(NARROW),
        strong: &[],
        length: Some(300),
        reads: Some(ReadsMode::Lease),
        seeds: 3000,
    },
];

const NARROW: Cluster = Cluster {
    replicas: 3,
    observers: 0,
    window: 1,
    commands: 1,
    payload: 8,
    election_timeout_ns: 50_000_000,
    heartbeat_ns: 10_000_000,
    quorums: Quorums::majorities(3),
};
const EVEN: Cluster = Cluster { replicas: 4, window: 8, ..NARROW };
const LEAVING: [Fault; 2] = [Fault::Remove, Fault::ShortReign];

impl Ground {
    fn is_for(&self, protocol: ProtocolName) -> bool {
        self.protocols.is_empty() || self.protocols.contains(&protocol)
    }

    fn wishes(&self, mutant: Switch) -> Wishes {
        Wishes {
            cluster: self.cluster,
            strong: self.strong.to_vec(),
            length: self.length,
            reads: self.reads,
            mutant,
            ..Wishes::default()
        }
    }
}

/// Known to survive: what the simulator still has to learn. One that is found must leave this list.
const SURVIVORS: &[Mutant] = &[Mutant::R3c];

/// The first seed that fails with this bug planted, and on which ground.
fn found(mutant: Mutant) -> Option<(&'static Ground, Outcome)> {
    let protocol = ProtocolName::named(mutant.protocol()).expect("a protocol");
    let search = |ground: &'static Ground| {
        Some((ground, first_to_fail(protocol, &ground.wishes(Switch::on(mutant)), ground.seeds)?))
    };
    GROUNDS.iter().filter(|ground| ground.is_for(protocol)).find_map(search)
}

/// What the same world comes to without the bug.
fn without(mutant: Mutant, ground: &Ground, seed: u64) -> Outcome {
    let protocol = ProtocolName::named(mutant.protocol()).expect("a protocol");
    run(protocol, seed, &ground.wishes(Switch::default()))
}

fn run(protocol: ProtocolName, seed: u64, wishes: &Wishes) -> Outcome {
    protocols::run(protocol, seed, wishes, None).expect("no floor")
}

fn first_to_fail(protocol: ProtocolName, wishes: &Wishes, seeds: u64) -> Option<Outcome> {
    let failed = Mutex::new(None);
    run_many(1, seeds, 2, |seed| run(protocol, seed, wishes), &mut |outcome| {
        if outcome.failure.is_some() {
            *failed.lock().expect("nobody panics in here") = Some(outcome);
        }
    });
    failed.into_inner().expect("nobody panicked in there")
}

#[test]
fn every_planted_bug_is_found_by_the_right_name() {
    // For a look at a few: their names, with spaces between them.
    let wanted = std::env::var("MUTANTS").ok();
    let is_wanted = |mutant: &&Mutant| {
        wanted.as_ref().is_none_or(|names| names.split_whitespace().any(|name| name == mutant.name()))
    };
    let (mut wrong, mut table) = (Vec::new(), Table::read());
    println!("| bug | what is wrong | seen in | seeds | property named |\n|---|---|---|---:|---|");
    for mutant in Mutant::ALL.iter().filter(is_wanted) {
        let (name, bug, seen) = (mutant.name(), mutant.bug(), mutant.seen());
        let Some((ground, outcome)) = found(*mutant) else {
            table.has(name, &format!("| {name} | {bug} | {seen} | - | survives |"));
            if !SURVIVORS.contains(mutant) {
                wrong.push(name);
            }
            continue;
        };
        if SURVIVORS.contains(mutant) {
            wrong.push(name);
        }
        let (violation, seed) = (outcome.failure.expect("it failed").violation, outcome.scenario.seed);
        table.has(name, &format!("| {name} | {bug} | {seen} | {}{seed} | {} |", ground.name, violation.property));
        if !mutant.breaks().contains(&violation.property) {
            println!("  {violation}");
            wrong.push(name);
        }
        if let Some(failure) = without(*mutant, ground, seed).failure {
            println!("  also without the bug: {}", failure.violation);
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not found, or by another name: {}", wrong.join(" "));
    table.end();
}

/// What `docs/planted-bugs.md` says of each.
struct Table {
    path: PathBuf,
    text: String,
    wrong: Vec<&'static str>,
}

impl Table {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/planted-bugs.md");
        let text = fs::read_to_string(&path).expect("the document");
        Self { path, text, wrong: Vec::new() }
    }

    /// A bug's row is this one.
    fn has(&mut self, name: &'static str, row: &str) {
        println!("{row}");
        if self.text.lines().any(|line| line == row) {
            return;
        }
        self.wrong.push(name);
        let begin = format!("| {name} |");
        let line = |line| if str::starts_with(line, &begin) { row } else { line };
        self.text = self.text.lines().flat_map(|each| [line(each), "\n"]).collect();
    }

    /// With `UPDATE=1` it says from now on what was found.
    fn end(self) {
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&self.path, &self.text).expect("the document can be written");
        } else {
            let wrong = self.wrong.join(" ");
            assert!(
                wrong.is_empty(),
                "docs/planted-bugs.md says otherwise of {wrong}; UPDATE=1 with this test rewrites it"
            );
        }
    }
}

/// Where a bug was found the world is clean without it, as is tested with each. This is all of them: thirty thousand.
#[test]
#[ignore = "minutes of two cores"]
fn without_a_bug_all_the_seeds_are_clean() {
    for &protocol in ProtocolName::ALL.iter().filter(|protocol| protocol.has_log()) {
        for ground in GROUNDS.iter().filter(|ground| ground.is_for(protocol)) {
            let wishes = ground.wishes(Switch::default());
            run_many(1, ground.seeds, 2, |seed| run(protocol, seed, &wishes), &mut |outcome| {
                if let Some(failure) = &outcome.failure {
                    panic!("{protocol}: {}", report::failure(&outcome, failure, ""));
                }
            });
        }
    }
}
