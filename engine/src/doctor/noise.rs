//! Who else is here: other processes, and other machines on the same host.

use super::{Finding, deltas};
use crate::host::Root;

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    vec![pressure(root), steal(root), quota(root)]
}

/// Others that wait for a core as often as that are in the figures.
const BUSY_PERCENT: f64 = 5.0;

fn pressure(root: &Root) -> Finding {
    let check = "noise.pressure";
    // "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    let waiting = root.text("/proc/pressure/cpu").and_then(|text| {
        let some = text.lines().find(|line| line.starts_with("some "))?;
        let share = some.split_whitespace().find_map(|part| part.strip_prefix("avg10="))?.parse::<f64>().ok()?;
        (0.0..=100.0).contains(&share).then_some(share)
    });
    let Some(share) = waiting else {
        return Finding::unknown(check, "the kernel does not say how often somebody waits for a core (psi=1 at boot)");
    };
    let what = format!("somebody waited for a core in {share:.0} % of the last ten seconds");
    if share < BUSY_PERCENT {
        return Finding::ok(check, what);
    }
    Finding::warn(check, what)
        .costs("others run here now: nodes will wait for cores too, and figures are of a smaller machine")
        .todo("top, and end what runs; or wait until it is done")
}

fn steal(root: &Root) -> Finding {
    let check = "noise.steal";
    match deltas::stolen_since_boot(root) {
        None => Finding::unknown(check, "the kernel does not say how much time its host took"),
        Some(share) if share < 0.001 => Finding::ok(check, "the host took none of this machine's time"),
        Some(share) => Finding::note(
            check,
            format!("since it was started, the host took {:.1} % of this machine's time", share * 100.0),
        )
        .costs("stolen milliseconds are in p99 and above, and nothing here can keep them out")
        .todo("a run says in its manifest how much was stolen while it ran; repeat those with much"),
    }
}

fn quota(root: &Root) -> Finding {
    let check = "noise.quota";
    match deltas::quota_cores(root) {
        None => Finding::ok(check, "no limit on how much of the cores this process may use"),
        Some(cores) => Finding::warn(check, format!("this process may use {cores:.2} cores' time, and is stopped when that is used up"))
            .costs("a stop lasts for the rest of a period, most often 100 ms: it is all that p99 shows")
            .todo("run without a limit on CPU time (docker run without --cpus; cpu.max of its group: max), and limit cores instead: taskset, --cpuset-cpus"),
    }
}
