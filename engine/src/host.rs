//! The machine that a result was taken on.

use std::fs;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// What makes runs comparable: the processor, the memory, the kernel, and how this program was built.
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

/// How long a cache line takes from one core to another and back, in nanoseconds: the median of a
/// few short bursts. A host that moves a virtual machine's cores changes it severalfold, and with it
/// every other number. Zero where there is one core only.
pub fn core_round_trip_ns() -> f64 {
    if cores() < 2 {
        return 0.0;
    }
    let ball = AtomicU64::new(0);
    let mut bursts: Vec<f64> = thread::scope(|scope| {
        scope.spawn(|| {
            for odd in (1..2 * ROUNDS * BURSTS).step_by(2) {
                if !await_turn(&ball, odd) {
                    return;
                }
                ball.store(odd + 1, Ordering::Release);
            }
        });
        (0..BURSTS)
            .map(|burst| {
                let begin = Instant::now();
                for round in burst * ROUNDS..(burst + 1) * ROUNDS {
                    ball.store(2 * round + 1, Ordering::Release);
                    await_turn(&ball, 2 * round + 2);
                }
                begin.elapsed().as_nanos() as f64 / ROUNDS as f64
            })
            .collect()
    });
    bursts.sort_by(f64::total_cmp);
    bursts[bursts.len() / 2]
}

const ROUNDS: u64 = 2000;
const BURSTS: u64 = 5;

/// Waits for `ball` to be `value`, but not for ever: on a busy machine the other thread may not run.
fn await_turn(ball: &AtomicU64, value: u64) -> bool {
    let begin = Instant::now();
    let mut looks = 0_u32;
    while ball.load(Ordering::Acquire) < value {
        spin_loop();
        looks += 1;
        if looks % 4096 == 0 {
            if begin.elapsed() > Duration::from_millis(100) {
                return false;
            }
            thread::yield_now();
        }
    }
    true
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
        assert!(cores() == 1 || core_round_trip_ns() > 1.0);
    }
}
