//! Changes of membership by the leader: one node at a time (thesis, chapter 4), or to any other set of
//! voters by way of a joint configuration (paper, section 6).

use super::leader::{Leader, write};
use super::membership::Members;
use super::message::Message;
use super::progress::Progress;
use super::replica::Replica;
use crate::io::{Change, DeliveryKind, Outbox};
use crate::mutant::Mutant;
use crate::wire::{Nanos, NodeId, PeerSet, Recipients};

impl Leader {
    /// Writes the new membership, or says why not. One at a time, and none before a slot of this term
    /// is committed: otherwise a change that an earlier leader left behind could come back, and with
    /// it a majority that shares nobody with this one's (Ongaro, *bug in single-server membership
    /// changes*, raft-dev, 2015).
    #[cold]
    pub(super) fn on_reconfigure(
        &mut self,
        replica: &mut Replica,
        now: Nanos,
        change: Change,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if self.hands_over() {
            return Err("leadership is being handed over");
        }
        if !replica.has_committed_in_term() && !replica.mutant.is(Mutant::R2) {
            return Err("nothing of this term is committed");
        }
        if replica.memberships.slot() > replica.committed || !replica.members.outgoing.is_empty() {
            return Err("another change is under way");
        }
        let members = self.changed(replica, change)?;
        self.write_members(replica, now, members, out);
        Ok(())
    }

    fn changed(&self, replica: &Replica, change: Change) -> Result<Members, &'static str> {
        let Members { voters, learners, .. } = replica.members;
        let unless = |wrong, why| if wrong { Err(why) } else { Ok(()) };
        match change {
            Change::AddLearner(id) => {
                unless(id.0 as usize >= PeerSet::CAPACITY, "no id of a member")?;
                unless(replica.members.all().contains(id), "it is a member")?;
                Ok(Members { learners: learners.with(id), ..replica.members })
            }
            Change::Promote(id) => {
                unless(!learners.contains(id), "it is no learner")?;
                unless(!self.has_caught_up(replica, id), "it has not caught up")?;
                Ok(Members { voters: voters.with(id), learners: learners.without(id), ..replica.members })
            }
            Change::Remove(id) => {
                unless(!replica.members.all().contains(id), "it is no member")?;
                unless(voters.without(id).is_empty(), "nobody would vote")?;
                Ok(Members { voters: voters.without(id), learners: learners.without(id), ..replica.members })
            }
            Change::Replace { voters: new } => {
                unless(new.is_empty(), "nobody would vote")?;
                unless(new == voters, "they vote")?;
                let fit = |id| voters.contains(id) || (learners.contains(id) && self.has_caught_up(replica, id));
                unless(!new.iter().all(fit), "a new voter has not caught up")?;
                let learners = new.iter().fold(learners, PeerSet::without);
                Ok(Members { voters: new, outgoing: voters, learners })
            }
        }
    }

    /// It knows that it is a member, needs no snapshot, and is within a window of the log's end, all
    /// durably: as a voter it holds nobody up (thesis, section 4.2.1).
    fn has_caught_up(&self, replica: &Replica, id: NodeId) -> bool {
        let matched = self.matched(replica, id);
        let least = replica.memberships.slot().max(replica.log.trimmed());
        matched >= least && matched + replica.window as u64 >= replica.log.last()
    }

    fn write_members(&mut self, replica: &mut Replica, now: Nanos, members: Members, out: &mut Outbox) {
        let before = replica.peers;
        write(replica, DeliveryKind::Config, &members.bytes().into(), out);
        // Of a node that was here before nothing is known: it may come back with another log.
        for id in replica.peers.iter().filter(|&id| !before.contains(id)) {
            let last = replica.log.last() - 1;
            while self.progress.len() <= id.0 as usize {
                self.progress.push(Progress::new(replica.window, last, now));
            }
            self.progress[id.0 as usize] = Progress::new(replica.window, last, now);
        }
        self.forget_others(replica.peers);
    }

    /// Goes on from a joint configuration once it is committed, whoever wrote it. Says whether this
    /// node still leads: a leader that is no member leads until that is committed, and does not count
    /// itself (thesis, section 4.2.2). The most advanced voter is told to campaign, so that nobody has
    /// to wait for a timeout.
    #[must_use]
    pub(super) fn conclude(&mut self, replica: &mut Replica, now: Nanos, out: &mut Outbox) -> bool {
        let Members { voters, outgoing, learners } = replica.members;
        let settled = outgoing.is_empty() && voters.contains(replica.id);
        if settled || replica.memberships.slot() > replica.committed || !replica.has_committed_in_term() {
            return true;
        }
        if !outgoing.is_empty() {
            self.write_members(replica, now, Members { voters, outgoing: PeerSet::EMPTY, learners }, out);
            return true;
        }
        if let Some(heir) = voters.iter().max_by_key(|&id| self.matched(replica, id)) {
            replica.send(Recipients::One(heir), Message::TimeoutNow { term: replica.term }, out);
        }
        false
    }
}
