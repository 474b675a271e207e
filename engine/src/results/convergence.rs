//! What a point of replicas that reconcile leaves behind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Spread;

/// The version of a line of `points.jsonl` about data types and databases that are reconciled.
pub const CONVERGENCE_SCHEMA: &str = "quorumbench.convergence/1";

/// One line of `points.jsonl` of a point of `crdt` or `database`: one run of all its trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConvergenceResult {
    /// [`CONVERGENCE_SCHEMA`].
    pub schema: String,
    /// The experiment's name.
    pub name: String,
    /// Which repetition, from 0.
    pub repetition: usize,
    /// `"virtual"`: in rounds, without any time but their number.
    pub world: String,
    /// The seed of this very run.
    pub seed: u64,
    /// The point's full coordinates, varied or not.
    pub axes: Map<String, Json>,
    /// What came of it.
    pub convergence: Convergence,
}

impl ConvergenceResult {
    /// A coordinate as text, as the config would have it; empty where the axis does not apply.
    pub fn axis(&self, name: &str) -> String {
        super::axis_text(&self.axes, name)
    }
}

/// Trials of one kind. `docs/crdt.md` defines each figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Convergence {
    /// Replicas, but for one that joins.
    pub nodes: usize,
    /// Trials.
    pub trials: usize,
    /// Of these, the ones in which all agreed in the end. The others waited for 10,000 rounds.
    pub settled: usize,
    /// Updates that changed anything, before any partition.
    pub updates: Spread,
    /// Rounds from the last of them until all agreed; null if they never did.
    pub rounds: Option<Spread>,
    /// Bytes that were sent until then, by update.
    pub bytes: Parts,
    /// Entries or operations that were sent until then, by update.
    pub elements: Spread,
    /// Letters that were, by update.
    pub letters: Spread,
    /// Entries or operations that arrived and had to be joined or applied, by update.
    pub merged: Spread,
    /// Of these, the ones that were known already, by those that were not: zero if none was sent in vain.
    pub redundancy: Spread,
    /// After the partition, or the deletions; null without.
    pub catch_up: Option<Restored>,
    /// After somebody joined; null without.
    pub join: Option<Restored>,
    /// Of a database; null for a data type.
    pub database: Option<Remainder>,
}

/// Bytes by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Parts {
    /// All of them.
    pub all: Spread,
    /// What the value is made of.
    pub payload: Spread,
    /// What makes it possible to join it, or to put it into order.
    pub metadata: Spread,
    /// What only says how much is known.
    pub digest: Spread,
}

/// What it took to agree again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Restored {
    /// Rounds.
    pub rounds: Spread,
    /// Bytes: between all replicas, or to and from the one that joined.
    pub bytes: Spread,
}

/// What is left of a database.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Remainder {
    /// The share of contacts in which all was sent; null if there were none.
    pub whole: Option<Spread>,
    /// Death certificates that a replica keeps in the end, on average.
    pub certificates: Option<Spread>,
    /// The share of deleted items that are there again; null if none was deleted.
    pub resurrected: Option<Spread>,
}
