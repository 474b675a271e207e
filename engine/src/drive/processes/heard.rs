//! What a node's process says, put together.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::control::Control;
use super::super::ledger::Reach;
use super::super::orders::Board;
use super::super::part::{Account, Ended, Part, Timings};
use super::Inlet;
use super::message::{Failure, Recorded, ToConductor};
use crate::check::witness::{Asked, ClientTrace, ReplicaTrace, Served};
use crate::live::Slot;
use crate::measure::Interval;
use crate::spec::Point;

/// What a process shows while it runs.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Whether it ends with this process, however that ends.
    pub(super) attached: AtomicBool,
    /// Whether it listens.
    pub(super) listening: AtomicBool,
    /// Where it stands.
    pub(super) board: Board,
    /// What its client has seen, if anybody looks.
    pub(super) slot: Option<Arc<Slot>>,
}

/// All that one process said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) failure: Option<Failure>,
    /// There once it has ended in good order, with the most memory that it had.
    pub(super) account: Option<(Account, u64)>,
    /// What it said of itself until then, of which the last counts.
    so_far: Account,
    /// How far it was delivered by then; `None` if it did not even begin.
    reach: Option<Reach>,
    timings: Timings,
    /// Whether it has handed those in.
    is_timed: bool,
    recorded: Option<Box<Recorded>>,
    intervals: Vec<Interval>,
    /// As its bytes.
    timeline: Vec<u8>,
    /// What it applied, by group.
    applied: Vec<ReplicaTrace>,
    /// What it asked, and what was answered beside the log, by group.
    asked: BTreeMap<u16, (Vec<Asked>, Vec<Served>)>,
}

/// What a node left that was killed, in all of its lives: what it came to say.
#[derive(Debug, Default)]
pub(super) struct Past {
    account: Option<Account>,
    /// How far it was delivered; `None` if it never began.
    pub(super) reached: Option<Reach>,
    timings: Timings,
    rss_bytes: Option<u64>,
    /// What it applied, if that was kept.
    applied: Vec<ReplicaTrace>,
}

impl Past {
    /// Adds one more life, in which its process had so much memory at most.
    pub(super) fn add(&mut self, heard: Heard, rss_bytes: u64) {
        self.account = Some(self.account.map_or(heard.so_far, |before| before.followed_by(heard.so_far)));
        if let Some(reach) = &heard.reach {
            self.reached.get_or_insert_default().add(reach);
        }
        self.timings.add(&heard.timings);
        self.rss_bytes = self.rss_bytes.max(Some(rss_bytes));
        self.applied.extend(heard.applied);
    }
}

impl Heard {
    /// Listens until the process is gone, or makes no sense, or has said all.
    pub(super) fn all(mut inlet: Inlet, control: &Control, shown: &Shown) -> Self {
        let mut heard = Self::default();
        while heard.account.is_none() {
            match inlet.receive() {
                Ok(Some(message)) => heard.take(message, control, shown),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    heard.failure = Some(error.into());
                    break;
                }
                // It is gone, perhaps in the middle of a message.
                Ok(None) | Err(_) => break,
            }
        }
        heard
    }

    fn take(&mut self, message: ToConductor<'_>, control: &Control, shown: &Shown) {
        match message {
            ToConductor::Attached => shown.attached.store(true, Ordering::Relaxed),
            ToConductor::Listening => shown.listening.store(true, Ordering::Relaxed),
            ToConductor::Begins => self.reach = Some(Reach::default()),
            ToConductor::Standing(standing) => shown.board.write(standing),
            // What is under way when it hands in its timings is in these.
            ToConductor::SoFar(so_far) => {
                (self.so_far, self.reach) = (so_far.account, Some(so_far.reach));
                if !self.is_timed {
                    self.timings.wrote(&so_far.log_writes);
                }
            }
            ToConductor::Seen(seen) => shown.slot.iter().for_each(|slot| slot.write(&seen)),
            ToConductor::Notice(notice) => control.hear(notice),
            ToConductor::Failed(failure) => self.failure = Some(failure),
            ToConductor::Timings(timings) => (self.timings, self.is_timed) = (timings.into_owned(), true),
            ToConductor::Recorded(recorded) => self.recorded = Some(recorded),
            ToConductor::Timeline(piece) => self.timeline.extend_from_slice(&piece),
            ToConductor::Interval(interval) => self.intervals.push(interval),
            ToConductor::Applied(group, piece) => {
                ReplicaTrace::of_group(&mut self.applied, group).applied.extend_from_slice(&piece);
            }
            ToConductor::Skipped(group, piece) => {
                ReplicaTrace::of_group(&mut self.applied, group).skipped.extend_from_slice(&piece);
            }
            ToConductor::Asked(group, piece) => self.asked.entry(group).or_default().0.extend_from_slice(&piece),
            ToConductor::Served(group, piece) => self.asked.entry(group).or_default().1.extend_from_slice(&piece),
            ToConductor::Account { account, peak_rss_bytes } => self.account = Some((*account, peak_rss_bytes)),
        }
    }

    /// Adds what `part` leaves, of which that is what its `past` lives left.
    pub(super) fn add_to(mut self, past: Past, ended: &mut Ended, part: Part, point: &Point) {
        let (last, rss) = self.account.unzip();
        let last = last.unwrap_or_default();
        let mut account = past.account.map_or(last, |past| past.followed_by(last));
        // Its process serves nobody else: all of its threads do, and what the kernel does for them.
        account.usage.cpu_ns = account.process_cpu_ns;
        ended.elsewhere_cpu_ns += account.process_cpu_ns;
        if part.is_replica(point) {
            ended.memory.replica_rss_bytes = ended.memory.replica_rss_bytes.max(rss).max(past.rss_bytes);
            self.timings.add(&past.timings);
            if part.keep.trace {
                // Of a group in which it applied nothing, that.
                for group in 0..point.cluster.groups {
                    ReplicaTrace::of_group(&mut self.applied, group);
                }
            }
            ended.add_replica(&account, &self.timings, self.applied);
            ended.trace.replicas.extend(past.applied);
        } else {
            ended.memory.client_rss_bytes = ended.memory.client_rss_bytes.max(rss);
            let recording = self.recorded.map(|recorded| recorded.whole(self.intervals, &self.timeline));
            // What it asked is drawn again from its seed, so only what came of it was sent.
            let begun = part.client(point).take_traces().into_iter();
            let traces = begun.map(|trace| {
                let (asked, served) = self.asked.remove(&trace.group).unwrap_or_default();
                ClientTrace { asked, served, ..trace }
            });
            ended.add_client(&account, &self.timings, recording, traces.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use quorumbench_transports::{Clock, Counters};

    use super::super::super::ledger::SoFar;
    use super::super::super::{Keep, Usage};
    use super::*;
    use crate::node::NodeStats;
    use crate::spec::Spec;

    /// Of one whose process did so much of everything.
    fn account(much: u64, groups_led: [u32; 2]) -> Account {
        let counters = Counters { file_syncs: much, ..Counters::default() };
        let stats = NodeStats { slots: much, ..NodeStats::default() };
        let usage = Usage { cpu_ns: much, busiest_cpu_ns: much, counters };
        Account { usage, process_cpu_ns: 10 * much, stats, total: stats, groups_led }
    }

    /// A life that has said so much of itself, one after the other, and not how it ended.
    fn heard(said: &[u64]) -> Heard {
        let control = Control::new(Clock::start());
        let mut heard = Heard::default();
        for &much in said {
            let account = self::account(much, [1, 0]);
            let so_far = SoFar { account, reach: Reach::default(), log_writes: vec![much; 2] };
            heard.take(ToConductor::SoFar(Box::new(so_far)), &control, &Shown::default());
        }
        heard
    }

    /// What a replica leaves after such lives.
    fn ended(killed: &[&[u64]], last: Heard) -> Ended {
        let spec = Spec::parse("name = 'lives'", "lives.toml", &[]).expect("a valid config");
        let point = &spec.points()[0];
        let part = Part::all(point, 1, Keep { trace: false, timeline: true, live: false })[0];
        let (mut past, mut ended) = (Past::default(), Ended::default());
        killed.iter().for_each(|said| past.add(heard(said), 7));
        last.add_to(past, &mut ended, part, point);
        ended
    }

    #[test]
    fn all_lives_of_a_replica_count() {
        let last = Heard { account: Some((account(100, [0, 1]), 6)), ..heard(&[90]) };
        let ended = ended(&[&[3, 5], &[], &[20]], last);
        assert_eq!((ended.replicas.counters.file_syncs, ended.together.slots, ended.totals[0].slots), (125, 125, 125));
        assert_eq!((ended.replicas.cpu_ns, ended.elsewhere_cpu_ns), (1250, 1250), "all threads of its processes");
        assert_eq!((ended.groups_led[0], ended.memory.replica_rss_bytes), ([1, 1], Some(7)));
        assert_eq!(ended.timings.log_writes.len(), 8);
    }

    #[test]
    fn who_did_not_begin_has_no_log_and_keeps_what_it_had() {
        let control = Control::new(Clock::start());
        let (mut past, mut began) = (Past::default(), Heard::default());
        past.add(Heard::default(), 7);
        assert_eq!(past.reached, None);
        began.take(ToConductor::Begins, &control, &Shown::default());
        past.add(began, 7);
        past.add(Heard::default(), 7);
        assert_eq!(past.reached, Some(Reach::default()));
    }

    #[test]
    fn who_is_killed_for_good_has_done_what_it_said() {
        let ended = ended(&[&[3, 5]], Heard::default());
        assert_eq!((ended.replicas.counters.file_syncs, ended.replicas.cpu_ns), (5, 50));
        assert_eq!((ended.groups_led[0], ended.timings.log_writes.len()), ([1, 0], 4));
    }
}
