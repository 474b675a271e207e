//! A log's speed of light: synced appends to a file that was filled with zeros, so that no metadata
//! changes.
//!
//! Each append is one write that asks for a sync; so many are in flight, and who is over is begun
//! anew. The line after each row shows the CPU that the process spent, the ring's workers in the
//! kernel included, and system calls and syncs, an append. A disk that others share
//! may hold back who syncs much: wall times tell nothing then, and the rest still does.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench_protocols::{Frame, NodeId};
use quorumbench_transports::gather::Gather;
use quorumbench_transports::storage::{AlignedBuffer, FileBytes, FileWrite};
use quorumbench_transports::uring::{Uring, probe};
use quorumbench_transports::{Clock, Counters, Mesh, Options, Role, Transport, mem};
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

const FILE_BYTES: u64 = 64 << 20;
/// A batch's header, which is staged; the rest is held.
const HEADER: usize = 64;
const PATIENCE_NS: u64 = 10_000_000_000;

/// A file full of zeros, that many bytes long.
struct Log(PathBuf);

impl Log {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("storage-{}", std::process::id()));
        let mut file = File::create(&path).expect("a file");
        let zeros = vec![0; FILE_BYTES as usize];
        file.write_all(&zeros).expect("room for it");
        file.sync_all().expect("a disk");
        Self(path)
    }

    fn open(&self, flags: OFlags) -> Arc<File> {
        let file = rustix::fs::open(&self.0, OFlags::WRONLY | OFlags::CLOEXEC | flags, Mode::empty());
        Arc::new(file.expect("the file system can do that").into())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What goes into one append.
fn batch(len: usize, direct: bool) -> FileBytes {
    if direct {
        let mut block = AlignedBuffer::default();
        block.resize(len);
        block.as_mut_slice().fill(7);
        return FileBytes::Aligned(block);
    }
    let mut gather = Gather::default();
    gather.append(&[7; HEADER]);
    gather.append_payload(&Bytes::from(vec![7; len - HEADER]).into(), 0);
    FileBytes::Gathered(gather)
}

/// A node alone.
fn ring(clock: Clock) -> Uring {
    let (role, options) = (Role::Replica, Options::default());
    let mesh =
        Mesh { run: 1, id: NodeId(0), role, listener: None, dial: Vec::new(), credentials: None, clock, options };
    Uring::join(mesh).expect("a ring")
}

fn thread(clock: Clock) -> mem::Mem {
    mem::mesh(1, clock, &Options::default()).remove(0)
}

#[derive(Clone, Copy, Default)]
struct Cost {
    appends: u64,
    wall: Duration,
    cpu: Duration,
    counters: Counters,
}

fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("it does not go back")
}

/// So many appends of `len` bytes, `depth` of them in flight.
fn append(node: &mut impl Transport, clock: Clock, file: &Arc<File>, appends: u64, len: usize, depth: usize) -> Cost {
    let direct = rustix::fs::fcntl_getfl(file).expect("it is open").contains(OFlags::DIRECT);
    let mut idle: Vec<FileBytes> = (0..depth).map(|_| batch(len, direct)).collect();
    let (mut begun, mut over, mut done) = (0, 0, Vec::new());
    let mut inbox: Vec<Frame> = Vec::new();
    let (before, start, cpu_before) = (node.counters(), Instant::now(), cpu());
    while over < appends {
        for bytes in idle.drain(..idle.len().min((appends - begun) as usize)) {
            let offset = begun * len as u64 % FILE_BYTES;
            let write = FileWrite { id: begun, file: file.clone(), offset, bytes, sync: true };
            node.write_file(write).expect("it begins");
            begun += 1;
        }
        node.recv(clock.now() + PATIENCE_NS, &mut inbox).expect("it works");
        node.written(&mut done);
        over += done.len() as u64;
        for written in done.drain(..) {
            written.result.expect("it is written");
            idle.push(written.bytes);
        }
    }
    Cost {
        appends,
        wall: start.elapsed(),
        cpu: cpu().saturating_sub(cpu_before),
        counters: node.counters().since(before),
    }
}

/// Criterion shows wall time, and the rest of the cost is said after it.
fn row(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    id: BenchmarkId,
    mut run: impl FnMut(u64) -> Cost,
) {
    let spent = Mutex::new(Cost::default());
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|appends| {
            let cost = run(appends);
            let mut spent = spent.lock().expect("one thread");
            // The longest run says it best.
            if cost.appends >= spent.appends {
                *spent = cost;
            }
            cost.wall
        });
    });
    let Cost { appends, cpu, counters, .. } = *spent.lock().expect("one thread");
    let each = |value: u64| value as f64 / appends.max(1) as f64;
    println!(
        "{:24}CPU {:.1} us, system calls {:.2}, syncs {:.2} an append",
        "",
        each(cpu.as_nanos() as u64) / 1e3,
        each(counters.syscalls),
        each(counters.file_syncs)
    );
}

fn storage(criterion: &mut Criterion) {
    let (log, clock) = (Log::new(), Clock::start());
    let (cached, direct) = (log.open(OFlags::empty()), log.open(OFlags::DIRECT));
    for len in [4 << 10, 64 << 10] {
        let mut group = criterion.benchmark_group(format!("synced-append/{}KiB", len >> 10));
        group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
        group.throughput(Throughput::Elements(1));
        for depth in [1, 4, 16] {
            for (name, file) in [("ring", &cached), ("ring-direct", &direct)] {
                if let Err(error) = probe() {
                    println!("{name}: not measured: {error}");
                    continue;
                }
                let mut node = ring(clock);
                row(&mut group, BenchmarkId::new(name, depth), |n| append(&mut node, clock, file, n, len, depth));
            }
            for (name, file) in [("thread", &cached), ("thread-direct", &direct)] {
                let mut node = thread(clock);
                row(&mut group, BenchmarkId::new(name, depth), |n| append(&mut node, clock, file, n, len, depth));
            }
        }
    }
}

criterion_group!(benches, storage);
criterion_main!(benches);
