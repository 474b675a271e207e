//! Who leads: at most one in a term, and with everything that was committed before.

use std::collections::BTreeMap;

use quorumbench_protocols::NodeId;

use super::agreement::Chosen;
use super::logs::Logs;
use super::{Violation, property};
use crate::sim::subject::View;

/// Raft's election safety and leader completeness (paper, figure 3).
#[derive(Debug)]
pub struct Elections {
    /// Who leads each term: a node, and how often it had been started.
    leaders: BTreeMap<u64, (usize, u32)>,
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    starts: u32,
    /// The term that it was last seen to lead.
    led: u64,
    /// The last term that it was seen in, in this life.
    term: u64,
    /// The term and the vote that were durable, in any life.
    promised: (u64, Option<NodeId>),
}

impl Elections {
    pub(super) fn new(nodes: usize) -> Self {
        Self { leaders: BTreeMap::new(), nodes: vec![Node::default(); nodes] }
    }

    pub(super) fn observe(
        &mut self,
        node: usize,
        view: &View,
        chosen: &[Chosen],
        logs: &Logs,
    ) -> Result<(), Violation> {
        let seen = &mut self.nodes[node];
        if view.term < seen.term {
            let detail = format!("n{node} went back from term {} to term {}", seen.term, view.term);
            return Err(Violation::new(property::ELECTION_SAFETY, detail));
        }
        seen.term = view.term;
        let (term, vote) = seen.promised;
        if view.term < term || (view.term == term && vote.is_some() && view.voted_for != vote) {
            let name = |vote: Option<NodeId>| vote.map_or_else(|| "nobody".into(), |id| id.to_string());
            let (then, now) = (name(vote), name(view.voted_for));
            let detail =
                format!("n{node} had voted for {then} in term {term}, and has for {now} in term {}", view.term);
            return Err(Violation::new(property::ELECTION_SAFETY, detail));
        }
        if self.crown(node, view)? { complete(node, view.term, chosen, logs) } else { Ok(()) }
    }

    /// At most one leads a term. Whether this node is new in that.
    pub(super) fn crown(&mut self, node: usize, view: &View) -> Result<bool, Violation> {
        let seen = &mut self.nodes[node];
        if !view.leads || seen.led == view.term {
            return Ok(false);
        }
        seen.led = view.term;
        let leader = (node, seen.starts);
        let first = *self.leaders.entry(view.term).or_insert(leader);
        if first != leader {
            let again = if first.0 == node { ", before it crashed" } else { "" };
            let detail = format!("n{node} leads term {}, which n{} led{again}", view.term, first.0);
            return Err(Violation::new(property::ELECTION_SAFETY, detail));
        }
        Ok(true)
    }

    /// Its term and vote are durable: in this term it votes for nobody else.
    pub(super) fn on_promise(&mut self, node: usize, view: &View) {
        self.nodes[node].promised = (view.term, view.voted_for);
    }

    /// It forgets what it did, but for what its journal says; the term that it had told nobody of is
    /// forgotten with good reason.
    pub(super) fn on_restart(&mut self, node: usize) {
        let seen = &mut self.nodes[node];
        *seen = Node { starts: seen.starts + 1, promised: seen.promised, ..Node::default() };
    }

    pub(super) fn leaders(&self) -> usize {
        self.leaders.len()
    }
}

/// A new leader holds the last slot that was committed in an earlier term, in the term in which it was
/// written. By log matching it holds all before it.
fn complete(node: usize, term: u64, chosen: &[Chosen], logs: &Logs) -> Result<(), Violation> {
    let Some(last) = chosen.iter().rposition(|chosen| chosen.committed_in < term) else { return Ok(()) };
    let found = logs.stamp(node, last as u64 + 1);
    if found == Some(chosen[last].stamp) {
        return Ok(());
    }
    let found = found.map_or_else(|| "nothing".into(), |stamp| format!("one of term {stamp}"));
    let detail = format!(
        "n{node} leads term {term} and has {found} in slot {}, where one of term {} was committed in term {}",
        last + 1,
        chosen[last].stamp,
        chosen[last].committed_in
    );
    Err(Violation::new(property::LEADER_COMPLETENESS, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checks::logs::tests::{chosen, grow};

    fn leads(term: u64) -> View {
        View { term, leads: true, ..View::default() }
    }

    #[test]
    fn two_leaders_in_a_term_are_seen() {
        let (mut elections, logs) = (Elections::new(3), Logs::new(3));
        let mut observe = |node, term| elections.observe(node, &leads(term), &[], &logs).map_err(|v| v.property);
        assert_eq!(observe(0, 1), Ok(()));
        assert_eq!(observe(0, 1), Ok(()), "it goes on");
        assert_eq!(observe(1, 2), Ok(()));
        assert_eq!(observe(2, 1), Err(property::ELECTION_SAFETY));
        assert_eq!(elections.leaders(), 2);
    }

    #[test]
    fn a_leader_that_leads_its_term_again_after_a_crash_is_seen() {
        let (mut elections, logs) = (Elections::new(1), Logs::new(1));
        assert_eq!(elections.observe(0, &leads(1), &[], &logs), Ok(()));
        elections.on_restart(0);
        let violation = elections.observe(0, &leads(1), &[], &logs).unwrap_err();
        assert!(violation.detail.ends_with("before it crashed"), "{violation}");
    }

    #[test]
    fn a_term_that_falls_is_seen() {
        let (mut elections, logs) = (Elections::new(1), Logs::new(1));
        assert_eq!(elections.observe(0, &leads(5), &[], &logs), Ok(()));
        let back = View { term: 4, ..View::default() };
        assert_eq!(elections.observe(0, &back, &[], &logs).map_err(|v| v.property), Err(property::ELECTION_SAFETY));
    }

    #[test]
    fn a_vote_that_is_forgotten_or_changed_is_seen() {
        let (mut elections, logs) = (Elections::new(1), Logs::new(1));
        let view = |term, vote| View { term, voted_for: vote, ..View::default() };
        elections.on_promise(0, &view(3, Some(NodeId(1))));
        elections.on_restart(0);
        let mut observe = |view| elections.observe(0, &view, &[], &logs).map_err(|violation| violation.property);
        assert_eq!(observe(view(3, Some(NodeId(1)))), Ok(()));
        assert_eq!(observe(view(3, None)), Err(property::ELECTION_SAFETY));
        assert_eq!(observe(view(3, Some(NodeId(2)))), Err(property::ELECTION_SAFETY));
        assert_eq!(observe(view(4, None)), Ok(()));
        elections.on_restart(0);
        let earlier = elections.observe(0, &view(2, None), &[], &logs).map_err(|violation| violation.property);
        assert_eq!(earlier, Err(property::ELECTION_SAFETY));
    }

    #[test]
    fn a_leader_without_what_was_committed_is_seen() {
        let (mut elections, mut logs) = (Elections::new(2), Logs::new(2));
        let committed = [chosen(1, 1), chosen(1, 1), chosen(3, 3)];
        grow(&mut logs, 0, &[1, 1, 2]);
        grow(&mut logs, 1, &[1]);
        assert_eq!(elections.observe(0, &leads(2), &committed, &logs), Ok(()), "term 3 is none of its concern");
        let lacks = elections.observe(1, &leads(4), &committed, &logs).map_err(|violation| violation.property);
        assert_eq!(lacks, Err(property::LEADER_COMPLETENESS));
        let other = elections.observe(0, &leads(5), &committed, &logs).map_err(|violation| violation.property);
        assert_eq!(other, Err(property::LEADER_COMPLETENESS));
    }
}
