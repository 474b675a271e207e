//! From `[[faults]]` to checked values, one by one.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{AT, KEYS, KIND, Setting, TARGET};
use crate::spec::error::{Complaint, Source, SpecError, brief, nearest};
use crate::spec::keys::Key;
use crate::spec::parse::default;
use crate::spec::value::{Value, described};

/// One fault, and where each of its keys is written.
#[derive(Debug)]
pub(in crate::spec) struct Given<'a> {
    source: &'a Source<'a>,
    /// Its head.
    at: Range<usize>,
    places: Vec<(&'static Key, Range<usize>)>,
    pub(in crate::spec) setting: Setting,
}

impl Given<'_> {
    /// The error at this key, or at the fault's head if it has no such key.
    pub(super) fn error(&self, key: &Key, complaint: Complaint) -> SpecError {
        let place = self.places.iter().find(|(each, _)| each.name == key.name).map_or(&self.at, |(_, place)| place);
        self.source.error(place, Some(key.full()), complaint)
    }
}

/// The faults that a document lists, each key's value in its range.
pub(in crate::spec) fn read<'a>(
    source: &'a Source<'a>,
    value: DeValue<'a>,
    at: &Range<usize>,
) -> Result<Vec<Given<'a>>, SpecError> {
    let no_list = |at: &Range<usize>, value: &DeValue<'_>| {
        let complaint = Complaint::new(format!("`faults` is a list of tables, not {}", described(value)));
        source.error(at, Some("faults".into()), complaint.help("begin each of them with `[[faults]]`"))
    };
    let DeValue::Array(items) = value else { return Err(no_list(at, &value)) };
    let read = |item: toml::Spanned<DeValue<'a>>| {
        let at = item.span();
        match item.into_inner() {
            DeValue::Table(table) => read_one(source, table, at),
            other => Err(no_list(&at, &other)),
        }
    };
    items.into_iter().map(read).collect()
}

fn read_one<'a>(source: &'a Source<'a>, table: DeTable<'a>, at: Range<usize>) -> Result<Given<'a>, SpecError> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut places: Vec<(&Key, Range<usize>)> = Vec::new();
    let mut values: Vec<Option<Value>> =
        KEYS.iter().map(|key| default(key).filter(|_| key.name == TARGET.name)).collect();
    for (name, value) in entries {
        let unknown =
            || source.error(&name.span(), Some(format!("faults.{}", brief(name.get_ref()))), unknown(name.get_ref()));
        let index = KEYS.iter().position(|key| key.name == &**name.get_ref()).ok_or_else(unknown)?;
        let key = KEYS[index];
        let at = value.span();
        let value = Value::read(value.get_ref(), key).map_err(|complaint| {
            let message = format!("{key} {}", complaint.message);
            source.error(&at, Some(key.full()), Complaint { message, ..complaint })
        })?;
        places.push((key, at));
        values[index] = Some(value);
    }
    let has = |key: &Key| places.iter().any(|(each, _)| each.name == key.name);
    for key in [&AT, &KIND] {
        if !has(key) {
            let complaint = Complaint::new(format!("{key} is missing: {}", key.doc));
            let example = default(key).expect("it is in range").to_toml();
            let complaint = complaint.help(format!("for example `{} = {example}`", key.name));
            return Err(source.error(&at, Some(key.full()), complaint));
        }
    }
    Ok(Given { source, at, places, setting: Setting { values } })
}

fn unknown(name: &str) -> Complaint {
    let complaint = Complaint::new(format!("unknown key `faults.{}`", brief(name)));
    let names = || KEYS.iter().map(|key| key.name);
    match nearest(name, names()) {
        Some(key) => complaint.help(format!("did you mean `{key}`?")),
        None => complaint.help(format!("a fault's keys are {}", names().collect::<Vec<_>>().join(", "))),
    }
}
