//! How a run goes on, for people and for programs that watch: a bar at a terminal, a line a point elsewhere, and figures
//! for whoever asks.

use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::Phase;
use crate::live::{Course, Gauge, Live, Outline, Planned, Status};
use crate::metrics::Metrics;
use crate::results::{ConvergenceResult, EpidemicResult, PointResult};
use crate::run::Observer;
#[cfg(feature = "tui")]
use crate::tui::Screen;

/// Progress on standard error.
#[derive(Debug)]
pub struct Progress<'a> {
    view: View,
    metrics: Option<&'a Metrics>,
    /// What clients count, if any of these shows it.
    live: Option<(Arc<Live>, Gauge)>,
    course: Option<Course>,
    status: Status,
    shown: Instant,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    /// Without a terminal.
    Lines,
    Quiet,
    #[cfg(feature = "tui")]
    Screen(Box<Screen>),
}

/// Figures are shown at most this often: the measuring threads have better things to do.
const PAUSE: Duration = Duration::from_millis(100);

impl<'a> Progress<'a> {
    /// Progress for people, or none, and for `metrics`.
    pub fn new(quiet: bool, metrics: Option<&'a Metrics>) -> Self {
        let view = match (quiet, io::stderr().is_terminal()) {
            (true, _) => View::Quiet,
            (false, false) => View::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} points  {wide_msg}");
                bar.set_style(style.expect("a constant template is valid").progress_chars("=> "));
                View::Bar(bar)
            }
        };
        Self::with(view, metrics)
    }

    /// On a whole screen.
    #[cfg(feature = "tui")]
    pub fn on(screen: Screen, metrics: Option<&'a Metrics>) -> Self {
        Self::with(View::Screen(Box::new(screen)), metrics)
    }

    fn with(view: View, metrics: Option<&'a Metrics>) -> Self {
        // Where nobody looks, nothing is counted.
        let looks = metrics.is_some() || !matches!(view, View::Lines | View::Quiet);
        let live = looks.then(Arc::<Live>::default).map(|live| (Arc::clone(&live), Gauge::new(live)));
        Self { view, metrics, live, course: None, status: Status::default(), shown: Instant::now() }
    }

    /// Takes the bar away, so that what follows stands alone.
    pub fn clear(&mut self) {
        match &mut self.view {
            View::Bar(bar) => bar.finish_and_clear(),
            View::Lines | View::Quiet => {}
            #[cfg(feature = "tui")]
            View::Screen(screen) => screen.leave(),
        }
    }

    /// A point's line, once it is finished. It has the experiment's name if that is all there is to tell it by.
    fn end(&mut self, result: &dyn Outline) {
        let label = if self.status.label.is_empty() { result.name() } else { &self.status.label };
        let text = format!("  {label}: {}", result.outline());
        self.say(&text);
        if let View::Bar(bar) = &self.view {
            bar.inc(1);
        }
    }

    /// A line above what is going on.
    fn say(&mut self, line: &str) {
        match &mut self.view {
            View::Bar(bar) => bar.println(line),
            View::Lines => note(line),
            View::Quiet => {}
            #[cfg(feature = "tui")]
            View::Screen(screen) => screen.say(line.to_owned()),
        }
    }

    /// What is going on, where anybody looks; `at_once` even if it was shown a moment ago.
    fn show(&mut self, at_once: bool) {
        let Some((_, gauge)) = self.live.as_mut().filter(|_| at_once || self.shown.elapsed() >= PAUSE) else { return };
        let now = Instant::now();
        self.shown = now;
        self.status.figures = gauge.look(now, self.status.phase.is_some_and(Phase::is_measured));
        self.status.left = self.course.as_ref().map(|course| course.left(now));
        if let Some(metrics) = self.metrics {
            metrics.show(&self.status);
        }
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_message(line(&self.status));
                bar.tick();
            }
            View::Lines | View::Quiet => {}
            #[cfg(feature = "tui")]
            View::Screen(screen) => screen.draw(&self.status),
        }
    }
}

/// What stands behind the bar.
fn line(status: &Status) -> String {
    let left = status.left.map_or_else(String::new, |left| {
        format!("  ({} left)", humantime::format_duration(Duration::from_secs(left.as_secs())))
    });
    format!("{}{left}", status.text())
}

/// Writes a line to standard error. If nobody listens any more, what is measured matters all the same.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Observer for Progress<'_> {
    fn found(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            lines.iter().map(String::as_str).chain(["`quorumbench doctor` says more"]).for_each(|line| self.say(line));
        }
    }

    fn plan(&mut self, name: &str, plan: Vec<Planned>) {
        name.clone_into(&mut self.status.name);
        self.course = Some(Course::new(plan, Instant::now()));
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.as_ref().map(|(live, _)| Arc::clone(live))
    }

    fn begin(&mut self, index: usize, total: usize, label: &str) {
        let name = std::mem::take(&mut self.status.name);
        let mut axes = Vec::new();
        if let Some(course) = &mut self.course {
            axes = course.begin(index, Instant::now());
        }
        if let Some((_, gauge)) = &mut self.live {
            gauge.restart();
        }
        self.status = Status { name, index, total, label: label.to_owned(), axes, ..Status::default() };
        if let View::Bar(bar) = &self.view {
            bar.set_length(total as u64);
            bar.set_position(index as u64);
        }
        self.show(true);
    }

    fn phase(&mut self, phase: Phase) {
        let changed = self.status.phase.replace(phase) != Some(phase);
        self.show(changed);
    }

    fn trials(&mut self, finished: usize, of: usize) {
        self.status.trials = Some((finished, of));
        self.show(false);
    }

    fn warn(&mut self, warning: &str) {
        self.say(&format!("  {}: warning, so far: {warning}", self.status.label));
    }

    fn finished(&mut self, result: &PointResult) {
        #[cfg(feature = "tui")]
        if let View::Screen(screen) = &mut self.view {
            screen.add(&self.status.label, result);
        }
        self.end(result);
    }

    fn spread(&mut self, result: &EpidemicResult) {
        self.end(result);
    }

    fn converged(&mut self, result: &ConvergenceResult) {
        self.end(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Figures;

    #[test]
    fn the_line_says_where_it_is_and_how_fast() {
        let figures = Figures { throughput: 12_345.6, p99_ns: Some(1_234_567), ..Figures::default() };
        let left = Some(Duration::from_millis(75_400));
        let label = "rate=10".to_owned();
        let status = Status { label, phase: Some(Phase::Measuring), figures, left, ..Status::default() };
        assert_eq!(line(&status), "rate=10  measuring  12,346/s, p99 1.23 ms  (1m 15s left)");
        let starting = Status { phase: Some(Phase::Starting), figures: Figures::default(), ..status.clone() };
        assert_eq!(line(&starting), "rate=10  starting  (1m 15s left)");
        let trials = Status { phase: None, trials: Some((3, 10)), left: None, ..status };
        assert_eq!(line(&trials), "rate=10  trial 3 of 10");
    }

    #[test]
    fn nothing_is_counted_where_nobody_looks() {
        assert!(Progress::with(View::Quiet, None).live().is_none());
        assert!(Progress::with(View::Lines, None).live().is_none());
        let metrics = Metrics::serve(([127, 0, 0, 1], 0).into()).expect("a free port");
        assert!(Progress::with(View::Quiet, Some(&metrics)).live().is_some());
    }
}
