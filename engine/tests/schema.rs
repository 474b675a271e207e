//! The schemas in the tree are those that the program prints, and say the truth about configs and results.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use quorumbench::schema::Document;
use quorumbench::spec::Spec;
use serde_json::Value as Json;
use support::desk::Desk;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

/// `UPDATE=1` writes them anew.
#[test]
fn the_tree_has_what_the_program_prints() {
    let desk = Desk::new("");
    for document in Document::ALL {
        let (path, name) = (folder().join(document.file_name()), document.file_name());
        let printed = desk.run(&["schema", name.trim_end_matches(".json")]).out;
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(folder()).expect("a folder");
            fs::write(&path, &printed).expect("written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(printed, kept, "{name} is not what the program prints: run this with UPDATE=1");
    }
}

#[test]
fn every_key_is_in_the_schema_with_what_it_means() {
    let schema = Document::Config.schema();
    for key in Spec::keys() {
        let table = if key.section.is_empty() { &schema } else { &schema["properties"][key.section] };
        let property = &table["properties"][key.name];
        let said = property["description"].as_str().unwrap_or_else(|| panic!("{key} has no description"));
        assert!(said.starts_with(key.doc), "{said}");
        assert_eq!(property["anyOf"][1]["type"] == "array", key.axis, "{key}");
    }
    assert!(schema["properties"]["faults"]["items"]["properties"]["kind"]["enum"].is_array());
    assert!(schema["properties"]["links"]["items"]["properties"]["to"]["anyOf"].is_array());
}

/// What a line of a run has is in the schema, and what the schema wants is in the line.
#[test]
fn lines_have_the_fields_that_their_schema_has() {
    let line = |config: &str| -> Json {
        let desk = Desk::new(config);
        let said = desk.run(&["run", "x.toml", "--quiet"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let text = fs::read_to_string(desk.only_run("results").join("points.jsonl")).expect("points");
        serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
    };
    let run = "[run]\nwarmup = '20ms'\nduration = '100ms'\n";
    let commands = "name = 'x'\n[cluster]\ntransport = 'sim'\n[load]\narrival = 'constant'\nrate = 1000\n";
    let gossip =
        "name = 'x'\n[cluster]\nprotocol = 'gossip'\ntransport = 'population'\nnodes = 50\n[gossip]\ntrials = 5\n";
    let replicas = "name = 'x'\ncluster = { protocol = 'crdt', transport = 'sim', nodes = 7 }\nreplication = { updates = 40, trials = 2 }\n";
    for (document, config) in [
        (Document::Point, format!("{commands}{run}")),
        (Document::Epidemic, gossip.into()),
        (Document::Convergence, replicas.into()),
    ] {
        let (line, schema) = (line(&config), document.schema());
        let fields = line.as_object().expect("an object");
        let known = schema["properties"].as_object().expect("properties");
        assert!(fields.keys().all(|field| known.contains_key(field)), "{document:?}: {:?}", fields.keys());
        let required = schema["required"].as_array().expect("required fields");
        assert!(required.iter().all(|field| fields.contains_key(field.as_str().expect("a name"))), "{document:?}");
    }
}
