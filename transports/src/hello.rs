//! The first frame on every connection, in both directions: who is there, and of which run.

use quorumbench_protocols::{Head, NodeId};

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
}
