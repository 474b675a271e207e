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
}
