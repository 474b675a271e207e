//! A replica's log on disk, on the replica's thread: what it writes goes out by its transport, and what is durable
//! comes back the same way.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorumbench_protocols::{Nanos, NodeId};
use quorumbench_transports::storage::{FileWrite, FileWritten};
use quorumbench_transports::{Clock, Transport};

use super::control::LOOK_NS;
use super::replica::{self, Replica};
use crate::measure::Window;
use crate::spec::{self, Point};
use crate::wal::{Durability, Identity, Options, Recovered, Wal};

/// A replica's log. What it is given in a turn is on its way to the disk before the next wait.
pub(super) struct Log {
    wal: Wal,
    /// Scratch.
    writes: Vec<FileWrite>,
    written: Vec<FileWritten>,
    /// Writes that are not over.
    under_way: usize,
    /// Writes that are over, and are not said to be before their time: the disk is made slower than it is.
    held: VecDeque<(Nanos, FileWritten)>,
    extra_ns: u64,
    /// How long batches took in the measured window, since that was last taken.
    times: Vec<u64>,
}

/// Where a replica's log is, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct LogPlace {
    options: Options,
    identity: Identity,
}

impl LogPlace {
    /// Of replica `id` in run `run`; `None` where nothing is written to a disk.
    pub(super) fn of(point: &Point, run: u64, id: NodeId) -> Option<Self> {
        let storage = &point.storage;
        let durability = match storage.durability {
            spec::Durability::None => return None,
            spec::Durability::PageCache => Durability::PageCache,
            spec::Durability::Fsync => Durability::Fsync,
        };
        let options = Options {
            dir: folder(point, run).join(format!("replica-{}", id.0)),
            durability,
            direct: storage.direct,
            linger: storage.linger,
            max_batch: storage.max_batch,
            segment_bytes: storage.segment,
            in_flight: storage.in_flight,
        };
        let protocol = point.cluster.protocol;
        let identity = Identity {
            run,
            node: id,
            group: 0,
            protocol: Identity::protocol(protocol.name()),
            snapshot_kind: replica::snapshot_record(protocol),
        };
        Some(Self { options, identity })
    }

    /// Removes what a replica left that died before it had a log: it has promised nothing.
    pub(super) fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.options.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A log that is empty.
    pub(super) fn create(self) -> io::Result<Log> {
        Ok(Log::new(Wal::create(self.options, self.identity)?))
    }

    /// The log that the replica left when it stopped, however that was, and what it holds.
    pub(super) fn open(self) -> io::Result<(Log, Recovered)> {
        let (wal, recovered) = Wal::open(self.options, self.identity)?;
        Ok((Log::new(wal), recovered))
    }
}

/// The folder that a run's logs are in.
pub(super) fn folder(point: &Point, run: u64) -> PathBuf {
    let path = point.storage.path.as_deref().unwrap_or(Path::new("."));
    path.join(format!("run-{run:016x}"))
}

/// A run's logs, which are gone when the run is over, however it ends.
#[derive(Debug)]
pub(super) struct LogFolder {
    path: PathBuf,
}

impl LogFolder {
    /// `None` where nothing is written to a disk.
    pub(super) fn of(point: &Point, run: u64) -> Option<Self> {
        (point.storage.durability != spec::Durability::None).then(|| Self { path: folder(point, run) })
    }
}

impl Drop for LogFolder {
    /// What cannot be removed stays: the run is over, and its results are safe.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Log {
    fn new(wal: Wal) -> Self {
        Self {
            wal,
            writes: Vec::new(),
            written: Vec::new(),
            under_way: 0,
            held: VecDeque::new(),
            extra_ns: 0,
            times: Vec::new(),
        }
    }

    /// When it wants to be looked after if nothing else happens.
    pub(super) fn deadline(&self) -> Nanos {
        self.held.front().map_or(Nanos::NEVER, |&(due, _)| due).min(self.wal.deadline())
    }

    /// From now on, every write takes so much longer; with zero, as long as it takes.
    pub(super) fn slow_down(&mut self, extra: Duration) {
        self.extra_ns = extra.as_nanos() as u64;
    }

    /// Tells the replica what has become durable.
    pub(super) fn take(
        &mut self,
        now: Nanos,
        window: Option<Window>,
        transport: &mut dyn Transport,
        replica: &mut dyn Replica,
    ) -> io::Result<()> {
        self.collect(transport);
        self.hold(now);
        for written in self.written.drain(..) {
            if window.is_some_and(|window| window.contains(now))
                && let Some(took_ns) = self.wal.under_way_for(now, written.id)
            {
                self.times.push(took_ns);
            }
            if let Some(lsn) = self.wal.written(now, written)? {
                replica.durable(lsn);
            }
        }
        Ok(())
    }

    /// Takes what the replica wrote in its last turn, and begins what is due.
    pub(super) fn give(
        &mut self,
        now: Nanos,
        transport: &mut dyn Transport,
        replica: &mut dyn Replica,
    ) -> io::Result<()> {
        self.wal.append(now, replica.records())?;
        if let Some(before) = replica.take_release() {
            self.wal.release(before);
        }
        if let Some(lsn) = self.wal.submit(now, &mut self.writes)? {
            replica.durable(lsn);
        }
        for write in self.writes.drain(..) {
            transport.write_file(write)?;
            self.under_way += 1;
        }
        Ok(())
    }

    /// The replica is gone, and its transport is not: sees the writes that were under way end, so that none of them is
    /// taken for one of the replica that comes after it. What they say does not matter any more.
    pub(super) fn leave(&mut self, clock: Clock, transport: &mut dyn Transport) -> io::Result<()> {
        let mut unheard = Vec::new();
        while self.under_way > 0 {
            transport.recv(clock.now() + LOOK_NS, &mut unheard)?;
            unheard.clear();
            self.collect(transport);
            self.written.clear();
        }
        Ok(())
    }

    /// Leaves in `written` what is due by now.
    fn hold(&mut self, now: Nanos) {
        if self.extra_ns == 0 && self.held.is_empty() {
            return;
        }
        let due = now + self.extra_ns;
        self.held.extend(self.written.drain(..).map(|written| (due, written)));
        let is_due = |(due, _): &(Nanos, FileWritten)| self.extra_ns == 0 || *due <= now;
        let count = self.held.iter().take_while(|held| is_due(held)).count();
        self.written.extend(self.held.drain(..count).map(|(_, written)| written));
    }

    fn collect(&mut self, transport: &mut dyn Transport) {
        transport.written(&mut self.written);
        self.under_way -= self.written.len();
    }

    /// How long its batches took in the measured window, since this was last asked, in nanoseconds.
    pub(super) fn take_times(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.times)
    }
}
