//! A network in virtual time: one client, a few nodes, and frames that take a while. No thread, no
//! socket, no clock, so a test says exactly what happens and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorumbench::client::{Client, ClientOptions, Pace};
use quorumbench::load::{CommandStream, Mix};
use quorumbench::machine::Null;
use quorumbench::measure::{Recording, Window};
use quorumbench::node::Node;
use quorumbench_protocols::{Config, Frame, Nanos, NodeId, Protocol, Transmit};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// Nodes `0..nodes`, one client after them, and the frames between.
pub struct Network<P> {
    pub now: Nanos,
    pub client: Client,
    pub nodes: Vec<Node<P, Null>>,
    /// Nodes that neither send nor hear nor wake.
    pub down: BTreeSet<u32>,
    /// Nodes that hear and do nothing: everything waits for them.
    pub paused: BTreeSet<u32>,
    /// Pairs, from and to, between which every frame is lost.
    pub cut: BTreeSet<(u32, u32)>,
    /// How long a frame takes.
    pub delay_ns: u64,
    /// What the client has sent: when, to whom, and the frame. Only grows.
    pub asked: Vec<(Nanos, NodeId, Frame)>,
    /// By arrival, in order of sending within one.
    flying: BTreeMap<(Nanos, u64), (NodeId, Frame)>,
    sent: u64,
}

/// Settings that most tests share: small batches, no linger, a short patience.
pub fn options(nodes: u32) -> ClientOptions {
    ClientOptions {
        id: NodeId(nodes),
        replicas: nodes as usize,
        groups: 1,
        batch_commands: 4,
        batch_bytes: 4096,
        linger: Duration::ZERO,
        resend: Duration::from_millis(100),
        in_flight_limit: 1000,
        reads: None,
        anywhere: false,
    }
}

impl<P: Protocol> Network<P> {
    pub fn new(nodes: u32, options: ClientOptions) -> Self {
        let config = |id| Config {
            election_timeout: Nanos(50 * MS),
            heartbeat: Nanos(10 * MS),
            ..Config::new(NodeId(id), nodes as usize)
        };
        let node = |id| Node::new(NodeId(id), P::new(&config(id), u64::from(id) + 1));
        Self {
            now: Nanos(0),
            client: Client::new(options, CommandStream::new(Mix::Opaque { payload: 16 }, 1)),
            nodes: (0..nodes).map(node).collect(),
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
            cut: BTreeSet::new(),
            delay_ns: 50_000,
            asked: Vec::new(),
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Lives through everything up to `until`.
    pub fn run(&mut self, until: Nanos) {
        self.run_while(until, |_| true);
    }

    /// Lives on while `going` says so, up to `until`.
    pub fn run_while(&mut self, until: Nanos, going: impl Fn(&Self) -> bool) {
        self.turn_all();
        while going(self) {
            let next = self.next_event();
            if next > until {
                self.now = self.now.max(until);
                return;
            }
            self.now = self.now.max(next);
            self.deliver();
            self.turn_all();
        }
    }

    /// Runs until the client has found the cluster.
    pub fn find_the_cluster(&mut self) {
        self.run_while(Nanos(5 * SECOND), |network| !network.client.ready());
        assert!(self.client.ready(), "nobody answered");
    }

    /// Puts load on the cluster for `window_ns` from now on; it is given up `patience_ns` after that.
    pub fn load(&mut self, pace: Pace, window_ns: u64, patience_ns: u64) -> Window {
        let window = Window { from: self.now, until: self.now + window_ns };
        self.client.start(pace, window, window.until + patience_ns);
        window
    }

    /// Lives on until the client is done, and a little longer, so that all replicas hear of all slots.
    pub fn finish(mut self) -> (Recording, Vec<Node<P, Null>>) {
        self.run_while(self.now + 20 * SECOND, |network| !network.client.finished(network.now));
        assert!(self.client.finished(self.now), "it neither gets its answers nor gives up");
        let done = self.now;
        self.run(done + SECOND / 2);
        let recording = self.client.finish(done).expect("it was started");
        (recording, self.nodes)
    }

    pub fn leader(&self) -> Option<NodeId> {
        let alive = self.nodes.iter().enumerate().filter(|(id, _)| !self.down.contains(&(*id as u32)));
        let mut leaders = alive.filter(|(id, node)| node.protocol().leader() == Some(NodeId(*id as u32)));
        leaders.next().map(|(id, _)| NodeId(id as u32))
    }

    /// Commands that each node has applied.
    pub fn applied(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.machine().applied()).collect()
    }

    fn next_event(&self) -> Nanos {
        let awake = self.nodes.iter().enumerate().filter(|(id, _)| self.acts(*id as u32));
        let timers = awake.map(|(_, node)| node.deadline());
        let arrival = self.flying.first_key_value().map(|(&(at, _), _)| at);
        // Whoever wants to wake in the past wakes a moment later: real threads too take time.
        let timer = timers.chain([self.client.deadline()]).min().unwrap_or(Nanos::NEVER).max(self.now + 1000);
        arrival.map_or(timer, |at| at.min(timer))
    }

    fn acts(&self, id: u32) -> bool {
        !self.down.contains(&id) && !self.paused.contains(&id)
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, frame) = entry.remove();
            match self.nodes.get_mut(to.0 as usize) {
                Some(_) if self.down.contains(&to.0) => {}
                Some(node) => node.inbox.push(frame),
                None => self.client.inbox.push(frame),
            }
        }
    }

    fn turn_all(&mut self) {
        let mut out = Vec::new();
        for id in (0..self.nodes.len() as u32).filter(|&id| self.acts(id)).collect::<Vec<_>>() {
            let node = &mut self.nodes[id as usize];
            node.turn(self.now);
            out.extend(node.transmits().drain(..).map(|transmit| (NodeId(id), transmit)));
        }
        self.client.turn(self.now);
        let client = NodeId(self.nodes.len() as u32);
        out.extend(self.client.transmits().drain(..).map(|transmit| (client, transmit)));
        out.into_iter().for_each(|(from, transmit)| self.send(from, &transmit));
    }

    fn send(&mut self, from: NodeId, transmit: &Transmit) {
        for to in transmit.to.iter() {
            let frame = Frame { head: transmit.head, body: transmit.body.clone() };
            if from.0 as usize == self.nodes.len() {
                self.asked.push((self.now, to, frame.clone()));
            }
            if !self.cut.contains(&(from.0, to.0)) {
                self.flying.insert((self.now + self.delay_ns, self.sent), (to, frame));
                self.sent += 1;
            }
        }
    }
}
