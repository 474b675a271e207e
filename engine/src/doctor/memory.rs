//! Memory: its pages, and whether there is enough.

use super::Finding;
use crate::host::{Root, Tuning};

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    vec![huge_pages(root), swap(root), available(root), balancing(root)]
}

fn huge_pages(root: &Root) -> Finding {
    let check = "memory.huge_pages";
    match Tuning::read(root).transparent_hugepages.as_deref() {
        None => Finding::unknown(check, "the kernel does not say when it makes huge pages"),
        Some("always") => Finding::note(check, "transparent huge pages: always")
            .costs("the kernel may stop a thread to put pages together, and moves them behind its back: rare stalls in p99.9 and above")
            .todo("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
        Some(when) => Finding::ok(check, format!("transparent huge pages: {when}")),
    }
}

fn swap(root: &Root) -> Finding {
    let check = "memory.swap";
    let (Some(total), Some(free)) = (kib(root, "SwapTotal"), kib(root, "SwapFree")) else {
        return Finding::unknown(check, "the kernel does not say whether it swaps");
    };
    match (total, total.saturating_sub(free)) {
        (0, _) => Finding::ok(check, "there is none"),
        (_, 0) => Finding::ok(check, "nothing is swapped out"),
        (_, used) => Finding::warn(check, format!("{} MiB are swapped out", used >> 10))
            .costs("what comes back from a disk takes milliseconds")
            .todo("end what takes the memory; then swapoff -a"),
    }
}

fn available(root: &Root) -> Finding {
    let check = "memory.available";
    let (Some(total), Some(free)) = (kib(root, "MemTotal").filter(|&total| total > 0), kib(root, "MemAvailable"))
    else {
        return Finding::unknown(check, "the kernel does not say how much memory there is");
    };
    let share = free as f64 / total as f64 * 100.0;
    let what = format!("{share:.0} % of {} MiB are available", total >> 10);
    if share >= 10.0 {
        return Finding::ok(check, what);
    }
    Finding::warn(check, what)
        .costs("the kernel takes pages back while it runs, and threads wait for that")
        .todo("end what takes the memory")
}

fn balancing(root: &Root) -> Finding {
    let check = "memory.numa_balancing";
    match root.number::<u8>("/proc/sys/kernel/numa_balancing") {
        None => Finding::unknown(check, "the kernel does not move memory between nodes, or does not say so"),
        Some(0) => Finding::ok(check, "memory stays where it is"),
        Some(_) => Finding::note(check, "the kernel moves memory after the threads that use it")
            .costs(
                "it takes pages away for a moment to see who asks for them: each time a fault in the middle of the run",
            )
            .todo("sysctl -w kernel.numa_balancing=0"),
    }
}

fn kib(root: &Root, key: &str) -> Option<u64> {
    root.field("/proc/meminfo", key)?.split_whitespace().next()?.parse().ok()
}
