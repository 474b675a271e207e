//! Who is written to first.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use quorumbench_protocols::Payload;
use quorumbench_transports::quic::QuicOptions;
use quorumbench_transports::{Clock, Options, Role};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;
use zerocopy::IntoBytes;

use crate::harness::{Socketed, address, listener, mesh, transmit, until};
use crate::raw::{self, Raw};

const ROUNDS: usize = 9;
/// A packet of QUIC's own may come in between, now and then. Whoever goes by anything else than roles does so in a
/// third of the rounds at least.
const MOST_DISTURBED: usize = 2;
/// Longer than anyone waits to acknowledge something.
const QUIET: Duration = Duration::from_millis(40);

/// Which sockets have got something, as the kernel lists them: in the order in which it came.
struct Arrivals(OwnedFd);

impl Arrivals {
    fn at<R: Raw>(peers: &[R]) -> Self {
        let listed = epoll::create(CreateFlags::CLOEXEC).expect("a descriptor");
        for (at, peer) in (0..).zip(peers) {
            epoll::add(&listed, peer.socket(), EventData::new_u64(at), EventFlags::IN | EventFlags::ET).expect("added");
        }
        Self(listed)
    }

    /// What has come since it was asked last.
    fn take(&self) -> Vec<u64> {
        let mut events = Vec::with_capacity(8);
        epoll::wait(&self.0, spare_capacity(&mut events), Some(&Timespec::default())).expect("it is open");
        events.iter().map(|event| event.data.u64()).collect()
    }
}

/// Clients 8 and 10 have joined, one before replica 9 and one after it. Whoever is handed over first, the clients'
/// frames are there before the replica's.
pub(crate) fn clients_are_written_to_before_replicas<T: Socketed>() {
    let (clock, zero) = (Clock::start(), listener());
    let at = address(&zero);
    // Nothing is sent to find out what the path carries.
    let quic = QuicOptions { mtu: 1200, ..QuicOptions::default() };
    let mut node = T::join(mesh(0, Some(zero), &[], clock, &Options { quic, ..Options::default() })).expect("joins");
    let look = |node: &mut T| node.recv(clock.now() + 1_000_000, &mut Vec::new()).expect("receives");
    let mut peers = [(8, Role::Client), (9, Role::Replica), (10, Role::Client)].map(|(id, role)| {
        let mut peer = T::Raw::connect(at, 0, id);
        peer.say(raw::hello_as(id, role).as_bytes());
        until("the hello is answered", || {
            look(&mut node);
            peer.head().is_some()
        });
        peer
    });
    let (arrivals, mut disturbed) = (Arrivals::at(&peers), 0);
    for (round, order) in (0..ROUNDS).zip([[8, 9, 10], [10, 9, 8], [9, 8, 10]].iter().cycle()) {
        let mut quiet = Instant::now();
        until("nothing comes", || {
            look(&mut node);
            let heads = peers.iter_mut().filter_map(Raw::head).count();
            if heads > 0 || !arrivals.take().is_empty() {
                quiet = Instant::now();
            }
            quiet.elapsed() > QUIET
        });
        node.send(&mut order.map(|id| transmit(0, id, round as u64, Payload::EMPTY)).into()).expect("takes all");
        let mut came = Vec::new();
        until("all three have something", || {
            look(&mut node);
            for at in arrivals.take() {
                if !came.contains(&at) {
                    came.push(at);
                }
            }
            came.len() == peers.len()
        });
        disturbed += usize::from(came[2] != 1);
        for peer in &mut peers {
            until("it is the frame", || {
                look(&mut node);
                peer.head().is_some_and(|head| head.words[0] == round as u64)
            });
        }
    }
    assert!(disturbed <= MOST_DISTURBED, "in {disturbed} of {ROUNDS} rounds the replica was not the last");
}
