//! A client of the cluster, which stands for many users: it asks on schedule, batches, finds the
//! leader, sends again what is not answered, and times everything.
//!
//! Like a [`crate::node::Node`] it is a state machine: time and frames come in, transmits go out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, ReadMode, Recipients, Slot, Transmit};
use quorumbench_transports::pool::Pool;

use crate::batch::{BatchHead, Writer};
use crate::check::witness::{Asked, ClientTrace, Served, digest};
use crate::load::{Arrivals, CommandStream};
use crate::measure::{Recorder, Recording, Window};
use crate::request::Request;

mod flights;

use flights::{Copies, Flight, Flights};

/// A client. First it looks for the leader until it is [`ready`](Self::ready); from
/// [`start`](Self::start) on it puts load on the cluster until the window ends and everything is
/// answered, or given up.
#[derive(Debug)]
pub struct Client {
    /// What has arrived since the last turn. A turn empties it.
    pub inbox: Vec<Frame>,
    transmits: Vec<Transmit>,
    options: ClientOptions,
    commands: CommandStream,
    /// Whom it takes for the leader.
    target: NodeId,
    /// Where its load begins, wherever its search led.
    home: Option<NodeId>,
    /// Whom it asked last for a read that any replica may answer.
    asked_last: NodeId,
    stage: Stage,
    pool: Pool,
    chunk: Option<BytesMut>,
    /// The most bytes that a batch can have: what a chunk must have left for another.
    reserve: usize,
    flights: Flights,
    /// The last batch that goes through the log.
    ordered: Option<u64>,
    /// The last slot that it was told of. No stale read that it sends from now on may be older: its reads do not go back,
    /// and see what it wrote, whoever answers (monotonic reads, read your writes: Terry et al., *Session Guarantees for
    /// Weakly Consistent Replicated Data*, PDIS 1994, section 3).
    seen: Slot,
    /// Who told it last of so late a slot, and can answer what others are behind for.
    seen_at: NodeId,
    /// Open loop: due, and not sent yet.
    due: VecDeque<Nanos>,
    /// Closed loop: since when there is room that no batch has taken.
    free_since: Option<Nanos>,
    /// Commands in flight.
    in_flight: usize,
    /// No flight is to be sent again before this.
    retry_at: Nanos,
    /// Open loop: the last turn left no room. What has come due since then is late.
    full: bool,
    /// What it asks and is told, if that is to be checked.
    trace: Option<Box<ClientTrace>>,
    /// Whether it is to keep a timeline.
    timeline: bool,
}

/// A client's settings.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Its node id.
    pub id: NodeId,
    /// Replicas have ids below this.
    pub replicas: usize,
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
    Searching { answered: bool },
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
        Self {
            inbox: Vec::new(),
            transmits: Vec::new(),
            commands,
            target: NodeId(0),
            home: None,
            asked_last: options.id,
            stage: Stage::Searching { answered: false },
            pool: Pool::new(chunk_bytes, CHUNKS),
            chunk: None,
            flights: Flights::default(),
            ordered: None,
            seen: Slot::ZERO,
            seen_at: NodeId(0),
            due: VecDeque::new(),
            free_since: None,
            in_flight: 0,
            retry_at: Nanos::NEVER,
            full: false,
            trace: None,
            timeline: false,
            reserve,
            options,
        }
    }

    /// The same client, of a cluster without a leader: its load goes to this replica for as long as that answers.
    #[must_use]
    pub fn at_home_at(self, home: NodeId) -> Self {
        Self { target: home, home: Some(home), ..self }
    }

    /// Keeps a trace of every batch from now on. Call it before the first turn.
    pub fn keep_trace(&mut self) {
        debug_assert!(self.flights.next_sequence() == 0, "batches count from the first one");
        let trace = ClientTrace {
            client: self.options.id.0,
            commands: self.commands.clone(),
            asked: Vec::new(),
            served: Vec::new(),
            stale: self.options.reads == Some(ReadMode::Stale),
        };
        self.trace = Some(Box::new(trace));
    }

    /// Keeps a timeline of the window. Call it before [`start`](Self::start).
    pub fn keep_timeline(&mut self) {
        self.timeline = true;
    }

    /// The trace so far, if one was kept.
    pub fn take_trace(&mut self) -> Option<ClientTrace> {
        self.trace.take().map(|trace| *trace)
    }

    /// Takes what has arrived, sends what is due.
    pub fn turn(&mut self, now: Nanos) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for frame in inbox.drain(..) {
            self.on_frame(now, &frame);
        }
        self.inbox = inbox;
        self.flights.forget_settled();
        match &self.stage {
            Stage::Searching { answered: false } if self.flights.is_empty() => self.send_batch(now, 0),
            Stage::Searching { .. } => {}
            Stage::Loading { .. } => self.load(now),
        }
        if now >= self.retry_at {
            self.resend(now);
        }
    }

    /// When to take the next turn if nothing arrives.
    pub fn deadline(&self) -> Nanos {
        let due = match &self.stage {
            Stage::Loading { pace: Pace::Open(arrivals), window, .. } => {
                let lingering = self.due.front().map(|&first| first + self.options.linger.as_nanos() as u64);
                let next = Some(arrivals.next()).filter(|&next| self.room() > 0 && next < window.until);
                lingering.unwrap_or(Nanos::NEVER).min(next.unwrap_or(Nanos::NEVER))
            }
            Stage::Loading { pace: Pace::Closed { .. }, window, .. } => {
                let lingering = self.free_since.map(|since| since + self.options.linger.as_nanos() as u64);
                lingering.filter(|&until| until < window.until).unwrap_or(Nanos::NEVER)
            }
            Stage::Searching { answered: false } if self.flights.is_empty() => Nanos::ZERO,
            Stage::Searching { .. } => Nanos::NEVER,
        };
        let give_up = match self.stage {
            Stage::Loading { give_up_at, .. } => give_up_at,
            Stage::Searching { .. } => Nanos::NEVER,
        };
        due.min(self.retry_at).min(give_up)
    }

    /// What the last turn wants sent. The transport empties it.
    pub fn transmits(&mut self) -> &mut Vec<Transmit> {
        &mut self.transmits
    }

    /// Whether the cluster has answered.
    pub fn ready(&self) -> bool {
        matches!(self.stage, Stage::Searching { answered: true })
    }

    /// Puts load on the cluster from now on. What is intended inside `window` is recorded; what is
    /// not answered at `give_up_at` is given up.
    pub fn start(&mut self, pace: Pace, window: Window, give_up_at: Nanos) {
        self.target = self.home.unwrap_or(self.target);
        let recorder = Recorder::new(window);
        let recorder = Box::new(if self.timeline { recorder.with_timeline() } else { recorder });
        self.stage = Stage::Loading { pace, recorder, window, give_up_at };
    }

    /// Whether the window is over and nothing is owed.
    pub fn finished(&self, now: Nanos) -> bool {
        match &self.stage {
            Stage::Searching { .. } => false,
            Stage::Loading { window, give_up_at, pace, .. } => {
                let owing = match pace {
                    Pace::Closed { .. } => false,
                    Pace::Open(arrivals) => arrivals.next() < window.until || !self.due.is_empty(),
                };
                now >= *give_up_at || now >= window.until && !owing && self.in_flight == 0
            }
        }
    }

    /// Ends the load and hands over what was recorded; `None` if it never started.
    pub fn finish(self, now: Nanos) -> Option<Recording> {
        let Stage::Loading { pace, mut recorder, window, .. } = self.stage else { return None };
        for (sequence, flight) in self.flights.iter().filter(|(_, flight)| !flight.answered) {
            if flight.copies != Copies::Unknown {
                recorder.unknown(now, flight.commands);
            }
            self.flights.each_intended(sequence, |intended, commands| {
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
        let limit = match &self.stage {
            Stage::Loading { pace: Pace::Closed { outstanding }, .. } => *outstanding,
            _ => self.options.in_flight_limit,
        };
        let ahead = self.flights.len() as u64 >= BatchHead::MAX_AHEAD - 1;
        if ahead { 0 } else { limit.saturating_sub(self.in_flight + self.due.len()) }
    }

    /// How long a batch may go unanswered. A client that searches is impatient: the cluster may only be starting.
    fn patience_ns(&self) -> u64 {
        match self.stage {
            Stage::Searching { .. } => SEARCH_PAUSE_NS,
            Stage::Loading { .. } => self.options.resend.as_nanos() as u64,
        }
    }

    fn load(&mut self, now: Nanos) {
        let Stage::Loading { pace, window, .. } = &mut self.stage else { return };
        match pace {
            Pace::Closed { outstanding } if now < window.until => {
                let full = (*outstanding).min(self.options.batch_commands);
                self.send_freed(now, full);
            }
            Pace::Closed { .. } => {}
            Pace::Open(_) => self.send_due(now),
        }
    }

    /// Keeps the closed loop full, by batches of `full` commands; a smaller one lingers for company.
    fn send_freed(&mut self, now: Nanos, full: usize) {
        let linger = self.options.linger.as_nanos() as u64;
        while self.room() > 0 {
            let since = *self.free_since.get_or_insert(now);
            let before = self.flights.len();
            if self.room() < full && now < since + linger {
                return;
            }
            self.send_batch(now, self.room().min(full));
            if self.flights.len() == before {
                return;
            }
            self.free_since = None;
        }
    }

    /// Sends the open loop's commands whose time has come, each with its own intended time.
    fn send_due(&mut self, now: Nanos) {
        let room = self.room();
        let Stage::Loading { pace: Pace::Open(arrivals), window, recorder, .. } = &mut self.stage else { return };
        let last = now.min(Nanos(window.until.0 - 1));
        let most = room.min(TURN_COMMANDS.max(self.options.batch_commands));
        for intended in std::iter::from_fn(|| arrivals.take_due(last)).take(most) {
            if self.full {
                recorder.late(intended, 1);
            }
            self.due.push_back(intended);
        }
        self.full = self.room() == 0;
        let linger = self.options.linger.as_nanos() as u64;
        while let Some(&first) = self.due.front() {
            let full = self.due.len() >= self.options.batch_commands;
            if !full && first + linger > now {
                return;
            }
            let before = self.flights.len();
            self.send_batch(now, self.due.len().min(self.options.batch_commands));
            if self.flights.len() == before {
                return;
            }
        }
    }

    /// Builds a batch of at most `commands` commands and sends it. Without a chunk to build it in,
    /// nothing is sent, and the commands stay due.
    fn send_batch(&mut self, now: Nanos, commands: usize) {
        let Some(mut chunk) = self.chunk.take().or_else(|| self.pool.take()) else { return };
        let (sequence, settled) = (self.flights.next_sequence(), self.flights.settled());
        let most = self.options.batch_bytes - BatchHead::PREFIX - self.commands.max_bytes();
        let reads = commands > 0 && self.commands.begin_batch();
        let head = BatchHead::next(self.options.id.0, sequence, settled, self.ordered);
        if !reads {
            self.ordered = Some(sequence);
        }
        let mut writer = Writer::new(&mut chunk, head);
        while (writer.commands() as usize) < commands && writer.bytes() <= most {
            writer.command(|chunk| self.commands.write(chunk));
        }
        let commands = writer.commands();
        let body = Payload::from(writer.finish());
        if chunk.capacity() < self.reserve {
            self.pool.give(chunk);
        } else {
            self.chunk = Some(chunk);
        }
        self.in_flight += commands as usize;
        let retry_at = now + self.patience_ns();
        self.retry_at = self.retry_at.min(retry_at);
        if let Some(trace) = &mut self.trace {
            trace.asked.push(Asked {
                sent_ns: now.0,
                answered_ns: Asked::UNANSWERED,
                told: 0,
                commands,
                overlapping: 0,
            });
        }
        self.transmit(body.clone(), reads);
        let open = self.due.len().min(commands as usize);
        self.flights.push(Flight::new(body, commands, reads, now, retry_at), self.due.drain(..open));
        if let Stage::Loading { recorder, .. } = &mut self.stage {
            recorder.sent(now, commands.into());
        }
    }

    /// Sends a batch to the leader, or to each replica in turn what any may answer.
    fn transmit(&mut self, body: Payload, reads: bool) {
        let to = if reads && self.options.anywhere {
            self.asked_last = NodeId((self.asked_last.0 + 1) % self.options.replicas as u32);
            self.asked_last
        } else {
            self.target
        };
        self.transmit_to(to, body, reads);
    }

    fn transmit_to(&mut self, to: NodeId, body: Payload, reads: bool) {
        let mode = self.options.reads.filter(|_| reads);
        // Other reads learn from the protocol what they must see.
        let least = if mode == Some(ReadMode::Stale) { self.seen } else { Slot::ZERO };
        let request = mode.map_or(Request::Submit, |mode| Request::Read { mode, least });
        let head = Head { body_len: body.len() as u32, ..request.head(self.options.id) };
        self.transmits.push(Transmit { to: Recipients::One(to), head, body });
    }

    fn on_frame(&mut self, now: Nanos, frame: &Frame) {
        match Request::read(&frame.head) {
            Some(Request::Applied { first, batches, slot }) => {
                let told = self.told(frame);
                self.on_slot(frame.head.from, slot);
                let to = first.saturating_add(batches).min(self.flights.next_sequence());
                (first.max(self.flights.settled())..to).for_each(|sequence| self.on_answer(now, sequence, told, None));
            }
            Some(Request::Served { sequence, slot }) => {
                let told = self.told(frame);
                self.on_slot(frame.head.from, slot);
                self.on_answer(now, sequence, told, Some(slot));
            }
            Some(Request::Redirect { sequence, leader }) => self.on_redirect(now, frame.head.from, sequence, leader),
            Some(Request::Busy { sequence }) => self.postpone(now, sequence),
            Some(Request::Submit | Request::Read { .. }) | None => {}
        }
    }

    /// A replica says how far it has come.
    fn on_slot(&mut self, from: NodeId, slot: Slot) {
        if slot >= self.seen {
            (self.seen, self.seen_at) = (slot, from);
        }
    }

    /// What an answer says, if that is to be checked.
    fn told(&self, frame: &Frame) -> u64 {
        if self.trace.is_some() { digest(&frame.body) } else { 0 }
    }

    /// A batch was answered; if beside the log, by a replica that had been delivered `slot`. An answer
    /// of the other kind is none.
    fn on_answer(&mut self, now: Nanos, sequence: u64, told: u64, slot: Option<Slot>) {
        let next = self.flights.next_sequence();
        let Some(flight) = self.flights.get_mut(sequence) else { return };
        if flight.reads != slot.is_some() || std::mem::replace(&mut flight.answered, true) {
            return;
        }
        self.in_flight -= flight.commands as usize;
        if let Some(trace) = &mut self.trace {
            let asked = &mut trace.asked[sequence as usize];
            (asked.answered_ns, asked.told, asked.overlapping) = (now.0, told, (next - sequence) as u32);
            trace.served.extend(slot.map(|slot| Served { sequence, slot: slot.0 }));
        }
        match &mut self.stage {
            Stage::Searching { answered } => *answered = true,
            // Empty batches, with which it searched, were sent before there was a recorder.
            Stage::Loading { .. } if flight.commands == 0 => {}
            Stage::Loading { recorder, .. } => {
                recorder.answered(now, flight.sent, flight.commands.into());
                let sent = flight.sent;
                self.flights.each_intended(sequence, |intended, commands| {
                    recorder.took(now, intended, sent, commands);
                });
            }
        }
    }

    /// The replica does not lead, or leads and misses this batch. If it knows who leads, off the batch goes; otherwise
    /// after a pause, to the next.
    fn on_redirect(&mut self, now: Nanos, from: NodeId, sequence: u64, leader: Option<NodeId>) {
        let known = leader.filter(|&leader| (leader.0 as usize) < self.options.replicas);
        // A replica that cannot answer a read which another may answer says nothing against the leader.
        let is_read = self.flights.get_mut(sequence).is_some_and(|flight| flight.reads);
        let is_stale = is_read && self.options.reads == Some(ReadMode::Stale);
        let may_stay = self.options.anywhere && is_read;
        // Nor does one that is behind know who leads by now.
        if !is_stale && (known.is_some() || !may_stay) {
            self.target = known.unwrap_or(NodeId((from.0 + 1) % self.options.replicas as u32));
        }
        let Some(flight) = self.flights.get_mut(sequence).filter(|flight| !flight.answered) else { return };
        flight.redirects = flight.redirects.saturating_add(1);
        flight.refused = true;
        if (known.is_some() || is_stale) && flight.redirects <= MAX_REDIRECTS {
            flight.refused = false;
            let (body, reads) = (flight.body.clone(), flight.reads);
            if is_stale && self.seen_at != from {
                self.transmit_to(self.seen_at, body, reads);
            } else {
                self.transmit(body, reads);
            }
        } else {
            self.postpone(now, sequence);
        }
    }

    fn postpone(&mut self, now: Nanos, sequence: u64) {
        if let Some(flight) = self.flights.get_mut(sequence) {
            flight.redirects = 0;
            flight.refused = true;
            flight.retry_at = now + SEARCH_PAUSE_NS;
            self.retry_at = self.retry_at.min(flight.retry_at);
        }
    }

    /// Sends again what was not answered in time, to the next replica if a whole time-out has passed.
    fn resend(&mut self, now: Nanos) {
        let pause = self.patience_ns();
        let timed_out = |flight: &&Flight| !flight.answered && now >= flight.retry_at;
        // Who was asked for a read that any replica may answer need not lead.
        let anywhere = self.options.anywhere;
        let silent = |flight: &Flight| timed_out(&flight) && now >= flight.sent + pause && !(anywhere && flight.reads);
        if self.flights.iter().any(|(_, flight)| silent(flight)) {
            self.target = NodeId((self.target.0 + 1) % self.options.replicas as u32);
        }
        let mut again = Vec::new();
        let mut next = Nanos::NEVER;
        for flight in self.flights.iter_mut() {
            if timed_out(&&*flight) {
                flight.retry_at = now + pause;
                let before = flight.copies;
                let refused = std::mem::take(&mut flight.refused);
                flight.copies = if refused && before != Copies::Unknown { Copies::More } else { Copies::Unknown };
                let commands = |is: bool| is.then_some(flight.commands);
                let first = commands(before == Copies::One);
                let unknown = commands(before != flight.copies && flight.copies == Copies::Unknown);
                again.push((flight.body.clone(), flight.reads, first, unknown));
            }
            if !flight.answered {
                next = next.min(flight.retry_at);
            }
        }
        self.retry_at = next;
        for (body, reads, first, unknown) in again {
            self.transmit(body, reads);
            if let Stage::Loading { recorder, .. } = &mut self.stage {
                recorder.resent(now, first);
                if let Some(commands) = unknown {
                    recorder.unknown(now, commands);
                }
            }
        }
    }
}
