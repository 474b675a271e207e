//! A message as one line, for traces and scripts.

use std::fmt;

use super::Message;
use crate::io::DeliveryKind;

/// One line, for traces and scripts.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Append(a) => {
                let kind = match a.kind {
                    DeliveryKind::Noop => " noop",
                    DeliveryKind::Config => " config",
                    _ => "",
                };
                write!(
                    f,
                    "Append term={} slot={}@{} prev={}@{}",
                    a.term,
                    a.slot,
                    a.entry_term,
                    a.slot - 1,
                    a.prev_term
                )?;
                write!(f, " commit={} trim={}{}", a.commit, a.trim, kind)
            }
            Self::Probe(p) => {
                write!(f, "Probe term={} prev={}@{} commit={}", p.term, p.prev, p.prev_term, p.commit)?;
                write!(f, " trim={} round={}", p.trim, p.round)
            }
            Self::Accept(a) => {
                write!(f, "Accept term={} durable={} received={} round={}", a.term, a.durable, a.received, a.round)
            }
            Self::Reject(r) => {
                write!(f, "Reject term={} prev={} hint={}@{}", r.term, r.prev, r.hint, r.hint_term)?;
                write!(f, " from={} round={}", r.hint_first, r.round)
            }
            Self::Chunk(c) => {
                write!(f, "Chunk term={} snapshot={}@{} offset={} total={}", c.term, c.slot, c.stamp, c.offset, c.total)
            }
            Self::Received(r) => write!(f, "Received term={} snapshot={} offset={}", r.term, r.slot, r.offset),
            Self::PreVote(c) => write!(f, "PreVote term={} last={}@{}", c.term, c.last, c.last_term),
            Self::Vote(c) => {
                let transfer = if c.transfer { " transfer" } else { "" };
                write!(f, "Vote term={} last={}@{}{transfer}", c.term, c.last, c.last_term)
            }
            Self::PreGrant { term } => write!(f, "PreGrant term={term}"),
            Self::Grant { term } => write!(f, "Grant term={term}"),
            Self::TimeoutNow { term } => write!(f, "TimeoutNow term={term}"),
            Self::Stale { term } => write!(f, "Stale term={term}"),
        }
    }
}
