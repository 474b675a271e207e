//! From text to settings: TOML and overrides, against the table of keys.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Spec;
use super::error::{Complaint, Source, SpecError, brief, nearest};
use super::expand::{self, Conflict, MOST_POINTS};
use super::fault;
use super::keys::{self, Draft, Key, TABLE};
use super::links;
use super::overrides;
use super::point::Point;
use super::tables::{self, List};
use super::tune;
use super::value::{Value, described};

/// What a text says about one key: a scalar or a list of them.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) key: &'static Key,
    pub(super) source: &'a Source<'a>,
    /// The whole value.
    pub(super) at: Range<usize>,
    pub(super) list: bool,
    pub(super) items: Vec<(DeValue<'a>, Range<usize>)>,
}

impl<'a> Written<'a> {
    pub(super) fn new(key: &'static Key, source: &'a Source<'a>, value: DeValue<'a>, at: Range<usize>) -> Self {
        let list = value.is_array();
        let items = match value {
            DeValue::Array(items) => items.into_iter().map(|item| (item.span(), item.into_inner())).collect(),
            scalar => vec![(at.clone(), scalar)],
        };
        let items = items.into_iter().map(|(at, item)| (item, at)).collect();
        Self { key, source, at, list, items }
    }
}

/// The allowed values of a key, and where each is written.
#[derive(Debug)]
struct Given<'a> {
    source: &'a Source<'a>,
    at: Range<usize>,
    values: Vec<Value>,
    places: Vec<Range<usize>>,
}

/// The spec that a document and overrides of it make.
pub(super) fn parse(document: &Source<'_>, overrides: &[Source<'_>]) -> Result<Spec, SpecError> {
    let mut given: Vec<Option<Given<'_>>> = TABLE.iter().map(|_| None).collect();
    let overridden = overrides.iter().map(overrides::read);
    let Document { written, links, faults } = read_document(document)?;
    let mut tuned = Vec::new();
    for written in written.into_iter().map(Ok).chain(overridden) {
        let written = written?;
        if std::ptr::eq(written.key, &raw const keys::TUNE) {
            tuned = tune::read(written)?;
            continue;
        }
        let place = keys::position(written.key);
        given[place] = Some(check(written)?);
    }
    let settings = TABLE.iter().zip(&given).map(|(key, given)| match given {
        Some(given) => Ok(given.values.clone()),
        None => default(key).map(|value| vec![value]).ok_or_else(|| missing(key, document)),
    });
    let settings = settings.collect::<Result<Vec<_>, _>>()?;
    let drafts = validate(&settings, &given, &links, document)?;
    let faults = fault::check(&faults, &drafts)?;
    Ok(Spec::new(settings, links.into_iter().map(|link| link.row).collect(), faults, tuned, drafts))
}

/// The default of a key, which the table has as text.
pub(super) fn default(key: &Key) -> Option<Value> {
    let text = key.default?;
    Some(Value::read(&overrides::scalar(text), key).expect("the table's defaults are in range"))
}

/// What a document says, in its order, and what it lists.
struct Document<'a> {
    written: Vec<Written<'a>>,
    links: Vec<tables::Given<'a>>,
    faults: Vec<tables::Given<'a>>,
}

fn read_document<'a>(source: &'a Source<'a>) -> Result<Document<'a>, SpecError> {
    let table = DeTable::parse(source.text).map_err(|bad| syntax(source, 0, None, &bad))?.into_inner();
    let (mut read, mut links, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let (name_at, value_at) = (name.span(), value.span());
        let (name, value) = (name.into_inner(), value.into_inner());
        if let Some(list) = LISTS.into_iter().find(|list| list.name == name) {
            let to = if list.name == links::LIST.name { &mut links } else { &mut faults };
            *to = list.read(source, value, &value_at)?;
            continue;
        }
        if !keys::sections().contains(&&*name) {
            let unknown = if value.is_table() { unknown_section(&name) } else { unknown_key("", &name) };
            let key = find("", &name).ok_or_else(|| source.error(&name_at, Some(brief(&name)), unknown))?;
            read.push(Written::new(key, source, value, value_at));
            continue;
        }
        let DeValue::Table(section) = value else {
            return Err(source.error(&value_at, Some(name.to_string()), no_section(&name, &value)));
        };
        let mut entries: Vec<_> = section.into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (last, value) in entries {
            let full = || format!("{name}.{}", brief(last.get_ref()));
            let unknown = || source.error(&last.span(), Some(full()), unknown_key(&name, last.get_ref()));
            let key = find(&name, last.get_ref()).ok_or_else(unknown)?;
            let at = value.span();
            read.push(Written::new(key, source, value.into_inner(), at));
        }
    }
    Ok(Document { written: read, links, faults })
}

/// The error that the TOML parser found in what starts `offset` bytes into the source.
pub(super) fn syntax(source: &Source<'_>, offset: usize, key: Option<&Key>, bad: &toml::de::Error) -> SpecError {
    let at = bad.span().unwrap_or(0..0);
    let complaint = Complaint::new(format!("not valid TOML: {}", brief(bad.message())));
    source.error(&(at.start + offset..at.end + offset), key.map(Key::full), complaint)
}

/// What may be listed.
static LISTS: [&List; 2] = [&links::LIST, &fault::LIST];

/// Which of these a name may mean, if it is no better name for one of `others`.
fn nearest_list<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> Option<&'static List> {
    let nearest = nearest(name, others.chain(LISTS.map(|list| list.name)))?;
    LISTS.into_iter().find(|list| list.name == nearest)
}

fn find(section: &str, name: &str) -> Option<&'static Key> {
    keys::all().find(|key| key.section == section && key.name == name)
}

fn unknown_section(name: &str) -> Complaint {
    let sections = keys::sections();
    let complaint = Complaint::new(format!("unknown section `[{}]`", brief(name)));
    if let Some(list) = nearest_list(name, sections.iter().copied()) {
        return complaint.help(format!("did you mean `[[{}]]`?", list.name));
    }
    match nearest(name, sections.iter().copied()) {
        Some(section) => complaint.help(format!("did you mean `[{section}]`?")),
        None => complaint.help(format!("sections are {}", sections.join(", "))),
    }
}

/// A section that is given a value: perhaps the key of the same name in another section is meant.
fn no_section(name: &str, value: &DeValue<'_>) -> Complaint {
    let complaint = Complaint::new(format!("`{name}` is a section, not {}", described(value)));
    match TABLE.iter().find(|key| key.name == name) {
        Some(key) => complaint.help(format!("did you mean {key}?")),
        None => complaint.help(format!("write it as `[{name}]`")),
    }
}

/// A key that the table does not have: a slip within the section, or a key of another section, or neither.
pub(super) fn unknown_key(section: &str, name: &str) -> Complaint {
    let full = if section.is_empty() { brief(name) } else { format!("{}.{}", brief(section), brief(name)) };
    let complaint = Complaint::new(format!("unknown key `{full}`"));
    let here = keys::all().filter(|key| key.section == section).map(|key| key.name);
    let anywhere = || TABLE.iter().map(|key| key.name);
    if let Some(List { name, .. }) = LISTS.into_iter().find(|list| list.name == section) {
        return complaint.help(format!("{name} are written in the config, each below its own `[[{name}]]`"));
    }
    if let Some(list) = nearest_list(name, anywhere()).filter(|_| section.is_empty()) {
        return complaint.help(format!("did you mean `[[{}]]`?", list.name));
    }
    let slip = nearest(name, here.clone()).or_else(|| nearest(name, anywhere()));
    if let Some(key) = keys::all().find(|key| Some(key.name) == slip) {
        return complaint.help(format!("did you mean {key}?"));
    }
    let known: Vec<_> = here.collect();
    if section.is_empty() {
        complaint.help(format!("sections are {}", keys::sections().join(", ")))
    } else {
        complaint.help(format!("keys of [{section}] are {}", known.join(", ")))
    }
}

fn missing(key: &Key, document: &Source<'_>) -> SpecError {
    let complaint = Complaint::new(format!("{key} is missing"));
    let complaint = complaint.help(format!("a config starts with one, such as `{} = \"my-experiment\"`", key.name));
    document.error(&(0..0), Some(key.full()), complaint)
}

/// The values of one key, each allowed and none twice.
fn check(written: Written<'_>) -> Result<Given<'_>, SpecError> {
    let Written { key, source, at, list, items } = written;
    let error = |at: &Range<usize>, complaint: Complaint| {
        let message = format!("{key} {}", complaint.message);
        source.error(at, Some(key.full()), Complaint { message, ..complaint })
    };
    if list && !key.axis {
        return Err(error(&at, Complaint::new("takes one value, not a list")));
    }
    if items.is_empty() {
        return Err(error(&at, Complaint::new("is an empty list").help("give it at least one value")));
    }
    let (mut values, mut places, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (item, at) in items {
        let value = Value::read(&item, key).map_err(|complaint| error(&at, complaint))?;
        if !seen.insert(value.to_string()) {
            let complaint = Complaint::new(format!("lists {} twice", value.to_toml()));
            return Err(error(&at, complaint.help("leave one of them out")));
        }
        values.push(value);
        places.push(at);
    }
    Ok(Given { source, at, values, places })
}

/// The settings' expansion, and what only shows once all keys are known.
fn validate(
    settings: &[Vec<Value>],
    given: &[Option<Given<'_>>],
    links: &[tables::Given<'_>],
    document: &Source<'_>,
) -> Result<Vec<Draft>, SpecError> {
    let mut drafts = expand::expand(settings).map_err(|_| too_many(settings, given))?;
    links::lay(links, &mut drafts);
    let is_overridden =
        |key: &Key| given[keys::position(key)].as_ref().is_some_and(|given| !std::ptr::eq(given.source, document));
    if let Some(conflict) = expand::idle(settings, is_overridden) {
        return Err(conflicting(conflict, None, given, document));
    }
    if let Some(conflict) = expand::shared(settings, &drafts) {
        return Err(conflicting(conflict, None, given, document));
    }
    for draft in &drafts {
        if let Some(conflict) = expand::conflict(&draft.point) {
            return Err(conflicting(conflict, Some(&draft.point), given, document));
        }
    }
    links::check(links, &drafts, is_overridden)?;
    let is_set = |key: &Key| default(key).is_none_or(|default| settings[keys::position(key)] != [default]);
    if let Some(conflict) = links::idle(&drafts, is_set) {
        return Err(conflicting(conflict, None, given, document));
    }
    Ok(drafts)
}

/// A conflict is shown where one of its keys is written, rather in an override than in the file, which worked before.
fn conflicting(
    conflict: Conflict,
    point: Option<&Point>,
    given: &[Option<Given<'_>>],
    document: &Source<'_>,
) -> SpecError {
    let Conflict { keys, message, help } = conflict;
    let written = |keys: [&'static Key; 2]| {
        let written = || keys.into_iter().filter_map(|key| Some((key, given[keys::position(key)].as_ref()?)));
        let overridden = written().find(|(_, given)| !std::ptr::eq(given.source, document));
        overridden.or_else(|| written().next())
    };
    // If neither is written, they are what they are by default for such an experiment.
    let (key, written) = written(keys).or_else(|| written([&keys::PROTOCOL, &keys::NAME])).expect("it has a name");
    let value = point.and_then(|point| point.coordinate(key));
    let index = written.values.iter().position(|each| Some(each) == value).unwrap_or(0);
    written.source.error(&written.places[index], Some(key.full()), Complaint::new(message).help(help))
}

fn too_many(settings: &[Vec<Value>], given: &[Option<Given<'_>>]) -> SpecError {
    let lists = TABLE.iter().zip(settings).filter(|(_, values)| values.len() > 1);
    let lists: Vec<_> = lists.map(|(key, values)| format!("{} {}", values.len(), key.name)).collect();
    let message = format!("more than {MOST_POINTS} points: {}", lists.join(" x "));
    let longest = given.iter().flatten().max_by_key(|given| given.values.len()).expect("defaults are one point");
    let key = TABLE.iter().zip(given).find(|(_, each)| each.as_ref().is_some_and(|each| std::ptr::eq(each, longest)));
    let complaint = Complaint::new(message).help("shorten the lists, or make them several configs");
    longest.source.error(&longest.at, key.map(|(key, _)| key.full()), complaint)
}
