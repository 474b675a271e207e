//! The map as its description has it, written a second time; and as it was at any slot.

use std::collections::BTreeMap;

use crate::batch::Commands;
use crate::machine::KvCommand;

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Of each key, in order of slots.
    map: BTreeMap<Box<[u8]>, Vec<Version>>,
}

/// From which slot on, and what stands there: nothing once it is removed.
type Version = (usize, Option<Box<[u8]>>);

impl Model {
    /// The results of a batch in `slot`: for each command a status (0 found or done, 1 absent, 2 refused), the
    /// value's length, the value.
    pub(super) fn apply(&mut self, slot: usize, mut commands: Commands<'_>) -> Box<[u8]> {
        let mut results = Vec::new();
        while let Some(command) = commands.next_command() {
            let status = match KvCommand::read(command) {
                Some(KvCommand::Get(key)) => {
                    get(self.at(slot, key), &mut results);
                    continue;
                }
                Some(KvCommand::Put(key, value)) => {
                    self.set(slot, key, Some(value));
                    DONE
                }
                Some(KvCommand::Delete(key)) => {
                    let was_there = self.at(slot, key).is_some();
                    self.set(slot, key, None);
                    if was_there { DONE } else { ABSENT }
                }
                None => REFUSED,
            };
            push(status, &[], &mut results);
        }
        results.into()
    }

    /// The results of a batch that reads beside the log, as of `slot`.
    pub(super) fn read(&self, slot: usize, mut commands: Commands<'_>) -> Box<[u8]> {
        let mut results = Vec::new();
        while let Some(command) = commands.next_command() {
            match KvCommand::read(command) {
                Some(KvCommand::Get(key)) => get(self.at(slot, key), &mut results),
                _ => push(REFUSED, &[], &mut results),
            }
        }
        results.into()
    }

    fn at(&self, slot: usize, key: &[u8]) -> Option<&[u8]> {
        let versions = self.map.get(key)?;
        let before = versions.partition_point(|&(from, _)| from <= slot);
        versions[..before].last()?.1.as_deref()
    }

    fn set(&mut self, slot: usize, key: &[u8], value: Option<&[u8]>) {
        self.map.entry(key.into()).or_default().push((slot, value.map(Into::into)));
    }
}

const DONE: u8 = 0;
const ABSENT: u8 = 1;
const REFUSED: u8 = 2;

fn get(found: Option<&[u8]>, results: &mut Vec<u8>) {
    match found {
        Some(value) => push(DONE, value, results),
        None => push(ABSENT, &[], results),
    }
}

fn push(status: u8, value: &[u8], results: &mut Vec<u8>) {
    results.push(status);
    results.extend_from_slice(&(value.len() as u32).to_le_bytes());
    results.extend_from_slice(value);
}
