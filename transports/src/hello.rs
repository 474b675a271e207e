//! The first frame on every connection, in both directions: who is there, and of which run.

use quorumbench_protocols::{Head, NodeId};
use zerocopy::IntoBytes;

use crate::{Mesh, Role};

/// A hello, as it stood in a head: `words` are magic, version, run, role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who says it.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
}

/// The kind of a hello's head.
pub const KIND: u8 = 0xff;
const MAGIC: u64 = u64::from_le_bytes(*b"quorumbe");
/// Goes up whenever a frame changes its meaning.
pub const VERSION: u64 = 1;

impl Hello {
    /// The hello that `mesh`'s node says.
    pub fn head(mesh: &Mesh) -> Head {
        let words = [MAGIC, VERSION, mesh.run, mesh.role as u64, 0, 0];
        Head { kind: KIND, from: mesh.id, words, ..Head::default() }
    }

    /// Reads a hello of run `run`; `None` for a stranger's.
    pub fn read(head: &Head, run: u64) -> Option<Self> {
        let [magic, version, theirs, role, 0, 0] = head.words else { return None };
        let role = match role {
            0 => Role::Replica,
            1 => Role::Client,
            _ => return None,
        };
        let ours = (head.kind, head.body_len, magic, version, theirs) == (KIND, 0, MAGIC, VERSION, run);
        ours.then_some(Self { id: head.from, role })
    }

    /// Whether a client says it. What there is for clients is written before anything else: they wait for nothing
    /// but their answers, and with what replicas say to each other before that they would wait for longer.
    pub fn is_client(self) -> bool {
        self.role == Role::Client
    }
}

/// The bytes of a connection's first head, as they come in. A stranger is worth no receive chunk.
#[derive(Debug, Default)]
pub struct Greeting {
    head: Head,
    filled: usize,
}

impl Greeting {
    /// How many bytes are still to come.
    pub fn missing(&self) -> usize {
        Head::BYTES - self.filled
    }

    /// Where the bytes to come belong: no further than the head's end, because what follows it
    /// belongs in a chunk.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.head.as_mut_bytes()[self.filled..]
    }

    /// The first `bytes` of [`room`](Self::room) have come.
    pub fn took(&mut self, bytes: usize) {
        assert!(bytes <= self.missing(), "no more than there was room for");
        self.filled += bytes;
    }

    /// The head, when it is whole.
    pub fn head(&self) -> Option<&Head> {
        (self.missing() == 0).then_some(&self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_whole_when_its_head_is() {
        let head = Head { kind: KIND, words: [1, 2, 3, 4, 5, 6], ..Head::default() };
        let bytes = head.as_bytes();
        for cut in 0..Head::BYTES {
            let mut greeting = Greeting::default();
            greeting.room()[..cut].copy_from_slice(&bytes[..cut]);
            greeting.took(cut);
            assert_eq!((greeting.head(), greeting.missing()), (None, Head::BYTES - cut));
            greeting.room().copy_from_slice(&bytes[cut..]);
            greeting.took(Head::BYTES - cut);
            assert_eq!(greeting.head(), Some(&head));
            assert!(greeting.room().is_empty());
        }
    }
}
