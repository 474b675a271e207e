//! Is there an order of the operations that explains what every client saw?
//!
//! The object is a map of registers (put, get, delete), every key absent at first. A history is linearizable (Herlihy
//! & Wing, TOPLAS 1990) if every operation can be given one moment between its invocation and its return, so that each
//! get reads what the last put or delete of its key before that moment left there. Operations that are `info` may take
//! their moment at any time after the invocation, or never; those that `fail` have none.
//!
//! Linearizability is local: a history is linearizable if each key's is (Horn & Kroening, *Faster linearizability
//! checking via P-compositionality*, FORTE 2015). So keys are searched one by one, each with Wing & Gong's search
//! (*Testing and verifying concurrent objects*, JPDC 1993) and Lowe's memory of where it has been (*Testing for
//! linearizability*, CCPE 2017); the module `search` has the details, and what a register allows besides.
//!
//! The search can be exponential in the number of operations that overlap on one key. It is bounded by [`Limits`], in
//! steps and bytes and not in seconds, so the same history gives the same verdict on every machine. Give each key few
//! clients, and it never comes near them.
//!
//! ```
//! use quorumbench::check::{History, linearizability};
//!
//! let history = r#"{"client":0,"op":"put","key":"a","value":"x","invoke_ns":1,"return_ns":3,"result":"ok"}
//! {"client":1,"op":"get","key":"a","value":null,"invoke_ns":2,"return_ns":4,"result":"ok"}
//! {"client":1,"op":"get","key":"a","value":null,"invoke_ns":5,"return_ns":6,"result":"ok"}"#;
//! let verdict = linearizability::check(&History::read(history.as_bytes())?);
//! assert!(!verdict.is_linearizable(), "the second get is stale: {verdict}");
//! # Ok::<(), quorumbench::check::HistoryError>(())
//! ```
//!
//! Why not a library: `todc-utils` is the one whose verdicts could be trusted when tried, but its last release is of
//! September 2023, and it has no bound, no word on *which* operations are to blame, no pending operations, and a memory
//! of one byte an operation for every state.

use std::fmt;

use bytes::Bytes;

use super::history::{History, Operation, escape};

mod prepare;
mod search;

use prepare::Register;
use search::{Found, Search};

/// How much a check may do before it gives up, over all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Looks at an operation. One takes some tens of nanoseconds, with all that comes of it.
    pub steps: u64,
    /// Bytes that remember where one key's search has been.
    pub memory_bytes: usize,
}

impl Default for Limits {
    /// About ten seconds, and a quarter of a gigabyte. Ten thousand operations of 16 clients on one key, the hardest of
    /// the usual, take a hundred thousand steps.
    fn default() -> Self {
        Self { steps: 300_000_000, memory_bytes: 256 << 20 }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none.
    Violation {
        /// The key whose operations cannot be ordered.
        key: Bytes,
        /// The last operations of the longest order found.
        before: Vec<Operation>,
        /// What the key holds after them.
        holds: Option<Bytes>,
        /// Of these, one must come next, and none can.
        operations: Vec<Operation>,
    },
    /// The limits were reached first. Not a pass: treat it as a failure.
    Unknown,
}

/// A verdict, and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was found.
    pub verdict: Verdict,
    /// Different states that the searches went through: what was linearized, and what the register held.
    pub states: u64,
    /// Looks at an operation: what [`Limits::steps`] bounds.
    pub steps: u64,
}

impl Verdict {
    /// Whether it is a pass.
    pub fn is_linearizable(&self) -> bool {
        *self == Self::Linearizable
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, before, holds, operations) = match self {
            Self::Linearizable => return f.write_str("linearizable"),
            Self::Unknown => return f.write_str("unknown: the search reached its limits"),
            Self::Violation { key, before, holds, operations } => (key, before, holds, operations),
        };
        let held = holds.as_ref().map_or_else(|| "absent".into(), |value| format!("\"{}\"", escape(value)));
        writeln!(f, "not linearizable: key \"{}\". The longest order found ends with", escape(key))?;
        before.iter().try_for_each(|operation| writeln!(f, "  {operation}"))?;
        writeln!(f, "and the key is then {held}. One of these must come next, and none leads on:")?;
        operations.iter().try_for_each(|operation| writeln!(f, "  {operation}"))
    }
}

/// Checks `history` within the default limits.
pub fn check(history: &History) -> Verdict {
    check_within(history, Limits::default()).verdict
}

/// Checks `history` within `limits`. A violation of one key is found even if another key is given up.
pub fn check_within(history: &History, limits: Limits) -> Report {
    let mut report = Report { verdict: Verdict::Linearizable, states: 0, steps: 0 };
    for (key, operations) in history.by_key() {
        let register = Register::new(&operations);
        let left = Limits { steps: limits.steps.saturating_sub(report.steps), ..limits };
        let mut search = Search::new(&register, left);
        let found = search.run();
        report.states += search.states();
        report.steps += search.steps();
        match found {
            Found::Order => {}
            Found::GaveUp => report.verdict = Verdict::Unknown,
            Found::Stuck { before, blocked } => {
                let those = |items: &[usize]| items.iter().map(|&item| register.operation(item).clone()).collect();
                report.verdict = Verdict::Violation {
                    key: key.clone(),
                    holds: register.held_after(&before),
                    operations: those(&blocked),
                    before: those(&before),
                };
                break;
            }
        }
    }
    report
}

#[cfg(test)]
mod tests;
