//! A connection to a peer that has said hello.

use std::task::{Context, Poll};

use bytes::BytesMut;
use quorumbench_protocols::{Frame, Head, NodeId, Payload};

use super::chunks::{self, Chunks};
use super::line::Line;
use super::newcomer::Newcomer;
use crate::framing::Framer;
use crate::hello::Hello;
use crate::peers::{self, End, Origin};
use crate::{Counters, Options};

/// Frames in both directions.
#[derive(Debug)]
pub(super) struct Connection {
    peer: Hello,
    origin: Origin,
    line: Line,
    framer: Framer,
    /// The chunk that holds the beginning of a frame.
    rest: Option<BytesMut>,
}

/// Whether a connection may have more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Not until its socket says so.
    No,
    /// It had its share for now.
    AtOnce,
    /// When a chunk has come home.
    WithAChunk,
}

/// Reads in one look: a peer that never stops must not keep the others waiting.
const READS: usize = 4;

impl Connection {
    pub(super) fn new(peer: Hello, newcomer: Newcomer, max_body: usize) -> Self {
        let (origin, framer) = (newcomer.origin(), Framer::new(max_body));
        Self { peer, origin, line: newcomer.into_line(), framer, rest: None }
    }

    /// Queues a frame, or drops and counts it.
    pub(super) fn push(&mut self, head: &Head, body: &Payload, options: &Options, counters: &mut Counters) {
        self.line.push(head, body, options, counters);
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(super) fn write(&mut self, counters: &mut Counters) -> Result<(), End> {
        self.line.write(counters).map_err(|_| End::Lost)
    }

    /// Writes and reads what can be. Frames that came before the end are in `inbox`.
    pub(super) fn look(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks,
        inbox: &mut Vec<Frame>,
        counters: &mut Counters,
    ) -> Result<More, End> {
        self.line.poll_write(cx, counters).map_err(|_| End::Lost)?;
        for _ in 0..READS {
            match self.line.poll_readable(cx) {
                Poll::Pending => return Ok(More::No),
                Poll::Ready(readable) => readable.map_err(|_| End::Lost)?,
            }
            let Some(mut chunk) = self.rest.take().or_else(|| chunks.take()) else { return Ok(More::WithAChunk) };
            let read = self.line.read(&mut chunk, counters);
            if let Ok(Some(bytes)) = read {
                counters.received_bytes += bytes as u64;
            }
            let framed = self.frames(&mut chunk, inbox, counters);
            self.put_back(chunk, chunks)?;
            framed?;
            if read.map_err(|_| End::Lost)? == Some(0) {
                return Err(End::Lost);
            }
        }
        Ok(More::AtOnce)
    }

    pub(super) fn peer(&self) -> NodeId {
        self.peer.id
    }

    pub(super) fn is_client(&self) -> bool {
        self.peer.is_client()
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Gives back what it holds, and says how many frames were not sent.
    pub(super) fn close(mut self, chunks: &mut Chunks) -> usize {
        if let Some(mut rest) = self.rest.take() {
            rest.clear();
            chunks.give(rest);
        }
        self.line.reset()
    }

    fn frames(&mut self, chunk: &mut BytesMut, inbox: &mut Vec<Frame>, counters: &mut Counters) -> Result<(), End> {
        let first = inbox.len();
        let framed = self.framer.frames(chunk, inbox);
        peers::admit(self.peer.id, inbox, first, counters)?;
        Ok(framed?)
    }

    /// Keeps a chunk with the beginning of a frame in it as long as it has room for more.
    fn put_back(&mut self, mut chunk: BytesMut, chunks: &mut Chunks) -> Result<(), End> {
        if !chunk.is_empty() && chunks::spare(&chunk) > 0 {
            self.rest = Some(chunk);
            return Ok(());
        }
        let turned = self.framer.turn_over(chunk.split());
        chunks.give(chunk);
        Ok(turned?)
    }
}
