//! What acceptors promised and accepted, and what is chosen by that.

use std::collections::{BTreeMap, VecDeque};

use quorumbench_protocols::{Lsn, Payload, Slot};

use super::logs::same;
use super::{Violation, property};
use crate::sim::subject::{Promised, Vote};

/// What the papers of the Paxos family promise of acceptors (*Paxos Made Simple*, sections 2.1 and 2.2).
///
/// Nothing is believed that a node says of choices. A vote is a record of an acceptance; it counts once it is
/// durable, as it must before anyone is told of it. What a quorum voted for under one ballot is chosen, whether
/// anyone has noticed or not.
#[derive(Debug)]
pub struct Acceptors {
    /// Votes that choose.
    quorum: usize,
    nodes: Vec<Node>,
    /// By slot and ballot.
    ballots: BTreeMap<(Slot, u64), Ballot>,
    /// What is chosen, and the first ballot under which it was.
    chosen: BTreeMap<Slot, (u64, Payload)>,
}

/// One acceptor.
#[derive(Debug, Default)]
struct Node {
    /// The highest promise that was durable, in any life.
    kept: Promised,
    /// The last one seen, in this life.
    seen: Promised,
    /// Votes that are not durable.
    pending: VecDeque<(Lsn, Slot, u64)>,
    /// The highest ballot of each slot in which it voted durably.
    voted: BTreeMap<Slot, u64>,
    /// The highest in any slot.
    highest: u64,
}

/// What was proposed under a ballot, and which nodes accepted it durably, a bit each.
#[derive(Debug)]
struct Ballot {
    body: Payload,
    voters: u64,
}

impl Acceptors {
    /// With so many of them in a quorum of phase 2.
    pub(super) fn new(nodes: usize, quorum: usize) -> Self {
        Self {
            quorum,
            nodes: (0..nodes).map(|_| Node::default()).collect(),
            ballots: BTreeMap::new(),
            chosen: BTreeMap::new(),
        }
    }

    /// A node wrote down a vote, for something that somebody proposed.
    pub(super) fn on_vote(&mut self, node: usize, lsn: Lsn, vote: &Vote<'_>) -> Result<(), Violation> {
        let &Vote { slot, ballot, body } = vote;
        let kept = self.nodes[node].kept;
        let again = self.ballots.get(&(slot, ballot)).is_some_and(|seen| seen.voters >> node & 1 != 0);
        if kept.covers(slot) && ballot < kept.ballot && !again {
            let detail = format!("n{node} accepts ballot {ballot} in slot {slot}; it had promised {}", kept.ballot);
            return Err(Violation::new(property::PROMISES_KEPT, detail));
        }
        if let Some((first, value)) = self.chosen.get(&slot)
            && ballot > *first
            && !same(value, body)
        {
            let detail = format!(
                "n{node} accepts ballot {ballot} in slot {slot}; something else was chosen there under ballot {first}"
            );
            return Err(Violation::new(property::CHOSEN_ONCE, detail));
        }
        let seen = self.ballots.entry((slot, ballot)).or_insert_with(|| Ballot { body: body.clone(), voters: 0 });
        if !same(&seen.body, body) {
            let detail = format!("two values were proposed under ballot {ballot} in slot {slot}; n{node} accepts one");
            return Err(Violation::new(property::ONE_VALUE_PER_BALLOT, detail));
        }
        self.nodes[node].pending.push_back((lsn, slot, ballot));
        Ok(())
    }

    /// Everything that a node wrote up to `lsn` is durable.
    pub(super) fn on_durable(&mut self, node: usize, lsn: Lsn) -> Result<(), Violation> {
        while let Some(&(at, slot, ballot)) = self.nodes[node].pending.front()
            && at <= lsn
        {
            self.nodes[node].pending.pop_front();
            self.count(node, slot, ballot)?;
        }
        Ok(())
    }

    fn count(&mut self, node: usize, slot: Slot, ballot: u64) -> Result<(), Violation> {
        let voter = &mut self.nodes[node];
        let in_slot = voter.voted.entry(slot).or_default();
        (*in_slot, voter.highest) = (ballot.max(*in_slot), ballot.max(voter.highest));
        let Some(votes) = self.ballots.get_mut(&(slot, ballot)) else { return Ok(()) };
        votes.voters |= 1 << node;
        if (votes.voters.count_ones() as usize) < self.quorum {
            return Ok(());
        }
        let (first, value) = self.chosen.entry(slot).or_insert_with(|| (ballot, votes.body.clone()));
        if same(value, &votes.body) {
            *first = ballot.min(*first);
            return Ok(());
        }
        let detail = format!("in slot {slot} one value is chosen under ballot {first}, another under ballot {ballot}");
        Err(Violation::new(property::CHOSEN_ONCE, detail))
    }

    /// What a node's acceptor says that it has promised, after a turn.
    pub(super) fn observe(&mut self, node: usize, promised: Promised) -> Result<(), Violation> {
        let seen = &mut self.nodes[node];
        if promised < seen.seen {
            return Err(forgot(node, seen.seen, promised));
        }
        seen.seen = promised;
        let in_slot = || seen.voted.get(&promised.slot).copied();
        let voted = if promised.slot == Slot::ZERO { Some(seen.highest) } else { in_slot() };
        let voted = voted.filter(|&ballot| ballot > promised.ballot);
        voted.map_or(Ok(()), |ballot| {
            let detail = format!("n{node} has accepted ballot {ballot}, and promises only {}", promised.ballot);
            Err(Violation::new(property::PROMISES_KEPT, detail))
        })
    }

    /// All that a node has written is durable, so others may rely on it.
    pub(super) fn on_promise(&mut self, node: usize, promised: Promised) {
        let kept = &mut self.nodes[node].kept;
        *kept = promised.max(*kept);
    }

    /// A node starts again. `votes` are all that its journal holds; `accepted` says what its acceptor has
    /// accepted in a slot after `settled`.
    pub(super) fn on_restart<'a>(
        &mut self,
        node: usize,
        votes: impl Iterator<Item = Vote<'a>>,
        promised: Promised,
        settled: Slot,
        accepted: impl Fn(Slot) -> Option<(u64, &'a Payload)>,
    ) -> Result<(), Violation> {
        // What was torn off was never durable; what survived a crash is.
        self.nodes[node].pending.clear();
        for vote in votes {
            self.count(node, vote.slot, vote.ballot)?;
        }
        let known = &mut self.nodes[node];
        known.seen = Promised::default();
        if promised < known.kept {
            return Err(forgot(node, known.kept, promised));
        }
        for (&slot, &ballot) in known.voted.range(settled + 1..) {
            let Some((found, body)) = accepted(slot).filter(|&(found, _)| found >= ballot) else {
                let detail = format!("n{node} had accepted ballot {ballot} in slot {slot}, and forgot it in a crash");
                return Err(Violation::new(property::PROMISES_KEPT, detail));
            };
            if found == ballot && self.ballots.get(&(slot, ballot)).is_some_and(|seen| !same(&seen.body, body)) {
                let detail = format!("n{node} had accepted another value under ballot {ballot} in slot {slot}");
                return Err(Violation::new(property::ONE_VALUE_PER_BALLOT, detail));
            }
        }
        Ok(())
    }

    /// A node takes this for chosen.
    pub(super) fn on_learned(&self, slot: Slot, body: &Payload) -> Result<(), Violation> {
        let what = match self.chosen.get(&slot) {
            Some((_, chosen)) if same(chosen, body) => return Ok(()),
            Some((ballot, _)) => format!("what was chosen there, under ballot {ballot}, is something else"),
            None => "nothing was chosen there".into(),
        };
        Err(Violation::new(property::LEARNED_IS_CHOSEN, format!("slot {slot} is learned; {what}")))
    }
}

fn forgot(node: usize, before: Promised, now: Promised) -> Violation {
    let text = |Promised { slot, ballot }: Promised| format!("ballot {ballot} (from slot {slot} on)");
    Violation::new(
        property::PROMISES_KEPT,
        format!("n{node} had promised {}, and now only {}", text(before), text(now)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Result<(), &'static str>;

    fn payload(text: &'static str) -> Payload {
        bytes::Bytes::from_static(text.as_bytes()).into()
    }

    /// A node votes in slot 1, and that is durable.
    fn vote(acceptors: &mut Acceptors, node: usize, ballot: u64, text: &'static str) -> Seen {
        let body = payload(text);
        let voted = acceptors.on_vote(node, Lsn(1), &Vote { slot: Slot(1), ballot, body: &body });
        voted.and_then(|()| acceptors.on_durable(node, Lsn(1))).map_err(|violation| violation.property)
    }

    fn learned(acceptors: &Acceptors, text: &'static str) -> Seen {
        acceptors.on_learned(Slot(1), &payload(text)).map_err(|violation| violation.property)
    }

    fn promised(ballot: u64) -> Promised {
        Promised { slot: Slot(1), ballot }
    }

    #[test]
    fn a_quorum_of_durable_votes_chooses() {
        let mut acceptors = Acceptors::new(3, 2);
        assert_eq!(vote(&mut acceptors, 0, 5, "bob"), Ok(()));
        assert_eq!(learned(&acceptors, "bob"), Err(property::LEARNED_IS_CHOSEN), "one vote");
        let body = payload("bob");
        let pending = acceptors.on_vote(1, Lsn(7), &Vote { slot: Slot(1), ballot: 5, body: &body });
        assert_eq!((pending, learned(&acceptors, "bob")), (Ok(()), Err(property::LEARNED_IS_CHOSEN)));
        assert_eq!(acceptors.on_durable(1, Lsn(6)), Ok(()));
        assert_eq!(learned(&acceptors, "bob"), Err(property::LEARNED_IS_CHOSEN), "not durable yet");
        assert_eq!(acceptors.on_durable(1, Lsn(7)), Ok(()));
        assert_eq!(
            (learned(&acceptors, "bob"), learned(&acceptors, "tom")),
            (Ok(()), Err(property::LEARNED_IS_CHOSEN))
        );
    }

    #[test]
    fn votes_under_two_ballots_are_no_quorum() {
        let mut acceptors = Acceptors::new(3, 2);
        assert_eq!((vote(&mut acceptors, 0, 5, "bob"), vote(&mut acceptors, 1, 6, "bob")), (Ok(()), Ok(())));
        assert_eq!(learned(&acceptors, "bob"), Err(property::LEARNED_IS_CHOSEN));
    }

    #[test]
    fn a_second_choice_is_seen() {
        let mut acceptors = Acceptors::new(3, 2);
        assert_eq!((vote(&mut acceptors, 0, 5, "bob"), vote(&mut acceptors, 1, 6, "tom")), (Ok(()), Ok(())));
        assert_eq!(vote(&mut acceptors, 2, 6, "tom"), Ok(()), "bob was not chosen");
        assert_eq!(vote(&mut acceptors, 1, 5, "bob"), Err(property::CHOSEN_ONCE), "a lower ballot, late");
        let mut acceptors = Acceptors::new(3, 2);
        assert_eq!((vote(&mut acceptors, 0, 5, "bob"), vote(&mut acceptors, 1, 5, "bob")), (Ok(()), Ok(())));
        assert_eq!(vote(&mut acceptors, 2, 6, "tom"), Err(property::CHOSEN_ONCE), "no quorum needed for that");
    }

    #[test]
    fn two_values_under_a_ballot_are_seen() {
        let mut acceptors = Acceptors::new(5, 3);
        assert_eq!(vote(&mut acceptors, 0, 5, "bob"), Ok(()));
        assert_eq!(vote(&mut acceptors, 1, 5, "tom"), Err(property::ONE_VALUE_PER_BALLOT));
    }

    #[test]
    fn a_broken_promise_is_seen() {
        let mut acceptors = Acceptors::new(3, 2);
        acceptors.on_promise(0, promised(9));
        assert_eq!(vote(&mut acceptors, 0, 8, "bob"), Err(property::PROMISES_KEPT));
        assert_eq!(vote(&mut acceptors, 0, 9, "bob"), Ok(()));
        let mut observe = |ballot| acceptors.observe(0, promised(ballot)).map_err(|violation| violation.property);
        assert_eq!(observe(8), Err(property::PROMISES_KEPT), "it has accepted 9");
        assert_eq!((observe(10), observe(9)), (Ok(()), Err(property::PROMISES_KEPT)));
        acceptors.on_promise(1, Promised { slot: Slot::ZERO, ballot: 9 });
        assert_eq!(vote(&mut acceptors, 1, 8, "bob"), Err(property::PROMISES_KEPT), "for all slots");
    }

    #[test]
    fn what_is_forgotten_in_a_crash_is_seen() {
        let mut acceptors = Acceptors::new(3, 2);
        assert_eq!(vote(&mut acceptors, 0, 9, "bob"), Ok(()));
        acceptors.on_promise(0, promised(9));
        let (bob, tom) = (payload("bob"), payload("tom"));
        let mut restart = |ballot, accepted: Option<(u64, &Payload)>| {
            let votes = std::iter::empty();
            let restarted = acceptors.on_restart(0, votes, promised(ballot), Slot::ZERO, |_| accepted);
            restarted.map_err(|violation| violation.property)
        };
        assert_eq!(restart(9, Some((9, &bob))), Ok(()));
        assert_eq!(restart(8, Some((9, &bob))), Err(property::PROMISES_KEPT));
        assert_eq!(restart(9, None), Err(property::PROMISES_KEPT));
        assert_eq!(restart(9, Some((8, &bob))), Err(property::PROMISES_KEPT));
        assert_eq!(restart(9, Some((9, &tom))), Err(property::ONE_VALUE_PER_BALLOT));
        let decided = Promised { slot: Slot(2), ballot: 0 };
        assert_eq!(acceptors.on_restart(0, std::iter::empty(), decided, Slot(1), |_| None), Ok(()), "it is settled");
    }

    #[test]
    fn a_vote_that_survives_a_crash_counts() {
        let mut acceptors = Acceptors::new(3, 2);
        let body = payload("bob");
        let pending = Vote { slot: Slot(1), ballot: 9, body: &body };
        assert_eq!((acceptors.on_vote(0, Lsn(1), &pending), acceptors.on_vote(1, Lsn(1), &pending)), (Ok(()), Ok(())));
        for node in [0, 1] {
            let found = std::iter::once(pending);
            assert_eq!(acceptors.on_restart(node, found, promised(9), Slot::ZERO, |_| Some((9, &body))), Ok(()));
        }
        assert_eq!(learned(&acceptors, "bob"), Ok(()));
    }
}
