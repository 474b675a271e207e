//! What a point of gossip leaves behind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Percentiles;

/// The version of a line of `points.jsonl` about gossip.
pub const EPIDEMIC_SCHEMA: &str = "quorumbench.epidemic/1";

/// One line of `points.jsonl` of a point that gossips: one run of all its trials. It has no commands, and so none of
/// the fields that are about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EpidemicResult {
    /// [`EPIDEMIC_SCHEMA`].
    pub schema: String,
    /// The experiment's name.
    pub name: String,
    /// Which repetition, from 0.
    pub repetition: usize,
    /// `"population"`: computed in rounds, without any time but their number. `"virtual"`: among nodes that
    /// are state machines, in virtual time. `"real"`: among the same, on a real transport.
    pub world: String,
    /// The seed of this very run.
    pub seed: u64,
    /// The point's full coordinates, varied or not.
    pub axes: Map<String, Json>,
    /// What came of it.
    pub epidemic: Epidemic,
    /// What it took, where it was real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<Real>,
    /// What makes its figures doubtful, each in a sentence.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What epidemics took on a real transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Real {
    /// Threads, each with an endpoint of the transport, that the nodes lived on.
    pub hosts: usize,
    /// When the last update arrived, in nanoseconds from the beginning of the first cycle.
    pub last_ns: Spread,
    /// Bytes that were handed to the transport, heads and all, by the number of nodes. Over `mem`, what they would be.
    pub wire_bytes_per_node: Spread,
    /// The share of frames that went over the transport. The others were between nodes of one host.
    pub travelled: f64,
    /// Turns of all nodes, over all trials.
    pub turns: u64,
    /// Those that began more than half a cycle late.
    pub late_turns: u64,
    /// How often a host stood still for more than half a cycle.
    #[serde(default)]
    pub stalls: u64,
    /// Frames that a full or absent link dropped.
    pub dropped_frames: u64,
    /// Frames that came when their trial was over.
    pub strays: u64,
    /// Connections lost after they were established.
    pub lost_connections: u64,
    /// Frames, and connections, that no correct peer sends.
    pub malformed: u64,
    /// What links did that nodes are far from each other for; absent where they are as near as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<NodeLinks>,
}

/// What shaped links between nodes that gossip did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeLinks {
    /// The shortest way between two nodes that was asked for, and takes time at all; zero if none does.
    pub shortest_ns: u64,
    /// Frames that nodes sent each other, over all trials.
    pub frames: u64,
    /// Those that links lost, as they were asked to.
    pub lost_frames: u64,
    /// How much later than it should have each frame came out of a link that was not lost.
    pub late_ns: Percentiles,
    /// The full histogram, in base64 of its V2-deflate form.
    pub late_histogram: String,
}

impl EpidemicResult {
    /// A coordinate as text, as the config would have it; empty where the axis does not apply.
    pub fn axis(&self, name: &str) -> String {
        super::axis_text(&self.axes, name)
    }
}

/// Epidemics of one kind, each from its origin to its end. `docs/gossip.md` defines each figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Epidemic {
    /// Nodes, the origin among them.
    pub nodes: usize,
    /// Epidemics.
    pub trials: usize,
    /// The round of the last arrival: how long until all are reached that ever are.
    pub rounds_last: Spread,
    /// The mean round of an arrival, over the trials in which there was any; null if there was none.
    pub rounds_mean: Option<Spread>,
    /// The share of nodes never reached.
    pub residue: Spread,
    /// Updates sent, by the number of nodes.
    pub traffic: Spread,
    /// Updates sent beyond one for each node reached, by these: zero if none was sent in vain.
    pub redundancy: Spread,
    /// The share of nodes reached, the origin among them.
    pub coverage: Spread,
    /// Bytes of updates sent, by the number of nodes.
    pub bytes_per_node: Spread,
    /// Messages that only say where updates are, or should go (IHAVE, PRUNE, GRAFT), by the number of nodes; null where
    /// there are none.
    #[serde(default)]
    pub control: Option<Spread>,
    /// Trials in which the graph of who may talk to whom was in several parts, at the start or in the end; null where
    /// everyone may talk to everyone.
    #[serde(default)]
    pub split: Option<usize>,
    /// The mean of `rounds_last` as time, in nanoseconds, by the length of a cycle.
    pub last_ns: f64,
    /// The share of nodes reached after each round, over all trials; first, before any, the origin's.
    pub curve: Vec<f64>,
    /// What the literature says that should come out.
    pub theory: Theory,
}

/// What should come out; null where there is no theory of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Theory {
    /// Rounds until the last arrival.
    pub rounds_last: Option<f64>,
    /// The share of nodes never reached.
    pub residue: Option<f64>,
    /// The same, from the traffic that was measured: e^-m.
    pub residue_of_traffic: Option<f64>,
}

/// One figure over all trials.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; 0 of a single trial.
    pub sd: f64,
    /// The median.
    pub p50: f64,
    /// What 99 of 100 trials are not above.
    pub p99: f64,
    /// The most.
    pub max: f64,
    /// Half the length of the mean's 95 % interval, which is normal as means of many trials are; null of a single
    /// trial, which has none.
    pub half_interval: Option<f64>,
}

impl Spread {
    /// Of these values; `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        // In order, so that the sum does not depend on how they came.
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let (least, max) = (*values.first()?, *values.last()?);
        // What is the same everywhere has no spread, whatever rounding makes of its sum.
        let mean = if least < max { values.iter().sum::<f64>() / count } else { max };
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let sd = if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        let at = |quantile: f64| values[((count * quantile).ceil() as usize).max(1) - 1];
        let half_interval = (values.len() > 1).then(|| Z95 * sd / count.sqrt());
        Some(Self { mean, sd, p50: at(0.50), p99: at(0.99), max, half_interval })
    }
}

/// How many standard errors to each side hold 95 % of a normal distribution.
const Z95: f64 = 1.959_963_985;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_a_textbook() {
        assert_eq!(Spread::of(Vec::new()), None);
        let one = Spread::of(vec![3.0]).expect("a value");
        assert_eq!((one.mean, one.sd, one.p50, one.p99, one.max, one.half_interval), (3.0, 0.0, 3.0, 3.0, 3.0, None));
        let some = Spread::of((1..=100).rev().map(f64::from).collect()).expect("values");
        assert_eq!((some.mean, some.p50, some.p99, some.max), (50.5, 50.0, 99.0, 100.0));
        assert!((some.sd - 29.011_491_975_882_016).abs() < 1e-12);
        assert!((some.half_interval.expect("several") - 5.686_148).abs() < 1e-6);
    }
}
