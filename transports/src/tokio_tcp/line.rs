//! A socket with what is to be written to it.

use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use quorumbench_protocols::{Head, Payload};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::link::Link;
use crate::{Counters, Options};

/// The system calls of one connection, counted.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    link: Link,
    /// The kernel takes no more until it says so.
    full: bool,
}

/// Runs handed to one write: what the kernel takes at most. At 1 KiB a payload, 128 frames a turn, this
/// carries 3 M frames/s, 256 carry 2 and 64 carry 1.
const MANY_RUNS: usize = 1024;
/// Enough for a turn of small payloads, which are copied into one run. The array is filled anew for
/// each write, and to fill the long one takes 0.35 us.
const FEW_RUNS: usize = 16;

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, link: Link::default(), full: false }
    }

    /// Queues this node's hello.
    pub(super) fn open(&mut self, hello: &Head) {
        self.link.open(hello);
    }

    /// Queues a frame, or drops and counts it.
    pub(super) fn push(&mut self, head: &Head, body: &Payload, options: &Options, counters: &mut Counters) {
        self.link.push(head, body, options, counters);
    }

    /// Whether a connection that was dialled has come about.
    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_write_ready(cx))?;
        Poll::Ready(self.stream.take_error()?.map_or(Ok(()), Err))
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(super) fn write(&mut self, counters: &mut Counters) -> io::Result<()> {
        while !self.full && !self.link.is_empty() {
            counters.syscalls += 1;
            let few = self.link.most_runs() <= FEW_RUNS;
            let written = if few { self.write_runs::<FEW_RUNS>() } else { self.write_runs::<MANY_RUNS>() };
            match written {
                Ok(written) => self.link.wrote(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what is queued; if the kernel does not take all, it wakes the node when it takes more.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, counters: &mut Counters) -> io::Result<()> {
        self.write(counters)?;
        while self.full {
            let Poll::Ready(ready) = self.stream.poll_write_ready(cx) else { break };
            ready?;
            self.full = false;
            self.write(counters)?;
        }
        Ok(())
    }

    /// Whether there is something to read.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    /// Reads into the end of `chunk`, which has room. Nothing read is the end of the connection;
    /// `None` means that there was nothing to read after all.
    pub(super) fn read(&self, chunk: &mut BytesMut, counters: &mut Counters) -> io::Result<Option<usize>> {
        let spare = chunk.capacity() - chunk.len();
        debug_assert!(spare > 0, "or it would grow");
        counters.syscalls += 1;
        let read = match self.stream.try_read_buf(chunk) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(error),
        };
        if 0 < read && read < spare {
            self.drained();
        }
        Ok(Some(read))
    }

    /// Reads at most as much as `bytes` holds.
    pub(super) fn poll_read_some(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
        counters: &mut Counters,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            counters.syscalls += 1;
            match self.stream.try_read(bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// How many frames are lost if the connection is.
    pub(super) fn reset(&mut self) -> usize {
        self.link.reset()
    }

    fn write_runs<const RUNS: usize>(&mut self) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); RUNS];
        let mut filled = 0;
        for (slice, run) in slices.iter_mut().zip(self.link.to_write()) {
            *slice = IoSlice::new(run);
            filled += 1;
        }
        self.stream.try_write_vectored(&slices[..filled])
    }

    /// A read that did not fill its room has emptied the socket. Telling tokio so saves the read that
    /// would find nothing; what comes later is a new event, and an end of stream stays known.
    fn drained(&self) {
        let _ = self.stream.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
    }
}
