//! A transport's own speed of light: frames one way in batches, and one frame back and forth.
//!
//! Beside each stands the raw loop (a ring and a socket with nothing on top). Criterion shows wall
//! time; the line after each shows the CPU that both ends spent, and system calls and copied bytes.
//!
//! A row is added by a function that makes two connected ends, each on the thread that calls it.

use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench_protocols::Head;
use quorumbench_transports::quic::{Cipher, Congestion, QuicOptions};
use quorumbench_transports::{Counters, Options, Wait};

#[path = "transfer/ends.rs"]
mod ends;
#[path = "transfer/flow.rs"]
mod flow;
#[path = "transfer/raw.rs"]
mod raw;

use ends::{mem_ends, quic_ends, tokio_tcp_ends, uring_6_1_ends, uring_ends};
use flow::{Cost, LEAST_BATCHES, Meter, WARM_UP_FRAMES, one_way, ping_pong};

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
