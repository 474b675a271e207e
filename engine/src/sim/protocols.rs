//! The one place of the simulator that knows protocols by name.
#![expect(clippy::disallowed_types, reason = "this is that place")]

use quorumbench_protocols::multipaxos::{self, MultiPaxos};
use quorumbench_protocols::raft::message::Message;
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{Frame, Head, Payload, Slot};

use super::runner::{self, Outcome, Print};
use super::subject::{Subject, View};
use super::swarm::Wishes;
use crate::spec::ProtocolName;

/// Runs one seed of the protocol of this name. `None` for a floor, which survives no faults.
pub fn run(protocol: ProtocolName, seed: u64, wishes: &Wishes, print: Option<Print>) -> Option<Outcome> {
    match protocol {
        ProtocolName::Raft => Some(runner::run::<Raft>(seed, wishes, print)),
        ProtocolName::MultiPaxos => Some(runner::run::<MultiPaxos>(seed, wishes, print)),
        ProtocolName::Echo | ProtocolName::Star => None,
    }
}

impl Subject for Raft {
    fn view(&self) -> View {
        let (role, leads) = match self.role() {
            Role::Follower => ('F', false),
            Role::PreCandidate => ('P', false),
            Role::Candidate => ('C', false),
            Role::Leader => ('L', true),
        };
        let log = self.log();
        View {
            term: self.term(),
            role,
            leads,
            voted_for: self.voted_for(),
            committed: self.committed(),
            trimmed: log.trimmed(),
            last: log.last(),
        }
    }

    fn stamp(&self, slot: Slot) -> Option<u64> {
        self.log().stamp(slot)
    }

    fn body(&self, slot: Slot) -> Option<&Payload> {
        self.log().get(slot).map(|entry| &entry.body)
    }

    fn describe(head: &Head) -> String {
        // The body is not at hand, and no message says anything of it.
        let frame = Frame { head: Head { body_len: 0, ..*head }, body: Payload::EMPTY };
        Message::read(&frame).map_or_else(|error| error.to_string(), |message| message.to_string())
    }
}

impl Subject for MultiPaxos {
    const LEADS_WITH_ALL: bool = false;
    const HAS_QUORUMS: bool = true;

    fn view(&self) -> View {
        let (role, leads) = match self.role() {
            multipaxos::Role::Follower => ('F', false),
            multipaxos::Role::Candidate => ('C', false),
            multipaxos::Role::Leader => ('L', true),
        };
        let log = self.log();
        View {
            term: self.promised().word(),
            role,
            leads,
            voted_for: None,
            committed: log.last(),
            trimmed: log.trimmed(),
            last: log.last(),
        }
    }

    /// One for all: nodes accept one value under different ballots, and its log has nothing that is not decided. So
    /// "log matching" says that all nodes decide the same.
    fn stamp(&self, slot: Slot) -> Option<u64> {
        self.log().stamp(slot).map(|_| 1)
    }

    fn body(&self, slot: Slot) -> Option<&Payload> {
        self.log().get(slot).map(|entry| &entry.body)
    }

    fn describe(head: &Head) -> String {
        let message = multipaxos::message::Message::of_words(head);
        message.map_or_else(|| format!("kind {}", head.kind), |message| message.to_string())
    }
}
