//! A transport's own speed of light: frames one way in batches, and one frame back and forth.
//!
//! Beside each stands the raw loop (a ring and a socket with nothing on top). Criterion shows wall
//! time; the line after each shows the CPU that both ends spent, and system calls and copied bytes.
//!
//! A row is added by a function that makes two connected ends, each on the thread that calls it.

use std::hint::black_box;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Recipients, Transmit};
use quorumbench_transports::quic::{Authority, Cipher, Congestion, Quic, QuicOptions};
use quorumbench_transports::tokio_tcp::TokioTcp;
use quorumbench_transports::uring::{Capabilities, Uring};
use quorumbench_transports::{Clock, Counters, Mesh, Options, Role, Transport, Wait, mem};
use rustix::time::{ClockId, clock_gettime};

#[path = "transfer/raw.rs"]
mod raw;

/// Two ends, each to be made on its own thread.
struct Ends<T> {
    sender: Box<dyn FnOnce() -> T + Send>,
    /// Receives, or echoes.
    receiver: Box<dyn FnOnce() -> T + Send>,
    /// How many frames may be under way before some are dropped.
    most_frames: usize,
}

fn mem_ends(options: &Options) -> Ends<mem::Mem> {
    let mut nodes = mem::mesh(2, Clock::start(), options);
    let (one, zero) = (nodes.pop().expect("two"), nodes.pop().expect("two"));
    Ends { sender: Box::new(|| zero), receiver: Box::new(|| one), most_frames: 4096 }
}

fn uring_ends(options: &Options) -> Ends<Uring> {
    socket_ends(options, |mesh| Uring::join(mesh).expect("a ring"))
}

/// As on a kernel where a receive takes its whole buffer.
fn uring_6_1_ends(options: &Options) -> Ends<Uring> {
    let join = |mesh| Uring::join_with(mesh, Capabilities { incremental: false, zero_copy: true }).expect("a ring");
    socket_ends(options, join)
}

fn tokio_tcp_ends(options: &Options) -> Ends<TokioTcp> {
    socket_ends(options, |mesh| TokioTcp::join(mesh).expect("it joins"))
}

fn quic_ends(options: &Options) -> Ends<Quic> {
    socket_ends(options, |mesh| Quic::join(mesh).expect("it joins"))
}

/// Ends over a real socket, by how a node joins.
fn socket_ends<T: 'static>(options: &Options, join: fn(Mesh) -> T) -> Ends<T> {
    let (clock, listener) = (Clock::start(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let dial = vec![(NodeId(0), listener.local_addr().expect("an address"))];
    let authority = Authority::new(1).expect("there is randomness");
    let mesh = |id, listener, dial| Mesh {
        run: 1,
        id: NodeId(id),
        role: Role::Replica,
        listener,
        dial,
        credentials: Some(authority.admit(NodeId(id)).expect("there is randomness")),
        clock,
        options: options.clone(),
    };
    let (zero, one) = (mesh(0, Some(listener), Vec::new()), mesh(1, None, dial));
    Ends { sender: Box::new(move || join(zero)), receiver: Box::new(move || join(one)), most_frames: usize::MAX }
}

/// What a number of frames cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    frames: u64,
    wall: Duration,
    /// Of the whole process: both ends.
    cpu: Duration,
    counters: Counters,
}

struct Meter(Instant, Duration);

impl Meter {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn stop(&self, frames: u64, counters: Counters) -> Cost {
        Cost { frames, wall: self.0.elapsed(), cpu: cpu().saturating_sub(self.1), counters }
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("it does not go back")
}

/// How far a sender may be ahead of what the receiver has said it has.
const WINDOW_BYTES: usize = 4 << 20;
/// What goes ahead of a measurement, so that windows and buffers have grown.
const WARM_UP_FRAMES: u64 = 50_000;
const LEAST_BATCHES: u64 = 4000;
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
fn one_way<T: Transport + 'static>(ends: Ends<T>, frames: u64, batch: usize, payload: usize) -> Cost {
    let window = (WINDOW_BYTES / (Head::BYTES + payload)).min(ends.most_frames).max(2 * batch) as u64;
    let receiver = thread::spawn(move || receive_all((ends.receiver)(), window / 4));
    let mut sender = Sender::connect((ends.sender)(), window, payload);
    sender.send(WARM_UP_FRAMES, batch);
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
                self.turn(soon(self.clock));
            }
        }
        let all = transmit(0, self.sent, &Payload::EMPTY);
        self.out.push(Transmit { head: Head { flags: 1, ..all.head }, ..all });
        self.transport.send(&mut self.out).expect("it works");
        while self.come < end {
            self.turn(soon(self.clock));
        }
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
        self.transport.recv(Nanos::ZERO, &mut self.inbox).expect("it works");
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
fn ping_pong<T: Transport + 'static>(ends: Ends<T>, rounds: u64) -> Cost {
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
    transport.recv(Nanos::ZERO, &mut inbox).expect("it works");
    echo.join().expect("the echo is fine");
    cost
}

fn raw_ends() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    let (other, _) = listener.accept().expect("it was dialled");
    for stream in [&stream, &other] {
        stream.set_nodelay(true).expect("an option");
        rustix::net::sockopt::set_tcp_congestion(stream, "cubic").expect("an option");
    }
    (stream, other)
}

fn raw_one_way(frames: u64, batch: usize, payload: usize) -> Cost {
    let (from, to) = raw_ends();
    let frame = Head::BYTES + payload;
    let total = (frames + WARM_UP_FRAMES) as usize * frame;
    let receiver = thread::spawn(move || {
        let (mut end, mut received) = (raw::End::new(to), 0);
        while received < total {
            received += end.receive();
        }
    });
    let bytes = vec![7; batch * frame];
    let mut end = raw::End::new(from);
    let mut send = |frames: u64| {
        let mut left = frames as usize * frame;
        while left > 0 {
            let part = left.min(bytes.len());
            end.send(&bytes[..part]);
            left -= part;
        }
    };
    send(WARM_UP_FRAMES);
    let meter = Meter::start();
    send(frames);
    receiver.join().expect("the receiver is fine");
    meter.stop(frames, Counters::default())
}

fn raw_ping_pong(rounds: u64) -> Cost {
    let (from, to) = raw_ends();
    let echo = thread::spawn(move || {
        let (mut end, bytes) = (raw::End::new(to), [7; Head::BYTES]);
        end.receive();
        for _ in 1..rounds {
            end.exchange(&bytes);
        }
        end.send(&bytes);
    });
    let (mut end, bytes) = (raw::End::new(from), [7; Head::BYTES]);
    let meter = Meter::start();
    end.send(&bytes);
    end.receive();
    for _ in 1..rounds {
        end.exchange(&bytes);
    }
    let cost = meter.stop(rounds, Counters::default());
    echo.join().expect("the echo is fine");
    cost
}

/// Runs one row: criterion measures wall time, and the rest of the cost is said after it. At least
/// `least` frames are sent, because a short run measures how it starts.
fn row(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    id: BenchmarkId,
    least: u64,
    run: impl Fn(u64) -> Cost,
) {
    let spent = Mutex::new(Cost::default());
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|frames| {
            let cost = run(frames.max(least));
            let mut spent = spent.lock().expect("one thread");
            // The longest run says it best.
            if cost.frames >= spent.frames {
                *spent = cost;
            }
            cost.wall.mul_f64(frames as f64 / cost.frames as f64)
        });
    });
    let Cost { frames, cpu, counters, .. } = *spent.lock().expect("one thread");
    let each = |value: u64| value as f64 / frames.max(1) as f64;
    println!(
        "{:24}CPU of both ends {:.1} ns, sender's system calls {:.4}, copied bytes {:.1} a frame",
        "",
        each(cpu.as_nanos() as u64),
        each(counters.syscalls),
        each(counters.copied_bytes)
    );
}

fn transfer(criterion: &mut Criterion) {
    let options = Options::default();
    for payload in [0, 1024] {
        let mut group = criterion.benchmark_group(format!("one-way/{}B", Head::BYTES + payload));
        group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
        group.throughput(Throughput::Elements(1));
        for batch in [1, 8, 128] {
            let id = |name| BenchmarkId::new(name, batch);
            let least = LEAST_BATCHES * batch as u64;
            row(&mut group, id("raw"), least, |frames| raw_one_way(frames, batch, payload));
            row(&mut group, id("uring"), least, |frames| one_way(uring_ends(&options), frames, batch, payload));
            row(&mut group, id("uring-6.1"), least, |frames| one_way(uring_6_1_ends(&options), frames, batch, payload));
            row(&mut group, id("tokio-tcp"), least, |frames| one_way(tokio_tcp_ends(&options), frames, batch, payload));
            row(&mut group, id("quic"), least, |frames| one_way(quic_ends(&options), frames, batch, payload));
            row(&mut group, id("mem"), least, |frames| one_way(mem_ends(&options), frames, batch, payload));
        }
    }
    let spin = Options { wait: Wait::Spin, ..options.clone() };
    let mut group = criterion.benchmark_group("ping-pong");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let id = BenchmarkId::from_parameter::<&str>;
    row(&mut group, id("raw"), LEAST_BATCHES, raw_ping_pong);
    row(&mut group, id("uring"), LEAST_BATCHES, |rounds| ping_pong(uring_ends(&options), rounds));
    row(&mut group, id("uring-spin"), LEAST_BATCHES, |rounds| ping_pong(uring_ends(&spin), rounds));
    row(&mut group, id("tokio-tcp"), LEAST_BATCHES, |rounds| ping_pong(tokio_tcp_ends(&options), rounds));
    row(&mut group, id("tokio-tcp-spin"), LEAST_BATCHES, |rounds| ping_pong(tokio_tcp_ends(&spin), rounds));
    row(&mut group, id("quic"), LEAST_BATCHES, |rounds| ping_pong(quic_ends(&options), rounds));
    row(&mut group, id("quic-spin"), LEAST_BATCHES, |rounds| ping_pong(quic_ends(&spin), rounds));
    row(&mut group, id("mem"), LEAST_BATCHES, |rounds| ping_pong(mem_ends(&options), rounds));
    row(&mut group, id("mem-spin"), LEAST_BATCHES, |rounds| ping_pong(mem_ends(&spin), rounds));
}

/// From which payload on an entry in a gather list is cheaper than a copy: the same frames both ways.
fn gather(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gather");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.throughput(Throughput::Elements(1));
    for payload in [128, 256, 512, 1024, 2048, 4096] {
        for (name, gather_threshold) in [("copied", usize::MAX), ("by-handle", 0)] {
            let options = Options { gather_threshold, ..Options::default() };
            let run = |frames| one_way(uring_ends(&options), frames, 128, payload);
            row(&mut group, BenchmarkId::new(name, payload), LEAST_BATCHES * 128, run);
        }
    }
}

/// What each knob of `quic` does to small and to middling frames; the defaults are the first of each.
fn quic(criterion: &mut Criterion) {
    let default = QuicOptions::default;
    let mut kinds = vec![("default".to_owned(), default())];
    kinds.push(("chacha20".into(), QuicOptions { cipher: Cipher::ChaCha20, ..default() }));
    for mtu in [1452, 8192, 32_768, 65_507] {
        kinds.push((format!("mtu-{mtu}"), QuicOptions { mtu, ..default() }));
    }
    for ack_every in [2, 100] {
        kinds.push((format!("ack-{ack_every}"), QuicOptions { ack_every, ..default() }));
    }
    for window in [1 << 20, 16 << 20] {
        kinds.push((format!("window-{window}"), QuicOptions { window, ..default() }));
    }
    kinds.push(("new-reno".into(), QuicOptions { congestion: Congestion::NewReno, ..default() }));
    kinds.push(("bbr".into(), QuicOptions { congestion: Congestion::Bbr, ..default() }));
    for payload in [0, 1024] {
        let mut group = criterion.benchmark_group(format!("quic/{}B", Head::BYTES + payload));
        group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
        group.throughput(Throughput::Elements(1));
        for (name, quic) in &kinds {
            let options = Options { quic: quic.clone(), ..Options::default() };
            let run = |frames| one_way(quic_ends(&options), frames, 128, payload);
            row(&mut group, BenchmarkId::from_parameter(name), LEAST_BATCHES * 128, run);
        }
    }
}

criterion_group!(benches, transfer, gather, quic);
criterion_main!(benches);
