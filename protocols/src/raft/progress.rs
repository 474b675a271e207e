//! What a leader knows of one follower: how far it matches, and what is on its way there.

use super::message::{Accept, Received, Reject};
use crate::io::Snapshot;
use crate::log::SlotLog;
use crate::mutant::{Mutant, Switch};
use crate::transfer::Transfer;
use crate::window::Window;
use crate::wire::{Nanos, Slot};

#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The follower's log matches up to here, durably. It never goes back.
    matched: Slot,
    flow: Flow,
    /// Replicating: what was sent and is not durable there.
    window: Window,
    /// The latest round of probes that it answered.
    round: u64,
    /// When it last answered in this term.
    pub(super) heard_at: Nanos,
}

#[derive(Clone, Debug)]
enum Flow {
    /// Where the logs part is not known. One question is on its way, repeated with each heartbeat
    /// (frames get lost), and nothing else is sent.
    Probe {
        /// The slot asked about.
        at: Slot,
        /// The first round that asked. Answers to older questions say nothing of this one.
        since: u64,
    },
    /// The logs match: slots stream, up to a window of them unacknowledged.
    Replicate,
    /// What the follower lacks was let go: it is sent a snapshot.
    Install(Transfer),
}

/// What a refusal leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing that the next heartbeat would not bring.
    Wait,
    /// A probe at once.
    Probe,
    /// The follower needs a snapshot.
    Install,
}

impl Progress {
    /// The follower of a new leader whose log ends at `last`. Nothing is known, and the most likely
    /// is assumed: that it has all. The no-op that opens the term tells, without a round trip spent
    /// on asking.
    pub(super) fn new(depth: usize, last: Slot, now: Nanos) -> Self {
        Self { matched: Slot::ZERO, flow: Flow::Replicate, window: Window::new(depth, last), round: 0, heard_at: now }
    }

    /// The slot to send next, if one may go.
    pub(super) fn next(&self, last: Slot) -> Option<Slot> {
        let next = self.window.next();
        (matches!(self.flow, Flow::Replicate) && next <= last && self.window.room() > 0).then_some(next)
    }

    /// That slot is on its way.
    pub(super) fn sent(&mut self) {
        self.window.send();
    }

    /// The next slot was let go. What the follower has is found out first: perhaps it is enough.
    pub(super) fn fall_behind(&mut self, trimmed: Slot, round: u64) {
        self.flow = Flow::Probe { at: trimmed, since: round };
    }

    /// The slot that a probe of `round` asks about: while replicating the last one sent, so that a
    /// follower which lost the end of the stream finds out from the next heartbeat. It is one whose
    /// term is still known.
    pub(super) fn probe_at(&mut self, trimmed: Slot, round: u64) -> Slot {
        match &mut self.flow {
            Flow::Probe { at, .. } => {
                *at = trimmed.max(*at);
                self.matched.max(*at)
            }
            Flow::Replicate if self.window.next() > trimmed => self.window.next() - 1,
            Flow::Replicate => {
                self.fall_behind(trimmed, round);
                trimmed
            }
            Flow::Install(_) => trimmed,
        }
    }

    /// The latest round of probes that it answered, whatever it said: it follows this leader.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn matched(&self) -> Slot {
        self.matched
    }

    /// The follower's log matches. An answer to the probe, or to a later one, starts the
    /// stream, and so does a snapshot that has arrived.
    pub(super) fn on_accept(&mut self, accept: &Accept, depth: usize) {
        self.matched = self.matched.max(accept.durable);
        self.round = self.round.max(accept.round);
        self.window.acknowledge(self.matched);
        let resumes = match &self.flow {
            Flow::Replicate => false,
            Flow::Probe { since, .. } => accept.round >= *since,
            Flow::Install(transfer) => accept.received >= transfer.snapshot.slot,
        };
        if resumes {
            self.flow = Flow::Replicate;
            self.window = Window::resume(depth, self.matched, accept.received + 1);
        }
    }

    /// The follower's log does not match at `reject.prev`. It is not probed at once if the question
    /// would be the same again, which is then left to the next heartbeat.
    pub(super) fn on_reject(&mut self, reject: &Reject, log: &SlotLog, round: u64, mutant: Switch) -> Then {
        self.round = self.round.max(reject.round);
        let outdated = match self.flow {
            Flow::Probe { at, since } => reject.round < since || reject.prev != at,
            Flow::Replicate => reject.prev >= self.window.next(),
            Flow::Install(_) => true,
        };
        if outdated || reject.prev <= self.matched {
            return Then::Wait;
        }
        let meet = common(log, reject);
        let at = meet.max(log.trimmed()).max(self.matched);
        if mutant.is(Mutant::R9) {
            self.matched = at;
        }
        let before = std::mem::replace(&mut self.flow, Flow::Probe { at, since: round + 1 });
        if reject.hint.min(meet) < log.trimmed() {
            Then::Install
        } else if matches!(before, Flow::Replicate) || at < reject.prev {
            Then::Probe
        } else {
            Then::Wait
        }
    }

    /// Sends a snapshot from now on.
    pub(super) fn install(&mut self, snapshot: Snapshot) {
        self.flow = Flow::Install(Transfer::new(snapshot));
    }

    pub(super) fn transfer(&mut self) -> Option<&mut Transfer> {
        if let Flow::Install(transfer) = &mut self.flow { Some(transfer) } else { None }
    }

    pub(super) fn on_received(&mut self, received: &Received) -> Result<(), &'static str> {
        if let Some(transfer) = self.transfer().filter(|transfer| transfer.snapshot.slot == received.slot) {
            transfer.on_received(received.offset)?;
        }
        Ok(())
    }
}

/// The last slot at which the logs may agree (paper, section 5.3, refined). The leader's slots after
/// it are of later terms than the follower's at the hint. If the leader has none of the hint's term,
/// the follower's whole run of that term is wrong. So one round trip skips all of a term's slots,
/// on whichever side they are.
fn common(log: &SlotLog, reject: &Reject) -> Slot {
    let at = log.last_at_most(reject.hint, reject.hint_term);
    if log.stamp(at) == Some(reject.hint_term) { at } else { at.min(Slot(reject.hint_first.saturating_since(Slot(1)))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::DeliveryKind;
    use crate::log::Entry;
    use crate::wire::Payload;

    fn log(stamps: &[u64]) -> SlotLog {
        let mut log = SlotLog::default();
        for &stamp in stamps {
            log.append(Entry { stamp, kind: DeliveryKind::Batch, body: Payload::EMPTY });
        }
        log
    }

    fn reject(prev: u64, hint: u64, hint_term: u64, hint_first: u64, round: u64) -> Reject {
        Reject { term: 9, prev: Slot(prev), hint: Slot(hint), hint_term, hint_first: Slot(hint_first), round }
    }

    #[test]
    fn hints_skip_whole_terms() {
        let log = log(&[1, 1, 1, 4, 4, 5, 5, 6]);
        assert_eq!(common(&log, &reject(8, 6, 4, 4, 1)), Slot(5), "the leader's last slot of the hint's term");
        assert_eq!(common(&log, &reject(8, 7, 3, 4, 1)), Slot(3), "term 3 is unknown: all of it goes");
        assert_eq!(common(&log, &reject(8, 7, 2, 2, 1)), Slot(1), "even where it began inside a term of the leader's");
        assert_eq!(common(&log, &reject(8, 0, 0, 0, 1)), Slot(0));
    }

    #[test]
    fn only_the_answer_to_the_probe_starts_the_stream() {
        let log = log(&[1; 8]);
        let mut progress = Progress::new(4, Slot(8), Nanos::ZERO);
        assert_eq!(progress.on_reject(&reject(8, 5, 1, 1, 0), &log, 6, Switch::default()), Then::Probe);
        assert_eq!((progress.probe_at(Slot(0), 7), progress.next(Slot(8))), (Slot(5), None));
        let accept =
            |durable, received, round| Accept { term: 9, durable: Slot(durable), received: Slot(received), round };
        progress.on_accept(&accept(3, 3, 6), 4);
        assert_eq!(progress.next(Slot(8)), None, "an answer from before");
        progress.on_accept(&accept(3, 5, 7), 4);
        assert_eq!((progress.next(Slot(8)), progress.matched()), (Some(Slot(6)), Slot(3)));
    }

    #[test]
    fn a_match_never_goes_back() {
        let log = log(&[1; 8]);
        let mut progress = Progress::new(4, Slot(8), Nanos::ZERO);
        progress.on_accept(&Accept { term: 9, durable: Slot(6), received: Slot(6), round: 0 }, 4);
        progress.on_accept(&Accept { term: 9, durable: Slot(4), received: Slot(4), round: 0 }, 4);
        assert_eq!(progress.matched(), Slot(6));
        let old = progress.on_reject(&reject(5, 4, 1, 1, 0), &log, 0, Switch::default());
        assert_eq!(old, Then::Wait, "older than what is known");
        assert_eq!(progress.on_reject(&reject(8, 2, 1, 1, 0), &log, 0, Switch::default()), Then::Probe);
        assert_eq!(progress.probe_at(Slot(0), 1), Slot(6));
    }

    #[test]
    fn the_same_question_waits_for_the_heartbeat() {
        let log = log(&[1; 8]);
        let mut progress = Progress::new(4, Slot(8), Nanos::ZERO);
        assert_eq!(progress.on_reject(&reject(8, 6, 1, 1, 0), &log, 0, Switch::default()), Then::Probe);
        assert_eq!(
            progress.on_reject(&reject(6, 5, 1, 1, 0), &log, 0, Switch::default()),
            Then::Wait,
            "an answer from before"
        );
    }

    #[test]
    fn what_was_let_go_comes_as_a_snapshot() {
        let mut log = log(&[1; 8]);
        log.trim_to(Slot(6));
        let mut progress = Progress::new(4, Slot(8), Nanos::ZERO);
        assert_eq!(progress.on_reject(&reject(8, 0, 0, 0, 0), &log, 0, Switch::default()), Then::Install);
        assert_eq!(progress.probe_at(Slot(7), 1), Slot(7), "whose term is known, however far the log is trimmed");
        progress.install(Snapshot { slot: Slot(6), stamp: 1, body: Payload::EMPTY });
        let accept = |slot| Accept { term: 9, durable: Slot(slot), received: Slot(slot), round: 9 };
        progress.on_accept(&accept(5), 4);
        assert_eq!(progress.next(Slot(8)), None);
        progress.on_accept(&accept(6), 4);
        assert_eq!(progress.next(Slot(8)), Some(Slot(7)));
    }
}
