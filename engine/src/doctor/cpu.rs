//! Cores: how fast they run, who shares them, and how far they are from each other.

use std::collections::BTreeSet;

use super::{Finding, Touches};
use crate::host::{Root, Tuning};

const CPU: &str = "/sys/devices/system/cpu";

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    let tuning = Tuning::read(root);
    vec![
        governor(root),
        turbo(&tuning),
        smt(&tuning),
        isolation(root, &tuning),
        clocksource(root),
        numa(root),
        mitigations(root, &tuning),
        virtual_machine(root),
        overheated(root),
    ]
}

fn governor(root: &Root) -> Finding {
    let check = "cpu.governor";
    let of = |core: &String| root.word(&format!("{core}/cpufreq/scaling_governor"));
    let governors: BTreeSet<String> = root.cores().iter().filter_map(of).collect();
    let all = governors.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.as_str() {
        "" => Finding::unknown(check, "the clock is not this system's to set, as in most virtual machines"),
        "performance" => Finding::ok(check, "performance on every core"),
        _ => Finding::warn(check, all)
            .costs("a core that waited starts at a low clock: latency at low rates is that of a slower machine")
            .todo("cpupower frequency-set -g performance, or tuned-adm profile network-latency"),
    }
}

fn turbo(tuning: &Tuning) -> Finding {
    let check = "cpu.turbo";
    match tuning.turbo {
        None => Finding::unknown(check, "the kernel does not say whether cores may run above their base clock"),
        Some(false) => Finding::ok(check, "off: the clock does not depend on heat or on how many cores are busy"),
        Some(true) => Finding::note(check, "on")
            .costs("the clock falls as more cores are busy and as they get warm, so the first point runs on a faster machine than the last")
            .todo("echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo, or echo 0 > /sys/devices/system/cpu/cpufreq/boost"),
    }
}

fn smt(tuning: &Tuning) -> Finding {
    let check = "cpu.smt";
    match tuning.smt {
        None => Finding::unknown(check, "the kernel does not say whether cores have siblings"),
        Some(false) => Finding::ok(check, "no core shares its units with a sibling"),
        Some(true) => Finding::note(check, "two threads share each core's units")
            .costs("a node whose sibling is busy runs slower, by as much as the two compete")
            .todo("echo off > /sys/devices/system/cpu/smt/control"),
    }
}

fn isolation(root: &Root, tuning: &Tuning) -> Finding {
    let check = "cpu.isolated";
    match tuning.isolated_cores.as_deref() {
        None => Finding::unknown(check, "the kernel does not say which cores it leaves alone"),
        Some("") => Finding::note(check, "the scheduler uses every core for everything")
            .costs("any process and any kernel thread may take a node's core for a while: that is in p99.9 and above")
            .todo("boot with isolcpus=CORES nohz_full=CORES, and run under taskset -c CORES"),
        Some(cores) => {
            let ticks = root.word(&format!("{CPU}/nohz_full")).filter(|ticks| ticks != "(null)");
            let ticks = ticks.map_or_else(String::new, |ticks| format!(", without a tick on {ticks}"));
            Finding::ok(check, format!("the scheduler leaves {cores} alone{ticks}"))
        }
    }
}

fn clocksource(root: &Root) -> Finding {
    let check = "cpu.clocksource";
    let Some(source) = root.word("/sys/devices/system/clocksource/clocksource0/current_clocksource") else {
        return Finding::unknown(check, "the kernel does not say which clock it reads");
    };
    if ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "timebase"].contains(&source.as_str()) {
        return Finding::ok(check, source);
    }
    Finding::warn(check, source)
        .costs("each reading is a system call and a slow one (a microsecond where `tsc` takes tens of nanoseconds), and every frame is timed")
        .todo("echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource, if `tsc` is available there")
}

fn numa(root: &Root) -> Finding {
    let check = "cpu.numa";
    let is_node = |name: &&String| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok());
    match root.names("/sys/devices/system/node").iter().filter(is_node).count() {
        0 => Finding::unknown(check, "the kernel does not say how memory is spread"),
        1 => Finding::ok(check, "all memory is as far away from every core"),
        nodes => Finding::note(check, format!("{nodes} nodes, each with memory of its own"))
            .costs("a thread that is moved to another node has its memory far away: runs fall into classes")
            .todo("numactl --cpunodebind=0 --membind=0 quorumbench run ..."),
    }
}

fn mitigations(root: &Root, tuning: &Tuning) -> Finding {
    let check = "cpu.mitigations";
    let line = root.text("/proc/cmdline").unwrap_or_default();
    if line.split_whitespace().any(|word| word == "mitigations=off") {
        return Finding::note(check, "switched off")
            .costs("system calls are cheaper than on machines that people run services on")
            .todo("boot without mitigations=off, unless that is what the service does");
    }
    match &tuning.mitigations {
        Some(list) => Finding::ok(check, list.as_str()),
        None => Finding::unknown(check, "the kernel does not say what it works around"),
    }
}

fn virtual_machine(root: &Root) -> Finding {
    let check = "cpu.virtual";
    // One line, longer than a word.
    let Some(info) = root.text("/proc/cpuinfo") else {
        return Finding::unknown(check, "the kernel does not say what the processor is");
    };
    match info.lines().find(|line| line.starts_with("flags")) {
        None => Finding::unknown(check, "the processor does not say whether it is a virtual one"),
        Some(flags) if flags.split_whitespace().any(|flag| flag == "hypervisor") => {
            Finding::note(check, "a virtual machine")
                .costs("its host moves virtual cores while it runs: throughput between two cores was seen to change threefold")
                .todo("compare within one run only: several repetitions, or run --interleave; points with cores_moved are of two machines")
        }
        Some(_) => Finding::ok(check, "no virtual machine"),
    }
}

fn overheated(root: &Root) -> Finding {
    let check = "cpu.heat";
    match super::deltas::heat_throttles(root) {
        None => Finding::unknown(check, "the processor does not count how often it was too hot"),
        Some(0) => Finding::ok(check, "never too hot since it was started"),
        Some(times) => Finding::note(check, format!("too hot {times} times since it was started"))
            .costs("a hot core slows down in the middle of a run")
            .todo("cool it; a run says in its manifest whether that happened while it ran"),
    }
}

/// How far two cores are from each other.
pub(super) fn distance(round_trip_ns: f64) -> Finding {
    let check = "cpu.distance";
    let what = |class: &str| format!("a cache line's round trip takes {round_trip_ns:.0} ns: {class}");
    match round_trip_ns {
        // Bounds between the classes that were measured: about 28, 64 and 300 ns.
        ns if ns <= 0.0 => Finding::unknown(check, "there is one core, or the machine is too busy to tell"),
        ns if ns < 45.0 => Finding::ok(check, what("siblings, or one core's halves")),
        ns if ns < 150.0 => Finding::ok(check, what("neighbours")),
        _ => Finding::warn(check, what("far apart"))
            .costs("bulk TCP between them was measured at 1.8 GB/s instead of 5.9; a virtual machine's cores may be near again in a second")
            .todo("taskset -c two cores of one socket; on a virtual machine, look at core_round_trip_ns of each point"),
    }
    .touching(Touches::Timed)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn distance_has_classes() {
        let levels = [0.0, 28.0, 64.0, 300.0].map(|ns| distance(ns).level);
        assert_eq!(levels, [Level::Unknown, Level::Ok, Level::Ok, Level::Warn]);
    }
}
