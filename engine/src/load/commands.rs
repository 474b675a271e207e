//! What is asked for.

use bytes::{BufMut, BytesMut};
use quorumbench_protocols::Prng;

use super::zipf::Zipf;
use crate::machine::KvCommand;
use crate::spec::Keys;

/// What the commands are made of.
#[derive(Clone, Copy, Debug)]
pub enum Mix {
    /// So many bytes that no machine looks at.
    Opaque {
        /// Bytes a command.
        payload: usize,
    },
    /// Commands of a [`crate::machine::Kv`].
    Kv {
        /// Bytes a written value.
        payload: usize,
        /// The share of reads.
        reads: f64,
        /// Which keys.
        keys: Keys,
    },
}

/// A seeded stream of commands. A clone goes on as the original does.
#[derive(Clone, Debug)]
pub struct CommandStream {
    mix: Mix,
    zipf: Option<Zipf>,
    /// Of so many groups, the one that the keys belong to.
    share: (u64, u64),
    prng: Prng,
    /// Whether a batch is all reads or all writes, and of which kind this one is.
    apart: bool,
    reading: bool,
}

impl CommandStream {
    /// Bytes of a command of a key-value machine besides its value.
    pub const KV_OVERHEAD: usize = KvCommand::OVERHEAD + size_of::<u64>();

    /// The stream of `seed`.
    ///
    /// # Panics
    /// If there are no keys, or the exponent is negative or no number.
    pub fn new(mix: Mix, seed: u64) -> Self {
        Self { mix, zipf: zipf(mix, (0, 1)), share: (0, 1), prng: Prng::new(seed), apart: false, reading: false }
    }

    /// The commands of one of `groups` consensus groups: key `k` belongs to group `k % groups`. Among a group's keys the
    /// distribution is the same, so that the likeliest of all are the groups' first ones, one each.
    ///
    /// # Panics
    /// If the group has no keys.
    #[must_use]
    pub fn of_group(&self, group: u16, groups: u16) -> Self {
        if groups == 1 {
            return self.clone();
        }
        let share = (group.into(), groups.into());
        Self { zipf: zipf(self.mix, share), share, prng: self.prng.fork(group.into()), ..self.clone() }
    }

    /// The same share of reads, but never reads and writes in one batch: each is drawn as a whole.
    #[must_use]
    pub fn with_reads_apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// The next commands are one batch, which is not empty. Says whether all of it will be reads, to
    /// be answered beside the log.
    pub fn begin_batch(&mut self) -> bool {
        if let Mix::Kv { reads, .. } = self.mix
            && self.apart
        {
            self.reading = self.prng.unit() < reads;
        }
        self.reading
    }

    /// The most bytes that a command can have.
    pub fn max_bytes(&self) -> usize {
        match self.mix {
            Mix::Opaque { payload } => payload,
            Mix::Kv { payload, .. } => Self::KV_OVERHEAD + payload,
        }
    }

    /// Appends the next command to `chunk`.
    pub fn write(&mut self, chunk: &mut BytesMut) {
        match self.mix {
            Mix::Opaque { payload } => chunk.put_bytes(0x5a, payload),
            Mix::Kv { payload, reads, .. } => {
                let key = self.key().to_le_bytes();
                let reading = if self.apart { self.reading } else { self.prng.unit() < reads };
                if reading {
                    KvCommand::Get(&key).write(chunk);
                } else {
                    // Values differ, so that whoever reads one knows whose it is.
                    let value = self.prng.next_u64().to_le_bytes();
                    let told_apart = payload.min(value.len());
                    KvCommand::write_put(chunk, &key, |chunk| {
                        chunk.put_slice(&value[..told_apart]);
                        chunk.put_bytes(0x5a, payload - told_apart);
                    });
                }
            }
        }
    }

    fn key(&mut self) -> u64 {
        let (group, groups) = self.share;
        let drawn = match (self.mix, &self.zipf) {
            (_, Some(zipf)) => zipf.draw(&mut self.prng),
            (Mix::Kv { keys: Keys::Uniform { count }, .. }, None) => self.prng.below(keys_of(count, self.share)),
            _ => 0,
        };
        drawn * groups + group
    }
}

/// How many of `count` keys belong to a group.
fn keys_of(count: u64, (group, groups): (u64, u64)) -> u64 {
    count.saturating_sub(group).div_ceil(groups)
}

/// The distribution of a group's keys, if it is Zipf's.
fn zipf(mix: Mix, share: (u64, u64)) -> Option<Zipf> {
    match mix {
        Mix::Kv { keys: Keys::Zipf { count, exponent }, .. } => Some(Zipf::new(keys_of(count, share), exponent)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(keys: Keys, reads: f64) -> CommandStream {
        CommandStream::new(Mix::Kv { payload: 10, reads, keys }, 3)
    }

    #[test]
    fn zipf_prefers_the_first_keys_as_its_exponent_says() {
        let mut commands = kv(Keys::Zipf { count: 1000, exponent: 1.0 }, 0.5);
        let mut hits = [0_u32; 1000];
        (0..200_000).for_each(|_| hits[commands.key() as usize] += 1);
        let ratio = f64::from(hits[0]) / f64::from(hits[9]);
        assert!((8.0..12.0).contains(&ratio), "the first key comes ten times as often as the tenth: {ratio}");
    }

    #[test]
    fn groups_share_the_keys_and_no_key_is_in_two() {
        for keys in [Keys::Uniform { count: 50 }, Keys::Zipf { count: 50, exponent: 0.99 }] {
            let mut seen = [0_u32; 50];
            for group in 0..7 {
                let mut commands = kv(keys, 0.5).of_group(group, 7);
                for _ in 0..2000 {
                    let key = commands.key();
                    assert_eq!(key % 7, u64::from(group));
                    seen[key as usize] += 1;
                }
            }
            assert!(seen.iter().all(|&hits| hits > 0), "{seen:?}");
        }
    }

    #[test]
    fn the_share_of_reads_is_what_was_asked_for() {
        let mut commands = kv(Keys::Uniform { count: 100 }, 0.3);
        let mut reads = 0;
        for _ in 0..10_000 {
            let mut chunk = BytesMut::new();
            commands.write(&mut chunk);
            assert!(chunk.len() <= commands.max_bytes());
            reads += i32::from(matches!(KvCommand::read(&chunk), Some(KvCommand::Get(_))));
        }
        assert!((2_800..3_200).contains(&reads), "{reads}");
    }

    #[test]
    fn reads_apart_are_whole_batches() {
        let mut commands = kv(Keys::Uniform { count: 100 }, 0.3).with_reads_apart();
        let mut reads = 0;
        for _ in 0..10_000 {
            let reading = commands.begin_batch();
            for _ in 0..3 {
                let mut chunk = BytesMut::new();
                commands.write(&mut chunk);
                assert_eq!(matches!(KvCommand::read(&chunk), Some(KvCommand::Get(_))), reading);
            }
            reads += i32::from(reading);
        }
        assert!((2_800..3_200).contains(&reads), "{reads}");
        assert!(!kv(Keys::Uniform { count: 1 }, 1.0).begin_batch(), "through the log, unless they are kept apart");
    }

    #[test]
    fn written_values_differ() {
        let mut commands = kv(Keys::Uniform { count: 1 }, 0.0);
        let values: std::collections::BTreeSet<Vec<u8>> = (0..1000)
            .map(|_| {
                let mut chunk = BytesMut::new();
                commands.write(&mut chunk);
                let Some(KvCommand::Put(_, value)) = KvCommand::read(&chunk) else { panic!("a put") };
                assert_eq!(value.len(), 10);
                value.to_vec()
            })
            .collect();
        assert_eq!(values.len(), 1000);
    }

    #[test]
    fn the_same_seed_asks_for_the_same() {
        let stream = || {
            let (mut commands, mut chunk) = (kv(Keys::Uniform { count: 1 << 40 }, 0.5), BytesMut::new());
            (0..100).for_each(|_| commands.write(&mut chunk));
            chunk
        };
        assert_eq!(stream(), stream());
    }
}
