//! Paxos (Lamport, *Paxos Made Simple*, 2001): what every protocol of that family is made of.

mod ballot;

pub use self::ballot::{Accepted, Ballot};
