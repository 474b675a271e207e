//! Payloads are not copied: what the client wrote is what the followers' logs hold, at the same address.
#![expect(clippy::disallowed_types, reason = "the test looks into a follower's log")]

mod support;

use std::time::Duration;

use quorumbench::client::{Client, ClientOptions, Pace};
use quorumbench::load::{CommandStream, Mix};
use quorumbench::machine::Null;
use quorumbench::measure::Window;
use quorumbench::node::Node;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::{Config, DeliveryKind, Nanos, NodeId, Payload, Protocol, Slot};
use quorumbench_transports::mem::{self, Mem};
use quorumbench_transports::{Clock, Options, Transport};

const REPLICAS: usize = 3;

/// Three replicas and a client on one thread, over the rings between them.
struct Cluster {
    nodes: Vec<Node<Raft, Null>>,
    client: Client,
    transports: Vec<Mem>,
    clock: Clock,
    /// Where each batch that left the client begins.
    written: Vec<usize>,
}

impl Cluster {
    fn turn(&mut self) {
        for index in 0..=REPLICAS {
            let transport = &mut self.transports[index];
            let inbox = self.nodes.get_mut(index).map_or(&mut self.client.inbox, |node| &mut node.inbox);
            transport.recv(Nanos::ZERO, inbox).expect("rings do not fail");
            let now = self.clock.now();
            let transmits = if let Some(node) = self.nodes.get_mut(index) {
                node.turn(now);
                node.transmits()
            } else {
                self.client.turn(now);
                self.client.transmits()
            };
            if index == REPLICAS {
                self.written.extend(transmits.iter().map(|transmit| address(&transmit.body)));
            }
            transport.send(transmits).expect("rings do not fail");
        }
    }
}

fn address(payload: &Payload) -> usize {
    let [whole] = payload.pieces() else { panic!("rings cut nothing") };
    whole.as_ptr() as usize
}

#[test]
fn the_clients_bytes_are_the_followers_bytes() {
    let clock = Clock::start();
    let config = |id| Config {
        election_timeout: Nanos(5_000_000),
        heartbeat: Nanos(1_000_000),
        ..Config::new(NodeId(id), REPLICAS)
    };
    let options = ClientOptions {
        id: NodeId(REPLICAS as u32),
        replicas: REPLICAS,
        groups: 1,
        batch_commands: 64,
        batch_bytes: 64 << 10,
        linger: Duration::ZERO,
        resend: Duration::from_secs(10),
        in_flight_limit: 1 << 16,
        reads: None,
        anywhere: false,
    };
    let node = |id: u32| Node::new(NodeId(id), Raft::new(&config(id), u64::from(id)));
    let mut cluster = Cluster {
        nodes: (0..REPLICAS as u32).map(node).collect(),
        client: Client::new(options, CommandStream::new(Mix::Opaque { payload: 16 }, 1)),
        transports: mem::mesh(REPLICAS + 1, clock, &Options::default()),
        clock,
        written: Vec::new(),
    };
    while !cluster.client.ready() {
        cluster.turn();
    }
    let begin = clock.now();
    let window = Window { from: begin, until: begin + 60_000_000_000 };
    cluster.client.start(Pace::Closed { outstanding: 1024 }, window, window.until);
    let mut seen = [0; REPLICAS];
    while seen.iter().any(|&slots| slots < 100) {
        cluster.turn();
        for (node, seen) in cluster.nodes.iter().zip(&mut seen) {
            let log = node.protocol().log();
            let kept = (log.trimmed().0 + 1..=log.last().0).filter_map(|slot| log.get(Slot(slot)));
            for batch in kept.filter(|entry| entry.kind == DeliveryKind::Batch) {
                assert!(cluster.written.contains(&address(&batch.body)), "a log holds a copy");
                *seen += 1;
            }
        }
    }
    let copied: u64 = cluster.transports.iter().map(|transport| transport.counters().copied_bytes).sum();
    assert_eq!(copied, 0);
}

/// On `mem` nothing at all, and on sockets only what straddles two receive buffers.
#[test]
fn less_than_a_hundredth_of_the_payload_is_copied() {
    for transport in ["mem", "uring"] {
        if transport == "uring" && !support::uring_works() {
            continue;
        }
        let config = format!(
            "name = 'x'\ncluster.transport = '{transport}'\nload = {{ arrival = 'closed', outstanding = 1024 }}
            run = {{ warmup = '50ms', duration = '500ms' }}"
        );
        let spec = quorumbench::spec::Spec::parse(&config, "x.toml", &[]).expect("a valid config");
        let stop = std::sync::atomic::AtomicBool::new(false);
        let point = &spec.points()[0];
        let outcome = quorumbench::drive::measure(point, spec.run(), 1, &[], &stop, &mut |_| ()).expect("it runs");
        let counters = outcome.replicas.counters.plus(outcome.clients.counters);
        let share = counters.copied_bytes as f64 / counters.sent_bytes as f64;
        assert!(share < 0.01, "{transport}: {} % of what was sent", share * 100.0);
    }
}
