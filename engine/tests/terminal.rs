//! A run at a terminal: the bar, and the whole screen.

mod support;

use std::fs::File;
use std::io::Read;
#[cfg(feature = "tui")]
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use support::desk::{Desk, PATIENCE};

/// A terminal that a test holds the other end of.
struct Terminal {
    #[cfg(feature = "tui")]
    ours: File,
    theirs: OwnedFd,
    /// All that was written to it so far.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("its name");
        let theirs =
            rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other end");
        tcsetwinsize(&theirs, Winsize { ws_row: 40, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let ours = File::from(ours);
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        #[cfg(feature = "tui")]
        let typed = ours.try_clone().expect("a copy");
        let (mut reader, shown) = (ours, Arc::clone(&seen));
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut piece) {
                shown.lock().expect("not poisoned").extend_from_slice(&piece[..read]);
            }
        });
        Self {
            #[cfg(feature = "tui")]
            ours: typed,
            theirs,
            seen,
        }
    }

    fn run(&self, desk: &Desk, arguments: &[&str]) -> Child {
        let theirs = || Stdio::from(self.theirs.try_clone().expect("a copy"));
        let mut command = desk.command(arguments);
        command.stdin(theirs()).stdout(theirs()).stderr(theirs()).env("TERM", "xterm-256color");
        command.spawn().expect("it starts")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("not poisoned")).into_owned()
    }

    /// Waits until this was written to it, whatever jumps of the cursor there are between its words.
    fn shows(&self, part: &str) {
        let begin = Instant::now();
        while !words(&self.text()).contains(&words(part)) {
            assert!(begin.elapsed() < PATIENCE, "no {part:?} in {:?}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether lines are edited and echoed, as in a shell.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.theirs).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

/// Without spaces, and without control sequences (ECMA-48, section 5.4) but for those that are asked for.
fn words(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        words.extend(before.chars().filter(|c| !c.is_whitespace()));
        let end = sequence.find(|c: char| ('@'..='~').contains(&c)).map_or(sequence.len(), |at| at + 1);
        if sequence[..end].contains("1049") {
            words.push_str(&sequence[..end]);
        }
        rest = &sequence[end..];
    }
    words.extend(rest.chars().filter(|c| !c.is_whitespace()));
    words
}

fn code(mut child: Child, terminal: &Terminal) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it did not end: {:?}", terminal.text());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

const TWO_POINTS: &str = "name = 'two'
[cluster]
protocol = 'echo'
replicas = 1
transport = 'mem'
[load]
arrival = 'constant'
rate = [1000, 2000]
[run]
warmup = '100ms'
duration = '1s'
";

#[test]
fn a_terminal_gets_a_bar_with_figures() {
    let (desk, terminal) = (Desk::new(TWO_POINTS), Terminal::new());
    let child = terminal.run(&desk, &["run", "x.toml"]);
    assert_eq!(code(child, &terminal), Some(0));
    terminal.shows("Results: ");
    let text = terminal.text();
    for part in ["0/2 points", "1/2 points", "rate=1000  measuring", "rate=2000  measuring", "/s, p99 ", "s left)"] {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
    assert!(text.contains("rate=1000: ") && text.contains(" commands/s, p50 "), "{text:?}");
    assert!(terminal.is_cooked());
}

#[cfg(feature = "tui")]
const ENTER: &str = "\u{1b}[?1049h";
#[cfg(feature = "tui")]
const LEAVE: &str = "\u{1b}[?1049l";

#[cfg(feature = "tui")]
#[test]
fn a_screen_is_given_back_when_the_run_is_over() {
    let (desk, terminal) = (Desk::new(TWO_POINTS), Terminal::new());
    let child = terminal.run(&desk, &["run", "x.toml", "--tui"]);
    terminal.shows(ENTER);
    terminal.shows("q stops");
    assert_eq!(code(child, &terminal), Some(0));
    terminal.shows("Results: ");
    let text = terminal.text();
    let left = text.find(LEAVE).expect("it was left");
    assert!(text.find(ENTER) < Some(left) && text[left..].contains("rate=2000: "), "its lines are there: {text:?}");
    assert!(words(&text[..left]).contains("point1of2") && terminal.is_cooked());
}

#[cfg(feature = "tui")]
#[test]
fn q_and_control_c_stop_a_run_and_keep_what_was_finished() {
    for key in [b"q", b"\x03"] {
        let (desk, mut terminal) = (Desk::new(TWO_POINTS), Terminal::new());
        let child = terminal.run(&desk, &["run", "x.toml", "--tui", "--set", "run.duration=2s"]);
        terminal.shows(" commands/s, p50 ");
        assert!(!terminal.is_cooked(), "keys come as they are typed");
        terminal.ours.write_all(key).expect("typed");
        assert_eq!(code(child, &terminal), Some(1));
        terminal.shows("1 of 2 points are finished");
        let text = terminal.text();
        let left = text.find(LEAVE).expect("it was left");
        assert!(text[left..].contains("error: interrupted") && terminal.is_cooked(), "{text:?}");
        assert_eq!(support::points_on_disk(&desk.only_run("results")).len(), 1);
    }
}

#[cfg(feature = "tui")]
#[test]
fn a_signal_and_a_failure_give_the_terminal_back() {
    let (desk, terminal) = (Desk::new(TWO_POINTS), Terminal::new());
    let child = terminal.run(&desk, &["run", "x.toml", "--tui"]);
    terminal.shows("q stops");
    support::desk::signal(&child, rustix::process::Signal::TERM);
    assert_eq!(code(child, &terminal), Some(1));
    terminal.shows("points are finished");
    assert!(terminal.text().contains(LEAVE) && terminal.is_cooked());

    let (desk, terminal) = (Desk::new(TWO_POINTS), Terminal::new());
    let arguments =
        ["run", "x.toml", "--tui", "--set", "transport=tokio-tcp", "--set", "transport.congestion=none-such"];
    assert_eq!(code(terminal.run(&desk, &arguments), &terminal), Some(1));
    terminal.shows("error: ");
    assert!(terminal.text().contains(LEAVE) && terminal.is_cooked());
}

#[cfg(feature = "tui")]
#[test]
fn without_a_terminal_there_is_no_screen() {
    let said = Desk::new(TWO_POINTS).run(&["run", "x.toml", "--tui"]);
    support::desk::fails(&said, 2, &["--tui", "there is no terminal"]);
}
