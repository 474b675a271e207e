//! Replicas that reconcile, as an experiment: what must hold of all of them, what the papers say, and what is refused.

mod support;

use std::process::Command;
use std::sync::atomic::AtomicBool;

use quorumbench::convergence::converge;
use quorumbench::results::{CONVERGENCE_SCHEMA, Convergence, ConvergenceResult};
use quorumbench::spec::{Point, Spec};
use support::{manifest, run_spec, spec};

fn run(point: &Point, seed: u64, threads: usize) -> Convergence {
    let never = AtomicBool::new(false);
    converge(point, seed, threads, &never, &mut |_| ()).expect("nobody interrupts")
}

fn config(protocol: &str, nodes: usize, more: &str) -> String {
    format!("cluster = {{ protocol = '{protocol}', transport = 'sim', nodes = {nodes} }}\n{more}")
}

fn all(protocol: &str, nodes: usize, more: &str) -> Vec<(Point, Convergence)> {
    let points = spec(&config(protocol, nodes, more)).points();
    points.into_iter().map(|point| (point.clone(), run(&point, 1, 2))).collect()
}

fn refused(protocol: &str, nodes: usize, more: &str, because: &str) {
    let text = format!("name = 'x'\n{}", config(protocol, nodes, more));
    let error = Spec::parse(&text, "x.toml", &[]).expect_err(more).to_string();
    assert!(error.contains(because), "{error}");
}

/// What adds up whatever is sent.
fn is_sound(point: &Point, row: &Convergence) {
    let axes = point.axes();
    assert_eq!(row.settled, row.trials, "{axes:?}");
    let sum = row.bytes.payload.mean + row.bytes.metadata.mean + row.bytes.digest.mean;
    assert!((sum - row.bytes.all.mean).abs() < 1e-6 * sum.max(1.0), "{axes:?}");
    let rounds = row.rounds.expect("all agreed");
    assert!(rounds.p50 <= rounds.p99 && rounds.p99 <= rounds.max, "{axes:?}");
    assert!(row.updates.max <= point.replication.updates as f64 && row.redundancy.p50 >= 0.0, "{axes:?}");
    let (parts, joins) = (point.replication.partition > 0, point.replication.newcomer);
    assert_eq!(
        (row.catch_up.is_some(), row.join.is_some()),
        (parts || point.database.deletions > 0, joins),
        "{axes:?}"
    );
    assert!(row.join.is_none_or(|join| join.bytes.p50 > 0.0), "{axes:?}");
}

#[test]
fn all_agree_in_the_end_whatever_they_send() {
    let crdt = "crdt = { type = ['g-counter', 'pn-counter', 'or-set', 'lww-map'], sync = ['state', 'delta', 'op'],
        buffer = ['unlimited', 3], topology = ['ring', 'tree', 'random', 'full'], avoid_back_propagation = [true, false] }
        replication = { updates = 60, update_rate = 7.5, elements = 20, loss = 0.1, duplication = 0.1, reorder = 0.1,
        partition = 6, cut_off = 0.3, newcomer = true, trials = 2 }";
    let rows = all("crdt", 9, &crdt.replace("\n        ", " ").replace(" replication", "\nreplication"));
    assert_eq!(rows.len(), 4 * (1 + 4 + 1) * 4);
    rows.iter().for_each(|(point, row)| is_sound(point, row));
    let database = "database = { digest = ['whole', 'checksum', 'recent', 'peel-back'], deletion = ['none', 'certificates', 'dormant'], deletions = 3 }
replication = { updates = 30, update_rate = [0.5, 5], elements = 40, loss = [0.0, 0.02], partition = 6, cut_off = 0.3, newcomer = true, trials = 2 }";
    let rows = all("database", 9, database);
    assert_eq!(rows.len(), 4 * 3 * 2 * 2);
    rows.iter().for_each(|(point, row)| is_sound(point, row));
    assert!(rows.iter().all(|(_, row)| row.database.is_some_and(|left| left.resurrected.is_some())));
}

#[test]
fn rounds_are_those_of_the_longest_way() {
    let rounds = |topology: &str, nodes| {
        let one = format!(
            "crdt = {{ type = 'g-counter', topology = '{topology}' }}\nreplication = {{ updates = 200, update_rate = 50, trials = 2 }}"
        );
        all("crdt", nodes, &one).remove(0).1.rounds.expect("all agreed").max as u64
    };
    // From anywhere to everywhere, and every replica has written in the last round.
    assert_eq!([rounds("ring", 10), rounds("full", 10), rounds("tree", 7)], [5, 1, 4]);
}

/// Enes et al. 2019, section V: where there are cycles, naive deltas are hardly better than states; what counts there is
/// to remove what is redundant, and in a tree not to send anything back.
#[test]
fn what_is_left_out_of_deltas_counts() {
    let text = "crdt = { type = 'or-set', sync = ['state', 'delta'], topology = ['tree', 'mesh'], avoid_back_propagation = [false, true], remove_redundant = [false, true] }
replication = { updates = 300, update_rate = 15, removals = 0, elements = 100000, trials = 2 }";
    let rows = all("crdt", 15, text);
    let elements = |sync: &str, topology: &str, avoid: bool, remove: bool| {
        let is = |point: &Point| {
            let crdt = &point.crdt;
            let options = sync == "state" || (crdt.avoid_back_propagation, crdt.remove_redundant) == (avoid, remove);
            crdt.sync.name() == sync && crdt.topology.name() == topology && options
        };
        rows.iter().find(|(point, _)| is(point)).expect("a point").1.elements.mean
    };
    let [tree, mesh] = ["tree", "mesh"].map(|topology| elements("state", topology, false, false));
    let delta = |topology, avoid, remove| elements("delta", topology, avoid, remove);
    assert!(delta("mesh", false, false) > 0.4 * mesh && delta("mesh", true, false) > 0.3 * mesh);
    assert!(delta("mesh", false, true) < 0.15 * mesh && delta("mesh", true, true) < delta("mesh", false, true));
    assert!(delta("tree", true, false) < 0.2 * tree && delta("tree", false, false) > 2.0 * delta("tree", true, false));
    // Over each of 14 links, once.
    assert!((delta("tree", true, true) - 14.0).abs() < 1e-9);
}

/// Demers et al. 1987, section 1.3: the less updates there are, the more a digest saves; and a window must be longer than
/// an update takes to everybody.
#[test]
fn digests_save_what_is_equal() {
    let text = "database = { digest = ['whole', 'checksum', 'recent', 'peel-back'], window = [1, 15] }
replication = { updates = 15, update_rate = 0.05, elements = 300, trials = 2 }";
    let rows = all("database", 24, text);
    let bytes: Vec<_> = rows.iter().map(|(_, row)| row.bytes.all.mean).collect();
    let wholes: Vec<_> =
        rows.iter().map(|(_, row)| row.database.expect("a database").whole.expect("contacts").mean).collect();
    let [whole, checksum, short, recent, peel_back] = bytes[..] else { panic!("five points: {bytes:?}") };
    assert!(whole > 2.0 * checksum && checksum > 2.0 * recent && checksum > 2.0 * peel_back, "{bytes:?}");
    assert!(short > 2.0 * recent, "{bytes:?}");
    assert!(wholes[0] >= 1.0 && wholes[3] < 0.01 && wholes[4] < 1e-9, "{wholes:?}");
}

/// Section 2: who remembers a deletion, and for how long.
#[test]
fn deleted_items_come_back_when_nobody_remembers() {
    let text = "database = { deletion = ['none', 'certificates', 'dormant'], deletions = 10, retention = 20, dormant = [30, 500] }
replication = { updates = 10, elements = 50, partition = [10, 40, 100], cut_off = 0.1, trials = 5 }";
    let rows = all("database", 20, text);
    let back: Vec<_> = rows
        .iter()
        .map(|(point, row)| {
            let left = row.database.expect("a database");
            let database = &point.database;
            let say = (database.deletion.name(), database.dormant, point.replication.partition);
            (say, left.resurrected.expect("deletions").mean)
        })
        .collect();
    for ((deletion, dormant, partition), share) in back {
        let remembers = match deletion {
            "none" => 0,
            "certificates" => 20,
            _ => 20 + dormant,
        };
        let expected = if partition > remembers { 1.0 } else { 0.0 };
        assert!((share - expected).abs() < 1e-9, "{deletion} {dormant} {partition}: {share}");
    }
}

#[test]
fn a_seed_says_it_all() {
    let text = "crdt = { type = 'lww-map', topology = 'random' }\nreplication = { updates = 80, elements = 20, loss = 0.2, trials = 6 }";
    let spec = spec(&config("crdt", 10, text));
    let point = &spec.points()[0];
    assert_eq!(run(point, 7, 1), run(point, 7, 3), "however many threads there are");
    assert_ne!(run(point, 7, 1), run(point, 8, 1));
    assert_eq!(converge(point, 7, 2, &AtomicBool::new(true), &mut |_| ()), None);
}

#[test]
fn what_cannot_be_is_refused() {
    let error = |text: &str| Spec::parse(text, "x.toml", &[]).expect_err(text).to_string();
    assert!(error("name = 'x'\n[cluster]\nprotocol = 'crdt'").contains("set `cluster.transport` to \"sim\""));
    let population = error("name = 'x'\n[cluster]\nprotocol = 'database'\ntransport = 'population'");
    assert!(population.contains("a population only gossips"), "{population}");
    refused("crdt", 4, "crdt = { topology = 'mesh', degree = 4 }", "only 3 others");
    refused("crdt", 9, "crdt = { topology = 'mesh', degree = 3 }", "even number up to 8");
    refused("crdt", 5000, "", "at most 2000");
    refused("crdt", 9, "crdt = { sync = 'state', buffer = 5 }", "`crdt.buffer` does nothing");
    refused("crdt", 9, "crdt = { type = 'g-counter' }\nreplication = { removals = 0.5 }", "does nothing");
    refused("crdt", 9, "crdt = { type = 'g-counter' }\nreplication = { elements = 5 }", "does nothing");
    refused("crdt", 9, "database = { digest = 'whole' }", "does nothing");
    refused("crdt", 9, "replication = { cut_off = 0.1 }", "does nothing");
    refused("database", 9, "database = { digest = 'whole', window = 3 }", "does nothing");
    refused("database", 2, "database = { deletion = 'dormant', sites = 3 }", "at most 2");
    refused("database", 2000, "replication = { elements = 100000 }", "memory");
    refused("crdt", 2000, "crdt = { sync = 'state', topology = 'full' }", "hours");
    refused("crdt", 9, "batch = { commands = 3 }", "does nothing");
    refused("crdt", 9, "faults = [{ kind = 'kill', at = '1s' }]", "[replication]");
}

#[test]
fn a_run_stores_what_came_of_it() {
    let text =
        "crdt = { type = ['g-counter', 'or-set'], sync = ['delta', 'op'] }\nreplication = { updates = 40, trials = 2 }";
    let spec = spec(&config("crdt", 8, text));
    let ran = run_spec(&spec);
    assert!(ran.finished.failure.is_none() && ran.finished.points.is_empty());
    let text = std::fs::read_to_string(ran.finished.dir.join("points.jsonl")).expect("points.jsonl");
    let lines: Vec<ConvergenceResult> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(lines, ran.finished.convergences, "what is on disk is what the run said");
    let planned: Vec<_> = spec.points().iter().map(Point::axes).collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line.schema == CONVERGENCE_SCHEMA && line.world == "virtual"));
    for line in &lines {
        assert!(planned.contains(&line.axes), "{line:?}");
        let absent = ["replicas", "rate", "commands", "delay", "loss", "k", "digest", "fanout", "cut_off"];
        assert!(absent.iter().all(|axis| !line.axes.contains_key(*axis)), "{:?}", line.axes);
        assert_eq!(line.axes.contains_key("elements"), line.axis("type") == "or-set");
    }
    let manifest = manifest(&ran.finished.dir);
    assert_eq!((manifest["state"].as_str(), manifest["finished_points"].as_u64()), (Some("complete"), Some(4)));
    assert_eq!(manifest["spec"]["crdt"]["topology"], "mesh", "defaults are written out");
}

#[test]
fn the_command_line_tells_convergence() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let run = |more: &[&str]| {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench-configs/crdt.toml");
        let fixed =
            ["run", config, "--set", "type=[g-counter]", "--set", "updates=60", "--set", "replication.trials=2"];
        let mut program = Command::new(env!("CARGO_BIN_EXE_quorumbench"));
        let output = program.args(fixed).args(more).arg("--out").arg(out.path()).output().expect("it runs");
        let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        (output.status.code(), texts)
    };
    let (code, [table, progress]) = run(&[]);
    assert_eq!(code, Some(0), "{progress}");
    assert!(table.contains("bytes/update") && table.contains("catch-up") && table.contains("join"), "{table}");
    assert!(progress.contains("crdt_sync=op") && progress.contains("bytes an update"), "{progress}");
    let (code, [json, _]) = run(&["--json", "-q"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON document");
    assert_eq!((code, json["points"].as_array().map(Vec::len)), (Some(0), Some(12)));
    assert_eq!(json["points"][0]["convergence"]["settled"], 2);
    let (code, [_, error]) = run(&["--check"]);
    assert!(code == Some(2) && error.contains("--check"), "{error}");
    let (code, [plan, _]) = run(&["--dry-run"]);
    assert!(code == Some(0) && plan.contains("12 points") && plan.contains("[replication]"), "{plan}");
}
