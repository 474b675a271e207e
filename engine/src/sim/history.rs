//! What the clients of a world saw, as a history, and whether it is linearizable.
//!
//! This is the one check that knows nothing of logs and slots. The others find a wrong reply before it
//! does; but they believe what replicas say of slots, and this one believes clients only. Stale reads are
//! left out, because no order need explain them.

use bytes::Bytes;

use super::checks::{Violation, property};
use super::client::{Command, Operation, key_byte};
use crate::check::history::{self, History, Op, Outcome};
use crate::check::linearizability::{self, Limits, Verdict};

/// Far more than any healthy seed takes, and still only about a second.
const LIMITS: Limits = Limits { steps: 30_000_000, memory_bytes: 64 << 20 };

/// Every operation of every client but stale reads, in the order of invocation. What was never answered may
/// have happened.
pub(super) fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> History {
    let mut history: History = operations.filter(|operation| !operation.stale).map(noted).collect();
    history.sort();
    history
}

/// Checks a history key by key. A search that gives up is a violation too, by a name of its own.
///
/// # Errors
/// The [`Violation`], with the operations that are to blame.
pub fn judge(history: &History) -> Result<(), Violation> {
    let verdict = linearizability::check_within(history, LIMITS).verdict;
    let property = match verdict {
        Verdict::Linearizable => return Ok(()),
        Verdict::Violation { .. } => property::LINEARIZABILITY,
        Verdict::Unknown => property::UNDECIDED,
    };
    Err(Violation::new(property, verdict.to_string()))
}

fn noted(operation: &Operation) -> history::Operation {
    let (op, value) = match operation.command {
        Command::Get(found) => (Op::Get, found),
        Command::Put(value) => (Op::Put, Some(value)),
        Command::Delete => (Op::Delete, None),
    };
    history::Operation {
        client: operation.client,
        op,
        key: Bytes::copy_from_slice(&[key_byte(operation.key)]),
        value: value.map(|value| value.to_string().into()),
        invoke_ns: operation.invoked.0,
        return_ns: operation.returned.map(|at| at.0),
        result: if operation.returned.is_some() { Outcome::Ok } else { Outcome::Info },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Nanos;

    fn operation(command: Command, invoked: u64, returned: Option<u64>) -> Operation {
        let (invoked, returned) = (Nanos(invoked), returned.map(Nanos));
        Operation { client: 3, command, key: 1, invoked, returned, stale: false }
    }

    #[test]
    fn is_written_as_the_format_says() {
        let operations = [
            operation(Command::Get(None), 5, Some(8)),
            operation(Command::Put(7), 1, Some(9)),
            operation(Command::Delete, 12, None),
            Operation { stale: true, ..operation(Command::Get(None), 13, Some(14)) },
        ];
        let mut written = Vec::new();
        of(operations.iter()).write(&mut written).expect("a Vec takes everything");
        let expected = r#"{"client":3,"op":"put","key":"b","value":"7","invoke_ns":1,"return_ns":9,"result":"ok"}
{"client":3,"op":"get","key":"b","value":null,"invoke_ns":5,"return_ns":8,"result":"ok"}
{"client":3,"op":"delete","key":"b","value":null,"invoke_ns":12,"return_ns":null,"result":"info"}
"#;
        assert_eq!(String::from_utf8(written).expect("UTF-8"), expected);
    }

    #[test]
    fn a_search_that_gives_up_is_no_pass() {
        // Every order of so many pending puts must be tried for a value that none of them writes last.
        let mut operations: Vec<_> = (0..40).map(|value| operation(Command::Put(value), value, Some(1000))).collect();
        operations.extend((0..40).map(|value| operation(Command::Get(Some(value)), value, Some(1000))));
        operations.push(operation(Command::Get(Some(99)), 2000, Some(2001)));
        let found = judge(&of(operations.iter())).expect_err("nobody wrote 99");
        assert!([property::LINEARIZABILITY, property::UNDECIDED].contains(&found.property));
    }
}
