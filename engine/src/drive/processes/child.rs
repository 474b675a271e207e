//! A process that a run starts: this program again, under another subcommand, at the other end of a pair of sockets.
//!
//! It ends with the run, however that ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::console::STOPS;

/// The program to start children with.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says where the `quorumbench` program is: what runs in a process of its own is started with it. Whatever else
/// links this library could not serve, so nothing is assumed; the program itself says so of itself. Only
/// the first call counts.
pub fn set_program(path: impl Into<PathBuf>) {
    let _ = PROGRAM.set(path.into());
}

/// Starts a child, and says how to talk to it. This thread must outlive it: with it the child is killed.
pub(in super::super) fn start(subcommand: &str) -> io::Result<(Child, UnixStream)> {
    let program = PROGRAM.get().ok_or_else(|| io::Error::other("nobody said where the program is"))?;
    let (ours, theirs) = UnixStream::pair()?;
    let process = Command::new(program)
        .arg0(env!("CARGO_PKG_NAME"))
        .arg(subcommand)
        .stdin(OwnedFd::from(theirs))
        // That is for the run's own document.
        .stdout(Stdio::null())
        .spawn()?;
    Ok((process, ours))
}

/// Why a child's process ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildError {
    /// There is no run that it could belong to.
    ByHand {
        /// What was typed.
        subcommand: &'static str,
        /// The key and the value with which a run starts such children.
        setting: [&'static str; 2],
    },
    /// Its run knows why, or is gone.
    Failed,
}

impl std::fmt::Display for ChildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByHand { subcommand, setting: [key, value] } => write!(
                f,
                "`{subcommand}` is not for the command line: a run with `{key}` \"{value}\" starts what it needs with it"
            ),
            Self::Failed => write!(f, "a process of a run failed"),
        }
    }
}

impl std::error::Error for ChildError {}

impl From<io::Error> for ChildError {
    fn from(_: io::Error) -> Self {
        Self::Failed
    }
}

/// How long a run may take to tell a child what it is to be. It does so as it starts it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the run, in a child that was just started. `None` for whoever typed the command.
///
/// # Errors
/// That the child cannot see to it that it ends with the run.
pub(in super::super) fn parent() -> io::Result<Option<UnixStream>> {
    let Some(stream) = standard_input() else { return Ok(None) };
    stay_with_parent()?;
    let _ = stream.set_read_timeout(Some(PATIENCE));
    Ok(Some(stream))
}

/// The socket that a run gives its children. Whoever types the command has none.
fn standard_input() -> Option<UnixStream> {
    let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let is_ours = sockopt::socket_domain(&input) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&input) == Ok(SocketType::STREAM);
    is_ours.then(|| input.into())
}

/// Its parent decides when it ends, however the parent itself does.
///
/// The kernel kills this process with its parent, even if it is stopped. A parent that was gone before
/// this call is found by the end of standard input. Ctrl-C goes to all processes of a terminal's group, and so
/// does its end, and the parent has then to keep what was finished.
fn stay_with_parent() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    for signal in STOPS {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}
