//! The engine: load, drive, measure, store, summarise.
//!
//! The data flow is the order of the modules:
//!
//! ```text
//! spec -> load -> client ==transport==> node [ protocol + state machine ] ==transport==> client
//!      -> measure -> results -> summary | compare | report
//! ```
//!
//! And this is where a command goes:
//!
//! ```text
//!             load, on schedule                         one turn: step all that came, flush once
//!   ┌────────┐   batches    ┌───────────┐   ┌─────────────────────────────────────────────────────┐
//!   │ client ├─────────────>│ transport ├──>│ node:  protocol  ->  log  ->  state machine         │
//!   │        │<─────────────┤  mem      │<──┤        raft, zab       one handle on the batch in   │
//!   └───┬────┘   answers    │  uring    │   │        (multi)paxos    the log, the wire, the       │
//!       │                   │  tokio-tcp│   │        echo, star      delivery: no copies          │
//!       v                   └─────┬─────┘   └─────────────────────────────────────────────────────┘
//!   histograms, costs,            └──── other replicas: one append and one acknowledgement a turn
//!   floors, warnings ──> table + results/
//! ```
//!
//! [`node::Node`] and [`client::Client`] are state machines without I/O, like the protocols; [`drive`]
//! gives them threads, clocks and transports. [`sim`] gives the same nodes virtual ones, breaks what can
//! break, and checks what must hold.
//!
//! # One point, measured
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use quorumbench::drive;
//! use quorumbench::spec::Spec;
//!
//! let config = r#"
//!     name = "doctest"
//!     cluster = { protocol = "echo", transport = "mem" }
//!     load = { arrival = "closed", outstanding = 16 }
//!     run = { warmup = "10ms", duration = "100ms" }
//! "#;
//! let spec = Spec::parse(config, "doctest.toml", &[])?;
//! let outcome = drive::measure(&spec.points()[0], spec.run(), 1, &[], &AtomicBool::new(false), &mut |_| ())?;
//! assert!(outcome.recording.tally.completed > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod spec;

pub mod batch;
pub mod load;
pub mod request;

pub mod client;
pub mod machine;
pub mod node;
pub mod session;
pub mod wal;

pub mod check;
pub mod convergence;
pub mod epidemic;
pub mod population;
pub mod sim;

pub mod disk;
pub mod doctor;
pub mod drive;
pub mod host;
pub mod live;
pub mod measure;
pub mod results;
pub mod run;
pub mod warnings;

pub mod compare;
pub mod export;
pub mod history;
pub mod report;
pub mod tune;

pub mod bundled;
pub mod cli;
mod console;
pub mod metrics;
pub mod progress;
mod remote;
pub mod schema;
pub mod summary;
mod trials;
#[cfg(feature = "tui")]
pub mod tui;
