//! A map from bytes to bytes: put, get, delete. Reads may go through the log like everything else.

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};

use super::Machine;
use crate::batch::{BatchHead, Commands};

/// A map from bytes to bytes. It owns what it stores: a value of a few bytes must not pin the chunk
/// that it came in.
#[derive(Debug, Default)]
pub struct Kv {
    map: HashMap<Box<[u8]>, Box<[u8]>>,
}

/// One command of a [`Kv`]: an opcode, the key's length, the key, and for a put the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvCommand<'a> {
    /// Reads a key.
    Get(&'a [u8]),
    /// Writes a key.
    Put(&'a [u8], &'a [u8]),
    /// Removes a key.
    Delete(&'a [u8]),
}

impl<'a> KvCommand<'a> {
    /// Bytes of a command besides key and value.
    pub const OVERHEAD: usize = 3;
    const GET: u8 = 0;
    const PUT: u8 = 1;
    const DELETE: u8 = 2;

    /// Appends the command's bytes.
    ///
    /// # Panics
    /// If the key is longer than 65,535 bytes.
    pub fn write(self, chunk: &mut BytesMut) {
        match self {
            Self::Get(key) => write_op(chunk, Self::GET, key),
            Self::Put(key, value) => Self::write_put(chunk, key, |chunk| chunk.put_slice(value)),
            Self::Delete(key) => write_op(chunk, Self::DELETE, key),
        }
    }

    /// Appends a put whose value `write_value` writes where it will stay.
    ///
    /// # Panics
    /// If the key is longer than 65,535 bytes.
    pub fn write_put(chunk: &mut BytesMut, key: &[u8], write_value: impl FnOnce(&mut BytesMut)) {
        write_op(chunk, Self::PUT, key);
        write_value(chunk);
    }

    /// Reads a command; `None` if `bytes` are none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[op, low, high], rest) = bytes.split_first_chunk::<3>()?;
        let (key, value) = rest.split_at_checked(u16::from_le_bytes([low, high]).into())?;
        match op {
            Self::GET if value.is_empty() => Some(Self::Get(key)),
            Self::PUT => Some(Self::Put(key, value)),
            Self::DELETE if value.is_empty() => Some(Self::Delete(key)),
            _ => None,
        }
    }
}

fn write_op(chunk: &mut BytesMut, op: u8, key: &[u8]) {
    chunk.put_u8(op);
    chunk.put_u16_le(u16::try_from(key.len()).expect("a key is at most 65,535 bytes"));
    chunk.put_slice(key);
}

/// One command's result: its status, the value's length, the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    /// Done; for a get, the key was there.
    Found = 0,
    /// Done, and the key was not there.
    Absent = 1,
    /// No command of this machine: nothing was changed.
    Refused = 2,
}

impl Kv {
    /// Bytes of a command's result besides the value that was read.
    pub const RESULT_OVERHEAD: usize = 5;

    fn get(&self, key: &[u8]) -> (Status, &[u8]) {
        self.map.get(key).map_or((Status::Absent, &[]), |value| (Status::Found, value))
    }
}

/// A key's first eight bytes, which order keys as the keys themselves do as far as they differ.
fn beginning(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(bytes.len());
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

fn push_result(results: &mut BytesMut, status: Status, value: &[u8]) {
    results.put_u8(status as u8);
    results.put_u32_le(value.len() as u32);
    results.put_slice(value);
}

impl Machine for Kv {
    fn apply(&mut self, _head: &BatchHead, mut commands: Commands<'_>, results: &mut BytesMut) {
        while let Some(command) = commands.next_command() {
            let (status, value) = match KvCommand::read(command) {
                Some(KvCommand::Get(key)) => self.get(key),
                Some(KvCommand::Put(key, value)) => {
                    if let Some(stored) = self.map.get_mut(key) {
                        *stored = value.into();
                    } else {
                        self.map.insert(key.into(), value.into());
                    }
                    (Status::Found, &[][..])
                }
                Some(KvCommand::Delete(key)) => {
                    (if self.map.remove(key).is_some() { Status::Found } else { Status::Absent }, &[][..])
                }
                None => (Status::Refused, &[][..]),
            };
            push_result(results, status, value);
        }
    }

    fn read(&self, _head: &BatchHead, mut commands: Commands<'_>, results: &mut BytesMut) {
        while let Some(command) = commands.next_command() {
            let (status, value) = match KvCommand::read(command) {
                Some(KvCommand::Get(key)) => self.get(key),
                Some(KvCommand::Put(..) | KvCommand::Delete(_)) | None => (Status::Refused, &[][..]),
            };
            push_result(results, status, value);
        }
    }

    /// Key after key in order: its length, the value's, both.
    fn snapshot(&self, out: &mut BytesMut) {
        // Keys are all over the memory: sorting looks at them once, and then only at those that begin alike.
        let mut entries: Vec<_> = self.map.iter().map(|(key, value)| (beginning(key), &**key, &**value)).collect();
        entries.sort_unstable();
        out.reserve(entries.iter().map(|(_, key, value)| 8 + key.len() + value.len()).sum());
        for (_, key, value) in entries {
            out.put_u32_le(key.len() as u32);
            out.put_u32_le(value.len() as u32);
            out.put_slice(key);
            out.put_slice(value);
        }
    }

    fn restore(&mut self, mut bytes: &[u8]) -> bool {
        self.map.clear();
        while let Some((lengths, rest)) = bytes.split_first_chunk::<8>() {
            let ([key, value], _) = lengths.as_chunks::<4>() else { return false };
            let length = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
            let Some((key, rest)) = rest.split_at_checked(length(key)) else { return false };
            let Some((value, rest)) = rest.split_at_checked(length(value)) else { return false };
            self.map.insert(key.into(), value.into());
            bytes = rest;
        }
        bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Writer;
    use quorumbench_protocols::Payload;

    fn batch(commands: &[KvCommand<'_>]) -> (BatchHead, Payload) {
        let mut chunk = BytesMut::new();
        let mut writer = Writer::new(&mut chunk, BatchHead::default());
        commands.iter().for_each(|command| writer.command(|chunk| command.write(chunk)));
        let body = Payload::from(writer.finish());
        (BatchHead::read(&body).expect("a batch"), body)
    }

    fn apply(kv: &mut Kv, commands: &[KvCommand<'_>]) -> Vec<(u8, Vec<u8>)> {
        let (head, body) = batch(commands);
        let mut results = BytesMut::new();
        kv.apply(&head, Commands::new(&head, &body), &mut results);
        parse(results)
    }

    fn parse(mut results: BytesMut) -> Vec<(u8, Vec<u8>)> {
        let mut parsed = Vec::new();
        while !results.is_empty() {
            let result = results.split_to(5);
            let len = u32::from_le_bytes([result[1], result[2], result[3], result[4]]) as usize;
            parsed.push((result[0], results.split_to(len).to_vec()));
        }
        parsed
    }

    #[test]
    fn is_a_map() {
        let mut kv = Kv::default();
        let commands = [
            KvCommand::Get(b"a"),
            KvCommand::Put(b"a", b"1"),
            KvCommand::Get(b"a"),
            KvCommand::Put(b"a", b"22"),
            KvCommand::Get(b"a"),
            KvCommand::Delete(b"a"),
            KvCommand::Delete(b"a"),
            KvCommand::Get(b"a"),
        ];
        let results = apply(&mut kv, &commands);
        let values: Vec<(u8, &[u8])> = results.iter().map(|(status, value)| (*status, &value[..])).collect();
        assert_eq!(values, [(1, &b""[..]), (0, b""), (0, b"1"), (0, b""), (0, b"22"), (0, b""), (1, b""), (1, b"")]);
    }

    #[test]
    fn a_read_is_what_a_get_would_be_and_writes_are_refused() {
        let mut kv = Kv::default();
        apply(&mut kv, &[KvCommand::Put(b"a", b"1")]);
        let commands =
            [KvCommand::Get(b"a"), KvCommand::Put(b"a", b"2"), KvCommand::Delete(b"a"), KvCommand::Get(b"b")];
        let (head, body) = batch(&commands);
        let mut results = BytesMut::new();
        kv.read(&head, Commands::new(&head, &body), &mut results);
        assert_eq!(parse(results), [(0, b"1".to_vec()), (2, vec![]), (2, vec![]), (1, vec![])]);
    }

    #[test]
    fn a_snapshot_is_the_map() {
        let mut kv = Kv::default();
        apply(&mut kv, &[KvCommand::Put(b"b", b"2"), KvCommand::Put(b"a", b""), KvCommand::Put(b"", b"3")]);
        let mut bytes = BytesMut::new();
        kv.snapshot(&mut bytes);
        let mut restored = Kv::default();
        apply(&mut restored, &[KvCommand::Put(b"old", b"gone")]);
        assert!(restored.restore(&bytes));
        assert_eq!(restored.map, kv.map);
        let mut again = BytesMut::new();
        restored.snapshot(&mut again);
        assert_eq!(again, bytes, "the same state is the same bytes");
        assert!((1..bytes.len()).filter(|&cut| restored.restore(&bytes[..cut])).count() < 3, "cut between keys only");
    }

    #[test]
    fn commands_survive_their_bytes_and_noise_is_refused() {
        for command in [KvCommand::Get(b"key"), KvCommand::Put(b"", b"value"), KvCommand::Delete(b"k")] {
            let mut bytes = BytesMut::new();
            command.write(&mut bytes);
            assert_eq!(KvCommand::read(&bytes), Some(command));
        }
        for noise in [&b""[..], b"\0", b"\0\xff\xffx", b"\x09\0\0", b"\0\0\0value"] {
            assert_eq!(KvCommand::read(noise), None);
        }
    }
}
