//! Whether this machine is fit to measure on: what was seen, what it costs, and what to type.
//!
//! It only looks. What files say is read below a [`Root`], so that tests have trees of good and bad machines; what no
//! file says (a sync, a ring, the way between two cores) is tried, by the code that runs use too.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::Root;
use crate::spec::{Durability, Point, TransportName};

mod build;
pub(crate) mod cli;
mod cloud;
mod cpu;
mod deltas;
mod disk;
mod idle;
mod io_uring;
mod limits;
mod memory;
mod network;
mod nic;
mod noise;
mod watch;

pub use cli::DOCTOR_SCHEMA;
pub use deltas::{Counts, Deltas};
pub(crate) use watch::Watch;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which: `area.what`, and always the same.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was seen.
    pub what: String,
    /// What that costs; empty where it is fine.
    pub cost: String,
    /// What to type, or to do; empty where there is nothing to.
    pub todo: String,
    /// Which experiments have to do with it.
    pub touches: Touches,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// This machine does not say.
    Unknown,
    /// Good to know when figures are read.
    Note,
    /// Figures are worse, or mean something else, because of it.
    Warn,
}

/// Which experiments something has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touches {
    /// All that are timed by a wall clock: not what is computed.
    Timed,
    /// Those of them whose nodes sleep until something arrives.
    Sleeping,
    /// Those over sockets.
    Sockets,
    /// Those over TCP with the congestion control `bbr`.
    Bbr,
    /// Those over TCP.
    Tcp,
    /// Those over QUIC.
    Quic,
    /// Those on `io_uring`.
    IoUring,
    /// Those whose logs are synced.
    SyncedLogs,
    /// None yet: what leaves the machine.
    OtherHosts,
}

impl Touches {
    /// Whether a point is among them.
    pub fn concerns(self, point: &Point) -> bool {
        let transport = point.cluster.transport;
        let timed = transport.is_real() && !point.cluster.protocol.reconciles();
        timed
            && match self {
                Self::Timed => true,
                Self::Sleeping => !point.cluster.wait.polls(),
                Self::Sockets => transport.has_sockets(),
                Self::Tcp => transport.is_tcp(),
                Self::Bbr => transport.is_tcp() && point.transport_options.congestion == "bbr",
                Self::Quic => transport == TransportName::Quic,
                Self::IoUring => transport == TransportName::Uring,
                Self::SyncedLogs => point.storage.durability == Durability::Fsync,
                Self::OtherHosts => false,
            }
    }
}

impl Finding {
    fn new(check: &str, level: Level, what: impl Into<String>) -> Self {
        let (check, what) = (check.to_owned(), what.into());
        Self { check, level, what, cost: String::new(), todo: String::new(), touches: Touches::Timed }
    }

    fn ok(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, what)
    }

    fn unknown(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Level::Unknown, what)
    }

    fn note(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Level::Note, what)
    }

    fn warn(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Level::Warn, what)
    }

    fn costs(self, cost: impl Into<String>) -> Self {
        Self { cost: cost.into(), ..self }
    }

    fn todo(self, todo: impl Into<String>) -> Self {
        Self { todo: todo.into(), ..self }
    }

    fn touching(self, touches: Touches) -> Self {
        Self { touches, ..self }
    }
}

/// What the machine says of itself, in files: a few milliseconds. Logs would be in `folder`.
pub fn examine(root: &Root, folder: &Path) -> Vec<Finding> {
    [
        build::findings(crate::host::COMMIT, cfg!(debug_assertions)),
        cpu::findings(root),
        idle::findings(root),
        memory::findings(root),
        noise::findings(root),
        limits::findings(root),
        network::findings(root),
        nic::findings(root),
        io_uring::findings(root),
        disk::findings(root, folder),
        cloud::findings(root),
    ]
    .concat()
}

/// What has to be tried: a second or two. Meanwhile the machine is watched.
pub fn try_out(root: &Root, folder: &Path) -> Vec<Finding> {
    let before = Counts::read(root);
    let mut findings = vec![io_uring::set_up(), cpu::distance(crate::host::core_round_trip_ns()), disk::sync(folder)];
    findings.extend(nic::offloads(root));
    findings.extend(Deltas::between(&before, &Counts::read(root)).findings());
    findings
}
