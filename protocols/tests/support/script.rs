//! Runs a script and compares what happens with what the script says happens.
//!
//! A script is comments, and blocks of commands, `----`, and what they bring about, up to an empty
//! line. `UPDATE=1 cargo test` writes down what does happen: read the diff before you believe it.
//!
//! | command | |
//! |---|---|
//! | `cluster 3 spares=1 window=4 chunk=24 slow-disks no-backoff` | starts anew; with `phase1=4 phase2=2`, quorums of Paxos; `worn`, near the end of ZAB's counter |
//! | `timeout n0` | n0's deadline passes: for a leader a heartbeat, else an election timeout |
//! | `wait 300ms` | time passes, and nobody notices |
//! | `until n2` | time passes for all and everything arrives, until n2's deadline passes |
//! | `run 500ms` | time passes for all and everything arrives |
//! | `submit n0 bob tom` | a turn of n0 in which clients bring these batches |
//! | `transfer n0 n2` | n0 is asked to hand leadership to n2 |
//! | `read n0 index 7` | a turn of n0 in which read 7 comes: `index`, `lease` or `stale` |
//! | `learner n0 n3`, `promote n0 n3`, `remove n0 n2`, `replace n0 n1 n2` | n0 is asked to change who is a member |
//! | `members` | who every node thinks that they are |
//! | `snapshot n0` | n0's driver brings a snapshot of what was delivered |
//! | `restart n0` | n0 crashes and comes back with what was durable |
//! | `sync n1` | what n1 recorded is durable (with `slow-disks`) |
//! | `deliver`, `deliver n1`, `deliver n0>n1` | what is on its way (to n1, from n0 to n1) arrives, each node's in one turn |
//! | `settle` | deliveries until nothing is on its way |
//! | `lose n0>n1 2` | the last two frames from n0 to n1 get lost |
//! | `split n0 n1 / n2 n3 n4` | a partition; `heal` ends it |
//! | `cut n0>n2` | what n0 sends to n2 is lost; `heal` ends that, too |
//! | `state` | where every node stands |
//! | `delivered` | what every node delivered |
//! | `room n0` | how many batches n0 takes |
//! | `rounds` | how many rounds of phase 1 every node has begun |
//! | `quietly ...` | a command whose trace does not matter |

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use quorumbench_protocols::quorum::Quorums;
use quorumbench_protocols::{Change, Nanos, NodeId, ReadMode};

use super::cluster::{Cluster, Event, Subject};

/// Runs every script in a folder of `tests/data`.
///
/// # Panics
/// If one does not go as written.
pub fn run_all<P: Subject>(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder can be read to its end").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in &paths {
        run::<P>(path);
    }
}

fn run<P: Subject>(path: &Path) {
    let expected = fs::read_to_string(path).expect("a script is text");
    let actual = Script::<P>::default().play(&expected);
    if env::var_os("UPDATE").is_some() {
        fs::write(path, actual).expect("the script can be rewritten");
    } else if let Some((line, (expected, actual))) =
        expected.lines().zip(actual.lines()).enumerate().find(|(_, (expected, actual))| expected != actual)
    {
        panic!("{}:{}\n  expected: {expected}\n    actual: {actual}", path.display(), line + 1);
    } else {
        assert_eq!(expected, actual, "{} is longer or shorter than what happens", path.display());
    }
}

struct Script<P> {
    cluster: Option<Cluster<P>>,
}

impl<P> Default for Script<P> {
    fn default() -> Self {
        Self { cluster: None }
    }
}

impl<P: Subject> Script<P> {
    /// The script, with what happens in place of what it says happens.
    fn play(&mut self, text: &str) -> String {
        let mut actual = String::new();
        let mut lines = text.lines();
        let mut output = String::new();
        while let Some(line) = lines.next() {
            if line == "----" {
                lines.by_ref().find(|line| line.is_empty());
                writeln!(actual, "----\n{output}").expect("a String takes all");
                output.clear();
                continue;
            }
            writeln!(actual, "{line}").expect("a String takes all");
            if !line.is_empty() && !line.starts_with('#') {
                output += &self.command(line);
            }
        }
        assert!(output.is_empty(), "the last block has no ----");
        while actual.ends_with("\n\n") {
            actual.pop();
        }
        actual
    }

    fn command(&mut self, line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        let (quiet, words) = if words[0] == "quietly" { (true, &words[1..]) } else { (false, &words[..]) };
        if words[0] == "cluster" {
            self.cluster = Some(cluster(&words[1..]));
            return String::new();
        }
        let cluster = self.cluster.as_mut().expect("a script starts with a cluster");
        obey(cluster, words[0], &words[1..]);
        let trace = std::mem::take(&mut cluster.trace);
        if quiet { String::new() } else { trace }
    }
}

fn cluster<P: Subject>(words: &[&str]) -> Cluster<P> {
    let replicas = words[0].parse().expect("how many replicas");
    let option = |name: &str| {
        words.iter().find_map(|word| word.strip_prefix(name)).map(|number| number.parse().expect("a number"))
    };
    let observers = option("observers=").unwrap_or(0);
    let mut cluster = Cluster::with_spares(replicas, observers.max(option("spares=").unwrap_or(0)), |config| {
        config.observers = (replicas..replicas + observers).map(|id| NodeId(id as u32)).collect();
        config.window = option("window=").unwrap_or(config.window);
        config.chunk = option("chunk=").unwrap_or(config.chunk);
        if words.contains(&"no-backoff") {
            config.backoff = Nanos::ZERO;
        }
        if let (Some(phase1), Some(phase2)) = (option("phase1="), option("phase2=")) {
            config.quorums = Quorums::flexible(replicas, phase1, phase2).expect("quorums that meet");
        }
    });
    if words.contains(&"worn") {
        cluster.wear();
    }
    cluster.slow_disks = words.contains(&"slow-disks");
    cluster
}

fn obey<P: Subject>(cluster: &mut Cluster<P>, command: &str, words: &[&str]) {
    match command {
        "timeout" => cluster.timeout(node(words[0])),
        "until" => cluster.until(node(words[0])),
        "run" => cluster.run(milliseconds(words[0])),
        "cut" => {
            let (from, to) = words[0].split_once('>').expect("a link");
            cluster.cut(node(from), node(to));
        }
        "wait" => cluster.now += milliseconds(words[0]).0,
        "submit" => cluster.submit(node(words[0]), &words[1..]),
        "transfer" => cluster.turn(NodeId(node(words[0])), &[Event::Transfer(NodeId(node(words[1])))]),
        "read" => {
            let mode = match words[1] {
                "index" => ReadMode::Index,
                "lease" => ReadMode::Lease,
                "stale" => ReadMode::Stale,
                other => panic!("{other} is no way to read"),
            };
            let reads = words[2..].iter().map(|id| Event::Read(id.parse().expect("a number"), mode));
            cluster.turn(NodeId(node(words[0])), &reads.collect::<Vec<_>>());
        }
        "learner" | "promote" | "remove" | "replace" => {
            let ids: Vec<_> = words[1..].iter().map(|name| NodeId(node(name))).collect();
            let change = match command {
                "learner" => Change::AddLearner(ids[0]),
                "promote" => Change::Promote(ids[0]),
                "remove" => Change::Remove(ids[0]),
                _ => Change::Replace { voters: ids.into_iter().collect() },
            };
            cluster.turn(NodeId(node(words[0])), &[Event::Reconfigure(change)]);
        }
        "members" => show(cluster, |cluster, id| cluster.node(id).members()),
        "snapshot" => cluster.snapshot(node(words[0])),
        "restart" => cluster.restart(node(words[0])),
        "sync" => cluster.sync(node(words[0])),
        "deliver" => {
            cluster.deliver(link(words.first().copied()));
        }
        "settle" => {
            cluster.settle();
        }
        "lose" => {
            let count = words.get(1).map_or(usize::MAX, |count| count.parse().expect("how many"));
            cluster.lose(count, link(words.first().copied()));
        }
        "split" => {
            let parts: Vec<Vec<u32>> =
                words.split(|&word| word == "/").map(|part| part.iter().map(|name| node(name)).collect()).collect();
            cluster.split(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        "heal" => cluster.heal(),
        "state" => show(cluster, |cluster, id| cluster.node(id).summary()),
        "delivered" => show(cluster, |cluster, id| {
            let names = cluster.delivered(id).into_iter().map(|body| if body.is_empty() { "-".into() } else { body });
            names.collect::<Vec<_>>().join(" ")
        }),
        "rounds" => show(cluster, |cluster, id| cluster.node(id).rounds().to_string()),
        "room" => {
            let room = cluster.node(node(words[0])).room();
            writeln!(cluster.trace, "{} has room for {room}", words[0]).expect("a String takes all");
        }
        _ => panic!("unknown command {command}"),
    }
}

fn show<P: Subject>(cluster: &mut Cluster<P>, what: impl Fn(&Cluster<P>, u32) -> String) {
    for id in cluster.ids() {
        let text = what(cluster, id.0);
        writeln!(cluster.trace, "{}", format!("{id}: {text}").trim_end()).expect("a String takes all");
    }
}

fn node(name: &str) -> u32 {
    name.strip_prefix('n').and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{name} is not a node"))
}

fn milliseconds(text: &str) -> Nanos {
    let number = text.strip_suffix("ms").and_then(|number| number.parse::<u64>().ok());
    Nanos(number.unwrap_or_else(|| panic!("{text} is not in ms")) * 1_000_000)
}

/// `n1`: all links to n1. `n0>n1`: that one. Nothing: all.
fn link(word: Option<&str>) -> impl Fn(NodeId, NodeId) -> bool {
    let (from, to) = match word.map(|word| word.split_once('>').map_or((None, word), |(from, to)| (Some(from), to))) {
        None => (None, None),
        Some((from, to)) => (from.map(node), Some(node(to))),
    };
    move |sender, receiver| from.is_none_or(|id| id == sender.0) && to.is_none_or(|id| id == receiver.0)
}
