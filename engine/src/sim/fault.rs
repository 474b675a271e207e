//! What can go wrong, by name. A seed draws a strength for each; `--without` switches one off.

use std::fmt;

/// How strongly a fault was drawn: zero is off, and what the rest means is the fault's own.
pub type Strength = u32;

/// Declares the faults with their names and purposes, once.
macro_rules! faults {
    ($($variant:ident = $name:literal: $purpose:literal,)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = $purpose] $variant,)+
        }

        impl Fault {
            /// All of them, in the order in which they are counted and printed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// As written after `--without`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it does, in one line.
            pub const fn purpose(self) -> &'static str {
                match self { $(Self::$variant => $purpose,)+ }
            }
        }
    };
}

faults! {
    Loss = "loss": "a frame is lost",
    Duplication = "duplication": "a frame comes twice",
    Reordering = "reordering": "a frame is overtaken by later ones",
    Delay = "delay": "a frame takes far longer than usual",
    Bandwidth = "bandwidth": "frames queue for a slow link, and what its queue cannot hold is dropped",
    Clog = "clog": "one link holds its frames until it is unclogged; clogs are lifted in another order",
    Partition = "partition": "two groups of nodes do not hear each other",
    OneWay = "one-way": "a node is not heard by another, or by anyone, but hears",
    Bridge = "bridge": "two groups share one node and nothing else",
    Pause = "pause": "a node stops for a while; what arrives waits for it",
    SlowNode = "slow-node": "a node needs time for each turn",
    Crash = "crash": "a node stops and comes back with what was durable",
    Blackout = "blackout": "all nodes crash at once",
    TornTail = "torn-tail": "after a crash a part of the unsynced journal is there, cut at some byte",
    SlowDisk = "slow-disk": "a sync takes long",
    DiskOrder = "disk-order": "syncs complete out of order",
    DiskFailure = "disk-failure": "a sync fails, and the node stops",
    Rot = "rot": "a durable record is damaged, so the node can never come back",
    Drift = "drift": "nodes' clocks run at different rates",
    EarlyTimeout = "early-timeout": "a node's clock leaps, so its timeouts come early",
    Transfer = "transfer": "leadership is to be handed over",
    TinyWindow = "tiny-window": "few slots may be in flight",
    Snapshots = "snapshots": "the state machine is snapshot every few slots, and sent in small chunks",
    SingleCommand = "single-command": "every batch has one command",
    ClientAway = "client-away": "a client hears and says nothing for a while, and comes back",
    ClientDuplicate = "client-duplicate": "a client sends a batch twice, to whomever",
    ShortReign = "short-reign": "a new leader is silenced, or crashes, before it has told everyone",
    Overwrite = "overwrite": "a disk stalls as a node overwrites what is still being synced; once it is counted, the node crashes",
    AddLearner = "add-learner": "a node that is no member learns from now on",
    Promote = "promote": "a learner votes from now on",
    Remove = "remove": "a member leaves, as often as not the leader",
    Replace = "replace": "others vote, by way of a joint configuration",
    Deposed = "deposed": "a leader hands over or is paused, and then hears clients but no other node; not if reads go through the log",
}

impl Fault {
    /// Those that change who is a member.
    pub(super) const MEMBERSHIP: [Self; 4] = [Self::AddLearner, Self::Promote, Self::Remove, Self::Replace];

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A number for each fault: its strength in a scenario, or how often it was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerFault<T>([T; Fault::COUNT]);

impl<T: Copy + Default> Default for PerFault<T> {
    fn default() -> Self {
        Self([T::default(); Fault::COUNT])
    }
}

impl<T> std::ops::Index<Fault> for PerFault<T> {
    type Output = T;
    fn index(&self, fault: Fault) -> &T {
        &self.0[fault as usize]
    }
}

impl<T> std::ops::IndexMut<Fault> for PerFault<T> {
    fn index_mut(&mut self, fault: Fault) -> &mut T {
        &mut self.0[fault as usize]
    }
}

/// How often each fault was injected.
pub type Injected = PerFault<u64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (at, &fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert_eq!(fault as usize, at);
        }
    }
}
