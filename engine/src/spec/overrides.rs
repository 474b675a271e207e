//! Overrides from the command line: `--set key=value`.
//!
//! The key is full (`batch.commands`) or what it is among the coordinates (`commands`). The value is TOML; what is not is taken as a
//! string, as shells eat quotes: `--set transport=mem`, `--set payload=[64B,1KiB]`.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::DeValue;

use super::error::{Complaint, Source, SpecError};
use super::keys::{self, Key};
use super::parse::{Written, syntax, unknown_key};

/// The override as a source of its own, named for errors as it was typed.
pub(super) fn source(text: &str) -> Source<'_> {
    Source { file: format!("--set {}", super::error::brief(text)), text }
}

/// What an override says.
pub(super) fn read<'a>(source: &'a Source<'a>) -> Result<Written<'a>, SpecError> {
    let Some((name, value)) = source.text.split_once('=') else {
        let complaint = Complaint::new("an override must be `key=value`").help("for example `--set batch.commands=64`");
        return Err(source.error(&(0..source.text.len()), None, complaint));
    };
    let key = find(name.trim()).map_err(|complaint| {
        let full = Some(super::error::brief(name.trim()));
        source.error(&trimmed(name, 0), full, complaint)
    })?;
    let at = trimmed(value, name.len() + 1);
    let text = &source.text[at.clone()];
    match DeValue::parse(text) {
        Ok(parsed) => Ok(shifted(Written::new(key, source, parsed.into_inner(), 0..text.len()), at.start)),
        Err(_) if !text.starts_with(['[', '{', '"', '\'']) => {
            Ok(Written::new(key, source, DeValue::String(Cow::Borrowed(text)), at))
        }
        Err(bad) => bare_list(key, source, at.clone()).ok_or_else(|| syntax(source, at.start, Some(key), &bad)),
    }
}

/// One value: TOML if it is, else a string.
pub(super) fn scalar(text: &str) -> DeValue<'_> {
    DeValue::parse(text).map_or(DeValue::String(Cow::Borrowed(text)), toml::Spanned::into_inner)
}

/// `[raft,echo]`: a list whose quotes the shell ate. `None` if there is more to it than that.
fn bare_list<'a>(key: &'static Key, source: &'a Source<'a>, at: Range<usize>) -> Option<Written<'a>> {
    let inside = source.text[at.clone()].strip_prefix('[')?.strip_suffix(']')?;
    if inside.contains(['[', ']', '{', '}', '"', '\'']) {
        return None;
    }
    let inside = inside.trim_end().strip_suffix(',').unwrap_or(inside);
    let mut start = at.start + 1;
    let items = inside.split(',').map(|item| {
        let place = trimmed(item, start);
        start += item.len() + 1;
        (scalar(&source.text[place.clone()]), place)
    });
    let items = items.collect();
    Some(Written { key, source, at, list: true, items })
}

/// Where `text`, which starts at `start`, is without the space around it.
fn trimmed(text: &str, start: usize) -> Range<usize> {
    let start = start + text.len() - text.trim_start().len();
    start..start + text.trim().len()
}

/// A value that was parsed on its own, in the place where it stands in the source.
fn shifted(written: Written<'_>, by: usize) -> Written<'_> {
    let shift = |at: Range<usize>| at.start + by..at.end + by;
    let items = written.items.into_iter().map(|(item, at)| (item, shift(at))).collect();
    Written { at: shift(written.at), items, ..written }
}

fn find(name: &str) -> Result<&'static Key, Complaint> {
    let key = keys::all().find(|key| key.full() == name || key.coordinate == name);
    key.ok_or_else(|| {
        let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
        unknown_key(section, last)
    })
}
