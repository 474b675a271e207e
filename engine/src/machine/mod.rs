//! What the replicated log is applied to.

use bytes::BytesMut;

use crate::batch::{BatchHead, Commands};

mod kv;
mod null;

pub use kv::{Kv, KvCommand};
pub use null::Null;

/// A deterministic state machine: the same batches in the same order leave the same state.
pub trait Machine: Default + Send + 'static {
    /// Applies a batch's commands in order and appends what the client is to hear.
    fn apply(&mut self, head: &BatchHead, commands: Commands<'_>, results: &mut BytesMut);

    /// Answers a batch of reads as [`apply`](Self::apply) would, and changes nothing: a command that
    /// would is refused. A machine that has nothing to read says nothing.
    fn read(&self, _head: &BatchHead, _commands: Commands<'_>, _results: &mut BytesMut) {}

    /// Appends the whole state: the same state is the same bytes.
    fn snapshot(&self, out: &mut BytesMut);

    /// Becomes the state that these bytes hold. `false` if they are none, and the state is then anything.
    #[must_use]
    fn restore(&mut self, bytes: &[u8]) -> bool;
}
