//! What the nodes of a point share with its conductor: phases, events, and who is done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hdrhistogram::Histogram;
use quorumbench_protocols::{Nanos, NodeId};
use quorumbench_transports::{Clock, Counters};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::part::{Account, Timings};
use super::processes::Outlet;
use super::{Event, EventKind, Usage};
use crate::live::{Live, Slot};
use crate::measure::Window;
use crate::node::NodeStats;
use crate::remote::{NanosDef, NodeIdDef};

/// Where a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The cluster connects and elects.
    Starting,
    /// Load, not yet measured.
    WarmingUp,
    /// Load, measured.
    Measuring,
    /// The last answers are awaited.
    Draining,
    /// What was measured is verified.
    Checking,
}

/// A handle on the shared state; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Control {
    clock: Clock,
    shared: Arc<Shared>,
    /// The way to the conductor, where that is in another process.
    conductor: Option<Outlet>,
    /// Where clients count what they see, if anybody looks.
    live: Option<Arc<Live>>,
}

/// What a node tells the conductor while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notice {
    /// A client has had an answer.
    Ready,
    /// A client has its answers, or has given up on them.
    Finished,
    /// Something happened.
    Event {
        #[serde(with = "NanosDef")]
        at: Nanos,
        kind: EventKind,
        #[serde(with = "NodeIdDef")]
        node: NodeId,
    },
}

/// What clients are told when it begins.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Open loops' schedules start here, on whichever thread and however late that thread hears of it.
    #[serde(with = "NanosDef")]
    pub(super) load_from: Nanos,
    pub(super) window: Window,
    #[serde(with = "NanosDef")]
    pub(super) give_up_at: Nanos,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Set once all clients are ready.
    begun: OnceLock<Begun>,
    clients_ready: AtomicUsize,
    clients_finished: AtomicUsize,
    /// Rare: elections, faults.
    events: Mutex<Vec<(Nanos, EventKind, NodeId)>>,
}

impl Phase {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WarmingUp => "warming up",
            Self::Measuring => "measuring",
            Self::Draining => "waiting for the last answers",
            Self::Checking => "checking",
        }
    }

    /// Whether the window is open, or was.
    pub const fn is_measured(self) -> bool {
        matches!(self, Self::Measuring | Self::Draining | Self::Checking)
    }
}

impl Control {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, shared: Arc::default(), conductor: None, live: None }
    }

    /// A node's, whose conductor is in another process.
    pub(super) fn remote(clock: Clock, conductor: Outlet) -> Self {
        Self { conductor: Some(conductor), ..Self::new(clock) }
    }

    /// The same, with clients that count what they see.
    pub(super) fn showing(self, live: Option<Arc<Live>>) -> Self {
        Self { live, ..self }
    }

    /// Where clients count what they see.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live.clone()
    }

    /// Where another client is to count what it sees.
    pub(super) fn slot(&self) -> Option<Arc<Slot>> {
        self.live.as_ref().map(|live| live.slot())
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, begun: Begun) {
        self.shared.begun.set(begun).expect("a point begins once");
    }

    pub(super) fn begun(&self) -> Option<Begun> {
        self.shared.begun.get().copied()
    }

    pub(super) fn window(&self) -> Option<Window> {
        self.begun().map(|begun| begun.window)
    }

    pub(super) fn client_is_ready(&self) {
        self.tell(Notice::Ready);
    }

    pub(super) fn clients_ready(&self) -> usize {
        self.shared.clients_ready.load(Ordering::Relaxed)
    }

    pub(super) fn client_is_finished(&self) {
        self.tell(Notice::Finished);
    }

    pub(super) fn clients_finished(&self) -> usize {
        self.shared.clients_finished.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, kind: EventKind, node: NodeId) {
        self.tell(Notice::Event { at: self.clock.now(), kind, node });
    }

    fn tell(&self, notice: Notice) {
        match &self.conductor {
            None => self.hear(notice),
            // If it is gone, so will this process be in a moment.
            Some(conductor) => drop(conductor.notice(notice)),
        }
    }

    /// Takes what a node tells, here or in another process.
    pub(super) fn hear(&self, notice: Notice) {
        match notice {
            Notice::Ready => drop(self.shared.clients_ready.fetch_add(1, Ordering::Relaxed)),
            Notice::Finished => drop(self.shared.clients_finished.fetch_add(1, Ordering::Relaxed)),
            Notice::Event { at, kind, node } => {
                let mut events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
                events.push((at, kind, node));
            }
        }
    }

    /// Who began to lead last.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        let leads = events.iter().filter(|(_, kind, _)| *kind == EventKind::Leader);
        leads.max_by_key(|(at, ..)| *at).map(|&(.., node)| node)
    }

    /// What happened, in order, on the window's time.
    pub(super) fn events(&self) -> Vec<Event> {
        let from = self.window().map_or(0, |window| window.from.0.cast_signed());
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event =
            |&(at, kind, node): &(Nanos, EventKind, NodeId)| Event { at_ns: at.0.cast_signed() - from, kind, node };
        let mut events: Vec<Event> = events.iter().map(event).collect();
        // Those of other processes are on the way for a while.
        events.sort_by_key(|event| event.at_ns);
        events
    }
}

/// Reads one thread's use of things as the window opens and closes. Lives on that thread.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When its node began to live, if that was not before everything.
    born: Nanos,
    before: Option<Reading>,
    after: Option<Reading>,
    /// The last one of all, and when that was: it stands for the second one where the node dies before.
    latest: Option<Reading>,
    looked_at: Nanos,
    /// What earlier threads of the same node used.
    carried: Reading,
    /// What it timed itself.
    timings: Timings,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    cpu_ns: u64,
    process_cpu_ns: u64,
    counters: Counters,
    stats: NodeStats,
    /// Consensus groups that it led.
    groups_led: u32,
}

impl Reading {
    /// What one that came to life in the window did before it: nothing. But of one that had its first turn only when
    /// the window was over, what it counts is of that turn, and of its time what was beyond the end is not in the window.
    fn of_newborn(self, born: Nanos, window: Window, now: Nanos) -> Self {
        if now < window.until {
            return Self::default();
        }
        let beyond = now.saturating_since(window.until) as f64 / now.saturating_since(born).max(1) as f64;
        let share = |cpu_ns: u64| (cpu_ns as f64 * beyond) as u64;
        Self { cpu_ns: share(self.cpu_ns), process_cpu_ns: share(self.process_cpu_ns), groups_led: 0, ..self }
    }
}

/// A thread looks at the phases at least this often.
pub(super) const LOOK_NS: u64 = 20_000_000;

impl Meter {
    /// The meter of a node that is back from the dead in a process that knows nothing of its earlier lives.
    pub(super) fn born(at: Nanos) -> Self {
        Self { born: at, ..Self::default() }
    }

    /// Call it every turn: reads when the window opens, when it closes, and every [`LOOK_NS`] between and after. Whether
    /// it just has. `stats` says how many groups are led, too.
    pub(super) fn turn(
        &mut self,
        now: Nanos,
        window: Option<Window>,
        counters: impl Fn() -> Counters,
        stats: impl Fn() -> (NodeStats, u32),
    ) -> bool {
        let Some(window) = window else { return false };
        let opens = self.before.is_none() && now >= window.from;
        let closes = self.after.is_none() && now >= window.until;
        let looks = self.before.is_some() && now >= self.looked_at + LOOK_NS;
        if !(opens || closes || looks) {
            return false;
        }
        let (stats, groups_led) = stats();
        let reading = Reading {
            cpu_ns: self.carried.cpu_ns + thread_cpu_ns(),
            process_cpu_ns: process_cpu_ns(),
            counters: self.carried.counters.plus(counters()),
            stats: self.carried.stats.plus(stats),
            groups_led,
        };
        if opens {
            self.before =
                Some(if window.contains(self.born) { reading.of_newborn(self.born, window, now) } else { reading });
        }
        if closes {
            self.after = Some(reading);
        }
        (self.latest, self.looked_at) = (Some(reading), now);
        true
    }

    /// The thread ends, and another goes on with its meter. `counters` are those of a transport that
    /// ends with it.
    pub(super) fn carry(&mut self, counters: Counters) {
        self.carried.cpu_ns += thread_cpu_ns();
        self.carried.counters = self.carried.counters.plus(counters);
    }

    /// So long took writes of its node's log.
    pub(super) fn wrote(&mut self, took_ns: &[u64]) {
        self.timings.wrote(took_ns);
    }

    /// So much later than they should have its node's links let go of frames.
    pub(super) fn held(&mut self, lateness: &Histogram<u64>) {
        self.timings.lateness.add(lateness).expect("all have the same bounds");
    }

    /// The node lost its memory, and with it its count of what it did.
    pub(super) fn carry_stats(&mut self, stats: NodeStats) {
        self.carried.stats = self.carried.stats.plus(stats);
    }

    /// What its node timed itself, in all of its lives.
    pub(super) fn timings(&self) -> &Timings {
        &self.timings
    }

    /// Until when a thread may sleep and still read in time.
    pub(super) fn deadline(&self, now: Nanos, window: Option<Window>) -> Nanos {
        let boundary = match window {
            Some(window) if self.before.is_none() => window.from,
            Some(window) if self.after.is_none() => window.until,
            _ => Nanos::NEVER,
        };
        boundary.min(now + LOOK_NS)
    }

    /// What its node used and did, however often it died; `stats` is what it says itself since the last time.
    pub(super) fn account(&self, stats: NodeStats) -> Account {
        let before = self.before.unwrap_or_default();
        let after = self.after.or(self.latest).unwrap_or(before);
        let (own_cpu_ns, counters) = (after.cpu_ns - before.cpu_ns, after.counters.since(before.counters));
        let usage = Usage { cpu_ns: own_cpu_ns + counters.storage_cpu_ns, busiest_cpu_ns: own_cpu_ns, counters };
        let process_cpu_ns = after.process_cpu_ns - before.process_cpu_ns;
        let total = self.carried.stats.plus(stats);
        let groups_led = [self.before, self.after].map(|read| read.map_or(0, |read| read.groups_led));
        Account { usage, process_cpu_ns, stats: after.stats.since(before.stats), total, groups_led }
    }
}

impl Usage {
    /// The sum over threads.
    #[must_use]
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            busiest_cpu_ns: self.busiest_cpu_ns.max(other.busiest_cpu_ns),
            counters: self.counters.plus(other.counters),
        }
    }
}

/// CPU time of this process so far, all threads, the ended ones included.
pub(super) fn process_cpu_ns() -> u64 {
    cpu_ns(ClockId::ProcessCPUTime)
}

fn thread_cpu_ns() -> u64 {
    cpu_ns(ClockId::ThreadCPUTime)
}

fn cpu_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: Nanos(1000 * MS), until: Nanos(2000 * MS) };
    const MS: u64 = 1_000_000;

    /// What a meter says that was looked at when so many bytes were sent, at so many milliseconds each.
    fn account(mut meter: Meter, looks: &[(u64, u64)]) -> Account {
        for &(at, sent_bytes) in looks {
            // The thread that writes files has worked for as long as the clock says.
            let counters = Counters { sent_bytes, storage_cpu_ns: at * MS, ..Counters::default() };
            meter.turn(Nanos(at * MS), Some(WINDOW), || counters, Default::default);
        }
        meter.account(NodeStats::default())
    }

    #[test]
    fn the_window_counts_and_of_one_that_died_in_it_what_was_seen() {
        let sent = |meter, looks: &[_]| account(meter, looks).usage.counters.sent_bytes;
        let new = Meter::default;
        assert_eq!(sent(new(), &[(990, 1), (1000, 2), (1500, 30), (2000, 400), (2100, 5000)]), 398);
        assert_eq!(sent(new(), &[(1000, 2), (1500, 30), (1510, 31), (1520, 50)]), 48, "it was looked at every 20 ms");
        assert_eq!((sent(new(), &[(1000, 2)]), sent(new(), &[(990, 2)]), sent(new(), &[])), (0, 0, 0));
        let born = |at: u64| Meter::born(Nanos(at * MS));
        assert_eq!(sent(born(1400), &[(1500, 30), (2000, 400)]), 400, "all of its life");
        assert_eq!(sent(born(900), &[(1000, 2), (2000, 400)]), 398);
        assert_eq!(sent(born(2050), &[(2100, 30), (2200, 400)]), 0);
    }

    /// It read its log until then.
    #[test]
    fn whose_first_turn_is_after_the_end_has_worked_and_done_nothing() {
        let counters = Counters { sent_bytes: 30, ..Counters::default() };
        let reading = Reading { cpu_ns: 80 * MS, process_cpu_ns: 120 * MS, counters, ..Reading::default() };
        let before = reading.of_newborn(Nanos(1900 * MS), WINDOW, Nanos(2300 * MS));
        assert_eq!((before.cpu_ns, before.process_cpu_ns, before.counters.sent_bytes), (60 * MS, 90 * MS, 30));
        assert_eq!(account(Meter::born(Nanos(1900 * MS)), &[(2300, 30), (2400, 50)]).usage.counters.sent_bytes, 0);
        assert_eq!(reading.of_newborn(Nanos(1900 * MS), WINDOW, Nanos(1950 * MS)).cpu_ns, 0);
    }

    #[test]
    fn who_writes_files_works_for_the_node() {
        let usage = account(Meter::default(), &[(1000, 0), (2000, 0)]).usage;
        assert!(usage.cpu_ns >= 1000 * MS && usage.busiest_cpu_ns < 1000 * MS, "{usage:?}");
    }
}
