//! The machine that counts, so that what is measured is the protocol.

use bytes::BytesMut;

use super::Machine;
use crate::batch::{BatchHead, Commands};

/// Counts commands and looks at none.
#[derive(Debug, Default)]
pub struct Null {
    applied: u64,
}

impl Null {
    /// Commands applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }
}

impl Machine for Null {
    fn apply(&mut self, head: &BatchHead, _commands: Commands<'_>, _results: &mut BytesMut) {
        self.applied += u64::from(head.commands);
    }

    fn snapshot(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.applied.to_le_bytes());
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        let applied = bytes.try_into().map(u64::from_le_bytes);
        self.applied = applied.unwrap_or_default();
        applied.is_ok()
    }
}
