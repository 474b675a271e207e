//! The config as a JSON Schema, for editors: the table of keys once more.

use serde_json::{Map, Value as Json, json};

use super::fault;
use super::keys::{self, Key, TABLE};
use super::links;
use super::value::Kind;

/// A JSON Schema (draft 7, which editors of TOML know) of a config: every key with its meaning, its default, and what it
/// may be. What depends on several keys at once is not in it, and is said by the program.
pub fn config_schema() -> Json {
    let mut root = table("", TABLE);
    for section in keys::sections() {
        root["properties"][section] = table(section, TABLE);
    }
    for (list, about) in [
        (&links::LIST, "links that are other than [network] says; where two say the same, the later counts"),
        (&fault::LIST, "what is done to the cluster while it is measured"),
    ] {
        let tables = json!({"type": "array", "items": table(list.name, list.keys)});
        root["properties"][list.name] = with(tables, "description", about);
    }
    let axes = TABLE.iter().filter(|key| key.axis);
    let names: Vec<_> = axes.flat_map(|key| [key.full(), key.coordinate.to_owned()]).collect();
    let tuned = json!({"type": "array", "minItems": 1, "items": {"enum": names}});
    root["properties"]["tune"] = with(tuned, "description", keys::TUNE.doc);
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("an experiment of quorumbench");
    root
}

/// The keys of a section.
fn table(section: &str, keys: &[&Key]) -> Json {
    let own = || keys.iter().filter(|key| key.section == section);
    let properties: Map<String, Json> = own().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = own().filter(|key| key.default.is_none()).map(|key| key.name).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required})
}

fn property(key: &Key) -> Json {
    let scalar = scalar(key.kind);
    let values =
        if key.axis { json!({"anyOf": [scalar, {"type": "array", "minItems": 1, "items": scalar}]}) } else { scalar };
    let about = if key.axis { format!("{}; a list makes it an axis", key.doc) } else { key.doc.to_owned() };
    let property = with(values, "description", &format!("{about}. It must be {}.", key.kind));
    let is_example = [links::LIST.name, fault::LIST.name].contains(&key.section);
    match key.default.filter(|_| !is_example) {
        Some(default) => with(property, "default", default),
        None => property,
    }
}

fn with(mut schema: Json, name: &str, text: &str) -> Json {
    schema[name] = json!(text);
    schema
}

/// What a single value may be.
fn scalar(kind: Kind) -> Json {
    let whole = |min: u64, max: u64| json!({"type": "integer", "minimum": min, "maximum": max});
    let amount = |units: &str| json!({"type": "string", "pattern": format!("^[0-9][0-9_.]* ?({units})$")});
    let either = |word: &str, other: Json| json!({"anyOf": [{"const": word}, other]});
    let sizes = || amount("B|KB|MB|GB|KiB|MiB|GiB");
    match kind {
        Kind::Label { max } => json!({"type": "string", "pattern": "^[A-Za-z0-9._-]+$", "maxLength": max}),
        Kind::Choice(choices) => json!({"enum": choices.iter().map(|choice| choice.name).collect::<Vec<_>>()}),
        Kind::Count { min, max } => whole(min, max),
        Kind::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Kind::Duration { .. } => amount("ns|us|µs|μs|ms|s|m|min"),
        Kind::Size { .. } => sizes(),
        Kind::Quorum { max } => either("majority", whole(1, max)),
        Kind::Limit { min, max } => either("unlimited", whole(min, max)),
        Kind::SizeOrOff { .. } => either("off", sizes()),
        Kind::Target(names) => json!({"anyOf": [{"enum": names}, {"type": "integer", "minimum": 0}]}),
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Keys => json!({"type": "string", "pattern": "^(uniform|zipf):"}),
        Kind::Address | Kind::Regions | Kind::Folder => json!({"type": "string"}),
    }
}
