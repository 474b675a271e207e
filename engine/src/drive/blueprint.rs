//! What a replica is made from, the first time and again after each death.

use std::io;
use std::sync::Arc;

use quorumbench_protocols::{NodeId, Prng};

use super::log::{Log, LogPlace};
use super::replica::{self, Replica};
use crate::node::Storage;
use crate::spec::Point;

/// How to make one replica.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) point: Arc<Point>,
    pub(super) id: NodeId,
    pub(super) seed: u64,
    /// Whether it keeps a trace.
    pub(super) traced: bool,
    /// Where its log is; `None` where memory plays the disk.
    pub(super) log: Option<LogPlace>,
}

/// A replica, and what it writes to.
pub(super) struct Body {
    pub(super) replica: Box<dyn Replica>,
    pub(super) log: Option<Log>,
}

impl Blueprint {
    /// A replica with an empty log.
    pub(super) fn build(self) -> io::Result<Body> {
        let log = self.log.map(LogPlace::create).transpose()?;
        let storage = if log.is_some() { Storage::Deferred } else { Storage::Immediate };
        let replica = replica::build(&self.point, self.id, self.seed, storage);
        Ok(Body { replica, log }.traced(self.traced))
    }

    /// The replica with what its log holds, and nothing else, for its `life`th life (the first was 0).
    ///
    /// # Errors
    /// Also if it has no log, or one that this protocol did not write: it would come back as another node under the same
    /// name, having forgotten what it promised.
    pub(super) fn rebuild(self, life: u64) -> io::Result<Body> {
        let place = self.log.ok_or_else(|| io::Error::other("a replica without a log on a disk cannot come back"))?;
        let (log, recovered) = place.open()?;
        let seed = Prng::new(self.seed).fork(life).next_u64();
        let replica = replica::recover(&self.point, self.id, seed, &recovered.records);
        let replica = replica.map_err(|malformed| {
            io::Error::new(io::ErrorKind::InvalidData, format!("its log is not one of this protocol: {malformed}"))
        })?;
        Ok(Body { replica, log: Some(log) }.traced(self.traced))
    }
}

impl Body {
    fn traced(mut self, traced: bool) -> Self {
        if traced {
            self.replica.keep_trace();
        }
        self
    }
}
