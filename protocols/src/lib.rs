//! Distributed protocols as state machines without I/O.
//!
//! A protocol knows no time, chance, socket, thread or file. `now` and a seed come in, an [`Outbox`]
//! goes out, so the same code is *measured* on real transports and *checked* in a simulator.
//!
//! Three ideas carry everything here:
//!
//! 1. **A slot is a batch, and a batch is the client's bytes verbatim.** A protocol orders batches;
//!    it never looks inside one, never re-encodes one, never copies one. A message is a fixed
//!    [`Head`] and at most one shared [`Payload`].
//! 2. **Step accumulates, flush emits.** The driver steps everything that has arrived and flushes
//!    once: however much came, there is one acknowledgement and one commit advance.
//! 3. **Durability is an input.** Records go out in a flush and are vouched for, later, by
//!    [`Input::Durable`]. With no disk behind it, the driver answers at once: the code is the same.
//!
//! The contract is in [`io`], what travels in [`wire`]. The mechanics that protocols share are [`log`],
//! [`quorum`], [`window`] and [`prng`], and inside the crate `journal` (what is durable), `timer`
//! (elections), `snapshots` (what may go because of one), `transfer` (one on its way), `handover` (of leadership) and `reads`
//! (beside the log). [`raft`], [`multipaxos`], [`zab`] and [`paxos`] are protocols; [`floors`] are not: they are what a
//! protocol's numbers are read against. [`gossip`] orders nothing: an update spreads from node to node.
//! What needs no agreement is in [`crdt`], and how its replicas come to know the same in [`reconcile`].
//!
//! Tiny clusters are checked exhaustively as well (`tests/exhaustive`): three nodes of each protocol, up to three
//! commands and timeouts, with a crash, a lost, doubled or late frame, fast or slow disks, in every order in which that
//! can happen, for agreement on each slot, delivery in order and once, integrity, and one leader a term, ballot or
//! epoch.
//!
//! # Driving one by hand
//!
//! ```
//! use bytes::Bytes;
//! use quorumbench_protocols::floors::Star;
//! use quorumbench_protocols::{Config, Frame, Input, Nanos, NodeId, Outbox, Protocol};
//!
//! # fn main() -> Result<(), quorumbench_protocols::Malformed> {
//! let now = Nanos::ZERO;
//! let mut leader = Star::new(&Config::new(NodeId(0), 2), 1);
//! let mut follower = Star::new(&Config::new(NodeId(1), 2), 2);
//! let (mut out, mut theirs) = (Outbox::default(), Outbox::default());
//!
//! // The follower's first deadline has passed: it says that it is there.
//! follower.step(now, Input::Timeout, &mut theirs)?;
//! let hello = theirs.transmits.remove(0);
//! leader.step(now, Input::Frame(&Frame { head: hello.head, body: hello.body }), &mut out)?;
//!
//! // A client's batch: one record for the leader's journal, one transmit for all followers.
//! leader.step(now, Input::Submit(&Bytes::from_static(b"a batch").into()), &mut out)?;
//! leader.flush(now, &mut out);
//! let (record, propose) = (out.records.remove(0), out.transmits.remove(0));
//!
//! // The follower writes it down, and acknowledges when it is durable.
//! follower.step(now, Input::Frame(&Frame { head: propose.head, body: propose.body }), &mut theirs)?;
//! follower.step(now, Input::Durable(theirs.records[0].lsn), &mut theirs)?;
//! follower.flush(now, &mut theirs);
//! let acknowledgement = theirs.transmits.remove(0);
//!
//! // Leader and follower are a majority: the batch is delivered, verbatim.
//! leader.step(now, Input::Durable(record.lsn), &mut out)?;
//! leader.step(now, Input::Frame(&Frame { head: acknowledgement.head, body: acknowledgement.body }), &mut out)?;
//! leader.flush(now, &mut out);
//! assert_eq!(out.deliveries[0].body.pieces()[0], "a batch");
//! # Ok(())
//! # }
//! ```

pub mod crdt;
pub mod floors;
pub mod gossip;
mod handover;
pub mod io;
mod journal;
pub mod log;
pub mod multipaxos;
#[cfg_attr(not(feature = "mutants"), doc(hidden))]
pub mod mutant;
pub mod paxos;
pub mod prng;
pub mod quorum;
pub mod raft;
mod reads;
pub mod reconcile;
mod snapshots;
mod timer;
mod transfer;
pub mod window;
pub mod wire;
pub mod zab;

pub use io::{
    Change, Config, Delivery, DeliveryKind, Input, Outbox, Protocol, ReadAnswer, ReadMode, ReadOutcome, Record,
    Refusal, Snapshot, Transmit,
};
pub use log::LogSize;
pub use prng::Prng;
pub use wire::{Frame, Head, Lsn, Malformed, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};
