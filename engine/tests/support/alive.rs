//! Who is alive, as the kernel tells.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// The living children of a process, by their names, but for what sets up its devices, which comes and goes.
pub fn children(parent: Pid) -> Vec<(String, Pid)> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has one").flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let passes = ["ip", "tc"].contains(&field("Name").as_str());
        if field("PPid") == parent.as_raw_nonzero().to_string() && !passes {
            assert!(!field("State").starts_with('Z'), "nobody waited for {status}");
            children.push((field("Name"), pid(&field("Pid"))));
        }
    }
    children
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
