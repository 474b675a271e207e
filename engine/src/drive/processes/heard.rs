//! What a node's process says, put together.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::control::Control;
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
    timings: Timings,
    recorded: Option<Box<Recorded>>,
    intervals: Vec<Interval>,
    /// As its bytes.
    timeline: Vec<u8>,
    /// What it applied, by group.
    applied: Vec<ReplicaTrace>,
    /// What it asked, and what was answered beside the log, by group.
    asked: BTreeMap<u16, (Vec<Asked>, Vec<Served>)>,
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
            ToConductor::Listening => shown.listening.store(true, Ordering::Relaxed),
            ToConductor::Standing(standing) => shown.board.write(standing),
            ToConductor::Seen(seen) => shown.slot.iter().for_each(|slot| slot.write(&seen)),
            ToConductor::Notice(notice) => control.hear(notice),
            ToConductor::Failed(failure) => self.failure = Some(failure),
            ToConductor::Timings(timings) => self.timings = timings.into_owned(),
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

    /// What a replica applied, as far as it came to say so.
    pub(super) fn into_traces(self) -> Vec<ReplicaTrace> {
        self.applied
    }

    /// Adds what `part` leaves: nothing, where it was killed.
    pub(super) fn add_to(mut self, ended: &mut Ended, part: Part, point: &Point) {
        let (account, rss) = self.account.unzip();
        let account = account.unwrap_or_default();
        ended.elsewhere_cpu_ns += account.process_cpu_ns;
        if part.is_replica(point) {
            ended.memory.replica_rss_bytes = ended.memory.replica_rss_bytes.max(rss);
            let timings = mem::take(&mut self.timings);
            if part.keep.trace {
                // Of a group in which it applied nothing, that.
                for group in 0..point.cluster.groups {
                    ReplicaTrace::of_group(&mut self.applied, group);
                }
            }
            ended.add_replica(&account, &timings, self.into_traces());
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
