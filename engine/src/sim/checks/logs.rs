//! Every node's log, as the checkers have seen it grow.

use std::collections::BTreeMap;

use quorumbench_protocols::{DeliveryKind, Payload, Slot};

use super::agreement::Chosen;
use super::{Violation, property};
use crate::sim::subject::{Paper, View};

/// Raft's leader append-only and log matching (paper, figure 3).
///
/// Log matching is checked by induction: a slot written in a term has the same batch, and the same
/// term before it, wherever it stands. Then whatever lies before it is the same too.
#[derive(Debug)]
pub struct Logs {
    nodes: Vec<Mirror>,
    /// What was first seen in each slot.
    first: Vec<Entry>,
    /// What else was: by slot and term.
    others: BTreeMap<(u64, u64), Entry>,
    paper: Paper,
}

/// What one node's log was seen to hold.
#[derive(Clone, Debug, Default)]
struct Mirror {
    /// The term of each slot from 1 on.
    stamps: Vec<u64>,
    /// The term that it leads, if it does.
    leads: Option<u64>,
    /// Everything up to here was committed here, and must stay.
    committed: Slot,
    /// Turns until a stretch in the middle is looked at again, and where.
    countdown: u32,
    spot: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    stamp: u64,
    prev: u64,
    kind: DeliveryKind,
    body: Payload,
}

/// A slot as a protocol shows it: its term, and what stands in it if it is kept.
type Shown<'a> = (u64, Option<(DeliveryKind, &'a Payload)>);

/// Between looks at the middle of a log, and how much is looked at. Ends are compared at each turn, so
/// this only matters for a protocol that writes where it should not even read.
const PAUSE: u32 = 64;
const STRETCH: u64 = 16;

impl Logs {
    #[cfg(test)]
    pub(super) fn new(nodes: usize) -> Self {
        Self::of(Paper::Raft, nodes)
    }

    /// In Paxos a slot's stamp is a ballot, under which there is one value, but nothing is said of the slot before.
    pub(super) fn of(paper: Paper, nodes: usize) -> Self {
        Self { nodes: vec![Mirror::default(); nodes], first: Vec::new(), others: BTreeMap::new(), paper }
    }

    /// Compares a node's log, which `read` reads, with what was seen of it before.
    pub(super) fn observe<'a>(
        &mut self,
        node: usize,
        view: &View,
        chosen: &[Chosen],
        read: impl Fn(Slot) -> Option<Shown<'a>>,
    ) -> Result<(), Violation> {
        let mirror = &mut self.nodes[node];
        let trimmed = view.trimmed.0 as usize;
        let at_trim = trimmed.checked_sub(1).and_then(|at| mirror.stamps.get(at).copied());
        if view.trimmed > mirror.committed && read(view.trimmed).map(|(stamp, _)| stamp) != at_trim {
            // It let go what it never took for committed: a snapshot stands for it, of what was chosen.
            mirror.stamps.clear();
            mirror.stamps.extend(chosen.iter().take(trimmed).map(|chosen| chosen.stamp));
        }
        let led = std::mem::replace(&mut mirror.leads, view.leads.then_some(view.term));
        let (seen, last) = (mirror.stamps.len() as u64, view.last.0);
        let stands = |slot: u64| read(Slot(slot)).is_some_and(|(stamp, _)| stamp == mirror.stamps[slot as usize - 1]);
        let mut keep = seen.min(last);
        while keep > view.trimmed.0 && !stands(keep) {
            keep -= 1;
        }
        if keep < seen {
            if led.is_some() && led == mirror.leads {
                let detail = format!("n{node} leads term {} and cut its log from slot {seen} to {keep}", view.term);
                return Err(Violation::new(property::LEADER_APPEND_ONLY, detail));
            }
            if keep < mirror.committed.0 {
                let detail = format!("n{node} cut its log after slot {keep}; it had committed {}", mirror.committed);
                return Err(Violation::new(property::COMMITTED_NEVER_CHANGES, detail));
            }
            mirror.stamps.truncate(keep as usize);
        }
        mirror.committed = view.committed;
        mirror.countdown = mirror.countdown.wrapping_sub(1);
        if keep < last {
            self.grow(node, view, chosen, &read)?;
        }
        if self.nodes[node].countdown.is_multiple_of(PAUSE) { self.look_again(node, view, &read) } else { Ok(()) }
    }

    fn grow<'a>(
        &mut self,
        node: usize,
        view: &View,
        chosen: &[Chosen],
        read: impl Fn(Slot) -> Option<Shown<'a>>,
    ) -> Result<(), Violation> {
        // What a snapshot brought was committed somewhere, and is known from there.
        let mirror = &mut self.nodes[node].stamps;
        let unseen = chosen.get(mirror.len()..view.trimmed.0 as usize).unwrap_or_default();
        mirror.extend(unseen.iter().map(|chosen| chosen.stamp));
        for slot in mirror.len() as u64 + 1..=view.last.0 {
            let Some((stamp, Some((kind, body)))) = read(Slot(slot)) else {
                if slot <= view.trimmed.0 {
                    // Every node has a disk here, and no sync ends in the turn that began it.
                    let detail = format!("n{node} let slot {slot} go in the turn that wrote it: it was not durable");
                    return Err(Violation::new(property::ACKNOWLEDGED_IS_KEPT, detail));
                }
                let detail = format!("n{node} says that its log ends at {}, and has nothing in {slot}", view.last);
                return Err(Violation::new(property::LOG_MATCHING, detail));
            };
            let mirror = &mut self.nodes[node].stamps;
            let prev = mirror.last().copied().unwrap_or(0);
            mirror.push(stamp);
            self.note(node, slot, Entry { stamp, prev, kind, body: body.clone() })?;
        }
        Ok(())
    }

    fn note(&mut self, node: usize, slot: u64, entry: Entry) -> Result<(), Violation> {
        let index = slot as usize - 1;
        let seen = match self.first.get(index) {
            None if index == self.first.len() => {
                self.first.push(entry);
                return Ok(());
            }
            Some(first) if first.stamp == entry.stamp => first,
            _ => self.others.entry((slot, entry.stamp)).or_insert_with(|| entry.clone()),
        };
        let what = if seen.kind != entry.kind || !same(&seen.body, &entry.body) {
            "another batch"
        } else if seen.prev != entry.prev && self.paper != Paper::Paxos {
            "another log before it"
        } else {
            return Ok(());
        };
        let detail = format!("n{node} has {what} at slot {slot} of term {}", entry.stamp);
        let property = if self.paper == Paper::Paxos { property::ONE_VALUE_PER_BALLOT } else { property::LOG_MATCHING };
        Err(Violation::new(property, detail))
    }

    /// A stretch of the log is still what it was, here and in every other log.
    fn look_again<'a>(
        &mut self,
        node: usize,
        view: &View,
        read: impl Fn(Slot) -> Option<Shown<'a>>,
    ) -> Result<(), Violation> {
        let mirror = &mut self.nodes[node];
        let from =
            if mirror.spot > view.trimmed.0 && mirror.spot <= view.last.0 { mirror.spot } else { view.trimmed.0 + 1 };
        let until = view.last.0.min(from + STRETCH - 1);
        mirror.spot = until + 1;
        for slot in from..=until {
            let Some((stamp, Some((kind, body)))) = read(Slot(slot)) else { continue };
            let prev = if slot == 1 { 0 } else { self.nodes[node].stamps[slot as usize - 2] };
            if self.nodes[node].stamps[slot as usize - 1] != stamp {
                let detail = format!("n{node} changed slot {slot} and not what follows");
                return Err(Violation::new(property::LOG_MATCHING, detail));
            }
            self.note(node, slot, Entry { stamp, prev, kind, body: body.clone() })?;
        }
        Ok(())
    }

    /// The log is read again from the journal, which may have lost what was not durable.
    pub(super) fn on_restart(&mut self, node: usize) {
        self.nodes[node] = Mirror::default();
    }

    /// The term of a slot in a node's log, let go or not.
    pub(super) fn stamp(&self, node: usize, slot: u64) -> Option<u64> {
        self.nodes[node].stamps.get(usize::try_from(slot.checked_sub(1)?).ok()?).copied()
    }

    /// What was written in a slot in a term.
    pub(super) fn entry(&self, slot: u64, stamp: u64) -> Option<(DeliveryKind, &Payload)> {
        let first = self.first.get(usize::try_from(slot.checked_sub(1)?).ok()?)?;
        let entry = if first.stamp == stamp { Some(first) } else { self.others.get(&(slot, stamp)) };
        entry.map(|entry| (entry.kind, &entry.body))
    }
}

/// Whether two payloads are equal; most are the same handle.
pub(super) fn same(a: &Payload, b: &Payload) -> bool {
    let (Payload::Whole(x), Payload::Whole(y)) = (a, b) else { return a == b };
    x.len() == y.len() && (x.as_ptr() == y.as_ptr() || x == y)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A chosen slot, written and committed in these terms.
    pub(in crate::sim::checks) fn chosen(stamp: u64, committed_in: u64) -> Chosen {
        Chosen { stamp, committed_in, kind: DeliveryKind::Batch, body: Payload::EMPTY }
    }

    /// Shows `logs` a node's log of empty batches with these terms.
    pub(in crate::sim::checks) fn grow(logs: &mut Logs, node: usize, stamps: &[u64]) {
        observe(logs, node, View::default(), stamps, &Payload::EMPTY).expect("no violation");
    }

    pub(in crate::sim::checks) fn observe(
        logs: &mut Logs,
        node: usize,
        view: View,
        stamps: &[u64],
        body: &Payload,
    ) -> Result<(), &'static str> {
        let view = View { last: Slot(stamps.len() as u64), ..view };
        let read =
            |slot: Slot| Some((*stamps.get(slot.0.checked_sub(1)? as usize)?, Some((DeliveryKind::Batch, body))));
        logs.observe(node, &view, &[], read).map_err(|violation| violation.property)
    }

    fn body() -> Payload {
        bytes::Bytes::from_static(b"another").into()
    }

    #[test]
    fn a_leader_that_cuts_its_log_is_seen() {
        let mut logs = Logs::new(2);
        let leads = |term| View { term, leads: true, ..View::default() };
        assert_eq!(observe(&mut logs, 0, leads(2), &[1, 1, 2], &body()), Ok(()));
        assert_eq!(observe(&mut logs, 0, leads(2), &[1, 1], &body()), Err(property::LEADER_APPEND_ONLY));
        assert_eq!(observe(&mut logs, 1, leads(2), &[1, 1], &body()), Ok(()));
        assert_eq!(observe(&mut logs, 1, leads(3), &[1, 3], &body()), Ok(()), "it followed in between");
    }

    #[test]
    fn one_term_two_batches_are_seen() {
        let mut logs = Logs::new(2);
        grow(&mut logs, 0, &[1, 2]);
        assert_eq!(observe(&mut logs, 1, View::default(), &[1, 2], &body()), Err(property::LOG_MATCHING));
    }

    #[test]
    fn another_log_before_the_same_slot_is_seen() {
        let mut logs = Logs::new(3);
        grow(&mut logs, 0, &[1, 3]);
        grow(&mut logs, 1, &[2, 2]);
        assert_eq!(observe(&mut logs, 2, View::default(), &[2, 3], &Payload::EMPTY), Err(property::LOG_MATCHING));
    }

    #[test]
    fn a_committed_slot_that_is_cut_is_seen() {
        let mut logs = Logs::new(1);
        let committed = View { committed: Slot(2), ..View::default() };
        assert_eq!(observe(&mut logs, 0, committed, &[1, 1, 1], &body()), Ok(()));
        assert_eq!(observe(&mut logs, 0, committed, &[1, 1], &body()), Ok(()), "the third was not");
        assert_eq!(observe(&mut logs, 0, committed, &[1, 2], &body()), Err(property::COMMITTED_NEVER_CHANGES));
    }

    #[test]
    fn a_slot_that_goes_before_it_can_be_durable_is_seen() {
        let hasty = View { trimmed: Slot(1), last: Slot(1), ..View::default() };
        let seen = Logs::new(1).observe(0, &hasty, &[], |_| None).map_err(|violation| violation.property);
        assert_eq!(seen, Err(property::ACKNOWLEDGED_IS_KEPT));
        let liar = View { last: Slot(1), ..View::default() };
        let seen = Logs::new(1).observe(0, &liar, &[], |_| None).map_err(|violation| violation.property);
        assert_eq!(seen, Err(property::LOG_MATCHING));
    }

    #[test]
    fn a_change_in_the_middle_is_seen_in_time() {
        let mut logs = Logs::new(1);
        grow(&mut logs, 0, &[1; 100]);
        let mut changed = [1; 100];
        changed[50] = 2;
        let seen = (0..1000).map(|_| observe(&mut logs, 0, View::default(), &changed, &Payload::EMPTY));
        assert_eq!(seen.collect::<Result<(), _>>(), Err(property::LOG_MATCHING));
    }
}
