//! The transport's floor: one server delivers each batch as it comes. No replication, no safety.

use crate::io::{Config, Delivery, DeliveryKind, Input, Outbox, Protocol, Record};
use crate::reads;
use crate::wire::{Malformed, Nanos, NodeId, Slot};

/// Node 0, or whoever is to lead first, delivers whatever is submitted to it; the other nodes idle. **A floor, not a
/// protocol.**
#[derive(Debug)]
pub struct Echo {
    id: NodeId,
    server: NodeId,
    window: usize,
    delivered: Slot,
}

impl Protocol for Echo {
    const SNAPSHOT_RECORD: Option<u8> = None;

    fn new(config: &Config, _seed: u64) -> Self {
        let server = config.first_leader.unwrap_or(NodeId(0));
        Self { id: config.id, server, window: config.window, delivered: Slot::ZERO }
    }

    /// A floor survives nothing: it starts anew.
    fn recover(config: &Config, seed: u64, _records: &[Record]) -> Result<Self, Malformed> {
        Ok(Self::new(config, seed))
    }

    fn step(&mut self, _now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        match input {
            Input::Submit(body) if self.id == self.server => {
                self.delivered += 1;
                out.deliveries.push(Delivery { slot: self.delivered, kind: DeliveryKind::Batch, body: body.clone() });
                Ok(())
            }
            Input::Read { id, .. } => {
                reads::refuse(id, out);
                Ok(())
            }
            Input::Frame(frame) => Err(Malformed { kind: frame.head.kind, what: "echo nodes do not talk" }),
            Input::Submit(_)
            | Input::Durable(_)
            | Input::Timeout
            | Input::Transfer(_)
            | Input::Snapshot { .. }
            | Input::Reconfigure(_) => Ok(()),
        }
    }

    fn flush(&mut self, _now: Nanos, _out: &mut Outbox) {}

    fn deadline(&self) -> Nanos {
        Nanos::NEVER
    }

    fn room(&self) -> usize {
        if self.id == self.server { self.window } else { 0 }
    }

    fn leader(&self) -> Option<NodeId> {
        Some(self.server)
    }
}
