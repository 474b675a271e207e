//! What nobody thought of: seeded noise between the nodes, with Raft's safety properties (paper,
//! figure 3) checked after every event and progress demanded once it ends.
//!
//! A failing seed prints itself: `SEED=17 cargo test --test raft_random` plays it alone.
//! `SEEDS=10000 cargo test --release --test raft_random` is a longer walk.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use bytes::Bytes;
use quorumbench_protocols::raft::message::{Accept, Candidacy, Message};
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{
    Config, DeliveryKind, Frame, Input, Lsn, Nanos, NodeId, Outbox, Payload, PeerSet, Prng, Protocol, Record, Slot,
    quorum,
};

const MS: u64 = 1_000_000;
const SEEDS: u64 = 300;
const EVENTS: usize = 1500;

#[test]
fn noise_breaks_nothing_and_ends_in_progress() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let mut did = Did::default();
    for seed in seeds.clone() {
        let guard = Announce(seed);
        let mut sim = Sim::new(seed);
        sim.make_noise();
        sim.heal();
        did.leaders += sim.leaders.len();
        did.slots += sim.chosen.len();
        did.overwritten += sim.overwritten;
        did.crashes += sim.crashes;
        did.forgotten += sim.forgotten;
        did.restored += sim.restored;
        std::mem::forget(guard);
    }
    // A check that nothing ever reaches proves nothing.
    if number("SEED").is_none() {
        let count = seeds.end as usize;
        assert!(did.leaders > 3 * count, "too calm: {did:?}");
        assert!(did.slots > 30 * count, "too wild: {did:?}");
        assert!(did.overwritten > count / 5, "no conflicts: {did:?}");
        assert!(did.crashes > count && did.forgotten > count / 8, "no crashes: {did:?}");
        assert!(did.restored > count, "no snapshots: {did:?}");
        println!("{did:?}");
    }
}

#[derive(Debug, Default)]
struct Did {
    leaders: usize,
    slots: usize,
    overwritten: usize,
    crashes: usize,
    /// Crashes that lost records.
    forgotten: usize,
    /// Snapshots that a state machine was replaced by.
    restored: usize,
}

struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        eprintln!("SEED={} fails", self.0);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Frame(Frame),
    /// In the life of the node in which it was written.
    Durable(u32, Lsn),
    Wake,
}

/// What a node would come back with.
struct Disk {
    config: Config,
    journal: Vec<Record>,
    durable: Lsn,
    /// Crashes so far.
    lives: u32,
    /// It has acknowledged something or voted in this term.
    promised: u64,
}

/// How bad it gets, drawn once per seed.
#[derive(Debug)]
struct Noise {
    loss: f64,
    duplicate: f64,
    delay: u64,
    disk: u64,
    trouble: f64,
}

struct Sim {
    prng: Prng,
    noise: Noise,
    now: Nanos,
    nodes: Vec<Raft>,
    disks: Vec<Disk>,
    out: Outbox,
    queue: BTreeMap<(Nanos, u64), (NodeId, Event)>,
    events: u64,
    /// Frames do not get through from the first to the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    paused: Vec<Nanos>,
    submitted: u64,
    // What was seen, against which everything new is checked.
    leaders: BTreeMap<u64, NodeId>,
    votes: BTreeMap<(NodeId, u64), NodeId>,
    entries: BTreeMap<(Slot, u64), (u64, Payload)>,
    /// What was delivered, and in which term at the latest it was committed.
    chosen: Vec<(Payload, u64)>,
    delivered: Vec<usize>,
    terms: Vec<u64>,
    committed: Vec<Slot>,
    overwritten: usize,
    crashes: usize,
    forgotten: usize,
    restored: usize,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let replicas = [1, 2, 3, 3, 3, 4, 5, 5][prng.below(8) as usize];
        let window = 1 + prng.below(8) as usize;
        let chunk = 1 + prng.below(100) as usize;
        let configs: Vec<_> =
            (0..replicas as u32).map(|id| Config { window, chunk, ..Config::new(NodeId(id), replicas) }).collect();
        let node = |config: &Config| Raft::new(config, seed << 8 | u64::from(config.id.0));
        let noise = Noise {
            loss: [0.0, 0.02, 0.2][prng.below(3) as usize],
            duplicate: [0.0, 0.1][prng.below(2) as usize],
            delay: [MS, 20 * MS, 120 * MS][prng.below(3) as usize],
            disk: [0, MS, 60 * MS][prng.below(3) as usize],
            trouble: [0.002, 0.02][prng.below(2) as usize],
        };
        Self {
            prng,
            noise,
            now: Nanos(MS),
            nodes: configs.iter().map(node).collect(),
            disks: configs
                .into_iter()
                .map(|config| Disk { config, journal: Vec::new(), durable: Lsn::ZERO, lives: 0, promised: 0 })
                .collect(),
            out: Outbox::default(),
            queue: BTreeMap::new(),
            events: 0,
            cut: BTreeSet::new(),
            paused: vec![Nanos::ZERO; replicas],
            submitted: 0,
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: BTreeMap::new(),
            chosen: Vec::new(),
            delivered: vec![0; replicas],
            terms: vec![0; replicas],
            committed: vec![Slot::ZERO; replicas],
            overwritten: 0,
            crashes: 0,
            forgotten: 0,
            restored: 0,
        }
    }

    fn make_noise(&mut self) {
        for _ in 0..EVENTS {
            if self.prng.unit() < self.noise.trouble {
                self.trouble();
            }
            if self.prng.unit() < 0.3 {
                self.submit();
            }
            self.next();
        }
    }

    /// A majority is whole again and the rest stays broken for ever, each in its own way: what heals by
    /// itself hides livelock.
    fn heal(&mut self) {
        let count = self.nodes.len();
        let mut ids: Vec<_> = (0..count as u32).map(NodeId).collect();
        for at in (1..count).rev() {
            ids.swap(at, self.prng.below(at as u64 + 1) as usize);
        }
        ids.truncate(quorum::majority(count) + self.prng.below((count - quorum::majority(count) + 1) as u64) as usize);
        let loss = [0.0, 0.1][self.prng.below(2) as usize];
        self.noise = Noise { loss, duplicate: 0.0, delay: MS, disk: MS, trouble: 0.0 };
        self.cut.clear();
        self.paused.fill(self.now);
        for id in (0..count as u32).map(NodeId).filter(|id| !ids.contains(id)) {
            let others = (0..count as u32).map(NodeId);
            match self.prng.below(3) {
                0 => self.paused[id.0 as usize] = Nanos::NEVER,
                1 => self.cut.extend(others.map(|other| (other, id))),
                _ => self.cut.extend(others.map(|other| (id, other))),
            }
        }
        self.run(2000 * MS);
        let before = self.chosen.len();
        let whole = |sim: &Self| ids.iter().all(|id| sim.delivered[id.0 as usize] == sim.chosen.len());
        // If only one of a bare majority may win, every frame of its election must get through, and a
        // lossy network takes many attempts. Without loss it is a matter of moments.
        for _ in 0..if loss > 0.0 { 300 } else { 20 } {
            if self.chosen.len() == before {
                self.submit();
            }
            self.run(200 * MS);
            if self.chosen.len() > before && whole(self) {
                return;
            }
        }
        panic!("no progress on {ids:?} after {before} slots: {:?}", self.delivered);
    }

    fn run(&mut self, time: u64) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            if self.now >= end {
                return;
            }
            self.next();
        }
        panic!("time stands still: a deadline that has passed stays");
    }

    fn trouble(&mut self) {
        let count = self.nodes.len() as u64;
        let one = NodeId(self.prng.below(count) as u32);
        let other = NodeId(self.prng.below(count) as u32);
        match self.prng.below(12) {
            0 | 1 => self.cut.clear(),
            2 => {
                self.cut.insert((one, other));
            }
            3 => {
                let side = self.prng.next_u64();
                let ids = || (0..count as u32).map(NodeId);
                let apart = |a: NodeId, b: NodeId| side >> a.0 & 1 != side >> b.0 & 1;
                self.cut = ids().flat_map(|a| ids().map(move |b| (a, b))).filter(|&(a, b)| apart(a, b)).collect();
            }
            4 => self.paused[one.0 as usize] = self.now + self.prng.below(900 * MS),
            5 => self.turn(one, |node, now, out| node.step(now, Input::Transfer(other), out).expect("no frame")),
            8 | 9 => {
                (0..3).for_each(|_| self.submit());
                self.crash(one);
            }
            10 => self.snapshot(one),
            _ => {
                // The leader alone: what it writes now will be overwritten.
                let leader = self.nodes.iter().position(|node| node.role() == Role::Leader);
                let ids = (0..count as u32).map(NodeId);
                let cut = leader.map(|leader| ids.map(move |id| (NodeId(leader as u32), id)));
                self.cut.extend(cut.into_iter().flatten());
                (0..3).for_each(|_| self.submit());
            }
        }
    }

    fn submit(&mut self) {
        let candidates: Vec<_> = (0..self.nodes.len()).filter(|&node| self.nodes[node].room() > 0).collect();
        if candidates.is_empty() {
            return;
        }
        let node = candidates[self.prng.below(candidates.len() as u64) as usize];
        self.submitted += 1;
        let body: Payload = Bytes::from(self.submitted.to_string()).into();
        let last = self.nodes[node].log().last();
        self.turn(NodeId(node as u32), |node, now, out| {
            node.step(now, Input::Submit(&body), out).expect("no frame");
            assert_eq!(node.log().last(), last + 1, "there was room");
        });
    }

    /// Stops a node and starts it again. Of what was written and not vouched for, a random part is there.
    fn crash(&mut self, id: NodeId) {
        let disk = &mut self.disks[id.0 as usize];
        let last = disk.journal.last().map_or(Lsn::ZERO, |record| record.lsn);
        let kept = disk.durable + self.prng.below(last.saturating_since(disk.durable) + 1);
        disk.journal.retain(|record| record.lsn <= kept);
        (disk.durable, disk.lives) = (kept, disk.lives + 1);
        self.crashes += 1;
        self.forgotten += usize::from(kept < last);
        let node = Raft::recover(&disk.config, self.prng.next_u64(), &disk.journal).expect("its own journal");
        assert!(node.term() >= disk.promised, "{id} forgot what it promised");
        self.terms[id.0 as usize] = node.term();
        self.committed[id.0 as usize] = Slot::ZERO;
        self.delivered[id.0 as usize] = 0;
        self.nodes[id.0 as usize] = node;
        self.turn(id, |_, _, _| ());
    }

    /// The state machine: what was delivered, folded into a number, and padding to make it large.
    fn machine(&self, slot: usize) -> Payload {
        let fold = |sum: u64, (body, _): &(Payload, u64)| {
            body.pieces()
                .iter()
                .flatten()
                .fold(sum.wrapping_mul(31), |sum, &byte| sum.wrapping_mul(31) + u64::from(byte))
        };
        let sum = self.chosen[..slot].iter().fold(0, fold);
        Bytes::from(format!("{sum:0width$}", width = 20 + slot % 300)).into()
    }

    /// The driver brings a snapshot of what was delivered.
    fn snapshot(&mut self, id: NodeId) {
        let delivered = self.delivered[id.0 as usize];
        let body = self.machine(delivered);
        let slot = Slot(delivered as u64);
        self.turn(id, |node, now, out| node.step(now, Input::Snapshot { slot, body: &body }, out).expect("no frame"));
    }

    /// The next thing that happens, wherever it happens.
    fn next(&mut self) {
        let queued = self.queue.first_key_value().map_or(Nanos::NEVER, |(&(at, _), _)| at);
        let sleeper = |id: &usize| self.nodes[*id].deadline().max(self.paused[*id]);
        let earliest = (0..self.nodes.len()).min_by_key(sleeper).expect("a node");
        let wakes = sleeper(&earliest);
        if wakes < queued {
            self.now = self.now.max(wakes);
            self.happen(NodeId(earliest as u32), &Event::Wake);
        } else if let Some(((at, _), (to, event))) = self.queue.pop_first() {
            self.now = self.now.max(at);
            let until = self.paused[to.0 as usize];
            if until == Nanos::NEVER {
            } else if until > self.now {
                self.enqueue(until, to, event);
            } else {
                self.happen(to, &event);
            }
        }
    }

    fn happen(&mut self, id: NodeId, event: &Event) {
        if let Event::Durable(life, lsn) = event {
            let disk = &mut self.disks[id.0 as usize];
            if *life != disk.lives {
                return;
            }
            disk.durable = disk.durable.max(*lsn);
        }
        self.turn(id, |node, now, out| {
            let input = match event {
                Event::Frame(frame) => Input::Frame(frame),
                Event::Durable(_, lsn) => Input::Durable(*lsn),
                Event::Wake => Input::Timeout,
            };
            node.step(now, input, out).unwrap_or_else(|error| panic!("{id} calls a correct peer's frame {error}"));
        });
    }

    fn turn(&mut self, id: NodeId, step: impl FnOnce(&mut Raft, Nanos, &mut Outbox)) {
        let mut out = std::mem::take(&mut self.out);
        let node = &mut self.nodes[id.0 as usize];
        let (last, stamp) = (node.log().last(), node.log().last_stamp());
        step(node, self.now, &mut out);
        node.flush(self.now, &mut out);
        self.overwritten += usize::from(node.log().stamp(last).is_some_and(|now| now != stamp));
        self.check(id, &out);
        let life = self.disks[id.0 as usize].lives;
        for record in out.records.drain(..) {
            // What is durable is so with everything before it.
            let at = self.now + self.prng.below(self.noise.disk + 1);
            self.enqueue(at, id, Event::Durable(life, record.lsn));
            self.disks[id.0 as usize].journal.push(record);
        }
        if let Some(release) = out.release {
            let disk = &mut self.disks[id.0 as usize];
            assert!(release <= disk.durable, "{id} lets go of what is not durable elsewhere");
            disk.journal.retain(|record| record.lsn >= release);
        }
        for transmit in out.transmits.drain(..) {
            for to in transmit.to.iter() {
                let copies = 1 + u32::from(self.prng.unit() < self.noise.duplicate);
                for _ in 0..copies {
                    if self.prng.unit() >= self.noise.loss && !self.cut.contains(&(id, to)) {
                        let at = self.now + self.prng.below(self.noise.delay) + 1;
                        let frame = Frame { head: transmit.head, body: transmit.body.clone() };
                        self.enqueue(at, to, Event::Frame(frame));
                    }
                }
            }
        }
        out.clear();
        self.out = out;
        if self.nodes[id.0 as usize].wants_snapshot() {
            self.snapshot(id);
        }
    }

    fn enqueue(&mut self, at: Nanos, to: NodeId, event: Event) {
        self.events += 1;
        self.queue.insert((at, self.events), (to, event));
    }

    fn check(&mut self, id: NodeId, out: &Outbox) {
        self.check_election_safety(id);
        self.check_log_matching(id);
        self.check_state_machine_safety(id, out);
        self.check_promises(id, out);
    }

    /// At most one leader a term, one vote a term and node, and no term goes back.
    fn check_election_safety(&mut self, id: NodeId) {
        let node = &self.nodes[id.0 as usize];
        let term = node.term();
        assert!(term >= std::mem::replace(&mut self.terms[id.0 as usize], term), "{id}'s term goes back");
        if node.role() == Role::Leader {
            assert_eq!(*self.votes.entry((id, term)).or_insert(id), id, "{id} votes twice in {term}");
            let first = !self.leaders.contains_key(&term);
            assert_eq!(*self.leaders.entry(term).or_insert(id), id, "Election Safety: two leaders of term {term}");
            if first {
                self.check_leader_completeness(id);
            }
        }
    }

    /// A new leader holds everything that was committed before its term.
    fn check_leader_completeness(&self, id: NodeId) {
        let (log, term) = (self.nodes[id.0 as usize].log(), self.nodes[id.0 as usize].term());
        for (at, (body, _)) in self.chosen.iter().enumerate().filter(|(_, (_, committed))| *committed < term) {
            let slot = Slot(at as u64 + 1);
            let held = slot <= log.trimmed() || log.get(slot).is_some_and(|entry| entry.body == *body);
            assert!(held, "Leader Completeness: {id} leads without slot {slot}");
        }
    }

    /// Two logs with the same term in a slot are the same up to there.
    fn check_log_matching(&mut self, id: NodeId) {
        let log = self.nodes[id.0 as usize].log();
        for slot in log.trimmed().0 + 1..=log.last().0 {
            let (entry, prev) = (log.get(Slot(slot)).expect("kept"), log.stamp(Slot(slot - 1)).expect("kept"));
            let (first_prev, first) =
                self.entries.entry((Slot(slot), entry.stamp)).or_insert_with(|| (prev, entry.body.clone()));
            assert!(*first == entry.body && *first_prev == prev, "Log Matching: {id}'s slot {slot}@{}", entry.stamp);
        }
    }

    /// Nobody delivers anything else in a slot, everybody in order and once, and only what a majority
    /// holds durably.
    fn check_state_machine_safety(&mut self, id: NodeId, out: &Outbox) {
        let committed = self.nodes[id.0 as usize].committed();
        let before = std::mem::replace(&mut self.committed[id.0 as usize], committed);
        assert!(before <= committed && committed <= self.nodes[id.0 as usize].log().last());
        for delivery in &out.deliveries {
            let at = self.delivered[id.0 as usize];
            if delivery.kind == DeliveryKind::Snapshot {
                let slot = delivery.slot.0 as usize;
                assert!(slot > at && slot <= self.chosen.len(), "{id} goes back, or past what was chosen");
                assert_eq!(delivery.body, self.machine(slot), "State Machine Safety: {id}'s snapshot of {slot}");
                self.delivered[id.0 as usize] = slot;
                self.restored += 1;
                continue;
            }
            assert_eq!(delivery.slot, Slot(at as u64 + 1), "{id} delivers in order and once");
            self.delivered[id.0 as usize] += 1;
            if let Some((body, _)) = self.chosen.get(at) {
                assert_eq!(*body, delivery.body, "State Machine Safety: {id} at slot {}", delivery.slot);
                continue;
            }
            let holds = |node: &Raft| {
                let log = node.log();
                let same = log.trimmed() >= delivery.slot
                    || log.get(delivery.slot).is_some_and(|entry| entry.body == delivery.body);
                same && node.durable() >= delivery.slot
            };
            let durable: PeerSet =
                (0..self.nodes.len()).filter(|&at| holds(&self.nodes[at])).map(|at| NodeId(at as u32)).collect();
            let voters = PeerSet::first(self.nodes.len());
            assert!(quorum::is_majority(durable, voters), "slot {} is durable on {durable:?} alone", delivery.slot);
            self.chosen.push((delivery.body.clone(), self.nodes[id.0 as usize].term()));
        }
    }

    /// An acknowledgement covers what is durable, and is the leader's.
    fn check_promises(&mut self, id: NodeId, out: &Outbox) {
        for transmit in &out.transmits {
            let frame = Frame { head: transmit.head, body: transmit.body.clone() };
            let message = Message::read(&frame).expect("what it sends can be read");
            if let (Message::Grant { term }, Some(to)) = (message, transmit.to.iter().next()) {
                assert_eq!(*self.votes.entry((id, term)).or_insert(to), to, "{id} votes twice in {term}");
            }
            if let Message::Grant { term }
            | Message::Accept(Accept { term, .. })
            | Message::Vote(Candidacy { term, .. }) = message
            {
                self.disks[id.0 as usize].promised = term;
            }
            let node = &self.nodes[id.0 as usize];
            let Message::Accept(Accept { term, durable, received, .. }) = message else { continue };
            assert!(durable <= node.durable(), "{id} acknowledges before it is durable");
            let leader = self.leaders.get(&term).map(|leader| &self.nodes[leader.0 as usize]);
            if let Some(leader) = leader.filter(|leader| leader.term() == term && leader.role() == Role::Leader) {
                let (own, theirs) = (node.log().stamp(received), leader.log().stamp(received));
                assert!(received <= leader.log().last() && (own.is_none() || theirs.is_none() || own == theirs));
            }
        }
    }
}
