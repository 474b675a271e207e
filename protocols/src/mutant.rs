//! Bugs that real systems shipped, each behind one switch: a check that never fails proves nothing.
//!
//! Only the feature `mutants` can switch one on. Without it [`Switch::is`] is `false` at compile time,
//! and nothing of this is left in the program.

/// Declares the enum, its list, and what is known of each, once.
macro_rules! mutants {
    ($($variant:ident: $bug:literal, seen in $seen:literal, found as $($property:literal)|+ $(, in $protocol:literal)?;)+) => {
        /// A bug to plant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $bug] $variant,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What it is called in the list of published bugs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// What is wrong, in one line.
            pub const fn bug(self) -> &'static str {
                match self { $(Self::$variant => $bug,)+ }
            }

            /// The protocol that it is planted in.
            pub const fn protocol(self) -> &'static str {
                match self { $(Self::$variant => [$($protocol,)? "raft"][0],)+ }
            }

            /// The system that had it.
            pub const fn seen(self) -> &'static str {
                match self { $(Self::$variant => $seen,)+ }
            }

            /// The properties that it breaks, by their published names: whichever shows first.
            pub const fn breaks(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($property),+],)+ }
            }
        }
    };
}

mutants! {
    R1: "a slot of an old term is committed by counting replicas", seen in "LogCabin #44, goraft #27",
        found as "leader completeness" | "committed slots never change" | "state machine safety";
    R2: "a change of membership before a slot of the current term is committed",
        seen in "Ongaro, raft-dev, 2015; openraft #2051",
        found as "leader completeness" | "committed slots never change" | "state machine safety";
    R3a: "the vote is not recorded with its term", seen in "hashicorp/raft #661",
        found as "election safety";
    R3b: "a vote is given before it is durable", seen in "hashicorp/raft #661",
        found as "election safety" | "log matching";
    R3c: "the vote is recorded a step after its term, and promised with the term", seen in "hashicorp/raft #661",
        found as "election safety" | "log matching";
    R4a: "a follower acknowledges before it is durable", seen in "etcd #14370",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost" | "liveness";
    R4b: "a leader counts itself before it is durable", seen in "etcd #14370",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost";
    R5a: "durability of a truncated slot is credited to what overwrote it", seen in "etcd-io/raft, append ABA race",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost";
    R5b: "what was durable before a truncation still counts after it", seen in "rabbitmq/ra #637",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost" | "liveness";
    R5c: "a sync that completes early vouches for those before it", seen in "openraft #1964",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost"
            | "election safety";
    R6: "a stale append truncates without a conflict", seen in "akka-raft #66, CCF #5991",
        found as "leader completeness" | "committed slots never change";
    R7: "commit up to the own last slot, not the last one matched", seen in "copycat #265, scylla #9965",
        found as "committed slots never change" | "state machine safety" | "leader completeness";
    R8: "a follower acknowledges its own log's end", seen in "CCF #6001",
        found as "leader completeness" | "committed slots never change" | "correct nodes are well-formed";
    R9: "a hint of where logs may meet is taken for a match", seen in "CCF #5325",
        found as "leader completeness" | "committed slots never change" | "liveness";
    R10: "a conflicting tail is not truncated", seen in "Raft paper, figure 2",
        found as "log matching" | "leader completeness" | "committed slots never change";
    R11a: "a snapshot that comes late replaces newer state", seen in "hashicorp/raft #704",
        found as "committed slots never change";
    R11b: "a snapshot keeps a conflicting slot and what follows it", seen in "openraft #1808",
        found as "log matching" | "committed slots never change" | "leader completeness";
    R12a: "a resent command is applied twice", seen in "ratis #915",
        found as "applied at most once" | "replies do not contradict";
    R12b: "sessions are lost in a snapshot", seen in "atomix #982",
        found as "applied at most once" | "replies do not contradict" | "liveness";
    R12c: "sessions expire by each replica's own clock", seen in "thesis, section 6.3",
        found as "applied at most once" | "replies do not contradict" | "liveness";
    R13a: "a deposed leader answers reads without asking a majority", seen in "etcd #741",
        found as "linearizable reads";
    R13b: "a new leader answers reads before its first commit", seen in "etcd #7331",
        found as "linearizable reads";
    R13c: "a read is confirmed by a round sent before it came", seen in "etcd #20418",
        found as "linearizable reads";
    R13d: "a lease is kept through a leadership transfer", seen in "openraft #1747, etcd-io/raft #99",
        found as "linearizable reads";
    R13e: "a lease counts from when answers came, not from what they answer", seen in "our own",
        found as "linearizable reads";
    R14a: "a node of a lower term is ignored for ever", seen in "etcd #8243, openraft #1796",
        found as "liveness";
    R14b: "a leader that hears nobody is kept alive by those that hear it", seen in "openraft #2080",
        found as "liveness";
    R14c: "a leader that hears one other leads on, and that one, a bridge, votes for nobody", seen in "openraft #2080",
        found as "liveness";
    R15a: "a joint configuration is counted over the union, not over each half", seen in "CCF #3948",
        found as "leader completeness" | "committed slots never change" | "state machine safety" | "election safety";
    R15b: "a promoted learner that does not know it yet refuses its vote", seen in "etcd #10998",
        found as "liveness";
    R15c: "a learner campaigns", seen in "redpanda #8495",
        found as "learners only learn";
    R16: "a wiped node comes back blank under its old id", seen in "Vanlightly, standard-raft",
        found as "election safety" | "leader completeness" | "committed slots never change";
    R17: "corruption is taken for a torn tail", seen in "Alagappan et al., FAST 2018",
        found as "election safety" | "leader completeness" | "committed slots never change"
            | "correct nodes are well-formed";
    R18: "an interrupted leadership transfer leaves its flag set", seen in "hashicorp/raft #696",
        found as "liveness";
    Z1: "what a TRUNC cuts is kept in memory", seen in "ZOOKEEPER-2845",
        found as "log matching" | "committed slots never change" | "correct nodes are well-formed"
            | "no panic", in "zab";
    Z2: "NEWLEADER is acknowledged before the history is durable", seen in "ZOOKEEPER-3911, -4646",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost"
            | "primary integrity", in "zab";
    Z3: "the epoch is durable before the history that it vouches for", seen in "ZOOKEEPER-4643",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost"
            | "primary integrity" | "correct nodes are well-formed", in "zab";
    Z4: "proposals race past each other during synchronization", seen in "ZOOKEEPER-4685, -3023, -4785",
        found as "log matching" | "committed slots never change" | "correct nodes are well-formed", in "zab";
    Z5: "a COMMIT before UPTODATE leaves a hole in what is delivered", seen in "ZOOKEEPER-4394, -4925",
        found as "delivery in slot order, once" | "state machine safety", in "zab";
    Z6: "a TRUNC cuts the memory and not the journal", seen in "ZOOKEEPER-4882, -5094",
        found as "log matching" | "committed slots never change" | "leader completeness"
            | "correct nodes are well-formed", in "zab";
    Z7: "votes are not totally ordered", seen in "ZOOKEEPER-1419, -1818",
        found as "liveness", in "zab";
    Z8a: "a transaction is not proposed to those that have only acknowledged the epoch", seen in "ZAB's paper",
        found as "proposals leave no gap", in "zab";
    Z8b: "a follower does not bear a proposal that comes twice", seen in "ZAB's paper",
        found as "log matching" | "correct nodes are well-formed", in "zab";
    Z8c: "the COMMIT of NEWLEADER commits all that was synchronized", seen in "ZAB's paper",
        found as "committed slots never change" | "state machine safety" | "leader completeness"
            | "correct nodes are well-formed" | "primary integrity", in "zab";
    ZO: "an observer is counted in a quorum", seen in "our own",
        found as "leader completeness" | "committed slots never change" | "nothing acknowledged is lost"
            | "primary integrity"
            | "correct nodes are well-formed", in "zab";
    ZT: "a TRUNC cuts a committed transaction", seen in "our own",
        found as "committed slots never change" | "leader completeness" | "log matching"
            | "correct nodes are well-formed", in "zab";
    ZS: "a follower answers a read with what it has, and sends no SYNC", seen in "our own",
        found as "linearizable reads", in "zab";
    ZQ: "a leader answers a SYNC without asking a quorum", seen in "ZOOKEEPER-1675",
        found as "linearizable reads", in "zab";
    ZB: "a leader broadcasts before a quorum has its history", seen in "our own",
        found as "leader completeness" | "committed slots never change" | "state machine safety" | "primary integrity"
            | "correct nodes are well-formed", in "zab";
    Q1: "a vote is given to an older log", seen in "our own",
        found as "leader completeness";
    Q2: "a vote of an older term is counted", seen in "our own",
        found as "election safety" | "log matching";
    Q3: "a slot is delivered as soon as it is durable here", seen in "our own",
        found as "state machine safety" | "delivery in slot order, once";
    Q4: "a restarted node takes all that it wrote for committed", seen in "our own",
        found as "committed slots never change" | "state machine safety" | "leader completeness";
    Q5: "a leader opens its term with no slot of its own", seen in "our own",
        found as "liveness";
    Q6: "the journal before a snapshot is let go before the snapshot is durable", seen in "our own",
        found as "election safety" | "leader completeness" | "committed slots never change";
    P1a: "an acceptor forgets a promise on restart", seen in "our own",
        found as "promises are kept", in "paxos";
    P1b: "an acceptor forgets an accepted value on restart", seen in "our own",
        found as "promises are kept", in "paxos";
    P2: "accepting does not raise the promised ballot", seen in "Brooker 2021, cassandra PR 1327",
        found as "promises are kept" | "only one value is chosen", in "paxos";
    P3: "a ballot is used before it is durable, and again after a restart", seen in "phxpaxos #145",
        found as "one value per ballot" | "only one value is chosen", in "paxos";
    P4: "a promise for an older ballot is counted for a newer one", seen in "our own",
        found as "only one value is chosen", in "paxos";
    P7: "two proposers duel for ever", seen in "Paxos Made Simple, section 2.4",
        found as "liveness", in "paxos";
    MP1a: "an acceptor forgets its promise on restart", seen in "our own",
        found as "promises are kept" | "election safety", in "multipaxos";
    MP1b: "an acceptor forgets what it accepted on restart", seen in "our own",
        found as "promises are kept" | "committed slots never change" | "state machine safety", in "multipaxos";
    MP3: "a ballot is used before it is durable, and again after a restart", seen in "phxpaxos #145",
        found as "promises are kept" | "one value per ballot" | "election safety", in "multipaxos";
    MP4: "a promise for an older ballot is counted for a newer one", seen in "our own",
        found as "only one value is chosen" | "committed slots never change" | "state machine safety", in "multipaxos";
    P5a: "a new leader does not take the highest ballot's value of a slot", seen in "our own",
        found as "only one value is chosen" | "committed slots never change" | "state machine safety", in "multipaxos";
    P5b: "a new leader leaves holes", seen in "our own",
        found as "liveness", in "multipaxos";
    P6: "an acceptance of an older ballot is counted for a newer one", seen in "swiftpaxos #2",
        found as "log matching" | "committed slots never change" | "state machine safety"
            | "correct nodes are well-formed" | "only what is chosen is learned", in "multipaxos";
    P8: "quorums that do not meet are accepted in silence", seen in "Howard et al., Flexible Paxos, 2016",
        found as "only one value is chosen" | "committed slots never change" | "state machine safety", in "multipaxos";
}

/// Which bug is planted here, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switch(#[cfg(feature = "mutants")] Option<Mutant>);

impl Switch {
    /// With this one.
    #[cfg(feature = "mutants")]
    pub const fn on(mutant: Mutant) -> Self {
        Self(Some(mutant))
    }

    /// Whether it is this one.
    #[cfg(feature = "mutants")]
    #[inline]
    pub fn is(self, mutant: Mutant) -> bool {
        self.0 == Some(mutant)
    }

    /// Whether it is this one: it never is.
    #[cfg(not(feature = "mutants"))]
    #[inline]
    pub const fn is(self, _: Mutant) -> bool {
        false
    }
}
