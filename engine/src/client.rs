//! A client of the cluster, which stands for many users: it asks on schedule, batches, finds the
//! leader, sends again what is not answered, and times everything.
//!
//! Where there are several consensus groups, each batch is one group's: the groups take turns, and the commands are on the
//! group's own keys. What is in flight, and how fast, is of all groups together.
//!
//! Like a [`crate::node::Node`] it is a state machine: time and frames come in, transmits go out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quorumbench_protocols::{Frame, Nanos, NodeId, ReadMode, Transmit};
use quorumbench_transports::pool::Pool;

use crate::batch::BatchHead;
use crate::check::witness::ClientTrace;
use crate::live::Slot;
use crate::load::{Arrivals, CommandStream};
use crate::measure::{Recorder, Recording, Window};

mod flights;
mod lane;

use flights::Copies;
use lane::Lane;

/// A client. First it looks for the leader until it is [`ready`](Self::ready); from
/// [`start`](Self::start) on it puts load on the cluster until the window ends and everything is
/// answered, or given up.
#[derive(Debug)]
pub struct Client {
    /// What has arrived since the last turn. A turn empties it.
    pub inbox: Vec<Frame>,
    /// By group.
    lanes: Vec<Lane>,
    /// Whose batch is next.
    next: usize,
    shared: Shared,
    pool: Pool,
    chunk: Option<BytesMut>,
    /// The most bytes that a batch can have: what a chunk must have left for another.
    reserve: usize,
    /// Open loop: due, and not sent yet.
    due: VecDeque<Nanos>,
    /// Closed loop: since when there is room that no batch has taken.
    free_since: Option<Nanos>,
    /// Open loop: the last turn left no room. What has come due since then is late.
    full: bool,
    /// Whether it is to keep a timeline.
    timeline: bool,
    /// Where it counts what it sees, if anybody looks.
    slot: Option<Arc<Slot>>,
}

/// What a client has once, however many groups there are.
#[derive(Debug)]
struct Shared {
    options: ClientOptions,
    stage: Stage,
    transmits: Vec<Transmit>,
    /// Commands in flight.
    in_flight: usize,
    /// No flight is to be sent again before this.
    retry_at: Nanos,
}

/// A client's settings.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Its node id.
    pub id: NodeId,
    /// Replicas have ids below this.
    pub replicas: usize,
    /// Consensus groups, numbered from 0; at least one.
    pub groups: u16,
    /// Most commands in a batch.
    pub batch_commands: usize,
    /// Most bytes in a batch.
    pub batch_bytes: usize,
    /// How long a command may wait for company.
    pub linger: Duration,
    /// When an unanswered batch is sent again.
    pub resend: Duration,
    /// Open loop: most commands in flight. What is due beyond that waits, and counts as late.
    pub in_flight_limit: usize,
    /// How batches of reads are answered beside the log; `None` for reads through it.
    pub reads: Option<ReadMode>,
    /// Any replica may answer them: each is asked in turn, and not the leader alone.
    pub anywhere: bool,
}

/// How a client paces itself.
#[derive(Clone, Debug)]
pub enum Pace {
    /// So many commands always in flight.
    Closed {
        /// How many.
        outstanding: usize,
    },
    /// On schedule, whatever comes back.
    Open(Arrivals),
}

#[derive(Debug)]
enum Stage {
    Searching,
    Loading { pace: Pace, recorder: Box<Recorder>, window: Window, give_up_at: Nanos },
}

/// How long a client that nobody can point to a leader waits before it asks again.
const SEARCH_PAUSE_NS: u64 = 5_000_000;
/// After so many redirects in a row a batch waits: replicas may point at each other.
const MAX_REDIRECTS: u8 = 3;
/// Commands, or else one batch, that come due in one turn. They share its time as the time they were
/// sent, so a client that is behind must look at the clock now and then: its delay is send lag, and
/// would otherwise pass for service time.
const TURN_COMMANDS: usize = 1024;
/// Chunks that batches are built in. Its owners: the flights, up to [`BatchHead::MAX_AHEAD`], and within
/// one process the replicas' logs.
const CHUNKS: usize = 16_384;
const CHUNK_BYTES: usize = 64 << 10;

impl Client {
    /// A client that has not found its cluster yet.
    pub fn new(options: ClientOptions, commands: CommandStream) -> Self {
        let full_batch = options.batch_commands * (BatchHead::PREFIX + commands.max_bytes());
        let reserve = options.batch_bytes.min(BatchHead::BYTES + full_batch);
        let chunk_bytes = CHUNK_BYTES.max(2 * reserve);
        let commands = if options.reads.is_some() { commands.with_reads_apart() } else { commands };
        let lanes = (0..options.groups).map(|group| Lane::new(group, &options, &commands)).collect();
        let (stage, transmits) = (Stage::Searching, Vec::new());
        Self {
            inbox: Vec::new(),
            lanes,
            next: 0,
            shared: Shared { options, stage, transmits, in_flight: 0, retry_at: Nanos::NEVER },
            pool: Pool::new(chunk_bytes, CHUNKS),
            chunk: None,
            due: VecDeque::new(),
            free_since: None,
            full: false,
            timeline: false,
            slot: None,
            reserve,
        }
    }

    /// The same client, of a cluster without a leader: its load goes to this replica for as long as that answers. Another
    /// group's goes to another one, in turn.
    #[must_use]
    pub fn at_home_at(mut self, home: NodeId) -> Self {
        self.lanes.iter_mut().for_each(|lane| lane.settle_at(home, &self.shared.options));
        self
    }

    /// Keeps a trace of every batch from now on. Call it before the first turn.
    pub fn keep_trace(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.keep_trace(&self.shared.options));
    }

    /// Keeps a timeline of the window. Call it before [`start`](Self::start).
    pub fn keep_timeline(&mut self) {
        self.timeline = true;
    }

    /// Counts what it sees in `slot`, too. Call it before [`start`](Self::start).
    pub fn show_in(&mut self, slot: Arc<Slot>) {
        self.slot = Some(slot);
    }

    /// The traces so far, one a group, if they were kept.
    pub fn take_traces(&mut self) -> Vec<ClientTrace> {
        self.lanes.iter_mut().filter_map(Lane::take_trace).collect()
    }

    /// Takes what has arrived, sends what is due.
    pub fn turn(&mut self, now: Nanos) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for frame in inbox.drain(..) {
            // One of a group that there is none of says nothing.
            if let Some(lane) = self.lanes.get_mut(frame.head.group as usize) {
                lane.on_frame(now, &frame, &mut self.shared);
            }
        }
        self.inbox = inbox;
        self.lanes.iter_mut().for_each(Lane::forget_settled);
        match &self.shared.stage {
            Stage::Searching => self.search(now),
            Stage::Loading { .. } => self.load(now),
        }
        if now >= self.shared.retry_at {
            self.shared.retry_at = Nanos::NEVER;
            self.lanes.iter_mut().for_each(|lane| lane.resend(now, &mut self.shared));
        }
    }

    /// When to take the next turn if nothing arrives.
    pub fn deadline(&self) -> Nanos {
        let linger_ns = self.shared.options.linger.as_nanos() as u64;
        let due = match &self.shared.stage {
            Stage::Loading { pace: Pace::Open(arrivals), window, .. } => {
                let lingering = self.due.front().map(|&first| first + linger_ns);
                let next = Some(arrivals.next()).filter(|&next| self.room() > 0 && next < window.until);
                lingering.unwrap_or(Nanos::NEVER).min(next.unwrap_or(Nanos::NEVER))
            }
            Stage::Loading { pace: Pace::Closed { .. }, window, .. } => {
                let lingering = self.free_since.map(|since| since + linger_ns);
                lingering.filter(|&until| until < window.until).unwrap_or(Nanos::NEVER)
            }
            Stage::Searching if self.lanes.iter().any(Lane::is_to_search) => Nanos::ZERO,
            Stage::Searching => Nanos::NEVER,
        };
        let give_up = match self.shared.stage {
            Stage::Loading { give_up_at, .. } => give_up_at,
            Stage::Searching => Nanos::NEVER,
        };
        due.min(self.shared.retry_at).min(give_up)
    }

    /// What the last turn wants sent. The transport empties it.
    pub fn transmits(&mut self) -> &mut Vec<Transmit> {
        &mut self.shared.transmits
    }

    /// Whether the cluster has answered, every group of it.
    pub fn ready(&self) -> bool {
        matches!(self.shared.stage, Stage::Searching) && self.lanes.iter().all(Lane::has_answered)
    }

    /// Puts load on the cluster from now on. What is intended inside `window` is recorded; what is
    /// not answered at `give_up_at` is given up.
    pub fn start(&mut self, pace: Pace, window: Window, give_up_at: Nanos) {
        self.lanes.iter_mut().for_each(Lane::go_home);
        let recorder = Recorder::new(window).showing(self.slot.take());
        let recorder = Box::new(if self.timeline { recorder.with_timeline() } else { recorder });
        self.shared.stage = Stage::Loading { pace, recorder, window, give_up_at };
    }

    /// Whether the window is over and nothing is owed.
    pub fn finished(&self, now: Nanos) -> bool {
        match &self.shared.stage {
            Stage::Searching => false,
            Stage::Loading { window, give_up_at, pace, .. } => {
                let owing = match pace {
                    Pace::Closed { .. } => false,
                    Pace::Open(arrivals) => arrivals.next() < window.until || !self.due.is_empty(),
                };
                now >= *give_up_at || now >= window.until && !owing && self.shared.in_flight == 0
            }
        }
    }

    /// Ends the load and hands over what was recorded; `None` if it never started.
    pub fn finish(self, now: Nanos) -> Option<Recording> {
        let Stage::Loading { pace, mut recorder, window, .. } = self.shared.stage else { return None };
        let lanes = self.lanes.iter().map(|lane| &lane.flights);
        let flights =
            lanes.flat_map(|flights| flights.iter().map(move |(sequence, flight)| (flights, sequence, flight)));
        for (flights, sequence, flight) in flights.filter(|(.., flight)| !flight.answered) {
            if flight.copies != Copies::Unknown {
                recorder.unknown(now, flight.commands);
            }
            flights.each_intended(sequence, |intended, commands| {
                recorder.gave_up(now, intended, flight.sent, commands);
            });
        }
        for intended in self.due {
            recorder.gave_up(now, intended, now, 1);
        }
        // What was due in the window and never went out is owed all the same.
        if let Pace::Open(mut arrivals) = pace {
            let last = Nanos(window.until.0.saturating_sub(1)).min(now);
            while let Some(intended) = arrivals.take_due(last) {
                recorder.gave_up(now, intended, now, 1);
            }
        }
        Some(recorder.finish())
    }

    /// How many more commands may be in flight.
    fn room(&self) -> usize {
        let limit = match &self.shared.stage {
            Stage::Loading { pace: Pace::Closed { outstanding }, .. } => *outstanding,
            _ => self.shared.options.in_flight_limit,
        };
        if self.is_far_ahead() { 0 } else { limit.saturating_sub(self.shared.in_flight + self.due.len()) }
    }

    /// Whether the group whose turn it is has as many batches under way as it may have.
    fn is_far_ahead(&self) -> bool {
        self.lanes[self.next].flights.len() as u64 >= BatchHead::MAX_AHEAD - 1
    }

    /// Asks every group that has not been asked, with an empty batch.
    fn search(&mut self, now: Nanos) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].is_to_search() {
                self.send_batch(now, lane, 0);
            }
        }
    }

    fn load(&mut self, now: Nanos) {
        let Stage::Loading { pace, window, .. } = &mut self.shared.stage else { return };
        match pace {
            Pace::Closed { outstanding } if now < window.until => {
                let full = (*outstanding).min(self.shared.options.batch_commands);
                self.send_freed(now, full);
            }
            Pace::Closed { .. } => {}
            Pace::Open(_) => self.send_due(now),
        }
    }

    /// Keeps the closed loop full, by batches of `full` commands; a smaller one lingers for company.
    fn send_freed(&mut self, now: Nanos, full: usize) {
        let linger = self.shared.options.linger.as_nanos() as u64;
        while self.room() > 0 {
            let since = *self.free_since.get_or_insert(now);
            if self.room() < full && now < since + linger {
                return;
            }
            if !self.send_next(now, self.room().min(full)) {
                return;
            }
            self.free_since = None;
        }
    }

    /// Sends the open loop's commands whose time has come, each with its own intended time.
    fn send_due(&mut self, now: Nanos) {
        let room = self.room();
        let Stage::Loading { pace: Pace::Open(arrivals), window, recorder, .. } = &mut self.shared.stage else {
            return;
        };
        let last = now.min(Nanos(window.until.0 - 1));
        let most = room.min(TURN_COMMANDS.max(self.shared.options.batch_commands));
        for intended in std::iter::from_fn(|| arrivals.take_due(last)).take(most) {
            if self.full {
                recorder.late(intended, 1);
            }
            self.due.push_back(intended);
        }
        self.full = self.room() == 0;
        let linger = self.shared.options.linger.as_nanos() as u64;
        while let Some(&first) = self.due.front() {
            let full = self.due.len() >= self.shared.options.batch_commands;
            if !full && first + linger > now {
                return;
            }
            if !self.send_next(now, self.due.len().min(self.shared.options.batch_commands)) {
                return;
            }
        }
    }

    /// Sends a batch of at most `commands` commands to the group whose turn it is.
    fn send_next(&mut self, now: Nanos, commands: usize) -> bool {
        let sent = !self.is_far_ahead() && self.send_batch(now, self.next, commands);
        if sent {
            self.next = (self.next + 1) % self.lanes.len();
        }
        sent
    }

    /// Builds a batch of at most `commands` commands and sends it. Without a chunk to build it in,
    /// nothing is sent, and the commands stay due.
    fn send_batch(&mut self, now: Nanos, lane: usize, commands: usize) -> bool {
        let Some(mut chunk) = self.chunk.take().or_else(|| self.pool.take()) else { return false };
        let Self { lanes, shared, due, .. } = self;
        let lane = &mut lanes[lane];
        let (body, commands, reads) = lane.build(&mut chunk, commands, &shared.options);
        if chunk.capacity() < self.reserve {
            self.pool.give(chunk);
        } else {
            self.chunk = Some(chunk);
        }
        let open = due.len().min(commands as usize);
        lane.send(now, (body, commands, reads), due.drain(..open), shared);
        if let Stage::Loading { recorder, .. } = &mut shared.stage {
            recorder.sent(now, commands.into());
        }
        true
    }
}

impl ClientOptions {
    /// The replica after this one.
    fn next_replica(&self, id: NodeId) -> NodeId {
        NodeId((id.0 + 1) % self.replicas as u32)
    }
}

impl Shared {
    /// How long a batch may go unanswered. A client that searches is impatient: the cluster may only be starting.
    fn patience_ns(&self) -> u64 {
        match self.stage {
            Stage::Searching => SEARCH_PAUSE_NS,
            Stage::Loading { .. } => self.options.resend.as_nanos() as u64,
        }
    }

    /// An unanswered batch goes out again at this time, if nothing happens.
    fn retry_by(&mut self, at: Nanos) {
        self.retry_at = self.retry_at.min(at);
    }
}
