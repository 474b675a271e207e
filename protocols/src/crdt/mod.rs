//! Replicated data types that need no agreement: whatever order their updates are heard in, replicas that heard the same
//! ones are equal.
//!
//! Each type comes twice. As a [`Lattice`] it is joined: a *state* or a *delta*, of the same type, that may be lost,
//! doubled and late (Shapiro, Preguica, Baquero, Zawirski, *Conflict-free Replicated Data Types*, SSS 2011; Almeida,
//! Shoker, Baquero, *Delta state replicated data types*, JPDC 2018). As [`Operations`] it needs each operation once, and
//! after those that caused it. How replicas come to hear of each other is [`reconcile`](crate::reconcile)'s.
//!
//! | type | state | source |
//! |---|---|---|
//! | [`GCounter`] | a count for each replica | Shapiro et al. 2011 |
//! | [`PnCounter`] | two of these | Shapiro et al. 2011 |
//! | [`OrSet`] | the dots of elements, and a causal context in place of tombstones | Bieniusa et al. 2012; Almeida et al. 2018 |
//! | [`LwwMap`] | for each key a value, or its removal, with a timestamp | Shapiro et al. 2011 |
//!
//! ```
//! use quorumbench_protocols::NodeId;
//! use quorumbench_protocols::crdt::{Crdt, GCounter, Lattice};
//!
//! let (mut here, mut there) = (GCounter::default(), GCounter::default());
//! let delta = here.delta(NodeId(0), &2);
//! here.join(&delta);
//! there.join(&there.delta(NodeId(1), &3));
//! // Sent twice: joined once.
//! there.join(&delta);
//! there.join(&delta);
//! assert_eq!(there.value(), 5);
//! assert_eq!(there.difference(&here).value(), 3, "what here has not heard yet");
//! ```

mod codec;
mod context;
mod g_counter;
mod lww_map;
mod operations;
mod or_set;
mod pn_counter;

use std::fmt::Debug;

use crate::wire::NodeId;

pub(crate) use codec::ascending;
pub use codec::{Encoded, Part, Reader, Size, Writer};
pub use context::{CausalContext, Dot};
pub use g_counter::GCounter;
pub use lww_map::{LwwMap, MapUpdate, Stamp};
pub use operations::{Counter, MapOperation, MapOperations, SetOperation, SetOperations};
pub use or_set::{OrSet, SetUpdate};
pub use pn_counter::PnCounter;

/// A join-semilattice whose states are joins of parts that cannot be divided further.
///
/// [`Default`] is bottom, below all others.
pub trait Lattice: Encoded + Clone + Debug + Default + Eq {
    /// Becomes the least state above both.
    fn join(&mut self, other: &Self);

    /// The least state that, joined with `known`, is `self` joined with `known`: the join of those parts of `self` that
    /// are not below `known` (Enes, Almeida, Baquero, Leitao, *Efficient synchronization of state-based CRDTs*, ICDE
    /// 2019, section III-B).
    #[must_use]
    fn difference(&self, known: &Self) -> Self;

    /// Its join-irreducible parts: their join is `self`, and that of fewer is not (the same, section III-A). For laws and
    /// small states: there may be as many as there were updates.
    fn decompose(&self) -> Vec<Self>;

    /// How many entries it is written as: each has a part of what is known, or several that stand as one.
    fn elements(&self) -> u64;

    /// True of the one below all others.
    fn is_bottom(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a join with it would change nothing in `other`.
    fn is_below(&self, other: &Self) -> bool {
        self.difference(other).is_bottom()
    }
}

/// A lattice with a meaning, and updates that go up in it.
pub trait Crdt: Lattice {
    /// What a user may ask for.
    type Update: Clone + Debug;
    /// What a user sees.
    type Value: Eq + Debug;
    /// The same type by operations.
    type Operations: Operations<Self::Update, Value = Self::Value>;

    /// The delta of an update at a replica, by what it knows: joined with `self`, the state after it (a delta-mutator,
    /// Almeida et al. 2018, section 4). No two replicas may be `at` the same node.
    #[must_use]
    fn delta(&self, at: NodeId, update: &Self::Update) -> Self;

    /// What it means.
    fn value(&self) -> Self::Value;
}

/// A type by operations, which are applied once each, causes first. Concurrent ones commute.
pub trait Operations<U>: Encoded + Clone + Debug + Default + Eq {
    /// What is sent.
    type Operation: Encoded + Clone + Debug + Eq;
    /// What a user sees.
    type Value: Eq + Debug;

    /// The operation that an update at a replica is; `None` for one that changes nothing.
    fn prepare(&self, at: NodeId, update: &U) -> Option<Self::Operation>;

    /// Applies an operation whose name among all of them is `id`.
    fn apply(&mut self, id: Dot, operation: &Self::Operation);

    /// What it means.
    fn value(&self) -> Self::Value;
}
