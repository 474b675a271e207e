//! What must hold, checked after every event, by published names.
//!
//! The first nine are properties of one paper, and checked of protocols that go by it
//! ([`Paper`]); the others are checked of all.
//!
//! The checkers share no code with the protocols. They keep their own copy of every node's log, of
//! what was chosen, and of what the state machine must answer, and look after each event only at
//! what changed on the node that just took its turn.
//!
//! | property | what is checked | where |
//! |---|---|---|
//! | election safety | at most one leader and one vote of a node in a term, across restarts (Raft paper, figure 3) | [`elections`] |
//! | leader completeness | a leader holds what was committed in earlier terms (figure 3) | [`elections`] |
//! | leader append-only | a leader never overwrites or cuts its log (figure 3) | [`logs`] |
//! | learners only learn | nobody leads who is a learner by its own log (thesis, section 4.2.1) | here |
//! | log matching | same slot, same term: same batch and same log before it (figure 3) | [`logs`] |
//! | only a proposed value is chosen | what is accepted is a client's batch or a no-op (*Paxos Made Simple*, section 2.1) | [`acceptors`] |
//! | only one value is chosen | per slot; what is accepted under a higher ballot is that value (sections 2.1 and 2.2, P2b) | [`acceptors`] |
//! | only what is chosen is learned | a quorum had durably accepted it, under one ballot (section 2.1) | [`acceptors`] |
//! | promises are kept | nothing is accepted below a promise, and neither is forgotten in a crash (sections 2.2 and 2.4) | [`acceptors`] |
//! | one value per ballot | per slot; no ballot is used twice (section 2.2) | [`acceptors`] |
//! | committed slots never change | on no node, across restarts | [`agreement`] |
//! | state machine safety | no two nodes apply different things at a slot (figure 3) | [`agreement`] |
//! | delivery in slot order, once | without gaps | [`agreement`] |
//! | local primary order | a primary's transactions, each after those before it (Zab, DSN 2011, section II.B) | [`primary`] |
//! | global primary order | an epoch's transactions after those of earlier epochs | [`primary`] |
//! | primary integrity | a primary has whatever is delivered of earlier epochs | [`primary`] |
//! | proposals leave no gap | a leader proposes every transaction to each follower, after all before it (section IV) | [`streams`] |
//! | applied at most once | each client's batch, however often it was sent | [`commands`] |
//! | client order | a client's batches are chosen in the order in which it sent them; not where slots are decided one by one | [`commands`] |
//! | nothing acknowledged is lost | what a client was told is committed | [`commands`] |
//! | replies do not contradict | a reply is what the map answers at that place of the log | [`commands`] |
//! | real-time order | what was answered before another was asked comes before it | [`commands`] |
//! | linearizable reads | read beside the log, as of a slot: what the map held there, and no slot older than what was known when the read was asked | [`commands`] |
//! | stale reads were once true | likewise, but for how old it is: never uncommitted, never invented | [`commands`] |
//! | linearizability | some order of all that clients asked explains all that they saw | [`history`](super::history) |
//! | linearizability is decided | within bounded steps; a search that gives up is a failure | [`history`](super::history) |
//! | correct nodes are well-formed | no node refuses another's frame, or its own records | the world |
//! | no panic | a protocol's own assertions hold | the runner |
//! | liveness | a healed majority answers everything, with one leader | the world |
//!
//! Slot order is the witness of linearizability here: "replies do not contradict", "real-time order" and
//! "linearizable reads" together say that what clients saw is what one map, asked in slot order, would have
//! told them. When a seed is over, its clients' history is searched besides, without a witness, and without
//! stale reads: "linearizability".

use std::fmt;

use quorumbench_protocols::{Delivery, DeliveryKind, Frame, Lsn, Nanos, NodeId, Record, Slot, Transmit};

use super::machine::RESTORED;
use super::subject::{Membership, Paper, Subject, View};

pub mod acceptors;
pub mod agreement;
pub mod commands;
pub mod elections;
pub mod logs;
mod model;
pub mod primary;
pub mod streams;

use acceptors::Acceptors;
use agreement::Agreement;
use commands::Ledger;
pub use commands::Read;
use elections::Elections;
use logs::Logs;
use primary::Primaries;
use streams::Streams;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its published name: one of [`property`].
    pub property: &'static str,
    /// What was seen instead.
    pub detail: String,
}

impl Violation {
    pub(super) fn new(property: &'static str, detail: impl Into<String>) -> Self {
        Self { property, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)
    }
}

/// The names of the properties.
pub mod property {
    /// At most one leader in a term.
    pub const ELECTION_SAFETY: &str = "election safety";
    /// A leader holds what was committed in earlier terms.
    pub const LEADER_COMPLETENESS: &str = "leader completeness";
    /// Who has no vote does not lead.
    pub const LEARNERS_ONLY_LEARN: &str = "learners only learn";
    /// A leader only appends.
    pub const LEADER_APPEND_ONLY: &str = "leader append-only";
    /// Same slot and term, same log up to there.
    pub const LOG_MATCHING: &str = "log matching";
    /// A client's batch or a no-op.
    pub const CHOSEN_IS_PROPOSED: &str = "only a proposed value is chosen";
    /// One per slot.
    pub const CHOSEN_ONCE: &str = "only one value is chosen";
    /// Nobody takes for chosen what is not.
    pub const LEARNED_IS_CHOSEN: &str = "only what is chosen is learned";
    /// Acceptors stand by what they said.
    pub const PROMISES_KEPT: &str = "promises are kept";
    /// A proposer uses no ballot twice.
    pub const ONE_VALUE_PER_BALLOT: &str = "one value per ballot";
    /// What a node took for committed stays.
    pub const COMMITTED_NEVER_CHANGES: &str = "committed slots never change";
    /// No two nodes apply different things at a slot.
    pub const STATE_MACHINE_SAFETY: &str = "state machine safety";
    /// Every slot once, in order.
    pub const DELIVERY_IN_ORDER: &str = "delivery in slot order, once";
    /// A primary's transactions come in the order in which it broadcast them, without a gap.
    pub const LOCAL_PRIMARY_ORDER: &str = "local primary order";
    /// Transactions come in the order of their primaries.
    pub const GLOBAL_PRIMARY_ORDER: &str = "global primary order";
    /// A primary broadcasts only after it has all that is delivered of earlier ones.
    pub const PRIMARY_INTEGRITY: &str = "primary integrity";
    /// A leader proposes every transaction to each follower, and each after those before it.
    pub const NO_GAPS: &str = "proposals leave no gap";
    /// Each batch changes the state at most once.
    pub const APPLIED_AT_MOST_ONCE: &str = "applied at most once";
    /// A client's batches are chosen in the order in which it sent them.
    pub const CLIENT_ORDER: &str = "client order";
    /// What a client was told is committed, and stays.
    pub const ACKNOWLEDGED_IS_KEPT: &str = "nothing acknowledged is lost";
    /// Replies are those of one map.
    pub const REPLIES_AGREE: &str = "replies do not contradict";
    /// What was answered before another was asked comes before it.
    pub const REAL_TIME_ORDER: &str = "real-time order";
    /// A read beside the log is at least as new as all that was known when it was asked.
    pub const LINEARIZABLE_READS: &str = "linearizable reads";
    /// A read that may be old is what the map held at a committed slot.
    pub const STALE_READS: &str = "stale reads were once true";
    /// What clients saw is what one map would have told them, asked at one moment for each operation.
    pub const LINEARIZABILITY: &str = "linearizability";
    /// The search for such moments came to an end.
    pub const UNDECIDED: &str = "linearizability is decided";
    /// Correct nodes understand each other and themselves.
    pub const WELL_FORMED: &str = "correct nodes are well-formed";
    /// A healed majority makes progress.
    pub const LIVENESS: &str = "liveness";
    /// Nothing panics.
    pub const NO_PANIC: &str = "no panic";
}

/// All checkers, and what they know.
#[derive(Debug)]
pub struct Checks {
    paper: Paper,
    elections: Elections,
    logs: Logs,
    acceptors: Acceptors,
    agreement: Agreement,
    primaries: Primaries,
    streams: Streams,
    ledger: Ledger,
}

impl Checks {
    /// Checkers of a world of so many replicas that go by `paper`, with clients' ids from there on. With that paper's
    /// own kind of quorum, `quorum` of them choose.
    pub fn new(paper: Paper, replicas: usize, clients: usize, quorum: usize) -> Self {
        Self {
            paper,
            elections: Elections::new(replicas),
            logs: Logs::of(paper, replicas),
            acceptors: Acceptors::new(replicas, quorum),
            primaries: Primaries::default(),
            streams: Streams::default(),
            agreement: Agreement::new(paper, replicas),
            ledger: Ledger::new(replicas, clients, paper != Paper::Paxos),
        }
    }

    /// A node took its turn; it handed out `deliveries` and applied the batches in `applied`. Both are emptied.
    pub fn after_turn<P: Subject>(
        &mut self,
        node: usize,
        protocol: &P,
        deliveries: &mut Vec<Delivery>,
        applied: &mut Vec<(u32, u64)>,
    ) -> Result<(), Violation> {
        let view = protocol.view();
        let read = |slot| Some((protocol.stamp(slot)?, protocol.entry(slot)));
        self.logs.observe(node, &view, self.agreement.chosen(), read)?;
        if view.committed != self.agreement.committed(node) {
            self.agreement.on_commit(node, &view, &self.logs)?;
        }
        match self.paper {
            Paper::Raft => self.elections.observe(node, &view, self.agreement.chosen(), &self.logs)?,
            Paper::Zab => {
                self.elections.observe(node, &view, self.agreement.chosen(), &self.logs)?;
                self.primaries.observe(&view, self.agreement.chosen(), |slot| protocol.stamp(slot))?;
            }
            Paper::Paxos => {
                self.elections.crown(node, &view)?;
                self.acceptors.observe(node, protocol.promised())?;
            }
        }
        learners_only_learn(node, &view, protocol.members())?;
        deliveries.iter().try_for_each(|delivery| self.agreement.on_delivery(node, delivery))?;
        if self.ledger.chosen() < self.agreement.chosen().len() {
            for chosen in &self.agreement.chosen()[self.ledger.chosen()..] {
                if self.paper == Paper::Paxos {
                    self.acceptors.on_learned(Slot(self.ledger.chosen() as u64 + 1), &chosen.body)?;
                }
                self.ledger.on_chosen(chosen.batch())?;
            }
        }
        let mut snapshots = deliveries.iter().filter(|delivery| delivery.kind == DeliveryKind::Snapshot);
        for (client, sequence) in applied.drain(..) {
            if (client, sequence) == RESTORED {
                let slot = snapshots.next().map_or(Slot::ZERO, |snapshot| snapshot.slot);
                self.ledger.on_restored(node, slot);
            } else {
                self.ledger.on_applied(node, client, sequence)?;
            }
        }
        deliveries.clear();
        Ok(())
    }

    /// A node writes these records.
    pub fn on_records<P: Subject>(&mut self, node: usize, records: &[Record]) -> Result<(), Violation> {
        for (lsn, vote) in records.iter().filter_map(|record| Some((record.lsn, P::vote(record)?))) {
            if !self.ledger.was_asked(vote.body) {
                let detail = format!("n{node} accepts in slot {} what no client asked for", vote.slot);
                return Err(Violation::new(property::CHOSEN_IS_PROPOSED, detail));
            }
            self.acceptors.on_vote(node, lsn, &vote)?;
        }
        Ok(())
    }

    /// A node sends these.
    pub fn on_transmits<P: Subject>(&mut self, node: usize, transmits: &[Transmit]) -> Result<(), Violation> {
        let from = NodeId(node as u32);
        let carried = |transmit: &Transmit| {
            P::carried(&Frame { head: transmit.head, body: transmit.body.clone() })
                .map(|carried| (transmit.to, carried))
        };
        let all = transmits.iter().filter_map(carried);
        all.flat_map(|(to, carried)| to.iter().map(move |to| (to, carried)))
            .try_for_each(|(to, carried)| self.streams.on_frame(from, to, carried))
    }

    /// What a node has written is durable up to `lsn`.
    pub fn on_durable(&mut self, node: usize, lsn: Lsn) -> Result<(), Violation> {
        self.acceptors.on_durable(node, lsn)
    }

    /// Everything that a node has written is durable, so others may rely on it from now on.
    pub fn on_promise(&mut self, node: usize, protocol: &impl Subject) {
        self.elections.on_promise(node, &protocol.view());
        self.acceptors.on_promise(node, protocol.promised());
    }

    /// A node has forgotten what it held in memory, and starts again with these records of its journal.
    pub fn on_restart<P: Subject>(&mut self, node: usize, protocol: &P, records: &[Record]) -> Result<(), Violation> {
        let (votes, accepted) = (records.iter().filter_map(P::vote), |slot| protocol.accepted(slot));
        self.acceptors.on_restart(node, votes, protocol.promised(), protocol.view().committed, accepted)?;
        self.elections.on_restart(node);
        self.logs.on_restart(node);
        self.agreement.on_restart(node);
        self.ledger.on_restart(node);
        self.after_turn(node, protocol, &mut Vec::new(), &mut Vec::new())
    }

    /// A client asks, for the first time; beside the log, if it is a `read`.
    pub fn on_invoke(&mut self, client: u32, sequence: u64, read: Option<Read>) {
        self.ledger.on_invoke(client, sequence, read);
    }

    /// A client is told that a batch was applied, with these results.
    pub fn on_reply(&mut self, client: u32, sequence: u64, results: &[u8], now: Nanos) -> Result<(), Violation> {
        self.ledger.on_reply(client, sequence, results, now)
    }

    /// The term of a slot that was chosen.
    pub fn stamp(&self, slot: Slot) -> Option<u64> {
        self.agreement.chosen().get(slot.0.checked_sub(1)? as usize).map(|chosen| chosen.stamp)
    }

    /// A client is told what a batch has read, by a state machine that had been delivered `slot`.
    pub fn on_served(
        &mut self,
        client: u32,
        sequence: u64,
        results: &[u8],
        slot: Slot,
        now: Nanos,
    ) -> Result<(), Violation> {
        self.ledger.on_served(client, sequence, results, slot, now)
    }

    /// Slots chosen so far.
    pub fn chosen(&self) -> usize {
        self.agreement.chosen().len()
    }

    /// How far a node has delivered since it last started.
    pub fn delivered(&self, node: usize) -> usize {
        self.agreement.delivered(node)
    }

    /// Terms that had a leader.
    pub fn leaders(&self) -> usize {
        self.elections.leaders()
    }
}

/// A learner has no vote, so it has nothing to campaign for: it would lead without having a say itself.
fn learners_only_learn(node: usize, view: &View, members: Option<Membership>) -> Result<(), Violation> {
    let learns = members.is_some_and(|members| members.learners.contains(NodeId(node as u32)));
    if !view.leads || !learns {
        return Ok(());
    }
    let detail = format!("n{node} leads term {}, and is a learner", view.term);
    Err(Violation::new(property::LEARNERS_ONLY_LEARN, detail))
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "an acceptance is some protocol's record")]
mod tests {
    use super::*;
    use crate::batch::{BatchHead, Writer};
    use bytes::BytesMut;
    use quorumbench_protocols::paxos::message::{Message, Proposal};
    use quorumbench_protocols::paxos::{Ballot, Paxos};
    use quorumbench_protocols::{Head, Payload, PeerSet};

    #[test]
    fn a_learner_that_leads_is_seen() {
        let members =
            Membership { voters: PeerSet::first(3), learners: PeerSet::EMPTY.with(NodeId(3)), ..Membership::default() };
        let leads = View { term: 2, leads: true, ..View::default() };
        let seen = |node, view| learners_only_learn(node, &view, Some(members)).map_err(|violation| violation.property);
        assert_eq!((seen(2, leads), seen(3, View::default())), (Ok(()), Ok(())));
        assert_eq!(seen(3, leads), Err(property::LEARNERS_ONLY_LEARN));
    }

    #[test]
    fn an_acceptance_of_what_nobody_asked_for_is_seen() {
        let batch = |sequence| {
            let mut chunk = BytesMut::new();
            Payload::from(Writer::new(&mut chunk, BatchHead::next(3, sequence, sequence, None)).finish())
        };
        let accepts = |body: Payload| {
            let mut checks = Checks::new(Paper::Paxos, 3, 1, 2);
            checks.on_invoke(3, 0, None);
            let ballot = Ballot { round: 1, node: NodeId(0) };
            let head = Message::Accept(Proposal { slot: Slot(1), ballot }).head();
            let record = Record { lsn: Lsn(1), head: Head { body_len: body.len() as u32, ..head }, body };
            assert!(Paxos::vote(&record).is_some(), "it is an acceptance");
            checks.on_records::<Paxos>(1, &[record]).map_err(|violation| violation.property)
        };
        assert_eq!((accepts(batch(0)), accepts(Payload::EMPTY)), (Ok(()), Ok(())));
        assert_eq!(accepts(batch(1)), Err(property::CHOSEN_IS_PROPOSED));
    }
}
