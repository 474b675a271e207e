//! Leadership on its way to another node (thesis, section 3.10): clients wait until the target has taken over, or has
//! had its time.

use crate::wire::{Nanos, NodeId};

/// A leader's handover, if one is under way. It dies with the leadership: there is no flag that could be left behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover(Option<UnderWay>);

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    target: NodeId,
    /// When it is given up and clients are served again.
    until: Nanos,
    /// The target was told since the last heartbeat.
    told: bool,
}

impl Handover {
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Hands over to `target`, in place of whoever it was, if that was another. Says whether it was.
    pub(crate) fn begin(&mut self, target: NodeId, until: Nanos) -> bool {
        let news = self.0.is_none_or(|under_way| under_way.target != target);
        if news {
            self.0 = Some(UnderWay { target, until, told: false });
        }
        news
    }

    /// Gives up a target that has had its time.
    pub(crate) fn expire(&mut self, now: Nanos) {
        self.0.take_if(|under_way| now >= under_way.until);
    }

    /// A heartbeat: the target is told again, since frames get lost.
    pub(crate) fn on_heartbeat(&mut self) {
        if let Some(under_way) = &mut self.0 {
            under_way.told = false;
        }
    }

    /// Gives up a target that `stays` says no to.
    pub(crate) fn retain(&mut self, stays: impl FnOnce(NodeId) -> bool) {
        self.0.take_if(|under_way| !stays(under_way.target));
    }

    /// When it is given up; never if none is under way.
    pub(crate) fn until(&self) -> Nanos {
        self.0.map_or(Nanos::NEVER, |under_way| under_way.until)
    }

    /// Whom to tell now: the target, once it is `ready`, and has not been told since the last heartbeat.
    pub(crate) fn tell(&mut self, ready: impl FnOnce(NodeId) -> bool) -> Option<NodeId> {
        let under_way = self.0.as_mut().filter(|under_way| !under_way.told && ready(under_way.target))?;
        under_way.told = true;
        Some(under_way.target)
    }
}
