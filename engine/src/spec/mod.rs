//! The config: one [`Spec`], parsed from TOML, validated once, every default written out.
//!
//! - A config is a `name` and sections of keys; [`Spec::keys`] is the table of them. A key that is not in the table is
//!   an error, and so is a value of the wrong type, or one that cannot be, or two that exclude each other: a
//!   [`SpecError`] says where, and what would be right.
//! - Durations and sizes have units: `"50us"`, `"1.5ms"`, `"64KiB"`, `"64KB"`. A number without one is an error.
//! - Any axis may be a list. The experiment is the cross product of all lists, as typed [`Point`]s in the table's order
//!   (protocol, then replicas, and so on) with later keys varying fastest, each list in its own order.
//! - A key that does not [apply](Applies) to a combination makes no points there: open loops vary over `rate` and not
//!   over `outstanding`, closed ones the other way round. It is absent from the [coordinates](Point::axes) then, and the
//!   typed field has the key's default. One that is set to anything else and applies to none at all is an error, unless
//!   it is the file's, and what it goes by is overridden.
//! - Each `[[links]]` is a link, or several, that is other than `[network]` says: a [`Link`].
//! - Each `[[faults]]` is a [`Fault`], or several, done to the cluster while each point is measured.
//! - `tune = ["batch.commands"]`, at the top, names the axes that [`tune`](crate::tune) may change.
//! - Overrides (`--set key=value`) replace what the file says; the last one wins.
//! - Equal settings are equal however they are written: coordinates and [`Spec::to_toml`] have the shortest exact form.
//!
//! ```
//! use quorumbench::spec::{Arrival, Spec};
//!
//! let text = r#"
//!     name = "loops"
//!     [cluster]
//!     protocol = ["raft", "echo"]
//!     [load]
//!     arrival = ["poisson", "closed"]
//!     rate = [50_000, 100_000]
//! "#;
//! let spec = Spec::parse(text, "loops.toml", &["batch.commands=256".into()])?;
//! assert_eq!(spec.varied(), ["protocol", "arrival", "rate"]);
//!
//! // For each protocol, two rates of the open loop and one closed loop.
//! let points = spec.points();
//! assert_eq!(points.len(), 6);
//! assert_eq!(points[1].load.arrival, Arrival::Poisson { rate: 100_000.0 });
//! assert_eq!(points[2].axes()["outstanding"], 1024);
//! assert!(!points[2].axes().contains_key("rate"));
//! assert_eq!(points[5].batch.commands, 256);
//!
//! let error = Spec::parse("name = 'x'\n[batch]\ncomands = 1\n", "x.toml", &[]).unwrap_err();
//! assert!(error.to_string().starts_with("x.toml:3:1: unknown key `batch.comands`; did you mean `batch.commands`?"));
//! # Ok::<(), quorumbench::spec::SpecError>(())
//! ```

mod applies;
mod distribution;
mod error;
mod expand;
mod fault;
mod gossip;
mod keys;
mod links;
mod names;
mod netem;
mod overrides;
mod parse;
mod point;
mod regions;
mod replication;
mod schema;
mod tables;
mod tune;
mod units;
mod value;

use std::path::Path;

use serde_json::{Map, Value as Json};

use error::{Complaint, Source};
use keys::{Draft, TABLE};
use tables::{List, Row};

pub use applies::Applies;
pub use distribution::Keys;
pub use error::SpecError;
pub(crate) use error::nearest;
pub use fault::{Fault, FaultKind, Target};
pub use gossip::Gossip;
pub use keys::Key;
pub use links::{Link, LinkEnd, Way};
pub use names::{
    Acts, ArrivalName, Choice, Cipher, Durability, Emulation, Exchange, FaultName, Interest, JitterDistribution,
    Judging, MachineName, Mover, PartnerChoice, Pin, Placement, ProtocolName, Pulls, QuicCongestion, QuicStreams,
    ReadsMode, Rounds, SnapshotBasis, Stop, Style, Toss, TransportName, View, Wait,
};
pub use names::{CrdtType, DeletionName, DigestName, SyncName, Topology};
pub use point::{Arrival, Batch, Cluster, Cost, Load, Network, Point, Reads, Run, Storage, TransportOptions};
pub use regions::Regions;
pub use replication::{Crdt, Database, Replication};
pub use schema::config_schema;
pub(crate) use units::duration_ns;
pub use units::{duration_text, size_text};
pub use value::{Kind, Value};

/// An experiment: a value or a list of values for every key.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    name: String,
    run: Run,
    points: Vec<Point>,
    faults: Vec<fault::Setting>,
    links: Vec<Row>,
    /// The axes that may be tuned, by their names as coordinates.
    tuned: Vec<&'static str>,
    /// Parallel to the table of keys; none is empty.
    settings: Vec<Vec<Value>>,
}

impl Spec {
    /// Reads the config at `path`, with overrides such as `batch.commands=[1,64]`.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, SpecError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|why| SpecError::unreadable(file.clone(), &why))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, &file, overrides),
            Err(bad) => {
                let text = String::from_utf8_lossy(&bytes);
                let place = bad.valid_up_to();
                let complaint = Complaint::new("not valid UTF-8").help("TOML is UTF-8 throughout");
                Err(Source { file, text: &text }.error(&(place..place + 1), None, complaint))
            }
        }
    }

    /// Reads a config that errors are to name `file`.
    pub fn parse(text: &str, file: &str, overrides: &[String]) -> Result<Self, SpecError> {
        let document = Source { file: file.to_owned(), text };
        let overrides: Vec<_> = overrides.iter().map(|each| overrides::source(each)).collect();
        parse::parse(&document, &overrides)
    }

    /// All keys that there are, in the order of a written-out config.
    pub fn keys() -> &'static [&'static Key] {
        TABLE
    }

    /// The experiment's name: fit for part of a folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long, how often, and with which randomness each point is run.
    pub fn run(&self) -> Run {
        self.run
    }

    /// All combinations, no two alike, in the table's order with later keys varying fastest.
    pub fn points(&self) -> Vec<Point> {
        self.points.clone()
    }

    /// The same experiment with only these of its [points](Self::points), by their places among them.
    #[must_use]
    pub fn only(mut self, places: &[usize]) -> Self {
        let mut place = 0..;
        self.points.retain(|_| place.next().is_some_and(|place| places.contains(&place)));
        self
    }

    /// What is done to the cluster at every point, each time that it is, in the order of the config.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.iter().flat_map(fault::Setting::faults).collect()
    }

    /// The axes that [`tune`](crate::tune) may change, in the order of the config: what its `tune` names. To `run` they are
    /// axes like the others.
    pub fn tuned(&self) -> Vec<&'static Key> {
        let key = |name: &&str| TABLE.iter().copied().find(|key| key.coordinate == *name);
        self.tuned.iter().filter_map(key).collect()
    }

    /// The values of a key: one, unless it is an axis that varies.
    ///
    /// # Panics
    /// If the key is none of [`keys`](Self::keys).
    pub fn values(&self, key: &Key) -> &[Value] {
        &self.settings[keys::position(key)]
    }

    /// The axes with more than one value, by the names that coordinates have. Those that apply to no point are left out.
    pub fn varied(&self) -> Vec<&'static str> {
        let lists = TABLE.iter().zip(&self.settings).filter(|(_, values)| values.len() > 1);
        let lists = lists.filter(|(key, _)| self.points.iter().any(|point| point.coordinate(key).is_some()));
        lists.map(|(key, _)| key.coordinate).collect()
    }

    /// What was asked for and is passed over at some points, where that changes what is measured; nothing, mostly.
    pub fn note(&self) -> Option<String> {
        let processes = Value::Choice(Placement::Processes.name());
        let shared = self.points.iter().filter(|point| point.shares_memory()).count();
        (shared > 0 && self.values(&keys::PLACEMENT).contains(&processes)).then(|| {
            format!(
                "{} {} is passed over at {shared} of {} points of {}, those with {} \"{}\": processes have no memory in \
                 common",
                keys::PLACEMENT,
                processes.to_toml(),
                self.points.len(),
                self.name,
                keys::TRANSPORT,
                TransportName::Mem.name(),
            )
        })
    }

    /// Every key's value or list, defaults included, nested by section.
    pub fn resolved(&self) -> Json {
        let json = |values: &[Value]| match values {
            [value] => value.to_json(),
            values => values.iter().map(Value::to_json).collect(),
        };
        let table = |section: &str| -> Map<String, Json> {
            let keys = TABLE.iter().zip(&self.settings).filter(|(key, _)| key.section == section);
            keys.map(|(key, values)| (key.name.to_owned(), json(values))).collect()
        };
        let mut root = table("");
        if !self.tuned.is_empty() {
            root.insert(keys::TUNE.name.into(), self.tuned().iter().map(|key| key.full()).collect());
        }
        root.extend(keys::sections().into_iter().map(|section| (section.to_owned(), table(section).into())));
        let table = |row: &Row| -> Map<String, Json> {
            row.entries().map(|(key, value)| (key.name.to_owned(), value.to_json())).collect()
        };
        let lists = self.lists().into_iter().filter(|(_, rows)| !rows.is_empty());
        root.extend(lists.map(|(list, rows)| (list.name.to_owned(), rows.into_iter().map(table).collect())));
        root.into()
    }

    /// The config with every default written out, which reads back as this spec.
    pub fn to_toml(&self) -> String {
        let mut lines = Vec::new();
        let mut section = "";
        for (key, values) in TABLE.iter().zip(&self.settings) {
            if key.section != section {
                section = key.section;
                lines.push(format!("\n[{section}]"));
            }
            let texts: Vec<_> = values.iter().map(Value::to_toml).collect();
            let value = if let [text] = &texts[..] { text.clone() } else { format!("[{}]", texts.join(", ")) };
            lines.push(format!("{} = {value}", key.name));
            // It belongs to the top of the file, and so before the first section.
            if key.section.is_empty() && !self.tuned.is_empty() {
                let names: Vec<_> = self.tuned().iter().map(|key| format!("\"{}\"", key.full())).collect();
                lines.push(format!("{} = [{}]", keys::TUNE.name, names.join(", ")));
            }
        }
        for (list, row) in
            self.lists().into_iter().flat_map(|(list, rows)| rows.into_iter().map(move |row| (list, row)))
        {
            lines.push(format!("\n[[{}]]", list.name));
            lines.extend(row.entries().map(|(key, value)| format!("{} = {}", key.name, value.to_toml())));
        }
        lines.join("\n") + "\n"
    }

    /// What it lists, list by list.
    fn lists(&self) -> [(&'static List, Vec<&Row>); 2] {
        [
            (&links::LIST, self.links.iter().collect()),
            (&fault::LIST, self.faults.iter().map(|fault| &fault.0).collect()),
        ]
    }

    /// A spec of checked settings and what they expand to.
    fn new(
        settings: Vec<Vec<Value>>,
        links: Vec<Row>,
        faults: Vec<fault::Setting>,
        tuned: Vec<&'static str>,
        drafts: Vec<Draft>,
    ) -> Self {
        let Draft { name, run, .. } = drafts.first().cloned().expect("no setting is empty");
        // Where overrides have left no links to speak of, none are.
        let has_links = drafts.iter().any(|draft| !draft.point.network.links.is_empty());
        let links = if has_links { links } else { Vec::new() };
        Self {
            name,
            run,
            points: drafts.into_iter().map(|draft| draft.point).collect(),
            links,
            faults,
            tuned,
            settings,
        }
    }
}

/// The question that a config answers: the comment on its first line.
pub fn question(config: &str) -> Option<&str> {
    Some(config.lines().next()?.strip_prefix('#')?.trim())
}
