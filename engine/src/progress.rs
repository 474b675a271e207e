//! How a run goes on, for people: a bar at a terminal, a line a point elsewhere.

use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::Phase;
use crate::results::PointResult;
use crate::run::Observer;
use crate::summary::{thousands, time_text};

/// Progress on standard error.
#[derive(Debug)]
pub struct Progress {
    /// `None` without a terminal, or when nothing is to be said at all.
    bar: Option<ProgressBar>,
    quiet: bool,
    label: String,
    shown: Instant,
}

/// A bar is drawn at most this often: the measuring thread has better things to do.
const PAUSE: Duration = Duration::from_millis(100);

impl Progress {
    /// Progress for people, or none.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} points  {msg}  ({eta} left)");
            bar.set_style(style.expect("a constant template is valid").progress_chars("=> "));
            bar
        });
        Self { bar, quiet, label: String::new(), shown: Instant::now() }
    }

    /// Takes the bar away, so that what follows stands alone.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.quiet => {}
            None => note(text),
        }
    }
}

/// Writes a line to standard error. If nobody listens any more, what is measured matters all the same.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Observer for Progress {
    fn begin(&mut self, index: usize, total: usize, label: &str) {
        label.clone_into(&mut self.label);
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(index as u64);
            bar.set_message(self.label.clone());
        }
    }

    fn phase(&mut self, phase: Phase) {
        let Some(bar) = self.bar.as_ref().filter(|_| self.shown.elapsed() >= PAUSE) else { return };
        self.shown = Instant::now();
        let phase = match phase {
            Phase::Starting => "starting",
            Phase::WarmingUp => "warming up",
            Phase::Measuring => "measuring",
            Phase::Draining => "waiting for the last answers",
            Phase::Checking => "checking",
        };
        bar.set_message(format!("{}  {phase}", self.label));
        bar.tick();
    }

    fn finished(&mut self, result: &PointResult) {
        let label = if self.label.is_empty() { &result.name } else { &self.label };
        let (rate, times) = (thousands(result.completed_per_s), result.response_ns);
        let (p50, p99) = (time_text(times.p50 as f64), time_text(times.p99 as f64));
        self.line(&format!("  {label}: {rate} commands/s, p50 {p50}, p99 {p99}"));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}
