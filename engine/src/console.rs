//! What every subcommand does as a process at a terminal: it prints, complains, hears signals, and ends with a code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::progress;

/// Exit codes besides success, which users script against.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const REGRESSION: u8 = 3;
    pub(crate) const SLO_MISSED: u8 = 4;
    pub(crate) const INVALID: u8 = 5;
}

/// The command line, for manifests.
pub(crate) fn typed() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// Writes `text` to standard output. The exit code: a reader that has had enough is no failure.
pub(crate) fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("cannot write to standard output: {error}"));
            exit::FAILED
        }
        _ => 0,
    }
}

/// Ctrl-C, a polite end, and a terminal that goes away: a run keeps what it has finished.
pub(crate) const STOPS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

/// A flag that [`STOPS`] raise. The second signal ends the program at once.
pub(crate) fn stop_on_signals() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let ignored = hangup_is_ignored().then_some(signal_hook::consts::SIGHUP);
    for signal in STOPS.into_iter().filter(|&signal| Some(signal) != ignored) {
        signal_hook::flag::register_conditional_shutdown(signal, exit::FAILED.into(), flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

/// Whether the run is to outlive its terminal, as `nohup` arranges. Where `/proc` does not say, it is not.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1
}

pub(crate) fn fail(code: u8, message: &dyn std::fmt::Display) -> ExitCode {
    say(message);
    code.into()
}

pub(crate) fn say(message: &dyn std::fmt::Display) {
    progress::note(&format!("error: {message}"));
}
