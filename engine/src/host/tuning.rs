//! How the machine is tuned: what an administrator may change between two runs, and their figures with it.

use serde::Serialize;

use super::root::{Root, chosen, word};

/// What is not known is absent, so that it is no difference to a machine on which it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Tuning {
    /// Whether cores may run faster than they can for long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turbo: Option<bool>,
    /// Whether cores share their units with siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smt: Option<bool>,
    /// Cores that the scheduler leaves alone; empty if it has all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated_cores: Option<String>,
    /// When memory comes in pages of 2 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transparent_hugepages: Option<String>,
    /// How long the deepest sleep that a core may take needs to be left, in microseconds, by the kernel's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_exit_us: Option<u64>,
    /// How long somebody lets it need at most, in microseconds: what holds `/dev/cpu_dma_latency` open asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_limit_us: Option<u32>,
    /// Which of the processor's flaws are worked around, and which are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mitigations: Option<String>,
}

/// Where the kernel is asked how long cores may need to wake.
pub(crate) const DMA_LATENCY: &str = "/dev/cpu_dma_latency";

impl Tuning {
    /// As it is now.
    pub fn read(root: &Root) -> Self {
        Self {
            turbo: turbo(root),
            smt: flag(root, "/sys/devices/system/cpu/smt/active"),
            isolated_cores: isolated(root),
            transparent_hugepages: root
                .text("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            idle_exit_us: idle_exit_us(root),
            idle_limit_us: idle_limit_us(root),
            mitigations: mitigations(root),
        }
    }
}

fn flag(root: &Root, path: &str) -> Option<bool> {
    root.number::<u8>(path).filter(|&value| value < 2).map(|value| value == 1)
}

fn turbo(root: &Root) -> Option<bool> {
    let forbidden = flag(root, "/sys/devices/system/cpu/intel_pstate/no_turbo").map(|forbidden| !forbidden);
    forbidden.or_else(|| flag(root, "/sys/devices/system/cpu/cpufreq/boost"))
}

/// As the kernel lists them: `2-3,6`.
fn isolated(root: &Root) -> Option<String> {
    let list = root.text("/sys/devices/system/cpu/isolated")?;
    // Newer kernels print what they mean by none.
    let list = if list == "(null)" { String::new() } else { list };
    let plain = list.len() < 120 && list.chars().all(|c| c.is_ascii_digit() || ",-".contains(c));
    plain.then_some(list)
}

/// Of the first core; the others have the same states.
fn idle_exit_us(root: &Root) -> Option<u64> {
    let folder = "/sys/devices/system/cpu/cpu0/cpuidle";
    let enabled = |state: &String| root.number::<u8>(&format!("{folder}/{state}/disable")) != Some(1);
    let states = root.names(folder).into_iter().filter(enabled);
    states.filter_map(|state| root.number(&format!("{folder}/{state}/latency"))).max()
}

/// `None` where nobody asked for anything, and where only root may know.
fn idle_limit_us(root: &Root) -> Option<u32> {
    /// `PM_QOS_CPU_LATENCY_DEFAULT_VALUE`: two thousand seconds, which is no limit.
    const NO_LIMIT: i32 = 2_000_000_000;
    let bytes: [u8; 4] = root.bytes(DMA_LATENCY)?.try_into().ok()?;
    let limit = i32::from_ne_bytes(bytes);
    u32::try_from(limit).ok().filter(|_| limit < NO_LIMIT)
}

fn mitigations(root: &Root) -> Option<String> {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let (mut mitigated, mut vulnerable) = (Vec::new(), Vec::new());
    for name in root.names(folder).into_iter().filter_map(|name| word(&name)) {
        match root.text(&format!("{folder}/{name}")) {
            Some(text) if text.starts_with("Mitigation") => mitigated.push(name),
            Some(text) if text.starts_with("Vulnerable") => vulnerable.push(name),
            _ => {}
        }
    }
    let list = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what}: {}", names.join(" ")));
    let parts: Vec<_> = [list("mitigated", &mitigated), list("open", &vulnerable)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
