//! A node's own process: it is told what to be, joins the others, and says what came of it.

use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quorumbench_transports::Clock;

use super::super::body::Body;
use super::super::control::{Control, Meter};
use super::super::ledger::Ledger;
use super::super::links::Shaped;
use super::super::orders::{Board, Diary, Standing};
use super::super::seat::{self, Place};
use super::super::threads::{self, ClientEnd, ReplicaEnd, Shared};
use super::child::{self, ChildError};
use super::message::{Assignment, Failure, ToConductor, ToNode, send_pieces, send_recording};
use super::{Inlet, Outlet};
use crate::check::witness::{ClientTrace, ReplicaTrace};
use crate::console::exit;
use crate::host;
use crate::live::Live;
use crate::spec::{Placement, Point};

/// What a node's process is started with.
pub(super) const SUBCOMMAND: &str = "node";

/// Runs one node, as the run at the other end of standard input says.
///
/// # Errors
/// [`ChildError`].
pub fn node() -> Result<(), ChildError> {
    let setting = ["cluster.placement", Placement::Processes.name()];
    let by_hand = || ChildError::ByHand { subcommand: SUBCOMMAND, setting };
    let stream = child::parent()?.ok_or_else(by_hand)?;
    let outlet = Outlet::new(stream.try_clone()?);
    // If nobody hears it, nobody says either what this is to be.
    let _ = outlet.send(&ToConductor::Attached);
    let mut inlet = Inlet::new(stream);
    let Ok(Some(ToNode::Assignment(assignment))) = inlet.receive() else { return Err(by_hand()) };
    inlet.wait_for_ever();
    // Shown by `top` and `ps`.
    let _ = rustix::thread::set_name(&CString::new(assignment.part.name(&assignment.point)).unwrap_or_default());
    serve(&assignment, &outlet, inlet).map_err(|failure| {
        // If the run cannot be told, it is gone.
        let _ = outlet.send(&ToConductor::Failed(failure));
        ChildError::Failed
    })
}

/// From its listening to its end.
fn serve(assignment: &Assignment<'_>, outlet: &Outlet, mut inlet: Inlet) -> Result<(), Failure> {
    let Assignment { ref point, part, run, life, ref reached, epoch_ns, ref credentials, address } = *assignment;
    let listener = address.map(if life == 0 { seat::bind } else { seat::bind_again }).transpose()?;
    if listener.is_some() {
        outlet.send(&ToConductor::Listening)?;
    }
    let Some(ToNode::Replicas(replicas)) = inlet.receive()? else { leave() };
    let (transport, id, clock) = (point.cluster.transport, part.id(), Clock::since(epoch_ns));
    let seat =
        Place { transport, run, id, replicas, credentials: credentials.clone(), clock, options: seat::options(point) };
    let seat = seat.seat(listener);
    let shared = Shared {
        control: Control::remote(clock, outlet.clone()).showing(part.keep.live.then(Arc::default)),
        orders: Arc::default(),
        board: part.keep.timeline.then(Arc::default),
        diary: (part.keep.timeline && part.keep.trace).then(Arc::default),
        ledger: part.keep.timeline.then(Arc::default),
        nodes: point.nodes(),
        shaped: Shaped::of(point, part, clock),
    };
    let (name, core) = (part.name(point), part.core);
    obey(inlet, shared.clone())?;
    if part.is_replica(point) {
        if let Some(board) = shared.board.clone() {
            show(board, shared.diary.clone(), shared.ledger.clone(), outlet.clone())?;
        }
        let diary = shared.diary.clone().unwrap_or_default();
        let (point, reached) = (Point::clone(point), reached.clone());
        let meter = if life == 0 { Meter::default() } else { Meter::born(clock.now()) };
        let told = outlet.clone();
        let body = move || {
            let body = Body::make(part, &point, run, life, reached.as_ref())?;
            told.send(&ToConductor::Begins)?;
            threads::run_replica(body, meter, false, seat, id, &shared)
        };
        tell_of_replica(outlet, threads::join(threads::spawn(name, core, body))?, &diary)?;
    } else {
        let (client, pace) = (part.client(point), part.pace(point));
        shared.control.live().map(|live| show_figures(live, outlet.clone())).transpose()?;
        let body = move || threads::run_client(client, pace, seat, shared.shaped.as_ref(), &shared.control);
        tell_of_client(outlet, threads::join(threads::spawn(name, core, body))?)?;
    }
    Ok(())
}

/// Does as the run says, on a thread of its own, for as long as there is a run.
fn obey(mut inlet: Inlet, Shared { control, orders, .. }: Shared) -> io::Result<()> {
    let body = move || {
        loop {
            match inlet.receive() {
                Ok(Some(ToNode::Begin(begun))) => control.begin(begun),
                Ok(Some(ToNode::Order(order))) => orders.send(order),
                Ok(Some(ToNode::Stop)) => control.stop(),
                _ => leave(),
            }
        }
    };
    thread::Builder::new().name("control".into()).spawn(body).map(drop)
}

/// Says again and again where a replica stands, what it has applied, and what it has used and done, where there are
/// faults: it may die any moment.
fn show(board: Arc<Board>, diary: Option<Arc<Diary>>, ledger: Option<Arc<Ledger>>, outlet: Outlet) -> io::Result<()> {
    let body = move || {
        let mut said = Standing::default();
        loop {
            thread::sleep(SHOW);
            let standing = board.read();
            if standing != said && outlet.send(&ToConductor::Standing(standing)).is_err() {
                leave();
            }
            said = standing;
            let so_far = ledger.as_ref().and_then(|ledger| ledger.take());
            if so_far.is_some_and(|so_far| outlet.send(&ToConductor::SoFar(Box::new(so_far))).is_err()) {
                leave();
            }
            let told = diary.as_ref().map(|diary| diary.hand_on(|latest| tell_what_was_applied(&outlet, &latest)));
            if told.is_some_and(|told| told.is_err()) {
                leave();
            }
        }
    };
    thread::Builder::new().name("board".into()).spawn(body).map(drop)
}

/// Says now and then what the client has seen, where somebody looks.
fn show_figures(live: Arc<Live>, outlet: Outlet) -> io::Result<()> {
    let body = move || {
        loop {
            thread::sleep(SHOW_FIGURES);
            if outlet.send(&ToConductor::Seen(live.read())).is_err() {
                leave();
            }
        }
    };
    thread::Builder::new().name("figures".into()).spawn(body).map(drop)
}

/// As often as people look.
const SHOW_FIGURES: Duration = Duration::from_millis(100);
/// As often as the conductor looks.
const SHOW: Duration = Duration::from_millis(5);

/// The run is gone, or has heard enough: nobody is there to tell.
fn leave() -> ! {
    process::exit(exit::FAILED.into())
}

fn tell_what_was_applied(outlet: &Outlet, traces: &[ReplicaTrace]) -> io::Result<()> {
    traces.iter().try_for_each(|&ReplicaTrace { group, ref applied, ref skipped }| {
        send_pieces(outlet, applied, |piece| ToConductor::Applied(group, piece))?;
        send_pieces(outlet, skipped, |piece| ToConductor::Skipped(group, piece))
    })
}

fn tell_of_replica(outlet: &Outlet, mut end: ReplicaEnd, diary: &Diary) -> io::Result<()> {
    let (account, peak_rss_bytes) = (Box::new(end.account()), host::peak_rss_bytes());
    diary.write(end.replica.take_traces());
    diary.hand_on(|rest| tell_what_was_applied(outlet, &rest))?;
    outlet.send(&ToConductor::Timings(Cow::Borrowed(end.meter.timings())))?;
    outlet.send(&ToConductor::Account { account, peak_rss_bytes })
}

fn tell_of_client(outlet: &Outlet, end: ClientEnd) -> io::Result<()> {
    let (account, peak_rss_bytes) = (Box::new(end.account()), host::peak_rss_bytes());
    for &ClientTrace { group, ref asked, ref served, .. } in &end.traces {
        send_pieces(outlet, asked, |piece| ToConductor::Asked(group, piece))?;
        send_pieces(outlet, served, |piece| ToConductor::Served(group, piece))?;
    }
    outlet.send(&ToConductor::Timings(Cow::Borrowed(end.meter.timings())))?;
    end.recording.map(|recording| send_recording(outlet, recording)).transpose()?;
    outlet.send(&ToConductor::Account { account, peak_rss_bytes })
}
