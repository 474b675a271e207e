//! What the tests share: a cluster on a bench, without clock or network, and a runner for scripts.

#![allow(dead_code, unreachable_pub, missing_docs)]
// The clones that a test makes are not on anyone's hot path.
#![allow(clippy::disallowed_methods)]

pub mod bench;
pub mod cluster;
pub mod script;
