//! JSON Schemas of what people write and what programs read: `quorumbench schema`.

use clap::{Args, ValueEnum};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value as Json;

use crate::results::{ConvergenceResult, EpidemicResult, PointResult};
use crate::spec::config_schema;

/// What there is a schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// An experiment: a file of bench-configs, as an editor of TOML sees it.
    Config,
    /// A line of `points.jsonl` of commands.
    Point,
    /// A line of `points.jsonl` of gossip.
    Epidemic,
    /// A line of `points.jsonl` of replicas that reconcile.
    Convergence,
}

impl Document {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Config, Self::Point, Self::Epidemic, Self::Convergence];

    /// Its schema: JSON Schema, draft 7.
    pub fn schema(self) -> Json {
        match self {
            Self::Config => config_schema(),
            Self::Point => of::<PointResult>(),
            Self::Epidemic => of::<EpidemicResult>(),
            Self::Convergence => of::<ConvergenceResult>(),
        }
    }

    /// The file that holds it, in the folder `schemas`.
    pub fn file_name(self) -> String {
        let value = self.to_possible_value().expect("none is skipped");
        format!("{}.json", value.get_name())
    }
}

fn of<T: JsonSchema>() -> Json {
    let schema: Schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.into()
}

/// Prints a JSON Schema: of configs, for editors, or of the lines of results, for programs that read them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value = "config")]
    of: Document,
}

const EXAMPLES: &str = "\
Examples:
  quorumbench schema > quorumbench.schema.json
  quorumbench schema point

An editor that knows TOML completes a config whose first line is
  #:schema ./quorumbench.schema.json";

impl SchemaArgs {
    /// The schema as text.
    pub(crate) fn text(&self) -> String {
        format!("{:#}\n", self.of.schema())
    }
}
