//! The simulator: a seed is a world, healthy protocols pass, and broken ones are caught by name.
#![expect(clippy::disallowed_types, reason = "a protocol to break")]

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use quorumbench::check::History;
use quorumbench::check::history::{Op, Operation};
use quorumbench::sim::checks::property;
use quorumbench::sim::history::judge;
use quorumbench::sim::runner::{run, run_many};
use quorumbench::sim::{
    Abilities, Cluster, Fault, Injected, Membership, Outcome, Paper, PerMode, Print, Subject, View, Wishes, report,
    shrink,
};
use quorumbench::spec::ReadsMode;
use quorumbench_protocols::paxos::Paxos;
use quorumbench_protocols::quorum::Quorums;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::raft::message::{HARD_STATE, NO_VOTE};
use quorumbench_protocols::{
    Config, DeliveryKind, Head, Input, Malformed, Nanos, NodeId, Outbox, Payload, Protocol, ReadAnswer, ReadOutcome,
    Record, Slot,
};

/// One world of Raft, and its whole trace.
fn traced(seed: u64) -> (Outcome, String) {
    let trace = Arc::new(Mutex::new(String::new()));
    let sink = trace.clone();
    let print: Print = Box::new(move |line| {
        let mut trace = sink.lock().expect("nobody panics in here");
        trace.push_str(line);
        trace.push('\n');
    });
    let outcome = run::<Raft>(seed, &Wishes::default(), Some(print));
    let trace = std::mem::take(&mut *trace.lock().expect("nobody panics in here"));
    (outcome, trace)
}

#[test]
fn a_seed_is_a_world() {
    for seed in [1, 2, 3, 42] {
        let ((first, trace), (second, again)) = (traced(seed), traced(seed));
        assert_eq!(first, second);
        assert!(trace == again, "the traces of seed {seed} differ");
        assert!(trace.lines().count() > 100);
    }
    assert_ne!(traced(1).1, traced(2).1);
}

#[test]
fn raft_survives_and_every_fault_is_injected() {
    let (mut injected, mut leaders, mut commands, mut seeds) = (Injected::default(), 0, 0, Vec::new());
    run_many(1, 200, 2, |seed| run::<Raft>(seed, &Wishes::default(), None), &mut |outcome| {
        if let Some(failure) = &outcome.failure {
            panic!("{}", report::failure(&outcome, failure, ""));
        }
        seeds.push(outcome.scenario.seed);
        leaders += outcome.stats.leaders;
        commands += outcome.stats.commands;
        Fault::ALL.iter().for_each(|&fault| injected[fault] += outcome.stats.injected[fault]);
    });
    assert!(seeds.into_iter().eq(1..=200), "in order");
    for &fault in Fault::ALL {
        assert!(injected[fault] > 0, "{fault} never happened");
    }
    assert!(leaders > 1000, "too calm: {leaders} terms were led");
    assert!(commands > 20_000, "too wild: {commands} commands were answered");
}

#[test]
fn members_come_and_go() {
    let moves = [Fault::AddLearner, Fault::Promote, Fault::Remove, Fault::Replace].to_vec();
    let moving = Wishes { strong: moves.clone(), ..Wishes::default() };
    let outcomes = |jobs| {
        let mut outcomes = Vec::new();
        run_many(1, 60, jobs, |seed| run::<Raft>(seed, &moving, None), &mut |outcome| outcomes.push(outcome));
        outcomes
    };
    let seen = outcomes(2);
    for outcome in &seen {
        assert_eq!(outcome.failure, None, "seed {}", outcome.scenario.seed);
        assert!(outcome.scenario.spares > 0 && outcome.scenario.nodes() <= 9);
    }
    let changes: u64 = seen.iter().map(|outcome| outcome.stats.changes).sum();
    assert!(seen.len() == 60 && changes > 600, "{changes} changes in {} seeds", seen.len());
    assert!(seen == outcomes(1), "the same seeds are the same worlds");

    let still = run::<Raft>(1, &Wishes { without: moves, ..moving.clone() }, None);
    assert_eq!((still.scenario.spares, still.stats.changes), (0, 0));
}

#[test]
fn what_the_caller_fixes_is_not_drawn() {
    let cluster = Cluster {
        replicas: 5,
        observers: 0,
        window: 16,
        commands: 3,
        payload: 100,
        election_timeout_ns: 20_000_000,
        heartbeat_ns: 5_000_000,
        quorums: Quorums::majorities(5),
    };
    let wishes = Wishes { cluster: Some(cluster), without: Fault::ALL.to_vec(), length: Some(10), ..Wishes::default() };
    let outcome = run::<Raft>(9, &wishes, None);
    assert_eq!((outcome.scenario.cluster, outcome.failure), (cluster, None));
    assert_eq!((outcome.stats.injected, outcome.stats.leaders), (Injected::default(), 1), "nothing happened");
}

/// What is wrong with a [`Broken`] protocol.
mod flaw {
    pub(super) const DELIVERS_TWICE: u8 = 0;
    pub(super) const SKIPS_A_SLOT: u8 = 1;
    pub(super) const DELIVERS_ANOTHER_BATCH: u8 = 2;
    /// Acknowledges before it is durable.
    pub(super) const HASTY: u8 = 3;
    /// Its vote is not durable.
    pub(super) const FORGETS_ITS_VOTE: u8 = 4;
    /// Recovers with an older record in the place of its last.
    pub(super) const FORGETS_A_SLOT: u8 = 5;
    pub(super) const NEVER_WAKES: u8 = 6;
    pub(super) const PANICS: u8 = 7;
    pub(super) const SPEAKS_NONSENSE: u8 = 8;
    /// Goes by a joint configuration for ever.
    pub(super) const STAYS_JOINT: u8 = 9;
    /// Answers every read from what it has, as if it led.
    pub(super) const READS_AT_ONCE: u8 = 10;
}

/// Raft with a flaw.
struct Broken<const FLAW: u8> {
    raft: Raft,
    flushes: u64,
    slots: u64,
}

impl<const FLAW: u8> Broken<FLAW> {
    fn of(raft: Raft) -> Self {
        Self { raft, flushes: 0, slots: 0 }
    }

    fn spoil_deliveries(&mut self, out: &mut Outbox) {
        let before = self.slots;
        self.slots += out.deliveries.len() as u64;
        if before < 5 && self.slots >= 5 {
            match FLAW {
                flaw::DELIVERS_TWICE => out.deliveries.extend_from_within(out.deliveries.len() - 1..),
                flaw::SKIPS_A_SLOT => drop(out.deliveries.pop()),
                flaw::DELIVERS_ANOTHER_BATCH => {
                    let body: Payload = bytes::Bytes::from_static(b"another").into();
                    out.deliveries.last_mut().expect("some came").body = body;
                }
                flaw::PANICS => panic!("five slots are too many"),
                _ => {}
            }
        }
    }
}

impl<const FLAW: u8> Protocol for Broken<FLAW> {
    const SNAPSHOT_RECORD: Option<u8> = Raft::SNAPSHOT_RECORD;

    fn new(config: &Config, seed: u64) -> Self {
        Self::of(Raft::new(config, seed))
    }

    fn recover(config: &Config, seed: u64, records: &[Record]) -> Result<Self, Malformed> {
        let mut records = records.to_vec();
        if FLAW == flaw::FORGETS_ITS_VOTE {
            let states = records.iter_mut().filter(|record| record.head.kind == HARD_STATE);
            states.for_each(|record| record.head.words[1] = NO_VOTE);
        }
        let state = records.iter().rev().find(|record| record.head.kind == HARD_STATE).map(|record| record.head);
        if let (flaw::FORGETS_A_SLOT, Some(head), Some(last)) = (FLAW, state, records.last_mut()) {
            (last.head, last.body) = (head, Payload::EMPTY);
        }
        Raft::recover(config, seed, &records).map(Self::of)
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        if let (flaw::READS_AT_ONCE, Input::Read { id, .. }) = (FLAW, input) {
            out.reads.push(ReadAnswer { id, outcome: ReadOutcome::At(Slot::ZERO) });
            return Ok(());
        }
        self.raft.step(now, input, out)
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        let before = out.deliveries.len();
        self.raft.flush(now, out);
        if let (flaw::HASTY, Some(record)) = (FLAW, out.records.last()) {
            let hasty = Input::Durable(record.lsn);
            self.raft.step(now, hasty, &mut Outbox::default()).expect("no frame");
            self.raft.flush(now, out);
        }
        if FLAW == flaw::SPEAKS_NONSENSE {
            self.flushes += 1;
            let nonsense = out.transmits.first_mut().filter(|_| self.flushes > 100);
            nonsense.into_iter().for_each(|transmit| transmit.head.words[0] = u64::MAX);
        }
        if before == 0 && !out.deliveries.is_empty() {
            self.spoil_deliveries(out);
        }
    }

    fn deadline(&self) -> Nanos {
        if FLAW == flaw::NEVER_WAKES { Nanos::NEVER } else { self.raft.deadline() }
    }

    fn room(&self) -> usize {
        self.raft.room()
    }

    fn wants_snapshot(&self) -> bool {
        self.raft.wants_snapshot()
    }

    fn leader(&self) -> Option<NodeId> {
        self.raft.leader()
    }
}

impl<const FLAW: u8> Subject for Broken<FLAW> {
    const PAPER: Paper = Paper::Raft;
    const ABILITIES: Abilities = Raft::ABILITIES;

    fn view(&self) -> View {
        self.raft.view()
    }

    fn stamp(&self, slot: Slot) -> Option<u64> {
        Subject::stamp(&self.raft, slot)
    }

    fn entry(&self, slot: Slot) -> Option<(DeliveryKind, &Payload)> {
        self.raft.entry(slot)
    }

    fn members(&self) -> Option<Membership> {
        let members = Subject::members(&self.raft)?;
        let outgoing = if FLAW == flaw::STAYS_JOINT { members.voters } else { members.outgoing };
        Some(Membership { outgoing, ..members })
    }

    fn describe(head: &Head) -> String {
        Raft::describe(head)
    }
}

/// The first seed that finds the flaw.
fn found<const FLAW: u8>(within: u64) -> Outcome {
    let wishes = Wishes::default();
    let outcome = (1..=within).map(|seed| run::<Broken<FLAW>>(seed, &wishes, None)).find(|it| it.failure.is_some());
    println!("flaw {FLAW}: seed {:?}", outcome.as_ref().map(|outcome| outcome.scenario.seed));
    outcome.unwrap_or_else(|| panic!("flaw {FLAW} survives {within} seeds"))
}

fn named(outcome: &Outcome) -> &'static str {
    outcome.failure.as_ref().expect("it failed").violation.property
}

#[test]
fn broken_deliveries_are_caught_by_name() {
    assert_eq!(named(&found::<{ flaw::DELIVERS_TWICE }>(5)), property::DELIVERY_IN_ORDER);
    assert_eq!(named(&found::<{ flaw::SKIPS_A_SLOT }>(5)), property::DELIVERY_IN_ORDER);
    assert_eq!(named(&found::<{ flaw::DELIVERS_ANOTHER_BATCH }>(5)), property::STATE_MACHINE_SAFETY);
}

#[test]
fn broken_promises_are_caught_by_name() {
    let lost = [property::LEADER_COMPLETENESS, property::COMMITTED_NEVER_CHANGES, property::ACKNOWLEDGED_IS_KEPT];
    let hasty = found::<{ flaw::HASTY }>(200);
    // A node that takes all for durable lets go of a journal whose snapshot is not: then its vote is lost as well.
    let forgotten = named(&hasty) == property::ELECTION_SAFETY;
    assert!(forgotten || lost.contains(&named(&hasty)), "{:?}", hasty.failure);
    let forgets = found::<{ flaw::FORGETS_A_SLOT }>(200);
    assert!(lost.contains(&named(&forgets)), "{:?}", forgets.failure);
    assert_eq!(named(&found::<{ flaw::FORGETS_ITS_VOTE }>(50)), property::ELECTION_SAFETY);
}

#[test]
fn broken_nodes_are_caught_by_name() {
    assert_eq!(named(&found::<{ flaw::NEVER_WAKES }>(1)), property::LIVENESS);
    assert_eq!(named(&found::<{ flaw::STAYS_JOINT }>(1)), property::LIVENESS);
    assert_eq!(named(&found::<{ flaw::PANICS }>(5)), property::NO_PANIC);
    assert_eq!(named(&found::<{ flaw::SPEAKS_NONSENSE }>(10)), property::WELL_FORMED);
}

/// Where frames are duplicated and a node is slow, who answers each word with another never ends: this world had fifty
/// million events, and has eighty thousand.
#[test]
fn words_do_not_multiply() {
    let outcome = run::<Paxos>(86_467_399_801_267, &Wishes::default(), None);
    assert_eq!(outcome.failure, None);
    assert!(outcome.stats.events < 1_000_000, "{:?}", outcome.stats.injected);
}

#[test]
fn reads_are_held_to_what_their_mode_promises() {
    assert_eq!(named(&found::<{ flaw::READS_AT_ONCE }>(20)), property::LINEARIZABLE_READS);
    // The same answers are good enough for whoever asks for no more.
    let wishes = Wishes { reads: Some(ReadsMode::Stale), ..Wishes::default() };
    for seed in 1..=20 {
        assert_eq!(run::<Broken<{ flaw::READS_AT_ONCE }>>(seed, &wishes, None).failure, None);
    }
}

#[test]
fn every_way_to_read_survives_and_is_counted() {
    for (at, &mode) in ReadsMode::ALL.iter().enumerate() {
        let wishes = Wishes { reads: Some(mode), ..Wishes::default() };
        let (mut reads, mut noted) = (PerMode::default(), 0);
        run_many(1, 60, 2, |seed| run::<Raft>(seed, &wishes, None), &mut |outcome| {
            if let Some(failure) = &outcome.failure {
                panic!("{}", report::failure(&outcome, failure, ""));
            }
            reads.iter_mut().zip(outcome.stats.reads).for_each(|(sum, reads)| *sum += reads);
            noted += outcome.history.operations().iter().filter(|operation| operation.op == Op::Get).count();
        });
        assert!(reads[at] > 3000, "{mode}: {reads:?}");
        assert_eq!(reads.iter().sum::<u64>(), reads[at], "{mode} only: {reads:?}");
        assert_eq!(noted == 0, mode == ReadsMode::Stale, "stale reads are in no history");
    }
}

/// What clients saw in a healthy world, but for what `spoil` makes of it.
fn judged(seed: u64, spoil: impl Fn(&mut [Operation])) -> Option<&'static str> {
    let outcome = run::<Raft>(seed, &Wishes::default(), None);
    assert_eq!(outcome.failure, None);
    let mut operations = outcome.history.operations().to_vec();
    spoil(&mut operations);
    judge(&operations.into_iter().collect()).err().map(|violation| violation.property)
}

/// A put that was answered, and a later get of it, with nothing else of that key in between or beside them.
fn quiet_pair(operations: &[Operation]) -> Option<(usize, usize)> {
    let done = |at: usize| operations[at].return_ns.unwrap_or(u64::MAX);
    let reads = (0..operations.len()).filter(|&at| operations[at].op == Op::Get && operations[at].value.is_some());
    reads.into_iter().find_map(|get| {
        let write = |at: &usize| operations[*at].op == Op::Put && operations[*at].value == operations[get].value;
        let put = (0..get).find(write).filter(|&put| done(put) < operations[get].invoke_ns)?;
        let same_key = |&at: &usize| operations[at].key == operations[get].key && ![put, get].contains(&at);
        let apart = |at: usize| done(at) < operations[put].invoke_ns || done(get) < operations[at].invoke_ns;
        let reads_or_apart = |at: usize| operations[at].op == Op::Get || apart(at);
        (0..operations.len()).filter(same_key).all(reads_or_apart).then_some((put, get))
    })
}

#[test]
fn what_no_map_would_have_said_is_not_linearizable() {
    let (mut stale, mut lost) = (0, 0);
    for seed in 1..=40 {
        assert_eq!(judged(seed, |_| ()), None);
        // A replica that is behind answers a read with what a put has long overwritten.
        let read_stale = judged(seed, |operations| {
            if let Some((_, get)) = quiet_pair(operations) {
                operations[get].value = Some("of old".into());
            }
        });
        // A put is acknowledged and forgotten.
        let forgotten = judged(seed, |operations| {
            if let Some((put, _)) = quiet_pair(operations) {
                operations[put].value = Some("another".into());
            }
        });
        stale += u32::from(read_stale == Some(property::LINEARIZABILITY));
        lost += u32::from(forgotten == Some(property::LINEARIZABILITY));
    }
    assert!(stale >= 5 && lost >= 5, "of 40 seeds, {stale} stale reads and {lost} lost puts were found");
}

#[test]
fn a_failing_seed_says_all_that_is_known_and_shrinks() {
    let try_out = |seed, wishes: &Wishes| run::<Broken<{ flaw::HASTY }>>(seed, wishes, None);
    let mut failing = (1..200).map(|seed| try_out(seed, &Wishes::default())).filter(|it| it.failure.is_some());
    // Alone it would be caught without a crash: it lets go of what it has just written.
    let never_alone = |it: &Outcome| it.scenario.cluster.replicas > 1 && it.scenario.spares == 0;
    let outcome = failing.find(never_alone).expect("the flaw is found");
    let seed = outcome.scenario.seed;
    let run = |wishes: &Wishes| try_out(seed, wishes);
    assert_eq!(run(&Wishes::default()), outcome, "it replays");

    let text = report::failure(&outcome, outcome.failure.as_ref().expect("it failed"), "THE COMMAND");
    for part in [named(&outcome), &format!("seed      {seed}\n"), "commit ", "legend:", "THE COMMAND", "\n  n0 "] {
        assert!(text.contains(part), "no {part} in {text}");
    }

    let (fewer, shrunk) = shrink::shrink(&Wishes::default(), &outcome, &run);
    let drawn = |outcome: &Outcome| Fault::ALL.iter().filter(|&&it| outcome.scenario.strengths[it] > 0).count();
    assert_eq!(named(&shrunk), named(&outcome));
    assert!(drawn(&shrunk) < drawn(&outcome), "{} faults, as before", drawn(&shrunk));
    assert_eq!(run(&fewer), shrunk, "the smaller world replays too");
    let crashes = [Fault::Crash, Fault::Blackout, Fault::DiskFailure, Fault::ShortReign, Fault::Overwrite];
    assert!(crashes.iter().any(|&fault| shrunk.scenario.strengths[fault] > 0), "without a crash nothing is lost");
}

fn sim(arguments: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_quorumbench"));
    program.arg("sim").args(arguments.split_whitespace()).output().expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn the_command_prints_the_same_with_any_number_of_threads() {
    let (one, two) = (sim("--seeds 20 --jobs 1"), sim("--protocol raft --seeds 20 --jobs 2"));
    assert!(one.status.success() && two.status.success());
    assert_eq!(stdout(&one), stdout(&two));
    assert!(stdout(&one).starts_with("seeds           20\nevents  "), "{}", stdout(&one));
}

#[test]
fn the_command_shows_every_event() {
    let (first, second) = (sim("--seed 42 --trace"), sim("--seed 42 --trace"));
    assert!(first.status.success());
    assert!(first.stdout == second.stdout && first.stdout.len() > 10_000);
    let fewer = sim("--seed 42 --trace --without loss --without crash --length 5");
    assert!(fewer.status.success() && fewer.stdout != first.stdout);
}

#[test]
fn the_command_stops_when_its_time_is_over() {
    let output = sim("--seeds 1000000000 --seconds 1 --jobs 2");
    assert!(output.status.success());
    let last = stdout(&output).lines().last().map(str::to_owned).unwrap_or_default();
    assert!(last.starts_with("stopped         by --seconds 1: ") && last.ends_with(" of 1000000000 seeds were run"));
    let whole = sim("--seeds 5 --seconds 1000");
    assert_eq!(stdout(&whole), stdout(&sim("--seeds 5")), "nothing is said of time that was not needed");
}

#[test]
fn the_command_writes_what_clients_saw() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = |name: &str, arguments: &str| {
        let path = folder.path().join(name);
        let output = sim(&format!("{arguments} --history {}", path.display()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(&path).expect("it was written")
    };
    let first = written("first", "--seed 7");
    assert!(first == written("second", "--seed 7"), "the same seed, the same bytes");
    assert!(first == written("last", "--seed 3 --seeds 5 --jobs 2"), "of several seeds the last");
    let history = History::read(&first[..]).expect("it reads back");
    assert!(history.operations().len() > 10);
    assert_eq!(judge(&history), Ok(()));
    for too_far in ["--seed 18446744073709551615", "--length 18446744073709551615"] {
        assert_eq!(sim(too_far).status.code(), Some(2), "{too_far} would check nothing, or wrap");
    }
    let nowhere = sim("--seed 7 --history no-such-folder/h");
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn the_command_refuses_what_makes_no_sense() {
    for (arguments, word) in [
        ("--protocol echo", "survives no faults"),
        ("--protocol star", "survives no faults"),
        ("--protocol rfat", "there are: raft"),
        ("--without rain", "torn-tail"),
        ("--reads twice", "may lag behind"),
        ("--seeds 0", "0 is not in"),
        ("no-such-config.toml", "no-such-config.toml"),
    ] {
        let output = sim(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(word), "{arguments}: {said}");
    }
}

#[test]
fn the_command_checks_an_experiments_clusters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("x.toml");
    let write = |text: &str| std::fs::write(&config, text).expect("the folder is writable");
    write("name = 'x'\n[cluster]\nprotocol = ['echo', 'raft']\nreplicas = [3, 5]\n");
    let output = sim(&format!("{} --seeds 4", config.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    write("name = 'x'\n[cluster]\nprotocol = 'echo'\n");
    let refused = sim(&format!("{} --seeds 4", config.display()));
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("survive no faults"));
}
