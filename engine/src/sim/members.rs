//! Members that come and go, and an atlas of the memberships that may still count: whatever breaks, each
//! of them keeps a majority that can be healed. A demand for progress that nobody could meet proves nothing.

use quorumbench_protocols::{Change, NodeId, PeerSet, Slot};

use super::checks::Violation;
use super::fault::Fault;
use super::replica::Replica;
use super::subject::{Membership, Subject, View};
use super::swarm::pick;
use super::trace::What;
use super::world::World;

/// The memberships by which anything may yet be decided.
#[derive(Debug)]
pub(super) struct Atlas {
    /// The last one that was chosen. Whoever goes by an earlier one lacks what was chosen, and is not elected.
    chosen: Membership,
    /// Those that were written after it, with the term: in a log, in a journal, or on their way.
    open: Vec<(Membership, u64)>,
    /// Changes that were chosen.
    pub(super) changes: u64,
}

impl Atlas {
    /// These vote at the start.
    pub(super) fn new(voters: PeerSet) -> Self {
        Self { chosen: Membership { voters, ..Membership::default() }, open: Vec::new(), changes: 0 }
    }

    /// A node goes by this membership, which was written in a slot that is not chosen yet, in this term.
    fn note(&mut self, members: Membership, stamp: u64) {
        if !self.open.iter().any(|(open, term)| (open.slot, *term) == (members.slot, stamp)) {
            self.open.push((members, stamp));
        }
    }

    /// More slots were chosen: `chosen` says in which term.
    fn settle(&mut self, chosen: impl Fn(Slot) -> Option<u64>) {
        let Self { chosen: last, open, changes } = self;
        open.retain(|(members, term)| {
            let Some(stamp) = chosen(members.slot) else { return true };
            if stamp == *term {
                *changes += 1;
                *last = if members.slot > last.slot { *members } else { *last };
            }
            false
        });
    }

    /// Whether these nodes alone can go on, whichever membership turns out to count.
    pub(super) fn suffices(&self, nodes: PeerSet) -> bool {
        self.electorates().all(|voters| has_majority(voters, nodes))
    }

    /// How many vote at least, whichever membership turns out to count.
    pub(super) fn fewest_voters(&self) -> usize {
        self.electorates().map(PeerSet::len).min().unwrap_or(0)
    }

    /// Each half of each membership.
    fn electorates(&self) -> impl Iterator<Item = PeerSet> {
        let open = self.open.iter().map(|(members, _)| members);
        let members = std::iter::once(&self.chosen).chain(open);
        members.flat_map(|members| [members.voters, members.outgoing]).filter(|voters| !voters.is_empty())
    }
}

fn has_majority(voters: PeerSet, nodes: PeerSet) -> bool {
    2 * voters.iter().filter(|&id| nodes.contains(id)).count() > voters.len()
}

impl<P: Subject> World<P> {
    /// Looks at the membership that `id` goes by after a turn.
    pub(super) fn chart(&mut self, id: NodeId) {
        let Some(node) = &self.replicas[id.0 as usize].node else { return };
        let protocol = &node.protocol().protocol;
        if let Some(members) = protocol.members()
            && self.checks.stamp(members.slot).is_none()
            && let Some(stamp) = protocol.stamp(members.slot).filter(|_| members.slot > Slot::ZERO)
        {
            self.atlas.note(members, stamp);
        }
        self.atlas.settle(|slot| self.checks.stamp(slot));
    }

    /// Nodes whose disks can be read.
    pub(super) fn sound(&self) -> PeerSet {
        self.replicas.iter().filter(|replica| !replica.rotten).map(Replica::id).collect()
    }

    /// An operator asks a node for other members. One that does not lead must refuse.
    pub(super) fn reconfigure(&mut self, id: NodeId, fault: Fault) -> Result<(), Violation> {
        if self.replicas[id.0 as usize].held_until > self.now {
            return Ok(());
        }
        let Some(target) = self.ask(id, fault) else { return Ok(()) };
        let what = What::Fault(fault, target);
        self.turn(id, what, what)?;
        self.count_change(id, fault);
        Ok(())
    }

    /// What a node is to be asked in its next turn. Whom it concerns.
    fn ask(&mut self, id: NodeId, fault: Fault) -> Option<NodeId> {
        let members = self.replicas[id.0 as usize].members()?;
        let (target, change, voters) = self.draw_change(id, fault, members);
        // Who leaves need not catch up first, so most of a cluster would soon be gone.
        let shrinks = voters.len() < members.voters.len() && voters.len() + 1 < self.scenario.cluster.replicas;
        // No operator builds a cluster on nodes that are lost.
        if !has_majority(voters, self.sound()) || (shrinks && self.prng.below(4) > 0) {
            return None;
        }
        self.replicas[id.0 as usize].node.as_mut()?.reconfigure(change);
        Some(target)
    }

    /// It took the turn in which it was asked.
    pub(super) fn count_change(&mut self, id: NodeId, fault: Fault) {
        let node = self.replicas[id.0 as usize].node.as_ref();
        self.stats.injected[fault] += u64::from(node.is_some_and(|node| node.refused().is_none()));
    }

    /// Some candidates are asked in the turn that may make them leaders: before they have committed anything, they must
    /// refuse. Some of those will lead, and not be heard.
    pub(super) fn ask_candidate(&mut self, id: NodeId) -> Option<Fault> {
        let strength = |fault: Fault| u64::from(self.scenario.strengths[fault]);
        let in_four = Fault::MEMBERSHIP.into_iter().map(strength).max().filter(|&in_four| in_four > 0)?;
        let replica = &self.replicas[id.0 as usize];
        let hears_votes = replica.node.as_ref().is_some_and(|node| !node.inbox.is_empty());
        let campaigns = |view: View| view.voted_for == Some(id) && !view.leads;
        if !self.stormy || !hears_votes || !replica.view().is_some_and(campaigns) || self.prng.below(4) >= in_four {
            return None;
        }
        let drawn: Vec<_> = Fault::MEMBERSHIP.into_iter().filter(|&fault| strength(fault) > 0).collect();
        let fault = pick(&mut self.prng, &drawn);
        self.ask(id, fault)?;
        if self.prng.below(4) < u64::from(self.scenario.strengths[Fault::ShortReign]) {
            self.silence(id);
        }
        Some(fault)
    }

    /// A change that may make sense to a node which goes by `members`, and who would vote then.
    fn draw_change(&mut self, asked: NodeId, fault: Fault, members: Membership) -> (NodeId, Change, PeerSet) {
        let (all, voters) = (members.all(), members.voters);
        let strangers = PeerSet::first(self.replicas.len()).iter().filter(|&id| !all.contains(id)).collect();
        match fault {
            Fault::AddLearner => {
                let id = self.one_of(strangers);
                (id, Change::AddLearner(id), voters)
            }
            Fault::Promote => {
                let id = self.one_of(members.learners);
                (id, Change::Promote(id), voters.with(id))
            }
            Fault::Remove => {
                let id = if self.prng.below(2) == 0 { asked } else { self.one_of(all) };
                (id, Change::Remove(id), voters.without(id))
            }
            _ => {
                let drawn = self.prng.next_u64() | self.prng.next_u64();
                let voters = PeerSet::from_bits((voters | members.learners).bits() & drawn);
                (asked, Change::Replace { voters }, voters)
            }
        }
    }

    /// One of these nodes, or any if there is none.
    fn one_of(&mut self, nodes: PeerSet) -> NodeId {
        let at = self.prng.below(nodes.len().max(1) as u64) as usize;
        nodes.iter().nth(at).unwrap_or_else(|| self.anyone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(slot: u64, voters: u64, outgoing: u64) -> Membership {
        let [voters, outgoing] = [voters, outgoing].map(PeerSet::from_bits);
        Membership { slot: Slot(slot), voters, outgoing, learners: PeerSet::EMPTY }
    }

    #[test]
    fn every_membership_that_may_count_must_keep_a_majority() {
        let mut atlas = Atlas::new(PeerSet::first(3));
        let suffices = |atlas: &Atlas, nodes| atlas.suffices(PeerSet::from_bits(nodes));
        assert!(suffices(&atlas, 0b011) && !suffices(&atlas, 0b1001));
        atlas.note(members(5, 0b11100, 0b00111), 2);
        assert!(suffices(&atlas, 0b01110) && !suffices(&atlas, 0b00011) && !suffices(&atlas, 0b11100), "both halves");
        atlas.settle(|_| None);
        assert!(!suffices(&atlas, 0b00011), "nothing was chosen yet");
        atlas.settle(|_| Some(3));
        assert!(suffices(&atlas, 0b00011), "another was chosen in its place");
        atlas.note(members(6, 0b11100, 0), 3);
        atlas.settle(|_| Some(3));
        assert!(!suffices(&atlas, 0b00111) && suffices(&atlas, 0b11000), "it alone counts from now on");
        assert_eq!(atlas.changes, 1);
    }
}
