//! The doctor: on machines that are trees of files, each good but for one thing; on this one; and at a run.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use quorumbench::doctor::{Counts, DOCTOR_SCHEMA, Deltas, Finding, Level, Touches, examine};
use quorumbench::host::{Root, Tuning};
use quorumbench::results::StoredRun;
use serde_json::Value as Json;
use support::desk::{Desk, whole};
use support::manifest;
use tempfile::TempDir;

/// A machine that nothing is wrong with, as files.
const GOOD: &[(&str, &str)] = &[
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "0\n"),
    ("/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "0\n"),
    ("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
    ("/sys/devices/system/cpu/smt/active", "0\n"),
    ("/sys/devices/system/cpu/isolated", "1\n"),
    ("/sys/devices/system/cpu/nohz_full", "1\n"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0\n"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C6\n"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "133\n"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "1\n"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("/sys/devices/system/node/node0/cpulist", "0-1\n"),
    ("/sys/devices/system/cpu/vulnerabilities/spectre_v1", "Mitigation: usercopy/swapgs barriers\n"),
    ("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
    ("/proc/cmdline", "root=UUID=1 quiet\n"),
    ("/proc/cpuinfo", "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu sse2\n"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    (
        "/proc/meminfo",
        "MemTotal:       16000000 kB\nMemAvailable:   15000000 kB\nSwapTotal:       2000000 kB\nSwapFree:        2000000 kB\n",
    ),
    ("/proc/sys/kernel/numa_balancing", "0\n"),
    ("/proc/pressure/cpu", "some avg10=0.10 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 total=0\n"),
    ("/proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\nctxt 5000\n"),
    ("/proc/self/cgroup", "0::/user.slice/mine\n"),
    ("/sys/fs/cgroup/user.slice/mine/cpu.max", "max 100000\n"),
    ("/sys/fs/cgroup/user.slice/mine/cpu.stat", "usage_usec 5\nnr_throttled 0\nthrottled_usec 0\n"),
    (
        "/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\nMax open files            65536                65536                files\nMax locked memory         unlimited            unlimited            bytes\n",
    ),
    ("/proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
    ("/proc/sys/net/core/default_qdisc", "pfifo_fast\n"),
    ("/proc/sys/net/core/rmem_max", "16777216\n"),
    ("/proc/sys/net/core/wmem_max", "16777216\n"),
    ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
    ("/sys/class/net/eth0/device/uevent", ""),
    ("/sys/class/net/eth0/speed", "10000\n"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    (
        "/proc/interrupts",
        "  30: 1 0 PCI-MSI 1-edge eth0-rx-0\n  31: 0 1 PCI-MSI 2-edge eth0-rx-1\n  32: 5 5 PCI-MSI eth01\n",
    ),
    ("/proc/irq/30/smp_affinity_list", "0\n"),
    ("/proc/irq/31/smp_affinity_list", "1\n"),
    ("/proc/sys/kernel/io_uring_disabled", "0\n"),
    ("/sys/dev/block/8:0/queue/write_cache", "write back\n"),
    ("/sys/dev/block/8:0/queue/scheduler", "[none] mq-deadline\n"),
    ("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n"),
    ("/sys/class/dmi/id/product_name", "c7i.metal-24xl\n"),
    (
        "/proc/net/snmp",
        "Tcp: RtoAlgorithm OutSegs RetransSegs InErrs\nTcp: 1 1000 5 0\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 500 0 0 500 0 0\n",
    ),
    ("/proc/net/softnet_stat", "000003e8 00000000 00000002 0 0\n000003e8 00000000 00000000 0 0\n"),
];

struct Machine(TempDir);

impl Machine {
    /// Nothing is known of it.
    fn blank() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn good() -> Self {
        GOOD.iter().fold(Self::blank(), |machine, (path, text)| machine.with(path, text.as_bytes()))
    }

    fn with(self, path: &str, bytes: &[u8]) -> Self {
        let path = self.root().path(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        fs::write(path, bytes).expect("written");
        self
    }

    fn without(self, path: &str) -> Self {
        let path = self.root().path(path);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        self
    }

    fn root(&self) -> Root {
        Root::at(self.0.path())
    }

    /// What the files say: this program and the file system under the test are not theirs.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = examine(&self.root(), Path::new("."));
        findings.retain(|finding| !finding.check.starts_with("build.") && finding.check != "disk.file_system");
        findings
    }

    fn finding(&self, check: &str) -> Finding {
        let mut found = self.findings().into_iter().filter(|finding| finding.check == check);
        found.next().unwrap_or_else(|| panic!("no {check}"))
    }
}

#[test]
fn a_good_machine_is_good() {
    for finding in Machine::good().findings() {
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
        assert!(finding.cost.is_empty() && finding.todo.is_empty() && !finding.what.is_empty(), "{finding:?}");
    }
}

/// What to change, and which finding that provokes.
const BAD: &[(&str, &str, &str, Level)] = &[
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave", "cpu.governor", Level::Warn),
    ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0", "cpu.turbo", Level::Note),
    ("/sys/devices/system/cpu/smt/active", "1", "cpu.smt", Level::Note),
    ("/sys/devices/system/cpu/isolated", "\n", "cpu.isolated", Level::Note),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "0", "cpu.idle", Level::Note),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state1/name", "haltpoll idle", "cpu.idle", Level::Warn),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet", "cpu.clocksource", Level::Warn),
    ("/sys/devices/system/node/node1/cpulist", "2-3", "cpu.numa", Level::Note),
    ("/proc/cmdline", "quiet mitigations=off", "cpu.mitigations", Level::Note),
    ("/proc/cpuinfo", "flags\t: fpu hypervisor sse2", "cpu.virtual", Level::Note),
    ("/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "7", "cpu.heat", Level::Note),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "memory.huge_pages", Level::Note),
    ("/proc/meminfo", "SwapTotal: 2000000 kB\nSwapFree: 1000000 kB", "memory.swap", Level::Warn),
    ("/proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 100000 kB", "memory.available", Level::Warn),
    ("/proc/sys/kernel/numa_balancing", "1", "memory.numa_balancing", Level::Note),
    ("/proc/pressure/cpu", "some avg10=41.50 avg60=1 avg300=1 total=5", "noise.pressure", Level::Warn),
    ("/proc/stat", "cpu  100 0 100 700 0 0 0 100 0 0", "noise.steal", Level::Note),
    ("/sys/fs/cgroup/user.slice/mine/cpu.max", "150000 100000", "noise.quota", Level::Warn),
    ("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000", "noise.quota", Level::Warn),
    ("/proc/self/limits", "Max open files            1024                 4096 files", "limits.files", Level::Note),
    (
        "/proc/self/limits",
        "Max locked memory         65536                65536 bytes",
        "limits.locked_memory",
        Level::Note,
    ),
    ("/proc/sys/net/ipv4/tcp_congestion_control", "bbr", "network.congestion", Level::Warn),
    ("/proc/sys/net/core/rmem_max", "212992", "network.receive_buffer", Level::Note),
    ("/proc/sys/net/core/wmem_max", "212992", "network.send_buffer", Level::Note),
    ("/proc/sys/net/ipv4/tcp_rmem", "4096 87380 174760", "network.tcp_buffer", Level::Note),
    ("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "1", "network.slow_start", Level::Note),
    ("/proc/irq/31/smp_affinity_list", "0", "nic.interrupts", Level::Note),
    ("/proc/sys/kernel/io_uring_disabled", "2", "io_uring.allowed", Level::Note),
    ("/sys/dev/block/8:0/queue/write_cache", "write through", "disk.write_cache", Level::Note),
    ("/sys/dev/block/8:0/queue/scheduler", "none [bfq]", "disk.scheduler", Level::Note),
    ("/sys/class/dmi/id/product_name", "t3.medium", "cloud.instance", Level::Warn),
];

#[test]
fn each_fault_is_found_and_says_what_it_costs_and_what_to_do() {
    for (path, text, check, level) in BAD {
        // Files that hold several things lose the others: those are unknown then, and nothing else.
        let machine = Machine::good().with(path, text.as_bytes());
        let finding = machine.finding(check);
        assert_eq!(finding.level, *level, "{path}: {finding:?}");
        assert!(!finding.cost.is_empty() && !finding.todo.is_empty(), "{finding:?}");
        let others =
            machine.findings().into_iter().filter(|other| other.check != *check && other.level > Level::Unknown);
        assert_eq!(others.collect::<Vec<_>>(), [], "{path}");
    }
    let one_queue = Machine::good().without("/sys/class/net/eth0/queues/rx-1").finding("nic.queues");
    assert_eq!(one_queue.level, Level::Note, "{one_queue:?}");
    let paced = Machine::good()
        .with("/proc/sys/net/ipv4/tcp_congestion_control", b"bbr")
        .with("/proc/sys/net/core/default_qdisc", b"fq");
    assert_eq!(paced.finding("network.congestion").level, Level::Ok);
    // Version 1 of control groups says it elsewhere.
    let old = Machine::good()
        .with("/proc/self/cgroup", b"3:cpuset:/\n1:cpu,cpuacct:/mine\n")
        .with("/sys/fs/cgroup/cpu/mine/cpu.cfs_quota_us", b"50000")
        .with("/sys/fs/cgroup/cpu/mine/cpu.cfs_period_us", b"100000");
    assert_eq!(old.finding("noise.quota").level, Level::Warn);
}

#[test]
fn cores_that_are_kept_awake_are_fine() {
    let deep = || Machine::good().with("/sys/devices/system/cpu/cpu0/cpuidle/state1/disable", b"0");
    assert_eq!(deep().finding("cpu.idle").level, Level::Note);
    assert_eq!(deep().with("/dev/cpu_dma_latency", &0_i32.to_ne_bytes()).finding("cpu.idle").level, Level::Ok);
    let nobody = deep().with("/dev/cpu_dma_latency", &2_000_000_000_i32.to_ne_bytes());
    assert_eq!(nobody.finding("cpu.idle").level, Level::Note);
    assert_eq!(deep().with("/proc/cmdline", b"idle=poll").finding("cpu.idle").level, Level::Ok);
}

#[test]
fn interrupts_are_found_by_the_name_of_the_device_too() {
    let machine = Machine::good().without("/sys/class/net/eth0/device").with("/sys/devices/virtio2/uevent", b"");
    let root = machine.root();
    symlink(root.path("/sys/devices/virtio2"), root.path("/sys/class/net/eth0/device")).expect("a link");
    let machine = machine
        .with("/proc/interrupts", b" 30: 1 PCI virtio2-input.0\n 31: 1 PCI virtio2-output.0\n 7: 1 virtio22-x\n");
    assert_eq!(machine.finding("nic.interrupts").level, Level::Ok);
    assert_eq!(machine.with("/proc/irq/31/smp_affinity_list", b"0").finding("nic.interrupts").level, Level::Note);
}

/// What is not there is unknown, and a quota that nobody has set is none.
#[test]
fn of_a_machine_that_says_nothing_nothing_is_known() {
    for finding in Machine::blank().findings() {
        let expected = if finding.check == "noise.quota" { Level::Ok } else { Level::Unknown };
        assert_eq!(finding.level, expected, "{finding:?}");
    }
}

#[test]
fn garbage_is_unknown_and_never_shown() {
    let huge = b"7 ".repeat(4 << 20);
    let lines = b"some avg10=nan total=-1\ncpu  1 2\nTcp: a b\nTcp: 1\n".repeat(1000);
    for garbage in
        [&b""[..], b"\x00\xff\x1b[31m", b"\x1b]0;title\x07", b"-1", b"99999999999999999999999", &huge, &lines]
    {
        let machine = GOOD.iter().fold(Machine::blank(), |machine, (path, _)| machine.with(path, garbage));
        for finding in machine.findings() {
            assert!(finding.what.len() < 300 && !finding.what.contains(char::is_control), "{finding:?}");
        }
        let counts = Counts::read(&machine.root());
        assert_eq!(Deltas::between(&counts, &counts).findings(), [], "nothing happened");
        Tuning::read(&machine.root());
    }
    // A folder where a file should be.
    let machine =
        Machine::blank().with("/proc/stat/x", b"").with("/proc/cpuinfo/x", b"").with("/proc/interrupts/x", b"");
    assert!(machine.findings().iter().all(|finding| finding.level <= Level::Unknown));
}

#[test]
fn what_happened_between_two_moments_is_counted() {
    let machine = Machine::good();
    let before = Counts::read(&machine.root());
    std::thread::sleep(Duration::from_millis(2));
    let quiet = Deltas::between(&before, &Counts::read(&machine.root()));
    assert_eq!((quiet.steal_share, quiet.tcp_retransmits, quiet.softnet_drops), (None, Some(0), Some(0)), "{quiet:?}");
    assert!(quiet.seconds > 0.0 && quiet.findings().is_empty(), "{quiet:?}");

    let machine = machine
        .with("/proc/stat", b"cpu  150 0 150 850 0 0 0 50 0 0\nctxt 9000\n")
        .with("/sys/fs/cgroup/user.slice/mine/cpu.stat", b"throttled_usec 7000000\n")
        .with("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", b"3")
        .with("/proc/pressure/memory", b"some avg10=0.00 total=5\n")
        .with(
            "/proc/net/snmp",
            b"Tcp: RtoAlgorithm OutSegs RetransSegs InErrs\nTcp: 1 3000 105 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 900 0 70 900 60 10\n",
        )
        .with("/proc/net/softnet_stat", b"000003e8 0000000a 00000002 0 0\n000003e8 00000001 00000010 0 0\n");
    let deltas = Deltas::between(&before, &Counts::read(&machine.root()));
    assert_eq!(deltas.steal_share, Some(0.25));
    assert_eq!(
        (deltas.context_switches, deltas.throttled_us, deltas.heat_throttles),
        (Some(4000), Some(7_000_000), Some(3))
    );
    assert_eq!((deltas.tcp_segments, deltas.tcp_retransmits, deltas.tcp_errors), (Some(2000), Some(100), Some(1)));
    assert_eq!((deltas.udp_datagrams, deltas.udp_errors), (Some(400), Some(70)));
    assert_eq!((deltas.udp_receive_drops, deltas.udp_send_drops), (Some(60), Some(10)));
    assert_eq!((deltas.softnet_drops, deltas.softnet_squeezes), (Some(11), Some(16)));
    assert_eq!(deltas.memory_pressure_share, None, "it was not known before");
    let checks: Vec<String> = deltas.findings().into_iter().map(|finding| finding.check).collect();
    let expected = ["steal", "throttling", "heat", "retransmits", "datagrams", "backlog"];
    assert_eq!(checks, expected.map(|what| format!("during.{what}")));
    // A counter that wrapped, or another machine's: nothing, and no panic.
    let back = Deltas::between(&Counts::read(&machine.root()), &before);
    assert_eq!(back.tcp_retransmits, Some(0));
}

#[test]
fn findings_touch_the_experiments_that_they_can_change() {
    let point = |set: &str| support::spec(set).points()[0].clone();
    let uring = point("[cluster]\ntransport = 'uring'");
    let mem = point("[cluster]\ntransport = 'mem'");
    let bbr = point("[cluster]\ntransport = 'tokio-tcp'\nwait = 'spin'\n[transport]\ncongestion = 'bbr'");
    let quic = point("[cluster]\ntransport = 'quic'\n[storage]\ndurability = 'fsync'");
    let computed = point("[cluster]\ntransport = 'sim'");
    let population = point("[cluster]\nprotocol = 'gossip'\ntransport = 'population'");
    let cases = [
        (Touches::Timed, vec![&uring, &mem, &bbr, &quic]),
        (Touches::Sleeping, vec![&uring, &mem, &quic]),
        (Touches::Sockets, vec![&uring, &bbr, &quic]),
        (Touches::Tcp, vec![&uring, &bbr]),
        (Touches::Bbr, vec![&bbr]),
        (Touches::Quic, vec![&quic]),
        (Touches::IoUring, vec![&uring]),
        (Touches::SyncedLogs, vec![&quic]),
        (Touches::OtherHosts, vec![]),
    ];
    for (touches, expected) in cases {
        let all = [&uring, &mem, &bbr, &quic, &computed, &population];
        let concerned: Vec<_> = all.into_iter().filter(|point| touches.concerns(point)).collect();
        assert_eq!(concerned, expected, "{touches:?}");
    }
}

#[test]
fn the_program_says_what_it_found() {
    let desk = Desk::new("");
    let said = desk.run(&["doctor", "--path", "."]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    for part in [
        "cpu.virtual",
        "io_uring.set_up",
        "disk.sync",
        "costs: ",
        "do: ",
        "checks, ",
        "where what both looked at differs",
    ] {
        assert!(said.out.contains(part), "no {part} in {}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'));
    assert_eq!(fs::read_dir(desk.folder.path()).expect("its folder").count(), 1, "it leaves nothing behind");

    let document = whole(&desk.run(&["doctor", "--json", "--path", "to/be/made"]).out);
    assert!(!desk.path("to").exists());
    assert_eq!(document["schema"], DOCTOR_SCHEMA);
    let findings: Vec<Finding> = serde_json::from_value(document["findings"].clone()).expect("findings");
    for check in ["cpu.distance", "build.profile", "disk.sync", "nic"] {
        assert!(findings.iter().any(|finding| finding.check.starts_with(check)), "no {check}");
    }
    let hash = document["fingerprint"].as_str().expect("a hash");
    assert!(hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    assert_eq!(document["fingerprint_of"]["profile"], document["host"]["build"]["profile"]);

    let quick = whole(&desk.run(&["doctor", "--json", "--quick"]).out);
    let checks = |document: &Json| {
        let findings = document["findings"].as_array().expect("a list").iter();
        findings.map(|finding| finding["check"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert!(
        !checks(&quick).iter().any(|check| ["cpu.distance", "disk.sync", "io_uring.set_up"].contains(&check.as_str()))
    );
    assert!(checks(&document).starts_with(&checks(&quick)), "quick is the rest");
    assert_eq!(quick["fingerprint"], document["fingerprint"]);
}

const SHORT: &str = "name = 'short'
[cluster]
protocol = 'echo'
replicas = 1
transport = 'mem'
[load]
arrival = 'closed'
[run]
warmup = '10ms'
duration = '100ms'
";

#[test]
fn a_run_keeps_what_was_found_and_what_happened() {
    let desk = Desk::new(SHORT);
    let said = desk.run(&["run", "x.toml"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    // On whatever machine.
    if cfg!(debug_assertions) {
        assert!(said.err.contains("build.profile: built without optimisation\n"), "{}", said.err);
        assert!(said.err.contains("`quorumbench doctor` says more"), "{}", said.err);
    }
    assert!(!said.err.contains("nic.") && !said.err.contains("network."), "rings need no network: {}", said.err);
    let run = desk.only_run("results");
    let manifest = manifest(&run);
    let findings: Vec<Finding> = serde_json::from_value(manifest["doctor"]["findings"].clone()).expect("findings");
    let profile = if cfg!(debug_assertions) { Level::Warn } else { Level::Ok };
    assert!(findings.iter().any(|finding| finding.check == "build.profile" && finding.level == profile));
    assert!(findings.iter().any(|finding| finding.check == "cpu.distance"), "the run has measured it");
    assert!(!findings.iter().any(|finding| finding.check == "disk.sync"), "nobody has written there");
    let deltas: Deltas = serde_json::from_value(manifest["doctor"]["deltas"].clone()).expect("deltas");
    assert!(deltas.seconds > 0.1 && deltas.context_switches > Some(0), "{deltas:?}");
    let document = whole(&desk.run(&["doctor", "--json", "--quick"]).out);
    assert_eq!(manifest["fingerprint"], document["fingerprint"], "the doctor and the run see the same machine");
    let stored = StoredRun::read(&run).expect("a run");
    assert_eq!(serde_json::to_value(&stored.fingerprint).expect("JSON"), document["fingerprint_of"]);
}

#[test]
fn a_run_that_computes_has_nothing_to_fear_from_the_machine() {
    let config = "name = 'far'\n[cluster]\nprotocol = 'raft'\ntransport = 'sim'\n[load]\narrival = 'closed'\n[run]\nwarmup = '10ms'\nduration = '100ms'";
    let said = Desk::new(config).run(&["run", "x.toml"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.err.contains("doctor"), "{}", said.err);
    let quiet = Desk::new(SHORT).run(&["run", "x.toml", "--quiet"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""), "{quiet:?}");
}

/// The run's own probe of the disk is the doctor's.
#[test]
fn synced_logs_are_looked_at_once() {
    let desk = Desk::new(SHORT);
    let arguments =
        ["run", "x.toml", "--set", "protocol=raft", "--set", "replicas=3", "--set", "storage.durability=fsync"];
    let said = desk.run(&arguments);
    assert_eq!(said.code, Some(0), "{said:?}");
    let findings = manifest(&desk.only_run("results"))["doctor"]["findings"].clone();
    let findings: Vec<Finding> = serde_json::from_value(findings).expect("findings");
    assert_eq!(findings.iter().filter(|finding| finding.check == "disk.sync").count(), 1);
}

#[test]
fn tuning_is_part_of_the_fingerprint_and_older_runs_are_still_read() {
    let tuned = Tuning::read(&Machine::good().root());
    let expected = Tuning {
        turbo: Some(false),
        smt: Some(false),
        isolated_cores: Some("1".into()),
        transparent_hugepages: Some("madvise".into()),
        idle_exit_us: Some(0),
        idle_limit_us: None,
        mitigations: Some("mitigated: spectre_v1".into()),
    };
    assert_eq!(tuned, expected);
    assert_eq!(Tuning::read(&Machine::blank().root()), Tuning::default());

    // Two runs of one config, one as an older program left it, one of a machine that is tuned otherwise.
    let desk = Desk::new(SHORT);
    for out in ["old", "new"] {
        assert_eq!(desk.run(&["run", "x.toml", "--quiet", "--out", out]).code, Some(0));
    }
    let [old, new] = ["old", "new"].map(|out| desk.only_run(out));
    let compare = || desk.run(&["compare", &old.to_string_lossy(), &new.to_string_lossy()]);
    let rewrite = |change: &dyn Fn(&mut Json)| {
        let mut changed = manifest(&old);
        change(&mut changed);
        fs::write(old.join("manifest.json"), changed.to_string()).expect("written");
    };
    rewrite(&|manifest| manifest["host"]["tuning"]["turbo"] = "another".into());
    rewrite(&|manifest| manifest["host"]["tuning"]["transparent_hugepages"] = "another".into());
    let said = compare();
    assert!(said.code == Some(2) && said.err.contains("transparent_hugepages"), "{said:?}");
    rewrite(&|manifest| drop(manifest["host"].as_object_mut().expect("an object").remove("tuning")));
    let said = compare();
    assert!([Some(0), Some(3)].contains(&said.code), "they compare, whatever comes of it: {said:?}");
}
