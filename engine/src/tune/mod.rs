//! Which batch, which window, which fan-out? A search over some keys of a config for a goal under an SLO.
//!
//! Of what orders commands, the goal is the highest rate of an open loop at which the SLO still holds; of gossip, the
//! least traffic at which it does. All combinations of the keys' values begin; successive halving (Jamieson and Talwalkar,
//! *Non-stochastic best arm identification and hyperparameter optimization*, 2016) gives each a short run, keeps the better
//! half, and doubles the runs' length until three are left. These are searched with care, and then confirmed in runs that
//! are interleaved with those of the default. Recommended is only what is better than the default by
//! [`compare`](crate::compare)'s statistics.
//!
//! The search does not know what it searches: it asks a [`Bench`]. It is deterministic given the answers, so one that was
//! interrupted goes on where it was by being asked the same again ([`Journal`]).
//!
//! ```
//! use std::convert::Infallible;
//! use quorumbench::tune::{Bench, Finding, Goal, Load, Observation, Plan, Settings, Slo, Trial, search};
//!
//! /// A server that a larger batch makes faster, and its queue.
//! struct Queue;
//! impl Bench for Queue {
//!     type Error = Infallible;
//!     fn measure(&mut self, trial: &Trial) -> Result<Observation, Infallible> {
//!         let batch: f64 = trial.settings.get("batch").unwrap().parse().unwrap();
//!         let capacity = 10_000.0 * batch;
//!         let Load::Open { rate } = trial.load else { return Ok(Observation::of_commands(capacity, 1e6, false)) };
//!         let p99_ns = 4.6e9 / (capacity - rate).max(1.0);
//!         Ok(Observation::of_commands(rate.min(capacity), p99_ns, rate > capacity))
//!     }
//! }
//!
//! let batch = |value: u32| Settings::from([("batch", value.to_string())]);
//! let plan = Plan {
//!     goal: Goal::MaxThroughput,
//!     slo: Slo::parse("p99<5ms", Goal::MaxThroughput)?,
//!     tolerance: 0.05,
//!     default: batch(1),
//!     candidates: [1, 2, 4, 8].map(batch).to_vec(),
//!     full: 1.0,
//!     repetitions: 5,
//!     seed: 1,
//! };
//! let Ok(outcome) = search(&plan, &mut Queue);
//! assert_eq!(outcome.finding, Finding::Found { settings: batch(8) });
//! # Ok::<(), quorumbench::tune::SloError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub mod cli;
mod confirm;
mod grid;
mod halving;
mod journal;
mod measured;
mod outcome;
mod rates;
mod search;
mod slo;
mod space;

pub use confirm::{Contender, Level, Versus};
pub use grid::grid;
pub use journal::{Journal, JournalError, Step};
pub use outcome::{Finding, Outcome, Tradeoff};
pub use rates::Ceiling;
pub use search::search;
pub use slo::{Slo, SloError};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The highest rate of an open loop.
    MaxThroughput,
    /// The least traffic of gossip.
    MinTraffic,
}

impl Goal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MaxThroughput, Self::MinTraffic];

    /// As `--goal` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxThroughput => "max-throughput",
            Self::MinTraffic => "min-traffic",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|goal| goal.name() == name)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for each tuned key, by its full name, as `--set` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The value of a key, if it is tuned.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Each as an override: `batch.commands=64`.
    pub fn overrides(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}"))
    }

    /// The same, with one more key.
    #[must_use]
    pub(crate) fn with(&self, key: String, value: String) -> Self {
        let mut more = self.clone();
        more.0.insert(key, value);
        more
    }

    /// For a table: `batch.commands=64 batch.window=32`.
    pub fn text(&self) -> String {
        self.overrides().collect::<Vec<_>>().join(" ")
    }
}

impl<const N: usize> From<[(&str, String); N]> for Settings {
    fn from(pairs: [(&str, String); N]) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// What can be pasted behind a command.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, each) in self.overrides().enumerate() {
            write!(f, "{}--set {each}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// What a search is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is wanted.
    pub goal: Goal,
    /// What has to hold.
    pub slo: Slo,
    /// How exactly a highest rate is found, as a share, and what nobody minds in a comparison.
    pub tolerance: f64,
    /// What the config has without any tuning.
    pub default: Settings,
    /// What is tried, the default among them.
    pub candidates: Vec<Settings>,
    /// Seconds of a run at full length; of gossip, epidemics.
    pub full: f64,
    /// Confirming runs of each finalist.
    pub repetitions: usize,
    /// All randomness follows from it.
    pub seed: u64,
}

/// What a run is put under.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// As many commands in flight as the config says: its peak.
    Closed,
    /// A schedule.
    Open {
        /// Commands a second.
        rate: f64,
    },
    /// None: an update spreads.
    Epidemics {
        /// How often.
        trials: usize,
    },
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A first guess of what a candidate can do.
    Guessing,
    /// A short run, to see whom to keep.
    Halving,
    /// At full length, of the few that are left.
    Searching,
    /// In turn with the others that are left.
    Confirming,
}

impl Phase {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guessing => "guessing",
            Self::Halving => "halving",
            Self::Searching => "searching",
            Self::Confirming => "confirming",
        }
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What for.
    pub phase: Phase,
    /// Of what.
    pub settings: Settings,
    /// Under which load.
    pub load: Load,
    /// For how long; 0 of epidemics, which take what they take.
    pub seconds: f64,
    /// With which randomness. No two runs of a search share one.
    pub seed: u64,
}

/// What came out of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Commands a second that were answered; 0 of gossip.
    pub throughput: f64,
    /// What an SLO may be about, by metric: times in nanoseconds.
    pub figures: BTreeMap<String, f64>,
    /// Whether less than 99 % of what was offered was answered, beyond what chance explains.
    pub overloaded: bool,
    /// Commands that were never answered, or not sent at all.
    pub lost: u64,
    /// Why the generator was the limit, if it was.
    pub generator: Option<String>,
}

impl Observation {
    /// Of commands, with nothing but these to say.
    pub fn of_commands(throughput: f64, p99_ns: f64, overloaded: bool) -> Self {
        Self { throughput, figures: [("p99".to_owned(), p99_ns)].into(), overloaded, ..Self::default() }
    }

    /// One of its figures; infinite if it has none of this name, so that no SLO about it holds.
    pub fn figure(&self, metric: &str) -> f64 {
        self.figures.get(metric).copied().unwrap_or(f64::INFINITY)
    }
}

/// What can be measured.
pub trait Bench {
    /// Why it could not be.
    type Error;

    /// Measures once, on something fresh.
    ///
    /// # Errors
    /// If it was interrupted or failed. The search ends then.
    fn measure(&mut self, trial: &Trial) -> Result<Observation, Self::Error>;
}
