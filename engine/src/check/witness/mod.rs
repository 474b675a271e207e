//! Slot order as the witness: what was measured at full speed, verified afterwards.
//!
//! While a run is on, each client thread keeps an [`Asked`] a batch and each replica an [`Applied`] a batch: plain
//! vectors on the thread that writes them, nothing shared, no payload kept. When the run is over, [`Trace::verify`]
//! takes the order of batches that all replicas agree on for the linearization that the log claims to be, and holds
//! everything against it:
//!
//! | property | what must hold |
//! |---|---|
//! | state machine safety | replicas applied the same in each slot; none left one out that another applied, but behind its last, or where a snapshot stood for it |
//! | slot order | slots only grow |
//! | no invention | every applied batch was sent, by that client, with as many commands |
//! | at most once | no batch was applied twice |
//! | nothing acknowledged is lost | every answered batch was applied |
//! | real-time order | a batch that was answered before another was first sent stands before it |
//! | sequential consistency | a batch that a client was answered before it sent another stands before it, stale reads too |
//! | results | replaying the order over the state machine gives the very results that each client was told |
//!
//! A batch of reads that was answered beside the log stands where its answer says that it was served: behind the slot
//! that the replica had been delivered. There it is held to the same real time and the same results, but for stale
//! reads. They may be older than what others have seen, and never older than what their own client has: they are held
//! to each client's own order and to the results.
//!
//! Together they say that the run was linearizable, batches being the operations: the order is whole, it explains every
//! answer, and no client can tell it from one that happened batch by batch. With stale reads it was sequentially
//! consistent (Lamport, *How to Make a Multiprocessor Computer That Correctly Executes Multiprocess Programs*, 1979):
//! clients could tell only by asking each other. A client's own order is which answers it had before it sent a batch;
//! what it has under way together is concurrent. Each is one pass, linear in the batches (the last one in the commands),
//! so ten million commands take seconds.
//!
//! Where there are several consensus groups, each has an order of its own, and each group's part of a run is held against
//! that alone. Nothing more is needed: a key belongs to one group, so no state is in two, and linearizability is local
//! (Herlihy & Wing, *Linearizability: A Correctness Condition for Concurrent Objects*, 1990, section 3.1: a history is
//! linearizable if each object's part of it is). Sequential consistency is not, so that with stale reads each group's part
//! is sequentially consistent, and the whole need not be.
//!
//! What was asked is not kept but asked for again: a client's [`CommandStream`] is seeded, so its batches can be
//! written a second time, each with as many commands as it had. What was told is kept as a 64-bit digest.

use bytes::BytesMut;
use quorumbench_protocols::Payload;
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::Hasher;

use crate::batch::{BatchHead, Commands, Writer};
use crate::load::CommandStream;
use crate::machine::{Kv, Machine, Null};
use crate::spec::MachineName;

mod breach;

pub use breach::Breach;

/// One batch, as its client saw it. Its sequence is its place in [`ClientTrace::asked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When it first went out.
    pub sent_ns: u64,
    /// When its answer came; [`Asked::UNANSWERED`] if none did.
    pub answered_ns: u64,
    /// The [`digest`] of the results in the answer.
    pub told: u64,
    /// Commands in it.
    pub commands: u32,
    /// Batches that its client sent from this one on, itself included, before it was answered; 0 if it was not. The ones
    /// behind these were sent in full knowledge of the answer, whatever the clock can tell apart.
    pub overlapping: u32,
}

/// One batch, as a replica applied it. Batches that were delivered again and not applied again are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The slot that it was delivered in.
    pub slot: u64,
    /// Its sequence.
    pub sequence: u64,
    /// Whose it is.
    pub client: u32,
    /// Commands in it.
    pub commands: u32,
}

/// Everything that one replica applied in one group.
#[derive(Clone, Debug, Default)]
pub struct ReplicaTrace {
    /// In this consensus group.
    pub group: u16,
    /// Batches, in the order in which it applied them.
    pub applied: Vec<Applied>,
    /// What it did not apply, because snapshots stood for it.
    pub skipped: Vec<Skipped>,
}

/// Slots that a replica was not delivered: a snapshot that it was sent has them in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The last slot that it had been delivered before.
    pub after: u64,
    /// The snapshot's.
    pub upto: u64,
}

/// Everything that one client asked one group and was told by it.
#[derive(Clone, Debug)]
pub struct ClientTrace {
    /// The consensus group.
    pub group: u16,
    /// The client's node id.
    pub client: u32,
    /// Its commands, from the first one on.
    pub commands: CommandStream,
    /// Its batches, in the order of their sequence.
    pub asked: Vec<Asked>,
    /// Those that were answered beside the log.
    pub served: Vec<Served>,
    /// Those may be answered from a state that others know to be old.
    pub stale: bool,
}

/// A batch of reads that was answered beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Its sequence.
    pub sequence: u64,
    /// The last slot that the state machine had been delivered, as the answer says.
    pub slot: u64,
}

/// What a run leaves to be verified.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What each client saw.
    pub clients: Vec<ClientTrace>,
    /// What each replica applied, each group's by node id; and behind these, what some did in earlier lives, each from
    /// its own beginning.
    pub replicas: Vec<ReplicaTrace>,
}

/// What was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Batches in the order.
    pub batches: u64,
    /// Commands in them.
    pub commands: u64,
}

impl Asked {
    /// The time of an answer that did not come.
    pub const UNANSWERED: u64 = u64::MAX;
}

impl ReplicaTrace {
    /// The one of this group among `traces`, empty if there was none.
    pub(crate) fn of_group(traces: &mut Vec<Self>, group: u16) -> &mut Self {
        let index = traces.iter().position(|trace| trace.group == group).unwrap_or_else(|| {
            traces.push(Self { group, ..Self::default() });
            traces.len() - 1
        });
        &mut traces[index]
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.skipped.is_empty()
    }

    /// Adds what the same replica applied next.
    pub(crate) fn extend(&mut self, next: Self) {
        self.applied.extend(next.applied);
        self.skipped.extend(next.skipped);
    }

    /// Whether a snapshot stood for this slot.
    fn skips(&self, slot: u64) -> bool {
        self.skipped.iter().any(|skipped| skipped.after < slot && slot <= skipped.upto)
    }
}

impl From<Vec<Applied>> for ReplicaTrace {
    /// Of a replica that was sent no snapshot.
    fn from(applied: Vec<Applied>) -> Self {
        Self { applied, ..Self::default() }
    }
}

/// Tells results apart: 64 bits, the same however the bytes are cut, 0 for none.
pub fn digest(results: &Payload) -> u64 {
    let of = |bytes: &[u8]| {
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        hasher.finish()
    };
    match results.pieces() {
        [] => 0,
        [whole] if whole.is_empty() => 0,
        [whole] => of(whole),
        pieces => match &pieces.concat()[..] {
            [] => 0,
            joined => of(joined),
        },
    }
}

/// A batch in its place.
#[derive(Clone, Copy, Debug)]
struct Step {
    batch: Applied,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Through the log, reads or not.
    Write,
    /// Beside it.
    Read,
    /// Beside it, and perhaps behind.
    StaleRead,
}

impl Trace {
    /// Holds the run against its own logs, group by group, over `machine`.
    ///
    /// # Errors
    /// The first [`Breach`], in the order of the table above.
    pub fn verify(&self, machine: MachineName) -> Result<Verified, Breach> {
        let mut groups: BTreeMap<u16, GroupTrace<'_>> = BTreeMap::new();
        self.clients.iter().for_each(|client| groups.entry(client.group).or_default().clients.push(client));
        self.replicas.iter().for_each(|replica| groups.entry(replica.group).or_default().replicas.push(replica));
        let several = groups.len() > 1;
        let mut sum = Verified::default();
        for (group, trace) in groups {
            let in_group = |breach| if several { Breach::InGroup { group, breach: Box::new(breach) } } else { breach };
            let Verified { batches, commands } = trace.verify(machine).map_err(in_group)?;
            sum = Verified { batches: sum.batches + batches, commands: sum.commands + commands };
        }
        Ok(sum)
    }
}

/// A trace of one consensus group.
#[derive(Debug, Default)]
struct GroupTrace<'a> {
    clients: Vec<&'a ClientTrace>,
    replicas: Vec<&'a ReplicaTrace>,
}

impl GroupTrace<'_> {
    fn verify(&self, machine: MachineName) -> Result<Verified, Breach> {
        let order = self.agreed_order()?;
        self.exactly_once(&order)?;
        let whole = self.with_reads(&order);
        self.real_time(&whole)?;
        self.program_order(&whole)?;
        match machine {
            MachineName::Null => self.replay::<Null>(&whole, false)?,
            MachineName::Kv => self.replay::<Kv>(&whole, true)?,
        }
        let commands = whole.iter().map(|step| u64::from(step.batch.commands)).sum();
        Ok(Verified { batches: whole.len() as u64, commands })
    }

    /// The order with what was answered beside the log: behind its slot, and within one slot in the order in which it
    /// was sent, which is the one that real time allows if any is.
    fn with_reads(&self, order: &[Applied]) -> Vec<Step> {
        let mut reads = Vec::new();
        for client in &self.clients {
            for &Served { sequence, slot } in &client.served {
                let asked = client.asked[sequence as usize];
                let batch = Applied { slot, sequence, client: client.client, commands: asked.commands };
                let kind = if client.stale { Kind::StaleRead } else { Kind::Read };
                reads.push((asked.sent_ns, Step { batch, kind }));
            }
        }
        reads.sort_unstable_by_key(|(sent_ns, read)| (read.batch.slot, *sent_ns, read.batch.sequence));
        let mut reads = reads.into_iter().map(|(_, read)| read).peekable();
        let mut whole = Vec::with_capacity(order.len() + reads.len());
        for &batch in order {
            while let Some(read) = reads.next_if(|read| read.batch.slot < batch.slot) {
                whole.push(read);
            }
            whole.push(Step { batch, kind: Kind::Write });
        }
        whole.extend(reads);
        whole
    }

    /// What the replicas applied, slot by slot: whoever was delivered a slot applied the same, and whoever went past
    /// it had it in a snapshot.
    fn agreed_order(&self) -> Result<Vec<Applied>, Breach> {
        let longest = self.replicas.iter().map(|replica| replica.applied.len()).max();
        let mut order: Vec<Applied> = Vec::with_capacity(longest.unwrap_or_default());
        let mut at = vec![0; self.replicas.len()];
        let next = |at: &[usize], replica: usize| self.replicas[replica].applied.get(at[replica]).copied();
        let all = || 0..self.replicas.len();
        while let Some((slot, first)) =
            all().filter_map(|replica| Some((next(&at, replica)?.slot, replica))).min_by_key(|&(slot, _)| slot)
        {
            let batch = self.replicas[first].applied[at[first]];
            for replica in all() {
                match next(&at, replica) {
                    Some(other) if other == batch => at[replica] += 1,
                    Some(other) if other.slot == slot || !self.replicas[replica].skips(slot) => {
                        return Err(Breach::Diverged {
                            replicas: [first as u32, replica as u32],
                            applied: [batch, other],
                        });
                    }
                    _ => {}
                }
            }
            order.push(batch);
        }
        match order.windows(2).find(|pair| pair[0].slot >= pair[1].slot) {
            Some(pair) => Err(Breach::SlotsOutOfOrder { earlier: pair[0], later: pair[1] }),
            None => Ok(order),
        }
    }

    /// Every batch was sent and applied at most once, every answered one exactly once.
    fn exactly_once(&self, order: &[Applied]) -> Result<(), Breach> {
        let mut applied: Vec<Vec<bool>> = self.clients.iter().map(|client| vec![false; client.asked.len()]).collect();
        for batch in order {
            let index = self.index(batch.client).filter(|&client| {
                let asked = self.clients[client].asked.get(batch.sequence as usize);
                asked.is_some_and(|asked| asked.commands == batch.commands)
            });
            let Some(index) = index else { return Err(Breach::Invented(*batch)) };
            if std::mem::replace(&mut applied[index][batch.sequence as usize], true) {
                let same = |other: &&Applied| (other.client, other.sequence) == (batch.client, batch.sequence);
                let first = *order.iter().find(same).expect("it was applied before");
                return Err(Breach::Twice { first, second: *batch });
            }
        }
        for (client, mut applied) in self.clients.iter().zip(applied) {
            for read in &client.served {
                let place = applied.get_mut(read.sequence as usize).filter(|applied| !**applied);
                // Reads are in the log or beside it, and answered once.
                let batch = Applied { slot: read.slot, sequence: read.sequence, client: client.client, commands: 0 };
                *place.ok_or(Breach::Invented(batch))? = true;
            }
            let lost = |(asked, applied): (&Asked, bool)| asked.answered_ns != Asked::UNANSWERED && !applied;
            if let Some(sequence) = client.asked.iter().zip(applied).position(lost) {
                let asked = client.asked[sequence];
                return Err(Breach::Lost { client: client.client, sequence: sequence as u64, asked });
            }
        }
        Ok(())
    }

    /// No batch stands behind one that was only sent after it had been answered: the latest that any batch so far was
    /// sent must not be later than this one's answer. Times that are equal decide nothing.
    fn real_time(&self, whole: &[Step]) -> Result<(), Breach> {
        let mut latest: Option<(Applied, Asked)> = None;
        for Step { batch, .. } in whole.iter().filter(|step| step.kind != Kind::StaleRead) {
            let asked = self.asked(batch);
            if let Some(earlier) = latest.filter(|(_, latest)| latest.sent_ns > asked.answered_ns) {
                return Err(Breach::OutOfTime { earlier, later: (*batch, asked) });
            }
            if latest.is_none_or(|(_, latest)| asked.sent_ns > latest.sent_ns) {
                latest = Some((*batch, asked));
            }
        }
        Ok(())
    }

    /// Nor does any stand behind one that its own client only sent after it had been answered, which client by client its
    /// sequence tells: the latest that any so far has must be among those that overlap this one.
    fn program_order(&self, whole: &[Step]) -> Result<(), Breach> {
        let mut latest: Vec<Option<Applied>> = vec![None; self.clients.len()];
        for Step { batch, .. } in whole {
            let client = self.index(batch.client).expect("whoever sent a batch is known by now");
            let overlapping = u64::from(self.clients[client].asked[batch.sequence as usize].overlapping);
            let knows = |latest: &Applied| overlapping > 0 && latest.sequence >= batch.sequence + overlapping;
            if let Some(earlier) = latest[client].filter(knows) {
                return Err(Breach::OutOfProgramOrder { earlier, later: *batch });
            }
            if latest[client].is_none_or(|latest| batch.sequence > latest.sequence) {
                latest[client] = Some(*batch);
            }
        }
        Ok(())
    }

    /// Does it all again, and compares what comes out. Without `rewrite` the machine looks at no command, so none is
    /// written again.
    fn replay<M: Machine>(&self, whole: &[Step], rewrite: bool) -> Result<(), Breach> {
        let mut machine = M::default();
        let mut results = BytesMut::new();
        let mut writers: Vec<Rewriter<'_>> = self.clients.iter().map(|client| Rewriter::new(client)).collect();
        for Step { batch, kind } in whole {
            let client = self.index(batch.client).expect("whoever sent a batch is known by now");
            let head = BatchHead { commands: batch.commands, ..BatchHead::default() };
            let body = if rewrite { writers[client].batch(batch.sequence) } else { Payload::EMPTY };
            let commands = Commands::new(&head, &body);
            match kind {
                Kind::Write => machine.apply(&head, commands, &mut results),
                Kind::Read | Kind::StaleRead => machine.read(&head, commands, &mut results),
            }
            let replayed = digest(&results.split().freeze().into());
            let asked = self.asked(batch);
            if asked.answered_ns != Asked::UNANSWERED && asked.told != replayed {
                return Err(Breach::ToldOtherwise { batch: *batch, asked, replayed });
            }
        }
        Ok(())
    }

    /// Where a client's trace is. Ids are in a row in any real run, so the first guess is right.
    fn index(&self, client: u32) -> Option<usize> {
        let is = |index: &usize| self.clients.get(*index).is_some_and(|each| each.client == client);
        let guess = client.checked_sub(self.clients.first()?.client)? as usize;
        Some(guess).filter(is).or_else(|| (0..self.clients.len()).find(is))
    }

    /// What its client saw of a batch that is no invention.
    fn asked(&self, batch: &Applied) -> Asked {
        let client = self.index(batch.client).expect("whoever sent a batch is known by now");
        self.clients[client].asked[batch.sequence as usize]
    }
}

/// Writes a client's batches a second time.
struct Rewriter<'a> {
    asked: &'a [Asked],
    commands: CommandStream,
    chunk: BytesMut,
    /// The sequence of the next batch that the stream gives.
    next: u64,
    /// Batches before that which are still to be asked for: they were overtaken.
    overtaken: BTreeMap<u64, Payload>,
}

impl<'a> Rewriter<'a> {
    fn new(trace: &'a ClientTrace) -> Self {
        let commands = trace.commands.clone();
        Self { asked: &trace.asked, commands, chunk: BytesMut::new(), next: 0, overtaken: BTreeMap::new() }
    }

    /// The batch of this sequence. Ask for each once.
    fn batch(&mut self, sequence: u64) -> Payload {
        while self.next <= sequence {
            if self.asked[self.next as usize].commands > 0 {
                self.commands.begin_batch();
            }
            let mut writer = Writer::new(&mut self.chunk, BatchHead::default());
            for _ in 0..self.asked[self.next as usize].commands {
                writer.command(|chunk| self.commands.write(chunk));
            }
            let body = Payload::from(writer.finish());
            self.next += 1;
            if self.next > sequence {
                return body;
            }
            self.overtaken.insert(self.next - 1, body);
        }
        self.overtaken.remove(&sequence).expect("each batch is asked for once")
    }
}

#[cfg(test)]
mod tests;
