//! The engine.

pub mod spec;
