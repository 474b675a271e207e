//! The log without its disk: what a record costs the node's thread on its way into a batch, and how fast a log is
//! read back.
//!
//! Writes are said to be over as soon as they are handed out, so the figures are of checksums, copies and
//! book-keeping. What a disk adds is a matter of the disk, and of how many records share a batch.

use std::fs;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorumbench::wal::{FileError, FileWrite, FileWritten, Identity, Image, Options, Wal, read};
use quorumbench_protocols::{Head, Lsn, Nanos, NodeId, Record};

/// The binary's allocator, or the figures would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IDENTITY: Identity = Identity { run: 1, node: NodeId(0), group: 0, protocol: [0; 16], snapshot_kind: None };
/// Records of one turn.
const TURN: u64 = 32;

fn records(after: Lsn, body: &Bytes) -> impl Iterator<Item = Record> + '_ {
    let head = Head { body_len: body.len() as u32, kind: 1, ..Head::default() };
    (1..=TURN).map(move |more| Record { lsn: after + more, head, body: body.clone().into() })
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal/append");
    for (len, direct) in [(0, false), (100, false), (1000, false), (16 << 10, false), (1000, true)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut wal = Wal::create(Options { direct, ..Options::new(dir.path()) }, IDENTITY).expect("a log");
        let body = Bytes::from(vec![7; len]);
        let (mut turn, mut writes, mut last) = (Vec::new(), Vec::new(), Lsn::ZERO);
        group.throughput(Throughput::Elements(TURN));
        let name = if direct { format!("{len} bytes, O_DIRECT") } else { format!("{len} bytes") };
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                turn.extend(records(last, &body));
                last += TURN;
                wal.append(Nanos(last.0), &mut turn).expect("a log that works");
                while wal.durable() < last {
                    wal.submit(Nanos(last.0), &mut writes).expect("a log that works");
                    for FileWrite { id, bytes, .. } in writes.drain(..) {
                        wal.written(Nanos(last.0), FileWritten { id, result: Ok(()), bytes })
                            .expect("a log that works");
                    }
                }
                // Segments are used again, or the disk would be what is measured.
                wal.release(last);
            });
        });
    }
    group.finish();
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal/recover");
    for len in [100, 1000, 16 << 10] {
        let image = image(len);
        let bytes = read(&image, &IDENTITY).expect("a log").bytes;
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(BenchmarkId::from_parameter(format!("{len} bytes")), |bencher| {
            bencher.iter(|| black_box(read(&image, &IDENTITY).expect("a log").records.len()));
        });
    }
    group.finish();
}

/// A log of about 32 MiB, as it lies on disk.
fn image(len: usize) -> Image {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().expect("a directory");
    let mut wal = Wal::create(Options::new(dir.path()), IDENTITY).expect("a log");
    let body = Bytes::from(vec![7; len]);
    let (mut turn, mut writes, mut last) = (Vec::new(), Vec::new(), Lsn::ZERO);
    while wal.stats().bytes < 32 << 20 {
        turn.extend(records(last, &body));
        last += TURN;
        wal.append(Nanos(last.0), &mut turn).expect("a log that works");
        wal.submit(Nanos(last.0), &mut writes).expect("a log that works");
        for FileWrite { id, file, offset, bytes, .. } in writes.drain(..) {
            let run: Vec<u8> = bytes.runs(0).flatten().copied().collect();
            let result = file.write_all_at(&run, offset).map_err(FileError::Write);
            wal.written(Nanos(last.0), FileWritten { id, result, bytes }).expect("a log that works");
        }
    }
    drop(wal);
    let image = Image::read(dir.path()).expect("a log");
    fs::remove_dir_all(dir.path()).expect("it is no longer needed");
    image
}

criterion_group!(benches, append, recover);
criterion_main!(benches);
