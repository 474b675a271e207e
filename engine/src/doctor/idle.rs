//! How long a core needs to wake up.

use super::{Finding, Touches};
use crate::host::{DMA_LATENCY, Root, Tuning};

/// A wake-up that is no longer than this is in nobody's median.
const SHORT_US: u64 = 2;

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    vec![sleep(root).touching(Touches::Sleeping)]
}

fn sleep(root: &Root) -> Finding {
    let check = "cpu.idle";
    let Tuning { idle_exit_us, idle_limit_us, .. } = Tuning::read(root);
    let hold = format!(
        "exec 3>{DMA_LATENCY}; printf '\\0\\0\\0\\0' >&3 (as root, in a shell that stays open), or tuned-adm profile network-latency, or --set cluster.wait=spin"
    );
    let states = root.names("/sys/devices/system/cpu/cpu0/cpuidle").into_iter();
    let halts = states
        .filter_map(|state| root.word(&format!("/sys/devices/system/cpu/cpu0/cpuidle/{state}/name")))
        .any(|name| name.starts_with("haltpoll"));
    let polls = root.text("/proc/cmdline").unwrap_or_default().split_whitespace().any(|word| word == "idle=poll");
    match (idle_limit_us, idle_exit_us) {
        _ if polls => Finding::ok(check, "cores never sleep (idle=poll)"),
        (Some(limit), _) if u64::from(limit) <= SHORT_US => {
            Finding::ok(check, format!("somebody asks the kernel to wake cores within {limit} us"))
        }
        (_, Some(_)) if halts => Finding::warn(check, "an idle core is handed back to the host")
            .costs("waking a halted virtual core was measured at about 20 us: a blocking round trip of 55 us takes 12 us where cores do not halt")
            .todo(hold),
        (_, Some(us)) if us > SHORT_US => Finding::note(check, format!("an idle core may need {us} us to wake"))
            .costs("where nodes sleep between frames that is in every message's time; at low rates it is most of the latency")
            .todo(hold),
        (_, Some(us)) => Finding::ok(check, format!("an idle core needs {us} us to wake")),
        (_, None) => Finding::unknown(check, "the kernel does not say how deep idle cores sleep"),
    }
}
