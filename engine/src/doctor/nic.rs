//! Network cards: nothing of a run on one machine goes through them, but one over several hosts would.

use std::process::{Command, Stdio};

use super::{Finding, Touches};
use crate::host::{Root, word};

const NET: &str = "/sys/class/net";

pub(super) fn findings(root: &Root) -> Vec<Finding> {
    let cards = cards(root);
    if cards.is_empty() {
        return vec![Finding::unknown("nic", "there is no network card").touching(Touches::OtherHosts)];
    }
    let of_card = |card: &String| [card_itself(root, card), interrupts(root, card)];
    cards.iter().flat_map(of_card).map(|finding| finding.touching(Touches::OtherHosts)).collect()
}

/// What has a device behind it.
fn cards(root: &Root) -> Vec<String> {
    let has_device = |name: &String| root.path(&format!("{NET}/{name}/device")).exists();
    root.names(NET).into_iter().filter(|name| word(name).is_some()).filter(has_device).collect()
}

fn card_itself(root: &Root, card: &str) -> Finding {
    let check = "nic.queues";
    let queues = root.names(&format!("{NET}/{card}/queues"));
    let receiving = queues.iter().filter(|queue| queue.starts_with("rx-")).count();
    let speed = root.number::<u64>(&format!("{NET}/{card}/speed"));
    let speed = speed.map_or_else(String::new, |speed| format!(", {speed} Mbit/s"));
    let what = format!("{card}: {receiving} queues to receive{speed}");
    match (receiving, root.cores().len()) {
        (0, _) => Finding::unknown(check, format!("{card} does not say how many queues it has")),
        (1, cores) if cores > 1 => {
            Finding::note(check, what).costs("one core takes in everything for all others").todo(format!(
                "ethtool -L {card} combined {cores}, or echo a mask of cores > {NET}/{card}/queues/rx-0/rps_cpus"
            ))
        }
        _ => Finding::ok(check, what),
    }
}

/// Which cores a card interrupts.
fn interrupts(root: &Root, card: &str) -> Finding {
    let check = "nic.interrupts";
    let device = std::fs::read_link(root.path(&format!("{NET}/{card}/device"))).ok();
    let device = device.and_then(|path| path.file_name()?.to_str().map(str::to_owned));
    let names = [Some(card.to_owned()), device];
    let text = root.text("/proc/interrupts").unwrap_or_default();
    let is_of_card = |line: &&str| {
        line.split_whitespace().last().is_some_and(|last| {
            names.iter().flatten().any(|name| {
                last.strip_prefix(name.as_str())
                    .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
            })
        })
    };
    let number = |line: &str| line.split(':').next().and_then(|number| number.trim().parse::<u32>().ok());
    let numbers: Vec<u32> = text.lines().filter(is_of_card).filter_map(number).collect();
    let cores = |number: &u32| root.word(&format!("/proc/irq/{number}/smp_affinity_list"));
    let mut bound: Vec<String> = numbers.iter().filter_map(cores).collect();
    bound.sort();
    bound.dedup();
    match &bound[..] {
        [] => Finding::unknown(check, format!("{card}: the kernel does not say which cores it interrupts")),
        [one] if numbers.len() > 1 && one.parse::<u32>().is_ok() => {
            Finding::note(check, format!("{card}: all of its {} interrupts go to core {one}", numbers.len()))
                .costs("that core's node is stopped for every packet of all others")
                .todo(format!(
                    "echo CORES > /proc/irq/{}/smp_affinity_list, and so on, on cores that no node is pinned to",
                    numbers[0]
                ))
        }
        several => Finding::ok(check, format!("{card}: they go to cores {}", several.join(" and "))),
    }
}

/// What cards do for the kernel, where `ethtool` is there to say so.
pub(super) fn offloads(root: &Root) -> Vec<Finding> {
    let check = "nic.offloads";
    let ask = |card: String| {
        let asked = Command::new("ethtool").args(["-k", &card]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let said = asked.ok().filter(|asked| asked.status.success() && root.is_real());
        let finding = match said {
            None => Finding::unknown(check, format!("{card}: there is no ethtool to ask")),
            Some(said) => judge_offloads(&card, &String::from_utf8_lossy(&said.stdout)),
        };
        finding.touching(Touches::OtherHosts)
    };
    cards(root).into_iter().map(ask).collect()
}

/// What batches packets on their way through the kernel.
const OFFLOADS: [&str; 3] = ["tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload"];

fn judge_offloads(card: &str, said: &str) -> Finding {
    let check = "nic.offloads";
    let is = |name: &str, state: &str| {
        said.lines()
            .any(|line| line.split_once(':').is_some_and(|(key, value)| key == name && value.trim().starts_with(state)))
    };
    let off: Vec<&str> = OFFLOADS.into_iter().filter(|name| is(name, "off")).collect();
    if off.is_empty() && OFFLOADS.iter().any(|name| !is(name, "on")) {
        return Finding::unknown(check, format!("{card}: ethtool does not say what it does for the kernel"));
    }
    if off.is_empty() {
        return Finding::ok(check, format!("{card}: packets go through the kernel in batches, both ways"));
    }
    Finding::note(check, format!("{card}: {} are off", off.join(", ")))
        .costs("every packet goes through the kernel alone")
        .todo(format!("ethtool -K {card} tso on gso on gro on"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn offloads_are_read_as_ethtool_writes_them() {
        let all = |gro: &str| {
            format!(
                "Features for eth0:\ntcp-segmentation-offload: on\n\ttx-tcp-segmentation: on\ngeneric-segmentation-offload: on\ngeneric-receive-offload: {gro}\n"
            )
        };
        assert_eq!(judge_offloads("eth0", &all("on")).level, Level::Ok);
        let off = judge_offloads("eth0", &all("off [fixed]"));
        assert!(off.level == Level::Note && off.what.contains("generic-receive-offload"), "{off:?}");
        assert_eq!(judge_offloads("eth0", "\u{0}\u{1}:").level, Level::Unknown);
    }
}
