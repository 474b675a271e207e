//! Chunks to receive into and to build in, used again when the last handle on them is gone.
//!
//! The pool keeps one handle on each chunk. A chunk is home when that handle is the only one left:
//! nobody has to bring it back, from whichever thread its slices were dropped on.

use std::collections::VecDeque;

use bytes::BytesMut;

/// A bounded set of chunks of one size.
///
/// Pinning is the price of slicing without copies: a small frame holds its whole chunk. The bound
/// is therefore a written sum of the owners (see [`crate::Options::chunks`]): rings, logs, links.
#[derive(Debug)]
pub struct Pool {
    chunk_bytes: usize,
    limit: usize,
    made: usize,
    /// How often a chunk was asked for.
    taken: u64,
    /// A handle on each chunk that was given back, in that order.
    kept: VecDeque<BytesMut>,
}

/// How long to sleep at most while a connection waits for a chunk: nothing announces that one came home.
pub const STARVED_NS: u64 = 500_000;
/// How many of the newest and of the oldest chunks `take` looks at before it makes another.
const GLANCES: usize = 8;
/// How rarely a chunk too many is let go: making one anew costs as much as dozens of uses.
const SHED_EVERY: u64 = 64;

impl Pool {
    /// An empty pool; chunks are made when they are first needed.
    pub fn new(chunk_bytes: usize, limit: usize) -> Self {
        Self { chunk_bytes, limit, made: 0, taken: 0, kept: VecDeque::new() }
    }

    /// An empty chunk with all of its capacity, or `None` when every chunk is in somebody's hands.
    ///
    /// The one given back last is tried first: what it holds is still in the cache, and a stream that
    /// went round all chunks there are would find none of them there.
    pub fn take(&mut self) -> Option<BytesMut> {
        self.taken = self.taken.wrapping_add(1);
        if self.taken.is_multiple_of(SHED_EVERY) {
            self.shed();
        }
        let count = self.kept.len();
        let oldest = if self.made < self.limit { GLANCES } else { usize::MAX };
        let newest_first = (0..count).rev().take(GLANCES);
        let oldest_first = (0..count.saturating_sub(GLANCES)).take(oldest);
        for at in newest_first.chain(oldest_first) {
            if self.kept[at].try_reclaim(self.chunk_bytes) {
                return self.kept.remove(at);
            }
        }
        (self.made < self.limit).then(|| {
            self.made += 1;
            BytesMut::with_capacity(self.chunk_bytes)
        })
    }

    /// Lets the coldest chunk go if it is home, and so is the middle one: a burst made more than are needed.
    fn shed(&mut self) {
        let middle = self.kept.len() / 2;
        if middle >= GLANCES
            && self.kept[0].try_reclaim(self.chunk_bytes)
            && self.kept[middle].try_reclaim(self.chunk_bytes)
        {
            self.kept.pop_front();
            self.made -= 1;
        }
    }

    /// Leaves a chunk with the pool. What was sliced from it may live on; what is in `chunk` itself
    /// is dropped.
    pub fn give(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        self.kept.push_back(chunk);
    }

    /// How many chunks there are, home or not.
    pub fn made(&self) -> usize {
        self.made
    }

    /// How many chunks are home: nobody but the pool holds on to them.
    pub fn home(&mut self) -> usize {
        let chunk_bytes = self.chunk_bytes;
        self.kept.iter_mut().filter_map(|chunk| chunk.try_reclaim(chunk_bytes).then_some(())).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_home_with_its_last_slice() {
        let mut pool = Pool::new(1024, 1);
        let mut chunk = pool.take().expect("one chunk");
        chunk.extend_from_slice(b"some bytes");
        let address = chunk.as_ptr();
        let slice = chunk.split_to(4).freeze();
        pool.give(chunk);
        assert_eq!((pool.home(), pool.take()), (0, None), "a slice is out");
        std::thread::spawn(move || drop(slice)).join().expect("the other thread drops it");
        let chunk = pool.take().expect("it is home");
        assert_eq!((chunk.as_ptr(), chunk.capacity(), chunk.len()), (address, 1024, 0));
        assert_eq!(pool.made(), 1);
    }

    #[test]
    fn a_pinned_chunk_does_not_stop_the_others() {
        let mut pool = Pool::new(64, 3);
        let mut pinned = pool.take().expect("first");
        pinned.extend_from_slice(b"x");
        let _slice = pinned.split().freeze();
        pool.give(pinned);
        for _ in 0..10 {
            let chunk = pool.take().expect("another");
            pool.give(chunk);
        }
        assert_eq!(pool.made(), 2);
    }

    #[test]
    fn what_a_burst_made_is_let_go_after_it() {
        let mut pool = Pool::new(64, 100);
        let burst: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((burst.len(), pool.made()), (100, 100));
        burst.into_iter().for_each(|chunk| pool.give(chunk));
        for _ in 0..10_000 {
            let chunk = pool.take().expect("there are many");
            pool.give(chunk);
        }
        assert!(pool.made() < 3 * GLANCES, "{}", pool.made());
    }
}
