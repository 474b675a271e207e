//! What a key may hold: its kind, how a written value is read, and how it is written back.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::distribution::Keys;
use super::error::{Complaint, brief, nearest};
use super::keys::Key;
use super::names::Choice;
use super::regions::Regions;
use super::units::{self, BadAmount, Unit, duration_text, size_text};

/// What a key's values are. Shown as the end of "must be ...".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A word that can be part of a folder's name.
    Label {
        /// Most characters.
        max: usize,
    },
    /// One of a few names.
    Choice(&'static [Choice]),
    /// A whole number in an inclusive range.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number in an inclusive range.
    Number {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// A duration in an inclusive range, with a unit.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A size in an inclusive range, with a unit.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// How many make a quorum: a whole number from 1 to the most, or `majority`.
    Quorum {
        /// The most.
        max: u64,
    },
    /// At most how many: a whole number in an inclusive range, or `unlimited`.
    Limit {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A size in an inclusive range, or `off`.
    SizeOrOff {
        /// The least, in bytes.
        min: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// An IP address.
    Address,
    /// A distribution of keys.
    Keys,
    /// Regions and how far they are apart, or `off`.
    Regions,
    /// `true` or `false`.
    Switch,
    /// A folder, or `auto`.
    Folder,
    /// One of a few names, or a replica's id.
    Target(&'static [&'static str]),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = |min, max| format!("from {} to {}", size_text(min), size_text(max));
        match *self {
            Self::Label { max } => write!(f, "1 to {max} letters, digits, `-`, `_` or `.`"),
            Self::Choice(choices) => {
                let names: Vec<_> = choices.iter().map(|choice| choice.name).collect();
                write!(f, "one of {}", names.join(", "))
            }
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Duration { min, max } => {
                write!(f, "a duration from {} to {}", duration_text(min), duration_text(max))
            }
            Self::Size { min, max } => write!(f, "a size {}", sizes(min, max)),
            Self::Quorum { max } => write!(f, "`majority` or a whole number from 1 to {max}"),
            Self::Limit { min, max } => write!(f, "`unlimited` or a whole number from {min} to {max}"),
            Self::SizeOrOff { min, max } => write!(f, "`off` or a size {}", sizes(min, max)),
            Self::Address => write!(f, "an IP address such as 127.0.0.1"),
            Self::Keys => write!(f, "`uniform:KEYS` or `zipf:KEYS:EXPONENT`"),
            Self::Regions => write!(f, "`off` or round-trip times such as `a-b 68ms, a-c 145ms, b-c 205ms`"),
            Self::Switch => write!(f, "`true` or `false`"),
            Self::Folder => {
                write!(f, "`auto` or a folder's path, of at most {MOST_PATH} bytes and without quotes or backslashes")
            }
            Self::Target(names) => write!(f, "one of {} or a replica's id", names.join(", ")),
        }
    }
}

/// A value that its key allows. Equal values are equal however they were written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Label`].
    Label(String),
    /// Of [`Kind::Choice`] and [`Kind::Target`].
    Choice(&'static str),
    /// Of [`Kind::Count`], [`Kind::Quorum`], [`Kind::Limit`] and [`Kind::Target`].
    Count(u64),
    /// Of [`Kind::Limit`].
    Unlimited,
    /// Of [`Kind::Quorum`].
    Majority,
    /// Of [`Kind::Number`].
    Number(f64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Size`], in bytes.
    Size(u64),
    /// Of [`Kind::SizeOrOff`] and [`Kind::Regions`].
    Off,
    /// Of [`Kind::Address`].
    Address(IpAddr),
    /// Of [`Kind::Keys`].
    Keys(Keys),
    /// Of [`Kind::Regions`].
    Regions(Regions),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Folder`].
    Folder(String),
    /// Of [`Kind::Folder`].
    Auto,
}

/// The text that a config has between the quotes.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(text) => f.write_str(text),
            Self::Choice(name) => f.write_str(name),
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Duration(duration) => f.write_str(&duration_text(*duration)),
            Self::Size(bytes) => f.write_str(&size_text(*bytes)),
            Self::Majority => f.write_str(MAJORITY),
            Self::Unlimited => f.write_str(UNLIMITED),
            Self::Off => f.write_str(OFF),
            Self::Address(address) => write!(f, "{address}"),
            Self::Keys(keys) => write!(f, "{keys}"),
            Self::Regions(regions) => write!(f, "{regions}"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Folder(path) => f.write_str(path),
            Self::Auto => f.write_str(AUTO),
        }
    }
}

impl Value {
    /// As JSON: numbers as numbers, whole ones without a point, all else as its text.
    pub fn to_json(&self) -> Json {
        match *self {
            Self::Count(count) => count.into(),
            Self::Number(number) if number.fract() == 0.0 && number.abs() < EXACT => (number as i64).into(),
            Self::Number(number) => number.into(),
            Self::Switch(on) => on.into(),
            _ => self.to_string().into(),
        }
    }

    /// As TOML. No text needs an escape: none of the kinds allows a quote, a backslash or a control character.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Count(_) | Self::Number(_) | Self::Switch(_) => self.to_string(),
            _ => format!("\"{self}\""),
        }
    }

    /// Reads a written value of `key`. The complaint goes on after the key.
    pub(super) fn read(written: &DeValue<'_>, key: &Key) -> Result<Self, Complaint> {
        let kind = key.kind;
        let refused = || Complaint::new(format!("must be {kind}, not {}", described(written)));
        let value = match (kind, written) {
            (Kind::Label { max }, DeValue::String(text)) => label(text, max),
            (Kind::Choice(choices), DeValue::String(text)) => {
                return chosen(text, choices).ok_or_else(|| {
                    let names = choices.iter().map(|choice| choice.name);
                    let help = nearest(text, names).map(|name| format!("did you mean `{name}`?"));
                    Complaint { help, ..refused() }
                });
            }
            (Kind::Quorum { .. }, DeValue::String(text)) if text == MAJORITY => Some(Self::Majority),
            (Kind::Limit { .. }, DeValue::String(text)) if text == UNLIMITED => Some(Self::Unlimited),
            (Kind::Count { min, max } | Kind::Limit { min, max }, DeValue::Integer(_)) => whole(written, min..=max),
            (Kind::Quorum { max }, DeValue::Integer(_)) => whole(written, 1..=max),
            (Kind::Target(_), DeValue::Integer(_)) => whole(written, 0..=u64::from(u32::MAX)),
            (Kind::Target(names), DeValue::String(text)) => {
                names.iter().find(|name| *name == text).map(|name| Self::Choice(name))
            }
            (Kind::Number { min, max }, DeValue::Integer(_) | DeValue::Float(_)) => {
                // Adding zero turns -0 into 0: they are equal and should look it.
                number(written).filter(|number| (min..=max).contains(number)).map(|number| Self::Number(number + 0.0))
            }
            (Kind::SizeOrOff { .. } | Kind::Regions, DeValue::String(text)) if text == OFF => Some(Self::Off),
            (Kind::Duration { .. }, _) => return amount(written, units::DURATIONS, key).map(Self::duration_of_ns),
            (Kind::Size { .. } | Kind::SizeOrOff { .. }, _) => {
                return amount(written, units::SIZES, key).map(Self::Size);
            }
            (Kind::Switch, DeValue::Boolean(on)) => Some(Self::Switch(*on)),
            (Kind::Folder, DeValue::String(text)) if text == AUTO => Some(Self::Auto),
            (Kind::Folder, DeValue::String(text)) => folder(text),
            (Kind::Address, DeValue::String(text)) => text.parse().ok().map(Self::Address),
            (Kind::Keys, DeValue::String(text)) => {
                return Keys::parse(text).map(Self::Keys).map_err(|problem| unfit(written, kind, &problem));
            }
            (Kind::Regions, DeValue::String(text)) => {
                return Regions::parse(text).map(Self::Regions).map_err(|problem| unfit(written, kind, &problem));
            }
            _ => None,
        };
        value.ok_or_else(refused)
    }

    fn duration_of_ns(ns: u64) -> Self {
        Self::Duration(Duration::from_nanos(ns))
    }
}

/// What the table's rows read. A value of another kind is the table's mistake, not the user's.
impl Value {
    pub(super) fn text(&self) -> String {
        let Self::Label(text) = self else { unreachable!("{self:?} is no label") };
        text.clone()
    }

    pub(super) fn choice<T>(&self, named: impl Fn(&str) -> Option<T>) -> T {
        let Self::Choice(name) = self else { unreachable!("{self:?} is no choice") };
        named(name).expect("a key's choices are its enum's")
    }

    pub(super) fn count(&self) -> usize {
        let Self::Count(count) = self else { unreachable!("{self:?} is no count") };
        *count as usize
    }

    /// `None` for a majority.
    pub(super) fn quorum(&self) -> Option<usize> {
        (*self != Self::Majority).then(|| self.count())
    }

    /// `None` for no limit.
    pub(super) fn limit(&self) -> Option<usize> {
        (*self != Self::Unlimited).then(|| self.count())
    }

    pub(super) fn number(&self) -> f64 {
        let Self::Number(number) = self else { unreachable!("{self:?} is no number") };
        *number
    }

    pub(super) fn duration(&self) -> Duration {
        let Self::Duration(duration) = self else { unreachable!("{self:?} is no duration") };
        *duration
    }

    pub(super) fn size(&self) -> usize {
        self.size_or_off().expect("a size is never off")
    }

    pub(super) fn size_or_off(&self) -> Option<usize> {
        match self {
            Self::Size(bytes) => Some(*bytes as usize),
            Self::Off => None,
            _ => unreachable!("{self:?} is no size"),
        }
    }

    pub(super) fn address(&self) -> IpAddr {
        let Self::Address(address) = self else { unreachable!("{self:?} is no address") };
        *address
    }

    pub(super) fn regions(&self) -> Option<Regions> {
        match self {
            Self::Regions(regions) => Some(regions.clone()),
            Self::Off => None,
            _ => unreachable!("{self:?} is no map of regions"),
        }
    }

    pub(super) fn switch(&self) -> bool {
        let Self::Switch(on) = self else { unreachable!("{self:?} is no switch") };
        *on
    }

    /// `None` for `auto`.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(path) => Some(path.into()),
            Self::Auto => None,
            _ => unreachable!("{self:?} is no folder"),
        }
    }

    pub(super) fn keys(&self) -> Keys {
        let Self::Keys(keys) = self else { unreachable!("{self:?} is no distribution of keys") };
        *keys
    }
}

fn unfit(written: &DeValue<'_>, kind: Kind, problem: &dyn fmt::Display) -> Complaint {
    Complaint::new(format!("cannot be {}: {problem}", described(written))).help(format!("it must be {kind}"))
}

/// A written value, for a message.
pub(super) fn described(written: &DeValue<'_>) -> String {
    match written {
        DeValue::String(text) => format!("{:?}", brief(text)),
        DeValue::Integer(integer) => brief(&integer.to_string()),
        DeValue::Float(float) => brief(float.as_str()),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

fn whole(written: &DeValue<'_>, range: RangeInclusive<u64>) -> Option<Value> {
    let DeValue::Integer(integer) = written else { return None };
    let count = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    count.filter(|count| range.contains(count)).map(Value::Count)
}

fn label(text: &str, max: usize) -> Option<Value> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ((1..=max).contains(&text.len()) && text.chars().all(fits)).then(|| Value::Label(text.into()))
}

fn folder(text: &str) -> Option<Value> {
    let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    ((1..=MOST_PATH).contains(&text.len()) && text.chars().all(plain)).then(|| Value::Folder(text.into()))
}

fn chosen(text: &str, choices: &[Choice]) -> Option<Value> {
    choices.iter().find(|choice| choice.name == text).map(|choice| Value::Choice(choice.name))
}

fn number(written: &DeValue<'_>) -> Option<f64> {
    match written {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    }
}

/// An amount with a unit, in base units.
fn amount(written: &DeValue<'_>, units: &[Unit], key: &Key) -> Result<u64, Complaint> {
    let kind = key.kind;
    let found = described(written);
    let refused = || Complaint::new(format!("must be {kind}, not {found}"));
    let no_unit = || {
        let complaint = Complaint::new(format!("needs a unit, and {found} has none"));
        complaint.help(format!("for example `{} = \"{}\"`", key.name, example(written, key)))
    };
    let text = match written {
        DeValue::String(text) => text,
        DeValue::Integer(_) | DeValue::Float(_) => return Err(no_unit()),
        _ => return Err(refused()),
    };
    let amount = units::parse(text, units).map_err(|bad| match bad {
        BadAmount::NoUnit => no_unit(),
        BadAmount::UnknownUnit(unit) => unknown_unit(unit, units),
        BadAmount::TooFine => {
            Complaint::new(format!("cannot be {found}: that is no whole number of {}", units::names(units)[0]))
        }
        BadAmount::NoNumber | BadAmount::TooLarge => refused(),
    })?;
    let range = match kind {
        Kind::Duration { min, max } => min.as_nanos()..=max.as_nanos(),
        Kind::Size { min, max } | Kind::SizeOrOff { min, max } => min.into()..=max.into(),
        _ => unreachable!("{kind:?} has no unit"),
    };
    if range.contains(&amount.into()) { Ok(amount) } else { Err(refused()) }
}

/// The bare number, a duration with the unit of the key's default and a size as bytes, if the key allows it; else the
/// default.
fn example(written: &DeValue<'_>, key: &Key) -> String {
    let default = key.default.unwrap_or_default();
    let unit = if let Kind::Duration { .. } = key.kind { units::unit_of(default) } else { "B" };
    let number = described(written);
    let example = format!("{}{unit}", number.trim_matches('"'));
    let fits = Value::read(&DeValue::String(example.into()), key);
    fits.map_or_else(|_| default.to_owned(), |value| value.to_string())
}

fn unknown_unit(unit: &str, units: &[Unit]) -> Complaint {
    let names = units::names(units);
    let complaint = Complaint::new(format!("has an unknown unit `{}`", brief(unit)));
    match nearest(unit, names.iter().copied()) {
        Some(name) => complaint.help(format!("did you mean `{name}`?")),
        None => complaint.help(format!("units are {}", names.join(", "))),
    }
}

/// How a [`Kind::Quorum`] is left to the number of replicas.
const MAJORITY: &str = "majority";

/// How a [`Kind::Limit`] is none.
const UNLIMITED: &str = "unlimited";

/// How a [`Kind::Folder`] is left to the program.
const AUTO: &str = "auto";

/// Most bytes of a path.
const MOST_PATH: usize = 1024;

/// How a [`Kind::SizeOrOff`] is switched off.
const OFF: &str = "off";

/// Whole numbers below this are exact as `f64`, and in what reads JSON.
const EXACT: f64 = 9_007_199_254_740_992.0;
