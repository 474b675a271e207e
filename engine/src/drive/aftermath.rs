//! What came of each fault, computed from when commands completed and what happened.
//!
//! A fault is answerable for its *scope*: from when it really happened until the next fault does, or the
//! window ends. What counts as before is the window up to the first fault.

use quorumbench_protocols::{Nanos, NodeId};

use super::faults::{Done, FaultPlan, Sample};
use super::{Event, EventKind, Fault, FaultKind};
use crate::measure::{BIN_NS, SLICE_NS, Timeline, Window};
use crate::spec::Point;

/// What came of one fault. What does not apply, or did not happen within the window, is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aftermath {
    /// What was done.
    pub kind: FaultKind,
    /// To whom.
    pub node: Option<NodeId>,
    /// When it really was, in nanoseconds from the window's begin.
    pub at_ns: Option<i64>,
    /// When it really was undone.
    pub until_ns: Option<i64>,
    /// The longest time in its scope without a completed command, from the last one before it on, or up to the
    /// scope's end. Exact from a millisecond up.
    pub gap_ns: Option<u64>,
    /// From the fault until a replica began to lead; of several consensus groups, the first.
    pub leader_ns: Option<u64>,
    /// From the fault until throughput was back; zero if it never left.
    pub throughput_back_ns: Option<u64>,
    /// From the fault until p99 was back; zero if it never left.
    pub p99_back_ns: Option<u64>,
    /// From its end until the node was delivered what another had been by then.
    pub catch_up_ns: Option<u64>,
    /// What the node received in that time, whatever for.
    pub catch_up_bytes: Option<u64>,
    /// The most slots that it lagged behind in its scope, over all consensus groups.
    pub lag_slots: Option<u64>,
    /// Of a node that was made slow and works on: whether that still grew when the fault, or its scope, ended.
    pub lag_grows: Option<bool>,
    /// The most bytes of its log that it kept in memory in its scope.
    pub kept_bytes: Option<u64>,
    /// The most that another replica did.
    pub others_kept_bytes: Option<u64>,
    /// Commands whose outcome no client could know: they were neither answered nor refused in time.
    pub unknown: u64,
    /// Commands that were sent again.
    pub resent: u64,
}

/// What came of a plan's faults.
pub(super) fn of(
    plan: FaultPlan,
    point: &Point,
    window: Window,
    timeline: &Timeline,
    events: &[Event],
) -> Vec<Aftermath> {
    let faults = plan.into_done();
    let times = Times::of_all(&faults, window, events);
    let length = window.length_ns().cast_signed();
    let began = || times.iter().filter_map(|times| times.began);
    let first = began().min().unwrap_or(length).clamp(0, length).cast_unsigned();
    let former = Former::before(first, timeline);
    let one = |((fault, done), times): (&(Fault, Done), &Times)| {
        let next = began().filter(|&other| times.began.is_some_and(|at| other > at)).min();
        let mut aftermath = Aftermath::none(fault.kind, done);
        (aftermath.at_ns, aftermath.until_ns) = (times.began, times.ended);
        if let Some(at) = times.began.filter(|&at| at < length) {
            let scope = Scope {
                at: at.max(0).cast_unsigned(),
                undone: times.ended.map_or(length, |ended| ended.min(length)).cast_unsigned(),
                end: next.unwrap_or(length).min(length).cast_unsigned(),
                is_last: next.is_none(),
            };
            aftermath.see_clients(scope, window, timeline, former.as_ref());
            aftermath.see_events(scope, times, done.behind, events);
            if point.cluster.protocol.is_leaderless() {
                // Every replica leads as soon as it is there.
                aftermath.leader_ns = None;
            }
            let slack = point.batch.window as u64 * u64::from(point.cluster.groups);
            aftermath.see_samples(&done.samples, scope, window, slack);
        }
        aftermath
    };
    faults.iter().zip(&times).map(one).collect()
}

/// When a fault really began and ended, from the window's begin on.
#[derive(Clone, Copy, Default)]
struct Times {
    began: Option<i64>,
    ended: Option<i64>,
}

impl Times {
    /// By what the nodes said themselves, not by what they were told. On a machine that stands still for a while
    /// one may be told several things at once, so that each event is taken for one fault only.
    fn of_all(faults: &[(Fault, Done)], window: Window, events: &[Event]) -> Vec<Self> {
        let mut order: Vec<usize> = (0..faults.len()).collect();
        order.sort_by_key(|&index| (faults[index].1.began, faults[index].0.at, index));
        let mut rest = events.to_vec();
        rest.sort_by_key(|event| event.at_ns);
        let mut times = vec![Self::default(); faults.len()];
        for index in order {
            let (fault, done) = &faults[index];
            let since = |at: Nanos| at.0.cast_signed() - window.from.0.cast_signed();
            let mut take = |kind: EventKind, ordered: Nanos| {
                let is = |event: &Event| {
                    event.kind == kind && event.at_ns >= since(ordered) && Some(event.node.0 as usize) == done.node
                };
                Some(rest.remove(rest.iter().position(is)?).at_ns)
            };
            let (begins, ends) = edges(fault.kind);
            let began = done.began.and_then(|ordered| take(begins, ordered));
            times[index] = Self { began, ended: done.ended.zip(ends).and_then(|(ordered, ends)| take(ends, ordered)) };
        }
        times
    }
}

/// What a node says when this is done to it, and when it is undone.
fn edges(kind: FaultKind) -> (EventKind, Option<EventKind>) {
    match kind {
        FaultKind::Kill | FaultKind::Restart => (EventKind::Killed, Some(EventKind::Restarted)),
        FaultKind::Pause => (EventKind::Paused, Some(EventKind::Resumed)),
        FaultKind::Partition => (EventKind::Isolated, Some(EventKind::Healed)),
        FaultKind::SlowDisk { .. } | FaultKind::SlowLink { .. } | FaultKind::Slow { .. } => {
            (EventKind::Slowed, Some(EventKind::Recovered))
        }
        FaultKind::Transfer => (EventKind::Transfer, None),
    }
}

/// What a fault is answerable for, from the window's begin on.
#[derive(Clone, Copy)]
struct Scope {
    at: u64,
    undone: u64,
    end: u64,
    is_last: bool,
}

/// How things were before the first fault.
struct Former {
    /// Commands a millisecond.
    rate: f64,
    p99: u64,
    /// Over how many milliseconds throughput is looked at.
    span: usize,
}

/// What comes later than this after a fault was undone is not its doing.
const ANSWERABLE_NS: u64 = 1_000_000_000;
/// So much of the former throughput is as good as all of it.
const BACK: f64 = 0.9;
/// Throughput is looked at over as long as takes this many commands: chance moves their number by 2 % then.
const SPAN_COMMANDS: f64 = 2000.0;

/// As long as took this many commands, it is no chance that none was answered.
const RECENT_COMMANDS: f64 = 20.0;

impl Former {
    /// `None` if there was too little of it.
    fn before(first: u64, timeline: &Timeline) -> Option<Self> {
        let (bins, slices) = ((first / BIN_NS) as usize, (first / SLICE_NS) as usize);
        let completed: u64 = timeline.bins()[..bins].iter().map(|bin| u64::from(bin.completed)).sum();
        let rate = completed as f64 / bins.max(1) as f64;
        let span = (SPAN_COMMANDS / rate).clamp(100.0, 1000.0) as usize;
        (completed > 0).then_some(())?;
        Some(Self { rate, p99: timeline.p99(0..slices)?, span })
    }
}

impl Aftermath {
    fn none(kind: FaultKind, done: &Done) -> Self {
        Self {
            kind,
            node: done.node.map(|node| NodeId(node as u32)),
            at_ns: None,
            until_ns: None,
            gap_ns: None,
            leader_ns: None,
            throughput_back_ns: None,
            p99_back_ns: None,
            catch_up_ns: None,
            catch_up_bytes: None,
            lag_slots: None,
            lag_grows: None,
            kept_bytes: None,
            others_kept_bytes: None,
            unknown: 0,
            resent: 0,
        }
    }

    fn see_clients(&mut self, scope: Scope, window: Window, timeline: &Timeline, former: Option<&Former>) {
        self.gap_ns = Some(gap_ns(timeline, scope.at, scope.end));
        if let Some(former) = former {
            self.throughput_back_ns = throughput_back_ns(timeline, scope, former);
            self.p99_back_ns = p99_back_ns(timeline, scope, former);
        }
        // What is given up is so after the window's end.
        let until = if scope.is_last { Nanos::NEVER } else { window.from + scope.end };
        self.unknown = timeline.unknown_in(window.from + scope.at, until);
        self.resent = timeline.resent_in(window.from + scope.at, until);
    }

    /// `behind` is the slot up to which it had to catch up.
    fn see_events(&mut self, scope: Scope, times: &Times, behind: Option<u64>, events: &[Event]) {
        let first = |from: i64, is: &dyn Fn(&Event) -> bool| {
            let inside = |event: &&Event| event.at_ns >= from && event.at_ns < scope.end.cast_signed() && is(event);
            events.iter().filter(inside).min_by_key(|event| event.at_ns).copied()
        };
        let at = times.began.unwrap_or_default();
        let leads = first(at, &|event| event.kind == EventKind::Leader);
        self.leader_ns = leads.map(|event| (event.at_ns - at).cast_unsigned());
        let Some(ended) = times.ended else { return };
        // Others may have ended shortly before, or after: each has a slot of its own.
        let is_its = |kind| matches!(kind, EventKind::CaughtUp { slot, .. } if Some(slot) == behind);
        let caught_up = first(ended, &|event| is_its(event.kind) && Some(event.node) == self.node);
        if let Some(Event { at_ns, kind: EventKind::CaughtUp { bytes, .. }, .. }) = caught_up {
            (self.catch_up_ns, self.catch_up_bytes) = (Some((at_ns - ended).cast_unsigned()), Some(bytes));
        }
    }

    fn see_samples(&mut self, samples: &[Sample], scope: Scope, window: Window, slack: u64) {
        let inside: Vec<_> = samples.iter().filter(|sample| sample.at < window.from + scope.end).collect();
        self.lag_slots = inside.iter().map(|sample| sample.lag).max();
        self.kept_bytes = inside.iter().map(|sample| sample.kept_bytes).max();
        self.others_kept_bytes = inside.iter().map(|sample| sample.others_kept_bytes).max();
        let works_on =
            matches!(self.kind, FaultKind::Slow { .. } | FaultKind::SlowLink { .. } | FaultKind::SlowDisk { .. });
        let during: Vec<u64> =
            inside.iter().filter(|sample| sample.at < window.from + scope.undone).map(|sample| sample.lag).collect();
        self.lag_grows = grows(&during, slack).filter(|_| works_on);
    }
}

/// Whether the last quarter's mean is above the third's by more than a tenth and `slack`. Few tell nothing.
fn grows(lags: &[u64], slack: u64) -> Option<bool> {
    let quarter = lags.len() / 4;
    let mean = |lags: &[u64]| lags.iter().sum::<u64>() as f64 / lags.len() as f64;
    let (third, last) = (lags.get(2 * quarter..3 * quarter)?, lags.get(3 * quarter..)?);
    (quarter >= 10).then(|| mean(last) > 1.1 * mean(third) + slack as f64)
}

/// The longest time between two commands that completed, of which the second did after `at`, and the first before
/// `end`: what comes after that is the next fault's.
fn gap_ns(timeline: &Timeline, at: u64, end: u64) -> u64 {
    let bins = timeline.bins();
    let begin_of = |bin: usize| bin as u64 * BIN_NS;
    let here = (at / BIN_NS) as usize;
    let spans = bins.iter().enumerate().filter(|(_, bin)| bin.completed > 0).map(|(index, bin)| {
        (index, begin_of(index) + u64::from(bin.first_ns), begin_of(index) + u64::from(bin.last_ns))
    });
    let mut last = 0;
    let mut longest = 0;
    for (index, first_ns, last_ns) in spans {
        if last >= end {
            return longest;
        }
        if index > here || first_ns > at {
            longest = longest.max(first_ns.min(end) - last);
        }
        last = last_ns;
    }
    longest.max(end.saturating_sub(last))
}

/// When the trailing span first has as much as before again, after it once had not.
fn throughput_back_ns(timeline: &Timeline, scope: Scope, former: &Former) -> Option<u64> {
    let bins = timeline.bins();
    let of = |from: usize, until: usize| bins[from..until].iter().map(|bin| u64::from(bin.completed)).sum::<u64>();
    let (first, end) = ((scope.at / BIN_NS) as usize + 1, (scope.end / BIN_NS) as usize);
    let answerable = ((scope.undone.min(scope.end) + ANSWERABLE_NS) / BIN_NS) as usize + former.span;
    let is_back = |until: usize| {
        let from = until.saturating_sub(former.span);
        of(from, until) as f64 >= BACK * former.rate * (until - from) as f64
    };
    back(first..end + 1, answerable, is_back).map(|bin| (bin as u64 * BIN_NS).saturating_sub(scope.at))
}

/// When p99 over the trailing span is within twice what it was, after it once was not.
fn p99_back_ns(timeline: &Timeline, scope: Scope, former: &Former) -> Option<u64> {
    let span = (former.span as u64 * BIN_NS).div_ceil(SLICE_NS) as usize;
    let (first, end) = ((scope.at / SLICE_NS) as usize + 1, (scope.end / SLICE_NS) as usize);
    let answerable = ((scope.undone.min(scope.end) + ANSWERABLE_NS) / SLICE_NS) as usize + span;
    // While nobody is served, nothing is answered late either.
    let recent = ((RECENT_COMMANDS / former.rate / (SLICE_NS / BIN_NS) as f64).ceil() as usize).clamp(1, span);
    let last = |slices: usize, until: usize| timeline.p99(until.saturating_sub(slices)..until);
    let is_back =
        |until: usize| last(recent, until).is_some() && last(span, until).is_some_and(|p99| p99 <= 2 * former.p99);
    back(first..end + 1, answerable, is_back).map(|slice| (slice as u64 * SLICE_NS).saturating_sub(scope.at))
}

/// The first moment at which it is back after one, not later than `answerable`, at which it is not. Zero if
/// there is no such one; `None` if there is, and it is not back.
fn back(mut moments: std::ops::Range<usize>, answerable: usize, is_back: impl Fn(usize) -> bool) -> Option<usize> {
    let left = moments.find(|&moment| moment > answerable || !is_back(moment));
    if left.is_none_or(|moment| moment > answerable) {
        return Some(0);
    }
    moments.find(|&moment| is_back(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: Nanos(0), until: Nanos(1000 * BIN_NS) };

    /// Five commands a millisecond, but for where `is_gap`.
    fn timeline(is_gap: impl Fn(u64) -> bool) -> Timeline {
        let mut timeline = Timeline::new(WINDOW);
        for ms in (0..1000).filter(|&ms| !is_gap(ms)) {
            timeline.answered(Nanos(ms * BIN_NS + 100), 5);
        }
        timeline
    }

    #[test]
    fn a_gap_runs_from_the_last_command_before_to_the_first_after() {
        let one = timeline(|ms| (300..340).contains(&ms));
        let gap = |at: u64, end: u64| gap_ns(&one, at * BIN_NS + 500, end * BIN_NS) / BIN_NS;
        assert_eq!([gap(299, 1000), gap(320, 1000), gap(100, 1000)], [41, 41, 41]);
        assert_eq!([gap(340, 1000), gap(100, 290)], [1, 1], "it was over, or is the next fault's");
        assert_eq!(gap(100, 310), 10, "the rest of it is the next fault's");
        let open = timeline(|ms| ms >= 900);
        assert_eq!(gap_ns(&open, 800 * BIN_NS, 1000 * BIN_NS), 101 * BIN_NS - 100);
        assert_eq!(gap_ns(&timeline(|_| true), 0, 1000 * BIN_NS), 1000 * BIN_NS);
    }

    #[test]
    fn each_event_is_taken_for_one_fault() {
        let restart = Fault::new(std::time::Duration::ZERO, FaultKind::Restart);
        let told = |at| Done { node: Some(1), began: Some(at), ended: Some(at), ..Done::default() };
        let faults = [5, 5, 0].map(|at| (restart, told(Nanos(at))));
        let event = |at_ns, kind, node| Event { at_ns, kind, node: NodeId(node) };
        let (killed, restarted) = (EventKind::Killed, EventKind::Restarted);
        let pairs = [1, 7, 9].map(|at| [event(at, killed, 1), event(at + 1, restarted, 1)]);
        let events = [pairs.concat(), vec![event(6, killed, 0)]].concat();
        let times = Times::of_all(&faults, WINDOW, &events);
        let seen: Vec<_> = times.iter().map(|times| (times.began, times.ended)).collect();
        assert_eq!(seen, [(Some(7), Some(8)), (Some(9), Some(10)), (Some(1), Some(2))]);
    }

    /// Another fault's end, a millisecond before, has it catch up with less.
    #[test]
    fn each_fault_has_a_catching_up_of_its_own() {
        let done = Done { node: Some(1), ..Done::default() };
        let caught_up =
            |at_ns, slot, bytes| Event { at_ns, kind: EventKind::CaughtUp { slot, bytes }, node: NodeId(1) };
        let events = [caught_up(520, 100, 3), caught_up(600, 140, 5), caught_up(700, 190, 7)];
        let times = Times { began: Some(300), ended: Some(510) };
        let scope = Scope { at: 300, undone: 510, end: 1000, is_last: true };
        let of = |behind| {
            let mut aftermath = Aftermath::none(FaultKind::Pause, &done);
            aftermath.see_events(scope, &times, behind, &events);
            aftermath.catch_up_ns.zip(aftermath.catch_up_bytes)
        };
        assert_eq!((of(Some(140)), of(Some(190)), of(Some(200))), (Some((90, 5)), Some((190, 7)), None));
    }

    #[test]
    fn back_is_the_first_moment_after_it_was_gone() {
        assert_eq!(back(0..9, 5, |_| true), Some(0), "it never left");
        assert_eq!(back(0..9, 5, |at| !(2..4).contains(&at)), Some(4));
        assert_eq!(back(0..9, 5, |at| at < 2), None, "it is not back");
        assert_eq!(back(0..9, 5, |at| at < 7), Some(0), "what left so late is not the fault's doing");
    }

    #[test]
    fn p99_is_not_back_while_nobody_is_served() {
        let mut timeline = timeline(|ms| (410..800).contains(&ms));
        for ms in (0..410).chain(800..1000) {
            let slow = (301..305).contains(&ms);
            timeline.took(Nanos(ms * BIN_NS + 100), if slow { 300 } else { 2 } * BIN_NS, 5);
        }
        let former = Former::before(300 * BIN_NS, &timeline).expect("300 ms of it");
        let scope = Scope { at: 300 * BIN_NS, undone: 300 * BIN_NS, end: 1000 * BIN_NS, is_last: true };
        assert_eq!(p99_back_ns(&timeline, scope, &Former { span: 200, ..former }), Some(600 * BIN_NS));
    }

    #[test]
    fn growth_wants_a_trend_and_not_a_wave() {
        let lags = |lag: fn(u64) -> u64| (0..100).map(lag).collect::<Vec<_>>();
        assert_eq!(grows(&lags(|at| at * 10), 32), Some(true));
        assert_eq!(grows(&lags(|at| 500 + at % 7 * 20), 32), Some(false));
        assert_eq!(grows(&lags(|at| at.min(20) * 100), 32), Some(false), "it has settled");
        assert_eq!(grows(&[1, 1000, 100_000], 32), None, "too short to tell");
    }
}
