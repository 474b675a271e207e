//! What must hold, checked after every event, by published names.
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
//! | log matching | same slot, same term: same batch and same log before it (figure 3) | [`logs`] |
//! | committed slots never change | on no node, across restarts | [`agreement`] |
//! | state machine safety | no two nodes apply different things at a slot (figure 3) | [`agreement`] |
//! | delivery in slot order, once | without gaps | [`agreement`] |
//! | local primary order | a primary's transactions, each after those before it (Zab, DSN 2011, section II.B) | [`primary`] |
//! | global primary order | an epoch's transactions after those of earlier epochs | [`primary`] |
//! | primary integrity | a primary has whatever is delivered of earlier epochs | [`primary`] |
//! | applied at most once | each client's batch, however often it was sent | [`commands`] |
//! | nothing acknowledged is lost | what a client was told is committed | [`commands`] |
//! | replies do not contradict | a reply is what the map answers at that place of the log | [`commands`] |
//! | real-time order | what was answered before another was asked comes before it | [`commands`] |
//! | linearizability | some order of all that clients asked explains all that they saw | [`history`](super::history) |
//! | linearizability is decided | within bounded steps; a search that gives up is a failure | [`history`](super::history) |
//! | correct nodes are well-formed | no node refuses another's frame, or its own records | the world |
//! | no panic | a protocol's own assertions hold | the runner |
//! | liveness | a healed majority answers everything, with one leader | the world |
//!
//! Slot order is the witness of linearizability here: the last three of the clients' properties
//! together say that what clients saw is what one map, asked in slot order, would have told them. When a
//! seed is over, its clients' history is searched besides, without a witness: "linearizability".

use std::fmt;

use quorumbench_protocols::{Delivery, DeliveryKind, Nanos, Slot};

use super::machine::RESTORED;
use super::subject::{Subject, View};

pub mod agreement;
pub mod commands;
pub mod elections;
pub mod logs;
pub mod primary;

use agreement::Agreement;
use commands::Ledger;
use elections::Elections;
use logs::Logs;
use primary::Primaries;

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
    /// A leader only appends.
    pub const LEADER_APPEND_ONLY: &str = "leader append-only";
    /// Same slot and term, same log up to there.
    pub const LOG_MATCHING: &str = "log matching";
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
    /// Each batch changes the state at most once.
    pub const APPLIED_AT_MOST_ONCE: &str = "applied at most once";
    /// What a client was told is committed, and stays.
    pub const ACKNOWLEDGED_IS_KEPT: &str = "nothing acknowledged is lost";
    /// Replies are those of one map.
    pub const REPLIES_AGREE: &str = "replies do not contradict";
    /// What was answered before another was asked comes before it.
    pub const REAL_TIME_ORDER: &str = "real-time order";
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
    elections: Elections,
    logs: Logs,
    agreement: Agreement,
    primaries: Primaries,
    ledger: Ledger,
}

impl Checks {
    /// Checkers of a world of so many replicas, with clients' ids from there on.
    pub fn new(replicas: usize, clients: usize) -> Self {
        Self {
            elections: Elections::new(replicas),
            logs: Logs::new(replicas),
            agreement: Agreement::new(replicas),
            primaries: Primaries::default(),
            ledger: Ledger::new(replicas, clients),
        }
    }

    /// A node took its turn; it handed out `deliveries` and applied the batches in `applied`. Both are emptied.
    pub fn after_turn<S: Subject>(
        &mut self,
        node: usize,
        protocol: &S,
        deliveries: &mut Vec<Delivery>,
        applied: &mut Vec<(u32, u64)>,
    ) -> Result<(), Violation> {
        let view = protocol.view();
        let read = |slot| Some((protocol.stamp(slot)?, protocol.body(slot)));
        self.logs.observe(node, &view, self.agreement.chosen(), read)?;
        if view.committed != self.agreement.committed(node) {
            self.agreement.on_commit(node, &view, &self.logs)?;
        }
        self.elections.observe(node, &view, self.agreement.chosen(), &self.logs)?;
        if S::HAS_PRIMARIES {
            self.primaries.observe(&view, self.agreement.chosen(), |slot| protocol.stamp(slot))?;
        }
        deliveries.iter().try_for_each(|delivery| self.agreement.on_delivery(node, delivery))?;
        if self.ledger.chosen() < self.agreement.chosen().len() {
            let new = &self.agreement.chosen()[self.ledger.chosen()..];
            new.iter().try_for_each(|chosen| self.ledger.on_chosen(&chosen.body))?;
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

    /// Everything that a node has written is durable, so others may rely on it from now on.
    pub fn on_promise(&mut self, node: usize, view: &View) {
        self.elections.on_promise(node, view);
    }

    /// A node has forgotten what it held in memory, and starts again with its journal.
    pub fn on_restart(&mut self, node: usize, protocol: &impl Subject) -> Result<(), Violation> {
        self.elections.on_restart(node);
        self.logs.on_restart(node);
        self.agreement.on_restart(node);
        self.ledger.on_restart(node);
        self.after_turn(node, protocol, &mut Vec::new(), &mut Vec::new())
    }

    /// A client asks, for the first time.
    pub fn on_invoke(&mut self, client: u32, sequence: u64) {
        self.ledger.on_invoke(client, sequence);
    }

    /// A client is told that a batch was applied, with these results.
    pub fn on_reply(&mut self, client: u32, sequence: u64, results: &[u8], now: Nanos) -> Result<(), Violation> {
        self.ledger.on_reply(client, sequence, results, now)
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
