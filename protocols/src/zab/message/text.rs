//! A message as one line, for traces and scripts.

use std::fmt;

use super::{Message, Point};

/// One line, for traces and scripts.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut point = |name, p: Point| write!(f, "{name} epoch={} {}@{}", p.epoch, p.slot, p.zxid);
        match *self {
            Self::Notification(n) => {
                write!(f, "Notification round={} {:?}", n.round, n.standing)?;
                match n.vote {
                    Some(vote) => write!(f, " vote={} ({} {})", vote.id, vote.epoch, vote.zxid),
                    None => write!(f, " vote=none"),
                }
            }
            Self::FollowerInfo { accepted, .. } => write!(f, "FollowerInfo accepted={accepted}"),
            Self::LeaderInfo { epoch, .. } => write!(f, "LeaderInfo epoch={epoch}"),
            Self::AckEpoch(a) => {
                let promised = if a.promised { "" } else { " to another" };
                write!(f, "AckEpoch epoch={} current={} last={}{promised}", a.epoch, a.current, a.last)
            }
            Self::Sync(s) => {
                let kind = if s.truncate { "Trunc" } else { "Diff" };
                write!(f, "{kind} epoch={} {}@{}", s.epoch, s.slot, s.zxid)
            }
            Self::Chunk(c) => {
                write!(f, "Snap epoch={} {}@{} offset={} total={}", c.epoch, c.slot, c.zxid, c.offset, c.total)
            }
            Self::Received { epoch, slot, offset, .. } => {
                write!(f, "Received epoch={epoch} snapshot={slot} offset={offset}")
            }
            Self::NewLeader(p) => point("NewLeader", p),
            Self::AckNewLeader(p) => point("AckNewLeader", p),
            Self::UpToDate(p) => point("UpToDate", p),
            Self::Propose(p) => write!(f, "Propose epoch={} {}@{} prev={}", p.epoch, p.slot, p.zxid, p.prev),
            Self::Ack(a) => {
                write!(f, "Ack epoch={} {}@{} received={} round={}", a.epoch, a.durable, a.zxid, a.received, a.round)
            }
            Self::Commit { epoch, slot, zxid, trim } => write!(f, "Commit epoch={epoch} {slot}@{zxid} trim={trim}"),
            Self::Ping(p) => {
                write!(f, "Ping epoch={} last={}@{} commit={} trim={}", p.epoch, p.last, p.zxid, p.commit, p.trim)?;
                write!(f, " round={}", p.round)
            }
            Self::SyncRequest { epoch, number, .. } => write!(f, "SyncRequest epoch={epoch} number={number}"),
            Self::Synced { epoch, number, slot, .. } => write!(f, "Synced epoch={epoch} number={number} at={slot}"),
        }
    }
}
