//! The simulator: what is measured is what is checked.
//!
//! A [`World`] runs the very [`Node::turn`](crate::node::Node::turn) that is measured, in virtual time,
//! under faults drawn from one seed, and after every event checks every published safety
//! property ([`checks`]). The same seed gives the same bytes of output on every machine.
//!
//! A seed draws a [`Scenario`]: a cluster, its clients, and its own subset of the [`Fault`]s. It has two
//! phases. First anything may break, and may heal: that is about safety. Then a random majority is healed
//! for good while the rest stays broken for ever, and the cluster must make progress: everything that was
//! asked is answered in bounded time, one node leads, and all healthy members have delivered the same.
//!
//! Members come and go in some seeds, and spare nodes join. Then a majority of every membership that may
//! still count is healed, and in a joint configuration one of each half.
//!
//! What a protocol must bring to be simulated is a [`Subject`]: a few getters for the checkers. What is
//! virtual about a node is its clock (which drifts, and leaps), its disk (whose syncs are slow, out of
//! order, or fail, and which a crash may leave torn) and its links. Its code is the real one.
//!
//! ```
//! use quorumbench::sim::{Wishes, protocols};
//! use quorumbench::spec::ProtocolName;
//!
//! let outcome = protocols::run(ProtocolName::Raft, 1, &Wishes::default(), None).expect("raft is no floor");
//! assert_eq!(outcome.failure, None);
//! assert_eq!(Some(outcome), protocols::run(ProtocolName::Raft, 1, &Wishes::default(), None));
//! ```

pub mod checks;
pub mod cli;
pub mod history;
pub mod protocols;
pub mod report;
pub mod runner;
pub mod shrink;

mod ambush;
mod chaos;
mod client;
mod clock;
mod disk;
mod fault;
mod link;
mod machine;
mod members;
mod progress;
pub(crate) mod queue;
mod replica;
mod subject;
mod swarm;
mod trace;
mod world;

pub use checks::Violation;
pub use client::{ClientOptions, Command, Operation};
pub use disk::DiskOptions;
pub use fault::{Fault, Injected, PerFault, Strength};
pub use link::LinkOptions;
pub use runner::{Failure, Outcome, Print};
pub use subject::{Abilities, Membership, Paper, Promised, Subject, View, Vote};
pub use swarm::{Cluster, Scenario, Wishes};
pub use world::{PerMode, Stats, World};
