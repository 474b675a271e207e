//! What clients asked and were told, against one map that is asked in slot order.

use std::collections::BTreeMap;

use quorumbench_protocols::{Nanos, Payload, Slot};

use super::{Violation, property};
use crate::batch::{BatchHead, Commands};
use crate::machine::KvCommand;

/// "Applied at most once", "nothing acknowledged is lost", "replies do not contradict" and "real-time order".
#[derive(Debug)]
pub struct Ledger {
    /// Clients' ids from here on.
    first_client: u32,
    clients: Vec<Client>,
    /// The batches in the order in which they must be applied, each once.
    order: Vec<(u32, u64)>,
    /// The slot of each of them.
    slots: Vec<usize>,
    /// How far in that order each node is since it last started.
    nodes: Vec<usize>,
    model: Model,
    /// Slots looked at.
    chosen: usize,
    /// The last slot of which any client knows.
    acknowledged: usize,
}

/// A client's batches, by sequence.
#[derive(Debug, Default)]
struct Client {
    batches: Vec<Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    /// What any client knew when this was first asked: it belongs after that slot.
    after: usize,
    /// Where it was chosen first, and what its client must hear.
    chosen: Option<(usize, Box<[u8]>)>,
}

impl Ledger {
    pub(super) fn new(replicas: usize, clients: usize) -> Self {
        Self {
            first_client: replicas as u32,
            clients: (0..clients).map(|_| Client::default()).collect(),
            order: Vec::new(),
            slots: Vec::new(),
            nodes: vec![0; replicas],
            model: Model::default(),
            chosen: 0,
            acknowledged: 0,
        }
    }

    pub(super) fn on_invoke(&mut self, client: u32, sequence: u64) {
        let after = self.acknowledged;
        let batches = &mut self.clients[(client - self.first_client) as usize].batches;
        assert_eq!(batches.len() as u64, sequence, "a client counts its batches");
        batches.push(Batch { after, chosen: None });
    }

    /// Whether some client asked for this, or nobody needed to: it is nothing.
    pub(super) fn was_asked(&mut self, body: &Payload) -> bool {
        let asked = |head: BatchHead| self.batch(head.client, head.sequence).is_some();
        body.is_empty() || BatchHead::read(body).is_some_and(asked)
    }

    /// The next slot was chosen, with this batch.
    pub(super) fn on_chosen(&mut self, body: &Payload) -> Result<(), Violation> {
        self.chosen += 1;
        let slot = self.chosen;
        let Some(head) = BatchHead::read(body) else { return Ok(()) };
        let (client, sequence) = (head.client, head.sequence);
        let Some(batch) = self.batch(client, sequence) else {
            let detail = format!("slot {slot} has batch {sequence} of client n{client}, who never sent it");
            return Err(Violation::new(property::STATE_MACHINE_SAFETY, detail));
        };
        if batch.chosen.is_some() {
            return Ok(());
        }
        if slot <= batch.after {
            let detail = format!(
                "batch {sequence} of client n{client} is in slot {slot}, and was sent after slot {} was answered",
                batch.after
            );
            return Err(Violation::new(property::REAL_TIME_ORDER, detail));
        }
        let results = self.model.apply(Commands::new(&head, body));
        self.batch(client, sequence).expect("it was found just now").chosen = Some((slot, results));
        self.order.push((client, sequence));
        self.slots.push(slot);
        Ok(())
    }

    /// A node's state machine is now that of a snapshot up to `slot`.
    pub(super) fn on_restored(&mut self, node: usize, slot: Slot) {
        self.nodes[node] = self.slots.partition_point(|&at| at as u64 <= slot.0);
    }

    /// A node's state machine was given a batch.
    pub(super) fn on_applied(&mut self, node: usize, client: u32, sequence: u64) -> Result<(), Violation> {
        let at = self.nodes[node];
        self.nodes[node] += 1;
        if self.order.get(at) == Some(&(client, sequence)) {
            return Ok(());
        }
        let twice = self.order[..at.min(self.order.len())].contains(&(client, sequence));
        let property = if twice { property::APPLIED_AT_MOST_ONCE } else { property::STATE_MACHINE_SAFETY };
        let again = if twice { " again" } else { ", which is not the next" };
        Err(Violation::new(property, format!("n{node} applies batch {sequence} of client n{client}{again}")))
    }

    /// A client was told these results.
    pub(super) fn on_reply(&mut self, client: u32, sequence: u64, told: &[u8], now: Nanos) -> Result<(), Violation> {
        let what = format!("client n{client} was told at {now} that batch {sequence} is applied");
        let chosen = self.batch(client, sequence).and_then(|batch| batch.chosen.as_ref());
        match chosen {
            None => Err(Violation::new(property::ACKNOWLEDGED_IS_KEPT, format!("{what}; it is in no committed slot"))),
            Some((slot, results)) if **results == *told => {
                let slot = *slot;
                self.acknowledged = self.acknowledged.max(slot);
                Ok(())
            }
            Some((slot, results)) => {
                let detail = format!("{what} with {told:?}; one map in slot order answers {results:?} (slot {slot})");
                Err(Violation::new(property::REPLIES_AGREE, detail))
            }
        }
    }

    pub(super) fn on_restart(&mut self, node: usize) {
        self.nodes[node] = 0;
    }

    pub(super) fn chosen(&self) -> usize {
        self.chosen
    }

    fn batch(&mut self, client: u32, sequence: u64) -> Option<&mut Batch> {
        let client = self.clients.get_mut(client.checked_sub(self.first_client)? as usize)?;
        client.batches.get_mut(usize::try_from(sequence).ok()?)
    }
}

/// The map as its description has it, written a second time.
#[derive(Debug, Default)]
struct Model {
    map: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl Model {
    /// The results of a batch: for each command a status (0 found or done, 1 absent, 2 refused), the
    /// value's length, the value.
    fn apply(&mut self, mut commands: Commands<'_>) -> Box<[u8]> {
        let mut results = Vec::new();
        while let Some(command) = commands.next_command() {
            let (status, value): (u8, &[u8]) = match KvCommand::read(command) {
                Some(KvCommand::Get(key)) => self.map.get(key).map_or((1, &[]), |value| (0, value)),
                Some(KvCommand::Put(key, value)) => {
                    self.map.insert(key.into(), value.into());
                    (0, &[])
                }
                Some(KvCommand::Delete(key)) => (u8::from(self.map.remove(key).is_none()), &[]),
                None => (2, &[]),
            };
            results.push(status);
            results.extend_from_slice(&(value.len() as u32).to_le_bytes());
            results.extend_from_slice(value);
        }
        results.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Writer;
    use bytes::BytesMut;

    const NOW: Nanos = Nanos(1);

    fn batch(client: u32, sequence: u64, commands: &[KvCommand<'_>]) -> Payload {
        let mut chunk = BytesMut::new();
        let mut writer = Writer::new(&mut chunk, BatchHead { client, sequence, ..BatchHead::default() });
        commands.iter().for_each(|command| writer.command(|chunk| command.write(chunk)));
        writer.finish().into()
    }

    /// One replica, clients 1 and 2, each with a batch asked; nothing chosen.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(1, 2);
        ledger.on_invoke(1, 0);
        ledger.on_invoke(2, 0);
        ledger
    }

    #[test]
    fn replies_are_those_of_the_map() {
        let mut ledger = ledger();
        assert_eq!(ledger.on_chosen(&batch(1, 0, &[KvCommand::Put(b"k", b"v")])), Ok(()));
        assert_eq!(ledger.on_chosen(&batch(2, 0, &[KvCommand::Get(b"k")])), Ok(()));
        assert_eq!(ledger.on_reply(2, 0, &[0, 1, 0, 0, 0, b'v'], NOW), Ok(()));
        let stale = ledger.on_reply(2, 0, &[1, 0, 0, 0, 0], NOW).map_err(|violation| violation.property);
        assert_eq!(stale, Err(property::REPLIES_AGREE));
    }

    #[test]
    fn an_answer_without_a_commit_is_seen() {
        let told = ledger().on_reply(1, 0, &[], NOW).map_err(|violation| violation.property);
        assert_eq!(told, Err(property::ACKNOWLEDGED_IS_KEPT));
    }

    #[test]
    fn a_second_application_is_seen_and_a_second_slot_is_not() {
        let mut ledger = ledger();
        for _ in 0..2 {
            assert_eq!(ledger.on_chosen(&batch(1, 0, &[])), Ok(()), "clients send again");
        }
        assert_eq!(ledger.on_applied(0, 1, 0), Ok(()));
        let again = ledger.on_applied(0, 1, 0).map_err(|violation| violation.property);
        assert_eq!(again, Err(property::APPLIED_AT_MOST_ONCE));
        ledger.on_restart(0);
        assert_eq!(ledger.on_applied(0, 1, 0), Ok(()), "an empty machine is filled again");
        let other = ledger.on_applied(0, 2, 0).map_err(|violation| violation.property);
        assert_eq!(other, Err(property::STATE_MACHINE_SAFETY));
    }

    #[test]
    fn what_nobody_sent_is_seen() {
        let forged = ledger().on_chosen(&batch(1, 7, &[])).map_err(|violation| violation.property);
        assert_eq!(forged, Err(property::STATE_MACHINE_SAFETY));
    }

    #[test]
    fn an_order_that_clients_know_to_be_wrong_is_seen() {
        let mut ledger = ledger();
        ledger.on_chosen(&Payload::EMPTY).expect("a no-op");
        ledger.acknowledged = 5;
        ledger.on_invoke(1, 1);
        let early = ledger.on_chosen(&batch(1, 1, &[])).map_err(|violation| violation.property);
        assert_eq!(early, Err(property::REAL_TIME_ORDER));
    }
}
