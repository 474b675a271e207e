//! One key's operations, as the search wants them: small numbers, in order, and only those that matter.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::check::history::{Op, Operation, Outcome};

/// What an operation does to the register, as far as the search cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Must find its value.
    Read,
    /// Leaves a value that some get read.
    Write,
    /// Leaves a value that no get read.
    SilentWrite,
    /// A write that may have happened or not, of a value that some get read.
    MaybeWrite,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// A number for each different value.
    pub(super) value: u32,
    /// Which of the key's operations.
    operation: usize,
    invoke_ns: u64,
    return_ns: u64,
}

/// One key's history.
#[derive(Debug)]
pub(super) struct Register<'a> {
    operations: &'a [&'a Operation],
    /// In the order of their invocations: first those that must have happened, then those that may have.
    pub(super) items: Vec<Item>,
    /// How many items must have happened.
    pub(super) required: usize,
    /// Invocations and returns in the order of time, as an item and whether it returns.
    pub(super) events: Vec<(usize, bool)>,
}

/// The number of the value that a key has at first: none.
pub(super) const ABSENT: u32 = 0;

impl<'a> Register<'a> {
    pub(super) fn new(operations: &'a [&'a Operation]) -> Self {
        let mut numbers = BTreeMap::from([(None, ABSENT)]);
        let mut number = |value: &'a Option<Bytes>| {
            let next = numbers.len() as u32;
            *numbers.entry(value.as_ref()).or_insert(next)
        };
        let values: Vec<u32> = operations.iter().map(|each| number(&each.value)).collect();
        let was_read = |each: &&Operation| each.op == Op::Get && each.result == Outcome::Ok;
        let read: BTreeSet<u32> =
            operations.iter().zip(&values).filter(|(each, _)| was_read(each)).map(|(_, &value)| value).collect();
        let item = |(operation, (each, &value)): (usize, (&&Operation, &u32))| {
            let kind = match (each.op, each.result) {
                (_, Outcome::Fail) | (Op::Get, Outcome::Info) => None,
                (Op::Get, Outcome::Ok) => Some(Kind::Read),
                // Nobody can tell a write that may not have happened, and that nobody read, from one that did not.
                (_, Outcome::Info) => read.contains(&value).then_some(Kind::MaybeWrite),
                (_, Outcome::Ok) if read.contains(&value) => Some(Kind::Write),
                (_, Outcome::Ok) => Some(Kind::SilentWrite),
            };
            let return_ns = each.return_ns.filter(|_| each.result == Outcome::Ok).unwrap_or(u64::MAX);
            kind.map(|kind| Item { kind, value, operation, invoke_ns: each.invoke_ns, return_ns })
        };
        let mut items: Vec<Item> = operations.iter().zip(&values).enumerate().filter_map(item).collect();
        items.sort_by_key(|item| (item.kind == Kind::MaybeWrite, item.invoke_ns, item.return_ns));
        let required = items.iter().filter(|item| item.kind != Kind::MaybeWrite).count();
        let events = events(&items, required);
        Self { operations, items, required, events }
    }

    /// The operation of an item.
    pub(super) fn operation(&self, item: usize) -> &Operation {
        self.operations[self.items[item].operation]
    }

    /// What the register holds after these items in a row.
    pub(super) fn held_after(&self, order: &[usize]) -> Option<Bytes> {
        order.last().and_then(|&last| self.operation(last).value.clone())
    }
}

/// At one time invocations come before returns: operations that touch count as overlapping.
fn events(items: &[Item], required: usize) -> Vec<(usize, bool)> {
    let invocations = items.iter().enumerate().map(|(item, each)| (each.invoke_ns, false, item));
    let returns = items[..required].iter().enumerate().map(|(item, each)| (each.return_ns, true, item));
    let mut events: Vec<_> = invocations.chain(returns).collect();
    events.sort_unstable();
    events.into_iter().map(|(_, returns, item)| (item, returns)).collect()
}
