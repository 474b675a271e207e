//! What is compared, and which way is better.

use serde_json::Value as Json;

use crate::summary;

/// A figure of a result's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As `--metric` names it.
    pub name: &'static str,
    /// Whether more of it is better. Of everything else, less is.
    pub more_is_better: bool,
    /// Whether it is compared unless others are asked for.
    pub by_default: bool,
    /// How it is written.
    pub unit: Unit,
    /// Where it stands in a line: a JSON pointer (RFC 6901).
    pointer: &'static str,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Commands a second.
    PerSecond,
    /// Nanoseconds.
    Nanoseconds,
    /// Anything else.
    Number,
}

impl Unit {
    /// As other tools are told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "commands/s",
            Self::Nanoseconds => "ns",
            Self::Number => "",
        }
    }
}

const fn less(name: &'static str, pointer: &'static str, unit: Unit) -> Metric {
    Metric { name, more_is_better: false, by_default: false, unit, pointer }
}

const fn by_default(metric: Metric) -> Metric {
    Metric { by_default: true, ..metric }
}

impl Metric {
    /// All of them. A line has those of commands, those of epidemics, or those of replicas that reconcile.
    pub const ALL: [Self; 27] = [
        by_default(Self { more_is_better: true, ..less("throughput", "/completed_per_s", Unit::PerSecond) }),
        by_default(less("p50", "/response_ns/p50", Unit::Nanoseconds)),
        less("p90", "/response_ns/p90", Unit::Nanoseconds),
        by_default(less("p99", "/response_ns/p99", Unit::Nanoseconds)),
        less("p99.9", "/response_ns/p99_9", Unit::Nanoseconds),
        less("p99.99", "/response_ns/p99_99", Unit::Nanoseconds),
        less("max", "/response_ns/max", Unit::Nanoseconds),
        less("mean", "/response_ns/mean", Unit::Nanoseconds),
        by_default(less("cpu", "/cost/cpu_ns_per_command", Unit::Nanoseconds)),
        less("replica-cpu", "/cost/replica_cpu_ns_per_command", Unit::Nanoseconds),
        less("syscalls", "/cost/syscalls_per_command", Unit::Number),
        less("copied-bytes", "/cost/copied_bytes_per_command", Unit::Number),
        less("wire-bytes", "/cost/wire_bytes_per_command", Unit::Number),
        less("messages", "/cost/messages_per_slot", Unit::Number),
        by_default(less("rounds", "/epidemic/rounds_last/mean", Unit::Number)),
        less("rounds-mean", "/epidemic/rounds_mean/mean", Unit::Number),
        by_default(less("residue", "/epidemic/residue/mean", Unit::Number)),
        by_default(less("traffic", "/epidemic/traffic/mean", Unit::Number)),
        less("redundancy", "/epidemic/redundancy/mean", Unit::Number),
        less("bytes-per-node", "/epidemic/bytes_per_node/mean", Unit::Number),
        less("wire-bytes-per-node", "/real/wire_bytes_per_node/mean", Unit::Number),
        by_default(less("time", "/real/last_ns/mean", Unit::Nanoseconds)),
        by_default(less("rounds-to-agree", "/convergence/rounds/mean", Unit::Number)),
        by_default(less("bytes-per-update", "/convergence/bytes/all/mean", Unit::Number)),
        less("elements-per-update", "/convergence/elements/mean", Unit::Number),
        less("merged-per-update", "/convergence/merged/mean", Unit::Number),
        less("letters-per-update", "/convergence/letters/mean", Unit::Number),
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name == name)
    }

    /// Its value in a line; `None` where the line has none.
    pub fn of(self, line: &Json) -> Option<f64> {
        line.pointer(self.pointer)?.as_f64()
    }

    /// A value of it, for people.
    pub fn text(self, value: f64) -> String {
        match self.unit {
            Unit::PerSecond => format!("{} /s", summary::thousands(value)),
            Unit::Nanoseconds => summary::time_text(value),
            Unit::Number => summary::digits(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_and_readable() {
        let line = json!({"completed_per_s": 1_234_567.0, "response_ns": {"p99": 98_765}});
        let text = |name| Metric::named(name).and_then(|metric| Some(metric.text(metric.of(&line)?)));
        assert_eq!(text("throughput").as_deref(), Some("1,234,567 /s"));
        assert_eq!(text("p99").as_deref(), Some("98.8 us"));
        assert_eq!(text("p50"), None);
        assert_eq!(Metric::named("residue").map(|metric| metric.text(3.4e-6)).as_deref(), Some("3.40e-6"));
        assert_eq!(Metric::named("nonsense"), None);
    }
}
