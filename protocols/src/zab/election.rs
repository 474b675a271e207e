//! Fast leader election (report, section 4.1; `ZooKeeper`'s `FastLeaderElection`): the voters tell each
//! other whom they would follow until a quorum agrees.
//!
//! It only proposes a leader, and wisely: the one whose history is the latest of a quorum. Nothing
//! breaks if two nodes win; the phases that follow see to that.
//!
//! `ZooKeeper`'s nodes have connections, which work both ways or not at all. Here a node says whom it
//! has heard of late, and the word of one that does not hear this node counts for nothing. And nobody takes over
//! a vote for a node that it has no connection with, or that has none with a quorum: else all would elect, again and
//! again, a node with the longest history that is deaf, or cut off from all but one, which praises it.

use super::follower::Follower;
use super::leader::Leader;
use super::message::{Notification, Standing, Vote};
use super::replica::Replica;
use super::{State, Zab};
use crate::io::Outbox;
use crate::mutant::Mutant;
use crate::quorum;
use crate::wire::{Nanos, NodeId, PeerSet};

#[derive(Clone, Debug)]
pub(super) struct Election {
    /// By node id: the last word of each voter.
    words: Vec<Option<Word>>,
    /// Those with connections to a quorum, and to this node.
    electable: PeerSet,
    /// Since when a quorum has agreed on this node's vote. A better one may still be under way.
    agreed_at: Option<Nanos>,
    /// When everyone is told again.
    repeat_at: Nanos,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    round: u64,
    standing: Standing,
    vote: Vote,
}

impl Election {
    /// One that nobody has said anything in. Its first deadline has passed.
    pub(super) fn new() -> Self {
        Self {
            words: vec![None; PeerSet::CAPACITY],
            electable: PeerSet::EMPTY,
            agreed_at: None,
            repeat_at: Nanos::ZERO,
        }
    }

    pub(super) fn deadline(&self, replica: &Replica) -> Nanos {
        self.repeat_at.min(self.agreed_at.map_or(Nanos::NEVER, |at| at.later(replica.heartbeat)))
    }

    /// Notes whether `from` could lead, as far as connections go.
    fn connect(&mut self, replica: &Replica, from: NodeId, notification: &Notification) {
        let reaches = quorum::is_majority(notification.connected.with(from), replica.voters);
        let is_electable = reaches && notification.hears.contains(replica.id);
        self.electable = if is_electable { self.electable.with(from) } else { self.electable.without(from) };
    }

    fn may_lead(&self, replica: &Replica, id: NodeId, now: Nanos) -> bool {
        id == replica.id || (self.electable.contains(id) && replica.hears(now).contains(id))
    }

    /// A vote for a node that can no longer lead, or is not heard any more, is taken back.
    fn reconsider(&mut self, replica: &mut Replica, now: Nanos) {
        if replica.vote.is_some_and(|vote| !self.may_lead(replica, vote.id, now)) {
            replica.vote = replica.own_vote();
            (replica.notify, self.agreed_at) = (replica.voters.without(replica.id), None);
        }
    }

    fn said(&self, voters: PeerSet, like: impl Fn(&Word) -> bool) -> PeerSet {
        voters.iter().filter(|id| self.words[id.0 as usize].as_ref().is_some_and(&like)).collect()
    }

    /// A leader that says so itself, and that a quorum follows: this node comes late (report, section
    /// 4.1: notifications of nodes that do not look).
    ///
    /// This node counts as one of them, since it will be if it may vote. `ZooKeeper` waits for a quorum of others,
    /// and so for ever if the leader's followers hear the leader and not this node.
    fn established(&self, replica: &Replica) -> Option<Word> {
        let others = replica.voters.without(replica.id);
        let this = if replica.votes() { PeerSet::EMPTY.with(replica.id) } else { PeerSet::EMPTY };
        let leaders = others.iter().filter_map(|id| self.words[id.0 as usize].filter(|word| word.vote.id == id));
        leaders.filter(|word| word.standing == Standing::Leading).find(|leader| {
            let follows = |word: &Word| word.standing != Standing::Looking && word.vote.id == leader.vote.id;
            quorum::is_majority(self.said(others, follows) | this, replica.voters)
        })
    }

    /// Whether a quorum votes as this node does, in its round.
    fn agrees(&self, replica: &Replica) -> bool {
        let Some(vote) = replica.vote.filter(|_| replica.votes()) else { return false };
        let like = |word: &Word| word.round == replica.round && word.vote.id == vote.id;
        quorum::is_majority(self.said(replica.voters.without(replica.id), like).with(replica.id), replica.voters)
    }
}

impl Zab {
    /// Looks for a leader, in a new round.
    pub(super) fn look(&mut self, now: Nanos) {
        self.replica.round += 1;
        self.replica.vote = self.replica.own_vote();
        self.state = State::Looking(Election { repeat_at: now.later(self.replica.heartbeat), ..Election::new() });
        self.replica.notify = self.replica.voters.without(self.replica.id);
    }

    pub(super) fn on_notification(&mut self, now: Nanos, from: NodeId, notification: &Notification) {
        let connected = notification.hears.contains(self.replica.id);
        let news = self.replica.hear(from, now, connected);
        let looks = notification.standing == Standing::Looking;
        let State::Looking(election) = &mut self.state else {
            if looks {
                self.replica.notify = self.replica.notify.with(from);
                self.on_lost_leader(now, from, notification.round);
            }
            return;
        };
        let replica = &mut self.replica;
        if news || !connected {
            replica.notify = replica.notify.with(from);
        }
        election.connect(replica, from, notification);
        election.reconsider(replica, now);
        let Some(vote) = notification
            .vote
            .filter(|vote| connected && replica.voters.contains(from) && replica.voters.contains(vote.id))
        else {
            return;
        };
        let Notification { round, standing, .. } = *notification;
        if looks && round < replica.round {
            // It is behind, and will catch up with what it is told.
            replica.notify = replica.notify.with(from);
            return;
        }
        let all = replica.voters.without(replica.id);
        let may_lead = election.may_lead(replica, vote.id, now);
        if looks && round > replica.round {
            replica.round = round;
            let takes = |own: Vote| may_lead && replica.prefers(vote, own);
            replica.vote = replica.own_vote().map(|own| if takes(own) { vote } else { own });
            (replica.notify, election.agreed_at) = (all, None);
        } else if looks && may_lead && replica.vote.is_some_and(|own| replica.prefers(vote, own)) {
            replica.vote = Some(vote);
            (replica.notify, election.agreed_at) = (all, None);
        }
        election.words[from.0 as usize] = Some(Word { round, standing, vote });
        if let Some(leader) = election.established(replica) {
            replica.round = leader.round;
            self.follow(now, leader.vote);
        } else if !election.agrees(replica) {
            election.agreed_at = None;
        } else if election.agreed_at.is_none() {
            election.agreed_at = Some(now);
        }
    }

    /// Says it all again, or ends the election.
    pub(super) fn on_election_timeout(&mut self, now: Nanos, out: &mut Outbox) {
        let State::Looking(election) = &mut self.state else { return };
        let replica = &mut self.replica;
        if replica.round == 0 {
            self.look(now);
            return self.on_election_timeout(now, out);
        }
        election.reconsider(replica, now);
        if election.agreed_at.is_none() && election.agrees(replica) {
            election.agreed_at = Some(now);
        }
        if election.agreed_at.is_some_and(|at| now >= at.later(replica.heartbeat)) {
            let Some(vote) = replica.vote else { return };
            if vote.id == replica.id {
                self.state = State::Leading(Leader::new(&mut self.replica, now, out));
            } else {
                self.follow(now, vote);
            }
        } else if now >= election.repeat_at {
            election.repeat_at = now.later(replica.heartbeat);
            replica.notify = replica.voters.without(replica.id);
        }
    }

    fn follow(&mut self, now: Nanos, vote: Vote) {
        self.replica.vote = Some(vote);
        self.state = State::Following(Follower::new(&mut self.replica, vote.id, now));
    }

    /// A node looks that this one follows: it has given up leading. One from before it led is of this
    /// node's own round.
    fn on_lost_leader(&mut self, now: Nanos, from: NodeId, round: u64) {
        if matches!(&self.state, State::Following(follower) if follower.leader == from) && round > self.replica.round {
            self.look(now);
        }
    }
}

impl Replica {
    /// Whether a vote is greater than the one that this node has.
    fn prefers(&self, vote: Vote, own: Vote) -> bool {
        if self.mutant.is(Mutant::Z7) {
            return (vote.epoch, vote.zxid) > (own.epoch, own.zxid);
        }
        self.turned(vote) > self.turned(own)
    }

    /// The vote with ids turned so that whoever is to lead first has the highest. Any order of ids will do that all nodes
    /// have: `ZooKeeper`'s are the operator's choice.
    fn turned(&self, vote: Vote) -> Vote {
        let Some(first) = self.first_leader else { return vote };
        let most = PeerSet::CAPACITY as u32;
        Vote { id: NodeId((vote.id.0 + most - 1 - first.0) % most), ..vote }
    }

    /// A vote for this node itself.
    fn own_vote(&self) -> Option<Vote> {
        self.votes().then(|| Vote { epoch: self.current, zxid: self.last_zxid(), id: self.id })
    }
}
