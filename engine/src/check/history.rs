//! What clients invoked and saw, operation by operation, and its form on disk: JSON lines.
//!
//! ```text
//! {"client":0,"op":"put","key":"a","value":"x","invoke_ns":1,"return_ns":9,"result":"ok"}
//! {"client":1,"op":"get","key":"a","value":null,"invoke_ns":3,"return_ns":4,"result":"ok"}
//! {"client":0,"op":"delete","key":"a","value":null,"invoke_ns":12,"return_ns":null,"result":"info"}
//! ```
//!
//! Every line has every field. `op` is `put`, `get` or `delete`; `value` is what was written, or for a get what was
//! read, with null for a key that was not there; a delete's is null. `result` is `ok`, `fail` (it certainly did not
//! happen) or `info` (it may have happened, or may yet). Times are nanoseconds on one clock. A pending operation has
//! `"return_ns":null` and `"result":"info"`.
//!
//! Keys and values are bytes; JSON's strings are not. A byte that is not part of valid UTF-8 is written as `\xNN`, with
//! two lower-case hexadecimal digits, and a backslash as `\\`, before JSON escapes its own: the two bytes `61 ff` are
//! `"a\\xff"` on disk. Whatever is not escaped so stands for itself.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, Write};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

/// What a client asks of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Writes it.
    Put,
    /// Reads it.
    Get,
    /// Removes it.
    Delete,
}

/// What a client knows of an operation afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened, between invocation and return.
    Ok,
    /// It did not happen and will not.
    Fail,
    /// It may have happened, or may yet, at any time after the invocation.
    Info,
}

/// One operation of one client on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// For what.
    pub op: Op,
    /// Of which key.
    pub key: Bytes,
    /// What was written or read. `None` for a delete, and for a get that found nothing or was told nothing.
    pub value: Option<Bytes>,
    /// When it was asked.
    pub invoke_ns: u64,
    /// When it was answered; `None` while it is pending.
    pub return_ns: Option<u64>,
    /// What the client knows of it.
    pub result: Outcome,
}

/// Operations of any number of clients on any number of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    operations: Vec<Operation>,
}

/// A line that is no operation, or a file that cannot be read.
#[derive(Debug)]
pub struct HistoryError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for HistoryError {}

impl Operation {
    /// What is impossible about it, if anything is: a return before the invocation, a put of nothing.
    pub fn flaw(&self) -> Option<&'static str> {
        match (self.op, &self.value, self.result) {
            (Op::Put, None, _) => return Some("a put writes a value"),
            (Op::Delete, Some(_), _) => return Some("a delete has no value"),
            (Op::Get, Some(_), Outcome::Fail | Outcome::Info) => return Some("a get that is not ok has read nothing"),
            _ => {}
        }
        match self.return_ns {
            None if self.result != Outcome::Info => Some("a pending operation's result is \"info\""),
            Some(returned) if returned < self.invoke_ns => Some("it returns before it is invoked"),
            _ => None,
        }
    }
}

/// The form that a history has on disk, which reads well in a message too.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&Line::from(self)).expect("strings and integers are JSON"))
    }
}

impl History {
    /// A history without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation, in any order.
    ///
    /// # Panics
    /// If the operation is impossible: see [`Operation::flaw`].
    pub fn push(&mut self, operation: Operation) {
        assert_eq!(operation.flaw(), None, "{operation}");
        self.operations.push(operation);
    }

    /// Puts the operations in the order of their invocations; those of one time in the order of clients.
    pub fn sort(&mut self) {
        self.operations.sort_by_key(|each| (each.invoke_ns, each.client, each.return_ns.unwrap_or(u64::MAX)));
    }

    /// All operations, in the order in which they were added or sorted.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Each key's operations, keys in order.
    pub fn by_key(&self) -> BTreeMap<&Bytes, Vec<&Operation>> {
        let mut keys: BTreeMap<&Bytes, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            keys.entry(&operation.key).or_default().push(operation);
        }
        keys
    }

    /// Writes an operation a line.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        self.operations.iter().try_for_each(|operation| writeln!(to, "{operation}"))
    }

    /// Reads an operation a line.
    ///
    /// # Errors
    /// [`HistoryError`] names the first line that is not exactly one possible operation.
    pub fn read(from: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (line, text) in (1..).zip(from.lines()) {
            let wrong = |reason: String| HistoryError { line, reason };
            let text = text.map_err(|error| wrong(error.to_string()))?;
            let parsed: Line = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            let operation = Operation::try_from(parsed).map_err(wrong)?;
            operation.flaw().map_or(Ok(()), |flaw| Err(wrong(flaw.into())))?;
            history.operations.push(operation);
        }
        Ok(history)
    }
}

impl FromIterator<Operation> for History {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        let mut history = Self::default();
        operations.into_iter().for_each(|operation| history.push(operation));
        history
    }
}

/// One line, its fields in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    client: u32,
    op: Op,
    key: String,
    // A field that is missing is not one that is null.
    #[serde(deserialize_with = "present")]
    value: Option<String>,
    invoke_ns: u64,
    #[serde(deserialize_with = "present")]
    return_ns: Option<u64>,
    result: Outcome,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

impl From<&Operation> for Line {
    fn from(operation: &Operation) -> Self {
        Self {
            client: operation.client,
            op: operation.op,
            key: escape(&operation.key),
            value: operation.value.as_deref().map(escape),
            invoke_ns: operation.invoke_ns,
            return_ns: operation.return_ns,
            result: operation.result,
        }
    }
}

impl TryFrom<Line> for Operation {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        let bytes =
            |text: String| unescape(&text).ok_or_else(|| format!("`{text}` has a backslash that escapes nothing"));
        Ok(Self {
            client: line.client,
            op: line.op,
            key: bytes(line.key)?,
            value: line.value.map(bytes).transpose()?,
            invoke_ns: line.invoke_ns,
            return_ns: line.return_ns,
            result: line.result,
        })
    }
}

/// Bytes as text: what is not UTF-8 as `\xNN`, a backslash as `\\`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for (index, plain) in chunk.valid().split('\\').enumerate() {
            text.push_str(if index > 0 { "\\\\" } else { "" });
            text.push_str(plain);
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The bytes that [`escape`] wrote as `text`.
fn unescape(text: &str) -> Option<Bytes> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = if let Some(rest) = escaped.strip_prefix('\\') {
            bytes.push(b'\\');
            rest
        } else {
            let (digits, rest) = escaped.strip_prefix('x')?.split_at_checked(2)?;
            let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?);
            rest
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Prng;

    const LINES: &str = r#"{"client":0,"op":"put","key":"a","value":"x","invoke_ns":1,"return_ns":9,"result":"ok"}
{"client":1,"op":"get","key":"a","value":null,"invoke_ns":3,"return_ns":4,"result":"ok"}
{"client":2,"op":"get","key":"b","value":"\u0000\"é","invoke_ns":3,"return_ns":4,"result":"ok"}
{"client":0,"op":"put","key":"a\\xff\\\\","value":"","invoke_ns":11,"return_ns":15,"result":"fail"}
{"client":0,"op":"delete","key":"a","value":null,"invoke_ns":18446744073709551615,"return_ns":null,"result":"info"}
"#;

    #[test]
    fn is_written_as_it_was_read() {
        let history = History::read(LINES.as_bytes()).expect("a history");
        let mut written = Vec::new();
        history.write(&mut written).expect("a Vec takes everything");
        assert_eq!(String::from_utf8(written).expect("UTF-8"), LINES);
        assert_eq!(history.operations()[3].key, Bytes::from_static(b"a\xff\\"));
        let keys: Vec<_> =
            history.by_key().into_iter().map(|(key, operations)| (key.clone(), operations.len())).collect();
        let of = |key: &'static [u8], count| (Bytes::from_static(key), count);
        assert_eq!(keys, [of(b"a", 3), of(b"a\xff\\", 1), of(b"b", 1)]);
    }

    #[test]
    fn sorting_is_by_invocation_and_then_by_client() {
        let mut history = History::read(LINES.as_bytes()).expect("a history");
        let sorted = history.clone();
        history.operations.reverse();
        history.sort();
        assert_eq!(history, sorted);
    }

    #[test]
    fn any_bytes_survive_their_text() {
        let mut prng = Prng::new(5);
        for _ in 0..2000 {
            let pieces: [&[u8]; 6] = [b"\\", b"x", b"ff", &[0xff], "é".as_bytes(), &[0xc3]];
            let bytes: Vec<u8> = (0..prng.below(9)).flat_map(|_| pieces[prng.below(6) as usize]).copied().collect();
            assert_eq!(unescape(&escape(&bytes)).as_deref(), Some(&bytes[..]), "{}", escape(&bytes));
        }
        assert_eq!(["\\", "\\x1", "\\xg0", "\\x+1", "\\n", "\\xé"].map(unescape), [const { None }; 6]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = r#"{"client":0,"op":"put","key":"a","value":"x","invoke_ns":1,"return_ns":9,"result":"ok"}"#;
        for (from, to) in [
            (r#""op":"put""#, r#""op":"cas""#),
            (r#""result":"ok""#, r#""result":"okay""#),
            (r#","result":"ok""#, ""),
            (r#""value":"x","#, ""),
            (r#""return_ns":9,"#, ""),
            (r#""value":"x""#, r#""value":null"#),
            (r#""put""#, r#""delete""#),
            (r#""return_ns":9"#, r#""return_ns":null"#),
            (r#""return_ns":9"#, r#""return_ns":0"#),
            (r#""invoke_ns":1"#, r#""invoke_ns":1.5"#),
            (r#""key":"a""#, r#""key":"\\""#),
            (r#""client":0"#, r#""client":0,"node":1"#),
            ("}", ""),
        ] {
            let text = format!("{good}\n{}\n", good.replace(from, to));
            let error = History::read(text.as_bytes()).expect_err(to);
            assert_eq!(error.line, 2, "{from} -> {to}: {error}");
        }
    }
}
