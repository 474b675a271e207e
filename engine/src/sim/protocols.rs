//! The one place of the simulator that knows protocols by name.
#![expect(clippy::disallowed_types, reason = "this is that place")]

use quorumbench_protocols::raft::{Raft, Role, message::Message as RaftMessage};
use quorumbench_protocols::zab::{Standing, Zab, message::Message as ZabMessage};
use quorumbench_protocols::{Frame, Head, Payload, Slot};

use super::runner::{self, Outcome, Print};
use super::subject::{Subject, View};
use super::swarm::Wishes;
use crate::spec::ProtocolName;

/// Runs one seed of the protocol of this name. `None` for a floor, which survives no faults.
pub fn run(protocol: ProtocolName, seed: u64, wishes: &Wishes, print: Option<Print>) -> Option<Outcome> {
    match protocol {
        ProtocolName::Raft => Some(runner::run::<Raft>(seed, wishes, print)),
        ProtocolName::Zab => Some(runner::run::<Zab>(seed, wishes, print)),
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
        RaftMessage::read(&bare(head)).map_or_else(|error| error.to_string(), |message| message.to_string())
    }
}

impl Subject for Zab {
    const OBSERVES: bool = true;
    const HAS_PRIMARIES: bool = true;

    fn view(&self) -> View {
        let role = match self.standing() {
            Standing::Looking => '?',
            Standing::Following => 'F',
            Standing::Observing => 'O',
            Standing::Leading if self.is_established() => 'L',
            Standing::Leading => 'P',
        };
        let log = self.log();
        View {
            term: self.accepted_epoch(),
            role,
            leads: self.is_established(),
            voted_for: self.accepted_of(),
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
        ZabMessage::read(&bare(head)).map_or_else(|error| error.to_string(), |message| message.to_string())
    }
}

/// A frame without its body, which is not at hand; no message's text says anything of it.
fn bare(head: &Head) -> Frame {
    Frame { head: Head { body_len: 0, ..*head }, body: Payload::EMPTY }
}
