//! The mover's process: it is told what to move, does so until it is told to stop, and says what came of it.

use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::num::NonZeroU64;
use std::process;
use std::thread;

use hdrhistogram::Histogram;
use quorumbench_protocols::Nanos;
use quorumbench_transports::{Clock, Counters};
use rustix::thread::set_current_timer_slack;
use serde::{Deserialize, Serialize};

use super::super::control::{Begun, Control, LOOK_NS, Meter};
use super::super::links;
use super::super::processes::child::{self, ChildError};
use super::super::processes::{Inlet, Outlet};
use super::mover::Mover;
use super::{LinkCounts, descriptors};
use crate::console::exit;
use crate::node::NodeStats;
use crate::remote;
use crate::spec::{Emulation, Point, Wait};

/// To the mover, after its devices, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToMover<'a> {
    /// What lies between them.
    Assignment(Box<Assignment<'a>>),
    /// When it is measured.
    Begin(Begun),
    /// It is over.
    Stop,
}

/// What the mover is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment<'a> {
    pub(super) point: Cow<'a, Point>,
    /// All dice follow from it.
    pub(super) seed: u64,
    pub(super) epoch_ns: u64,
}

/// What the mover did in the window: its only message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MoverReport {
    /// From each node to each.
    pub(super) counts: Vec<LinkCounts>,
    /// How much later than it should have each packet left.
    #[serde(with = "remote::histogram")]
    pub(super) late: Histogram<u64>,
    /// What it used of its core.
    pub(super) cpu_ns: u64,
}

/// What the mover's process is started with.
pub(super) const SUBCOMMAND: &str = "mover";

/// Moves packets between the devices that the run at the other end of standard input hands over, as that says.
///
/// # Errors
/// [`ChildError`].
pub fn mover() -> Result<(), ChildError> {
    let setting = ["network.emulation", Emulation::Packets.name()];
    let by_hand = || ChildError::ByHand { subcommand: SUBCOMMAND, setting };
    let stream = child::parent()?.ok_or_else(by_hand)?;
    let devices = descriptors::receive(&stream)?;
    let outlet = Outlet::new(stream.try_clone()?);
    let mut inlet = Inlet::new(stream);
    let Ok(Some(ToMover::Assignment(assignment))) = inlet.receive() else { return Err(by_hand()) };
    let Assignment { point, seed, epoch_ns } = *assignment;
    inlet.wait_for_ever();
    // Shown by `top` and `ps`.
    let _ = rustix::thread::set_name(&CString::new(SUBCOMMAND).unwrap_or_default());
    // A sleeper oversleeps by 50 us unless it asks not to. Failure only costs precision.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let control = Control::new(Clock::since(epoch_ns));
    obey(inlet, control.clone())?;
    let mover = Mover::new(&devices, links::states(&point, seed), point.network.mtu, control.clock());
    let report = serve(mover, &point, &control);
    report.and_then(|report| outlet.send(&report)).map_err(|error| {
        // Nobody else can say it.
        eprintln!("the mover of packets: {error}");
        ChildError::Failed
    })
}

/// Until it is over.
fn serve(mut mover: Mover<'_>, point: &Point, control: &Control) -> io::Result<MoverReport> {
    let mut meter = Meter::default();
    let wait = point.cluster.wait;
    while !control.stopped() {
        let (now, window) = (control.clock().now(), control.window());
        meter.turn(now, window, Counters::default, Default::default);
        mover.count(window.is_some_and(|window| window.contains(now)));
        let deadline = if wait.polls() { Nanos::ZERO } else { meter.deadline(now, window).min(now + LOOK_NS) };
        mover.turn(deadline)?;
        if wait == Wait::Yield {
            std::thread::yield_now();
        }
    }
    let (counts, late) = mover.counted();
    Ok(MoverReport { counts, late, cpu_ns: meter.account(NodeStats::default()).usage.cpu_ns })
}

/// Does as the run says, on a thread of its own, for as long as there is a run.
fn obey(mut inlet: Inlet, control: Control) -> io::Result<()> {
    let body = move || {
        loop {
            match inlet.receive() {
                Ok(Some(ToMover::Begin(begun))) => control.begin(begun),
                Ok(Some(ToMover::Stop)) => control.stop(),
                _ => process::exit(exit::FAILED.into()),
            }
        }
    };
    thread::Builder::new().name("control".into()).spawn(body).map(drop)
}
