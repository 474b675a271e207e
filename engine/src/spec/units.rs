//! Numbers with units: `"50us"`, `"64KiB"`. Exact: nothing is rounded on the way in or out.

use std::time::Duration;

/// A unit and what one of it is worth in the base unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    name: &'static str,
    worth: u64,
}

const fn unit(name: &'static str, worth: u64) -> Unit {
    Unit { name, worth }
}

/// Durations, in nanoseconds. A name that comes later is preferred for display only if it is shorter.
pub(super) const DURATIONS: &[Unit] = &[
    unit("m", 60_000_000_000),
    unit("s", 1_000_000_000),
    unit("ms", 1_000_000),
    unit("us", 1_000),
    unit("ns", 1),
    unit("min", 60_000_000_000),
    unit("µs", 1_000),
    unit("μs", 1_000),
];

/// Sizes, in bytes. Powers of two come before powers of ten, and so win ties.
pub(super) const SIZES: &[Unit] = &[
    unit("GiB", 1 << 30),
    unit("GB", 1_000_000_000),
    unit("MiB", 1 << 20),
    unit("MB", 1_000_000),
    unit("KiB", 1 << 10),
    unit("KB", 1_000),
    unit("B", 1),
];

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadAmount<'a> {
    /// It does not start with a number, or with more than one.
    NoNumber,
    /// A number and nothing else.
    NoUnit,
    /// A number and something that is no unit.
    UnknownUnit(&'a str),
    /// A fraction of the smallest unit.
    TooFine,
    /// Beyond what 64 bits hold.
    TooLarge,
}

/// The duration as a config would have it, in the shortest exact unit.
pub fn duration_text(duration: Duration) -> String {
    amount_text(duration.as_nanos(), "s", DURATIONS)
}

/// The size as a config would have it, in the shortest exact unit.
pub fn size_text(bytes: u64) -> String {
    amount_text(bytes.into(), "B", SIZES)
}

fn amount_text(amount: u128, of_zero: &str, units: &[Unit]) -> String {
    if amount == 0 {
        return format!("0{of_zero}");
    }
    let exact = units.iter().filter(|unit| amount.is_multiple_of(unit.worth.into()));
    let texts = exact.map(|unit| format!("{}{}", amount / u128::from(unit.worth), unit.name));
    texts.min_by_key(String::len).expect("one unit is worth 1")
}

/// The amount in base units.
pub(super) fn parse<'a>(text: &'a str, units: &[Unit]) -> Result<u64, BadAmount<'a>> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, name) = (&text[..end], text[end..].trim_start());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.starts_with(|c: char| c.is_ascii_digit()) && !part.contains('.');
    if !digits(whole) || (number.contains('.') && !digits(fraction)) {
        return Err(BadAmount::NoNumber);
    }
    if name.is_empty() {
        return Err(BadAmount::NoUnit);
    }
    let unit = units.iter().find(|unit| unit.name == name).ok_or(BadAmount::UnknownUnit(name))?;
    scale(whole, fraction.trim_end_matches(['0', '_']), unit.worth)
}

/// A duration outside of a config, in nanoseconds; else what would be right.
pub(crate) fn duration_ns(text: &str) -> Result<u64, String> {
    parse(text, DURATIONS).map_err(|bad| match bad {
        BadAmount::NoUnit => format!("a time needs a unit, as in {text}ms"),
        BadAmount::UnknownUnit(unit) => format!("unknown unit `{unit}`; units are {}", names(DURATIONS).join(", ")),
        BadAmount::NoNumber | BadAmount::TooFine | BadAmount::TooLarge => format!("`{text}` is no time"),
    })
}

/// `whole.fraction` times `worth`.
fn scale<'a>(whole: &str, fraction: &str, worth: u64) -> Result<u64, BadAmount<'a>> {
    let mut digits = 0_u128;
    for digit in whole.chars().chain(fraction.chars()).filter_map(|c| c.to_digit(10)) {
        let longer = digits.checked_mul(10).and_then(|tens| tens.checked_add(digit.into()));
        digits = longer.ok_or(BadAmount::TooLarge)?;
    }
    let places = fraction.chars().filter(char::is_ascii_digit).count();
    let divisor = u32::try_from(places).ok().and_then(|places| 10_u128.checked_pow(places));
    let divisor = divisor.ok_or(BadAmount::TooFine)?;
    let scaled = digits.checked_mul(worth.into()).ok_or(BadAmount::TooLarge)?;
    if !scaled.is_multiple_of(divisor) {
        return Err(BadAmount::TooFine);
    }
    u64::try_from(scaled / divisor).map_err(|_| BadAmount::TooLarge)
}

/// The unit that `text` ends in, for an example of how to write one.
pub(super) fn unit_of(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
}

/// The units' names, as they are taught.
pub(super) fn names(units: &[Unit]) -> Vec<&'static str> {
    let mut names: Vec<_> = units.iter().filter(|unit| unit.name.is_ascii() && unit.name != "min").collect();
    names.sort_by_key(|unit| unit.worth);
    names.iter().map(|unit| unit.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_exactly() {
        for (text, expected) in [
            ("0ns", 0),
            ("50us", 50_000),
            ("50µs", 50_000),
            ("50μs", 50_000),
            ("1.5ms", 1_500_000),
            ("1_000 ms", 1_000_000_000),
            ("0.000000001s", 1),
            ("2.50s", 2_500_000_000),
            ("1.0ns", 1),
            ("3m", 180_000_000_000),
            ("3min", 180_000_000_000),
        ] {
            assert_eq!(parse(text, DURATIONS), Ok(expected), "{text}");
        }
        for (text, expected) in [("64B", 64), ("1.5KiB", 1536), ("64KB", 64_000), ("1GiB", 1 << 30)] {
            assert_eq!(parse(text, SIZES), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_why_not() {
        for (text, expected) in [
            ("", BadAmount::NoNumber),
            ("s", BadAmount::NoNumber),
            ("-5s", BadAmount::NoNumber),
            (".5s", BadAmount::NoNumber),
            ("5.s", BadAmount::NoNumber),
            ("1.2.3s", BadAmount::NoNumber),
            ("_s", BadAmount::NoNumber),
            ("50", BadAmount::NoUnit),
            ("5sec", BadAmount::UnknownUnit("sec")),
            ("5S", BadAmount::UnknownUnit("S")),
            ("1e3s", BadAmount::UnknownUnit("e3s")),
            ("0.5ns", BadAmount::TooFine),
            ("18446744073709551616ns", BadAmount::TooLarge),
            ("99999999999999999999999999999999999999999999s", BadAmount::TooLarge),
        ] {
            assert_eq!(parse(text, DURATIONS), Err(expected), "{text}");
        }
        assert_eq!(parse(&format!("0.{}1s", "0".repeat(60)), DURATIONS), Err(BadAmount::TooFine));
    }

    #[test]
    fn shows_the_shortest_exact_unit() {
        for (ns, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (50_000, "50us"),
            (1_500_000, "1500us"),
            (60_000_000_000, "1m"),
            (90_000_000_000, "90s"),
        ] {
            assert_eq!(duration_text(Duration::from_nanos(ns)), expected);
            assert_eq!(parse(expected, DURATIONS), Ok(ns));
        }
        for (bytes, expected) in [
            (0, "0B"),
            (64, "64B"),
            (1000, "1KB"),
            (1024, "1KiB"),
            (1536, "1536B"),
            (65536, "64KiB"),
            (1 << 20, "1MiB"),
        ] {
            assert_eq!(size_text(bytes), expected);
            assert_eq!(parse(expected, SIZES), Ok(bytes));
        }
        assert_eq!(names(DURATIONS), ["ns", "us", "ms", "s", "m"]);
        assert_eq!(unit_of("1.5ms"), "ms");
    }
}
