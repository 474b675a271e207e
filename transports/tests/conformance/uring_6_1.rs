//! The ring's transport as it is where receives take whole buffers.

use std::io;

use quorumbench_protocols::{Frame, Nanos, Transmit};
use quorumbench_transports::storage::{FileWrite, FileWritten};
use quorumbench_transports::uring::{Capabilities, Uring, probe};
use quorumbench_transports::{Counters, Mesh, Transport};

/// What `Uring` is on Linux 6.1.
pub(crate) struct Uring61(Uring);

/// Why there can be no ring here, if there cannot.
pub(crate) fn no_ring() -> Option<String> {
    probe().err().map(|error| error.to_string())
}

impl Uring61 {
    pub(crate) fn join(mesh: Mesh) -> io::Result<Self> {
        Uring::join_with(mesh, Capabilities { incremental: false, zero_copy: true }).map(Self)
    }

    pub(crate) fn chunks_out(&mut self) -> usize {
        self.0.chunks_out()
    }
}

impl Transport for Uring61 {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        self.0.send(transmits)
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        self.0.recv(deadline, inbox)
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.0.write_file(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.0.written(done);
    }

    fn counters(&self) -> Counters {
        self.0.counters()
    }
}
