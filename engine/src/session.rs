//! At most once: which of each client's batches have been applied, and what they were told.
//!
//! Every replica keeps the same sessions, because they are part of the state that the log builds
//! (Ongaro's thesis, section 6.3): a resent batch that is already applied changes nothing, whoever
//! leads by then, and its client is told again what it was told before.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::BatchHead;

/// The sessions of all clients.
#[derive(Debug, Default)]
pub struct Sessions {
    clients: BTreeMap<u32, Session>,
}

/// One client's batches, from the first that it may still ask about.
#[derive(Debug, Default)]
struct Session {
    /// Everything below is settled: the client has its answers.
    settled: u64,
    /// One bit a batch from `settled` on, 64 in a word; the first word may begin below `settled`.
    applied: VecDeque<u64>,
    /// Results that are not empty, until they are settled.
    results: BTreeMap<u64, Bytes>,
}

/// What a session knows of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not applied.
    New,
    /// Applied, with these results.
    Applied(Bytes),
    /// Applied or given up, and its client knows: no answer is owed.
    Settled,
}

impl Sessions {
    /// What is known of the batch.
    pub fn seen(&self, head: &BatchHead) -> Seen {
        self.seen_of(head.client, head.sequence)
    }

    /// What is known of this client's batch.
    pub fn seen_of(&self, client: u32, sequence: u64) -> Seen {
        self.clients.get(&client).map_or(Seen::New, |session| session.seen(sequence))
    }

    /// Marks the batch as applied; whoever asks again is told `results`.
    pub fn apply(&mut self, head: &BatchHead, results: Bytes) {
        let session = self.clients.entry(head.client).or_default();
        session.settle(head.settled());
        session.mark(head.sequence);
        if !results.is_empty() {
            session.results.insert(head.sequence, results);
        }
    }

    /// Appends all sessions: they are part of every snapshot, or a batch resent after one would be
    /// applied again.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32_le(self.clients.len() as u32);
        for (&client, session) in &self.clients {
            out.put_u32_le(client);
            out.put_u64_le(session.settled);
            out.put_u32_le(session.applied.len() as u32);
            session.applied.iter().for_each(|&word| out.put_u64_le(word));
            out.put_u32_le(session.results.len() as u32);
            for (&sequence, results) in &session.results {
                out.put_u64_le(sequence);
                out.put_u32_le(results.len() as u32);
                out.put_slice(results);
            }
        }
    }

    /// Takes what [`encode`](Self::encode) wrote off the front of `bytes`; `None` if it is not there.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut sessions = Self::default();
        for _ in 0..take_u32(bytes)? {
            let client = take_u32(bytes)?;
            let mut session = Session { settled: take_u64(bytes)?, ..Session::default() };
            for _ in 0..take_u32(bytes)? {
                session.applied.push_back(take_u64(bytes)?);
            }
            for _ in 0..take_u32(bytes)? {
                let (sequence, len) = (take_u64(bytes)?, take_u32(bytes)? as usize);
                let results = bytes.split_off(..len)?;
                session.results.insert(sequence, results.to_vec().into());
            }
            sessions.clients.insert(client, session);
        }
        Some(sessions)
    }
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    bytes.split_off(..4)?.try_into().ok().map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    bytes.split_off(..8)?.try_into().ok().map(u64::from_le_bytes)
}

impl Session {
    fn seen(&self, sequence: u64) -> Seen {
        if sequence < self.settled {
            return Seen::Settled;
        }
        let (word, bit) = self.place(sequence);
        match self.applied.get(word) {
            Some(bits) if bits & bit != 0 => Seen::Applied(self.results.get(&sequence).cloned().unwrap_or_default()),
            _ => Seen::New,
        }
    }

    fn mark(&mut self, sequence: u64) {
        if sequence < self.settled {
            return;
        }
        let (word, bit) = self.place(sequence);
        if word >= self.applied.len() {
            self.applied.resize(word + 1, 0);
        }
        self.applied[word] |= bit;
    }

    /// Forgets what lies below `settled`.
    fn settle(&mut self, settled: u64) {
        if settled <= self.settled {
            return;
        }
        let words = (settled / 64 - self.settled / 64) as usize;
        self.applied.drain(..words.min(self.applied.len()));
        while self.results.first_key_value().is_some_and(|(&sequence, _)| sequence < settled) {
            self.results.pop_first();
        }
        self.settled = settled;
    }

    fn place(&self, sequence: u64) -> (usize, u64) {
        ((sequence / 64 - self.settled / 64) as usize, 1 << (sequence % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Prng;
    use std::collections::BTreeSet;

    fn head(sequence: u64, settled: u64) -> BatchHead {
        BatchHead { commands: 1, ..BatchHead::next(1, sequence, settled, None) }
    }

    #[test]
    fn a_batch_is_new_once() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.seen(&head(5, 0)), Seen::New);
        sessions.apply(&head(5, 0), Bytes::from_static(b"told"));
        assert_eq!(sessions.seen(&head(5, 0)), Seen::Applied(Bytes::from_static(b"told")));
        assert_eq!(sessions.seen(&head(4, 0)), Seen::New, "one that comes late is not lost");
        assert_eq!(sessions.seen(&BatchHead { client: 2, ..head(5, 0) }), Seen::New, "clients share nothing");
        sessions.apply(&head(6, 6), Bytes::new());
        assert_eq!(sessions.seen(&head(5, 0)), Seen::Settled);
    }

    fn through_a_snapshot(sessions: &Sessions) -> Sessions {
        let mut bytes = BytesMut::new();
        sessions.encode(&mut bytes);
        bytes.put_slice(b"rest");
        let mut rest = &bytes[..];
        let decoded = Sessions::decode(&mut rest).expect("sessions");
        assert_eq!(rest, b"rest");
        assert!((0..bytes.len() - 4).all(|cut| Sessions::decode(&mut &bytes[..cut]).is_none()), "cut short");
        decoded
    }

    #[test]
    fn what_was_told_survives_a_snapshot() {
        let mut sessions = Sessions::default();
        sessions.apply(&head(70, 3), Bytes::from_static(b"told"));
        let sessions = through_a_snapshot(&sessions);
        assert_eq!(sessions.seen(&head(70, 0)), Seen::Applied(Bytes::from_static(b"told")));
        assert_eq!((sessions.seen(&head(2, 0)), sessions.seen(&head(71, 0))), (Seen::Settled, Seen::New));
    }

    /// Against a plain set, over seeded random orders.
    #[test]
    fn agrees_with_a_set() {
        for seed in 0..50 {
            let mut prng = Prng::new(seed);
            let (mut sessions, mut applied, mut settled) = (Sessions::default(), BTreeSet::new(), 0);
            for _ in 0..2000 {
                let sequence = settled + prng.below(300);
                let expected = if applied.contains(&sequence) { Seen::Applied(Bytes::new()) } else { Seen::New };
                assert_eq!(sessions.seen(&head(sequence, settled)), expected);
                if prng.below(100) == 0 {
                    sessions = through_a_snapshot(&sessions);
                }
                sessions.apply(&head(sequence, settled), Bytes::new());
                applied.insert(sequence);
                if prng.below(10) == 0 {
                    settled += prng.below(100);
                }
            }
        }
    }
}
