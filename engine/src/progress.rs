//! How a run goes on, for people: a bar at a terminal, a line a point elsewhere.

use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::Phase;
use crate::results::{ConvergenceResult, EpidemicResult, PointResult};
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

    /// A point's line, once it is finished. It has the experiment's name if that is all there is to tell it by.
    fn end(&self, name: &str, what: &str) {
        let label = if self.label.is_empty() { name } else { &self.label };
        let text = format!("  {label}: {what}");
        match &self.bar {
            Some(bar) => {
                bar.println(&text);
                bar.inc(1);
            }
            None if self.quiet => {}
            None => note(&text),
        }
    }

    /// What is going on, behind the bar.
    fn say(&mut self, what: impl FnOnce() -> String) {
        let Some(bar) = self.bar.as_ref().filter(|_| self.shown.elapsed() >= PAUSE) else { return };
        self.shown = Instant::now();
        bar.set_message(format!("{}  {}", self.label, what()));
        bar.tick();
    }
}

/// Writes a line to standard error. If nobody listens any more, what is measured matters all the same.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Observer for Progress {
    fn found(&mut self, lines: &[String]) {
        if !self.quiet && !lines.is_empty() {
            lines.iter().for_each(|line| note(line));
            note("`quorumbench doctor` says more");
        }
    }

    fn begin(&mut self, index: usize, total: usize, label: &str) {
        label.clone_into(&mut self.label);
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(index as u64);
            bar.set_message(self.label.clone());
        }
    }

    fn phase(&mut self, phase: Phase) {
        self.say(|| {
            let phase = match phase {
                Phase::Starting => "starting",
                Phase::WarmingUp => "warming up",
                Phase::Measuring => "measuring",
                Phase::Draining => "waiting for the last answers",
                Phase::Checking => "checking",
            };
            phase.to_owned()
        });
    }

    fn trials(&mut self, finished: usize, of: usize) {
        self.say(|| format!("trial {finished} of {of}"));
    }

    fn finished(&mut self, result: &PointResult) {
        let (rate, times) = (thousands(result.completed_per_s), result.response_ns);
        let (p50, p99) = (time_text(times.p50 as f64), time_text(times.p99 as f64));
        self.end(&result.name, &format!("{rate} commands/s, p50 {p50}, p99 {p99}"));
    }

    fn spread(&mut self, result: &EpidemicResult) {
        let epidemic = &result.epidemic;
        let (missed, rounds, traffic) = (epidemic.residue.mean, epidemic.rounds_last.mean, epidemic.traffic.mean);
        self.end(&result.name, &format!("{rounds:.2} rounds, residue {missed:.3e}, traffic {traffic:.2}"));
    }

    fn converged(&mut self, result: &ConvergenceResult) {
        let convergence = &result.convergence;
        let bytes = thousands(convergence.bytes.all.mean);
        let rounds = convergence.rounds.map_or("never".into(), |rounds| format!("in {:.2} rounds", rounds.mean));
        self.end(&result.name, &format!("agreed {rounds}, {bytes} bytes an update"));
    }
}
