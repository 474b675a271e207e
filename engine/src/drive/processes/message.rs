//! What a run and its nodes' processes say to each other.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use hdrhistogram::Histogram;
use quorumbench_transports::quic::Credentials;
use serde::{Deserialize, Serialize};

use super::super::DriveError;
use super::super::control::{Begun, Notice};
use super::super::ledger::{Reach, SoFar};
use super::super::orders::{Order, Standing};
use super::super::part::{Account, Part, Timings};
use super::Outlet;
use crate::check::witness::{Applied, Asked, Served, Skipped};
use crate::live::Snapshot;
use crate::measure::{Interval, Recording, Tally, Timeline};
use crate::remote;
use crate::spec::Point;

/// To a node, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToNode<'a> {
    /// What it is to be. The first message.
    Assignment(Box<Assignment<'a>>),
    /// Where the replicas listen: now it may join them.
    Replicas(Vec<SocketAddr>),
    /// When it is measured.
    Begin(Begun),
    /// What a replica is to do.
    Order(Order),
    /// It is over.
    Stop,
}

/// What a node is to be.
///
/// The point comes as it is, parsed and validated once. A config's text would have to come with its
/// overrides and the point's number, and every process would do it all again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment<'a> {
    pub(super) point: Cow<'a, Point>,
    pub(super) part: Part,
    pub(super) run: u64,
    /// How often the replica has died.
    pub(super) life: u64,
    /// How far it was delivered before it did; `None` if it never came to have a log.
    pub(super) reached: Option<Reach>,
    pub(super) epoch_ns: u64,
    /// What the others ask for, where they do.
    #[serde(with = "remote::credentials")]
    pub(super) credentials: Option<Credentials>,
    /// Where a replica listens.
    pub(super) address: Option<SocketAddr>,
}

/// To the conductor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToConductor<'a> {
    /// It ends with the run from now on, even if it is stopped. The first message.
    Attached,
    /// A replica listens where it was told to.
    Listening,
    /// A replica has its log, if it is to have one, and begins.
    Begins,
    Notice(Notice),
    /// Where a replica stands, where there are faults.
    Standing(Standing),
    /// What a replica used and did so far, where there are faults.
    SoFar(Box<SoFar>),
    /// What a client has seen so far, where somebody looks.
    Seen(Snapshot),
    /// It is over before its time.
    Failed(Failure),
    /// What a client recorded, but for its timeline, which comes before, and its intervals, one by one.
    Recorded(Box<Recorded>),
    Interval(Interval),
    /// Bytes of a [`Timeline`].
    Timeline(Cow<'a, [u8]>),
    // What a trace holds, each with its consensus group.
    Applied(u16, Cow<'a, [Applied]>),
    Skipped(u16, Cow<'a, [Skipped]>),
    Asked(u16, Cow<'a, [Asked]>),
    Served(u16, Cow<'a, [Served]>),
    /// What it timed besides commands.
    Timings(Cow<'a, Timings>),
    /// The last message of a node that did not fail.
    Account {
        account: Box<Account>,
        peak_rss_bytes: u64,
    },
}

/// Why a node failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Transport { text: String, os_error: Option<i32> },
    Panicked,
}

/// A [`Recording`] without its intervals.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recorded {
    #[serde(with = "remote::histogram")]
    response: Histogram<u64>,
    #[serde(with = "remote::histogram")]
    service: Histogram<u64>,
    #[serde(with = "remote::histogram")]
    send_lag: Histogram<u64>,
    tally: Tally,
}

/// Entries of a trace in a message: about a megabyte.
const PIECE: usize = 1 << 15;

/// Sends `entries` in as many messages as it takes.
pub(super) fn send_pieces<'a, T: Clone>(
    outlet: &Outlet,
    entries: &'a [T],
    message: impl Fn(Cow<'a, [T]>) -> ToConductor<'a>,
) -> io::Result<()> {
    entries.chunks(PIECE).try_for_each(|piece| outlet.send(&message(Cow::Borrowed(piece))))
}

pub(super) fn send_recording(outlet: &Outlet, recording: Recording) -> io::Result<()> {
    let Recording { response, service, send_lag, intervals, tally, timeline } = recording;
    if let Some(timeline) = timeline {
        let bytes = postcard::to_allocvec(&timeline).map_err(io::Error::other)?;
        send_pieces(outlet, &bytes, ToConductor::Timeline)?;
    }
    outlet.send(&ToConductor::Recorded(Box::new(Recorded { response, service, send_lag, tally })))?;
    intervals.into_iter().try_for_each(|interval| outlet.send(&ToConductor::Interval(interval)))
}

impl Recorded {
    pub(super) fn whole(self, intervals: Vec<Interval>, timeline: &[u8]) -> Recording {
        let Self { response, service, send_lag, tally } = self;
        let read = || postcard::from_bytes::<Box<Timeline>>(timeline).expect("this program wrote it too");
        let timeline = (!timeline.is_empty()).then(read);
        Recording { response, service, send_lag, intervals, tally, timeline }
    }
}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Transport { source, .. } => source.into(),
            _ => Self::Panicked,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Transport { text: error.to_string(), os_error: error.raw_os_error() }
    }
}

impl Failure {
    /// What it would be, had `node` been a thread.
    pub(super) fn of(self, node: String) -> DriveError {
        match self {
            Self::Panicked => DriveError::Panicked { node },
            Self::Transport { os_error: Some(code), .. } => {
                DriveError::Transport { node, source: io::Error::from_raw_os_error(code) }
            }
            Self::Transport { text, .. } => DriveError::Transport { node, source: io::Error::other(text) },
        }
    }
}
