//! A write that the kernel cuts short goes on where it ended. In a process of its own: the limit that
//! cuts it is the process's.
#![cfg(target_os = "linux")]

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use quorumbench_protocols::NodeId;
use quorumbench_transports::storage::{AlignedBuffer, FileBytes, FileWrite};
use quorumbench_transports::uring::{Uring, probe};
use quorumbench_transports::{Clock, Mesh, Options, Role, Transport, mem};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: u64 = 10_000;
/// Set where the limit holds.
const LIMITED: &str = "QUORUMBENCH_FILES_ARE_LIMITED";
const WAIT_NS: u64 = 10_000_000_000;

fn write_beyond_the_limit(mut node: impl Transport, clock: Clock, name: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("limit-{name}-{}", std::process::id()));
    let file = Arc::new(File::create(&path).expect("a file can be made"));
    let mut block = AlignedBuffer::default();
    (0..LIMIT + 5000).for_each(|at| block.extend_from_slice(&[at as u8]));
    let expected = block[..LIMIT as usize].to_vec();
    node.write_file(FileWrite { id: 1, file, offset: 0, bytes: FileBytes::Aligned(block), sync: true })
        .expect("begins");
    let mut done = Vec::new();
    while done.is_empty() {
        assert!(clock.now().0 < WAIT_NS, "{name}: it is not over");
        node.recv(clock.now() + WAIT_NS, &mut Vec::new()).expect("receives");
        node.written(&mut done);
    }
    let error = done[0].result.as_ref().expect_err("there is no room for the rest");
    assert_eq!(Errno::from_io_error(error.source()), Some(Errno::FBIG), "{name}: the rest was tried, and said so");
    assert!(fs::read(&path).expect("it is there") == expected, "{name}: the beginning is in the file");
    let counters = node.counters();
    assert_eq!((counters.file_writes, counters.file_bytes, counters.file_syncs), (1, LIMIT, 0));
    fs::remove_file(path).expect("it is there");
}

#[test]
fn a_short_write_goes_on() {
    if env::var_os(LIMITED).is_none() {
        // The signal that comes with the error would end the process; a shell can have it ignored.
        let this = env::current_exe().expect("it has a path");
        let script = "trap '' XFSZ; exec \"$0\" --exact a_short_write_goes_on --nocapture";
        // By way of a pipe: the limit holds for standard output, too, where that is a file.
        let ended = Command::new("sh").args(["-c", script]).arg(this).env(LIMITED, "1").output().expect("a shell");
        let said = [ended.stdout, ended.stderr].concat();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&said));
        return;
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum }).expect("a process may limit itself");
    let clock = Clock::start();
    write_beyond_the_limit(mem::mesh(1, clock, &Options::default()).remove(0), clock, "thread");
    if let Err(error) = probe() {
        println!("not tested: {error}");
        return;
    }
    let (role, options) = (Role::Replica, Options::default());
    let mesh =
        Mesh { run: 1, id: NodeId(0), role, listener: None, dial: Vec::new(), credentials: None, clock, options };
    write_beyond_the_limit(Uring::join(mesh).expect("joins"), clock, "ring");
}
