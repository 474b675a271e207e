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
    /// The replica for its `life`th life, from 0. It begins with an empty log, unless earlier lives had one, and `reached`
    /// so far: then with what that holds and with nothing else, and counts no slot of these.
    ///
    /// # Errors
    /// The log's. Also if a replica is to come back without one: it would be another node under the same name, having
    /// forgotten what it promised.
    pub(super) fn make(part: Part, point: &Point, run: u64, life: u64, reached: Option<&Reach>) -> io::Result<Self> {
        let mut body = match (LogPlace::of(point, run, part.id()), reached) {
            (None, None) if life == 0 => {
                Self { replica: replica::build(point, part.id(), part.seed, Storage::Immediate), log: None }
            }
            (None, _) => return Err(io::Error::other("a replica without a log on a disk cannot come back")),
            (Some(place), None) => {
                if life > 0 {
                    place.clear()?;
                }
                let log = Some(place.create()?);
                Self { replica: replica::build(point, part.id(), part.seed, Storage::Deferred), log }
            }
            (Some(place), Some(reached)) => {
                let mut body = Self::from_log(place, part, point, life)?;
                body.replica.count_from(reached);
                body
            }
        };
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

#[cfg(test)]
mod tests {
    use super::super::Keep;
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn who_never_had_a_log_begins_anew_and_who_had_one_comes_back_from_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = format!("storage.path={}", folder.path().display());
        let set = ["durability=page-cache".into(), "segment=64KiB".into(), path];
        let spec = Spec::parse("name = 'lives'", "lives.toml", &set).expect("a valid config");
        let point = &spec.points()[0];
        let part = Part::all(point, 1, Keep { trace: false, timeline: true, live: false })[0];
        let make = |life, reached: Option<&Reach>| Body::make(part, point, 7, life, reached).map(drop);
        let error = |made: io::Result<()>| made.expect_err("it is refused").to_string();
        let began = Reach::default();
        assert!(make(1, Some(&began)).is_err(), "it had one, and it is gone");
        make(1, None).expect("it had none");
        assert!(error(make(0, None)).contains("there is a log already"), "another's");
        make(2, None).expect("what it was about to begin is in its way");
        make(3, Some(&began)).expect("it left one");
    }
}
