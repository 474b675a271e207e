//! What this process may have.

use super::{Finding, Touches};
use crate::host::Root;

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    vec![files(root).touching(Touches::Sockets), locked(root).touching(Touches::IoUring)]
}

/// Nodes of gossip over sockets hold a connection to each partner; this many files are enough for hundreds of nodes.
const ENOUGH_FILES: u64 = 4096;
/// The memory that a ring's buffers lock on kernels that count them: what most distributions allow.
const ENOUGH_LOCKED: u64 = 8 << 20;

fn files(root: &Root) -> Finding {
    let check = "limits.files";
    let what = |limit: u64| format!("{limit} files may be open at once");
    match soft(root, "Max open files") {
        None => Finding::unknown(check, "the kernel does not say how many files may be open"),
        Some(NO_LIMIT) => Finding::ok(check, "as many files as there are may be open"),
        Some(limit) if limit >= ENOUGH_FILES => Finding::ok(check, what(limit)),
        Some(limit) => Finding::note(check, what(limit))
            .costs("every pair of nodes has a connection: a run with many of them cannot start")
            .todo("ulimit -n 65536"),
    }
}

fn locked(root: &Root) -> Finding {
    let check = "limits.locked_memory";
    let what = |limit: u64| format!("{} KiB of memory may be locked", limit >> 10);
    match soft(root, "Max locked memory") {
        None => Finding::unknown(check, "the kernel does not say how much memory may be locked"),
        Some(NO_LIMIT) => Finding::ok(check, "any memory may be locked"),
        Some(limit) if limit >= ENOUGH_LOCKED => Finding::ok(check, what(limit)),
        Some(limit) => Finding::note(check, what(limit))
            .costs("rings of several nodes may not fit: then a run on uring cannot start")
            .todo("ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's unit"),
    }
}

/// What the kernel calls unlimited.
const NO_LIMIT: u64 = u64::MAX;

/// The soft limit.
fn soft(root: &Root, name: &str) -> Option<u64> {
    let text = root.text("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(NO_LIMIT),
        number => number.parse().ok(),
    }
}
