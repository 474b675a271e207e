//! Memory that a file opened with `O_DIRECT` can be written from.

use std::fmt;
use std::ops::Deref;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes that begin at a multiple of [`ALIGNMENT`](Self::ALIGNMENT), and grow.
///
/// ```
/// use quorumbench_transports::storage::AlignedBuffer;
///
/// let mut buffer = AlignedBuffer::default();
/// buffer.extend_from_slice(b"a record");
/// buffer.resize(buffer.len().next_multiple_of(AlignedBuffer::ALIGNMENT));
/// assert_eq!((buffer.len(), &buffer[..9]), (4096, &b"a record\0"[..]));
/// assert_eq!(buffer.as_ptr().addr() % AlignedBuffer::ALIGNMENT, 0);
/// ```
#[derive(Default)]
pub struct AlignedBuffer {
    /// Never fewer than `len` fills; what is behind `len` is anything.
    pages: Vec<Page>,
    len: usize,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; AlignedBuffer::ALIGNMENT]);

/// What a cleared buffer keeps to be filled again.
const KEPT_PAGES: usize = (1 << 20) / AlignedBuffer::ALIGNMENT;

impl AlignedBuffer {
    /// Where it begins is a multiple of this many bytes: a page, which is no less than any disk's block.
    pub const ALIGNMENT: usize = 4096;

    /// Adds bytes at the end.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let from = self.len;
        self.grow(from + bytes.len());
        self.pages.as_mut_bytes()[from..self.len].copy_from_slice(bytes);
    }

    /// Makes it `len` bytes long: cuts it off, or fills it up with zeros.
    pub fn resize(&mut self, len: usize) {
        let from = self.len;
        if len > from {
            self.grow(len);
            self.pages.as_mut_bytes()[from..len].fill(0);
        }
        self.len = len;
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_bytes()[..self.len]
    }

    /// Empties it and keeps its memory, unless a burst made that large.
    pub fn clear(&mut self) {
        self.len = 0;
        self.pages.truncate(KEPT_PAGES);
        self.pages.shrink_to(KEPT_PAGES);
    }

    fn grow(&mut self, len: usize) {
        let pages = len.div_ceil(Self::ALIGNMENT);
        if self.pages.len() < pages {
            self.pages.resize_with(pages, Page::new_zeroed);
        }
        self.len = len;
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.as_bytes()[..self.len]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_vector_would_and_is_aligned() {
        let (mut buffer, mut vector) = (AlignedBuffer::default(), Vec::new());
        for len in [0, 1, 4095, 1, 4096, 5000, 3] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            buffer.extend_from_slice(&bytes);
            vector.extend_from_slice(&bytes);
            assert!(buffer[..] == vector[..] && buffer.as_ptr().addr().is_multiple_of(AlignedBuffer::ALIGNMENT));
        }
        for len in [7, 4096, 2, 20_000] {
            buffer.resize(len);
            vector.resize(len, 0);
            assert!(buffer[..] == vector[..], "zeros, whatever was there before");
        }
        buffer.as_mut_slice()[1] = 9;
        assert_eq!(buffer[1], 9);
    }

    #[test]
    fn a_cleared_buffer_gives_up_what_a_burst_took() {
        let mut buffer = AlignedBuffer::default();
        buffer.resize(8 << 20);
        buffer.clear();
        assert!(buffer.is_empty() && buffer.pages.capacity() <= KEPT_PAGES);
    }
}
