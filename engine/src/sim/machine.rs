//! The state machine of simulated replicas: the map that is measured, and a note of what it was given.

use bytes::BytesMut;

use crate::batch::{BatchHead, Commands};
use crate::machine::{Kv, Machine};

/// A [`Kv`] that notes which batches were applied to it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    kv: Kv,
    /// Client and sequence of each batch applied since this was last emptied; [`RESTORED`] where a
    /// snapshot took the place of everything before.
    pub(super) applied: Vec<(u32, u64)>,
}

/// No client's batch.
pub(super) const RESTORED: (u32, u64) = (u32::MAX, u64::MAX);

impl Machine for Watched {
    fn apply(&mut self, head: &BatchHead, commands: Commands<'_>, results: &mut BytesMut) {
        self.applied.push((head.client, head.sequence));
        self.kv.apply(head, commands, results);
    }

    fn read(&self, head: &BatchHead, commands: Commands<'_>, results: &mut BytesMut) {
        self.kv.read(head, commands, results);
    }

    fn snapshot(&self, out: &mut BytesMut) {
        self.kv.snapshot(out);
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        self.applied.push(RESTORED);
        self.kv.restore(bytes)
    }
}
