//! What happened to the machine between two moments: time that was taken, and packets that were lost.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Finding, Touches};
use crate::host::Root;

/// What the kernel has counted so far.
#[derive(Clone, Debug)]
pub struct Counts {
    at: Instant,
    /// Clock ticks of all cores, in the order of `/proc/stat`: the eighth was stolen.
    ticks: Option<[u64; 8]>,
    switches: Option<u64>,
    /// Microseconds in which somebody waited: for a core, for memory, for a disk.
    waited_us: [Option<u64>; 3],
    throttled_us: Option<u64>,
    heat: Option<u64>,
    tcp: Option<[u64; 3]>,
    udp: Option<[u64; 4]>,
    softnet: Option<[u64; 2]>,
}

/// The difference between two readings. What the kernel does not count here is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deltas {
    /// How long it was.
    pub seconds: f64,
    /// The share of all cores' time that the host took.
    pub steal_share: Option<f64>,
    /// The share of the time in which somebody waited for a core, in this machine.
    pub cpu_pressure_share: Option<f64>,
    /// The share of the time in which somebody waited for memory.
    pub memory_pressure_share: Option<f64>,
    /// The share of the time in which somebody waited for a disk.
    pub io_pressure_share: Option<f64>,
    /// Microseconds for which this process was stopped because it had used up its quota.
    pub throttled_us: Option<u64>,
    /// How often a core slowed down because it was too hot.
    pub heat_throttles: Option<u64>,
    /// How often cores changed from one thread to another, all of them.
    pub context_switches: Option<u64>,
    /// Segments that TCP sent.
    pub tcp_segments: Option<u64>,
    /// Segments that it sent again.
    pub tcp_retransmits: Option<u64>,
    /// Segments that were received and were wrong.
    pub tcp_errors: Option<u64>,
    /// Datagrams of UDP that were received.
    pub udp_datagrams: Option<u64>,
    /// Datagrams that were not, for whatever reason.
    pub udp_errors: Option<u64>,
    /// Those of them for which the receiver's buffer had no room.
    pub udp_receive_drops: Option<u64>,
    /// Datagrams for which the sender's had none.
    pub udp_send_drops: Option<u64>,
    /// Packets for which the kernel's backlog had no room.
    pub softnet_drops: Option<u64>,
    /// How often the kernel stopped taking packets in before it had all.
    pub softnet_squeezes: Option<u64>,
}

impl Counts {
    /// As they are now, of this process's network.
    pub fn read(root: &Root) -> Self {
        let stat = root.text("/proc/stat").unwrap_or_default();
        let snmp = root.text("/proc/net/snmp").unwrap_or_default();
        Self {
            at: Instant::now(),
            ticks: ticks(&stat),
            switches: stat.lines().find_map(|line| line.strip_prefix("ctxt ")?.trim().parse().ok()),
            waited_us: ["cpu", "memory", "io"].map(|what| waited_us(root, what)),
            throttled_us: throttled_us(root),
            heat: heat_throttles(root),
            tcp: counters(&snmp, "Tcp:", ["OutSegs", "RetransSegs", "InErrs"]),
            udp: counters(&snmp, "Udp:", ["InDatagrams", "InErrors", "RcvbufErrors", "SndbufErrors"]),
            softnet: root.text("/proc/net/softnet_stat").and_then(|text| softnet(&text)),
        }
    }
}

impl Deltas {
    /// What happened from `before` to `after`.
    pub fn between(before: &Counts, after: &Counts) -> Self {
        let seconds = after.at.saturating_duration_since(before.at).as_secs_f64();
        let since = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?));
        let waited = |what: usize| {
            let us = since(before.waited_us[what], after.waited_us[what])?;
            (seconds > 0.0).then(|| (us as f64 / 1e6 / seconds).min(1.0))
        };
        let [tcp_segments, tcp_retransmits, tcp_errors] = differences(before.tcp, after.tcp);
        let [udp_datagrams, udp_errors, udp_receive_drops, udp_send_drops] = differences(before.udp, after.udp);
        let [softnet_drops, softnet_squeezes] = differences(before.softnet, after.softnet);
        Self {
            seconds,
            steal_share: stolen(differences(before.ticks, after.ticks)),
            cpu_pressure_share: waited(0),
            memory_pressure_share: waited(1),
            io_pressure_share: waited(2),
            throttled_us: since(before.throttled_us, after.throttled_us),
            heat_throttles: since(before.heat, after.heat),
            context_switches: since(before.switches, after.switches),
            tcp_segments,
            tcp_retransmits,
            tcp_errors,
            udp_datagrams,
            udp_errors,
            udp_receive_drops,
            udp_send_drops,
            softnet_drops,
            softnet_squeezes,
        }
    }

    /// Those that were enough to doubt what was measured meanwhile.
    pub fn findings(&self) -> Vec<Finding> {
        [self.steal(), self.throttling(), self.heat(), self.retransmits(), self.datagrams(), self.backlog()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn steal(&self) -> Option<Finding> {
        let share = self.steal_share.filter(|&share| share >= MUCH_STOLEN)?;
        let finding = Finding::warn("during.steal", format!("the host took {:.1} % of the cores' time", share * 100.0));
        Some(finding.costs("p99 and above are its doing").todo("repeat it, when the host's other machines are quiet"))
    }

    fn throttling(&self) -> Option<Finding> {
        let us = self.throttled_us.filter(|&us| us as f64 >= MUCH_THROTTLED * self.seconds * 1e6 && us > 0)?;
        let finding = Finding::warn(
            "during.throttling",
            format!("this process was stopped for {} ms: its quota was used up", us / 1000),
        );
        Some(finding.costs("what was measured is the quota").todo("run without a limit on CPU time"))
    }

    fn heat(&self) -> Option<Finding> {
        let times = self.heat_throttles.filter(|&times| times > 0)?;
        let finding =
            Finding::warn("during.heat", format!("cores slowed down {times} times because they were too hot"));
        Some(finding.costs("the machine got slower while it was measured").todo("cool it, and repeat"))
    }

    fn retransmits(&self) -> Option<Finding> {
        let (sent, again) = (self.tcp_segments?, self.tcp_retransmits?);
        let share = again as f64 / sent.max(1) as f64;
        let finding = (share >= MANY_AGAIN && again >= SOME).then(|| {
            Finding::warn(
                "during.retransmits",
                format!("TCP sent {again} of {sent} segments again ({:.2} %)", share * 100.0),
            )
        })?;
        Some(
            finding
                .costs("each is a wait of a round trip or of 200 ms; within a machine nothing should be lost")
                .todo("nstat -az | grep -i tcp: see what was lost, and who else talks here")
                .touching(Touches::Tcp),
        )
    }

    fn datagrams(&self) -> Option<Finding> {
        let lost = self.udp_receive_drops.unwrap_or(0) + self.udp_send_drops.unwrap_or(0);
        (lost >= SOME).then(|| {
            Finding::warn("during.datagrams", format!("{lost} datagrams found no room in a socket's buffer"))
                .costs("QUIC takes each for congestion, and slows down")
                .todo("sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000")
                .touching(Touches::Quic)
        })
    }

    fn backlog(&self) -> Option<Finding> {
        let dropped = self.softnet_drops.filter(|&dropped| dropped > 0)?;
        let finding = Finding::warn(
            "during.backlog",
            format!("the kernel dropped {dropped} packets for which its backlog had no room"),
        );
        Some(
            finding
                .costs("they had to be sent again, loopback or not")
                .todo("sysctl -w net.core.netdev_max_backlog=10000")
                .touching(Touches::Sockets),
        )
    }
}

/// A hundredth of the time: p99 is what it does.
const MUCH_STOLEN: f64 = 0.01;
const MUCH_THROTTLED: f64 = 0.01;
/// One in a thousand is in p99.9.
const MANY_AGAIN: f64 = 0.001;
/// Fewer are somebody else's, or chance.
const SOME: u64 = 10;

fn differences<const N: usize>(before: Option<[u64; N]>, after: Option<[u64; N]>) -> [Option<u64>; N] {
    std::array::from_fn(|at| Some(after?[at].saturating_sub(before?[at])))
}

fn stolen(ticks: [Option<u64>; 8]) -> Option<f64> {
    let all: f64 = ticks.iter().map(|ticks| ticks.map(|ticks| ticks as f64)).sum::<Option<f64>>()?;
    (all > 0.0).then_some(ticks[7]? as f64 / all)
}

/// The share of its cores' time that this machine never had.
pub(super) fn stolen_since_boot(root: &Root) -> Option<f64> {
    stolen(ticks(&root.text("/proc/stat")?)?.map(Some))
}

/// `cpu  user nice system idle iowait irq softirq steal ...`
fn ticks(stat: &str) -> Option<[u64; 8]> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let values = line.split_whitespace().map(|value| value.parse().ok()).take(8).collect::<Option<Vec<u64>>>()?;
    values.try_into().ok()
}

fn waited_us(root: &Root, what: &str) -> Option<u64> {
    let text = root.text(&format!("/proc/pressure/{what}"))?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|part| part.strip_prefix("total=")?.parse().ok())
}

/// Over all cores.
pub(super) fn heat_throttles(root: &Root) -> Option<u64> {
    let of_core = |core: String| root.number::<u64>(&format!("{core}/thermal_throttle/core_throttle_count"));
    root.cores().into_iter().filter_map(of_core).reduce(u64::saturating_add)
}

/// A line of names, and one of as many values: those of `names`.
fn counters<const N: usize>(snmp: &str, protocol: &str, names: [&str; N]) -> Option<[u64; N]> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix(protocol));
    let (header, values) = (lines.next()?, lines.next()?);
    let value = |name: &str| {
        let at = header.split_whitespace().position(|each| each == name)?;
        values.split_whitespace().nth(at)?.parse().ok()
    };
    let values = names.iter().map(|name| value(name)).collect::<Option<Vec<u64>>>()?;
    values.try_into().ok()
}

/// A line a core, in hexadecimal: processed, dropped, squeezed, and more.
fn softnet(text: &str) -> Option<[u64; 2]> {
    let mut sums = [0_u64; 2];
    for line in text.lines() {
        let mut fields = line.split_whitespace().skip(1);
        for sum in &mut sums {
            *sum = sum.saturating_add(u64::from_str_radix(fields.next()?, 16).ok()?);
        }
    }
    (!text.is_empty()).then_some(sums)
}

/// The folders of the groups that limit this process's time, its own first, with what they are a version of.
fn groups(root: &Root) -> Vec<(u8, String)> {
    let text = root.text("/proc/self/cgroup").unwrap_or_default();
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (version, mounts): (u8, &[&str]) = match controllers {
            "" => (2, &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]),
            some if some.split(',').any(|each| each == "cpu") => {
                (1, &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"])
            }
            _ => continue,
        };
        for above in Path::new(path).ancestors() {
            let above = above.to_string_lossy();
            folders.extend(mounts.iter().map(|mount| (version, format!("{mount}{}", above.trim_end_matches('/')))));
        }
    }
    folders
}

/// Where several groups stop this process, the one that did most.
fn throttled_us(root: &Root) -> Option<u64> {
    let of_group = |(version, folder): (u8, String)| {
        let text = root.text(&format!("{folder}/cpu.stat"))?;
        let (key, in_us) = if version == 2 { ("throttled_usec ", 1) } else { ("throttled_time ", 1000) };
        let value: u64 = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())?;
        Some(value / in_us)
    };
    groups(root).into_iter().filter_map(of_group).max()
}

/// How many cores' time this process may use, if somebody limits it.
pub(super) fn quota_cores(root: &Root) -> Option<f64> {
    let of_group = |(version, folder): (u8, String)| {
        let (quota, period) = if version == 2 {
            let text = root.text(&format!("{folder}/cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
        } else {
            let number = |name: &str| root.number::<f64>(&format!("{folder}/{name}"));
            (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        };
        (quota > 0.0 && period > 0.0).then(|| quota / period).filter(|cores| cores.is_finite())
    };
    groups(root).into_iter().filter_map(of_group).reduce(f64::min)
}
