//! What clients asked and were told, against one map that is asked in slot order.

use quorumbench_protocols::{Nanos, Payload, ReadMode, Slot};

use super::model::Model;
use super::{Violation, property};
use crate::batch::{BatchHead, Commands};

/// "Applied at most once", "nothing acknowledged is lost", "replies do not contradict", "real-time order",
/// "client order", "linearizable reads" and "stale reads were once true".
#[derive(Debug)]
pub struct Ledger {
    /// Whether a client's batches must be chosen in the order in which it sent them.
    in_order: bool,
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
    /// It reads beside the log.
    read: Option<Read>,
}

/// A batch that is read beside the log.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it is promised.
    pub mode: ReadMode,
    /// The batch.
    pub body: Payload,
}

impl Ledger {
    pub(super) fn new(replicas: usize, clients: usize, in_order: bool) -> Self {
        Self {
            in_order,
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

    pub(super) fn on_invoke(&mut self, client: u32, sequence: u64, read: Option<Read>) {
        let after = self.acknowledged;
        let batches = &mut self.clients[(client - self.first_client) as usize].batches;
        assert_eq!(batches.len() as u64, sequence, "a client counts its batches");
        batches.push(Batch { after, chosen: None, read });
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
        if let Some(before) = self.skipped(client, sequence) {
            let detail = format!("slot {slot} has batch {sequence} of client n{client}, who sent batch {before} first");
            return Err(Violation::new(property::CLIENT_ORDER, detail));
        }
        let results = self.model.apply(slot, Commands::new(&head, body));
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

    /// A client was told what its batch has read, as of `slot`.
    pub(super) fn on_served(
        &mut self,
        client: u32,
        sequence: u64,
        told: &[u8],
        slot: Slot,
        now: Nanos,
    ) -> Result<(), Violation> {
        let what = format!("client n{client} was told at {now} what batch {sequence} has read as of slot {slot}");
        let slot = slot.0 as usize;
        let Some((after, Read { mode, body })) =
            self.batch(client, sequence).and_then(|batch| Some((batch.after, batch.read.clone()?)))
        else {
            return Err(Violation::new(property::LINEARIZABLE_READS, format!("{what}; it is no such batch")));
        };
        let stale = mode == ReadMode::Stale;
        let property = if stale { property::STALE_READS } else { property::LINEARIZABLE_READS };
        if slot > self.chosen {
            let detail = format!("{what}; no slot after {} is committed", self.chosen);
            return Err(Violation::new(property, detail));
        }
        if slot < after && !stale {
            let detail = format!("{what}; it was asked after slot {after} was answered");
            return Err(Violation::new(property, detail));
        }
        let head = BatchHead::read(&body).expect("a batch, as it was sent");
        let results = self.model.read(slot, Commands::new(&head, &body));
        if *results != *told {
            let detail = format!("{what}, namely {told:?}; one map in slot order answers {results:?} there");
            return Err(Violation::new(property, detail));
        }
        // What may be old tells nobody what others must know.
        if !stale {
            self.acknowledged = self.acknowledged.max(slot);
        }
        Ok(())
    }

    pub(super) fn on_restart(&mut self, node: usize) {
        self.nodes[node] = 0;
    }

    pub(super) fn chosen(&self) -> usize {
        self.chosen
    }

    /// The batch that should have been chosen before this one and is not: it is the last before it that goes through
    /// the log.
    fn skipped(&self, client: u32, sequence: u64) -> Option<u64> {
        let earlier =
            self.clients[(client - self.first_client) as usize].batches.iter().enumerate().take(sequence as usize);
        let (before, batch) = earlier.rev().find(|(_, batch)| batch.read.is_none())?;
        (self.in_order && batch.chosen.is_none()).then_some(before as u64)
    }

    fn batch(&mut self, client: u32, sequence: u64) -> Option<&mut Batch> {
        let client = self.clients.get_mut(client.checked_sub(self.first_client)? as usize)?;
        client.batches.get_mut(usize::try_from(sequence).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Writer;
    use crate::machine::KvCommand;
    use bytes::BytesMut;

    const NOW: Nanos = Nanos(1);

    fn batch(client: u32, sequence: u64, commands: &[KvCommand<'_>]) -> Payload {
        let mut chunk = BytesMut::new();
        let mut writer = Writer::new(&mut chunk, BatchHead::next(client, sequence, sequence, None));
        commands.iter().for_each(|command| writer.command(|chunk| command.write(chunk)));
        writer.finish().into()
    }

    /// One replica, clients 1 and 2, each with a batch asked; nothing chosen.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(1, 2, true);
        ledger.on_invoke(1, 0, None);
        ledger.on_invoke(2, 0, None);
        ledger
    }

    /// What is said of a read of `k` that client 2 asks now, and is told `told` as of `slot`.
    fn served(ledger: &mut Ledger, mode: ReadMode, slot: u64, told: &[u8]) -> Result<(), &'static str> {
        let sequence = ledger.clients[1].batches.len() as u64;
        let body = batch(2, sequence, &[KvCommand::Get(b"k")]);
        ledger.on_invoke(2, sequence, Some(Read { mode, body }));
        ledger.on_served(2, sequence, told, Slot(slot), NOW).map_err(|violation| violation.property)
    }

    const OLD: &[u8] = &[0, 1, 0, 0, 0, b'o'];
    const NEW: &[u8] = &[0, 1, 0, 0, 0, b'n'];
    const ABSENT: &[u8] = &[1, 0, 0, 0, 0];

    /// Slot 1 has the old value and slot 2 the new one; nobody was told yet.
    fn written() -> Ledger {
        let mut ledger = ledger();
        ledger.on_chosen(&batch(1, 0, &[KvCommand::Put(b"k", b"o")])).expect("it was asked");
        ledger.on_chosen(&batch(2, 0, &[KvCommand::Put(b"k", b"n")])).expect("it was asked");
        ledger
    }

    #[test]
    fn a_read_older_than_what_was_known_is_seen() {
        for mode in [ReadMode::Index, ReadMode::Lease] {
            let mut ledger = written();
            assert_eq!(served(&mut ledger, mode, 0, ABSENT), Ok(()), "of those writes nobody was told");
            ledger.on_reply(1, 0, &[0, 0, 0, 0, 0], NOW).expect("it was put");
            assert_eq!(served(&mut ledger, mode, 0, ABSENT), Err(property::LINEARIZABLE_READS), "a put was known");
            assert_eq!(served(&mut ledger, mode, 2, NEW), Ok(()));
            assert_eq!(served(&mut ledger, mode, 1, OLD), Err(property::LINEARIZABLE_READS), "a read was known");
        }
    }

    #[test]
    fn a_read_of_what_was_never_there_is_seen() {
        for (mode, property) in
            [(ReadMode::Index, property::LINEARIZABLE_READS), (ReadMode::Stale, property::STALE_READS)]
        {
            let mut ledger = written();
            assert_eq!(served(&mut ledger, mode, 1, NEW), Err(property), "not yet");
            assert_eq!(served(&mut ledger, mode, 2, OLD), Err(property), "no longer");
            assert_eq!(served(&mut ledger, mode, 3, NEW), Err(property), "not committed");
            assert_eq!(served(&mut ledger, mode, 2, &[]), Err(property), "less than was asked");
        }
    }

    #[test]
    fn a_stale_read_may_be_old_and_binds_nobody() {
        let mut ledger = written();
        assert_eq!(served(&mut ledger, ReadMode::Stale, 2, NEW), Ok(()));
        ledger.on_reply(2, 0, &[0, 0, 0, 0, 0], NOW).expect("it was put");
        assert_eq!(served(&mut ledger, ReadMode::Stale, 1, OLD), Ok(()));
        assert_eq!(served(&mut ledger, ReadMode::Stale, 0, ABSENT), Ok(()));
    }

    #[test]
    fn what_was_to_be_ordered_is_not_served() {
        let served = written().on_served(1, 0, &[], Slot(1), NOW).map_err(|violation| violation.property);
        assert_eq!(served, Err(property::LINEARIZABLE_READS));
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
    fn a_batch_chosen_before_an_earlier_one_is_seen() {
        let asked = |in_order| {
            let mut ledger = Ledger::new(1, 1, in_order);
            (0..2).for_each(|sequence| ledger.on_invoke(1, sequence, None));
            let read = Read { mode: ReadMode::Index, body: batch(1, 2, &[]) };
            ledger.on_invoke(1, 2, Some(read));
            ledger.on_invoke(1, 3, None);
            ledger
        };
        let choose = |ledger: &mut Ledger, sequence| {
            ledger.on_chosen(&batch(1, sequence, &[])).map_err(|violation| violation.property)
        };
        let mut ledger = asked(true);
        assert_eq!(choose(&mut ledger, 0), Ok(()));
        assert_eq!(choose(&mut ledger, 3), Err(property::CLIENT_ORDER));
        let mut ledger = asked(true);
        for sequence in [0, 1, 0, 3, 1] {
            assert_eq!(choose(&mut ledger, sequence), Ok(()), "what reads beside the log is never chosen");
        }
        assert_eq!(choose(&mut asked(false), 3), Ok(()), "slots that are decided one by one promise no order");
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
        ledger.on_invoke(1, 1, None);
        let early = ledger.on_chosen(&batch(1, 1, &[])).map_err(|violation| violation.property);
        assert_eq!(early, Err(property::REAL_TIME_ORDER));
    }
}
