//! What a leader's channels carry: each follower is sent every transaction.

use std::collections::BTreeMap;

use quorumbench_protocols::{NodeId, Slot};

use super::{Violation, property};
use crate::sim::subject::Carried;

/// How far each channel goes, from leader to follower.
///
/// A leader of ZAB proposes to every follower whose acknowledgement of the epoch it has, in the order of its history
/// (Junqueira, Reed & Serafini, *Zab*, DSN 2011, section IV); what it proposed before, it sends as that history. So what
/// goes out next is never beyond what went out, or beyond what the follower itself said that it has. That a network loses
/// some of it is not the leader's fault, and is not looked at: a follower sees that for itself.
#[derive(Debug, Default)]
pub struct Streams {
    reach: BTreeMap<(NodeId, NodeId), Reach>,
}

/// How far the follower of one channel is.
#[derive(Debug, Default)]
struct Reach {
    epoch: u64,
    /// What was sent to it, without a gap.
    sent: Slot,
    /// What it said in this epoch that it has.
    held: Slot,
}

impl Streams {
    /// A frame goes out.
    pub(super) fn on_frame(&mut self, from: NodeId, to: NodeId, carried: Carried) -> Result<(), Violation> {
        let channel = if matches!(carried, Carried::Held(..)) { (to, from) } else { (from, to) };
        let reach = self.reach.entry(channel).or_default();
        match carried {
            Carried::Begin(epoch, slot) => {
                let held = if epoch == reach.epoch { reach.held } else { Slot::ZERO };
                *reach = Reach { epoch, sent: slot, held };
            }
            Carried::Held(epoch, slot) if epoch == reach.epoch => reach.held = slot.max(reach.held),
            Carried::Held(..) => {}
            Carried::Transaction(slot) => {
                let last = reach.sent.max(reach.held);
                if slot > last + 1 {
                    let detail = format!("{from} proposes slot {slot} to {to}, which it has sent up to {last}");
                    return Err(Violation::new(property::NO_GAPS, detail));
                }
                reach.sent = slot.max(last);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of these frames from one leader to one follower, and back.
    fn judge(frames: &[Carried]) -> Result<(), &'static str> {
        let (leader, follower) = (NodeId(0), NodeId(1));
        let mut streams = Streams::default();
        frames.iter().try_for_each(|&frame| {
            let (from, to) = if matches!(frame, Carried::Held(..)) { (follower, leader) } else { (leader, follower) };
            streams.on_frame(from, to, frame).map_err(|violation| violation.property)
        })
    }

    #[test]
    fn a_gap_is_seen() {
        use Carried::{Begin, Held, Transaction};
        let slot = Slot;
        assert_eq!(judge(&[Begin(1, slot(4)), Transaction(slot(5)), Transaction(slot(6))]), Ok(()));
        assert_eq!(judge(&[Begin(1, slot(4)), Transaction(slot(6))]), Err(property::NO_GAPS));
        assert_eq!(judge(&[Transaction(slot(2))]), Err(property::NO_GAPS), "nothing began");
        let again = [Begin(1, slot(4)), Transaction(slot(5)), Begin(1, slot(2)), Transaction(slot(5))];
        assert_eq!(judge(&again), Err(property::NO_GAPS), "the follower began anew");
        assert_eq!(judge(&[Begin(1, slot(4)), Held(1, slot(7)), Transaction(slot(8))]), Ok(()), "it has them");
        assert_eq!(
            judge(&[Begin(2, slot(4)), Held(1, slot(7)), Transaction(slot(8))]),
            Err(property::NO_GAPS),
            "it had"
        );
    }
}
