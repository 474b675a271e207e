//! What is asked for and when: arrivals on an absolute schedule, keys, commands.
//!
//! Everything here is drawn from a seed before it is needed, costs nanoseconds a command, and knows
//! no transport: the generator must never be the bottleneck.

mod arrivals;
mod commands;
mod zipf;

pub use arrivals::{Arrivals, Schedule};
pub use commands::{CommandStream, Mix};
