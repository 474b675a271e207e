//! Which chunk a connection reads into.

use bytes::BytesMut;

use crate::Options;
use crate::pool::Pool;

/// The pool, and the chunks that are neither full nor any connection's.
///
/// A connection keeps a chunk only while the beginning of a frame is in it; all others read into the
/// same one in turn, so that a quiet peer holds nothing and a chunk is filled before the next is taken.
#[derive(Debug)]
pub(super) struct Chunks {
    pool: Pool,
    begun: Vec<BytesMut>,
}

impl Chunks {
    pub(super) fn new(options: &Options) -> Self {
        Self { pool: Pool::new(options.chunk_bytes, options.chunks), begun: Vec::new() }
    }

    /// A chunk with room at its end, or `None` when every one is in somebody's hands.
    pub(super) fn take(&mut self) -> Option<BytesMut> {
        self.begun.pop().or_else(|| self.pool.take())
    }

    /// Takes back a chunk of which nothing is unread.
    pub(super) fn give(&mut self, chunk: BytesMut) {
        debug_assert!(chunk.is_empty(), "unread bytes belong to a connection");
        if spare(&chunk) > 0 { self.begun.push(chunk) } else { self.pool.give(chunk) }
    }

    /// How many chunks are not home.
    pub(super) fn out(&mut self) -> usize {
        self.begun.drain(..).for_each(|chunk| self.pool.give(chunk));
        self.pool.made() - self.pool.home()
    }
}

/// How many bytes can be read into `chunk`.
pub(super) fn spare(chunk: &BytesMut) -> usize {
    chunk.capacity() - chunk.len()
}
