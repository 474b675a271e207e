//! Which keys the commands touch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A distribution of keys, written `uniform:1e6` or `zipf:1e6:0.99`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Keys {
    /// All alike.
    Uniform {
        /// How many keys.
        count: u64,
    },
    /// A few of them often: the key of rank `r` with a weight of `r ^ -exponent`.
    Zipf {
        /// How many keys.
        count: u64,
        /// How skewed. YCSB's is 0.99.
        exponent: f64,
    },
}

impl Keys {
    /// How many keys there are.
    pub const fn count(&self) -> u64 {
        match *self {
            Self::Uniform { count } | Self::Zipf { count, .. } => count,
        }
    }

    /// Reads one; the error is the end of "cannot be ...: ".
    pub(super) fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut parts = text.split(':');
        let (name, count, exponent) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        let count = || whole(count.unwrap_or("")).ok_or(BadKeys::Count);
        let keys = match (name, exponent) {
            ("uniform", Some(_)) => return Err(BadKeys::Parts),
            ("uniform", None) => Self::Uniform { count: count()? },
            ("zipf", text) => {
                let exponent = text.map_or(Ok(EXPONENT), |text| text.parse().map_err(|_| BadKeys::Exponent));
                let exponent = exponent.ok().filter(|exponent| EXPONENTS.contains(exponent));
                Self::Zipf { count: count()?, exponent: exponent.ok_or(BadKeys::Exponent)? }
            }
            _ => return Err(BadKeys::Name),
        };
        if parts.next().is_some() { Err(BadKeys::Parts) } else { Ok(keys) }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Uniform { count } => write!(f, "uniform:{}", whole_text(count)),
            Self::Zipf { count, exponent } => write!(f, "zipf:{}:{exponent}", whole_text(count)),
        }
    }
}

/// What is wrong with a distribution of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadKeys {
    Name,
    Count,
    Exponent,
    Parts,
}

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(f, "no such distribution"),
            Self::Count => write!(f, "the number of keys must be a whole number from 1 to {}", whole_text(COUNTS.1)),
            Self::Exponent => {
                write!(f, "the exponent must be a number from {} to {}", EXPONENTS.start(), EXPONENTS.end())
            }
            Self::Parts => write!(f, "it has a part too many"),
        }
    }
}

/// A whole number in range, perhaps written `1e6` or `1_000_000`.
fn whole(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    let (digits, power) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let numeric = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if !numeric(digits) || !numeric(power) {
        return None;
    }
    let scale = 10_u64.checked_pow(power.parse().ok()?)?;
    let number = digits.parse::<u64>().ok()?.checked_mul(scale)?;
    (COUNTS.0..=COUNTS.1).contains(&number).then_some(number)
}

/// The number as people write it: `1e6`, but `1500000`.
fn whole_text(number: u64) -> String {
    let text = number.to_string();
    let zeros = text.len() - text.trim_end_matches('0').len();
    if zeros >= 3 && text.len() == zeros + 1 { format!("{}e{zeros}", &text[..1]) } else { text }
}

/// The exponent when none is given: YCSB's.
const EXPONENT: f64 = 0.99;

/// Exponents that make sense: the near uniform to the nearly one key.
const EXPONENTS: std::ops::RangeInclusive<f64> = 0.01..=10.0;

/// The least and the most keys: ids of 32 bits suffice.
const COUNTS: (u64, u64) = (1, 1_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, expected, written) in [
            ("uniform:1e6", Keys::Uniform { count: 1_000_000 }, "uniform:1e6"),
            ("uniform:1_500_000", Keys::Uniform { count: 1_500_000 }, "uniform:1500000"),
            ("uniform:100", Keys::Uniform { count: 100 }, "uniform:100"),
            ("zipf:15e2", Keys::Zipf { count: 1500, exponent: 0.99 }, "zipf:1500:0.99"),
            ("zipf:1000:1", Keys::Zipf { count: 1000, exponent: 1.0 }, "zipf:1e3:1"),
        ] {
            let keys = Keys::parse(text).expect(text);
            assert_eq!((keys, keys.to_string().as_str()), (expected, written));
            assert_eq!(Keys::parse(written), Ok(expected));
        }
    }

    #[test]
    fn says_why_not() {
        for (text, expected) in [
            ("", BadKeys::Name),
            ("normal:5", BadKeys::Name),
            ("uniform", BadKeys::Count),
            ("uniform:", BadKeys::Count),
            ("uniform:0", BadKeys::Count),
            ("uniform:-1", BadKeys::Count),
            ("uniform:1.5", BadKeys::Count),
            ("uniform:1e99", BadKeys::Count),
            ("uniform:1e99999999999", BadKeys::Count),
            ("uniform:5:1", BadKeys::Parts),
            ("zipf:5:1:1", BadKeys::Parts),
            ("zipf:5:nan", BadKeys::Exponent),
            ("zipf:5:inf", BadKeys::Exponent),
            ("zipf:5:-1", BadKeys::Exponent),
            ("zipf:5:", BadKeys::Exponent),
        ] {
            assert_eq!(Keys::parse(text), Err(expected), "{text}");
        }
    }
}
