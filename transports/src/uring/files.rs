//! Writes to files, and the syncs that they share.

use std::io;
use std::os::fd::AsFd;

use super::operation::{Op, Patience, Tag};
use super::ring::{Completion, FileFlight, Ring};
use crate::Counters;
use crate::storage::{Begun, FileWrite, FileWritten, Groups};

/// A node's file writes.
#[derive(Default)]
pub(super) struct Files {
    /// By the number that their operations carry.
    flights: Vec<FileFlight>,
    /// Flights that have nothing on its way.
    free: Vec<usize>,
    /// Flights that have begun, and of which the kernel was not told.
    ready: Vec<usize>,
    groups: Groups,
    over: Vec<FileWritten>,
    /// A sync was queued and not yet submitted.
    pressing: bool,
}

impl Files {
    /// Takes a write.
    pub(super) fn begin(&mut self, write: FileWrite) {
        let begun = Begun::new(write);
        if begun.is_whole() {
            return begun.end(Ok(()), &mut self.groups, &mut self.over);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.flights.push(FileFlight::new(Tag::of_file(self.flights.len())));
            self.flights.len() - 1
        });
        self.flights[place].begin(begun);
        self.ready.push(place);
    }

    /// Starts what was taken: call it when all that goes to peers is queued. A disk makes the kernel wait for its
    /// doorbell, and what is behind that, with it.
    pub(super) fn start(&mut self, ring: &mut Ring) -> io::Result<()> {
        for place in self.ready.drain(..) {
            self.flights[place].take_off(ring)?;
        }
        self.sync(ring)
    }

    /// Takes what the kernel says of a write or a sync.
    pub(super) fn landed(
        &mut self,
        completion: &Completion,
        ring: &mut Ring,
        counters: &mut Counters,
    ) -> io::Result<()> {
        let place = completion.tag.place();
        if completion.op == Op::SyncFile {
            counters.file_syncs += 1;
            self.groups.synced(place, completion.result().map(|_| ()), &mut self.over);
            return Ok(());
        }
        counters.file_bytes += u64::from(completion.result().unwrap_or(0));
        if let Some((begun, result)) = self.flights[place].landed(completion, ring)? {
            counters.file_writes += 1;
            counters.file_syncs += u64::from(begun.syncs_itself() && result.is_ok());
            self.free.push(place);
            begun.end(result, &mut self.groups, &mut self.over);
        }
        Ok(())
    }

    /// Starts the syncs that are due: call it when all completions are taken, so that one serves all.
    pub(super) fn sync(&mut self, ring: &mut Ring) -> io::Result<()> {
        while let Some((place, file)) = self.groups.start() {
            ring.sync_file(file.as_fd(), Tag::of_file(place))?;
            self.pressing = true;
        }
        Ok(())
    }

    /// Submits a sync that was queued since the last enter: the disk need not wait for the node's turn.
    pub(super) fn hurry(&mut self, ring: &mut Ring) -> io::Result<()> {
        if std::mem::take(&mut self.pressing) && ring.has_work() { ring.enter(Patience::None) } else { Ok(()) }
    }

    /// Whether a write is over and was not yet taken.
    pub(super) fn any_over(&self) -> bool {
        !self.over.is_empty()
    }

    /// Takes what is over.
    pub(super) fn written(&mut self, done: &mut Vec<FileWritten>) {
        done.append(&mut self.over);
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.flights.len() && self.groups.is_empty()
    }
}
