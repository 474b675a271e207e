//! One node of Raft, all of whose peers are played by the test.

use bytes::Bytes;
use quorumbench_protocols::raft::message::{Accept, Append, Candidacy, Message, Probe};
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{
    Config, DeliveryKind, Frame, Head, Input, Lsn, Nanos, NodeId, Outbox, Protocol, Record, Slot, Transmit,
};

pub const MS: u64 = 1_000_000;

/// One node, all its peers played by the test.
pub struct Bench {
    pub raft: Raft,
    pub out: Outbox,
    pub now: Nanos,
}

impl Bench {
    pub fn new(replicas: usize) -> Self {
        let raft = Raft::new(&Config::new(NodeId(0), replicas), 7);
        let mut bench = Self { raft, out: Outbox::default(), now: Nanos(1000 * MS) };
        bench.step(Input::Timeout);
        bench
    }

    pub fn step(&mut self, input: Input<'_>) {
        self.raft.step(self.now, input, &mut self.out).expect("a correct peer's frame");
    }

    pub fn hear(&mut self, from: u32, message: Message) {
        self.hear_with(from, message, "");
    }

    pub fn hear_with(&mut self, from: u32, message: Message, body: &'static str) {
        let head = Head { from: NodeId(from), body_len: body.len() as u32, ..message.head() };
        self.step(Input::Frame(&Frame { head, body: Bytes::from(body).into() }));
    }

    /// Slot `slot` from the leader of `term`, n1.
    pub fn hear_append(&mut self, term: u64, slot: u64, entry_term: u64, prev_term: u64, commit: u64) {
        let (slot, commit, trim) = (Slot(slot), Slot(commit), Slot(0));
        self.hear_with(
            1,
            Message::Append(Append { term, slot, entry_term, prev_term, commit, trim, kind: DeliveryKind::Batch }),
            "x",
        );
    }

    pub fn flush(&mut self) -> (Vec<Message>, Vec<Record>) {
        self.raft.flush(self.now, &mut self.out);
        let out = std::mem::take(&mut self.out);
        let read =
            |Transmit { head, body, .. }| Message::read(&Frame { head, body }).expect("what it sends can be read");
        (out.transmits.into_iter().map(read).collect(), out.records)
    }

    pub fn said(&mut self) -> Vec<Message> {
        self.flush().0
    }

    /// Everything recorded so far is durable.
    pub fn sync(&mut self) {
        self.step(Input::Durable(Lsn(u64::MAX)));
    }

    pub fn timeout(&mut self) {
        self.now = self.now.max(self.raft.deadline());
        self.step(Input::Timeout);
    }

    /// A leader of `term` whose log, the no-op at its end, has the stamps of `log` before it.
    pub fn lead(replicas: usize, log: &[u64]) -> Self {
        let mut bench = Self::new(replicas);
        bench.fill(log);
        bench.timeout();
        bench.said();
        for peer in 1..=replicas as u32 / 2 {
            bench.hear(peer, Message::PreGrant { term: bench.raft.term() + 1 });
        }
        bench.said();
        bench.sync();
        bench.said();
        let term = bench.raft.term();
        for peer in 1..=replicas as u32 / 2 {
            bench.hear(peer, Message::Grant { term });
        }
        assert_eq!(bench.raft.role(), Role::Leader);
        bench
    }

    /// Slots of these terms, written by whoever led them, and durable.
    pub fn fill(&mut self, log: &[u64]) {
        let mut prev_term = 0;
        for (at, &term) in log.iter().enumerate() {
            self.hear_append(term, at as u64 + 1, term, prev_term, 0);
            prev_term = term;
        }
        self.sync();
        self.said();
    }

    pub fn stamps(&self) -> Vec<u64> {
        (1..=self.raft.log().last().0).filter_map(|slot| self.raft.log().stamp(Slot(slot))).collect()
    }

    pub fn accept(&mut self, from: u32, slot: u64) {
        let (durable, received, term) = (Slot(slot), Slot(slot), self.raft.term());
        let accept = Accept { term, durable, received, round: 0 };
        self.hear(from, Message::Accept(accept));
    }

    pub fn accept_if_leading(&mut self, from: u32) {
        if self.raft.role() == Role::Leader {
            self.accept(from, 1);
        }
    }
}

pub fn vote(term: u64, last: u64, last_term: u64) -> Message {
    Message::Vote(Candidacy { term, last: Slot(last), last_term, transfer: false })
}

pub fn probe(term: u64, prev: u64, prev_term: u64, commit: u64) -> Message {
    Message::Probe(Probe { term, prev: Slot(prev), prev_term, commit: Slot(commit), trim: Slot(0), round: 1 })
}

pub fn accepted(messages: &[Message]) -> Vec<(u64, u64)> {
    let accept = |message: &Message| match message {
        Message::Accept(accept) => Some((accept.durable.0, accept.received.0)),
        _ => None,
    };
    messages.iter().filter_map(accept).collect()
}
