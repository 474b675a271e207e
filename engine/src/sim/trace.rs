//! The last events, one dense line each, made into text only when somebody reads them.

use std::fmt::Write as _;

use quorumbench_protocols::{Head, Lsn, Nanos, NodeId};

use super::fault::Fault;
use super::runner::Print;
use super::subject::{Subject, View};
use crate::request::Request;

/// One event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) at: Nanos,
    /// Where it happened.
    pub(super) node: NodeId,
    pub(super) what: What,
    /// How the node stands after it, if it is up and took a turn.
    pub(super) view: Option<View>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A frame arrived.
    Frame(Head),
    /// A frame arrived at a node that takes no turns now.
    Waits(Head),
    /// A frame arrived at a node that is down.
    Gone(Head),
    /// A deadline passed.
    Wake,
    /// It takes turns again.
    Ready,
    /// Its journal is durable up to here.
    Durable(Lsn),
    /// A client looked at things.
    Looks,
    /// A fault, and whom else it concerns.
    Fault(Fault, NodeId),
    /// The fault was lifted.
    Healed(Fault, NodeId),
    /// It started again.
    Restart,
    /// It cannot be started again.
    Lost,
    /// From here on nothing breaks any more.
    Calm,
}

/// What the lines mean.
pub(super) const LEGEND: &str = "\
legend: time in ms, node, what happened to it | role (F follower, P pre-candidate or prospective leader, C candidate, L leader,
        O observer, ? looking for a leader),        t term, v vote, c committed, l last slot, - trimmed up to; clients have the ids after the replicas'";

/// A ring of the last events. A live trace prints each as it happens.
pub(super) struct Trace {
    ring: Vec<Line>,
    next: usize,
    live: Option<Print>,
}

/// Events that are kept for a failure's report.
const KEPT: usize = 64;

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Trace {
    pub(super) fn new(live: Option<Print>) -> Self {
        Self { ring: Vec::with_capacity(KEPT), next: 0, live }
    }

    pub(super) fn note<P: Subject>(&mut self, line: Line) {
        if let Some(print) = &mut self.live {
            print(&text::<P>(&line));
        }
        if self.ring.len() < KEPT {
            self.ring.push(line);
        } else {
            self.ring[self.next] = line;
            self.next = (self.next + 1) % KEPT;
        }
    }

    /// The last events, oldest first.
    pub(super) fn last<P: Subject>(&self) -> Vec<String> {
        self.ring[self.next..].iter().chain(&self.ring[..self.next]).map(text::<P>).collect()
    }
}

fn text<P: Subject>(line: &Line) -> String {
    let node = line.node;
    let at = line.at.0;
    let mut text = format!("{:>7}.{:06} {node} ", at / 1_000_000, at % 1_000_000);
    let frame = |head: &Head| format!("< {} {}", head.from, describe::<P>(head));
    let what = match &line.what {
        What::Frame(head) => frame(head),
        What::Waits(head) => format!("{} (waits)", frame(head)),
        What::Gone(head) => format!("{} (down)", frame(head)),
        What::Wake => "wakes".into(),
        What::Ready => "goes on".into(),
        What::Durable(lsn) => format!("durable lsn={lsn}"),
        What::Looks => "looks".into(),
        What::Fault(fault, other) if *other == node => format!("! {fault}"),
        What::Fault(fault, other) => format!("! {fault} {other}"),
        What::Healed(fault, other) => format!("healed: {fault} {other}"),
        What::Restart => "restarts".into(),
        What::Lost => "cannot restart".into(),
        What::Calm => "calm from here on".into(),
    };
    text.push_str(&what);
    if let Some(view) = &line.view {
        let _ = write!(text, " | {}", state(view));
    }
    text
}

/// How a node stands, in a few letters.
pub(super) fn state(view: &View) -> String {
    let View { role, term, committed, last, trimmed, .. } = view;
    let vote = view.voted_for.map_or_else(|| "-".into(), |id| id.0.to_string());
    format!("{role} t{term} v{vote} c{committed} l{last} -{trimmed}")
}

fn describe<P: Subject>(head: &Head) -> String {
    match Request::read(head) {
        Some(Request::Submit) => format!("Submit {}", head.words[0]),
        Some(Request::Read { mode, .. }) => format!("Read {mode:?} {}", head.words[1]),
        Some(request) => format!("{request:?}"),
        None => P::describe(head),
    }
}
