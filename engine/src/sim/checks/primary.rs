//! What ZAB promises beyond a total order: that of primaries.

use std::collections::BTreeMap;

use quorumbench_protocols::Slot;

use super::agreement::Chosen;
use super::{Violation, property};
use crate::sim::subject::View;

/// Local and global primary order, and primary integrity (Junqueira, Reed & Serafini, *Zab*, DSN 2011,
/// section II.B), of a protocol whose stamps are an epoch in the high half and its primary's counter in
/// the low half.
///
/// The paper's other properties are checked under more general names: integrity is "applied at most once" and
/// "replies do not contradict"; total order, agreement and prefix consistency are "state machine safety" and
/// "delivery in slot order, once"; one established leader in an epoch is "election safety".
#[derive(Debug, Default)]
pub struct Primaries {
    /// For each epoch whose primary was established, where its own transactions begin: everything up to
    /// here was there before.
    established: BTreeMap<u64, Slot>,
    /// Chosen slots that were looked at.
    seen: usize,
}

impl Primaries {
    pub(super) fn observe(
        &mut self,
        view: &View,
        chosen: &[Chosen],
        stamp: impl Fn(Slot) -> Option<u64>,
    ) -> Result<(), Violation> {
        if view.leads && !self.established.contains_key(&view.term) {
            let mut initial = view.last;
            while initial > view.trimmed && stamp(initial).is_some_and(|stamp| epoch(stamp) == view.term) {
                initial = initial - 1;
            }
            self.established.insert(view.term, initial);
            knows(view.term, initial, &chosen[..self.seen])?;
        }
        for at in std::mem::replace(&mut self.seen, chosen.len())..chosen.len() {
            let before = at.checked_sub(1).map_or(0, |before| chosen[before].stamp);
            self.order(Slot(at as u64 + 1), before, chosen[at].stamp)?;
        }
        Ok(())
    }

    /// A slot is chosen, after one that holds `before`.
    fn order(&self, slot: Slot, before: u64, stamp: u64) -> Result<(), Violation> {
        let follows = if epoch(stamp) == epoch(before) { before + 1 } else { epoch(stamp) << 32 | 1 };
        if epoch(stamp) < epoch(before) {
            let detail = format!("slot {slot} holds {}, after {}", text(stamp), text(before));
            return Err(Violation::new(property::GLOBAL_PRIMARY_ORDER, detail));
        }
        if stamp != follows {
            let detail = format!("slot {slot} holds {}, where {} had to come first", text(stamp), text(follows));
            return Err(Violation::new(property::LOCAL_PRIMARY_ORDER, detail));
        }
        if !self.established.contains_key(&epoch(stamp)) {
            let detail = format!("slot {slot} holds {}, and that epoch never had a primary", text(stamp));
            return Err(Violation::new(property::PRIMARY_INTEGRITY, detail));
        }
        let later = self.established.range(epoch(stamp) + 1..).find(|&(_, &initial)| slot > initial);
        later.map_or(Ok(()), |(&primary, &initial)| Err(missing(primary, initial, stamp)))
    }
}

/// A new primary's history ends at `initial`: what was chosen beyond is of a primary that it knows nothing of.
fn knows(primary: u64, initial: Slot, chosen: &[Chosen]) -> Result<(), Violation> {
    let beyond = chosen.get(initial.0 as usize..).unwrap_or_default();
    let missed = beyond.iter().find(|missed| epoch(missed.stamp) < primary);
    missed.map_or(Ok(()), |missed| Err(missing(primary, initial, missed.stamp)))
}

fn missing(primary: u64, initial: Slot, stamp: u64) -> Violation {
    let detail = format!(
        "{} is chosen, which the primary of epoch {primary} did not have: its history ended at slot {initial}",
        text(stamp)
    );
    Violation::new(property::PRIMARY_INTEGRITY, detail)
}

const fn epoch(stamp: u64) -> u64 {
    stamp >> 32
}

fn text(stamp: u64) -> String {
    format!("{}.{}", epoch(stamp), stamp as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checks::logs::tests::chosen;

    const fn zxid(epoch: u64, counter: u64) -> u64 {
        epoch << 32 | counter
    }

    /// What is said of these transactions, chosen after primaries were established with histories of this length.
    fn judge(primaries: &[(u64, usize)], stamps: &[u64]) -> Result<(), &'static str> {
        let all: Vec<_> = stamps.iter().map(|&stamp| chosen(stamp, epoch(stamp))).collect();
        let mut checked = Primaries::default();
        for &(term, last) in primaries {
            let view = View { term, leads: true, last: Slot(last as u64), ..View::default() };
            let stamp = |slot: Slot| stamps.get(slot.0 as usize - 1).copied();
            checked.observe(&view, &all[..last], stamp).map_err(|violation| violation.property)?;
        }
        checked.observe(&View::default(), &all, |_| None).map_err(|violation| violation.property)
    }

    #[test]
    fn primaries_in_order_are_fine() {
        let stamps = [zxid(1, 1), zxid(1, 2), zxid(3, 1), zxid(3, 2)];
        assert_eq!(judge(&[(1, 0), (2, 2), (3, 2)], &stamps), Ok(()));
        assert_eq!(judge(&[(1, 0), (3, 3)], &stamps), Ok(()), "it broadcast in the turn that established it");
    }

    #[test]
    fn a_transaction_before_one_that_its_primary_broadcast_earlier_is_seen() {
        assert_eq!(judge(&[(1, 0)], &[zxid(1, 1), zxid(1, 3)]), Err(property::LOCAL_PRIMARY_ORDER));
        assert_eq!(judge(&[(1, 0)], &[zxid(1, 2)]), Err(property::LOCAL_PRIMARY_ORDER));
    }

    #[test]
    fn an_earlier_primary_after_a_later_one_is_seen() {
        let stamps = [zxid(2, 1), zxid(1, 1)];
        assert_eq!(judge(&[(1, 0), (2, 0)], &stamps), Err(property::GLOBAL_PRIMARY_ORDER));
    }

    #[test]
    fn a_primary_that_does_not_know_what_is_delivered_is_seen() {
        let stamps = [zxid(1, 1), zxid(1, 2)];
        assert_eq!(
            judge(&[(1, 0), (2, 1)], &stamps),
            Err(property::PRIMARY_INTEGRITY),
            "chosen after it was established"
        );
        assert_eq!(judge(&[], &stamps), Err(property::PRIMARY_INTEGRITY), "of an epoch without a primary");
        let mut checked = Primaries::default();
        let all = stamps.map(|stamp| chosen(stamp, 1));
        let view = |term, last| View { term, leads: true, last: Slot(last), ..View::default() };
        let stamp = |slot: Slot| stamps.get(slot.0 as usize - 1).copied();
        assert_eq!(checked.observe(&view(1, 0), &[], stamp), Ok(()));
        assert_eq!(checked.observe(&View::default(), &all, stamp), Ok(()));
        let seen = checked.observe(&view(2, 1), &all, stamp).map_err(|violation| violation.property);
        assert_eq!(seen, Err(property::PRIMARY_INTEGRITY), "chosen before it was established");
    }
}
