//! The one place of the simulator that knows protocols by name.
#![expect(clippy::disallowed_types, reason = "this is that place")]

use std::fmt::Display;

use quorumbench_protocols::multipaxos::{self, MultiPaxos};
use quorumbench_protocols::paxos::message::{self as paxos, Proposal};
use quorumbench_protocols::paxos::{Ballot, Paxos};
use quorumbench_protocols::raft::membership::Members;
use quorumbench_protocols::raft::message::Message;
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::zab::{Standing, Zab, message as zab};
use quorumbench_protocols::{DeliveryKind, Frame, Head, Payload, Record, Slot};

use super::runner::{self, Outcome, Print};
use super::subject::{Abilities, Carried, Membership, Paper, Promised, Subject, View, Vote};
use super::swarm::Wishes;
use crate::spec::{ProtocolName, ReadsMode};

/// Runs one seed of the protocol of this name. `None` for a floor, which survives no faults, and
/// for what orders nothing.
pub fn run(protocol: ProtocolName, seed: u64, wishes: &Wishes, print: Option<Print>) -> Option<Outcome> {
    match protocol {
        ProtocolName::Raft => Some(runner::run::<Raft>(seed, wishes, print)),
        ProtocolName::Zab => Some(runner::run::<Zab>(seed, wishes, print)),
        ProtocolName::Paxos => Some(runner::run::<Paxos>(seed, wishes, print)),
        ProtocolName::MultiPaxos => Some(runner::run::<MultiPaxos>(seed, wishes, print)),
        ProtocolName::Echo
        | ProtocolName::Star
        | ProtocolName::Gossip
        | ProtocolName::Crdt
        | ProtocolName::Database => None,
    }
}

/// What a protocol can be asked for; `None` for a floor, and for what orders nothing.
pub fn abilities(protocol: ProtocolName) -> Option<Abilities> {
    match protocol {
        ProtocolName::Raft => Some(Raft::ABILITIES),
        ProtocolName::MultiPaxos => Some(MultiPaxos::ABILITIES),
        ProtocolName::Zab => Some(Zab::ABILITIES),
        ProtocolName::Paxos => Some(Paxos::ABILITIES),
        ProtocolName::Echo
        | ProtocolName::Star
        | ProtocolName::Gossip
        | ProtocolName::Crdt
        | ProtocolName::Database => None,
    }
}

/// What a protocol shows of its log, which all of them keep in the same way.
macro_rules! shows_its_log {
    () => {
        fn stamp(&self, slot: Slot) -> Option<u64> {
            self.log().stamp(slot)
        }

        fn entry(&self, slot: Slot) -> Option<(DeliveryKind, &Payload)> {
            self.log().get(slot).map(|entry| (entry.kind, &entry.body))
        }
    };
}

impl Subject for Raft {
    const PAPER: Paper = Paper::Raft;
    const ABILITIES: Abilities = Abilities {
        members: true,
        quorums: false,
        observers: false,
        reads: &[ReadsMode::Index, ReadsMode::Lease, ReadsMode::Stale],
    };

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

    shows_its_log!();

    fn members(&self) -> Option<Membership> {
        let Members { voters, outgoing, learners } = Raft::members(self);
        Some(Membership { slot: self.members_slot(), voters, outgoing, learners })
    }

    fn describe(head: &Head) -> String {
        text(Message::read(&bare(head)))
    }
}

impl Subject for Paxos {
    const PAPER: Paper = Paper::Paxos;
    const ABILITIES: Abilities =
        Abilities { members: false, quorums: false, observers: false, reads: &[ReadsMode::Stale] };

    fn view(&self) -> View {
        let log = self.log();
        View {
            term: self.promised().round,
            role: if self.proposes().is_some() { 'P' } else { 'A' },
            leads: false,
            voted_for: (self.promised() > Ballot::ZERO).then(|| self.promised().node),
            committed: log.last(),
            trimmed: log.trimmed(),
            last: log.last(),
        }
    }

    shows_its_log!();

    fn promised(&self) -> Promised {
        Promised { slot: self.slot(), ballot: Self::promised(self).word() }
    }

    fn accepted(&self, slot: Slot) -> Option<(u64, &Payload)> {
        let accepted = Self::accepted(self).filter(|_| slot == self.slot())?;
        Some((accepted.ballot.word(), &accepted.body))
    }

    fn vote(record: &Record) -> Option<Vote<'_>> {
        let frame = Frame { head: record.head, body: record.body.clone() };
        let Ok(paxos::Message::Accept(Proposal { slot, ballot })) = paxos::Message::read(&frame) else { return None };
        Some(Vote { slot, ballot: ballot.word(), body: &record.body })
    }

    fn describe(head: &Head) -> String {
        text(paxos::Message::read(&bare(head)))
    }
}

impl Subject for MultiPaxos {
    const PAPER: Paper = Paper::Paxos;
    const ABILITIES: Abilities = Abilities {
        members: false,
        quorums: true,
        observers: false,
        reads: &[ReadsMode::Index, ReadsMode::Lease, ReadsMode::Stale],
    };

    fn view(&self) -> View {
        let (role, leads) = match self.role() {
            multipaxos::Role::Follower => ('F', false),
            multipaxos::Role::Candidate => ('C', false),
            multipaxos::Role::Leader => ('L', true),
        };
        let log = self.log();
        View {
            term: Self::promised(self).word(),
            role,
            leads,
            voted_for: None,
            committed: log.last(),
            trimmed: log.trimmed(),
            last: log.last(),
        }
    }

    shows_its_log!();

    fn promised(&self) -> Promised {
        Promised { slot: Slot::ZERO, ballot: Self::promised(self).word() }
    }

    fn accepted(&self, slot: Slot) -> Option<(u64, &Payload)> {
        let (_, accepted) = Self::accepted(self).find(|&(at, _)| at == slot)?;
        Some((accepted.ballot.word(), &accepted.body))
    }

    fn vote(record: &Record) -> Option<Vote<'_>> {
        let frame = Frame { head: record.head, body: record.body.clone() };
        let Ok(multipaxos::message::Message::Accept(accept)) = multipaxos::message::Message::read(&frame) else {
            return None;
        };
        Some(Vote { slot: accept.slot, ballot: accept.ballot.word(), body: &record.body })
    }

    fn describe(head: &Head) -> String {
        text(multipaxos::message::Message::of_words(head).ok_or_else(|| format!("kind {}", head.kind)))
    }
}

impl Subject for Zab {
    const PAPER: Paper = Paper::Zab;
    const ABILITIES: Abilities =
        Abilities { members: false, quorums: false, observers: true, reads: &[ReadsMode::Index, ReadsMode::Stale] };

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

    shows_its_log!();

    fn carried(frame: &Frame) -> Option<Carried> {
        match zab::Message::read(frame).ok()? {
            zab::Message::Sync(sync) => Some(Carried::Begin(sync.epoch, sync.slot)),
            zab::Message::Chunk(chunk) => Some(Carried::Begin(chunk.epoch, chunk.slot)),
            zab::Message::Propose(propose) => Some(Carried::Transaction(propose.slot)),
            zab::Message::Ack(ack) => Some(Carried::Held(ack.epoch, ack.durable)),
            _ => None,
        }
    }

    fn describe(head: &Head) -> String {
        text(zab::Message::read(&bare(head)))
    }
}

/// A frame without its body, which is not at hand; no message's text says anything of it.
fn bare(head: &Head) -> Frame {
    Frame { head: Head { body_len: 0, ..*head }, body: Payload::EMPTY }
}

/// A message in a few words; or what is wrong with it.
fn text(message: Result<impl Display, impl Display>) -> String {
    message.map_or_else(|error| error.to_string(), |message| message.to_string())
}
