//! What travels: a fixed head and at most one shared payload.
//!
//! The head is 64 bytes, one cache line, plain data: it is copied freely. The payload is a handle on
//! bytes that somebody received or built once; cloning it is one reference count, and nothing in
//! this crate looks inside.

use std::fmt;
use std::ops::{Add, AddAssign, BitOr, Sub};
use std::sync::Arc;

use bytes::Bytes;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(target_endian = "big")]
compile_error!("the head travels as it lies in memory, which the wire format defines as little-endian");

/// A frame: what a transport carries and a log holds.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Who sent it, what kind it is, and six words whose meaning its kind gives.
    pub head: Head,
    /// `head.body_len` bytes.
    pub body: Payload,
}

/// The fixed part of every frame, on the wire and in a log: 64 bytes, little-endian.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Head {
    /// Bytes of payload that follow.
    pub body_len: u32,
    /// What the frame is. Protocols use kinds below [`Head::FIRST_FOREIGN_KIND`]; the rest belongs
    /// to whoever drives them.
    pub kind: u8,
    /// Bits whose meaning `kind` gives.
    pub flags: u8,
    /// The consensus group: many share one connection.
    pub group: u16,
    /// The sender.
    pub from: NodeId,
    /// Zero on the wire; room for a checksum in a log.
    pub reserved: u32,
    /// Six numbers whose meaning `kind` gives.
    pub words: [u64; 6],
}

const _: () = assert!(size_of::<Head>() == Head::BYTES && align_of::<Head>() == 64);

impl Head {
    /// The size of a head on the wire.
    pub const BYTES: usize = 64;
    /// Kinds from here on are not a protocol's messages (clients' requests, replies, control).
    pub const FIRST_FOREIGN_KIND: u8 = 0x80;
}

/// Terms, ballots' words, slots, rounds and the like stay below this. No cluster lives to count so far, so a larger
/// number is a broken peer's, and no sum of two can overflow.
pub(crate) const LIMIT: u64 = 1 << 62;

/// Checks that none of a head's numbers is beyond [`LIMIT`].
pub(crate) fn within_reach(numbers: &[u64]) -> Result<(), &'static str> {
    reject(numbers.iter().any(|&number| number >= LIMIT), "a number beyond reach")
}

/// An error if something is `wrong`.
pub(crate) const fn reject(wrong: bool, what: &'static str) -> Result<(), &'static str> {
    if wrong { Err(what) } else { Ok(()) }
}

impl Frame {
    /// Checks what no kind of message gives a meaning of its own: there are no flags above `flags`, the body is as long
    /// as the head says, and empty but for a kind that `has_body`.
    pub(crate) fn check(&self, flags: u8, has_body: bool) -> Result<(), &'static str> {
        reject(self.head.flags > flags, "unknown flags")?;
        reject(self.head.body_len as usize != self.body.len(), "the body is not as long as the head says")?;
        reject(!has_body && self.head.body_len > 0, "a body where none belongs")
    }
}

/// Bytes that belong to whoever received or built them, shared by handle.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Contiguous.
    Whole(Bytes),
    /// In several receive buffers; nothing is moved to make it whole.
    Pieces(Arc<[Bytes]>),
}

impl Payload {
    /// No bytes.
    pub const EMPTY: Self = Self::Whole(Bytes::new());

    /// How many bytes, over all pieces.
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Pieces(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` bytes from `offset` on, by handle: nothing is copied.
    ///
    /// # Panics
    /// If there are not that many.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        assert!(offset + len <= self.len(), "a slice past the end");
        let mut at = 0;
        let part = |piece: &Bytes| {
            let (from, to) = (offset.max(at), (offset + len).min(at + piece.len()));
            let part = (from < to).then(|| piece.slice(from - at..to - at));
            at += piece.len();
            part
        };
        self.pieces().iter().filter_map(part).collect()
    }

    /// The contiguous runs, in order.
    pub fn pieces(&self) -> &[Bytes] {
        match self {
            Self::Whole(bytes) => std::slice::from_ref(bytes),
            Self::Pieces(pieces) => pieces,
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

/// Handles in a row: nothing is copied.
impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut pieces: Vec<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        match pieces.len() {
            0 => Self::EMPTY,
            1 => Self::Whole(pieces.remove(0)),
            _ => Self::Pieces(pieces.into()),
        }
    }
}

/// Equal contents, however they are cut.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.pieces().iter().flatten().eq(other.pieces().iter().flatten())
    }
}

impl Eq for Payload {}

/// A peer sent what no correct peer sends. The state did not change; drop the connection and count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The kind of the frame.
    pub kind: u8,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed frame of kind {}: {}", self.kind, self.what)
    }
}

impl std::error::Error for Malformed {}

/// A node of a run: replicas from 0, clients above them.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Declares an ordered `u64` with its arithmetic.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The first.
            pub const ZERO: Self = Self(0);

            /// `self - earlier`, or zero where that would be negative.
            #[must_use]
            pub const fn saturating_since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl Add<u64> for $name {
            type Output = Self;
            fn add(self, more: u64) -> Self {
                Self(self.0 + more)
            }
        }

        impl AddAssign<u64> for $name {
            fn add_assign(&mut self, more: u64) {
                self.0 += more;
            }
        }

        impl Sub<u64> for $name {
            type Output = Self;
            fn sub(self, less: u64) -> Self {
                Self(self.0 - less)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A position in the replicated log. Slot 0 stands before the first: every node has it, empty.
    Slot
);
number!(
    /// The position of a record in one node's own journal. It never goes back, even when a slot is
    /// written again in a later term; a slot-keyed acknowledgement would be a known race.
    Lsn
);
number!(
    /// Nanoseconds since the run's epoch.
    Nanos
);

impl Nanos {
    /// A deadline that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many nanoseconds later, or never.
    #[must_use]
    pub const fn later(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// A set of node ids below 64: voters, and who a broadcast goes to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerSet(u64);

impl PeerSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);
    /// How many members fit.
    pub const CAPACITY: usize = 64;

    /// Ids `0..count`.
    ///
    /// # Panics
    /// If `count` is above [`PeerSet::CAPACITY`].
    #[must_use]
    pub const fn first(count: usize) -> Self {
        assert!(count <= Self::CAPACITY, "a PeerSet holds ids below 64");
        Self(if count == Self::CAPACITY { u64::MAX } else { (1 << count) - 1 })
    }

    /// The set with `id` in it.
    ///
    /// # Panics
    /// If `id` is not below [`PeerSet::CAPACITY`].
    #[must_use]
    pub const fn with(self, id: NodeId) -> Self {
        assert!((id.0 as usize) < Self::CAPACITY, "a PeerSet holds ids below 64");
        Self(self.0 | 1 << id.0)
    }

    /// The set with `id` not in it.
    #[must_use]
    pub const fn without(self, id: NodeId) -> Self {
        if id.0 as usize >= Self::CAPACITY { self } else { Self(self.0 & !(1 << id.0)) }
    }

    /// Whether `id` is in it.
    pub const fn contains(self, id: NodeId) -> bool {
        (id.0 as usize) < Self::CAPACITY && self.0 & 1 << id.0 != 0
    }

    /// One bit an id.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// How many are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether nobody is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let id = rest.trailing_zeros();
            (rest != 0).then(|| {
                rest &= rest - 1;
                NodeId(id)
            })
        })
    }
}

impl BitOr for PeerSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<NodeId> for PeerSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> Self {
        ids.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for PeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Who a transmit goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// One node, of any id.
    One(NodeId),
    /// Any number of nodes with ids below 64.
    Peers(PeerSet),
}

impl Recipients {
    /// The nodes, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        let (one, peers) = match self {
            Self::One(id) => (Some(id), PeerSet::EMPTY),
            Self::Peers(peers) => (None, peers),
        };
        one.into_iter().chain(peers.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_set_is_a_set() {
        let set: PeerSet = [NodeId(3), NodeId(0), NodeId(63), NodeId(3)].into_iter().collect();
        assert_eq!(set.len(), 3);
        assert_eq!(set.iter().collect::<Vec<_>>(), [NodeId(0), NodeId(3), NodeId(63)]);
        assert_eq!(set.without(NodeId(3)).len(), 2);
        assert_eq!(set.without(NodeId(900)), set);
        assert!(!set.contains(NodeId(64)));
        assert_eq!(PeerSet::first(64).len(), 64);
        assert_eq!(PeerSet::first(0), PeerSet::EMPTY);
    }

    #[test]
    fn payloads_are_equal_however_they_are_cut() {
        let whole = Payload::from(Bytes::from_static(b"abcdef"));
        let pieces = Payload::Pieces([Bytes::from_static(b"ab"), Bytes::from_static(b"cdef")].into());
        assert_eq!(whole, pieces);
        assert_eq!(pieces.len(), 6);
        assert_ne!(whole, Payload::EMPTY);
    }

    #[test]
    fn a_slice_is_the_same_bytes() {
        let pieces: Payload = ["ab", "", "cdef", "g"].map(Bytes::from).into_iter().collect();
        let text = |payload: Payload| payload.pieces().iter().flatten().copied().collect::<Vec<_>>();
        for from in 0..=7 {
            for to in from..=7 {
                assert_eq!(text(pieces.slice(from, to - from)), b"abcdefg"[from..to]);
            }
        }
        assert!(matches!(pieces.slice(2, 4), Payload::Whole(_)), "of one piece");
    }

    #[test]
    fn a_head_is_its_bytes() {
        let head = Head { body_len: 7, kind: 1, from: NodeId(9), words: [1, 2, 3, 4, 5, 6], ..Head::default() };
        assert_eq!(Head::read_from_bytes(head.as_bytes()), Ok(head));
        assert_eq!(head.as_bytes()[0], 7, "little-endian");
    }
}
