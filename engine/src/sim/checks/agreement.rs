//! What was chosen: the one log that all nodes deliver.

use quorumbench_protocols::{Delivery, DeliveryKind, Payload, Slot};

use super::logs::{Logs, same};
use super::{Violation, property};
use crate::sim::subject::{Paper, View};

/// "Committed slots never change", "state machine safety", and "delivery in slot order, once".
#[derive(Debug)]
pub struct Agreement {
    chosen: Vec<Chosen>,
    nodes: Vec<Node>,
    paper: Paper,
}

/// A slot that a node took for committed.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The term in which it was written.
    pub stamp: u64,
    /// The term of the node that first took it for committed.
    pub committed_in: u64,
    /// What is in it: a batch, or what is none of the clients' business.
    pub kind: DeliveryKind,
    /// Its bytes.
    pub body: Payload,
}

impl Chosen {
    /// The batch; nothing if it is none. What else a protocol writes may look like one.
    pub(super) fn batch(&self) -> &Payload {
        static NONE: Payload = Payload::EMPTY;
        if self.kind == DeliveryKind::Batch { &self.body } else { &NONE }
    }
}

/// How far a node is since it last started.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    committed: Slot,
    delivered: Slot,
}

impl Agreement {
    pub(super) fn new(paper: Paper, nodes: usize) -> Self {
        Self { chosen: Vec::new(), nodes: vec![Node::default(); nodes], paper }
    }

    /// A node's commit moved.
    pub(super) fn on_commit(&mut self, node: usize, view: &View, logs: &Logs) -> Result<(), Violation> {
        let before = std::mem::replace(&mut self.nodes[node].committed, view.committed);
        if view.committed < before {
            let detail = format!("n{node} went back from slot {before} to slot {}", view.committed);
            return Err(Violation::new(property::COMMITTED_NEVER_CHANGES, detail));
        }
        for slot in before.0 + 1..=view.committed.0 {
            let Some(stamp) = logs.stamp(node, slot) else {
                let detail = format!("n{node} takes slot {slot} for committed, and has nothing there");
                return Err(Violation::new(property::COMMITTED_NEVER_CHANGES, detail));
            };
            match self.chosen.get(slot as usize - 1) {
                Some(chosen) if chosen.stamp == stamp => {}
                Some(chosen) if self.by_value(chosen, logs.entry(slot, stamp)) => {}
                Some(chosen) => {
                    let detail = format!(
                        "n{node} takes slot {slot} of term {stamp} for committed; it was chosen in term {}",
                        chosen.stamp
                    );
                    return Err(Violation::new(property::COMMITTED_NEVER_CHANGES, detail));
                }
                None => {
                    let (kind, body) = logs.entry(slot, stamp).expect("what stands in a log was noted");
                    self.chosen.push(Chosen { stamp, committed_in: view.term, kind, body: body.clone() });
                }
            }
        }
        Ok(())
    }

    /// Whether a slot is the chosen one for its value, whatever its stamp. In Raft it never is.
    fn by_value(&self, chosen: &Chosen, entry: Option<(DeliveryKind, &Payload)>) -> bool {
        self.paper == Paper::Paxos && entry.is_some_and(|(kind, body)| kind == chosen.kind && same(body, &chosen.body))
    }

    /// A node handed a slot to its state machine.
    pub(super) fn on_delivery(&mut self, node: usize, delivery: &Delivery) -> Result<(), Violation> {
        let Node { committed, delivered } = &mut self.nodes[node];
        let slot = delivery.slot;
        if delivery.kind == DeliveryKind::Snapshot && slot > *delivered && slot.0 as usize <= self.chosen.len() {
            *delivered = slot;
            return Ok(());
        }
        if slot != *delivered + 1 {
            let detail = format!("n{node} delivers slot {slot} after slot {delivered}");
            return Err(Violation::new(property::DELIVERY_IN_ORDER, detail));
        }
        *delivered = slot;
        let what = match self.chosen.get(slot.0 as usize - 1) {
            Some(_) if slot > *committed => "before it is committed there",
            Some(chosen) if chosen.kind == delivery.kind && same(&chosen.body, &delivery.body) => return Ok(()),
            Some(_) => "with a batch that was not chosen",
            None => "before it is chosen",
        };
        Err(Violation::new(property::STATE_MACHINE_SAFETY, format!("n{node} delivers slot {slot} {what}")))
    }

    /// It delivers everything again, to an empty machine.
    pub(super) fn on_restart(&mut self, node: usize) {
        self.nodes[node] = Node::default();
    }

    pub(super) fn chosen(&self) -> &[Chosen] {
        &self.chosen
    }

    pub(super) fn committed(&self, node: usize) -> Slot {
        self.nodes[node].committed
    }

    pub(super) fn delivered(&self, node: usize) -> usize {
        self.nodes[node].delivered.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checks::logs::tests::grow;

    fn agreement() -> (Agreement, Logs) {
        let (mut agreement, mut logs) = (Agreement::new(Paper::Raft, 3), Logs::new(3));
        grow(&mut logs, 0, &[1, 1, 2]);
        assert_eq!(agreement.on_commit(0, &commits(2), &logs), Ok(()));
        (agreement, logs)
    }

    fn commits(slot: u64) -> View {
        View { term: 2, committed: Slot(slot), ..View::default() }
    }

    fn delivery(slot: u64, body: &'static [u8]) -> Delivery {
        Delivery { slot: Slot(slot), kind: DeliveryKind::Batch, body: bytes::Bytes::from_static(body).into() }
    }

    #[test]
    fn a_commit_of_something_else_is_seen() {
        let (mut agreement, mut logs) = agreement();
        grow(&mut logs, 1, &[1, 2]);
        let commit = |agreement: &mut Agreement, node, slot| {
            agreement.on_commit(node, &commits(slot), &logs).map_err(|violation| violation.property)
        };
        assert_eq!(commit(&mut agreement, 1, 1), Ok(()));
        assert_eq!(commit(&mut agreement, 1, 2), Err(property::COMMITTED_NEVER_CHANGES));
        assert_eq!(commit(&mut agreement, 2, 1), Err(property::COMMITTED_NEVER_CHANGES), "it has nothing there");
        assert_eq!(commit(&mut agreement, 0, 1), Err(property::COMMITTED_NEVER_CHANGES), "it goes back");
        agreement.on_restart(1);
        assert_eq!(commit(&mut agreement, 1, 2), Err(property::COMMITTED_NEVER_CHANGES), "nor after a restart");
    }

    #[test]
    fn deliveries_out_of_order_or_twice_are_seen() {
        let (mut agreement, _) = agreement();
        let mut deliver = |slot| agreement.on_delivery(0, &delivery(slot, b"")).map_err(|violation| violation.property);
        assert_eq!(deliver(1), Ok(()));
        assert_eq!(deliver(1), Err(property::DELIVERY_IN_ORDER));
        assert_eq!(deliver(3), Err(property::DELIVERY_IN_ORDER));
    }

    #[test]
    fn a_delivery_of_what_was_not_chosen_is_seen() {
        let (mut agreement, _) = agreement();
        let deliver = |agreement: &mut Agreement, node, slot, body| {
            agreement.on_delivery(node, &delivery(slot, body)).map_err(|violation| violation.property)
        };
        assert_eq!(deliver(&mut agreement, 0, 1, b"x"), Err(property::STATE_MACHINE_SAFETY));
        assert_eq!(deliver(&mut agreement, 0, 2, b""), Ok(()));
        assert_eq!(deliver(&mut agreement, 0, 3, b""), Err(property::STATE_MACHINE_SAFETY), "not chosen");
        assert_eq!(deliver(&mut agreement, 1, 1, b""), Err(property::STATE_MACHINE_SAFETY), "not committed there");
    }
}
