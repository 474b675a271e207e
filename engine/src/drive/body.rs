//! A replica and what it writes to: made new, or again from its log.

use std::io;

use quorumbench_protocols::Prng;

use super::ledger::Reach;
use super::log::{Log, LogPlace};
use super::part::Part;
use super::replica::{self, Replica};
use crate::node::Storage;
use crate::spec::Point;

/// What a replica's thread runs.
pub(super) struct Body {
    pub(super) replica: Box<dyn Replica>,
    /// Its log on a disk; `None` where memory plays the disk.
    pub(super) log: Option<Log>,
}

impl Body {
    /// The replica for its `life`th life: the first, 0, begins with an empty log, and every other with what the log
    /// holds and with nothing else. Slots that earlier lives had reached, it does not count.
    ///
    /// # Errors
    /// The log's. Also if a replica is to come back without one: it would be another node under the same name, having
    /// forgotten what it promised.
    pub(super) fn make(part: Part, point: &Point, run: u64, life: u64, reached: &Reach) -> io::Result<Self> {
        let mut body = match (LogPlace::of(point, run, part.id()), life) {
            (None, 0) => Self { replica: replica::build(point, part.id(), part.seed, Storage::Immediate), log: None },
            (Some(place), 0) => {
                let log = Some(place.create()?);
                Self { replica: replica::build(point, part.id(), part.seed, Storage::Deferred), log }
            }
            (Some(place), life) => Self::from_log(place, part, point, life)?,
            (None, _) => return Err(io::Error::other("a replica without a log on a disk cannot come back")),
        };
        body.replica.count_from(reached);
        if part.keep.trace {
            body.replica.keep_trace();
        }
        Ok(body)
    }

    fn from_log(place: LogPlace, part: Part, point: &Point, life: u64) -> io::Result<Self> {
        let (log, recovered) = place.open()?;
        let seed = Prng::new(part.seed).fork(life).next_u64();
        let replica = replica::recover(point, part.id(), seed, recovered.records).map_err(|malformed| {
            io::Error::new(io::ErrorKind::InvalidData, format!("its log is not one of this protocol: {malformed}"))
        })?;
        Ok(Self { replica, log: Some(log) })
    }
}
