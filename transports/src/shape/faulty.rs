//! A node's faults on its way to the others, injected and taken back while it runs: cut off from peers, or late.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use quorumbench_protocols::{Frame, Nanos, NodeId, PeerSet, Recipients, Transmit};

use crate::storage::{FileWrite, FileWritten};
use crate::{Clock, Counters, Transport};

/// A transport, and what is done to what passes through it.
///
/// Left alone it costs one branch a call. It takes effect on one side only, which is enough: what a cut-off node sends
/// and what it is sent pass here.
///
/// ```
/// use std::time::Duration;
/// use quorumbench_protocols::{Head, NodeId, Payload, Recipients, Transmit};
/// use quorumbench_transports::{mem, shape::Faulty, Clock, Options, Transport};
///
/// let clock = Clock::start();
/// let mut nodes = mem::mesh(2, clock, &Options::default());
/// let (mut one, mut zero) = (nodes.remove(1), nodes.remove(0));
/// let mut link = Faulty::new(&mut zero, clock);
///
/// link.delay(Duration::from_millis(2));
/// let head = Head { kind: 1, from: NodeId(0), ..Head::default() };
/// let (sent, mut inbox) = (clock.now(), Vec::new());
/// link.send(&mut vec![Transmit { to: Recipients::One(NodeId(1)), head, body: Payload::EMPTY }])?;
/// while inbox.is_empty() {
///     link.recv(clock.now() + 10_000_000, &mut Vec::new())?;
///     one.recv(clock.now(), &mut inbox)?;
/// }
/// assert!(clock.now() >= sent + 2_000_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Faulty<T> {
    inner: T,
    clock: Clock,
    /// Whether there is anything to do but to pass on.
    active: bool,
    /// Whom it neither reaches nor hears, ascending.
    cut: Vec<NodeId>,
    delay_ns: u64,
    /// What was sent and has not left, in order, and when it leaves.
    held: VecDeque<(Nanos, Transmit)>,
    /// Scratch: what leaves now.
    leaving: Vec<Transmit>,
    dropped: u64,
}

impl<T: Transport> Faulty<T> {
    /// The link as it is.
    pub fn new(inner: T, clock: Clock) -> Self {
        Self {
            inner,
            clock,
            active: false,
            cut: Vec::new(),
            delay_ns: 0,
            held: VecDeque::new(),
            leaving: Vec::new(),
            dropped: 0,
        }
    }

    /// From now on, nothing is sent to these peers, and what comes from them is lost; from and to all others
    /// it is not, or not any more. What is dropped on the way out is counted as dropped.
    pub fn cut_off(&mut self, peers: impl IntoIterator<Item = NodeId>) {
        self.cut.clear();
        self.cut.extend(peers);
        self.cut.sort_unstable();
        self.look();
    }

    /// From now on, everything leaves so much later than it is sent, to within what
    /// [`recv`](Transport::recv) oversleeps; with zero at once. The order stays.
    pub fn delay(&mut self, extra: Duration) {
        self.delay_ns = extra.as_nanos() as u64;
        self.look();
    }

    fn look(&mut self) {
        self.active = !self.cut.is_empty() || self.delay_ns > 0 || !self.held.is_empty();
    }

    fn is_cut(&self, peer: NodeId) -> bool {
        self.cut.binary_search(&peer).is_ok()
    }

    /// Who of the recipients is reached, if anybody is.
    fn reached(&self, to: Recipients) -> Option<Recipients> {
        match to {
            Recipients::One(peer) => (!self.is_cut(peer)).then_some(to),
            Recipients::Peers(peers) => {
                let peers: PeerSet = peers.iter().filter(|&peer| !self.is_cut(peer)).collect();
                (!peers.is_empty()).then_some(Recipients::Peers(peers))
            }
        }
    }

    fn hold(&mut self, now: Nanos, transmits: &mut Vec<Transmit>) {
        for transmit in transmits.drain(..) {
            let reached = self.reached(transmit.to);
            self.dropped += (transmit.to.iter().count() - reached.map_or(0, |to| to.iter().count())) as u64;
            if let Some(to) = reached {
                // A link keeps its order, also when it gets faster.
                let leaves = self.held.back().map_or(Nanos::ZERO, |&(last, _)| last).max(now + self.delay_ns);
                self.held.push_back((leaves, Transmit { to, ..transmit }));
            }
        }
    }

    fn release(&mut self, now: Nanos) -> io::Result<()> {
        let due = |(leaves, _): &(Nanos, Transmit)| self.delay_ns == 0 || *leaves <= now;
        let count = self.held.iter().take_while(|held| due(held)).count();
        self.leaving.extend(self.held.drain(..count).map(|(_, transmit)| transmit));
        self.look();
        if self.leaving.is_empty() { Ok(()) } else { self.inner.send(&mut self.leaving) }
    }
}

impl<T: Transport> Transport for Faulty<T> {
    fn send(&mut self, transmits: &mut Vec<Transmit>) -> io::Result<()> {
        if !self.active {
            return self.inner.send(transmits);
        }
        let now = self.clock.now();
        self.hold(now, transmits);
        self.release(now)
    }

    fn recv(&mut self, deadline: Nanos, inbox: &mut Vec<Frame>) -> io::Result<()> {
        if !self.active {
            return self.inner.recv(deadline, inbox);
        }
        let before = inbox.len();
        let leaves = self.held.front().map_or(Nanos::NEVER, |&(leaves, _)| leaves);
        self.inner.recv(deadline.min(leaves), inbox)?;
        if !self.cut.is_empty() {
            let mut heard = inbox.split_off(before);
            heard.retain(|frame| !self.is_cut(frame.head.from));
            inbox.append(&mut heard);
        }
        self.release(self.clock.now())
    }

    fn write_file(&mut self, write: FileWrite) -> io::Result<()> {
        self.inner.write_file(write)
    }

    fn written(&mut self, done: &mut Vec<FileWritten>) {
        self.inner.written(done);
    }

    fn counters(&self) -> Counters {
        let inner = self.inner.counters();
        Counters { dropped_frames: inner.dropped_frames + self.dropped, ..inner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, mem};
    use quorumbench_protocols::{Head, Payload};

    fn transmit(to: Recipients, number: u64) -> Transmit {
        let head = Head { kind: 1, from: NodeId(0), words: [number; 6], ..Head::default() };
        Transmit { to, head, body: Payload::EMPTY }
    }

    /// The numbers of what has arrived.
    fn arrived(node: &mut mem::Mem) -> Vec<u64> {
        let mut inbox = Vec::new();
        node.recv(Nanos::ZERO, &mut inbox).expect("rings do not fail");
        inbox.iter().map(|frame| frame.head.words[0]).collect()
    }

    #[test]
    fn whoever_is_cut_off_neither_hears_nor_is_heard() {
        let clock = Clock::start();
        let mut nodes = mem::mesh(3, clock, &Options::default());
        let (mut two, mut one, mut zero) = (nodes.remove(2), nodes.remove(1), nodes.remove(0));
        let all = Recipients::Peers(PeerSet::first(3).without(NodeId(0)));
        let mut link = Faulty::new(&mut zero, clock);
        link.cut_off([NodeId(2)]);
        link.send(&mut vec![transmit(all, 1), transmit(Recipients::One(NodeId(2)), 2)]).expect("sent");
        assert_eq!((arrived(&mut one), arrived(&mut two)), (vec![1], vec![]));
        assert_eq!(link.counters().dropped_frames, 2);
        let hello = |from| {
            let mut transmit = transmit(Recipients::One(NodeId(0)), 9);
            transmit.head.from = NodeId(from);
            vec![transmit]
        };
        two.send(&mut hello(2)).expect("sent");
        one.send(&mut hello(1)).expect("sent");
        let mut inbox = Vec::new();
        link.recv(Nanos::ZERO, &mut inbox).expect("received");
        assert_eq!(inbox.iter().map(|frame| frame.head.from.0).collect::<Vec<_>>(), [1]);

        link.cut_off([]);
        link.send(&mut vec![transmit(all, 3)]).expect("sent");
        assert_eq!((arrived(&mut one), arrived(&mut two)), (vec![3], vec![3]));
        assert!(!link.active, "left alone it is out of the way");
    }

    #[test]
    fn what_is_late_keeps_its_order_and_all_of_it_comes() {
        let clock = Clock::start();
        let mut nodes = mem::mesh(2, clock, &Options::default());
        let (mut one, mut zero) = (nodes.remove(1), nodes.remove(0));
        let mut link = Faulty::new(&mut zero, clock);
        let to = Recipients::One(NodeId(1));
        link.delay(Duration::from_secs(1000));
        link.send(&mut vec![transmit(to, 1), transmit(to, 2)]).expect("sent");
        let early = clock.now() + 1_000_000;
        link.recv(early, &mut Vec::new()).expect("received");
        assert!(clock.now() >= early && arrived(&mut one).is_empty());
        link.delay(Duration::from_millis(1));
        link.send(&mut vec![transmit(to, 3)]).expect("sent");
        link.recv(clock.now() + 5_000_000, &mut Vec::new()).expect("received");
        assert!(arrived(&mut one).is_empty(), "not before what was sent earlier");
        link.delay(Duration::ZERO);
        link.send(&mut vec![transmit(to, 4)]).expect("sent");
        assert_eq!(arrived(&mut one), [1, 2, 3, 4]);
        assert!(!link.active);
    }
}
