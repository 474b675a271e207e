//! The machine that a result was taken on.

use std::fs;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

mod root;
mod tuning;

pub use root::Root;
pub(crate) use root::{chosen, word};
pub(crate) use tuning::DMA_LATENCY;
pub use tuning::Tuning;

/// What makes runs comparable: the processor, the memory, the kernel, how it is tuned, and how this program was built.
pub fn describe() -> Json {
    let system = rustix::system::uname();
    json!({
        "hostname": system.nodename().to_string_lossy(),
        "kernel": format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        "machine": system.machine().to_string_lossy(),
        "cpu": cpu_model(),
        "cores": cores(),
        "memory_kib": memory_kib(),
        "virtual_machine": first_line("/proc/cpuinfo", "flags").is_some_and(|flags| flags.contains(" hypervisor")),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "tuning": Tuning::read(&Root::default()),
        "build": {
            "version": env!("CARGO_PKG_VERSION"),
            "commit": COMMIT,
            "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        },
    })
}

/// The commit that this program was built from, with `-dirty` if the tree had changes; empty if unknown.
pub const COMMIT: &str = env!("QUORUMBENCH_COMMIT");

/// The processor's name.
pub fn cpu_model() -> Option<String> {
    first_line("/proc/cpuinfo", "model name")
}

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How long a cache line takes from one core to another and back, in nanoseconds: the best of a few
/// short bursts, because on a busy machine the others also wait for a core. A host that moves a
/// virtual machine's cores changes it severalfold, and with it every other number. Zero where there
/// is one core only, or no burst went through.
pub fn core_round_trip_ns() -> f64 {
    if cores() < 2 {
        return 0.0;
    }
    let ball = AtomicU64::new(0);
    let give_up = Instant::now() + PROBE;
    let best = thread::scope(|scope| {
        scope.spawn(|| (0..ROUNDS * BURSTS).all(|round| pass(&ball, 2 * round + 1, give_up)));
        let burst = |burst: u64| {
            let begin = Instant::now();
            ball.store(2 * burst * ROUNDS + 1, Ordering::Release);
            let mut rounds = burst * ROUNDS..(burst + 1) * ROUNDS - 1;
            let played = rounds.all(|round| pass(&ball, 2 * round + 2, give_up))
                && await_ball(&ball, 2 * (burst + 1) * ROUNDS, give_up);
            played.then(|| begin.elapsed().as_nanos() as f64 / ROUNDS as f64)
        };
        (0..BURSTS).map_while(burst).fold(f64::INFINITY, f64::min)
    });
    if best.is_finite() { best } else { 0.0 }
}

const ROUNDS: u64 = 500;
const BURSTS: u64 = 20;
/// The probe takes a few milliseconds at most, however busy the machine is.
const PROBE: Duration = Duration::from_millis(20);

/// Waits until the ball is at `value` and sends it on.
fn pass(ball: &AtomicU64, value: u64, give_up: Instant) -> bool {
    let here = await_ball(ball, value, give_up);
    if here {
        ball.store(value + 1, Ordering::Release);
    }
    here
}

fn await_ball(ball: &AtomicU64, value: u64, give_up: Instant) -> bool {
    for look in 1_u64.. {
        if ball.load(Ordering::Acquire) >= value {
            return true;
        }
        spin_loop();
        if look.is_multiple_of(1024) && Instant::now() > give_up {
            return false;
        }
    }
    unreachable!("it gives up before it has looked that often")
}

/// The most memory that this process has had at once, in bytes; zero if the kernel does not say.
///
/// Not what `getrusage` says: there a process that was just started begins at its parent's peak.
pub fn peak_rss_bytes() -> u64 {
    peak_rss_bytes_in("/proc/self/status")
}

/// The same of another process, which is alive.
pub fn peak_rss_bytes_of(process: u32) -> u64 {
    peak_rss_bytes_in(&format!("/proc/{process}/status"))
}

fn peak_rss_bytes_in(status: &str) -> u64 {
    let line = first_line(status, "VmHWM");
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

fn memory_kib() -> Option<u64> {
    first_line("/proc/meminfo", "MemTotal")?.split_whitespace().next()?.parse().ok()
}

/// What follows the colon on the first line of `path` that begins with `key`.
fn first_line(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_this_machine() {
        let host = describe();
        assert!(host["cores"].as_u64() >= Some(1));
        assert!(host["kernel"].as_str().is_some_and(|kernel| kernel.starts_with("Linux")));
        assert!((1 << 20..1 << 40).contains(&peak_rss_bytes()));
        assert!((0.0..1e7).contains(&core_round_trip_ns()), "zero on a machine too busy to tell");
    }
}
