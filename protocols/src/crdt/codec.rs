//! Bytes of states and messages: numbers in as many bytes as they need, and one way only to write each.

use std::ops::{Add, AddAssign};

use bytes::Bytes;

use crate::wire::{LIMIT, NodeId, reject};

/// What is written, and read back.
pub trait Encoded: Sized {
    /// Appends it.
    fn write(&self, to: &mut Writer);

    /// Takes it from the front.
    ///
    /// # Errors
    /// What is wrong with bytes that nothing is ever written as. The same value is never read from two byte strings.
    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str>;

    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// As [`read`](Self::read), or if something follows.
    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut from = Reader::new(bytes);
        let value = Self::read(&mut from)?;
        from.end()?;
        Ok(value)
    }

    /// It alone.
    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        self.write(&mut to);
        to.bytes
    }

    /// How large it is.
    fn size(&self) -> Size {
        let mut to = Writer::default();
        self.write(&mut to);
        to.size
    }
}

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the value is made of: counts, elements, keys and values.
    Payload,
    /// What makes it possible to join or order them: who, when, after what, how long.
    Metadata,
    /// What only says how much somebody has: acknowledgements, clocks, checksums.
    Digest,
}

/// How large something is: bytes by what they are for, and entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of [`Part::Payload`].
    pub payload: u64,
    /// Bytes of [`Part::Metadata`].
    pub metadata: u64,
    /// Bytes of [`Part::Digest`].
    pub digest: u64,
    /// Entries, as [`Lattice::elements`](super::Lattice::elements) counts them, or operations.
    pub elements: u64,
}

impl Size {
    /// All bytes.
    pub const fn bytes(self) -> u64 {
        self.payload + self.metadata + self.digest
    }
}

impl Add for Size {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            payload: self.payload + other.payload,
            metadata: self.metadata + other.metadata,
            digest: self.digest + other.digest,
            elements: self.elements + other.elements,
        }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Bytes in the making, and what they are for.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) size: Size,
}

impl Writer {
    /// A number: seven bits a byte, the lowest first (LEB128).
    pub fn number(&mut self, part: Part, mut number: u64) {
        let before = self.bytes.len();
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
        self.count(part, self.bytes.len() - before);
    }

    /// So many bytes, behind their length, which is metadata.
    pub fn bytes(&mut self, part: Part, bytes: &[u8]) {
        self.number(Part::Metadata, bytes.len() as u64);
        #[expect(clippy::disallowed_methods, reason = "a state is no payload: it is written from what it consists of")]
        self.bytes.extend_from_slice(bytes);
        self.count(part, bytes.len());
    }

    /// A number in eight bytes, the lowest first: for those of which none is likelier than another.
    pub fn word(&mut self, part: Part, word: u64) {
        self.bytes.extend(word.to_le_bytes());
        self.count(part, 8);
    }

    /// A node's name.
    pub fn node(&mut self, part: Part, node: NodeId) {
        self.number(part, u64::from(node.0));
    }

    /// How many follow.
    pub fn count_of(&mut self, part: Part, count: usize) {
        self.number(part, count as u64);
    }

    fn count(&mut self, part: Part, bytes: usize) {
        let of = match part {
            Part::Payload => &mut self.size.payload,
            Part::Metadata => &mut self.size.metadata,
            Part::Digest => &mut self.size.digest,
        };
        *of += bytes as u64;
    }
}

/// Bytes that somebody sent, from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// All of these.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A number below 2^62.
    ///
    /// # Errors
    /// For larger ones, and for one in more bytes than it needs.
    pub fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or("it ends in the middle of a number")?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                reject(byte == 0 && shift > 0, "a number in more bytes than it needs")?;
                reject(number >= LIMIT, "a number beyond reach")?;
                return Ok(number);
            }
        }
        Err("a number in too many bytes")
    }

    /// A number that is not zero.
    ///
    /// # Errors
    /// If it is, or as [`number`](Self::number).
    pub fn positive(&mut self) -> Result<u64, &'static str> {
        let number = self.number()?;
        reject(number == 0, "nothing, where nothing is written down")?;
        Ok(number)
    }

    /// A number in eight bytes.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn word(&mut self) -> Result<u64, &'static str> {
        let (word, rest) = self.rest.split_first_chunk().ok_or("it ends in the middle of a number")?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*word))
    }

    /// How many follow, each of at least a byte.
    ///
    /// # Errors
    /// If there are not so many bytes.
    pub fn count(&mut self) -> Result<usize, &'static str> {
        let count = self.number()?;
        reject(count > self.rest.len() as u64, "more entries than bytes")?;
        Ok(count as usize)
    }

    /// A node's name.
    ///
    /// # Errors
    /// If it is none.
    pub fn node(&mut self) -> Result<NodeId, &'static str> {
        let number = self.number()?;
        u32::try_from(number).map(NodeId).map_err(|_| "no node has such a name")
    }

    /// So many bytes, behind their length.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn bytes(&mut self) -> Result<Bytes, &'static str> {
        let len = self.count()?;
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        #[expect(clippy::disallowed_methods, reason = "an element outlives the letter it came in, which may be large")]
        Ok(Bytes::copy_from_slice(bytes))
    }

    /// One of two.
    ///
    /// # Errors
    /// If it is neither.
    pub fn flag(&mut self) -> Result<bool, &'static str> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("neither yes nor no"),
        }
    }

    /// Whether all was read.
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error unless all was read.
    ///
    /// # Errors
    /// If something is left.
    pub const fn end(&self) -> Result<(), &'static str> {
        reject(!self.rest.is_empty(), "bytes behind the end")
    }
}

/// An error unless `next` is above the one before it.
pub(crate) fn ascending<T: Ord>(last: Option<&T>, next: &T) -> Result<(), &'static str> {
    reject(last.is_some_and(|last| last >= next), "entries out of order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_one_way() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), LIMIT - 1] {
            let mut to = Writer::default();
            to.number(Part::Digest, number);
            let mut from = Reader::new(&to.bytes);
            assert_eq!(from.number(), Ok(number));
            assert!(from.is_at_end() && to.size.digest == to.bytes.len() as u64);
            let cut = &to.bytes[..to.bytes.len() - 1];
            assert!(Reader::new(cut).number().is_err());
        }
        assert!(Reader::new(&[0x80, 0]).number().is_err(), "0 in two bytes");
        assert!(Reader::new(&[0xff; 12]).number().is_err());
        let mut to = Writer::default();
        to.number(Part::Payload, LIMIT);
        assert!(Reader::new(&to.bytes).number().is_err());
    }
}
