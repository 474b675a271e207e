//! What a client saw, recorded on its own thread and merged afterwards: no locks, no averages of
//! percentiles.

use std::sync::Arc;

use hdrhistogram::Histogram;
use quorumbench_protocols::Nanos;
use serde::{Deserialize, Serialize};

use crate::live::Slot;
use crate::remote::{self, NanosDef};

mod timeline;

pub use timeline::{BIN_NS, Bin, SLICE_NS, Timeline};

/// One client's record of a point.
///
/// Only commands *intended* inside the measured window count. *Response time* runs from the intended
/// send, *service time* from the actual one; their difference is the *send lag*, which is the
/// generator's own. In a closed loop a command is intended when it is sent.
#[derive(Debug)]
pub struct Recorder {
    window: Window,
    /// Response times of the current interval; moved into `response` at its end.
    current: Histogram<u64>,
    intervals: Vec<Interval>,
    response: Histogram<u64>,
    service: Histogram<u64>,
    send_lag: Histogram<u64>,
    tally: Tally,
    /// Commands sent and not answered, now, and the integral of that over the window in command-nanoseconds.
    in_flight: u64,
    in_flight_since: Nanos,
    /// Kept if there are faults to be measured.
    timeline: Option<Box<Timeline>>,
    /// Where all is counted besides, in the window or not, if anybody looks.
    slot: Option<Arc<Slot>>,
}

/// When a point is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From here on.
    #[serde(with = "NanosDef")]
    pub from: Nanos,
    /// Up to here.
    #[serde(with = "NanosDef")]
    pub until: Nanos,
}

/// Plain counts over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Commands sent from the start of the load on, in the window or not, each once.
    pub sent: u64,
    /// Commands intended in the window.
    pub intended: u64,
    /// Commands answered in the window, whenever they were intended.
    pub completed: u64,
    /// Commands intended in the window that were never answered.
    pub unanswered: u64,
    /// Batches sent again.
    pub resent: u64,
    /// Commands that were due and had to wait because too many were in flight.
    pub late: u64,
    /// The integral of commands in flight over the window, in command-nanoseconds.
    pub in_flight_ns: u128,
    /// The sum of service times of the commands answered in the window.
    pub service_sum_ns: u128,
}

/// One second of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Commands answered in it.
    pub completed: u64,
    /// Their response times.
    #[serde(with = "remote::histogram")]
    pub response: Histogram<u64>,
}

/// An interval's length.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// The longest time that is told apart: one hour. Longer ones count as that.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// An empty histogram of nanoseconds: 3 significant digits up to an hour.
///
/// # Panics
/// Never: the bounds are constant and valid.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds are valid")
}

impl Window {
    /// Whether `at` lies in it.
    pub fn contains(self, at: Nanos) -> bool {
        self.from <= at && at < self.until
    }

    /// Its length in nanoseconds.
    pub fn length_ns(self) -> u64 {
        self.until.saturating_since(self.from)
    }

    /// How much of `[begin, end)` lies in it.
    fn overlap_ns(self, begin: Nanos, end: Nanos) -> u64 {
        end.min(self.until).saturating_since(begin.max(self.from))
    }
}

impl Recorder {
    /// A record of what happens in `window`.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            current: histogram(),
            intervals: Vec::new(),
            response: histogram(),
            service: histogram(),
            send_lag: histogram(),
            tally: Tally::default(),
            in_flight: 0,
            in_flight_since: window.from,
            timeline: None,
            slot: None,
        }
    }

    /// The same, counting in a slot besides.
    #[must_use]
    pub fn showing(self, slot: Option<Arc<Slot>>) -> Self {
        Self { slot, ..self }
    }

    /// The same, with a timeline.
    #[must_use]
    pub fn with_timeline(self) -> Self {
        Self { timeline: Some(Box::new(Timeline::new(self.window))), ..self }
    }

    /// `commands` commands went out.
    pub fn sent(&mut self, now: Nanos, commands: u64) {
        self.account_in_flight(now);
        self.in_flight += commands;
        self.tally.sent += commands;
    }

    /// `commands` commands that went out at `sent` were answered, all at once.
    pub fn answered(&mut self, now: Nanos, sent: Nanos, commands: u64) {
        self.account_in_flight(now);
        self.in_flight -= commands;
        self.close_intervals(now);
        if let Some(slot) = &self.slot {
            slot.answered(commands);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.answered(now, commands);
        }
        if self.window.contains(now) {
            self.tally.completed += commands;
            self.tally.service_sum_ns += u128::from(now.saturating_since(sent)) * u128::from(commands);
        }
    }

    /// `commands` commands with one intended time took until `now`. They were sent at `sent`.
    pub fn took(&mut self, now: Nanos, intended: Nanos, sent: Nanos, commands: u64) {
        if let Some(slot) = &self.slot {
            slot.took(now.saturating_since(intended), commands);
        }
        if !self.window.contains(intended) {
            return;
        }
        self.tally.intended += commands;
        // Answers that come after the window belong to its last interval.
        self.current.saturating_record_n(now.saturating_since(intended), commands);
        self.service.saturating_record_n(now.saturating_since(sent), commands);
        self.send_lag.saturating_record_n(sent.saturating_since(intended), commands);
        if let Some(timeline) = &mut self.timeline {
            timeline.took(now, now.saturating_since(intended), commands);
        }
    }

    /// A command was given up at `now`. Its time so far is recorded: leaving out the worst would be a lie.
    pub fn gave_up(&mut self, now: Nanos, intended: Nanos, sent: Nanos, commands: u64) {
        if self.window.contains(intended) {
            if let Some(slot) = &self.slot {
                slot.gave_up(commands);
            }
            self.tally.unanswered += commands;
            self.took(now, intended, sent, commands);
        }
    }

    /// A batch was sent again: for the first time, if `commands` says how many are in it.
    pub fn resent(&mut self, now: Nanos, commands: Option<u32>) {
        self.tally.resent += u64::from(self.window.contains(now));
        if let (Some(timeline), Some(commands)) = (&mut self.timeline, commands) {
            timeline.resent(now, commands);
        }
    }

    /// What became of a batch of `commands` commands cannot be known: nobody answered or refused it in time.
    pub fn unknown(&mut self, now: Nanos, commands: u32) {
        if let Some(timeline) = &mut self.timeline {
            timeline.unknown(now, commands);
        }
    }

    /// Commands were due and could not be sent.
    pub fn late(&mut self, intended: Nanos, commands: u64) {
        if self.window.contains(intended) {
            if let Some(slot) = &self.slot {
                slot.late(commands);
            }
            self.tally.late += commands;
        }
    }

    /// Ends the record.
    pub fn finish(mut self) -> Recording {
        self.account_in_flight(self.window.until);
        self.close_intervals(self.window.until);
        let seconds = self.window.length_ns().div_ceil(INTERVAL_NS) as usize;
        while self.intervals.len() < seconds {
            self.push_interval();
        }
        // What was answered after the window, and what was given up.
        if let Some(last) = self.intervals.last_mut()
            && !self.current.is_empty()
        {
            add(&mut last.response, &self.current);
            add(&mut self.response, &self.current);
        }
        Recording {
            response: self.response,
            service: self.service,
            send_lag: self.send_lag,
            intervals: self.intervals,
            tally: self.tally,
            timeline: self.timeline,
        }
    }

    fn account_in_flight(&mut self, now: Nanos) {
        let inside = self.window.overlap_ns(self.in_flight_since, now);
        self.tally.in_flight_ns += u128::from(inside) * u128::from(self.in_flight);
        self.in_flight_since = now;
    }

    fn close_intervals(&mut self, now: Nanos) {
        let seconds = now.min(self.window.until).saturating_since(self.window.from) / INTERVAL_NS;
        while (self.intervals.len() as u64) < seconds {
            self.push_interval();
        }
    }

    fn push_interval(&mut self) {
        add(&mut self.response, &self.current);
        let before: u64 = self.intervals.iter().map(|interval| interval.completed).sum();
        let completed = self.tally.completed - before;
        self.intervals.push(Interval { completed, response: self.current.clone() });
        self.current.reset();
    }
}

/// What a client, or several, recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    /// From the intended send to the answer.
    pub response: Histogram<u64>,
    /// From the actual send to the answer.
    pub service: Histogram<u64>,
    /// From the intended to the actual send.
    pub send_lag: Histogram<u64>,
    /// Second by second.
    pub intervals: Vec<Interval>,
    /// Counts.
    pub tally: Tally,
    /// Millisecond by millisecond, if there were faults to be measured.
    pub timeline: Option<Box<Timeline>>,
}

impl Recording {
    /// Adds another client's record of the same window.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.response, &other.response);
        add(&mut self.service, &other.service);
        add(&mut self.send_lag, &other.send_lag);
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.completed += theirs.completed;
            add(&mut mine.response, &theirs.response);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.timeline, &other.timeline) {
            mine.merge(theirs);
        }
        let (mine, theirs) = (&mut self.tally, &other.tally);
        mine.sent += theirs.sent;
        mine.intended += theirs.intended;
        mine.completed += theirs.completed;
        mine.unanswered += theirs.unanswered;
        mine.resent += theirs.resent;
        mine.late += theirs.late;
        mine.in_flight_ns += theirs.in_flight_ns;
        mine.service_sum_ns += theirs.service_sum_ns;
    }
}

fn add(sum: &mut Histogram<u64>, more: &Histogram<u64>) {
    sum.add(more).expect("all histograms have the same bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = INTERVAL_NS;

    fn recorder() -> Recorder {
        Recorder::new(Window { from: Nanos(SECOND), until: Nanos(4 * SECOND) })
    }

    #[test]
    fn only_what_was_intended_in_the_window_counts() {
        let mut recorder = recorder();
        for intended in [SECOND - 1, SECOND, 4 * SECOND - 1, 4 * SECOND] {
            recorder.sent(Nanos(intended + 10), 1);
            recorder.took(Nanos(intended + 30), Nanos(intended), Nanos(intended + 10), 1);
            recorder.answered(Nanos(intended + 30), Nanos(intended + 10), 1);
        }
        let recording = recorder.finish();
        assert_eq!((recording.response.len(), recording.tally.intended), (2, 2));
        assert_eq!((recording.response.max(), recording.service.max(), recording.send_lag.max()), (30, 20, 10));
        assert_eq!(recording.tally.completed, 2, "answered in the window, whenever intended");
    }

    #[test]
    fn intervals_cover_the_window_and_add_up() {
        let mut recorder = recorder();
        for at in [SECOND + 5, SECOND + 6, 3 * SECOND + 5] {
            recorder.sent(Nanos(at), 4);
            recorder.answered(Nanos(at + 100), Nanos(at), 4);
            recorder.took(Nanos(at + 100), Nanos(at), Nanos(at), 4);
        }
        recorder.sent(Nanos(4 * SECOND - 1), 1);
        recorder.gave_up(Nanos(9 * SECOND), Nanos(4 * SECOND - 1), Nanos(4 * SECOND - 1), 1);
        let recording = recorder.finish();
        let seen: Vec<_> = recording.intervals.iter().map(|each| (each.completed, each.response.len())).collect();
        assert_eq!(seen, [(8, 8), (0, 0), (4, 5)]);
        assert_eq!((recording.response.len(), recording.tally.unanswered), (13, 1));
        assert!(recording.response.max() > 4 * SECOND, "what was given up is the worst, and is there");
    }

    #[test]
    fn littles_law_holds_for_a_steady_stream() {
        let mut recorder = recorder();
        // One command a microsecond, each in flight for three: three in flight on average.
        for at in 0..5_000_000_u64 {
            recorder.sent(Nanos(at * 1000), 1);
            if at >= 3 {
                recorder.answered(Nanos(at * 1000), Nanos((at - 3) * 1000), 1);
            }
        }
        let Recording { tally, .. } = recorder.finish();
        let in_flight = tally.in_flight_ns as f64 / (3 * SECOND) as f64;
        assert!((in_flight - 3.0).abs() < 0.01, "{in_flight}");
        assert_eq!(tally.service_sum_ns / u128::from(tally.completed), 3000);
    }

    #[test]
    fn records_merge() {
        let record = |at: u64| {
            let mut recorder = recorder();
            recorder.sent(Nanos(at), 1);
            recorder.took(Nanos(at + 7), Nanos(at), Nanos(at), 1);
            recorder.answered(Nanos(at + 7), Nanos(at), 1);
            recorder.finish()
        };
        let mut sum = record(SECOND);
        sum.merge(&record(2 * SECOND));
        let completed: Vec<_> = sum.intervals.iter().map(|each| each.completed).collect();
        assert_eq!((sum.response.len(), sum.tally.completed, completed), (2, 2, vec![1, 1, 0]));
    }
}
