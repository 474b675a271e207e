//! What a config lets a search change, and what each combination of it is as an experiment.

use std::fmt;
use std::time::Duration;

use super::grid::grid;
use super::slo::Slo;
use super::{Goal, Load, Plan, Settings, Trial};
use crate::spec::{Arrival, Key, Kind, Point, Spec, SpecError, Value, duration_text};

/// A config whose marked keys are tuned.
#[derive(Clone, Debug)]
pub(super) struct Space {
    text: String,
    file: String,
    overrides: Vec<String>,
    spec: Spec,
    /// The values that are tried of each key, in order.
    pub(super) axes: Vec<(&'static Key, Vec<Value>)>,
    /// How many combinations there would be of the whole grid.
    pub(super) combinations: usize,
    default: Settings,
    pub(super) candidates: Vec<Settings>,
}

/// Why a config cannot be tuned: the user's to mend.
#[derive(Debug)]
pub(super) enum SpaceError {
    /// It is no config.
    Spec(SpecError),
    /// It is none that can be tuned: why, and what would be right.
    Unfit(String),
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl From<SpecError> for SpaceError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

/// Most combinations that are tried. Of a grid with more, the longest axes are thinned out.
const MOST_CANDIDATES: usize = 64;

/// What the search sets itself.
const DRIVEN: [&str; 3] = ["arrival", "rate", "outstanding"];

impl Space {
    pub(super) fn new(text: &str, file: &str, overrides: &[String], goal: Goal) -> Result<Self, SpaceError> {
        let spec = Spec::parse(text, file, overrides)?;
        let tuned = spec.tuned();
        check(&spec, &tuned, overrides, goal).map_err(SpaceError::Unfit)?;
        let mut axes = Vec::new();
        let mut default = Settings::default();
        for key in tuned {
            let (usual, values) = axis(key, spec.values(key)).map_err(SpaceError::Unfit)?;
            default = default.with(key.full(), usual.to_string());
            axes.push((key, values, usual));
        }
        let combinations = axes.iter().map(|(_, values, _)| values.len()).product();
        thin(&mut axes);
        let axes: Vec<_> = axes.into_iter().map(|(key, values, _)| (key, values)).collect();
        let (text, file, overrides) = (text.to_owned(), file.to_owned(), overrides.to_owned());
        let mut space = Self { text, file, overrides, spec, axes, combinations, default, candidates: Vec::new() };
        // What excludes each other is no candidate; only a grid can have that, as lists were checked with the config.
        let fits = |settings: &Settings| space.with(settings.overrides()).is_ok();
        space.candidates = space.products().into_iter().filter(fits).collect();
        if !space.candidates.contains(&space.default) {
            return Err(SpaceError::Unfit("the config itself is not among what can be tried".into()));
        }
        Ok(space)
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) fn plan(&self, goal: Goal, slo: Slo, tolerance: f64) -> Plan {
        let run = self.spec.run();
        Plan {
            goal,
            slo,
            tolerance,
            default: self.default.clone(),
            candidates: self.candidates.clone(),
            full: match goal {
                Goal::MaxThroughput => run.duration.as_secs_f64(),
                Goal::MinTraffic => self.point().gossip.trials as f64,
            },
            repetitions: run.repetitions.max(LEAST_REPETITIONS),
            seed: run.seed,
        }
    }

    /// The experiment that a trial is: one point, once.
    pub(super) fn experiment(&self, trial: &Trial) -> Result<Spec, SpecError> {
        let mut sets: Vec<String> = trial.settings.overrides().collect();
        sets.extend([format!("run.seed={}", trial.seed), "run.repetitions=1".into()]);
        match trial.load {
            Load::Epidemics { trials } => sets.push(format!("gossip.trials={trials}")),
            Load::Closed => sets.push("load.arrival=closed".into()),
            Load::Open { rate } => {
                let arrival = self.point().load.arrival;
                let name = if arrival.is_open() { arrival } else { Arrival::Poisson { rate } }.name();
                sets.extend([format!("load.arrival={name}"), format!("load.rate={rate}")]);
            }
        }
        if trial.seconds > 0.0 {
            let run = self.spec.run();
            let length = |seconds: f64| duration_text(Duration::from_nanos((seconds * 1e9) as u64));
            // A short run warms up as much shorter.
            let warmup = run.warmup.as_secs_f64() * trial.seconds / run.duration.as_secs_f64();
            sets.extend([format!("run.duration={}", length(trial.seconds)), format!("run.warmup={}", length(warmup))]);
        }
        self.with(sets.into_iter())
    }

    /// The config with more set. What was set for one kind of loop says nothing of the other, and is left out there.
    fn with(&self, more: impl Iterator<Item = String>) -> Result<Spec, SpecError> {
        let more: Vec<String> = more.collect();
        let closed = more.iter().any(|set| set == "load.arrival=closed");
        let open = !closed && more.iter().any(|set| set.starts_with("load.arrival="));
        let idle = |set: &&String| {
            let name = name_of(set);
            closed && ["in_flight_limit", "rate"].contains(&name) || open && name == "outstanding"
        };
        let sets: Vec<String> = self.overrides.iter().filter(|set| !idle(set)).chain(&more).cloned().collect();
        Spec::parse(&self.text, &self.file, &sets)
    }

    /// All combinations, later keys varying fastest.
    fn products(&self) -> Vec<Settings> {
        let mut all = vec![Settings::default()];
        for (key, values) in &self.axes {
            let branch =
                |settings: Settings| values.iter().map(move |value| settings.with(key.full(), value.to_string()));
            all = all.into_iter().flat_map(branch).collect();
        }
        all
    }

    fn point(&self) -> Point {
        self.spec.points().swap_remove(0)
    }
}

/// With fewer, what is better by chance is not told from what is better: three contenders are judged at once.
const LEAST_REPETITIONS: usize = 5;

/// The last part of the key that an override sets.
fn name_of(set: &str) -> &str {
    let key = set.split('=').next().unwrap_or_default().trim();
    key.rsplit('.').next().unwrap_or(key)
}

fn check(spec: &Spec, tuned: &[&'static Key], overrides: &[String], goal: Goal) -> Result<(), String> {
    if tuned.is_empty() {
        return Err("the config does not say what may change: add a line such as `tune = [\"batch.commands\", \
                    \"batch.window\"]` at its top, or --set tune=[batch.commands,batch.window]"
            .into());
    }
    let points = spec.points();
    let protocol = points[0].cluster.protocol;
    let (fits, other) = match goal {
        Goal::MaxThroughput => (protocol.orders(), "commands, which only protocols that order have"),
        Goal::MinTraffic => (protocol.is_gossip(), "epidemics, which only gossip has"),
    };
    if !fits {
        return Err(format!("the goal {goal} is about {other}: cluster.protocol is \"{protocol}\""));
    }
    if !spec.faults().is_empty() {
        return Err(
            "the config has faults: a rate that is sustained through them is not what this finds. Leave them out"
                .into(),
        );
    }
    if let Some(key) = tuned.iter().find(|key| DRIVEN.contains(&key.coordinate)) {
        return Err(format!("{key} is what the search sets itself: leave it out of `tune`"));
    }
    if let Some(set) = overrides.iter().find(|set| ["rate", "arrival"].contains(&name_of(set)) && set.contains('[')) {
        return Err(format!("--set {set}: the search sets rates itself, and compares no arrivals"));
    }
    if let Some(key) = tuned.iter().find(|key| points.iter().all(|point| point.coordinate(key).is_none())) {
        return Err(format!("{key} does nothing here: leave it out of `tune`"));
    }
    let varied =
        spec.varied().into_iter().find(|&axis| axis != "rate" && tuned.iter().all(|key| key.coordinate != axis));
    if let Some(axis) = varied {
        return Err(format!(
            "`{axis}` has several values and is not in `tune`: give it one, as with --set {axis}=VALUE, or add it to `tune`"
        ));
    }
    Ok(())
}

/// What is usual of a key, and what is tried: what the config lists, or a grid around what it says.
fn axis(key: &'static Key, listed: &[Value]) -> Result<(Value, Vec<Value>), String> {
    if let [only] = listed {
        return Ok((only.clone(), grid(key, only).map_err(|why| format!("{key} {why}"))?));
    }
    // Without the list, the key would have its default.
    let usual = key.default_value().filter(|value| listed.contains(value));
    Ok((usual.unwrap_or_else(|| listed[0].clone()), listed.to_vec()))
}

/// Leaves out every other value of the longest axes, until there are few enough combinations. The usual value stays, and
/// names, of which none is between two others, all do.
fn thin(axes: &mut [(&'static Key, Vec<Value>, Value)]) {
    while axes.iter().map(|(_, values, _)| values.len()).product::<usize>() > MOST_CANDIDATES {
        let ordered = axes
            .iter_mut()
            .filter(|(key, values, _)| !matches!(key.kind, Kind::Choice(_) | Kind::Switch) && values.len() > 2);
        // The last of the longest: `max_by_key` says which.
        let Some((_, values, usual)) = ordered.max_by_key(|(_, values, _)| values.len()) else { return };
        let parity = values.iter().position(|value| value == usual).unwrap_or(0) % 2;
        let mut index = 0;
        values.retain(|_| {
            index += 1;
            (index - 1) % 2 == parity
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::*;

    fn space(text: &str, set: &[&str]) -> Result<Space, String> {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        let goal = if text.contains("gossip") { Goal::MinTraffic } else { Goal::MaxThroughput };
        Space::new(&format!("name = 'x'\n{text}"), "x.toml", &set, goal).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_grids_and_what_is_not_listed_gets_one() {
        let space = space("tune = ['window', 'batch.commands']\n[batch]\ncommands = [16, 64]", &[]).expect("it is");
        assert_eq!((space.candidates.len(), space.combinations), (16, 16));
        assert_eq!(space.default.text(), "batch.commands=64 batch.window=32", "the default, as it is listed");
        let three = super::Space::new(
            "name = 'x'\ntune = ['batch.commands', 'batch.window', 'batch.linger']",
            "x.toml",
            &["batch.commands=128".into()],
            Goal::MaxThroughput,
        );
        let three = three.expect("it is");
        assert_eq!((three.combinations, three.candidates.len()), (512, 64));
        assert!(three.candidates.contains(&three.default));
        assert_eq!(three.default.text(), "batch.commands=128 batch.linger=0s batch.window=32");
    }

    #[test]
    fn what_cannot_be_tuned_says_why() {
        let refused = |text: &str, set: &[&str], says: &str| {
            let error = space(text, set).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        };
        refused("", &[], "add a line such as `tune = ");
        refused("tune = ['load.rate']", &[], "the search sets itself");
        refused("tune = ['commands']\n[cluster]\nreplicas = [3, 5]", &[], "`replicas` has several values");
        refused("tune = ['commands']", &["protocol=[raft,zab]"], "`protocol` has several values");
        refused("tune = ['gossip.k']", &[], "cluster.protocol is \"raft\"");
        refused("tune = ['reads.mode']", &[], "`reads.mode` does nothing here");
        refused("tune = ['comands']", &[], "did you mean `batch.commands`?");
        refused("tune = ['batch.commands', 'commands']", &[], "twice");
        refused("tune = ['cluster.bind']", &[], "takes one value");
        refused("tune = ['commands']\n[[faults]]\nkind = 'kill'", &[], "faults");
        refused("tune = ['quorum.phase2']\n[cluster]\nprotocol = 'multipaxos'", &[], "list the values to try");
    }

    #[test]
    fn a_trial_is_one_point_under_its_load() {
        let text = "tune = ['commands']\n[load]\nrate = [10, 20]\n[run]\nwarmup = '1s'\nduration = '4s'";
        let space = space(text, &["outstanding=77", "in_flight_limit=500"]);
        // Both are of one kind of loop each, and the config has the open one.
        assert!(space.is_err_and(|why| why.contains("does nothing")));
        let space =
            Space::new(&format!("name = 'x'\n{text}"), "x.toml", &["in_flight_limit=500".into()], Goal::MaxThroughput);
        let space = space.expect("it is");
        let trial = |load| Trial {
            phase: Phase::Halving,
            settings: Settings::from([("batch.commands", "8".into())]),
            load,
            seconds: 1.0,
            seed: 42,
        };
        let open = space.experiment(&trial(Load::Open { rate: 1234.5 })).expect("an experiment");
        let point = &open.points()[0];
        assert_eq!((open.points().len(), point.batch.commands, open.run().seed), (1, 8, 42));
        assert_eq!(point.load.arrival, Arrival::Poisson { rate: 1234.5 });
        assert_eq!((open.run().warmup, open.run().duration), (Duration::from_millis(250), Duration::from_secs(1)));
        let closed = space.experiment(&trial(Load::Closed)).expect("an experiment");
        assert_eq!(closed.points()[0].load.arrival, Arrival::Closed { outstanding: 1024 });
    }
}
