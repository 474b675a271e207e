//! One log for many groups: their records in one row, renumbered, so that one sync is every group's.
//!
//! Each group numbers its records from 1 on, and the log numbers them all. A record's head says whose it is. How far the
//! log is durable is told each group in its own numbers, and the log may go up to the least that any group needs: so a
//! group that takes no snapshots keeps the others' records too. Whoever is far behind the others is asked for one.
//!
//! After a crash the log is split again. A log that was cut begins in the middle of the groups' records. Each has a
//! snapshot behind the cut, or it would not have been made there; and from the first of them on all of the group's
//! records are there. What stands before it was only kept for others.

use std::collections::VecDeque;

use quorumbench_protocols::{Lsn, Malformed, Record};

/// The log that the groups of one replica share, as it is written.
#[derive(Debug)]
pub(super) struct Journal {
    /// The kind of record that holds a snapshot.
    snapshot: Option<u8>,
    /// Written, and not taken away.
    records: Vec<Record>,
    /// The last record written.
    last: Lsn,
    /// What is not durable, in order.
    runs: VecDeque<Run>,
    /// By group.
    shares: Vec<Share>,
    /// Nothing before this is needed by any group.
    released: Lsn,
    /// That was not said yet.
    unsaid: bool,
}

/// Records that one group wrote in one turn.
#[derive(Clone, Copy, Debug)]
struct Run {
    group: usize,
    count: u64,
    /// The last of them, in the log's numbers and in the group's.
    last: Lsn,
    own_last: Lsn,
}

/// A group's part of the log.
#[derive(Clone, Debug, Default)]
struct Share {
    /// Where its snapshots are, in the group's numbers and in the log's, from the last that it goes by on.
    snapshots: VecDeque<(Lsn, Lsn)>,
    /// It needs nothing before this; zero if it needs everything.
    needs: Lsn,
}

/// What a log held for each group.
#[derive(Debug)]
pub(in crate::drive) struct Split {
    /// By group, in the group's numbers.
    pub(in crate::drive) records: Vec<Vec<Record>>,
    /// By group: the first of them in the log's numbers, or zero if nothing is cut.
    needs: Vec<Lsn>,
    /// The last record of all.
    last: Lsn,
}

/// What `records`, as they were found after a crash, say of each of `groups` groups.
///
/// # Errors
/// [`Malformed`] for a record of no such group, or if the log was cut and a group has no snapshot in it.
pub(in crate::drive) fn split(records: Vec<Record>, groups: usize, snapshot: Option<u8>) -> Result<Split, Malformed> {
    let cut = records.first().is_some_and(|first| first.lsn > Lsn(1));
    let last = records.last().map_or(Lsn::ZERO, |last| last.lsn);
    let mut split = Split { records: vec![Vec::new(); groups], needs: vec![Lsn::ZERO; groups], last };
    for record in records {
        let (group, kind) = (usize::from(record.head.group), record.head.kind);
        let own =
            split.records.get_mut(group).ok_or(Malformed { kind, what: "a record of no group of this replica" })?;
        if cut && own.is_empty() {
            if Some(kind) != snapshot {
                continue;
            }
            split.needs[group] = record.lsn;
        }
        own.push(Record { lsn: Lsn(own.len() as u64 + 1), ..record });
    }
    if cut && split.records.iter().any(Vec::is_empty) {
        let kind = snapshot.unwrap_or_default();
        return Err(Malformed { kind, what: "a log that was cut, and no snapshot of one of its groups" });
    }
    Ok(split)
}

impl Journal {
    /// An empty one.
    pub(super) fn new(groups: usize, snapshot: Option<u8>) -> Self {
        Self::resume(&Split { records: Vec::new(), needs: vec![Lsn::ZERO; groups], last: Lsn::ZERO }, snapshot)
    }

    /// One that goes on behind what was split.
    pub(super) fn resume(split: &Split, snapshot: Option<u8>) -> Self {
        let shares: Vec<_> = split.needs.iter().map(|&needs| Share { needs, ..Share::default() }).collect();
        let released = least(&shares).1;
        let (records, runs) = (Vec::new(), VecDeque::new());
        Self { snapshot, records, last: split.last, runs, shares, released, unsaid: false }
    }

    /// Takes what a group wrote in a turn.
    pub(super) fn write(&mut self, group: usize, records: &mut Vec<Record>) {
        let Some(own_last) = records.last().map(|last| last.lsn) else { return };
        let count = records.len() as u64;
        for record in records.drain(..) {
            self.last += 1;
            if self.snapshot == Some(record.head.kind) {
                self.shares[group].snapshots.push_back((record.lsn, self.last));
            }
            self.records.push(Record { lsn: self.last, ..record });
        }
        self.runs.push_back(Run { group, count, last: self.last, own_last });
    }

    /// What was written and not taken away.
    pub(super) fn records(&mut self) -> &mut Vec<Record> {
        &mut self.records
    }

    /// Everything up to and with `lsn` is durable: tells each group, in its own numbers.
    pub(super) fn durable(&mut self, lsn: Lsn, mut tell: impl FnMut(usize, Lsn)) {
        while let Some(&Run { group, count, last, own_last }) = self.runs.front() {
            let missing = last.0.saturating_sub(lsn.0);
            if missing < count {
                tell(group, own_last - missing);
            }
            if missing > 0 {
                return;
            }
            self.runs.pop_front();
        }
    }

    /// A group needs nothing before its snapshot in `own`. The group that keeps most of the log now, if it is so far
    /// behind that this one could let go twice meanwhile.
    ///
    /// # Panics
    /// If there is no snapshot of it there.
    pub(super) fn release(&mut self, group: usize, own: Lsn) -> Option<usize> {
        let share = &mut self.shares[group];
        let earlier = share.snapshots.partition_point(|(snapshot, _)| *snapshot < own);
        share.snapshots.drain(..earlier);
        let at = share.snapshots.front().filter(|(snapshot, _)| *snapshot == own);
        let &(_, place) = at.expect("a journal is cut at a snapshot that is in it");
        let before = std::mem::replace(&mut share.needs, place);
        let (laggard, needs) = least(&self.shares);
        if needs > self.released {
            (self.released, self.unsaid) = (needs, true);
        }
        (needs < before).then_some(laggard)
    }

    /// Where the log may begin since this was last asked, if that has changed.
    pub(super) fn take_release(&mut self) -> Option<Lsn> {
        std::mem::take(&mut self.unsaid).then_some(self.released)
    }
}

/// The group that needs the oldest record, and which.
fn least(shares: &[Share]) -> (usize, Lsn) {
    let needs = shares.iter().map(|share| share.needs).enumerate();
    needs.min_by_key(|&(_, needs)| needs).unwrap_or((0, Lsn::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::{Head, Payload};

    const SLOT: u8 = 1;
    const SNAPSHOT: u8 = 2;

    /// The records of a group, from `first` on.
    fn written(group: u16, first: u64, kinds: &[u8]) -> Vec<Record> {
        let record = |(lsn, &kind)| Record {
            lsn: Lsn(lsn),
            head: Head { kind, group, ..Head::default() },
            body: Payload::EMPTY,
        };
        (first..).zip(kinds).map(record).collect()
    }

    fn told(journal: &mut Journal, lsn: u64) -> Vec<(usize, u64)> {
        let mut told = Vec::new();
        journal.durable(Lsn(lsn), |group, lsn| told.push((group, lsn.0)));
        told
    }

    #[test]
    fn records_are_in_one_row_and_durable_in_each_groups_numbers() {
        let mut journal = Journal::new(3, Some(SNAPSHOT));
        journal.write(2, &mut written(2, 1, &[SLOT, SLOT, SLOT]));
        journal.write(0, &mut written(0, 1, &[SLOT]));
        journal.write(1, &mut Vec::new());
        journal.write(2, &mut written(2, 4, &[SLOT, SLOT]));
        let row: Vec<_> = journal.records().drain(..).map(|record| (record.lsn.0, record.head.group)).collect();
        assert_eq!(row, [(1, 2), (2, 2), (3, 2), (4, 0), (5, 2), (6, 2)]);
        assert_eq!(told(&mut journal, 0), []);
        assert_eq!(told(&mut journal, 2), [(2, 2)], "in the middle of what one wrote");
        assert_eq!(told(&mut journal, 5), [(2, 3), (0, 1), (2, 4)]);
        assert_eq!(told(&mut journal, 6), [(2, 5)]);
        assert_eq!(told(&mut journal, 6), []);
    }

    #[test]
    fn the_log_goes_up_to_what_the_last_group_needs_and_who_lags_is_told() {
        let mut journal = Journal::new(2, Some(SNAPSHOT));
        journal.write(0, &mut written(0, 1, &[SLOT, SNAPSHOT, SLOT]));
        journal.write(1, &mut written(1, 1, &[SLOT]));
        journal.write(0, &mut written(0, 4, &[SNAPSHOT, SNAPSHOT]));
        assert_eq!(journal.release(0, Lsn(2)), None);
        assert_eq!(journal.take_release(), None, "group 1 needs its first record");
        assert_eq!(journal.release(0, Lsn(4)), Some(1), "which has let go of nothing while the other did twice");
        journal.write(1, &mut written(1, 2, &[SNAPSHOT]));
        assert_eq!(journal.release(1, Lsn(2)), None);
        assert_eq!((journal.take_release(), journal.take_release()), (Some(Lsn(5)), None));
        assert_eq!(journal.release(0, Lsn(5)), None);
        assert_eq!(journal.take_release(), Some(Lsn(6)));
    }

    #[test]
    fn a_log_is_split_as_it_was_put_together() {
        let mut journal = Journal::new(2, Some(SNAPSHOT));
        journal.write(0, &mut written(0, 1, &[SLOT, SNAPSHOT]));
        journal.write(1, &mut written(1, 1, &[SLOT, SLOT]));
        journal.write(0, &mut written(0, 3, &[SLOT]));
        journal.write(1, &mut written(1, 3, &[SNAPSHOT, SLOT]));
        let row = std::mem::take(journal.records());
        let kinds = |split: &Split| {
            split
                .records
                .iter()
                .map(|own| own.iter().map(|each| each.head.kind).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let whole = split(row.clone(), 2, Some(SNAPSHOT)).expect("its own records");
        assert_eq!(kinds(&whole), [vec![SLOT, SNAPSHOT, SLOT], vec![SLOT, SLOT, SNAPSHOT, SLOT]]);
        assert!(whole.records.iter().all(|own| own.iter().zip(1..).all(|(record, lsn)| record.lsn == Lsn(lsn))));

        // Cut where group 0 may begin: what group 1 wrote before its snapshot was only kept along.
        let cut = split(row[1..].to_vec(), 2, Some(SNAPSHOT)).expect("a cut");
        assert_eq!(kinds(&cut), [vec![SNAPSHOT, SLOT], vec![SNAPSHOT, SLOT]]);
        let mut again = Journal::resume(&cut, Some(SNAPSHOT));
        again.write(1, &mut written(1, 3, &[SLOT]));
        assert_eq!(again.records()[0].lsn, Lsn(8), "it goes on behind the last");
        assert_eq!(told(&mut again, 8), [(1, 3)]);
        again.write(0, &mut written(0, 3, &[SNAPSHOT]));
        assert_eq!((again.release(0, Lsn(3)), again.take_release()), (None, Some(Lsn(6))), "now group 1 keeps it");

        assert!(split(row[2..].to_vec(), 2, Some(SNAPSHOT)).is_err(), "no snapshot of group 0");
        assert!(split(row, 1, Some(SNAPSHOT)).is_err(), "there is no group 1");
    }
}
