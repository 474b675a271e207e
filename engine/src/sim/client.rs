//! A simulated client: asks a few keys of the map, several batches at a time, and misbehaves as
//! clients do. It sends again, to somebody else; it sends twice; it goes away and comes back.
//!
//! Where reads go beside the log, a batch only reads or only writes, as the measuring client's do.
//!
//! It shares the encoding with the client that measures, and nothing else: no schedule, no timing, but
//! every operation noted, from its invocation to its return.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Prng, ReadMode, Slot};

use super::checks::{Checks, Read, Violation};
use crate::batch::{BatchHead, Writer};
use crate::machine::KvCommand;
use crate::request::Request;
use crate::spec::ReadsMode;

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How many there are.
    pub count: usize,
    /// Most commands in a batch.
    pub commands: u64,
    /// Bytes of a value.
    pub payload: usize,
    /// Keys that they share.
    pub keys: u64,
    /// Of a hundred commands, so many read; beside the log, of a hundred batches.
    pub reads: u64,
    /// How they do.
    pub mode: ReadsMode,
    /// The mean time from one look at things to the next; each brings at most one new batch.
    pub interval_ns: u64,
    /// Most batches in flight.
    pub in_flight: usize,
    /// When an unanswered batch is sent again.
    pub resend_ns: u64,
    /// Of a hundred batches, so many are sent twice.
    pub duplicates: u64,
}

impl ClientOptions {
    /// There are no more keys than this.
    pub const MOST_KEYS: u64 = 62;
}

/// What a client asked and was told: the stuff that histories are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The client's node id.
    pub client: u32,
    /// What it asked.
    pub command: Command,
    /// Of which key.
    pub key: u8,
    /// When.
    pub invoked: Nanos,
    /// When it was told; `None` if it never was.
    pub returned: Option<Nanos>,
    /// It asked for what may be old: no order of all operations need explain what it was told.
    pub stale: bool,
}

/// A key as it stands in a command: a byte that can be printed.
pub(super) const fn key_byte(key: u8) -> u8 {
    KEYS[key as usize]
}

const KEYS: &[u8; ClientOptions::MOST_KEYS as usize] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A command and its outcome. A value is a number that no other command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read, and what was found once it returned.
    Get(Option<u64>),
    /// Written.
    Put(u64),
    /// Removed.
    Delete,
}

#[derive(Debug)]
pub(super) struct Client {
    id: NodeId,
    replicas: u64,
    options: ClientOptions,
    prng: Prng,
    /// Whom it takes for the leader.
    target: NodeId,
    /// Batches from the first unanswered one on, in order of sequence.
    flights: VecDeque<Flight>,
    /// The sequence of the first flight.
    settled: u64,
    /// The last batch that goes through the log.
    ordered: Option<u64>,
    chunk: BytesMut,
    values: u64,
    pub(super) operations: Vec<Operation>,
    /// To send: by recipient.
    pub(super) outbox: Vec<(NodeId, Frame)>,
    pub(super) duplicates: u64,
    /// It hears and says nothing before this.
    pub(super) away_until: Nanos,
    /// New batches that it may still begin.
    pub(super) budget: u64,
    /// It does not always ask whom it takes for the leader.
    strays: bool,
}

/// Beyond it, patience does not grow.
const MOST_DOUBLINGS: u32 = 3;
const STRAYS_ONE_IN: u64 = 4;
const STALE: Request = read_as(ReadMode::Stale);

#[derive(Debug)]
struct Flight {
    body: Payload,
    /// How it is asked: to order, or to read.
    request: Request,
    answered: bool,
    retry_at: Nanos,
    /// How often it was sent again. After each round of all replicas it waits twice as long, up to a bound,
    /// and not exactly, so that clients which lost the same leader do not come back together.
    retries: u32,
    /// Its operations: the first, and how many.
    first: usize,
    count: usize,
}

impl Client {
    pub(super) fn new(id: NodeId, replicas: usize, options: ClientOptions, prng: Prng) -> Self {
        Self {
            id,
            replicas: replicas as u64,
            prng,
            target: NodeId(0),
            flights: VecDeque::new(),
            settled: 0,
            ordered: None,
            chunk: BytesMut::new(),
            values: 0,
            operations: Vec::new(),
            outbox: Vec::new(),
            duplicates: 0,
            away_until: Nanos::ZERO,
            budget: u64::MAX,
            strays: options.mode != ReadsMode::Log,
            options,
        }
    }

    /// The same client, which asks this replica first.
    pub(super) fn aimed_at(self, target: NodeId) -> Self {
        Self { target, ..self }
    }

    /// It is back for good, begins little more, and goes straight to where it is sent. A client that strays reaches
    /// the leader in bounded time only by luck: it may stray after each redirection, and nobody can answer what is
    /// not asked.
    pub(super) fn calm_down(&mut self) {
        (self.away_until, self.budget, self.strays) = (Nanos::ZERO, 2, false);
    }

    /// Looks at things: begins a batch, sends again what is not answered. When it looks next.
    pub(super) fn turn(&mut self, now: Nanos, checks: &mut Checks) -> Nanos {
        if now < self.away_until {
            return self.away_until;
        }
        if self.flights.len() < self.options.in_flight && self.budget > 0 {
            self.budget -= 1;
            self.begin(now, checks);
        }
        self.send_again(now);
        now + 1 + self.prng.below(2 * self.options.interval_ns)
    }

    /// Whether it waits for nothing and will ask nothing more.
    pub(super) fn is_done(&self) -> bool {
        self.budget == 0 && self.flights.is_empty()
    }

    /// Batches that it waits for.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.iter().filter(|flight| !flight.answered).count()
    }

    fn begin(&mut self, now: Nanos, checks: &mut Checks) {
        let sequence = self.settled + self.flights.len() as u64;
        let first = self.operations.len();
        let count = 1 + self.prng.below(self.options.commands) as usize;
        let most =
            BatchHead::BYTES + count * (BatchHead::PREFIX + KvCommand::OVERHEAD + 1 + self.options.payload.max(8));
        if self.chunk.capacity() < most {
            self.chunk = BytesMut::with_capacity(most.max(16 << 10));
        }
        let beside = self.options.mode.beside_the_log();
        let all_read = beside.is_some() && self.prng.below(100) < self.options.reads;
        let read = beside.filter(|_| all_read);
        let head = BatchHead::next(self.id.0, sequence, self.settled, self.ordered);
        if read.is_none() {
            self.ordered = Some(sequence);
        }
        let mut writer = Writer::new(&mut self.chunk, head);
        for _ in 0..count {
            let key = self.prng.below(self.options.keys) as u8;
            let reads = if beside.is_some() { all_read } else { self.prng.below(100) < self.options.reads };
            let command = if reads {
                Command::Get(None)
            } else if self.prng.below(8) == 0 {
                Command::Delete
            } else {
                self.values += 1;
                Command::Put(u64::from(self.id.0) << 40 | self.values)
            };
            let stale = read == Some(ReadMode::Stale);
            self.operations.push(Operation { client: self.id.0, command, key, invoked: now, returned: None, stale });
            let padding = self.options.payload.saturating_sub(8);
            writer.command(|chunk| write(command, key, padding, chunk));
        }
        let body = Payload::from(writer.finish());
        checks.on_invoke(self.id.0, sequence, read.map(|mode| Read { mode, body: body.clone() }));
        let request = read.map_or(Request::Submit, read_as);
        let retry_at = now + self.options.resend_ns;
        let flight = Flight { body: body.clone(), request, answered: false, retry_at, retries: 0, first, count };
        self.flights.push_back(flight);
        if self.prng.below(100) < self.options.duplicates {
            self.duplicates += 1;
            let anyone = self.anyone();
            self.send(anyone, request, body.clone());
        }
        self.ask(request, body);
    }

    fn send_again(&mut self, now: Nanos) {
        let mut due = Vec::new();
        for flight in self.flights.iter_mut().filter(|flight| !flight.answered && flight.retry_at <= now) {
            flight.retries += 1;
            // A round of all replicas, of which some are gone, costs no more patience than one of them.
            let rounds = flight.retries.div_ceil(self.replicas as u32);
            let wait = self.options.resend_ns << rounds.min(MOST_DOUBLINGS);
            flight.retry_at = now + wait / 2 + self.prng.below(wait / 2 + 1);
            due.push((flight.request, flight.body.clone()));
        }
        // A stale read says nothing of the leader.
        let silent = due.iter().any(|&(request, _)| request != STALE);
        for (request, body) in due {
            self.ask(request, body);
        }
        if !silent {
            return;
        }
        // If that is not the leader either, the next attempt goes elsewhere, and sooner or later to everyone.
        self.target = NodeId((self.target.0 + 1) % self.replicas as u32);
    }

    /// Asks whom it takes for the leader; or, for what may be old, anyone. Where reads go beside the log it
    /// strays now and then, as long as anything may break: so clients find a new leader soon, and ask an old
    /// one for long.
    fn ask(&mut self, request: Request, body: Payload) {
        let strays = self.strays && self.prng.below(STRAYS_ONE_IN) == 0;
        let to = if request == STALE || strays { self.anyone() } else { self.target };
        self.send(to, request, body);
    }

    fn anyone(&mut self) -> NodeId {
        NodeId(self.prng.below(self.replicas) as u32)
    }

    fn send(&mut self, to: NodeId, request: Request, body: Payload) {
        let head = Head { body_len: body.len() as u32, ..request.head(self.id) };
        self.outbox.push((to, Frame { head, body }));
    }

    /// A replica says something. How many batches are answered by it.
    pub(super) fn on_frame(&mut self, now: Nanos, frame: &Frame, checks: &mut Checks) -> Result<u64, Violation> {
        if now < self.away_until {
            return Ok(0);
        }
        match Request::read(&frame.head) {
            Some(Request::Applied { first, batches, .. }) => {
                self.target = frame.head.from;
                (first..first + batches).try_fold(0, |sum, sequence| {
                    let results = frame.body.pieces().concat();
                    checks.on_reply(self.id.0, sequence, &results, now)?;
                    Ok(sum + u64::from(self.settle(now, sequence, &results)))
                })
            }
            Some(Request::Served { sequence, slot }) => {
                let results = frame.body.pieces().concat();
                checks.on_served(self.id.0, sequence, &results, slot, now)?;
                if self.options.mode != ReadsMode::Stale {
                    // In ZAB it need not lead: reads go on to whoever serves them, until a write is redirected.
                    self.target = frame.head.from;
                }
                Ok(u64::from(self.settle(now, sequence, &results)))
            }
            Some(Request::Redirect { sequence, leader }) => {
                let Some(leader) = leader else { return Ok(0) };
                self.target = leader;
                // With the next look at things: two replicas may point at each other.
                if let Some(flight) = self.flight(sequence) {
                    flight.retry_at = now;
                }
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    fn flight(&mut self, sequence: u64) -> Option<&mut Flight> {
        self.flights.get_mut(usize::try_from(sequence.checked_sub(self.settled)?).ok()?)
    }

    /// Whether that is news.
    fn settle(&mut self, now: Nanos, sequence: u64, results: &[u8]) -> bool {
        let Some(flight) = self.flight(sequence).filter(|flight| !flight.answered) else { return false };
        flight.answered = true;
        let range = flight.first..flight.first + flight.count;
        let mut results = results;
        for operation in &mut self.operations[range] {
            operation.returned = Some(now);
            let value = read(&mut results);
            if let Command::Get(found) = &mut operation.command {
                *found = value;
            }
        }
        while self.flights.front().is_some_and(|flight| flight.answered) {
            self.flights.pop_front();
            self.settled += 1;
        }
        true
    }
}

/// It asks for no slot that it has seen, so that a replica which is behind answers, and is judged by whether that was once
/// true. What a client is promised besides, measured runs are held to.
const fn read_as(mode: ReadMode) -> Request {
    Request::Read { mode, least: Slot::ZERO }
}

fn write(command: Command, key: u8, padding: usize, chunk: &mut BytesMut) {
    let key = &[key_byte(key)][..];
    match command {
        Command::Get(_) => KvCommand::Get(key).write(chunk),
        Command::Delete => KvCommand::Delete(key).write(chunk),
        Command::Put(value) => KvCommand::write_put(chunk, key, |chunk| {
            chunk.put_u64_le(value);
            chunk.put_bytes(0, padding);
        }),
    }
}

/// The next result's value: the number that it begins with. The checkers have compared every byte.
fn read(results: &mut &[u8]) -> Option<u64> {
    let (head, rest) = results.split_first_chunk::<5>()?;
    let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let (value, rest) = rest.split_at_checked(len)?;
    *results = rest;
    value.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
