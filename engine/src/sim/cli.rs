//! `quorumbench sim`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::fault::Fault;
use super::protocols;
use super::report::{self, Totals};
use super::runner::{self, Outcome, Print};
use super::shrink;
use super::swarm::{Cluster, Wishes};
use crate::check::History;
use crate::console::{exit, fail};
use crate::host;
use crate::spec::{Point, ProtocolName, ReadsMode, Spec};
use crate::summary::thousands;

/// Checks a protocol: the code that is measured, in virtual time, under faults, every property after every event.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SimArgs {
    /// An experiment whose clusters are checked; without it each seed draws its own
    #[arg(value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// The protocol [default: those of CONFIG, or raft]
    #[arg(long, value_name = "NAME", value_parser = protocol_named)]
    protocol: Option<ProtocolName>,
    /// How many seeds, each a world of its own [default: 100, or 1 with --seed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first seed [default: 1]
    #[arg(long, value_name = "SEED", value_parser = clap::value_parser!(u64).range(..=MOST_SEED))]
    seed: Option<u64>,
    /// Begins no seed after this much real time; those that were begun are finished. How many they are then depends on
    /// the machine, and the summary says so
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Prints every event
    #[arg(long)]
    trace: bool,
    /// Looks for fewer faults with which a failing seed still fails
    #[arg(long)]
    shrink: bool,
    /// Writes what clients invoked and saw, one JSON object a line: of the seed that fails, or else of the last.
    /// Stale reads are not in it: no order of all that was asked need explain them
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Switches a kind of fault off. May be given several times
    #[arg(long, value_name = "FAULT", value_parser = fault_named)]
    without: Vec<Fault>,
    /// How clients read [default: each seed draws it]
    #[arg(long, value_name = "MODE", value_parser = mode_named)]
    reads: Option<ReadsMode>,
    /// How long things may break, in election timeouts
    #[arg(long, value_name = "TIMEOUTS", value_parser = clap::value_parser!(u64).range(..=MOST_LENGTH))]
    length: Option<u64>,
    /// Threads. Outcomes do not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Overrides a key of CONFIG. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    overrides: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench sim --protocol raft --seeds 1000           a thousand worlds, each with its own faults
  quorumbench sim --protocol raft --seed 42 --trace      one world, every event
  quorumbench sim --seed 42 --shrink                     if it fails: which faults does it take?
  quorumbench sim --seeds 1000000 --seconds 60           as many as a minute allows
  quorumbench sim --seeds 100 --without crash            without that fault
  quorumbench sim --seeds 100 --reads lease              clients that read under the leader's lease
  quorumbench sim --seed 42 --history h.jsonl            what its clients invoked and saw
  quorumbench sim bench-configs/quickstart.toml --seeds 100    that experiment's clusters

A failing seed prints the property, the nodes, the last events, and the command that replays it.";

/// There are seeds beyond any first one.
const MOST_SEED: u64 = u64::MAX / 2;
/// In election timeouts: virtual time stays far from its end.
const MOST_LENGTH: u64 = 1_000_000;
/// Seeds unless the user says how many.
const SEEDS: u64 = 100;
/// Nothing is said of progress before this, nor more often than that.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);

fn protocol_named(name: &str) -> Result<ProtocolName, String> {
    let known = || ProtocolName::ALL.iter().filter(|name| name.has_log()).map(|name| name.name()).collect::<Vec<_>>();
    match ProtocolName::named(name) {
        Some(floor) if floor.is_floor() => {
            Err(format!("{floor} is a floor, which survives no faults: there is nothing to check"))
        }
        Some(other) if !other.orders() => Err(format!("{other} orders nothing: there is nothing to check")),
        Some(protocol) => Ok(protocol),
        None => Err(format!("there are: {}", known().join(", "))),
    }
}

fn mode_named(name: &str) -> Result<ReadsMode, String> {
    let modes = || ReadsMode::ALL.iter().map(|mode| format!("  {mode:<6} {}", mode.purpose())).collect::<Vec<_>>();
    ReadsMode::named(name).ok_or_else(|| format!("there are:\n{}", modes().join("\n")))
}

fn fault_named(name: &str) -> Result<Fault, String> {
    let names = || Fault::ALL.iter().map(|fault| format!("  {fault:<17} {}", fault.purpose())).collect::<Vec<_>>();
    Fault::named(name).ok_or_else(|| format!("there are:\n{}", names().join("\n")))
}

impl SimArgs {
    /// Does what was asked, and says how it went.
    pub fn execute(self) -> ExitCode {
        let clusters = match self.clusters() {
            Ok(clusters) => clusters,
            Err(message) => return fail(exit::USAGE, &message),
        };
        if let Some(message) = self.unreadable(&clusters) {
            return fail(exit::USAGE, &message);
        }
        let first = self.seed.unwrap_or(1);
        let count = self.seeds.unwrap_or(if self.seed.is_some() { 1 } else { SEEDS });
        let jobs = if self.trace { 1 } else { self.jobs.map_or_else(host::cores, usize::from) };
        // A file that cannot be written is known before a thousand seeds are run.
        let history = match self.history.as_deref().map(File::create).transpose() {
            Ok(history) => history,
            Err(error) => return self.unwritable(&error),
        };
        let begun = Instant::now();
        let mut totals = Totals::default();
        let mut last = None;
        let mut progress = Progress { begun, shown: begun, on: io::stderr().is_terminal() && !self.trace };
        let until = self.seconds.and_then(|seconds| begun.checked_add(Duration::from_secs(seconds)));
        let go_on = || until.is_none_or(|until| Instant::now() < until);
        let run = |seed| self.run(seed, &clusters, self.trace);
        runner::run_many_while(first, count, jobs, &go_on, run, &mut |outcome| {
            totals.add(&outcome);
            progress.show(&totals, count);
            last = Some(outcome);
        });
        progress.clear();
        let elapsed = begun.elapsed().as_secs_f64();
        let written = match (history, &last) {
            (Some(file), Some(outcome)) => write_history(file, &outcome.history),
            _ => Ok(()),
        };
        if let Some(outcome) = last.filter(|outcome| outcome.failure.is_some()) {
            self.report(&outcome, &clusters);
            return exit::FAILED.into();
        }
        if let Err(error) = written {
            return self.unwritable(&error);
        }
        say(&totals.text());
        if let Some(seconds) = self.seconds.filter(|_| totals.seeds < count) {
            say(&format!("stopped         by --seconds {seconds}: {} of {count} seeds were run\n", totals.seeds));
        }
        let rate = totals.stats.events as f64 / elapsed;
        eprintln!("no violation in {elapsed:.1} s: {} events/s on {jobs} threads", thousands(rate));
        ExitCode::SUCCESS
    }

    /// The protocols and clusters that seeds take turns with.
    fn clusters(&self) -> Result<Vec<(ProtocolName, Option<Cluster>)>, String> {
        let Some(path) = &self.config else {
            return Ok(vec![(self.protocol.unwrap_or(ProtocolName::ALL[0]), None)]);
        };
        let spec = Spec::load(path, &self.overrides).map_err(|error| error.to_string())?;
        if let Some(point) = spec.points().iter().find(|point| point.cluster.groups > 1) {
            let groups = point.cluster.groups;
            let what =
                format!("`cluster.groups` {groups}: groups share nothing that could break, so that one is checked");
            return Err(format!("{}: {what}; say `--set groups=1`", path.display()));
        }
        let mut clusters: Vec<_> =
            spec.points().iter().map(|point| (point.cluster.protocol, Some(cluster(point)))).collect();
        clusters.dedup();
        if let Some(protocol) = self.protocol {
            clusters.retain(|(name, _)| *name == protocol);
        }
        clusters.retain(|(name, _)| name.has_log());
        if clusters.is_empty() {
            let which = self.protocol.map_or_else(
                || "but floors, which survive no faults, or gossip, which orders nothing".into(),
                |name| format!("of {name}"),
            );
            return Err(format!("{}: has no cluster {which}: there is nothing to check", path.display()));
        }
        Ok(clusters)
    }

    /// A way to read that a protocol does not have would be left out without a word.
    fn unreadable(&self, clusters: &[(ProtocolName, Option<Cluster>)]) -> Option<String> {
        let mode = self.reads.filter(|mode| mode.beside_the_log().is_some())?;
        clusters.iter().find_map(|&(protocol, _)| {
            let reads = protocols::abilities(protocol)?.reads;
            let names: Vec<_> = reads.iter().map(|mode| mode.name()).collect();
            let message = format!("--reads {mode}: {protocol} reads through the log, or: {}", names.join(", "));
            (!reads.contains(&mode)).then_some(message)
        })
    }

    fn unwritable(&self, error: &io::Error) -> ExitCode {
        let path = self.history.as_deref().unwrap_or(Path::new(""));
        fail(exit::FAILED, &format!("{}: {error}", path.display()))
    }

    fn run(&self, seed: u64, clusters: &[(ProtocolName, Option<Cluster>)], trace: bool) -> Outcome {
        run(seed, clusters, &self.wishes(seed, clusters), trace)
    }

    fn wishes(&self, seed: u64, clusters: &[(ProtocolName, Option<Cluster>)]) -> Wishes {
        Wishes {
            cluster: pick(seed, clusters).1,
            without: self.without.clone(),
            length: self.length,
            reads: self.reads,
            ..Wishes::default()
        }
    }

    fn report(&self, outcome: &Outcome, clusters: &[(ProtocolName, Option<Cluster>)]) {
        let Some(failure) = &outcome.failure else { return };
        let seed = outcome.scenario.seed;
        say(&report::failure(outcome, failure, &self.replay(seed, &self.without, self.length, clusters)));
        if !self.shrink {
            return;
        }
        let wishes = self.wishes(seed, clusters);
        let (fewer, outcome) = shrink::shrink(&wishes, outcome, &|wishes| run(seed, clusters, wishes, false));
        let needed: Vec<_> = Fault::ALL
            .iter()
            .filter(|fault| outcome.scenario.strengths[**fault] > 0)
            .map(|fault| fault.name())
            .collect();
        let needed = if needed.is_empty() { "no fault at all".into() } else { needed.join(" ") };
        say(&format!("\nshrunk    it takes {needed}; it fails after {} events\n", outcome.stats.events));
        say(&format!("replay    {}\n", self.replay(seed, &fewer.without, fewer.length, clusters)));
    }

    /// The command that runs this seed again.
    fn replay(
        &self,
        seed: u64,
        without: &[Fault],
        length: Option<u64>,
        clusters: &[(ProtocolName, Option<Cluster>)],
    ) -> String {
        let mut command = vec!["quorumbench sim".to_owned()];
        command.extend(self.config.iter().map(|config| quoted(&config.display().to_string())));
        if self.config.is_none() || self.protocol.is_some() {
            command.push(format!("--protocol {}", pick(seed, clusters).0));
        }
        command.push(format!("--seed {seed}"));
        command.extend(self.overrides.iter().map(|set| format!("--set {}", quoted(set))));
        command.extend(self.reads.map(|mode| format!("--reads {mode}")));
        command.extend(without.iter().map(|fault| format!("--without {fault}")));
        command.extend(length.map(|length| format!("--length {length}")));
        command.join(" ")
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn run(seed: u64, clusters: &[(ProtocolName, Option<Cluster>)], wishes: &Wishes, trace: bool) -> Outcome {
    let print = trace.then(|| Box::new(|line: &str| say(&format!("{line}\n"))) as Print);
    let (protocol, _) = pick(seed, clusters);
    protocols::run(protocol, seed, wishes, print).expect("floors are refused before")
}

fn pick(seed: u64, clusters: &[(ProtocolName, Option<Cluster>)]) -> (ProtocolName, Option<Cluster>) {
    clusters[(seed % clusters.len() as u64) as usize]
}

fn cluster(point: &Point) -> Cluster {
    Cluster {
        replicas: point.cluster.replicas,
        observers: point.cluster.observers,
        window: point.batch.window,
        commands: point.batch.commands,
        payload: point.load.payload,
        election_timeout_ns: point.cluster.election_timeout.as_nanos() as u64,
        heartbeat_ns: point.cluster.heartbeat.as_nanos() as u64,
        quorums: point.quorum.of(point.cluster.replicas).expect("quorums that do not meet make no point"),
    }
}

fn write_history(file: File, history: &History) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    history.write(&mut file)?;
    file.flush()
}

/// To standard output. Whoever closed it has seen enough.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

struct Progress {
    begun: Instant,
    shown: Instant,
    on: bool,
}

impl Progress {
    fn show(&mut self, totals: &Totals, count: u64) {
        if self.on && self.begun.elapsed() >= PATIENCE && self.shown.elapsed() >= PAUSE {
            self.shown = Instant::now();
            eprint!("\r{} of {count} seeds, {} events", totals.seeds, thousands(totals.stats.events as f64));
        }
    }

    fn clear(&self) {
        if self.on && self.shown > self.begun {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        sim: SimArgs,
    }

    fn parse(command: &str) -> SimArgs {
        let words = command.strip_prefix("quorumbench ").expect("the program").split_whitespace();
        Typed::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).sim
    }

    #[test]
    fn the_replay_command_asks_for_the_same_world() {
        let clusters = [(ProtocolName::Raft, None)];
        for command in [
            "quorumbench sim --protocol raft --seed 42",
            "quorumbench sim --protocol raft --seed 7 --without loss --without crash --length 12",
            "quorumbench sim x.toml --seed 3",
            "quorumbench sim --protocol raft --seed 5 --reads lease",
        ] {
            let typed = parse(command);
            let seed = typed.seed.expect("a seed");
            assert_eq!(typed.replay(seed, &typed.without, typed.length, &clusters), command);
        }
        let set = parse("quorumbench sim x.toml --seed 3 --set commands=[1,64]");
        assert_eq!(set.replay(3, &[], None, &clusters), "quorumbench sim x.toml --seed 3 --set 'commands=[1,64]'");
        assert_eq!((quoted("a b.toml"), quoted("it's")), ("'a b.toml'".into(), r"'it'\''s'".into()));
        let many = parse("quorumbench sim --seeds 1000 --jobs 2");
        let replay = many.replay(17, &[Fault::Rot], Some(5), &clusters);
        assert_eq!(replay, "quorumbench sim --protocol raft --seed 17 --without rot --length 5");
    }
}
