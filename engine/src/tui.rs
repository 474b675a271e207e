//! A run on a whole screen: the latency-throughput curve as it grows, and what the point that runs does now.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Stderr, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use rustix::process::{Signal, getpid, kill_process};

use crate::live::Status;
use crate::progress::note;
use crate::results::PointResult;

mod view;

pub use view::View;

/// A terminal that is taken over, until it is left or dropped.
///
/// `q` and Ctrl-C do what Ctrl-C does elsewhere. From then on the terminal is the user's again, while the run ends.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    view: View,
    /// What was said, for when the screen is gone.
    lines: VecDeque<String>,
    interrupted: Arc<AtomicBool>,
}

/// Whether the terminal is ours: a panic of any thread gives it back.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();
/// Lines that are printed once the screen is gone.
const MOST_LINES: usize = 10_000;

impl Screen {
    /// Takes the terminal behind standard error. `interrupted` says that the run is to end.
    ///
    /// # Errors
    /// If there is none.
    pub fn enter(interrupted: Arc<AtomicBool>) -> io::Result<Self> {
        if !stderr().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "there is no terminal"));
        }
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = enable_raw_mode()
            .and_then(|()| execute!(stderr(), EnterAlternateScreen))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stderr())));
        let terminal = terminal.inspect_err(|_| give_back())?;
        Ok(Self { terminal, view: View::default(), lines: VecDeque::new(), interrupted })
    }

    /// Adds a line to what was said.
    pub(crate) fn say(&mut self, line: String) {
        self.view.say(line.clone());
        self.lines.push_back(line);
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
        }
        if !TAKEN.load(Ordering::SeqCst) {
            self.leave();
        }
    }

    /// Adds a finished point to the curve.
    pub(crate) fn add(&mut self, label: &str, result: &PointResult) {
        self.view.add(label, result);
    }

    /// Shows where the run is, and hears what is typed.
    pub(crate) fn draw(&mut self, status: &Status) {
        if !TAKEN.load(Ordering::SeqCst) {
            return;
        }
        self.view.status(status);
        // What cannot be drawn or heard is gone, and the run goes on.
        let drawn = self.terminal.draw(|frame| self.view.render(frame)).and_then(|_| is_told_to_stop());
        if matches!(drawn, Ok(true)) {
            let _ = kill_process(getpid(), Signal::INT);
        }
        if matches!(drawn, Ok(true)) || self.interrupted.load(Ordering::Relaxed) {
            self.leave();
            note("stopping; what was finished is kept");
        }
    }

    /// Gives the terminal back, with what was said.
    pub fn leave(&mut self) {
        give_back();
        self.lines.drain(..).for_each(|line| note(&line));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// If it is ours.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // If the terminal is gone, so is what was to be undone.
        let _ = disable_raw_mode();
        let _ = execute!(stderr(), LeaveAlternateScreen, Show);
    }
}

fn is_told_to_stop() -> io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && stops(key.code, key.modifiers)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn stops(code: KeyCode, modifiers: KeyModifiers) -> bool {
    match code {
        KeyCode::Char('q') => modifiers.is_empty(),
        KeyCode::Char('c') => modifiers == KeyModifiers::CONTROL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_control_c_stop() {
        assert!(stops(KeyCode::Char('q'), KeyModifiers::NONE) && stops(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!stops(KeyCode::Char('c'), KeyModifiers::NONE) && !stops(KeyCode::Esc, KeyModifiers::NONE));
    }
}
