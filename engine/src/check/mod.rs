//! Was it safe? Checks of what clients saw, in code that shares nothing with the protocols.
//!
//! Two checkers, for two sizes of question:
//!
//! - [`linearizability`] searches: given only a [`History`] of operations with their times, is there any order of them
//!   that explains what every client saw? It knows nothing of the system, and costs a search. For simulated runs, and
//!   for histories from elsewhere.
//! - [`witness`] verifies: a replicated log already *names* an order, the slots'. Given what every replica applied and
//!   what every client was told, is that order whole, the same everywhere, true to real time, and does replaying it
//!   give the very answers? It costs one pass, so it holds a run at full speed to account (`run --check`).
//!
//! Both are **safety** checks, and neither finds fault with a correct run: times are taken outside of the interval that
//! they stand for (before the send, after the receipt), so an operation never looks shorter than it was. What a client
//! does not know is never held against the system: an operation without an answer may have happened or not.
//!
//! A search may give up. [`Verdict::Unknown`] is not a pass: whoever asks treats it as a failure.

pub mod history;
pub mod linearizability;
pub mod witness;

pub use history::{History, HistoryError, Op, Operation, Outcome};
pub use linearizability::{Limits, Report, Verdict};
