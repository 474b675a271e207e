//! Who is alive, as the kernel tells.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// The living children of a process, by their names, but for what sets up its devices, which comes and goes.
pub fn children(parent: Pid) -> Vec<(String, Pid)> {
    let child = |status: String| {
        assert!(!field(&status, "State").starts_with('Z'), "nobody waited for {status}");
        (field(&status, "Name").to_owned(), pid(field(&status, "Pid")))
    };
    of_children(parent).filter(|status| !["ip", "tc"].contains(&field(status, "Name"))).map(child).collect()
}

/// Those of them that stand still, as SIGSTOP has it.
pub fn stopped_children(parent: Pid) -> Vec<Pid> {
    let stopped = of_children(parent).filter(|status| field(status, "State").starts_with('T'));
    stopped.map(|status| pid(field(&status, "Pid"))).collect()
}

/// What the kernel says of each child.
fn of_children(parent: Pid) -> impl Iterator<Item = String> {
    let parent = parent.as_raw_nonzero().to_string();
    let entries = fs::read_dir("/proc").expect("Linux has one").flatten();
    let statuses = entries.map(|entry| fs::read_to_string(entry.path().join("status")).unwrap_or_default());
    statuses.filter(move |status| field(status, "PPid") == parent)
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().expect("a number")).expect("no process is 0")
}

/// Whether a process runs, or could.
pub fn is_alive(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains(['Z', 'X']))
}

/// Looks again and again.
pub fn wait_until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < patience, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
