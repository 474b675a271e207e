//! The floor of replication: a fixed leader, one broadcast and one acknowledgement per follower.
//! No terms, no election, no retransmission: a lost frame or node stops it for ever.

use crate::io::{Config, DeliveryKind, Input, Outbox, Protocol, Record};
use crate::log::{Entry, LogSize, SlotLog};
use crate::quorum;
use crate::reads;
use crate::window::Window;
use crate::wire::{Frame, Head, Lsn, Malformed, Nanos, NodeId, Payload, PeerSet, Recipients, Slot};

/// Node 0, or whoever is to lead first, sends each batch to all and commits it once a majority, itself included, has it
/// durable. **A floor, not a protocol.**
#[derive(Clone, Debug)]
pub struct Star {
    id: NodeId,
    leader: NodeId,
    group: u16,
    voters: PeerSet,
    heartbeat: Nanos,
    depth: usize,
    log: SlotLog,
    /// The last slot that is durable here. A record's `Lsn` is its slot: none is ever written twice.
    durable: Slot,
    committed: Slot,
    delivered: Slot,
    /// Leader: proposed and not committed.
    window: Window,
    /// Leader: the last slot acknowledged, by node id.
    acknowledged: Vec<u64>,
    /// Leader: scratch for the majority's sort.
    sorted: Vec<u64>,
    /// Leader: the commit that followers have been told of.
    announced: Slot,
    /// Leader: when to announce the commit if no proposal carries it.
    announce_at: Nanos,
    /// Leader: who has acknowledged anything, be it nothing. What is sent before that may find no
    /// connection, and is never sent again.
    heard: PeerSet,
    /// Follower: the last slot that the leader was told of.
    told: Slot,
    /// Follower: when to say again that it is there; never once a slot came.
    greet_at: Nanos,
}

impl Star {
    /// How many windows the slowest follower may lag behind. A majority could run on without it until
    /// its link overflows, and nothing is ever sent again; then less would be measured than is claimed.
    const MAX_LAG_WINDOWS: u64 = Config::MOST_WINDOWS_BEHIND as u64;
    /// `words`: slot, commit. The body is the batch.
    const PROPOSE: u8 = 1;
    /// `words`: the last durable slot.
    const ACKNOWLEDGE: u8 = 2;
    /// `words`: 0, commit.
    const COMMIT: u8 = 3;

    fn leads(&self) -> bool {
        self.id == self.leader
    }

    /// Whether this is the leader, and every follower is there.
    fn serves(&self) -> bool {
        self.leads() && self.heard | PeerSet::EMPTY.with(self.id) == self.voters
    }

    fn head(&self, kind: u8, slot: Slot) -> Head {
        Head {
            kind,
            group: self.group,
            from: self.id,
            words: [slot.0, self.committed.0, 0, 0, 0, 0],
            ..Head::default()
        }
    }

    /// Appends the batch and records it.
    fn write(&mut self, head: Head, body: &Payload, out: &mut Outbox) {
        let slot = self.log.append(Entry { stamp: 0, kind: DeliveryKind::Batch, body: body.clone() });
        out.records.push(Record { lsn: Lsn(slot.0), head, body: body.clone() });
    }

    fn on_submit(&mut self, body: &Payload, out: &mut Outbox) {
        if !self.leads() {
            return;
        }
        let Some(slot) = (self.room() > 0).then(|| self.window.send()).flatten() else { return };
        let head = Head { body_len: body.len() as u32, ..self.head(Self::PROPOSE, slot) };
        self.announced = self.committed;
        self.write(head, body, out);
        out.transmit(Recipients::Peers(self.voters.without(self.id)), head, body.clone());
    }

    fn on_frame(&mut self, frame: &Frame, out: &mut Outbox) -> Result<(), Malformed> {
        let malformed = |what| Err(Malformed { kind: frame.head.kind, what });
        let [slot, commit, ..] = frame.head.words;
        match (frame.head.kind, self.leads()) {
            (Self::ACKNOWLEDGE, true) if !self.voters.contains(frame.head.from) => malformed("not a voter"),
            (Self::ACKNOWLEDGE, true) if slot > self.log.last().0 => malformed("acknowledges a slot never sent"),
            (Self::ACKNOWLEDGE, true) => {
                self.heard = self.heard.with(frame.head.from);
                let mine = &mut self.acknowledged[frame.head.from.0 as usize];
                *mine = slot.max(*mine);
                Ok(())
            }
            (Self::PROPOSE | Self::COMMIT, false) if frame.head.from != self.leader => malformed("not from the leader"),
            (Self::PROPOSE | Self::COMMIT, false) => {
                if frame.head.kind == Self::PROPOSE && slot == self.log.last().0 + 1 {
                    self.write(frame.head, &frame.body, out);
                    self.greet_at = Nanos::NEVER;
                }
                self.committed = self.committed.max(Slot(commit)).min(self.log.last());
                Ok(())
            }
            _ => malformed("not a message for this node"),
        }
    }

    fn advance_commit(&mut self, now: Nanos) {
        self.acknowledged[self.id.0 as usize] = self.durable.0;
        self.sorted.clear();
        self.sorted.extend(self.voters.iter().map(|id| self.acknowledged[id.0 as usize]));
        let committed = Slot(quorum::reached_by_majority(&mut self.sorted));
        if committed > self.committed {
            self.committed = committed;
            self.window.acknowledge(committed);
            self.announce_at = now + self.heartbeat.0;
        }
    }

    fn deliver(&mut self, out: &mut Outbox) {
        self.log.deliver(&mut self.delivered, self.committed, out);
        self.log.trim_to(self.delivered);
    }
}

impl Protocol for Star {
    const SNAPSHOT_RECORD: Option<u8> = None;

    fn new(config: &Config, _seed: u64) -> Self {
        Self {
            id: config.id,
            leader: config.first_leader.unwrap_or(NodeId(0)),
            group: config.group,
            voters: config.voters,
            heartbeat: config.heartbeat,
            depth: config.window,
            log: SlotLog::default(),
            durable: Slot::ZERO,
            committed: Slot::ZERO,
            delivered: Slot::ZERO,
            window: Window::new(config.window, Slot::ZERO),
            acknowledged: vec![0; PeerSet::CAPACITY],
            sorted: Vec::with_capacity(PeerSet::CAPACITY),
            announced: Slot::ZERO,
            announce_at: Nanos::NEVER,
            heard: PeerSet::EMPTY,
            told: Slot::ZERO,
            greet_at: Nanos::ZERO,
        }
    }

    /// A floor survives nothing: it starts anew.
    fn recover(config: &Config, seed: u64, _records: &[Record]) -> Result<Self, Malformed> {
        Ok(Self::new(config, seed))
    }

    fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outbox) -> Result<(), Malformed> {
        match input {
            Input::Submit(body) => self.on_submit(body, out),
            Input::Frame(frame) => return self.on_frame(frame, out),
            Input::Durable(lsn) => self.durable = self.durable.max(Slot(lsn.0)),
            Input::Timeout if self.leads() && now >= self.announce_at && self.announced < self.committed => {
                self.announced = self.committed;
                let head = self.head(Self::COMMIT, Slot::ZERO);
                out.transmit(Recipients::Peers(self.voters.without(self.id)), head, Payload::EMPTY);
            }
            Input::Timeout if !self.leads() && now >= self.greet_at => {
                self.greet_at = now + self.heartbeat.0;
                let head = self.head(Self::ACKNOWLEDGE, Slot::ZERO);
                out.transmit(Recipients::One(self.leader), head, Payload::EMPTY);
            }
            Input::Read { id, .. } => reads::refuse(id, out),
            Input::Timeout | Input::Transfer(_) | Input::Snapshot { .. } | Input::Reconfigure(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self, now: Nanos, out: &mut Outbox) {
        if self.leads() {
            self.advance_commit(now);
        } else if self.told < self.durable {
            self.told = self.durable;
            out.transmit(Recipients::One(self.leader), self.head(Self::ACKNOWLEDGE, self.durable), Payload::EMPTY);
        }
        self.deliver(out);
    }

    fn deadline(&self) -> Nanos {
        match self.leads() {
            true if self.announced < self.committed => self.announce_at,
            true => Nanos::NEVER,
            false => self.greet_at,
        }
    }

    fn room(&self) -> usize {
        let slowest = self.voters.without(self.id).iter().map(|id| self.acknowledged[id.0 as usize]).min();
        let lag = self.window.next().0 - 1 - slowest.unwrap_or(self.committed.0);
        let most = Self::MAX_LAG_WINDOWS * self.depth as u64;
        if self.serves() { self.window.room().min(most.saturating_sub(lag) as usize) } else { 0 }
    }

    fn leader(&self) -> Option<NodeId> {
        (!self.leads() || self.serves()).then_some(self.leader)
    }

    fn kept(&self) -> LogSize {
        self.log.size()
    }
}
