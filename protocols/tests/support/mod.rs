//! What the tests share: a cluster on a bench, without clock or network, and a runner for scripts.

#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod cluster;
pub mod script;
