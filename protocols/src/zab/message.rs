//! What ZAB's nodes say to each other, and how it lies in a head's six words.

use super::zxid::Zxid;
use crate::transfer::Part;
use crate::wire::{Frame, Head, LIMIT, Malformed, NodeId, PeerSet, Slot, reject, within_reach};

mod text;

/// A message of ZAB, read from a frame. A transaction's batch stays in the frame.
///
/// Whatever belongs to one connection of a follower names its session. What goes to all followers at
/// once does not: it names the epoch, and a transaction's place, which is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Leader election: how the sender stands, and whom it votes for (report, section 4.1).
    Notification(Notification),
    /// FOLLOWERINFO, the paper's CEPOCH: a follower or observer connects.
    FollowerInfo {
        /// The epoch that it has accepted.
        accepted: u64,
        /// Its name for this connection.
        session: u64,
    },
    /// LEADERINFO, the paper's NEWEPOCH.
    LeaderInfo {
        /// The epoch that the leader proposes.
        epoch: u64,
        /// The follower's connection.
        session: u64,
    },
    /// ACKEPOCH: where the follower stands.
    AckEpoch(AckEpoch),
    /// DIFF or TRUNC: from where on transactions follow.
    Sync(Sync),
    /// SNAP: bytes of a snapshot, in the frame.
    Chunk(Chunk),
    /// How much of a snapshot has arrived.
    Received {
        /// The leader's epoch.
        epoch: u64,
        /// The follower's connection.
        session: u64,
        /// The snapshot's last slot.
        slot: Slot,
        /// Its bytes up to here have arrived.
        offset: u64,
    },
    /// NEWLEADER: the history up to here is the one to begin the epoch with, for this follower.
    NewLeader(Point),
    /// The acknowledgement of NEWLEADER: that history is durable, and so is the epoch.
    AckNewLeader(Point),
    /// UPTODATE, the paper's COMMIT of NEWLEADER: the epoch's leader is established, and so much is
    /// committed.
    UpToDate(Point),
    /// PROPOSAL: a transaction.
    Propose(Propose),
    /// The one acknowledgement of a flush.
    Ack(Ack),
    /// COMMIT: everything up to here.
    Commit {
        /// The leader's epoch.
        epoch: u64,
        /// The last committed slot.
        slot: Slot,
        /// What stands in it.
        zxid: Zxid,
        /// Every member holds everything up to here, durably and committed.
        trim: Slot,
    },
    /// The leader is there, and this is how far what it sent on this channel goes.
    Ping(Ping),
    /// SYNC: up to where must the sender's reads have come?
    SyncRequest {
        /// The leader's epoch.
        epoch: u64,
        /// The follower's connection.
        session: u64,
        /// Which SYNC of this connection it is, from 1 on.
        number: u64,
    },
    /// The answer to a SYNC.
    Synced {
        /// The leader's epoch.
        epoch: u64,
        /// The follower's connection.
        session: u64,
        /// Which SYNC it answers.
        number: u64,
        /// Everything up to here was committed when the SYNC came, by a leader that still led then.
        slot: Slot,
    },
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It leads, or tries to.
    Leading,
    /// It receives everything and never votes.
    Observing,
}

/// Whom a node would follow, and why. Of two votes the greater wins: by epoch, then by transaction,
/// then by id, so that any two votes can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// The candidate's current epoch.
    pub epoch: u64,
    /// The last transaction of its history.
    pub zxid: Zxid,
    /// The candidate.
    pub id: NodeId,
}

/// A node's word in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The election's number: a logical clock.
    pub round: u64,
    /// What the sender is doing.
    pub standing: Standing,
    /// Its vote; an observer has none while it looks.
    pub vote: Option<Vote>,
    /// Whom it has heard of late.
    pub hears: PeerSet,
    /// Who of these have said that they hear it too: a connection is one that works both ways.
    pub connected: PeerSet,
}

/// A follower has accepted the epoch, or had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckEpoch {
    /// The epoch.
    pub epoch: u64,
    /// Its connection.
    pub session: u64,
    /// Its current epoch: the last whose history it has.
    pub current: u64,
    /// The last transaction in its history.
    pub last: Zxid,
    /// It accepted the epoch from this leader; otherwise it counts for nobody else.
    pub promised: bool,
}

/// Up to this place the histories are the same, and what the follower has beyond goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The leader's epoch.
    pub epoch: u64,
    /// The follower's connection.
    pub session: u64,
    /// The last slot in common.
    pub slot: Slot,
    /// What stands in it.
    pub zxid: Zxid,
    /// Whether the follower has to cut something: TRUNC, otherwise DIFF.
    pub truncate: bool,
}

/// A place in the history, said on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The leader's epoch.
    pub epoch: u64,
    /// The follower's connection.
    pub session: u64,
    /// The slot.
    pub slot: Slot,
    /// What stands in it.
    pub zxid: Zxid,
}

/// A part of the leader's snapshot, for a follower that lacks what the leader has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The leader's epoch.
    pub epoch: u64,
    /// The follower's connection.
    pub session: u64,
    /// The last slot in the snapshot.
    pub slot: Slot,
    /// What stood in it.
    pub zxid: Zxid,
    /// Where in the snapshot the frame's bytes belong.
    pub offset: u64,
    /// The snapshot's bytes.
    pub total: u64,
}

/// A transaction on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propose {
    /// The leader's epoch; a transaction that is sent to synchronize may be of an older one.
    pub epoch: u64,
    /// Its place in the history.
    pub slot: Slot,
    /// The transaction.
    pub zxid: Zxid,
    /// The one before it.
    pub prev: Zxid,
}

/// What a follower has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The leader's epoch.
    pub epoch: u64,
    /// Everything up to here is durable.
    pub durable: Slot,
    /// What stands there.
    pub zxid: Zxid,
    /// Everything up to here has arrived.
    pub received: Slot,
    /// The last ping that has.
    pub round: u64,
    /// Of which connection the follower says so.
    pub session: u64,
}

/// How far a channel's stream goes, so that a follower sees what it lost of the stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The leader's epoch.
    pub epoch: u64,
    /// The last slot sent.
    pub last: Slot,
    /// What stands in it.
    pub zxid: Zxid,
    /// The last slot said to be committed.
    pub commit: Slot,
    /// Every member holds everything up to here, durably and committed.
    pub trim: Slot,
    /// Counts the leader's rounds of pings, so that an answer names its question.
    pub round: u64,
    /// NEWLEADER was sent.
    pub new_leader: bool,
    /// UPTODATE was sent.
    pub up_to_date: bool,
}

/// The kind of a record of epochs. `words`: the accepted epoch, of whom ([`NOBODY`] for none), the current
/// epoch, and where the history ends: what was written beyond was cut.
pub const EPOCHS: u8 = 15;
/// The kind of a record of a snapshot. `words`: its slot, what stood there, and, so that the records
/// before it may go, the accepted epoch, of whom, and the current epoch.
pub const SNAPSHOT: u8 = 16;
/// In place of a node's id: none.
pub const NOBODY: u64 = u32::MAX as u64;

const NOTIFICATION: u8 = 1;
const FOLLOWER_INFO: u8 = 2;
const LEADER_INFO: u8 = 3;
const ACK_EPOCH: u8 = 4;
const SYNC: u8 = 5;
const CHUNK: u8 = 6;
const RECEIVED: u8 = 7;
const NEW_LEADER: u8 = 8;
const ACK_NEW_LEADER: u8 = 9;
const UP_TO_DATE: u8 = 10;
const PROPOSE: u8 = 11;
const ACK: u8 = 12;
const COMMIT: u8 = 13;
const PING: u8 = 14;
const SYNC_REQUEST: u8 = 17;
const SYNCED: u8 = 18;

/// Epochs stay below this: they are the high half of a number.
pub(super) const EPOCHS_END: u64 = LIMIT >> 32;

impl Chunk {
    pub(super) fn part(&self) -> Part {
        Part { slot: self.slot, stamp: self.zxid.0, offset: self.offset, total: self.total }
    }
}

impl Standing {
    const ALL: [Self; 4] = [Self::Looking, Self::Following, Self::Leading, Self::Observing];
}

impl Message {
    /// Reads a frame, and checks all that can be checked without knowing the receiver's state.
    ///
    /// # Errors
    /// If no correct node in any state sends such a frame.
    pub fn read(frame: &Frame) -> Result<Self, Malformed> {
        let head = &frame.head;
        let malformed = |what| Malformed { kind: head.kind, what };
        let message = Self::of_words(head).ok_or(malformed("not a message of ZAB"))?;
        message.check(frame).map_err(malformed)?;
        Ok(message)
    }

    fn of_words(head: &Head) -> Option<Self> {
        let words = head.words;
        let [epoch, session, ..] = words;
        let (flag, slot, zxid) =
            (|bit: u8| head.flags & bit != 0, |at: usize| Slot(words[at]), |at: usize| Zxid(words[at]));
        let point = Point { epoch, session, slot: slot(2), zxid: zxid(3) };
        Some(match head.kind {
            NOTIFICATION => Self::Notification(Notification {
                round: words[0],
                standing: *Standing::ALL.get(usize::from(head.flags))?,
                vote: (words[3] != NOBODY).then(|| Vote {
                    epoch: words[1],
                    zxid: zxid(2),
                    id: NodeId(u32::try_from(words[3]).unwrap_or(u32::MAX)),
                }),
                hears: PeerSet::from_bits(words[5]),
                connected: PeerSet::from_bits(words[4]),
            }),
            FOLLOWER_INFO => Self::FollowerInfo { accepted: epoch, session },
            LEADER_INFO => Self::LeaderInfo { epoch, session },
            ACK_EPOCH => {
                Self::AckEpoch(AckEpoch { epoch, session, current: words[2], last: zxid(3), promised: flag(1) })
            }
            SYNC => Self::Sync(Sync { epoch, session, slot: slot(2), zxid: zxid(3), truncate: flag(1) }),
            CHUNK => {
                Self::Chunk(Chunk { epoch, session, slot: slot(2), zxid: zxid(3), offset: words[4], total: words[5] })
            }
            RECEIVED => Self::Received { epoch, session, slot: slot(2), offset: words[3] },
            NEW_LEADER => Self::NewLeader(point),
            ACK_NEW_LEADER => Self::AckNewLeader(point),
            UP_TO_DATE => Self::UpToDate(point),
            PROPOSE => Self::Propose(Propose { epoch, slot: slot(1), zxid: zxid(2), prev: zxid(3) }),
            ACK => Self::Ack(Ack {
                epoch,
                durable: slot(1),
                zxid: zxid(2),
                received: slot(3),
                round: words[4],
                session: words[5],
            }),
            COMMIT => Self::Commit { epoch, slot: slot(1), zxid: zxid(2), trim: slot(3) },
            PING => Self::Ping(Ping {
                epoch,
                last: slot(1),
                zxid: zxid(2),
                commit: slot(3),
                trim: slot(4),
                round: words[5],
                new_leader: flag(1),
                up_to_date: flag(2),
            }),
            SYNC_REQUEST => Self::SyncRequest { epoch, session, number: words[2] },
            SYNCED => Self::Synced { epoch, session, number: words[2], slot: slot(3) },
            _ => return None,
        })
    }

    fn check(&self, frame: &Frame) -> Result<(), &'static str> {
        let head = &frame.head;
        let flags = match head.kind {
            NOTIFICATION | PING => 3,
            ACK_EPOCH | SYNC => 1,
            _ => 0,
        };
        let numbers = if head.kind == NOTIFICATION { &head.words[..5] } else { &head.words[..] };
        within_reach(numbers)?;
        frame.check(flags, matches!(head.kind, PROPOSE | CHUNK))?;
        if let Self::Notification(notification) = self {
            return notification.check();
        }
        reject(head.words[0] >= EPOCHS_END - 1, "an epoch beyond reach")?;
        reject(head.words[0] == 0 && head.kind != FOLLOWER_INFO, "nobody leads epoch zero")?;
        reject(self.session() == Some(0), "no connection has number zero")?;
        let place = |slot: Slot, zxid: Zxid| {
            reject((slot == Slot::ZERO) != (zxid == Zxid::ZERO), "only slot zero holds nothing")?;
            reject(
                (zxid.epoch() == 0 || zxid.counter() == 0) && zxid != Zxid::ZERO,
                "no transaction is of epoch zero, or its zeroth",
            )?;
            reject(zxid.epoch() > head.words[0], "a transaction of a later epoch than its leader's")
        };
        match *self {
            Self::AckEpoch(ack) => {
                reject(ack.current > ack.epoch, "a history of a later epoch than was accepted")?;
                reject(ack.last.epoch() > ack.epoch, "a transaction of a later epoch than was accepted")
            }
            Self::Sync(Sync { slot, zxid, .. })
            | Self::NewLeader(Point { slot, zxid, .. })
            | Self::AckNewLeader(Point { slot, zxid, .. })
            | Self::UpToDate(Point { slot, zxid, .. })
            | Self::Commit { slot, zxid, .. } => place(slot, zxid),
            Self::Ack(ack) => {
                reject(ack.durable > ack.received, "durable before it was received")?;
                place(ack.durable, ack.zxid)
            }
            Self::Ping(ping) => {
                reject(ping.commit > ping.last, "committed before it was sent")?;
                place(ping.last, ping.zxid)
            }
            Self::Propose(propose) => {
                reject(propose.slot == Slot::ZERO, "slot zero cannot be written")?;
                place(propose.slot, propose.zxid)?;
                reject(propose.prev >= propose.zxid, "transactions fall along the history")?;
                place(propose.slot - 1, propose.prev)
            }
            Self::Chunk(chunk) => {
                chunk.part().check(head.body_len.into())?;
                place(chunk.slot, chunk.zxid)
            }
            Self::SyncRequest { number, .. } | Self::Synced { number, .. } => {
                reject(number == 0, "SYNCs count from one")
            }
            _ => Ok(()),
        }
    }

    /// The connection that it belongs to, if it belongs to one.
    fn session(&self) -> Option<u64> {
        match *self {
            Self::FollowerInfo { session, .. }
            | Self::LeaderInfo { session, .. }
            | Self::AckEpoch(AckEpoch { session, .. })
            | Self::Sync(Sync { session, .. })
            | Self::Chunk(Chunk { session, .. })
            | Self::Received { session, .. }
            | Self::NewLeader(Point { session, .. })
            | Self::AckNewLeader(Point { session, .. })
            | Self::UpToDate(Point { session, .. })
            | Self::SyncRequest { session, .. }
            | Self::Synced { session, .. }
            | Self::Ack(Ack { session, .. }) => Some(session),
            _ => None,
        }
    }

    /// What a follower says to its leader.
    pub(super) const fn is_followers(&self) -> bool {
        matches!(
            self,
            Self::FollowerInfo { .. }
                | Self::AckEpoch(_)
                | Self::AckNewLeader(_)
                | Self::Ack(_)
                | Self::Received { .. }
                | Self::SyncRequest { .. }
        )
    }

    /// The head that says it; group, sender and body's length are the caller's to fill in.
    pub fn head(&self) -> Head {
        let point = |p: Point| [p.epoch, p.session, p.slot.0, p.zxid.0, 0, 0];
        let (kind, flags, words) = match *self {
            Self::Notification(n) => {
                let (epoch, zxid, id) =
                    n.vote.map_or((0, 0, NOBODY), |vote| (vote.epoch, vote.zxid.0, u64::from(vote.id.0)));
                (NOTIFICATION, n.standing as u8, [n.round, epoch, zxid, id, n.connected.bits(), n.hears.bits()])
            }
            Self::FollowerInfo { accepted, session } => (FOLLOWER_INFO, 0, [accepted, session, 0, 0, 0, 0]),
            Self::LeaderInfo { epoch, session } => (LEADER_INFO, 0, [epoch, session, 0, 0, 0, 0]),
            Self::AckEpoch(a) => (ACK_EPOCH, u8::from(a.promised), [a.epoch, a.session, a.current, a.last.0, 0, 0]),
            Self::Sync(s) => (SYNC, u8::from(s.truncate), [s.epoch, s.session, s.slot.0, s.zxid.0, 0, 0]),
            Self::Chunk(c) => (CHUNK, 0, [c.epoch, c.session, c.slot.0, c.zxid.0, c.offset, c.total]),
            Self::Received { epoch, session, slot, offset } => (RECEIVED, 0, [epoch, session, slot.0, offset, 0, 0]),
            Self::NewLeader(p) => (NEW_LEADER, 0, point(p)),
            Self::AckNewLeader(p) => (ACK_NEW_LEADER, 0, point(p)),
            Self::UpToDate(p) => (UP_TO_DATE, 0, point(p)),
            Self::Propose(p) => (PROPOSE, 0, [p.epoch, p.slot.0, p.zxid.0, p.prev.0, 0, 0]),
            Self::Ack(a) => (ACK, 0, [a.epoch, a.durable.0, a.zxid.0, a.received.0, a.round, a.session]),
            Self::Commit { epoch, slot, zxid, trim } => (COMMIT, 0, [epoch, slot.0, zxid.0, trim.0, 0, 0]),
            Self::Ping(p) => {
                let flags = u8::from(p.new_leader) | u8::from(p.up_to_date) << 1;
                (PING, flags, [p.epoch, p.last.0, p.zxid.0, p.commit.0, p.trim.0, p.round])
            }
            Self::SyncRequest { epoch, session, number } => (SYNC_REQUEST, 0, [epoch, session, number, 0, 0, 0]),
            Self::Synced { epoch, session, number, slot } => (SYNCED, 0, [epoch, session, number, slot.0, 0, 0]),
        };
        Head { kind, flags, words, ..Head::default() }
    }
}

impl Notification {
    fn check(&self) -> Result<(), &'static str> {
        let Some(vote) = self.vote else {
            return reject(!matches!(self.standing, Standing::Looking), "follows nobody, and does not look");
        };
        reject(vote.epoch >= EPOCHS_END - 1, "an epoch beyond reach")?;
        reject(vote.id.0 as usize >= PeerSet::CAPACITY, "a vote for no replica")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Payload;

    fn read(head: Head) -> Result<Message, Malformed> {
        Message::read(&Frame { head, body: Payload::EMPTY })
    }

    #[test]
    fn what_is_written_is_read() {
        let (epoch, session, slot, zxid) = (7, 99, Slot(5), Zxid::new(6, 3));
        let point = Point { epoch, session, slot, zxid };
        let vote = Vote { epoch: 6, zxid, id: NodeId(2) };
        for message in [
            Message::Notification(Notification {
                round: 4,
                standing: Standing::Leading,
                vote: Some(vote),
                hears: PeerSet::from_bits(u64::MAX),
                connected: PeerSet::from_bits(5),
            }),
            Message::Notification(Notification {
                round: 1,
                standing: Standing::Looking,
                vote: None,
                hears: PeerSet::EMPTY,
                connected: PeerSet::EMPTY,
            }),
            Message::FollowerInfo { accepted: 0, session },
            Message::LeaderInfo { epoch, session },
            Message::AckEpoch(AckEpoch { epoch, session, current: 6, last: zxid, promised: true }),
            Message::Sync(Sync { epoch, session, slot, zxid, truncate: true }),
            Message::Received { epoch, session, slot, offset: 3 },
            Message::NewLeader(point),
            Message::AckNewLeader(point),
            Message::UpToDate(Point { slot: Slot::ZERO, zxid: Zxid::ZERO, ..point }),
            Message::Propose(Propose { epoch, slot, zxid, prev: Zxid::new(6, 2) }),
            Message::Ack(Ack { epoch, durable: slot, zxid, received: Slot(6), round: 8, session }),
            Message::Commit { epoch, slot, zxid, trim: Slot(2) },
            Message::Ping(Ping {
                epoch,
                last: slot,
                zxid,
                commit: Slot(4),
                trim: Slot(3),
                round: 9,
                new_leader: true,
                up_to_date: false,
            }),
            Message::SyncRequest { epoch, session, number: 2 },
            Message::Synced { epoch, session, number: 2, slot },
        ] {
            assert_eq!(read(message.head()), Ok(message));
        }
    }

    #[test]
    fn a_record_is_not_a_message() {
        assert!(read(Head { kind: EPOCHS, words: [1; 6], ..Head::default() }).is_err());
    }

    #[test]
    fn votes_are_totally_ordered() {
        let vote = |epoch, zxid, id| Vote { epoch, zxid: Zxid(zxid), id: NodeId(id) };
        assert!(vote(2, 1, 0) > vote(1, 9, 9), "by epoch");
        assert!(vote(2, 2, 0) > vote(2, 1, 9), "then by transaction");
        assert!(vote(2, 2, 1) > vote(2, 2, 0), "then by id");
    }
}
