//! Lists of tables, `[[faults]]` and `[[links]]`: from text to values in their ranges, table by table.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::error::{Complaint, Source, SpecError, brief, nearest};
use super::keys::Key;
use super::parse::default;
use super::value::{Value, described};

/// What a config may list.
#[derive(Debug)]
pub(super) struct List {
    /// The name of the list.
    pub(super) name: &'static str,
    /// What each of its tables is.
    pub(super) one: &'static str,
    /// Their keys, in the order in which they are written out.
    pub(super) keys: &'static [&'static Key],
    /// Those that none may lack.
    pub(super) required: &'static [&'static Key],
    /// Those that are what they are by default where they are missing. Others are not there then.
    pub(super) assumed: &'static [&'static Key],
}

/// One of the tables, defaults included.
#[derive(Clone, Debug)]
pub(super) struct Row {
    list: &'static List,
    /// Parallel to the list's keys.
    values: Vec<Option<Value>>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        (self.list.name, &self.values) == (other.list.name, &other.values)
    }
}

impl Row {
    /// The keys that it has, in the order in which they are written out.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'static Key, &Value)> {
        self.list.keys.iter().zip(&self.values).filter_map(|(key, value)| Some((*key, value.as_ref()?)))
    }

    pub(super) fn value(&self, key: &Key) -> Option<&Value> {
        self.entries().find(|(each, _)| each.name == key.name).map(|(_, value)| value)
    }
}

/// One of the tables, and where each of its keys is written.
#[derive(Debug)]
pub(super) struct Given<'a> {
    source: &'a Source<'a>,
    /// Its head.
    at: Range<usize>,
    places: Vec<(&'static Key, Range<usize>)>,
    pub(super) row: Row,
}

impl Given<'_> {
    /// The error at this key, or at the table's head if it has no such key.
    pub(super) fn error(&self, key: &Key, complaint: Complaint) -> SpecError {
        let place = self.places.iter().find(|(each, _)| each.name == key.name).map_or(&self.at, |(_, place)| place);
        self.source.error(place, Some(key.full()), complaint)
    }
}

/// Declares each key of a list's tables, with an example in the place of its default, and collects them in `KEYS`.
macro_rules! keys_of_list {
    ($list:literal: $($id:ident = key($name:expr, $kind:expr, $example:expr, $doc:expr);)+) => {
        $(static $id: $crate::spec::Key = $crate::spec::keys::listed($list, $name, $kind, $example, $doc);)+
        static KEYS: &[&$crate::spec::Key] = &[$(&$id),+];
    };
}

pub(super) use keys_of_list;

impl List {
    /// The tables that a document lists, each key's value in its range.
    pub(super) fn read<'a>(
        &'static self,
        source: &'a Source<'a>,
        value: DeValue<'a>,
        at: &Range<usize>,
    ) -> Result<Vec<Given<'a>>, SpecError> {
        let name = self.name;
        let no_list = |at: &Range<usize>, value: &DeValue<'_>| {
            let complaint = Complaint::new(format!("`{name}` is a list of tables, not {}", described(value)));
            source.error(at, Some(name.into()), complaint.help(format!("begin each of them with `[[{name}]]`")))
        };
        let DeValue::Array(items) = value else { return Err(no_list(at, &value)) };
        let read = |item: toml::Spanned<DeValue<'a>>| {
            let at = item.span();
            match item.into_inner() {
                DeValue::Table(table) => self.read_one(source, table, at),
                other => Err(no_list(&at, &other)),
            }
        };
        items.into_iter().map(read).collect()
    }

    fn read_one<'a>(
        &'static self,
        source: &'a Source<'a>,
        table: DeTable<'a>,
        at: Range<usize>,
    ) -> Result<Given<'a>, SpecError> {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut places: Vec<(&Key, Range<usize>)> = Vec::new();
        let is_assumed = |key: &Key| self.assumed.iter().any(|each| each.name == key.name);
        let mut values: Vec<_> = self.keys.iter().map(|key| default(key).filter(|_| is_assumed(key))).collect();
        for (name, value) in entries {
            let full = || format!("{}.{}", self.name, brief(name.get_ref()));
            let unknown = || source.error(&name.span(), Some(full()), self.unknown(name.get_ref()));
            let index = self.keys.iter().position(|key| key.name == &**name.get_ref()).ok_or_else(unknown)?;
            let key = self.keys[index];
            let at = value.span();
            let value = Value::read(value.get_ref(), key).map_err(|complaint| {
                let message = format!("{key} {}", complaint.message);
                source.error(&at, Some(key.full()), Complaint { message, ..complaint })
            })?;
            places.push((key, at));
            values[index] = Some(value);
        }
        let has = |key: &Key| places.iter().any(|(each, _)| each.name == key.name);
        if let Some(key) = self.required.iter().find(|key| !has(key)) {
            let complaint = Complaint::new(format!("{key} is missing: {}", key.doc));
            let example = default(key).expect("it is in range").to_toml();
            let complaint = complaint.help(format!("for example `{} = {example}`", key.name));
            return Err(source.error(&at, Some(key.full()), complaint));
        }
        Ok(Given { source, at, places, row: Row { list: self, values } })
    }

    fn unknown(&self, name: &str) -> Complaint {
        let complaint = Complaint::new(format!("unknown key `{}.{}`", self.name, brief(name)));
        let names = || self.keys.iter().map(|key| key.name);
        match nearest(name, names()) {
            Some(key) => complaint.help(format!("did you mean `{key}`?")),
            None => complaint.help(format!("{}'s keys are {}", self.one, names().collect::<Vec<_>>().join(", "))),
        }
    }
}
