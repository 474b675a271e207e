//! Floors: what a protocol's numbers are read against. **Not protocols**: neither survives a fault.
//!
//! [`Echo`] is the transport and the clients with nothing in between; [`Star`] is the cheapest thing
//! that replicates. "Raft reaches 61 % of echo" means something on any machine.

mod echo;
mod star;

pub use echo::Echo;
pub use star::Star;
