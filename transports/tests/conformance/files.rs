//! Writes to files: each is over once, is in the file then, and holds up no frame.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorumbench_protocols::Payload;
use quorumbench_transports::gather::Gather;
use quorumbench_transports::storage::{AlignedBuffer, FileBytes, FileWrite, FileWritten};
use quorumbench_transports::{Counters, Options, Transport, Wait};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::harness::{Cluster, Subject, transmit, until};

const WAIT_NS: u64 = 30_000_000_000;
const BLOCK: usize = AlignedBuffer::ALIGNMENT;

/// A file of the test's own, gone with it.
struct Scratch {
    path: PathBuf,
    file: Arc<File>,
}

impl Scratch {
    fn new() -> Self {
        Self::open(OFlags::empty()).expect("a file can be made")
    }

    fn open(flags: OFlags) -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("files-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | flags;
        let file = rustix::fs::open(&path, flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        Ok(Self { path, file: Arc::new(file.into()) })
    }

    fn write(&self, id: u64, offset: u64, bytes: FileBytes, sync: bool) -> FileWrite {
        FileWrite { id, file: self.file.clone(), offset, bytes, sync }
    }

    fn contents(&self) -> Vec<u8> {
        fs::read(&self.path).expect("it is there")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// `runs` runs of `len` bytes each, held; what they hold depends on `seed`.
fn gathered(seed: u64, runs: usize, len: usize) -> FileBytes {
    let mut gather = Gather::default();
    for run in 0..runs {
        let bytes: Bytes = (0..len).map(|at| (seed as usize * 31 + run * 7 + at) as u8).collect();
        assert_eq!(gather.append_payload(&bytes.into(), 0), 0);
    }
    FileBytes::Gathered(gather)
}

fn flat(bytes: &FileBytes) -> Vec<u8> {
    bytes.runs(0).flatten().copied().collect()
}

/// Waits until `count` writes are over, in the order that they come.
fn wait_for<T: Transport>(cluster: &mut Cluster<T>, count: usize) -> Vec<FileWritten> {
    let mut done = Vec::new();
    let deadline = cluster.clock.now() + WAIT_NS;
    until("the writes are over", || {
        cluster.nodes[0].recv(deadline, &mut cluster.inboxes[0]).expect("receives");
        cluster.nodes[0].written(&mut done);
        done.len() >= count
    });
    assert_eq!(done.len(), count, "each is over once");
    done
}

fn one<T: Transport>(cluster: &mut Cluster<T>, write: FileWrite) -> FileWritten {
    cluster.nodes[0].write_file(write).expect("the machine lets it write");
    wait_for(cluster, 1).remove(0)
}

fn cluster<S: Subject>(wait: Wait) -> Cluster<S::Node> {
    Cluster::new::<S>(2, &Options { wait, ..Options::default() })
}

pub(crate) fn what_is_written_is_in_the_file<S: Subject>() {
    let (mut cluster, scratch) = (cluster::<S>(Wait::Block), Scratch::new());
    let mut all = Vec::new();
    // The last has more runs than one system call takes.
    for (id, (runs, len)) in [(1, 1), (3, 700), (1, 4096), (2500, 33)].into_iter().enumerate() {
        let bytes = gathered(id as u64, runs, len);
        let (expected, offset) = (flat(&bytes), all.len() as u64);
        let written = one(&mut cluster, scratch.write(id as u64, offset, bytes, id % 2 == 1));
        written.result.expect("it is in the file");
        assert_eq!((written.id, flat(&written.bytes)), (id as u64, expected.clone()), "its bytes come back");
        all.extend(expected);
        assert!(scratch.contents() == all, "write {id}");
    }
    let nothing = one(&mut cluster, scratch.write(9, 0, gathered(0, 0, 0), true));
    assert!(nothing.id == 9 && nothing.result.is_ok() && scratch.contents() == all, "a sync alone");
    let Counters { file_writes, file_bytes, file_syncs, .. } = cluster.counters(0);
    assert_eq!((file_writes, file_bytes, file_syncs), (4, all.len() as u64, 3));
}

pub(crate) fn an_aligned_block_is_written_directly<S: Subject>() {
    let direct = match Scratch::open(OFlags::DIRECT) {
        Ok(direct) => direct,
        Err(error) => return println!("not tested: no O_DIRECT here: {error}"),
    };
    let mut cluster = cluster::<S>(Wait::Block);
    let mut block = AlignedBuffer::default();
    block.extend_from_slice(&flat(&gathered(1, 5, 3000)));
    block.resize(block.len().next_multiple_of(BLOCK));
    let expected = block.to_vec();
    one(&mut cluster, direct.write(1, BLOCK as u64, FileBytes::Aligned(block), true)).result.expect("it is written");
    assert!(direct.contents()[BLOCK..] == expected[..]);
    let mut odd = AlignedBuffer::default();
    odd.extend_from_slice(b"no block");
    let error = one(&mut cluster, direct.write(2, 0, FileBytes::Aligned(odd), true)).result;
    // Some file systems write it all the same, through the cache.
    assert!(error.is_ok() || Errno::from_io_error(error.expect_err("it is one").source()) == Some(Errno::INVAL));
}

pub(crate) fn thousands_of_writes_are_each_over_once<S: Subject>() {
    const WRITES: u64 = 5000;
    for wait in [Wait::Block, Wait::Spin, Wait::Yield] {
        let (mut cluster, files) = (cluster::<S>(wait), [Scratch::new(), Scratch::new()]);
        for id in 0..WRITES {
            let file = &files[id as usize % 2];
            let write = file.write(id, id / 2 * 100, gathered(id, 2, 50), id % 3 > 0);
            cluster.nodes[0].write_file(write).expect("the machine lets it write");
        }
        let mut ids: Vec<u64> = wait_for(&mut cluster, WRITES as usize)
            .into_iter()
            .map(|FileWritten { id, result, bytes }| {
                result.expect("it is written");
                assert!(flat(&bytes) == flat(&gathered(id, 2, 50)), "the bytes are its own");
                id
            })
            .collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..WRITES));
        for (first, file) in files.iter().enumerate() {
            let ids = (first as u64..WRITES).step_by(2);
            assert!(file.contents() == ids.flat_map(|id| flat(&gathered(id, 2, 50))).collect::<Vec<_>>());
        }
        let Counters { file_writes, file_bytes, file_syncs, .. } = cluster.counters(0);
        assert_eq!((file_writes, file_bytes), (WRITES, WRITES * 100));
        assert!((2..=WRITES * 2 / 3).contains(&file_syncs), "{file_syncs} syncs");
    }
}

/// No frame comes, and `recv` would wait for half a minute.
pub(crate) fn a_write_that_is_over_ends_the_wait<S: Subject>() {
    for wait in [Wait::Block, Wait::Spin, Wait::Yield] {
        let (mut cluster, scratch) = (cluster::<S>(wait), Scratch::new());
        for id in 0..20 {
            scratch.file.set_len(0).expect("it can be cut");
            cluster.nodes[0].write_file(scratch.write(id, 0, gathered(id, 1, 5000), true)).expect("it begins");
            let (mut done, mut calls, start) = (Vec::new(), 0, Instant::now());
            while done.is_empty() {
                let deadline = cluster.clock.now() + WAIT_NS;
                cluster.nodes[0].recv(deadline, &mut cluster.inboxes[0]).expect("receives");
                cluster.nodes[0].written(&mut done);
                calls += 1;
            }
            assert!(start.elapsed() < Duration::from_nanos(WAIT_NS), "long before the deadline");
            assert!(cluster.inboxes[0].is_empty() && calls < 10, "{calls} calls for one write");
        }
    }
}

/// What is over and was not taken keeps `recv` from waiting, and what was taken does not.
pub(crate) fn what_is_over_waits_to_be_taken<S: Subject>() {
    let (mut cluster, scratch) = (cluster::<S>(Wait::Block), Scratch::new());
    cluster.nodes[0].write_file(scratch.write(1, 0, gathered(1, 1, 100), true)).expect("it begins");
    for _ in 0..3 {
        let deadline = cluster.clock.now() + WAIT_NS;
        cluster.nodes[0].recv(deadline, &mut cluster.inboxes[0]).expect("receives");
        assert!(cluster.clock.now() < deadline);
    }
    assert_eq!(wait_for(&mut cluster, 1).len(), 1);
    let (deadline, mut calls) = (cluster.clock.now() + 30_000_000, 0);
    while cluster.clock.now() < deadline {
        cluster.nodes[0].recv(deadline, &mut cluster.inboxes[0]).expect("receives");
        calls += 1;
    }
    assert!(calls < 10, "it waits again: {calls} calls");
}

pub(crate) fn frames_go_on_while_a_slow_write_is_under_way<S: Subject>() {
    const ROUNDS: u64 = 10;
    let (mut cluster, scratch) = (cluster::<S>(Wait::Block), Scratch::new());
    let (mut gather, part) = (Gather::default(), Payload::from(Bytes::from(vec![7; 1 << 20])));
    (0..192).for_each(|_| {
        gather.append_payload(&part, 0);
    });
    let bytes = gather.bytes() as u64;
    cluster.nodes[0].write_file(scratch.write(1, 0, FileBytes::Gathered(gather), true)).expect("it begins");
    let (mut done, mut rounds) = (Vec::new(), 0);
    until("the write is over", || {
        if rounds < ROUNDS {
            cluster.send(0, [transmit(0, 1, rounds, Payload::EMPTY)]);
            cluster.pump_until(1, 1);
            cluster.send(1, [transmit(1, 0, rounds, Payload::EMPTY)]);
            cluster.pump_until(0, 1);
            cluster.inboxes.iter_mut().for_each(Vec::clear);
        } else {
            let deadline = cluster.clock.now() + WAIT_NS;
            cluster.nodes[0].recv(deadline, &mut cluster.inboxes[0]).expect("receives");
        }
        cluster.nodes[0].written(&mut done);
        rounds += 1;
        !done.is_empty()
    });
    assert!(rounds > ROUNDS, "{ROUNDS} rounds while the disk works, but not {rounds}");
    done.remove(0).result.expect("it is written");
    assert_eq!(fs::metadata(&scratch.path).expect("it is there").len(), bytes);
}

pub(crate) fn an_error_is_told_of_its_write_and_no_other<S: Subject>() {
    let (mut cluster, scratch) = (cluster::<S>(Wait::Block), Scratch::new());
    let read_only = Arc::new(File::open(&scratch.path).expect("it is there"));
    let full = Arc::new(OpenOptions::new().write(true).open("/dev/full").expect("it is there"));
    // It can be written to, but not synced.
    let no_sync = Arc::new(OpenOptions::new().write(true).open("/dev/null").expect("it is there"));
    let files = [&scratch.file, &read_only, &full, &no_sync];
    for id in 0..40 {
        let (file, bytes) = (files[id as usize % 4].clone(), gathered(id, 1, 10));
        let write = FileWrite { id, file, offset: id * 10, bytes, sync: true };
        cluster.nodes[0].write_file(write).expect("the machine lets it write");
    }
    let done = wait_for(&mut cluster, 40);
    for FileWritten { id, result, .. } in done {
        let error = result.err().map(|error| Errno::from_io_error(error.source()).expect("the kernel's"));
        assert_eq!(error, [None, Some(Errno::BADF), Some(Errno::NOSPC), Some(Errno::INVAL)][id as usize % 4]);
    }
    // And all goes on.
    one(&mut cluster, scratch.write(99, 0, gathered(99, 1, 10), true)).result.expect("it is written");
    assert_eq!(scratch.contents()[..10], flat(&gathered(99, 1, 10)));
}

pub(crate) fn a_node_may_leave_with_writes_under_way<S: Subject>() {
    for begun in [false, true] {
        let (mut cluster, scratch) = (cluster::<S>(Wait::Block), Scratch::new());
        for id in 0..200 {
            cluster.nodes[0].write_file(scratch.write(id, id * 100, gathered(id, 2, 50), true)).expect("it begins");
        }
        if begun {
            cluster.look(0);
        }
        let start = Instant::now();
        drop(cluster);
        assert!(start.elapsed() < Duration::from_secs(15), "it does not hang");
        let expected: Vec<u8> = (0..200).flat_map(|id| flat(&gathered(id, 2, 50))).collect();
        assert!(scratch.contents() == expected, "what was begun is finished");
        assert_eq!(Arc::strong_count(&scratch.file), 1, "the file is let go");
    }
}
