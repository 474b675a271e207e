//! Runs to make reports of: one of each kind, small, and one with names that nobody should trust.

use std::fs;
use std::path::{Path, PathBuf};

use quorumbench::report::Report;
use quorumbench::results::StoredRun;
use serde_json::Value as Json;

use super::{Ran, run_spec, spec};

/// Two protocols and their floor over two rates, twice each, for long enough to have a course.
pub fn sweep() -> Ran {
    run_spec(&spec(
        "cluster = { protocol = ['echo', 'raft', 'zab'], transport = 'sim' }
        load = { arrival = 'poisson', rate = [100, 400] }
        run = { warmup = '100ms', duration = '4s', repetitions = 2 }",
    ))
}

/// A leader that dies.
pub fn failover() -> Ran {
    run_spec(&spec(
        "cluster = { protocol = ['raft', 'zab'], transport = 'sim', election_timeout = '150ms', heartbeat = '30ms' }
        load = { arrival = 'poisson', rate = 100, resend = '100ms' }
        run = { warmup = '300ms', duration = '5s' }
        [[faults]]
        at = '1s'
        kind = 'kill'
        target = 'leader'
        for = '1s'",
    ))
}

/// Both kinds of loops, and two quantities that vary in each.
pub fn loops() -> Ran {
    run_spec(&spec(
        "cluster = { protocol = 'raft', transport = 'sim' }
        batch = { commands = [1, 8], window = [1, 4] }
        load = { arrival = ['poisson', 'closed'], rate = 200, outstanding = 4 }
        run = { warmup = '50ms', duration = '300ms' }",
    ))
}

/// Epidemics over two fan-outs and three sizes.
pub fn gossip() -> Ran {
    run_spec(&spec(
        "cluster = { protocol = 'gossip', transport = 'population', nodes = [100, 1000, 10_000] }
        gossip = { style = 'anti-entropy', exchange = ['push', 'pull'], trials = 20 }
        run = { repetitions = 2 }",
    ))
}

/// Replicas that reconcile, in two ways.
pub fn reconciliation() -> Ran {
    run_spec(&spec(
        "cluster = { protocol = 'crdt', transport = 'sim', nodes = 5 }
        crdt = { sync = ['state', 'delta'] }
        replication = { updates = 50, trials = 2 }",
    ))
}

/// What would be code if it were not text, and longer than any name has to be.
pub fn hostile_name() -> String {
    let end = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";
    format!("{end}\"'&amp;<!-- \u{2028} \u{1f980} {}", "long ".repeat(2000))
}

/// Puts that name wherever a run's folder has one.
pub fn make_hostile(dir: &Path) {
    let name = hostile_name();
    let edit = |path: PathBuf, edit: &dyn Fn(&mut Json)| {
        let text = fs::read_to_string(&path).expect("a file of a run");
        let one = path.extension().is_some_and(|extension| extension == "json");
        let parts: Vec<&str> = if one { vec![&text] } else { text.lines().collect() };
        let edited = parts.iter().map(|part| {
            let mut json: Json = serde_json::from_str(part).expect("JSON");
            edit(&mut json);
            format!("{json}\n")
        });
        fs::write(&path, edited.collect::<String>()).expect("it can be written");
    };
    edit(dir.join("manifest.json"), &|manifest| {
        for key in ["name", "question", "config"] {
            manifest[key] = name.as_str().into();
        }
        manifest["spec"]["cluster"]["transport"] = name.as_str().into();
        manifest["host"]["cpu"] = name.as_str().into();
    });
    edit(dir.join("points.jsonl"), &|line| {
        line["axes"]["machine"] = name.as_str().into();
        if line["axes"]["protocol"] == "zab" {
            line["axes"]["protocol"] = name.as_str().into();
            line["warnings"] = vec![format!("late: {name}")].into();
        }
    });
}

/// The lines of a run, as JSON.
pub fn lines(dir: &Path) -> Vec<Json> {
    let text = fs::read_to_string(dir.join("points.jsonl")).expect("points.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

/// The report of runs.
pub fn report(dirs: &[&Path]) -> Report {
    let runs: Vec<StoredRun> = dirs.iter().map(|dir| StoredRun::read(dir).expect("a run")).collect();
    Report::of(&runs).expect("whole lines")
}

/// What is inside of a page: the document that it draws.
pub fn inside(html: &str) -> Json {
    let begin = "<script id=\"document\" type=\"application/json\">";
    let from = html.find(begin).expect("a document") + begin.len();
    let to = from + html[from..].find("</script>").expect("its end");
    serde_json::from_str(&html[from..to]).expect("JSON")
}
