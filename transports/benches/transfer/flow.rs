//! Frames one way in batches, and one frame back and forth.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::{Clock, Counters, MOST_LOOKS, Transport};
use rustix::time::{ClockId, clock_gettime};

use crate::ends::Ends;

/// What a number of frames cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) frames: u64,
    pub(crate) wall: Duration,
    /// Of the whole process: both ends.
    pub(crate) cpu: Duration,
    pub(crate) counters: Counters,
}

pub(crate) struct Meter(Instant, Duration);

impl Meter {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    pub(crate) fn stop(&self, frames: u64, counters: Counters) -> Cost {
        Cost { frames, wall: self.0.elapsed(), cpu: cpu().saturating_sub(self.1), counters }
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("it does not go back")
}

/// How far a sender may be ahead of what the receiver has said it has.
const WINDOW_BYTES: usize = 4 << 20;
/// What goes ahead of a measurement, so that windows and buffers have grown.
pub(crate) const WARM_UP_FRAMES: u64 = 50_000;
const WARM_UP_BYTES: u64 = 64 << 20;
pub(crate) const LEAST_BATCHES: u64 = 4000;
const STOP: u64 = u64::MAX;
const PATIENCE_NS: u64 = 5_000_000_000;

fn transmit(from: u32, number: u64, body: &Payload) -> Transmit {
    let head = Head {
        kind: 1,
        from: NodeId(from),
        body_len: body.len() as u32,
        words: [number, 0, 0, 0, 0, 0],
        ..Head::default()
    };
    Transmit { to: Recipients::One(NodeId(1 - from)), head, body: body.clone() }
}

fn soon(transport_clock: Clock) -> Nanos {
    transport_clock.now() + PATIENCE_NS
}

/// `frames` frames of `payload` bytes in batches of `batch`.
pub(crate) fn one_way<T: Transport + 'static>(ends: Ends<T>, frames: u64, batch: usize, payload: usize) -> Cost {
    let window = (WINDOW_BYTES / (Head::BYTES + payload)).min(ends.most_frames).max(2 * batch) as u64;
    let receiver = thread::spawn(move || receive_all((ends.receiver)(), window / 4));
    let mut sender = Sender::connect((ends.sender)(), window, payload);
    sender.send(WARM_UP_FRAMES.min(WARM_UP_BYTES / (Head::BYTES + payload) as u64), batch);
    let (before, meter) = (sender.transport.counters(), Meter::start());
    sender.send(frames, batch);
    let cost = meter.stop(frames, sender.transport.counters().since(before));
    let dropped = sender.transport.counters().dropped_frames;
    assert_eq!(dropped, sender.dropped, "the window keeps the link from overflowing");
    sender.stop();
    receiver.join().expect("the receiver is fine");
    cost
}

struct Sender<T> {
    transport: T,
    body: Payload,
    window: u64,
    sent: u64,
    come: u64,
    dropped: u64,
    clock: Clock,
    inbox: Vec<Frame>,
    out: Vec<Transmit>,
}

impl<T: Transport> Sender<T> {
    fn connect(mut transport: T, window: u64, payload: usize) -> Self {
        let (clock, mut inbox, mut out) = (Clock::start(), Vec::new(), Vec::new());
        while inbox.is_empty() {
            transport.recv(clock.now() + 1_000_000, &mut inbox).expect("it works");
        }
        out.clear();
        let dropped = transport.counters().dropped_frames;
        let body = Bytes::from(vec![7; payload]).into();
        Self { transport, body, window, sent: 0, come: 0, dropped, clock, inbox: Vec::new(), out }
    }

    /// Sends, and waits until it has all come.
    fn send(&mut self, frames: u64, batch: usize) {
        let end = self.sent + frames;
        while self.sent < end {
            let count = (batch as u64).min(end - self.sent);
            self.out.extend((0..count).map(|at| transmit(0, self.sent + at, &self.body)));
            self.sent += count;
            self.transport.send(&mut self.out).expect("it works");
            self.turn(Nanos::ZERO);
            while self.sent - self.come + batch as u64 > self.window {
                self.wait();
            }
        }
        let all = transmit(0, self.sent, &Payload::EMPTY);
        self.out.push(Transmit { head: Head { flags: 1, ..all.head }, ..all });
        self.transport.send(&mut self.out).expect("it works");
        while self.come < end {
            self.wait();
        }
    }

    /// Until the receiver says something. It does not if frames are missing.
    fn wait(&mut self) {
        let deadline = soon(self.clock);
        self.turn(deadline);
        assert!(self.clock.now() < deadline, "the receiver has {} of {} frames", self.come, self.sent);
    }

    fn turn(&mut self, deadline: Nanos) {
        self.transport.recv(deadline, &mut self.inbox).expect("it works");
        for frame in self.inbox.drain(..) {
            self.come = self.come.max(frame.head.words[0]);
        }
    }

    fn stop(&mut self) {
        self.out.push(transmit(0, STOP, &Payload::EMPTY));
        self.transport.send(&mut self.out).expect("it works");
        (0..MOST_LOOKS).for_each(|_| self.turn(Nanos::ZERO));
    }
}

/// Takes everything until it is told to stop, and says every `every` frames how far it has come.
fn receive_all<T: Transport>(mut transport: T, every: u64) {
    let (clock, mut inbox, mut come, mut told) = (Clock::start(), Vec::new(), 0, 0);
    while inbox.is_empty() {
        transport.send(&mut vec![transmit(1, 0, &Payload::EMPTY)]).expect("it works");
        transport.recv(clock.now() + 1_000_000, &mut inbox).expect("it works");
    }
    loop {
        let mut all = false;
        for frame in inbox.drain(..) {
            match (frame.head.words[0], frame.head.flags) {
                (STOP, _) => return,
                (_, 1) => all = true,
                _ => come += 1,
            }
            black_box(&frame.body);
        }
        if all || come - told >= every {
            told = come;
            transport.send(&mut vec![transmit(1, come, &Payload::EMPTY)]).expect("it works");
        }
        transport.recv(soon(clock), &mut inbox).expect("it works");
    }
}

/// One frame there and back, again and again.
pub(crate) fn ping_pong<T: Transport + 'static>(ends: Ends<T>, rounds: u64) -> Cost {
    let echo = thread::spawn(move || {
        let (mut transport, clock, mut inbox) = ((ends.receiver)(), Clock::start(), Vec::new());
        let mut out = Vec::new();
        loop {
            transport.recv(soon(clock), &mut inbox).expect("it works");
            for frame in inbox.drain(..) {
                if frame.head.words[0] == STOP {
                    return;
                }
                out.push(transmit(1, frame.head.words[0], &Payload::EMPTY));
            }
            transport.send(&mut out).expect("it works");
        }
    });
    let (mut transport, clock, mut inbox) = ((ends.sender)(), Clock::start(), Vec::new());
    let mut out = Vec::new();
    while inbox.is_empty() {
        out.push(transmit(0, 0, &Payload::EMPTY));
        transport.send(&mut out).expect("it works");
        transport.recv(clock.now() + 10_000_000, &mut inbox).expect("it works");
    }
    thread::sleep(Duration::from_millis(5));
    transport.recv(Nanos::ZERO, &mut inbox).expect("it works");
    let (before, meter) = (transport.counters(), Meter::start());
    for number in 1..=rounds {
        out.push(transmit(0, number, &Payload::EMPTY));
        transport.send(&mut out).expect("it works");
        inbox.clear();
        while inbox.is_empty() {
            transport.recv(soon(clock), &mut inbox).expect("it works");
        }
    }
    let cost = meter.stop(rounds, transport.counters().since(before));
    out.push(transmit(0, STOP, &Payload::EMPTY));
    transport.send(&mut out).expect("it works");
    (0..MOST_LOOKS).for_each(|_| transport.recv(Nanos::ZERO, &mut inbox).expect("it works"));
    echo.join().expect("the echo is fine");
    cost
}
