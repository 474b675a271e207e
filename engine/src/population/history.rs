//! Whom a node has an update from, and whom it sent it to, where its partners depend on that.

use crate::spec::PartnerChoice;

/// What nodes remember.
#[derive(Clone, Debug)]
pub(super) enum History {
    /// Nothing: partners do not depend on it.
    Nothing,
    /// From whom each has the update; itself, if from nobody.
    Senders(Vec<u32>),
    /// To whom each sent it.
    Sent(Vec<Vec<u32>>),
}

impl History {
    pub(super) fn new(nodes: usize, partners: PartnerChoice) -> Self {
        match partners {
            PartnerChoice::NotSender => Self::Senders((0..nodes as u32).collect()),
            PartnerChoice::NotSent => Self::Sent(vec![Vec::new(); nodes]),
            _ => Self::Nothing,
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Nothing => {}
            Self::Senders(senders) => (0..).zip(senders).for_each(|(node, sender)| *sender = node),
            Self::Sent(sent) => sent.iter_mut().for_each(Vec::clear),
        }
    }

    pub(super) fn forget(&mut self, node: u32) {
        match self {
            Self::Nothing => {}
            Self::Senders(senders) => senders[node as usize] = node,
            Self::Sent(sent) => sent[node as usize].clear(),
        }
    }

    /// Whether `node` would rather not choose that one.
    #[inline]
    pub(super) fn avoids(&self, node: u32, partner: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Senders(senders) => senders[node as usize] == partner,
            Self::Sent(sent) => sent[node as usize].contains(&partner),
        }
    }

    /// The update goes from one to the other, who may have it already, or not get it.
    #[inline]
    pub(super) fn note(&mut self, from: u32, to: u32, is_new: bool) {
        match self {
            Self::Nothing => {}
            Self::Senders(senders) => {
                if is_new {
                    senders[to as usize] = from;
                }
            }
            Self::Sent(sent) => {
                let sent = &mut sent[from as usize];
                if !sent.contains(&to) {
                    sent.push(to);
                }
            }
        }
    }
}
