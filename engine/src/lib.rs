//! The engine.

pub mod batch;
pub mod client;
pub mod drive;
pub mod load;
pub mod machine;
pub mod measure;
pub mod node;
pub mod request;
pub mod session;
pub mod spec;
