//! A message as one line, for traces and scripts.

use std::fmt;

use super::Message;
use crate::io::DeliveryKind;

/// One line, for traces and scripts.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noop = |kind| if kind == DeliveryKind::Noop { " noop" } else { "" };
        match *self {
            Self::Prepare(p) => {
                let transfer = if p.transfer { " transfer" } else { "" };
                write!(f, "Prepare {} from={}{transfer}", p.ballot, p.from)
            }
            Self::Report(r) => write!(f, "Report {} slot={}@{}{}", r.ballot, r.slot, r.accepted, noop(r.kind)),
            Self::Promise(p) => {
                write!(f, "Promise {} decided={} from={} count={}", p.ballot, p.decided, p.from, p.count)
            }
            Self::Accept(a) => {
                write!(f, "Accept {} slot={} decided={} trim={}{}", a.ballot, a.slot, a.decided, a.trim, noop(a.kind))
            }
            Self::Accepted(v) => {
                write!(f, "Accepted {} slots={}..{} round={}", v.ballot, v.first, v.last, v.round)?;
                write!(f, " decided={} durable={}", v.decided, v.durable)
            }
            Self::Decided(d) => {
                write!(f, "Decided {} decided={} trim={} round={}", d.ballot, d.decided, d.trim, d.round)
            }
            Self::Preempted { ballot, led } => {
                write!(f, "Preempted {ballot}{}", if led { " led" } else { "" })
            }
            Self::Learn { from } => write!(f, "Learn from={from}"),
            Self::Learned(l) => {
                write!(f, "Learned slot={}@{} decided={}{}", l.slot, l.stamp, l.decided, noop(l.kind))
            }
            Self::Chunk(c) => {
                write!(f, "Chunk snapshot={}@{} offset={} total={}", c.slot, c.stamp, c.offset, c.total)
            }
            Self::Received { slot, offset } => write!(f, "Received snapshot={slot} offset={offset}"),
            Self::Yield { ballot } => write!(f, "Yield {ballot}"),
        }
    }
}
